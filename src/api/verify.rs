//! verify_ledger and ledger_head.

use credit_pools_domain::Instant;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;

use super::args::{self, JsonText};
use super::{hidden, read, visible};
use crate::engine::verifying::{self, KeptHeads};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::store::access::{Reach, Scope};
use crate::store::verification::Selection;
use crate::store::{customers, spi};

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

/// What of a selection the caller may see: all of it, or those of its scopes that lie in it.
fn within<'a>(reach: &'a Reach, of: Selection<'a>) -> Result<Vec<Selection<'a>>> {
    let Reach::Own(scopes) = reach else { return Ok(vec![of]) };
    match (of.customer_id, of.resource_id) {
        (Some(customer_id), Some(resource_id)) => visible(reach, customer_id, resource_id).map(|()| vec![of]),
        (Some(customer_id), None) if reach.covers_customer(customer_id) => Ok(vec![of]),
        (Some(customer_id), None) if !reach.touches(customer_id) => Err(hidden(customer_id, "")),
        _ => {
            let asked = scopes.iter().filter(|scope| of.customer_id.is_none_or(|id| id == scope.customer_id));
            let own = |scope: &'a Scope| Selection {
                customer_id: Some(&scope.customer_id),
                resource_id: scope.resource_id.as_deref(),
                ..of
            };
            // One that was given before it was made is not there yet.
            let there =
                |of: &Selection| customers::resource_exists(of.customer_id.unwrap_or(""), of.resource_id.unwrap_or(""));
            Ok(asked.map(own).filter(there).collect())
        }
    }
}

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn verify_ledger(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    heads: default!(Option<JsonText>, "NULL"),
    after_customer_id: default!(Option<&str>, "NULL"),
    after_pool_id: default!(Option<i64>, "NULL"),
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
    let found = read(|reach| {
        let of = selection(customer_id, resource_id, credit_type_id)?;
        let mut heads = args::json(&heads).map(KeptHeads::parse).transpose()?.unwrap_or_default();
        let after = args::place(after_customer_id, after_pool_id)?;
        if after.is_some() && !heads.is_empty() {
            return Err(Error::argument("heads", "heads are compared from the first pool on")
                .hint("Leave after_customer_id and after_pool_id out."));
        }
        let mut progress = Progress::of("verify_ledger");
        let mut found = Vec::new();
        for of in within(reach, of)? {
            found.extend(verifying::verify(&of, after.as_ref(), &mut heads, &mut progress)?);
        }
        Ok(found)
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

#[pg_extern(stable)]
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
    let heads = read(|reach| {
        let mut heads = Vec::new();
        for of in within(reach, selection(customer_id, resource_id, credit_type_id)?)? {
            heads.extend(verifying::heads(&of)?);
        }
        Ok(heads)
    });
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
