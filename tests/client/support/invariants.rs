use crate::Session;

/// Queries that give a row per broken rule. Run after `run_maintenance`, when all that is due is booked.
const RULES: &[(&str, &str)] = &[
    ("verify_ledger finds nothing", "SELECT * FROM credit_pools.verify_ledger()"),
    (
        "ledger: seq counts from 1 without gaps, each row goes on from the row before, recorded_at never runs back",
        "SELECT * FROM (
           SELECT pool_id, seq, entry_type, amount, balance_before, balance_after, recorded_at,
                  row_number() OVER w AS place,
                  lag(balance_after) OVER w AS last_after,
                  lag(recorded_at) OVER w AS last_recorded
           FROM credit_pools.ledger WINDOW w AS (PARTITION BY pool_id ORDER BY seq)) l
         WHERE seq <> place OR balance_before <> coalesce(last_after, 0)
            OR balance_after <> balance_before + amount OR recorded_at < last_recorded",
    ),
    (
        "ledger: the first row of a pool, and only that, is its opening",
        "SELECT pool_id, seq, entry_type FROM credit_pools.ledger WHERE (seq = 1) <> (entry_type = 'open')",
    ),
    (
        "ledger: the sum of amounts is the pool's balance",
        "SELECT p.pool_id, p.balance, l.total, l.entries FROM credit_pools.pools p
         LEFT JOIN (SELECT pool_id, sum(amount) AS total, count(*) AS entries FROM credit_pools.ledger GROUP BY pool_id) l USING (pool_id)
         WHERE p.balance IS DISTINCT FROM l.total",
    ),
    (
        "ledger: every row has a hash",
        "SELECT pool_id, seq FROM credit_pools.ledger WHERE entry_hash IS NULL",
    ),
    (
        "pools: balance is what active grants hold less debt and less what is held on the overdraft",
        "SELECT p.pool_id, p.balance, p.debt, p.held, g.available, g.held AS held_of_grants FROM credit_pools.pools p
         LEFT JOIN (SELECT pool_id, sum(available) AS available, sum(held) AS held FROM credit_pools.grants GROUP BY pool_id) g USING (pool_id)
         WHERE p.balance <> coalesce(g.available, 0) - p.debt - (p.held - coalesce(g.held, 0))
            OR p.debt < 0 OR p.held < coalesce(g.held, 0)",
    ),
    (
        "pools: granted, consumed, expired, voided, held and debt add up to the balance",
        "SELECT pool_id, balance, granted, consumed, expired, voided, held, debt FROM credit_pools.pools
         WHERE balance <> granted - consumed - expired - voided - held - debt",
    ),
    (
        "grants: parts are never negative and never more than the whole",
        "SELECT grant_id, amount, remaining, available, held, consumed, expired, voided, status FROM credit_pools.grants
         WHERE least(remaining, available, held, consumed, expired, voided) < 0
            OR amount <= 0
            OR remaining <> amount - consumed - expired - voided
            OR held > remaining OR available > remaining - held
            OR (available > 0 AND status <> 'active') OR (status = 'active' AND remaining <= 0)",
    ),
    (
        "grants: what the ledger says of a grant is what it holds",
        "SELECT g.grant_id, g.available, g.held, g.consumed, g.expired, g.voided, l.* FROM credit_pools.grants g
         CROSS JOIN LATERAL (
           SELECT coalesce(sum(amount), 0) AS effect,
                  coalesce(-sum(amount) FILTER (WHERE entry_type IN ('consume', 'debt_settle', 'reverse')), 0) AS consumed,
                  coalesce(-sum(amount) FILTER (WHERE entry_type IN ('reserve', 'release', 'reservation_expire')), 0) AS held,
                  coalesce(-sum(amount) FILTER (WHERE entry_type IN ('void', 'transfer_out')), 0) AS voided,
                  coalesce(-sum(amount) FILTER (WHERE entry_type IN ('expire', 'rollover_out')), 0) AS expired,
                  coalesce(bool_or(entry_type IN ('grant', 'rollover_in', 'transfer_in')), false) AS begun
           FROM credit_pools.ledger
           WHERE customer_id = g.customer_id AND pool_id = g.pool_id AND grant_id = g.grant_id) l
         WHERE g.consumed <> l.consumed OR g.held <> l.held OR g.available <> l.effect
            OR (l.begun AND g.expired <> l.expired)
            -- What is voided before the grant counts has no effect on the balance.
            OR g.voided < l.voided",
    ),
    (
        "usage: what events cost is what the ledger took",
        "SELECT * FROM (
           SELECT pool_id, coalesce(u.credits, 0) AS events, coalesce(l.credits, 0) AS ledger FROM
             (SELECT pool_id, sum(credits) AS credits FROM credit_pools.usage_events GROUP BY pool_id) u
             FULL JOIN (SELECT pool_id, -sum(amount) AS credits FROM credit_pools.ledger
                        WHERE entry_type IN ('consume', 'debt') GROUP BY pool_id) l USING (pool_id)) x
         WHERE events <> ledger",
    ),
    (
        "pools: debt is what was used beyond the grants, less what was paid or reversed",
        "SELECT p.pool_id, p.debt, l.debt AS ledger FROM credit_pools.pools p
         LEFT JOIN (SELECT pool_id, -sum(amount) AS debt FROM credit_pools.ledger
                    WHERE entry_type IN ('debt', 'debt_settle', 'reverse') AND grant_id IS NULL GROUP BY pool_id) l USING (pool_id)
         WHERE p.debt <> coalesce(l.debt, 0)",
    ),
    (
        "usage: what was reversed is what the ledger gave back, never more than it cost",
        "SELECT u.usage_id, u.credits, u.reversed, l.reversed AS ledger FROM credit_pools.usage_events u
         LEFT JOIN (SELECT usage_id, sum(amount) AS reversed FROM credit_pools.ledger WHERE entry_type = 'reverse' GROUP BY usage_id) l USING (usage_id)
         WHERE u.reversed <> coalesce(l.reversed, 0) OR u.reversed < 0 OR u.reversed > greatest(u.credits, 0)",
    ),
    (
        "usage: each drew what it cost",
        "SELECT u.usage_id, u.credits, l.credits AS ledger FROM credit_pools.usage_events u
         LEFT JOIN (SELECT usage_id, -sum(amount) AS credits FROM credit_pools.ledger WHERE entry_type IN ('consume', 'debt') GROUP BY usage_id) l USING (usage_id)
         WHERE u.credits <> coalesce(l.credits, 0)",
    ),
    (
        "holds: what a pool holds is what its open reservations hold",
        "SELECT p.pool_id, p.held, r.held AS reserved FROM credit_pools.pools p
         LEFT JOIN (SELECT pool_id, sum(held) AS held FROM credit_pools.reservations GROUP BY pool_id) r USING (pool_id)
         WHERE p.held <> coalesce(r.held, 0)",
    ),
    (
        "holds: what the ledger says of a reservation is what it holds and has charged",
        "SELECT r.reservation_id, r.status, r.amount, r.held, r.charged, l.* FROM credit_pools.reservations r
         CROSS JOIN LATERAL (
           SELECT coalesce(-sum(amount) FILTER (WHERE entry_type = 'reserve'), 0) AS reserved,
                  coalesce(-sum(amount) FILTER (WHERE entry_type IN ('reserve', 'release', 'reservation_expire')), 0) AS held,
                  coalesce(-sum(amount) FILTER (WHERE entry_type IN ('consume', 'debt')), 0) AS charged
           FROM credit_pools.ledger WHERE customer_id = r.customer_id AND pool_id = r.pool_id AND reservation_id = r.reservation_id) l
         WHERE (r.amount, r.held, r.charged) <> (l.reserved, l.held, l.charged)
            OR least(r.held, r.charged) < 0 OR r.held > r.amount
            OR (r.status <> 'active' AND r.held <> 0)
            OR (r.status = 'active') <> (r.closed_at IS NULL)
            OR (r.status = 'active' AND r.expires_at <= credit_pools.clock())",
    ),
    (
        "pools: the balance is at or above the floor",
        "SELECT p.pool_id, p.balance, p.overdraft_limit FROM credit_pools.pools p
         WHERE p.balance < -p.overdraft_limit",
    ),
    (
        "recharges: at most one in flight per pool",
        "SELECT pool_id, count(*) FROM credit_pools.recharges WHERE status IN ('pending', 'processing')
         GROUP BY pool_id HAVING count(*) > 1",
    ),
    (
        "recharges: a succeeded one has exactly its grant",
        "SELECT r.recharge_id, r.status, r.amount, r.grant_id, g.amount AS granted FROM credit_pools.recharges r
         LEFT JOIN credit_pools.grants g ON g.grant_id = r.grant_id
         WHERE (r.status = 'succeeded') <> (r.grant_id IS NOT NULL)
            OR (r.status = 'succeeded' AND (g.recharge_id IS DISTINCT FROM r.recharge_id OR g.amount IS DISTINCT FROM r.amount OR g.pool_id <> r.pool_id))",
    ),
    (
        "recharges: a policy's counter of a period is what its recharges of that period make up, within its limits",
        "SELECT s.customer_id, s.policy_resource_id, s.period_start, s.spent, s.count, r.*, p.max_spend, p.max_count
         FROM credit_pools.recharge_spend s
         JOIN credit_pools.recharge_policy p ON p.customer_id = s.customer_id AND p.credit_type_id = s.credit_type_id
              AND p.resource_id = s.policy_resource_id
         CROSS JOIN LATERAL (
           SELECT coalesce(sum(price) FILTER (WHERE price_currency = p.price_currency), 0) AS paid, count(*) AS recharges
           FROM credit_pools.recharge
           WHERE customer_id = s.customer_id AND credit_type_id = s.credit_type_id
             AND policy_resource_id = s.policy_resource_id AND created_at >= s.period_start AND created_at < s.period_end
             AND status IN ('pending', 'processing', 'succeeded')) r
         WHERE (s.spent, s.count) <> (r.paid, r.recharges)
            -- A limit may have been lowered in the period.
            OR (p.updated_at <= s.period_start AND (s.spent > p.max_spend OR s.count > p.max_count))",
    ),
];

/// The broken rules, each with its first rows. `limits_lowered`: the test set overdraft limits below a debt.
pub fn broken_invariants(session: &mut Session, limits_lowered: bool) -> Vec<String> {
    let mut broken = Vec::new();
    session.rows("SELECT * FROM credit_pools.run_maintenance()");
    // Tables without statistics look small: views would be joined row by row.
    session.exec("SET enable_nestloop = off");
    for (rule, query) in RULES {
        if limits_lowered && rule.contains("floor") {
            continue;
        }
        let rows = session.rows(&format!("SELECT * FROM ({query}) broken LIMIT 3"));
        if !rows.is_empty() {
            broken.push(format!("{rule}: {rows:#?}"));
        }
    }
    session.exec("RESET enable_nestloop");
    broken
}

pub fn check_invariants(session: &mut Session) {
    let broken = broken_invariants(session, false);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// One line per base table of the schema: name, number of rows and a hash of them all. Two equal digests = nothing changed.
pub fn digest(session: &mut Session) -> Vec<String> {
    let tables = session.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class c
         WHERE c.relnamespace = 'credit_pools'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1",
    );
    let parts: Vec<String> = tables
        .iter()
        .map(|table| {
            let name = table.get("name");
            format!(
                "SELECT '{name} ' || count(*) || ' ' || coalesce(md5(string_agg(r, '' ORDER BY r)), '') AS line
                 FROM (SELECT md5(t::text) AS r FROM {name} t) x"
            )
        })
        .collect();
    assert!(!parts.is_empty(), "the schema has tables");
    session.rows(&(parts.join(" UNION ALL ") + " ORDER BY 1")).iter().map(|row| row.get("line").to_owned()).collect()
}
