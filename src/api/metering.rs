//! What meter_table asks for, and the trigger that it makes (sql/schema/67_metering.sql).

use pgrx::AllocatedByPostgres;
use pgrx::prelude::*;

use super::{args, call};
use crate::engine::metering::{self, Metering};
use crate::error::{Error, Kind};
use crate::store::{access, transition};

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn check_metering(
    table: Option<pg_sys::Oid>,
    feature_id: Option<&str>,
    customer_column: Option<&str>,
    resource_column: Option<&str>,
    value_column: Option<&str>,
    key_column: Option<&str>,
) -> String {
    call(|| {
        let table = args::required("table", table)?;
        // Before it is opened: that locks it.
        if transition::exists(table) && !access::may_make_triggers(table) {
            return Err(Error::new(Kind::InsufficientPrivilege, "permission denied to make triggers on the table"));
        }
        let table = transition::open(table).ok_or_else(|| Error::argument("table", "table does not exist"))?;
        let feature_id = args::id("feature_id", feature_id)?;
        let metering = Metering {
            feature_id,
            customer_column: args::required("customer_column", customer_column)?,
            resource_column: resource_column.unwrap_or_default(),
            value_column: value_column.unwrap_or_default(),
            key_column: key_column.unwrap_or_default(),
        };
        access::as_owner(|| metering::check(&table, &metering))?;
        Ok(metering::trigger_name(feature_id))
    })
}

#[pg_extern(immutable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn metering_trigger(feature_id: Option<&str>) -> Option<String> {
    feature_id.map(metering::trigger_name)
}

/// AFTER INSERT, for each statement, with a transition table: charges its rows.
#[pg_trigger]
fn charge_inserted<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, std::convert::Infallible> {
    call(|| {
        let wrong = || Error::state("charge_inserted is for triggers that meter_table makes");
        let arguments = trigger.extra_args().map_err(|_| wrong())?;
        let [feature_id, customer_column, resource_column, value_column, key_column] = arguments.as_slice() else {
            return Err(wrong());
        };
        let table = trigger.relation().map_err(|_| wrong())?;
        let metering = Metering { feature_id, customer_column, resource_column, value_column, key_column };
        metering::charge(trigger, &table, &metering)
    });
    Ok(None)
}
