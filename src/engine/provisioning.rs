//! Subscriptions: provisioning and change of plan.

use credit_pools_domain::{Instant, Zone};

use super::plan_arguments::{Overrides, json, numbers};
use super::plan_pools::{self, Outcome};
use super::pool::LockedPool;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::catalogue;
use crate::store::ledger::Note;
use crate::store::spi::{Sequence, next_id};
use crate::store::subscriptions::{self, Subscription};
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

/// Provisions, or finds (`true`) that the scope has this very subscription.
pub fn provision(request: &Request) -> Result<(Outcome, bool)> {
    let Request { customer_id, resource_id, .. } = *request;
    if !catalogue::plan_exists(request.plan_id) {
        return Err(Error::unknown("plan", request.plan_id));
    }
    let zone_name = match request.time_zone {
        Some(name) => name.to_owned(),
        None => customers::time_zone(customer_id).unwrap_or_else(|| "UTC".to_owned()),
    };
    Zone::find(&zone_name).map_err(|_| unknown_zone(&zone_name))?;
    let overrides = Overrides::read(request.overrides)?;
    if let Some(text) = request.quantities {
        numbers("quantities", text, "feature")?;
    }
    customers::ensure(customer_id, resource_id, &zone_name, clock::now());
    // The order of every call: the customer, the scope, then pools. Pools may have to be opened below.
    customers::share_customer(customer_id);
    customers::lock_scope(customer_id, resource_id);

    let now = clock::now();
    let current = plan_pools::current(customer_id, resource_id, now);
    let changes_plan = current.is_some();
    let previous_plan = current.as_ref().map(|current| current.plan_id.clone());
    let (subscription, unchanged) = match current {
        Some(current) => changed(request, current, &overrides)?,
        None => (new_subscription(request, &zone_name, &overrides, now)?, false),
    };
    if !unchanged {
        plan_pools::check_amounts(&subscription, now, "quantities")?;
        // What is due is done as the subscription was until now.
        let locked = LockedPool::all_advanced(pools::lock_scope(customer_id, resource_id))?;
        subscriptions::put(customer_id, &subscription, now);
        let signal = match previous_plan {
            Some(plan_id) => {
                plan_pools::signal("subscription.changed", &subscription, now).with("previous_plan_id", plan_id)
            }
            None => plan_pools::signal("subscription.created", &subscription, now),
        };
        plan_pools::tell(customer_id, &subscription, signal, now);
        let note = Note { reason: Some("plan"), idempotency_key: request.idempotency_key, ..Note::default() };
        plan_pools::fill(customer_id, &subscription, locked, changes_plan, now, &note)?;
    }
    Ok((plan_pools::outcome(subscription, now)?, unchanged))
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
    if current.ends_at <= current.starts_at {
        return Err(Error::state(format!(
            "subscription \"{}\" is cancelled before its start",
            current.subscription_id
        ))
        .with("subscription_id", current.subscription_id.as_str())
        .with("ends_at", current.ends_at.to_string()));
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
        cancelled_at: None,
        expires_credits: false,
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

pub fn unknown_zone(name: &str) -> Error {
    Error::argument("time_zone", format!("time zone \"{name}\" is not known"))
        .with("time_zone", name)
        .hint("Use a name of the IANA time zone database, such as Europe/Berlin.")
}
