//! A pool while its row is locked: what is due is carried out first, what a call did is written at its end.

use std::collections::{HashMap, HashSet};

use credit_pools_domain::{
    Amount, Entry, EntryType, Grant, Hold, HoldStatus, Instant, Limit, MAX_INTEGER_DIGITS, Refusal, Status, Wallet,
};

use super::limiting::Limits;
use super::signals::{Signal, Signals};
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::events::{self, Event};
use crate::store::ledger::{self, LedgerRow, Note};
use crate::store::pools::{self, PoolRow};
use crate::store::schedules::{self, Key};
use crate::store::spi::{Sequence, next_id};
use crate::store::{grants, reservations, spi};

/// Rows that one statement writes: bounds the memory that it needs.
const PIECE: usize = 2_000;

pub struct LockedPool {
    pub row: PoolRow,
    /// The instant of this call: taken after the lock, never before the pool's last write.
    pub now: Instant,
    /// How many of the wallet's entries were booked by the clock, before the call did anything.
    due: usize,
    /// The clock has moved something in the pool, be it only the instant to look at it next.
    moved: bool,
    /// The spending limits that cover it, once they are loaded.
    limits: Option<Limits>,
    /// The events of what it books.
    pub(super) signals: Signals,
    /// It was written where that may have recharged it at once: what is in hand may no longer be so.
    stale: bool,
}

impl LockedPool {
    pub fn lock(customer_id: &str, pool_id: i64) -> Result<LockedPool> {
        let row = pools::lock(customer_id, pool_id).ok_or_else(|| Error::unknown("pool", pool_id))?;
        LockedPool::advanced(row)
    }

    pub fn lock_by_name(customer_id: &str, resource_id: &str, credit_type_id: &str) -> Result<Option<LockedPool>> {
        pools::lock_by_name(customer_id, resource_id, credit_type_id).map(LockedPool::advanced).transpose()
    }

    /// A pool whose row has just been locked, with what is due carried out.
    pub fn advanced(row: PoolRow) -> Result<LockedPool> {
        let now = clock::now().max(row.last_recorded_at);
        let signals = Signals::since(row.wallet.figures.balance);
        let mut pool = LockedPool { row, now, due: 0, moved: false, limits: None, signals, stale: false };
        pool.carry_out_due()?;
        pool.due = pool.row.wallet.entries.len();
        Ok(pool)
    }

    pub fn all_advanced(rows: Vec<PoolRow>) -> Result<Vec<LockedPool>> {
        rows.into_iter().map(LockedPool::advanced).collect()
    }

    /// Carries out what is due by now. What a call itself makes due counts as the call's.
    pub fn carry_out_due(&mut self) -> Result<()> {
        let now = self.now;
        if self.row.wallet.next_transition <= now {
            let first = self.row.wallet.entries.len();
            self.moved |= self.ask(|wallet| wallet.advance(now, &mut || next_id(Sequence::Grant)))?;
            self.uncount_timed_out(first);
        }
        Ok(())
    }

    /// What holds gave back when their time was over counts no more under spending limits.
    fn uncount_timed_out(&mut self, first: usize) {
        let entries = self.row.wallet.entries.iter().skip(first);
        let timed_out = entries.filter(|entry| entry.kind == EntryType::ReservationExpire);
        let returned: Vec<(Amount, Instant)> = timed_out
            .filter_map(|entry| {
                let hold = self.row.wallet.find_hold(entry.reservation.as_deref()?)?;
                Some((entry.amount, hold.created_at))
            })
            .collect();
        if !returned.is_empty() {
            self.load_limits();
            for (amount, since) in returned {
                self.unspend(amount, since);
            }
        }
    }

    /// Loads and locks the spending limits that cover the pool, and says what they leave.
    pub fn load_limits(&mut self) {
        if self.row.limited && self.limits.is_none() {
            self.limits = Some(Limits::lock_for(&self.row, self.now));
        }
        self.row.wallet.ceiling = self.limits.as_ref().and_then(Limits::left);
    }

    /// Lets them be loaded again, together with those of other pools.
    pub fn forget_limits(&mut self) {
        self.limits = None;
    }

    pub fn limits(&mut self) -> Option<&mut Limits> {
        self.limits.as_mut()
    }

    /// Counts under the spending limits.
    pub fn spend(&self, amount: Amount) {
        if let Some(limits) = &self.limits {
            limits.spend(amount);
        }
    }

    /// Counts no more what was counted at `since`.
    pub fn unspend(&self, amount: Amount, since: Instant) {
        if let Some(limits) = &self.limits {
            limits.unspend(amount, since);
        }
    }

    /// A pool that this call opens; its opening entry counts as booked before the call.
    pub fn opened(row: PoolRow, now: Instant) -> LockedPool {
        let due = row.wallet.entries.len();
        LockedPool { row, now, due, moved: false, limits: None, signals: Signals::default(), stale: false }
    }

    /// Takes the grants that usage draws from first, loaded with those of other pools.
    pub fn put_first(&mut self, grants: Vec<Grant>) {
        if self.row.wallet.grants.is_empty() {
            self.row.wallet.grants = grants;
            self.row.wallet.prefix_loaded = true;
        }
    }

    /// A pool that this call has written, as triggers have left it.
    pub fn reload(&mut self) -> Result<()> {
        let limits = self.limits.take();
        *self = LockedPool { limits, ..LockedPool::lock(&self.row.customer_id, self.row.pool_id)? };
        self.load_first(Amount::ZERO);
        Ok(())
    }

    /// Writes what the clock did, for a call that then reads the tables and goes on with the pool.
    pub fn write_due(&mut self) -> Result<()> {
        if self.has_due() {
            self.write(Note::default());
        }
        self.reload_if_stale()
    }

    /// To be called between two writes of the same pool.
    pub fn reload_if_stale(&mut self) -> Result<()> {
        if self.stale { self.reload() } else { Ok(()) }
    }

    /// Loads the grants that a usage of `needed` draws from first, or a few more.
    pub fn load_first(&mut self, needed: Amount) {
        if !self.row.wallet.all_loaded && self.row.wallet.grants.is_empty() {
            let direct = self.row.drawing().and_then(|pool| grants::first_at(&mut [pool], needed));
            let direct = direct.and_then(|mut found| found.pop());
            self.row.wallet.grants =
                direct.unwrap_or_else(|| grants::first_to_draw(&self.row.customer_id, self.row.pool_id));
            self.row.wallet.prefix_loaded = true;
        }
    }

    fn load_open(&mut self) {
        let wallet = &mut self.row.wallet;
        let open = grants::open(&self.row.customer_id, self.row.pool_id);
        // What the call has in hand and has changed stays; so do closed grants.
        let found: HashSet<i64> = open.iter().map(|grant| grant.id).collect();
        wallet.grants.retain(|grant| grant.dirty || grant.fresh || !found.contains(&grant.id));
        let kept: HashSet<i64> = wallet.grants.iter().map(|grant| grant.id).collect();
        wallet.grants.extend(open.into_iter().filter(|grant| !kept.contains(&grant.id)));
        wallet.schedules = schedules::running(&self.row.customer_id, self.row.pool_id).schedules;
        let open = reservations::open(&self.row.customer_id, self.row.pool_id);
        let known: HashSet<String> = wallet.holds.iter().map(|hold| hold.id.to_string()).collect();
        wallet.holds.extend(open.into_iter().filter(|hold| !known.contains(&*hold.id)));
        for grant_id in held_grants(&wallet.holds) {
            // What is held may be of a grant that is over.
            if wallet.find(grant_id).is_err() {
                wallet.grants.extend(grants::one(&self.row.customer_id, grant_id));
            }
        }
        wallet.all_loaded = true;
    }

    /// Puts a hold in hand, with the grants that back it.
    pub fn load_hold(&mut self, hold: Hold) -> Result<()> {
        let parts = held_grants(std::slice::from_ref(&hold));
        if self.row.wallet.find_hold(&hold.id).is_none() {
            self.row.wallet.holds.push(hold);
        }
        parts.into_iter().try_for_each(|grant_id| self.load_grant(grant_id))
    }

    /// Loads every open grant and every schedule, also those of plans that were left, as their subscription is now.
    pub fn load_schedules(&mut self) -> HashMap<i64, Key> {
        if !self.row.wallet.all_loaded {
            self.load_open();
        }
        self.save_schedules();
        let loaded = schedules::all(&self.row.customer_id, self.row.pool_id);
        self.row.wallet.schedules = loaded.schedules;
        self.watch_schedules();
        loaded.keys
    }

    /// Lets the clock look again at what a call did to the schedules.
    pub fn watch_schedules(&mut self) {
        let next = self.row.wallet.earliest_transition();
        self.row.wallet.watch(next);
    }

    fn save_schedules(&mut self) {
        for schedule in self.row.wallet.schedules.iter_mut().filter(|s| s.dirty) {
            schedules::update(&self.row.customer_id, schedule, self.now);
            schedule.dirty = false;
        }
    }

    /// Makes sure that one grant is loaded, whatever its state.
    pub fn load_grant(&mut self, grant_id: i64) -> Result<()> {
        if self.row.wallet.find(grant_id).is_err() {
            let grant = grants::one(&self.row.customer_id, grant_id);
            self.row.wallet.push(grant.ok_or_else(|| Error::unknown("grant", grant_id))?);
        }
        Ok(())
    }

    /// Asks the rules; where they need every open grant, loads them and asks again.
    pub fn ask<T>(&mut self, mut question: impl FnMut(&mut Wallet) -> std::result::Result<T, Refusal>) -> Result<T> {
        let mut answer = question(&mut self.row.wallet);
        if matches!(answer, Err(Refusal::NeedsAllGrants)) {
            self.load_open();
            answer = question(&mut self.row.wallet);
        }
        answer.map_err(|refusal| explain(refusal, self.limits.as_ref(), &self.row))
    }

    /// Puts a new grant into the pool and writes its row.
    pub fn add_grant(&mut self, grant: Grant, unpaid: bool, terms: &grants::Terms) -> Result<()> {
        let (id, now) = (grant.id, self.now);
        // Debt is paid by what becomes active: only the new grant can, so no other needs to be loaded.
        self.ask(|wallet| wallet.add(grant.clone(), unpaid, now))?;
        if let Some(added) = self.row.wallet.grants.iter_mut().find(|g| g.id == id) {
            (added.fresh, added.dirty) = (false, false);
            grants::insert(&self.row.customer_id, self.row.pool_id, added, terms);
        }
        Ok(())
    }

    pub fn grant(&self, grant_id: i64) -> Result<&Grant> {
        self.row.wallet.find(grant_id).map_err(|_| Error::unknown("grant", grant_id))
    }

    /// Seals what the clock and the call have done since the last time, as ledger rows still to be written.
    pub fn book<'n>(&mut self, note: Note<'n>, actor: &str) -> Vec<LedgerRow<'n>> {
        if !self.row.wallet.audit() || self.stale {
            // Not reachable by the rules; should it ever be, the sums must not reach the books.
            unsound(&self.row).raise();
        }
        let entries = std::mem::take(&mut self.row.wallet.entries);
        self.row.last_recorded_at = self.now;
        let due = std::mem::take(&mut self.due);
        self.signal(&entries, due, &note);
        ledger::seal_all(&mut self.row, entries, due, note, actor, self.now)
    }

    /// Writes ledger rows, grants and the pool. `false`: the usage's key is taken, and nothing was written.
    pub fn write(&mut self, note: Note) -> bool {
        let actor = spi::actor();
        let now = self.now;
        let (due, is_usage) = (self.due, note.usage.is_some());
        // Once written, the rows are elsewhere.
        let places = self.row.places.take();
        let rows = self.book(note, &actor);
        let wallet = &self.row.wallet;
        let changed: Vec<&Grant> = wallet.grants.iter().filter(|g| g.dirty || g.fresh).collect();
        if is_usage
            && !self.moved
            && self.limits.is_none()
            && self.signals.waiting.is_empty()
            && !self.signals.rebased
            && wallet.holds.is_empty()
            && let ([row], [grant]) = (rows.as_slice(), changed.as_slice())
            && is_plain_draw(&row.entry, grant)
        {
            self.stale = self.is_low();
            let places = places.as_ref();
            return ledger::write_one_grant_usage(&self.row, places, row, grant, &actor, now);
        }
        // The rows that may carry a usage's key first: where the key is taken, nothing else is written.
        let (due, own) = rows.split_at(due.min(rows.len()));
        if let Some((head, rest)) = own.split_first() {
            if !ledger::insert(&self.row, head, &actor, now) {
                return false;
            }
            for row in due.iter().chain(rest) {
                ledger::insert(&self.row, row, &actor, now);
            }
        } else {
            for row in due {
                ledger::insert(&self.row, row, &actor, now);
            }
        }
        self.write_state();
        true
    }

    /// Writes everything but ledger rows.
    pub fn write_state(&mut self) {
        self.row.places = None;
        self.write_new_grants();
        for grant in self.row.wallet.grants.iter_mut().filter(|grant| grant.dirty) {
            grants::update(&self.row.customer_id, grant);
            grant.dirty = false;
        }
        self.write_rest();
        // Before the pool, whose trigger may write more of them.
        self.write_signals();
        self.stale = self.is_low();
        pools::update(&self.row);
    }

    /// Writes the events that wait.
    pub fn write_signals(&mut self) {
        LockedPool::write_signals_of(std::iter::once(self));
    }

    /// Those of many pools, in the order in which they were told.
    pub fn write_signals_of<'p>(pools: impl Iterator<Item = &'p mut LockedPool>) {
        let mut pools: Vec<(Vec<Signal>, &LockedPool)> = pools
            .filter(|pool| !pool.signals.waiting.is_empty())
            .map(|pool| (std::mem::take(&mut pool.signals.waiting), &*pool))
            .collect();
        let Some(now) = pools.iter().map(|(_, pool)| pool.now).max() else { return };
        let told = pools.iter_mut().flat_map(|(signals, pool)| {
            let row = &pool.row;
            signals.iter().map(move |signal| (signal.turn, signal.of_pool(row)))
        });
        let mut told: Vec<(u64, Event)> = told.collect();
        told.sort_by_key(|(turn, _)| *turn);
        let told: Vec<Event> = told.into_iter().map(|(_, event)| event).collect();
        events::write(&told, now);
    }

    /// The same for many pools, each table's rows at once.
    pub fn write_states(pools: &mut [&mut LockedPool]) {
        for pool in pools.iter_mut() {
            pool.write_new_grants();
        }
        let (mut direct, mut drawn, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for pool in pools.iter() {
            let used = pool.is_only_used();
            for grant in pool.row.wallet.grants.iter().filter(|grant| grant.dirty) {
                let row = (pool.row.customer_id.as_str(), grant);
                match (used, &pool.row.places, grant.status) {
                    (true, Some(_), Status::Active) => direct.push((&pool.row, grant)),
                    (true, ..) => drawn.push(row),
                    (false, ..) => changed.push(row),
                }
            }
        }
        for piece in direct.chunks(PIECE) {
            if !grants::update_drawn_at(piece) {
                drawn.extend(piece.iter().map(|(row, grant)| (row.customer_id.as_str(), *grant)));
            }
        }
        drawn.chunks(PIECE).for_each(grants::update_drawn);
        changed.chunks(PIECE).for_each(grants::update_all);
        let only_used: Vec<bool> = pools.iter().map(|pool| pool.is_only_used()).collect();
        for pool in pools.iter_mut() {
            pool.row.wallet.grants.iter_mut().for_each(|grant| grant.dirty = false);
            pool.write_rest();
        }
        LockedPool::write_signals_of(pools.iter_mut().map(|pool| &mut **pool));
        let rows = |used: bool| {
            let of_kind = pools.iter().zip(&only_used).filter(move |(_, only_used)| **only_used == used);
            of_kind.map(|(pool, _)| &pool.row).collect::<Vec<&PoolRow>>()
        };
        let is_direct = |row: &&PoolRow| row.places.is_some() && !row.is_low() && row.wallet.figures.debt.is_zero();
        let (direct, mut used): (Vec<&PoolRow>, Vec<&PoolRow>) = rows(true).into_iter().partition(is_direct);
        for piece in direct.chunks(PIECE) {
            if !pools::update_used_at(piece) {
                used.extend(piece);
            }
        }
        used.chunks(PIECE).for_each(pools::update_used);
        rows(false).chunks(PIECE).for_each(pools::update_all);
        for pool in pools.iter_mut() {
            pool.row.places = None;
        }
    }

    /// Nothing but usage has touched it.
    fn is_only_used(&self) -> bool {
        !self.moved && self.limits.is_none() && self.row.wallet.holds.is_empty() && !self.signals.rebased
    }

    fn write_new_grants(&mut self) {
        for grant in self.row.wallet.grants.iter_mut().filter(|grant| grant.fresh) {
            grants::insert(&self.row.customer_id, self.row.pool_id, grant, &grants::Terms::default());
            (grant.fresh, grant.dirty) = (false, false);
        }
    }

    /// What few pools have: holds, schedules, limits.
    fn write_rest(&mut self) {
        for hold in self.row.wallet.holds.iter_mut().filter(|hold| hold.dirty) {
            reservations::update(&self.row.customer_id, hold);
            hold.dirty = false;
        }
        self.save_schedules();
        if let Some(limits) = &self.limits {
            limits.save(&self.row.customer_id, &self.row.credit_type_id, &self.row.resource_id);
        }
        (self.moved, self.signals.rebased) = (false, false);
    }

    /// Whether anything is still to be sealed or, where the clock moved, written.
    pub fn has_entries(&self) -> bool {
        !self.row.wallet.entries.is_empty()
    }

    /// Below its policy's threshold: writing it may recharge it.
    pub fn is_low(&self) -> bool {
        self.row.is_low()
    }

    /// Whether the call has booked anything.
    pub fn has_booked(&self) -> bool {
        self.row.wallet.entries.len() > self.due
    }

    /// Whether anything was due, and so must be written even where the call itself changes nothing.
    pub fn has_due(&self) -> bool {
        self.moved
    }

    /// What the clock did, by kind of entry.
    pub fn due_count(&self, kind: EntryType) -> i64 {
        self.row.wallet.entries.iter().take(self.due).filter(|entry| entry.kind == kind).count() as i64
    }

    /// How many holds the clock ended.
    pub fn due_holds(&self) -> i64 {
        let holds = &self.row.wallet.holds;
        holds.iter().filter(|hold| hold.dirty && hold.status == HoldStatus::Expired).count() as i64
    }

    /// How many grants the clock made for new periods.
    pub fn due_renewals(&self) -> i64 {
        let grants = &self.row.wallet.grants;
        grants.iter().filter(|grant| grant.fresh && grant.period_start.is_some()).count() as i64
    }

    /// The balance at the end of the call: the trigger may have settled a recharge at once.
    pub fn final_balance(&self) -> Amount {
        let balance = self.row.wallet.figures.balance;
        if self.is_low() {
            return pools::balance(&self.row.customer_id, self.row.pool_id).unwrap_or(balance);
        }
        balance
    }
}

/// The grants that holds have parts of.
pub fn held_grants(holds: &[Hold]) -> Vec<i64> {
    holds.iter().flat_map(|hold| &hold.parts).filter_map(|part| part.grant_id).collect()
}

fn unsound(pool: &PoolRow) -> Error {
    Error::state(format!("the sums of the pool of {} do not agree", describe(pool)))
        .with("pool_id", pool.pool_id)
        .hint("Rows of this pool were changed outside the functions of credit_pools, or this is a bug.")
}

fn is_plain_draw(entry: &Entry, grant: &Grant) -> bool {
    entry.kind == EntryType::Consume && entry.grant_id == Some(grant.id)
}

/// A refusal of the rules as the contract's error.
pub fn explain(refusal: Refusal, limits: Option<&Limits>, pool: &PoolRow) -> Error {
    match refusal {
        Refusal::Frozen => Error::state(format!("the pool of {} is frozen", describe(pool)))
            .with("pool_id", pool.pool_id)
            .with("status", "frozen")
            .hint("Unfreeze it with set_pool(status => 'active')."),
        Refusal::Insufficient { balance, required, shortfall, floor } => {
            insufficient(&describe(pool), Some(pool.pool_id), balance, required, shortfall, floor)
        }
        Refusal::ExceedsGrant { available } => {
            Error::argument("amount", format!("the grant has only {available} left"))
                .with_number("available", available)
        }
        Refusal::GrantClosed { status } => {
            Error::state(format!("the grant is {}", status.as_str())).with("status", status.as_str())
        }
        Refusal::UnknownGrant => Error::unknown("grant", ""),
        Refusal::HoldClosed => Error::state("the reservation is closed"),
        Refusal::OverLimit { required } => {
            let limits = limits.cloned().unwrap_or_default();
            limits.refusal(&pool.resource_id, &pool.credit_type_id, required)
        }
        Refusal::NeedsAllGrants | Refusal::Overflow => Error::argument(
            "amount",
            format!("the sums of the pool of {} would pass {} digits", describe(pool), MAX_INTEGER_DIGITS + 2),
        )
        .with("pool_id", pool.pool_id),
    }
}

pub fn insufficient(
    pool: &str,
    pool_id: Option<i64>,
    balance: Amount,
    required: Amount,
    shortfall: Amount,
    floor: Limit,
) -> Error {
    Error::new(
        Kind::InsufficientCredits,
        format!("insufficient credits in the pool of {pool}: {required} required, {balance} available"),
    )
    .with("pool_id", pool_id)
    .with_number("balance", balance)
    .with_number("required", required)
    .with_number("shortfall", shortfall)
    .with_number("floor", floor)
    .hint("Grant credits to this pool, use less, or call with on_insufficient => 'cap'.")
}

/// A pool in words.
fn describe(pool: &PoolRow) -> String {
    describe_scope(&pool.resource_id, &pool.credit_type_id)
}

pub fn describe_scope(resource_id: &str, credit_type_id: &str) -> String {
    match resource_id {
        "" => format!("the customer's global scope, credit type \"{credit_type_id}\""),
        resource => format!("resource \"{resource}\", credit type \"{credit_type_id}\""),
    }
}

pub fn unknown_pool(resource_id: &str, credit_type_id: &str) -> Error {
    let scope = describe_scope(resource_id, credit_type_id);
    no_pool(&scope, resource_id).with("id", credit_type_id)
}

/// For a scope without any pool.
pub fn scope_without_pool(resource_id: &str) -> Error {
    let scope = match resource_id {
        "" => "the customer's global scope: name a resource".to_owned(),
        _ => format!("resource \"{resource_id}\""),
    };
    no_pool(&scope, resource_id).with("id", resource_id)
}

fn no_pool(scope: &str, resource_id: &str) -> Error {
    Error::new(Kind::UnknownEntity, format!("there is no pool of {scope}"))
        .with("kind", "pool")
        .with("resource_id", Some(resource_id).filter(|id| !id.is_empty()))
        .hint("open_pool, provision_subscription and grant_credits open pools.")
}
