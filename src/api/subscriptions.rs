//! provision_subscription.

use credit_pools_domain::Instant;
use pgrx::prelude::*;

use super::args::{self, Described, JsonText};
use super::call;
use crate::engine::provisioning::{self, Request};
use crate::engine::replay::{self, Payload};
use crate::store::spi;

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn provision_subscription(
    customer_id: default!(Option<&str>, "NULL"),
    plan_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    subscription_id: default!(Option<&str>, "NULL"),
    starts_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    ends_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    time_zone: default!(Option<&str>, "NULL"),
    quantities: default!(Option<JsonText>, "NULL"),
    overrides: default!(Option<JsonText>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(subscription_id, String),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(plan_id, String),
        name!(status, String),
        name!(period_start, TimestampWithTimeZone),
        name!(period_end, TimestampWithTimeZone),
        name!(is_duplicate, bool),
    ),
> {
    let (outcome, is_duplicate) = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let idempotency_key = args::key(idempotency_key)?;
        let payload = Payload::default()
            .add(plan_id)
            .add(resource_id)
            .add(subscription_id)
            .instant(starts_at)
            .instant(ends_at)
            .add(time_zone)
            .add(args::json(&quantities))
            .add(args::json(&overrides))
            .add(args::json(&metadata));
        replay::once(customer_id, "provision_subscription", idempotency_key, &payload, || {
            provisioning::provision(&Request {
                customer_id,
                resource_id: args::resource(resource_id)?,
                plan_id: args::id("plan_id", plan_id)?,
                subscription_id: args::optional_id("subscription_id", subscription_id)?,
                starts_at: args::finite_instant("starts_at", starts_at)?,
                ends_at: args::instant(ends_at),
                time_zone,
                quantities: args::object("quantities", &quantities)?,
                overrides: args::object("overrides", &overrides)?,
                idempotency_key,
                metadata: args::object("metadata", &metadata)?,
            })
        })
    });
    let instant = |micros| spi::timestamp(Instant::from_micros(micros));
    TableIterator::once((
        outcome.subscription_id,
        customer_id.unwrap_or_default().to_owned(),
        resource_id.map(str::to_owned),
        outcome.plan_id,
        outcome.status,
        instant(outcome.period_start),
        instant(outcome.period_end),
        is_duplicate || outcome.unchanged,
    ))
}
