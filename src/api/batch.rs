//! report_usage_batch.

use credit_pools_domain::{UsageEvent, parse_events};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;

use super::args::{self, JsonText};
use super::call;
use crate::engine::batching::{self, Event};
use crate::engine::usage::{self, Behavior, Key, Request, What};
use crate::error::{Error, Result};
use crate::store::spi;

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn report_usage_batch(
    events: default!(Option<JsonText>, "NULL"),
    atomic: default!(Option<bool>, "true"),
) -> TableIterator<
    'static,
    (
        name!(event_index, i32),
        name!(usage_id, Option<i64>),
        name!(pool_id, Option<i64>),
        name!(credit_type_id, Option<String>),
        name!(credits_consumed, Option<AnyNumeric>),
        name!(shortfall, Option<AnyNumeric>),
        name!(balance, Option<AnyNumeric>),
        name!(is_duplicate, Option<bool>),
        name!(error_code, Option<String>),
        name!(error_message, Option<String>),
        name!(error_detail, Option<JsonB>),
    ),
> {
    let results = call(|| {
        let text = args::required("events", args::json(&events))?;
        let events = parse_events(text).map_err(|error| Error::argument("events", error.message))?;
        let events: Vec<Result<UsageEvent>> = events
            .into_iter()
            .map(|event| {
                event.map_err(|error| Error::argument(error.argument.as_deref().unwrap_or("events"), error.message))
            })
            .collect();
        let prepared: Vec<Event> = events.iter().map(prepare).collect();
        batching::report_all(&prepared, atomic.unwrap_or(true))
    });
    TableIterator::new(results.into_iter().enumerate().map(|(index, result)| {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        match result {
            Ok(usage) => (
                index,
                Some(usage.usage_id),
                Some(usage.pool_id),
                Some(usage.credit_type_id),
                Some(spi::numeric(usage.credits_consumed)),
                Some(spi::numeric(usage.shortfall)),
                Some(spi::numeric(usage.balance)),
                Some(usage.is_duplicate),
                None,
                None,
                None,
            ),
            Err(error) => {
                let detail = Some(JsonB(Value::Object(error.detail().clone())));
                (index, None, None, None, None, None, None, None, Some(error.code()), Some(error.to_string()), detail)
            }
        }
    }))
}

/// An event as the call by itself would take it.
fn prepare<'e>(event: &'e Result<UsageEvent<'e>>) -> Event<'e> {
    let event = match event {
        Ok(event) => event,
        Err(error) => return Event { customer_id: "", key: None, request: Err(error.clone()) },
    };
    let customer_id = match args::id("customer_id", event.customer_id.as_deref()) {
        Ok(customer_id) => customer_id,
        Err(error) => return Event { customer_id: "", key: None, request: Err(error) },
    };
    let key = match args::key(event.idempotency_key.as_deref()) {
        Ok(key) => key,
        Err(error) => return Event { customer_id, key: None, request: Err(error) },
    };
    let payload = || {
        usage::payload(
            event.resource_id.as_deref(),
            event.feature_id.as_deref(),
            event.value.map(|value| value.to_string()).as_deref(),
            event.occurred_at,
            event.dimensions,
            event.on_insufficient.as_deref(),
            event.update_behavior.as_deref(),
            event.metadata,
        )
    };
    let key = key.map(|key| Key { key, payload: payload() });
    Event { customer_id, key, request: request(customer_id, event) }
}

fn request<'e>(customer_id: &'e str, event: &'e UsageEvent<'e>) -> Result<Request<'e>> {
    let behavior = args::behavior(event.update_behavior.as_deref())?;
    let resource_id = args::resource(event.resource_id.as_deref())?;
    let feature_id = args::id("feature_id", event.feature_id.as_deref())?;
    let value = args::required("value", event.value)?;
    let value = match behavior {
        Behavior::Delta => args::positive_amount("value", value)?,
        Behavior::Set => args::not_negative_amount("value", value)?,
    };
    Ok(Request {
        customer_id,
        resource_id,
        what: What::Feature { feature_id, value },
        occurred_at: event.occurred_at,
        on_insufficient: args::on_insufficient(event.on_insufficient.as_deref())?,
        behavior,
        dimensions: event.dimensions,
        metadata: event.metadata,
    })
}
