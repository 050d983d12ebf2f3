//! What is due by now, for any customer: the same work that the next call on the pool would do first.

use credit_pools_domain::EntryType;
use pgrx::{check_for_interrupts, warning};

use super::pool::LockedPool;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::isolate::{attempt, in_scratch_memory};
use crate::store::ledger::Note;
use crate::store::pools::{self, DueKey, PoolRow};

/// Pools that are locked and read by one statement: bounds the memory of a call, not its work.
const BATCH: i64 = 10_000;
/// Pools per subtransaction: one that fails costs the others of its piece a second try.
const PIECE: usize = 1_000;

#[derive(Default)]
pub struct Done {
    pub pools: i64,
    pub started: i64,
    pub expired: i64,
    pub renewed: i64,
    pub rolled_over: i64,
    pub failed: i64,
    /// Still due, up to `pools::MOST_COUNTED`: locked by others, failed, or left for the next call.
    pub remaining: i64,
}

impl Done {
    fn add(&mut self, other: &Done) {
        self.pools += other.pools;
        self.started += other.started;
        self.expired += other.expired;
        self.renewed += other.renewed;
        self.rolled_over += other.rolled_over;
        self.failed += other.failed;
    }
}

/// Carries out what is due in at most `max_pools` pools, oldest first. Passes over pools that others have locked and
/// those that fail.
pub fn run(max_pools: Option<i64>) -> Result<Done> {
    let now = clock::now();
    let mut done = Done::default();
    let mut last: Option<DueKey> = None;
    loop {
        let left = max_pools.map_or(BATCH, |max| (max - done.pools).min(BATCH));
        let rows = if left > 0 { in_scratch_memory(|| pools::lock_due(now, last.as_ref(), left)) } else { Vec::new() };
        let Some(furthest) = rows.last() else { break };
        last = Some(DueKey::of(furthest));
        let mut rows = rows;
        // A recharge may take the lock of its policy: two sessions must not take two policies crosswise.
        rows.sort_by(|a, b| {
            (&a.customer_id, &a.credit_type_id, a.pool_id).cmp(&(&b.customer_id, &b.credit_type_id, b.pool_id))
        });
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(PIECE));
            done.add(&piece(std::mem::replace(&mut rows, rest)));
        }
    }
    done.remaining = pools::count_due(now);
    Ok(done)
}

/// A piece of the work. Where it fails as a whole, each half is tried by itself, down to the pool that is to blame.
fn piece(rows: Vec<PoolRow>) -> Done {
    let names: Vec<(String, i64)> = rows.iter().map(|row| (row.customer_id.clone(), row.pool_id)).collect();
    match attempt(|| carry_out(rows)) {
        Ok(done) => done,
        Err(message) => match names.as_slice() {
            [(customer_id, pool_id)] => {
                warning!(
                    "credit_pools maintenance passes over pool {pool_id} of customer \"{customer_id}\": {message}"
                );
                Done { failed: 1, ..Done::default() }
            }
            _ => {
                let mut done = Done::default();
                let (one, other) = names.split_at(names.len() / 2);
                for half in [one, other] {
                    // Locked by this transaction since the batch was read, but changed by nobody.
                    let again = |(customer_id, pool_id): &(String, i64)| pools::lock(customer_id, *pool_id);
                    let rows = in_scratch_memory(|| half.iter().filter_map(again).collect());
                    done.add(&piece(rows));
                }
                done
            }
        },
    }
}

fn carry_out(rows: Vec<PoolRow>) -> Result<Done> {
    let mut done = Done::default();
    for row in rows {
        check_for_interrupts!();
        in_scratch_memory(|| -> Result<()> {
            let mut pool = LockedPool::advanced(row)?;
            done.pools += 1;
            done.renewed += pool.due_renewals();
            done.started += pool.due_count(EntryType::Grant) - pool.due_renewals();
            done.expired += pool.due_count(EntryType::Expire);
            done.rolled_over += pool.due_count(EntryType::RolloverIn);
            if pool.write(&Note::default()) { Ok(()) } else { Err(Error::state("the pool was not written")) }
        })?;
    }
    Ok(done)
}
