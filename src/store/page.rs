//! What the page of a customer shows, of many pools at once: a statement per kind of row, whatever the number of pools.

use credit_pools_domain::{Amount, Category, Instant, Source, Status};
use credit_pools_page::{CreditType, Feature, GrantLine, LedgerLine, Policy, RechargeLine, span_in_words};

use super::archive::all_entries;
use super::pools::{PoolRow, pool_columns};
use super::rollups;
use super::spi::{Arg, Row, Statement};

/// A pool as it was last booked, and what of its grants is summed up here.
pub struct Found {
    pub row: PoolRow,
    pub created_at: Instant,
    pub next_expiry: Option<(Instant, Amount)>,
    /// What ends soon.
    pub expiring: Amount,
    pub grant_count: i64,
    pub source: rollups::Source,
}

fn read_pool(row: &Row) -> Found {
    let pool = PoolRow::read(row);
    let source = rollups::Source {
        pool_id: pool.pool_id,
        resource_id: Some(pool.resource_id.clone()).filter(|id| !id.is_empty()),
        credit_type_id: pool.credit_type_id.clone(),
        seq: pool.wallet.seq,
        up_to_seq: row.int(PoolRow::COLUMNS + 6).unwrap_or_default(),
        up_to_usage: row.int(PoolRow::COLUMNS + 7).unwrap_or_default(),
    };
    Found {
        row: pool,
        created_at: row.time(PoolRow::COLUMNS + 1).unwrap_or(Instant::NEG_INFINITY),
        next_expiry: row.time(PoolRow::COLUMNS + 2).zip(row.amount(PoolRow::COLUMNS + 3)),
        expiring: row.amount(PoolRow::COLUMNS + 4).unwrap_or_default(),
        grant_count: row.int(PoolRow::COLUMNS + 5).unwrap_or_default(),
        source,
    }
}

macro_rules! pools {
    ($from:literal) => {
        concat!(
            "SELECT ",
            pool_columns!(),
            ", p.created_at, x.next_at, x.next_amount, x.expiring,
               (SELECT count(*) FROM credit_pools.pool_grant c
                WHERE c.customer_id = p.customer_id AND c.pool_id = p.pool_id),
               COALESCE(u.up_to_seq, 0), COALESCE(u.up_to_usage, 0)
             FROM ",
            $from,
            " LEFT JOIN LATERAL (
                 SELECT min(f.expires_at) AS next_at, sum(f.left_over) FILTER (WHERE f.expires_at = f.first_at) AS next_amount,
                        sum(f.left_over) FILTER (WHERE f.expires_at <= $4) AS expiring
                 FROM (
                     SELECT g.expires_at, g.amount - g.consumed - g.expired - g.voided - g.held AS left_over,
                            min(g.expires_at) OVER () AS first_at
                     FROM credit_pools.pool_grant g
                     WHERE g.customer_id = p.customer_id AND g.pool_id = p.pool_id
                       AND g.status IN ('active', 'scheduled', 'pending_payment') AND g.status = 'active'
                       AND g.expires_at < 'infinity' AND g.amount - g.consumed - g.expired - g.voided > g.held) f) x ON true
             LEFT JOIN credit_pools.usage_rollup_progress u ON u.customer_id = p.customer_id AND u.pool_id = p.pool_id
             WHERE p.customer_id = $1 AND ($2 IS NULL OR p.credit_type_id = $2)"
        )
    };
}

/// Pools of a customer, of one credit type or of all: of these scopes.
pub fn pools_of(customer_id: &str, credit_type_id: Option<&str>, scopes: &[String], soon: Instant) -> Vec<Found> {
    static FIND: Statement = Statement::read(pools!(
        "unnest($3) s (scope_id) JOIN credit_pools.pool p ON p.customer_id = $1 AND p.scope_id = s.scope_id"
    ));
    if scopes.is_empty() {
        return Vec::new();
    }
    let scopes: Vec<Arg> = scopes.iter().map(|scope| Arg::Text(scope)).collect();
    let args = [Arg::Text(customer_id), Arg::MaybeText(credit_type_id), Arg::Column(&scopes), Arg::Time(soon)];
    FIND.rows(&args, read_pool)
}

/// The same of all scopes, but at most so many: those that were opened first.
pub fn first_pools(customer_id: &str, credit_type_id: Option<&str>, most: i64, soon: Instant) -> Vec<Found> {
    static FIND: Statement = Statement::read(pools!(
        "(SELECT f.customer_id, f.pool_id FROM credit_pools.pool f
          WHERE f.customer_id = $1 AND ($2 IS NULL OR f.credit_type_id = $2)
          ORDER BY f.customer_id, f.pool_id LIMIT $3) f
         JOIN credit_pools.pool p ON p.customer_id = f.customer_id AND p.pool_id = f.pool_id"
    ));
    let args = [Arg::Text(customer_id), Arg::MaybeText(credit_type_id), Arg::Int(most), Arg::Time(soon)];
    FIND.rows(&args, read_pool)
}

pub fn count_pools(customer_id: &str, credit_type_id: Option<&str>) -> i64 {
    static COUNT: Statement = Statement::read(
        "SELECT count(*) FROM credit_pools.pool WHERE customer_id = $1 AND ($2 IS NULL OR credit_type_id = $2)",
    );
    let args = [Arg::Text(customer_id), Arg::MaybeText(credit_type_id)];
    COUNT.first(&args, |row| row.int(1)).flatten().unwrap_or_default()
}

fn ints(values: impl Iterator<Item = i64>) -> Vec<Arg<'static>> {
    values.map(Arg::Int).collect()
}

macro_rules! grant_columns {
    () => {
        "g.pool_id, g.grant_id, g.status, g.category, g.source, g.priority, g.amount,
         g.amount - g.consumed - g.expired - g.voided, g.held, g.effective_at, g.expires_at, g.price, g.price_currency,
         left(g.display_name, 400), left(g.reason, 400), g.feature_ids, left(g.metadata::text, 400)"
    };
}

/// A grant with the pool that it is of.
fn read_grant(row: &Row) -> (i64, GrantLine) {
    let status = row.text(3).and_then(|text| Status::parse(&text)).unwrap_or(Status::Voided);
    let (remaining, held) = (row.amount(8).unwrap_or_default(), row.amount(9).unwrap_or_default());
    let line = GrantLine {
        grant_id: row.int(2),
        status: status.as_str(),
        category: row.text(4).and_then(|text| Category::parse(&text)).map_or("", Category::as_str),
        source: row.text(5).and_then(|text| Source::parse(&text)).map_or("", Source::as_str),
        priority: row.small_int(6).unwrap_or_default(),
        amount: row.amount(7).unwrap_or_default(),
        remaining,
        available: available(status, remaining, held),
        held,
        effective_at: row.time(10).unwrap_or(Instant::NEG_INFINITY),
        expires_at: row.time(11).filter(|at| at.is_finite()),
        price: row.amount(12),
        price_currency: row.text(13),
        display_name: row.text(14),
        reason: row.text(15),
        feature_ids: row.texts(16),
        metadata: row.text(17),
    };
    (row.int(1).unwrap_or_default(), line)
}

fn available(status: Status, remaining: Amount, held: Amount) -> Amount {
    if status == Status::Active { remaining.checked_sub(held).unwrap_or_default() } else { Amount::ZERO }
}

/// Of each pool so many grants: those that are open, in order of consumption, and as many of the others, the newest first.
pub fn grants(customer_id: &str, pools: &[(i64, i64)]) -> Vec<(i64, GrantLine)> {
    static FIND: Statement = Statement::read(concat!(
        "SELECT g.* FROM unnest($2, $3) n (pool_id, most)
         CROSS JOIN LATERAL (
             (SELECT ",
        grant_columns!(),
        " FROM credit_pools.pool_grant g
              WHERE g.customer_id = $1 AND g.pool_id = n.pool_id AND g.status IN ('active', 'scheduled', 'pending_payment')
              ORDER BY g.priority, g.unlimited, g.expires_at, g.plain, g.effective_at, g.created_at, g.grant_id
              LIMIT n.most)
             UNION ALL
             (SELECT ",
        grant_columns!(),
        " FROM credit_pools.pool_grant g
              WHERE g.customer_id = $1 AND g.pool_id = n.pool_id
                AND g.status NOT IN ('active', 'scheduled', 'pending_payment')
              ORDER BY g.customer_id, g.pool_id, g.grant_id DESC
              LIMIT n.most)) g"
    ));
    let (ids, most) = (ints(pools.iter().map(|pool| pool.0)), ints(pools.iter().map(|pool| pool.1)));
    if ids.is_empty() {
        return Vec::new();
    }
    FIND.rows(&[Arg::Text(customer_id), Arg::Column(&ids), Arg::Column(&most)], read_grant)
}

pub fn grants_by_id(customer_id: &str, grant_ids: &[i64]) -> Vec<(i64, GrantLine)> {
    static FIND: Statement = Statement::read(concat!(
        "SELECT ",
        grant_columns!(),
        " FROM unnest($2) n (grant_id)
          JOIN credit_pools.pool_grant g ON g.customer_id = $1 AND g.grant_id = n.grant_id"
    ));
    if grant_ids.is_empty() {
        return Vec::new();
    }
    FIND.rows(&[Arg::Text(customer_id), Arg::Column(&ints(grant_ids.iter().copied()))], read_grant)
}

/// The ledger rows of each pool behind a number, in no order: pool, number, row.
pub fn ledger(customer_id: &str, pools: &[(i64, i64)]) -> Vec<(i64, i64, LedgerLine)> {
    static FIND: Statement = Statement::read(concat!(
        "SELECT e.pool_id, e.seq, e.entry_type, e.amount, e.balance_after, e.recorded_at, e.effective_at, e.feature_id,
                e.value, e.grant_id, e.usage_id, e.recharge_id, e.reservation_id, e.idempotency_key, e.actor,
                left(e.reason, 400), left(e.dimensions::text, 400), left(e.metadata::text, 400)
         FROM unnest($2, $3) n (pool_id, after)
         JOIN ",
        all_entries!(),
        " e ON e.customer_id = $1 AND e.pool_id = n.pool_id AND e.seq > n.after",
    ));
    let (ids, after) = (ints(pools.iter().map(|pool| pool.0)), ints(pools.iter().map(|pool| pool.1)));
    if ids.is_empty() {
        return Vec::new();
    }
    FIND.rows(&[Arg::Text(customer_id), Arg::Column(&ids), Arg::Column(&after)], |row| {
        let line = LedgerLine {
            entry_type: row.text(3).unwrap_or_default(),
            amount: row.amount(4).unwrap_or_default(),
            balance_after: row.amount(5).unwrap_or_default(),
            recorded_at: row.time(6).unwrap_or(Instant::NEG_INFINITY),
            effective_at: row.time(7).unwrap_or(Instant::NEG_INFINITY),
            feature_id: row.text(8),
            value: row.amount(9),
            grant_id: row.int(10),
            usage_id: row.int(11),
            recharge_id: row.int(12),
            reservation_id: row.text(13),
            idempotency_key: row.text(14),
            actor: row.text(15).unwrap_or_default(),
            reason: row.text(16),
            dimensions: row.text(17),
            metadata: row.text(18),
        };
        (row.int(1).unwrap_or_default(), row.int(2).unwrap_or_default(), line)
    })
}

/// The last recharges of each pool, as many as it says, in no order.
pub fn recharges(customer_id: &str, pools: &[(i64, i64)]) -> Vec<(i64, RechargeLine)> {
    static FIND: Statement = Statement::read(
        "SELECT n.pool_id, r.recharge_id, r.status, r.reason, r.amount, r.price, r.price_currency, r.attempts::bigint,
                r.payment_reference, r.created_at, r.next_attempt_at
         FROM unnest($2, $3) n (pool_id, most)
         CROSS JOIN LATERAL (
             SELECT r.* FROM credit_pools.recharge r
             WHERE r.customer_id = $1 AND r.pool_id = n.pool_id
             ORDER BY r.customer_id, r.pool_id, r.recharge_id DESC LIMIT n.most) r",
    );
    let (ids, most) = (ints(pools.iter().map(|pool| pool.0)), ints(pools.iter().map(|pool| pool.1)));
    if ids.is_empty() {
        return Vec::new();
    }
    FIND.rows(&[Arg::Text(customer_id), Arg::Column(&ids), Arg::Column(&most)], |row| {
        let line = RechargeLine {
            recharge_id: row.int(2).unwrap_or_default(),
            status: row.text(3).unwrap_or_default(),
            reason: row.text(4),
            amount: row.amount(5),
            price: row.amount(6),
            price_currency: row.text(7),
            attempts: row.int(8).unwrap_or_default(),
            payment_reference: row.text(9),
            created_at: row.time(10).unwrap_or(Instant::NEG_INFINITY),
            next_attempt_at: row.time(11),
        };
        (row.int(1).unwrap_or_default(), line)
    })
}

/// Recharge policies by credit type and resource ("": of all pools), with what they spent in the period of `now`.
pub fn policies(customer_id: &str, names: &[(&str, &str)], now: Instant) -> Vec<((String, String), Policy)> {
    static FIND: Statement = Statement::read(
        "SELECT r.credit_type_id, r.resource_id, r.enabled, r.threshold, r.target_balance, r.recharge_amount,
                r.price_per_credit, r.price_currency, r.max_spend, r.spend_period, r.max_count, r.cooldown,
                r.grant_expires_after, r.settlement = 'immediate', r.max_failures::bigint, s.spent
         FROM unnest($2, $3) n (credit_type_id, resource_id)
         JOIN credit_pools.recharge_policy r
           ON r.customer_id = $1 AND r.credit_type_id = n.credit_type_id AND r.resource_id = n.resource_id
         LEFT JOIN LATERAL (
             SELECT s.spent FROM credit_pools.recharge_spend s
             WHERE s.customer_id = r.customer_id AND s.credit_type_id = r.credit_type_id
               AND s.policy_resource_id = r.resource_id AND s.period_start <= $4 AND s.period_end > $4
             ORDER BY s.period_start DESC LIMIT 1) s ON true",
    );
    if names.is_empty() {
        return Vec::new();
    }
    let types: Vec<Arg> = names.iter().map(|(credit_type_id, _)| Arg::Text(credit_type_id)).collect();
    let resources: Vec<Arg> = names.iter().map(|(_, resource_id)| Arg::Text(resource_id)).collect();
    FIND.rows(&[Arg::Text(customer_id), Arg::Column(&types), Arg::Column(&resources), Arg::Time(now)], |row| {
        let words = |column: usize| row.span(column).filter(|span| span.nominal_micros() != 0).map(span_in_words);
        let resource_id = row.text(2).unwrap_or_default();
        let policy = Policy {
            own: !resource_id.is_empty(),
            enabled: row.boolean(3),
            threshold: row.amount(4).unwrap_or_default(),
            target_balance: row.amount(5),
            recharge_amount: row.amount(6),
            price_per_credit: row.amount(7),
            price_currency: row.text(8),
            max_spend: row.amount(9),
            spend_period: words(10).unwrap_or_default(),
            max_count: row.int(11),
            cooldown: words(12),
            grant_expires_after: words(13),
            immediate: row.boolean(14),
            max_failures: row.int(15).unwrap_or_default(),
            spent: row.amount(16),
        };
        ((row.text(1).unwrap_or_default(), resource_id), policy)
    })
}

/// What a subscription was from an instant on.
pub struct Version {
    pub subscription_id: String,
    pub at: Instant,
    pub resource_id: String,
    pub plan_id: String,
}

/// The last versions of some subscriptions, the newest first.
pub fn versions(customer_id: &str, subscription_ids: &[&str], most: i64) -> Vec<Version> {
    static FIND: Statement = Statement::read(
        "SELECT v.subscription_id, v.changed_at, v.resource_id, v.plan_id FROM unnest($2) n (subscription_id)
         CROSS JOIN LATERAL (
             SELECT v.* FROM credit_pools.subscription_version v
             WHERE v.customer_id = $1 AND v.subscription_id = n.subscription_id
             ORDER BY v.customer_id, v.subscription_id, v.changed_at DESC LIMIT $3) v",
    );
    if subscription_ids.is_empty() {
        return Vec::new();
    }
    let ids: Vec<Arg> = subscription_ids.iter().map(|id| Arg::Text(id)).collect();
    FIND.rows(&[Arg::Text(customer_id), Arg::Column(&ids), Arg::Int(most)], |row| Version {
        subscription_id: row.text(1).unwrap_or_default(),
        at: row.time(2).unwrap_or(Instant::NEG_INFINITY),
        resource_id: row.text(3).unwrap_or_default(),
        plan_id: row.text(4).unwrap_or_default(),
    })
}

/// The names of what is shown, by id.
pub fn credit_types(ids: &[String]) -> Vec<(String, CreditType)> {
    static FIND: Statement = Statement::read(
        "SELECT t.credit_type_id, left(t.display_name, 400), left(t.symbol, 40), left(t.unit_plural, 40)
         FROM unnest($1) n (id) JOIN credit_pools.credit_type t ON t.credit_type_id = n.id",
    );
    FIND.rows(&[Arg::TextArray(Some(ids))], |row| {
        let credit_type = CreditType { display_name: row.text(2), symbol: row.text(3), unit_plural: row.text(4) };
        (row.text(1).unwrap_or_default(), credit_type)
    })
}

pub fn features(ids: &[String]) -> Vec<(String, Feature)> {
    static FIND: Statement = Statement::read(
        "SELECT f.feature_id, left(f.display_name, 400), left(f.unit, 40)
         FROM unnest($1) n (id) JOIN credit_pools.feature f ON f.feature_id = n.id",
    );
    FIND.rows(&[Arg::TextArray(Some(ids))], |row| {
        (row.text(1).unwrap_or_default(), Feature { display_name: row.text(2), unit: row.text(3) })
    })
}

pub fn plans(ids: &[String]) -> Vec<(String, Option<String>)> {
    static FIND: Statement = Statement::read(
        "SELECT p.plan_id, left(p.display_name, 400)
         FROM unnest($1) n (id) JOIN credit_pools.plan p ON p.plan_id = n.id",
    );
    FIND.rows(&[Arg::TextArray(Some(ids))], |row| (row.text(1).unwrap_or_default(), row.text(2)))
}
