//! What a random sequence is made of.

use crate::calls::POOLS;
use crate::naive::{Amount, Minute};
use rand::{Rng, rngs::StdRng};

/// Those with a subscription, and so with usage by feature; the others hold plain credits.
pub const SUBSCRIBED: usize = 2;

/// A step as it was drawn: relative, so that it means something after others before it were left out.
#[derive(Clone, Debug)]
pub enum Step {
    Wait(Minute),
    Maintain,
    /// What was recorded so long ago goes into the archive, all of it or so many rows; for the model nothing changes.
    Archive {
        ago: Minute,
        rows: Option<i64>,
    },
    Grant {
        pool: usize,
        amount: Amount,
        category: &'static str,
        priority: i64,
        start: Option<Minute>,
        lasts: Option<Minute>,
        unpaid: bool,
        features: Vec<usize>,
        key: bool,
    },
    /// The nth grant, counted from the youngest.
    Confirm {
        nth: usize,
    },
    Void {
        nth: usize,
        amount: Option<Amount>,
        key: bool,
    },
    Usage {
        pool: usize,
        feature: usize,
        value: i128,
        cap: bool,
        /// The value is the period's new total.
        total: bool,
        ago: Option<Minute>,
        key: bool,
    },
    /// Usages in one call; some of them once more.
    Batch {
        events: Vec<Step>,
        again: Vec<usize>,
        atomic: bool,
    },
    /// None: on the customer. An amount of None: no limit any more.
    Limit {
        pool: Option<usize>,
        per: Minute,
        amount: Option<Amount>,
    },
    Consume {
        pool: usize,
        amount: Amount,
        cap: bool,
        key: bool,
    },
    Overdraft {
        pool: usize,
        limit: Option<Amount>,
    },
    Freeze {
        pool: usize,
        on: bool,
    },
    Rate {
        feature: usize,
        rate: i128,
        /// Said by a whole catalogue.
        by_catalogue: bool,
    },
    /// The catalogue once more as it is.
    Redefine,
    /// The pool once more as it is.
    Open {
        pool: usize,
    },
    /// Rows inserted into a metered table: pool, value, and whether under a key; or all of the last time once more.
    Insert {
        rows: Vec<(usize, i128, bool)>,
        again: bool,
    },
    /// Would a usage go through?
    Check {
        pool: usize,
        of: Of,
    },
    /// What a usage would do.
    Estimate(Box<Step>),
    /// The balance as it was seen at one of the instants that were left.
    Past {
        nth: usize,
        pool: usize,
    },
    /// The nth usage, counted from the youngest.
    Explain {
        nth: usize,
    },
    /// Reads events, and says that those up to the nth of them are done.
    Fetch {
        max: usize,
        done: usize,
    },
    Reserve {
        pool: usize,
        of: Of,
        ttl: Minute,
    },
    /// The nth hold, counted from the youngest.
    Settle {
        nth: usize,
        figure: Figure,
        last: bool,
        key: bool,
    },
    Release {
        nth: usize,
    },
    Extend {
        nth: usize,
        ttl: Minute,
    },
    /// The nth usage, counted from the youngest: so much in a hundred of what is left to reverse, or all.
    Reverse {
        nth: usize,
        percent: Option<i128>,
        key: bool,
    },
    Transfer {
        from: usize,
        to: usize,
        amount: Amount,
        key: bool,
    },
    Update {
        nth: usize,
        priority: Option<i64>,
        /// None: as it is; Some(None): no end any more.
        lasts: Option<Option<Minute>>,
        key: bool,
    },
    /// The nth call with a key, counted from the youngest, once more, whether it had worked or not.
    Again {
        nth: usize,
    },
    /// The same key with another amount.
    Conflict {
        nth: usize,
    },
}

/// What a hold is reserved for.
#[derive(Clone, Debug, PartialEq)]
pub enum Of {
    Amount(Amount),
    Feature { feature: usize, value: i128 },
}

/// What a settlement charges, as it was drawn.
#[derive(Clone, Debug)]
pub enum Figure {
    Held,
    /// So much in a hundred of what is held.
    Percent(i128),
    Above(Amount),
    Value(i128),
}

pub fn draw(random: &mut StdRng) -> Step {
    let pool = pool(random);
    let key = random.random_bool(0.25);
    match random.random_range(0..177) {
        0..=15 => Step::Wait(match random.random_range(0..4) {
            0 => 1,
            1 | 2 => random.random_range(1..60),
            _ => random.random_range(60..2000),
        }),
        16..=18 => Step::Maintain,
        19..=38 => Step::Grant {
            pool,
            amount: amount(random),
            category: ["paid", "promotional", "recurring"][random.random_range(0..3)],
            priority: [50, 50, 50, 10, 90, 0, 100][random.random_range(0..7)],
            // Round distances make equal instants likely.
            start: random.random_bool(0.4).then(|| 10 * random.random_range(-10..30)),
            lasts: random.random_bool(0.6).then(|| 10 * random.random_range(1..100)),
            unpaid: random.random_bool(0.12),
            features: match random.random_range(0..8) {
                0 => vec![random.random_range(0..3)],
                1 => vec![0, random.random_range(1..3)],
                _ => vec![],
            },
            key,
        },
        39..=41 => Step::Confirm { nth: random.random_range(0..6) },
        42..=47 => {
            Step::Void { nth: random.random_range(0..8), amount: random.random_bool(0.6).then(|| amount(random)), key }
        }
        48..=65 => usage(random),
        66..=76 => Step::Consume { pool, amount: amount(random), cap: random.random_bool(0.35), key },
        77..=80 => Step::Overdraft {
            pool,
            limit: match random.random_range(0..6) {
                0 => None,
                1 | 2 => Some(0),
                _ => Some(random.random_range(1..20_000)),
            },
        },
        81..=82 => Step::Freeze { pool, on: random.random_bool(0.3) },
        83..=84 => Step::Rate {
            feature: random.random_range(0..3),
            rate: random.random_range(0..3000),
            by_catalogue: random.random_bool(0.5),
        },
        85..=89 => Step::Again { nth: random.random_range(0..6) },
        90..=91 => Step::Conflict { nth: random.random_range(0..6) },
        92..=102 => Step::Reserve { pool, of: of(random), ttl: ttl(random) },
        103..=110 => Step::Settle {
            nth: nth_hold(random),
            figure: match random.random_range(0..8) {
                0 | 1 => Figure::Held,
                2 => Figure::Percent(0),
                3 | 4 => Figure::Percent(random.random_range(0..=100)),
                5 => Figure::Above(amount(random).min(random.random_range(1..5000))),
                _ => Figure::Value(amount(random).min(random.random_range(1..10_000))),
            },
            last: random.random_bool(0.6),
            key,
        },
        111..=112 => Step::Release { nth: nth_hold(random) },
        113..=114 => Step::Extend { nth: nth_hold(random), ttl: ttl(random) },
        115..=121 => Step::Reverse {
            nth: random.random_range(0..6),
            percent: match random.random_range(0..6) {
                0..=2 => None,
                3 => Some(100),
                4 => Some(130),
                _ => Some(random.random_range(1..100)),
            },
            key,
        },
        122..=125 => {
            let to = (pool + random.random_range(1..POOLS.len())) % POOLS.len();
            Step::Transfer { from: pool, to, amount: amount(random), key }
        }
        130..=135 => {
            let count = random.random_range(1..8);
            Step::Batch {
                events: (0..count).map(|_| usage(random)).collect(),
                again: (0..random.random_range(0..3)).map(|_| random.random_range(0..count)).collect(),
                atomic: random.random_bool(0.4),
            }
        }
        136..=139 => Step::Limit {
            pool: random.random_bool(0.6).then_some(pool),
            per: [60, 1440][random.random_range(0..2)],
            amount: random.random_bool(0.6).then(|| random.random_range(1000..80_000)),
        },
        140 => Step::Redefine,
        141 | 142 => Step::Open { pool },
        143..=148 => Step::Insert {
            rows: (0..random.random_range(1..4))
                .map(|_| (random.random_range(0..SUBSCRIBED), amount(random), random.random_bool(0.5)))
                .collect(),
            again: random.random_bool(0.25),
        },
        149..=153 => Step::Check { pool, of: of(random) },
        154..=159 => Step::Estimate(Box::new(usage(random))),
        160..=164 => Step::Past { nth: random.random_range(0..12), pool },
        165..=168 => Step::Explain { nth: random.random_range(0..8) },
        173..=176 => Step::Archive {
            ago: if random.random_bool(0.5) { 0 } else { random.random_range(0..3000) },
            rows: random.random_bool(0.4).then(|| random.random_range(1..60)),
        },
        169..=172 => Step::Fetch { max: random.random_range(1..60), done: random.random_range(0..60) },
        _ => Step::Update {
            nth: random.random_range(0..8),
            priority: random.random_bool(0.6).then(|| random.random_range(0..=100)),
            lasts: random.random_bool(0.6).then(|| random.random_bool(0.8).then(|| 10 * random.random_range(-2..60))),
            key,
        },
    }
}

fn usage(random: &mut StdRng) -> Step {
    Step::Usage {
        pool: if random.random_bool(0.03) { SUBSCRIBED } else { random.random_range(0..SUBSCRIBED) },
        feature: feature(random),
        value: amount(random),
        cap: random.random_bool(0.35),
        total: random.random_bool(0.15),
        ago: random.random_bool(0.2).then(|| random.random_range(-5..500)),
        key: random.random_bool(0.25),
    }
}

fn pool(random: &mut StdRng) -> usize {
    [0, 0, 1, 1, 2][random.random_range(0..5)]
}

fn of(random: &mut StdRng) -> Of {
    match random.random_bool(0.5) {
        true => Of::Amount(amount(random).min(random.random_range(1..20_000))),
        false => Of::Feature { feature: feature(random), value: amount(random).min(random.random_range(1..10_000)) },
    }
}

fn feature(random: &mut StdRng) -> usize {
    [0, 0, 1, 1, 2, 2, 3][random.random_range(0..7)]
}

fn nth_hold(random: &mut StdRng) -> usize {
    [0, 0, 0, 1, 1, 2, 3, 5][random.random_range(0..8)]
}

/// Up to a day; longer ones and negative ones are refused.
fn ttl(random: &mut StdRng) -> Minute {
    match random.random_range(0..12) {
        0 => [0, -1, 1441, 5000][random.random_range(0..4)],
        1 => 1440,
        2..=5 => 10 * random.random_range(1..12),
        6..=8 => 10 * random.random_range(12..140),
        _ => random.random_range(1..600),
    }
}

/// Small ones, round ones and large ones, in hundredths.
fn amount(random: &mut StdRng) -> Amount {
    match random.random_range(0..4) {
        0 => random.random_range(1..10),
        1 => 100 * random.random_range(1..50),
        _ => random.random_range(1..20_000),
    }
}
