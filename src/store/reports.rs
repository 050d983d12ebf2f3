//! What a report shows of a pool beside its figures, grants and usage.

use credit_pools_domain::{Amount, Instant};

use super::archive::all_entries;
use super::spi::{Arg, Statement};

/// A row of the view auto_recharge_states.
pub struct RechargeState {
    pub state: String,
    pub is_override: bool,
    pub threshold: Amount,
    pub target_balance: Option<Amount>,
    pub recharge_amount: Option<Amount>,
    pub pending: Option<Amount>,
    pub breaker_opened_at: Option<Instant>,
    pub last: Option<LastRecharge>,
}

pub struct LastRecharge {
    pub status: String,
    pub reason: Option<String>,
    pub amount: Amount,
    pub at: Instant,
}

pub fn recharge_state(customer_id: &str, pool_id: i64) -> Option<RechargeState> {
    static READ: Statement = Statement::read(
        "SELECT state, is_override, threshold, target_balance, recharge_amount, pending_amount, breaker_opened_at,
                last_recharge_status, last_recharge_reason, last_recharge_amount, last_recharge_at
         FROM credit_pools.auto_recharge_states WHERE customer_id = $1 AND pool_id = $2",
    );
    READ.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], |row| RechargeState {
        state: row.text(1).unwrap_or_default(),
        is_override: row.boolean(2),
        threshold: row.amount(3).unwrap_or_default(),
        target_balance: row.amount(4),
        recharge_amount: row.amount(5),
        pending: row.amount(6),
        breaker_opened_at: row.time(7),
        last: row.text(8).zip(row.amount(10)).zip(row.time(11)).map(|((status, amount), at)| LastRecharge {
            status,
            reason: row.text(9),
            amount,
            at,
        }),
    })
}

/// A ledger row, as far as a line has room for it.
pub struct LedgerLine {
    pub seq: i64,
    pub entry_type: String,
    pub amount: Amount,
    pub balance_after: Amount,
    pub grant_id: Option<i64>,
    pub feature_id: Option<String>,
    pub value: Option<Amount>,
    pub reservation_id: Option<String>,
    pub reason: Option<String>,
    pub recorded_at: Instant,
}

/// The latest rows, newest first.
pub fn latest_rows(customer_id: &str, pool_id: i64, limit: i64) -> Vec<LedgerLine> {
    static READ: Statement = Statement::read(concat!(
        "SELECT e.seq, e.entry_type, e.amount, e.balance_after, e.grant_id, e.feature_id, e.value, e.reservation_id,
                e.reason, e.recorded_at
         FROM ",
        all_entries!(),
        " e WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > 0 ORDER BY e.seq DESC LIMIT $3",
    ));
    READ.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(limit)], |row| LedgerLine {
        seq: row.int(1).unwrap_or_default(),
        entry_type: row.text(2).unwrap_or_default(),
        amount: row.amount(3).unwrap_or_default(),
        balance_after: row.amount(4).unwrap_or_default(),
        grant_id: row.int(5),
        feature_id: row.text(6),
        value: row.amount(7),
        reservation_id: row.text(8),
        reason: row.text(9),
        recorded_at: row.time(10).unwrap_or(Instant::NEG_INFINITY),
    })
}
