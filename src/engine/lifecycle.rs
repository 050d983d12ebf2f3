//! What becomes of a subscription after it was provisioned: cancelled, transferred, given another quantity.
//!
//! Each locks the customer's and the scope's row, then the scope's pools by id, carries out what is due as the
//! subscription was until then, and goes on from there.

use std::collections::{HashMap, HashSet};

use credit_pools_domain::{Amount, Grant, Instant, Schedule};
use serde_json::{Map, Value};

use super::plan_arguments::json;
use super::plan_pools::{self, Outcome};
use super::pool::LockedPool;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::ledger::Note;
use crate::store::schedules::Key;
use crate::store::spi::{Sequence, next_id};
use crate::store::subscriptions::{self, Subscription};
use crate::store::{catalogue, customers, pools, schedules};

/// What every call here has beside its own arguments.
pub struct Call<'a> {
    pub customer_id: &'a str,
    pub subscription_id: &'a str,
    pub reason: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
}

impl<'a> Call<'a> {
    fn note(&self, usual: &'static str) -> Note<'a> {
        Note { reason: Some(self.reason.unwrap_or(usual)), idempotency_key: self.idempotency_key, ..Note::default() }
    }
}

/// Ends a subscription at an instant; with `expire_credits` what its plan granted ends then, too.
pub fn cancel(call: &Call, at: Option<Instant>, expire_credits: bool) -> Result<Outcome> {
    let (mut subscription, mut locked) = lock(call, Scopes::AllPaid)?;
    let now = latest(&locked);
    let at = at.unwrap_or(now);
    if at < now {
        return Err(Error::argument("at", "at lies in the past: credits may have been used since")
            .with("at", at.to_string())
            .with("now", now.to_string()));
    }
    if let Some(cancelled_at) = subscription.cancelled_at
        && at >= subscription.ends_at
    {
        return Err(over(&subscription, "is cancelled already").with("cancelled_at", cancelled_at.to_string()));
    }
    if at >= subscription.ends_at {
        return Err(Error::argument("at", "the subscription ends before that")
            .with("at", at.to_string())
            .with("ends_at", subscription.ends_at.to_string()));
    }
    subscription.active = at > now;
    subscription.ends_at = at;
    subscription.cancelled_at = Some(now);
    subscription.expires_credits = expire_credits;
    subscription.revision = next_id(Sequence::Revision);
    subscriptions::put(call.customer_id, &subscription, now);
    let signal = plan_pools::signal("subscription.cancelled", &subscription, now);
    plan_pools::tell(call.customer_id, &subscription, signal, now);
    let note = call.note("subscription cancelled");
    for pool in &mut locked {
        if pool.row.resource_id == subscription.resource_id {
            pool.row.scope_revision = subscription.revision;
        }
        let ours = schedules_of(pool, &subscription);
        if expire_credits {
            for grant in recurring(pool, &ours) {
                let now = pool.now;
                pool.ask(|wallet| wallet.end_earlier(grant.id, at, now))?;
            }
        }
        pool.carry_out_due()?;
        pool.write(note.clone());
    }
    plan_pools::outcome(subscription, now)
}

/// Moves a subscription to another scope, with the rest of what its plan granted or without.
pub fn transfer(call: &Call, to_resource_id: &str, move_credits: bool) -> Result<Outcome> {
    let (mut subscription, mut locked) = lock(call, Scopes::With(to_resource_id))?;
    let now = latest(&locked);
    let from_resource_id = std::mem::replace(&mut subscription.resource_id, to_resource_id.to_owned());
    if let Some(other) = plan_pools::current(call.customer_id, to_resource_id, now) {
        return Err(Error::state(format!(
            "the scope to transfer to has the active subscription \"{}\"",
            other.subscription_id
        ))
        .with("subscription_id", other.subscription_id)
        .with("plan_id", other.plan_id)
        .hint("Cancel that one first, or transfer to another resource."));
    }
    subscription.revision = next_id(Sequence::Revision);
    subscriptions::put(call.customer_id, &subscription, now);
    let left = Some(from_resource_id.as_str()).filter(|id| !id.is_empty());
    let signal = plan_pools::signal("subscription.transferred", &subscription, now).with("from_resource_id", left);
    plan_pools::tell(call.customer_id, &subscription, signal, now);

    let entries = catalogue::plan_entries(&subscription.plan_id, now);
    let limits = plan_pools::overdrafts(&subscription.plan_id, &entries);
    let mut wanted = limits.clone();
    for pool in locked.iter_mut().filter(|pool| pool.row.resource_id == from_resource_id) {
        if !schedules_of(pool, &subscription).is_empty() {
            wanted.entry(pool.row.credit_type_id.clone()).or_default();
        }
    }
    plan_pools::open_missing(call.customer_id, to_resource_id, &wanted, &mut locked)?;
    let (mut from, mut to): (Vec<LockedPool>, Vec<LockedPool>) =
        locked.into_iter().partition(|pool| pool.row.resource_id == from_resource_id);
    let note = call.note("subscription transferred");
    for pool in &mut from {
        let target = to.iter_mut().find(|to| to.row.credit_type_id == pool.row.credit_type_id);
        leave(call, pool, target, &subscription, move_credits)?;
        pool.row.scope_revision = subscription.revision;
        pool.write(note.clone());
    }
    for pool in &mut to {
        if let Some(Some(limit)) = limits.get(&pool.row.credit_type_id) {
            pool.row.wallet.overdraft = *limit;
        }
        pool.row.scope_revision = subscription.revision;
        pool.load_schedules();
        pool.carry_out_due()?;
        pool.write(note.clone());
    }
    plan_pools::outcome(subscription, now)
}

/// One pool that a subscription leaves for another: its schedules go, and what they granted where that is asked.
fn leave(
    call: &Call,
    pool: &mut LockedPool,
    target: Option<&mut LockedPool>,
    subscription: &Subscription,
    move_credits: bool,
) -> Result<()> {
    let keys = pool.load_schedules();
    let ours: HashMap<i64, Key> =
        keys.into_iter().filter(|(_, key)| key.subscription_id == subscription.subscription_id).collect();
    let Some(target) = target.filter(|_| !ours.is_empty()) else { return Ok(()) };
    let now = pool.now;
    let (from_id, to_id) = (pool.row.pool_id, target.row.pool_id);
    schedules::move_to(call.customer_id, &subscription.subscription_id, from_id, to_id, now);
    let there: HashMap<Key, i64> = target.load_schedules().into_iter().map(|(id, key)| (key, id)).collect();
    if move_credits {
        let ids = ours.keys().copied().collect();
        for grant in recurring(pool, &ids).into_iter().filter(|grant| grant.available().is_positive()) {
            let (part, new_id) = (grant.available(), next_id(Sequence::Grant));
            let moved = pool.ask(|wallet| wallet.transfer_out(grant.id, part, new_id, now))?;
            let schedule_id = grant.schedule_id.and_then(|id| ours.get(&id)).and_then(|key| there.get(key)).copied();
            let (moved, now) = (Grant { schedule_id, ..moved }, target.now);
            target.ask(|wallet| wallet.transfer_in(moved.clone(), now))?;
        }
    }
    let wallet = &mut pool.row.wallet;
    let (gone, stay): (Vec<Schedule>, Vec<Schedule>) =
        std::mem::take(&mut wallet.schedules).into_iter().partition(|s| ours.contains_key(&s.id));
    wallet.schedules = stay;
    for schedule in gone.iter().filter(|schedule| schedule.running) {
        wallet.withdraw_overdraft(schedule.overdraft);
    }
    Ok(())
}

/// Sets how many of a feature, such as seats, a subscription has. More are granted at once for the period that runs.
pub fn set_quantity(call: &Call, feature_id: &str, quantity: Amount) -> Result<Outcome> {
    if !catalogue::feature_exists(feature_id) {
        return Err(Error::unknown("feature", feature_id));
    }
    let (mut subscription, mut locked) = lock(call, Scopes::Own)?;
    let now = latest(&locked);
    let before = json(subscription.quantities.as_deref());
    subscription.quantities = Some(with_quantity(subscription.quantities.as_deref(), feature_id, quantity));
    plan_pools::check_amounts(&subscription, now, "quantity")?;
    subscription.revision = next_id(Sequence::Revision);
    subscriptions::put(call.customer_id, &subscription, now);
    if before != json(subscription.quantities.as_deref()) {
        let signal = plan_pools::signal("subscription.quantity_changed", &subscription, now)
            .with("feature_id", feature_id)
            .with_amount("quantity", quantity);
        plan_pools::tell(call.customer_id, &subscription, signal, now);
    }
    let note = call.note("quantity");
    for pool in &mut locked {
        pool.row.scope_revision = subscription.revision;
        let ours = schedules_of(pool, &subscription);
        let now = pool.now;
        pool.ask(|wallet| wallet.top_up(&ours, now, &mut || next_id(Sequence::Grant)))?;
        pool.write(note.clone());
    }
    plan_pools::outcome(subscription, now)
}

fn with_quantity(quantities: Option<&str>, feature_id: &str, quantity: Amount) -> String {
    let mut all = match json(quantities) {
        Some(Value::Object(all)) => all,
        _ => Map::new(),
    };
    // serde_json keeps the digits as they are (arbitrary_precision).
    let number = serde_json::from_str(&quantity.to_string()).unwrap_or(Value::Null);
    all.insert(feature_id.to_owned(), number);
    Value::Object(all).to_string()
}

/// Which pools a call needs.
enum Scopes<'a> {
    /// The subscription's scope.
    Own,
    /// Also those that it was transferred away from, where its credits may have stayed.
    AllPaid,
    /// Also those of the scope that it is to be transferred to.
    With(&'a str),
}

/// The subscription and its pools; locked, with what is due carried out.
fn lock(call: &Call, scopes: Scopes) -> Result<(Subscription, Vec<LockedPool>)> {
    let to_resource_id = if let Scopes::With(to) = scopes { Some(to) } else { None };
    let unknown = || Error::unknown("subscription", call.subscription_id);
    let find = || subscriptions::by_id(call.customer_id, call.subscription_id).ok_or_else(unknown);
    let scope = find()?.resource_id;
    if to_resource_id == Some(scope.as_str()) {
        return Err(Error::argument("to_resource_id", "the subscription is there already")
            .with("to_resource_id", Some(scope).filter(|id| !id.is_empty())));
    }
    if let Some(to) = to_resource_id {
        customers::ensure(call.customer_id, to, "UTC", clock::now());
    }
    customers::share_customer(call.customer_id);
    let mut names: Vec<&str> = to_resource_id.into_iter().chain([scope.as_str()]).collect();
    names.sort_unstable();
    for scope in names {
        customers::lock_scope(call.customer_id, scope);
    }
    let subscription = find()?;
    if subscription.resource_id != scope {
        let text = "the subscription was transferred by another session meanwhile";
        return Err(Error::new(Kind::SerializationFailure, text));
    }
    let rows = match scopes {
        Scopes::AllPaid => pools::lock_paid_by(call.customer_id, &scope, call.subscription_id),
        _ => pools::lock_scopes(call.customer_id, &scope, to_resource_id.unwrap_or(&scope)),
    };
    let locked = LockedPool::all_advanced(rows)?;
    let now = latest(&locked);
    if !subscription.active || subscription.ends_at <= now {
        let how = if subscription.cancelled_at.is_some() { "is cancelled already" } else { "has ended" };
        return Err(over(&subscription, how));
    }
    Ok((subscription, locked))
}

fn over(subscription: &Subscription, how: &str) -> Error {
    Error::state(format!("subscription \"{}\" {how}", subscription.subscription_id))
        .with("subscription_id", subscription.subscription_id.as_str())
        .with("ends_at", subscription.ends_at.to_string())
}

/// The instant of a call over several pools.
fn latest(locked: &[LockedPool]) -> Instant {
    locked.iter().map(|pool| pool.now).fold(clock::now(), Instant::max)
}

/// Loads a pool's schedules, and tells which are the subscription's.
fn schedules_of(pool: &mut LockedPool, subscription: &Subscription) -> HashSet<i64> {
    let keys = pool.load_schedules();
    keys.iter().filter(|(_, key)| key.subscription_id == subscription.subscription_id).map(|(id, _)| *id).collect()
}

/// The open grants that schedules made, in the order of consumption.
fn recurring(pool: &LockedPool, schedules: &HashSet<i64>) -> Vec<Grant> {
    let made = |grant: &&Grant| grant.schedule_id.is_some_and(|id| schedules.contains(&id));
    let open = pool.row.wallet.grants.iter().filter(|grant| grant.status.is_open());
    let mut grants: Vec<Grant> = open.filter(made).cloned().collect();
    grants.sort_by(Grant::burn_order);
    grants
}
