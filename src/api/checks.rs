//! check_credits, estimate_usage and explain_usage.

use credit_pools_domain::OnInsufficient;
use pgrx::JsonB;
use pgrx::prelude::*;

use super::args::{self, JsonText};
use super::composite::{Composite, Row};
use super::reservations::what;
use super::usage::Arguments;
use super::{call, read, visible, visible_customer};
use crate::engine::checking::{self, Checked};
use crate::engine::explaining;
use crate::engine::usage::{Behavior, Request};
use crate::error::Error;
use crate::store::spi::{self, Arg};

impl Row for Checked {
    const TYPE: &'static str = "credit_pools.check_result";

    fn columns<T>(&self, take: impl FnOnce(&[Arg]) -> T) -> T {
        take(&[
            Arg::Bool(self.denial.is_none()),
            Arg::MaybeText(self.denial),
            Arg::Number(self.balance),
            Arg::MaybeNumber(self.required),
            Arg::MaybeInt(self.pool_id),
            Arg::MaybeText(self.credit_type_id.as_deref()),
        ])
    }
}

#[pg_extern(requires = ["pools"])]
#[search_path(pg_catalog, pg_temp)]
fn check_credits(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    feature_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    value: default!(Option<AnyNumeric>, "NULL"),
    dimensions: default!(Option<JsonText>, "NULL"),
) -> Composite<Checked> {
    Composite(read(|reach| {
        let (customer_id, resource_id) = (args::id("customer_id", customer_id)?, args::resource(resource_id)?);
        visible(reach, customer_id, resource_id)?;
        checking::check(&Request {
            customer_id,
            resource_id,
            what: what(credit_type_id, &amount, feature_id, &value)?,
            occurred_at: None,
            on_insufficient: OnInsufficient::Reject,
            behavior: Behavior::Delta,
            dimensions: args::object("dimensions", &dimensions)?,
            metadata: None,
        })
    }))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn estimate_usage(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    feature_id: default!(Option<&str>, "NULL"),
    value: default!(Option<AnyNumeric>, "NULL"),
    occurred_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    dimensions: default!(Option<JsonText>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
    on_insufficient: default!(Option<&str>, "'reject'"),
    update_behavior: default!(Option<&str>, "'delta'"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(credits, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(balance_after, AnyNumeric),
        name!(would_be_rejected, bool),
        name!(grants, JsonB),
        name!(warnings, Vec<String>),
        name!(shortfall, AnyNumeric),
        name!(error_code, Option<String>),
        name!(pool_id, Option<i64>),
        name!(credit_type_id, Option<String>),
        name!(is_duplicate, bool),
    ),
> {
    let estimate = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let arguments = Arguments {
            customer_id,
            resource_id,
            feature_id,
            value: &value,
            occurred_at,
            dimensions: &dimensions,
            idempotency_key,
            on_insufficient,
            update_behavior,
            metadata: &metadata,
        };
        checking::estimate(customer_id, arguments.key()?.as_ref(), || arguments.request())
    });
    TableIterator::once((
        spi::numeric(estimate.credits),
        spi::numeric(estimate.balance),
        spi::numeric(estimate.balance_after),
        estimate.rejection.is_some(),
        JsonB(estimate.grants),
        estimate.warnings,
        spi::numeric(estimate.shortfall),
        estimate.rejection.map(|error| error.code()),
        estimate.pool_id,
        estimate.credit_type_id,
        estimate.is_duplicate,
    ))
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn explain_usage(
    customer_id: default!(Option<&str>, "NULL"),
    usage_id: default!(Option<i64>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(usage_id, i64),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(pool_id, i64),
        name!(feature_id, Option<String>),
        name!(value, Option<AnyNumeric>),
        name!(dimensions, Option<JsonB>),
        name!(occurred_at, TimestampWithTimeZone),
        name!(recorded_at, TimestampWithTimeZone),
        name!(plan_id, Option<String>),
        name!(rate_source, Option<String>),
        name!(rate, Option<AnyNumeric>),
        name!(formula, Option<String>),
        name!(rate_effective_at, Option<TimestampWithTimeZone>),
        name!(cost, AnyNumeric),
        name!(credits, AnyNumeric),
        name!(shortfall, AnyNumeric),
        name!(reversed, AnyNumeric),
        name!(debt, AnyNumeric),
        name!(reservation_id, Option<String>),
        name!(grants, JsonB),
        name!(explanation, String),
    ),
> {
    let explained = read(|reach| {
        let (customer_id, usage_id) = (args::id("customer_id", customer_id)?, args::required("usage_id", usage_id)?);
        if !reach.touches(customer_id) {
            visible_customer(reach, customer_id)?;
        }
        let explained = explaining::explain(customer_id, usage_id)?;
        // One of another resource is none to it.
        let seen = reach.covers(customer_id, &explained.resource_id);
        if seen { Ok(explained) } else { Err(Error::unknown("usage", usage_id)) }
    });
    let head = explained.head;
    let dimensions = head.dimensions.as_deref().and_then(|text| serde_json::from_str(text).ok());
    TableIterator::once((
        usage_id.unwrap_or_default(),
        Some(explained.resource_id).filter(|id| !id.is_empty()),
        explained.credit_type_id,
        head.pool_id,
        head.feature_id,
        head.value.map(spi::numeric),
        dimensions.map(JsonB),
        spi::timestamp(head.occurred_at),
        spi::timestamp(head.recorded_at),
        explained.plan_id,
        explained.rate_source.map(str::to_owned),
        explained.rate.map(spi::numeric),
        explained.formula,
        explained.rate_effective_at.map(spi::timestamp),
        spi::numeric(explained.cost),
        spi::numeric(head.credits),
        spi::numeric(head.shortfall),
        spi::numeric(explained.reversed),
        spi::numeric(explained.debt),
        head.reservation_id,
        JsonB(explained.grants),
        explained.explanation,
    ))
}
