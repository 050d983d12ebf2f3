//! The catalogue's upserts: of credit types, features and plans a value that is left out keeps what is there,
//! a plan's credits and a rate are what the call says.

use std::rc::Rc;

use credit_pools_domain::{Amount, Category, Formula, Instant, Limit, MAX_SCALE, Price, Zone};

use crate::clock;
use crate::error::{Error, Result};
use crate::store::catalogue::{self, CreditTypeValues, PlanEntry, RateVersion};

const HOUR: i64 = 3_600_000_000;

pub fn define_credit_type(credit_type_id: &str, values: &CreditTypeValues) -> Result<bool> {
    if let Some(scale) = values.scale {
        let wanted = u32::try_from(scale).unwrap_or(u32::MAX);
        if wanted > MAX_SCALE {
            return Err(Error::argument("scale", "scale must be 0 to 18").with("scale", scale));
        }
        let changes = catalogue::credit_type(credit_type_id).is_some_and(|known| known.scale != wanted);
        if changes && catalogue::credit_type_in_use(credit_type_id) {
            return Err(Error::state(format!("credit type \"{credit_type_id}\" has pools: its scale is fixed"))
                .with("credit_type_id", credit_type_id));
        }
    }
    Ok(catalogue::upsert_credit_type(credit_type_id, values, clock::now()))
}

pub fn archive_credit_type(credit_type_id: &str) -> Result<bool> {
    if catalogue::credit_type(credit_type_id).is_none() {
        return Err(Error::unknown("credit_type", credit_type_id));
    }
    Ok(catalogue::archive_credit_type(credit_type_id, clock::now()))
}

/// What one plan grants of one credit type. The whole entry is what the call says: nothing is kept of an
/// earlier definition. A subscription's renewals take the version that is in force at their instant.
pub fn define_plan_credits(plan_id: &str, entry: &PlanEntry) -> Result<bool> {
    if !catalogue::plan_exists(plan_id) {
        return Err(Error::unknown("plan", plan_id));
    }
    let credit_type_id = entry.credit_type_id.as_str();
    let credit_type =
        catalogue::credit_type(credit_type_id).ok_or_else(|| Error::unknown("credit_type", credit_type_id))?;
    check_entry(entry, credit_type.scale)?;
    let now = clock::now();
    let known = catalogue::plan_entries(plan_id, now)
        .into_iter()
        .find(|known| (&known.credit_type_id, &known.entry_id) == (&entry.credit_type_id, &entry.entry_id));
    if known.as_ref() == Some(entry) {
        return Ok(false);
    }
    // The first version also counts for subscriptions that are said to have begun earlier.
    catalogue::put_plan_entry(plan_id, entry, if known.is_some() { now } else { Instant::NEG_INFINITY });
    Ok(true)
}

fn check_entry(entry: &PlanEntry, scale: u32) -> Result<()> {
    super::granting::check_scale("amount", entry.amount, scale)?;
    super::granting::check_scale("rollover_max", entry.rollover_max, scale)?;
    if let Limit::Finite(limit) = entry.overdraft_limit {
        super::granting::check_scale("overdraft_limit", limit, scale)?;
    }
    for (argument, span) in [("cadence", entry.cadence), ("expires_after", entry.expires_after)] {
        if let Some(span) = span {
            span.check_positive().map_err(|_| {
                Error::argument(argument, format!("{argument} must be a positive interval, without mixed signs"))
            })?;
            // One that no calendar can count would silently mean never.
            Zone::utc()
                .step(clock::now(), span, 1)
                .map_err(|_| Error::argument(argument, format!("{argument} leaves the range of the calendar")))?;
        }
    }
    if entry.cadence.is_some_and(|span| span.nominal_micros() < HOUR) {
        return Err(Error::argument("cadence", "cadence must be an hour or more"));
    }
    if entry.cadence.is_none() && entry.rollover_max.is_positive() {
        return Err(Error::argument(
            "rollover_max",
            "credits that are granted once do not roll over: leave rollover_max 0",
        ));
    }
    if Category::parse(&entry.category).is_none() {
        return Err(Error::argument("category", "category must be paid, promotional or recurring"));
    }
    if entry.rollover_percent > Amount::from_units(100) {
        return Err(Error::argument("rollover_percent", "rollover_percent must be 0 to 100"));
    }
    if entry.rollover_periods < 1 || entry.rollover_periods > i64::from(i32::MAX) {
        return Err(Error::argument("rollover_periods", "rollover_periods must be 1 or more"));
    }
    if let Some(feature) = &entry.quantity_feature_id
        && !catalogue::feature_exists(feature)
    {
        return Err(Error::unknown("feature", feature.as_str()));
    }
    Ok(())
}

/// A new version of a rate. Without an instant, the first version of a feature and plan counts from the
/// beginning of time, a later one from now on.
pub fn define_rate(
    feature_id: &str,
    plan_id: &str,
    credit_type_id: &str,
    credits_per_unit: Option<Amount>,
    formula: Option<&str>,
    effective_at: Option<Instant>,
) -> Result<bool> {
    let price = match (credits_per_unit, formula) {
        (Some(each), None) => Price::PerUnit(each),
        (None, Some(text)) => Price::Formula(Rc::new(parse_formula("formula", text)?)),
        (None, None) => return Err(Error::argument("credits_per_unit", "credits_per_unit or formula is required")),
        (Some(_), Some(_)) => {
            return Err(Error::argument("formula", "either credits_per_unit or formula: a rate has one price"));
        }
    };
    if !catalogue::feature_exists(feature_id) {
        return Err(Error::unknown("feature", feature_id));
    }
    if catalogue::credit_type(credit_type_id).is_none() {
        return Err(Error::unknown("credit_type", credit_type_id));
    }
    if !plan_id.is_empty() && !catalogue::plan_exists(plan_id) {
        return Err(Error::unknown("plan", plan_id));
    }
    let now = clock::now();
    let versions = catalogue::rate_versions(feature_id, plan_id);
    let from = effective_at.unwrap_or(if versions.is_empty() { Instant::NEG_INFINITY } else { now });
    let rate = RateVersion { effective_at: from, credit_type_id: credit_type_id.to_owned(), price };
    // Without an instant the call says "this is the price", which may be so already; with one it names a
    // version, which is new unless it is there.
    let in_force = versions.iter().rev().find(|version| version.effective_at <= from);
    let said = in_force.is_some_and(|known| {
        (effective_at.is_none() || known.effective_at == from)
            && RateVersion { effective_at: from, ..known.clone() } == rate
    });
    if said {
        return Ok(false);
    }
    catalogue::put_rate(feature_id, plan_id, &rate, now);
    Ok(true)
}

/// An error says where in the text it is.
pub fn parse_formula(argument: &str, text: &str) -> Result<Formula> {
    Formula::parse(text).map_err(|error| {
        Error::argument(argument, format!("{argument}: {error}"))
            .with("position", error.position)
            .hint("Numbers, value, names of dimensions, + - * /, min, max, ceil, floor, round and if(condition, a, b).")
    })
}

pub fn define_feature(
    feature_id: &str,
    display_name: Option<&str>,
    unit: Option<&str>,
    metadata: Option<&str>,
) -> Result<bool> {
    Ok(catalogue::upsert_feature(feature_id, display_name, unit, metadata, clock::now()))
}

pub fn define_plan(plan_id: &str, display_name: Option<&str>, metadata: Option<&str>) -> Result<bool> {
    Ok(catalogue::upsert_plan(plan_id, display_name, metadata, clock::now()))
}
