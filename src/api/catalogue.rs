//! The catalogue's functions, and apply_catalog, which does them all from one document.

use credit_pools_domain::{Amount, Instant, Limit, Span};
use pgrx::prelude::*;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::args::{self, JsonText};
use super::call;
use crate::engine::catalogue;
use crate::error::{Error, Result};
use crate::store::catalogue::{CreditTypeValues, PlanEntry};
use crate::store::spi;

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn define_credit_type(
    credit_type_id: default!(Option<&str>, "NULL"),
    display_name: default!(Option<&str>, "NULL"),
    scale: default!(Option<i32>, "NULL"),
    symbol: default!(Option<&str>, "NULL"),
    unit_singular: default!(Option<&str>, "NULL"),
    unit_plural: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<'static, (name!(credit_type_id, String), name!(changed, bool))> {
    let changed = call(|| {
        let values = CreditTypeValues {
            display_name: args::note("display_name", display_name)?,
            scale: scale_of(scale)?,
            symbol: args::note("symbol", symbol)?,
            unit_singular: args::note("unit_singular", unit_singular)?,
            unit_plural: args::note("unit_plural", unit_plural)?,
            metadata: args::object("metadata", &metadata)?,
        };
        catalogue::define_credit_type(args::id("credit_type_id", credit_type_id)?, &values)
    });
    TableIterator::once((credit_type_id.unwrap_or_default().to_owned(), changed))
}

fn scale_of(scale: Option<i32>) -> Result<Option<i16>> {
    scale
        .map(|scale| {
            i16::try_from(scale).map_err(|_| Error::argument("scale", "scale must be 0 to 18").with("scale", scale))
        })
        .transpose()
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn archive_credit_type(
    credit_type_id: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(credit_type_id, String), name!(changed, bool))> {
    let changed = call(|| catalogue::archive_credit_type(args::id("credit_type_id", credit_type_id)?));
    TableIterator::once((credit_type_id.unwrap_or_default().to_owned(), changed))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn define_feature(
    feature_id: default!(Option<&str>, "NULL"),
    display_name: default!(Option<&str>, "NULL"),
    unit: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<'static, (name!(feature_id, String), name!(changed, bool))> {
    let changed = call(|| {
        catalogue::define_feature(
            args::id("feature_id", feature_id)?,
            args::note("display_name", display_name)?,
            args::note("unit", unit)?,
            args::object("metadata", &metadata)?,
        )
    });
    TableIterator::once((feature_id.unwrap_or_default().to_owned(), changed))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn define_plan(
    plan_id: default!(Option<&str>, "NULL"),
    display_name: default!(Option<&str>, "NULL"),
    metadata: default!(Option<JsonText>, "NULL"),
) -> TableIterator<'static, (name!(plan_id, String), name!(changed, bool))> {
    let changed = call(|| {
        catalogue::define_plan(
            args::id("plan_id", plan_id)?,
            args::note("display_name", display_name)?,
            args::object("metadata", &metadata)?,
        )
    });
    TableIterator::once((plan_id.unwrap_or_default().to_owned(), changed))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn define_plan_credits(
    plan_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    entry_id: default!(Option<&str>, "'default'"),
    amount: default!(Option<AnyNumeric>, "NULL"),
    cadence: default!(Option<Interval>, "'1 month'"),
    priority: default!(Option<i32>, "50"),
    category: default!(Option<&str>, "'recurring'"),
    expires_after: default!(Option<Interval>, "NULL"),
    rollover_max: default!(Option<AnyNumeric>, "0"),
    rollover_percent: default!(Option<AnyNumeric>, "100"),
    rollover_periods: default!(Option<i32>, "1"),
    quantity_feature_id: default!(Option<&str>, "NULL"),
    overdraft_limit: default!(Option<AnyNumeric>, "0"),
) -> TableIterator<
    'static,
    (name!(plan_id, String), name!(credit_type_id, String), name!(entry_id, String), name!(changed, bool)),
> {
    let changed = call(|| {
        let entry = EntryArguments {
            credit_type_id,
            entry_id,
            amount,
            cadence: cadence.map(spi::span),
            priority,
            category,
            expires_after: expires_after.map(spi::span),
            rollover_max,
            rollover_percent,
            rollover_periods: rollover_periods.map(i64::from),
            quantity_feature_id,
            overdraft_limit,
        };
        catalogue::define_plan_credits(args::id("plan_id", plan_id)?, &entry.checked()?)
    });
    TableIterator::once((
        plan_id.unwrap_or_default().to_owned(),
        credit_type_id.unwrap_or_default().to_owned(),
        entry_id.unwrap_or("default").to_owned(),
        changed,
    ))
}

/// A plan entry as it was said, in SQL or in a document; what was not said takes its default.
struct EntryArguments<'a> {
    credit_type_id: Option<&'a str>,
    entry_id: Option<&'a str>,
    amount: Option<AnyNumeric>,
    cadence: Option<Span>,
    priority: Option<i32>,
    category: Option<&'a str>,
    expires_after: Option<Span>,
    rollover_max: Option<AnyNumeric>,
    rollover_percent: Option<AnyNumeric>,
    rollover_periods: Option<i64>,
    quantity_feature_id: Option<&'a str>,
    overdraft_limit: Option<AnyNumeric>,
}

impl EntryArguments<'_> {
    fn checked(&self) -> Result<PlanEntry> {
        let percent = args::optional_not_negative("rollover_percent", &self.rollover_percent)?;
        Ok(PlanEntry {
            credit_type_id: args::id("credit_type_id", self.credit_type_id)?.to_owned(),
            entry_id: args::id("entry_id", Some(self.entry_id.unwrap_or("default")))?.to_owned(),
            amount: args::positive("amount", &self.amount)?,
            cadence: self.cadence,
            priority: args::priority(self.priority)?.unwrap_or(50),
            category: self.category.unwrap_or("recurring").to_owned(),
            expires_after: self.expires_after,
            rollover_max: args::optional_not_negative("rollover_max", &self.rollover_max)?.unwrap_or(Amount::ZERO),
            rollover_percent: percent.unwrap_or(Amount::from_units(100)),
            rollover_periods: self.rollover_periods.unwrap_or(1),
            quantity_feature_id: args::optional_id("quantity_feature_id", self.quantity_feature_id)?.map(str::to_owned),
            overdraft_limit: args::optional_limit("overdraft_limit", &self.overdraft_limit)?
                .unwrap_or(Limit::Finite(Amount::ZERO)),
        })
    }
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn define_rate(
    feature_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    credits_per_unit: default!(Option<AnyNumeric>, "NULL"),
    formula: default!(Option<&str>, "NULL"),
    plan_id: default!(Option<&str>, "NULL"),
    effective_at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> TableIterator<
    'static,
    (name!(feature_id, String), name!(plan_id, Option<String>), name!(credit_type_id, String), name!(changed, bool)),
> {
    let changed = call(|| {
        catalogue::define_rate(
            args::id("feature_id", feature_id)?,
            args::optional_id("plan_id", plan_id)?.unwrap_or_default(),
            args::id("credit_type_id", credit_type_id)?,
            args::optional_not_negative("credits_per_unit", &credits_per_unit)?,
            formula,
            args::finite_instant("effective_at", effective_at)?,
        )
    });
    TableIterator::once((
        feature_id.unwrap_or_default().to_owned(),
        plan_id.map(str::to_owned),
        credit_type_id.unwrap_or_default().to_owned(),
        changed,
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn apply_catalog(
    catalog: default!(Option<JsonText>, "NULL"),
) -> TableIterator<'static, (name!(kind, String), name!(id, String), name!(changed, bool))> {
    TableIterator::new(call(|| {
        args::required("catalog", catalog.as_ref())?;
        apply(args::object("catalog", &catalog)?.unwrap_or("{}"))
    }))
}

/// A document: arrays of objects whose keys are the arguments of the functions of the same name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Document {
    credit_types: Vec<Value>,
    features: Vec<Value>,
    plans: Vec<Value>,
    plan_credits: Vec<Value>,
    rates: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreditTypeItem {
    credit_type_id: String,
    display_name: Option<String>,
    scale: Option<i32>,
    symbol: Option<String>,
    unit_singular: Option<String>,
    unit_plural: Option<String>,
    metadata: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureItem {
    feature_id: String,
    display_name: Option<String>,
    unit: Option<String>,
    metadata: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanItem {
    plan_id: String,
    display_name: Option<String>,
    metadata: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanCreditsItem {
    plan_id: String,
    credit_type_id: String,
    entry_id: Option<String>,
    amount: Option<Value>,
    /// Left out: a month. null: once.
    #[serde(default, deserialize_with = "said")]
    cadence: Option<Option<String>>,
    priority: Option<i32>,
    category: Option<String>,
    expires_after: Option<String>,
    rollover_max: Option<Value>,
    rollover_percent: Option<Value>,
    rollover_periods: Option<i64>,
    quantity_feature_id: Option<String>,
    overdraft_limit: Option<Value>,
}

fn said<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateItem {
    feature_id: String,
    credit_type_id: String,
    credits_per_unit: Option<Value>,
    formula: Option<String>,
    plan_id: Option<String>,
    effective_at: Option<String>,
}

type Applied = (String, String, bool);

fn apply(text: &str) -> Result<Vec<Applied>> {
    let document: Document =
        serde_json::from_str(text).map_err(|error| Error::argument("catalog", format!("catalog: {error}")))?;
    let mut applied = Vec::new();
    let mut note = |kind: &str, id: &str, changed| applied.push((kind.to_owned(), id.to_owned(), changed));
    for item in items::<CreditTypeItem>("credit_types", document.credit_types)? {
        let id = args::id("credit_type_id", Some(&item.credit_type_id))?;
        let metadata = text_of(item.metadata);
        let values = CreditTypeValues {
            display_name: item.display_name.as_deref(),
            scale: scale_of(item.scale)?,
            symbol: item.symbol.as_deref(),
            unit_singular: item.unit_singular.as_deref(),
            unit_plural: item.unit_plural.as_deref(),
            metadata: metadata.as_deref(),
        };
        note("credit_type", id, catalogue::define_credit_type(id, &values)?);
    }
    for item in items::<FeatureItem>("features", document.features)? {
        let id = args::id("feature_id", Some(&item.feature_id))?;
        let (name, unit) = (item.display_name.as_deref(), item.unit.as_deref());
        note("feature", id, catalogue::define_feature(id, name, unit, text_of(item.metadata).as_deref())?);
    }
    for item in items::<PlanItem>("plans", document.plans)? {
        let id = args::id("plan_id", Some(&item.plan_id))?;
        note("plan", id, catalogue::define_plan(id, item.display_name.as_deref(), text_of(item.metadata).as_deref())?);
    }
    for item in items::<PlanCreditsItem>("plan_credits", document.plan_credits)? {
        let plan_id = args::id("plan_id", Some(&item.plan_id))?;
        let entry = EntryArguments {
            credit_type_id: Some(&item.credit_type_id),
            entry_id: item.entry_id.as_deref(),
            amount: number("amount", item.amount)?,
            cadence: match &item.cadence {
                None => Some(Span::MONTH),
                Some(cadence) => interval("cadence", cadence.as_deref())?,
            },
            priority: item.priority,
            category: item.category.as_deref(),
            expires_after: interval("expires_after", item.expires_after.as_deref())?,
            rollover_max: number("rollover_max", item.rollover_max)?,
            rollover_percent: number("rollover_percent", item.rollover_percent)?,
            rollover_periods: item.rollover_periods,
            quantity_feature_id: item.quantity_feature_id.as_deref(),
            overdraft_limit: number("overdraft_limit", item.overdraft_limit)?,
        }
        .checked()?;
        let id = format!("{plan_id}/{}/{}", entry.credit_type_id, entry.entry_id);
        note("plan_credits", &id, catalogue::define_plan_credits(plan_id, &entry)?);
    }
    for item in items::<RateItem>("rates", document.rates)? {
        let feature_id = args::id("feature_id", Some(&item.feature_id))?;
        let plan_id = args::optional_id("plan_id", item.plan_id.as_deref())?.unwrap_or_default();
        let per_unit = number("credits_per_unit", item.credits_per_unit)?;
        let changed = catalogue::define_rate(
            feature_id,
            plan_id,
            args::id("credit_type_id", Some(&item.credit_type_id))?,
            args::optional_not_negative("credits_per_unit", &per_unit)?,
            item.formula.as_deref(),
            instant("effective_at", item.effective_at.as_deref())?,
        )?;
        let id = if plan_id.is_empty() { feature_id.to_owned() } else { format!("{plan_id}/{feature_id}") };
        note("rate", &id, changed);
    }
    Ok(applied)
}

/// The elements of one array; an error names the array and the element, counted from 0.
fn items<T: for<'de> Deserialize<'de>>(array: &str, values: Vec<Value>) -> Result<Vec<T>> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| {
            if !value.is_object() {
                return Err(Error::argument("catalog", format!("catalog: {array}[{index}] must be an object")));
            }
            serde_json::from_value(value)
                .map_err(|error| Error::argument("catalog", format!("catalog: {array}[{index}]: {error}")))
        })
        .collect()
}

fn text_of(metadata: Option<serde_json::Map<String, Value>>) -> Option<String> {
    metadata.map(|map| Value::Object(map).to_string())
}

/// A number of a document, or a text such as "Infinity" or an exact decimal.
fn number(argument: &str, value: Option<Value>) -> Result<Option<AnyNumeric>> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Error::argument(argument, format!("{argument} must be a number"))),
    };
    AnyNumeric::try_from(text.as_str())
        .map(Some)
        .map_err(|_| Error::argument(argument, format!("{argument} must be a number")))
}

/// An interval of a document: ISO 8601 (P1M) or words (1 month).
fn interval(argument: &str, text: Option<&str>) -> Result<Option<Span>> {
    let Some(text) = text else { return Ok(None) };
    Span::parse(text).and_then(Span::check_positive).map(Some).map_err(|_| {
        Error::argument(argument, format!("{argument} must be a positive interval, such as \"1 month\""))
            .with(argument, text)
    })
}

/// An instant of a document, with its offset from UTC.
fn instant(argument: &str, text: Option<&str>) -> Result<Option<Instant>> {
    let Some(text) = text else { return Ok(None) };
    Instant::parse(text).map(Some).map_err(|_| {
        Error::argument(argument, format!("{argument} must be an instant, such as \"2026-03-01T00:00:00Z\""))
            .with(argument, text)
    })
}
