//! Grants: made, paid for, taken back.

use credit_pools_domain::{Amount, Category, Grant, Instant};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::opening::{check_scope, granting_credit_type, open_or_lock};
use super::pool::LockedPool;
use crate::error::{Error, Result};
use crate::store::grants::{self, Terms};
use crate::store::ledger::Note;
use crate::store::spi::{Sequence, next_id};

/// A grant as it is asked for. What depends on the credit type or the clock is still to be checked.
pub struct Request<'a> {
    pub customer_id: &'a str,
    pub resource_id: &'a str,
    pub credit_type_id: &'a str,
    pub amount: Amount,
    pub category: Category,
    pub priority: i16,
    pub effective_at: Option<Instant>,
    pub expires_at: Option<Instant>,
    pub unpaid: bool,
    pub price: Option<Amount>,
    pub price_currency: Option<&'a str>,
    pub feature_ids: Option<Vec<String>>,
    pub display_name: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    pub metadata: Option<&'a str>,
}

/// What a call on a grant returns; kept with its key.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub grant_id: i64,
    pub pool_id: i64,
    pub amount: Amount,
    pub remaining: Amount,
    pub voided: Amount,
    pub status: String,
    pub balance: Amount,
}

pub fn grant(request: &Request) -> Result<Outcome> {
    check_scope(request.customer_id, request.resource_id)?;
    let credit_type = granting_credit_type(request.credit_type_id)?;
    check_scale("amount", request.amount, credit_type.scale)?;
    let (mut pool, _) = open_or_lock(request.customer_id, request.resource_id, request.credit_type_id, None, None)?;
    let effective_at = request.effective_at.unwrap_or(pool.now);
    let expires_at = request.expires_at.unwrap_or(Instant::INFINITY);
    if expires_at <= effective_at || expires_at <= pool.now {
        return Err(Error::argument("expires_at", "expires_at must be later than effective_at and than now")
            .with("effective_at", effective_at.to_string())
            .with("expires_at", expires_at.to_string())
            .with("now", pool.now.to_string()));
    }
    let id = next_id(Sequence::Grant);
    let grant = Grant {
        features: request.feature_ids.clone(),
        expires_at,
        ..Grant::new(id, request.amount, request.category, request.priority, effective_at, pool.now)
    };
    let terms = Terms {
        price: request.price,
        price_currency: request.price_currency,
        display_name: request.display_name,
        reason: request.reason,
        metadata: request.metadata,
        ..Terms::default()
    };
    pool.add_grant(grant, request.unpaid, &terms)?;
    let note = Note {
        idempotency_key: request.idempotency_key,
        reason: request.reason,
        metadata: request.metadata,
        ..Note::default()
    };
    pool.write(note.clone());
    outcome(&pool, id)
}

pub fn check_scale(argument: &str, amount: Amount, scale: u32) -> Result<()> {
    if amount.decimals() > scale {
        return Err(Error::argument(
            argument,
            format!("{argument} has {} decimals, the credit type has {scale}", amount.decimals()),
        )
        .with("scale", scale));
    }
    Ok(())
}

/// The pool of a grant, locked, with the grant loaded.
fn lock_pool_of(customer_id: &str, grant_id: i64) -> Result<LockedPool> {
    let pool_id = grants::pool_of(customer_id, grant_id).ok_or_else(|| Error::unknown("grant", grant_id))?;
    let mut pool = LockedPool::lock(customer_id, pool_id)?;
    pool.load_grant(grant_id)?;
    Ok(pool)
}

/// The payment of a grant arrived: it counts from now on, or from its start where that lies ahead. A second
/// confirmation is the same success; one with another reference is a conflict.
pub fn confirm_payment(customer_id: &str, grant_id: i64, payment_reference: Option<&str>) -> Result<Outcome> {
    let mut pool = lock_pool_of(customer_id, grant_id)?;
    let now = pool.now;
    let confirmed = pool.ask(|wallet| wallet.confirm(grant_id, now))?;
    if confirmed {
        if let Some(reference) = payment_reference {
            grants::set_payment_reference(customer_id, grant_id, reference);
        }
        pool.write(Note { reason: Some("payment confirmed"), ..Note::default() });
    } else if pool.has_due() {
        pool.write(Note::default());
    }
    outcome(&pool, grant_id)
}

/// Takes back what is neither consumed nor held of a grant, or a part of it.
pub fn void(
    customer_id: &str,
    grant_id: i64,
    amount: Option<Amount>,
    reason: Option<&str>,
    idempotency_key: Option<&str>,
) -> Result<Outcome> {
    let mut pool = lock_pool_of(customer_id, grant_id)?;
    if let Some(amount) = amount {
        let scale = crate::store::catalogue::credit_type(&pool.row.credit_type_id).map_or(0, |t| t.scale);
        check_scale("amount", amount, scale)?;
    }
    let now = pool.now;
    let taken = pool.ask(|wallet| wallet.void(grant_id, amount, now))?;
    if pool.has_booked() || pool.has_due() {
        pool.write(Note { reason, idempotency_key, ..Note::default() });
    }
    Ok(Outcome { voided: taken, ..outcome(&pool, grant_id)? })
}

/// What `update` changes; `None` leaves a value.
pub struct Update<'a> {
    pub priority: Option<i16>,
    pub expires_at: Option<Instant>,
    pub display_name: Option<&'a str>,
    pub metadata: Option<&'a str>,
}

/// Changes a grant. Its amount, category and start stay; a grant that is over keeps its priority and its end, too.
pub fn update(customer_id: &str, grant_id: i64, update: &Update, idempotency_key: Option<&str>) -> Result<Outcome> {
    let mut pool = lock_pool_of(customer_id, grant_id)?;
    let now = pool.now;
    let grant = pool.grant(grant_id)?;
    if let Some(at) = update.expires_at
        && at != grant.expires_at
        && (at <= grant.effective_at || at <= now)
    {
        return Err(Error::argument("expires_at", "expires_at must be later than effective_at and than now")
            .with("effective_at", grant.effective_at.to_string())
            .with("expires_at", at.to_string())
            .with("now", now.to_string()));
    }
    let same_priority = update.priority.is_none_or(|priority| priority == grant.priority);
    let same_end = update.expires_at.is_none_or(|at| at == grant.expires_at);
    let changes = text_changes(customer_id, grant_id, update);
    if !(same_priority && same_end && changes.is_empty()) {
        pool.ask(|wallet| wallet.update(grant_id, update.priority, update.expires_at, now))?;
        pool.write(Note { idempotency_key, changes, ..Note::default() });
    } else if pool.has_due() {
        pool.write(Note::default());
    }
    outcome(&pool, grant_id)
}

fn text_changes(customer_id: &str, grant_id: i64, update: &Update) -> Map<String, Value> {
    let (name, metadata) = grants::texts(customer_id, grant_id);
    let json = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let mut changes = Map::new();
    if let Some(new) = update.display_name.filter(|new| name.as_deref() != Some(new)) {
        changes.insert("display_name".to_owned(), json!({"from": name, "to": new}));
    }
    if let Some(new) = update.metadata.filter(|new| metadata.as_deref() != Some(new)) {
        changes.insert("metadata".to_owned(), json!({"from": json(metadata.as_deref()), "to": json(Some(new))}));
    }
    if !changes.is_empty() {
        let (name, metadata) = (update.display_name.or(name.as_deref()), update.metadata.or(metadata.as_deref()));
        grants::set_texts(customer_id, grant_id, name, metadata);
    }
    changes
}

fn outcome(pool: &LockedPool, grant_id: i64) -> Result<Outcome> {
    let grant = pool.grant(grant_id)?;
    Ok(Outcome {
        grant_id,
        pool_id: pool.row.pool_id,
        amount: grant.amount,
        remaining: grant.remaining(),
        voided: Amount::ZERO,
        status: grant.status.as_str().to_owned(),
        balance: pool.final_balance(),
    })
}
