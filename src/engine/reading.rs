//! Figures right to the instant, for the views: what is due is carried out in memory only.

use credit_pools_domain::{Amount, Figures, Grant, Instant, Limit, Status, Wallet};

use crate::clock;
use crate::store::{grants, pools, schedules};

pub struct PoolNow {
    pub figures: Figures,
    pub overdraft: Limit,
    pub next_expiry: Option<(Instant, Amount)>,
}

pub fn pool_now(customer_id: &str, pool_id: i64) -> Option<PoolNow> {
    let Wallet { figures, overdraft, grants, .. } = advanced(customer_id, pool_id, grants::read_open)?;
    let soonest = grants.iter().filter(|g| g.status == Status::Active).map(|g| g.expires_at).min();
    let next_expiry = soonest.filter(|at| at.is_finite()).and_then(|at| {
        let ending = grants.iter().filter(|g| g.status == Status::Active && g.expires_at == at);
        Some((at, ending.map(Grant::available).try_fold(Amount::ZERO, Amount::checked_add)?))
    });
    Some(PoolNow { figures, overdraft, next_expiry })
}

pub fn grants_now(customer_id: &str, pool_id: i64) -> Vec<Grant> {
    advanced(customer_id, pool_id, grants::read_all).map(|wallet| wallet.grants).unwrap_or_default()
}

/// A pool as of the statement's instant. Sums that overflow show the pool as it was last booked.
fn advanced(customer_id: &str, pool_id: i64, load: fn(&str, i64) -> Vec<Grant>) -> Option<Wallet> {
    let row = pools::read(customer_id, pool_id)?;
    let now = clock::statement_start().max(row.last_recorded_at);
    let mut wallet = row.wallet;
    wallet.grants = load(customer_id, pool_id);
    wallet.schedules = schedules::read_running(customer_id, pool_id);
    wallet.all_loaded = true;
    let booked = wallet.clone();
    Some(if wallet.advance(now, &mut unbooked_id()).is_ok() { wallet } else { booked })
}

/// Grants that are due but not booked have no id yet: negative ones stand for them.
fn unbooked_id() -> impl FnMut() -> i64 {
    let mut last = 0;
    move || {
        last -= 1;
        last
    }
}
