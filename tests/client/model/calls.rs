//! What a random sequence is made of, and how its steps are spelled in SQL.

use crate::naive::{Amount, Minute};
use rand::{Rng, rngs::StdRng};
use support::decimal;

/// The features of every run, by place: their first rate in thousandths.
pub const RATES: [i128; 4] = [1000, 333, 2505, 0];
pub const POOLS: [Option<&str>; 2] = [None, Some("ws")];

/// A step as it was drawn: relative, so that it means something after others before it were left out.
#[derive(Clone, Debug)]
pub enum Step {
    Wait(Minute),
    Maintain,
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
        ago: Option<Minute>,
        key: bool,
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

/// A call with a fixed meaning: absolute times, grants by id.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Grant {
        pool: usize,
        amount: Amount,
        category: &'static str,
        priority: i64,
        start: Option<Minute>,
        end: Option<Minute>,
        unpaid: bool,
        features: Vec<usize>,
        key: Option<String>,
    },
    Confirm {
        grant: i64,
    },
    Void {
        grant: i64,
        amount: Option<Amount>,
        key: Option<String>,
    },
    Usage {
        pool: usize,
        feature: usize,
        value: i128,
        cap: bool,
        at: Option<Minute>,
        key: Option<String>,
    },
    Consume {
        pool: usize,
        amount: Amount,
        cap: bool,
        key: Option<String>,
    },
    Overdraft {
        pool: usize,
        limit: Option<Amount>,
    },
    Freeze {
        pool: usize,
        on: bool,
    },
}

impl Call {
    pub fn key(&self) -> Option<&str> {
        match self {
            Call::Grant { key, .. } | Call::Void { key, .. } | Call::Usage { key, .. } | Call::Consume { key, .. } => {
                key.as_deref()
            }
            _ => None,
        }
    }

    /// Keys are unique per customer and kind of call.
    pub fn kind(&self) -> &'static str {
        match self {
            Call::Grant { .. } => "grant",
            Call::Void { .. } => "void",
            Call::Usage { .. } | Call::Consume { .. } => "usage",
            _ => "other",
        }
    }

    pub fn with_other_amount(&self) -> Call {
        let mut call = self.clone();
        match &mut call {
            Call::Grant { amount, .. } | Call::Consume { amount, .. } => *amount += 1,
            Call::Void { amount, .. } => *amount = Some(amount.unwrap_or(0) + 1),
            Call::Usage { value, .. } => *value += 1,
            _ => {}
        }
        call
    }

    pub fn sql(&self, run: &str) -> String {
        let scope = |pool: usize| {
            let resource = POOLS[pool].map_or("NULL".to_owned(), support::text);
            format!("customer_id => 'c-{run}', resource_id => {resource}")
        };
        let key = self.key().map_or(String::new(), |key| format!(", idempotency_key => '{key}'"));
        let capped = |cap: bool| if cap { ", on_insufficient => 'cap'" } else { "" };
        let credit_type = format!("credit_type_id => 't-{run}'");
        let call = match self {
            Call::Grant { pool, amount, category, priority, start, end, unpaid, features, .. } => {
                let start = start.map_or(String::new(), |at| format!(", effective_at => {}", instant(at)));
                let end = end.map_or(String::new(), |at| format!(", expires_at => {}", instant(at)));
                let unpaid = if *unpaid { ", payment_state => 'pending'" } else { "" };
                let names: Vec<String> = features.iter().map(|feature| format!("'f{feature}-{run}'")).collect();
                let features = if names.is_empty() {
                    String::new()
                } else {
                    format!(", feature_ids => ARRAY[{}]", names.join(", "))
                };
                format!(
                    "grant_credits({}, {credit_type}, amount => {}, category => '{category}', priority => {priority}{start}{end}{unpaid}{features}{key})",
                    scope(*pool),
                    decimal(*amount, 2)
                )
            }
            Call::Confirm { grant } => {
                format!(
                    "confirm_grant_payment(customer_id => 'c-{run}', grant_id => {grant}, payment_reference => 'paid')"
                )
            }
            Call::Void { grant, amount, .. } => {
                let amount = amount.map_or(String::new(), |amount| format!(", amount => {}", decimal(amount, 2)));
                format!("void_grant(customer_id => 'c-{run}', grant_id => {grant}{amount}{key})")
            }
            Call::Usage { pool, feature, value, cap, at, .. } => {
                let at = at.map_or(String::new(), |at| format!(", occurred_at => {}", instant(at)));
                format!(
                    "report_usage({}, feature_id => 'f{feature}-{run}', value => {}{at}{}{key})",
                    scope(*pool),
                    decimal(*value, 2),
                    capped(*cap)
                )
            }
            Call::Consume { pool, amount, cap, .. } => {
                format!(
                    "consume_credits({}, {credit_type}, amount => {}{}{key})",
                    scope(*pool),
                    decimal(*amount, 2),
                    capped(*cap)
                )
            }
            Call::Overdraft { pool, limit } => {
                let limit = limit.map_or("'Infinity'".to_owned(), |limit| decimal(limit, 2));
                format!("set_pool({}, {credit_type}, overdraft_limit => {limit})", scope(*pool))
            }
            Call::Freeze { pool, on } => {
                let status = if *on { "frozen" } else { "active" };
                format!("set_pool({}, {credit_type}, status => '{status}')", scope(*pool))
            }
        };
        format!("SELECT * FROM credit_pools.{call}")
    }
}

/// Minute 0 is the beginning of 2026.
pub const EPOCH: i64 = 1_767_225_600;

pub fn instant(minute: Minute) -> String {
    format!("to_timestamp({})", EPOCH + 60 * minute)
}

pub fn draw(random: &mut StdRng) -> Step {
    let pool = random.random_range(0..POOLS.len());
    let key = random.random_bool(0.25);
    match random.random_range(0..100) {
        0..=15 => Step::Wait(match random.random_range(0..3) {
            0 => 1,
            1 => random.random_range(1..60),
            _ => random.random_range(60..2000),
        }),
        16..=18 => Step::Maintain,
        19..=41 => Step::Grant {
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
        42..=44 => Step::Confirm { nth: random.random_range(0..6) },
        45..=50 => {
            Step::Void { nth: random.random_range(0..8), amount: random.random_bool(0.6).then(|| amount(random)), key }
        }
        51..=72 => Step::Usage {
            pool,
            feature: [0, 0, 1, 1, 2, 2, 3][random.random_range(0..7)],
            value: amount(random),
            cap: random.random_bool(0.35),
            ago: random.random_bool(0.2).then(|| random.random_range(-5..500)),
            key,
        },
        73..=85 => Step::Consume { pool, amount: amount(random), cap: random.random_bool(0.35), key },
        86..=88 => Step::Overdraft {
            pool,
            limit: match random.random_range(0..6) {
                0 => None,
                1 | 2 => Some(0),
                _ => Some(random.random_range(1..20_000)),
            },
        },
        89..=90 => Step::Freeze { pool, on: random.random_bool(0.3) },
        91..=92 => Step::Rate { feature: random.random_range(0..3), rate: random.random_range(0..3000) },
        93..=97 => Step::Again { nth: random.random_range(0..6) },
        _ => Step::Conflict { nth: random.random_range(0..6) },
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
