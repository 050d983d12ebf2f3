//! Adds the ledger's usage up for charts, a part of maintenance. Usage pays nothing for it: the rows are read behind it, and
//! no pool is locked, as rows that are committed never change and none comes before them any more.

use pgrx::{check_for_interrupts, warning};

use crate::progress::Progress;
use crate::settings;
use crate::store::isolate::{attempt, in_scratch_memory};
use crate::store::rollups::{self, Behind};
use crate::store::spi;

/// Rows that a call for a number of pools adds up before it leaves the rest to the next one.
pub const MOST_ROWS: i64 = 100_000;
/// Rows that one statement adds up.
const PIECE: i64 = 10_000;
/// Pools that are looked at at once, and by a call for a number of pools: looking costs little. Where there are fewer, nothing
/// has to be remembered.
const ROUND: i64 = 1_000;
/// The pools of so many of the last usages are looked at first, of every one in so many: most of what is used much.
const LOOKS: i64 = 200;
const STEP: i64 = 1_000;

/// Adds up what waits, in all pools or (`max_pools`) in a bounded time; how many rows. A failure is told, and keeps nothing
/// else from being done: a chart is right without.
pub fn roll_up(max_pools: Option<i64>, progress: &mut Progress) -> i64 {
    let Some(rows) = settings::rollup_rows() else { return 0 };
    // What another session has added since could not be seen.
    if spi::keeps_snapshot() {
        return 0;
    }
    attempt(|| Ok(if rollups::try_lock() { go_round(max_pools, rows, progress) } else { 0 })).unwrap_or_else(
        |message| {
            warning!("credit_pools maintenance cannot add usage up: {message}");
            0
        },
    )
}

/// Pools are looked at in turn, some by each call: the next call goes on where this one ends.
fn go_round(max_pools: Option<i64>, rows: i64, progress: &mut Progress) -> i64 {
    let mut left = max_pools.map_or(i64::MAX, |_| MOST_ROWS);
    let mut done = 0;
    for pool in in_scratch_memory(|| rollups::pools_in_use(rows, LOOKS, STEP)) {
        done += add_up(&pool, left - done);
        progress.tick(|| format!("{done} ledger rows added up for charts"));
    }
    let start = if max_pools.is_some() { rollups::position() } else { beginning() };
    let mut after = start.clone();
    while done < left {
        check_for_interrupts!();
        let pools = in_scratch_memory(|| rollups::pools_after((&after.0, after.1), rows, ROUND));
        for pool in &pools {
            done += add_up(pool, left - done);
            progress.tick(|| format!("{done} ledger rows added up for charts"));
            if done >= left {
                break;
            }
            after = (pool.customer_id.clone(), pool.pool_id);
        }
        let at_end = (pools.len() as i64) < ROUND;
        if at_end && done < left {
            after = beginning();
        }
        if at_end || max_pools.is_some() {
            left = 0;
        }
    }
    if max_pools.is_some() && after != start {
        rollups::set_position(&after.0, after.1);
    }
    done
}

fn beginning() -> (String, i64) {
    (String::new(), i64::MIN)
}

/// Adds a pool's rows, piece by piece, at most about so many.
fn add_up(pool: &Behind, most: i64) -> i64 {
    if !pool.waits {
        return 0;
    }
    let (mut seq, mut usage, mut done) = (pool.up_to_seq, pool.up_to_usage, 0);
    let customer_id = &pool.customer_id;
    while seq < pool.seq && done < most {
        check_for_interrupts!();
        let next = pool.seq.min(seq + PIECE);
        in_scratch_memory(|| rollups::add(customer_id, pool.pool_id, seq, next, (next, usage)));
        (done, seq) = (done + next - seq, next);
    }
    while done < most {
        check_for_interrupts!();
        let Some((next, count)) = rollups::next_unbooked(customer_id, pool.pool_id, usage, PIECE) else { break };
        in_scratch_memory(|| rollups::add(customer_id, pool.pool_id, -next - 1, -usage - 1, (seq, next)));
        (done, usage) = (done + count, next);
    }
    done
}
