//! Closed history moved out of the ledger's own table, pool by pool, with its keys and the hash that the rest goes on from.
//!
//! Only the first rows of a pool move, up to the last one that is old enough, and never the pool's last: what is left goes
//! on from the head that is written with them. Nothing else of the pool changes, not even its row.

use crate::clock;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::store::archive::{self, Head, Old, PoolKey, Range};
use crate::store::customers;
use crate::store::isolate::in_scratch_memory;

/// Pools that are found at once, and rows that one statement moves: bounds memory, and the time to a cancellation.
const POOLS: i64 = 1_000;
const ROWS: i64 = 10_000;

/// What one call may do at most; `None`: no bound.
pub struct Bounds {
    pub rows: Option<i64>,
    pub pools: Option<i64>,
}

#[derive(Default)]
pub struct Done {
    pub pools: i64,
    pub ledger_rows: i64,
    pub usage_events: i64,
    pub keys: i64,
    pub bytes: i64,
    /// Others had them locked.
    pub passed_over: i64,
    /// The last pool was reached.
    pub is_complete: bool,
    /// The last pool that nothing more is to be done in: where the next call goes on.
    pub last: Option<PoolKey>,
}

impl Done {
    fn rows(&self) -> i64 {
        self.ledger_rows + self.usage_events
    }
}

/// Archives in the order of customers and pools, behind `after`.
pub fn run(of: &Old, after: Option<PoolKey>, bounds: &Bounds) -> Result<Done> {
    let now = clock::now();
    if of.before > now {
        return Err(Error::argument("before", "before lies in the future")
            .with("before", of.before.to_string())
            .with("now", now.to_string()));
    }
    if let Some(customer_id) = of.customer_id
        && !customers::exists(customer_id)
    {
        return Err(Error::unknown("customer", customer_id));
    }
    let start = after.unwrap_or_else(|| (of.customer_id.unwrap_or_default().to_owned(), i64::MIN));
    let mut done = Done::default();
    let (mut seen, mut pools) = (start, 0);
    let mut progress = Progress::of("archive_ledger");
    loop {
        let found = in_scratch_memory(|| archive::pools(of, (&seen.0, seen.1), POOLS));
        if found.is_empty() {
            done.is_complete = true;
            return Ok(done);
        }
        for pool in found {
            progress.tick(|| {
                let (customer_id, pool_id) = &pool;
                format!(
                    "{} rows of {} pools moved, at pool {pool_id} of customer \"{customer_id}\"",
                    done.rows(),
                    done.pools
                )
            });
            let left = bounds.rows.map_or(i64::MAX, |most| most - done.rows());
            if left < 1 || bounds.pools.is_some_and(|most| pools >= most) {
                return Ok(done);
            }
            pools += 1;
            // Nothing is held yet that another could wait for, while this waits for the first.
            let finished = match archive::lock(&pool, pools == 1) {
                Some(last) => archive_pool(&pool, last, of, left, &mut done, &mut progress),
                None => {
                    done.passed_over += 1;
                    true
                }
            };
            if !finished {
                return Ok(done);
            }
            done.last = Some(pool.clone());
            seen = pool;
        }
    }
}

/// Moves what is old enough in a locked pool whose last row is `last`, `most` rows at most. `false`: some of it is left.
fn archive_pool(pool: &PoolKey, last: i64, of: &Old, most: i64, done: &mut Done, progress: &mut Progress) -> bool {
    let mut left = most;
    let mut head = archive::head(pool);
    loop {
        progress.tick(|| {
            format!("{} rows of {} pools moved, in pool {} of customer \"{}\"", done.rows(), done.pools, pool.1, pool.0)
        });
        let piece = left.min(ROWS);
        let moved = in_scratch_memory(|| archive_piece(pool, last, of, piece, &mut head, done));
        if moved == 0 {
            return true;
        }
        done.pools += i64::from(left == most);
        left -= moved;
        if left < 1 {
            return false;
        }
    }
}

/// One piece of each kind of rows; how many have moved.
fn archive_piece(pool: &PoolKey, last: i64, of: &Old, piece: i64, head: &mut Head, done: &mut Done) -> i64 {
    let (mut entries, mut usages) = (0, 0);
    let furthest = head.up_to_seq.saturating_add(piece).min(last - 1);
    if let Some(next) = archive::last_old(pool, head, furthest, of.before) {
        // All rows up to that one, by whatever instant: the ledger stays without gaps.
        let range =
            Range { first: head.up_to_seq + 1, last: next.up_to_seq, before: credit_pools_domain::Instant::INFINITY };
        entries = archive_range(pool, &range, done);
        *head = next;
    }
    let room = piece - entries;
    if room > 0
        && let Some(usage) = archive::last_old_usage(pool, head, room, of.before)
    {
        let range = Range { first: -usage, last: -head.up_to_usage - 1, before: of.before };
        usages = archive_range(pool, &range, done);
        head.up_to_usage = usage;
    }
    if entries + usages > 0 {
        archive::add_head(pool, head, entries, usages, clock::now());
    }
    done.ledger_rows += entries;
    done.usage_events += usages;
    entries + usages
}

fn archive_range(pool: &PoolKey, range: &Range, done: &mut Done) -> i64 {
    done.keys += archive::keep_keys(pool, range);
    let moved = archive::move_rows(pool, range);
    done.bytes += moved.bytes;
    moved.rows
}
