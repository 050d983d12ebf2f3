//! What the views ask for a pool in which something is due: its figures and grants as of this instant.

use credit_pools_domain::Figures;
use pgrx::prelude::*;

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
        name!(next_expiry_at, Option<TimestampWithTimeZone>),
        name!(next_expiry_amount, Option<AnyNumeric>),
    ),
> {
    let pool = customer_id
        .zip(pool_id)
        .and_then(|(customer_id, pool_id)| spi::connected(|| reading::pool_now(customer_id, pool_id)));
    TableIterator::new(pool.into_iter().map(|pool| {
        let Figures { balance, held, debt, restricted, granted, consumed, expired, voided } = pool.figures;
        (
            spi::numeric(balance),
            spi::numeric(granted),
            spi::numeric(consumed),
            spi::numeric(expired),
            spi::numeric(voided),
            spi::numeric(held),
            spi::numeric(debt),
            spi::numeric(restricted),
            pool.next_expiry.map(|(at, _)| spi::timestamp(at)),
            pool.next_expiry.map(|(_, amount)| spi::numeric(amount)),
        )
    }))
}

#[pg_extern(stable, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn grants_now(
    customer_id: Option<&str>,
    pool_id: Option<i64>,
) -> TableIterator<
    'static,
    (
        name!(grant_id, i64),
        name!(consumed, AnyNumeric),
        name!(held, AnyNumeric),
        name!(expired, AnyNumeric),
        name!(voided, AnyNumeric),
        name!(status, String),
    ),
> {
    let grants = customer_id
        .zip(pool_id)
        .map(|(customer_id, pool_id)| spi::connected(|| reading::grants_now(customer_id, pool_id)));
    TableIterator::new(grants.into_iter().flatten().map(|grant| {
        (
            grant.id,
            spi::numeric(grant.consumed),
            spi::numeric(grant.held),
            spi::numeric(grant.expired),
            spi::numeric(grant.voided),
            grant.status.as_str().to_owned(),
        )
    }))
}
