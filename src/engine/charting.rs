//! Usage over time. A usage counts at the instant at which it occurred, with what was taken back of it.
//!
//! What maintenance has added up by quarters of an hour (store/rollups.rs) is read as sums; from the ledger come the rows
//! behind these, and those of quarters that a boundary cuts. So the answer never depends on how far the sums have got.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use credit_pools_domain::{Amount, ChartError, Grant, Instant, MAX_BUCKETS, Span, Status, Zone, buckets};

use super::opening::check_scope;
use super::pool::{scope_without_pool, unknown_pool};
use super::reading::{self, PoolNow};
use crate::clock;
use crate::error::{Error, Result};
use crate::store::customers;
use crate::store::rollups::{self, By, Source, Stretch, Sum};

const QUARTER: i64 = 15 * 60 * 1_000_000;
const DAY: i64 = 24 * 3_600 * 1_000_000;
/// Buckets times groups.
const MOST_ROWS: usize = 1_000_000;
/// What is looked for from the end on instead of by halves.
const FEW_ROWS: i64 = 1_000;
/// What "soon" is for credits that expire, as in the view expiring_credits.
pub const SOON: i64 = 30 * DAY;

/// Whose usage, and when.
pub struct Window<'a> {
    pub customer_id: &'a str,
    /// "" is the global scope.
    pub resource_id: &'a str,
    pub credit_type_id: Option<&'a str>,
    /// 30 days before `to`.
    pub from: Option<Instant>,
    /// Now.
    pub to: Option<Instant>,
}

#[derive(Default)]
pub struct Grouping {
    pub feature: bool,
    pub resource: bool,
    pub dimensions: Vec<String>,
}

/// What a row of a chart is of, but for its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub resource_id: Option<String>,
    pub feature_id: Option<String>,
    pub dimensions: Option<String>,
}

#[derive(Clone, Copy, Default)]
pub struct Usage {
    pub credits: Amount,
    pub units: Amount,
    pub events: i64,
}

pub struct Chart {
    /// Where buckets begin and end: one more than there are buckets.
    pub bounds: Vec<Instant>,
    pub groups: Vec<Group>,
    /// By bucket, then by group.
    pub usage: Vec<Usage>,
}

/// `sees` says of a resource whether the caller may see it.
pub fn chart(window: &Window, bucket: Option<Span>, by: &Grouping, sees: impl Fn(&str) -> bool) -> Result<Chart> {
    let zone = zone_of(window.customer_id)?;
    let (from, to) = times(window, &zone)?;
    let span = bucket.unwrap_or(Span { days: 1, ..Span::default() });
    let bounds = buckets(&zone, span, from, to).map_err(bad_bucket)?;
    let starts = bounds.split_last().map_or(&[][..], |(_, starts)| starts);
    let sources = sources(window, by.resource && window.resource_id.is_empty(), sees)?;
    let resources: HashMap<i64, &Option<String>> =
        sources.iter().map(|source| (source.pool_id, &source.resource_id)).collect();
    let mut sums: BTreeMap<(usize, Group), Usage> = BTreeMap::new();
    for sum in usage(window.customer_id, &sources, starts, from, to, by) {
        let group = Group {
            resource_id: sum.pool_id.and_then(|pool_id| resources.get(&pool_id).copied().cloned().flatten()),
            feature_id: sum.feature_id,
            dimensions: sum.dimensions,
        };
        sums.entry((sum.bucket, group)).or_default().add(sum.credits, sum.units, sum.events)?;
    }
    let groups: BTreeSet<Group> = sums.keys().map(|(_, group)| group.clone()).collect();
    let mut groups: Vec<Group> = groups.into_iter().collect();
    if groups.is_empty() {
        groups.push(Group { resource_id: None, feature_id: None, dimensions: None });
    }
    if starts.len().saturating_mul(groups.len()) > MOST_ROWS {
        return Err(Error::argument("bucket", format!("the chart would have more than {MOST_ROWS} rows"))
            .with("buckets", starts.len())
            .with("groups", groups.len())
            .hint("Take a longer bucket, a shorter time, or group by less."));
    }
    let mut usage = Vec::with_capacity(starts.len() * groups.len());
    for bucket in 0..starts.len() {
        usage.extend(groups.iter().map(|group| sums.remove(&(bucket, group.clone())).unwrap_or_default()));
    }
    Ok(Chart { bounds, groups, usage })
}

impl Usage {
    fn add(&mut self, credits: Amount, units: Amount, events: i64) -> Result<()> {
        let too_large = || Error::argument("bucket", "a sum of the usage has too many digits");
        self.credits = self.credits.checked_add(credits).ok_or_else(too_large)?;
        self.units = self.units.checked_add(units).ok_or_else(too_large)?;
        self.events += events;
        Ok(())
    }
}

/// Usage of some pools by pool and feature, in the buckets between `bounds`, without what is of none of them.
pub fn by_pool(customer_id: &str, sources: &[Source], bounds: &[Instant]) -> Vec<Sum> {
    let (Some((to, starts)), Some(from)) = (bounds.split_last(), bounds.first()) else { return Vec::new() };
    let by = Grouping { feature: true, resource: true, dimensions: Vec::new() };
    usage(customer_id, sources, starts, *from, *to, &by)
}

pub fn zone_of(customer_id: &str) -> Result<Zone> {
    let name = customers::time_zone(customer_id).ok_or_else(|| {
        Error::unknown("customer", customer_id)
            .hint("provision_subscription and open_pool make customers and resources.")
    })?;
    Ok(Zone::find(&name).unwrap_or_else(|_| Zone::utc()))
}

fn times(window: &Window, zone: &Zone) -> Result<(Instant, Instant)> {
    // Up to now: what was used at this very instant, too.
    let to = window.to.unwrap_or_else(|| clock::statement_start().plus_micros(1));
    let month = Span { days: -30, ..Span::default() };
    let from = match window.from {
        Some(from) => from,
        None => zone.step(to, month, 1).map_err(|_| Error::argument("from_time", "from_time is required"))?,
    };
    if from < to {
        return Ok((from, to));
    }
    Err(Error::argument("to_time", "to_time must be later than from_time")
        .with("from_time", from.to_string())
        .with("to_time", to.to_string()))
}

fn bad_bucket(error: ChartError) -> Error {
    match error {
        ChartError::TooManyBuckets => {
            Error::argument("bucket", format!("the chart would have more than {MAX_BUCKETS} buckets"))
                .hint("Take a longer bucket, or a shorter time.")
        }
        ChartError::MixedUnits => {
            Error::argument("bucket", "bucket must be of months, of days or of a time, not of several of these")
        }
        ChartError::OutOfRange => Error::argument("bucket", "the buckets leave the calendar's range"),
    }
}

/// The pools of a scope, of one credit type or of all.
pub fn pools(window: &Window) -> Result<Vec<Source>> {
    let found = rollups::sources(window.customer_id, Some(window.resource_id), window.credit_type_id);
    if found.is_empty() { Err(no_pool(window)?) } else { Ok(found) }
}

/// The error for a scope without pools.
fn no_pool(window: &Window) -> Result<Error> {
    check_scope(window.customer_id, window.resource_id)?;
    Ok(match window.credit_type_id {
        Some(credit_type_id) => unknown_pool(window.resource_id, credit_type_id),
        None => scope_without_pool(window.resource_id),
    })
}

/// The pools that are meant: of the scope or of all scopes, and of one credit type.
fn sources(window: &Window, all: bool, sees: impl Fn(&str) -> bool) -> Result<Vec<Source>> {
    let Window { customer_id, resource_id, credit_type_id, .. } = *window;
    let mut found = rollups::sources(customer_id, (!all).then_some(resource_id), credit_type_id);
    found.retain(|source| sees(source.resource_id.as_deref().unwrap_or_default()));
    let Some(first) = found.first() else { return Err(no_pool(window)?) };
    let mut types: Vec<&str> = found.iter().map(|source| source.credit_type_id.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    if types.len() > 1 && first.credit_type_id != credit_type_id.unwrap_or_default() {
        return Err(Error::argument("credit_type_id", "credit_type_id is required: there are pools of several types")
            .with("credit_type_ids", types));
    }
    Ok(found)
}

/// What was used in some pools from `from` to `to`, in the buckets that begin at `starts`; several sums may be of the same.
fn usage(
    customer_id: &str,
    sources: &[Source],
    starts: &[Instant],
    from: Instant,
    to: Instant,
    by: &Grouping,
) -> Vec<Sum> {
    let dimensions = by.dimensions.as_slice();
    let by = By { feature: by.feature, pool: by.resource, dimensions };
    let inner = starts.get(1..).unwrap_or_default();
    let in_quarters = dimensions.is_empty() && inner.iter().all(|at| floor(*at) == *at);
    let (first, last) = (ceil(from), floor(to));
    // Quarters that are known as a whole, and what is left of the time before and behind them.
    let (whole, cut) = if in_quarters && first < last {
        (Some((first, last)), vec![(from, first), (last, to)])
    } else {
        (None, vec![(from, to)])
    };
    let mut stretches = Vec::new();
    for source in sources {
        if source.up_to_seq > 0 || source.up_to_usage > 0 {
            for (from, to) in cut.iter().copied().filter(|(from, to)| from < to) {
                stretches.extend(known_rows(customer_id, source.pool_id, from, to));
            }
        }
        let after = source.up_to_seq.max(recorded_before(customer_id, source, from));
        let stretch = |after, up_to| Stretch { pool_id: source.pool_id, after, up_to, from, to };
        stretches.push(stretch(after, i64::MAX));
        stretches.push(stretch(i64::MIN, -source.up_to_usage - 1));
    }
    let mut sums = rollups::added_up(customer_id, &stretches, starts, &by);
    if let Some((from, to)) = whole {
        let pools: Vec<i64> = sources.iter().map(|source| source.pool_id).collect();
        sums.extend(rollups::known(customer_id, &pools, starts, from, to, &by));
    }
    sums
}

/// The rows that are known of the quarters that some time touches.
fn known_rows(customer_id: &str, pool_id: i64, from: Instant, to: Instant) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (first, last) in rollups::places(customer_id, pool_id, floor(from), ceil(to)) {
        match stretches.last_mut() {
            // Each row once.
            Some(before) if first <= before.up_to.saturating_add(1) => before.up_to = before.up_to.max(last),
            _ => stretches.push(Stretch { pool_id, after: first - 1, up_to: last, from, to }),
        }
    }
    stretches
}

/// A row before the first that was recorded at `at` or later. Usage of that time or later is behind it, and what is taken
/// back of such usage.
fn recorded_before(customer_id: &str, source: &Source, at: Instant) -> i64 {
    let (mut low, mut high) = (source.up_to_seq, source.seq);
    while high - low > FEW_ROWS {
        let middle = low + (high - low) / 2;
        // A row that is not there was moved away, and is old.
        match rollups::recorded_at(customer_id, source.pool_id, middle) {
            Some(recorded_at) if recorded_at >= at => high = middle,
            _ => low = middle,
        }
    }
    low
}

fn floor(at: Instant) -> Instant {
    Instant::from_micros(at.micros().div_euclid(QUARTER).saturating_mul(QUARTER))
}

fn ceil(at: Instant) -> Instant {
    let floor = floor(at);
    if floor == at { at } else { floor.plus_micros(QUARTER) }
}

/// The figures of a pool and of its usage in some time.
pub struct Overview {
    pub pool_id: i64,
    pub credit_type_id: String,
    pub from: Instant,
    pub to: Instant,
    pub usage: Usage,
    /// What came, ended and was taken away in the time.
    pub granted: Amount,
    pub expired: Amount,
    pub voided: Amount,
    pub balance_start: Amount,
    pub balance_end: Amount,
    pub now: PoolNow,
    /// Of what is there now, what ends within 30 days.
    pub expiring: Amount,
    /// Credits a day, over the part of the time that has passed.
    pub per_day: Amount,
    pub depletion: Option<Instant>,
    pub top_feature: Option<(String, Amount)>,
}

pub fn overview(window: &Window) -> Result<Overview> {
    let zone = zone_of(window.customer_id)?;
    let (from, to) = times(window, &zone)?;
    let sources = sources(window, false, |_| true)?;
    let Some(source) = sources.first() else { return Err(Error::state("there is no pool")) };
    let (customer_id, pool_id) = (window.customer_id, source.pool_id);
    let by_feature = Grouping { feature: true, ..Grouping::default() };
    let (mut total, mut by): (Usage, BTreeMap<Option<String>, Usage>) = Default::default();
    for sum in usage(customer_id, &sources, &[from], from, to, &by_feature) {
        total.add(sum.credits, sum.units, sum.events)?;
        by.entry(sum.feature_id).or_default().add(sum.credits, sum.units, sum.events)?;
    }
    let features = by.into_iter().filter_map(|(id, usage)| Some((id?, usage.credits)));
    // Of two that cost the same, the first by name.
    let top_feature =
        features.filter(|(_, credits)| credits.is_positive()).reduce(|a, b| if b.1 > a.1 { b } else { a });

    let now = clock::statement_start();
    let of_pool = || unknown_pool(window.resource_id, &source.credit_type_id);
    let current = reading::pool_now(customer_id, pool_id).ok_or_else(of_pool)?;
    let at = |at: Instant| reading::balance_at(customer_id, window.resource_id, &source.credit_type_id, Some(at), None);
    let (before, after) = (at(from)?, if window.to.is_none() { current.figures } else { at(to)? });
    let minus = |one: Amount, other: Amount| one.checked_sub(other).unwrap_or_default();
    let soon = now.plus_micros(SOON);
    let grants = reading::grants_now(customer_id, pool_id);
    let ends_soon = |grant: &&Grant| grant.status == Status::Active && grant.expires_at <= soon;
    let expiring = grants.iter().filter(ends_soon).map(Grant::available);
    let passed = to.min(now).micros().saturating_sub(from.micros());
    let per_day = per_day(total.credits, passed);
    Ok(Overview {
        pool_id,
        credit_type_id: source.credit_type_id.clone(),
        from,
        to: window.to.unwrap_or(now),
        usage: total,
        granted: minus(after.granted, before.granted),
        expired: minus(after.expired, before.expired),
        voided: minus(after.voided, before.voided),
        balance_start: before.balance,
        balance_end: after.balance,
        expiring: expiring.fold(Amount::ZERO, |sum, part| sum.checked_add(part).unwrap_or(sum)),
        per_day,
        depletion: depletion(current.figures.balance, total.credits, passed, now),
        now: current,
        top_feature,
    })
}

/// Credits a day, to 6 decimals.
pub fn per_day(credits: Amount, micros: i64) -> Amount {
    if micros <= 0 || !credits.is_positive() {
        return Amount::ZERO;
    }
    credits
        .share_floor(Amount::from_units(DAY / 1_000_000), Amount::from_units((micros / 1_000_000).max(1)), 6)
        .unwrap_or_default()
}

/// When a balance would be used up, if usage went on as it did for `micros`.
pub fn depletion(balance: Amount, credits: Amount, micros: i64, now: Instant) -> Option<Instant> {
    if micros <= 0 || !credits.is_positive() {
        return None;
    }
    let left = balance.max(Amount::ZERO).share_floor(Amount::from_units(micros / 1_000_000), credits, 0)?;
    let seconds = i64::try_from(left.raw() / Amount::from_units(1).raw()).ok()?;
    let at = seconds.checked_mul(1_000_000).and_then(|micros| now.micros().checked_add(micros))?;
    // Beyond a thousand years it is as good as never.
    (seconds < 1_000 * 366 * 86_400).then_some(Instant::from_micros(at))
}
