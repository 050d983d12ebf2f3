//! What is due by now, for any customer: the same work that the next call on the pool would do first.

use credit_pools_domain::{EntryType, Instant};
use pgrx::{check_for_interrupts, warning};

use super::pool::LockedPool;
use super::{looking_again, outbox, plan_pools, rolling_up};
use crate::clock;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::store::isolate::{attempt, in_scratch_memory};
use crate::store::ledger::Note;
use crate::store::pools::{self, DueKey, PoolRow};
use crate::store::subscriptions;

/// Pools that are locked by one statement and carried out in one subtransaction: bounds the memory of a call, not its
/// work. One that fails costs the others of its piece a second try.
const PIECE: i64 = 1_000;

#[derive(Default)]
pub struct Done {
    pub pools: i64,
    pub holds: i64,
    pub started: i64,
    pub expired: i64,
    pub renewed: i64,
    pub rolled_over: i64,
    /// Pools that were looked at again, since the reason why they did not recharge has ended.
    pub recharges: i64,
    /// Subscriptions that the clock has ended.
    pub subscriptions: i64,
    /// Events that nobody needs any more.
    pub events: i64,
    /// Ledger rows that were added to the sums that charts read.
    pub rolled_up: i64,
    pub failed: i64,
    /// Still due, up to `pools::MOST_COUNTED`: locked by others, failed, or left for the next call.
    pub remaining: i64,
}

impl Done {
    /// Whether another run would find something to do: a piece was done of what comes in pieces.
    pub fn leaves_more(&self) -> bool {
        (self.pools > 0 && self.remaining > 0)
            || self.recharges > 0
            || self.subscriptions > 0
            || self.events > 0
            || self.rolled_up >= rolling_up::MOST_ROWS
    }

    fn add(&mut self, other: &Done) {
        self.pools += other.pools;
        self.holds += other.holds;
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
    let mut progress = Progress::of("credit_pools maintenance");
    loop {
        progress.tick(|| format!("{} pools booked, {} failed", done.pools, done.failed));
        let left = max_pools.map_or(PIECE, |max| (max - done.pools).min(PIECE));
        if left < 1 {
            break;
        }
        // Locked where it is written, in the subtransaction: what a subtransaction writes upon a lock of the
        // transaction above it makes a multixact of two for every row.
        let mut names = Vec::new();
        let carried = attempt(|| {
            let mut rows = in_scratch_memory(|| pools::lock_due(now, last.as_ref(), left));
            names = rows.iter().map(DueKey::of).collect();
            // A recharge may take the lock of its policy: two sessions must not take two policies crosswise.
            rows.sort_by(|a, b| {
                (&a.customer_id, &a.credit_type_id, a.pool_id).cmp(&(&b.customer_id, &b.credit_type_id, b.pool_id))
            });
            carry_out(rows)
        });
        match carried {
            Ok(piece) => done.add(&piece),
            Err(message) if names.is_empty() => {
                // No pool is to blame: once more, for the error as PostgreSQL gives it.
                pools::lock_due(now, last.as_ref(), left);
                return Err(Error::state(message));
            }
            Err(message) => done.add(&by_halves(&names, &message)),
        }
        match names.pop() {
            Some(furthest) => last = Some(furthest),
            None => break,
        }
    }
    let looking_again::Done { looked_at, failed } = looking_again::look_again(now, max_pools.is_none());
    (done.recharges, done.failed) = (looked_at, done.failed + failed);
    done.subscriptions = end_subscriptions(now, max_pools.is_none());
    done.events = outbox::delete_old(max_pools.is_none());
    done.rolled_up = rolling_up::roll_up(max_pools, &mut progress);
    done.remaining = pools::count_due(now);
    Ok(done)
}

/// Says of subscriptions that the clock has ended that it has; `all`, or one piece of them. Their pools have seen to
/// themselves.
fn end_subscriptions(now: Instant, all: bool) -> i64 {
    let mut ended = 0;
    loop {
        check_for_interrupts!();
        let over = in_scratch_memory(|| subscriptions::lock_over(now, PIECE));
        for (customer_id, subscription) in &over {
            plan_pools::end(customer_id, subscription, now);
        }
        ended += over.len() as i64;
        if over.is_empty() || !all {
            return ended;
        }
    }
}

/// Where a piece fails as a whole, each half is tried by itself, down to the pool that is to blame.
fn by_halves(names: &[DueKey], message: &str) -> Done {
    if let [DueKey { customer_id, pool_id, .. }] = names {
        warning!("credit_pools maintenance passes over pool {pool_id} of customer \"{customer_id}\": {message}");
        return Done { failed: 1, ..Done::default() };
    }
    let mut done = Done::default();
    let (one, other) = names.split_at(names.len() / 2);
    for half in [one, other].into_iter().filter(|half| !half.is_empty()) {
        let again = attempt(|| {
            // Whoever else has one locked meanwhile sees to it: waiting here would be out of the order of locks.
            let lock = |name: &DueKey| pools::try_lock(&name.customer_id, name.pool_id);
            carry_out(in_scratch_memory(|| half.iter().filter_map(lock).collect()))
        });
        match again {
            Ok(piece) => done.add(&piece),
            Err(message) => done.add(&by_halves(half, &message)),
        }
    }
    done
}

fn carry_out(rows: Vec<PoolRow>) -> Result<Done> {
    let mut done = Done::default();
    for row in rows {
        check_for_interrupts!();
        in_scratch_memory(|| -> Result<()> {
            let mut pool = LockedPool::advanced(row)?;
            done.pools += 1;
            done.holds += pool.due_holds();
            done.renewed += pool.due_renewals();
            done.started += pool.due_count(EntryType::Grant) - pool.due_renewals();
            done.expired += pool.due_count(EntryType::Expire);
            done.rolled_over += pool.due_count(EntryType::RolloverIn);
            if pool.write(Note::default()) { Ok(()) } else { Err(Error::state("the pool was not written")) }
        })?;
    }
    Ok(done)
}
