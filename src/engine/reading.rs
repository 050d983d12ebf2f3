//! Figures right to the instant, for the views: what is due is carried out in memory only.

use credit_pools_domain::{Amount, Figures, Grant, Instant, Status};

use crate::clock;
use crate::store::{grants, pools};

pub struct PoolNow {
    pub figures: Figures,
    pub next_expiry: Option<(Instant, Amount)>,
}

pub fn pool_now(customer_id: &str, pool_id: i64) -> Option<PoolNow> {
    let (figures, grants) = advanced(customer_id, pool_id, grants::read_open)?;
    let soonest = grants.iter().filter(|g| g.status == Status::Active).map(|g| g.expires_at).min();
    let next_expiry = soonest.filter(|at| at.is_finite()).and_then(|at| {
        let ending = grants.iter().filter(|g| g.status == Status::Active && g.expires_at == at);
        Some((at, ending.map(Grant::available).try_fold(Amount::ZERO, Amount::checked_add)?))
    });
    Some(PoolNow { figures, next_expiry })
}

pub fn grants_now(customer_id: &str, pool_id: i64) -> Vec<Grant> {
    advanced(customer_id, pool_id, grants::read_all).map(|(_, grants)| grants).unwrap_or_default()
}

/// A pool as of the statement's instant. Sums that overflow show the pool as it was last booked.
fn advanced(customer_id: &str, pool_id: i64, load: fn(&str, i64) -> Vec<Grant>) -> Option<(Figures, Vec<Grant>)> {
    let row = pools::read(customer_id, pool_id)?;
    let now = clock::statement_start().max(row.last_recorded_at);
    let mut wallet = row.wallet;
    wallet.grants = load(customer_id, pool_id);
    wallet.all_loaded = true;
    let booked = wallet.clone();
    let wallet = if wallet.advance(now).is_ok() { wallet } else { booked };
    Some((wallet.figures, wallet.grants))
}
