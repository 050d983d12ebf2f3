//! What the model answers to a call.

use crate::calls::{Call, Charge};
use crate::holds::{State, Usage};
use crate::naive::{Amount, Grant, Minute, Pool, Refused};
use crate::play::Game;
use crate::steps::{Of, SUBSCRIBED};
use std::collections::BTreeSet;
use support::Row;

/// A result of the model: what the columns have to be.
pub type Expected = Vec<(&'static str, Vec<String>)>;

/// The billing period: the calendar month, counted from the subscription's start.
pub fn month(at: Minute) -> (Minute, Minute) {
    let starts: Vec<Minute> = [0, 31, 59, 90, 120].iter().map(|day| day * 1440).collect();
    let number = starts.iter().rposition(|start| *start <= at).unwrap_or(0);
    (starts[number], starts[number + 1])
}

fn insufficient(refused: &Refused, required: Amount) -> Outcome {
    let mut figures = vec![("balance", refused.balance), ("required", required), ("floor", refused.floor)];
    // Below the floor (the limit was lowered) it is not laid down what is short.
    if refused.balance >= refused.floor {
        figures.push(("shortfall", refused.shortfall));
    }
    Outcome::Error(vec!["PC001"], figures)
}

/// Hundredths times thousandths, rounded half away from zero to hundredths.
pub fn cost(value: i128, rate: i128) -> Amount {
    (value * rate + 500) / 1000
}

pub fn find(pools: &[Pool], grant: i64) -> Option<(usize, usize)> {
    pools.iter().enumerate().find_map(|(pool, found)| {
        found.grants.iter().position(|candidate| candidate.id == grant).map(|place| (pool, place))
    })
}

pub fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[derive(Debug)]
pub enum Outcome {
    Row(Expected),
    /// Any of these codes, with these figures in DETAIL.
    Error(Vec<&'static str>, Vec<(&'static str, Amount)>),
}

/// At most so much per calendar window, of a pool or of all of them.
#[derive(Clone, Debug)]
pub struct Limit {
    pub pool: Option<usize>,
    pub per: Minute,
    pub amount: Amount,
}

impl Limit {
    pub fn window(&self, now: Minute) -> (Minute, Minute) {
        let start = now.div_euclid(self.per) * self.per;
        (start, start + self.per)
    }

    pub fn used(&self, pools: &[Pool], now: Minute) -> Amount {
        let (from, to) = self.window(now);
        let covered = pools.iter().enumerate().filter(|(place, _)| self.pool.is_none_or(|pool| pool == *place));
        covered.map(|(_, pool)| pool.spent(from, to)).sum()
    }
}

impl Game<'_> {
    /// What the contract leaves open: lower totals after reversals by hand, or in a frozen pool.
    pub fn is_unclear(&self, pools: &[Pool], calls: &[Call]) -> bool {
        calls.iter().any(|call| match call {
            Call::Usage { pool, feature, value, total: true, at, .. } => {
                let (from, to) = month(at.unwrap_or(self.now));
                let frozen = pools[*pool].frozen;
                let found = &pools[*pool];
                let by_hand = found.usages.iter().any(|usage| {
                    usage.feature == Some(*feature)
                        && usage.reversed > 0
                        && (usage.reversed < usage.credits || usage.lowered)
                });
                let lower = *value <= found.total(*feature, from, to);
                (lower && frozen) || (by_hand && found.usages.iter().any(|usage| usage.reversed > 0 && !usage.lowered))
            }
            Call::Reverse { usage, .. } => {
                pools.iter().flat_map(|pool| &pool.usages).any(|found| found.id == *usage && found.lowered)
            }
            _ => false,
        })
    }

    /// The least that limits leave of a pool, if any does.
    pub fn left(&self, pools: &[Pool], pool: usize) -> Option<Amount> {
        self.left_by_each(pools, pool).into_iter().min()
    }

    fn left_by_each(&self, pools: &[Pool], pool: usize) -> Vec<Amount> {
        let limits = self.limits.iter().filter(|limit| limit.pool.is_none_or(|limited| limited == pool));
        limits.map(|limit| limit.amount - limit.used(pools, self.now)).collect()
    }

    /// PC007 by the tightest limit; by any of those that leave nothing, where there are several.
    fn limited(&self, pools: &[Pool], pool: usize) -> Outcome {
        let each = self.left_by_each(pools, pool);
        let least = each.iter().copied().min().unwrap_or(0).max(0);
        let tightest = each.into_iter().filter(|left| *left <= least);
        Outcome::Error(vec!["PC007"], tightest.map(|left| ("left", left)).collect())
    }

    pub fn find_hold(&self, id: &str) -> Option<(usize, usize)> {
        self.pools.iter().enumerate().find_map(|(pool, found)| {
            found.holds.iter().position(|candidate| candidate.id == id).map(|place| (pool, place))
        })
    }

    /// The version in force, in thousandths.
    pub fn rate(&self, feature: usize, at: Minute) -> i128 {
        let rate = self.rates[feature].iter().filter(|(since, _)| *since <= at).max_by_key(|(since, _)| *since);
        rate.map_or(0, |(_, rate)| *rate)
    }

    /// The model's answer to a call that is no replay.
    pub fn expect(&self, pools: &mut [Pool], call: &Call, row: Option<&Row>) -> Outcome {
        let error = |code| Outcome::Error(vec![code], vec![]);
        let now = self.now;
        match call {
            Call::Grant { pool, amount, category, priority, start, end, unpaid, features, .. } => {
                let from = start.unwrap_or(now);
                if end.is_some_and(|end| end <= from || end <= now) {
                    return error("22023");
                }
                let id = row.map_or(0, |row| row.int("grant_id"));
                let grant = Grant {
                    id,
                    amount: *amount,
                    category,
                    priority: *priority,
                    start: from,
                    end: *end,
                    unpaid: *unpaid,
                    was_unpaid: *unpaid,
                    features: (!features.is_empty()).then(|| features.iter().copied().collect::<BTreeSet<_>>()),
                    ..Grant::default()
                };
                pools[*pool].grant(grant, now);
                let status = pools[*pool].grants.last().map(|grant| grant.status(now)).unwrap_or_default();
                Outcome::Row(vec![
                    ("pool_id", vec![self.ids[*pool].to_string()]),
                    ("amount", vec![support::decimal(*amount, 2)]),
                    ("status", words(&status)),
                    ("balance", vec![support::decimal(pools[*pool].balance(), 2)]),
                ])
            }
            Call::Confirm { grant } => {
                let Some((pool, place)) = find(pools, *grant) else { return error("PC002") };
                let found = &pools[pool].grants[place];
                if found.unpaid {
                    if found.ended || found.remaining() == 0 {
                        return error("PC005");
                    }
                    pools[pool].confirm(place, now);
                }
                Outcome::Row(vec![
                    ("status", words(&pools[pool].grants[place].status(now))),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                ])
            }
            Call::Void { grant, amount, .. } => {
                let Some((pool, place)) = find(pools, *grant) else { return error("PC002") };
                let mut voided = 0;
                let found = &pools[pool].grants[place];
                if !found.is_over() {
                    if amount.is_some_and(|amount| amount > found.remaining() - found.held) {
                        return error("22023");
                    }
                    voided = pools[pool].void(place, *amount);
                }
                Outcome::Row(vec![
                    ("voided", vec![support::decimal(voided, 2)]),
                    ("remaining", vec![support::decimal(pools[pool].grants[place].remaining(), 2)]),
                    ("status", words(&pools[pool].grants[place].status(now))),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                ])
            }
            Call::Usage { pool, feature, value, cap, total, at, .. } => {
                let at = at.unwrap_or(now);
                let mut codes = Vec::new();
                if at > now {
                    codes.push("22023");
                }
                if at < 0 || *pool >= SUBSCRIBED {
                    codes.push("PC003");
                }
                if pools[*pool].frozen {
                    codes.push("PC005");
                }
                if !codes.is_empty() {
                    return Outcome::Error(codes, vec![]);
                }
                let id = row.map_or(0, |row| row.int("usage_id"));
                let mut value = *value;
                if *total {
                    let (from, to) = month(at);
                    value -= pools[*pool].total(*feature, from, to);
                    if value <= 0 {
                        let Some(returned) = pools[*pool].lower(*feature, from, to, -value, now) else {
                            panic!("the contract does not say what {call:?} does")
                        };
                        let usage = Usage::new(id, Some(*feature), Some(value), 0, (at, now));
                        pools[*pool].usages.push(usage);
                        return Outcome::Row(vec![
                            ("credits_consumed", vec![support::decimal(-returned, 2)]),
                            ("shortfall", words(&["0"])),
                            ("balance", vec![support::decimal(pools[*pool].balance(), 2)]),
                        ]);
                    }
                }
                let cost = cost(value, self.rate(*feature, at));
                self.consume(pools, *pool, Usage::new(id, Some(*feature), Some(value), cost, (at, now)), *cap)
            }
            Call::Consume { pool, amount, cap, .. } => {
                if pools[*pool].frozen {
                    return error("PC005");
                }
                let id = row.map_or(0, |row| row.int("usage_id"));
                self.consume(pools, *pool, Usage::new(id, None, None, *amount, (now, now)), *cap)
            }
            Call::Limit { pool, per, amount } => {
                let Some(amount) = amount else { return Outcome::Row(vec![]) };
                let used = Limit { pool: *pool, per: *per, amount: *amount }.used(pools, now);
                Outcome::Row(vec![
                    ("amount", vec![support::decimal(*amount, 2)]),
                    ("used", vec![support::decimal(used, 2)]),
                ])
            }
            Call::Overdraft { pool, limit } => {
                pools[*pool].floor_below_zero = *limit;
                let limit = limit.map_or("Infinity".to_owned(), |limit| support::decimal(limit, 2));
                Outcome::Row(vec![
                    ("overdraft_limit", vec![limit]),
                    ("balance", vec![support::decimal(pools[*pool].balance(), 2)]),
                ])
            }
            Call::Open { pool } => Outcome::Row(vec![
                ("pool_id", vec![self.ids[*pool].to_string()]),
                ("balance", vec![support::decimal(pools[*pool].balance(), 2)]),
                ("status", words(&[if pools[*pool].frozen { "frozen" } else { "active" }])),
            ]),
            Call::Freeze { pool, on } => {
                pools[*pool].frozen = *on;
                Outcome::Row(vec![("status", words(&[if *on { "frozen" } else { "active" }]))])
            }
            Call::Reserve { pool, id, of, ttl } => {
                let mut codes = Vec::new();
                if !(1..=1440).contains(ttl) {
                    codes.push("22023");
                }
                if matches!(of, Of::Feature { .. }) && *pool >= SUBSCRIBED {
                    codes.push("PC003");
                }
                if pools[*pool].frozen {
                    codes.push("PC005");
                }
                if !codes.is_empty() {
                    return Outcome::Error(codes, vec![]);
                }
                let (feature, rate, amount) = match of {
                    Of::Amount(amount) => (None, 0, *amount),
                    Of::Feature { feature, value } => {
                        let rate = self.rate(*feature, now);
                        (Some(*feature), rate, cost(*value, rate))
                    }
                };
                if let Some(left) = self.left(pools, *pool)
                    && amount > left.max(0)
                {
                    return self.limited(pools, *pool);
                }
                match pools[*pool].reserve(id.clone(), feature, rate, amount, now + ttl, now) {
                    Ok(()) => Outcome::Row(vec![
                        ("reservation_id", vec![id.clone()]),
                        ("pool_id", vec![self.ids[*pool].to_string()]),
                        ("held", vec![support::decimal(amount, 2)]),
                        ("balance", vec![support::decimal(pools[*pool].balance(), 2)]),
                        ("status", words(&["active"])),
                    ]),
                    Err(refused) => insufficient(&refused, amount),
                }
            }
            Call::Settle { hold, charge, last, .. } => {
                let Some((pool, place)) = self.find_hold(hold) else { return error("PC002") };
                let found = pools[pool].holds[place].clone();
                if matches!(charge, Charge::Value(_)) && found.feature.is_none() {
                    return if found.is_open() {
                        error("22023")
                    } else {
                        Outcome::Error(vec!["22023", "PC004", "PC005"], vec![])
                    };
                }
                match found.state {
                    State::Active => {}
                    State::Settled => {
                        return match self.closings.get(hold) {
                            Some((Call::Settle { charge: first, last: true, .. }, row)) if first == charge && *last => {
                                Outcome::Row(vec![
                                    ("usage_id", words(&[row.get("usage_id")])),
                                    ("credits_consumed", words(&[row.get("credits_consumed")])),
                                    ("balance", words(&[row.get("balance")])),
                                    ("held", words(&[row.get("held")])),
                                    ("is_duplicate", words(&["t"])),
                                ])
                            }
                            _ => error("PC004"),
                        };
                    }
                    State::Released | State::Expired => return error("PC005"),
                }
                let amount = match charge {
                    Charge::Held => found.held(),
                    Charge::Amount(amount) => *amount,
                    Charge::Value(value) => cost(*value, found.rate),
                };
                if amount > found.held() && pools[pool].frozen {
                    return error("PC005");
                }
                let within = amount.min(found.held());
                let mut draws = pools[pool].settle_hold(place, within, *last, now);
                if amount > within {
                    let left = self.left(pools, pool);
                    if let Some(left) = left
                        && amount - within > left.max(0)
                    {
                        return self.limited(pools, pool);
                    }
                    let Ok(taken) = pools[pool].consume(found.feature, amount - within, false, left, (now, now)) else {
                        return error("PC001");
                    };
                    draws.extend(taken.draws);
                }
                pools[pool].holds[place].charged += amount;
                let value = if let Charge::Value(value) = charge { Some(*value) } else { None };
                let id = row.map_or(0, |row| row.int("usage_id"));
                let usage = Usage::new(id, found.feature, value, amount, (now, now));
                let counted = vec![(found.made, within), (now, amount - within)];
                pools[pool].usages.push(Usage { draws, counted, ..usage });
                Outcome::Row(vec![
                    ("pool_id", vec![self.ids[pool].to_string()]),
                    ("credits_consumed", vec![support::decimal(amount, 2)]),
                    ("shortfall", words(&["0"])),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                    ("held", vec![support::decimal(pools[pool].holds[place].held(), 2)]),
                    ("is_duplicate", words(&["f"])),
                ])
            }
            Call::Release { hold } => {
                let Some((pool, place)) = self.find_hold(hold) else { return error("PC002") };
                let found = pools[pool].holds[place].state;
                match found {
                    State::Settled => return error("PC005"),
                    State::Active => pools[pool].release(place, now),
                    State::Released | State::Expired => {}
                }
                let after = &pools[pool].holds[place];
                Outcome::Row(vec![
                    ("status", words(&[after.state.word()])),
                    ("amount", vec![support::decimal(after.amount, 2)]),
                    ("held", words(&["0"])),
                    ("charged", vec![support::decimal(after.charged, 2)]),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                    ("is_duplicate", words(&[if found == State::Active { "f" } else { "t" }])),
                ])
            }
            Call::Extend { hold, ttl } => {
                let Some((pool, place)) = self.find_hold(hold) else { return error("PC002") };
                let mut codes = Vec::new();
                if !(1..=1440).contains(ttl) {
                    codes.push("22023");
                }
                if !pools[pool].holds[place].is_open() {
                    codes.push("PC005");
                }
                if !codes.is_empty() {
                    return Outcome::Error(codes, vec![]);
                }
                let after = &mut pools[pool].holds[place];
                let same = after.ends == now + ttl;
                after.ends = now + ttl;
                let (amount, held) = (after.amount, after.held());
                if !same {
                    pools[pool].book("update", 0, None, Some(now));
                }
                Outcome::Row(vec![
                    ("status", words(&["active"])),
                    ("amount", vec![support::decimal(amount, 2)]),
                    ("held", vec![support::decimal(held, 2)]),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                ])
            }
            Call::Reverse { usage, amount, .. } => {
                let found = pools.iter().enumerate().find_map(|(pool, found)| {
                    found.usages.iter().position(|candidate| candidate.id == *usage).map(|place| (pool, place))
                });
                let Some((pool, place)) = found else { return error("PC002") };
                let left = pools[pool].usages[place].credits - pools[pool].usages[place].reversed;
                let amount = amount.unwrap_or(left);
                if amount > left {
                    return error("22023");
                }
                pools[pool].reverse(place, amount, now);
                Outcome::Row(vec![
                    ("pool_id", vec![self.ids[pool].to_string()]),
                    ("credits_returned", vec![support::decimal(amount, 2)]),
                    ("reversed", vec![support::decimal(pools[pool].usages[place].reversed, 2)]),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                ])
            }
            Call::Transfer { from, to, amount, .. } => {
                if pools[*from].frozen {
                    return error("PC005");
                }
                let moved = match pools[*from].move_out(*amount) {
                    Ok(moved) => moved,
                    // What DETAIL says beside debt or a hold on the overdraft is not laid down.
                    Err(refused) if refused.balance < 0 => return error("PC001"),
                    Err(refused) => return insufficient(&refused, *amount),
                };
                for (place, part) in moved {
                    let source = &pools[*from].grants[place];
                    // The server names it: until then after the grant that it comes from.
                    let grant = Grant {
                        id: -source.id,
                        amount: part,
                        category: source.category,
                        priority: source.priority,
                        start: source.start,
                        end: source.end,
                        created: now,
                        ..Grant::default()
                    };
                    pools[*to].move_in(grant);
                    pools[*to].settle(None);
                }
                Outcome::Row(vec![
                    ("amount", vec![support::decimal(*amount, 2)]),
                    ("from_pool_id", vec![self.ids[*from].to_string()]),
                    ("from_balance", vec![support::decimal(pools[*from].balance(), 2)]),
                    ("to_balance", vec![support::decimal(pools[*to].balance(), 2)]),
                ])
            }
            Call::Update { grant, priority, end, .. } => {
                let Some((pool, place)) = find(pools, *grant) else { return error("PC002") };
                let found = &pools[pool].grants[place];
                let mut codes = Vec::new();
                let (priority, end) = (priority.unwrap_or(found.priority), end.unwrap_or(found.end));
                let changes = (priority, end) != (found.priority, found.end);
                if changes && found.is_over() {
                    codes.push("PC005");
                }
                if end != found.end && end.is_some_and(|end| end <= now || end <= found.start) {
                    codes.push("22023");
                }
                if !codes.is_empty() {
                    return Outcome::Error(codes, vec![]);
                }
                if changes {
                    pools[pool].book("update", 0, Some(place), None);
                }
                let found = &mut pools[pool].grants[place];
                (found.priority, found.end) = (priority, end);
                Outcome::Row(vec![
                    ("status", words(&pools[pool].grants[place].status(now))),
                    ("remaining", vec![support::decimal(pools[pool].grants[place].remaining(), 2)]),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                ])
            }
        }
    }

    fn consume(&self, pools: &mut [Pool], pool: usize, mut usage: Usage, cap: bool) -> Outcome {
        let cost = usage.credits;
        let left = self.left(pools, pool);
        if let Some(left) = left
            && cost > left.max(0)
            && !cap
        {
            return self.limited(pools, pool);
        }
        match pools[pool].consume(usage.feature, cost, cap, left, (usage.occurred, self.now)) {
            Ok(taken) => {
                usage.credits = taken.consumed;
                usage.counted = vec![(self.now, taken.consumed)];
                usage.draws = taken.draws;
                pools[pool].usages.push(usage);
                Outcome::Row(vec![
                    ("credits_consumed", vec![support::decimal(taken.consumed, 2)]),
                    ("shortfall", vec![support::decimal(taken.shortfall, 2)]),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                ])
            }
            Err(refused) => insufficient(&refused, cost),
        }
    }
}
