//! report_usage, consume_credits and reverse_usage.

use pgrx::prelude::*;

use super::args::{self, Described, JsonText};
use super::call;
use super::composite::{Composite, Row};
use crate::engine::replay::{self, Payload};
use crate::engine::reversing;
use crate::engine::usage::{self, Behavior, Key, Outcome, Request, What};
use crate::error::Result;
use crate::store::spi::{self, Arg};

impl Row for Outcome {
    const TYPE: &'static str = "credit_pools.usage_result";

    fn columns<T>(&self, take: impl FnOnce(&[Arg]) -> T) -> T {
        take(&[
            Arg::Int(self.usage_id),
            Arg::Int(self.pool_id),
            Arg::Text(&self.credit_type_id),
            Arg::Number(self.credits_consumed),
            Arg::Number(self.shortfall),
            Arg::Number(self.balance),
            Arg::Bool(self.is_duplicate),
        ])
    }
}

fn key<'a>(value: Option<&'a str>, payload: impl FnOnce() -> Payload) -> Result<Option<Key<'a>>> {
    Ok(args::key(value)?.map(|key| Key { key, payload: payload() }))
}

/// report_usage's arguments as they came, but for the customer.
pub struct Arguments<'a> {
    pub customer_id: &'a str,
    pub resource_id: Option<&'a str>,
    pub feature_id: Option<&'a str>,
    pub value: &'a Option<AnyNumeric>,
    pub occurred_at: Option<TimestampWithTimeZone>,
    pub dimensions: &'a Option<JsonText>,
    pub idempotency_key: Option<&'a str>,
    pub on_insufficient: Option<&'a str>,
    pub update_behavior: Option<&'a str>,
    pub metadata: &'a Option<JsonText>,
}

impl<'a> Arguments<'a> {
    pub fn key(&self) -> Result<Option<Key<'a>>> {
        key(self.idempotency_key, || {
            usage::payload(
                self.resource_id,
                self.feature_id,
                args::number_text(self.value).as_deref(),
                args::instant(self.occurred_at),
                args::json(self.dimensions),
                self.on_insufficient,
                self.update_behavior,
                args::json(self.metadata),
            )
        })
    }

    pub fn request(&self) -> Result<Request<'a>> {
        let behavior = args::behavior(self.update_behavior)?;
        Ok(Request {
            customer_id: self.customer_id,
            resource_id: args::resource(self.resource_id)?,
            what: What::Feature {
                feature_id: args::id("feature_id", self.feature_id)?,
                value: args::usage_value(behavior, self.value)?,
            },
            occurred_at: args::finite_instant("occurred_at", self.occurred_at)?,
            on_insufficient: args::on_insufficient(self.on_insufficient)?,
            behavior,
            dimensions: args::object("dimensions", self.dimensions)?,
            metadata: args::object("metadata", self.metadata)?,
        })
    }
}

#[pg_extern(security_definer, requires = ["pools"])]
#[search_path(pg_catalog, pg_temp)]
fn report_usage(
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
) -> Composite<Outcome> {
    Composite(call(|| {
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
        usage::report(customer_id, arguments.key()?.as_ref(), || arguments.request())
    }))
}

#[pg_extern(security_definer, requires = ["pools"])]
#[search_path(pg_catalog, pg_temp)]
fn consume_credits(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
    occurred_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    on_insufficient: default!(Option<&str>, "'reject'"),
    dimensions: default!(Option<JsonText>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> Composite<Outcome> {
    Composite(call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let key = key(idempotency_key, || {
            Payload::default()
                .add(Some("consume_credits"))
                .add(resource_id)
                .add(credit_type_id)
                .number(&amount)
                .instant(occurred_at)
                .add(args::json(&dimensions))
                .add(Some(on_insufficient.unwrap_or("reject")))
                .add(args::json(&metadata))
        })?;
        usage::report(customer_id, key.as_ref(), || {
            Ok(Request {
                customer_id,
                resource_id: args::resource(resource_id)?,
                what: What::Credits {
                    credit_type_id: args::id("credit_type_id", credit_type_id)?,
                    amount: args::positive("amount", &amount)?,
                },
                occurred_at: args::finite_instant("occurred_at", occurred_at)?,
                on_insufficient: args::on_insufficient(on_insufficient)?,
                behavior: Behavior::Delta,
                dimensions: args::object("dimensions", &dimensions)?,
                metadata: args::object("metadata", &metadata)?,
            })
        })
    }))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn reverse_usage(
    customer_id: default!(Option<&str>, "NULL"),
    usage_id: default!(Option<i64>, "NULL"),
    credits: default!(Option<AnyNumeric>, "NULL"),
    reason: default!(Option<&str>, "NULL"),
    idempotency_key: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(usage_id, i64),
        name!(pool_id, i64),
        name!(credits_returned, AnyNumeric),
        name!(reversed, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(is_duplicate, bool),
    ),
> {
    let (outcome, is_duplicate) = call(|| {
        let customer_id = args::id("customer_id", customer_id)?;
        let idempotency_key = args::key(idempotency_key)?;
        let payload = Payload::default().add(usage_id).number(&credits).add(reason);
        replay::once(customer_id, "reverse_usage", idempotency_key, &payload, || {
            reversing::reverse(
                customer_id,
                args::required("usage_id", usage_id)?,
                args::optional_positive("credits", &credits)?,
                args::note("reason", reason)?,
                idempotency_key,
            )
        })
    });
    TableIterator::once((
        outcome.usage_id,
        outcome.pool_id,
        spi::numeric(outcome.credits_returned),
        spi::numeric(outcome.reversed),
        spi::numeric(outcome.balance),
        is_duplicate,
    ))
}
