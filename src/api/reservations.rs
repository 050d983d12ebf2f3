//! reserve_credits, settle_reservation, release_reservation and extend_reservation.

use credit_pools_domain::{OnInsufficient, Span};
use pgrx::prelude::*;

use super::args::{self, Described, JsonText};
use super::call;
use crate::engine::holding::{self, Figure, Held, Request, Settled, Settlement};
use crate::engine::replay::{self, Payload};
use crate::engine::usage::{self, Behavior, What};
use crate::error::{Error, Result};
use crate::store::spi;

const AN_HOUR: Span = Span { months: 0, days: 0, micros: 3_600_000_000 };

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn reserve_credits(
    customer_id: default!(Option<&str>, "NULL"),
    reservation_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    feature_id: default!(Option<&str>, "NULL"),
    value: default!(Option<AnyNumeric>, "NULL"),
    dimensions: default!(Option<JsonText>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    ttl: default!(Option<Interval>, "'1 hour'"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(reservation_id, String),
        name!(pool_id, i64),
        name!(credit_type_id, String),
        name!(held, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(expires_at, TimestampWithTimeZone),
        name!(status, String),
        name!(is_duplicate, bool),
    ),
> {
    let held = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let reservation_id = args::optional_id("reservation_id", reservation_id)?;
        let payload = Payload::default()
            .add(resource_id)
            .add(credit_type_id)
            .number(&amount)
            .add(feature_id)
            .number(&value)
            .add(args::json(&dimensions))
            .add(Some(ttl.map_or(AN_HOUR, spi::span).nominal_micros()))
            .add(args::json(&metadata));
        holding::reserve(customer_id, reservation_id, &payload, || {
            Ok(Request {
                reservation_id,
                usage: usage::Request {
                    customer_id,
                    resource_id: args::resource(resource_id)?,
                    what: what(credit_type_id, &amount, feature_id, &value)?,
                    occurred_at: None,
                    on_insufficient: OnInsufficient::Reject,
                    behavior: Behavior::Delta,
                    dimensions: args::object("dimensions", &dimensions)?,
                    metadata: args::object("metadata", &metadata)?,
                },
                ttl: ttl_of(ttl)?,
            })
        })
    });
    TableIterator::once((
        held.reservation_id,
        held.pool_id,
        held.credit_type_id,
        spi::numeric(held.held),
        spi::numeric(held.balance),
        spi::timestamp(held.expires_at),
        held.status.as_str().to_owned(),
        held.is_duplicate,
    ))
}

/// Plain credits, or a feature by value: one of the two.
pub fn what<'a>(
    credit_type_id: Option<&'a str>,
    amount: &Option<AnyNumeric>,
    feature_id: Option<&'a str>,
    value: &Option<AnyNumeric>,
) -> Result<What<'a>> {
    let by_credits = credit_type_id.is_some() || amount.is_some();
    let by_feature = feature_id.is_some() || value.is_some();
    if by_credits && by_feature {
        return Err(Error::argument("feature_id", "give either credit_type_id and amount or feature_id and value"));
    }
    if by_feature {
        return Ok(What::Feature {
            feature_id: args::id("feature_id", feature_id)?,
            value: args::positive("value", value)?,
        });
    }
    if !by_credits {
        let neither = "credit_type_id and amount, or feature_id and value, are required";
        return Err(Error::argument("credit_type_id", neither));
    }
    Ok(What::Credits {
        credit_type_id: args::id("credit_type_id", credit_type_id)?,
        amount: args::positive("amount", amount)?,
    })
}

fn ttl_of(ttl: Option<Interval>) -> Result<Span> {
    let bad = || Error::argument("ttl", "ttl must be above zero and at most 24 hours");
    Ok(args::positive_span("ttl", ttl).map_err(|_| bad())?.unwrap_or(AN_HOUR))
}

// Declared by hand: `final` is a reserved word of Rust.
#[pg_extern(sql = r#"
CREATE FUNCTION "settle_reservation"(
    "customer_id" TEXT DEFAULT NULL,
    "reservation_id" TEXT DEFAULT NULL,
    "amount" NUMERIC DEFAULT NULL,
    "value" NUMERIC DEFAULT NULL,
    "final" bool DEFAULT true,
    "dimensions" jsonb DEFAULT NULL,
    "idempotency_key" TEXT DEFAULT NULL,
    "metadata" jsonb DEFAULT NULL
) RETURNS TABLE (
    "usage_id" bigint,
    "pool_id" bigint,
    "credit_type_id" TEXT,
    "credits_consumed" NUMERIC,
    "shortfall" NUMERIC,
    "balance" NUMERIC,
    "is_duplicate" bool,
    "held" NUMERIC
)
SECURITY DEFINER SET search_path TO pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn settle_reservation(
    customer_id: default!(Option<&str>, "NULL"),
    reservation_id: default!(Option<&str>, "NULL"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    value: default!(Option<AnyNumeric>, "NULL"),
    is_final: default!(Option<bool>, "true"),
    dimensions: default!(Option<JsonText>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(usage_id, i64),
        name!(pool_id, i64),
        name!(credit_type_id, String),
        name!(credits_consumed, AnyNumeric),
        name!(shortfall, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(is_duplicate, bool),
        name!(held, AnyNumeric),
    ),
> {
    let (settled, is_duplicate) = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let idempotency_key = args::key(idempotency_key)?;
        let close = is_final.unwrap_or(true);
        let payload = Payload::default()
            .add(reservation_id)
            .number(&amount)
            .number(&value)
            .add(Some(close))
            .add(args::json(&dimensions))
            .add(args::json(&metadata));
        let digest = payload.digest();
        replay::once(customer_id, "settle_reservation", idempotency_key, &payload, || {
            let settlement = Settlement {
                reservation_id: args::id("reservation_id", reservation_id)?,
                figure: figure(&amount, &value)?,
                close,
                dimensions: args::object("dimensions", &dimensions)?,
                idempotency_key,
                metadata: args::object("metadata", &metadata)?,
                digest,
            };
            holding::settle(customer_id, &settlement)
        })
    });
    let Settled { usage_id, pool_id, credit_type_id, credits_consumed, balance, held, .. } = settled;
    TableIterator::once((
        usage_id,
        pool_id,
        credit_type_id,
        spi::numeric(credits_consumed),
        spi::numeric(Default::default()),
        spi::numeric(balance),
        is_duplicate || settled.is_duplicate,
        spi::numeric(held),
    ))
}

fn figure(amount: &Option<AnyNumeric>, value: &Option<AnyNumeric>) -> Result<Figure> {
    match (args::optional_not_negative("amount", amount)?, args::optional_not_negative("value", value)?) {
        (Some(_), Some(_)) => Err(Error::argument("value", "give either amount or value")),
        (Some(amount), None) => Ok(Figure::Amount(amount)),
        (None, Some(value)) => Ok(Figure::Value(value)),
        (None, None) => Ok(Figure::Held),
    }
}

/// The row of the functions below, which must spell it out for their SQL declaration.
type ReservationRow = TableIterator<
    'static,
    (
        name!(reservation_id, String),
        name!(pool_id, i64),
        name!(credit_type_id, String),
        name!(status, String),
        name!(amount, AnyNumeric),
        name!(held, AnyNumeric),
        name!(charged, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(expires_at, TimestampWithTimeZone),
        name!(is_duplicate, bool),
    ),
>;

fn row(held: Held) -> ReservationRow {
    TableIterator::once((
        held.reservation_id,
        held.pool_id,
        held.credit_type_id,
        held.status.as_str().to_owned(),
        spi::numeric(held.amount),
        spi::numeric(held.held),
        spi::numeric(held.charged),
        spi::numeric(held.balance),
        spi::timestamp(held.expires_at),
        held.is_duplicate,
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn release_reservation(
    customer_id: default!(Option<&str>, "NULL"),
    reservation_id: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(reservation_id, String),
        name!(pool_id, i64),
        name!(credit_type_id, String),
        name!(status, String),
        name!(amount, AnyNumeric),
        name!(held, AnyNumeric),
        name!(charged, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(expires_at, TimestampWithTimeZone),
        name!(is_duplicate, bool),
    ),
> {
    row(call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        holding::release(customer_id, args::id("reservation_id", reservation_id)?)
    }))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn extend_reservation(
    customer_id: default!(Option<&str>, "NULL"),
    reservation_id: default!(Option<&str>, "NULL"),
    ttl: default!(Option<Interval>, "'1 hour'"),
) -> TableIterator<
    'static,
    (
        name!(reservation_id, String),
        name!(pool_id, i64),
        name!(credit_type_id, String),
        name!(status, String),
        name!(amount, AnyNumeric),
        name!(held, AnyNumeric),
        name!(charged, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(expires_at, TimestampWithTimeZone),
        name!(is_duplicate, bool),
    ),
> {
    row(call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        holding::extend(customer_id, args::id("reservation_id", reservation_id)?, ttl_of(ttl)?)
    }))
}
