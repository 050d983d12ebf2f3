//! What a random sequence is made of.

use super::world::{POOLS, Policy, Size, Terms};
use crate::naive::{Amount, Minute};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

pub struct Setting {
    pub terms: Terms,
    pub overdraft: Amount,
}

#[derive(Clone, Debug)]
pub enum Step {
    Wait(Minute),
    Maintain,
    Grant {
        pool: usize,
        amount: Amount,
        lasts: Option<Minute>,
    },
    Consume {
        pool: usize,
        amount: Amount,
    },
    Reserve {
        pool: usize,
        amount: Amount,
        ttl: Minute,
    },
    /// The nth hold, counted from the youngest.
    Release {
        nth: usize,
    },
    Void {
        nth: usize,
    },
    Freeze {
        pool: usize,
        on: bool,
    },
    /// For all pools, or for one of its own.
    Policy {
        pool: Option<usize>,
        policy: Policy,
    },
    Reset {
        pool: Option<usize>,
    },
    Claim {
        most: usize,
        lease: Minute,
    },
    /// The nth recharge, counted from the youngest; mostly one in flight.
    Complete {
        nth: usize,
        reference: usize,
    },
    Fail {
        nth: usize,
        permanent: bool,
    },
    Explain {
        pool: usize,
    },
}

fn pick<T: Copy>(random: &mut StdRng, list: &[T]) -> T {
    *list.choose(random).expect("not empty")
}

fn amount(random: &mut StdRng) -> Amount {
    match random.random_range(0..3) {
        0 => 100 * random.random_range(1..80),
        _ => random.random_range(1..8_000),
    }
}

impl Setting {
    pub fn draw(random: &mut StdRng) -> Setting {
        Setting {
            terms: Terms {
                max_failures: pick(random, &[1, 3, 4, 6]),
                backoff: pick(random, &[1, 7, 60, 400]),
                lasts: pick(random, &[None, Some(60), Some(1440), Some(10_000)]),
            },
            overdraft: pick(random, &[0, 0, 2_500]),
        }
    }
}

fn policy(random: &mut StdRng) -> Policy {
    let threshold = pick(random, &[0, 1_000, 5_000]) + random.random_range(0..500);
    let price = random.random_bool(0.7).then(|| pick(random, &[1000, 37, 250, 3001]));
    Policy {
        enabled: random.random_bool(0.9),
        threshold,
        size: match random.random_bool(0.5) {
            true => Size::Target(threshold + 100 + amount(random)),
            false => Size::Fixed(100 + amount(random)),
        },
        price,
        max_spend: price.filter(|_| random.random_bool(0.6)).map(|price| (price * 2 * amount(random) / 1000).max(1)),
        per: pick(random, &[60, 1440]),
        max_count: random.random_bool(0.3).then(|| random.random_range(0..4)),
        cooldown: pick(random, &[0, 0, 5, 90]),
        immediate: random.random_bool(0.5),
    }
}

pub fn draw(random: &mut StdRng) -> Step {
    let pool = random.random_range(0..POOLS.len());
    let some_pool = random.random_bool(0.3).then_some(pool);
    match random.random_range(0..100) {
        0..=13 => Step::Wait(pick(random, &[1, 3, 10, 45, 60, 300, 1440])),
        14..=19 => Step::Maintain,
        20..=26 => Step::Grant {
            pool,
            amount: 3 * amount(random),
            lasts: random.random_bool(0.5).then(|| random.random_range(1..600)),
        },
        27..=54 => Step::Consume { pool, amount: amount(random) },
        55..=58 => Step::Reserve { pool, amount: amount(random), ttl: random.random_range(1..300) },
        59..=60 => Step::Release { nth: random.random_range(0..3) },
        61..=63 => Step::Void { nth: random.random_range(0..4) },
        64..=65 => Step::Freeze { pool, on: random.random_bool(0.4) },
        66..=69 => Step::Policy { pool: some_pool, policy: policy(random) },
        70..=71 => Step::Reset { pool: some_pool },
        72..=79 => Step::Claim { most: random.random_range(1..4), lease: pick(random, &[1, 5, 30]) },
        80..=85 => Step::Complete { nth: random.random_range(0..5), reference: random.random_range(0..3) },
        86..=95 => Step::Fail { nth: random.random_range(0..5), permanent: random.random_bool(0.1) },
        _ => Step::Explain { pool },
    }
}
