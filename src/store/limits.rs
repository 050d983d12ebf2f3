//! Spending limits. A pool's own are read and written under the pool's lock; a customer's are locked by whoever uses
//! credits under them, after the pool.

use credit_pools_domain::{Amount, Instant, Span, SpendingLimit};

use super::archive::all_entries;
use super::in_hand::{self, Thing};
use super::spi::{Arg, Row, Statement};

/// What a limit covers: a pool, or with `all_resources` every pool of the customer and credit type.
#[derive(Clone, Copy)]
pub struct Covered<'a> {
    pub customer_id: &'a str,
    pub credit_type_id: &'a str,
    pub all_resources: bool,
    pub scope_id: &'a str,
    pub per: Span,
}

pub struct LimitRow {
    pub all_resources: bool,
    pub per: Span,
    /// As PostgreSQL prints it.
    pub per_text: String,
    pub limit: SpendingLimit,
    /// Counted for holds of other pools whose time is over, which nobody has booked yet.
    pub over: Amount,
    pub dirty: bool,
}

impl LimitRow {
    /// What counts under it at this instant.
    pub fn used(&self) -> Amount {
        self.limit.used.checked_sub(self.over).unwrap_or_default().max(Amount::ZERO)
    }

    pub fn left(&self) -> Amount {
        SpendingLimit { used: self.used(), ..self.limit }.left()
    }
}

macro_rules! limits_of_pool {
    () => {
        "SELECT l.all_resources, l.per, l.per::text, l.amount, l.window_start, l.window_end, l.used
         FROM credit_pools.spending_limit l
         WHERE l.customer_id = $1 AND l.credit_type_id = $2
           AND (NOT l.all_resources AND l.scope_id = $3 OR l.all_resources AND l.scope_id = '')
         ORDER BY l.all_resources, l.per"
    };
}

fn read(row: &Row) -> LimitRow {
    LimitRow {
        all_resources: row.boolean(1),
        per: row.span(2).unwrap_or_default(),
        per_text: row.text(3).unwrap_or_default(),
        limit: SpendingLimit {
            amount: row.amount(4).unwrap_or_default(),
            window_start: row.time(5).unwrap_or(Instant::NEG_INFINITY),
            window_end: row.time(6).unwrap_or(Instant::NEG_INFINITY),
            used: row.amount(7).unwrap_or_default(),
        },
        over: Amount::ZERO,
        dirty: false,
    }
}

/// The limits of a pool, locked, its own before its customer's.
pub fn lock_for(customer_id: &str, credit_type_id: &str, scope_id: &str) -> Vec<LimitRow> {
    static LOCK: Statement = Statement::new(concat!(limits_of_pool!(), " FOR NO KEY UPDATE OF l"));
    let rows = LOCK.rows(&[Arg::Text(customer_id), Arg::Text(credit_type_id), Arg::Text(scope_id)], read);
    if rows.iter().any(|row| row.all_resources) {
        in_hand::take(Thing::SharedLimits(customer_id.to_owned(), credit_type_id.to_owned()));
    }
    rows
}

/// The same without a lock, in the caller's snapshot.
pub fn read_for(customer_id: &str, credit_type_id: &str, scope_id: &str) -> Vec<LimitRow> {
    static READ: Statement = Statement::read(limits_of_pool!());
    READ.rows(&[Arg::Text(customer_id), Arg::Text(credit_type_id), Arg::Text(scope_id)], read)
}

/// Whose holds.
#[derive(Clone, Copy)]
pub enum Of {
    Pool(i64),
    /// Every pool of the customer and credit type, or every other.
    All,
    AllBut(i64),
}

/// What holds that were made since an instant still count for, though their time is over.
pub fn timed_out(customer_id: &str, credit_type_id: &str, of: Of, since: Instant, now: Instant) -> Amount {
    static SUM: Statement = Statement::new(
        "SELECT sum(r.held)
         FROM credit_pools.reservation r
         JOIN credit_pools.pool p ON p.customer_id = r.customer_id AND p.pool_id = r.pool_id
         WHERE r.customer_id = $1 AND p.credit_type_id = $2 AND r.status = 'active'
           AND r.created_at >= $3 AND r.expires_at <= $4
           AND ($5::bigint IS NULL OR r.pool_id = $5) AND ($6::bigint IS NULL OR r.pool_id <> $6)",
    );
    let (only, but) = match of {
        Of::Pool(pool_id) => (Some(pool_id), None),
        Of::All => (None, None),
        Of::AllBut(pool_id) => (None, Some(pool_id)),
    };
    let (customer, credit_type) = (Arg::Text(customer_id), Arg::Text(credit_type_id));
    let args = [customer, credit_type, Arg::Time(since), Arg::Time(now), Arg::MaybeInt(only), Arg::MaybeInt(but)];
    SUM.first(&args, |row| row.amount(1)).flatten().unwrap_or_default()
}

/// Whether any limit covers a pool of that name.
pub fn any_for(customer_id: &str, credit_type_id: &str, scope_id: &str) -> bool {
    static ANY: Statement = Statement::new(concat!("SELECT 1 FROM (", limits_of_pool!(), ") l LIMIT 1"));
    ANY.first(&[Arg::Text(customer_id), Arg::Text(credit_type_id), Arg::Text(scope_id)], |_| ()).is_some()
}

fn key<'a>(covered: &Covered<'a>) -> [Arg<'a>; 5] {
    [
        Arg::Text(covered.customer_id),
        Arg::Text(covered.credit_type_id),
        Arg::Bool(covered.all_resources),
        Arg::Text(covered.scope_id),
        Arg::Interval(Some(covered.per)),
    ]
}

pub fn save(customer_id: &str, credit_type_id: &str, scope_id: &str, row: &LimitRow) {
    static SAVE: Statement = Statement::new(
        "UPDATE credit_pools.spending_limit SET window_start = $6, window_end = $7, used = $8
         WHERE customer_id = $1 AND credit_type_id = $2 AND all_resources = $3 AND scope_id = $4 AND per = $5",
    );
    let scope_id = if row.all_resources { "" } else { scope_id };
    let covered = Covered { customer_id, credit_type_id, all_resources: row.all_resources, scope_id, per: row.per };
    let [a, b, c, d, e] = key(&covered);
    let SpendingLimit { window_start, window_end, used, .. } = row.limit;
    SAVE.write(&[a, b, c, d, e, Arg::Time(window_start), Arg::Time(window_end), Arg::Number(used)], 1);
}

/// Sets a limit; what counts under it in its present window is said anew.
pub fn put(covered: &Covered, limit: &SpendingLimit, now: Instant) {
    static PUT: Statement = Statement::new(
        "INSERT INTO credit_pools.spending_limit
             (customer_id, credit_type_id, all_resources, scope_id, per, amount, window_start, window_end, used,
              created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
         ON CONFLICT (customer_id, credit_type_id, all_resources, scope_id, per) DO UPDATE SET
             amount = excluded.amount, window_start = excluded.window_start, window_end = excluded.window_end,
             used = excluded.used, updated_at = excluded.updated_at",
    );
    let [a, b, c, d, e] = key(covered);
    let SpendingLimit { amount, window_start, window_end, used } = *limit;
    PUT.write(
        &[
            a,
            b,
            c,
            d,
            e,
            Arg::Number(amount),
            Arg::Time(window_start),
            Arg::Time(window_end),
            Arg::Number(used),
            Arg::Time(now),
        ],
        1,
    );
}

/// What a limit says now, if it is set.
pub fn amount_of(covered: &Covered) -> Option<Amount> {
    static FIND: Statement = Statement::new(
        "SELECT amount FROM credit_pools.spending_limit
         WHERE customer_id = $1 AND credit_type_id = $2 AND all_resources = $3 AND scope_id = $4 AND per = $5",
    );
    FIND.first(&key(covered), |row| row.amount(1)).flatten()
}

pub fn remove(covered: &Covered) {
    static REMOVE: Statement = Statement::new(
        "DELETE FROM credit_pools.spending_limit
         WHERE customer_id = $1 AND credit_type_id = $2 AND all_resources = $3 AND scope_id = $4 AND per = $5",
    );
    REMOVE.run(&key(covered));
}

/// What a pool has charged since an instant, less what was reversed of it, and what holds that were made since then
/// still have. The ledger is read from its row `after` on.
pub fn used_since(customer_id: &str, pool_id: i64, after: i64, since: Instant) -> Amount {
    static SUM: Statement = Statement::new(concat!(
        "SELECT COALESCE((
             SELECT sum(CASE
                        WHEN h.created_at IS NULL OR h.created_at >= $4 THEN e.credits - COALESCE(b.credits, 0)
                        -- Of a settlement of an older hold only what exceeded what it released for it.
                        ELSE GREATEST(e.credits - COALESCE(b.credits, 0) - COALESCE((
                            SELECT sum(x.amount) FROM ",
        all_entries!(),
        " x
                            WHERE x.customer_id = $1 AND x.pool_id = $2 AND x.seq > $3 AND x.seq < e.seq
                              AND x.reservation_id = e.reservation_id AND x.entry_type = 'release'
                              AND NOT EXISTS (
                                  SELECT 1 FROM ",
        all_entries!(),
        " y
                                  WHERE y.customer_id = $1 AND y.pool_id = $2 AND y.seq > x.seq AND y.seq < e.seq
                                    AND y.reservation_id = x.reservation_id
                                    AND y.entry_type IN ('consume', 'debt'))), 0), 0)
                        END)
             FROM ",
        all_entries!(),
        " e
             LEFT JOIN credit_pools.reservation h
               ON h.customer_id = e.customer_id AND h.reservation_id = e.reservation_id
             LEFT JOIN credit_pools.usage_reversal b ON b.customer_id = e.customer_id AND b.usage_id = e.usage_id
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > $3 AND e.credits IS NOT NULL), 0)
             + COALESCE((
             SELECT sum(r.held) FROM credit_pools.reservation r
             WHERE r.customer_id = $1 AND r.pool_id = $2 AND r.status = 'active' AND r.created_at >= $4), 0)",
    ));
    let args = [Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(after), Arg::Time(since)];
    SUM.first(&args, |row| row.amount(1)).flatten().unwrap_or_default().max(Amount::ZERO)
}
