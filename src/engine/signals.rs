//! The events of a pool: told from what is booked, written with the pool.
//!
//! Alerts look at the balance where the clock passed an instant, and at the end of the call: what one instant or one call
//! takes and gives is one change.

use std::rc::Rc;

use credit_pools_domain::{Alerts, Amount, Entry, EntryType, Grant, Instant, Standing, Status};
use serde_json::{Map, Value};

use super::pool::LockedPool;
use crate::settings;
use crate::store::events::{Event, figure, instant};
use crate::store::ledger::Note;
use crate::store::pools::PoolRow;
use crate::store::{cache, grants};

/// An event on its way into the outbox.
pub struct Signal {
    kind: &'static str,
    at: Instant,
    data: Map<String, Value>,
}

impl Signal {
    pub fn new(kind: &'static str, at: Instant) -> Signal {
        Signal { kind, at, data: Map::new() }
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
        let changes_granted = entries.iter().any(|entry| moves_granted(entry.kind));
        if !settings::events_are_written() {
            self.granted_so_far(None, changes_granted);
            self.signals.balance = entries.last().map_or(self.signals.balance, |entry| entry.balance_after);
            return;
        }
        let alerts = self.alerts(note);
        let before = self.granted_so_far(alerts.as_deref(), changes_granted);
        let mut standing = Standing { balance: self.signals.balance, granted: before };
        for (index, entry) in entries.iter().enumerate() {
            self.signal_entry(entry, entries.get(index + 1..).unwrap_or_default(), index >= due, note);
            let next = entries.get(index + 1);
            let ends = if index < due {
                // The last of its instant.
                next.is_none_or(|next| index + 1 >= due || next.effective_at != entry.effective_at)
            } else {
                next.is_none()
            };
            if ends {
                let granted = match next {
                    Some(_) => before,
                    None => self.row.alert_granted.unwrap_or(before),
                };
                let after = Standing { balance: entry.balance_after, granted };
                let at = if index < due { entry.effective_at } else { self.now };
                self.signal_balance(alerts.as_deref(), standing, after, at);
                standing = after;
            }
        }
        self.signals.balance = standing.balance;
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

    /// What percents were of before these entries; the row has from now on what they are of after them.
    fn granted_so_far(&mut self, alerts: Option<&Alerts>, changes: bool) -> Amount {
        let known = self.row.alert_granted;
        let wanted = alerts.is_some_and(|alerts| !alerts.percents().is_empty());
        let now = match (wanted, known, changes) {
            (true, Some(known), false) => Some(known),
            (true, ..) => Some(self.granted_in_force()),
            // Nobody needs it: better not known than wrong.
            (false, _, true) => None,
            (false, known, false) => known,
        };
        self.signals.rebased |= now != known;
        self.row.alert_granted = now;
        known.or(now).unwrap_or_default()
    }

    /// What has been granted and not voided by grants that have begun and not expired, used up or not.
    fn granted_in_force(&self) -> Amount {
        let now = self.now;
        let in_hand = &self.row.wallet.grants;
        let counts = |grant: &&Grant| {
            matches!(grant.status, Status::Active | Status::Depleted)
                && grant.effective_at <= now
                && grant.expires_at > now
        };
        let known: Vec<i64> = in_hand.iter().map(|grant| grant.id).collect();
        let others = grants::granted_in_force(&self.row.customer_id, self.row.pool_id, now, &known);
        let counted = in_hand.iter().filter(counts).filter_map(|grant| grant.amount.checked_sub(grant.voided));
        counted.chain([others]).try_fold(Amount::ZERO, Amount::checked_add).unwrap_or_default()
    }

    fn signal_balance(&mut self, alerts: Option<&Alerts>, before: Standing, after: Standing, at: Instant) {
        for level in alerts.map(|alerts| alerts.crossed(before, after)).unwrap_or_default() {
            let granted = level.percent.map(|_| after.granted);
            let signal = Signal::new("balance.low", at)
                .with_amount("balance", after.balance)
                .with_amount("threshold", level.at)
                .with_maybe("percent", level.percent)
                .with_maybe("granted", granted);
            self.signals.waiting.push(signal);
        }
        if before.balance.is_positive() && !after.balance.is_positive() {
            let signal = Signal::new("balance.depleted", at)
                .with_amount("balance", after.balance)
                .with_amount("debt", self.row.wallet.figures.debt);
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
            EntryType::Grant => {
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
                // The last row that takes of a grant that is used up then.
                let again = later.iter().any(|other| other.grant_id == entry.grant_id && takes(other.kind));
                let used_up = |grant: &&Grant| grant.status == Status::Depleted && !again;
                let Some(grant) = self.entry_grant(entry).filter(used_up) else { return };
                signal("credits.depleted").with_amount("amount", grant.amount).with("category", grant.category.as_str())
            }
            EntryType::Expire if lost.is_positive() => signal("credits.expired").with_amount("amount", lost),
            EntryType::Void => {
                let reason = note.reason.filter(|_| own).or(entry.reason);
                signal("credits.voided").with_amount("amount", lost).with("reason", reason)
            }
            EntryType::ReservationExpire => {
                // One event for a hold, whatever number of grants it had parts of.
                let same = |other: &&Entry| other.kind == entry.kind && other.reservation == entry.reservation;
                if later.iter().any(|other| same(&other)) {
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

fn takes(kind: EntryType) -> bool {
    matches!(kind, EntryType::Consume | EntryType::DebtSettle)
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
