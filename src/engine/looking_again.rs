//! Looking again at pools that were passed over for a reason that the clock has ended: a cooldown, or the limit of a
//! period. A pool that is empty refuses all usage, and a rejected call fires nothing, so nobody else would.

use credit_pools_domain::Instant;
use pgrx::{check_for_interrupts, warning};

use super::pool::LockedPool;
use super::recharging::evaluate;
use crate::error::Result;
use crate::store::isolate::{attempt, in_scratch_memory};
use crate::store::ledger::Note;
use crate::store::recharges::{self, Ended};

/// Pools that are looked at in one subtransaction.
const PIECE: i64 = 1_000;
/// What could not be looked at now is looked at again after this.
const A_MINUTE: i64 = 60_000_000;

#[derive(Default)]
pub struct Done {
    pub looked_at: i64,
    pub failed: i64,
}

/// A skip, by which its pool is found again.
type Skip = (String, i64);

/// Looks at all of them, or at one piece.
pub fn look_again(now: Instant, all: bool) -> Done {
    let mut done = Done::default();
    loop {
        check_for_interrupts!();
        let mut skips: Vec<Skip> = Vec::new();
        let before = done.failed;
        // Locked where it is written, as in the maintenance of what is due.
        let looked = attempt(|| {
            let found = in_scratch_memory(|| recharges::lock_ended(now, PIECE));
            skips = found.iter().map(|ended| (ended.pool.customer_id.clone(), ended.recharge_id)).collect();
            look_at(found, now)
        });
        match looked {
            Ok(looked) => done.looked_at += looked,
            // Without a pool to blame, or later: what is low stays so, and is found again.
            Err(message) if skips.is_empty() => {
                warning!("credit_pools maintenance cannot look for pools to recharge: {message}");
                done.failed += 1;
                return done;
            }
            Err(message) => by_halves(&skips, &message, now, &mut done),
        }
        // What failed may be found again at once.
        if skips.is_empty() || !all || done.failed > before {
            return done;
        }
    }
}

fn by_halves(skips: &[Skip], message: &str, now: Instant, done: &mut Done) {
    if let [(customer_id, recharge_id)] = skips {
        warning!(
            "credit_pools maintenance cannot evaluate a pool of customer \"{customer_id}\" (skip {recharge_id}): {message}"
        );
        // Where not even that can be done, it is found again by the next run.
        let _ = attempt(|| {
            if recharges::lock_one_ended(customer_id, *recharge_id, now).is_some() {
                recharges::look_again_at(customer_id, *recharge_id, Some(now.plus_micros(A_MINUTE)));
            }
            Ok(())
        });
        done.failed += 1;
        return;
    }
    let (one, other) = skips.split_at(skips.len() / 2);
    for half in [one, other].into_iter().filter(|half| !half.is_empty()) {
        let again = attempt(|| {
            let lock = |(customer_id, recharge_id): &Skip| recharges::lock_one_ended(customer_id, *recharge_id, now);
            look_at(in_scratch_memory(|| half.iter().filter_map(lock).collect()), now)
        });
        match again {
            Ok(looked) => done.looked_at += looked,
            Err(message) => by_halves(half, &message, now, done),
        }
    }
}

fn look_at(mut found: Vec<Ended>, now: Instant) -> Result<i64> {
    // The order in which the locks of policies are taken.
    found.sort_by(|a, b| {
        let (a, b) = (&a.pool, &b.pool);
        (&a.customer_id, &a.credit_type_id, a.pool_id).cmp(&(&b.customer_id, &b.credit_type_id, b.pool_id))
    });
    let mut looked = 0;
    for Ended { pool, recharge_id, is_latest } in found {
        check_for_interrupts!();
        in_scratch_memory(|| -> Result<()> {
            recharges::look_again_at(&pool.customer_id, recharge_id, None);
            if !is_latest || pool.wallet.frozen {
                return Ok(());
            }
            looked += 1;
            if pool.wallet.next_transition <= now {
                // Booked first; the trigger then looks at what that leaves.
                LockedPool::advanced(pool)?.write(Note::default());
                return Ok(());
            }
            evaluate(&pool.customer_id, pool.pool_id)
        })?;
    }
    Ok(looked)
}
