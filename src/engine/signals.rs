//! The events of a pool: told from what is booked, written with the pool.
//!
//! Alerts look at the balance where the clock passed an instant, and at the end of the call: what one instant or one call
//! takes and gives is one change.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use credit_pools_domain::{Alerts, Amount, Entry, EntryType, Grant, Instant, Standing, Status};
use serde_json::{Map, Value};

use super::pool::LockedPool;
use crate::settings;
use crate::store::cache;
use crate::store::events::{Event, figure, instant};
use crate::store::grants::{self, InForce};
use crate::store::ledger::Note;
use crate::store::pools::PoolRow;

/// An event on its way into the outbox.
pub struct Signal {
    /// In which order they were told, also over several pools.
    pub turn: u64,
    kind: &'static str,
    at: Instant,
    data: Map<String, Value>,
}

impl Signal {
    pub fn new(kind: &'static str, at: Instant) -> Signal {
        static TURNS: AtomicU64 = AtomicU64::new(0);
        Signal { turn: TURNS.fetch_add(1, Ordering::Relaxed), kind, at, data: Map::new() }
    }

    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Signal {
        self.data.insert(key.to_owned(), value.into());
        self
    }

    pub fn with_amount(self, key: &str, amount: Amount) -> Signal {
        self.with(key, figure(amount))
    }

    pub fn with_maybe(self, key: &str, amount: Option<Amount>) -> Signal {
        self.with(key, amount.map(figure))
    }

    pub fn with_instant(self, key: &str, at: Instant) -> Signal {
        self.with(key, instant(at))
    }

    /// As an event of a pool.
    pub fn of_pool<'a>(&'a self, pool: &'a PoolRow) -> Event<'a> {
        Event {
            kind: self.kind,
            customer_id: &pool.customer_id,
            resource_id: &pool.resource_id,
            credit_type_id: Some(&pool.credit_type_id),
            pool_id: Some(pool.pool_id),
            at: self.at,
            data: &self.data,
        }
    }

    /// As an event of a scope, and of a credit type where it is of one.
    pub fn of_scope<'a>(
        &'a self,
        customer_id: &'a str,
        resource_id: &'a str,
        credit_type_id: Option<&'a str>,
    ) -> Event<'a> {
        let (kind, at, data) = (self.kind, self.at, &self.data);
        Event { kind, customer_id, resource_id, credit_type_id, pool_id: None, at, data }
    }
}

/// What of a locked pool has been told, and what is still to be written.
#[derive(Default)]
pub struct Signals {
    pub waiting: Vec<Signal>,
    /// The balance that was looked at last.
    balance: Amount,
    /// alert_granted has changed and is still to be written.
    pub rebased: bool,
    /// What a hold that timed out has given back so far.
    returned: Amount,
}

impl Signals {
    pub fn since(balance: Amount) -> Signals {
        Signals { balance, ..Signals::default() }
    }
}

impl LockedPool {
    /// Tells the events of entries that are about to be sealed; the first `due` were the clock's.
    pub fn signal(&mut self, entries: &[Entry], due: usize, note: &Note) {
        let on = settings::events_are_written();
        let alerts = if on { self.alerts(note) } else { None };
        let bases = self.bases(alerts.as_deref(), entries, due);
        let mut before = self.signals.balance;
        self.signals.balance = entries.last().map_or(before, |entry| entry.balance_after);
        if !on {
            return;
        }
        for (index, entry) in entries.iter().enumerate() {
            let later = entries.get(index + 1..).unwrap_or_default();
            self.signal_entry(entry, later, index >= due, note);
            let by_clock = index < due;
            // The last of its instant, or of the call.
            let ends = match later.first() {
                Some(next) if by_clock => index + 1 == due || next.effective_at != entry.effective_at,
                next => next.is_none(),
            };
            if ends {
                let (was, is) = if by_clock { bases.around(entry.effective_at) } else { bases.of_call };
                let was = Standing { balance: before, granted: was };
                let is = Standing { balance: entry.balance_after, granted: is };
                let at = if by_clock { entry.effective_at } else { self.now };
                self.signal_balance(alerts.as_deref(), was, is, at, later);
                before = is.balance;
            }
        }
    }

    /// The levels that count: the customer's own, or the credit type's.
    fn alerts(&self, note: &Note) -> Option<Rc<Alerts>> {
        if let Some(own) = &self.row.alerts {
            return Some(Rc::new(own.clone()));
        }
        if note.usage.is_none() {
            // Usage has done so already.
            cache::refresh();
        }
        cache::credit_type(&self.row.credit_type_id).and_then(|credit_type| credit_type.alerts)
    }

    /// What percents are of. The row has from now on what they are of after these entries; it knows that, too, from the
    /// last time, unless grants have changed or ended since.
    fn bases(&mut self, alerts: Option<&Alerts>, entries: &[Entry], due: usize) -> Bases {
        let known = self.row.alert_granted;
        let wanted = alerts.is_some_and(|alerts| !alerts.percents().is_empty());
        let changes = entries.iter().any(|entry| moves_granted(entry.kind));
        let outdated = self.row.alert_granted_until.is_some_and(|until| until <= self.now);
        if !wanted {
            if changes && known.is_some() {
                // Better not known than wrong.
                (self.row.alert_granted, self.row.alert_granted_until) = (None, None);
                self.signals.rebased = true;
            }
            return Bases::default();
        }
        if let Some(known) = known.filter(|_| !changes && !outdated && due == 0) {
            return Bases { of_call: (known, known), ..Bases::default() };
        }
        let first = entries.iter().take(due).map(|entry| entry.effective_at).min().unwrap_or(self.now);
        let own = entries.get(due..).unwrap_or_default();
        let new = |grant: &Grant| own.iter().any(|entry| entry.grant_id == Some(grant.id) && begins(entry.kind));
        let in_hand = &self.row.wallet.grants;
        let ids: Vec<i64> = in_hand.iter().map(|grant| grant.id).collect();
        let others = grants::in_force_since(&self.row.customer_id, self.row.pool_id, first.plus_micros(-1), &ids);
        let counted = in_hand.iter().filter(|grant| {
            // One that has ended counted before; of a voided one, what had been used.
            !matches!(grant.status, Status::Scheduled | Status::PendingPayment) && !grant.unpaid
        });
        let all = counted.map(|grant| {
            let amount = grant.amount.checked_sub(grant.voided).unwrap_or_default();
            let in_force = InForce { amount, effective_at: grant.effective_at, expires_at: grant.expires_at };
            (in_force, new(grant))
        });
        let grants: Vec<(InForce, bool)> = all.chain(others.into_iter().map(|in_force| (in_force, false))).collect();
        let mut bases = Bases { grants, ..Bases::default() };
        let is = bases.at(self.now, true);
        let was = match known.filter(|_| due == 0 && !outdated) {
            Some(known) => known,
            None => bases.at(self.now, false),
        };
        bases.of_call = (was, is);
        let counting = bases.grants.iter().filter(|(grant, _)| grant.is_in_force(self.now));
        let until = counting.map(|(grant, _)| grant.expires_at).min().unwrap_or(Instant::INFINITY);
        self.signals.rebased |= (known, self.row.alert_granted_until) != (Some(is), Some(until));
        (self.row.alert_granted, self.row.alert_granted_until) = (Some(is), Some(until));
        bases
    }

    /// `later`: what else was booked after the change.
    fn signal_balance(
        &mut self,
        alerts: Option<&Alerts>,
        before: Standing,
        after: Standing,
        at: Instant,
        later: &[Entry],
    ) {
        for level in alerts.map(|alerts| alerts.crossed(before, after)).unwrap_or_default() {
            let signal = Signal::new("balance.low", at)
                .with_amount("balance", after.balance)
                .with_amount("threshold", level.at)
                .with_maybe("percent", level.share.map(|share| share.percent))
                .with_maybe("granted", level.share.map(|share| share.granted));
            self.signals.waiting.push(signal);
        }
        if before.balance.is_positive() && !after.balance.is_positive() {
            // The wallet has the debt of the end.
            let debt = later
                .iter()
                .filter(|entry| moves_debt(entry))
                .fold(self.row.wallet.figures.debt, |debt, entry| debt.checked_add(entry.amount).unwrap_or(debt));
            let signal =
                Signal::new("balance.depleted", at).with_amount("balance", after.balance).with_amount("debt", debt);
            self.signals.waiting.push(signal);
        }
    }

    /// The event of one entry, where it has one. `own`: of the call itself.
    fn signal_entry(&mut self, entry: &Entry, later: &[Entry], own: bool, note: &Note) {
        let lost = -entry.amount;
        let signal = |kind| {
            Signal::new(kind, entry.effective_at)
                .with_amount("balance", entry.balance_after)
                .with("seq", entry.seq)
                .with("grant_id", entry.grant_id)
        };
        let signal = match entry.kind {
            EntryType::Open => Signal::new("pool.opened", entry.effective_at)
                .with_amount("balance", entry.balance_after)
                .with("seq", entry.seq),
            kind if begins(kind) => {
                let Some(grant) = self.entry_grant(entry) else { return };
                let granted = signal("credits.granted")
                    .with_amount("amount", entry.amount)
                    .with("category", grant.category.as_str())
                    .with("priority", grant.priority)
                    .with("source", grant.source.as_str())
                    .with_instant("effective_at", grant.effective_at)
                    .with_instant("expires_at", grant.expires_at);
                match note.recharge_id.filter(|_| own) {
                    Some(recharge_id) => granted.with("recharge_id", recharge_id),
                    None => granted,
                }
            }
            EntryType::Consume | EntryType::DebtSettle => {
                let used_up = |grant: &&Grant| grant.status == Status::Depleted;
                let Some(grant) = self.entry_grant(entry).filter(used_up) else { return };
                // The last row that moves it; what is moved to another pool is not used.
                if later.iter().any(|other| other.grant_id == entry.grant_id && !other.amount.is_zero()) {
                    return;
                }
                signal("credits.depleted").with_amount("amount", grant.amount).with("category", grant.category.as_str())
            }
            EntryType::Expire if lost.is_positive() => signal("credits.expired").with_amount("amount", lost),
            EntryType::Void if lost.is_positive() => {
                let reason = note.reason.filter(|_| own).or(entry.reason);
                signal("credits.voided").with_amount("amount", lost).with("reason", reason)
            }
            EntryType::ReservationExpire => {
                // One event for a hold, whatever number of grants it had parts of: their rows follow one another.
                let same = |other: &Entry| other.kind == entry.kind && other.reservation == entry.reservation;
                if later.first().is_some_and(same) {
                    self.signals.returned = self.signals.returned.checked_add(entry.amount).unwrap_or(entry.amount);
                    return;
                }
                let before = std::mem::take(&mut self.signals.returned);
                Signal::new("reservation.expired", entry.effective_at)
                    .with_amount("balance", entry.balance_after)
                    .with("seq", entry.seq)
                    .with("reservation_id", entry.reservation.as_deref())
                    .with_amount("amount", before.checked_add(entry.amount).unwrap_or(entry.amount))
            }
            _ => return,
        };
        self.signals.waiting.push(signal);
    }

    fn entry_grant(&self, entry: &Entry) -> Option<&Grant> {
        self.row.wallet.find(entry.grant_id?).ok()
    }
}

/// What percents are of, at any instant that is looked at.
#[derive(Default)]
struct Bases {
    /// Those that may count, and whether the call itself has brought them.
    grants: Vec<(InForce, bool)>,
    /// Before and after what the call itself has done.
    of_call: (Amount, Amount),
}

impl Bases {
    fn at(&self, at: Instant, with_new: bool) -> Amount {
        let counting = self.grants.iter().filter(|(grant, new)| grant.is_in_force(at) && (with_new || !new));
        counting.fold(Amount::ZERO, |sum, (grant, _)| sum.checked_add(grant.amount).unwrap_or(sum))
    }

    /// Just before an instant, and from it on.
    fn around(&self, at: Instant) -> (Amount, Amount) {
        (self.at(at.plus_micros(-1), false), self.at(at, false))
    }
}

impl InForce {
    fn is_in_force(&self, at: Instant) -> bool {
        self.effective_at <= at && self.expires_at > at
    }
}

/// A grant begins to count.
fn begins(kind: EntryType) -> bool {
    matches!(kind, EntryType::Grant | EntryType::RolloverIn | EntryType::TransferIn)
}

/// A row of the pool's debt; what it takes of the balance it adds to the debt.
fn moves_debt(entry: &Entry) -> bool {
    let kinds = [EntryType::Debt, EntryType::DebtSettle, EntryType::Reverse];
    entry.grant_id.is_none() && kinds.contains(&entry.kind)
}

/// Whether an entry may change what has been granted.
fn moves_granted(kind: EntryType) -> bool {
    !matches!(
        kind,
        EntryType::Consume
            | EntryType::Debt
            | EntryType::DebtSettle
            | EntryType::Reserve
            | EntryType::Release
            | EntryType::ReservationExpire
            | EntryType::Reverse
            | EntryType::Schedule
            | EntryType::Open
    )
}
