//! usage_chart and usage_overview.

use pgrx::JsonB;
use pgrx::prelude::*;

use super::{args, hidden, read, visible};
use crate::engine::charting::{self, Chart, Grouping, Window};
use crate::error::{Error, Result};
use crate::store::spi;

/// Dimensions that a chart may be grouped by.
const MAX_DIMENSIONS: usize = 3;
/// Before the name of a dimension that would be taken for something else.
const PREFIX: &str = "dimension:";

/// The elements of group_by: feature, resource, or the name of a dimension.
fn grouping(names: Option<Vec<Option<String>>>) -> Result<Grouping> {
    let mut by = Grouping::default();
    for name in names.unwrap_or_default() {
        let wrong = |message: &str| Error::argument("group_by", message).with("group_by", name.as_deref());
        let twice = || wrong("group_by has an element twice");
        match name.as_deref() {
            None => return Err(wrong("group_by must not have NULL")),
            Some("feature") if by.feature => return Err(twice()),
            Some("feature") => by.feature = true,
            Some("resource") if by.resource => return Err(twice()),
            Some("resource") => by.resource = true,
            Some(text) => {
                let dimension = text.strip_prefix(PREFIX).unwrap_or(text);
                args::id("group_by", Some(dimension))?;
                if by.dimensions.iter().any(|known| known == dimension) {
                    return Err(twice());
                }
                by.dimensions.push(dimension.to_owned());
            }
        }
    }
    if by.dimensions.len() > MAX_DIMENSIONS {
        return Err(Error::argument("group_by", format!("group_by may name {MAX_DIMENSIONS} dimensions at most"))
            .with("dimensions", by.dimensions));
    }
    Ok(by)
}

fn window<'a>(
    customer_id: Option<&'a str>,
    resource_id: Option<&'a str>,
    credit_type_id: Option<&'a str>,
    from_time: Option<TimestampWithTimeZone>,
    to_time: Option<TimestampWithTimeZone>,
) -> Result<Window<'a>> {
    Ok(Window {
        customer_id: args::id("customer_id", customer_id)?,
        resource_id: args::resource(resource_id)?,
        credit_type_id: args::optional_id("credit_type_id", credit_type_id)?,
        from: args::finite_instant("from_time", from_time)?,
        to: args::finite_instant("to_time", to_time)?,
    })
}

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn usage_chart(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    from_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    to_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    bucket: default!(Option<Interval>, "'1 day'"),
    group_by: default!(Option<Vec<Option<String>>>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(bucket_start, TimestampWithTimeZone),
        name!(bucket_end, TimestampWithTimeZone),
        name!(feature_id, Option<String>),
        name!(resource_id, Option<String>),
        name!(dimensions, Option<JsonB>),
        name!(credits, AnyNumeric),
        name!(units, AnyNumeric),
        name!(events, i64),
    ),
> {
    let Chart { bounds, groups, usage } = read(|reach| {
        let window = window(customer_id, resource_id, credit_type_id, from_time, to_time)?;
        let by = grouping(group_by)?;
        let customer_id = window.customer_id;
        // By resource, a tenant of some resources gets these.
        if !(by.resource && resource_id.is_none() && reach.touches(customer_id)) {
            visible(reach, customer_id, window.resource_id)?;
        }
        let bucket = args::positive_span("bucket", bucket)?;
        let all = reach.covers_customer(customer_id);
        let chart = charting::chart(&window, bucket, &by, |resource_id| all || reach.covers(customer_id, resource_id));
        // What is not there would tell of others.
        if all || resource_id.is_some() { chart } else { chart.map_err(|error| of_others(error, customer_id)) }
    });
    let buckets: Vec<_> = bounds.iter().copied().zip(bounds.iter().copied().skip(1)).collect();
    let rows = buckets.into_iter().flat_map(move |bucket| groups.clone().into_iter().map(move |group| (bucket, group)));
    TableIterator::new(rows.zip(usage).map(|(((start, end), group), usage)| {
        let dimensions = group.dimensions.as_deref().and_then(|text| serde_json::from_str(text).ok());
        (
            spi::timestamp(start),
            spi::timestamp(end),
            group.feature_id,
            group.resource_id,
            dimensions.map(JsonB),
            spi::numeric(usage.credits),
            spi::numeric(usage.units),
            usage.events,
        )
    }))
}

/// Unknown things of a customer of whom the caller sees a part only.
pub(super) fn of_others(error: Error, customer_id: &str) -> Error {
    if error.is(crate::error::Kind::UnknownEntity) { hidden(customer_id, "") } else { error }
}

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn usage_overview(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    from_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    to_time: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(pool_id, i64),
        name!(credit_type_id, String),
        name!(from_time, TimestampWithTimeZone),
        name!(to_time, TimestampWithTimeZone),
        name!(consumed, AnyNumeric),
        name!(units, AnyNumeric),
        name!(events, i64),
        name!(granted, AnyNumeric),
        name!(expired, AnyNumeric),
        name!(voided, AnyNumeric),
        name!(balance_start, AnyNumeric),
        name!(balance_end, AnyNumeric),
        name!(top_feature_id, Option<String>),
        name!(top_feature_credits, Option<AnyNumeric>),
        name!(burn_rate_per_day, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(held, AnyNumeric),
        name!(debt, AnyNumeric),
        name!(expiring_30_days, AnyNumeric),
        name!(next_expiry_at, Option<TimestampWithTimeZone>),
        name!(next_expiry_amount, Option<AnyNumeric>),
        name!(projected_depletion_at, Option<TimestampWithTimeZone>),
    ),
> {
    let overview = read(|reach| {
        let window = window(customer_id, resource_id, credit_type_id, from_time, to_time)?;
        visible(reach, window.customer_id, window.resource_id)?;
        charting::overview(&window)
    });
    let (top, now) = (overview.top_feature, overview.now);
    TableIterator::once((
        overview.pool_id,
        overview.credit_type_id,
        spi::timestamp(overview.from),
        spi::timestamp(overview.to),
        spi::numeric(overview.usage.credits),
        spi::numeric(overview.usage.units),
        overview.usage.events,
        spi::numeric(overview.granted),
        spi::numeric(overview.expired),
        spi::numeric(overview.voided),
        spi::numeric(overview.balance_start),
        spi::numeric(overview.balance_end),
        top.as_ref().map(|(feature_id, _)| feature_id.clone()),
        top.map(|(_, credits)| spi::numeric(credits)),
        spi::numeric(overview.per_day),
        spi::numeric(now.figures.balance),
        spi::numeric(now.figures.held),
        spi::numeric(now.figures.debt),
        spi::numeric(overview.expiring),
        now.next_expiry.map(|(at, _)| spi::timestamp(at)),
        now.next_expiry.map(|(_, amount)| spi::numeric(amount)),
        overview.depletion.map(spi::timestamp),
    ))
}
