//! open_pool and set_pool.

use pgrx::prelude::*;

use super::args::{self, JsonText};
use super::call;
use crate::engine::administration::{self, Outcome};
use crate::error::Error;
use crate::store::spi;

/// The row of the functions below, which must spell it out for their SQL declaration.
type PoolRow = TableIterator<
    'static,
    (
        name!(pool_id, i64),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(balance, AnyNumeric),
        name!(overdraft_limit, AnyNumeric),
        name!(status, String),
    ),
>;

fn row(outcome: Outcome, customer: Option<&str>, resource: Option<&str>, credit_type: Option<&str>) -> PoolRow {
    TableIterator::once((
        outcome.pool_id,
        customer.unwrap_or_default().to_owned(),
        resource.map(str::to_owned),
        credit_type.unwrap_or_default().to_owned(),
        spi::numeric(outcome.balance),
        spi::limit_numeric(outcome.overdraft_limit),
        (if outcome.frozen { "frozen" } else { "active" }).to_owned(),
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn open_pool(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    overdraft_limit: default!(Option<AnyNumeric>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(pool_id, i64),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(balance, AnyNumeric),
        name!(overdraft_limit, AnyNumeric),
        name!(status, String),
    ),
> {
    let outcome = call(|| {
        administration::open_pool(
            args::id("customer_id", customer_id)?,
            args::id("credit_type_id", credit_type_id)?,
            args::resource(resource_id)?,
            args::optional_limit("overdraft_limit", &overdraft_limit)?,
            args::object("metadata", &metadata)?,
        )
    });
    row(outcome, customer_id, resource_id, credit_type_id)
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn set_pool(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    overdraft_limit: default!(Option<AnyNumeric>, "NULL"),
    status: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(pool_id, i64),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(balance, AnyNumeric),
        name!(overdraft_limit, AnyNumeric),
        name!(status, String),
    ),
> {
    let outcome = call(|| {
        let frozen = match status {
            None => None,
            Some("frozen") => Some(true),
            Some("active") => Some(false),
            Some(other) => {
                return Err(Error::argument("status", "status must be active or frozen").with("status", other));
            }
        };
        administration::set_pool(
            args::id("customer_id", customer_id)?,
            args::id("credit_type_id", credit_type_id)?,
            args::resource(resource_id)?,
            args::optional_limit("overdraft_limit", &overdraft_limit)?,
            frozen,
            args::object("metadata", &metadata)?,
        )
    });
    row(outcome, customer_id, resource_id, credit_type_id)
}
