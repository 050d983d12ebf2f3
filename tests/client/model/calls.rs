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

/// What a settlement charges, as it is called.
#[derive(Clone, Debug, PartialEq)]
pub enum Charge {
    Held,
    Amount(Amount),
    Value(i128),
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
        total: bool,
        at: Option<Minute>,
        key: Option<String>,
    },
    Limit {
        pool: Option<usize>,
        per: Minute,
        amount: Option<Amount>,
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
    Reserve {
        pool: usize,
        id: String,
        of: Of,
        ttl: Minute,
    },
    Settle {
        hold: String,
        charge: Charge,
        last: bool,
        key: Option<String>,
    },
    Release {
        hold: String,
    },
    Extend {
        hold: String,
        ttl: Minute,
    },
    Reverse {
        usage: i64,
        amount: Option<Amount>,
        key: Option<String>,
    },
    Transfer {
        from: usize,
        amount: Amount,
        key: Option<String>,
    },
    Update {
        grant: i64,
        priority: Option<i64>,
        end: Option<Option<Minute>>,
        key: Option<String>,
    },
}

impl Call {
    pub fn key(&self) -> Option<&str> {
        match self {
            Call::Grant { key, .. }
            | Call::Void { key, .. }
            | Call::Usage { key, .. }
            | Call::Consume { key, .. }
            | Call::Settle { key, .. }
            | Call::Reverse { key, .. }
            | Call::Transfer { key, .. }
            | Call::Update { key, .. } => key.as_deref(),
            // A hold's id is its key.
            Call::Reserve { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Keys are unique per customer and kind of call.
    pub fn kind(&self) -> &'static str {
        match self {
            Call::Grant { .. } => "grant",
            Call::Void { .. } => "void",
            Call::Usage { .. } | Call::Consume { .. } => "usage",
            Call::Reserve { .. } => "reserve",
            Call::Settle { .. } => "settle",
            Call::Reverse { .. } => "reverse",
            Call::Transfer { .. } => "transfer",
            Call::Update { .. } => "update",
            _ => "other",
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Call::Grant { .. } => "grant",
            Call::Confirm { .. } => "confirm",
            Call::Void { .. } => "void",
            Call::Usage { total: true, .. } => "usage by total",
            Call::Usage { .. } => "usage",
            Call::Limit { .. } => "limit",
            Call::Consume { .. } => "consume",
            Call::Overdraft { .. } => "overdraft",
            Call::Freeze { .. } => "freeze",
            Call::Reserve { .. } => "reserve",
            Call::Settle { .. } => "settle",
            Call::Release { .. } => "release",
            Call::Extend { .. } => "extend",
            Call::Reverse { .. } => "reverse",
            Call::Transfer { .. } => "transfer",
            Call::Update { .. } => "update",
        }
    }

    pub fn with_other_amount(&self) -> Call {
        let mut call = self.clone();
        match &mut call {
            Call::Grant { amount, .. } | Call::Consume { amount, .. } => *amount += 1,
            Call::Void { amount, .. } => *amount = Some(amount.unwrap_or(0) + 1),
            Call::Usage { value, .. } => *value += 1,
            Call::Reserve { of: Of::Amount(amount), .. } => *amount += 1,
            Call::Reserve { of: Of::Feature { value, .. }, .. } => *value += 1,
            Call::Settle { last, .. } => *last = !*last,
            Call::Reverse { amount, .. } => *amount = Some(amount.unwrap_or(0) + 1),
            Call::Transfer { amount, .. } => *amount += 1,
            Call::Update { priority, .. } => *priority = Some((priority.unwrap_or(0) + 1) % 100),
            _ => {}
        }
        call
    }

    pub fn sql(&self, run: &str) -> String {
        let scope = |pool: usize| {
            let resource = POOLS[pool].map_or("NULL".to_owned(), support::text);
            format!("customer_id => 'c-{run}', resource_id => {resource}")
        };
        let key = match self {
            Call::Reserve { .. } => String::new(),
            _ => self.key().map_or(String::new(), |key| format!(", idempotency_key => '{key}'")),
        };
        let customer = format!("customer_id => 'c-{run}'");
        let minutes = |ttl: Minute| format!("'{ttl} minutes'");
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
            Call::Usage { pool, feature, value, cap, total, at, .. } => {
                let total = if *total { ", update_behavior => 'set'" } else { "" };
                let at = at.map_or(String::new(), |at| format!(", occurred_at => {}", instant(at)));
                format!(
                    "report_usage({}, feature_id => 'f{feature}-{run}', value => {}{at}{}{total}{key})",
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
            Call::Reserve { pool, id, of, ttl } => {
                let of = match of {
                    Of::Amount(amount) => format!("{credit_type}, amount => {}", decimal(*amount, 2)),
                    Of::Feature { feature, value } => {
                        format!("feature_id => 'f{feature}-{run}', value => {}", decimal(*value, 2))
                    }
                };
                format!("reserve_credits({}, reservation_id => '{id}', {of}, ttl => {})", scope(*pool), minutes(*ttl))
            }
            Call::Settle { hold, charge, last, .. } => {
                let charge = match charge {
                    Charge::Held => String::new(),
                    Charge::Amount(amount) => format!(", amount => {}", decimal(*amount, 2)),
                    Charge::Value(value) => format!(", value => {}", decimal(*value, 2)),
                };
                let last = if *last { "" } else { ", final => false" };
                format!("settle_reservation({customer}, reservation_id => '{hold}'{charge}{last}{key})")
            }
            Call::Limit { pool, per, amount } => {
                let scope = match pool {
                    Some(pool) => scope(*pool),
                    None => format!("{customer}, all_resources => true"),
                };
                let amount = amount.map_or("'Infinity'".to_owned(), |amount| decimal(amount, 2));
                format!(
                    "set_limit({scope}, {credit_type}, amount => {amount}, per => '{}')",
                    if *per == 60 { "1 hour" } else { "1 day" }
                )
            }
            Call::Release { hold } => format!("release_reservation({customer}, reservation_id => '{hold}')"),
            Call::Extend { hold, ttl } => {
                format!("extend_reservation({customer}, reservation_id => '{hold}', ttl => {})", minutes(*ttl))
            }
            Call::Reverse { usage, amount, .. } => {
                let amount = amount.map_or(String::new(), |amount| format!(", credits => {}", decimal(amount, 2)));
                format!("reverse_usage({customer}, usage_id => {usage}{amount}{key})")
            }
            Call::Transfer { from, amount, .. } => {
                let name = |pool: usize| POOLS[pool].map_or("NULL".to_owned(), support::text);
                format!(
                    "transfer_credits({customer}, {credit_type}, amount => {}, from_resource_id => {}, to_resource_id => {}{key})",
                    decimal(*amount, 2),
                    name(*from),
                    name(1 - from)
                )
            }
            Call::Update { grant, priority, end, .. } => {
                let priority = priority.map_or(String::new(), |priority| format!(", priority => {priority}"));
                let end = match end {
                    None => String::new(),
                    Some(None) => ", expires_at => 'infinity'".to_owned(),
                    Some(Some(at)) => format!(", expires_at => {}", instant(*at)),
                };
                format!("update_grant({customer}, grant_id => {grant}{priority}{end}{key})")
            }
        };
        format!("SELECT * FROM credit_pools.{call}")
    }
}

/// The usages of a batch as its JSON.
pub fn batch(events: &[Call], atomic: bool, run: &str) -> String {
    let mut list = Vec::new();
    for call in events {
        let Call::Usage { pool, feature, value, cap, total, at, key } = call else { continue };
        let mut event = serde_json::Map::new();
        event.insert("customer_id".into(), format!("c-{run}").into());
        event.insert("resource_id".into(), POOLS[*pool].into());
        event.insert("feature_id".into(), format!("f{feature}-{run}").into());
        // Not as a float: exactly these digits.
        let number: serde_json::Number = decimal(*value, 2).parse().expect("a decimal is a JSON number");
        event.insert("value".into(), number.into());
        if *cap {
            event.insert("on_insufficient".into(), "cap".into());
        }
        if *total {
            event.insert("update_behavior".into(), "set".into());
        }
        if let Some(at) = at {
            let (day, hour, minute) = (at.div_euclid(1440), at.rem_euclid(1440) / 60, at.rem_euclid(60));
            let (month, day) = match day {
                ..0 => ("2025-12", 32 + day),
                0..31 => ("2026-01", 1 + day),
                _ => ("2026-02", day - 30),
            };
            event.insert("occurred_at".into(), format!("{month}-{day:02}T{hour:02}:{minute:02}:00Z").into());
        }
        if let Some(key) = key {
            event.insert("idempotency_key".into(), key.as_str().into());
        }
        list.push(serde_json::Value::Object(event));
    }
    let events = support::text(&serde_json::Value::Array(list).to_string());
    format!("SELECT * FROM credit_pools.report_usage_batch(events => {events}, atomic => {atomic})")
}

/// Minute 0 is the beginning of 2026.
pub const EPOCH: i64 = 1_767_225_600;

pub fn instant(minute: Minute) -> String {
    format!("to_timestamp({})", EPOCH + 60 * minute)
}

pub fn draw(random: &mut StdRng) -> Step {
    let pool = random.random_range(0..POOLS.len());
    let key = random.random_bool(0.25);
    match random.random_range(0..140) {
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
        83..=84 => Step::Rate { feature: random.random_range(0..3), rate: random.random_range(0..3000) },
        85..=89 => Step::Again { nth: random.random_range(0..6) },
        90..=91 => Step::Conflict { nth: random.random_range(0..6) },
        92..=102 => Step::Reserve {
            pool,
            of: match random.random_bool(0.5) {
                true => Of::Amount(amount(random).min(random.random_range(1..20_000))),
                false => {
                    Of::Feature { feature: feature(random), value: amount(random).min(random.random_range(1..10_000)) }
                }
            },
            ttl: ttl(random),
        },
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
        122..=125 => Step::Transfer { from: pool, amount: amount(random), key },
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
        pool: random.random_range(0..POOLS.len()),
        feature: feature(random),
        value: amount(random),
        cap: random.random_bool(0.35),
        total: random.random_bool(0.15),
        ago: random.random_bool(0.2).then(|| random.random_range(-5..500)),
        key: random.random_bool(0.25),
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
