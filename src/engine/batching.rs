//! Many usages in one call: each as a call by itself in the same order would be, but with one lock per pool and writes
//! for all of them at once.
//!
//! Pools are locked first, in the order of customers and ids. Then customers follow one another, so that the rows which
//! pools of a customer share (spending limits, what recharges have spent) are locked in that order, too.

use std::collections::HashMap;

use credit_pools_domain::{Amount, Drawn, Instant};
use pgrx::check_for_interrupts;

use super::limiting::Limits;
use super::pool::LockedPool;
use super::pricing::{self, Quote};
use super::replay::conflict;
use super::totals;
use super::usage::{self, Behavior, Key, Outcome, Request, What};
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::isolate::{in_scratch_memory, undo_unless};
use crate::store::ledger::{self, Booked, LedgerRow, Note};
use crate::store::spi::{Sequence, next_id};
use crate::store::{cache, grants, pools, spi};

/// A key that another session has just taken, or a plan that has just changed, sends the batch back to its start.
const TRIES: usize = 5;
/// Rows that one statement writes: bounds the memory that it needs.
const PIECE: usize = 2_000;

/// A usage, and what is wrong with it.
pub struct Event<'a> {
    pub customer_id: &'a str,
    pub key: Option<Key<'a>>,
    pub request: Result<Request<'a>>,
}

pub type Results = Vec<Result<Outcome>>;

/// Reports usages. `atomic`: the first that fails fails them all, and is named by its index; otherwise it fails alone.
pub fn report_all(events: &[Event], atomic: bool) -> Result<Results> {
    for _ in 0..TRIES {
        cache::refresh();
        let once = || Batch::new(events, atomic).run();
        if let Some(results) = undo_unless(|done| matches!(done, Ok(Some(_))), once)? {
            return Ok(results);
        }
    }
    Err(Error::new(Kind::SerializationFailure, "could not serialize access: keys or plans of the batch keep changing"))
}

struct Batch<'e, 'a> {
    events: &'e [Event<'a>],
    atomic: bool,
    results: Vec<Option<Result<Outcome>>>,
    pools: Vec<LockedPool>,
    /// The pool and the price of each event that has them.
    charges: Vec<Option<(usize, Quote)>>,
    /// Ledger rows of each pool that are still to be written.
    pending: Vec<Vec<LedgerRow<'a>>>,
    /// Something was recorded in the pool.
    touched: Vec<bool>,
    actor: String,
}

/// Why a batch has to begin again.
struct Restart;

impl<'e, 'a> Batch<'e, 'a> {
    fn new(events: &'e [Event<'a>], atomic: bool) -> Batch<'e, 'a> {
        Batch {
            events,
            atomic,
            results: events.iter().map(|_| None).collect(),
            pools: Vec::new(),
            charges: events.iter().map(|_| None).collect(),
            pending: Vec::new(),
            touched: Vec::new(),
            actor: spi::actor(),
        }
    }

    /// `None`: to be undone and begun again.
    fn run(mut self) -> Result<Option<Results>> {
        self.find_recorded();
        if self.lock()?.is_err() {
            return Ok(None);
        }
        let mut order: Vec<usize> = (0..self.events.len()).collect();
        order.sort_by_key(|index| self.events.get(*index).map(|event| event.customer_id));
        let mut keys: HashMap<(&str, &str), usize> = HashMap::new();
        let mut failed: Option<&str> = None;
        for index in order {
            check_for_interrupts!();
            let Some(event) = self.events.get(index) else { continue };
            if failed == Some(event.customer_id) {
                // The call fails by an event before this one.
                continue;
            }
            let known = self.results.get_mut(index).and_then(Option::take);
            let result = match self.repeated(event, &keys).or(known) {
                Some(known) => known,
                None => match self.charge(event, index)? {
                    Ok(result) => result,
                    Err(Restart) => return Ok(None),
                },
            };
            match (&result, &event.key) {
                (Ok(_), Some(key)) => {
                    keys.entry((event.customer_id, key.key)).or_insert(index);
                }
                (Err(_), _) if self.atomic => failed = Some(event.customer_id),
                _ => {}
            }
            if let Some(slot) = self.results.get_mut(index) {
                *slot = Some(result);
            }
        }
        if self.atomic
            && let Some(index) = self.results.iter().position(|result| matches!(result, Some(Err(_))))
            && let Some(Err(error)) = self.results.swap_remove(index)
        {
            return Err(error.with("index", index));
        }
        if self.write_all().is_err() {
            return Ok(None);
        }
        let missing = || Err(Error::state("the usage was not recorded"));
        Ok(Some(self.results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()))
    }

    /// Events whose key was used before, and those that are no usage: decided before any pool is locked.
    fn find_recorded(&mut self) {
        let keys: Vec<(&str, &str)> =
            self.events.iter().filter_map(|event| Some((event.customer_id, event.key.as_ref()?.key))).collect();
        let taken: std::collections::HashSet<(String, String)> =
            in_scratch_memory(|| ledger::taken_keys(&keys)).into_iter().collect();
        for (event, slot) in self.events.iter().zip(&mut self.results) {
            let known = event
                .key
                .as_ref()
                .filter(|key| !taken.is_empty() && taken.contains(&(event.customer_id.to_owned(), key.key.to_owned())));
            *slot = match (known, &event.request) {
                (Some(key), _) => usage::recorded(event.customer_id, key).transpose(),
                (None, Err(error)) => Some(Err(error.clone())),
                (None, Ok(_)) => None,
            };
        }
    }

    /// Finds price and pool of each event, and locks the pools.
    fn lock(&mut self) -> Result<std::result::Result<(), Restart>> {
        let now = clock::now();
        let requests = self.events.iter().filter_map(|event| event.request.as_ref().ok());
        in_scratch_memory(|| cache::read_scopes(requests.map(|request| (request.customer_id, request.resource_id))));
        let mut resolved = HashMap::new();
        let mut names: HashMap<(&str, &str, String), Vec<usize>> = HashMap::new();
        for (index, (event, slot)) in self.events.iter().zip(&mut self.results).enumerate() {
            let (None, Ok(request)) = (&slot, &event.request) else { continue };
            let What::Feature { feature_id, value } = request.what else { continue };
            let at = request.occurred_at.unwrap_or(now);
            let mut known = pricing::resolve(request, feature_id, at, false);
            if known.quote.is_none() {
                known = pricing::resolve(request, feature_id, at, true);
            }
            match &known.quote {
                Some(quote) => {
                    let name = (request.customer_id, request.resource_id, quote.rate.credit_type_id.clone());
                    names.entry(name).or_default().push(index);
                    resolved.insert(index, known);
                }
                None => *slot = Some(Err(pricing::why_not(request, feature_id, value, at))),
            }
        }
        let wanted: Vec<pools::Name> = names.keys().map(|(c, r, t)| (*c, *r, t.as_str())).collect();
        let rows = in_scratch_memory(|| pools::lock_by_names(&wanted));
        for row in rows {
            let name = (row.customer_id.as_str(), row.resource_id.as_str(), row.credit_type_id.clone());
            let Some(indexes) = names.get(&name) else { continue };
            let pool = self.pools.len();
            for &index in indexes {
                let Some(known) = resolved.remove(&index) else { continue };
                let quote = if known.is_stale(row.scope_revision) {
                    match self.resolve_anew(index, now) {
                        Some(quote) if quote.rate.credit_type_id == row.credit_type_id => Some(quote),
                        Some(_) => return Ok(Err(Restart)),
                        None => None,
                    }
                } else {
                    known.quote
                };
                if let Some(slot) = self.charges.get_mut(index) {
                    *slot = quote.map(|quote| (pool, quote));
                }
            }
            let mut advanced = LockedPool::advanced(row)?;
            if advanced.row.limited && advanced.has_due() {
                // What holds gave back must be booked before another pool looks at the customer's limits.
                advanced.write_due()?;
                advanced.forget_limits();
            }
            self.pools.push(advanced);
        }
        self.load_first();
        self.load_limits();
        self.pending = self.pools.iter().map(|_| Vec::new()).collect();
        self.touched = vec![false; self.pools.len()];
        Ok(Ok(()))
    }

    fn resolve_anew(&self, index: usize, now: Instant) -> Option<Quote> {
        let request = self.events.get(index)?.request.as_ref().ok()?;
        let at = request.occurred_at.unwrap_or(now);
        pricing::resolve(request, request.what.feature()?, at, true).quote
    }

    fn load_first(&mut self) {
        let bare = self.pools.iter_mut().filter(|pool| !pool.row.wallet.all_loaded && pool.row.places.is_some());
        let mut bare: Vec<&mut LockedPool> = bare.collect();
        let mut wanted: Vec<_> = bare.iter_mut().filter_map(|pool| pool.row.drawing()).collect();
        // How much will be drawn is not known yet.
        if let Some(found) = in_scratch_memory(|| grants::first_at(&mut wanted, Amount::MAX)) {
            for (pool, grants) in bare.into_iter().zip(found) {
                pool.put_first(grants);
            }
        }
        let bare = self.pools.iter().filter(|pool| !pool.row.wallet.all_loaded && !pool.row.wallet.prefix_loaded);
        let wanted: Vec<(&str, i64)> = bare.map(|pool| (pool.row.customer_id.as_str(), pool.row.pool_id)).collect();
        let mut first: HashMap<i64, Vec<_>> = HashMap::new();
        for (pool_id, grant) in in_scratch_memory(|| grants::first_to_draw_of(&wanted)) {
            first.entry(pool_id).or_default().push(grant);
        }
        for pool in self.pools.iter_mut().filter(|pool| !pool.row.wallet.all_loaded && !pool.row.wallet.prefix_loaded) {
            pool.put_first(first.remove(&pool.row.pool_id).unwrap_or_default());
        }
    }

    /// A customer's limits are one for all its pools.
    fn load_limits(&mut self) {
        let mut shared: HashMap<(String, String), Limits> = HashMap::new();
        for pool in self.pools.iter_mut().filter(|pool| pool.row.limited) {
            pool.load_limits();
            let name = (pool.row.customer_id.clone(), pool.row.credit_type_id.clone());
            if let Some(limits) = pool.limits() {
                match shared.get(&name) {
                    Some(first) => limits.share(first),
                    None => {
                        shared.insert(name, limits.clone());
                    }
                }
            }
        }
    }

    /// An event whose key an event before it has used.
    fn repeated(&self, event: &Event, keys: &HashMap<(&str, &str), usize>) -> Option<Result<Outcome>> {
        let key = event.key.as_ref()?;
        let first = *keys.get(&(event.customer_id, key.key))?;
        let same = self.events.get(first)?.key.as_ref()?.payload.digest() == key.payload.digest();
        let Some(Ok(outcome)) = self.results.get(first)? else { return None };
        Some(if same { Ok(Outcome { is_duplicate: true, ..outcome.clone() }) } else { Err(conflict(key.key)) })
    }

    /// Charges one event, as a call by itself would.
    fn charge(&mut self, event: &Event<'a>, index: usize) -> Result<std::result::Result<Result<Outcome>, Restart>> {
        let Ok(request) = &event.request else { return Ok(Ok(Err(Error::state("no usage")))) };
        let What::Feature { feature_id, value } = request.what else {
            return Ok(Ok(Err(Error::state("a batch has usage of features only"))));
        };
        let Some((index, quote)) = self.charges.get_mut(index).and_then(Option::take) else {
            let at = request.occurred_at.unwrap_or_else(clock::now);
            return Ok(Ok(Err(pricing::why_not(request, feature_id, value, at))));
        };
        if request.behavior == Behavior::Set {
            return self.set_total(event, request, index, &quote);
        }
        let Some(pool) = self.pools.get_mut(index) else { return Ok(Err(Restart)) };
        let charged = charge_one(pool, request, &quote, value);
        let (drawn, occurred_at) = match charged {
            Ok(charged) => charged,
            Err(error) => return Ok(Ok(Err(error))),
        };
        let usage_id = next_id(Sequence::Usage);
        let note = usage::note(request, usage_id, drawn, Some(&quote.rate.price), event.key.as_ref());
        if let Some(touched) = self.touched.get_mut(index) {
            // A usage that moves no credits leaves the pool alone, unless the clock has moved it.
            *touched |= drawn.credits.is_positive() || pool.has_due();
        }
        if drawn.credits.is_zero() {
            if !ledger::insert_unbooked(&pool.row, &note, &self.actor, occurred_at, pool.now) {
                return Ok(Err(Restart));
            }
        } else {
            let rows = pool.book(note, &self.actor);
            if let Some(pending) = self.pending.get_mut(index) {
                pending.extend(rows);
            }
        }
        if pool.is_low() && drawn.credits.is_positive() {
            // A recharge may settle at once, and what comes next would have it.
            if self.write_one(index).is_err() {
                return Ok(Err(Restart));
            }
            if let Some(pool) = self.pools.get_mut(index) {
                pool.reload()?;
            }
            if let Some(touched) = self.touched.get_mut(index) {
                *touched = false;
            }
        }
        let Some(pool) = self.pools.get(index) else { return Ok(Err(Restart)) };
        Ok(Ok(Ok(Outcome { balance: pool.row.wallet.figures.balance, ..usage::outcome(pool, usage_id, drawn) })))
    }

    /// A new total needs what was recorded before it in the tables, and writes for itself.
    fn set_total(
        &mut self,
        event: &Event<'a>,
        request: &Request,
        index: usize,
        quote: &Quote,
    ) -> Result<std::result::Result<Result<Outcome>, Restart>> {
        if self.touched.get(index) == Some(&true) {
            if self.write_one(index).is_err() {
                return Ok(Err(Restart));
            }
            if let Some(touched) = self.touched.get_mut(index) {
                *touched = false;
            }
            if let Some(pool) = self.pools.get_mut(index) {
                pool.reload()?;
            }
        }
        LockedPool::write_signals_of(self.pools.iter_mut());
        let Some(pool) = self.pools.get_mut(index) else { return Ok(Err(Restart)) };
        // A refusal on the way may come after something was written.
        let set =
            undo_unless(|set| matches!(set, Ok(Some(_))), || totals::set(pool, request, quote, event.key.as_ref()));
        pool.reload()?;
        Ok(match set {
            Ok(Some(outcome)) => Ok(Ok(outcome)),
            Ok(None) => Err(Restart),
            Err(error) => Ok(Err(error)),
        })
    }

    /// Writes one pool by itself.
    fn write_one(&mut self, index: usize) -> std::result::Result<(), Restart> {
        let (Some(pool), Some(pending)) = (self.pools.get_mut(index), self.pending.get_mut(index)) else {
            return Err(Restart);
        };
        if pool.has_entries() {
            // What was due, and nothing has been booked since.
            pending.extend(pool.book(Note::default(), &self.actor));
        }
        let rows = std::mem::take(pending);
        let written = in_scratch_memory(|| insert(rows.iter().map(|row| (&pool.row, row, pool.now)), &self.actor));
        if !written {
            return Err(Restart);
        }
        // What was told of other pools before this one is written came before it.
        LockedPool::write_signals_of(self.pools.iter_mut());
        if let Some(pool) = self.pools.get_mut(index) {
            pool.write_state();
        }
        Ok(())
    }

    /// Writes all that was recorded, a statement for each table and piece.
    fn write_all(&mut self) -> std::result::Result<(), Restart> {
        for ((pool, pending), touched) in self.pools.iter_mut().zip(&mut self.pending).zip(&self.touched) {
            if *touched && pool.has_entries() {
                pending.extend(pool.book(Note::default(), &self.actor));
            }
        }
        let recorded = || self.pools.iter().zip(&self.pending).zip(&self.touched).filter(|(_, touched)| **touched);
        let rows = recorded().flat_map(|((pool, pending), _)| pending.iter().map(|row| (&pool.row, row, pool.now)));
        if !in_scratch_memory(|| insert(rows, &self.actor)) {
            return Err(Restart);
        }
        let written: Vec<usize> = (0..self.pools.len()).filter(|i| self.touched.get(*i) == Some(&true)).collect();
        let mut pools: Vec<&mut LockedPool> = self
            .pools
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| written.binary_search(i).is_ok())
            .map(|(_, p)| p)
            .collect();
        in_scratch_memory(|| LockedPool::write_states(&mut pools));
        Ok(())
    }
}

fn charge_one(pool: &mut LockedPool, request: &Request, quote: &Quote, value: Amount) -> Result<(Drawn, Instant)> {
    let cost = pricing::cost_now(request, quote, value, pool.now)?;
    let occurred_at = usage::check_occurred(request, pool.now)?;
    pool.load_limits();
    let feature_id = request.what.feature();
    let drawn = pool.ask(|wallet| wallet.draw(cost, feature_id, request.on_insufficient, occurred_at))?;
    pool.spend(drawn.credits);
    Ok((drawn, occurred_at))
}

/// Writes ledger rows in pieces; `false` where a key among them is taken.
fn insert<'r, 'n: 'r>(rows: impl Iterator<Item = Booked<'r, 'n>>, actor: &str) -> bool {
    let mut piece: Vec<Booked> = Vec::with_capacity(PIECE);
    for row in rows {
        piece.push(row);
        if piece.len() == PIECE {
            if !in_scratch_memory(|| ledger::insert_all(&piece, actor)) {
                return false;
            }
            piece.clear();
        }
    }
    piece.is_empty() || ledger::insert_all(&piece, actor)
}
