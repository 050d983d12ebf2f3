//! Plays a case on the server and in the naive world side by side, and compares after every step.

use crate::calls::{Case, FUNCTIONS, Step};
use crate::world::{Amount, Answer, Entry, Lot, Minute, NEVER, Pool, SCOPES, Subscription, Terms, World};
use std::collections::{BTreeMap, HashMap};
use support::{Row, Session, decimal, units};

/// Minute 0 is the beginning of 2026.
const EPOCH: i64 = 1_767_225_600;

/// A difference between the server and the model.
pub struct Difference {
    pub step: usize,
    pub what: String,
    /// The statements that led to it.
    pub trail: Vec<String>,
}

pub struct Game<'a> {
    /// They take turns, so that what one of them has cached must not hide what the other has done.
    sessions: &'a mut [Session; 2],
    /// Names everything that this run makes, so that runs share a database.
    run: String,
    world: World,
    /// The world as it was when an instant was left.
    past: Vec<World>,
    trail: Vec<String>,
    /// How often something of the kind was really compared.
    pub counts: BTreeMap<&'static str, usize>,
}

macro_rules! differs {
    ($($part:tt)*) => { return Err(format!($($part)*)) };
}

fn instant(minute: Minute) -> String {
    format!("to_timestamp({})", EPOCH + 60 * minute)
}

fn minutes(column: &str) -> String {
    format!("((extract(epoch FROM {column}) - {EPOCH}) / 60)::bigint")
}

fn minute(column: &str) -> String {
    format!("{} AS {column}", minutes(column))
}

fn literal(id: Option<&str>) -> String {
    id.map_or("NULL".to_owned(), support::text)
}

impl<'a> Game<'a> {
    pub fn new(sessions: &'a mut [Session; 2], run: String, case: &Case) -> Self {
        let world = World::new(case.plans.clone());
        Game { sessions, run, world, past: Vec::new(), trail: Vec::new(), counts: BTreeMap::new() }
    }

    pub fn play(mut self, case: &Case) -> Result<BTreeMap<&'static str, usize>, Difference> {
        let mut at = 0;
        let mut result = self.begin();
        for (number, step) in case.steps.iter().enumerate() {
            if result.is_err() {
                break;
            }
            at = number;
            result = self.step(step).and_then(|()| self.compare());
        }
        let result = result.and_then(|()| self.finish());
        result.map_err(|what| Difference { step: at, what, trail: self.trail })?;
        Ok(self.counts)
    }

    fn session(&mut self) -> &mut Session {
        &mut self.sessions[self.trail.len() % 2]
    }

    fn write(&mut self, sql: String) -> Result<Result<Row, String>, String> {
        let session = self.trail.len() % 2;
        self.trail.push(sql);
        let sql = &self.trail[self.trail.len() - 1];
        match self.sessions[session].try_row(sql) {
            Ok(row) => Ok(Ok(row)),
            Err(fault) if fault.is_contract_code() => {
                // The error comes before its transaction has let go of the pool, which maintenance in the other session
                // would then pass over: the next answer comes after that.
                self.sessions[session].try_rows("SELECT 1").map_err(|fault| fault.to_string())?;
                Ok(Err(fault.code))
            }
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// A call has to answer as the model does: a row, or one of its codes.
    fn call<T>(&mut self, expected: Answer<T>, call: &str) -> Result<Option<(T, Row)>, String> {
        let answer = self.write(format!("SELECT * FROM credit_pools.{call}"))?;
        if let Some((function, refused)) = FUNCTIONS.iter().find(|(name, _)| call.starts_with(&format!("{name}("))) {
            *self.counts.entry(if answer.is_ok() { function } else { refused }).or_default() += 1;
        }
        match (expected, answer) {
            (Ok(expected), Ok(row)) => Ok(Some((expected, row))),
            (Err(codes), Err(code)) if codes.contains(&code.as_str()) => Ok(None),
            (Ok(_), Err(code)) => Err(format!("{code}, should have worked: {call}")),
            (Err(codes), answer) => Err(format!("{answer:?}, should be {codes:?}: {call}")),
        }
    }

    fn set_clock(&mut self) -> Result<(), String> {
        let sql = format!("SELECT set_config('credit_pools.test_clock', {}::text, false)", instant(self.world.now));
        self.trail.push(sql);
        for session in self.sessions.iter_mut() {
            session.try_rows(&self.trail[self.trail.len() - 1]).map_err(|fault| fault.to_string())?;
        }
        Ok(())
    }

    fn move_to(&mut self, now: Minute) -> Result<(), String> {
        self.past.push(self.world.clone());
        self.world.advance(now);
        self.set_clock()
    }

    fn begin(&mut self) -> Result<(), String> {
        let run = self.run.clone();
        self.set_clock()?;
        let mut calls = vec![
            format!("define_credit_type(credit_type_id => 't-{run}', scale => 2)"),
            format!("define_feature(feature_id => 'seats-{run}')"),
            format!("define_feature(feature_id => 'f-{run}')"),
            format!("define_rate(feature_id => 'f-{run}', credit_type_id => 't-{run}', credits_per_unit => 1)"),
        ];
        for (number, plan) in self.world.plans.iter().enumerate() {
            calls.push(format!("define_plan(plan_id => 'p{number}-{run}')"));
            for (place, entry) in plan.entries.iter().enumerate() {
                let limit = if place == 0 { plan.overdraft } else { 0 };
                calls.push(self.entry_call(number, place, entry, &entry.versions[0], limit));
            }
        }
        for scope in &SCOPES[..2] {
            calls.push(format!(
                "open_pool(customer_id => 'c-{run}', resource_id => {}, credit_type_id => 't-{run}')",
                literal(*scope)
            ));
        }
        for call in calls {
            self.call(Ok(()), &call)?;
        }
        for pool in &mut self.world.pools[..2] {
            pool.opened = true;
        }
        Ok(())
    }

    fn entry_call(&self, plan: usize, place: usize, entry: &Entry, terms: &Terms, limit: Amount) -> String {
        let run = &self.run;
        let span = |minutes: Option<Minute>| {
            minutes.map_or("NULL".to_owned(), |minutes| format!("interval '{minutes} minutes'"))
        };
        let seats = if entry.per_seat { format!(", quantity_feature_id => 'seats-{run}'") } else { String::new() };
        format!(
            "define_plan_credits(plan_id => 'p{plan}-{run}', credit_type_id => 't-{run}', entry_id => 'e{place}', amount => {}, \
             cadence => {}, priority => {}, category => '{}', expires_after => {}, rollover_max => {}, rollover_percent => {}, \
             rollover_periods => {}, overdraft_limit => {}{seats})",
            decimal(terms.amount, 2),
            span((!entry.once).then_some(terms.every)),
            terms.priority,
            terms.category,
            span(terms.lasts),
            decimal(terms.max, 2),
            decimal(terms.part, 1),
            terms.periods,
            decimal(limit, 2),
        )
    }

    fn scope(&self, scope: usize) -> String {
        format!("customer_id => 'c-{}', resource_id => {}", self.run, literal(SCOPES[scope]))
    }

    fn in_type(&self, scope: usize) -> String {
        format!("{}, credit_type_id => 't-{}'", self.scope(scope), self.run)
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let (now, run) = (self.world.now, self.run.clone());
        let open = |scope: usize, world: &World| if world.pools[scope].opened { scope } else { 1 };
        let archived = now >= self.world.archived;
        // The nth subscription, counted from the youngest.
        let nth_subscription = |world: &World, nth: usize| {
            let count = world.subscriptions.len();
            (count > 0).then(|| count - 1 - nth % count)
        };
        match step {
            Step::Wait(minutes) => self.move_to(now + minutes)?,
            Step::WaitForEvent { nth, beside } => {
                let mut ahead = self.world.clone();
                for _ in 0..=*nth {
                    match ahead.next_event() {
                        Some(event) => ahead.advance(event),
                        None => break,
                    }
                }
                self.move_to((ahead.now + beside).max(now + 10))?;
            }
            Step::Maintain { max_pools } => {
                let max = max_pools.map_or("NULL".to_owned(), |max| max.to_string());
                let sql = format!(
                    "SELECT sum(processed) FILTER (WHERE task = 'failed') AS failed, sum(processed) FILTER (WHERE task = 'remaining') AS remaining FROM credit_pools.run_maintenance({max})"
                );
                let row = self.write(sql)?.map_err(|code| format!("run_maintenance: {code}"))?;
                if row.int("failed") > 0 || (max_pools.is_none() && row.int("remaining") > 0) {
                    differs!("maintenance: {row:?}");
                }
                // What goes into the archive is there as before.
                self.write("SELECT * FROM credit_pools.archive_ledger(before => credit_pools.clock())".to_owned())?
                    .map_err(|code| format!("archive_ledger: {code}"))?;
            }
            Step::Reads { keep } => self.compare_reads(*keep)?,
            Step::Provision { scope, plan, starts, lasts, seats } if !archived => {
                let (starts, ends) = (starts.map(|at| now + at), lasts.map(|lasts| now + lasts));
                let known = self.world.subscriptions.len();
                let current = self.world.current(*scope).map(|number| &self.world.subscriptions[number]);
                // Whether the plan can change of one that ends before it begins is not laid down.
                if current.is_some_and(|current| current.ends <= current.anchor) {
                    return Ok(());
                }
                let anew = current.is_none();
                let expected = self.world.provision(*scope, *plan, starts, ends.unwrap_or(NEVER), *seats);
                let more = if anew {
                    let starts = starts.map_or(String::new(), |at| format!(", starts_at => {}", instant(at)));
                    let ends = ends.map_or(String::new(), |at| format!(", ends_at => {}", instant(at)));
                    format!(
                        ", subscription_id => 's{known}', quantities => '{{\"seats-{run}\": {}}}'{starts}{ends}",
                        decimal(*seats, 1)
                    )
                } else {
                    String::new()
                };
                let call = format!("provision_subscription({}, plan_id => 'p{plan}-{run}'{more})", self.scope(*scope));
                if let Some((duplicate, row)) = self.call(expected, &call)?
                    && row.flag("is_duplicate") != duplicate
                {
                    differs!("is_duplicate should be {duplicate}: {row:?} from {call}");
                }
            }
            Step::Cancel { nth, after, expire } => {
                let Some(number) = nth_subscription(&self.world, *nth) else { return Ok(()) };
                let expected = self.world.cancel(number, after.map(|after| now + after), *expire);
                let at = after.map_or(String::new(), |after| format!(", at => {}", instant(now + after)));
                let credits = if *expire { "expire" } else { "keep" };
                self.call(
                    expected,
                    &format!("cancel_subscription(customer_id => 'c-{run}', subscription_id => 's{number}'{at}, credits => '{credits}')"),
                )?;
            }
            Step::Transfer { nth, to, moving } if !archived => {
                let Some(number) = nth_subscription(&self.world, *nth) else { return Ok(()) };
                let expected = self.world.transfer(number, *to, *moving);
                self.call(
                    expected,
                    &format!(
                        "transfer_subscription(customer_id => 'c-{run}', subscription_id => 's{number}', to_resource_id => {}, credits => '{}')",
                        literal(SCOPES[*to]),
                        if *moving { "move" } else { "keep" }
                    ),
                )?;
            }
            Step::Seats { nth, seats } if !archived => {
                let Some(number) = nth_subscription(&self.world, *nth) else { return Ok(()) };
                let expected = self.world.set_seats(number, *seats);
                self.call(
                    expected,
                    &format!(
                        "set_quantity(customer_id => 'c-{run}', subscription_id => 's{number}', feature_id => 'seats-{run}', quantity => {})",
                        decimal(*seats, 1)
                    ),
                )?;
            }
            Step::Grant { scope, amount, category, priority, starts, lasts } if !archived => {
                let scope = open(*scope, &self.world);
                let (start, end) = (starts.map(|at| now + at), lasts.map(|lasts| now + lasts));
                let expected =
                    self.world.grant(scope, *amount, category, *priority, start.unwrap_or(now), end.unwrap_or(NEVER));
                let start = start.map_or(String::new(), |at| format!(", effective_at => {}", instant(at)));
                let end = end.map_or(String::new(), |at| format!(", expires_at => {}", instant(at)));
                self.call(
                    expected,
                    &format!(
                        "grant_credits({}, amount => {}, category => '{category}', priority => {priority}{start}{end})",
                        self.in_type(scope),
                        decimal(*amount, 2)
                    ),
                )?;
            }
            Step::Consume { scope, by_feature, amount, cap, ago } => {
                let scope = open(*scope, &self.world);
                // The customer's pools are as old as the customer: nothing was used before.
                let at = ago.map(|ago| (now - ago).max(0));
                let expected = self.world.consume(scope, *by_feature, *amount, *cap, at.unwrap_or(now));
                let at = at.map_or(String::new(), |at| format!(", occurred_at => {}", instant(at)));
                let cap = if *cap { ", on_insufficient => 'cap'" } else { "" };
                let call = if *by_feature {
                    let amount = decimal(*amount, 2);
                    format!("report_usage({}, feature_id => 'f-{run}', value => {amount}{at}{cap})", self.scope(scope))
                } else {
                    format!("consume_credits({}, amount => {}{at}{cap})", self.in_type(scope), decimal(*amount, 2))
                };
                if let Some(((taken, short), row)) = self.call(expected, &call)? {
                    let found = (units(row.get("credits_consumed"), 2), units(row.get("shortfall"), 2));
                    let balance = self.world.pools[scope].balance();
                    if found != (taken, short) || units(row.get("balance"), 2) != balance {
                        differs!("took {taken}, short of {short}, left {balance}; but {row:?} from {call}");
                    }
                }
            }
            Step::Void { scope, nth, amount } => self.void(open(*scope, &self.world), *nth, *amount)?,
            Step::Limit { scope, limit } => {
                let scope = open(*scope, &self.world);
                self.world.pools[scope].overdraft = *limit;
                let call = format!("set_pool({}, overdraft_limit => {})", self.in_type(scope), decimal(*limit, 2));
                self.call(Ok(()), &call)?;
            }
            // A version counts from its instant on, one that nothing else happens at: what is booked before and what
            // after it at the same instant is not laid down.
            Step::Redefine { plan, entry, terms } if !archived => {
                self.move_to(now + 5)?;
                let definition = self.world.plans[*plan].entries[*entry].clone();
                let limit = if *entry == 0 { self.world.plans[*plan].overdraft } else { 0 };
                let call = self.entry_call(*plan, *entry, &definition, terms, limit);
                self.world.redefine(*plan, *entry, terms.clone());
                self.call(Ok(()), &call)?;
                self.compare()?;
                self.move_to(now + 10)?;
            }
            Step::NewEntry { plan, entry } if !archived => {
                let place = self.world.plans[*plan].entries.len();
                let call = self.entry_call(*plan, place, entry, &entry.versions[0], 0);
                self.world.add_entry(*plan, entry.clone());
                self.call(Ok(()), &call)?;
            }
            Step::Archive if !archived => {
                self.move_to(now + 5)?;
                self.world.archived = now + 5;
                self.world.changed = now + 5;
                self.call(Ok(()), &format!("archive_credit_type(credit_type_id => 't-{run}')"))?;
                self.move_to(now + 10)?;
            }
            Step::Past { scope, nth, known_nth } => self.compare_past(*scope, *nth, *known_nth)?,
            Step::Ahead { scope, by, known_nth } => self.compare_ahead(*scope, *by, *known_nth)?,
            Step::Provision { .. }
            | Step::Transfer { .. }
            | Step::Seats { .. }
            | Step::Grant { .. }
            | Step::Redefine { .. }
            | Step::NewEntry { .. }
            | Step::Archive => {}
        }
        Ok(())
    }

    fn void(&mut self, scope: usize, nth: usize, amount: Option<Amount>) -> Result<(), String> {
        let sql = format!(
            "{} AND resource_id IS NOT DISTINCT FROM {} AND remaining > 0 AND grant_id IS NOT NULL ORDER BY grant_id",
            self.grants_query(),
            literal(SCOPES[scope])
        );
        let rows = self.session().try_rows(&sql).map_err(|fault| fault.to_string())?;
        if rows.is_empty() {
            return Ok(());
        }
        let row = &rows[rows.len() - 1 - nth % rows.len()];
        let lots = &self.world.pools[scope].lots;
        let same = |lot: &Lot| {
            let period = row.opt("period_start").and_then(|at| at.parse().ok());
            lot.period.is_none_or(|own| Some(own) == period) && self.key(scope, lot) == key_of(row)
        };
        let Some(place) = lots.iter().position(same) else { differs!("no such grant in the model: {row:?}") };
        let expected = self.world.void(scope, place, amount);
        let amount = amount.map_or(String::new(), |amount| format!(", amount => {}", decimal(amount, 2)));
        let call = format!("void_grant(customer_id => 'c-{}', grant_id => {}{amount})", self.run, row.get("grant_id"));
        self.call(expected, &call)?;
        Ok(())
    }

    // ------------------------------------------------------------------------------------------- comparison

    fn grants_query(&self) -> String {
        format!(
            "SELECT 'grant' AS what, resource_id, grant_id, available, {}, status,
                    concat_ws(' ', coalesce(resource_id, '-'), source, coalesce(subscription_id, '-'), coalesce(plan_id, '-'),
                              coalesce(entry_id, '-'), category, priority, {}, coalesce({}::text, '-'), amount, remaining,
                              available, consumed, expired, voided) AS key
             FROM credit_pools.grants WHERE customer_id = 'c-{}'",
            minute("period_start"),
            minutes("effective_at"),
            minutes("expires_at"),
            self.run
        )
    }

    /// A grant of the model as its row has to read, the boundary aside.
    fn key(&self, scope: usize, lot: &Lot) -> String {
        let origin = lot
            .origin
            .map_or("- - -".to_owned(), |(number, plan, entry)| format!("s{number} p{plan}-{} e{entry}", self.run));
        let end = if lot.end == NEVER { "-".to_owned() } else { lot.end.to_string() };
        let figures = [lot.amount, lot.rest(), lot.available(), lot.consumed, lot.expired, lot.voided];
        let figures: Vec<String> = figures.iter().map(|figure| decimal(*figure, 2)).collect();
        format!(
            "{} {} {origin} {} {} {} {end} {}",
            SCOPES[scope].unwrap_or("-"),
            lot.source,
            lot.category,
            lot.priority,
            lot.start,
            figures.join(" ")
        )
    }

    /// The views are right to the instant, whether or not maintenance has run.
    fn compare(&mut self) -> Result<(), String> {
        let sql = format!(
            "SELECT 'pool' AS what, resource_id, balance, granted, consumed, expired, voided, held, debt, overdraft_limit,
                    {}, next_expiry_amount
             FROM credit_pools.pools WHERE customer_id = 'c-{run}';
             SELECT 'subscription' AS what, subscription_id, resource_id, plan_id, status, {}, {}
             FROM credit_pools.subscriptions WHERE customer_id = 'c-{run}';
             {}",
            minute("next_expiry_at"),
            minute("starts_at"),
            minute("ends_at"),
            self.grants_query(),
            run = self.run
        );
        let rows = self.session().try_rows(&sql).map_err(|fault| fault.to_string())?;
        let kind = |kind: &'static str| rows.iter().filter(move |row| row.get("what") == kind);
        let grants: Vec<&Row> = kind("grant").collect();
        for (scope, name) in SCOPES.iter().enumerate() {
            let pool = &self.world.pools[scope];
            let row = kind("pool").find(|row| row.opt("resource_id") == *name);
            match row {
                Some(row) if pool.opened => {
                    let wrong = wrong_figures(pool, row);
                    if !wrong.is_empty() {
                        differs!("minute {}, view pools: {wrong}\n in {row:?}\n {}", self.world.now, shown(pool));
                    }
                    let available: Amount = grants
                        .iter()
                        .filter(|grant| grant.opt("resource_id") == *name)
                        .map(|grant| units(grant.get("available"), 2))
                        .sum();
                    if available - pool.debt != pool.balance() {
                        differs!("the grants make up {available}, less debt, not the balance: {row:?}");
                    }
                }
                None if !pool.opened => {}
                _ => differs!("pool of {name:?}: opened should be {}, but {row:?}", pool.opened),
            }
        }
        self.compare_grants(grants)?;
        for (number, wanted) in self.world.subscriptions.iter().enumerate() {
            let id = format!("s{number}");
            let Some(row) = kind("subscription").find(|row| row.get("subscription_id") == id) else {
                differs!("no subscription {id}")
            };
            let found = (
                row.opt("resource_id"),
                row.get("plan_id"),
                row.get("status"),
                row.int("starts_at"),
                row.opt("ends_at").map_or(NEVER, |at| at.parse().unwrap_or(0)),
            );
            let plan = format!("p{}-{}", wanted.plan, self.run);
            let status = status(wanted, self.world.now);
            let wanted = (SCOPES[wanted.scope], plan.as_str(), status, wanted.anchor, wanted.ends);
            if found != wanted {
                differs!("subscription {id}: {found:?}, should be {wanted:?}");
            }
        }
        Ok(())
    }

    /// Every grant that anything was, or can still be, done with. Those of missed periods that came to nothing may be
    /// there or not, but no others.
    fn compare_grants(&self, rows: Vec<&Row>) -> Result<(), String> {
        let mut found: HashMap<String, Vec<&Row>> = HashMap::new();
        for row in rows {
            found.entry(key_of(row)).or_default().push(row);
        }
        let lots = |with_period: bool| {
            let pools = self.world.pools.iter().enumerate();
            pools
                .flat_map(|(scope, pool)| pool.lots.iter().map(move |lot| (scope, lot)))
                .filter(move |(_, lot)| lot.period.is_some() == with_period)
        };
        // Those that say most of themselves first.
        for (scope, lot) in lots(true).chain(lots(false)) {
            let same = found.get_mut(&self.key(scope, lot));
            let is_its = |row: &&Row| match lot.period {
                Some(period) => row.opt("period_start").and_then(|at| at.parse().ok()) == Some(period),
                None => true,
            };
            if let Some((same, place)) = same.and_then(|same| same.iter().position(is_its).map(|at| (same, at))) {
                same.swap_remove(place);
            } else if lot.rest() > 0 || lot.consumed > 0 || lot.voided > 0 {
                let left = lines(found.values().flatten());
                differs!(
                    "minute {}, view grants: none of {:?} is {lot:?}; left are{left}",
                    self.world.now,
                    SCOPES[scope]
                );
            }
        }
        let left = lines(found.values().flatten());
        if !left.is_empty() {
            differs!("minute {}, view grants: these should not be:{left}", self.world.now);
        }
        Ok(())
    }

    /// What reads say before maintenance is what it books.
    fn compare_reads(&mut self, keep: bool) -> Result<(), String> {
        let run = self.run.clone();
        let sql = format!(
            "SELECT * FROM credit_pools.pools WHERE customer_id = 'c-{run}';
             SELECT * FROM credit_pools.grants WHERE customer_id = 'c-{run}'"
        );
        let read = |session: &mut Session| -> Result<Vec<String>, String> {
            let rows = session.try_rows(&sql).map_err(|fault| fault.to_string())?;
            // Ids are given when it is booked; why a grant was made is written then, too.
            let shown = |row: &Row| {
                let row = row.without("grant_id").without("source_grant_id").without("metadata").without("reason");
                format!("{row:?}")
            };
            let mut lines: Vec<String> = rows.iter().map(shown).collect();
            lines.sort();
            Ok(lines)
        };
        self.trail.push("SELECT * FROM credit_pools.run_maintenance()".to_owned());
        let session = self.session();
        session.exec("BEGIN");
        let before = read(session)?;
        session.try_rows("SELECT * FROM credit_pools.run_maintenance()").map_err(|fault| fault.to_string())?;
        let after = read(session)?;
        session.exec(if keep { "COMMIT" } else { "ROLLBACK" });
        if !keep {
            self.trail.pop();
        }
        if before != after {
            let other = |of: &[String], than: &[String]| {
                of.iter().filter(|line| !than.contains(line)).cloned().collect::<Vec<String>>().join("\n")
            };
            differs!(
                "minute {}: read before maintenance\n{}\nand after it\n{}",
                self.world.now,
                other(&before, &after),
                other(&after, &before)
            );
        }
        *self.counts.entry("reads").or_default() += 1;
        Ok(())
    }

    fn balance_at(&mut self, scope: usize, at: Minute, known: Option<Minute>) -> Result<Row, String> {
        let known = known.map_or(String::new(), |known| format!(", known_at => {}", instant(known)));
        let call = format!("balance_at({}, at => {}{known})", self.in_type(scope), instant(at));
        let row = self.write(format!("SELECT * FROM credit_pools.{call}"))?;
        row.map_err(|code| format!("{code}, should have worked: {call}"))
    }

    /// A past instant is as it was seen then, but for what was recorded since and counts by then.
    fn compare_past(&mut self, scope: usize, nth: usize, known_nth: Option<usize>) -> Result<(), String> {
        let count = self.past.len();
        if count == 0 {
            return Ok(());
        }
        let then = count - 1 - nth % count;
        let at = self.past[then].now;
        let pool = self.past[then].pools[scope].clone();
        if !pool.opened {
            return Ok(());
        }
        let known = known_nth.map(|nth| self.past[then + nth % (count - then)].now);
        let row = self.balance_at(scope, at, known)?;
        let until = known.unwrap_or(self.world.now);
        let late =
            self.world.late.iter().filter(|late| {
                late.scope == scope && late.counts <= at && late.recorded > at && late.recorded <= until
            });
        let effects: Vec<Amount> = late.map(|late| late.effect).collect();
        let wanted = pool.balance() + effects.iter().sum::<Amount>();
        if units(row.get("balance"), 2) != wanted {
            differs!(
                "minute {}, balance_at {at}, known at {known:?}, scope {scope}: should be {wanted} ({} with {effects:?}), is {row:?}",
                self.world.now,
                pool.balance()
            );
        }
        let wrong = if effects.is_empty() { wrong_sums(&pool, &row) } else { String::new() };
        if !wrong.is_empty() {
            differs!("minute {}, balance_at {at}, known at {known:?}, scope {scope}: {wrong}", self.world.now);
        }
        *self.counts.entry(if effects.is_empty() { "past" } else { "past, late" }).or_default() += 1;
        Ok(())
    }

    /// An instant ahead of what is known is what the clock alone makes of it.
    fn compare_ahead(&mut self, scope: usize, by: Minute, known_nth: Option<usize>) -> Result<(), String> {
        let count = self.past.len();
        let from = known_nth.filter(|_| count > 0).map(|nth| count - 1 - nth % count);
        let mut ahead = from.map_or(&self.world, |from| &self.past[from]).clone();
        // Which plan and subscription the clock goes on with is what they are now.
        if ahead.now < self.world.changed || !ahead.pools[scope].opened {
            return Ok(());
        }
        let known = from.map(|_| ahead.now);
        ahead.advance(self.world.now + by);
        let row = self.balance_at(scope, ahead.now, known)?;
        let wrong = wrong_sums(&ahead.pools[scope], &row);
        if !wrong.is_empty() {
            differs!(
                "minute {}, balance_at {}, known at {known:?}, scope {scope}: {wrong}\n in {row:?}\n {}",
                self.world.now,
                ahead.now,
                shown(&ahead.pools[scope])
            );
        }
        *self.counts.entry("ahead").or_default() += 1;
        Ok(())
    }

    /// The ledger is a chain without a gap that ends at the balance. Nothing is left to happen to this customer: the
    /// maintenance of other runs is not for it.
    fn finish(&mut self) -> Result<(), String> {
        let run = self.run.clone();
        for number in 0..self.world.subscriptions.len() {
            if self.world.now < self.world.subscriptions[number].ends {
                let call = format!(
                    "cancel_subscription(customer_id => 'c-{run}', subscription_id => 's{number}', credits => 'expire')"
                );
                self.call(Ok(()), &call)?;
            }
        }
        let session = self.session();
        let broken = session.try_rows(&format!(
            "SELECT * FROM (
               SELECT pool_id, seq, entry_type, amount, balance_before, balance_after, row_number() OVER w AS place,
                      lag(balance_after) OVER w AS last_after
               FROM credit_pools.ledger WHERE customer_id = 'c-{run}' WINDOW w AS (PARTITION BY pool_id ORDER BY seq)) l
             WHERE seq <> place OR balance_before <> coalesce(last_after, 0) OR balance_after <> balance_before + amount;
             SELECT p.pool_id, p.balance, l.total FROM credit_pools.pool p
             LEFT JOIN (SELECT pool_id, sum(amount) AS total FROM credit_pools.ledger
                        WHERE customer_id = 'c-{run}' GROUP BY pool_id) l USING (pool_id)
             WHERE p.customer_id = 'c-{run}' AND p.balance IS DISTINCT FROM l.total"
        ));
        let broken = broken.map_err(|fault| fault.to_string())?;
        if !broken.is_empty() {
            differs!("the ledger is not sound: {broken:#?}");
        }
        Ok(())
    }
}

fn status(subscription: &Subscription, now: Minute) -> &'static str {
    if now < subscription.anchor && now < subscription.ends {
        "scheduled"
    } else if now < subscription.ends {
        "active"
    } else if subscription.cancelled {
        "cancelled"
    } else {
        "ended"
    }
}

/// What of balance, debt, usage and sums is not the model's. A missed period that came to nothing may have been passed
/// over: then its credits count neither as granted nor as expired.
fn wrong_sums(pool: &Pool, row: &Row) -> String {
    let [granted, consumed, expired, voided] = pool.sums();
    let figure = |name: &str| units(row.get(name), 2);
    let pairs = [
        ("balance", figure("balance"), pool.balance()),
        ("debt", figure("debt"), pool.debt),
        ("consumed", figure("consumed"), consumed),
        ("voided", figure("voided"), voided),
        ("held", figure("held"), 0),
        ("granted less expired", figure("granted") - figure("expired"), granted - expired),
    ];
    let wrong = pairs.iter().filter(|(_, found, wanted)| found != wanted);
    wrong
        .map(|(name, found, wanted)| format!("{name} is {}, should be {}", decimal(*found, 2), decimal(*wanted, 2)))
        .collect::<Vec<String>>()
        .join("; ")
}

fn lines<'a>(rows: impl Iterator<Item = &'a &'a Row>) -> String {
    rows.map(|row| format!("\n   {row:?}")).collect()
}

fn key_of(row: &Row) -> String {
    row.get("key").to_owned()
}

/// The model's pool, a line for each grant.
fn shown(pool: &Pool) -> String {
    let lots: Vec<String> = pool.lots.iter().map(|lot| format!("\n   {lot:?}")).collect();
    format!("model: debt {}, overdraft {}{}", pool.debt, pool.overdraft, lots.join(""))
}

fn wrong_figures(pool: &Pool, row: &Row) -> String {
    let mut wrong = wrong_sums(pool, row);
    let limit = units(row.get("overdraft_limit"), 2);
    if limit != pool.overdraft {
        wrong += &format!("; overdraft_limit is {limit} hundredths, should be {}", pool.overdraft);
    }
    let living = || pool.lots.iter().filter(|lot| lot.available() > 0);
    let end = living().map(|lot| lot.end).min().filter(|end| *end < NEVER);
    let amount: Amount = living().filter(|lot| Some(lot.end) == end).map(Lot::available).sum();
    let found = row.opt("next_expiry_at").map(|at| at.parse::<Minute>().unwrap_or(0));
    let found_amount = row.opt("next_expiry_amount").map_or(0, |amount| units(amount, 2));
    if (found, found_amount) != (end, amount) {
        wrong += &format!("; next expiry is {found:?} of {found_amount} hundredths, should be {end:?} of {amount}");
    }
    wrong
}
