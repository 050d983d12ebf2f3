//! How the calls of a sequence are spelled in SQL.

use crate::naive::{Amount, Minute};
use crate::steps::Of;
use support::decimal;

/// The features of every run, by place: their first rate in thousandths.
pub const RATES: [i128; 4] = [1000, 333, 2505, 0];
/// The first ones have a subscription; the last holds plain credits.
pub const POOLS: [Option<&str>; 3] = [None, Some("ws"), Some("lab")];

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
        to: usize,
        amount: Amount,
        key: Option<String>,
    },
    Open {
        pool: usize,
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

    /// The function of the extension.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Grant { .. } => "grant_credits",
            Call::Confirm { .. } => "confirm_grant_payment",
            Call::Void { .. } => "void_grant",
            Call::Usage { total: true, .. } => "report_usage, a total",
            Call::Usage { .. } => "report_usage",
            Call::Limit { .. } => "set_limit",
            Call::Consume { .. } => "consume_credits",
            Call::Overdraft { .. } | Call::Freeze { .. } => "set_pool",
            Call::Reserve { .. } => "reserve_credits",
            Call::Settle { .. } => "settle_reservation",
            Call::Release { .. } => "release_reservation",
            Call::Extend { .. } => "extend_reservation",
            Call::Reverse { .. } => "reverse_usage",
            Call::Transfer { .. } => "transfer_credits",
            Call::Open { .. } => "open_pool",
            Call::Update { .. } => "update_grant",
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
            Call::Open { pool } => format!("open_pool({}, {credit_type})", scope(*pool)),
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
            Call::Transfer { from, to, amount, .. } => {
                let name = |pool: usize| POOLS[pool].map_or("NULL".to_owned(), support::text);
                format!(
                    "transfer_credits({customer}, {credit_type}, amount => {}, from_resource_id => {}, to_resource_id => {}{key})",
                    decimal(*amount, 2),
                    name(*from),
                    name(*to)
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
