//! provision_subscription, cancel_subscription, transfer_subscription, set_quantity.

use credit_pools_domain::Instant;
use pgrx::JsonB;
use pgrx::prelude::*;

use super::args::{self, Described, JsonText};
use super::call;
use crate::engine::lifecycle::{self, Call};
use crate::engine::plan_pools::Outcome;
use crate::engine::provisioning::{self, Request};
use crate::engine::reading;
use crate::engine::replay::{self, Payload};
use crate::error::{Error, Result};
use crate::store::spi;

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn provision_subscription(
    customer_id: default!(Option<&str>, "NULL"),
    plan_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    subscription_id: default!(Option<&str>, "NULL"),
    starts_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    ends_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    time_zone: default!(Option<&str>, "NULL"),
    quantities: default!(Option<JsonText>, "NULL"),
    overrides: default!(Option<JsonText>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(subscription_id, String),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(plan_id, String),
        name!(status, String),
        name!(period_start, TimestampWithTimeZone),
        name!(period_end, TimestampWithTimeZone),
        name!(is_duplicate, bool),
    ),
> {
    let ((outcome, unchanged), is_duplicate) = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let idempotency_key = args::key(idempotency_key)?;
        let payload = Payload::default()
            .add(plan_id)
            .add(resource_id)
            .add(subscription_id)
            .instant(starts_at)
            .instant(ends_at)
            .add(time_zone)
            .add(args::json(&quantities))
            .add(args::json(&overrides))
            .add(args::json(&metadata));
        replay::once(customer_id, "provision_subscription", idempotency_key, &payload, || {
            provisioning::provision(&Request {
                customer_id,
                resource_id: args::resource(resource_id)?,
                plan_id: args::id("plan_id", plan_id)?,
                subscription_id: args::optional_id("subscription_id", subscription_id)?,
                starts_at: args::finite_instant("starts_at", starts_at)?,
                ends_at: args::instant(ends_at),
                time_zone,
                quantities: args::object("quantities", &quantities)?,
                overrides: args::object("overrides", &overrides)?,
                idempotency_key,
                metadata: args::object("metadata", &metadata)?,
            })
        })
    });
    TableIterator::once((
        outcome.subscription_id,
        customer_id.unwrap_or_default().to_owned(),
        resource_id.map(str::to_owned),
        outcome.plan_id,
        outcome.status,
        instant(outcome.period_start),
        instant(outcome.period_end),
        is_duplicate || unchanged,
    ))
}

fn instant(micros: i64) -> TimestampWithTimeZone {
    spi::timestamp(Instant::from_micros(micros))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn cancel_subscription(
    customer_id: default!(Option<&str>, "NULL"),
    subscription_id: default!(Option<&str>, "NULL"),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
    credits: default!(Option<&str>, "'keep'"),
    reason: default!(Option<&str>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(subscription_id, String),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(plan_id, String),
        name!(status, String),
        name!(period_start, TimestampWithTimeZone),
        name!(period_end, TimestampWithTimeZone),
        name!(starts_at, TimestampWithTimeZone),
        name!(ends_at, Option<TimestampWithTimeZone>),
        name!(quantities, Option<JsonB>),
        name!(is_duplicate, bool),
    ),
> {
    row(customer_id, || {
        let call = checked(customer_id, subscription_id, reason, idempotency_key)?;
        let payload = Payload::default().add(subscription_id).instant(at).add(credits).add(reason);
        replay::once(call.customer_id, "cancel_subscription", call.idempotency_key, &payload, || {
            let at = args::finite_instant("at", at)?;
            let expires = one_of("credits", credits, "keep", "expire")?;
            lifecycle::cancel(&call, at, expires)
        })
    })
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn transfer_subscription(
    customer_id: default!(Option<&str>, "NULL"),
    subscription_id: default!(Option<&str>, "NULL"),
    to_resource_id: default!(Option<&str>, "NULL"),
    credits: default!(Option<&str>, "'move'"),
    reason: default!(Option<&str>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(subscription_id, String),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(plan_id, String),
        name!(status, String),
        name!(period_start, TimestampWithTimeZone),
        name!(period_end, TimestampWithTimeZone),
        name!(starts_at, TimestampWithTimeZone),
        name!(ends_at, Option<TimestampWithTimeZone>),
        name!(quantities, Option<JsonB>),
        name!(is_duplicate, bool),
    ),
> {
    row(customer_id, || {
        let call = checked(customer_id, subscription_id, reason, idempotency_key)?;
        let payload = Payload::default().add(subscription_id).add(to_resource_id).add(credits).add(reason);
        replay::once(call.customer_id, "transfer_subscription", call.idempotency_key, &payload, || {
            let to = args::optional_id("to_resource_id", to_resource_id)?.unwrap_or_default();
            let stays = one_of("credits", credits, "move", "keep")?;
            lifecycle::transfer(&call, to, !stays)
        })
    })
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn set_quantity(
    customer_id: default!(Option<&str>, "NULL"),
    subscription_id: default!(Option<&str>, "NULL"),
    feature_id: default!(Option<&str>, "NULL"),
    quantity: default!(Option<AnyNumeric>, "NULL"),
    reason: default!(Option<&str>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(subscription_id, String),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(plan_id, String),
        name!(status, String),
        name!(period_start, TimestampWithTimeZone),
        name!(period_end, TimestampWithTimeZone),
        name!(starts_at, TimestampWithTimeZone),
        name!(ends_at, Option<TimestampWithTimeZone>),
        name!(quantities, Option<JsonB>),
        name!(is_duplicate, bool),
    ),
> {
    row(customer_id, || {
        let call = checked(customer_id, subscription_id, reason, idempotency_key)?;
        let payload = Payload::default().add(subscription_id).add(feature_id).number(&quantity).add(reason);
        replay::once(call.customer_id, "set_quantity", call.idempotency_key, &payload, || {
            let quantity = args::optional_not_negative("quantity", &quantity)?
                .ok_or_else(|| Error::argument("quantity", "quantity is required"))?;
            lifecycle::set_quantity(&call, args::id("feature_id", feature_id)?, quantity)
        })
    })
}

fn checked<'a>(
    customer_id: Option<&'a str>,
    subscription_id: Option<&'a str>,
    reason: Option<&'a str>,
    idempotency_key: Option<&'a str>,
) -> Result<Call<'a>> {
    Ok(Call {
        customer_id: args::id("customer_id", customer_id)?,
        subscription_id: args::id("subscription_id", subscription_id)?,
        reason: args::note("reason", reason)?,
        idempotency_key: args::key(idempotency_key)?,
    })
}

/// Whether it is the second of two words; NULL is the first.
fn one_of(argument: &str, value: Option<&str>, usual: &str, other: &str) -> Result<bool> {
    match value {
        None => Ok(false),
        Some(word) if word == usual => Ok(false),
        Some(word) if word == other => Ok(true),
        Some(word) => {
            Err(Error::argument(argument, format!("{argument} must be {usual} or {other}")).with(argument, word))
        }
    }
}

fn row(
    customer_id: Option<&str>,
    body: impl FnOnce() -> Result<(Outcome, bool)>,
) -> TableIterator<
    'static,
    (
        name!(subscription_id, String),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(plan_id, String),
        name!(status, String),
        name!(period_start, TimestampWithTimeZone),
        name!(period_end, TimestampWithTimeZone),
        name!(starts_at, TimestampWithTimeZone),
        name!(ends_at, Option<TimestampWithTimeZone>),
        name!(quantities, Option<JsonB>),
        name!(is_duplicate, bool),
    ),
> {
    let (outcome, is_duplicate) = call(body);
    TableIterator::once((
        outcome.subscription_id,
        customer_id.unwrap_or_default().to_owned(),
        Some(outcome.resource_id).filter(|id| !id.is_empty()),
        outcome.plan_id,
        outcome.status,
        instant(outcome.period_start),
        instant(outcome.period_end),
        instant(outcome.starts_at),
        Some(outcome.ends_at).filter(|at| *at != Instant::INFINITY.micros()).map(instant),
        outcome.quantities.and_then(|text| serde_json::from_str(&text).ok()).map(JsonB),
        is_duplicate,
    ))
}

/// Nothing where there is no such subscription, or its periods leave the calendar.
#[pg_extern(stable, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn subscription_period(
    customer_id: Option<&str>,
    subscription_id: Option<&str>,
) -> TableIterator<'static, (name!(period_start, TimestampWithTimeZone), name!(period_end, TimestampWithTimeZone))> {
    let period = customer_id.zip(subscription_id).and_then(|(customer_id, subscription_id)| {
        spi::connected(|| spi::reading(|| reading::period(customer_id, subscription_id)))
    });
    TableIterator::new(period.into_iter().map(|(start, end)| (spi::timestamp(start), spi::timestamp(end))))
}
