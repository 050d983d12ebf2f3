//! Figures right to the instant, for the views: what is due is carried out in memory only.

use credit_pools_domain::{Amount, Figures, Grant, Hold, Instant, Limit, Span, Wallet, Zone};

use super::opening::check_scope;
use super::plan_pools;
use super::pool::{held_grants, unknown_pool};
use crate::clock;
use crate::error::{Error, Result};
use crate::store::pools::PoolRow;
use crate::store::{grants, ledger, pools, reservations, schedules, subscriptions};

/// Every renewal until then is gone through.
const LONGEST_LOOK_AHEAD: Span = Span { months: 1200, days: 0, micros: 0 };

pub struct PoolNow {
    pub figures: Figures,
    pub overdraft: Limit,
    pub next_expiry: Option<(Instant, Amount)>,
}

pub fn pool_now(customer_id: &str, pool_id: i64) -> Option<PoolNow> {
    let Wallet { figures, overdraft, grants, .. } = advanced(customer_id, pool_id, grants::read_open)?;
    let soonest = grants.iter().filter(|g| g.available().is_positive()).map(|g| g.expires_at).min();
    let next_expiry = soonest.filter(|at| at.is_finite()).and_then(|at| {
        let ending = grants.iter().filter(|g| g.expires_at == at);
        Some((at, ending.map(Grant::available).try_fold(Amount::ZERO, Amount::checked_add)?))
    });
    Some(PoolNow { figures, overdraft, next_expiry })
}

pub fn grants_now(customer_id: &str, pool_id: i64) -> Vec<Grant> {
    advanced(customer_id, pool_id, grants::read_all).map(|wallet| wallet.grants).unwrap_or_default()
}

/// A pool with all of its grants, as of the statement's instant.
pub fn wallet_now(customer_id: &str, pool_id: i64) -> Option<Wallet> {
    advanced(customer_id, pool_id, grants::read_all)
}

/// A pool as of the statement's instant. Sums that overflow show the pool as it was last booked.
fn advanced(customer_id: &str, pool_id: i64, load: fn(&str, i64) -> Vec<Grant>) -> Option<Wallet> {
    let row = pools::read(customer_id, pool_id)?;
    let now = clock::statement_start().max(row.last_recorded_at);
    let mut wallet = row.wallet;
    wallet.grants = load(customer_id, pool_id);
    load_holds(&mut wallet, customer_id, reservations::read_open(customer_id, pool_id));
    wallet.schedules = schedules::read_running(customer_id, pool_id);
    wallet.all_loaded = true;
    let booked = wallet.clone();
    Some(if wallet.advance(now, &mut unbooked_id()).is_ok() { wallet } else { booked })
}

/// A pool as a usage at `now` would find it; its grants only where the answer depends on them.
pub fn usable_now(row: &PoolRow, now: Instant) -> Wallet {
    let wallet = row.wallet.clone();
    if wallet.next_transition > now && wallet.figures.restricted.is_zero() {
        return wallet;
    }
    advanced(&row.customer_id, row.pool_id, grants::read_open).unwrap_or(wallet)
}

/// Holds, with the grants that they have parts of, whatever has become of these.
fn load_holds(wallet: &mut Wallet, customer_id: &str, holds: Vec<Hold>) {
    for grant_id in held_grants(&holds) {
        if wallet.find(grant_id).is_err() {
            wallet.grants.extend(grants::read_one(customer_id, grant_id));
        }
    }
    wallet.holds = holds;
}

/// The period that a subscription is in.
pub fn period(customer_id: &str, subscription_id: &str) -> Option<(Instant, Instant)> {
    let subscription = subscriptions::by_id(customer_id, subscription_id)?;
    plan_pools::period(&subscription, clock::statement_start()).ok()
}

/// The grants that a usage of `feature_id` could draw from just before ledger row `seq`, in order of consumption.
pub fn in_order_before(row: &PoolRow, seq: i64, recorded_at: Instant, feature_id: Option<&str>) -> Vec<Grant> {
    let mut wallet = row.wallet.clone();
    if seq < 1 {
        // A usage that moved no credits.
        return Vec::new();
    }
    wallet.grants = grants::read_all(&row.customer_id, row.pool_id);
    wallet.all_loaded = true;
    if wallet.rewind(recorded_at, &ledger::sums_after(&row.customer_id, row.pool_id, seq - 1)).is_err() {
        return Vec::new();
    }
    let mut usable: Vec<Grant> = wallet.grants;
    usable.retain(|grant| grant.available().is_positive() && grant.serves(feature_id));
    usable.sort_by(Grant::burn_order);
    usable
}

/// The sums of a pool at an instant: of what was recorded by `known_at` and counts by `at`, and of what the clock
/// alone does by then.
pub fn balance_at(
    customer_id: &str,
    resource_id: &str,
    credit_type_id: &str,
    at: Option<Instant>,
    known_at: Option<Instant>,
) -> Result<Figures> {
    let Some(row) = pools::read_by_name(customer_id, resource_id, credit_type_id) else {
        check_scope(customer_id, resource_id)?;
        return Err(unknown_pool(resource_id, credit_type_id));
    };
    let now = clock::statement_start().max(row.last_recorded_at);
    let (at, known_at) = (at.unwrap_or(now), known_at.unwrap_or(now).min(now));
    if Zone::utc().step(now, LONGEST_LOOK_AHEAD, 1).is_ok_and(|furthest| at > furthest) {
        return Err(Error::argument("at", "at lies more than 100 years ahead").with("at", at.to_string()));
    }
    let (pool_id, last_recorded_at) = (row.pool_id, row.last_recorded_at);
    let too_large = |_| Error::argument("at", "the sums of the pool would have too many digits by then");
    let mut wallet = row.wallet;
    wallet.grants = grants::read_all(customer_id, pool_id);
    wallet.all_loaded = true;
    // As it was then, or as far as it was known; from there the clock goes on to `at`.
    let from = at.min(known_at);
    let (seq, recorded_at) = ledger::last_recorded_by(customer_id, pool_id, from);
    if from < last_recorded_at {
        wallet.schedules = schedules::read_as_of(customer_id, pool_id, from, recorded_at);
        wallet.holds = reservations::read_as_of(customer_id, pool_id, seq);
        // To when its clock had last been looked at: what happened from there to `from` comes by `advance`.
        wallet.rewind(recorded_at, &ledger::sums_after(customer_id, pool_id, seq)).map_err(too_large)?;
    } else {
        wallet.schedules = schedules::read_running(customer_id, pool_id);
        wallet.holds = reservations::read_open(customer_id, pool_id);
    }
    wallet.advance(at, &mut unbooked_id()).map_err(too_large)?;
    if at < known_at {
        let (known, _) = ledger::last_recorded_by(customer_id, pool_id, known_at);
        wallet.put_back(&ledger::said_late(customer_id, pool_id, seq, known, at)).map_err(too_large)?;
    }
    Ok(wallet.figures)
}

/// Grants that are due but not booked have no id yet: negative ones stand for them, in the order of their making.
fn unbooked_id() -> impl FnMut() -> i64 {
    let mut last = i64::MIN;
    move || {
        last += 1;
        last
    }
}
