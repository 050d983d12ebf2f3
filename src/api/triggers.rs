//! The triggers on the extension's own tables.

use pgrx::AllocatedByPostgres;
use pgrx::prelude::*;

use super::call;
use crate::engine::recharging;
use crate::error::{Error, Kind};

/// The row as a trigger may return it unchanged.
type Untouched<'a> = Option<PgHeapTuple<'a, AllocatedByPostgres>>;

/// AFTER UPDATE of a pool below its recharge threshold.
#[pg_trigger]
fn evaluate_recharge<'a>(trigger: &'a PgTrigger<'a>) -> Result<Untouched<'a>, std::convert::Infallible> {
    let pool = trigger.new().and_then(|row| {
        let customer_id = row.get_by_name::<String>("customer_id").ok()??;
        Some((customer_id, row.get_by_name::<i64>("pool_id").ok()??))
    });
    if let Some((customer_id, pool_id)) = pool {
        call(|| recharging::evaluate(&customer_id, pool_id));
    }
    Ok(trigger.new())
}

/// BEFORE UPDATE, DELETE or TRUNCATE of the ledger.
#[pg_trigger]
fn refuse_ledger_change<'a>(_trigger: &'a PgTrigger<'a>) -> Result<Untouched<'a>, std::convert::Infallible> {
    Error::new(Kind::InsufficientPrivilege, "the ledger is append-only")
        .hint("Correct a booking by another one: void_grant, grant_credits.")
        .raise()
}
