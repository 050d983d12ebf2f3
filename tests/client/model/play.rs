//! Plays a sequence on the server and on the model side by side: compares the result of every call, and everything there
//! is to see after every so many steps.

use crate::answers::{Limit, Outcome, words};
use crate::calls::{Call, Charge, POOLS, RATES, batch, instant};
use crate::coverage::Counts;
use crate::holds::Usage;
use crate::naive::{Grant, Minute, Pool};
use crate::reads::Seen;
use crate::steps::{Figure, SUBSCRIBED, Step};
use std::collections::{HashMap, HashSet};
use support::{Row, Session, units};

/// A difference between the server and the model.
pub struct Difference {
    pub step: usize,
    pub what: String,
    /// The statements that led to it.
    pub trail: Vec<String>,
}

pub struct Game<'a> {
    pub session: &'a mut Session,
    /// Names everything that this run makes, so that runs share a database.
    pub run: String,
    pub now: Minute,
    pub pools: Vec<Pool>,
    pub ids: Vec<i64>,
    /// Rate versions of each feature: since when, in thousandths.
    pub rates: Vec<Vec<(Minute, i128)>>,
    /// All calls with a key, and the row of those that worked.
    pub keyed: Vec<Call>,
    pub done: HashMap<(&'static str, String), (Call, Row)>,
    /// The settlement that closed a hold.
    pub closings: HashMap<String, (Call, Row)>,
    pub keys: usize,
    pub holds: usize,
    pub limits: Vec<Limit>,
    pub trail: Vec<String>,
    pub counts: Counts,
    /// The pools as they were when an instant was left.
    pub left: Vec<(Minute, Vec<Seen>)>,
    /// The rows that were last inserted into the metered table, and the keys of those that were charged.
    pub inserted: Vec<Call>,
    pub rows_known: HashSet<String>,
    /// The event that the consumer has come to.
    pub read_up_to: i64,
}

/// The functions that a run begins with.
const DEFINITIONS: [&str; 8] = [
    "define_credit_type",
    "define_feature",
    "define_plan",
    "define_plan_credits",
    "define_rate",
    "provision_subscription",
    "open_pool",
    "meter_table",
];

/// The columns of a usage's result.
const USAGE: [&str; 7] =
    ["usage_id", "pool_id", "credit_type_id", "credits_consumed", "shortfall", "balance", "is_duplicate"];

macro_rules! differs {
    ($($part:tt)*) => { return Err(format!($($part)*)) };
}
pub(crate) use differs;

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
            counts: Counts::default(),
            left: Vec::new(),
            inserted: Vec::new(),
            rows_known: HashSet::new(),
            read_up_to: 0,
        }
    }

    /// Compares everything after every so many steps, and at the end.
    pub fn play(mut self, steps: &[Step], every: usize) -> Result<Counts, Difference> {
        let mut at = 0;
        let mut result = self.begin();
        for (number, step) in steps.iter().enumerate() {
            if result.is_err() {
                break;
            }
            at = number;
            result = self.step(step, number);
            if result.is_ok() && (number + 1) % every == 0 {
                result = self.compare(every > 1 || number % 4 == 3);
            }
        }
        let result = result.and_then(|()| self.compare(true)).and_then(|()| self.finish());
        match result {
            Ok(()) => Ok(self.counts),
            Err(what) => Err(Difference { step: at, what, trail: self.trail }),
        }
    }

    pub fn write(&mut self, sql: &str) -> Result<Row, String> {
        self.trail.push(sql.to_owned());
        self.session.try_row(sql).map_err(|fault| fault.to_string())
    }

    fn set_clock(&mut self) -> Result<(), String> {
        let sql = format!("SELECT set_config('credit_pools.test_clock', {}::text, false)", instant(self.now));
        self.write(&sql).map(|_| ())
    }

    /// The definitions of this run, as often as one likes.
    fn catalogue(&self) -> Vec<String> {
        let run = &self.run;
        let mut calls = vec![
            format!("define_credit_type(credit_type_id => 't-{run}', scale => 2)"),
            format!("define_plan(plan_id => 'p-{run}')"),
            format!(
                "define_plan_credits(plan_id => 'p-{run}', credit_type_id => 't-{run}', amount => 100, cadence => NULL, expires_after => '10 days')"
            ),
        ];
        calls.extend((0..RATES.len()).map(|place| format!("define_feature(feature_id => 'f{place}-{run}')")));
        calls
    }

    fn define(&mut self, calls: Vec<String>) -> Result<(), String> {
        for call in calls {
            self.write(&format!("SELECT * FROM credit_pools.{call}"))?;
            for name in DEFINITIONS.iter().filter(|name| call.starts_with(&format!("{name}("))) {
                self.counts.worked(name);
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), String> {
        let run = self.run.clone();
        self.set_clock()?;
        let mut calls = self.catalogue();
        for (place, rate) in RATES.iter().enumerate() {
            calls.push(format!(
                "define_rate(feature_id => 'f{place}-{run}', credit_type_id => 't-{run}', plan_id => 'p-{run}', credits_per_unit => {})",
                support::decimal(*rate, 3)
            ));
        }
        for (place, resource) in POOLS.iter().enumerate() {
            let scope = format!(
                "customer_id => 'c-{run}', resource_id => {}",
                resource.map_or("NULL".to_owned(), support::text)
            );
            calls.push(if place < SUBSCRIBED {
                format!("provision_subscription({scope}, plan_id => 'p-{run}')")
            } else {
                format!("open_pool({scope}, credit_type_id => 't-{run}')")
            });
        }
        self.session
            .exec(&format!("CREATE TABLE metered_{run} (customer text, workspace text, amount numeric, key text)"));
        self.trail
            .push(format!("CREATE TABLE metered_{run} (customer text, workspace text, amount numeric, key text)"));
        calls.push(format!(
            "meter_table(\"table\" => 'metered_{run}', feature_id => 'f1-{run}', customer_column => 'customer', resource_column => 'workspace', value_column => 'amount', key_column => 'key')"
        ));
        self.define(calls)?;
        // The consumer goes on from here: what other runs did is none of its business.
        let last = self.session.value("SELECT coalesce(max(event_id), 0) FROM credit_pools.events");
        if last != "0" {
            self.write(&format!(
                "SELECT * FROM credit_pools.ack_events(consumer => 'consumer-{run}', event_id => {last})"
            ))?;
        }
        self.read_up_to = last.parse().expect("an id");
        for (place, resource) in POOLS.iter().enumerate() {
            let resource = resource.map_or("NULL".to_owned(), support::text);
            let row = self.session.row(&format!(
                "SELECT pool_id, (SELECT grant_id FROM credit_pools.grants g WHERE g.pool_id = p.pool_id) AS grant_id
                 FROM credit_pools.pools p WHERE customer_id = 'c-{run}' AND resource_id IS NOT DISTINCT FROM {resource}"
            ));
            self.ids.push(row.int("pool_id"));
            if place >= SUBSCRIBED {
                continue;
            }
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
                self.left.push((self.now, self.seen()));
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
                self.counts.worked("run_maintenance");
                return result.map(|_| ()).map_err(|fault| fault.to_string());
            }
            Step::Archive { ago, rows } => {
                let sql = format!(
                    "SELECT * FROM credit_pools.archive_ledger(before => {}, customer_id => 'c-{}', max_rows => {})",
                    instant(self.now - ago),
                    self.run,
                    rows.map_or("NULL".to_owned(), |rows| rows.to_string())
                );
                let done = self.write(&sql)?;
                if done.int("ledger_rows") > 0 {
                    self.counts.worked("archive_ledger");
                }
                return Ok(());
            }
            Step::Rate { feature, rate, by_catalogue } => {
                let run = &self.run;
                let (rate_text, at) = (support::decimal(*rate, 3), instant(self.now));
                let sql = if *by_catalogue {
                    self.counts.worked("apply_catalog");
                    format!(
                        "SELECT * FROM credit_pools.apply_catalog(catalog => jsonb_build_object('rates', jsonb_build_array(jsonb_build_object(
                             'feature_id', 'f{feature}-{run}', 'credit_type_id', 't-{run}', 'plan_id', 'p-{run}', 'credits_per_unit', {rate_text},
                             'effective_at', {at}))))"
                    )
                } else {
                    self.counts.worked("define_rate");
                    format!(
                        "SELECT * FROM credit_pools.define_rate(feature_id => 'f{feature}-{run}', credit_type_id => 't-{run}', plan_id => 'p-{run}', credits_per_unit => {rate_text}, effective_at => {at})"
                    )
                };
                self.trail.push(sql.clone());
                self.session.try_rows(&sql).map_err(|fault| fault.to_string())?;
                let versions = &mut self.rates[*feature];
                versions.retain(|(since, _)| *since != self.now);
                versions.push((self.now, *rate));
                return Ok(());
            }
            Step::Redefine => return self.define(self.catalogue()),
            Step::Insert { rows, again } => return self.insert(rows, *again),
            Step::Check { pool, of } => return self.check(*pool, of),
            Step::Estimate(usage) => {
                let call = match self.usage(usage) {
                    Call::Usage { pool, feature, value, cap, total, at, .. } => {
                        Call::Usage { pool, feature, value, cap, total, at, key: None }
                    }
                    call => call,
                };
                return self.estimate(&call);
            }
            Step::Past { nth, pool } => return self.past(*nth, *pool),
            Step::Explain { nth } => return self.explain(*nth),
            Step::Fetch { max, done } => return self.fetch(*max, *done),
            Step::Open { pool } => Call::Open { pool: *pool },
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
            Step::Transfer { from, to, amount, key: keyed } => {
                Call::Transfer { from: *from, to: *to, amount: *amount, key: key(*keyed, &mut self.keys) }
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
        if self.is_unclear(&pools, events) {
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
                    self.counts.refused("report_usage_batch");
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
        self.counts.worked("report_usage_batch");
        (self.pools, self.done) = (pools, done);
        Ok(())
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
        if !known && self.is_unclear(&self.pools, std::slice::from_ref(&call)) {
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
            self.counts.repeated(call.name());
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
                self.counts.worked(call.name());
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
                self.counts.refused(call.name());
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
}

/// Equal, trailing zeros aside: another test looks at these.
pub fn same(found: &str, wanted: &str) -> bool {
    let found = if found.contains('.') { found.trim_end_matches('0').trim_end_matches('.') } else { found };
    found == wanted
}
