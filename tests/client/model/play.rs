//! Plays a sequence on the server and on the model side by side, and compares after every step.

use crate::calls::{Call, EPOCH, POOLS, RATES, Step, instant};
use crate::naive::{Amount, Entry, Grant, Minute, Pool};
use std::collections::{BTreeSet, HashMap};
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
    keys: usize,
    trail: Vec<String>,
}

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
            keys: 0,
            trail: Vec::new(),
        }
    }

    pub fn play(mut self, steps: &[Step]) -> Result<(), Difference> {
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
        result.map_err(|what| Difference { step: at, what, trail: self.trail })
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
                consumed: 0,
                expired: 0,
                voided: 0,
                category: "recurring",
                priority: 50,
                start: 0,
                end: Some(10 * 24 * 60),
                created: 0,
                unpaid: false,
                was_unpaid: false,
                begun: false,
                ended: false,
                features: None,
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
            Step::Usage { pool, feature, value, cap, ago, key: keyed } => Call::Usage {
                pool: *pool,
                feature: *feature,
                value: *value,
                cap: *cap,
                at: ago.map(|ago| self.now - ago),
                key: key(*keyed, &mut self.keys),
            },
            Step::Consume { pool, amount, cap, key: keyed } => {
                Call::Consume { pool: *pool, amount: *amount, cap: *cap, key: key(*keyed, &mut self.keys) }
            }
            Step::Overdraft { pool, limit } => Call::Overdraft { pool: *pool, limit: *limit },
            Step::Freeze { pool, on } => Call::Freeze { pool: *pool, on: *on },
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

    fn youngest(&self, nth: usize) -> Option<i64> {
        let mut all: Vec<i64> = self.pools.iter().flat_map(|pool| &pool.grants).map(|grant| grant.id).collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| all[all.len() - 1 - nth % all.len()])
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
                if row.has("is_duplicate") && call.kind() != "void" && row.flag("is_duplicate") {
                    differs!("not a duplicate: {row:?}\n from {sql}");
                }
                self.pools = pools;
                if let Some(key) = call.key() {
                    self.done.insert((call.kind(), key.to_owned()), (call.clone(), row));
                }
                Ok(())
            }
            (Err(fault), Outcome::Error(codes, figures)) => {
                if !codes.contains(&fault.code.as_str()) {
                    differs!("should fail with {codes:?}: {fault}");
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
                    consumed: 0,
                    expired: 0,
                    voided: 0,
                    category,
                    priority: *priority,
                    start: from,
                    end: *end,
                    created: now,
                    unpaid: *unpaid,
                    was_unpaid: *unpaid,
                    begun: false,
                    ended: false,
                    features: (!features.is_empty()).then(|| features.iter().copied().collect::<BTreeSet<_>>()),
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
                let remaining = pools[pool].grants[place].remaining();
                let mut voided = 0;
                if remaining > 0 {
                    voided = amount.unwrap_or(remaining);
                    if voided > remaining {
                        return error("22023");
                    }
                    pools[pool].void(place, voided);
                }
                Outcome::Row(vec![
                    ("voided", vec![support::decimal(voided, 2)]),
                    ("remaining", vec![support::decimal(remaining - voided, 2)]),
                    ("status", words(&pools[pool].grants[place].status(now))),
                    ("balance", vec![support::decimal(pools[pool].balance(), 2)]),
                ])
            }
            Call::Usage { pool, feature, value, cap, at, .. } => {
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
                let rate =
                    self.rates[*feature].iter().filter(|(since, _)| *since <= at).max_by_key(|(since, _)| *since);
                // Hundredths times thousandths, rounded half away from zero to hundredths.
                let cost = (value * rate.map_or(0, |(_, rate)| *rate) + 500) / 1000;
                consume(&mut pools[*pool], Some(*feature), cost, *cap, at)
            }
            Call::Consume { pool, amount, cap, .. } => {
                if pools[*pool].frozen {
                    return error("PC005");
                }
                consume(&mut pools[*pool], None, *amount, *cap, now)
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
            check("held", "0".to_owned());
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
                check("held", "0".to_owned());
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
                 FROM credit_pools.ledger WHERE pool_id = {} AND (amount <> 0 OR entry_type = 'schedule') ORDER BY seq",
                self.ids[place]
            ));
            let mut wanted: Vec<Shown> = pool.ledger.iter().map(show).collect();
            let found: Vec<Shown> = rows
                .iter()
                .map(|row| {
                    let kind = row.get("entry_type").to_owned();
                    let amount = units(row.get("amount"), 2);
                    // The half of a settlement that pays the debt belongs to no grant, whatever the column says.
                    let grant =
                        if kind == "debt_settle" && amount > 0 { None } else { row.opt("grant_id").map(str::to_owned) };
                    Shown { kind, at: Some(row.int("at")), grant, amount }
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
                // Grants that begin, or end, at one instant do so in any order among themselves.
                let any_order = matches!(row.kind.as_str(), "expire" | "grant");
                let ahead = wanted[number..]
                    .iter()
                    .take(if any_order { usize::MAX } else { 1 })
                    .take_while(|model| model.kind == row.kind && (model.at.is_none() || model.at == row.at))
                    .position(|model| model.shows(row));
                let Some(ahead) = ahead else {
                    differs!("ledger of pool {} differs at row {number}\n{}", self.ids[place], beside(&found, &wanted));
                };
                wanted[number..=number + ahead].rotate_right(1);
            }
            if let Some(missing) = wanted[found.len()..]
                .iter()
                .find(|row| !["expire", "grant", "debt_settle"].contains(&row.kind.as_str()))
            {
                differs!("ledger of pool {} lacks {missing:?}\n{}", self.ids[place], beside(&found, &wanted));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        for (place, pool) in self.pools.iter().enumerate() {
            let row = self.session.row(&format!(
                "SELECT count(*) AS n, coalesce(sum(credits), 0) AS credits FROM credit_pools.usage_events WHERE pool_id = {}",
                self.ids[place]
            ));
            if row.int("n") != pool.usages as i64 || units(row.get("credits"), 2) != pool.used {
                differs!("usage events {row:?}, should be {} of {} hundredths", pool.usages, pool.used);
            }
        }
        let broken = support::broken_invariants(self.session, true);
        if !broken.is_empty() {
            differs!("{}", broken.join("\n"));
        }
        Ok(())
    }
}

fn consume(pool: &mut Pool, feature: Option<usize>, cost: Amount, cap: bool, at: Minute) -> Outcome {
    match pool.consume(feature, cost, cap, at) {
        Ok(taken) => Outcome::Row(vec![
            ("credits_consumed", vec![support::decimal(taken.consumed, 2)]),
            ("shortfall", vec![support::decimal(taken.shortfall, 2)]),
            ("balance", vec![support::decimal(pool.balance(), 2)]),
        ]),
        Err(refused) => {
            let mut figures = vec![("balance", refused.balance), ("required", cost), ("floor", refused.floor)];
            // Below the floor (the limit was lowered) it is not laid down what is short.
            if refused.balance >= refused.floor {
                figures.push(("shortfall", refused.shortfall));
            }
            Outcome::Error(vec!["PC001"], figures)
        }
    }
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
