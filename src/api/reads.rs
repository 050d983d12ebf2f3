//! balance_at, and what the views ask for a pool in which something is due: its figures and grants as of this instant.

use credit_pools_domain::Figures;
use pgrx::prelude::*;

use super::{args, read, visible};
use crate::engine::reading;
use crate::store::spi;

#[pg_extern(stable, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn pool_now(
    customer_id: Option<&str>,
    pool_id: Option<i64>,
) -> TableIterator<
    'static,
    (
        name!(balance, AnyNumeric),
        name!(granted, AnyNumeric),
        name!(consumed, AnyNumeric),
        name!(expired, AnyNumeric),
        name!(voided, AnyNumeric),
        name!(held, AnyNumeric),
        name!(debt, AnyNumeric),
        name!(restricted, AnyNumeric),
        name!(overdraft_limit, AnyNumeric),
        name!(next_expiry_at, Option<TimestampWithTimeZone>),
        name!(next_expiry_amount, Option<AnyNumeric>),
    ),
> {
    let pool = customer_id
        .zip(pool_id)
        .and_then(|(customer_id, pool_id)| spi::connected(|| reading::pool_now(customer_id, pool_id)));
    TableIterator::new(pool.into_iter().map(|pool| {
        let Figures { balance, held, debt, restricted, granted, consumed, expired, voided, .. } = pool.figures;
        (
            spi::numeric(balance),
            spi::numeric(granted),
            spi::numeric(consumed),
            spi::numeric(expired),
            spi::numeric(voided),
            spi::numeric(held),
            spi::numeric(debt),
            spi::numeric(restricted),
            spi::limit_numeric(pool.overdraft),
            pool.next_expiry.map(|(at, _)| spi::timestamp(at)),
            pool.next_expiry.map(|(_, amount)| spi::numeric(amount)),
        )
    }))
}

/// A grant that the clock has brought but nobody has booked has no `grant_id`.
#[pg_extern(stable, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn grants_now(
    customer_id: Option<&str>,
    pool_id: Option<i64>,
) -> TableIterator<
    'static,
    (
        name!(grant_id, Option<i64>),
        name!(category, String),
        name!(priority, i16),
        name!(amount, AnyNumeric),
        name!(consumed, AnyNumeric),
        name!(held, AnyNumeric),
        name!(expired, AnyNumeric),
        name!(voided, AnyNumeric),
        name!(status, String),
        name!(effective_at, TimestampWithTimeZone),
        name!(expires_at, TimestampWithTimeZone),
        name!(created_at, TimestampWithTimeZone),
        name!(source, String),
        name!(schedule_id, Option<i64>),
        name!(period_start, Option<TimestampWithTimeZone>),
        name!(source_grant_id, Option<i64>),
    ),
> {
    let grants = customer_id
        .zip(pool_id)
        .map(|(customer_id, pool_id)| spi::connected(|| reading::grants_now(customer_id, pool_id)));
    let booked = |id: i64| Some(id).filter(|id| *id > 0);
    TableIterator::new(grants.into_iter().flatten().map(move |grant| {
        (
            booked(grant.id),
            grant.category.as_str().to_owned(),
            grant.priority,
            spi::numeric(grant.amount),
            spi::numeric(grant.consumed),
            spi::numeric(grant.held),
            spi::numeric(grant.expired),
            spi::numeric(grant.voided),
            grant.status.as_str().to_owned(),
            spi::timestamp(grant.effective_at),
            spi::timestamp(grant.expires_at),
            spi::timestamp(grant.created_at),
            grant.source.as_str().to_owned(),
            grant.schedule_id,
            grant.period_start.map(spi::timestamp),
            grant.source_grant_id.and_then(booked),
        )
    }))
}

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn balance_at(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
    known_at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(balance, AnyNumeric),
        name!(granted, AnyNumeric),
        name!(consumed, AnyNumeric),
        name!(expired, AnyNumeric),
        name!(voided, AnyNumeric),
        name!(held, AnyNumeric),
        name!(debt, AnyNumeric),
    ),
> {
    let Figures { balance, held, debt, granted, consumed, expired, voided, .. } = read(|reach| {
        let (customer_id, resource_id) = (args::id("customer_id", customer_id)?, args::resource(resource_id)?);
        visible(reach, customer_id, resource_id)?;
        reading::balance_at(
            customer_id,
            resource_id,
            args::id("credit_type_id", credit_type_id)?,
            args::finite_instant("at", at)?,
            args::finite_instant("known_at", known_at)?,
        )
    });
    TableIterator::once((
        spi::numeric(balance),
        spi::numeric(granted),
        spi::numeric(consumed),
        spi::numeric(expired),
        spi::numeric(voided),
        spi::numeric(held),
        spi::numeric(debt),
    ))
}
