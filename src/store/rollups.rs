//! Usage added up by quarters of an hour (usage_rollup), what of the ledger these sums have, and the rows that they do not.
//!
//! A usage counts at the instant at which it occurred, and what is taken back of it counts there, too.

use credit_pools_domain::{Amount, Instant};

use super::archive::all_entries;
use super::spi::{Arg, Row, Statement};

/// A pool and how far its sums have got: ledger rows up to `up_to_seq`, and usages that moved no credits up to
/// `up_to_usage`.
#[derive(Clone)]
pub struct Source {
    pub pool_id: i64,
    pub resource_id: Option<String>,
    pub credit_type_id: String,
    pub seq: i64,
    pub up_to_seq: i64,
    pub up_to_usage: i64,
}

/// The pools of a scope (`None`: of all scopes of the customer), of one credit type or of all.
pub fn sources(customer_id: &str, scope_id: Option<&str>, credit_type_id: Option<&str>) -> Vec<Source> {
    macro_rules! sources {
        ($scope:literal) => {
            concat!(
                "SELECT p.pool_id, p.resource_id, p.credit_type_id, p.seq, COALESCE(g.up_to_seq, 0),
                        COALESCE(g.up_to_usage, 0)
                 FROM credit_pools.pool p
                 LEFT JOIN credit_pools.usage_rollup_progress g
                   ON g.customer_id = p.customer_id AND g.pool_id = p.pool_id
                 WHERE p.customer_id = $1 AND ($3 IS NULL OR p.credit_type_id = $3) AND ",
                $scope,
                " ORDER BY p.scope_id, p.credit_type_id"
            )
        };
    }
    static OF_SCOPE: Statement = Statement::read(sources!("p.scope_id = $2"));
    static OF_ALL: Statement = Statement::read(sources!("$2::text IS NULL"));
    let statement = if scope_id.is_some() { &OF_SCOPE } else { &OF_ALL };
    let args = [Arg::Text(customer_id), Arg::MaybeText(scope_id), Arg::MaybeText(credit_type_id)];
    statement.rows(&args, |row| Source {
        pool_id: row.int(1).unwrap_or_default(),
        resource_id: row.text(2),
        credit_type_id: row.text(3).unwrap_or_default(),
        seq: row.int(4).unwrap_or_default(),
        up_to_seq: row.int(5).unwrap_or_default(),
        up_to_usage: row.int(6).unwrap_or_default(),
    })
}

/// Usage of a bucket (from 0) and a group.
pub struct Sum {
    pub bucket: usize,
    pub pool_id: Option<i64>,
    pub feature_id: Option<String>,
    /// As JSON.
    pub dimensions: Option<String>,
    pub credits: Amount,
    pub units: Amount,
    pub events: i64,
}

/// What the sums are divided by, but for time.
pub struct By<'a> {
    pub feature: bool,
    pub pool: bool,
    /// At most three.
    pub dimensions: &'a [String],
}

fn read_sum(row: &Row) -> Sum {
    Sum {
        bucket: usize::try_from(row.int(1).unwrap_or_default() - 1).unwrap_or_default(),
        pool_id: row.int(2),
        feature_id: row.text(3),
        dimensions: row.text(4),
        credits: row.amount(5).unwrap_or_default(),
        units: row.amount(6).unwrap_or_default(),
        events: row.int(7).unwrap_or_default(),
    }
}

fn times(instants: &[Instant]) -> Vec<Arg<'static>> {
    instants.iter().map(|at| Arg::Time(*at)).collect()
}

/// What is known of these pools from `from` to `to`, in the buckets that begin at `starts`. The two are beginnings of
/// quarters, as are the starts between them.
pub fn known(customer_id: &str, pools: &[i64], starts: &[Instant], from: Instant, to: Instant, by: &By) -> Vec<Sum> {
    static SUMS: Statement = Statement::read(
        "SELECT width_bucket(r.quarter, $3)::bigint, CASE WHEN $6 THEN p.pool_id END,
                CASE WHEN $7 THEN NULLIF(r.feature_id, '') END, NULL::text, sum(r.credits), sum(r.units),
                sum(r.events)::bigint
         FROM unnest($2) p (pool_id)
         JOIN credit_pools.usage_rollup r
           ON r.customer_id = $1 AND r.pool_id = p.pool_id AND r.quarter >= $4 AND r.quarter < $5
         GROUP BY 1, 2, 3",
    );
    if pools.is_empty() || starts.is_empty() {
        return Vec::new();
    }
    let (pools, starts): (Vec<Arg>, Vec<Arg>) = (pools.iter().map(|id| Arg::Int(*id)).collect(), times(starts));
    let args = [
        Arg::Text(customer_id),
        Arg::Column(&pools),
        Arg::Column(&starts),
        Arg::Time(from),
        Arg::Time(to),
        Arg::Bool(by.pool),
        Arg::Bool(by.feature),
    ];
    SUMS.rows(&args, read_sum)
}

/// Rows of a pool behind `after` up to `up_to`, of which those count that are of usage between two instants.
pub struct Stretch {
    pub pool_id: i64,
    pub after: i64,
    pub up_to: i64,
    pub from: Instant,
    pub to: Instant,
}

/// Adds up rows of the ledger themselves.
pub fn added_up(customer_id: &str, stretches: &[Stretch], starts: &[Instant], by: &By) -> Vec<Sum> {
    // Each stretch by itself: what is sorted stays small. A row that takes something back counts where the usage does. Of one that is not there any more it has the feature.
    macro_rules! rows {
        ($dimensions:literal) => {
            concat!(
                "SELECT s.* FROM unnest($2, $3, $4, $5, $6) x (pool_id, after, up_to, from_time, to_time)
                 CROSS JOIN LATERAL (
                 SELECT width_bucket(f.at, $7)::bigint AS bucket, CASE WHEN $8 THEN x.pool_id END,
                        CASE WHEN $9 THEN f.feature_id END, ",
                $dimensions,
                ", sum(f.credits), COALESCE(sum(f.units), 0), sum(f.events)::bigint
                 FROM (
                     SELECT COALESCE(u.effective_at, e.effective_at) AS at,
                            COALESCE(u.feature_id, e.feature_id) AS feature_id,
                            CASE WHEN b.back THEN u.dimensions ELSE e.dimensions END AS dimensions,
                            CASE WHEN b.back THEN - e.amount ELSE e.credits END AS credits,
                            CASE WHEN b.back THEN NULL ELSE e.value END AS units,
                            CASE WHEN b.back THEN 0 ELSE 1 END AS events
                     FROM ",
                all_entries!(),
                " e
                     CROSS JOIN LATERAL (SELECT e.entry_type = 'reverse' AS back) b
                     LEFT JOIN ",
                all_entries!(),
                " u
                       ON u.usage_id = CASE WHEN b.back THEN e.usage_id END AND u.customer_id = $1
                      AND u.credits IS NOT NULL
                     WHERE e.customer_id = $1 AND e.pool_id = x.pool_id AND e.seq > x.after AND e.seq <= x.up_to
                       AND (e.credits IS NOT NULL OR b.back)) f
                 WHERE f.at >= x.from_time AND f.at < x.to_time
                 GROUP BY 1, 2, 3, 4) s"
            )
        };
    }
    static PLAIN: Statement = Statement::read(rows!("NULL::text"));
    // A name that is given twice is there once.
    // 1.5 and 1.50 are one, and written in one way.
    static BY_DIMENSION: Statement = Statement::read(concat!(
        "SELECT s.bucket, s.pool_id, s.feature_id, min(s.dimensions::text) OVER (PARTITION BY s.dimensions), s.credits,
                s.units, s.events
         FROM (",
        rows!(
            "jsonb_build_object($10::text, f.dimensions -> $10, $11::text, f.dimensions -> $11,
                                $12::text, f.dimensions -> $12)"
        ),
        ") s (bucket, pool_id, feature_id, dimensions, credits, units, events)"
    ));
    if stretches.is_empty() || starts.is_empty() {
        return Vec::new();
    }
    let column = |arg: fn(&Stretch) -> Arg<'static>| stretches.iter().map(arg).collect::<Vec<Arg>>();
    let columns = [
        column(|stretch| Arg::Int(stretch.pool_id)),
        column(|stretch| Arg::Int(stretch.after)),
        column(|stretch| Arg::Int(stretch.up_to)),
        column(|stretch| Arg::Time(stretch.from)),
        column(|stretch| Arg::Time(stretch.to)),
    ];
    let starts = times(starts);
    let mut args = vec![Arg::Text(customer_id)];
    args.extend(columns.iter().map(|column| Arg::Column(column)));
    args.extend([Arg::Column(&starts), Arg::Bool(by.pool), Arg::Bool(by.feature)]);
    let Some(first) = by.dimensions.first() else { return PLAIN.rows(&args, read_sum) };
    let name = |index: usize| Arg::Text(by.dimensions.get(index).unwrap_or(first));
    args.extend([name(0), name(1), name(2)]);
    BY_DIMENSION.rows(&args, read_sum)
}

/// Where in the ledger the rows lie that are known of the quarters from `from` to `to`: (first, last), in order.
pub fn places(customer_id: &str, pool_id: i64, from: Instant, to: Instant) -> Vec<(i64, i64)> {
    static FIND: Statement = Statement::read(
        "SELECT first_seq, last_seq FROM credit_pools.usage_rollup_place
         WHERE customer_id = $1 AND pool_id = $2 AND quarter >= $3 AND quarter < $4 ORDER BY first_seq",
    );
    let args = [Arg::Text(customer_id), Arg::Int(pool_id), Arg::Time(from), Arg::Time(to)];
    FIND.rows(&args, |row| (row.int(1).unwrap_or_default(), row.int(2).unwrap_or_default()))
}

/// When a row was written; `None` for one that is not there.
pub fn recorded_at(customer_id: &str, pool_id: i64, seq: i64) -> Option<Instant> {
    static FIND: Statement = Statement::read(concat!(
        "SELECT e.recorded_at FROM ",
        all_entries!(),
        " e WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq = $3",
    ));
    FIND.first(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(seq)], |row| row.time(1)).flatten()
}

/// A pool of which rows may be added to its sums.
pub struct Behind {
    pub customer_id: String,
    pub pool_id: i64,
    pub seq: i64,
    pub up_to_seq: i64,
    pub up_to_usage: i64,
    /// Whether enough of them wait.
    pub waits: bool,
}

fn read_behind(row: &Row) -> Behind {
    Behind {
        customer_id: row.text(1).unwrap_or_default(),
        pool_id: row.int(2).unwrap_or_default(),
        seq: row.int(3).unwrap_or_default(),
        up_to_seq: row.int(4).unwrap_or_default(),
        up_to_usage: row.int(5).unwrap_or_default(),
        waits: row.boolean(6),
    }
}

macro_rules! behind {
    ($pools:literal) => {
        concat!(
            "SELECT p.customer_id, p.pool_id, p.seq, g.up_to_seq, g.up_to_usage,
                    p.seq - g.up_to_seq >= $1 OR EXISTS (
                        SELECT 1 FROM ",
            all_entries!(),
            " e
                        WHERE e.customer_id = p.customer_id AND e.pool_id = p.pool_id AND e.seq < - g.up_to_usage
                        OFFSET $1 - 1)
             FROM ",
            $pools,
            " CROSS JOIN LATERAL (
                 SELECT COALESCE(max(g.up_to_seq), 0) AS up_to_seq, COALESCE(max(g.up_to_usage), 0) AS up_to_usage
                 FROM credit_pools.usage_rollup_progress g
                 WHERE g.customer_id = p.customer_id AND g.pool_id = p.pool_id) g
             ORDER BY p.customer_id, p.pool_id"
        )
    };
}

/// The pools behind `after`, in order of customer and id; at least `rows` of a pool wait, or it does not.
pub fn pools_after(after: (&str, i64), rows: i64, limit: i64) -> Vec<Behind> {
    static FIND: Statement = Statement::new(behind!(
        "(SELECT customer_id, pool_id, seq FROM credit_pools.pool
          WHERE (customer_id, pool_id) > ($2, $3) ORDER BY customer_id, pool_id LIMIT $4) p"
    ));
    FIND.rows(&[Arg::Int(rows), Arg::Text(after.0), Arg::Int(after.1), Arg::Int(limit)], read_behind)
}

/// Pools that are being used: those of some of the last usages, `step` ids from one to the next.
pub fn pools_in_use(rows: i64, looks: i64, step: i64) -> Vec<Behind> {
    static FIND: Statement = Statement::new(behind!(
        "(SELECT DISTINCT p.customer_id, p.pool_id, p.seq
          FROM (SELECT max(usage_id) AS usage_id FROM credit_pools.ledger_entry WHERE usage_id IS NOT NULL) last
          CROSS JOIN generate_series(0, $2 - 1) n
          CROSS JOIN LATERAL (
              SELECT customer_id, pool_id FROM credit_pools.ledger_entry
              WHERE usage_id >= last.usage_id - n * $3 ORDER BY usage_id LIMIT 1) e
          JOIN credit_pools.pool p ON p.customer_id = e.customer_id AND p.pool_id = e.pool_id) p"
    ));
    FIND.rows(&[Arg::Int(rows), Arg::Int(looks), Arg::Int(step)], read_behind)
}

/// The next usages that moved no credits, at most so many: the last of them, and how many they are.
pub fn next_unbooked(customer_id: &str, pool_id: i64, up_to_usage: i64, limit: i64) -> Option<(i64, i64)> {
    static FIND: Statement = Statement::new(concat!(
        "SELECT - min(x.seq), count(*) FROM (
             SELECT e.seq FROM ",
        all_entries!(),
        " e WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq < - $3 ORDER BY e.seq DESC LIMIT $4) x",
    ));
    let args = [Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(up_to_usage), Arg::Int(limit)];
    FIND.first(&args, |row| row.int(1).zip(row.int(2))).flatten()
}

/// What the rows of customer $1's pool $2 behind $3 up to $4 say of usage.
macro_rules! facts {
    () => {
        concat!(
            "SELECT date_bin('15 minutes', COALESCE(u.effective_at, e.effective_at), '2000-01-01 00:00:00+00') AS quarter,
                    COALESCE(u.feature_id, e.feature_id, '') AS feature_id, e.seq,
                    CASE WHEN b.back THEN - e.amount ELSE e.credits END AS credits,
                    CASE WHEN b.back THEN 0 ELSE COALESCE(e.value, 0) END AS units,
                    CASE WHEN b.back THEN 0 ELSE 1 END AS events
             FROM ",
            all_entries!(),
            " e
             CROSS JOIN LATERAL (SELECT e.entry_type = 'reverse' AS back) b
             LEFT JOIN ",
            all_entries!(),
            " u
               ON u.usage_id = CASE WHEN b.back THEN e.usage_id END AND u.customer_id = $1 AND u.credits IS NOT NULL
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > $3 AND e.seq <= $4
               AND (e.credits IS NOT NULL OR b.back)"
        )
    };
}

/// Adds the rows behind `after` up to `up_to` to the pool's sums, which then have what `progress` says.
pub fn add(customer_id: &str, pool_id: i64, after: i64, up_to: i64, progress: (i64, i64)) {
    // Where the rows of a quarter lie is kept by thousands: late usage makes no long stretch of a few rows.
    static ADD: Statement = Statement::new(concat!(
        "WITH facts AS MATERIALIZED (",
        facts!(),
        "),
         sums AS (
             INSERT INTO credit_pools.usage_rollup AS r
                 (customer_id, pool_id, quarter, feature_id, credits, units, events)
             SELECT $1, $2, quarter, feature_id, trim_scale(sum(credits)), trim_scale(sum(units)), sum(events)
             FROM facts GROUP BY quarter, feature_id ORDER BY quarter, feature_id
             ON CONFLICT (customer_id, pool_id, quarter, feature_id) DO UPDATE SET
                 credits = trim_scale(r.credits + excluded.credits), units = trim_scale(r.units + excluded.units),
                 events = r.events + excluded.events),
         places AS (
             INSERT INTO credit_pools.usage_rollup_place AS r (customer_id, pool_id, quarter, block, first_seq, last_seq)
             SELECT $1, $2, quarter, seq / 1000, min(seq), max(seq)
             FROM facts GROUP BY quarter, seq / 1000 ORDER BY quarter, seq / 1000
             ON CONFLICT (customer_id, pool_id, quarter, block) DO UPDATE SET
                 first_seq = LEAST(r.first_seq, excluded.first_seq), last_seq = GREATEST(r.last_seq, excluded.last_seq))
         INSERT INTO credit_pools.usage_rollup_progress AS r (customer_id, pool_id, up_to_seq, up_to_usage)
         VALUES ($1, $2, $5, $6)
         ON CONFLICT (customer_id, pool_id) DO UPDATE SET
             up_to_seq = excluded.up_to_seq, up_to_usage = excluded.up_to_usage"
    ));
    let args = [
        Arg::Text(customer_id),
        Arg::Int(pool_id),
        Arg::Int(after),
        Arg::Int(up_to),
        Arg::Int(progress.0),
        Arg::Int(progress.1),
    ];
    ADD.write(&args, 1);
}

/// One session at a time adds up; `false`: another one does, until its transaction ends.
pub fn try_lock() -> bool {
    static LOCK: Statement = Statement::new(
        "SELECT pg_try_advisory_xact_lock(('credit_pools.usage_rollup'::regclass::oid::bigint - 2147483648)::integer, 0)",
    );
    LOCK.first(&[], |row| row.boolean(1)).unwrap_or_default()
}

/// The pool that was looked at last.
pub fn position() -> (String, i64) {
    static FIND: Statement = Statement::new("SELECT customer_id, pool_id FROM credit_pools.usage_rollup_position");
    FIND.first(&[], |row| (row.text(1).unwrap_or_default(), row.int(2).unwrap_or_default()))
        .unwrap_or((String::new(), i64::MIN))
}

pub fn set_position(customer_id: &str, pool_id: i64) {
    static SET: Statement = Statement::new(
        "INSERT INTO credit_pools.usage_rollup_position (the_only, customer_id, pool_id) VALUES (true, $1, $2)
         ON CONFLICT (the_only) DO UPDATE SET customer_id = excluded.customer_id, pool_id = excluded.pool_id",
    );
    SET.write(&[Arg::Text(customer_id), Arg::Int(pool_id)], 1);
}

/// Sums that are not what the ledger's rows make, a few of them: quarter and feature.
pub fn wrong_sums(customer_id: &str, pool_id: i64) -> Vec<(Instant, String)> {
    static PROGRESS: Statement = Statement::read(
        "SELECT g.up_to_seq, g.up_to_usage FROM credit_pools.usage_rollup_progress g
         WHERE g.customer_id = $1 AND g.pool_id = $2",
    );
    static COMPARE: Statement = Statement::read(concat!(
        "SELECT COALESCE(s.quarter, r.quarter), COALESCE(s.feature_id, r.feature_id)
         FROM (
             SELECT f.quarter, f.feature_id, sum(f.credits) AS credits, sum(f.units) AS units, sum(f.events) AS events
             FROM (",
        facts!(),
        ") f GROUP BY 1, 2) s
         FULL JOIN (
             SELECT quarter, feature_id, credits, units, events FROM credit_pools.usage_rollup
             WHERE customer_id = $1 AND pool_id = $2) r
           ON r.quarter = s.quarter AND r.feature_id = s.feature_id
         WHERE r.credits IS DISTINCT FROM s.credits OR r.units IS DISTINCT FROM s.units OR r.events IS DISTINCT FROM s.events
         ORDER BY 1, 2 LIMIT 10"
    ));
    let of_pool = [Arg::Text(customer_id), Arg::Int(pool_id)];
    let progress = PROGRESS.first(&of_pool, |row| row.int(1).zip(row.int(2))).flatten();
    let Some((up_to_seq, up_to_usage)) = progress else { return Vec::new() };
    let args = [Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(-up_to_usage - 1), Arg::Int(up_to_seq)];
    let time = |row: &Row| row.time(1).unwrap_or(Instant::NEG_INFINITY);
    COMPARE.rows(&args, |row| (time(row), row.text(2).unwrap_or_default()))
}
