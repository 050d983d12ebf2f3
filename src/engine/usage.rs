//! Usage: by feature and rate, or by plain credits.

use credit_pools_domain::{Amount, Drawn, Instant, OnInsufficient, Price};

use super::granting::check_scale;
use super::opening::check_scope;
use super::pool::LockedPool;
use super::pricing::{self, Quote};
use super::replay::{Payload, conflict};
use super::totals;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::isolate::undo_unless;
use crate::store::ledger::{self, Note, UsageNote};
use crate::store::spi::{Sequence, kept_back, next_id};
use crate::store::{archive, cache, catalogue, pools, spi};

/// What is asked for; checked, but for what the pool and the catalogue must tell.
#[derive(Clone)]
pub struct Request<'a> {
    pub customer_id: &'a str,
    pub resource_id: &'a str,
    pub what: What<'a>,
    pub occurred_at: Option<Instant>,
    pub on_insufficient: OnInsufficient,
    pub behavior: Behavior,
    pub dimensions: Option<&'a str>,
    pub metadata: Option<&'a str>,
}

/// What a value means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// So much more.
    Delta,
    /// So much in all in the billing period.
    Set,
}

#[derive(Clone, Copy)]
pub enum What<'a> {
    Feature { feature_id: &'a str, value: Amount },
    Credits { credit_type_id: &'a str, amount: Amount },
}

impl<'a> What<'a> {
    pub fn feature(&self) -> Option<&'a str> {
        match *self {
            What::Feature { feature_id, .. } => Some(feature_id),
            What::Credits { .. } => None,
        }
    }

    pub fn value(&self) -> Option<Amount> {
        match *self {
            What::Feature { value, .. } => Some(value),
            What::Credits { .. } => None,
        }
    }
}

/// The key of a usage and what tells its payload from another.
pub struct Key<'a> {
    pub key: &'a str,
    pub payload: Payload,
}

#[derive(Clone)]
pub struct Outcome {
    pub usage_id: i64,
    pub pool_id: i64,
    pub credit_type_id: String,
    pub credits_consumed: Amount,
    pub shortfall: Amount,
    pub balance: Amount,
    pub is_duplicate: bool,
}

/// What tells a usage from another under the same key.
pub fn payload(
    resource_id: Option<&str>,
    feature_id: Option<&str>,
    value: Option<&str>,
    occurred_at: Option<Instant>,
    dimensions: Option<&str>,
    on_insufficient: Option<&str>,
    update_behavior: Option<&str>,
    metadata: Option<&str>,
) -> Payload {
    Payload::default()
        .add(Some("report_usage"))
        .add(resource_id)
        .add(feature_id)
        .add(value)
        .add(occurred_at.map(Instant::micros))
        .add(dimensions)
        .add(Some(on_insufficient.unwrap_or("reject")))
        .add(Some(update_behavior.unwrap_or("delta")))
        .add(metadata)
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
        Ok(None) => recorded(customer_id, key)?.ok_or_else(|| taken_unseen(customer_id, key)),
        Err(error) => recorded(customer_id, key)?.ok_or(error),
    }
}

/// The key is taken, but by no usage that is to be seen.
fn taken_unseen(customer_id: &str, key: &Key) -> Error {
    // Used and archived since this transaction took its snapshot.
    if archive::has_key(customer_id, key.key) { archive::archived_meanwhile() } else { kept_back("ledger_entry") }
}

/// What the key recorded before, if it did; another payload is a conflict.
pub fn recorded(customer_id: &str, key: &Key) -> Result<Option<Outcome>> {
    let Some(usage) = ledger::usage_by_key(customer_id, key.key) else { return Ok(None) };
    if usage.payload_digest != key.payload.digest() {
        return Err(conflict(key.key));
    }
    // A lower total gave credits back; they stand where otherwise the shortfall does.
    let returned = usage.shortfall.min(Amount::ZERO);
    Ok(Some(Outcome {
        usage_id: usage.usage_id,
        pool_id: usage.pool_id,
        credit_type_id: usage.credit_type_id,
        credits_consumed: usage.credits.checked_add(returned).unwrap_or(returned),
        shortfall: usage.shortfall.max(Amount::ZERO),
        balance: usage.balance,
        is_duplicate: true,
    }))
}

/// A locked pool and what the usage costs in it.
pub struct Charge {
    pub pool: LockedPool,
    pub cost: Amount,
    /// Of a feature.
    pub quote: Option<Quote>,
}

/// `None`: the key is taken.
fn charge(request: &Request, key: Option<&Key>) -> Result<Option<Outcome>> {
    let Charge { mut pool, cost, quote } = locked(request)?;
    pool.load_first(cost);
    match &quote {
        Some(quote) if request.behavior == Behavior::Set => {
            // It may give credits back before it finds that the key is taken.
            undo_unless(|set| matches!(set, Ok(Some(_))), || totals::set(&mut pool, request, quote, key))
        }
        quote => {
            let price = quote.as_ref().map(|quote| &quote.rate.price);
            draw(&mut pool, request, next_id(Sequence::Usage), cost, price, key)
        }
    }
}

/// Draws a usage from a locked pool and writes it. `None`: the key is taken.
pub fn draw(
    pool: &mut LockedPool,
    request: &Request,
    usage_id: i64,
    cost: Amount,
    price: Option<&Price>,
    key: Option<&Key>,
) -> Result<Option<Outcome>> {
    let occurred_at = check_occurred(request, pool.now)?;
    pool.load_limits();
    let feature_id = request.what.feature();
    let drawn = pool.ask(|wallet| wallet.draw(cost, feature_id, request.on_insufficient, occurred_at))?;
    pool.spend(drawn.credits);
    let note = note(request, usage_id, drawn, price, key);
    let written = if drawn.credits.is_zero() {
        let recorded = ledger::insert_unbooked(&pool.row, &note, &spi::actor(), occurred_at, pool.now);
        if recorded && pool.has_due() {
            pool.write(Note::default());
        }
        recorded
    } else {
        pool.write(note)
    };
    Ok(written.then(|| outcome(pool, usage_id, drawn)))
}

/// What the rows of a usage say of it.
pub fn note<'a>(
    request: &Request<'a>,
    usage_id: i64,
    drawn: Drawn,
    price: Option<&Price>,
    key: Option<&Key<'a>>,
) -> Note<'a> {
    Note {
        usage: Some(UsageNote {
            usage_id,
            feature_id: request.what.feature(),
            value: request.what.value(),
            credits: drawn.credits,
            shortfall: drawn.shortfall,
            rate: price.and_then(Price::per_unit),
            payload_digest: key.map(|key| key.payload.digest()),
        }),
        idempotency_key: key.map(|key| key.key),
        dimensions: request.dimensions,
        metadata: request.metadata,
        ..Note::default()
    }
}

pub fn outcome(pool: &LockedPool, usage_id: i64, drawn: Drawn) -> Outcome {
    Outcome {
        usage_id,
        pool_id: pool.row.pool_id,
        credit_type_id: pool.row.credit_type_id.clone(),
        credits_consumed: drawn.credits,
        shortfall: drawn.shortfall,
        balance: pool.final_balance(),
        is_duplicate: false,
    }
}

pub fn check_occurred(request: &Request, now: Instant) -> Result<Instant> {
    match request.occurred_at {
        None => Ok(now),
        Some(at) if at <= now => Ok(at),
        Some(at) => Err(Error::argument("occurred_at", "occurred_at lies in the future")
            .with("occurred_at", at.to_string())
            .with("now", now.to_string())),
    }
}

/// The pool that a usage is charged to, locked, and what the usage costs there.
pub fn locked(request: &Request) -> Result<Charge> {
    cache::refresh();
    match request.what {
        What::Feature { feature_id, value } => priced(request, feature_id, value),
        What::Credits { credit_type_id, amount } => plain(request, credit_type_id, amount),
    }
}

/// Usage of a feature, priced at its instant.
fn priced(request: &Request, feature_id: &str, value: Amount) -> Result<Charge> {
    let at = request.occurred_at.unwrap_or_else(clock::now);
    let lock = |quote: Quote| {
        let row = pools::lock_to_use(request.customer_id, request.resource_id, &quote.rate.credit_type_id)?;
        Some((quote, row))
    };
    let resolved = pricing::resolve(request, feature_id, at, false);
    let mut found = resolved.quote.clone().and_then(lock);
    if found.as_ref().is_none_or(|(_, row)| resolved.is_stale(row.scope_revision)) {
        // Remembered, or read before the lock, and changed since: once more, now under the lock.
        found = pricing::resolve(request, feature_id, at, true).quote.and_then(lock);
    }
    let (quote, row) = found.ok_or_else(|| pricing::why_not(request, feature_id, value, at))?;
    let pool = LockedPool::advanced(row)?;
    // What a new total costs is not known before the total of now is.
    let cost = match request.behavior {
        Behavior::Delta => pricing::cost_now(request, &quote, value, pool.now)?,
        Behavior::Set => Amount::ZERO,
    };
    Ok(Charge { pool, cost, quote: Some(quote) })
}

/// Usage of plain credits: no subscription, no rate.
fn plain(request: &Request, credit_type_id: &str, amount: Amount) -> Result<Charge> {
    check_plain(credit_type_id, amount)?;
    match pools::lock_to_use(request.customer_id, request.resource_id, credit_type_id) {
        Some(row) => Ok(Charge { pool: LockedPool::advanced(row)?, cost: amount, quote: None }),
        None => Err(no_plain_pool(request, credit_type_id, amount)),
    }
}

pub fn check_plain(credit_type_id: &str, amount: Amount) -> Result<()> {
    let credit_type = cache::credit_type(credit_type_id);
    credit_type.map_or(Ok(()), |credit_type| check_scale("amount", amount, credit_type.scale))
}

/// Why plain credits found no pool.
pub fn no_plain_pool(request: &Request, credit_type_id: &str, amount: Amount) -> Error {
    if let Err(error) = check_scope(request.customer_id, request.resource_id) {
        return error;
    }
    if catalogue::credit_type(credit_type_id).is_none() {
        return Error::unknown("credit_type", credit_type_id);
    }
    pricing::no_pool(request, credit_type_id, amount)
}
