//! The pool row: the lock and the summary.

use credit_pools_domain::{Alerts, Amount, Figures, Instant, Limit, Wallet};

use super::alerts;
use super::direct::{self, Drawing, Places};
use super::in_hand::{self, Thing};
use super::spi::{Arg, Row, Statement};

/// A pool as it was read, its grants not loaded.
pub struct PoolRow {
    pub customer_id: String,
    pub pool_id: i64,
    pub resource_id: String,
    pub credit_type_id: String,
    pub wallet: Wallet,
    pub scope_revision: i64,
    /// Another one whenever its grants are changed by more than plain usage.
    pub grants_revision: i64,
    pub recharge_threshold: Option<Amount>,
    pub last_recharge_id: Option<i64>,
    pub breaker_opened_at: Option<Instant>,
    /// The customer's own, in place of the credit type's.
    pub alerts: Option<Alerts>,
    /// What percents of alerts are of; `None` where nobody has needed it yet.
    pub alert_granted: Option<Amount>,
    /// When the first of the grants that make it up ends.
    pub alert_granted_until: Option<Instant>,
    pub last_hash: Vec<u8>,
    pub last_recorded_at: Instant,
    /// Spending limits may cover it.
    pub limited: bool,
    pub metadata: Option<String>,
    /// Where its rows are, if they can be written without statements.
    pub places: Option<Places>,
}

/// The columns that `PoolRow::read` reads, of the table under the alias p.
macro_rules! pool_columns {
    () => {
        "p.customer_id, p.pool_id, p.scope_id, p.credit_type_id, p.seq, p.balance, p.held, p.debt, p.restricted,
         p.granted, p.consumed, p.expired, p.voided, p.overdraft_limit, p.frozen, p.next_transition_at,
         p.scope_revision, p.recharge_threshold, p.last_recharge_id, p.breaker_opened_at, p.last_hash,
         p.last_recorded_at, p.unbacked, p.limited, p.alert_thresholds, p.alert_percents, p.alert_granted, p.alert_granted_until,
         p.grants_revision"
    };
}

pub(super) use pool_columns;

/// The same, for those who read them without a statement.
pub const POOL_COLUMNS: &str = pool_columns!();

/// That the pool p has no recharge policy of its own; the global pool has none, its policy is everybody's.
macro_rules! without_policy {
    () => {
        " AND NOT EXISTS (SELECT 1 FROM credit_pools.recharge_policy o
                          WHERE o.customer_id = p.customer_id AND o.credit_type_id = p.credit_type_id
                            AND o.resource_id = p.scope_id AND o.resource_id <> '')"
    };
}

impl PoolRow {
    /// How many columns `read` takes.
    pub const COLUMNS: usize = 29;

    pub fn read(row: &Row) -> PoolRow {
        let amount = |column| row.amount(column).unwrap_or_default();
        PoolRow {
            customer_id: row.text(1).unwrap_or_default(),
            pool_id: row.int(2).unwrap_or_default(),
            resource_id: row.text(3).unwrap_or_default(),
            credit_type_id: row.text(4).unwrap_or_default(),
            wallet: Wallet {
                seq: row.int(5).unwrap_or_default(),
                figures: Figures {
                    balance: amount(6),
                    held: amount(7),
                    unbacked: amount(23),
                    debt: amount(8),
                    restricted: amount(9),
                    granted: amount(10),
                    consumed: amount(11),
                    expired: amount(12),
                    voided: amount(13),
                },
                overdraft: row.limit(14).unwrap_or(Limit::Finite(Amount::ZERO)),
                frozen: row.boolean(15),
                ceiling: None,
                next_transition: row.time(16).unwrap_or(Instant::INFINITY),
                grants: Vec::new(),
                schedules: Vec::new(),
                holds: Vec::new(),
                all_loaded: false,
                prefix_loaded: false,
                entries: Vec::new(),
            },
            scope_revision: row.int(17).unwrap_or_default(),
            recharge_threshold: row.amount(18),
            last_recharge_id: row.int(19),
            breaker_opened_at: row.time(20),
            last_hash: row.bytes(21).unwrap_or_default(),
            last_recorded_at: row.time(22).unwrap_or(Instant::NEG_INFINITY),
            limited: row.boolean(24),
            alerts: alerts::read(row, 25),
            alert_granted: row.amount(27),
            alert_granted_until: row.time(28),
            grants_revision: row.int(29).unwrap_or_default(),
            metadata: None,
            places: None,
        }
    }
}

impl PoolRow {
    /// What it takes to read its grants without a statement.
    pub fn drawing(&mut self) -> Option<Drawing<'_>> {
        Some(Drawing {
            places: self.places.as_mut()?,
            customer_id: &self.customer_id,
            pool_id: self.pool_id,
            grants_revision: self.grants_revision,
        })
    }

    /// What usage changes of it, in the order of `layout::USED_OF_POOL`.
    pub fn used(&self) -> [Arg<'_>; 6] {
        let figures = &self.wallet.figures;
        [
            Arg::Int(self.wallet.seq),
            Arg::Number(figures.balance),
            Arg::Number(figures.restricted),
            Arg::Number(figures.consumed),
            Arg::Bytes(Some(&self.last_hash)),
            Arg::Time(self.last_recorded_at),
        ]
    }

    /// Below its policy's threshold: writing it may recharge it.
    pub fn is_low(&self) -> bool {
        self.recharge_threshold.is_some_and(|threshold| self.wallet.figures.balance < threshold)
    }

    /// The same of a row that was just locked.
    fn in_hand(row: &Row) -> PoolRow {
        let pool = PoolRow::read(row);
        in_hand::take(Thing::Pool(pool.pool_id));
        pool
    }
}

/// Reads without a lock, in the caller's snapshot.
pub fn read(customer_id: &str, pool_id: i64) -> Option<PoolRow> {
    static READ: Statement = Statement::read(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.pool_id = $2"
    ));
    READ.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], PoolRow::read)
}

/// The same by name.
pub fn read_by_name(customer_id: &str, resource_id: &str, credit_type_id: &str) -> Option<PoolRow> {
    static READ: Statement = Statement::read(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.scope_id = $2 AND p.credit_type_id = $3"
    ));
    direct::read_pool(customer_id, resource_id, credit_type_id, PoolRow::read).or_else(|| {
        READ.first(&[Arg::Text(customer_id), Arg::Text(resource_id), Arg::Text(credit_type_id)], PoolRow::read)
    })
}

pub fn lock(customer_id: &str, pool_id: i64) -> Option<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.pool_id = $2 FOR NO KEY UPDATE OF p"
    ));
    LOCK.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], PoolRow::in_hand)
}

/// The same, unless somebody else has it locked.
pub fn try_lock(customer_id: &str, pool_id: i64) -> Option<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.pool_id = $2 FOR NO KEY UPDATE OF p SKIP LOCKED"
    ));
    LOCK.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], PoolRow::in_hand)
}

/// As `lock_by_name`, for usage: without a statement where that can be done.
pub fn lock_to_use(customer_id: &str, resource_id: &str, credit_type_id: &str) -> Option<PoolRow> {
    match direct::lock_pool(customer_id, resource_id, credit_type_id, PoolRow::in_hand) {
        Some((pool, places)) => Some(PoolRow { places: Some(places), ..pool }),
        None => lock_by_name(customer_id, resource_id, credit_type_id),
    }
}

pub fn lock_by_name(customer_id: &str, resource_id: &str, credit_type_id: &str) -> Option<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p
          WHERE p.customer_id = $1 AND p.scope_id = $2 AND p.credit_type_id = $3 FOR NO KEY UPDATE OF p"
    ));
    LOCK.first(&[Arg::Text(customer_id), Arg::Text(resource_id), Arg::Text(credit_type_id)], PoolRow::in_hand)
}

/// The name of a pool: customer, scope, credit type.
pub type Name<'a> = (&'a str, &'a str, &'a str);

/// Locks pools by name, in the order of customers and ids, whatever the order of the names.
pub fn lock_by_names(names: &[Name]) -> Vec<PoolRow> {
    // Each by a look into the index (here and in `update_all`), whatever PostgreSQL takes the size of the table for.
    static LOCK: Statement = Statement::new(concat!(
        "SELECT p.*
         FROM (SELECT i.customer_id, i.pool_id
               FROM unnest($1, $2, $3) n (customer_id, scope_id, credit_type_id)
               CROSS JOIN LATERAL (
                   SELECT p.customer_id, p.pool_id FROM credit_pools.pool p
                   WHERE p.customer_id = n.customer_id AND p.scope_id = n.scope_id
                     AND p.credit_type_id = n.credit_type_id
                   LIMIT 1) i
               ORDER BY i.customer_id, i.pool_id) s
         CROSS JOIN LATERAL (SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p
          WHERE p.customer_id = s.customer_id AND p.pool_id = s.pool_id FOR NO KEY UPDATE OF p) p"
    ));
    if names.is_empty() {
        return Vec::new();
    }
    let key = |row: &Row| (row.text(1), row.int(2));
    if let Some(found) = direct::lock_pools(names, PoolRow::in_hand, key) {
        return found.into_iter().map(|(pool, places)| PoolRow { places: Some(places), ..pool }).collect();
    }
    let customers: Vec<Arg> = names.iter().map(|(customer_id, _, _)| Arg::Text(customer_id)).collect();
    let scopes: Vec<Arg> = names.iter().map(|(_, scope_id, _)| Arg::Text(scope_id)).collect();
    let types: Vec<Arg> = names.iter().map(|(_, _, credit_type_id)| Arg::Text(credit_type_id)).collect();
    LOCK.rows(&[Arg::Column(&customers), Arg::Column(&scopes), Arg::Column(&types)], PoolRow::in_hand)
}

/// Locks every pool of a scope, in the order of their ids: the order of every call over several pools.
pub fn lock_scope(customer_id: &str, resource_id: &str) -> Vec<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.scope_id = $2
          ORDER BY p.pool_id FOR NO KEY UPDATE OF p"
    ));
    LOCK.rows(&[Arg::Text(customer_id), Arg::Text(resource_id)], PoolRow::in_hand)
}

/// Locks the pools of one credit type of two scopes, in the order of their ids.
pub fn lock_pair(customer_id: &str, credit_type_id: &str, one: &str, other: &str) -> Vec<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p
          WHERE p.customer_id = $1 AND p.credit_type_id = $2 AND p.scope_id IN ($3, $4)
          ORDER BY p.pool_id FOR NO KEY UPDATE OF p"
    ));
    LOCK.rows(&[Arg::Text(customer_id), Arg::Text(credit_type_id), Arg::Text(one), Arg::Text(other)], PoolRow::in_hand)
}

/// Locks every pool of two scopes, in the order of their ids.
pub fn lock_scopes(customer_id: &str, one: &str, other: &str) -> Vec<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.scope_id IN ($2, $3)
          ORDER BY p.pool_id FOR NO KEY UPDATE OF p"
    ));
    LOCK.rows(&[Arg::Text(customer_id), Arg::Text(one), Arg::Text(other)], PoolRow::in_hand)
}

/// Locks every pool of a scope and every pool that a subscription has paid into, in the order of their ids.
pub fn lock_paid_by(customer_id: &str, scope_id: &str, subscription_id: &str) -> Vec<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p
          WHERE p.customer_id = $1 AND (p.scope_id = $2 OR p.pool_id IN (
              SELECT c.pool_id FROM credit_pools.schedule c WHERE c.customer_id = $1 AND c.subscription_id = $3))
          ORDER BY p.pool_id FOR NO KEY UPDATE OF p"
    ));
    LOCK.rows(&[Arg::Text(customer_id), Arg::Text(scope_id), Arg::Text(subscription_id)], PoolRow::in_hand)
}

/// Locks every pool of a customer and credit type, in the order of their ids.
pub fn lock_credit_type(customer_id: &str, credit_type_id: &str) -> Vec<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.credit_type_id = $2
          ORDER BY p.pool_id FOR NO KEY UPDATE OF p"
    ));
    LOCK.rows(&[Arg::Text(customer_id), Arg::Text(credit_type_id)], PoolRow::in_hand)
}

/// Locks those of them that have no recharge policy of their own, in the order of their ids.
pub fn lock_covered(customer_id: &str, credit_type_id: &str) -> Vec<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.credit_type_id = $2",
        without_policy!(),
        " ORDER BY p.pool_id FOR NO KEY UPDATE OF p"
    ));
    LOCK.rows(&[Arg::Text(customer_id), Arg::Text(credit_type_id)], PoolRow::in_hand)
}

/// Where a pool stands in the order of what is due.
pub struct DueKey {
    next_transition: Instant,
    pub customer_id: String,
    pub pool_id: i64,
}

impl DueKey {
    pub fn of(row: &PoolRow) -> DueKey {
        DueKey {
            next_transition: row.wallet.next_transition,
            customer_id: row.customer_id.clone(),
            pool_id: row.pool_id,
        }
    }
}

/// Locks pools in which something is due, of any customer, oldest first and behind `after`, passing over those that
/// others are working on.
pub fn lock_due(at: Instant, after: Option<&DueKey>, limit: i64) -> Vec<PoolRow> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        pool_columns!(),
        " FROM credit_pools.pool p
          WHERE p.next_transition_at <= $1 AND p.next_transition_at < 'infinity'
            AND (p.next_transition_at, p.customer_id, p.pool_id) > ($2, $3, $4)
          ORDER BY p.next_transition_at, p.customer_id, p.pool_id
          LIMIT $5 FOR NO KEY UPDATE OF p SKIP LOCKED"
    ));
    LOCK.rows(
        &[
            Arg::Time(at),
            Arg::Time(after.map_or(Instant::NEG_INFINITY, |key| key.next_transition)),
            Arg::Text(after.map_or("", |key| &key.customer_id)),
            Arg::Int(after.map_or(0, |key| key.pool_id)),
            Arg::Int(limit),
        ],
        PoolRow::read,
    )
}

/// Counting stops here.
pub const MOST_COUNTED: i64 = 100_000;

/// How many pools have something due, up to `MOST_COUNTED`.
pub fn count_due(at: Instant) -> i64 {
    static COUNT: Statement = Statement::new(
        "SELECT count(*) FROM (
             SELECT 1 FROM credit_pools.pool p
             WHERE p.next_transition_at <= $1 AND p.next_transition_at < 'infinity' LIMIT $2) due",
    );
    COUNT.first(&[Arg::Time(at), Arg::Int(MOST_COUNTED)], |row| row.int(1)).flatten().unwrap_or_default()
}

/// `false` where a pool of that name is there already.
pub fn insert(pool: &PoolRow, now: Instant) -> bool {
    static INSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.pool
             (customer_id, pool_id, scope_id, resource_id, credit_type_id, seq, balance, held, unbacked, debt, restricted,
              granted, consumed, expired, voided, overdraft_limit, frozen, limited, scope_revision, recharge_threshold,
              next_transition_at, last_hash, last_recorded_at, metadata, created_at, alert_thresholds, alert_percents, grants_revision)
         VALUES ($1, $2, $3, NULLIF($3, ''), $4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, $5, false, $10, $6, $7, 'infinity', '',
                 $8, $9, $8, CASE WHEN $11 THEN COALESCE($12, '{}') END, CASE WHEN $11 THEN COALESCE($13, '{}') END,
                 nextval('credit_pools.grants_revision_seq'))
         ON CONFLICT (customer_id, scope_id, credit_type_id) DO NOTHING",
    );
    let (thresholds, percents) = pool.alerts.as_ref().map(alerts::columns).unwrap_or_default();
    in_hand::take(Thing::Pool(pool.pool_id));
    INSERT.run(&[
        Arg::Text(&pool.customer_id),
        Arg::Int(pool.pool_id),
        Arg::Text(&pool.resource_id),
        Arg::Text(&pool.credit_type_id),
        Arg::Limit(pool.wallet.overdraft),
        Arg::Int(pool.scope_revision),
        Arg::MaybeNumber(pool.recharge_threshold),
        Arg::Time(now),
        Arg::Json(pool.metadata.as_deref()),
        Arg::Bool(pool.limited),
        Arg::Bool(pool.alerts.is_some()),
        Arg::Numbers(&thresholds),
        Arg::Numbers(&percents),
    ]) > 0
}

/// Says of a locked pool whether spending limits may cover it.
pub fn set_limited(customer_id: &str, pool_id: i64, limited: bool) {
    static SET: Statement =
        Statement::new("UPDATE credit_pools.pool SET limited = $3 WHERE customer_id = $1 AND pool_id = $2");
    SET.write(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Bool(limited)], 1);
}

/// Sets (`None`: removes) the levels of a customer's own on a locked pool.
pub fn set_alerts(customer_id: &str, pool_id: i64, levels: Option<&Alerts>) {
    static SET: Statement = Statement::new(
        "UPDATE credit_pools.pool SET
             alert_thresholds = CASE WHEN $3 THEN COALESCE($4, '{}') END,
             alert_percents = CASE WHEN $3 THEN COALESCE($5, '{}') END
         WHERE customer_id = $1 AND pool_id = $2",
    );
    let (thresholds, percents) = levels.map(alerts::columns).unwrap_or_default();
    SET.write(
        &[
            Arg::Text(customer_id),
            Arg::Int(pool_id),
            Arg::Bool(levels.is_some()),
            Arg::Numbers(&thresholds),
            Arg::Numbers(&percents),
        ],
        1,
    );
}

const POOL_ARGS: usize = 25;

/// What a call can change of a pool.
fn state(pool: &PoolRow) -> [Arg<'_>; POOL_ARGS] {
    let wallet = &pool.wallet;
    let figures = &wallet.figures;
    [
        Arg::Text(&pool.customer_id),
        Arg::Int(pool.pool_id),
        Arg::Int(wallet.seq),
        Arg::Number(figures.balance),
        Arg::Number(figures.held),
        Arg::Number(figures.debt),
        Arg::Number(figures.restricted),
        Arg::Number(figures.granted),
        Arg::Number(figures.consumed),
        Arg::Number(figures.expired),
        Arg::Number(figures.voided),
        Arg::Limit(wallet.overdraft),
        Arg::Bool(wallet.frozen),
        Arg::Time(wallet.next_transition),
        Arg::Int(pool.scope_revision),
        Arg::MaybeNumber(pool.recharge_threshold),
        Arg::MaybeInt(pool.last_recharge_id),
        Arg::MaybeTime(pool.breaker_opened_at),
        Arg::Bytes(Some(&pool.last_hash)),
        Arg::Time(pool.last_recorded_at),
        Arg::Json(pool.metadata.as_deref()),
        Arg::Number(figures.unbacked),
        Arg::Bool(pool.limited),
        Arg::MaybeNumber(pool.alert_granted),
        Arg::MaybeTime(pool.alert_granted_until),
    ]
}

/// Writes everything of a locked pool that a call can change. The trigger that evaluates the recharge runs
/// at the end of this statement.
pub fn update(pool: &PoolRow) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.pool SET seq = $3, balance = $4, held = $5, debt = $6, restricted = $7, granted = $8,
             consumed = $9, expired = $10, voided = $11, overdraft_limit = $12,
             frozen = $13, next_transition_at = $14,
             scope_revision = $15, recharge_threshold = $16, last_recharge_id = $17, breaker_opened_at = $18,
             last_hash = $19, last_recorded_at = $20, metadata = COALESCE($21, metadata), unbacked = $22, limited = $23,
             alert_granted = $24, alert_granted_until = $25,
             grants_revision = nextval('credit_pools.grants_revision_seq')
         WHERE customer_id = $1 AND pool_id = $2",
    );
    UPDATE.write(&state(pool), 1);
}

/// The same for many pools at once. They are locked, so that they stay in their places.
pub fn update_all(pools: &[&PoolRow]) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.pool p SET seq = u.seq, balance = u.balance, held = u.held, debt = u.debt,
             restricted = u.restricted, granted = u.granted, consumed = u.consumed, expired = u.expired,
             voided = u.voided, overdraft_limit = u.overdraft_limit, frozen = u.frozen,
             next_transition_at = u.next_transition_at, scope_revision = u.scope_revision,
             recharge_threshold = u.recharge_threshold, last_recharge_id = u.last_recharge_id,
             breaker_opened_at = u.breaker_opened_at, last_hash = u.last_hash, last_recorded_at = u.last_recorded_at,
             metadata = COALESCE(u.metadata, p.metadata), unbacked = u.unbacked, limited = u.limited,
             alert_granted = u.alert_granted, alert_granted_until = u.alert_granted_until,
             grants_revision = nextval('credit_pools.grants_revision_seq')
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                     $22, $23, $24, $25)
             u (customer_id, pool_id, seq, balance, held, debt, restricted, granted, consumed, expired, voided,
                overdraft_limit, frozen, next_transition_at, scope_revision, recharge_threshold, last_recharge_id,
                breaker_opened_at, last_hash, last_recorded_at, metadata, unbacked, limited,
                alert_granted, alert_granted_until)
         CROSS JOIN LATERAL (
             SELECT i.ctid AS place FROM credit_pools.pool i
             WHERE i.customer_id = u.customer_id AND i.pool_id = u.pool_id LIMIT 1) i
         WHERE p.ctid = i.place",
    );
    let rows: Vec<[Arg; POOL_ARGS]> = pools.iter().map(|pool| state(pool)).collect();
    super::spi::write_columns(&UPDATE, &rows);
}

/// The same without a statement, of pools without debt that stay above their thresholds. `false`: that cannot be done.
pub fn update_used_at(pools: &[&PoolRow]) -> bool {
    let changes: Option<Vec<_>> = pools.iter().map(|pool| Some((pool.places.as_ref()?, pool.used()))).collect();
    changes.is_some_and(|changes| direct::update_pools(&changes))
}

/// What usage alone changes, of many pools that the clock has not moved; narrow, as most of a batch is.
pub fn update_used(pools: &[&PoolRow]) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.pool p SET seq = u.seq, balance = u.balance, debt = u.debt, restricted = u.restricted,
             consumed = u.consumed, last_hash = u.last_hash, last_recorded_at = u.last_recorded_at
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
             u (customer_id, pool_id, seq, balance, debt, restricted, consumed, last_hash, last_recorded_at)
         CROSS JOIN LATERAL (
             SELECT i.ctid AS place FROM credit_pools.pool i
             WHERE i.customer_id = u.customer_id AND i.pool_id = u.pool_id LIMIT 1) i
         WHERE p.ctid = i.place",
    );
    let rows: Vec<[Arg; 9]> = pools
        .iter()
        .map(|pool| {
            let Figures { balance, debt, restricted, consumed, .. } = pool.wallet.figures;
            [
                Arg::Text(&pool.customer_id),
                Arg::Int(pool.pool_id),
                Arg::Int(pool.wallet.seq),
                Arg::Number(balance),
                Arg::Number(debt),
                Arg::Number(restricted),
                Arg::Number(consumed),
                Arg::Bytes(Some(&pool.last_hash)),
                Arg::Time(pool.last_recorded_at),
            ]
        })
        .collect();
    super::spi::write_columns(&UPDATE, &rows);
}

/// The balance as this transaction left it.
pub fn balance(customer_id: &str, pool_id: i64) -> Option<Amount> {
    static BALANCE: Statement =
        Statement::new("SELECT balance FROM credit_pools.pool WHERE customer_id = $1 AND pool_id = $2");
    BALANCE.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], |row| row.amount(1)).flatten()
}

/// Whether there are pools that this transaction's snapshot does not see, beside the `seen` ones that it does:
/// only at REPEATABLE READ and above, where a statement does not see what others have committed since.
pub fn hidden(customer_id: &str, credit_type_id: &str, scope_id: &str, seen: usize) -> bool {
    static COUNT: Statement = Statement::new(
        "SELECT count(*) FROM credit_pools.pool
         WHERE customer_id = $1 AND credit_type_id = $2 AND ($3 = '' OR scope_id = $3)",
    );
    let args = [Arg::Text(customer_id), Arg::Text(credit_type_id), Arg::Text(scope_id)];
    super::spi::keeps_snapshot() && COUNT.first_of_latest(&args, |row| row.int(1)).flatten() != i64::try_from(seen).ok()
}

/// The same of the pools that have no recharge policy of their own.
pub fn covered_hidden(customer_id: &str, credit_type_id: &str, seen: usize) -> bool {
    static COUNT: Statement = Statement::new(concat!(
        "SELECT count(*) FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.credit_type_id = $2",
        without_policy!()
    ));
    let args = [Arg::Text(customer_id), Arg::Text(credit_type_id)];
    super::spi::keeps_snapshot() && COUNT.first_of_latest(&args, |row| row.int(1)).flatten() != i64::try_from(seen).ok()
}
