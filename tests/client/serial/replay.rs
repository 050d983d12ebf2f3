//! The calls once more, one after the other, in the naive model: each has to return what it returned, write the rows that
//! it wrote, and in the end everything has to be as it is.

use crate::calls::{Amount, Answer, Call, Record, Usage};
use crate::checks::is_repeated;
use crate::history::History;
use crate::holds;
use crate::naive::{Entry, Grant, Pool};
use crate::setting::{Place, RATES, Setting};
use std::collections::HashMap;
use support::{Row, Session, decimal, units};

pub struct Replay<'a> {
    setting: &'a mut Setting,
    history: &'a History,
    record: &'a Record,
    /// Ledger rows of the model before the call, by pool of the setting.
    before: Vec<usize>,
    /// Grants of recharges that this call's rows tell of and that the model has not made yet.
    recharged: Vec<(Place, i64)>,
}

fn cost(usage: &Usage) -> Amount {
    usage.feature.map_or(usage.amount, |feature| (usage.amount * RATES[feature] + 500) / 1000)
}

impl<'a> Replay<'a> {
    pub fn call(setting: &'a mut Setting, history: &'a History, record: &'a Record) {
        let before = Place::all().iter().map(|place| setting.pool(*place).ledger.len()).collect();
        let mut recharged = Vec::new();
        for place in Place::all() {
            let rows = history.rows_of(record.number, place).iter();
            let rows = rows.filter(|row| row.get("entry_type") == "grant" && row.opt("recharge_id").is_some());
            recharged.extend(rows.map(|row| (place, row.int("grant_id"))));
        }
        let mut replay = Replay { setting, history, record, before, recharged };
        replay.play();
        replay.compare_rows();
    }

    fn fail(&self, what: &str) -> ! {
        let columns = ["seq", "entry_type", "amount", "balance_after", "grant_id", "usage_id", "recharge_id"];
        let mut wrote = String::new();
        for place in Place::all() {
            for row in self.history.rows_of(self.record.number, place) {
                let words = columns.map(|column| row.opt(column).unwrap_or("-"));
                wrote += &format!("\n   {place:?} {}", words.join(" "));
            }
        }
        panic!("{what}\n in {:?}\n which wrote {}{wrote}", self.record, columns.join(" "));
    }

    fn rows(&self) -> &'a [Row] {
        match &self.record.answer {
            Answer::Rows(rows) => rows,
            _ => self.fail("only what worked is played again"),
        }
    }

    fn pool(&mut self, place: Place) -> &mut Pool {
        &mut self.setting.worlds[place.customer].pools[place.pool]
    }

    fn now(&self) -> i64 {
        self.record.minute
    }

    /// What is due comes first, also in pools that the call only looks at.
    fn advance(&mut self, place: Place) {
        let now = self.now();
        let world = &mut self.setting.worlds[place.customer];
        world.now = now;
        world.advance(place.pool);
    }

    /// What was due, in the pools that the call wrote to.
    fn carry_out(&mut self) {
        for place in Place::all() {
            if !self.history.rows_of(self.record.number, place).is_empty() {
                self.advance(place);
            }
        }
    }

    /// The end of the call in that pool. The grant of a recharge has its name from the rows.
    fn evaluate(&mut self, place: Place) {
        self.setting.worlds[place.customer].evaluate(place.pool);
        let Some(number) = self.setting.pool(place).grants.iter().position(|grant| grant.id == 0) else { return };
        let Some(at) = self.recharged.iter().position(|(pool, _)| *pool == place) else {
            self.fail("a recharge is missing")
        };
        let (_, id) = self.recharged.remove(at);
        let pool = self.pool(place);
        pool.grants[number].id = id;
        pool.ledger.iter_mut().filter(|entry| entry.grant == Some(0)).for_each(|entry| entry.grant = Some(id));
    }

    fn evaluate_all(&mut self) {
        for place in Place::all() {
            if !self.history.rows_of(self.record.number, place).is_empty() {
                self.evaluate(place);
            }
        }
    }

    fn check(&self, row: &Row, pairs: &[(&str, Amount)]) {
        for (column, wanted) in pairs {
            let found = units(row.get(column), 2);
            if found != *wanted {
                self.fail(&format!("{column} is {}, should be {}", row.get(column), decimal(*wanted, 2)));
            }
        }
    }

    fn balance(&self, place: Place) -> Amount {
        self.setting.pool(place).balance()
    }

    fn find<T>(&self, customer: usize, find: impl Fn(&Pool) -> Option<T>) -> (Place, T) {
        for place in Place::all().into_iter().filter(|place| place.customer == customer) {
            if let Some(found) = find(self.setting.pool(place)) {
                return (place, found);
            }
        }
        self.fail("what it names is not there before it in that order")
    }

    fn play(&mut self) {
        let (record, rows) = (self.record, self.rows());
        if !matches!(record.call, Call::Batch { .. }) && is_repeated(&rows[0]) {
            // It has carried out what was due, no more.
            self.carry_out();
            self.evaluate_all();
            return;
        }
        match &record.call {
            Call::Usage(usage) => self.usage(usage, &rows[0]),
            Call::Batch { usages, .. } => {
                self.carry_out();
                for (usage, row) in usages.iter().zip(rows) {
                    match row.opt("error_code") {
                        Some(code) => self.refuse(usage, code),
                        None if row.flag("is_duplicate") => {}
                        // Nothing was there to be taken: when that was, its pool does not tell.
                        None if self.history.rows_of(record.number, usage.place).is_empty() => {
                            self.check(row, &[("credits_consumed", 0), ("shortfall", cost(usage))]);
                        }
                        None => self.usage(usage, row),
                    }
                }
                self.evaluate_all();
            }
            Call::Grant { place, amount, category, priority, lasts, .. } => {
                self.advance(*place);
                let now = self.now();
                let grant = Grant {
                    id: rows[0].int("grant_id"),
                    amount: *amount,
                    category,
                    priority: *priority,
                    start: now,
                    end: lasts.map(|lasts| now + lasts),
                    ..Grant::default()
                };
                self.pool(*place).grant(grant, now);
                self.evaluate(*place);
                self.check(&rows[0], &[("balance", self.balance(*place))]);
            }
            Call::Void { customer, grant, amount } => {
                let (place, number) =
                    self.find(*customer, |pool| pool.grants.iter().position(|candidate| candidate.id == *grant));
                self.advance(place);
                let found = &self.setting.pool(place).grants[number];
                let (over, free) = (found.is_over(), found.remaining() - found.held);
                if !over {
                    if amount.is_some_and(|amount| amount > free) {
                        self.fail("more than the remainder was voided");
                    }
                    self.pool(place).void(number, *amount);
                }
                self.evaluate(place);
                let remaining = self.setting.pool(place).grants[number].remaining();
                self.check(&rows[0], &[("remaining", remaining), ("balance", self.balance(place))]);
            }
            Call::Reserve { place, id, feature, amount, ttl } => {
                self.advance(*place);
                let now = self.now();
                let usage = Usage { place: *place, feature: *feature, amount: *amount, cap: false, key: None };
                let cost = cost(&usage);
                if self.pool(*place).reserve(id.clone(), *feature, 0, cost, now + ttl, now).is_err() {
                    self.fail("what is held was not there");
                }
                self.evaluate(*place);
                self.check(&rows[0], &[("held", cost), ("balance", self.balance(*place))]);
            }
            Call::Settle { customer, id, amount, last } => self.settle(*customer, id, *amount, *last, &rows[0]),
            Call::Release { customer, id } => {
                let (place, number) = self.hold(*customer, id);
                self.advance(place);
                let now = self.now();
                if self.setting.pool(place).holds[number].is_open() {
                    self.pool(place).release(number, now);
                }
                self.evaluate(place);
                self.check(&rows[0], &[("held", 0), ("balance", self.balance(place))]);
            }
            Call::Reverse { customer, usage, amount } => {
                let (place, number) =
                    self.find(*customer, |pool| pool.usages.iter().position(|candidate| candidate.id == *usage));
                self.advance(place);
                let now = self.now();
                let found = &self.setting.pool(place).usages[number];
                let left = found.credits - found.reversed;
                let amount = amount.unwrap_or(left);
                if amount > left {
                    self.fail("more was given back than was left to reverse");
                }
                self.pool(place).reverse(number, amount, now);
                self.evaluate(place);
                self.check(&rows[0], &[("credits_returned", amount), ("balance", self.balance(place))]);
            }
            Call::Transfer { from, to, amount } => self.transfer(*from, *to, *amount, &rows[0]),
        }
    }

    fn usage(&mut self, usage: &Usage, row: &Row) {
        let place = usage.place;
        self.advance(place);
        let now = self.now();
        let cost = cost(usage);
        let Ok(taken) = self.pool(place).consume(usage.feature, cost, usage.cap, None, (now, now)) else {
            self.fail("what it used was not there")
        };
        let id = row.int("usage_id");
        let used = holds::Usage::new(id, usage.feature, Some(usage.amount), taken.consumed, (now, now));
        self.pool(place).usages.push(holds::Usage { draws: taken.draws, ..used });
        if taken.consumed > 0 {
            self.evaluate(place);
        }
        let pairs =
            [("credits_consumed", taken.consumed), ("shortfall", taken.shortfall), ("balance", self.balance(place))];
        self.check(row, &pairs);
    }

    /// An event of a batch that keeps the good ones; where it comes in that order is known if one of them was in its pool.
    fn refuse(&self, usage: &Usage, code: &str) {
        if self.history.rows_of(self.record.number, usage.place).is_empty() {
            return;
        }
        let now = self.now();
        let mut pool = self.setting.pool(usage.place).clone();
        pool.advance(now);
        let fits = pool.consume(usage.feature, cost(usage), usage.cap, None, (now, now)).is_ok();
        if code == "PC001" && fits {
            self.fail("an event was refused although it fits");
        }
    }

    fn hold(&self, customer: usize, id: &str) -> (Place, usize) {
        self.find(customer, |pool| pool.holds.iter().position(|hold| hold.id == id))
    }

    fn settle(&mut self, customer: usize, id: &str, amount: Option<Amount>, last: bool, row: &Row) {
        let (place, number) = self.hold(customer, id);
        self.advance(place);
        let now = self.now();
        let hold = self.setting.pool(place).holds[number].clone();
        if !hold.is_open() {
            self.fail("a hold was charged that was over");
        }
        let amount = amount.unwrap_or(hold.held());
        let within = amount.min(hold.held());
        let mut draws = self.pool(place).settle_hold(number, within, last, now);
        if amount > within {
            match self.pool(place).consume(hold.feature, amount - within, false, None, (now, now)) {
                Ok(taken) => draws.extend(taken.draws),
                Err(_) => self.fail("what was charged beyond the hold was not there"),
            }
        }
        let used = holds::Usage::new(row.int("usage_id"), hold.feature, None, amount, (now, now));
        let pool = self.pool(place);
        pool.holds[number].charged += amount;
        pool.usages.push(holds::Usage { draws, ..used });
        let held = pool.holds[number].held();
        self.evaluate(place);
        self.check(row, &[("credits_consumed", amount), ("held", held), ("balance", self.balance(place))]);
    }

    fn transfer(&mut self, from: Place, to: Place, amount: Amount, row: &Row) {
        self.advance(from);
        self.advance(to);
        let now = self.now();
        let Ok(moved) = self.pool(from).move_out(amount) else { self.fail("what was transferred was not there") };
        let mut ids =
            self.history.rows_of(self.record.number, to).iter().filter(|row| row.get("entry_type") == "transfer_in");
        for (place, part) in moved {
            let source = &self.setting.pool(from).grants[place];
            let Some(row) = ids.next() else { self.fail("fewer grants came in than went out") };
            let grant = Grant {
                id: row.int("grant_id"),
                amount: part,
                category: source.category,
                priority: source.priority,
                start: source.start,
                end: source.end,
                created: now,
                ..Grant::default()
            };
            self.pool(to).move_in(grant);
            self.pool(to).settle(Some(now));
        }
        self.evaluate(from);
        self.evaluate(to);
        self.check(row, &[("amount", amount), ("from_balance", self.balance(from)), ("to_balance", self.balance(to))]);
    }

    /// The model's rows of this call beside the ledger's. Rows of one group come in any order among themselves.
    fn compare_rows(&self) {
        for (number, place) in Place::all().into_iter().enumerate() {
            // Rows of 0 say that something changed which is no credit.
            let rows = self.history.rows_of(self.record.number, place).iter();
            let rows: Vec<&Row> = rows.filter(|row| row.get("amount") != "0").collect();
            let mut wanted: Vec<Entry> = self.setting.pool(place).ledger[self.before[number]..].to_vec();
            if wanted.len() != rows.len() {
                self.fail(&format!("{place:?} should have the rows {wanted:#?}"));
            }
            for (at, row) in rows.iter().enumerate() {
                let shows = |entry: &Entry| {
                    entry.kind == row.get("entry_type")
                        && entry.amount == units(row.get("amount"), 2)
                        && entry.grant == row.opt("grant_id").map(|id| id.parse().expect("an id"))
                };
                let group = wanted[at].group;
                match wanted[at..].iter().take_while(|entry| entry.group == group).position(shows) {
                    Some(ahead) => wanted[at..=at + ahead].rotate_right(1),
                    None => self.fail(&format!("{place:?}: row {at} should be {:?}", wanted[at])),
                }
            }
        }
    }
}

/// Calls that closed a hold in which nothing was left: they have no ledger row, and so no place in the order.
pub fn closed_empty(records: &[Record], history: &History) -> HashMap<String, &'static str> {
    let closing = |record: &Record| match &record.call {
        Call::Settle { id, last: true, .. } => Some((id.clone(), "settled")),
        Call::Release { id, .. } => Some((id.clone(), "released")),
        _ => None,
    };
    let worked = |record: &&Record| matches!(&record.answer, Answer::Rows(rows) if !rows.iter().any(is_repeated));
    let without_rows = records.iter().filter(|record| !history.wrote(record.number));
    without_rows.filter(worked).filter_map(closing).collect()
}

/// Everything there is at the end, what is due included.
pub fn compare_end(session: &mut Session, setting: &Setting, minute: i64, closed: &HashMap<String, &'static str>) {
    for place in Place::all() {
        let id = setting.pool_id(place);
        let mut pool = setting.pool(place).clone();
        pool.advance(minute);
        let row = session
            .row(&format!("SELECT balance, debt, held, granted, voided FROM credit_pools.pools WHERE pool_id = {id}"));
        let found = ["balance", "debt", "held"].map(|column| units(row.get(column), 2));
        assert_eq!(found, [pool.balance(), pool.debt, pool.held()], "{place:?}: {row:?}");

        let rows = session.rows(&format!(
            "SELECT grant_id, amount, remaining, available, held, consumed, expired, voided FROM credit_pools.grants WHERE pool_id = {id} ORDER BY grant_id"
        ));
        let mut grants: Vec<&Grant> = pool.grants.iter().collect();
        grants.sort_by_key(|grant| grant.id);
        assert_eq!(rows.len(), grants.len(), "{place:?}: grants");
        for (row, grant) in rows.iter().zip(grants) {
            let figures = [
                i128::from(grant.id) * 100,
                grant.amount,
                grant.remaining(),
                grant.available(),
                grant.held,
                grant.consumed,
                grant.expired,
                grant.voided,
            ];
            let columns = ["grant_id", "amount", "remaining", "available", "held", "consumed", "expired", "voided"];
            assert_eq!(columns.map(|column| units(row.get(column), 2)), figures, "{place:?}: {row:?}, {grant:?}");
        }

        let rows = session.rows(&format!(
            "SELECT reservation_id, status, held, charged FROM credit_pools.reservations WHERE pool_id = {id} ORDER BY reservation_id"
        ));
        let mut holds: Vec<&holds::Hold> = pool.holds.iter().collect();
        holds.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(rows.len(), holds.len(), "{place:?}: reservations");
        for (row, hold) in rows.iter().zip(holds) {
            let found =
                (row.get("reservation_id"), row.get("status"), units(row.get("held"), 2), units(row.get("charged"), 2));
            let state = closed.get(&hold.id).copied().unwrap_or(hold.state.word());
            assert_eq!(found, (hold.id.as_str(), state, hold.held(), hold.charged), "{place:?}");
        }
    }
}
