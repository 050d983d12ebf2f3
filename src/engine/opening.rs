//! Opening pools.

use credit_pools_domain::{Amount, Limit, Wallet};

use super::pool::LockedPool;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::pools::{self, PoolRow};
use crate::store::spi::{Sequence, next_id};
use crate::store::{alerts, catalogue, customers, limits, recharges, subscriptions};

/// The pool of that name, locked; opened if it is missing, with the row of its opening still to be written
/// by `LockedPool::write`. The customer and the resource exist.
pub fn open_or_lock(
    customer_id: &str,
    resource_id: &str,
    credit_type_id: &str,
    overdraft: Option<Limit>,
    metadata: Option<&str>,
) -> Result<(LockedPool, bool)> {
    if let Some(pool) = LockedPool::lock_by_name(customer_id, resource_id, credit_type_id)? {
        return Ok((pool, false));
    }
    // Policies and the subscription stay as they are while the pool comes to be: one that is set meanwhile
    // covers it, one set before is found here.
    customers::share_for_opening(customer_id, resource_id);
    let threshold = recharges::policy_for(customer_id, credit_type_id, resource_id).map(|p| p.threshold);
    let scope_revision = subscriptions::of_scope(customer_id, resource_id).map_or(0, |s| s.revision);
    let now = clock::now();
    let row = PoolRow {
        customer_id: customer_id.to_owned(),
        pool_id: next_id(Sequence::Pool),
        resource_id: resource_id.to_owned(),
        credit_type_id: credit_type_id.to_owned(),
        wallet: Wallet::open(overdraft.unwrap_or(Limit::Finite(Amount::ZERO)), now),
        scope_revision,
        grants_revision: 0,
        recharge_threshold: threshold,
        last_recharge_id: None,
        breaker_opened_at: None,
        alerts: alerts::of_customer(customer_id, credit_type_id),
        alert_granted: None,
        alert_granted_until: None,
        last_hash: Vec::new(),
        last_recorded_at: now,
        limited: limits::any_for(customer_id, credit_type_id, resource_id),
        metadata: metadata.map(str::to_owned),
        places: None,
    };
    if pools::insert(&row, now) {
        return Ok((LockedPool::opened(row, now), true));
    }
    // Somebody else has just opened it.
    LockedPool::lock_by_name(customer_id, resource_id, credit_type_id)?
        .map(|pool| (pool, false))
        .ok_or_else(|| Error::state("the pool is being opened by another session"))
}

/// The credit type, if it can take new grants.
pub fn granting_credit_type(credit_type_id: &str) -> Result<catalogue::CreditType> {
    let credit_type =
        catalogue::credit_type(credit_type_id).ok_or_else(|| Error::unknown("credit_type", credit_type_id))?;
    if credit_type.archived {
        return Err(Error::state(format!("credit type \"{credit_type_id}\" is archived: it takes no new grants"))
            .with("credit_type_id", credit_type_id)
            .with("status", "archived"));
    }
    Ok(credit_type)
}

/// The scope that a call names must be known.
pub fn check_scope(customer_id: &str, resource_id: &str) -> Result<()> {
    // One look in the usual case: the resource is there.
    if customers::resource_exists(customer_id, resource_id) {
        return Ok(());
    }
    if !customers::exists(customer_id) {
        return Err(Error::unknown("customer", customer_id)
            .hint("provision_subscription and open_pool make customers and resources."));
    }
    Err(Error::unknown("resource", resource_id)
        .with("customer_id", customer_id)
        .hint("provision_subscription and open_pool make resources; credits never go to another pool instead."))
}
