//! verify_ledger and ledger_head.

use credit_pools_domain::Instant;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;

use super::args::{self, JsonText};
use super::call;
use crate::engine::verifying::{self, KeptHeads};
use crate::error::Result;
use crate::store::spi;
use crate::store::verification::Selection;

fn selection<'a>(
    customer_id: Option<&'a str>,
    resource_id: Option<&'a str>,
    credit_type_id: Option<&'a str>,
) -> Result<Selection<'a>> {
    Ok(Selection {
        customer_id: args::optional_id("customer_id", customer_id)?,
        resource_id: args::optional_id("resource_id", resource_id)?,
        credit_type_id: args::optional_id("credit_type_id", credit_type_id)?,
    })
}

#[pg_extern(stable, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn verify_ledger(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    heads: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, Option<String>),
        name!(pool_id, Option<i64>),
        name!(seq, Option<i64>),
        name!(problem, String),
        name!(detail, JsonB),
    ),
> {
    let found = call(|| {
        let of = selection(customer_id, resource_id, credit_type_id)?;
        let mut heads = args::json(&heads).map(KeptHeads::parse).transpose()?.unwrap_or_default();
        verifying::verify(&of, &mut heads)
    });
    TableIterator::new(found.into_iter().map(|found| {
        (
            found.customer_id,
            found.resource_id,
            found.credit_type_id,
            found.pool_id,
            found.finding.seq,
            found.finding.problem.to_owned(),
            JsonB(Value::Object(found.finding.detail)),
        )
    }))
}

#[pg_extern(stable, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ledger_head(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(pool_id, i64),
        name!(seq, i64),
        name!(entry_hash, Vec<u8>),
        name!(balance, AnyNumeric),
        name!(recorded_at, TimestampWithTimeZone),
    ),
> {
    let heads = call(|| verifying::heads(&selection(customer_id, resource_id, credit_type_id)?));
    TableIterator::new(heads.into_iter().map(|head| {
        let pool = head.pool;
        (
            head.customer_id,
            head.resource_id,
            head.credit_type_id,
            head.pool_id,
            pool.seq,
            pool.last_hash,
            AnyNumeric::try_from(pool.balance.as_str()).unwrap_or_default(),
            spi::timestamp(Instant::from_micros(pool.last_recorded_at)),
        )
    }))
}
