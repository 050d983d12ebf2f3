//! The page of a customer's credits: what it shows, read for all pools together, each figure as of the instant.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use credit_pools_domain::{Amount, Figures, Grant, Instant, Span, Status, Zone, buckets};
use credit_pools_page::{self as shown, GrantLine, History, HistoryKind, Page};

use super::opening::check_scope;
use super::pool::unknown_pool;
use super::{charting, plan_pools, reading};
use crate::clock;
use crate::error::{Error, Result};
use crate::store::customers;
use crate::store::page::{self as store, Found};
use crate::store::rollups::Source;
use crate::store::subscriptions::{self, Subscription};

/// Days of the chart.
const DAYS: i32 = 30;
/// A page with more would have nothing of them but their names.
const MOST_POOLS: i64 = 2_000;
/// What is shown of a pool that was asked for; more than the page takes in the end (credit_pools_page).
const IN_FULL: Share = Share { ledger: 100, grants: 200, recharges: 20 };
/// What all other pools have together, and what one of them has at least.
const OF_OTHERS: i64 = 6_000;
const LEAST_OF_ONE: i64 = 3;
const SUBSCRIPTIONS_OF_SCOPE: i64 = 3;
const VERSIONS: i64 = 20;

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
    let mut parts = Parts::read(customer_id, &found, &shares, &bounds, now);
    let (policies, of_pools) = policies(customer_id, &found, own.is_none(), now);
    let (subscriptions, histories) = subscriptions(customer_id, &found, now);
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

struct PoolFigures {
    now: Figures,
    overdraft: credit_pools_domain::Limit,
    next_expiry: Option<(Instant, Amount)>,
    expiring: Amount,
}

impl PoolFigures {
    fn shown(&self, used: Amount, per_day: Amount) -> shown::Figures {
        let now = &self.now;
        shown::Figures {
            balance: now.balance,
            granted: now.granted,
            consumed: now.consumed,
            expired: now.expired,
            voided: now.voided,
            held: now.held,
            debt: now.debt,
            restricted: now.restricted,
            overdraft: self.overdraft,
            used,
            per_day,
            expiring: self.expiring,
            next_expiry_amount: self.next_expiry.map(|(_, amount)| amount),
            utilization: utilization(now.consumed, now.granted),
        }
    }
}

/// To four places, half away from zero, as the view pools has it.
fn utilization(consumed: Amount, granted: Amount) -> Option<Amount> {
    let share = consumed.divide_floor(granted, 5)?;
    let half = Amount::parse("0.00005").ok()?;
    share.checked_add(half)?.divide_floor(Amount::from_units(1), 4)
}

/// Rows of all pools, by pool.
struct Parts {
    usage: HashMap<i64, Vec<(Option<String>, Vec<Amount>)>>,
    grants: HashMap<i64, Vec<GrantLine>>,
    /// Of pools in which something is due.
    due: HashMap<i64, Due>,
    ledger: HashMap<i64, Vec<shown::LedgerLine>>,
    recharges: HashMap<i64, Vec<shown::RechargeLine>>,
}

struct Due {
    figures: PoolFigures,
    grants: Vec<Grant>,
}

impl Parts {
    fn read(customer_id: &str, found: &[Found], shares: &[Share], bounds: &[Instant], now: Instant) -> Parts {
        let limits = |of: fn(&Share, &Found) -> i64| -> Vec<(i64, i64)> {
            found.iter().zip(shares).map(|(pool, share)| (pool.row.pool_id, of(share, pool))).collect()
        };
        let mut due = HashMap::new();
        let mut due_ids = Vec::new();
        for (pool, share) in found.iter().zip(shares).filter(|(pool, _)| is_due(pool, now)) {
            let pool_id = pool.row.pool_id;
            if let Some(mut of_pool) = Due::read(customer_id, pool_id, now) {
                of_pool.grants.truncate(usize::try_from(share.grants).unwrap_or_default());
                due_ids.extend(of_pool.grants.iter().map(|grant| grant.id).filter(|id| *id > 0));
                due.insert(pool_id, of_pool);
            }
        }
        let mut booked = limits(|share, _| share.grants);
        booked.retain(|(pool_id, _)| !due.contains_key(pool_id));
        let mut grants: HashMap<i64, Vec<GrantLine>> = HashMap::new();
        for (pool_id, line) in store::grants(customer_id, &booked) {
            grants.entry(pool_id).or_default().push(line);
        }
        for (pool_id, most) in booked {
            if let Some(lines) = grants.get_mut(&pool_id) {
                lines.truncate(usize::try_from(most).unwrap_or_default());
            }
        }
        for (pool_id, line) in store::grants_by_id(customer_id, &due_ids) {
            grants.entry(pool_id).or_default().push(line);
        }

        let mut ledger: HashMap<i64, Vec<(i64, shown::LedgerLine)>> = HashMap::new();
        for (pool_id, seq, line) in
            store::ledger(customer_id, &limits(|share, pool| (pool.row.wallet.seq - share.ledger).max(0)))
        {
            ledger.entry(pool_id).or_default().push((seq, line));
        }
        let ledger = ledger.into_iter().map(|(pool_id, mut lines)| {
            lines.sort_by_key(|(seq, _)| Reverse(*seq));
            (pool_id, lines.into_iter().map(|(_, line)| line).collect())
        });
        let mut recharges: HashMap<i64, Vec<shown::RechargeLine>> = HashMap::new();
        for (pool_id, line) in store::recharges(customer_id, &limits(|share, _| share.recharges)) {
            recharges.entry(pool_id).or_default().push(line);
        }
        for lines in recharges.values_mut() {
            lines.sort_by_key(|line| Reverse(line.recharge_id));
        }
        Parts { usage: usage(customer_id, found, bounds), grants, due, ledger: ledger.collect(), recharges }
    }

    fn figures_and_grants(&mut self, pool: &Found) -> (PoolFigures, Vec<GrantLine>) {
        let lines = self.grants.remove(&pool.row.pool_id).unwrap_or_default();
        let Some(Due { figures, grants }) = self.due.remove(&pool.row.pool_id) else {
            let figures = PoolFigures {
                now: pool.row.wallet.figures.clone(),
                overdraft: pool.row.wallet.overdraft,
                next_expiry: pool.next_expiry,
                expiring: pool.expiring,
            };
            return (figures, lines);
        };
        let mut booked: HashMap<i64, GrantLine> =
            lines.into_iter().filter_map(|line| Some((line.grant_id?, line))).collect();
        let lines = grants.iter().map(|grant| as_of_now(grant, booked.remove(&grant.id)));
        (figures, lines.collect())
    }
}

impl Due {
    fn read(customer_id: &str, pool_id: i64, now: Instant) -> Option<Due> {
        let wallet = reading::wallet_now(customer_id, pool_id)?;
        let mut grants = wallet.grants;
        grants.sort_by(|a, b| match (a.status.is_open(), b.status.is_open()) {
            (true, true) => a.burn_order(b),
            (false, false) => b.id.cmp(&a.id),
            (a, b) => b.cmp(&a),
        });
        let usable = || grants.iter().filter(|grant| grant.available().is_positive() && grant.expires_at.is_finite());
        let at = usable().map(|grant| grant.expires_at).min();
        let sum = |until: Instant| {
            usable()
                .filter(|grant| grant.expires_at <= until)
                .map(Grant::available)
                .fold(Amount::ZERO, |a, b| plus(a, &b))
        };
        let figures = PoolFigures {
            now: wallet.figures,
            overdraft: wallet.overdraft,
            next_expiry: at.map(|at| (at, sum(at))),
            expiring: sum(now.plus_micros(charting::SOON)),
        };
        Some(Due { figures, grants })
    }
}

/// A grant as it is by the clock, with what its row says besides; a renewal that is not booked has none.
fn as_of_now(grant: &Grant, booked: Option<GrantLine>) -> GrantLine {
    let line = booked.unwrap_or_else(|| GrantLine {
        grant_id: None,
        status: "",
        category: grant.category.as_str(),
        source: grant.source.as_str(),
        priority: grant.priority,
        amount: grant.amount,
        remaining: Amount::ZERO,
        available: Amount::ZERO,
        held: Amount::ZERO,
        effective_at: grant.effective_at,
        expires_at: None,
        price: None,
        price_currency: None,
        display_name: None,
        reason: None,
        feature_ids: grant.features.clone(),
        metadata: None,
    });
    GrantLine {
        status: grant.status.as_str(),
        remaining: grant.remaining(),
        available: if grant.status == Status::Active { grant.available() } else { Amount::ZERO },
        held: grant.held,
        expires_at: Some(grant.expires_at).filter(|at| at.is_finite()),
        ..line
    }
}

/// Credits by pool, feature and day, the most used feature first.
fn usage(customer_id: &str, found: &[Found], bounds: &[Instant]) -> HashMap<i64, Vec<(Option<String>, Vec<Amount>)>> {
    let sources: Vec<Source> = found.iter().map(|pool| pool.source.clone()).collect();
    let days = bounds.len().saturating_sub(1);
    let mut usage: HashMap<i64, BTreeMap<Option<String>, Vec<Amount>>> = HashMap::new();
    for sum in charting::by_pool(customer_id, &sources, bounds) {
        let of_pool = usage.entry(sum.pool_id.unwrap_or_default()).or_default();
        let of_feature = of_pool.entry(sum.feature_id).or_insert_with(|| vec![Amount::ZERO; days]);
        if let Some(day) = of_feature.get_mut(sum.bucket) {
            *day = plus(*day, &sum.credits);
        }
    }
    let ordered = |of_pool: BTreeMap<Option<String>, Vec<Amount>>| {
        let mut features: Vec<_> =
            of_pool.into_iter().filter(|(_, days)| days.iter().any(|day| !day.is_zero())).collect();
        features.sort_by_key(|(_, days)| Reverse(days.iter().fold(Amount::ZERO, plus)));
        features
    };
    usage.into_iter().map(|(pool_id, of_pool)| (pool_id, ordered(of_pool))).collect()
}

/// The policies that cover these pools, and which of them is each pool's. The one of all pools is for whoever sees them all:
/// it counts what all have spent.
fn policies(customer_id: &str, found: &[Found], all: bool, now: Instant) -> (Vec<shown::Policy>, Vec<Option<usize>>) {
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
type OfScopes = HashMap<String, (Option<usize>, Vec<History>)>;

fn subscriptions(customer_id: &str, found: &[Found], now: Instant) -> (Vec<shown::Subscription>, OfScopes) {
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
    shown::Subscription {
        subscription_id: sub.subscription_id.clone(),
        plan_id: sub.plan_id.clone(),
        status: sub.status_at(now),
        starts_at: sub.starts_at,
        ends_at: Some(sub.ends_at).filter(|at| at.is_finite()),
        cancelled_at: sub.cancelled_at,
        period_start: period.map(|(start, _)| start),
        period_end: period.map(|(_, end)| end),
        quantities: sub.quantities.clone().filter(|text| text != "{}"),
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
