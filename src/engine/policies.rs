//! Recharge policies: set and reset, for all pools of a customer and credit type or for one resource's.

use credit_pools_domain::Amount;

use super::opening::check_scope;
use super::pool::LockedPool;
use super::recharging::{bad_span, customer_zone, rules_of, spend_window};
use super::signals::Signal;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::ledger::Note;
use crate::store::pools::{self, PoolRow};
use crate::store::recharges::{self, Policy};
use crate::store::{catalogue, customers, events};

pub struct Covered {
    pub pools: i64,
    pub asked: i64,
}

/// Sets the policy of all pools of a customer and credit type, or of one resource's pool, and evaluates the
/// pools that it covers. Closes their breakers, and counts spending anew.
pub fn set_policy(customer_id: &str, credit_type_id: &str, policy: &Policy) -> Result<Covered> {
    check_scope(customer_id, &policy.resource_id)?;
    let credit_type =
        catalogue::credit_type(credit_type_id).ok_or_else(|| Error::unknown("credit_type", credit_type_id))?;
    let amounts = [
        ("threshold", Some(policy.threshold)),
        ("target_balance", policy.target_balance),
        ("recharge_amount", policy.recharge_amount),
    ];
    for (argument, amount) in amounts {
        super::granting::check_scale(argument, amount.unwrap_or(Amount::ZERO), credit_type.scale)?;
    }
    // What the evaluation will compute must be computable now, not in somebody's debit later.
    let (zone, now) = (customer_zone(customer_id)?, clock::now());
    spend_window(policy, &zone, now)?;
    zone.step(now, policy.cooldown, 1).map_err(|_| bad_span("cooldown"))?;
    zone.step(now, policy.grant_expires_after.unwrap_or_default(), 1).map_err(|_| bad_span("grant_expires_after"))?;
    let size = policy.target_balance.map_or(policy.recharge_amount, |target| target.checked_sub(policy.threshold));
    if rules_of(policy, credit_type_id).is_for_nothing() {
        return Err(Error::argument(
            "price_per_credit",
            "one recharge would cost less than the smallest amount of money",
        )
        .with_number("credits", size.unwrap_or_default())
        .with_number("price_per_credit", policy.price_per_credit.unwrap_or_default())
        .hint("Recharge more at once, or set a price_per_credit of 0 for credits that cost nothing."));
    }
    lock_policy_scope(customer_id, &policy.resource_id);
    let before = recharges::policy_for(customer_id, credit_type_id, &policy.resource_id);
    recharges::put_policy(customer_id, credit_type_id, policy, clock::now());
    if before.as_ref() != Some(policy) {
        let changed = Signal::new("recharge.policy_changed", now)
            .with("enabled", policy.enabled)
            .with_amount("threshold", policy.threshold)
            .with_maybe("target_balance", policy.target_balance)
            .with_maybe("recharge_amount", policy.recharge_amount)
            .with_maybe("price_per_credit", policy.price_per_credit)
            .with("price_currency", policy.price_currency.as_deref())
            .with_maybe("max_spend", policy.max_spend)
            .with("max_count", policy.max_count);
        events::write(&[changed.of_scope(customer_id, &policy.resource_id, Some(credit_type_id))], now);
    }
    apply(customer_id, credit_type_id, &policy.resource_id)
}

/// Closes the breakers of the pools that a policy covers and evaluates them.
pub fn reset(customer_id: &str, credit_type_id: &str, resource_id: &str) -> Result<(Policy, Covered)> {
    check_scope(customer_id, resource_id)?;
    if catalogue::credit_type(credit_type_id).is_none() {
        return Err(Error::unknown("credit_type", credit_type_id));
    }
    let policy = recharges::policy_for(customer_id, credit_type_id, resource_id)
        .ok_or_else(|| Error::unknown("auto_recharge_policy", credit_type_id))?;
    lock_policy_scope(customer_id, resource_id);
    let covered = apply(customer_id, credit_type_id, resource_id)?;
    Ok((policy, covered))
}

/// No pool that the policy would cover may be opened meanwhile without it.
fn lock_policy_scope(customer_id: &str, resource_id: &str) {
    match resource_id {
        "" => customers::lock_customer(customer_id),
        resource => customers::lock_scope(customer_id, resource),
    }
}

fn apply(customer_id: &str, credit_type_id: &str, resource_id: &str) -> Result<Covered> {
    let rows: Vec<PoolRow> = match resource_id {
        "" => pools::lock_covered(customer_id, credit_type_id),
        resource => pools::lock_by_name(customer_id, resource, credit_type_id).into_iter().collect(),
    };
    let hidden = match resource_id {
        "" => pools::covered_hidden(customer_id, credit_type_id, rows.len()),
        resource => pools::hidden(customer_id, credit_type_id, resource, rows.len()),
    };
    if hidden {
        return Err(Error::new(Kind::SerializationFailure, "could not serialize access: a pool was opened meanwhile"));
    }
    // All pools are locked: nobody is counting.
    recharges::forget_spending(customer_id, credit_type_id, resource_id);
    let newest = recharges::newest(customer_id);
    let mut covered = Covered { pools: 0, asked: 0 };
    for row in rows {
        let policy = recharges::policy_for(customer_id, credit_type_id, &row.resource_id);
        let in_scope = policy.as_ref().is_some_and(|p| p.resource_id == resource_id) || !resource_id.is_empty();
        if !in_scope {
            // It has got a policy of its own meanwhile.
            continue;
        }
        let mut pool = LockedPool::advanced(row)?;
        pool.row.recharge_threshold = policy.map(|p| p.threshold);
        pool.row.breaker_opened_at = None;
        pool.write(Note::default());
        covered.pools += 1;
        covered.asked += i64::from(recharges::asked_since(customer_id, pool.row.pool_id, newest));
    }
    Ok(covered)
}
