//! set_limit, and what the view limits asks for.

use credit_pools_domain::Limit;
use pgrx::prelude::*;

use super::{args, call};
use crate::clock;
use crate::engine::limiting::{self, Request};
use crate::error::Error;
use crate::store::spi;

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn set_limit(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    per: default!(Option<Interval>, "NULL"),
    all_resources: default!(Option<bool>, "false"),
) -> TableIterator<
    'static,
    (
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(all_resources, bool),
        name!(amount, AnyNumeric),
        name!(per, Interval),
        name!(used, AnyNumeric),
        name!(window_start, TimestampWithTimeZone),
        name!(window_end, TimestampWithTimeZone),
    ),
> {
    let all = all_resources.unwrap_or(false);
    let (limit, per, amount) = call(|| {
        let span = args::positive_span("per", per)?;
        let per = args::required("per", span.and(per))?;
        let limit = match args::optional_limit("amount", &amount)? {
            Some(Limit::Unlimited) => Limit::Unlimited,
            _ => Limit::Finite(args::positive("amount", &amount)?),
        };
        let request = Request {
            customer_id: args::id("customer_id", customer_id)?,
            resource_id: args::resource(resource_id)?,
            credit_type_id: args::id("credit_type_id", credit_type_id)?,
            amount: limit,
            per: spi::span(per),
            all_resources: all,
        };
        if all && !request.resource_id.is_empty() {
            return Err(Error::argument("all_resources", "a limit on all resources names no resource_id"));
        }
        Ok((limiting::set(&request)?, per, limit))
    });
    TableIterator::once((
        customer_id.unwrap_or_default().to_owned(),
        resource_id.map(str::to_owned),
        credit_type_id.unwrap_or_default().to_owned(),
        all,
        spi::limit_numeric(amount),
        per,
        spi::numeric(limit.used),
        spi::timestamp(limit.window_start),
        spi::timestamp(limit.window_end),
    ))
}

/// The calendar window of a limit in which this statement runs.
#[pg_extern(stable, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn limit_window(
    customer_id: Option<&str>,
    per: Option<Interval>,
) -> TableIterator<'static, (name!(window_start, TimestampWithTimeZone), name!(window_end, TimestampWithTimeZone))> {
    let window = customer_id.zip(per).and_then(|(customer_id, per)| {
        spi::connected(|| limiting::window(customer_id, spi::span(per), clock::statement_start()))
    });
    TableIterator::new(window.into_iter().map(|(start, end)| (spi::timestamp(start), spi::timestamp(end))))
}
