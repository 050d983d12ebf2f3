//! Usages, as the ledger has them: by their id, with the rows that take them back.

use credit_pools_domain::{Amount, EntryType, Instant, PaidDebt};

use super::archive::all_entries;
use super::pools::PoolRow;
use super::spi::{Arg, Row, Statement};

/// The row that a usage stands on.
pub struct UsageHead {
    pub pool_id: i64,
    pub feature_id: Option<String>,
    pub value: Option<Amount>,
    pub credits: Amount,
    pub shortfall: Amount,
    pub rate: Option<Amount>,
    pub reservation_id: Option<String>,
    pub dimensions: Option<String>,
    pub occurred_at: Instant,
    pub recorded_at: Instant,
    pub seq: i64,
}

macro_rules! usage_head {
    () => {
        concat!(
            "SELECT e.pool_id, e.feature_id, e.value, e.credits, e.shortfall, e.rate, e.reservation_id,
                    e.dimensions::text, e.effective_at, e.recorded_at, e.seq
             FROM ",
            all_entries!(),
            " e WHERE e.usage_id = $2 AND e.customer_id = $1 AND e.credits IS NOT NULL"
        )
    };
}

fn read_head(row: &Row) -> UsageHead {
    UsageHead {
        pool_id: row.int(1).unwrap_or_default(),
        feature_id: row.text(2),
        value: row.amount(3),
        credits: row.amount(4).unwrap_or_default(),
        shortfall: row.amount(5).unwrap_or_default(),
        rate: row.amount(6),
        reservation_id: row.text(7),
        dimensions: row.text(8),
        occurred_at: row.time(9).unwrap_or(Instant::NEG_INFINITY),
        recorded_at: row.time(10).unwrap_or(Instant::NEG_INFINITY),
        seq: row.int(11).unwrap_or_default(),
    }
}

pub fn head(customer_id: &str, usage_id: i64) -> Option<UsageHead> {
    static HEAD: Statement = Statement::new(usage_head!());
    HEAD.first(&[Arg::Text(customer_id), Arg::Int(usage_id)], read_head)
}

/// A row by which a usage took credits, or had them taken back.
#[derive(Clone, Copy)]
pub struct UsageRow {
    pub kind: EntryType,
    pub grant_id: Option<i64>,
    pub amount: Amount,
}

/// All rows of a usage, in the order in which they were booked.
pub fn rows(customer_id: &str, usage_id: i64) -> Vec<UsageRow> {
    static ROWS: Statement = Statement::new(concat!(
        "SELECT e.entry_type, e.grant_id, e.amount
         FROM ",
        all_entries!(),
        " e WHERE e.usage_id = $2 AND e.customer_id = $1 AND e.seq > 0
         ORDER BY e.seq",
    ));
    ROWS.rows(&[Arg::Text(customer_id), Arg::Int(usage_id)], |row| UsageRow {
        kind: row.text(1).as_deref().and_then(EntryType::parse).unwrap_or(EntryType::Update),
        grant_id: row.int(2),
        amount: row.amount(3).unwrap_or_default(),
    })
}

/// How much of a settlement went beyond what its hold released for it.
pub fn beyond_hold(customer_id: &str, head: &UsageHead, reservation_id: &str) -> Amount {
    static RELEASED: Statement = Statement::new(concat!(
        "SELECT COALESCE(sum(x.amount), 0)
         FROM ",
        all_entries!(),
        " x
         WHERE x.customer_id = $1 AND x.pool_id = $2 AND x.seq < $3 AND x.reservation_id = $4 AND x.entry_type = 'release'
           AND x.seq > COALESCE((
               SELECT max(y.seq) FROM ",
        all_entries!(),
        " y
               WHERE y.customer_id = $1 AND y.pool_id = $2 AND y.seq < $3 AND y.seq > 0 AND y.reservation_id = $4
                 AND y.entry_type IN ('consume', 'debt')), 0)",
    ));
    let args = [Arg::Text(customer_id), Arg::Int(head.pool_id), Arg::Int(head.seq), Arg::Text(reservation_id)];
    let released = RELEASED.first(&args, |row| row.amount(1)).flatten().unwrap_or_default();
    head.credits.checked_sub(released).unwrap_or_default().max(Amount::ZERO)
}

/// What has been taken back of a usage.
pub fn reversed(customer_id: &str, usage_id: i64) -> Amount {
    static FIND: Statement =
        Statement::new("SELECT credits FROM credit_pools.usage_reversal WHERE customer_id = $1 AND usage_id = $2");
    FIND.first(&[Arg::Text(customer_id), Arg::Int(usage_id)], |row| row.amount(1)).flatten().unwrap_or_default()
}

pub fn add_reversed(customer_id: &str, usage_id: i64, credits: Amount, value: Amount) {
    static ADD: Statement = Statement::new(
        "INSERT INTO credit_pools.usage_reversal AS r (customer_id, usage_id, credits, value) VALUES ($1, $2, $3, $4)
         ON CONFLICT (customer_id, usage_id) DO UPDATE SET credits = trim_scale(r.credits + excluded.credits),
             value = trim_scale(r.value + excluded.value)",
    );
    ADD.write(&[Arg::Text(customer_id), Arg::Int(usage_id), Arg::Number(credits), Arg::Number(value)], 1);
}

/// A feature's billing period.
pub struct Period<'a> {
    pub feature_id: &'a str,
    pub start: Instant,
    pub end: Instant,
}

/// A pool's total of a feature in a period, of all usages before `usage_id`. Adds what has been recorded since it was
/// asked for last, and remembers the sum.
pub fn total(pool: &PoolRow, period: &Period, usage_id: i64) -> Amount {
    static KNOWN: Statement = Statement::new(
        "SELECT value, up_to_seq, up_to_usage FROM credit_pools.usage_total
         WHERE customer_id = $1 AND pool_id = $2 AND feature_id = $3 AND period_start = $4",
    );
    // Rows with a negative seq are usages that moved no credits. A whole reversal takes its usage's value out.
    static SINCE: Statement = Statement::new(concat!(
        "SELECT COALESCE(sum(x.value), 0) FROM (
             SELECT e.value FROM ",
        all_entries!(),
        " e
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > $6 AND e.feature_id = $3
               AND e.credits IS NOT NULL AND e.effective_at >= $4 AND e.effective_at < $5
             UNION ALL
             SELECT e.value FROM ",
        all_entries!(),
        " e
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq < - $7 AND e.feature_id = $3
               AND e.credits IS NOT NULL AND e.effective_at >= $4 AND e.effective_at < $5
             UNION ALL
             SELECT e.value FROM ",
        all_entries!(),
        " e
             JOIN ",
        all_entries!(),
        " u
               ON u.usage_id = e.usage_id AND u.customer_id = e.customer_id AND u.credits IS NOT NULL
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > $6 AND e.feature_id = $3
               AND e.entry_type = 'reverse' AND e.value IS NOT NULL
               AND u.effective_at >= $4 AND u.effective_at < $5) x",
    ));
    static REMEMBER: Statement = Statement::new(
        "INSERT INTO credit_pools.usage_total
             (customer_id, pool_id, feature_id, period_start, value, up_to_seq, up_to_usage)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (customer_id, pool_id, feature_id, period_start) DO UPDATE SET
             value = excluded.value, up_to_seq = excluded.up_to_seq, up_to_usage = excluded.up_to_usage",
    );
    let (customer_id, pool_id) = (Arg::Text(&pool.customer_id), Arg::Int(pool.pool_id));
    let (feature_id, start, end) = (Arg::Text(period.feature_id), Arg::Time(period.start), Arg::Time(period.end));
    let known = KNOWN.first(&[customer_id, pool_id, feature_id, start], |row| {
        (row.amount(1).unwrap_or_default(), row.int(2).unwrap_or_default(), row.int(3).unwrap_or_default())
    });
    let (value, seq, usage) = known.unwrap_or_else(|| {
        // What was recorded before the period began cannot have occurred in it.
        let (before, _) =
            super::ledger::last_recorded_by(&pool.customer_id, pool.pool_id, period.start.plus_micros(-1));
        (Amount::ZERO, before, 0)
    });
    let args = [customer_id, pool_id, feature_id, start, end, Arg::Int(seq), Arg::Int(usage)];
    let since = SINCE.first(&args, |row| row.amount(1)).flatten().unwrap_or_default();
    let value = value.checked_add(since).unwrap_or(value);
    let (seq, usage) = (Arg::Int(pool.wallet.seq), Arg::Int(usage_id.saturating_sub(1)));
    REMEMBER.write(&[customer_id, pool_id, feature_id, start, Arg::Number(value), seq, usage], 1);
    value
}

/// A usage whose value may be lowered.
pub struct Candidate {
    pub usage_id: i64,
    /// What still counts of its value.
    pub value_left: Amount,
}

/// The usages of a period, latest first. Reads the pool's ledger from the period's start on.
pub fn latest_first(pool: &PoolRow, period: &Period) -> Vec<Candidate> {
    static FIND: Statement = Statement::new(concat!(
        "SELECT e.usage_id, trim_scale(e.value - COALESCE(r.value, 0))
         FROM ",
        all_entries!(),
        " e
         LEFT JOIN credit_pools.usage_reversal r ON r.customer_id = e.customer_id AND r.usage_id = e.usage_id
         WHERE e.customer_id = $1 AND e.pool_id = $2 AND (e.seq > $6 OR e.seq < 0) AND e.feature_id = $3
           AND e.credits IS NOT NULL AND e.value > COALESCE(r.value, 0)
           AND e.effective_at >= $4 AND e.effective_at < $5
         ORDER BY e.effective_at DESC, e.usage_id DESC",
    ));
    let (before, _) = super::ledger::last_recorded_by(&pool.customer_id, pool.pool_id, period.start.plus_micros(-1));
    let args = [
        Arg::Text(&pool.customer_id),
        Arg::Int(pool.pool_id),
        Arg::Text(period.feature_id),
        Arg::Time(period.start),
        Arg::Time(period.end),
        Arg::Int(before),
    ];
    FIND.rows(&args, |row| Candidate {
        usage_id: row.int(1).unwrap_or_default(),
        value_left: row.amount(2).unwrap_or_default(),
    })
}

/// What of a usage's value counts no more in its period's total.
pub fn value_gone(customer_id: &str, usage_id: i64) -> Amount {
    static FIND: Statement =
        Statement::new("SELECT value FROM credit_pools.usage_reversal WHERE customer_id = $1 AND usage_id = $2");
    FIND.first(&[Arg::Text(customer_id), Arg::Int(usage_id)], |row| row.amount(1)).flatten().unwrap_or_default()
}

/// What grants have paid of a pool's debt and was not undone, latest payment first. Reads the pool's whole ledger: only
/// for the reversal of debt that has been paid.
pub fn paid_debt(customer_id: &str, pool_id: i64) -> Vec<PaidDebt> {
    static PAID: Statement = Statement::new(concat!(
        "SELECT e.grant_id, e.amount
         FROM ",
        all_entries!(),
        " e
         WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > 0 AND e.entry_type = 'debt_settle'
           AND e.grant_id IS NOT NULL
         ORDER BY e.seq",
    ));
    let rows = PAID.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], |row| {
        (row.int(1).unwrap_or_default(), row.amount(2).unwrap_or_default())
    });
    let mut paid: Vec<PaidDebt> = Vec::new();
    for (grant_id, amount) in rows {
        if amount.is_negative() {
            paid.push(PaidDebt { grant_id, amount: -amount });
            continue;
        }
        // A payment that was undone: the latest ones always were.
        let mut rest = amount;
        for payment in paid.iter_mut().rev().filter(|payment| payment.grant_id == grant_id) {
            let part = payment.amount.min(rest);
            payment.amount = payment.amount.checked_sub(part).unwrap_or_default();
            rest = rest.checked_sub(part).unwrap_or_default();
        }
    }
    paid.reverse();
    // Payments of one grant that follow one another are one.
    let mut merged: Vec<PaidDebt> = Vec::new();
    for payment in paid.into_iter().filter(|payment| payment.amount.is_positive()) {
        match merged.last_mut() {
            Some(last) if last.grant_id == payment.grant_id => {
                last.amount = last.amount.checked_add(payment.amount).unwrap_or(last.amount);
            }
            _ => merged.push(payment),
        }
    }
    merged
}
