//! Subscriptions: provisioning and change of plan. What a plan grants is granted here.

use std::collections::{BTreeMap, BTreeSet};

use credit_pools_domain::{Amount, Cadence, Category, Instant, Limit, Span, Zone, check_id};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::granting::{check_scale, new_grant};
use super::opening::{granting_credit_type, open_or_lock};
use super::pool::LockedPool;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::catalogue::{self, PlanEntry};
use crate::store::grants::{self, Terms};
use crate::store::ledger::Note;
use crate::store::spi::{Sequence, next_id};
use crate::store::subscriptions::{self, Subscription, amounts};
use crate::store::{customers, pools};

pub struct Request<'a> {
    pub customer_id: &'a str,
    pub resource_id: &'a str,
    pub plan_id: &'a str,
    pub subscription_id: Option<&'a str>,
    pub starts_at: Option<Instant>,
    pub ends_at: Option<Instant>,
    pub time_zone: Option<&'a str>,
    pub quantities: Option<&'a str>,
    pub overrides: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    pub metadata: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub subscription_id: String,
    pub plan_id: String,
    pub status: String,
    pub period_start: i64,
    pub period_end: i64,
    /// The scope had this very subscription.
    pub unchanged: bool,
}

pub fn provision(request: &Request) -> Result<Outcome> {
    let Request { customer_id, resource_id, .. } = *request;
    if !catalogue::plan_exists(request.plan_id) {
        return Err(Error::unknown("plan", request.plan_id));
    }
    let zone_name = request.time_zone.unwrap_or("UTC");
    Zone::find(zone_name).map_err(|_| unknown_zone(zone_name))?;
    let overrides = Overrides::read(request.overrides)?;
    if let Some(text) = request.quantities {
        numbers("quantities", text, "feature")?;
    }
    let now = clock::now();
    customers::ensure(customer_id, resource_id, zone_name, now);
    // The order of every call: the customer, the scope, then pools. Pools may have to be opened below.
    customers::share_customer(customer_id);
    customers::lock_scope(customer_id, resource_id);

    let now = clock::now();
    let current = subscriptions::of_scope(customer_id, resource_id).filter(|s| {
        let over = s.ends_at <= now;
        if over {
            subscriptions::mark_ended(customer_id, &s.subscription_id, now);
        }
        !over
    });
    let changes_plan = current.is_some();
    let (subscription, unchanged) = match current {
        Some(current) => changed(request, current, &overrides)?,
        None => (new_subscription(request, zone_name, &overrides, now)?, false),
    };
    let zone = Zone::find(&subscription.time_zone).map_err(|_| unknown_zone(&subscription.time_zone))?;
    let entries = catalogue::plan_entries(&subscription.plan_id);
    if !unchanged {
        subscriptions::put(customer_id, &subscription, now);
        let amounts = Amounts {
            overrides: amounts(subscription.amount_overrides.as_deref()).collect(),
            quantities: amounts(subscription.quantities.as_deref()).collect(),
        };
        fill_pools(request, &subscription, &zone, &entries, &amounts, changes_plan)?;
    }
    outcome(subscription, &zone, &entries, now, unchanged)
}

/// Provisioning a scope that has a subscription: the same again, or a change of its plan.
fn changed(request: &Request, current: Subscription, overrides: &Overrides) -> Result<(Subscription, bool)> {
    if let Some(id) = request.subscription_id
        && id != current.subscription_id
    {
        return Err(Error::state(format!(
            "the scope has the active subscription \"{}\" and cannot have another",
            current.subscription_id
        ))
        .with("subscription_id", current.subscription_id.as_str())
        .with("plan_id", current.plan_id.as_str())
        .hint("Leave subscription_id out to change the plan of the one it has."));
    }
    let same_json =
        |wanted: Option<&str>, kept: &Option<String>| wanted.is_none() || json(wanted) == json(kept.as_deref());
    let same = request.plan_id == current.plan_id
        && request.starts_at.is_none_or(|at| at == current.starts_at)
        && request.ends_at.is_none_or(|at| at == current.ends_at)
        && request.time_zone.is_none_or(|zone| zone == current.time_zone)
        && same_json(request.quantities, &current.quantities)
        && same_json(request.metadata, &current.metadata)
        && (request.overrides.is_none()
            || (same_json(overrides.rates_text.as_deref(), &current.rate_overrides)
                && same_json(overrides.amounts_text.as_deref(), &current.amount_overrides)));
    if same {
        return Ok((current, true));
    }
    if request.plan_id == current.plan_id {
        return Err(Error::new(
            Kind::IdempotencyConflict,
            format!("subscription \"{}\" has plan \"{}\" with other values", current.subscription_id, current.plan_id),
        )
        .with("subscription_id", current.subscription_id.as_str())
        .with("plan_id", current.plan_id.as_str())
        .hint("Provision another plan to change the plan; repeat the same values for the same subscription."));
    }
    if request.starts_at.is_some_and(|at| at != current.starts_at) {
        return Err(Error::argument("starts_at", "a change of plan keeps the start of the subscription"));
    }
    if request.time_zone.is_some_and(|zone| zone != current.time_zone) {
        return Err(Error::argument("time_zone", "a change of plan keeps the time zone of the subscription"));
    }
    let ends_at = request.ends_at.unwrap_or(current.ends_at);
    check_end(current.starts_at, ends_at)?;
    Ok((
        Subscription {
            plan_id: request.plan_id.to_owned(),
            ends_at,
            quantities: request.quantities.map(str::to_owned).or(current.quantities),
            rate_overrides: overrides.rates_text.clone(),
            amount_overrides: overrides.amounts_text.clone(),
            metadata: request.metadata.map(str::to_owned).or(current.metadata),
            revision: next_id(Sequence::Revision),
            ..current
        },
        false,
    ))
}

fn new_subscription(request: &Request, zone: &str, overrides: &Overrides, now: Instant) -> Result<Subscription> {
    let subscription_id = match request.subscription_id {
        Some(id) => id.to_owned(),
        None => format!("sub_{}", next_id(Sequence::Revision)),
    };
    if let Some(other) = subscriptions::by_id(request.customer_id, &subscription_id) {
        let error = if other.active {
            let text = format!("subscription \"{subscription_id}\" is another scope's");
            Error::new(Kind::IdempotencyConflict, text)
        } else {
            Error::state(format!("subscription \"{subscription_id}\" has ended"))
        };
        return Err(error.with("subscription_id", subscription_id).with("plan_id", other.plan_id));
    }
    let starts_at = request.starts_at.unwrap_or(now);
    let ends_at = request.ends_at.unwrap_or(Instant::INFINITY);
    check_end(starts_at, ends_at)?;
    if ends_at <= now {
        return Err(Error::argument("ends_at", "ends_at lies in the past"));
    }
    Ok(Subscription {
        subscription_id,
        resource_id: request.resource_id.to_owned(),
        plan_id: request.plan_id.to_owned(),
        active: true,
        starts_at,
        ends_at,
        time_zone: zone.to_owned(),
        quantities: request.quantities.map(str::to_owned),
        rate_overrides: overrides.rates_text.clone(),
        amount_overrides: overrides.amounts_text.clone(),
        metadata: request.metadata.map(str::to_owned),
        revision: next_id(Sequence::Revision),
    })
}

fn check_end(starts_at: Instant, ends_at: Instant) -> Result<()> {
    if ends_at <= starts_at {
        return Err(Error::argument("ends_at", "ends_at must be later than starts_at")
            .with("starts_at", starts_at.to_string())
            .with("ends_at", ends_at.to_string()));
    }
    Ok(())
}

/// Opens the pools of the plan, and grants what its entries give for the current period.
fn fill_pools(
    request: &Request,
    subscription: &Subscription,
    zone: &Zone,
    entries: &[PlanEntry],
    amounts: &Amounts,
    changes_plan: bool,
) -> Result<()> {
    let Request { customer_id, resource_id, .. } = *request;
    let mut overdrafts: BTreeMap<String, Option<Limit>> =
        catalogue::rated_credit_types(&subscription.plan_id).into_iter().map(|id| (id, None)).collect();
    for entry in entries {
        let limit = overdrafts.entry(entry.credit_type_id.clone()).or_default();
        *limit = Some(limit.map_or(entry.overdraft_limit, |l| l.max(entry.overdraft_limit)));
    }
    // Every pool of the scope that there is, in the order of ids; then the missing ones, by credit type.
    let mut locked: Vec<LockedPool> =
        pools::lock_scope(customer_id, resource_id).into_iter().map(LockedPool::advanced).collect::<Result<_>>()?;
    let known: BTreeSet<String> = locked.iter().map(|pool| pool.row.credit_type_id.clone()).collect();
    for (credit_type_id, overdraft) in overdrafts.iter().filter(|(id, _)| !known.contains(*id)) {
        granting_credit_type(credit_type_id)?;
        locked.push(open_or_lock(customer_id, resource_id, credit_type_id, *overdraft, None)?.0);
    }
    for pool in &mut locked {
        pool.row.scope_revision = subscription.revision;
        if let Some(Some(overdraft)) = overdrafts.get(&pool.row.credit_type_id) {
            pool.row.wallet.overdraft = *overdraft;
        }
        let credit_type_id = pool.row.credit_type_id.clone();
        for entry in entries.iter().filter(|entry| entry.credit_type_id == credit_type_id) {
            // What a change of plan brings counts from the change on, not from the start of the period.
            let not_before = if changes_plan { pool.now } else { Instant::NEG_INFINITY };
            grant_entry(pool, subscription, zone, entry, amounts, not_before)?;
        }
        pool.write(&Note { reason: Some("plan"), idempotency_key: request.idempotency_key, ..Note::default() });
    }
    Ok(())
}

/// What one entry gives for the period that the subscription is in, unless it has given it before.
fn grant_entry(
    pool: &mut LockedPool,
    subscription: &Subscription,
    zone: &Zone,
    entry: &PlanEntry,
    amounts: &Amounts,
    not_before: Instant,
) -> Result<()> {
    let cadence = Cadence { every: entry.cadence, expires_after: entry.expires_after };
    let at = pool.now.max(subscription.starts_at);
    let period = cadence
        .current(zone, subscription.starts_at, at)
        .map_err(|_| Error::argument("starts_at", "the plan's periods leave the range of the calendar"))?;
    if period.expires_at <= pool.now || period.start >= subscription.ends_at {
        return Ok(());
    }
    let amount = amounts.of(entry)?;
    if amount.is_zero() {
        return Ok(());
    }
    let credit_type = granting_credit_type(&entry.credit_type_id)?;
    check_scale("amount", amount, credit_type.scale)?;
    let customer_id = pool.row.customer_id.clone();
    let (subscription_id, plan_id) = (subscription.subscription_id.as_str(), subscription.plan_id.as_str());
    let pool_id = pool.row.pool_id;
    if grants::granted_for_period(&customer_id, subscription_id, plan_id, pool_id, &entry.entry_id, period.start) {
        return Ok(());
    }
    let category = Category::parse(&entry.category).unwrap_or(Category::Recurring);
    let grant = new_grant(amount, category, entry.priority, period.start.max(not_before), period.expires_at, pool.now);
    let terms = Terms {
        source: "plan",
        subscription_id: Some(subscription_id),
        plan_id: Some(plan_id),
        entry_id: Some(&entry.entry_id),
        period_start: Some(period.start),
        ..Terms::default()
    };
    pool.add_grant(grant, false, &terms)
}

fn outcome(
    subscription: Subscription,
    zone: &Zone,
    entries: &[PlanEntry],
    now: Instant,
    unchanged: bool,
) -> Result<Outcome> {
    // The subscription's own period is the shortest of its entries, a calendar month where it has none.
    let period = entries.iter().filter_map(|e| e.cadence).min_by_key(|s| s.nominal_micros()).unwrap_or(Span::MONTH);
    let (_, start, end) = zone
        .period(subscription.starts_at, period, now.max(subscription.starts_at))
        .map_err(|_| Error::argument("starts_at", "the plan's periods leave the range of the calendar"))?;
    Ok(Outcome {
        subscription_id: subscription.subscription_id,
        plan_id: subscription.plan_id,
        status: (if subscription.starts_at > now { "scheduled" } else { "active" }).to_owned(),
        period_start: start.micros(),
        period_end: end.min(subscription.ends_at).micros(),
        unchanged,
    })
}

/// What the subscription changes of the plan's amounts.
struct Amounts {
    overrides: BTreeMap<String, Amount>,
    quantities: BTreeMap<String, Amount>,
}

impl Amounts {
    /// The entry's amount for this subscription: its own or the plan's, times the quantity it is counted by.
    fn of(&self, entry: &PlanEntry) -> Result<Amount> {
        let by_entry = format!("{}/{}", entry.credit_type_id, entry.entry_id);
        let each = self.overrides.get(&by_entry).or_else(|| self.overrides.get(&entry.credit_type_id));
        let each = each.copied().unwrap_or(entry.amount);
        let Some(feature) = &entry.quantity_feature_id else { return Ok(each) };
        let quantity = self.quantities.get(feature).copied().unwrap_or(Amount::ZERO);
        each.multiply_rounded(quantity, credit_pools_domain::MAX_SCALE)
            .filter(|amount| amount.within_outside_limit())
            .ok_or_else(|| Error::argument("quantities", "the plan's credits times this quantity have too many digits"))
    }
}

/// The `overrides` argument: {"rates": {feature: credits per unit}, "amounts": {credit type or credit
/// type/entry: credits}}.
#[derive(Default)]
struct Overrides {
    rates_text: Option<String>,
    amounts_text: Option<String>,
}

impl Overrides {
    fn read(text: Option<&str>) -> Result<Overrides> {
        let mut overrides = Overrides::default();
        if text.is_none() {
            return Ok(overrides);
        }
        let Some(Value::Object(parts)) = json(text) else {
            return Err(Error::argument("overrides", "overrides is nested too deeply"));
        };
        for (key, part) in parts {
            let part = part.to_string();
            match key.as_str() {
                "rates" => {
                    numbers("overrides", &part, "feature")?;
                    overrides.rates_text = Some(part);
                }
                "amounts" => {
                    numbers("overrides", &part, "credit_type")?;
                    overrides.amounts_text = Some(part);
                }
                _ => {
                    return Err(Error::argument("overrides", format!("overrides has the unknown key \"{key}\""))
                        .with("key", key)
                        .hint("Known keys: rates, amounts."));
                }
            }
        }
        Ok(overrides)
    }
}

/// Checks an object of known ids and non-negative numbers.
fn numbers(argument: &str, text: &str, kind: &str) -> Result<()> {
    let bad = |key: &str| {
        Error::argument(argument, format!("{argument}: the value of \"{key}\" is no number of 0 or more"))
            .with("key", key)
    };
    let Some(Value::Object(pairs)) = json(Some(text)) else {
        return Err(Error::argument(argument, format!("{argument} must be an object of numbers")));
    };
    for (key, value) in pairs {
        let id = key.split('/').next().unwrap_or_default();
        let known = check_id(&key).is_ok()
            && if kind == "feature" { catalogue::feature_exists(&key) } else { catalogue::credit_type(id).is_some() };
        if !known {
            return Err(Error::unknown(kind, key));
        }
        let Value::Number(number) = value else { return Err(bad(&key)) };
        let amount = Amount::parse(&number.to_string()).map_err(|_| bad(&key))?;
        if amount.is_negative() || !amount.within_outside_limit() {
            return Err(bad(&key));
        }
    }
    Ok(())
}

fn json(text: Option<&str>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

pub fn unknown_zone(name: &str) -> Error {
    Error::argument("time_zone", format!("time zone \"{name}\" is not known"))
        .with("time_zone", name)
        .hint("Use a name of the IANA time zone database, such as Europe/Berlin.")
}
