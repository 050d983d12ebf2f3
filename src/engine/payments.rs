//! Payments of recharges: handed out, succeeded, failed. The pool is locked first, then the recharge is read.

use credit_pools_domain::{Amount, Category, Grant, Instant, Source, Span, Zone};

use super::pool::LockedPool;
use super::recharging::{bad_span, customer_zone, evaluate, priced, spend_window};
use super::replay;
use super::signals::Signal;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::events;
use crate::store::grants::Terms;
use crate::store::ledger::Note;
use crate::store::recharges::{self, Claimed, Counter, Recharge};
use crate::store::spi::{Sequence, next_id};

const DAY: i64 = 86_400_000_000;
/// No back-off is longer (contract, section 10).
const LONGEST_BACKOFF: i64 = DAY;
const GRANT_PRIORITY: i16 = 50;

/// Makes the grant of a recharge: paid, at its price, with the policy's life.
pub fn settle(pool: &mut LockedPool, recharge: &Recharge, payment_reference: Option<&str>) -> Result<i64> {
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
    pool.write(Note { recharge_id: Some(recharge.recharge_id), reason: Some("auto-recharge"), ..Note::default() });
    Ok(grant_id)
}

/// The recharge has brought its grant, and says so. `at_once`: in the call that asked for it.
pub fn mark_succeeded(
    pool: &LockedPool,
    recharge: &Recharge,
    grant_id: i64,
    payment_reference: Option<&str>,
    at_once: bool,
) {
    let settled_seq = at_once.then_some(pool.row.wallet.seq);
    let (customer_id, recharge_id) = (&pool.row.customer_id, recharge.recharge_id);
    recharges::mark_succeeded(customer_id, recharge_id, grant_id, payment_reference, settled_seq, pool.now);
    let succeeded = about("recharge.succeeded", pool, recharge)
        .with("grant_id", grant_id)
        .with("payment_reference", payment_reference);
    events::write(&[succeeded.of_pool(&pool.row)], pool.now);
}

fn about(kind: &'static str, pool: &LockedPool, recharge: &Recharge) -> Signal {
    let signal = Signal::new(kind, pool.now)
        .with_amount("balance", pool.row.wallet.figures.balance)
        .with("recharge_id", recharge.recharge_id);
    priced(signal, recharge.amount, recharge.price, recharge.price_currency.as_deref())
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
        "failed" => {
            let late = closed(&recharge, "failed");
            return Err(late.hint("No credits come of it any more: give the customer the money back."));
        }
        status => return Err(closed(&recharge, status)),
    };
    let grant_id = if is_duplicate {
        if pool.has_due() {
            pool.write(Note::default());
        }
        recharge.grant_id
    } else {
        // What the clock brought, not just that it was looked at.
        let had_due = pool.has_entries();
        let grant_id = settle(&mut pool, &recharge, payment_reference)?;
        mark_succeeded(&pool, &recharge, grant_id, payment_reference, false);
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
    pub is_duplicate: bool,
}

/// The payment failed: another attempt after a pause that doubles, or none and the breaker opens. `attempt`: the number
/// of the one that failed, which is told once however often it is reported.
pub fn fail(
    customer_id: &str,
    recharge_id: i64,
    reason: Option<&str>,
    permanent: bool,
    attempt: Option<i64>,
) -> Result<Failed> {
    let (mut pool, recharge) = lock(customer_id, recharge_id)?;
    if recharge.status == "succeeded" {
        return Err(closed(&recharge, "succeeded"));
    }
    if let Some(attempt) = attempt
        && attempt <= recharge.attempts
    {
        if pool.has_due() {
            pool.write(Note::default());
        }
        return Ok(Failed {
            recharge_id,
            pool_id: pool.row.pool_id,
            attempts: recharge.attempts,
            next_attempt_at: recharge.next_attempt_at,
            status: recharge.status,
            is_duplicate: true,
        });
    }
    if let Some(attempt) = attempt.filter(|attempt| *attempt != recharge.attempts + 1) {
        return Err(Error::argument(
            "attempt",
            format!("the next attempt of recharge {recharge_id} is {}", recharge.attempts + 1),
        )
        .with("attempt", attempt)
        .with("attempts", recharge.attempts));
    }
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
    let covering = recharges::policy_for(customer_id, &recharge.credit_type_id, &pool.row.resource_id);
    if covering.is_none_or(|policy| policy.resource_id != recharge.policy_resource_id) {
        // The pool has got a policy of its own since: its lock no longer keeps the other one from being changed.
        recharges::share_policy(customer_id, &recharge.credit_type_id, &recharge.policy_resource_id);
    }
    let policy = recharges::policy_for(customer_id, &recharge.credit_type_id, &recharge.policy_resource_id);
    let policy = policy.filter(|_| next_attempt_at.is_none());
    if let Some(policy) = policy.as_ref().filter(|policy| policy.max_spend.is_some() || policy.max_count.is_some()) {
        // The counter must be there before this recharge is no longer counted, or somebody who makes it just now would
        // still count it.
        let window = spend_window(policy, &customer_zone(customer_id)?, recharge.created_at)?;
        let credit_type_id = &recharge.credit_type_id;
        recharges::lock_spending(Counter { customer_id, credit_type_id, policy, window });
    }
    recharges::mark_failed(customer_id, recharge_id, reason, attempts, next_attempt_at, pool.now);
    if next_attempt_at.is_none() {
        if let Some(policy) = &policy {
            recharges::uncount_spending(customer_id, &recharge, policy);
        }
        pool.row.breaker_opened_at = Some(pool.now);
    }
    if next_attempt_at.is_none() || pool.has_due() {
        pool.write(Note::default());
    }
    let failed = about("recharge.failed", &pool, &recharge)
        .with("reason", reason)
        .with("attempts", attempts)
        .with("next_attempt_at", next_attempt_at.map(events::instant))
        .with("final", next_attempt_at.is_none());
    let opened = Signal::new("recharge.breaker_opened", pool.now)
        .with_amount("balance", pool.row.wallet.figures.balance)
        .with("recharge_id", recharge_id)
        .with("reason", reason)
        .with("attempts", attempts);
    let told = [failed.of_pool(&pool.row), opened.of_pool(&pool.row)];
    events::write(if next_attempt_at.is_none() { &told } else { &told[..1] }, pool.now);
    Ok(Failed {
        recharge_id,
        pool_id: pool.row.pool_id,
        status: (if next_attempt_at.is_some() { "pending" } else { "failed" }).to_owned(),
        attempts,
        next_attempt_at,
        is_duplicate: false,
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
