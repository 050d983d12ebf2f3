//! What is due by now, for any customer: the same work that the next call on the pool would do first.

use credit_pools_domain::EntryType;

use super::pool::LockedPool;
use crate::clock;
use crate::error::Result;
use crate::store::ledger::Note;
use crate::store::pools;

/// Pools per statement: bounds the memory of one call, not its work.
const BATCH: i64 = 10_000;

#[derive(Default)]
pub struct Done {
    pub pools: i64,
    pub started: i64,
    pub expired: i64,
}

pub fn run(max_pools: Option<i64>) -> Result<Done> {
    let mut done = Done::default();
    loop {
        let left = max_pools.map_or(BATCH, |max| (max - done.pools).min(BATCH));
        let mut rows = if left > 0 { pools::lock_due(clock::now(), Some(left)) } else { Vec::new() };
        if rows.is_empty() {
            return Ok(done);
        }
        // A recharge may take the lock of its policy: two sessions must not take two policies crosswise.
        rows.sort_by(|a, b| {
            (&a.customer_id, &a.credit_type_id, a.pool_id).cmp(&(&b.customer_id, &b.credit_type_id, b.pool_id))
        });
        for row in rows {
            let mut pool = LockedPool::advanced(row)?;
            done.pools += 1;
            done.started += pool.due_count(EntryType::Grant);
            done.expired += pool.due_count(EntryType::Expire);
            pool.write(&Note::default());
        }
    }
}
