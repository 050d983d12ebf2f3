//! Every cause has its event, once, and every event its cause: multisets from the ledger and the tables against those from
//! the outbox, both ways.

use crate::alerts::{self, Levels};
use support::Session;

/// A name, the causes, and the events, with the same columns.
const PAIRS: &[(&str, &str, &str)] = &[
    (
        "pool.opened: the rows open",
        "SELECT pool_id, seq, balance_after, effective_at FROM book WHERE entry_type = 'open'",
        "SELECT pool_id, seq, balance, at FROM told WHERE type = 'pool.opened'",
    ),
    (
        "credits.granted: the rows grant, rollover_in and transfer_in",
        "SELECT l.pool_id, l.seq, l.balance_after, l.effective_at, l.grant_id, l.amount, g.category, g.source, l.recharge_id
         FROM book l JOIN stock g USING (grant_id)
         WHERE l.entry_type IN ('grant', 'rollover_in', 'transfer_in')",
        "SELECT pool_id, seq, balance, at, grant_id, amount, d ->> 'category', d ->> 'source', (d ->> 'recharge_id')::bigint
         FROM told WHERE type = 'credits.granted'",
    ),
    (
        "credits.granted: priority and validity of grants that nobody has changed",
        "SELECT g.grant_id, g.priority::text, g.effective_at, g.expires_at FROM stock g
         WHERE EXISTS (SELECT FROM book l WHERE l.pool_id = g.pool_id AND l.grant_id = g.grant_id
                         AND l.entry_type IN ('grant', 'rollover_in', 'transfer_in'))
           AND NOT EXISTS (SELECT FROM book l WHERE l.pool_id = g.pool_id AND l.grant_id = g.grant_id AND l.entry_type = 'update')",
        "SELECT t.grant_id, d ->> 'priority', (d ->> 'effective_at')::timestamptz, (d ->> 'expires_at')::timestamptz FROM told t
         WHERE type = 'credits.granted'
           AND NOT EXISTS (SELECT FROM book l WHERE l.pool_id = t.pool_id AND l.grant_id = t.grant_id AND l.entry_type = 'update')",
    ),
    (
        "credits.expired: the rows expire with an amount",
        "SELECT pool_id, seq, balance_after, effective_at, grant_id, -amount FROM book WHERE entry_type = 'expire' AND amount <> 0",
        "SELECT pool_id, seq, balance, at, grant_id, amount FROM told WHERE type = 'credits.expired'",
    ),
    (
        "credits.voided: the rows void with an amount",
        "SELECT pool_id, seq, balance_after, effective_at, grant_id, -amount, reason FROM book WHERE entry_type = 'void' AND amount <> 0",
        "SELECT pool_id, seq, balance, at, grant_id, amount, d ->> 'reason' FROM told WHERE type = 'credits.voided'",
    ),
    (
        "reservation.expired: a hold that timed out, whatever number of grants backed it",
        "SELECT pool_id, reservation_id, max(seq), sum(amount), max(effective_at) FROM book WHERE entry_type = 'reservation_expire' GROUP BY 1, 2",
        "SELECT pool_id, d ->> 'reservation_id', seq, amount, at FROM told WHERE type = 'reservation.expired'",
    ),
    (
        // What a hold takes of a grant that has ended meanwhile may be told or not.
        "credits.depleted: usage or debt has taken the last of a grant, nothing is held of it, and nothing else has ended it",
        "WITH r AS (
           SELECT pool_id, grant_id, recorded_at, effective_at, seq, entry_type,
                  sum(amount) OVER w AS available,
                  coalesce(sum(amount) FILTER (WHERE entry_type IN ('reserve', 'release', 'reservation_expire')) OVER w, 0) AS held
           FROM book WHERE grant_id IS NOT NULL WINDOW w AS (PARTITION BY pool_id, grant_id ORDER BY seq)),
         g AS (
           SELECT pool_id, grant_id, effective_at, max(seq) AS last, max(seq) FILTER (WHERE entry_type IN ('consume', 'debt_settle')) AS taken
           FROM r GROUP BY pool_id, grant_id, recorded_at, effective_at)
         SELECT g.pool_id, g.taken, g.grant_id, p.amount FROM g JOIN r ON r.pool_id = g.pool_id AND r.seq = g.last
         JOIN stock p ON p.grant_id = g.grant_id
         WHERE g.taken = g.last AND r.available = 0 AND r.held = 0 AND g.effective_at < coalesce(p.expires_at, 'infinity')
           AND NOT EXISTS (SELECT FROM r o WHERE o.pool_id = g.pool_id AND o.grant_id = g.grant_id AND o.seq <= g.last AND o.entry_type = 'expire')",
        "SELECT pool_id, seq, grant_id, amount FROM told t WHERE type = 'credits.depleted'
           AND EXISTS (SELECT FROM stock p WHERE p.grant_id = t.grant_id AND t.at < coalesce(p.expires_at, 'infinity'))
           AND NOT EXISTS (SELECT FROM book o WHERE o.pool_id = t.pool_id AND o.grant_id = t.grant_id AND o.seq <= t.seq AND o.entry_type = 'expire')",
    ),
    (
        "recharge.requested",
        "SELECT recharge_id, pool_id, amount, price, price_currency, balance FROM credit_pools.recharges WHERE status <> 'skipped'",
        "SELECT recharge_id, pool_id, amount, price, d ->> 'price_currency', balance FROM told WHERE type = 'recharge.requested'",
    ),
    (
        "recharge.skipped: one per row, not per evaluation",
        "SELECT recharge_id, pool_id, reason, created_at FROM credit_pools.recharges WHERE status = 'skipped'",
        "SELECT recharge_id, pool_id, d ->> 'reason', at FROM told WHERE type = 'recharge.skipped'",
    ),
    (
        "recharge.succeeded",
        "SELECT recharge_id, pool_id, amount, price, price_currency, grant_id, payment_reference, updated_at FROM credit_pools.recharges WHERE status = 'succeeded'",
        "SELECT recharge_id, pool_id, amount, price, d ->> 'price_currency', grant_id, d ->> 'payment_reference', at FROM told WHERE type = 'recharge.succeeded'",
    ),
    (
        "recharge.failed: each attempt, and only the last one is final",
        "SELECT recharge_id, n, status = 'failed' AND n = attempts
         FROM credit_pools.recharges, generate_series(1, attempts - (status = 'succeeded')::int) n WHERE status <> 'skipped'",
        "SELECT recharge_id, (d ->> 'attempts')::int, (d ->> 'final')::bool FROM told
         WHERE type = 'recharge.failed' AND (d ->> 'final')::bool = (d ->> 'next_attempt_at' IS NULL)",
    ),
    (
        "recharge.breaker_opened: with the last attempt",
        "SELECT recharge_id, attempts, reason, updated_at FROM credit_pools.recharges WHERE status = 'failed'",
        "SELECT recharge_id, (d ->> 'attempts')::int, d ->> 'reason', at FROM told WHERE type = 'recharge.breaker_opened'",
    ),
    (
        "subscription.created: one per subscription",
        "SELECT subscription_id, customer_id FROM credit_pools.subscriptions",
        "SELECT d ->> 'subscription_id', customer_id FROM told WHERE type = 'subscription.created'",
    ),
    (
        "subscription.cancelled",
        "SELECT subscription_id FROM credit_pools.subscriptions WHERE status = 'cancelled'",
        "SELECT d ->> 'subscription_id' FROM told WHERE type = 'subscription.cancelled'",
    ),
];

/// Queries that give a row per broken rule.
const RULES: &[(&str, &str)] = &[
    (
        "the envelope",
        "SELECT * FROM told t WHERE data ->> 'specversion' IS DISTINCT FROM '1.0' OR data ->> 'id' IS DISTINCT FROM event_id::text
            OR data ->> 'source' IS DISTINCT FROM '/credit_pools' OR data ->> 'type' IS DISTINCT FROM type
            OR data ->> 'subject' IS DISTINCT FROM customer_id OR data ->> 'datacontenttype' IS DISTINCT FROM 'application/json'
            OR data ->> 'time' !~ '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?(Z|\\+00:00)$' OR at > created_at
            OR d ->> 'customer_id' IS DISTINCT FROM customer_id OR d ->> 'resource_id' IS DISTINCT FROM resource_id
            OR d ->> 'credit_type_id' IS DISTINCT FROM credit_type_id OR NOT d ?& ARRAY['resource_id', 'credit_type_id']",
    ),
    (
        "the pool and its balance, but for what is not about one",
        "SELECT * FROM told t LEFT JOIN credit_pools.pools p USING (pool_id)
         WHERE CASE WHEN type LIKE 'subscription.%' OR type = 'recharge.policy_changed' THEN t.pool_id IS NOT NULL OR d ?| ARRAY['pool_id', 'balance']
               ELSE (d ->> 'pool_id')::bigint IS DISTINCT FROM t.pool_id OR jsonb_typeof(d -> 'balance') IS DISTINCT FROM 'number'
                 OR (p.customer_id, p.resource_id, p.credit_type_id) IS DISTINCT FROM (t.customer_id, t.resource_id, t.credit_type_id) END",
    ),
    (
        "amounts are numbers",
        "SELECT t.* FROM told t, jsonb_each(d) v WHERE key IN ('amount', 'balance', 'threshold', 'debt', 'price', 'used', 'maximum')
           AND jsonb_typeof(value) NOT IN ('number', 'null')",
    ),
    (
        "of one pool, what the ledger has comes in its order",
        "SELECT * FROM (SELECT *, lag(seq) OVER (PARTITION BY pool_id ORDER BY event_id) AS last FROM told WHERE seq IS NOT NULL) x WHERE last >= seq",
    ),
    (
        "of one pool, what is written is written in order",
        "SELECT * FROM (SELECT *, lag(created_at) OVER (PARTITION BY pool_id ORDER BY event_id) AS last FROM told WHERE pool_id IS NOT NULL) x WHERE last > created_at",
    ),
    (
        "what has a row of the ledger has its balance",
        "SELECT * FROM told t LEFT JOIN book l ON l.pool_id = t.pool_id AND l.seq = t.seq
         WHERE t.seq IS NOT NULL AND l.balance_after IS DISTINCT FROM t.balance",
    ),
];

/// Ledger and grants, with indexes that they have no need of themselves.
pub const BOOK: &str = "
    DROP TABLE IF EXISTS book;
    CREATE TEMP TABLE book AS SELECT * FROM credit_pools.ledger;
    DROP TABLE IF EXISTS stock;
    CREATE TEMP TABLE stock AS SELECT * FROM credit_pools.grants;
    CREATE UNIQUE INDEX ON stock (grant_id);
    CREATE UNIQUE INDEX ON book (pool_id, seq);
    CREATE INDEX ON book (grant_id, entry_type);
    ANALYZE book; ANALYZE stock; ANALYZE credit_pools.ledger_entry; ANALYZE credit_pools.pool_grant; ANALYZE credit_pools.recharge;";

/// The outbox, taken apart. The table, not the view: what is held back counts, too.
const TOLD: &str = "
    DROP TABLE IF EXISTS told;
    CREATE TEMP TABLE told AS
      SELECT *, data -> 'data' AS d, (data ->> 'time')::timestamptz AS at, (data -> 'data' ->> 'seq')::bigint AS seq,
             (data -> 'data' ->> 'grant_id')::bigint AS grant_id, (data -> 'data' ->> 'recharge_id')::bigint AS recharge_id,
             (data -> 'data' ->> 'amount')::numeric AS amount, (data -> 'data' ->> 'balance')::numeric AS balance,
             (data -> 'data' ->> 'price')::numeric AS price
      FROM credit_pools.event;
    CREATE INDEX ON told (type); ANALYZE told;";

/// After whatever was done. The levels are those that were set, nothing else says when a balance is low.
pub fn check(session: &mut Session, levels: &Levels) {
    session.rows("SELECT * FROM credit_pools.run_maintenance()");
    session.exec(BOOK);
    session.exec(TOLD);
    let mut broken = Vec::new();
    let mut look = |session: &mut Session, name: &str, query: &str| {
        let rows = session.rows(&format!("SELECT * FROM ({query}) broken LIMIT 3"));
        if !rows.is_empty() {
            let rows: Vec<String> = rows.iter().map(|row| format!("  {row:?}")).collect();
            broken.push(format!("{name}:\n{}", rows.join("\n")));
        }
    };
    for (name, query) in RULES {
        look(session, name, query);
    }
    for (name, causes, events) in PAIRS {
        look(session, &format!("{name}, without an event"), &format!("({causes}) EXCEPT ALL ({events})"));
        look(session, &format!("{name}, without a cause"), &format!("({events}) EXCEPT ALL ({causes})"));
    }
    broken.extend(alerts::complaints(session, levels));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// How many events there are of each type.
pub fn kinds(session: &mut Session) -> Vec<(String, i64)> {
    let rows = session.rows("SELECT type, count(*) AS n FROM credit_pools.event GROUP BY 1 ORDER BY 1");
    rows.iter().map(|row| (row.get("type").to_owned(), row.int("n"))).collect()
}
