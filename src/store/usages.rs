//! Usages, as the ledger has them: by their id, with the rows that take them back.

use credit_pools_domain::{Amount, EntryType, Instant, PaidDebt};

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
        "SELECT e.pool_id, e.feature_id, e.value, e.credits, e.shortfall, e.rate, e.reservation_id, e.dimensions::text,
                e.effective_at, e.recorded_at, e.seq
         FROM credit_pools.ledger_entry e
         WHERE e.usage_id = $2 AND e.customer_id = $1 AND e.credits IS NOT NULL"
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
    static ROWS: Statement = Statement::new(
        "SELECT e.entry_type, e.grant_id, e.amount
         FROM credit_pools.ledger_entry e
         WHERE e.usage_id = $2 AND e.customer_id = $1 AND e.seq > 0
         ORDER BY e.seq",
    );
    ROWS.rows(&[Arg::Text(customer_id), Arg::Int(usage_id)], |row| UsageRow {
        kind: row.text(1).as_deref().and_then(EntryType::parse).unwrap_or(EntryType::Update),
        grant_id: row.int(2),
        amount: row.amount(3).unwrap_or_default(),
    })
}

/// What has been taken back of a usage.
pub fn reversed(customer_id: &str, usage_id: i64) -> Amount {
    static FIND: Statement =
        Statement::new("SELECT credits FROM credit_pools.usage_reversal WHERE customer_id = $1 AND usage_id = $2");
    FIND.first(&[Arg::Text(customer_id), Arg::Int(usage_id)], |row| row.amount(1)).flatten().unwrap_or_default()
}

pub fn add_reversed(customer_id: &str, usage_id: i64, credits: Amount) {
    static ADD: Statement = Statement::new(
        "INSERT INTO credit_pools.usage_reversal AS r (customer_id, usage_id, credits) VALUES ($1, $2, $3)
         ON CONFLICT (customer_id, usage_id) DO UPDATE SET credits = trim_scale(r.credits + excluded.credits)",
    );
    ADD.run(&[Arg::Text(customer_id), Arg::Int(usage_id), Arg::Number(credits)]);
}

/// What grants have paid of a pool's debt and was not undone, latest payment first. Reads the pool's whole ledger: only
/// for the reversal of debt that has been paid.
pub fn paid_debt(customer_id: &str, pool_id: i64) -> Vec<PaidDebt> {
    static PAID: Statement = Statement::new(
        "SELECT e.grant_id, e.amount
         FROM credit_pools.ledger_entry e
         WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > 0 AND e.entry_type = 'debt_settle'
           AND e.grant_id IS NOT NULL
         ORDER BY e.seq",
    );
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
    paid.retain(|payment| payment.amount.is_positive());
    paid.reverse();
    paid
}
