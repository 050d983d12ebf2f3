//! Policies and subscriptions, and which of them are each pool's.

use std::collections::HashMap;

use credit_pools_domain::{Instant, Span};
use credit_pools_page::{self as shown, History, HistoryKind};

use crate::engine::plan_pools;
use crate::store::page::{self as store, Found};
use crate::store::subscriptions::{self, Subscription};

const SUBSCRIPTIONS_OF_SCOPE: i64 = 3;
const VERSIONS: i64 = 20;

/// The policies that cover these pools, and which of them is each pool's. The one of all pools is for whoever sees them all:
/// it counts what all have spent.
pub fn policies(
    customer_id: &str,
    found: &[Found],
    all: bool,
    now: Instant,
) -> (Vec<shown::Policy>, Vec<Option<usize>>) {
    let mut names: Vec<(&str, &str)> =
        found.iter().map(|pool| (pool.row.credit_type_id.as_str(), pool.row.resource_id.as_str())).collect();
    names.extend(found.iter().map(|pool| (pool.row.credit_type_id.as_str(), "")));
    names.sort_unstable();
    names.dedup();
    names.retain(|(_, resource_id)| all || !resource_id.is_empty());
    let (keys, policies): (Vec<(String, String)>, Vec<shown::Policy>) =
        store::policies(customer_id, &names, now).into_iter().unzip();
    let places: HashMap<(&str, &str), usize> =
        keys.iter().enumerate().map(|(place, (a, b))| ((a.as_str(), b.as_str()), place)).collect();
    let of_pool = |pool: &Found| {
        let credit_type_id = pool.row.credit_type_id.as_str();
        let own = places.get(&(credit_type_id, pool.row.resource_id.as_str()));
        own.or_else(|| places.get(&(credit_type_id, ""))).copied()
    };
    let of_pools = found.iter().map(of_pool).collect();
    (policies, of_pools)
}

/// The subscription of each scope, the current one or else the last, and what happened to those that it has had.
pub type OfScopes = HashMap<String, (Option<usize>, Vec<History>)>;

pub fn subscriptions(customer_id: &str, found: &[Found], now: Instant) -> (Vec<shown::Subscription>, OfScopes) {
    let mut scopes: Vec<&str> = found.iter().map(|pool| pool.row.resource_id.as_str()).collect();
    scopes.dedup();
    let known = subscriptions::latest_of_scopes(customer_id, &scopes, SUBSCRIPTIONS_OF_SCOPE);
    let ids: Vec<&str> = known.iter().map(|sub| sub.subscription_id.as_str()).collect();
    let mut versions: HashMap<String, Vec<store::Version>> = HashMap::new();
    for version in store::versions(customer_id, &ids, VERSIONS) {
        versions.entry(version.subscription_id.clone()).or_default().push(version);
    }
    let mut cadences: HashMap<String, Span> = HashMap::new();
    let mut of_scopes = OfScopes::new();
    let mut shown = Vec::new();
    for sub in &known {
        let of_scope = of_scopes.entry(sub.resource_id.clone()).or_default();
        of_scope.1.extend(history(sub, versions.remove(&sub.subscription_id).unwrap_or_default(), now));
        if of_scope.0.is_none() {
            of_scope.0 = Some(shown.len());
            shown.push(subscription(sub, &mut cadences, now));
        }
    }
    (shown, of_scopes)
}

fn subscription(sub: &Subscription, cadences: &mut HashMap<String, Span>, now: Instant) -> shown::Subscription {
    let cadence = *cadences.entry(sub.plan_id.clone()).or_insert_with(|| plan_pools::cadence(&sub.plan_id, now));
    let period = plan_pools::period_by(sub, cadence, now).ok();
    let quantities = subscriptions::amounts(sub.quantities.as_deref());
    let quantities: Vec<String> = quantities.map(|(feature_id, count)| format!("{feature_id}: {count}")).collect();
    shown::Subscription {
        subscription_id: sub.subscription_id.clone(),
        plan_id: sub.plan_id.clone(),
        status: sub.status_at(now),
        starts_at: sub.starts_at,
        ends_at: Some(sub.ends_at).filter(|at| at.is_finite()),
        cancelled_at: sub.cancelled_at,
        period_start: period.map(|(start, _)| start),
        period_end: period.map(|(_, end)| end),
        quantities: Some(quantities.join(", ")).filter(|text| !text.is_empty()),
    }
}

/// What happened to a subscription, by its versions, the newest first.
fn history(sub: &Subscription, versions: Vec<store::Version>, now: Instant) -> Vec<History> {
    let mut lines = Vec::new();
    let line = |at, kind, plan_id: &str| History { at, kind, plan_id: Some(plan_id.to_owned()) };
    for (index, version) in versions.iter().enumerate() {
        match versions.get(index + 1) {
            Some(before) if before.resource_id != version.resource_id && version.resource_id == sub.resource_id => {
                lines.push(line(version.at, HistoryKind::MovedHere, &version.plan_id));
            }
            Some(before) if before.plan_id != version.plan_id => {
                lines.push(line(version.at, HistoryKind::PlanChanged, &version.plan_id));
            }
            Some(_) => (),
            None if index as i64 + 1 < VERSIONS => {
                lines.push(line(sub.starts_at, HistoryKind::Started, &version.plan_id));
            }
            None => (),
        }
    }
    if let Some(at) = sub.cancelled_at {
        lines.push(line(at, HistoryKind::Cancelled, &sub.plan_id));
    }
    if sub.ends_at <= now {
        lines.push(line(sub.ends_at, HistoryKind::Ended, &sub.plan_id));
    }
    lines
}
