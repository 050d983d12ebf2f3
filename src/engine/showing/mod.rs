//! The page of a customer's credits: what it shows, read for all pools together, each figure as of the instant.

mod parts;
mod scopes;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use credit_pools_domain::{Amount, Instant, Span, Zone, buckets};
use credit_pools_page::{self as shown, History, HistoryKind, Page};

use super::charting;
use super::opening::check_scope;
use super::pool::unknown_pool;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::customers;
use crate::store::page::{self as store, Found};

/// Days of the chart.
const DAYS: i32 = 30;
/// A page with more would have nothing of them but their names.
const MOST_POOLS: i64 = 2_000;
/// What is shown of a pool that was asked for; more than the page takes in the end (credit_pools_page).
const IN_FULL: Share = Share { ledger: 100, grants: 200, recharges: 20 };
/// What all other pools have together, and what one of them has at least.
const OF_OTHERS: i64 = 6_000;
const LEAST_OF_ONE: i64 = 3;

/// Rows of a pool that are read.
#[derive(Clone, Copy)]
struct Share {
    ledger: i64,
    grants: i64,
    recharges: i64,
}

pub struct Asked<'a> {
    pub customer_id: &'a str,
    /// `None`: the global pool, or else the first that there is.
    pub resource_id: Option<&'a str>,
    /// `None`: all.
    pub credit_type_id: Option<&'a str>,
}

/// The document; `own` are the resources that the caller may see, where these are not all.
pub fn page(asked: &Asked, own: Option<&[String]>) -> Result<String> {
    Ok(shown::render(&gather(asked, own)?))
}

fn gather(asked: &Asked, own: Option<&[String]>) -> Result<Page> {
    let customer_id = asked.customer_id;
    let zone_name = customers::time_zone(customer_id).ok_or_else(|| no_customer(customer_id))?;
    if let Some(resource_id) = asked.resource_id {
        check_scope(customer_id, resource_id)?;
    }
    let zone = Zone::find(&zone_name).unwrap_or_else(|_| Zone::utc());
    let now = clock::statement_start();
    let (found, left_out) = pools(asked, own, now);
    if let (true, Some(credit_type_id)) = (found.is_empty(), asked.credit_type_id) {
        let of_any = || {
            Error::unknown("pool", credit_type_id)
                .hint("open_pool, provision_subscription and grant_credits open pools.")
        };
        return Err(asked.resource_id.map_or_else(of_any, |resource_id| unknown_pool(resource_id, credit_type_id)));
    }

    let scope = |pool: &Found| Some(pool.row.resource_id.as_str()).filter(|id| !id.is_empty()).map(str::to_owned);
    let place = found.iter().position(|pool| asked.resource_id.is_none_or(|id| pool.row.resource_id == id));
    let without_pool = asked.resource_id.filter(|_| place.is_none()).map(str::to_owned);
    let place = place.unwrap_or_default();
    let first = found.get(place).map(|pool| pool.row.resource_id.clone());
    let in_full = |pool: &Found| without_pool.is_none() && Some(&pool.row.resource_id) == first.as_ref();
    let shares = shares(&found, in_full);

    let bounds = days(&zone, now)?;
    let mut parts = parts::Parts::read(customer_id, &found, &shares, &bounds, now);
    let (policies, of_pools) = scopes::policies(customer_id, &found, own.is_none(), now);
    let (subscriptions, histories) = scopes::subscriptions(customer_id, &found, now);
    let used_from = bounds.first().copied().unwrap_or(now);
    let mut pools = Vec::with_capacity(found.len());
    for (index, pool) in found.iter().enumerate() {
        let (figures, grants) = parts.figures_and_grants(pool);
        let usage = parts.usage.remove(&pool.row.pool_id).unwrap_or_default();
        let used = usage.iter().flat_map(|(_, days)| days).fold(Amount::ZERO, plus);
        let passed = now.micros().saturating_sub(used_from.micros());
        let (subscription, mut history) = histories.get(&pool.row.resource_id).cloned().unwrap_or_default();
        history.push(History { at: pool.created_at, kind: HistoryKind::Opened, plan_id: None });
        history.sort_by_key(|line| Reverse(line.at));
        pools.push(shown::Pool {
            pool_id: pool.row.pool_id,
            resource_id: scope(pool),
            credit_type_id: pool.row.credit_type_id.clone(),
            frozen: pool.row.wallet.frozen,
            due: is_due(pool, now),
            created_at: pool.created_at,
            next_expiry_at: figures.next_expiry.map(|(at, _)| at),
            depletion_at: charting::depletion(figures.now.balance, used, passed, now),
            figures: figures.shown(used, charting::per_day(used, passed)),
            usage,
            grants,
            grant_count: pool.grant_count,
            ledger: parts.ledger.remove(&pool.row.pool_id).unwrap_or_default(),
            ledger_count: pool.row.wallet.seq,
            recharges: parts.recharges.remove(&pool.row.pool_id).unwrap_or_default(),
            breaker_opened_at: pool.row.breaker_opened_at,
            policy: of_pools.get(index).copied().flatten(),
            subscription,
            history,
            in_full: in_full(pool),
        });
    }
    let mut page = Page {
        customer_id: customer_id.to_owned(),
        zone,
        zone_name,
        now,
        days: bounds.split_last().map_or_else(Vec::new, |(_, starts)| starts.to_vec()),
        asked: place,
        without_pool,
        part: own.is_some(),
        credit_types: BTreeMap::new(),
        features: BTreeMap::new(),
        plans: BTreeMap::new(),
        policies,
        subscriptions,
        pools,
        left_out,
    };
    name(&mut page);
    Ok(page)
}

fn no_customer(customer_id: &str) -> Error {
    Error::unknown("customer", customer_id).hint("provision_subscription and open_pool make customers and resources.")
}

fn plus(sum: Amount, part: &Amount) -> Amount {
    sum.checked_add(*part).unwrap_or(sum)
}

/// The pools of the page, the global one first, and how many there are besides.
fn pools(asked: &Asked, own: Option<&[String]>, now: Instant) -> (Vec<Found>, i64) {
    let (customer_id, credit_type_id) = (asked.customer_id, asked.credit_type_id);
    let soon = now.plus_micros(charting::SOON);
    let most = usize::try_from(MOST_POOLS).unwrap_or(usize::MAX);
    let (mut found, mut left_out);
    if let Some(own) = own {
        found = store::pools_of(customer_id, credit_type_id, own, soon);
        left_out = 0;
    } else {
        found = store::first_pools(customer_id, credit_type_id, MOST_POOLS, soon);
        left_out = 0;
        if found.len() >= most {
            left_out = store::count_pools(customer_id, credit_type_id) - MOST_POOLS;
            // Whatever was opened first.
            let named = ["", asked.resource_id.unwrap_or_default()].map(str::to_owned);
            let more = store::pools_of(customer_id, credit_type_id, &named, soon);
            for pool in more {
                if !found.iter().any(|known| known.row.pool_id == pool.row.pool_id) {
                    found.push(pool);
                    left_out -= 1;
                }
            }
        }
    }
    found.sort_by(|a, b| (&a.row.resource_id, &a.row.credit_type_id).cmp(&(&b.row.resource_id, &b.row.credit_type_id)));
    (found, left_out)
}

/// How much is read of each pool.
fn shares(found: &[Found], in_full: impl Fn(&Found) -> bool) -> Vec<Share> {
    let others = i64::try_from(found.iter().filter(|pool| !in_full(pool)).count()).unwrap_or(i64::MAX).max(1);
    let each = (OF_OTHERS / others).max(LEAST_OF_ONE);
    let brief = Share {
        ledger: each.min(IN_FULL.ledger),
        grants: each.min(IN_FULL.grants),
        recharges: each.min(IN_FULL.recharges),
    };
    found.iter().map(|pool| if in_full(pool) { IN_FULL } else { brief }).collect()
}

/// Something changed by the clock that was not booked.
fn is_due(pool: &Found, now: Instant) -> bool {
    pool.row.wallet.next_transition <= now
}

/// Where the days of the chart begin, the last of them the one of `now`, and where that ends.
fn days(zone: &Zone, now: Instant) -> Result<Vec<Instant>> {
    let beyond = || Error::argument("credit_pools.test_clock", "the days of the page leave the calendar's range");
    let day = Span { days: 1, ..Span::default() };
    let (today, tomorrow) = zone.window(day, now).map_err(|_| beyond())?;
    let from = zone.step(today, Span { days: 1 - DAYS, ..Span::default() }, 1).map_err(|_| beyond())?;
    buckets(zone, day, from, tomorrow).map_err(|_| beyond())
}

/// Looks up the names of what is shown.
fn name(page: &mut Page) {
    let mut credit_types: Vec<String> = Vec::new();
    let mut features: Vec<String> = Vec::new();
    let mut plans: Vec<String> = page.subscriptions.iter().map(|sub| sub.plan_id.clone()).collect();
    for pool in &page.pools {
        credit_types.push(pool.credit_type_id.clone());
        features.extend(pool.usage.iter().filter_map(|(feature_id, _)| feature_id.clone()));
        features.extend(pool.ledger.iter().filter_map(|line| line.feature_id.clone()));
        features.extend(pool.grants.iter().flat_map(|line| line.feature_ids.iter().flatten().cloned()));
        plans.extend(pool.history.iter().filter_map(|line| line.plan_id.clone()));
    }
    for ids in [&mut credit_types, &mut features, &mut plans] {
        ids.sort_unstable();
        ids.dedup();
    }
    page.credit_types = store::credit_types(&credit_types).into_iter().collect();
    page.features = store::features(&features).into_iter().collect();
    page.plans = store::plans(&plans).into_iter().collect();
}
