//! Usage: by feature and rate, or by plain credits.

use credit_pools_domain::{Amount, Drawn, EvalError, Instant, Limit, OnInsufficient};
use serde_json::{Map, Value};

use super::granting::check_scale;
use super::opening::check_scope;
use super::pool::{self, LockedPool, describe_scope};
use super::replay::{Payload, conflict};
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::cache::{self, Scope};
use crate::store::catalogue::{self, RateVersion};
use crate::store::ledger::{self, Note, UsageNote};
use crate::store::pools::{self, PoolRow};
use crate::store::spi::{Sequence, next_id};
use crate::store::{customers, subscriptions};

/// What is asked for; checked, but for what the pool and the catalogue must tell.
pub struct Request<'a> {
    pub customer_id: &'a str,
    pub resource_id: &'a str,
    pub what: What<'a>,
    pub occurred_at: Option<Instant>,
    pub on_insufficient: OnInsufficient,
    pub dimensions: Option<&'a str>,
    pub metadata: Option<&'a str>,
}

#[derive(Clone, Copy)]
pub enum What<'a> {
    Feature { feature_id: &'a str, value: Amount },
    Credits { credit_type_id: &'a str, amount: Amount },
}

/// The key of a usage and what tells its payload from another.
pub struct Key<'a> {
    pub key: &'a str,
    pub payload: Payload,
}

pub struct Outcome {
    pub usage_id: i64,
    pub pool_id: i64,
    pub credit_type_id: String,
    pub credits_consumed: Amount,
    pub shortfall: Amount,
    pub balance: Amount,
    pub is_duplicate: bool,
}

/// Charges a usage once per key.
///
/// The key is not looked up beforehand: the insertion of the usage's row finds out whether it is taken, and
/// so does any failure on the way there, because a replay comes before every other check.
pub fn report<'a>(
    customer_id: &str,
    key: Option<&Key>,
    request: impl FnOnce() -> Result<Request<'a>>,
) -> Result<Outcome> {
    let attempt = request().and_then(|request| charge(&request, key));
    let Some(key) = key else {
        return attempt.and_then(|outcome| outcome.ok_or_else(|| Error::state("the usage was not recorded")));
    };
    match attempt {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) => recorded(customer_id, key)?.ok_or_else(|| conflict(key.key)),
        Err(error) => recorded(customer_id, key)?.ok_or(error),
    }
}

/// What the key recorded before, if it did; another payload is a conflict.
fn recorded(customer_id: &str, key: &Key) -> Result<Option<Outcome>> {
    let Some(usage) = ledger::usage_by_key(customer_id, key.key) else { return Ok(None) };
    if usage.payload_digest != key.payload.digest() {
        return Err(conflict(key.key));
    }
    Ok(Some(Outcome {
        usage_id: usage.usage_id,
        pool_id: usage.pool_id,
        credit_type_id: usage.credit_type_id,
        credits_consumed: usage.credits,
        shortfall: usage.shortfall,
        balance: usage.balance,
        is_duplicate: true,
    }))
}

/// A locked pool and what the usage costs in it.
struct Charge<'a> {
    pool: LockedPool,
    cost: Amount,
    feature_id: Option<&'a str>,
    value: Option<Amount>,
    rate: Option<Amount>,
    starts_at: Option<Instant>,
}

/// `None`: the key is taken.
fn charge(request: &Request, key: Option<&Key>) -> Result<Option<Outcome>> {
    let mut charge = match request.what {
        What::Feature { feature_id, value } => priced(request, feature_id, value)?,
        What::Credits { credit_type_id, amount } => plain(request, credit_type_id, amount)?,
    };
    let now = charge.pool.now;
    let occurred_at = check_occurred(request, now)?;
    if charge.starts_at.is_some_and(|start| occurred_at < start) {
        return Err(no_subscription(request, occurred_at));
    }
    let feature_id = charge.feature_id;
    charge.pool.load_first();
    let drawn = charge.pool.ask(|wallet| wallet.draw(charge.cost, feature_id, request.on_insufficient, occurred_at))?;
    write(request, charge, drawn, occurred_at, key)
}

fn write(
    request: &Request,
    mut charge: Charge,
    drawn: Drawn,
    occurred_at: Instant,
    key: Option<&Key>,
) -> Result<Option<Outcome>> {
    let usage_id = next_id(Sequence::Usage);
    let note = Note {
        usage: Some(UsageNote {
            usage_id,
            feature_id: charge.feature_id,
            value: charge.value,
            credits: drawn.credits,
            shortfall: drawn.shortfall,
            rate: charge.rate,
            payload_digest: key.map_or(0, |k| k.payload.digest()),
        }),
        idempotency_key: key.map(|k| k.key),
        dimensions: request.dimensions,
        metadata: request.metadata,
        ..Note::default()
    };
    let pool = &mut charge.pool;
    let written = if drawn.credits.is_zero() {
        let actor = crate::store::spi::actor();
        let recorded = ledger::insert_unbooked(&pool.row, &note, &actor, occurred_at, pool.now);
        if recorded && pool.has_due() {
            pool.write(&Note::default());
        }
        recorded
    } else {
        pool.write(&note)
    };
    Ok(written.then(|| Outcome {
        usage_id,
        pool_id: pool.row.pool_id,
        credit_type_id: pool.row.credit_type_id.clone(),
        credits_consumed: drawn.credits,
        shortfall: drawn.shortfall,
        balance: pool.final_balance(),
        is_duplicate: false,
    }))
}

fn check_occurred(request: &Request, now: Instant) -> Result<Instant> {
    match request.occurred_at {
        None => Ok(now),
        Some(at) if at <= now => Ok(at),
        Some(at) => Err(Error::argument("occurred_at", "occurred_at lies in the future")
            .with("occurred_at", at.to_string())
            .with("now", now.to_string())),
    }
}

/// Usage of a feature, priced at its instant.
fn priced<'a>(request: &Request, feature_id: &'a str, value: Amount) -> Result<Charge<'a>> {
    let (customer_id, resource_id) = (request.customer_id, request.resource_id);
    let at = request.occurred_at.unwrap_or_else(clock::now);
    let refuse = || why_not(request, feature_id, value, at);
    cache::refresh();
    let known = cache::scope(customer_id, resource_id);
    let mut found = known.and_then(|scope| Some((price_and_lock(request, &scope, feature_id, at)?, scope)));
    if found.as_ref().is_none_or(|((_, row), scope)| row.scope_revision != scope.revision) {
        // Remembered, or read before the lock, and changed since: once more, now under the lock.
        let read = cache::read_scope(customer_id, resource_id);
        found = read.and_then(|scope| Some((price_and_lock(request, &scope, feature_id, at)?, scope)));
    }
    if found.as_ref().is_none_or(|(_, scope)| at < scope.starts_at || at >= scope.ends_at) {
        // Late usage counts by the subscription of its own time, though that may be over.
        let then = request.occurred_at.and_then(|at| cache::scope_at(customer_id, resource_id, at));
        found = then.and_then(|scope| Some((price_and_lock(request, &scope, feature_id, at)?, scope)));
    }
    let ((rate, row), scope) = found.ok_or_else(refuse)?;
    let pool = LockedPool::advanced(row)?;
    if pool.now < scope.starts_at || (request.occurred_at.is_none() && pool.now >= scope.ends_at) {
        return Err(no_subscription(request, pool.now));
    }
    let scale = cache::credit_type(&rate.credit_type_id).map_or(0, |t| t.scale);
    let cost = cost(request, &rate, value, scale)?;
    Ok(Charge {
        pool,
        cost,
        feature_id: Some(feature_id),
        value: Some(value),
        rate: rate.price.per_unit(),
        starts_at: Some(scope.starts_at),
    })
}

/// The rate in force - the subscription's own, else the plan's, else the one for every plan - and the pool of
/// its credit type, locked.
fn price_and_lock(request: &Request, scope: &Scope, feature_id: &str, at: Instant) -> Option<(RateVersion, PoolRow)> {
    let mut rate = cache::rate_at(feature_id, &scope.plan_id, at)?;
    if let Some(own) = scope.rates.get(feature_id) {
        rate.price = own.clone();
    }
    let row = pools::lock_by_name(request.customer_id, request.resource_id, &rate.credit_type_id)?;
    Some((rate, row))
}

/// Usage of plain credits: no subscription, no rate.
fn plain<'a>(request: &Request, credit_type_id: &str, amount: Amount) -> Result<Charge<'a>> {
    cache::refresh();
    if let Some(credit_type) = cache::credit_type(credit_type_id) {
        check_scale("amount", amount, credit_type.scale)?;
    }
    let pool = LockedPool::lock_by_name(request.customer_id, request.resource_id, credit_type_id)?;
    let Some(pool) = pool else {
        check_scope(request.customer_id, request.resource_id)?;
        if catalogue::credit_type(credit_type_id).is_none() {
            return Err(Error::unknown("credit_type", credit_type_id));
        }
        return Err(no_pool(request, credit_type_id, amount));
    };
    Ok(Charge { pool, cost: amount, feature_id: None, value: None, rate: None, starts_at: None })
}

/// Why a usage by feature found no pool and price: the first broken link, named.
fn why_not(request: &Request, feature_id: &str, value: Amount, at: Instant) -> Error {
    let (customer_id, resource_id) = (request.customer_id, request.resource_id);
    if let Err(error) = check_scope(customer_id, resource_id) {
        return error;
    }
    if !catalogue::feature_exists(feature_id) {
        return Error::unknown("feature", feature_id);
    }
    let now = clock::now();
    let Some(subscription) = subscriptions::of_scope(customer_id, resource_id) else {
        return no_subscription(request, now);
    };
    if now < subscription.starts_at.max(at) || now >= subscription.ends_at || at < subscription.starts_at {
        if let Err(error) = check_occurred(request, now) {
            return error;
        }
        return no_subscription(request, at);
    }
    let rate = cache::rate_at(feature_id, &subscription.plan_id, at);
    let Some(rate) = rate else {
        return Error::new(
            Kind::NoRate,
            format!("feature \"{feature_id}\" has no rate for plan \"{}\" at {at}", subscription.plan_id),
        )
        .with("feature_id", feature_id)
        .with("plan_id", subscription.plan_id.as_str())
        .with("at", at.to_string())
        .hint("Define one with define_rate.");
    };
    let scale = cache::credit_type(&rate.credit_type_id).map_or(0, |t| t.scale);
    match cost(request, &rate, value, scale) {
        Ok(cost) => no_pool(request, &rate.credit_type_id, cost),
        Err(error) => error,
    }
}

/// What a usage costs, by its value and the numbers among its dimensions.
fn cost(request: &Request, rate: &RateVersion, value: Amount, scale: u32) -> Result<Amount> {
    let mut dimensions: Option<Map<String, Value>> = None;
    let cost = rate.price.cost(
        value,
        |name| {
            // Read only where a formula asks.
            let read = || request.dimensions.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            match dimensions.get_or_insert_with(read).get(name) {
                Some(Value::Number(number)) => Amount::parse(&number.to_string()).ok(),
                _ => None,
            }
        },
        scale,
    );
    cost.map_err(|error| {
        let about = match &error {
            EvalError::MissingDimension(_) => "dimensions",
            EvalError::DivisionByZero(_) | EvalError::Negative(_) => "formula",
            EvalError::Overflow => "value",
        };
        let refused = match rate.price.formula() {
            None => Error::argument(about, "the cost of this value has too many digits"),
            Some(formula) => {
                Error::argument(about, format!("the rate's formula gives no cost: {error}")).with("formula", formula)
            }
        };
        match error {
            EvalError::MissingDimension(name) => refused.with("dimension", name),
            EvalError::Negative(cost) => refused.with_number("cost", cost),
            EvalError::DivisionByZero(position) => refused.with("position", position),
            EvalError::Overflow => refused,
        }
    })
}

/// A pool that was never opened has nothing.
fn no_pool(request: &Request, credit_type_id: &str, required: Amount) -> Error {
    let scope = describe_scope(request.resource_id, credit_type_id);
    pool::insufficient(&scope, None, Amount::ZERO, required, required, Limit::Finite(Amount::ZERO))
}

fn no_subscription(request: &Request, at: Instant) -> Error {
    let scope = match request.resource_id {
        "" => "the customer's global scope".to_owned(),
        resource => format!("resource \"{resource}\""),
    };
    let others: Vec<String> = customers::subscribed_scopes(request.customer_id, at)
        .into_iter()
        .filter(|other| other != request.resource_id)
        .map(
            |other| {
                if other.is_empty() { "the global scope (no resource_id)".to_owned() } else { format!("\"{other}\"") }
            },
        )
        .collect();
    let hint = match others.as_slice() {
        [] => "No scope of this customer has one: call provision_subscription first.".to_owned(),
        names => {
            format!("These scopes of the customer have one: {}. Usage never moves to another scope.", names.join(", "))
        }
    };
    Error::new(Kind::NoActiveSubscription, format!("{scope} has no active subscription at that time"))
        .with("customer_id", request.customer_id)
        .with("resource_id", Some(request.resource_id).filter(|id| !id.is_empty()))
        .with("at", at.to_string())
        .hint(hint)
}
