//! Auto-recharge: policies, the evaluation that the pool's trigger asks for, and payments.

use credit_pools_domain::{
    Amount, Attempt, Category, Decision, Grant, Instant, PolicyRules, PoolView, Size, Source, Span, Spending, Zone,
};

use super::opening::check_scope;
use super::pool::LockedPool;
use super::replay;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::grants::Terms;
use crate::store::ledger::Note;
use crate::store::pools::{self, PoolRow};
use crate::store::recharges::{self, Claimed, NewRecharge, Policy, Recharge, Window};
use crate::store::spi::{Sequence, next_id};
use crate::store::{cache, catalogue, customers};

const DAY: i64 = 86_400_000_000;
/// No back-off is longer (contract, section 10).
const LONGEST_BACKOFF: i64 = DAY;
const GRANT_PRIORITY: i16 = 50;

/// Looks at a pool that has just been changed by this transaction, and so is locked by it.
pub fn evaluate(customer_id: &str, pool_id: i64) -> Result<()> {
    let Some(pool) = pools::lock(customer_id, pool_id) else { return Ok(()) };
    let Some(policy) = recharges::policy_for(customer_id, &pool.credit_type_id, &pool.resource_id) else {
        return Ok(());
    };
    let now = clock::now().max(pool.last_recorded_at);
    let zone = customer_zone(customer_id)?;
    let window = spend_window(&policy, &zone, now)?;
    let view = PoolView {
        balance: pool.wallet.figures.balance,
        in_flight: recharges::in_flight(customer_id, pool_id),
        cooling_down: cooling_down(&policy, &zone, customer_id, pool_id, now)?,
        breaker_open: pool.breaker_opened_at.is_some(),
    };
    cache::refresh();
    let rules = rules_of(&policy, &pool.credit_type_id);
    let decision = rules.decide(view, || {
        let (spent, count) = recharges::lock_spending(customer_id, &pool.credit_type_id, &policy.resource_id, window);
        Ok(Spending { spent, count })
    })?;
    match decision {
        Decision::Enough => Ok(()),
        Decision::Skip(reason) => {
            if !recharges::repeat_skip(&pool, reason.as_str(), now) {
                let skip = NewRecharge {
                    recharge_id: next_id(Sequence::Recharge),
                    policy: &policy,
                    outcome: Err(reason.as_str()),
                    window: None,
                };
                recharges::insert(&pool, &skip, now);
            }
            Ok(())
        }
        Decision::Recharge(attempt) => ask(pool, &policy, attempt, window, now),
    }
}

/// Records a recharge; settles it where the policy does so at once.
fn ask(pool: PoolRow, policy: &Policy, attempt: Attempt, window: Window, now: Instant) -> Result<()> {
    let recharge_id = next_id(Sequence::Recharge);
    let limited = policy.max_spend.is_some() || policy.max_count.is_some();
    let recharge = NewRecharge { recharge_id, policy, outcome: Ok(attempt), window: limited.then_some(window) };
    recharges::insert(&pool, &recharge, now);
    if limited {
        let price = attempt.price.unwrap_or(Amount::ZERO);
        recharges::move_spending(&pool.customer_id, &pool.credit_type_id, &policy.resource_id, window, price, 1);
    }
    if !policy.immediate {
        return Ok(());
    }
    let customer_id = pool.customer_id.clone();
    let recharge =
        recharges::by_id(&customer_id, recharge_id).ok_or_else(|| Error::unknown("recharge", recharge_id))?;
    let mut pool = LockedPool::advanced(pool)?;
    let grant_id = settle(&mut pool, &recharge, None)?;
    recharges::mark_succeeded(&customer_id, recharge_id, grant_id, None, Some(pool.row.wallet.seq), pool.now);
    Ok(())
}

/// Makes the grant of a recharge: paid, at its price, with the policy's life.
fn settle(pool: &mut LockedPool, recharge: &Recharge, payment_reference: Option<&str>) -> Result<i64> {
    let zone = customer_zone(&pool.row.customer_id)?;
    let expires_at = match recharge.grant_expires_after {
        Some(span) => zone.step(pool.now, span, 1).map_err(|_| bad_span("grant_expires_after"))?,
        None => Instant::INFINITY,
    };
    let grant_id = next_id(Sequence::Grant);
    let grant = Grant {
        source: Source::Recharge,
        expires_at,
        ..Grant::new(grant_id, recharge.amount, Category::Paid, GRANT_PRIORITY, pool.now, pool.now)
    };
    let terms = Terms {
        price: recharge.price,
        price_currency: recharge.price_currency.as_deref(),
        payment_reference,
        recharge_id: Some(recharge.recharge_id),
        reason: Some("auto-recharge"),
        ..Terms::default()
    };
    pool.add_grant(grant, false, &terms)?;
    // The trigger passes over an update that changes this column: the recharge's own grant fires nothing.
    pool.row.last_recharge_id = Some(recharge.recharge_id);
    let note = Note { recharge_id: Some(recharge.recharge_id), reason: Some("auto-recharge"), ..Note::default() };
    pool.write(note.clone());
    Ok(grant_id)
}

fn rules_of(policy: &Policy, credit_type_id: &str) -> PolicyRules {
    let credit_type = cache::credit_type(credit_type_id);
    PolicyRules {
        // An archived credit type takes no new grants, so none is asked for.
        enabled: policy.enabled && credit_type.is_none_or(|t| !t.archived),
        threshold: policy.threshold,
        size: match (policy.target_balance, policy.recharge_amount) {
            (Some(target), _) => Size::Target(target),
            (None, amount) => Size::Fixed(amount.unwrap_or(Amount::ZERO)),
        },
        price_per_credit: policy.price_per_credit,
        currency: policy.price_currency.clone(),
        max_spend: policy.max_spend,
        max_count: policy.max_count,
        scale: credit_type.map_or(0, |t| t.scale),
    }
}

fn cooling_down(policy: &Policy, zone: &Zone, customer_id: &str, pool_id: i64, now: Instant) -> Result<bool> {
    if policy.cooldown == Span::default() {
        return Ok(false);
    }
    let Some(last) = recharges::last_asked_at(customer_id, pool_id) else { return Ok(false) };
    Ok(zone.step(last, policy.cooldown, 1).map_err(|_| bad_span("cooldown"))? > now)
}

fn spend_window(policy: &Policy, zone: &Zone, now: Instant) -> Result<Window> {
    let (start, end) = zone.window(policy.spend_period, now).map_err(|_| bad_span("spend_period"))?;
    Ok(Window { start, end })
}

pub fn customer_zone(customer_id: &str) -> Result<Zone> {
    let name = customers::time_zone(customer_id).unwrap_or_else(|| "UTC".to_owned());
    Zone::find(&name).map_err(|_| super::provisioning::unknown_zone(&name))
}

pub fn bad_span(argument: &str) -> Error {
    Error::argument(argument, format!("{argument} leaves the range of the calendar"))
}

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
    lock_policy_scope(customer_id, &policy.resource_id);
    recharges::put_policy(customer_id, credit_type_id, policy, clock::now());
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
    let rows = match resource_id {
        "" => pools::lock_credit_type(customer_id, credit_type_id),
        resource => pools::lock_by_name(customer_id, resource, credit_type_id).into_iter().collect(),
    };
    if pools::hidden(customer_id, credit_type_id, resource_id, rows.len()) {
        return Err(Error::new(Kind::SerializationFailure, "could not serialize access: a pool was opened meanwhile"));
    }
    // All pools are locked: nobody is counting.
    recharges::forget_spending(customer_id, credit_type_id, resource_id);
    let newest = recharges::newest(customer_id);
    let mut covered = Covered { pools: 0, asked: 0 };
    for row in rows {
        let policy = recharges::policy_for(customer_id, credit_type_id, &row.resource_id);
        let mut pool = LockedPool::advanced(row)?;
        let in_scope = policy.as_ref().is_some_and(|p| p.resource_id == resource_id) || !resource_id.is_empty();
        if !in_scope {
            // An override of its own covers it.
            continue;
        }
        pool.row.recharge_threshold = policy.map(|p| p.threshold);
        pool.row.breaker_opened_at = None;
        pool.write(Note::default());
        covered.pools += 1;
        covered.asked += i64::from(recharges::asked_since(customer_id, pool.row.pool_id, newest));
    }
    Ok(covered)
}

pub struct Settled {
    pub recharge_id: i64,
    pub pool_id: i64,
    pub status: String,
    pub grant_id: Option<i64>,
    pub amount: Amount,
    pub balance: Amount,
    pub is_duplicate: bool,
}

/// A recharge's pool, locked first, then the recharge as it is.
fn lock(customer_id: &str, recharge_id: i64) -> Result<(LockedPool, Recharge)> {
    let unknown = || Error::unknown("recharge", recharge_id);
    let pool_id = recharges::by_id(customer_id, recharge_id).ok_or_else(unknown)?.pool_id;
    let pool = LockedPool::lock(customer_id, pool_id)?;
    let recharge = recharges::by_id(customer_id, recharge_id).ok_or_else(unknown)?;
    Ok((pool, recharge))
}

/// The payment succeeded: makes the grant, once, also when the lease has run out.
pub fn complete(customer_id: &str, recharge_id: i64, payment_reference: Option<&str>) -> Result<Settled> {
    let (mut pool, recharge) = lock(customer_id, recharge_id)?;
    let is_duplicate = match recharge.status.as_str() {
        "pending" | "processing" => false,
        "succeeded" if recharge.payment_reference.as_deref() == payment_reference => true,
        "succeeded" => {
            return Err(replay::conflict(&format!("recharge {recharge_id}")).with("recharge_id", recharge_id));
        }
        status => return Err(closed(&recharge, status)),
    };
    let grant_id = if is_duplicate {
        if pool.has_due() {
            pool.write(Note::default());
        }
        recharge.grant_id
    } else {
        let had_due = pool.has_due();
        let grant_id = settle(&mut pool, &recharge, payment_reference)?;
        recharges::mark_succeeded(customer_id, recharge_id, grant_id, payment_reference, None, pool.now);
        if had_due {
            // The trigger passed over the recharge's own grant, and so over what was due with it.
            evaluate(customer_id, pool.row.pool_id)?;
        }
        Some(grant_id)
    };
    Ok(Settled {
        recharge_id,
        pool_id: pool.row.pool_id,
        status: "succeeded".to_owned(),
        grant_id,
        amount: recharge.amount,
        balance: pool.final_balance(),
        is_duplicate,
    })
}

pub struct Failed {
    pub recharge_id: i64,
    pub pool_id: i64,
    pub status: String,
    pub attempts: i64,
    pub next_attempt_at: Option<Instant>,
}

/// The payment failed: another attempt after a pause that doubles, or none and the breaker opens.
pub fn fail(customer_id: &str, recharge_id: i64, reason: Option<&str>, permanent: bool) -> Result<Failed> {
    let (mut pool, recharge) = lock(customer_id, recharge_id)?;
    match recharge.status.as_str() {
        "pending" | "processing" => {}
        status => return Err(closed(&recharge, status)),
    }
    let attempts = recharge.attempts + 1;
    let next_attempt_at = if permanent || attempts >= recharge.max_failures {
        None
    } else {
        let doublings = u32::try_from(attempts - 1).unwrap_or(u32::MAX).min(40);
        let pause = recharge.backoff.nominal_micros().saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
        Some(pool.now.plus_micros(pause))
    };
    recharges::mark_failed(customer_id, recharge_id, reason, attempts, next_attempt_at, pool.now);
    if next_attempt_at.is_none() {
        if let Some(window) = recharge.window {
            let price = -recharge.price.unwrap_or(Amount::ZERO);
            let policy = &recharge.policy_resource_id;
            recharges::move_spending(customer_id, &recharge.credit_type_id, policy, window, price, -1);
        }
        pool.row.breaker_opened_at = Some(pool.now);
    }
    if next_attempt_at.is_none() || pool.has_due() {
        pool.write(Note::default());
    }
    Ok(Failed {
        recharge_id,
        pool_id: pool.row.pool_id,
        status: (if next_attempt_at.is_some() { "pending" } else { "failed" }).to_owned(),
        attempts,
        next_attempt_at,
    })
}

fn closed(recharge: &Recharge, status: &str) -> Error {
    Error::state(format!("recharge {} is {status}", recharge.recharge_id))
        .with("recharge_id", recharge.recharge_id)
        .with("status", status)
}

/// Hands due recharges to a payment worker.
pub fn claim(worker: &str, limit: i64, lease: Span) -> Result<Vec<(Claimed, Instant)>> {
    let now = clock::now();
    let until = Zone::utc().step(now, lease, 1).map_err(|_| bad_span("lease"))?;
    Ok(recharges::claim(worker, limit, until, now).into_iter().map(|claimed| (claimed, until)).collect())
}
