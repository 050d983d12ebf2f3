//! What the views say after the storm, all together: each decision, each recharge, each grant.

use crate::causes;
use crate::payments::evaluations;
use crate::setting::{Policy, World};
use support::{Row, Session, check_invariants, decimal, text};

/// Makes the temporary views `policies` (one row per pool, with what the storm asked for) and `asked` (recharges that
/// are none of the skips, each with the instant when it was over).
fn prepare(world: &World, session: &mut Session) {
    session.exec(causes::BOOK);
    let values: Vec<String> = world
        .pools
        .iter()
        .map(|pool| {
            let policy: &Policy = world.policy(pool.pool_id);
            let ms = |value: i64| format!("interval '{value} milliseconds'");
            let target =
                if policy.size.0 == "target_balance" { policy.size.1.to_string() } else { "NULL::bigint".to_owned() };
            let fixed =
                if policy.size.0 == "recharge_amount" { policy.size.1.to_string() } else { "NULL::bigint".to_owned() };
            format!(
                "({}, {}, {}, {target}, {fixed}, {}, {}, {}::bigint, {}, {}, {}, {})",
                pool.pool_id,
                policy.resource.map_or("NULL".to_owned(), text),
                policy.threshold,
                policy.price_per_credit,
                policy.max_spend,
                policy.max_count,
                ms(policy.period),
                ms(policy.cooldown),
                policy.max_failures,
                policy.settlement == "immediate"
            )
        })
        .collect();
    session.exec(&format!(
        "CREATE TEMP VIEW policies (pool_id, policy, threshold, target, fixed, per_credit, max_spend, max_count, period, cooldown, max_failures, immediate)
         AS VALUES {};
         -- The ledger rows of the recharges' own grants.
         CREATE TEMP TABLE settled AS
           SELECT l.recharge_id, min(l.seq) AS seq, count(*) AS n, min(l.amount) AS amount FROM book l
           WHERE l.recharge_id IS NOT NULL AND l.entry_type = 'grant' GROUP BY 1;
         CREATE TEMP TABLE asked AS
           SELECT r.*, p.policy, p.period, p.cooldown, p.threshold, p.target, p.fixed, p.per_credit, p.max_spend, p.max_count, p.max_failures, p.immediate,
                  date_bin(p.period, r.created_at, 'epoch') AS start, s.seq AS settled_seq,
                  lag(r.recharge_id) OVER w AS last_id, lag(r.created_at) OVER w AS last_created, lag(r.updated_at) OVER w AS last_updated,
                  lag(r.status) OVER w AS last_status
           FROM credit_pools.recharges r JOIN policies p USING (pool_id) LEFT JOIN settled s USING (recharge_id)
           WHERE r.status <> 'skipped' WINDOW w AS (PARTITION BY r.pool_id ORDER BY r.recharge_id);
         CREATE TEMP TABLE skips AS
           SELECT r.*, p.policy, p.period, p.cooldown, p.max_spend, p.max_count, a.recharge_id AS last_id, a.created_at AS last_created,
                  a.updated_at AS last_updated, a.status AS last_status, date_bin(p.period, r.created_at, 'epoch') AS start,
                  lag(r.recharge_id) OVER w AS before_id, lag(r.reason) OVER w AS before_reason
           FROM credit_pools.recharges r JOIN policies p USING (pool_id)
           LEFT JOIN LATERAL (SELECT * FROM asked a WHERE a.pool_id = r.pool_id AND a.recharge_id < r.recharge_id
                              ORDER BY a.recharge_id DESC LIMIT 1) a ON true
           WHERE r.status = 'skipped' WINDOW w AS (PARTITION BY r.pool_id ORDER BY r.recharge_id);
         CREATE INDEX ON asked (pool_id, recharge_id); ANALYZE asked; ANALYZE skips; ANALYZE settled;",
        values.join(", ")
    ));
}

/// Queries that give a row per broken rule.
const RULES: &[(&str, &str)] = &[
    ("everything in flight was paid at last", "SELECT * FROM asked WHERE status NOT IN ('succeeded', 'failed')"),
    (
        "one in flight per pool: the one before was over",
        "SELECT * FROM asked WHERE last_updated > created_at",
    ),
    ("the cooldown is kept", "SELECT * FROM asked WHERE created_at < last_created + cooldown"),
    (
        "max_spend and max_count are kept",
        "SELECT policy, start, sum(price), count(*) FROM asked WHERE status = 'succeeded' GROUP BY policy, start, max_spend, max_count
         HAVING sum(price) > max_spend OR count(*) > max_count",
    ),
    (
        "cut to the last cent: where an amount was cut and nothing given back, the limit is reached",
        "SELECT policy, start, sum(price) FROM asked GROUP BY policy, start, max_spend
         HAVING bool_or(amount < coalesce(target - balance, fixed)) AND NOT bool_or(status = 'failed') AND sum(price) <> max_spend",
    ),
    (
        "amount and price: the whole gap or the fixed amount, or less, at the price per credit",
        "SELECT * FROM asked WHERE amount > coalesce(target - balance, fixed) OR price > round(amount * per_credit, 2) OR price <= 0
            OR (amount = coalesce(target - balance, fixed) AND price <> round(amount * per_credit, 2))
            OR balance >= threshold OR price_currency <> 'EUR'",
    ),
    (
        "columns of a recharge by its status",
        "SELECT * FROM asked WHERE evaluations <> 1 OR (status = 'succeeded') <> (grant_id IS NOT NULL) OR attempts > max_failures
            OR (status = 'succeeded' AND (reason IS NOT NULL OR payment_reference IS DISTINCT FROM CASE WHEN immediate THEN NULL ELSE 'pay-' || recharge_id END))
            OR (status = 'failed' AND (reason IS DISTINCT FROM 'declined' OR attempts < 1 OR payment_reference IS NOT NULL))
            OR next_attempt_at IS NOT NULL OR lease_expires_at IS NOT NULL",
    ),
    (
        "columns of a skip",
        "SELECT * FROM skips WHERE evaluations < 1 OR attempts <> 0 OR updated_at < created_at
            OR num_nonnulls(amount, price, price_currency, grant_id, payment_reference, worker, lease_expires_at) > 0
            OR reason NOT IN ('pending', 'cooldown', 'spend_limit', 'count_limit', 'breaker')",
    ),
    (
        "a skip that the clock ends is looked at again then, and no other",
        "SELECT * FROM skips WHERE next_attempt_at <> CASE reason WHEN 'cooldown' THEN last_created + cooldown
           WHEN 'spend_limit' THEN date_bin(period, updated_at, 'epoch') + period
           WHEN 'count_limit' THEN date_bin(period, updated_at, 'epoch') + period ELSE 'infinity' END",
    ),
    (
        "the same skip again is counted, not another row",
        "SELECT * FROM skips WHERE reason = before_reason AND NOT EXISTS (
           SELECT FROM asked a WHERE a.pool_id = skips.pool_id AND a.recharge_id > skips.before_id AND a.recharge_id < skips.recharge_id)",
    ),
    (
        "skipped as pending only while one is in flight",
        "SELECT * FROM skips WHERE reason = 'pending' AND (last_id IS NULL OR last_updated < created_at)",
    ),
    (
        "skipped by the breaker only after a failure",
        "SELECT * FROM skips WHERE reason = 'breaker' AND (last_status IS DISTINCT FROM 'failed' OR last_updated > created_at)",
    ),
    (
        "skipped by the cooldown only within it",
        "SELECT * FROM skips WHERE reason = 'cooldown' AND (last_id IS NULL OR last_updated > created_at OR last_created + cooldown <= created_at)",
    ),
    (
        // Pools of a policy queue for its counter after they have looked at the clock: a second on either side.
        "skipped by a limit only where it is reached",
        "SELECT s.* FROM skips s CROSS JOIN LATERAL (
           SELECT coalesce(sum(price), 0) AS spent, count(*) AS n FROM asked a
           WHERE a.policy IS NOT DISTINCT FROM s.policy AND a.start = s.start AND a.created_at < s.created_at + interval '1 second'
             AND (a.status = 'succeeded' OR a.updated_at > s.created_at - interval '1 second')) l
         WHERE s.reason IN ('spend_limit', 'count_limit')
           AND (last_updated > created_at OR last_created + cooldown > created_at
                OR CASE reason WHEN 'spend_limit' THEN l.spent < s.max_spend ELSE l.n < s.max_count END)",
    ),
    (
        "each succeeded recharge has its grant, with its amount and price, and each grant of a recharge its recharge",
        "SELECT * FROM (SELECT * FROM asked WHERE status = 'succeeded') r
         FULL JOIN (SELECT * FROM credit_pools.grants WHERE source = 'recharge' OR recharge_id IS NOT NULL) g
              ON g.recharge_id = r.recharge_id AND g.grant_id = r.grant_id AND g.pool_id = r.pool_id
         WHERE r.recharge_id IS NULL OR g.grant_id IS NULL OR g.amount <> r.amount OR g.price <> r.price OR g.price IS NULL
            OR g.price_currency <> r.price_currency OR g.category <> 'paid' OR g.source <> 'recharge'
            OR g.payment_reference IS DISTINCT FROM r.payment_reference",
    ),
    (
        "the ledger books the grant of a recharge once",
        "SELECT * FROM (SELECT * FROM asked WHERE status = 'succeeded') r FULL JOIN settled s USING (recharge_id)
         WHERE r.status IS NULL OR s.n IS DISTINCT FROM 1 OR s.amount <> r.amount",
    ),
    (
        "a decision's cause is the ledger row with that balance",
        "SELECT * FROM asked a JOIN book l ON l.pool_id = a.pool_id AND l.seq = a.cause_seq WHERE l.balance_after <> a.balance",
    ),
];

/// How many decisions each pool must have on record, from the ledger alone: after every call that booked something (rows
/// of one instant, but for a recharge's own grant) the balance plus what was in flight then, if that is below the
/// threshold.
const DECISIONS: &str = "
    WITH calls AS (
      SELECT pool_id, recorded_at, max(seq) AS seq FROM book
      WHERE recharge_id IS NULL AND entry_type <> 'open' GROUP BY 1, 2),
    looked_at AS (
      SELECT c.*, l.balance_after AS balance, p.threshold,
             coalesce((SELECT sum(a.amount) FROM asked a WHERE a.pool_id = c.pool_id AND a.cause_seq < c.seq
                AND CASE a.status WHEN 'succeeded' THEN a.settled_seq > c.seq ELSE a.updated_at > c.recorded_at END), 0) AS in_flight
      FROM calls c JOIN policies p USING (pool_id)
      JOIN book l ON l.pool_id = c.pool_id AND l.seq = c.seq
      WHERE l.balance_after < p.threshold)
    SELECT pool_id, count(*) FILTER (WHERE balance + in_flight < threshold) AS n, count(*) AS low FROM looked_at GROUP BY 1";

pub fn check(world: &World, session: &mut Session) {
    prepare(world, session);
    let mut broken = Vec::new();
    for (rule, query) in RULES {
        let rows = session.rows(&format!("SELECT * FROM ({query}) broken LIMIT 3"));
        if !rows.is_empty() {
            broken.push(format!("{rule}: {rows:#?}"));
        }
    }
    assert!(broken.is_empty(), "seed {}:\n{}", world.seed, broken.join("\n"));
    check_decisions(world, session);
    let consumed = decimal(world.record().consumed, 6);
    let events = session.value("SELECT trim_scale(sum(credits)) FROM credit_pools.usage_events");
    assert_eq!(events, consumed, "usage that its sessions were told of, seed {}", world.seed);
    check_invariants(session);
    causes::check(session, &world.levels());
    check_marks(world, session);
}

/// 80, 90 and 100 percent of a period's limits are told once each; and once more at most for each recharge that failed
/// and gave back what it had taken.
fn check_marks(world: &World, session: &mut Session) {
    let rows = session.rows(
        "WITH periods AS (
           SELECT CASE WHEN policy IS NULL THEN 'customer' ELSE 'resource' END AS policy, start, l.name, p AS percent,
                  l.kept * 100 >= l.maximum * p AS kept, l.asked * 100 >= l.maximum * p AS asked, failed
           FROM (SELECT policy, start, max_spend, max_count, sum(price) AS asked, sum(price) FILTER (WHERE status = 'succeeded') AS kept,
                        count(*) AS n, count(*) FILTER (WHERE status = 'failed') AS failed
                 FROM asked GROUP BY policy, start, max_spend, max_count) x
           CROSS JOIN LATERAL (VALUES ('max_spend', asked, kept, max_spend), ('max_count', n, n - failed, max_count)) l (name, asked, kept, maximum)
           CROSS JOIN unnest(ARRAY[80, 90, 100]) p),
         told_marks AS (
           SELECT d ->> 'policy' AS policy, (d ->> 'period_start')::timestamptz AS start, d ->> 'limit' AS name,
                  (d ->> 'percent')::int AS percent, count(*) AS n
           FROM told WHERE type = 'recharge.limit_reached' GROUP BY 1, 2, 3, 4)
         SELECT policy, start, name, percent, n, failed,
                coalesce(n, 0) BETWEEN coalesce(kept, false)::int AND CASE WHEN asked THEN 1 + failed ELSE 0 END AS right
         FROM periods FULL JOIN told_marks USING (policy, start, name, percent)",
    );
    let wrong: Vec<&Row> = rows.iter().filter(|row| row.opt("right") != Some("t")).collect();
    assert!(wrong.is_empty(), "marks of limits that are told too often or not at all, seed {}: {wrong:?}", world.seed);
    let told = rows.iter().filter(|row| row.opt("n").is_some()).count();
    world.record().add("marks of limits that were told", told);
}

fn check_decisions(world: &World, session: &mut Session) {
    let recorded = evaluations(session);
    let (mut all, mut low) = (0, 0);
    // What maintenance has looked at of itself, nobody knows by pool; that it found the pool still low, neither.
    let counted = world.record().counts.get("pools that maintenance looked at again").map_or(0, |n| *n as i64);
    let mut looked = if world.setting.is_maintained() { counted } else { 0 };
    for row in session.rows(DECISIONS) {
        let pool_id = row.int("pool_id");
        let by_operator = world.record().by_operator.get(&pool_id).copied().unwrap_or(0);
        let found = recorded.get(&pool_id).copied().unwrap_or(0);
        let more = found - row.int("n") - by_operator;
        assert!(
            (0..=looked).contains(&more),
            "{found} decisions of pool {pool_id} on record, {} calls that left it low, {by_operator} by the operator's and {looked} looks of maintenance at all pools, seed {}",
            row.int("n"),
            world.seed
        );
        looked -= more;
        (all, low) = (all + found, low + row.int("low"));
    }
    let mut record = world.record();
    record.add("decisions", all as usize);
    record.add("calls that left a pool low", low as usize);
}

/// What the tables tell of the storm's force.
pub fn count(world: &World, session: &mut Session) {
    let rows = session.rows(
        "SELECT status || coalesce(': ' || reason, '') AS what, count(*) AS n, sum(evaluations) AS evaluations FROM credit_pools.recharges GROUP BY 1 ORDER BY 1",
    );
    for row in &rows {
        eprintln!("  {:>8}  {} ({} evaluations)", row.get("n"), row.get("what"), row.get("evaluations"));
    }
    let row = session.row(
        "SELECT count(*) FILTER (WHERE reason = 'spend_limit') AS spend_limit, count(*) FILTER (WHERE reason = 'count_limit') AS count_limit,
                count(*) FILTER (WHERE reason = 'breaker') AS breaker, count(*) FILTER (WHERE reason = 'cooldown') AS cooldown,
                count(*) FILTER (WHERE reason = 'pending') AS pending FROM skips",
    );
    let more = session.row(
        "SELECT (SELECT count(*) FROM asked WHERE amount < coalesce(target - balance, fixed)) AS cut,
                (SELECT count(*) FROM (SELECT FROM asked WHERE status = 'succeeded' GROUP BY policy, start, max_spend HAVING sum(price) = max_spend) x) AS spent,
                (SELECT count(*) FROM (SELECT FROM asked WHERE status = 'succeeded' GROUP BY policy, start, max_count HAVING count(*) = max_count) x) AS full,
                (SELECT count(DISTINCT (policy, start)) FROM asked) AS periods,
                (SELECT count(*) FROM asked WHERE attempts > 2) AS thrice,
                (SELECT count(*) FROM book WHERE entry_type = 'debt_settle') AS debts",
    );
    let mut record = world.record();
    for (name, row, column) in [
        ("skipped: spend_limit", &row, "spend_limit"),
        ("skipped: count_limit", &row, "count_limit"),
        ("skipped: breaker", &row, "breaker"),
        ("skipped: cooldown", &row, "cooldown"),
        ("skipped: pending", &row, "pending"),
        ("amounts cut to the limit", &more, "cut"),
        ("periods", &more, "periods"),
        ("periods spent to the cent", &more, "spent"),
        ("periods with their whole number", &more, "full"),
        ("recharges with three attempts", &more, "thrice"),
        ("ledger rows that settle debt", &more, "debts"),
    ] {
        record.add(name, row.int(column) as usize);
    }
}
