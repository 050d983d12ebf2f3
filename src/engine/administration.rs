//! Pools by hand: opened without a subscription, frozen, given another overdraft limit.

use credit_pools_domain::{Amount, Limit};

use super::granting::check_scale;
use super::opening::{check_scope, granting_credit_type, open_or_lock};
use super::pool::LockedPool;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::ledger::Note;
use crate::store::{catalogue, customers};

pub struct Outcome {
    pub pool_id: i64,
    pub balance: Amount,
    pub overdraft_limit: Limit,
    pub frozen: bool,
}

/// Opens a pool, and the customer and resource with it. A pool that is there stays as it is, but for what
/// is given.
pub fn open_pool(
    customer_id: &str,
    credit_type_id: &str,
    resource_id: &str,
    overdraft_limit: Option<Limit>,
    metadata: Option<&str>,
) -> Result<Outcome> {
    let credit_type = granting_credit_type(credit_type_id)?;
    check_limit(overdraft_limit, credit_type.scale)?;
    customers::ensure(customer_id, resource_id, "UTC", clock::now());
    let (mut pool, opened) = open_or_lock(customer_id, resource_id, credit_type_id, overdraft_limit, metadata)?;
    if opened || pool.has_due() || overdraft_limit.is_some() || metadata.is_some() {
        change(&mut pool, overdraft_limit, None, metadata);
    }
    Ok(outcome(&pool))
}

/// Changes what is not NULL.
pub fn set_pool(
    customer_id: &str,
    credit_type_id: &str,
    resource_id: &str,
    overdraft_limit: Option<Limit>,
    frozen: Option<bool>,
    metadata: Option<&str>,
) -> Result<Outcome> {
    check_scope(customer_id, resource_id)?;
    let credit_type =
        catalogue::credit_type(credit_type_id).ok_or_else(|| Error::unknown("credit_type", credit_type_id))?;
    check_limit(overdraft_limit, credit_type.scale)?;
    let mut pool = LockedPool::lock_by_name(customer_id, resource_id, credit_type_id)?
        .ok_or_else(|| super::pool::unknown_pool(resource_id, credit_type_id))?;
    change(&mut pool, overdraft_limit, frozen, metadata);
    Ok(outcome(&pool))
}

fn check_limit(limit: Option<Limit>, scale: u32) -> Result<()> {
    match limit {
        Some(Limit::Finite(amount)) => check_scale("overdraft_limit", amount, scale),
        _ => Ok(()),
    }
}

fn change(pool: &mut LockedPool, overdraft_limit: Option<Limit>, frozen: Option<bool>, metadata: Option<&str>) {
    let wallet = &mut pool.row.wallet;
    wallet.overdraft = overdraft_limit.unwrap_or(wallet.overdraft);
    wallet.frozen = frozen.unwrap_or(wallet.frozen);
    pool.row.metadata = metadata.map(str::to_owned);
    pool.write(Note::default());
}

fn outcome(pool: &LockedPool) -> Outcome {
    Outcome {
        pool_id: pool.row.pool_id,
        balance: pool.final_balance(),
        overdraft_limit: pool.row.wallet.overdraft,
        frozen: pool.row.wallet.frozen,
    }
}
