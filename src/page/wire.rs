//! The data as the script reads it (js/read.js): short, since a page may have a thousand pools.
//!
//! Amounts are decimal strings: a number of JavaScript would not have all their digits. Instants are seconds on the
//! customer's wall clock, counted backwards from the page's own. Rows are arrays, without what is null at their end. What is
//! likely to be there often is in a list of texts or features, and its place in that list stands for it.

use std::collections::HashMap;

use credit_pools_domain::{Amount, Instant, Limit};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::fit::Rows;
use crate::model::{GrantLine, HistoryKind, LedgerLine, Page, Policy, Pool, RechargeLine, Subscription};
use crate::words::beginning;

/// Characters of a text that may be of any length.
const LONG: usize = 300;

#[derive(Serialize)]
struct Wire<'a> {
    customer: &'a str,
    zone: &'a str,
    now: i64,
    utc: String,
    day0: i64,
    days: usize,
    part: bool,
    left: i64,
    asked: Option<usize>,
    without: Option<&'a str>,
    types: Vec<Value>,
    policies: Vec<Value>,
    subs: Vec<Value>,
    pools: Vec<Value>,
    features: Vec<Value>,
    plans: Map<String, Value>,
    texts: Vec<&'a str>,
}

/// Texts and features that rows point to.
#[derive(Default)]
struct Lists<'a> {
    texts: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
    features: Vec<&'a str>,
    feature_places: HashMap<&'a str, usize>,
}

impl<'a> Lists<'a> {
    fn text(&mut self, text: &'a str) -> Value {
        let texts = &mut self.texts;
        json!(*self.places.entry(text).or_insert_with(|| {
            texts.push(text);
            texts.len() - 1
        }))
    }

    fn maybe(&mut self, text: Option<&'a str>) -> Value {
        text.map_or(Value::Null, |text| self.text(text))
    }

    fn feature(&mut self, id: Option<&'a str>) -> Value {
        let Some(id) = id else { return Value::Null };
        let features = &mut self.features;
        json!(*self.feature_places.entry(id).or_insert_with(|| {
            features.push(id);
            features.len() - 1
        }))
    }
}

struct Writer<'a> {
    page: &'a Page,
    now: i64,
    lists: Lists<'a>,
}

pub fn data<'a>(page: &'a Page, pools: &[&'a Pool], left: i64, rows: impl Fn(&Pool) -> Rows) -> String {
    let now = page.zone.wall_seconds(page.now).unwrap_or_default();
    let mut writer = Writer { page, now, lists: Lists::default() };
    // Only what these pools point to.
    let mut types: Vec<&str> = pools.iter().map(|pool| pool.credit_type_id.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let (mut policies, mut subs) = (Points::default(), Points::default());
    let mut shown = Vec::with_capacity(pools.len());
    for pool in pools {
        let (policy, sub) = (policies.to(pool.policy), subs.to(pool.subscription));
        let credit_type = types.binary_search(&pool.credit_type_id.as_str()).unwrap_or_default();
        shown.push(writer.pool(pool, credit_type, policy, sub, &rows(pool)));
    }
    let asked = page.pools.get(page.asked).filter(|_| page.without_pool.is_none());
    let policies = policies.of(&page.policies).map(|policy| writer.policy(policy)).collect();
    let subs: Vec<Value> = subs.of(&page.subscriptions).map(|sub| writer.subscription(sub)).collect();
    let day0 = page.days.first().and_then(|day| page.zone.wall_seconds(*day)).unwrap_or_default();
    let wire = Wire {
        customer: &page.customer_id,
        zone: &page.zone_name,
        now,
        utc: page.now.to_string(),
        day0: day0.div_euclid(86_400),
        days: page.days.len(),
        part: page.part,
        left,
        asked: asked.and_then(|asked| pools.iter().position(|pool| std::ptr::eq(*pool, asked))),
        without: page.without_pool.as_deref(),
        types: types
            .iter()
            .map(|id| {
                named(
                    id,
                    page.credit_types.get(*id).map(|known| {
                        [known.display_name.as_deref(), known.symbol.as_deref(), known.unit_plural.as_deref()]
                    }),
                )
            })
            .collect(),
        policies,
        subs,
        pools: shown,
        features: writer
            .lists
            .features
            .iter()
            .map(|id| {
                named(
                    id,
                    page.features.get(*id).map(|known| [known.display_name.as_deref(), known.unit.as_deref(), None]),
                )
            })
            .collect(),
        plans: page.plans.iter().filter_map(|(id, name)| Some((id.clone(), json!(name.as_ref()?)))).collect(),
        texts: writer.lists.texts,
    };
    // Nothing in it can fail to be JSON.
    serde_json::to_string(&wire).unwrap_or_default()
}

fn named(id: &str, names: Option<[Option<&str>; 3]>) -> Value {
    let mut row = vec![json!(id)];
    row.extend(names.into_iter().flatten().map(|name| name.map_or(Value::Null, |name| json!(beginning(name, LONG)))));
    trimmed(row)
}

/// Which of a list are pointed to, in the order in which they were first.
#[derive(Default)]
struct Points {
    order: Vec<usize>,
    places: HashMap<usize, usize>,
}

impl Points {
    fn to(&mut self, index: Option<usize>) -> Value {
        let Some(index) = index else { return Value::Null };
        let order = &mut self.order;
        json!(*self.places.entry(index).or_insert_with(|| {
            order.push(index);
            order.len() - 1
        }))
    }

    fn of<T>(self, list: &[T]) -> impl Iterator<Item = &T> {
        self.order.into_iter().filter_map(|index| list.get(index))
    }
}

fn trimmed(mut row: Vec<Value>) -> Value {
    while row.last() == Some(&Value::Null) {
        row.pop();
    }
    Value::Array(row)
}

fn number(amount: Amount) -> Value {
    Value::String(amount.to_string())
}

fn maybe_number(amount: Option<Amount>) -> Value {
    amount.map_or(Value::Null, number)
}

/// Ids may have more digits than a number of JavaScript.
fn id(id: Option<i64>) -> Value {
    id.map_or(Value::Null, |id| Value::String(id.to_string()))
}

impl<'a> Writer<'a> {
    fn at(&self, at: Option<Instant>) -> Value {
        let seconds = at.filter(|at| at.is_finite()).and_then(|at| self.page.zone.wall_seconds(at));
        seconds.map_or(Value::Null, |seconds| json!(self.now - seconds))
    }

    fn pool(&mut self, pool: &'a Pool, credit_type: usize, policy: Value, sub: Value, rows: &Rows) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| {
            if value != Value::Null {
                out.insert(key.to_owned(), value);
            }
        };
        put("r", json!(pool.resource_id));
        put("t", json!(credit_type));
        put("i", id(Some(pool.pool_id)));
        put("f", Value::String(figures(pool)));
        put("z", if pool.frozen { json!(1) } else { Value::Null });
        put("due", if pool.due { json!(1) } else { Value::Null });
        put("full", if rows.details { json!(1) } else { Value::Null });
        put("w", json!([self.at(pool.next_expiry_at), self.at(pool.depletion_at), self.at(Some(pool.created_at))]));
        put("u", self.usage(pool, rows.features));
        put("gn", json!(pool.grant_count));
        put("g", pool.grants.iter().take(rows.grants).map(|line| self.grant(line, rows.details)).collect());
        put("ln", json!(pool.ledger_count));
        put("l", pool.ledger.iter().take(rows.ledger).map(|line| self.ledger(line, rows.details)).collect());
        put("x", pool.recharges.iter().take(rows.recharges).map(|line| self.recharge(line)).collect());
        put("b", self.at(pool.breaker_opened_at));
        put("p", policy);
        put("s", sub);
        let history = pool.history.iter().take(rows.history).map(|line| {
            let kind = match line.kind {
                HistoryKind::Opened => "o",
                HistoryKind::Started => "s",
                HistoryKind::PlanChanged => "p",
                HistoryKind::MovedHere => "m",
                HistoryKind::Cancelled => "c",
                HistoryKind::Ended => "e",
            };
            let plan = self.lists.maybe(line.plan_id.as_deref());
            trimmed(vec![json!(kind), self.at(Some(line.at)), plan])
        });
        let history: Value = history.collect();
        if history != Value::Array(Vec::new()) {
            out.insert("h".to_owned(), history);
        }
        Value::Object(out)
    }

    /// Each feature with its days, one blank between two; the features beyond `most` are one (-1).
    fn usage(&mut self, pool: &'a Pool, most: usize) -> Value {
        let days = |days: &[Amount]| {
            let words: Vec<String> =
                days.iter().map(|day| if day.is_zero() { String::new() } else { day.to_string() }).collect();
            json!(words.join(" "))
        };
        let most = if pool.usage.len() <= most + 1 && most > 0 { pool.usage.len() } else { most };
        let mut rows: Vec<Value> = Vec::new();
        for (feature, amounts) in pool.usage.iter().take(most) {
            rows.push(json!([self.lists.feature(feature.as_deref()), days(amounts)]));
        }
        if pool.usage.len() > most {
            let mut rest = vec![Amount::ZERO; self.page.days.len()];
            for (_, amounts) in pool.usage.iter().skip(most) {
                for (sum, amount) in rest.iter_mut().zip(amounts) {
                    *sum = sum.checked_add(*amount).unwrap_or(*sum);
                }
            }
            rows.push(json!([-1, days(&rest)]));
        }
        if rows.is_empty() { Value::Null } else { Value::Array(rows) }
    }

    fn grant(&mut self, line: &'a GrantLine, details: bool) -> Value {
        let lists = &mut self.lists;
        let mut row = vec![
            id(line.grant_id),
            lists.text(line.status),
            lists.text(line.category),
            lists.text(line.source),
            json!(line.priority),
            number(line.amount),
            number(line.remaining),
            if line.available == line.remaining { Value::Null } else { number(line.available) },
        ];
        let (from, until) = (self.at(Some(line.effective_at)), self.at(line.expires_at));
        row.extend([from, until]);
        let lists = &mut self.lists;
        row.extend([maybe_number(line.price), lists.maybe(line.price_currency.as_deref())]);
        row.push(line.display_name.as_deref().map_or(Value::Null, |text| json!(beginning(text, LONG))));
        if details {
            row.push(if line.held.is_zero() { Value::Null } else { number(line.held) });
            row.push(line.reason.as_deref().map_or(Value::Null, |text| json!(beginning(text, LONG))));
            let features = line.feature_ids.iter().flatten().take(20);
            let features: Vec<Value> = features.map(|id| lists.feature(Some(id))).collect();
            row.push(if features.is_empty() { Value::Null } else { Value::Array(features) });
            row.push(json!(line.metadata.as_deref().map(|text| beginning(text, LONG))));
        }
        trimmed(row)
    }

    fn ledger(&mut self, line: &'a LedgerLine, details: bool) -> Value {
        let recorded = self.at(Some(line.recorded_at));
        // It may count from another time than that at which it was written.
        let apart = line.effective_at.micros().abs_diff(line.recorded_at.micros()) >= 1_000_000;
        let effective = if apart { self.at(Some(line.effective_at)) } else { Value::Null };
        let lists = &mut self.lists;
        let mut row = vec![
            lists.text(&line.entry_type),
            number(line.amount),
            number(line.balance_after),
            recorded,
            lists.feature(line.feature_id.as_deref()),
            id(line.grant_id),
            effective,
            line.reason.as_deref().map_or(Value::Null, |text| json!(beginning(text, LONG))),
        ];
        if details {
            row.push(lists.text(&line.actor));
            let mut more = Map::new();
            let mut put = |key: &str, value: Option<String>| {
                if let Some(value) = value {
                    more.insert(key.to_owned(), Value::String(beginning(&value, LONG)));
                }
            };
            put("value", line.value.map(|value| value.to_string()));
            put("usage", line.usage_id.map(|id| id.to_string()));
            put("recharge", line.recharge_id.map(|id| id.to_string()));
            put("reservation", line.reservation_id.clone());
            put("key", line.idempotency_key.clone());
            put("dimensions", line.dimensions.clone());
            put("metadata", line.metadata.clone());
            row.push(if more.is_empty() { Value::Null } else { Value::Object(more) });
        }
        trimmed(row)
    }

    fn recharge(&mut self, line: &'a RechargeLine) -> Value {
        let (created, next) = (self.at(Some(line.created_at)), self.at(line.next_attempt_at));
        let lists = &mut self.lists;
        trimmed(vec![
            id(Some(line.recharge_id)),
            lists.text(&line.status),
            created,
            maybe_number(line.amount),
            maybe_number(line.price),
            lists.maybe(line.price_currency.as_deref()),
            line.reason.as_deref().map_or(Value::Null, |text| json!(beginning(text, LONG))),
            json!(line.attempts),
            next,
            line.payment_reference.as_deref().map_or(Value::Null, |text| json!(beginning(text, LONG))),
        ])
    }

    fn policy(&mut self, policy: &'a Policy) -> Value {
        trimmed(vec![
            json!(policy.own),
            json!(policy.enabled),
            number(policy.threshold),
            maybe_number(policy.target_balance),
            maybe_number(policy.recharge_amount),
            maybe_number(policy.price_per_credit),
            json!(policy.price_currency),
            maybe_number(policy.max_spend),
            maybe_number(policy.spent),
            json!(policy.max_count),
            json!(policy.spend_period),
            json!(policy.cooldown),
            json!(policy.grant_expires_after),
            json!(policy.immediate),
            json!(policy.max_failures),
        ])
    }

    fn subscription(&mut self, sub: &'a Subscription) -> Value {
        let plan = self.lists.text(&sub.plan_id);
        let status = self.lists.text(sub.status);
        trimmed(vec![
            json!(sub.subscription_id),
            plan,
            status,
            self.at(Some(sub.starts_at)),
            self.at(sub.ends_at),
            self.at(sub.period_start),
            self.at(sub.period_end),
            self.at(sub.cancelled_at),
            json!(sub.quantities.as_deref().map(|text| beginning(text, LONG))),
        ])
    }
}

/// The figures of a pool, one blank between two; nothing where there is none.
fn figures(pool: &Pool) -> String {
    let figures = &pool.figures;
    let overdraft = match figures.overdraft {
        Limit::Finite(limit) => limit.to_string(),
        Limit::Unlimited => "Infinity".to_owned(),
    };
    let maybe = |amount: Option<Amount>| amount.map(|amount| amount.to_string()).unwrap_or_default();
    [
        figures.balance.to_string(),
        figures.granted.to_string(),
        figures.consumed.to_string(),
        figures.expired.to_string(),
        figures.voided.to_string(),
        figures.held.to_string(),
        figures.debt.to_string(),
        figures.restricted.to_string(),
        overdraft,
        figures.used.to_string(),
        figures.per_day.to_string(),
        figures.expiring.to_string(),
        maybe(figures.next_expiry_amount),
        maybe(figures.utilization),
    ]
    .join(" ")
}
