//! Events and balance alerts.

use credit_pools_domain::Amount;
use pgrx::prelude::*;
use pgrx::{Array, JsonB};

use super::{args, call};
use crate::engine::{alerting, outbox};
use crate::error::{Error, Result};
use crate::store::spi;

/// Events that one call may fetch: bounds its memory.
const MOST_FETCHED: i32 = 10_000;

/// For the view events: a horizon beyond it was set before a crash, or in another cluster.
#[pg_extern(stable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn next_transaction_id() -> i64 {
    spi::next_transaction_id()
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn fetch_events(
    consumer: default!(Option<&str>, "NULL"),
    max: default!(Option<i32>, "100"),
) -> TableIterator<
    'static,
    (
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, Option<String>),
        name!(event_id, i64),
        name!(type, String),
        name!(data, JsonB),
        name!(created_at, TimestampWithTimeZone),
        name!(pool_id, Option<i64>),
    ),
> {
    let fetched = call(|| {
        let consumer = args::id("consumer", consumer)?;
        let max = max.unwrap_or(100);
        if !(1..=MOST_FETCHED).contains(&max) {
            return Err(Error::argument("max", format!("max must be from 1 to {MOST_FETCHED}")).with("max", max));
        }
        Ok(outbox::fetch(consumer, i64::from(max)))
    });
    TableIterator::new(fetched.into_iter().map(|event| {
        (
            event.customer_id,
            event.resource_id,
            event.credit_type_id,
            event.event_id,
            event.kind,
            event.data,
            spi::timestamp(event.created_at),
            event.pool_id,
        )
    }))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ack_events(
    consumer: default!(Option<&str>, "NULL"),
    event_id: default!(Option<i64>, "NULL"),
) -> TableIterator<
    'static,
    (name!(consumer, String), name!(event_id, i64), name!(acknowledged_at, TimestampWithTimeZone)),
> {
    let (event_id, at) = call(|| {
        let consumer = args::id("consumer", consumer)?;
        let event_id = args::required("event_id", event_id)?;
        Ok((event_id, outbox::acknowledge(consumer, event_id)?))
    });
    TableIterator::once((consumer.unwrap_or_default().to_owned(), event_id, spi::timestamp(at)))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn drop_event_consumer(
    consumer: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(consumer, String), name!(dropped, bool))> {
    let dropped = call(|| Ok(crate::store::events::drop_consumer(args::id("consumer", consumer)?)));
    TableIterator::once((consumer.unwrap_or_default().to_owned(), dropped))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn set_balance_alerts(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    thresholds: default!(Option<Array<AnyNumeric>>, "NULL"),
    percents: default!(Option<Array<AnyNumeric>>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(customer_id, Option<String>),
        name!(credit_type_id, String),
        name!(thresholds, Option<Vec<AnyNumeric>>),
        name!(percents, Option<Vec<AnyNumeric>>),
        name!(pools_covered, Option<i64>),
    ),
> {
    let (levels, pools) = call(|| {
        let customer_id = args::optional_id("customer_id", customer_id)?;
        let credit_type_id = args::id("credit_type_id", credit_type_id)?;
        let levels = alerting::levels(amounts("thresholds", thresholds)?, amounts("percents", percents)?)?;
        let pools = alerting::set(customer_id, credit_type_id, levels.as_ref())?;
        Ok((levels, pools))
    });
    let numbers = |amounts: &[Amount]| amounts.iter().map(|amount| spi::numeric(*amount)).collect();
    TableIterator::once((
        customer_id.map(str::to_owned),
        credit_type_id.unwrap_or_default().to_owned(),
        levels.as_ref().map(|levels| numbers(levels.thresholds())),
        levels.as_ref().map(|levels| numbers(levels.percents())),
        pools,
    ))
}

fn amounts(argument: &str, values: Option<Array<AnyNumeric>>) -> Result<Option<Vec<Amount>>> {
    let each = |value: Option<AnyNumeric>| match value {
        None => Err(Error::argument(argument, format!("{argument} must not have NULL in it"))),
        Some(value) => args::any_amount(argument, &value),
    };
    let Some(values) = values else { return Ok(None) };
    let amounts = values.iter().map(each).collect::<Result<Vec<Amount>>>()?;
    // SAFETY: the array that was just read; its header says how many dimensions it has, 0 where it is empty.
    if unsafe { (*values.into_array_type()).ndim } > 1 {
        return Err(Error::argument(argument, format!("{argument} must have one dimension")));
    }
    Ok(Some(amounts))
}
