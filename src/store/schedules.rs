//! Schedules: where each entry of a subscription's plan stands. Read and written under the lock of their pool.

use std::collections::HashMap;

use credit_pools_domain::{Cadence, Category, EntryTerms, Instant, Limit, Rollover, Schedule, Zone};

use super::catalogue::{PlanEntry, plan_entry_columns};
use super::spi::{Arg, Row, Sequence, Statement, next_id};
use super::subscriptions::Amounts;

/// Which entry of which subscription's plan a schedule is of.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub subscription_id: String,
    pub plan_id: String,
    pub entry_id: String,
}

/// Schedules with their keys, by id.
#[derive(Default)]
pub struct Loaded {
    pub schedules: Vec<Schedule>,
    pub keys: HashMap<i64, Key>,
    /// How each runs.
    runs: HashMap<i64, Run>,
}

#[derive(Clone, Copy)]
struct Run {
    since: Instant,
    /// The boundary that it runs from.
    first: Instant,
    /// It runs since its subscription was made, and so takes each boundary by the version of then; after a change of plan
    /// those of before count by the version of the change.
    begun: bool,
}

/// One row per version of each schedule's entry, oldest first. `state` is where the subscription's state is from.
macro_rules! schedules_of_pool {
    ($state:literal, $join:literal, $which:literal) => {
        schedules!("credit_pools.schedule c", $state, $join, concat!("c.pool_id = $2 AND ", $which))
    };
}
macro_rules! schedules {
    ($from:literal, $state:literal, $join:literal, $which:expr) => {
        concat!(
            "SELECT c.schedule_id, c.subscription_id, c.plan_id, c.next_at, c.granted, c.overdraft_limit,
                    c.stopped_at IS NULL, s.starts_at, ",
            $state,
            ".ends_at, ",
            $state,
            ".end_credits = 'expire', s.time_zone, ",
            $state,
            ".quantities::text, ",
            $state,
            ".amount_overrides::text, t.scale, t.archived_at, c.period_start, c.period_from, c.running_since,
             c.first_at, e.effective_at, ",
            plan_entry_columns!(),
            ", s.created_at = c.running_since, c.pool_id
              FROM ",
            $from,
            "
              JOIN credit_pools.subscription s
                ON s.customer_id = c.customer_id AND s.subscription_id = c.subscription_id
              JOIN credit_pools.credit_type t ON t.credit_type_id = c.credit_type_id
              JOIN credit_pools.plan_entry e
                ON e.plan_id = c.plan_id AND e.credit_type_id = c.credit_type_id AND e.entry_id = c.entry_id ",
            $join,
            " WHERE c.customer_id = $1 AND ",
            $which,
            " ORDER BY c.entry_id, c.schedule_id, e.effective_at"
        )
    };
}
const ENTRY_COLUMNS_FROM: usize = 20;
const BEGUN_COLUMN: usize = 33;
const POOL_COLUMN: usize = 34;

/// The running schedules of a pool, in the order of their entries.
pub fn running(customer_id: &str, pool_id: i64) -> Loaded {
    static FIND: Statement = Statement::new(schedules_of_pool!("s", "", "c.stopped_at IS NULL"));
    gather(FIND.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read))
}

/// Also those of plans that the subscription has left, and of subscriptions that are over.
pub fn all(customer_id: &str, pool_id: i64) -> Loaded {
    static FIND: Statement = Statement::new(schedules_of_pool!("s", "", "true"));
    gather(FIND.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read))
}

/// The running ones in the caller's snapshot, for reads.
pub fn read_running(customer_id: &str, pool_id: i64) -> Vec<Schedule> {
    static FIND: Statement = Statement::read(schedules_of_pool!("s", "", "c.stopped_at IS NULL"));
    gather(FIND.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read)).schedules
}

/// The same of several pools, each with its pool.
pub fn read_running_of(customer_id: &str, pool_ids: &[i64]) -> Vec<(i64, Schedule)> {
    static FIND: Statement = Statement::read(schedules!(
        "unnest($2) n (pool_id) JOIN credit_pools.schedule c ON c.customer_id = $1 AND c.pool_id = n.pool_id",
        "s",
        "",
        "c.stopped_at IS NULL"
    ));
    if pool_ids.is_empty() {
        return Vec::new();
    }
    let ids: Vec<Arg> = pool_ids.iter().copied().map(Arg::Int).collect();
    let mut pools = HashMap::new();
    let found = FIND.rows(&[Arg::Text(customer_id), Arg::Column(&ids)], |row| {
        pools.insert(row.int(1), row.int(POOL_COLUMN));
        read(row)
    });
    let of_pool = |schedule: Schedule| Some((pools.get(&Some(schedule.id)).copied().flatten()?, schedule));
    gather(found).schedules.into_iter().filter_map(of_pool).collect()
}

/// Those that ran at an instant, with their subscription as it was then; rewound to what was next when the clock had
/// last been looked at.
pub fn read_as_of(customer_id: &str, pool_id: i64, at: Instant, looked_at: Instant) -> Vec<Schedule> {
    static FIND: Statement = Statement::read(schedules_of_pool!(
        "v",
        "JOIN credit_pools.pool p ON p.customer_id = c.customer_id AND p.pool_id = c.pool_id
         CROSS JOIN LATERAL (
             SELECT x.* FROM credit_pools.subscription_version x
             WHERE x.customer_id = c.customer_id AND x.subscription_id = c.subscription_id AND x.changed_at <= $3
             ORDER BY x.changed_at DESC LIMIT 1) v",
        "v.plan_id = c.plan_id AND v.resource_id = p.scope_id"
    ));
    let mut found = gather(FIND.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Time(at)], read));
    for schedule in &mut found.schedules {
        // The call that brought it here had looked, too. Of a run before the present one nothing is kept.
        let run = found.runs.get(&schedule.id).copied().filter(|run| run.since <= at);
        let earlier = Run { since: Instant::NEG_INFINITY, first: schedule.anchor, begun: true };
        let Run { since, first, begun } = run.unwrap_or(earlier);
        schedule.rewind(looked_at.max(since), first, if begun { Instant::NEG_INFINITY } else { since });
    }
    found.schedules
}

fn read(row: &Row) -> (Schedule, Key, Option<Run>) {
    let entry = PlanEntry::read(row, ENTRY_COLUMNS_FROM);
    let scale = row.small_int(14).and_then(|scale| u32::try_from(scale).ok()).unwrap_or_default();
    let amounts = Amounts::read(row.text(13).as_deref(), row.text(12).as_deref());
    let terms = EntryTerms {
        effective_at: row.time(20).unwrap_or(Instant::NEG_INFINITY),
        amount: amounts.of(&entry, scale).unwrap_or_default(),
        category: Category::parse(&entry.category).unwrap_or(Category::Recurring),
        priority: entry.priority,
        cadence: Cadence { every: entry.cadence, expires_after: entry.expires_after },
        rollover: Rollover {
            max: entry.rollover_max,
            percent: entry.rollover_percent,
            periods: entry.rollover_periods,
        },
    };
    let schedule = Schedule {
        id: row.int(1).unwrap_or_default(),
        // A zone that the system no longer knows must not make the pool unusable.
        zone: row.text(11).and_then(|name| Zone::find(&name).ok()).unwrap_or_else(Zone::utc),
        anchor: row.time(8).unwrap_or(Instant::INFINITY),
        ends_at: row.time(9).unwrap_or(Instant::INFINITY),
        archived_at: row.time(15).unwrap_or(Instant::INFINITY),
        cut_at_end: row.boolean(10),
        terms: vec![terms],
        scale,
        overdraft: row.limit(6).unwrap_or(Limit::Finite(Default::default())),
        next_at: row.time(4).unwrap_or(Instant::INFINITY),
        not_before: Instant::NEG_INFINITY,
        granted: row.amount(5),
        period: row.time(16).zip(row.time(17)),
        begun_at: Instant::NEG_INFINITY,
        running: row.boolean(7),
        dirty: false,
    };
    let key = Key {
        subscription_id: row.text(2).unwrap_or_default(),
        plan_id: row.text(3).unwrap_or_default(),
        entry_id: entry.entry_id,
    };
    let run = row.time(18).zip(row.time(19));
    (schedule, key, run.map(|(since, first)| Run { since, first, begun: row.boolean(BEGUN_COLUMN) }))
}

/// One schedule of the rows of its versions.
fn gather(rows: Vec<(Schedule, Key, Option<Run>)>) -> Loaded {
    let mut loaded = Loaded::default();
    for (schedule, key, run) in rows {
        match loaded.schedules.last_mut() {
            Some(last) if last.id == schedule.id => last.terms.extend(schedule.terms),
            _ => {
                loaded.keys.insert(schedule.id, key);
                loaded.runs.extend(run.map(|run| (schedule.id, run)));
                loaded.schedules.push(schedule);
            }
        }
    }
    loaded
}

/// Makes the schedule of an entry for a pool, or lets the one that there is have the entry's limit. Its first
/// boundary is the subscription's start.
pub fn ensure(
    customer_id: &str,
    pool_id: i64,
    subscription_id: &str,
    plan_id: &str,
    entry: &PlanEntry,
    starts_at: Instant,
    now: Instant,
) {
    static ENSURE: Statement = Statement::new(
        "INSERT INTO credit_pools.schedule
             (customer_id, schedule_id, pool_id, subscription_id, plan_id, credit_type_id, entry_id, next_at,
              overdraft_limit, running_since, first_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $8)
         ON CONFLICT (customer_id, subscription_id, plan_id, credit_type_id, entry_id, pool_id)
             DO UPDATE SET overdraft_limit = excluded.overdraft_limit",
    );
    ENSURE.write(
        &[
            Arg::Text(customer_id),
            Arg::Int(next_id(Sequence::Schedule)),
            Arg::Int(pool_id),
            Arg::Text(subscription_id),
            Arg::Text(plan_id),
            Arg::Text(&entry.credit_type_id),
            Arg::Text(&entry.entry_id),
            Arg::Time(starts_at),
            Arg::Limit(entry.overdraft_limit),
            Arg::Time(now),
        ],
        1,
    );
}

/// Keeps the boundary from which a schedule runs from now on.
pub fn set_first(customer_id: &str, schedule: &Schedule) {
    static UPDATE: Statement =
        Statement::new("UPDATE credit_pools.schedule SET first_at = $3 WHERE customer_id = $1 AND schedule_id = $2");
    UPDATE.write(&[Arg::Text(customer_id), Arg::Int(schedule.id), Arg::Time(schedule.next_at)], 1);
}

pub fn update(customer_id: &str, schedule: &Schedule, now: Instant) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.schedule
         SET next_at = $3, granted = $4, period_start = $7, period_from = $8,
             running_since = CASE WHEN $5 AND stopped_at IS NOT NULL THEN $6 ELSE running_since END,
             stopped_at = CASE WHEN $5 THEN NULL ELSE COALESCE(stopped_at, $6) END
         WHERE customer_id = $1 AND schedule_id = $2",
    );
    UPDATE.write(
        &[
            Arg::Text(customer_id),
            Arg::Int(schedule.id),
            Arg::Time(schedule.next_at),
            Arg::MaybeNumber(schedule.granted),
            Arg::Bool(schedule.running),
            Arg::Time(now),
            Arg::MaybeTime(schedule.period.map(|(start, _)| start)),
            Arg::MaybeTime(schedule.period.map(|(_, from)| from)),
        ],
        1,
    );
}

/// From now on a subscription's entries of one credit type pay into another pool. In the one that they leave they stop:
/// its past needs them. Both pools are locked.
pub fn move_to(customer_id: &str, subscription_id: &str, from_pool_id: i64, to_pool_id: i64, now: Instant) {
    static FIND: Statement = Statement::new(
        "SELECT schedule_id FROM credit_pools.schedule
         WHERE customer_id = $1 AND pool_id = $3 AND subscription_id = $2",
    );
    static COPY: Statement = Statement::new(
        "INSERT INTO credit_pools.schedule AS c
             (customer_id, schedule_id, pool_id, subscription_id, plan_id, credit_type_id, entry_id, next_at, granted,
              period_start, period_from, overdraft_limit, running_since, first_at, stopped_at)
         SELECT customer_id, $3, $4, subscription_id, plan_id, credit_type_id, entry_id, next_at, granted,
                period_start, period_from, overdraft_limit, $5, next_at, stopped_at
         FROM credit_pools.schedule WHERE customer_id = $1 AND schedule_id = $2
         ON CONFLICT (customer_id, subscription_id, plan_id, credit_type_id, entry_id, pool_id) DO UPDATE SET
             next_at = excluded.next_at, granted = excluded.granted, period_start = excluded.period_start,
             period_from = excluded.period_from, overdraft_limit = excluded.overdraft_limit,
             running_since = excluded.running_since, first_at = excluded.first_at, stopped_at = excluded.stopped_at",
    );
    static STOP: Statement = Statement::new(
        "UPDATE credit_pools.schedule SET stopped_at = $3
         WHERE customer_id = $1 AND schedule_id = $2 AND stopped_at IS NULL",
    );
    let (customer, from) = (Arg::Text(customer_id), Arg::Int(from_pool_id));
    for id in FIND.rows(&[customer, Arg::Text(subscription_id), from], |row| row.int(1).unwrap_or_default()) {
        let new_id = Arg::Int(next_id(Sequence::Schedule));
        COPY.run(&[customer, Arg::Int(id), new_id, Arg::Int(to_pool_id), Arg::Time(now)]);
        STOP.run(&[customer, Arg::Int(id), Arg::Time(now)]);
    }
}
