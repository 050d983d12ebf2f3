//! archive_ledger.

use pgrx::prelude::*;

use super::{args, call};
use crate::engine::archiving::{self, Bounds};
use crate::error::{Error, Result};
use crate::store::archive::Old;

fn bound(argument: &str, value: Option<i32>) -> Result<Option<i64>> {
    match value {
        Some(most) if most < 1 => {
            Err(Error::argument(argument, format!("{argument} must be 1 or more, or NULL for all that is old enough")))
        }
        most => Ok(most.map(i64::from)),
    }
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn archive_ledger(
    before: default!(Option<TimestampWithTimeZone>, "NULL"),
    customer_id: default!(Option<&str>, "NULL"),
    max_rows: default!(Option<i32>, "NULL"),
    max_pools: default!(Option<i32>, "NULL"),
    after_customer_id: default!(Option<&str>, "NULL"),
    after_pool_id: default!(Option<i64>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(pools, i64),
        name!(ledger_rows, i64),
        name!(usage_events, i64),
        name!(keys, i64),
        name!(bytes, i64),
        name!(passed_over, i64),
        name!(is_complete, bool),
        name!(last_customer_id, Option<String>),
        name!(last_pool_id, Option<i64>),
    ),
> {
    let done = call(|| {
        let before = args::required("before", args::finite_instant("before", before)?)?;
        let of = Old { before, customer_id: args::optional_id("customer_id", customer_id)? };
        let bounds = Bounds { rows: bound("max_rows", max_rows)?, pools: bound("max_pools", max_pools)? };
        let after = args::place(after_customer_id, after_pool_id)?;
        archiving::run(&of, after, &bounds)
    });
    let (last_customer_id, last_pool_id) = done.last.unzip();
    TableIterator::once((
        done.pools,
        done.ledger_rows,
        done.usage_events,
        done.keys,
        done.bytes,
        done.passed_over,
        done.is_complete,
        last_customer_id,
        last_pool_id,
    ))
}
