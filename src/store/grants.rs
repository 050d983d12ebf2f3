//! Grants.

use credit_pools_domain::{Amount, Category, Grant, Instant, Source, Status};

use super::direct::{self, Drawing, Take};
use super::pools::PoolRow;
use super::spi::{Arg, Row, Statement, write_columns};

/// Usage rarely draws from more grants than this; the rest is loaded when it does.
const PREFIX: usize = 4;

macro_rules! grant_columns {
    () => {
        "g.grant_id, g.category, g.priority, g.feature_ids, g.amount, g.consumed, g.held, g.expired, g.voided, g.status,
         g.effective_at, g.expires_at, g.created_at, g.unpaid"
    };
}

/// The same, for those who read them without a statement.
pub const DRAW_COLUMNS: &str = grant_columns!();

/// Beyond what usage needs to know: where the grant came from.
macro_rules! full_grant_columns {
    () => {
        concat!(grant_columns!(), ", g.source, g.schedule_id, g.period_start, g.source_grant_id")
    };
}

fn read(row: &Row) -> Grant {
    let amount = |column| row.amount(column).unwrap_or_default();
    let time = |column| row.time(column).unwrap_or(Instant::INFINITY);
    let category = row.text(2).as_deref().and_then(Category::parse).unwrap_or(Category::Paid);
    let (id, priority) = (row.int(1).unwrap_or_default(), row.small_int(3).unwrap_or_default());
    Grant {
        features: row.texts(4),
        consumed: amount(6),
        held: amount(7),
        expired: amount(8),
        voided: amount(9),
        status: row.text(10).as_deref().and_then(Status::parse).unwrap_or(Status::Voided),
        expires_at: time(12),
        unpaid: row.boolean(14),
        fresh: false,
        ..Grant::new(id, amount(5), category, priority, time(11), time(13))
    }
}

fn read_full(row: &Row) -> Grant {
    Grant {
        source: row.text(15).as_deref().and_then(Source::parse).unwrap_or(Source::Manual),
        schedule_id: row.int(16),
        period_start: row.time(17),
        source_grant_id: row.int(18),
        ..read(row)
    }
}

/// What a grant has granted and not voided, and from when until when that counts.
pub struct InForce {
    pub amount: Amount,
    pub effective_at: Instant,
    pub expires_at: Instant,
}

/// The grants of a pool that have begun and not ended before an instant, used up or not, but for some.
pub fn in_force_since(customer_id: &str, pool_id: i64, since: Instant, but: &[i64]) -> Vec<InForce> {
    static FIND: Statement = Statement::new(
        "SELECT g.amount - g.voided, g.effective_at, g.expires_at FROM credit_pools.pool_grant g
         WHERE g.customer_id = $1 AND g.pool_id = $2 AND g.status IN ('active', 'depleted', 'voided')
           AND g.expires_at > $3
           AND g.grant_id <> ALL (COALESCE($4, '{}'))",
    );
    let but: Vec<Arg> = but.iter().map(|id| Arg::Int(*id)).collect();
    FIND.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Time(since), Arg::Ints(&but)], |row| InForce {
        amount: row.amount(1).unwrap_or_default(),
        effective_at: row.time(2).unwrap_or(Instant::INFINITY),
        expires_at: row.time(3).unwrap_or(Instant::INFINITY),
    })
}

/// The active grants that usage draws from first.
pub fn first_to_draw(customer_id: &str, pool_id: i64) -> Vec<Grant> {
    static FIRST: Statement = Statement::new(concat!(
        "SELECT ",
        grant_columns!(),
        " FROM credit_pools.pool_grant g
          WHERE g.customer_id = $1 AND g.pool_id = $2 AND g.status = 'active'
          ORDER BY g.priority, g.unlimited, g.expires_at, g.plain, g.effective_at, g.created_at, g.grant_id
          LIMIT $3"
    ));
    FIRST.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(PREFIX as i64)], read)
}

/// The same of many pools without a statement, and for each no more of them than `needed` takes. `None`: that cannot be done.
pub fn first_at(pools: &mut [Drawing], needed: Amount) -> Option<Vec<Vec<Grant>>> {
    let mut found: Vec<Vec<Grant>> = pools.iter().map(|_| Vec::new()).collect();
    let done = direct::open_grants(pools, |index, row, alone| {
        let grant = read(row);
        let Some(grants) = found.get_mut(index).filter(|_| grant.status == Status::Active) else { return Take::Pass };
        let id = grant.id;
        let enough = grants.is_empty() && !grant.is_restricted() && grant.available() >= needed;
        if alone && !enough {
            return Take::Pass;
        }
        grants.push(grant);
        if enough || grants.len() >= PREFIX { Take::Enough(id) } else { Take::More(id) }
    });
    done.then_some(found)
}

/// The same for many pools at once, each with the pool that it is of.
pub fn first_to_draw_of(pools: &[(&str, i64)]) -> Vec<(i64, Grant)> {
    static FIRST: Statement = Statement::new(concat!(
        "SELECT g.*, n.pool_id
         FROM unnest($1, $2) n (customer_id, pool_id)
         CROSS JOIN LATERAL (SELECT ",
        grant_columns!(),
        " FROM credit_pools.pool_grant g
          WHERE g.customer_id = n.customer_id AND g.pool_id = n.pool_id AND g.status = 'active'
          ORDER BY g.priority, g.unlimited, g.expires_at, g.plain, g.effective_at, g.created_at, g.grant_id
          LIMIT $3) g"
    ));
    if pools.is_empty() {
        return Vec::new();
    }
    let customers: Vec<Arg> = pools.iter().map(|(customer_id, _)| Arg::Text(customer_id)).collect();
    let ids: Vec<Arg> = pools.iter().map(|(_, pool_id)| Arg::Int(*pool_id)).collect();
    let args = [Arg::Column(&customers), Arg::Column(&ids), Arg::Int(PREFIX as i64)];
    FIRST.rows(&args, |row| (row.int(15).unwrap_or_default(), read(row)))
}

macro_rules! open_grants {
    () => {
        concat!(
            "SELECT ",
            full_grant_columns!(),
            " FROM credit_pools.pool_grant g
              WHERE g.customer_id = $1 AND g.pool_id = $2 AND g.status IN ('active', 'scheduled', 'pending_payment')"
        )
    };
}

/// Every grant to which something can still happen by the clock or by usage.
pub fn open(customer_id: &str, pool_id: i64) -> Vec<Grant> {
    static OPEN: Statement = Statement::new(open_grants!());
    OPEN.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read_full)
}

/// The same in the caller's snapshot, for reads.
pub fn read_open(customer_id: &str, pool_id: i64) -> Vec<Grant> {
    static OPEN: Statement = Statement::read(open_grants!());
    OPEN.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read_full)
}

/// All grants of a pool in the caller's snapshot, for reads.
pub fn read_all(customer_id: &str, pool_id: i64) -> Vec<Grant> {
    static ALL: Statement = Statement::read(concat!(
        "SELECT ",
        full_grant_columns!(),
        " FROM credit_pools.pool_grant g WHERE g.customer_id = $1 AND g.pool_id = $2"
    ));
    ALL.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read_full)
}

/// The same of several pools, each with its pool.
pub fn read_all_of(customer_id: &str, pool_ids: &[i64]) -> Vec<(i64, Grant)> {
    static ALL: Statement = Statement::read(concat!(
        "SELECT ",
        full_grant_columns!(),
        ", g.pool_id FROM unnest($2) n (pool_id)
         JOIN credit_pools.pool_grant g ON g.customer_id = $1 AND g.pool_id = n.pool_id"
    ));
    if pool_ids.is_empty() {
        return Vec::new();
    }
    let ids: Vec<Arg> = pool_ids.iter().copied().map(Arg::Int).collect();
    ALL.rows(&[Arg::Text(customer_id), Arg::Column(&ids)], |row| (row.int(19).unwrap_or_default(), read_full(row)))
}

macro_rules! one_grant {
    () => {
        concat!(
            "SELECT ",
            full_grant_columns!(),
            " FROM credit_pools.pool_grant g WHERE g.customer_id = $1 AND g.grant_id = $2"
        )
    };
}

pub fn one(customer_id: &str, grant_id: i64) -> Option<Grant> {
    static ONE: Statement = Statement::new(one_grant!());
    ONE.first(&[Arg::Text(customer_id), Arg::Int(grant_id)], read_full)
}

/// The same in the caller's snapshot, for reads.
pub fn read_one(customer_id: &str, grant_id: i64) -> Option<Grant> {
    static ONE: Statement = Statement::read(one_grant!());
    ONE.first(&[Arg::Text(customer_id), Arg::Int(grant_id)], read_full)
}

/// The pool of a grant, which never changes: to be locked before anything else of the grant is read.
pub fn pool_of(customer_id: &str, grant_id: i64) -> Option<i64> {
    static FIND: Statement =
        Statement::new("SELECT pool_id FROM credit_pools.pool_grant WHERE customer_id = $1 AND grant_id = $2");
    FIND.first(&[Arg::Text(customer_id), Arg::Int(grant_id)], |row| row.int(1)).flatten()
}

/// What a grant has beyond the rules' view of it.
#[derive(Default)]
pub struct Terms<'a> {
    pub price: Option<Amount>,
    pub price_currency: Option<&'a str>,
    pub payment_reference: Option<&'a str>,
    pub recharge_id: Option<i64>,
    pub display_name: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub metadata: Option<&'a str>,
}

/// Writes a new grant. What a schedule made is of that schedule's subscription, plan and entry.
pub fn insert(customer_id: &str, pool_id: i64, grant: &Grant, terms: &Terms) {
    static INSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.pool_grant
             (customer_id, grant_id, pool_id, category, priority, amount, consumed, held, expired, voided, status,
              effective_at, expires_at, unlimited, plain, feature_ids, price, price_currency, payment_reference, source,
              subscription_id, plan_id, entry_id, period_start, schedule_id, source_grant_id, recharge_id,
              display_name, reason, metadata, created_at, unpaid)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::text[] IS NULL,
                $4 <> 'promotional', $14, $15, $16, $17, $18, s.subscription_id, s.plan_id, s.entry_id, $19, $20, $21,
                $22, $23, $24, $25, $26, $27
         FROM (VALUES (0)) one
         LEFT JOIN credit_pools.schedule s ON s.customer_id = $1 AND s.schedule_id = $20",
    );
    INSERT.write(
        &[
            Arg::Text(customer_id),
            Arg::Int(grant.id),
            Arg::Int(pool_id),
            Arg::Text(grant.category.as_str()),
            Arg::SmallInt(grant.priority),
            Arg::Number(grant.amount),
            Arg::Number(grant.consumed),
            Arg::Number(grant.held),
            Arg::Number(grant.expired),
            Arg::Number(grant.voided),
            Arg::Text(grant.status.as_str()),
            Arg::Time(grant.effective_at),
            Arg::Time(grant.expires_at),
            Arg::TextArray(grant.features.as_deref()),
            Arg::MaybeNumber(terms.price),
            Arg::MaybeText(terms.price_currency),
            Arg::MaybeText(terms.payment_reference),
            Arg::Text(grant.source.as_str()),
            Arg::MaybeTime(grant.period_start),
            Arg::MaybeInt(grant.schedule_id),
            Arg::MaybeInt(grant.source_grant_id),
            Arg::MaybeInt(terms.recharge_id),
            Arg::MaybeText(terms.display_name),
            Arg::MaybeText(terms.reason),
            Arg::Json(terms.metadata),
            Arg::Time(grant.created_at),
            Arg::Bool(grant.unpaid),
        ],
        1,
    );
}

const UPDATE_ARGS: usize = 10;

fn changeable<'a>(customer_id: &'a str, grant: &'a Grant) -> [Arg<'a>; UPDATE_ARGS] {
    [
        Arg::Text(customer_id),
        Arg::Int(grant.id),
        Arg::Number(grant.consumed),
        Arg::Number(grant.held),
        Arg::Number(grant.expired),
        Arg::Number(grant.voided),
        Arg::Text(grant.status.as_str()),
        Arg::Bool(grant.unpaid),
        Arg::Time(grant.expires_at),
        Arg::SmallInt(grant.priority),
    ]
}

pub fn update(customer_id: &str, grant: &Grant) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.pool_grant SET consumed = $3, held = $4, expired = $5, voided = $6, status = $7, unpaid = $8,
             expires_at = $9, priority = $10
         WHERE customer_id = $1 AND grant_id = $2",
    );
    UPDATE.write(&changeable(customer_id, grant), 1);
}

/// The same for many grants at once, each with its customer. Their pools are locked, so that they stay in their places.
pub fn update_all(grants: &[(&str, &Grant)]) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.pool_grant g SET consumed = u.consumed, held = u.held, expired = u.expired,
             voided = u.voided, status = u.status, unpaid = u.unpaid, expires_at = u.expires_at, priority = u.priority
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             u (customer_id, grant_id, consumed, held, expired, voided, status, unpaid, expires_at, priority)
         CROSS JOIN LATERAL (
             SELECT i.ctid AS place FROM credit_pools.pool_grant i
             WHERE i.customer_id = u.customer_id AND i.grant_id = u.grant_id LIMIT 1) i
         WHERE g.ctid = i.place",
    );
    let rows: Vec<[Arg; UPDATE_ARGS]> =
        grants.iter().map(|(customer_id, grant)| changeable(customer_id, grant)).collect();
    write_columns(&UPDATE, &rows);
}

/// What usage changes of a grant, in the order of `layout::USED_OF_GRANT`.
pub fn used(grant: &Grant) -> [Arg<'_>; 2] {
    [Arg::Number(grant.consumed), Arg::Text(grant.status.as_str())]
}

/// The same without a statement, each with its pool, of grants that stay active. `false`: that cannot be done.
pub fn update_drawn_at(grants: &[(&PoolRow, &Grant)]) -> bool {
    let changes: Option<Vec<_>> =
        grants.iter().map(|(pool, grant)| Some((pool.places.as_ref()?, grant.id, used(grant)))).collect();
    changes.is_some_and(|changes| direct::update_grants(&changes))
}

/// What usage alone changes, of many grants.
pub fn update_drawn(grants: &[(&str, &Grant)]) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.pool_grant g SET consumed = u.consumed, status = u.status
         FROM unnest($1, $2, $3, $4) u (customer_id, grant_id, consumed, status)
         CROSS JOIN LATERAL (
             SELECT i.ctid AS place FROM credit_pools.pool_grant i
             WHERE i.customer_id = u.customer_id AND i.grant_id = u.grant_id LIMIT 1) i
         WHERE g.ctid = i.place",
    );
    let mut rows: Vec<[Arg; 4]> = Vec::with_capacity(grants.len());
    for (customer_id, grant) in grants {
        let (consumed, status) = (Arg::Number(grant.consumed), Arg::Text(grant.status.as_str()));
        rows.push([Arg::Text(customer_id), Arg::Int(grant.id), consumed, status]);
    }
    write_columns(&UPDATE, &rows);
}

/// The display name and the metadata of a grant.
pub fn texts(customer_id: &str, grant_id: i64) -> (Option<String>, Option<String>) {
    static FIND: Statement = Statement::new(
        "SELECT display_name, metadata::text FROM credit_pools.pool_grant WHERE customer_id = $1 AND grant_id = $2",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Int(grant_id)], |row| (row.text(1), row.text(2))).unwrap_or_default()
}

pub fn set_texts(customer_id: &str, grant_id: i64, display_name: Option<&str>, metadata: Option<&str>) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.pool_grant SET display_name = $3, metadata = $4 WHERE customer_id = $1 AND grant_id = $2",
    );
    UPDATE.write(&[Arg::Text(customer_id), Arg::Int(grant_id), Arg::MaybeText(display_name), Arg::Json(metadata)], 1);
}

pub fn set_payment_reference(customer_id: &str, grant_id: i64, payment_reference: &str) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.pool_grant SET payment_reference = $3 WHERE customer_id = $1 AND grant_id = $2",
    );
    UPDATE.write(&[Arg::Text(customer_id), Arg::Int(grant_id), Arg::Text(payment_reference)], 1);
}
