//! Plays a sequence on the server and on the model side by side, and compares after every step.

use crate::calls::{Call, Charge, EPOCH, Figure, Of, POOLS, RATES, Step, batch, instant};
use crate::holds::{State, Usage};
use crate::naive::{Amount, Entry, Grant, Minute, Pool, Refused};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use support::{Fault, Row, Session, units};

/// A difference between the server and the model.
pub struct Difference {
    pub step: usize,
    pub what: String,
    /// The statements that led to it.
    pub trail: Vec<String>,
}

/// A result of the model: what the columns have to be.
type Expected = Vec<(&'static str, Vec<String>)>;

enum Outcome {
    Row(Expected),
    /// Any of these codes, with these figures in DETAIL.
    Error(Vec<&'static str>, Vec<(&'static str, Amount)>),
}

pub struct Game<'a> {
    session: &'a mut Session,
    /// Names everything that this run makes, so that runs share a database.
    run: String,
    now: Minute,
    pools: Vec<Pool>,
    ids: Vec<i64>,
    /// Rate versions of each feature: since when, in thousandths.
    rates: Vec<Vec<(Minute, i128)>>,
    /// All calls with a key, and the row of those that worked.
    keyed: Vec<Call>,
    done: HashMap<(&'static str, String), (Call, Row)>,
    /// The settlement that closed a hold.
    closings: HashMap<String, (Call, Row)>,
    keys: usize,
    holds: usize,
    limits: Vec<Limit>,
    trail: Vec<String>,
    /// How often each kind of call worked, or was refused.
    counts: Counts,
}

pub type Counts = BTreeMap<&'static str, (usize, usize)>;

/// At most so much per calendar window, of a pool or of all of them.
#[derive(Clone, Debug)]
struct Limit {
    pool: Option<usize>,
    per: Minute,
    amount: Amount,
}

impl Limit {
    fn window(&self, now: Minute) -> (Minute, Minute) {
        let start = now.div_euclid(self.per) * self.per;
        (start, start + self.per)
    }

    fn used(&self, pools: &[Pool], now: Minute) -> Amount {
        let (from, to) = self.window(now);
        let covered = pools.iter().enumerate().filter(|(place, _)| self.pool.is_none_or(|pool| pool == *place));
        covered.map(|(_, pool)| pool.spent(from, to)).sum()
    }
}

/// The columns of a usage's result.
const USAGE: [&str; 7] =
    ["usage_id", "pool_id", "credit_type_id", "credits_consumed", "shortfall", "balance", "is_duplicate"];

macro_rules! differs {
    ($($part:tt)*) => { return Err(format!($($part)*)) };
}

impl<'a> Game<'a> {
    pub fn new(session: &'a mut Session, run: String) -> Self {
        let pools = POOLS.map(|_| Pool { floor_below_zero: Some(0), ..Pool::default() }).into();
        let rates = RATES.iter().map(|rate| vec![(Minute::MIN, *rate)]).collect();
        Game {
            session,
            run,
            now: 0,
            pools,
            ids: Vec::new(),
            rates,
            keyed: Vec::new(),
            done: HashMap::new(),
            closings: HashMap::new(),
            keys: 0,
            holds: 0,
            limits: Vec::new(),
            trail: Vec::new(),
            counts: Counts::new(),
        }
    }

    pub fn play(mut self, steps: &[Step]) -> Result<Counts, Difference> {
        let mut at = 0;
        let mut result = self.begin();
        for (number, step) in steps.iter().enumerate() {
            if result.is_err() {
                break;
            }
            at = number;
            result = self.step(step, number).and_then(|()| self.compare(number % 4 == 3));
        }
        let result = result.and_then(|()| self.finish());
        match result {
            Ok(()) => Ok(self.counts),
            Err(what) => Err(Difference { step: at, what, trail: self.trail }),
        }
    }

    fn write(&mut self, sql: &str) -> Result<Row, String> {
        self.trail.push(sql.to_owned());
        self.session.try_row(sql).map_err(|fault| fault.to_string())
    }

    fn set_clock(&mut self) -> Result<(), String> {
        let sql = format!("SELECT set_config('credit_pools.test_clock', {}::text, false)", instant(self.now));
        self.write(&sql).map(|_| ())
    }

    fn begin(&mut self) -> Result<(), String> {
        let run = self.run.clone();
        self.set_clock()?;
        let mut calls = vec![
            format!("define_credit_type(credit_type_id => 't-{run}', scale => 2)"),
            format!("define_plan(plan_id => 'p-{run}')"),
            format!(
                "define_plan_credits(plan_id => 'p-{run}', credit_type_id => 't-{run}', amount => 100, cadence => NULL, expires_after => '10 days')"
            ),
        ];
        for (place, rate) in RATES.iter().enumerate() {
            calls.push(format!("define_feature(feature_id => 'f{place}-{run}')"));
            calls.push(format!(
                "define_rate(feature_id => 'f{place}-{run}', credit_type_id => 't-{run}', plan_id => 'p-{run}', credits_per_unit => {})",
                support::decimal(*rate, 3)
            ));
        }
        for resource in POOLS {
            let resource = resource.map_or("NULL".to_owned(), support::text);
            calls.push(format!(
                "provision_subscription(customer_id => 'c-{run}', plan_id => 'p-{run}', resource_id => {resource})"
            ));
        }
        for call in calls {
            self.write(&format!("SELECT * FROM credit_pools.{call}"))?;
        }
        for (place, resource) in POOLS.iter().enumerate() {
            let resource = resource.map_or("NULL".to_owned(), support::text);
            let row = self.session.row(&format!(
                "SELECT pool_id, (SELECT grant_id FROM credit_pools.grants g WHERE g.pool_id = p.pool_id) AS grant_id
                 FROM credit_pools.pools p WHERE customer_id = 'c-{run}' AND resource_id IS NOT DISTINCT FROM {resource}"
            ));
            self.ids.push(row.int("pool_id"));
            let grant = Grant {
                id: row.int("grant_id"),
                amount: 10_000,
                category: "recurring",
                priority: 50,
                end: Some(10 * 24 * 60),
                ..Grant::default()
            };
            self.pools[place].grant(grant, 0);
        }
        self.compare(true)
    }

    fn step(&mut self, step: &Step, number: usize) -> Result<(), String> {
        let key = |wanted: bool, keys: &mut usize| {
            wanted.then(|| {
                *keys += 1;
                format!("key-{keys}")
            })
        };
        let call = match step {
            Step::Wait(minutes) => {
                self.now += minutes;
                self.set_clock()?;
                for pool in &mut self.pools {
                    pool.advance(self.now);
                }
                return Ok(());
            }
            Step::Maintain => {
                self.trail.push("SELECT * FROM credit_pools.run_maintenance()".to_owned());
                let result = self.session.try_rows("SELECT * FROM credit_pools.run_maintenance()");
                return result.map(|_| ()).map_err(|fault| fault.to_string());
            }
            Step::Rate { feature, rate } => {
                let run = &self.run;
                let sql = format!(
                    "SELECT * FROM credit_pools.define_rate(feature_id => 'f{feature}-{run}', credit_type_id => 't-{run}', plan_id => 'p-{run}', credits_per_unit => {}, effective_at => {})",
                    support::decimal(*rate, 3),
                    instant(self.now)
                );
                self.write(&sql)?;
                let versions = &mut self.rates[*feature];
                versions.retain(|(since, _)| *since != self.now);
                versions.push((self.now, *rate));
                return Ok(());
            }
            Step::Grant { pool, amount, category, priority, start, lasts, unpaid, features, key: keyed } => {
                let from = self.now + start.unwrap_or(0).max(0);
                Call::Grant {
                    pool: *pool,
                    amount: *amount,
                    category,
                    priority: *priority,
                    start: start.map(|start| self.now + start),
                    // Rounded up, so that ends and starts of different grants meet.
                    end: lasts.map(|lasts| (from + lasts) / 10 * 10 + 10),
                    unpaid: *unpaid,
                    features: features.clone(),
                    key: key(*keyed, &mut self.keys),
                }
            }
            Step::Confirm { nth } => {
                let Some(grant) = self.unpaid_once(*nth) else { return Ok(()) };
                Call::Confirm { grant }
            }
            Step::Void { nth, amount, key: keyed } => {
                let Some(grant) = self.youngest(*nth) else { return Ok(()) };
                Call::Void { grant, amount: *amount, key: key(*keyed, &mut self.keys) }
            }
            Step::Usage { .. } => self.usage(step),
            Step::Batch { events, again, atomic } => {
                let mut events: Vec<Call> = events.iter().map(|event| self.usage(event)).collect();
                for event in again {
                    events.push(events[*event].clone());
                }
                return self.batch(&events, *atomic);
            }
            Step::Limit { pool, per, amount } => Call::Limit { pool: *pool, per: *per, amount: *amount },
            Step::Consume { pool, amount, cap, key: keyed } => {
                Call::Consume { pool: *pool, amount: *amount, cap: *cap, key: key(*keyed, &mut self.keys) }
            }
            Step::Overdraft { pool, limit } => Call::Overdraft { pool: *pool, limit: *limit },
            Step::Freeze { pool, on } => Call::Freeze { pool: *pool, on: *on },
            Step::Reserve { pool, of, ttl } => {
                self.holds += 1;
                Call::Reserve { pool: *pool, id: format!("h{}", self.holds), of: of.clone(), ttl: self.meeting(*ttl) }
            }
            Step::Settle { nth, figure, last, key: keyed } => {
                let Some((pool, place)) = self.youngest_hold(*nth) else { return Ok(()) };
                let hold = &self.pools[pool].holds[place];
                let charge = match figure {
                    Figure::Held => Charge::Held,
                    Figure::Percent(percent) => Charge::Amount(hold.held() * percent / 100),
                    Figure::Above(amount) => Charge::Amount(hold.held() + amount),
                    // A hold without a feature takes no value: seldom tried.
                    Figure::Value(value) if hold.feature.is_none() && value % 4 > 0 => {
                        Charge::Amount(hold.held().min(*value))
                    }
                    Figure::Value(value) => Charge::Value(*value),
                };
                Call::Settle { hold: hold.id.clone(), charge, last: *last, key: key(*keyed, &mut self.keys) }
            }
            Step::Release { nth } => {
                let Some((pool, place)) = self.youngest_hold(*nth) else { return Ok(()) };
                Call::Release { hold: self.pools[pool].holds[place].id.clone() }
            }
            Step::Extend { nth, ttl } => {
                let Some((pool, place)) = self.youngest_hold(*nth) else { return Ok(()) };
                Call::Extend { hold: self.pools[pool].holds[place].id.clone(), ttl: self.meeting(*ttl) }
            }
            Step::Reverse { nth, percent, key: keyed } => {
                let mut usages: Vec<&Usage> = self.pools.iter().flat_map(|pool| &pool.usages).collect();
                usages.sort_by_key(|usage| usage.id);
                if usages.is_empty() {
                    return Ok(());
                }
                let usage = usages[usages.len() - 1 - nth % usages.len()];
                let amount = percent.map(|percent| ((usage.credits - usage.reversed) * percent / 100).max(1));
                Call::Reverse { usage: usage.id, amount, key: key(*keyed, &mut self.keys) }
            }
            Step::Transfer { from, amount, key: keyed } => {
                Call::Transfer { from: *from, amount: *amount, key: key(*keyed, &mut self.keys) }
            }
            Step::Update { nth, priority, lasts, key: keyed } => {
                let Some(grant) = self.youngest(*nth) else { return Ok(()) };
                if priority.is_none() && lasts.is_none() {
                    return Ok(());
                }
                let end = lasts.map(|lasts| lasts.map(|lasts| (self.now + lasts) / 10 * 10 + 10));
                Call::Update { grant, priority: *priority, end, key: key(*keyed, &mut self.keys) }
            }
            Step::Again { nth } | Step::Conflict { nth } => {
                if self.keyed.is_empty() {
                    return Ok(());
                }
                let call = self.keyed[self.keyed.len() - 1 - nth % self.keyed.len()].clone();
                if matches!(step, Step::Conflict { .. }) { call.with_other_amount() } else { call }
            }
        };
        // A call in a subtransaction that is undone first: nothing may be left of it.
        if number % 16 == 7 {
            for sql in ["BEGIN".to_owned(), call.sql(&self.run), "ROLLBACK".to_owned()] {
                if let Err(fault) = self.session.try_rows(&sql)
                    && fault.is_crash()
                {
                    differs!("{fault}");
                }
            }
        }
        self.call(call)
    }

    fn usage(&mut self, step: &Step) -> Call {
        let Step::Usage { pool, feature, value, cap, total, ago, key } = step else { panic!("a usage: {step:?}") };
        Call::Usage {
            pool: *pool,
            feature: *feature,
            value: *value,
            cap: *cap,
            total: *total,
            at: ago.map(|ago| self.now - ago),
            key: key.then(|| {
                self.keys += 1;
                format!("key-{}", self.keys)
            }),
        }
    }

    /// As single calls in that order would do.
    fn batch(&mut self, events: &[Call], atomic: bool) -> Result<(), String> {
        let sql = batch(events, atomic, &self.run);
        let (mut pools, mut done) = (self.pools.clone(), self.done.clone());
        if self.is_unclear(&mut pools, events) {
            return Ok(());
        }
        self.trail.push(sql.clone());
        let answer = self.session.try_rows(&sql);
        if let Ok(rows) = &answer
            && rows.len() != events.len()
        {
            differs!("{} rows for {} events: {sql}", rows.len(), events.len());
        }
        for (number, event) in events.iter().enumerate() {
            let row = answer.as_ref().ok().map(|rows| &rows[number]);
            let failed = row.is_some_and(|row| row.opt("error_code").is_some());
            let row = row.filter(|_| !failed);
            let first = event.key().and_then(|key| done.get(&("usage", key.to_owned())));
            let mut after = pools.clone();
            let outcome = match first {
                Some((call, _)) if call != event => Outcome::Error(vec!["PC004"], vec![]),
                Some((_, first)) => {
                    let same = USAGE.map(|column| match column {
                        "is_duplicate" => (column, words(&["t"])),
                        _ => (column, vec![first.opt(column).unwrap_or("NULL").to_owned()]),
                    });
                    Outcome::Row(same.into())
                }
                None => self.expect(&mut after, event, row),
            };
            match (outcome, &answer) {
                (Outcome::Error(codes, _), Err(fault)) if atomic => {
                    if !codes.contains(&fault.code.as_str()) || fault.figure("index") != Some(number.to_string()) {
                        differs!("event {number} should fail with {codes:?}: {fault}");
                    }
                    self.counts.entry("batch").or_default().1 += 1;
                    return Ok(());
                }
                (Outcome::Error(codes, _), Ok(rows)) if !atomic => {
                    let code = rows[number].opt("error_code").unwrap_or("none");
                    if !codes.contains(&code) {
                        differs!("event {number} should fail with {codes:?}: {:?}\n from {sql}", rows[number]);
                    }
                }
                // Not yet the bad one.
                (Outcome::Row(_), Err(_)) if atomic => pools = after,
                (Outcome::Row(expected), Ok(rows)) => {
                    for (column, wanted) in expected {
                        let found = rows[number].opt(column).unwrap_or("NULL").to_owned();
                        if !wanted.iter().any(|wanted| same(&found, wanted)) {
                            differs!(
                                "event {number}: {column} is {found}, should be {wanted:?}\n in {:?}\n from {sql}",
                                rows[number]
                            );
                        }
                    }
                    if first.is_none()
                        && let Some(key) = event.key()
                    {
                        done.insert(("usage", key.to_owned()), (event.clone(), rows[number].only(&USAGE)));
                    }
                    pools = after;
                }
                (Outcome::Error(codes, _), answer) => differs!("should fail with {codes:?}: {answer:?}\n from {sql}"),
                (Outcome::Row(expected), answer) => differs!("should give {expected:?}: {answer:?}\n from {sql}"),
            }
        }
        if let Err(fault) = answer {
            differs!("should work: {fault}");
        }
        self.counts.entry("batch").or_default().0 += 1;
        (self.pools, self.done) = (pools, done);
        Ok(())
    }

    /// What the contract leaves open: lower totals after reversals by hand, or in a frozen pool.
    fn is_unclear(&self, pools: &mut [Pool], calls: &[Call]) -> bool {
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
    fn left(&self, pools: &[Pool], pool: usize) -> Option<Amount> {
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

    fn youngest(&self, nth: usize) -> Option<i64> {
        let mut all: Vec<i64> = self.pools.iter().flat_map(|pool| &pool.grants).map(|grant| grant.id).collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| all[all.len() - 1 - nth % all.len()])
    }

    /// Nth hold from the youngest: its pool and place. Mostly of the open ones.
    fn youngest_hold(&self, nth: usize) -> Option<(usize, usize)> {
        let mut all: Vec<(i64, usize, usize)> = Vec::new();
        let any = self.pools.iter().flat_map(|pool| &pool.holds).any(|hold| hold.is_open());
        for (pool, found) in self.pools.iter().enumerate() {
            for (place, hold) in found.holds.iter().enumerate() {
                if hold.is_open() || !any || nth >= 3 {
                    all.push((hold.id[1..].parse().unwrap_or_default(), pool, place));
                }
            }
        }
        all.sort_unstable();
        (!all.is_empty()).then(|| all[all.len() - 1 - nth % all.len()]).map(|(_, pool, place)| (pool, place))
    }

    /// Round times to live end when grants begin and end.
    fn meeting(&self, ttl: Minute) -> Minute {
        if ttl % 10 == 0 && (1..1400).contains(&ttl) { (self.now + ttl) / 10 * 10 + 10 - self.now } else { ttl }
    }

    fn unpaid_once(&self, nth: usize) -> Option<i64> {
        let mut all: Vec<i64> = self
            .pools
            .iter()
            .flat_map(|pool| &pool.grants)
            .filter(|grant| grant.was_unpaid)
            .map(|grant| grant.id)
            .collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| all[all.len() - 1 - nth % all.len()])
    }

    fn call(&mut self, call: Call) -> Result<(), String> {
        let sql = call.sql(&self.run);
        let known = call.key().is_some_and(|key| self.done.contains_key(&(call.kind(), key.to_owned())));
        if !known && self.is_unclear(&mut self.pools.clone(), std::slice::from_ref(&call)) {
            return Ok(());
        }
        self.trail.push(sql.clone());
        let answer = self.session.try_row(&sql);
        if call.key().is_some() && !self.keyed.contains(&call) {
            self.keyed.push(call.clone());
        }
        // The replay check comes before every other check.
        if let Some(key) = call.key()
            && let Some((first, row)) = self.done.get(&(call.kind(), key.to_owned()))
        {
            return match answer {
                Ok(again) if *first == call => {
                    if !again.flag("is_duplicate") || again.without("is_duplicate") != row.without("is_duplicate") {
                        differs!("a replay gives the first result\n first {row:?}\n again {again:?}\n from {sql}");
                    }
                    Ok(())
                }
                Err(fault) if *first != call && fault.code == "PC004" => Ok(()),
                other => Err(format!("a replay of {first:?}: {other:?}\n from {sql}")),
            };
        }
        // What the model would do, on a copy that is kept only if the call works.
        let mut pools = self.pools.clone();
        let outcome = self.expect(&mut pools, &call, answer.as_ref().ok());
        match (answer, outcome) {
            (Ok(row), Outcome::Row(expected)) => {
                for (column, wanted) in expected {
                    let found = row.opt(column).unwrap_or("NULL").to_owned();
                    if !wanted.iter().any(|wanted| same(&found, wanted)) {
                        differs!("{column} is {found}, should be {wanted:?}\n in {row:?}\n from {sql}");
                    }
                }
                let says_itself = matches!(call, Call::Void { .. } | Call::Settle { .. } | Call::Reverse { .. });
                if row.has("is_duplicate") && call.kind() != "other" && !says_itself && row.flag("is_duplicate") {
                    differs!("not a duplicate: {row:?}\n from {sql}");
                }
                self.counts.entry(call.name()).or_default().0 += 1;
                self.pools = pools;
                self.learn(&call)?;
                if let Call::Settle { hold, last: true, .. } = &call {
                    self.closings.entry(hold.clone()).or_insert_with(|| (call.clone(), row.clone()));
                }
                if let Some(key) = call.key()
                    && !(matches!(call, Call::Settle { .. }) && row.flag("is_duplicate"))
                {
                    self.done.insert((call.kind(), key.to_owned()), (call.clone(), row));
                }
                Ok(())
            }
            (Err(fault), Outcome::Error(codes, figures)) => {
                if !codes.contains(&fault.code.as_str()) {
                    differs!("should fail with {codes:?}: {fault}");
                }
                self.counts.entry(call.name()).or_default().1 += 1;
                if fault.code == "PC007" {
                    let figure = |key: &str| units(&fault.figure(key).unwrap_or_default(), 2);
                    let left = figure("limit") - figure("used");
                    if !figures.contains(&("left", left)) {
                        differs!("the tightest limit should leave {figures:?} hundredths: {fault}");
                    }
                }
                if fault.code == "PC001" {
                    for (key, wanted) in figures {
                        let found = fault.figure(key).map(|found| units(&found, 2));
                        if found != Some(wanted) {
                            differs!("{key} should be {wanted} hundredths: {fault}");
                        }
                    }
                }
                Ok(())
            }
            (Ok(row), Outcome::Error(codes, _)) => Err(format!("should fail with {codes:?}: {sql}\n gave {row:?}")),
            (Err(fault), Outcome::Row(expected)) => Err(format!("should give {expected:?}: {fault}")),
        }
    }

    /// What transferred grants are called; what limits are in force.
    fn learn(&mut self, call: &Call) -> Result<(), String> {
        if let Call::Limit { pool, per, amount } = call {
            self.limits.retain(|limit| (limit.pool, limit.per) != (*pool, *per));
            if let Some(amount) = amount {
                self.limits.push(Limit { pool: *pool, per: *per, amount: *amount });
            }
        }
        if !matches!(call, Call::Transfer { .. }) {
            return Ok(());
        }
        for (place, pool) in self.pools.iter_mut().enumerate() {
            let known: Vec<i64> = pool.grants.iter().map(|grant| grant.id).collect();
            let rows = self.session.rows(&format!(
                "SELECT grant_id, source_grant_id FROM credit_pools.grants WHERE pool_id = {} ORDER BY grant_id",
                self.ids[place]
            ));
            let mut new = rows.iter().filter(|row| !known.contains(&row.int("grant_id")));
            for grant in pool.grants.iter_mut().filter(|grant| grant.id < 0) {
                let Some(row) = new.next() else { differs!("a transferred grant is missing in {rows:?}") };
                if row.int("source_grant_id") != -grant.id {
                    differs!("the grants are transferred in another order: {rows:?}");
                }
                let unnamed = grant.id;
                grant.id = row.int("grant_id");
                for entry in pool.ledger.iter_mut().filter(|entry| entry.grant == Some(unnamed)) {
                    entry.grant = Some(grant.id);
                }
            }
        }
        Ok(())
    }

    fn find_hold(&self, id: &str) -> Option<(usize, usize)> {
        self.pools.iter().enumerate().find_map(|(pool, found)| {
            found.holds.iter().position(|candidate| candidate.id == id).map(|place| (pool, place))
        })
    }

    /// The version in force, in thousandths.
    fn rate(&self, feature: usize, at: Minute) -> i128 {
        let rate = self.rates[feature].iter().filter(|(since, _)| *since <= at).max_by_key(|(since, _)| *since);
        rate.map_or(0, |(_, rate)| *rate)
    }

    /// The model's answer to a call that is no replay.
    fn expect(&self, pools: &mut [Pool], call: &Call, row: Option<&Row>) -> Outcome {
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
                if at < 0 {
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
            Call::Freeze { pool, on } => {
                pools[*pool].frozen = *on;
                Outcome::Row(vec![("status", words(&[if *on { "frozen" } else { "active" }]))])
            }
            Call::Reserve { pool, id, of, ttl } => {
                if !(1..=1440).contains(ttl) {
                    return error("22023");
                }
                if pools[*pool].frozen {
                    return error("PC005");
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
            Call::Transfer { from, amount, .. } => {
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
                    pools[1 - from].move_in(grant);
                    pools[1 - from].settle(None);
                }
                Outcome::Row(vec![
                    ("amount", vec![support::decimal(*amount, 2)]),
                    ("from_pool_id", vec![self.ids[*from].to_string()]),
                    ("from_balance", vec![support::decimal(pools[*from].balance(), 2)]),
                    ("to_balance", vec![support::decimal(pools[1 - from].balance(), 2)]),
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

    /// The views are right to the instant, whether or not maintenance has run.
    fn compare(&mut self, around_maintenance: bool) -> Result<(), String> {
        self.compare_views("before maintenance")?;
        if around_maintenance {
            self.session.exec("BEGIN");
            let result = match self.session.try_rows("SELECT * FROM credit_pools.run_maintenance()") {
                Ok(_) => self.compare_views("after maintenance").and_then(|()| self.compare_ledger(true)),
                Err(fault) => Err(fault.to_string()),
            };
            self.session.try_exec("ROLLBACK").map_err(|fault: Fault| fault.to_string())?;
            result?;
        }
        self.compare_ledger(false)
    }

    fn compare_views(&mut self, when: &str) -> Result<(), String> {
        let minute = |column: &str| format!("((extract(epoch FROM {column}) - {EPOCH}) / 60)::bigint");
        let holds = self.session.rows(&format!(
            "SELECT reservation_id, pool_id, status, amount, held, charged, {} AS ends
             FROM credit_pools.reservations WHERE customer_id = 'c-{}'",
            minute("expires_at"),
            self.run
        ));
        let pools = self.session.rows(&format!(
            "SELECT pool_id, balance, debt, restricted, held, overdraft_limit, status, {} AS expires, next_expiry_amount, expired, voided
             FROM credit_pools.pools WHERE customer_id = 'c-{}'",
            minute("next_expiry_at"),
            self.run
        ));
        let grants = self.session.rows(&format!(
            "SELECT grant_id, pool_id, amount, remaining, available, consumed, expired, voided, held, status, category, priority,
                    {} AS starts, {} AS expires
             FROM credit_pools.grants WHERE customer_id = 'c-{}'",
            minute("effective_at"),
            minute("expires_at"),
            self.run
        ));
        let limits = self.session.rows(&format!(
            "SELECT resource_id, all_resources, amount, (extract(epoch FROM per) / 60)::int AS per, used, remaining, {} AS starts, {} AS ends
             FROM credit_pools.limits WHERE customer_id = 'c-{}'",
            minute("window_start"),
            minute("window_end"),
            self.run
        ));
        if limits.len() != self.limits.len() {
            differs!("{when}: limits {limits:?}, should be {:?}", self.limits);
        }
        for limit in &self.limits {
            let used = limit.used(&self.pools, self.now);
            let (from, to) = limit.window(self.now);
            let wanted = [limit.amount, used, (limit.amount - used).max(0), i128::from(from), i128::from(to)];
            let row = limits.iter().find(|row| {
                let resource = limit.pool.and_then(|pool| POOLS[pool]);
                row.int("per") == limit.per
                    && row.flag("all_resources") == limit.pool.is_none()
                    && row.opt("resource_id") == resource
            });
            let found = row.map(|row| {
                [
                    units(row.get("amount"), 2),
                    units(row.get("used"), 2),
                    units(row.get("remaining"), 2).max(0),
                    i128::from(row.int("starts")),
                    i128::from(row.int("ends")),
                ]
            });
            if found != Some(wanted) {
                differs!("{when}, minute {}, view limits: {row:?}, should be {wanted:?}", self.now);
            }
        }
        if holds.len() != self.pools.iter().map(|pool| pool.holds.len()).sum::<usize>() {
            differs!("{when}: {} reservations", holds.len());
        }
        if pools.len() != self.pools.len() {
            differs!("{when}: {} pools", pools.len());
        }
        for (place, pool) in self.pools.iter().enumerate() {
            let id = self.ids[place].to_string();
            let Some(row) = pools.iter().find(|row| row.get("pool_id") == id) else { differs!("no pool {id}") };
            let mut wrong = Vec::new();
            let mut check = |column: &str, wanted: String| {
                let found = row.opt(column).unwrap_or("NULL");
                if !same(found, &wanted) {
                    wrong.push(format!("{column} is {found}, should be {wanted}"));
                }
            };
            check("balance", support::decimal(pool.balance(), 2));
            check("debt", support::decimal(pool.debt, 2));
            check("restricted", support::decimal(pool.restricted(), 2));
            check("held", support::decimal(pool.held(), 2));
            check("status", if pool.frozen { "frozen" } else { "active" }.to_owned());
            check(
                "overdraft_limit",
                pool.floor_below_zero.map_or("Infinity".to_owned(), |limit| support::decimal(limit, 2)),
            );
            check("expires", pool.next_expiry().map_or("NULL".to_owned(), |(end, _)| end.to_string()));
            if let Some((_, amount)) = pool.next_expiry() {
                check("next_expiry_amount", support::decimal(amount, 2));
            }
            if !wrong.is_empty() {
                differs!(
                    "{when}, minute {}, view pools: {}\n in {row:?}\n model {pool:#?}",
                    self.now,
                    wrong.join("; ")
                );
            }
            for hold in &pool.holds {
                let Some(row) = holds.iter().find(|row| row.get("reservation_id") == hold.id) else {
                    differs!("{when}: no reservation {}", hold.id)
                };
                let found =
                    ["pool_id", "status", "amount", "held", "charged", "ends"].map(|column| row.get(column).to_owned());
                let wanted = [
                    id.clone(),
                    hold.state.word().to_owned(),
                    support::decimal(hold.amount, 2),
                    support::decimal(hold.held(), 2),
                    support::decimal(hold.charged, 2),
                    hold.ends.to_string(),
                ];
                if !found.iter().zip(&wanted).all(|(found, wanted)| same(found, wanted)) {
                    differs!(
                        "{when}, minute {}, view reservations: {row:?}\n should be {wanted:?}\n model {hold:?}",
                        self.now
                    );
                }
            }
            let of_pool = grants.iter().filter(|row| row.get("pool_id") == id).count();
            if of_pool != pool.grants.len() {
                differs!("{when}: {of_pool} grants in pool {id}, should be {}", pool.grants.len());
            }
            for grant in &pool.grants {
                let id = grant.id.to_string();
                let Some(row) = grants.iter().find(|row| row.get("grant_id") == id) else { differs!("no grant {id}") };
                let mut wrong = Vec::new();
                let mut check = |column: &str, wanted: String| {
                    let found = row.opt(column).unwrap_or("NULL");
                    if !same(found, &wanted) {
                        wrong.push(format!("{column} is {found}, should be {wanted}"));
                    }
                };
                check("amount", support::decimal(grant.amount, 2));
                check("remaining", support::decimal(grant.remaining(), 2));
                check("available", support::decimal(grant.available(), 2));
                check("consumed", support::decimal(grant.consumed, 2));
                check("expired", support::decimal(grant.expired, 2));
                check("voided", support::decimal(grant.voided, 2));
                check("held", support::decimal(grant.held, 2));
                check("category", grant.category.to_owned());
                check("priority", grant.priority.to_string());
                check("starts", grant.start.to_string());
                check("expires", grant.end.map_or("NULL".to_owned(), |end| end.to_string()));
                let status = grant.status(self.now);
                if !status.contains(&row.get("status")) {
                    wrong.push(format!("status is {}, should be {status:?}", row.get("status")));
                }
                if !wrong.is_empty() {
                    differs!(
                        "{when}, minute {}, view grants: {}\n in {row:?}\n model {grant:?}",
                        self.now,
                        wrong.join("; ")
                    );
                }
            }
        }
        Ok(())
    }

    /// The ledger's rows are the model's in order; what is due but not booked may be missing at the end.
    fn compare_ledger(&mut self, all: bool) -> Result<(), String> {
        for (place, pool) in self.pools.iter().enumerate() {
            let rows = self.session.rows(&format!(
                "SELECT entry_type, amount, grant_id, ((extract(epoch FROM effective_at) - {EPOCH}) / 60)::bigint AS at
                 FROM credit_pools.ledger WHERE pool_id = {} AND (amount <> 0 OR entry_type = 'schedule' OR metadata ?| '{{priority,expires_at}}') ORDER BY seq",
                self.ids[place]
            ));
            let mut wanted: Vec<Shown> = pool.ledger.iter().map(show).collect();
            let found: Vec<Shown> = rows
                .iter()
                .map(|row| {
                    let kind = row.get("entry_type").to_owned();
                    let amount = units(row.get("amount"), 2);
                    let grant = row.opt("grant_id").map(str::to_owned);
                    Shown { kind, at: Some(row.int("at")), grant, amount, group: 0 }
                })
                .collect();
            if found.len() > wanted.len() || (all && found.len() < wanted.len()) {
                differs!(
                    "ledger of pool {}: {} rows, should be {}\n{}",
                    self.ids[place],
                    found.len(),
                    wanted.len(),
                    beside(&found, &wanted)
                );
            }
            for (number, row) in found.iter().enumerate() {
                let group = wanted[number].group;
                let ahead =
                    wanted[number..].iter().take_while(|model| model.group == group).position(|model| model.shows(row));
                let Some(ahead) = ahead else {
                    differs!("ledger of pool {} differs at row {number}\n{}", self.ids[place], beside(&found, &wanted));
                };
                wanted[number..=number + ahead].rotate_right(1);
            }
            if let Some(missing) = wanted[found.len()..].iter().find(|row| {
                !["expire", "grant", "debt_settle", "reservation_expire", "void"].contains(&row.kind.as_str())
            }) {
                differs!("ledger of pool {} lacks {missing:?}\n{}", self.ids[place], beside(&found, &wanted));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        for (place, pool) in self.pools.iter().enumerate() {
            let rows = self.session.rows(&format!(
                "SELECT usage_id, credits, reversed FROM credit_pools.usage_events WHERE pool_id = {}",
                self.ids[place]
            ));
            if rows.len() != pool.usages.len() {
                differs!("{} usage events, should be {}", rows.len(), pool.usages.len());
            }
            for usage in &pool.usages {
                let row = rows.iter().find(|row| row.int("usage_id") == usage.id);
                let right = row.is_some_and(|row| {
                    (units(row.get("credits"), 2), units(row.get("reversed"), 2)) == (usage.credits, usage.reversed)
                });
                if !right {
                    differs!("usage event {row:?}, should be {usage:?}");
                }
            }
        }
        let broken = support::broken_invariants(self.session, true);
        if !broken.is_empty() {
            differs!("{}", broken.join("\n"));
        }
        Ok(())
    }
}

/// The billing period: the calendar month, counted from the subscription's start.
fn month(at: Minute) -> (Minute, Minute) {
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
fn cost(value: i128, rate: i128) -> Amount {
    (value * rate + 500) / 1000
}

fn find(pools: &[Pool], grant: i64) -> Option<(usize, usize)> {
    pools.iter().enumerate().find_map(|(pool, found)| {
        found.grants.iter().position(|candidate| candidate.id == grant).map(|place| (pool, place))
    })
}

/// Equal, trailing zeros aside: another test looks at these.
fn same(found: &str, wanted: &str) -> bool {
    let found = if found.contains('.') { found.trim_end_matches('0').trim_end_matches('.') } else { found };
    found == wanted
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    kind: String,
    at: Option<Minute>,
    grant: Option<String>,
    amount: Amount,
    group: usize,
}

impl Shown {
    /// The model's row is this row of the server, as far as the model says.
    fn shows(&self, row: &Shown) -> bool {
        (&self.kind, &self.grant, self.amount) == (&row.kind, &row.grant, row.amount)
            && (self.at.is_none() || self.at == row.at)
    }
}

fn show(entry: &Entry) -> Shown {
    Shown {
        kind: entry.kind.to_owned(),
        at: entry.at,
        grant: entry.grant.map(|id| id.to_string()),
        amount: entry.amount,
        group: entry.group,
    }
}

fn beside(found: &[Shown], wanted: &[Shown]) -> String {
    let line = |row: Option<&Shown>| {
        row.map_or(String::new(), |row| {
            let at = row.at.map_or("any".to_owned(), |at| at.to_string());
            format!("{} {} of {} at {at}", row.kind, row.amount, row.grant.as_deref().unwrap_or("-"))
        })
    };
    let from = found.len().max(wanted.len()).saturating_sub(14);
    (from..found.len().max(wanted.len()))
        .map(|number| format!("  {:<44} | {}", line(found.get(number)), line(wanted.get(number))))
        .collect::<Vec<_>>()
        .join("\n")
}
