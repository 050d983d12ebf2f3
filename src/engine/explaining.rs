//! Why a usage cost what it did, and why it was taken from those grants.

use credit_pools_domain::{Amount, EntryType, Grant, Price};
use serde_json::{Value, json};

use super::checking::number;
use super::reading;
use crate::error::{Error, Result};
use crate::store::usages::{self, UsageHead, UsageRow};
use crate::store::{cache, catalogue, pools, reservations, subscriptions};

pub struct Explained {
    pub head: UsageHead,
    pub resource_id: String,
    pub credit_type_id: String,
    pub plan_id: Option<String>,
    pub rate_source: Option<&'static str>,
    pub rate: Option<Amount>,
    pub formula: Option<String>,
    pub rate_effective_at: Option<credit_pools_domain::Instant>,
    pub cost: Amount,
    pub reversed: Amount,
    pub debt: Amount,
    pub grants: Value,
    pub explanation: String,
}

/// The rate of a usage, as the catalogue has it for its instant.
struct Rated {
    source: &'static str,
    price: Price,
    effective_at: Option<credit_pools_domain::Instant>,
}

pub fn explain(customer_id: &str, usage_id: i64) -> Result<Explained> {
    cache::refresh();
    let head = usages::head(customer_id, usage_id).ok_or_else(|| Error::unknown("usage", usage_id))?;
    let pool = pools::read(customer_id, head.pool_id).ok_or_else(|| Error::unknown("pool", head.pool_id))?;
    let rows = usages::rows(customer_id, usage_id);
    let subscription = head
        .feature_id
        .as_ref()
        .and_then(|_| subscriptions::covering(customer_id, &pool.resource_id, head.occurred_at));
    let plan_id = subscription.as_ref().map(|subscription| {
        let then = subscriptions::plan_at(customer_id, &subscription.subscription_id, head.recorded_at);
        then.unwrap_or_else(|| subscription.plan_id.clone())
    });
    let own = subscription.as_ref().map(|subscription| subscription.rates());
    let own = own.and_then(|mut rates| rates.remove(head.feature_id.as_deref()?));
    let rated = rate_of(customer_id, &head, plan_id.as_deref(), own);
    let debt = sum(rows.iter().filter(|row| row.kind == EntryType::Debt).map(|row| -row.amount));
    let order = reading::in_order_before(&pool, head.seq, head.recorded_at, head.feature_id.as_deref());
    let shortfall = head.shortfall.max(Amount::ZERO);
    let cost = head.credits.checked_add(shortfall).unwrap_or(head.credits);
    let grants = drawn(&rows, &order, head.reservation_id.is_some());
    let explanation = in_words(&head, rated.as_ref(), plan_id.as_deref(), cost, debt, &grants);
    Ok(Explained {
        resource_id: pool.resource_id,
        credit_type_id: pool.credit_type_id,
        plan_id,
        rate_source: rated.as_ref().map(|rated| rated.source),
        rate: head.rate.or_else(|| rated.as_ref().and_then(|rated| rated.price.per_unit())),
        formula: rated.as_ref().and_then(|rated| rated.price.formula()).map(str::to_owned),
        rate_effective_at: rated.as_ref().and_then(|rated| rated.effective_at),
        cost,
        reversed: usages::reversed(customer_id, usage_id),
        debt,
        grants: Value::Array(grants),
        explanation,
        head: UsageHead { shortfall, ..head },
    })
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    Amount::from_raw(amounts.map(Amount::raw).sum())
}

/// The hold's price, else the subscription's own, the plan's, the one for every plan. The usage's row has the rate per
/// unit that it was charged at: where the catalogue has been changed for the past since, that picks the version.
fn rate_of(customer_id: &str, head: &UsageHead, plan_id: Option<&str>, own: Option<Price>) -> Option<Rated> {
    let hold = head.reservation_id.as_deref().and_then(|id| reservations::one(customer_id, id));
    if let Some(price) = hold.and_then(|reservation| reservation.price) {
        return Some(Rated { source: "reservation", price, effective_at: None });
    }
    let (feature_id, plan_id) = (head.feature_id.as_deref()?, plan_id?);
    let version = |plan_id: &str| {
        let versions = catalogue::rate_versions(feature_id, plan_id);
        versions.into_iter().rev().find(|version| version.effective_at <= head.occurred_at)
    };
    let own = own.map(|price| Rated { source: "subscription", price, effective_at: None });
    let rated = |source: &'static str, plan_id: &str| {
        version(plan_id).map(|v| Rated { source, price: v.price, effective_at: Some(v.effective_at) })
    };
    let mut candidates: Vec<Rated> =
        own.into_iter().chain(rated("plan", plan_id)).chain(rated("every plan", "")).collect();
    let charged = candidates.iter().position(|rated| head.rate.is_some() && rated.price.per_unit() == head.rate);
    match charged {
        Some(index) => Some(candidates.swap_remove(index)),
        None if candidates.is_empty() => None,
        None => Some(candidates.swap_remove(0)),
    }
}

/// The grants that were drawn from, each with why it came before the next that could have been.
fn drawn(rows: &[UsageRow], order: &[Grant], was_held: bool) -> Vec<Value> {
    let consumed = rows.iter().filter(|row| row.kind == EntryType::Consume);
    consumed
        .map(|row| {
            let place = order.iter().position(|grant| Some(grant.id) == row.grant_id);
            let grant = place.and_then(|place| order.get(place));
            let next = place.and_then(|place| order.get(place + 1));
            let rule = match (grant, next) {
                _ if was_held => "what its reservation held, then in order of consumption".to_owned(),
                (Some(grant), Some(next)) => {
                    format!("before grant {}, because {}", next.id, grant.why_before(next))
                }
                (Some(_), None) => "the last that was usable".to_owned(),
                (None, _) => "in order of consumption".to_owned(),
            };
            json!({
                "grant_id": row.grant_id,
                "credits": number(-row.amount),
                "category": grant.map(|grant| grant.category.as_str()),
                "priority": grant.map(|grant| grant.priority),
                "expires_at": grant.filter(|g| g.expires_at.is_finite()).map(|g| g.expires_at.to_string()),
                "rule": rule,
            })
        })
        .collect()
}

fn in_words(
    head: &UsageHead,
    rated: Option<&Rated>,
    plan_id: Option<&str>,
    cost: Amount,
    debt: Amount,
    grants: &[Value],
) -> String {
    let mut text = match (&head.feature_id, head.value) {
        (Some(feature), Some(value)) if value.is_negative() => {
            return format!("the total of feature \"{feature}\" was lowered by {}", -value);
        }
        (Some(feature), Some(value)) => format!("{value} of feature \"{feature}\" cost {cost} credits"),
        (Some(feature), None) => format!("feature \"{feature}\": {cost} credits"),
        (None, _) => format!("{cost} plain credits"),
    };
    if let Some(Rated { source, price, effective_at }) = rated {
        let whose = match (*source, plan_id) {
            ("plan", Some(plan)) => format!("the rate of plan \"{plan}\""),
            ("every plan", _) => "the rate for every plan".to_owned(),
            ("subscription", _) => "the subscription's own rate".to_owned(),
            _ => "the rate of its reservation".to_owned(),
        };
        let how = match (price.per_unit(), price.formula()) {
            (Some(each), _) => format!("{each} per unit"),
            (_, Some(formula)) => formula.to_owned(),
            _ => String::new(),
        };
        text += &format!(", by {whose}: {how}");
        if let Some(at) = effective_at.filter(|at| at.is_finite()) {
            text += &format!(", in force since {at}");
        }
    }
    for grant in grants {
        let part = |key: &str| grant.get(key).map(ToString::to_string).unwrap_or_default();
        let rule = grant.get("rule").and_then(Value::as_str).unwrap_or_default();
        text += &format!("; {} from grant {} ({rule})", part("credits"), part("grant_id"));
    }
    if debt.is_positive() {
        text += &format!("; {debt} as debt");
    }
    if head.shortfall.is_positive() {
        text += &format!("; {} could not be charged", head.shortfall);
    }
    text
}
