//! grant_credits, confirm_grant_payment and void_grant.

use credit_pools_domain::Category;
use pgrx::prelude::*;

use super::args::{self, Described, JsonText};
use super::call;
use crate::engine::granting::{self, Request};
use crate::engine::replay::{self, Payload};
use crate::engine::transferring;
use crate::error::{Error, Result};
use crate::store::{catalogue, spi};

/// How many features one grant may be limited to.
const MAX_FEATURES: usize = 100;

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn grant_credits(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    category: default!(Option<&str>, "'paid'"),
    priority: default!(Option<i32>, "50"),
    effective_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    expires_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    price: default!(Option<AnyNumeric>, "NULL"),
    price_currency: default!(Option<&str>, "NULL"),
    payment_state: default!(Option<&str>, "'paid'"),
    feature_ids: default!(Option<Vec<Option<String>>>, "NULL"),
    display_name: default!(Option<&str>, "NULL"),
    reason: default!(Option<&str>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(grant_id, i64),
        name!(pool_id, i64),
        name!(amount, AnyNumeric),
        name!(status, String),
        name!(balance, AnyNumeric),
        name!(is_duplicate, bool),
    ),
> {
    let (outcome, is_duplicate) = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let idempotency_key = args::key(idempotency_key)?;
        let payload = Payload::default()
            .add(resource_id)
            .add(credit_type_id)
            .number(&amount)
            .add(Some(category.unwrap_or("paid")))
            .add(Some(priority.unwrap_or(50)))
            .instant(effective_at)
            .instant(expires_at)
            .number(&price)
            .add(price_currency)
            .add(Some(payment_state.unwrap_or("paid")))
            .add(feature_ids.as_ref().map(|ids| format!("{ids:?}")))
            .add(display_name)
            .add(reason)
            .add(args::json(&metadata));
        replay::once(customer_id, "grant_credits", idempotency_key, &payload, || {
            let price = args::optional_not_negative("price", &price)?;
            granting::grant(&Request {
                customer_id,
                resource_id: args::resource(resource_id)?,
                credit_type_id: args::id("credit_type_id", credit_type_id)?,
                amount: args::positive("amount", &amount)?,
                category: category_of(category.unwrap_or("paid"))?,
                priority: args::priority(priority)?.unwrap_or(50),
                effective_at: args::finite_instant("effective_at", effective_at)?,
                expires_at: args::instant(expires_at),
                unpaid: unpaid(payment_state.unwrap_or("paid"))?,
                price,
                price_currency: args::price(price, price_currency)?,
                feature_ids: features(feature_ids)?,
                display_name: args::note("display_name", display_name)?,
                reason: args::note("reason", reason)?,
                idempotency_key,
                metadata: args::object("metadata", &metadata)?,
            })
        })
    });
    TableIterator::once((
        outcome.grant_id,
        outcome.pool_id,
        spi::numeric(outcome.amount),
        outcome.status,
        spi::numeric(outcome.balance),
        is_duplicate,
    ))
}

fn category_of(text: &str) -> Result<Category> {
    Category::parse(text).ok_or_else(|| {
        Error::argument("category", "category must be paid, promotional or recurring").with("category", text)
    })
}

fn unpaid(payment_state: &str) -> Result<bool> {
    match payment_state {
        "paid" => Ok(false),
        "pending" => Ok(true),
        other => {
            Err(Error::argument("payment_state", "payment_state must be paid or pending").with("payment_state", other))
        }
    }
}

/// The features that a grant is limited to: known ones, each once; none means no limit only as NULL.
fn features(ids: Option<Vec<Option<String>>>) -> Result<Option<Vec<String>>> {
    let Some(ids) = ids else { return Ok(None) };
    if ids.is_empty() || ids.len() > MAX_FEATURES {
        return Err(Error::argument(
            "feature_ids",
            format!("feature_ids must name 1 to {MAX_FEATURES} features, or be NULL"),
        ));
    }
    let mut features = Vec::with_capacity(ids.len());
    for id in &ids {
        let id = args::id("feature_ids", id.as_deref())?;
        if !catalogue::feature_exists(id) {
            return Err(Error::unknown("feature", id));
        }
        features.push(id.to_owned());
    }
    features.sort();
    features.dedup();
    Ok(Some(features))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn confirm_grant_payment(
    customer_id: default!(Option<&str>, "NULL"),
    grant_id: default!(Option<i64>, "NULL"),
    payment_reference: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(grant_id, i64),
        name!(pool_id, i64),
        name!(amount, AnyNumeric),
        name!(remaining, AnyNumeric),
        name!(status, String),
        name!(balance, AnyNumeric),
    ),
> {
    let outcome = call(|| {
        granting::confirm_payment(
            args::id("customer_id", customer_id)?,
            args::required("grant_id", grant_id)?,
            reference(payment_reference)?,
        )
    });
    TableIterator::once((
        outcome.grant_id,
        outcome.pool_id,
        spi::numeric(outcome.amount),
        spi::numeric(outcome.remaining),
        outcome.status,
        spi::numeric(outcome.balance),
    ))
}

/// A payment's reference follows the rule of ids.
pub fn reference(value: Option<&str>) -> Result<Option<&str>> {
    args::optional_id("payment_reference", value)
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn void_grant(
    customer_id: default!(Option<&str>, "NULL"),
    grant_id: default!(Option<i64>, "NULL"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    reason: default!(Option<&str>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(grant_id, i64),
        name!(pool_id, i64),
        name!(amount, AnyNumeric),
        name!(remaining, AnyNumeric),
        name!(status, String),
        name!(balance, AnyNumeric),
        name!(voided, AnyNumeric),
        name!(is_duplicate, bool),
    ),
> {
    let (outcome, is_duplicate) = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let idempotency_key = args::key(idempotency_key)?;
        let payload = Payload::default().add(grant_id).number(&amount).add(reason);
        replay::once(customer_id, "void_grant", idempotency_key, &payload, || {
            let amount = args::optional_positive("amount", &amount)?;
            let reason = args::note("reason", reason)?;
            granting::void(customer_id, args::required("grant_id", grant_id)?, amount, reason, idempotency_key)
        })
    });
    TableIterator::once((
        outcome.grant_id,
        outcome.pool_id,
        spi::numeric(outcome.amount),
        spi::numeric(outcome.remaining),
        outcome.status,
        spi::numeric(outcome.balance),
        spi::numeric(outcome.voided),
        is_duplicate,
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn update_grant(
    customer_id: default!(Option<&str>, "NULL"),
    grant_id: default!(Option<i64>, "NULL"),
    priority: default!(Option<i32>, "NULL"),
    expires_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    display_name: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(grant_id, i64),
        name!(pool_id, i64),
        name!(amount, AnyNumeric),
        name!(remaining, AnyNumeric),
        name!(status, String),
        name!(balance, AnyNumeric),
        name!(is_duplicate, bool),
    ),
> {
    let (outcome, is_duplicate) = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let idempotency_key = args::key(idempotency_key)?;
        let payload = Payload::default()
            .add(grant_id)
            .add(priority)
            .instant(expires_at)
            .add(display_name)
            .add(args::json(&metadata));
        replay::once(customer_id, "update_grant", idempotency_key, &payload, || {
            let update = granting::Update {
                priority: args::priority(priority)?,
                expires_at: args::instant(expires_at),
                display_name: args::note("display_name", display_name)?,
                metadata: args::object("metadata", &metadata)?,
            };
            granting::update(customer_id, args::required("grant_id", grant_id)?, &update, idempotency_key)
        })
    });
    TableIterator::once((
        outcome.grant_id,
        outcome.pool_id,
        spi::numeric(outcome.amount),
        spi::numeric(outcome.remaining),
        outcome.status,
        spi::numeric(outcome.balance),
        is_duplicate,
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn transfer_credits(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    from_resource_id: default!(Option<&str>, "NULL"),
    to_resource_id: default!(Option<&str>, "NULL"),
    reason: default!(Option<&str>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(amount, AnyNumeric),
        name!(from_pool_id, i64),
        name!(from_balance, AnyNumeric),
        name!(to_pool_id, i64),
        name!(to_balance, AnyNumeric),
        name!(is_duplicate, bool),
    ),
> {
    let (outcome, is_duplicate) = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let idempotency_key = args::key(idempotency_key)?;
        let payload = Payload::default()
            .add(credit_type_id)
            .number(&amount)
            .add(from_resource_id)
            .add(to_resource_id)
            .add(reason);
        replay::once(customer_id, "transfer_credits", idempotency_key, &payload, || {
            transferring::transfer(&transferring::Request {
                customer_id,
                credit_type_id: args::id("credit_type_id", credit_type_id)?,
                amount: args::positive("amount", &amount)?,
                from_resource_id: args::optional_id("from_resource_id", from_resource_id)?.unwrap_or_default(),
                to_resource_id: args::optional_id("to_resource_id", to_resource_id)?.unwrap_or_default(),
                reason: args::note("reason", reason)?,
                idempotency_key,
            })
        })
    });
    TableIterator::once((
        spi::numeric(outcome.amount),
        outcome.from_pool_id,
        spi::numeric(outcome.from_balance),
        outcome.to_pool_id,
        spi::numeric(outcome.to_balance),
        is_duplicate,
    ))
}
