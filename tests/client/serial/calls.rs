//! What the sessions call, and what they write down of it.

use crate::setting::{Place, RATES};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::sync::Mutex;
use std::time::Instant;
use support::{Fault, Row, Session, decimal};

pub type Amount = i128;

/// One usage, by feature or of plain credits.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    pub place: Place,
    pub feature: Option<usize>,
    pub amount: Amount,
    pub cap: bool,
    pub key: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Call {
    Usage(Usage),
    Batch {
        usages: Vec<Usage>,
        atomic: bool,
    },
    Grant {
        place: Place,
        amount: Amount,
        category: &'static str,
        priority: i64,
        lasts: Option<i64>,
        key: Option<String>,
    },
    Void {
        customer: usize,
        grant: i64,
        amount: Option<Amount>,
    },
    Reserve {
        place: Place,
        id: String,
        feature: Option<usize>,
        amount: Amount,
        ttl: i64,
    },
    Settle {
        customer: usize,
        id: String,
        amount: Option<Amount>,
        last: bool,
    },
    Release {
        customer: usize,
        id: String,
    },
    Reverse {
        customer: usize,
        usage: i64,
        amount: Option<Amount>,
    },
    Transfer {
        from: Place,
        to: Place,
        amount: Amount,
    },
}

#[derive(Clone, Debug)]
pub enum Answer {
    Rows(Vec<Row>),
    Refused(Fault),
    /// It was rolled back, whatever it said.
    Undone,
}

/// A call as a session knows it; its number is the ledger's `actor`.
#[derive(Clone, Debug)]
pub struct Record {
    pub number: usize,
    /// The minute of the test clock.
    pub minute: i64,
    pub call: Call,
    pub answer: Answer,
    pub start: Instant,
    pub end: Instant,
}

/// What there is to be settled, voided or reversed, by customer.
#[derive(Default)]
pub struct Known {
    pub grants: Vec<(usize, i64)>,
    pub usages: Vec<(usize, i64)>,
    pub holds: Vec<(usize, String)>,
    pub keys: usize,
}

impl Usage {
    fn what(&self) -> String {
        match self.feature {
            Some(feature) => format!("feature_id => 'f{feature}', value => {}", decimal(self.amount, 2)),
            None => format!("credit_type_id => 't', amount => {}", decimal(self.amount, 2)),
        }
    }

    fn sql(&self) -> String {
        let function = if self.feature.is_some() { "report_usage" } else { "consume_credits" };
        let cap = if self.cap { ", on_insufficient => 'cap'" } else { "" };
        format!("{function}({}, {}{cap}{})", self.place.sql(), self.what(), key(&self.key))
    }

    fn json(&self) -> serde_json::Value {
        let value: serde_json::Number = decimal(self.amount, 2).parse().expect("a decimal is a JSON number");
        let mut event = serde_json::json!({
            "customer_id": self.place.customer_id(),
            "resource_id": self.place.resource(),
            "feature_id": format!("f{}", self.feature.unwrap_or(0)),
            "value": value,
        });
        if self.cap {
            event["on_insufficient"] = "cap".into();
        }
        if let Some(key) = &self.key {
            event["idempotency_key"] = key.as_str().into();
        }
        event
    }
}

fn key(key: &Option<String>) -> String {
    key.as_ref().map_or(String::new(), |key| format!(", idempotency_key => '{key}'"))
}

impl Call {
    pub fn name(&self) -> &'static str {
        match self {
            Call::Usage(Usage { feature: Some(_), .. }) => "report_usage",
            Call::Usage(_) => "consume_credits",
            Call::Batch { .. } => "report_usage_batch",
            Call::Grant { .. } => "grant_credits",
            Call::Void { .. } => "void_grant",
            Call::Reserve { .. } => "reserve_credits",
            Call::Settle { .. } => "settle_reservation",
            Call::Release { .. } => "release_reservation",
            Call::Reverse { .. } => "reverse_usage",
            Call::Transfer { .. } => "transfer_credits",
        }
    }

    fn sql(&self, minute: i64) -> String {
        let amount = |name: &str, amount: &Option<Amount>| {
            amount.map_or(String::new(), |amount| format!(", {name} => {}", decimal(amount, 2)))
        };
        match self {
            Call::Usage(usage) => usage.sql(),
            Call::Batch { usages, atomic } => {
                let events: Vec<serde_json::Value> = usages.iter().map(Usage::json).collect();
                let events = support::text(&serde_json::Value::Array(events).to_string());
                format!("report_usage_batch(events => {events}, atomic => {atomic})")
            }
            Call::Grant { place, amount, category, priority, lasts, key: own } => {
                let end = lasts.map_or(String::new(), |lasts| {
                    format!(", expires_at => {}", crate::setting::instant(minute + lasts))
                });
                format!(
                    "grant_credits({}, credit_type_id => 't', amount => {}, category => '{category}', priority => {priority}{end}{})",
                    place.sql(),
                    decimal(*amount, 2),
                    key(own)
                )
            }
            Call::Void { customer, grant, amount: part } => {
                format!("void_grant(customer_id => 'c{customer}', grant_id => {grant}{})", amount("amount", part))
            }
            Call::Reserve { place, id, feature, amount, ttl } => {
                let of = Usage { place: *place, feature: *feature, amount: *amount, cap: false, key: None }.what();
                format!("reserve_credits({}, reservation_id => '{id}', {of}, ttl => '{ttl} minutes')", place.sql())
            }
            Call::Settle { customer, id, amount: part, last } => format!(
                "settle_reservation(customer_id => 'c{customer}', reservation_id => '{id}'{}, final => {last})",
                amount("amount", part)
            ),
            Call::Release { customer, id } => {
                format!("release_reservation(customer_id => 'c{customer}', reservation_id => '{id}')")
            }
            Call::Reverse { customer, usage, amount: part } => {
                format!("reverse_usage(customer_id => 'c{customer}', usage_id => {usage}{})", amount("credits", part))
            }
            Call::Transfer { from, to, amount } => format!(
                "transfer_credits(customer_id => '{}', credit_type_id => 't', amount => {}, from_resource_id => {}, to_resource_id => {})",
                from.customer_id(),
                decimal(*amount, 2),
                from.resource_sql(),
                to.resource_sql()
            ),
        }
    }

    /// Calls, and notes the answer. `undone`: in a transaction that is rolled back.
    pub fn make(self, number: usize, minute: i64, undone: bool, session: &mut Session) -> Record {
        let sql = format!("SET credit_pools.actor = 'call-{number}'; SELECT * FROM credit_pools.{}", self.sql(minute));
        let start = Instant::now();
        if undone {
            session.exec("BEGIN");
        }
        let mut answer = match session.try_rows(&sql) {
            Ok(rows) => Answer::Rows(rows),
            Err(fault) => {
                // Not there (yet), closed by another, other figures than another's, or no credits left.
                let known = matches!(fault.code.as_str(), "PC001" | "PC002" | "PC004" | "PC005" | "22023");
                assert!(known, "call {number}: {fault}");
                Answer::Refused(fault)
            }
        };
        if undone {
            session.exec("ROLLBACK");
            answer = Answer::Undone;
        }
        Record { number, minute, call: self, answer, start, end: Instant::now() }
    }
}

/// The payload of a key is the same whoever uses it, but for a few that contradict.
fn keyed(known: &Mutex<Known>, random: &mut StdRng, prefix: &str) -> (String, u64) {
    let mut known = known.lock().unwrap_or_else(|poison| poison.into_inner());
    // Keys that others use at this moment are the likeliest to collide.
    if random.random_bool(0.5) {
        known.keys += 1;
    }
    let number = known.keys.saturating_sub(random.random_range(0..6));
    (format!("{prefix}{number}"), number as u64)
}

fn usage(random: &mut StdRng, known: &Mutex<Known>, by_feature: bool) -> Usage {
    let mut usage = Usage {
        place: Place::draw(random),
        feature: by_feature.then(|| random.random_range(0..RATES.len())),
        amount: random.random_range(1..3_000),
        cap: random.random_bool(0.25),
        key: None,
    };
    if random.random_bool(0.4) {
        let (key, number) = keyed(known, random, if by_feature { "f-" } else { "a-" });
        let contradicts = u64::from(random.random_bool(0.03));
        usage.place = Place::nth(number as usize);
        usage.feature = by_feature.then_some(number as usize % RATES.len());
        usage.amount = 1 + i128::from(number * 37 % 900 + contradicts);
        usage.cap = false;
        usage.key = Some(key);
    }
    usage
}

pub fn draw(random: &mut StdRng, known: &Mutex<Known>) -> Call {
    let place = Place::draw(random);
    let (grants, usages, holds) = {
        let known = known.lock().unwrap_or_else(|poison| poison.into_inner());
        (newest(&known.grants, random), newest(&known.usages, random), newest(&known.holds, random))
    };
    let small = random.random_range(1..2_000);
    match random.random_range(0..100) {
        30..=39 => {
            let count = random.random_range(1..9);
            let mut usages: Vec<Usage> = (0..count).map(|_| usage(random, known, true)).collect();
            if random.random_bool(0.3) {
                usages.push(usages[0].clone());
            }
            Call::Batch { usages, atomic: random.random_bool(0.4) }
        }
        40..=51 => {
            let ttl = random.random_range(20..500);
            let feature = random.random_bool(0.5).then(|| random.random_range(0..RATES.len()));
            if random.random_bool(0.3) {
                // An id is its own key.
                let (id, number) = keyed(known, random, "hold-");
                let (place, amount) = (Place::nth(number as usize), 1 + i128::from(number * 53 % 700));
                return Call::Reserve { place, id, feature: None, amount, ttl: 120 };
            }
            let id = format!("h{}", random.random_range(0..1_u64 << 40));
            // One that costs nothing has no ledger row.
            Call::Reserve { place, id, feature, amount: small.max(10), ttl }
        }
        52..=64 if holds.is_some() => {
            let (customer, id) = holds.expect("some");
            let amount = random.random_bool(0.7).then_some(random.random_range(1..2_500));
            Call::Settle { customer, id, amount, last: random.random_bool(0.6) }
        }
        65..=69 if holds.is_some() => {
            let (customer, id) = holds.expect("some");
            Call::Release { customer, id }
        }
        70..=80 => Call::Grant {
            place,
            amount: random.random_range(1..9_000),
            category: ["paid", "promotional", "recurring"].choose(random).copied().unwrap_or("paid"),
            priority: [50, 50, 10, 90].choose(random).copied().unwrap_or(50),
            lasts: random.random_bool(0.6).then(|| 20 * random.random_range(1..40)),
            key: random.random_bool(0.2).then(|| format!("g{}", random.random_range(0..1_u64 << 40))),
        },
        81..=85 if grants.is_some() => {
            let (customer, grant) = grants.expect("some");
            Call::Void { customer, grant, amount: random.random_bool(0.5).then_some(small) }
        }
        86..=93 if usages.is_some() => {
            let (customer, usage) = usages.expect("some");
            Call::Reverse { customer, usage, amount: random.random_bool(0.5).then_some(small) }
        }
        94..=99 => {
            let (from, to) = Place::two_of_one_customer(random);
            Call::Transfer { from, to, amount: small }
        }
        number => Call::Usage(usage(random, known, number % 2 == 0)),
    }
}

/// Mostly one of the last, which others are busy with, too.
fn newest<T: Clone>(list: &[T], random: &mut StdRng) -> Option<T> {
    let most = if random.random_bool(0.8) { 12 } else { 400 };
    (!list.is_empty()).then(|| list[list.len() - 1 - random.random_range(0..list.len().min(most))].clone())
}
