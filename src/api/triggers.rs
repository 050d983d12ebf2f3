//! The triggers on the extension's own tables.

use pgrx::prelude::*;
use pgrx::{AllocatedByPostgres, WhoAllocated};

use crate::engine::recharging;
use crate::error::{Error, Kind};
use crate::store::in_hand::Call;
use crate::store::{archive, cache, spi};

/// The row as a trigger may return it unchanged.
type Untouched<'a> = Option<Tuple<'a>>;

/// A column of a row; a macro, for the sake of pgrx's bounds on the type.
macro_rules! column {
    ($row:expr, $name:literal, $type:ty) => {
        $row.get_by_name::<$type>($name).ok().flatten()
    };
}

/// AFTER UPDATE of a pool: evaluates its recharge where the balance is below its threshold, but for the
/// recharge's own grant, the opening of the breaker, and a frozen pool.
#[pg_trigger]
fn evaluate_recharge<'a>(trigger: &'a PgTrigger<'a>) -> Result<Untouched<'a>, std::convert::Infallible> {
    if is_low(trigger)
        && let (Some(old), Some(new)) = (trigger.old(), trigger.new())
        && column!(new, "frozen", bool) == Some(false)
        && column!(new, "last_recharge_id", i64) == column!(old, "last_recharge_id", i64)
        && !opens_breaker(&old, &new)
        && let Some(customer_id) = column!(new, "customer_id", String)
        && let Some(pool_id) = column!(new, "pool_id", i64)
    {
        let result = {
            let _call = Call::go_on();
            spi::connected(|| recharging::evaluate(&customer_id, pool_id))
        };
        result.unwrap_or_else(|error| error.raise());
    }
    Ok(trigger.new())
}

/// Whether the new balance is below the threshold: what every usage is asked, so read without detours.
fn is_low(trigger: &PgTrigger) -> bool {
    let figure = |name| spi::new_figure(trigger.trigger_data(), name);
    figure(c"recharge_threshold").is_some_and(|threshold| figure(c"balance").is_some_and(|balance| balance < threshold))
}

type Tuple<'a> = PgHeapTuple<'a, AllocatedByPostgres>;

fn opens_breaker(old: &Tuple, new: &Tuple) -> bool {
    let opened = |row: &Tuple| column!(row, "breaker_opened_at", TimestampWithTimeZone).is_some();
    opened(new) && !opened(old)
}

/// AFTER a change of rates or credit types: every session forgets what it has kept of them.
#[pg_trigger]
fn catalogue_changed<'a>(trigger: &'a PgTrigger<'a>) -> Result<Untouched<'a>, std::convert::Infallible> {
    if let Ok(table) = trigger.relation() {
        cache::announce_change(table.oid());
    }
    Ok(None)
}

/// BEFORE UPDATE, DELETE or TRUNCATE of the ledger and its archive. Only what archive_ledger moves may be deleted, and from
/// the ledger's own table.
#[pg_trigger]
fn refuse_ledger_change<'a>(trigger: &'a PgTrigger<'a>) -> Result<Untouched<'a>, std::convert::Infallible> {
    let is_ledger = || trigger.relation().is_ok_and(|table| table.name() == "ledger_entry");
    if trigger.event().fired_by_delete() && is_ledger() && archive::may_delete() {
        return Ok(None);
    }
    Error::new(Kind::InsufficientPrivilege, "the ledger is append-only")
        .hint("Correct a booking by another one: void_grant, grant_credits.")
        .raise()
}

/// BEFORE INSERT of an event: the transaction id that comes next, after the event's id was taken.
#[pg_trigger]
fn set_event_horizon<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, std::convert::Infallible> {
    let mut row = trigger.new().map(PgHeapTuple::into_owned);
    if let Some(row) = &mut row
        && row.set_by_name("horizon", spi::next_transaction_id()).is_err()
    {
        Error::state("the table event has another shape").raise()
    }
    Ok(row)
}
