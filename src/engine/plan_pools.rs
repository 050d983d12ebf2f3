//! What a subscription's plan means for the pools of its scope: they open, its entries get schedules, and these
//! grant.

use std::collections::{BTreeMap, BTreeSet};

use credit_pools_domain::{Instant, Limit, Schedule, Span};
use serde::{Deserialize, Serialize};

use super::granting::check_scale;
use super::opening::{granting_credit_type, open_or_lock};
use super::pool::LockedPool;
use super::signals::Signal;
use crate::error::{Error, Result};
use crate::store::catalogue::{self, PlanEntry};
use crate::store::ledger::Note;
use crate::store::subscriptions::{self, Subscription};
use crate::store::{events, schedules};

/// A subscription as its calls return it; kept with their keys. Instants as PostgreSQL counts them.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub subscription_id: String,
    pub resource_id: String,
    pub plan_id: String,
    pub status: String,
    pub period_start: i64,
    pub period_end: i64,
    pub starts_at: i64,
    pub ends_at: i64,
    pub quantities: Option<String>,
}

/// The scope's subscription, unless it is over by now. The scope is locked.
pub fn current(customer_id: &str, resource_id: &str, now: Instant) -> Option<Subscription> {
    subscriptions::of_scope(customer_id, resource_id).filter(|subscription| {
        let over = subscription.ends_at <= now;
        if over {
            end(customer_id, subscription, now);
        }
        !over
    })
}

/// What the clock has ended is marked so, and told. The scope is locked.
pub fn end(customer_id: &str, subscription: &Subscription, now: Instant) {
    subscriptions::mark_ended(customer_id, &subscription.subscription_id, now);
    tell(customer_id, subscription, signal("subscription.ended", subscription, subscription.ends_at), now);
}

/// An event of a subscription, as it is from now on.
pub fn signal(kind: &'static str, subscription: &Subscription, at: Instant) -> Signal {
    Signal::new(kind, at)
        .with("subscription_id", subscription.subscription_id.as_str())
        .with("plan_id", subscription.plan_id.as_str())
        .with("status", subscription.status_at(at))
        .with_instant("starts_at", subscription.starts_at)
        .with_instant("ends_at", subscription.ends_at)
}

pub fn tell(customer_id: &str, subscription: &Subscription, signal: Signal, now: Instant) {
    events::write(&[signal.of_scope(customer_id, &subscription.resource_id, None)], now);
}

/// The amounts that a subscription makes of its plan must be amounts of their credit types.
pub fn check_amounts(subscription: &Subscription, now: Instant, argument: &str) -> Result<()> {
    let amounts = subscription.amounts();
    for entry in catalogue::plan_entries(&subscription.plan_id, now) {
        // Of an archived type nothing is granted.
        let Some(credit_type) = catalogue::credit_type(&entry.credit_type_id).filter(|t| !t.archived) else { continue };
        check_scale("amount", amounts.each(&entry), credit_type.scale)?;
        amounts
            .of(&entry, credit_type.scale)
            .ok_or_else(|| Error::argument(argument, "the plan's credits times this quantity have too many digits"))?;
    }
    Ok(())
}

/// Opens the pools of the plan beside the `locked` ones of the scope, and grants what its entries give by now.
/// Entries of a plan that was left come to their end.
pub fn fill(
    customer_id: &str,
    subscription: &Subscription,
    mut locked: Vec<LockedPool>,
    changes_plan: bool,
    now: Instant,
    note: &Note,
) -> Result<()> {
    let entries = catalogue::plan_entries(&subscription.plan_id, now);
    let overdrafts = overdrafts(&subscription.plan_id, &entries);
    let known = |id: &str| locked.iter().any(|pool| pool.row.credit_type_id == id);
    let granted = |id: &str| entries.iter().any(|entry| entry.credit_type_id == id);
    for credit_type_id in overdrafts.keys().filter(|id| granted(id) || !known(id)) {
        granting_credit_type(credit_type_id)?;
    }
    open_missing(customer_id, &subscription.resource_id, &overdrafts, &mut locked)?;
    for pool in &mut locked {
        pool.row.scope_revision = subscription.revision;
        let credit_type_id = pool.row.credit_type_id.clone();
        for entry in entries.iter().filter(|entry| entry.credit_type_id == credit_type_id) {
            let (id, plan_id) = (subscription.subscription_id.as_str(), subscription.plan_id.as_str());
            schedules::ensure(customer_id, pool.row.pool_id, id, plan_id, entry, subscription.starts_at, pool.now);
        }
        let keys = pool.load_schedules();
        let now = pool.now;
        let wallet = &mut pool.row.wallet;
        let mut withdrawn = Vec::new();
        for schedule in &mut wallet.schedules {
            let ours = keys.get(&schedule.id).is_some_and(|key| {
                key.subscription_id == subscription.subscription_id && key.plan_id == subscription.plan_id
            });
            match (ours, changes_plan) {
                (true, true) => {
                    schedule.resume(now);
                    schedules::set_first(customer_id, schedule);
                }
                (true, false) => {
                    schedule.begin(now);
                    schedules::set_first(customer_id, schedule);
                }
                (false, _) if schedule.running => {
                    schedule.stop();
                    withdrawn.push(schedule.overdraft);
                }
                (false, _) => {}
            }
        }
        for limit in withdrawn {
            wallet.withdraw_overdraft(limit);
        }
        if let Some(Some(limit)) = overdrafts.get(&credit_type_id) {
            wallet.overdraft = *limit;
        }
        pool.watch_schedules();
        pool.carry_out_due()?;
        pool.write(note.clone());
    }
    Ok(())
}

/// The credit types of a plan, with the limit that its entries give.
pub fn overdrafts(plan_id: &str, entries: &[PlanEntry]) -> BTreeMap<String, Option<Limit>> {
    let mut overdrafts: BTreeMap<String, Option<Limit>> =
        catalogue::rated_credit_types(plan_id).into_iter().map(|id| (id, None)).collect();
    for entry in entries {
        let limit = overdrafts.entry(entry.credit_type_id.clone()).or_default();
        *limit = Some(limit.map_or(entry.overdraft_limit, |l| l.max(entry.overdraft_limit)));
    }
    overdrafts
}

/// Opens pools that a scope has not, behind those that are locked.
pub fn open_missing(
    customer_id: &str,
    resource_id: &str,
    wanted: &BTreeMap<String, Option<Limit>>,
    locked: &mut Vec<LockedPool>,
) -> Result<()> {
    let known: BTreeSet<String> = locked
        .iter()
        .filter(|pool| pool.row.resource_id == resource_id)
        .map(|pool| pool.row.credit_type_id.clone())
        .collect();
    for (credit_type_id, overdraft) in wanted.iter().filter(|(id, _)| !known.contains(*id)) {
        locked.push(open_or_lock(customer_id, resource_id, credit_type_id, *overdraft, None)?.0);
    }
    Ok(())
}

/// The subscription's own period is the shortest of its entries, a calendar month where it has none; of one that has ended,
/// the last.
pub fn period(subscription: &Subscription, at: Instant) -> Result<(Instant, Instant)> {
    period_by(subscription, cadence(&subscription.plan_id, at), at)
}

/// How long the periods of a plan's subscriptions are.
pub fn cadence(plan_id: &str, at: Instant) -> Span {
    let entries = catalogue::plan_entries(plan_id, at);
    entries.iter().filter_map(|e| e.cadence).min_by_key(|s| s.nominal_micros()).unwrap_or(Span::MONTH)
}

/// The same as `period`, where the cadence is known.
pub fn period_by(subscription: &Subscription, every: Span, at: Instant) -> Result<(Instant, Instant)> {
    let last = if subscription.ends_at.is_finite() { subscription.ends_at.plus_micros(-1) } else { at };
    let (start, end) = Schedule::period_of(&subscription.zone(), subscription.starts_at, every, at.min(last))
        .map_err(|_| Error::argument("starts_at", "the plan's periods leave the range of the calendar"))?;
    Ok((start, end.min(subscription.ends_at)))
}

pub fn outcome(subscription: Subscription, now: Instant) -> Result<Outcome> {
    let (start, end) = period(&subscription, now)?;
    Ok(Outcome {
        status: subscription.status_at(now).to_owned(),
        period_start: start.micros(),
        period_end: end.micros(),
        starts_at: subscription.starts_at.micros(),
        ends_at: subscription.ends_at.micros(),
        quantities: subscription.quantities,
        subscription_id: subscription.subscription_id,
        resource_id: subscription.resource_id,
        plan_id: subscription.plan_id,
    })
}
