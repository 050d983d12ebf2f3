//! What a random case is made of: plans, and steps that mean something also after others were left out.

use crate::world::{Amount, Entry, Minute, Plan, SCOPES, Terms};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

pub const HOUR: Minute = 60;
pub const DAY: Minute = 24 * HOUR;

/// The functions whose calls are counted, and what they are called where they were refused.
pub const FUNCTIONS: [(&str, &str); 11] = [
    ("archive_credit_type", "archive_credit_type, refused"),
    ("cancel_subscription", "cancel_subscription, refused"),
    ("consume_credits", "consume_credits, refused"),
    ("define_plan_credits", "define_plan_credits, refused"),
    ("grant_credits", "grant_credits, refused"),
    ("provision_subscription", "provision_subscription, refused"),
    ("report_usage", "report_usage, refused"),
    ("set_pool", "set_pool, refused"),
    ("set_quantity", "set_quantity, refused"),
    ("transfer_subscription", "transfer_subscription, refused"),
    ("void_grant", "void_grant, refused"),
];

#[derive(Clone, Debug)]
pub struct Case {
    pub plans: Vec<Plan>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Wait(Minute),
    /// To the nth next event, or so many minutes beside it.
    WaitForEvent {
        nth: usize,
        beside: Minute,
    },
    Maintain {
        max_pools: Option<i64>,
    },
    /// Reads, carries out what is due, reads again; kept or undone.
    Reads {
        keep: bool,
    },
    Provision {
        scope: usize,
        plan: usize,
        /// From now; negative lies in the past.
        starts: Option<Minute>,
        lasts: Option<Minute>,
        seats: i128,
    },
    Cancel {
        nth: usize,
        after: Option<Minute>,
        expire: bool,
    },
    Transfer {
        nth: usize,
        to: usize,
        moving: bool,
    },
    Seats {
        nth: usize,
        seats: i128,
    },
    Grant {
        scope: usize,
        amount: Amount,
        category: &'static str,
        priority: i64,
        starts: Option<Minute>,
        lasts: Option<Minute>,
    },
    Consume {
        scope: usize,
        by_feature: bool,
        amount: Amount,
        cap: bool,
        ago: Option<Minute>,
    },
    Void {
        scope: usize,
        nth: usize,
        amount: Option<Amount>,
    },
    Limit {
        scope: usize,
        limit: Amount,
    },
    Redefine {
        plan: usize,
        entry: usize,
        terms: Terms,
    },
    NewEntry {
        plan: usize,
        entry: Entry,
    },
    Archive,
    /// balance_at for one of the instants that were looked at before, as known then or at one of those after it.
    Past {
        scope: usize,
        nth: usize,
        known_nth: Option<usize>,
    },
    /// balance_at for an instant ahead, of what is known now or was known before.
    Ahead {
        scope: usize,
        by: Minute,
        known_nth: Option<usize>,
    },
}

fn pick<T: Copy>(random: &mut StdRng, list: &[T]) -> T {
    *list.choose(random).expect("not empty")
}

fn amount(random: &mut StdRng) -> Amount {
    match random.random_range(0..4) {
        0 => random.random_range(1..20),
        1 => 100 * random.random_range(1..30),
        _ => random.random_range(1..5_000),
    }
}

fn priority(random: &mut StdRng) -> i64 {
    pick(random, &[50, 50, 50, 10, 90])
}

fn category(random: &mut StdRng) -> &'static str {
    pick(random, &["recurring", "recurring", "paid", "promotional"])
}

fn terms(random: &mut StdRng, once: bool) -> Terms {
    let every = pick(random, &[HOUR, 5 * HOUR, 5 * HOUR, 12 * HOUR, 12 * HOUR, DAY, DAY, 2 * DAY, 7 * DAY]);
    let lasts = match random.random_range(0..6) {
        0 => Some(every / 2),
        1 => Some(every + every / 2),
        2 => Some(every * random.random_range(1..4)),
        3 => Some(10 * random.random_range(1..400)),
        _ => None,
    };
    let carries = !once && random.random_bool(0.5);
    Terms {
        from: Minute::MIN,
        amount: amount(random),
        every,
        lasts: lasts.filter(|_| !once || random.random_bool(0.5)),
        category: category(random),
        priority: priority(random),
        max: if carries { amount(random) + amount(random) } else { 0 },
        part: pick(random, &[1000, 1000, 500, 333, 10]),
        periods: random.random_range(1..4),
    }
}

pub fn entry(random: &mut StdRng) -> Entry {
    let once = random.random_bool(0.15);
    Entry { versions: vec![terms(random, once)], once, per_seat: random.random_bool(0.35) }
}

pub fn draw(random: &mut StdRng, steps: usize) -> Case {
    let mut plans: Vec<Plan> = (0..2)
        .map(|_| Plan {
            entries: (0..random.random_range(1..4)).map(|_| entry(random)).collect(),
            overdraft: if random.random_bool(0.4) { amount(random) } else { 0 },
        })
        .collect();
    // A plan without credits.
    plans.push(Plan::default());
    let steps = (0..steps).map(|_| step(random, &plans)).collect();
    Case { plans, steps }
}

fn step(random: &mut StdRng, plans: &[Plan]) -> Step {
    let scope = pick(random, &[0, 1, 1, 1, 1, 2, 2]);
    let plan = pick(random, &[0, 0, 0, 1, 1, 1, 2]);
    let seats = pick(random, &[0, 10, 10, 20, 25, 30, 100]);
    let nth = random.random_range(0..4);
    match random.random_range(0..100) {
        0..=11 => Step::Wait(match random.random_range(0..3) {
            0 => 10,
            1 => 10 * random.random_range(1..60),
            _ => 10 * random.random_range(60..600),
        }),
        12..=24 => Step::WaitForEvent { nth: random.random_range(0..5), beside: pick(random, &[0, 0, 0, 10, -10]) },
        25..=27 => {
            Step::Maintain { max_pools: if random.random_bool(0.3) { Some(random.random_range(1..3)) } else { None } }
        }
        28..=32 => Step::Reads { keep: random.random_bool(0.5) },
        33..=45 => Step::Provision {
            scope,
            plan,
            starts: match random.random_range(0..5) {
                0 => Some(10 * random.random_range(1..300)),
                1 => Some(-10 * random.random_range(1..1500)),
                _ => None,
            },
            lasts: random.random_bool(0.25).then(|| 10 * random.random_range(1..2500)),
            seats,
        },
        46..=49 => Step::Cancel {
            nth,
            after: match random.random_range(0..8) {
                0 => Some(-10),
                1..=3 => None,
                _ => Some(10 * random.random_range(0..800)),
            },
            expire: random.random_bool(0.5),
        },
        50..=53 => Step::Transfer { nth, to: random.random_range(0..SCOPES.len()), moving: random.random_bool(0.65) },
        54..=58 => Step::Seats { nth, seats },
        59..=64 => Step::Grant {
            scope,
            amount: amount(random),
            category: category(random),
            priority: priority(random),
            starts: random.random_bool(0.4).then(|| 10 * random.random_range(-300..300)),
            lasts: random.random_bool(0.6).then(|| 10 * random.random_range(1..800)),
        },
        65..=81 => Step::Consume {
            scope,
            by_feature: random.random_bool(0.3),
            amount: amount(random),
            cap: random.random_bool(0.6),
            ago: random.random_bool(0.35).then(|| 10 * random.random_range(1..500)),
        },
        82..=84 => {
            let amount = random.random_bool(0.6).then(|| amount(random));
            Step::Void { scope, nth: random.random_range(0..6), amount }
        }
        85 => Step::Limit { scope, limit: if random.random_bool(0.3) { 0 } else { amount(random) } },
        86..=89 => {
            let plan = random.random_range(0..2);
            let entry = random.random_range(0..plans[plan].entries.len());
            let terms = terms(random, plans[plan].entries[entry].once);
            Step::Redefine { plan, entry, terms }
        }
        90 => Step::NewEntry { plan: random.random_range(0..2), entry: entry(random) },
        91 if random.random_bool(0.2) => Step::Archive,
        91..=96 => Step::Past {
            scope,
            nth: random.random_range(0..12),
            known_nth: random.random_bool(0.5).then(|| random.random_range(0..8)),
        },
        _ => Step::Ahead {
            scope,
            by: 10 * random.random_range(0..1000),
            known_nth: random.random_bool(0.5).then(|| random.random_range(0..6)),
        },
    }
}
