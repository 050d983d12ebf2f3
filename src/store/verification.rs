//! What verify_ledger reads, all in the caller's snapshot. Numbers as texts: a forged one must be told, not fail the call.

use std::collections::BTreeMap;

use credit_pools_domain::{Amount, Category, Grant, Instant, Status, StoredEntry, StoredGrant, StoredHold, StoredPool};

use super::archive::all_entries;
use super::spi::{Arg, Row, Statement};

/// A pool with its name.
pub struct Books {
    pub customer_id: String,
    pub pool_id: i64,
    pub resource_id: Option<String>,
    pub credit_type_id: String,
    pub pool: StoredPool,
}

/// Which pools; `None` is all.
#[derive(Clone, Copy, Default)]
pub struct Selection<'a> {
    pub customer_id: Option<&'a str>,
    /// "" is the customer's global scope.
    pub resource_id: Option<&'a str>,
    pub credit_type_id: Option<&'a str>,
}

/// Pools behind `after`, in order of customer and id.
pub fn pools(of: &Selection, after: (&str, i64), limit: i64) -> Vec<Books> {
    macro_rules! page {
        ($customer:literal) => {
            concat!(
                "SELECT p.customer_id, p.pool_id, p.resource_id, p.credit_type_id, p.seq, p.balance::text, p.held::text,
                        p.unbacked::text, p.debt::text, p.restricted::text, p.granted::text, p.consumed::text,
                        p.expired::text, p.voided::text, p.last_hash, p.last_recorded_at, p.next_transition_at
                 FROM credit_pools.pool p
                 WHERE (p.customer_id, p.pool_id) > ($1, $2) ",
                $customer,
                " AND ($4 IS NULL OR p.scope_id = $4) AND ($5 IS NULL OR p.credit_type_id = $5)
                 ORDER BY p.customer_id, p.pool_id LIMIT $6"
            )
        };
    }
    static ALL: Statement = Statement::read(page!("AND $3::text IS NULL"));
    static OF_CUSTOMER: Statement = Statement::read(page!("AND p.customer_id = $3"));
    let read = |row: &Row| {
        let text = |column| row.text(column).unwrap_or_default();
        let time = |column| row.time(column).unwrap_or(Instant::INFINITY);
        Books {
            customer_id: text(1),
            pool_id: row.int(2).unwrap_or_default(),
            resource_id: row.text(3),
            credit_type_id: text(4),
            pool: StoredPool {
                seq: row.int(5).unwrap_or_default(),
                balance: text(6),
                held: text(7),
                unbacked: text(8),
                debt: text(9),
                restricted: text(10),
                granted: text(11),
                consumed: text(12),
                expired: text(13),
                voided: text(14),
                last_hash: row.bytes(15).unwrap_or_default(),
                last_recorded_at: time(16).micros(),
                next_transition_at: time(17),
            },
        }
    };
    let args = [
        Arg::Text(after.0),
        Arg::Int(after.1),
        Arg::MaybeText(of.customer_id),
        Arg::MaybeText(of.resource_id),
        Arg::MaybeText(of.credit_type_id),
        Arg::Int(limit),
    ];
    (if of.customer_id.is_some() { &OF_CUSTOMER } else { &ALL }).rows(&args, read)
}

/// A pool's ledger behind row `after`, usage events that moved no credits first: their `seq` is negative.
pub fn entries(customer_id: &str, pool_id: i64, after: i64, limit: i64) -> Vec<StoredEntry> {
    static READ: Statement = Statement::read(concat!(
        "SELECT seq, entry_type, amount::text, balance_after::text, grant_id, usage_id, feature_id, value::text,
                reservation_id, recharge_id, idempotency_key, actor, reason, dimensions::text, metadata::text,
                effective_at, recorded_at, credits::text, shortfall::text, rate::text, payload_digest, entry_hash
         FROM ",
        all_entries!(),
        " e WHERE customer_id = $1 AND pool_id = $2 AND seq > $3 ORDER BY seq LIMIT $4",
    ));
    READ.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(after), Arg::Int(limit)], |row| {
        let text = |column| row.text(column).unwrap_or_default();
        let micros = |column| row.time(column).map_or(0, Instant::micros);
        StoredEntry {
            customer_id: customer_id.to_owned(),
            pool_id,
            seq: row.int(1).unwrap_or_default(),
            entry_type: text(2),
            amount: text(3),
            balance_after: text(4),
            grant_id: row.int(5),
            usage_id: row.int(6),
            feature_id: row.text(7),
            value: row.text(8),
            reservation_id: row.text(9),
            recharge_id: row.int(10),
            idempotency_key: row.text(11),
            actor: text(12),
            reason: row.text(13),
            dimensions: row.text(14),
            metadata: row.text(15),
            effective_at: micros(16),
            recorded_at: micros(17),
            credits: row.text(18),
            shortfall: row.text(19),
            rate: row.text(20),
            digest: row.int(21),
            hash: row.bytes(22),
        }
    })
}

pub fn grants(customer_id: &str, pool_id: i64) -> Vec<StoredGrant> {
    static READ: Statement = Statement::read(
        "SELECT grant_id, amount::text, consumed::text, held::text, expired::text, voided::text, status, feature_ids,
                category, priority, effective_at, expires_at, unpaid,
                unlimited = (feature_ids IS NULL) AND plain = (category <> 'promotional')
         FROM credit_pools.pool_grant WHERE customer_id = $1 AND pool_id = $2 ORDER BY grant_id",
    );
    READ.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], |row| {
        let text = |column| row.text(column).unwrap_or_default();
        let features = row.texts(8);
        StoredGrant {
            grant_id: row.int(1).unwrap_or_default(),
            amount: text(2),
            consumed: text(3),
            held: text(4),
            expired: text(5),
            voided: text(6),
            status: text(7),
            unpaid: row.boolean(13),
            expires_at: row.time(12).unwrap_or(Instant::INFINITY),
            restricted: features.is_some(),
            in_order: row.boolean(14),
            terms_digest: terms(row, features),
        }
    })
}

/// Of a row of grants; `None` where it makes no sense.
fn terms(row: &Row, features: Option<Vec<String>>) -> Option<i64> {
    let amount = Amount::parse(&row.text(2)?).ok()?;
    let category = Category::parse(&row.text(9)?)?;
    let effective_at = row.time(11)?;
    let grant = Grant {
        features,
        expires_at: row.time(12)?,
        unpaid: row.boolean(13),
        status: Status::Active,
        ..Grant::new(row.int(1)?, amount, category, row.small_int(10)?, effective_at, effective_at)
    };
    Some(grant.terms_digest())
}

/// The reservations of these ids that are of the pool, and those of the pool that are open.
pub fn holds(customer_id: &str, pool_id: i64, ids: &[&str]) -> Vec<StoredHold> {
    static READ: Statement = Statement::read(
        "SELECT r.reservation_id, r.status = 'active', r.amount::text, r.held::text, r.charged::text, r.grant_ids,
                r.parts::text[]
         FROM credit_pools.reservation r
         WHERE r.customer_id = $1 AND r.pool_id = $2 AND r.status = 'active'
         UNION ALL
         SELECT r.reservation_id, false, r.amount::text, r.held::text, r.charged::text, r.grant_ids, r.parts::text[]
         FROM unnest($3) n (reservation_id)
         CROSS JOIN LATERAL (
             SELECT * FROM credit_pools.reservation r
             WHERE r.customer_id = $1 AND r.reservation_id = n.reservation_id LIMIT 1) r
         WHERE r.pool_id = $2 AND r.status <> 'active'",
    );
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    READ.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::TextArray(Some(&ids))], |row| {
        let text = |column| row.text(column).unwrap_or_default();
        StoredHold {
            reservation_id: text(1),
            active: row.boolean(2),
            amount: text(3),
            held: text(4),
            charged: text(5),
            parts: row.ints(6).into_iter().zip(row.texts(7).unwrap_or_default()).collect(),
        }
    })
}

/// What these usages say that they got back.
pub fn reversals(customer_id: &str, usages: &[i64]) -> BTreeMap<i64, String> {
    static READ: Statement = Statement::read(
        "SELECT x.usage_id, x.credits::text FROM unnest($2) n (usage_id)
         CROSS JOIN LATERAL (
             SELECT * FROM credit_pools.usage_reversal x
             WHERE x.customer_id = $1 AND x.usage_id = n.usage_id LIMIT 1) x",
    );
    if usages.is_empty() {
        return BTreeMap::new();
    }
    let ids: Vec<Arg> = usages.iter().map(|id| Arg::Int(*id)).collect();
    let read = |row: &Row| (row.int(1).unwrap_or_default(), row.text(2).unwrap_or_default());
    READ.rows(&[Arg::Text(customer_id), Arg::Ints(&ids)], read).into_iter().collect()
}

/// Recharges of a pool without the grant that they should have, and those that are in flight beside another.
pub fn broken_recharges(customer_id: &str, pool_id: i64) -> Vec<(i64, String)> {
    static READ: Statement = Statement::read(
        "SELECT r.recharge_id, CASE WHEN r.status IN ('pending', 'processing') THEN 'in flight beside another'
                                    WHEN r.status = 'succeeded' THEN 'succeeded without its grant'
                                    ELSE 'has a grant and has not succeeded' END
         FROM credit_pools.recharge r
         LEFT JOIN credit_pools.pool_grant g ON g.customer_id = r.customer_id AND g.grant_id = r.grant_id
         WHERE r.customer_id = $1 AND r.pool_id = $2
           AND CASE WHEN r.status IN ('pending', 'processing')
                    THEN r.grant_id IS NOT NULL
                         OR EXISTS (SELECT 1 FROM credit_pools.recharge o
                                    WHERE o.customer_id = r.customer_id AND o.pool_id = r.pool_id
                                      AND o.recharge_id <> r.recharge_id AND o.status IN ('pending', 'processing'))
                    WHEN r.status = 'succeeded'
                    THEN g.grant_id IS NULL OR g.pool_id <> r.pool_id OR g.amount <> r.amount
                         OR g.recharge_id IS DISTINCT FROM r.recharge_id
                    ELSE r.grant_id IS NOT NULL END
         ORDER BY r.recharge_id",
    );
    let read = |row: &Row| (row.int(1).unwrap_or_default(), row.text(2).unwrap_or_default());
    READ.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read)
}

/// Rows of pools that are not there: customer, pool, what kind of row.
pub fn orphans(customer_id: Option<&str>) -> Vec<(String, i64, String)> {
    // The pools that a table speaks of, found by jumping from one to the next along its index.
    macro_rules! pools_of {
        ($table:literal) => {
            concat!(
                "WITH RECURSIVE spoken_of AS (
                     (SELECT t.customer_id, t.pool_id FROM credit_pools.",
                $table,
                " t WHERE t.customer_id = $1 OR $1 IS NULL ORDER BY t.customer_id, t.pool_id LIMIT 1)
                     UNION ALL
                     SELECT n.customer_id, n.pool_id FROM spoken_of s
                     CROSS JOIN LATERAL (
                         SELECT t.customer_id, t.pool_id FROM credit_pools.",
                $table,
                " t WHERE (t.customer_id, t.pool_id) > (s.customer_id, s.pool_id)
                           AND (t.customer_id = $1 OR $1 IS NULL)
                         ORDER BY t.customer_id, t.pool_id LIMIT 1) n)
                 SELECT s.customer_id, s.pool_id, '",
                $table,
                "' FROM spoken_of s
                 WHERE NOT EXISTS (SELECT 1 FROM credit_pools.pool p
                                   WHERE p.customer_id = s.customer_id AND p.pool_id = s.pool_id)"
            )
        };
    }
    static LEDGER: Statement = Statement::read(pools_of!("ledger_entry"));
    static ARCHIVE: Statement = Statement::read(pools_of!("ledger_archive"));
    static HEADS: Statement = Statement::read(pools_of!("ledger_archive_head"));
    static GRANTS: Statement = Statement::read(pools_of!("pool_grant"));
    static RECHARGES: Statement = Statement::read(pools_of!("recharge"));
    static RESERVATIONS: Statement = Statement::read(
        "SELECT DISTINCT r.customer_id, r.pool_id, 'reservation' FROM credit_pools.reservation r
         WHERE (r.customer_id = $1 OR $1 IS NULL)
           AND NOT EXISTS (SELECT 1 FROM credit_pools.pool p
                           WHERE p.customer_id = r.customer_id AND p.pool_id = r.pool_id)",
    );
    static REVERSALS: Statement = Statement::read(concat!(
        "SELECT x.customer_id, x.usage_id, 'usage_reversal' FROM credit_pools.usage_reversal x
         WHERE (x.customer_id = $1 OR $1 IS NULL) AND x.credits <> 0
           AND NOT EXISTS (SELECT 1 FROM ",
        all_entries!(),
        " e
                           WHERE e.usage_id = x.usage_id AND e.customer_id = x.customer_id AND e.entry_type = 'reverse')",
    ));
    static KEYS: Statement = Statement::read(
        "SELECT u.customer_id, u.usage_id, 'archived_usage' FROM credit_pools.archived_usage u
         WHERE (u.customer_id = $1 OR $1 IS NULL)
           AND NOT EXISTS (SELECT 1 FROM credit_pools.ledger_archive a
                           WHERE a.usage_id = u.usage_id AND a.customer_id = u.customer_id
                             AND a.idempotency_key = u.idempotency_key AND a.credits IS NOT NULL)",
    );
    let read =
        |row: &Row| (row.text(1).unwrap_or_default(), row.int(2).unwrap_or_default(), row.text(3).unwrap_or_default());
    let tables = [&LEDGER, &ARCHIVE, &HEADS, &GRANTS, &RECHARGES, &RESERVATIONS, &REVERSALS, &KEYS];
    tables.iter().flat_map(|table| table.rows(&[Arg::MaybeText(customer_id)], read)).collect()
}
