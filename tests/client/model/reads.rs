//! What only asks, what a table charges, and what is read of the outbox.

use crate::answers::{Outcome, cost};
use crate::calls::{Call, POOLS, instant};
use crate::naive::Amount;
use crate::play::{Game, differs, same};
use crate::steps::Of;
use std::collections::VecDeque;
use support::{Row, decimal, units};

/// The feature that the metered table charges.
const METERED: usize = 1;

/// The names of the errors that a usage is refused with (contract, section 8).
fn denial(code: &str) -> Option<&'static str> {
    match code {
        "PC001" => Some("insufficient_credits"),
        "PC003" => Some("no_active_subscription"),
        "PC005" => Some("invalid_state"),
        "PC007" => Some("limit_exceeded"),
        _ => None,
    }
}

/// A pool as it was when an instant was left: balance, held, debt.
pub type Seen = [Amount; 3];

impl Game<'_> {
    fn resource(pool: usize) -> String {
        POOLS[pool].map_or("NULL".to_owned(), support::text)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.pools.iter().map(|pool| [pool.balance(), pool.held(), pool.debt]).collect()
    }

    /// Says what the call itself would do.
    pub fn check(&mut self, pool: usize, of: &Of) -> Result<(), String> {
        let (run, resource) = (&self.run, Self::resource(pool));
        let (what, call, required) = match of {
            Of::Amount(amount) => (
                format!("credit_type_id => 't-{run}', amount => {}", decimal(*amount, 2)),
                Call::Consume { pool, amount: *amount, cap: false, key: None },
                *amount,
            ),
            Of::Feature { feature, value } => (
                format!("feature_id => 'f{feature}-{run}', value => {}", decimal(*value, 2)),
                Call::Usage { pool, feature: *feature, value: *value, cap: false, total: false, at: None, key: None },
                cost(*value, self.rate(*feature, self.now)),
            ),
        };
        let sql = format!(
            "SELECT * FROM credit_pools.check_credits(customer_id => 'c-{run}', resource_id => {resource}, {what})"
        );
        let row = self.write(&sql)?;
        let feature = if let Of::Feature { feature, .. } = of { Some(*feature) } else { None };
        let outcome = self.expect(&mut self.pools.clone(), &call, None);
        match (&outcome, row.opt("denial_reason")) {
            (Outcome::Row(_), None) if row.flag("is_granted") => {}
            (Outcome::Error(codes, _), Some(reason))
                if !row.flag("is_granted") && codes.iter().any(|code| denial(code) == Some(reason)) => {}
            _ => differs!("a check should come to {outcome:?}: {row:?}\n from {sql}"),
        }
        let in_scope = row.opt("denial_reason") != Some("no_active_subscription");
        if in_scope && row.opt("required").map(|found| units(found, 2)) != Some(required) {
            differs!("required should be {required} hundredths: {row:?}\n from {sql}");
        }
        let balance = self.pools[pool].room(feature).0;
        if in_scope && units(row.get("balance"), 2) != balance {
            differs!("a usage may touch {balance} hundredths: {row:?}\n from {sql}");
        }
        self.counts.worked("check_credits");
        Ok(())
    }

    /// Says what the call itself would do, down to the grants.
    pub fn estimate(&mut self, call: &Call) -> Result<(), String> {
        if self.is_unclear(&self.pools, std::slice::from_ref(call)) {
            return Ok(());
        }
        let Call::Usage { pool, total, .. } = call else { panic!("a usage: {call:?}") };
        let sql = call.sql(&self.run).replace("credit_pools.report_usage(", "credit_pools.estimate_usage(");
        self.trail.push(sql.clone());
        let answer = self.session.try_row(&sql);
        let before = self.pools[*pool].balance();
        let mut pools = self.pools.clone();
        let usages = pools[*pool].usages.len();
        match (self.expect(&mut pools, call, None), answer) {
            (Outcome::Row(expected), Ok(row)) => {
                let wanted = |column: &str| {
                    let found = expected.iter().find(|(name, _)| *name == column);
                    found.map_or(String::new(), |(_, words)| words[0].clone())
                };
                let pairs = [
                    ("credits", wanted("credits_consumed")),
                    ("shortfall", wanted("shortfall")),
                    ("balance", decimal(before, 2)),
                    ("balance_after", wanted("balance")),
                    ("would_be_rejected", "f".to_owned()),
                ];
                for (column, wanted) in pairs {
                    if !same(row.get(column), &wanted) {
                        differs!("estimated {column} should be {wanted}: {row:?}\n from {sql}");
                    }
                }
                if let Some(usage) = pools[*pool].usages.get(usages)
                    && !(*total && usage.value.is_some_and(|value| value <= 0))
                {
                    let draws: Vec<(i64, Amount)> = usage
                        .draws
                        .iter()
                        .filter_map(|(place, part)| place.map(|place| (pools[*pool].grants[place].id, *part)))
                        .collect();
                    if grants_of(&row) != draws {
                        differs!("estimated grants should be {draws:?}: {row:?}\n from {sql}");
                    }
                }
            }
            (Outcome::Error(codes, _), Ok(row)) => {
                let code = row.opt("error_code").unwrap_or("none");
                if !row.flag("would_be_rejected") || !codes.contains(&code) {
                    differs!("should be rejected with {codes:?}: {row:?}\n from {sql}");
                }
            }
            // What is no matter of credits is raised.
            (Outcome::Error(codes, _), Err(fault)) if codes.contains(&fault.code.as_str()) => {}
            (outcome, answer) => differs!("an estimate should come to {outcome:?}: {answer:?}\n from {sql}"),
        }
        self.counts.worked("estimate_usage");
        Ok(())
    }

    /// An instant that was left is known as it was seen then, whatever was recorded since.
    pub fn past(&mut self, nth: usize, pool: usize) -> Result<(), String> {
        let count = self.left.len();
        if count == 0 {
            return Ok(());
        }
        let (at, seen) = self.left[count - 1 - nth % count].clone();
        let sql = format!(
            "SELECT * FROM credit_pools.balance_at(customer_id => 'c-{run}', resource_id => {}, credit_type_id => 't-{run}', at => {at}, known_at => {at})",
            Self::resource(pool),
            run = self.run,
            at = instant(at)
        );
        let row = self.write(&sql)?;
        let figure = |column: &str| units(row.get(column), 2);
        let found = [figure("balance"), figure("held"), figure("debt")];
        if found != seen[pool] {
            differs!(
                "minute {}, balance, held and debt of minute {at}: should be {:?} hundredths, are {row:?}\n from {sql}",
                self.now,
                seen[pool]
            );
        }
        let sum = ["consumed", "expired", "voided", "held", "debt"].map(figure).iter().sum::<Amount>();
        if figure("granted") - sum != figure("balance") {
            differs!("the figures do not add up: {row:?}\n from {sql}");
        }
        self.counts.worked("balance_at");
        Ok(())
    }

    pub fn explain(&mut self, nth: usize) -> Result<(), String> {
        let mut usages: Vec<(i64, usize, usize)> = Vec::new();
        for (pool, found) in self.pools.iter().enumerate() {
            usages.extend(found.usages.iter().enumerate().map(|(place, usage)| (usage.id, pool, place)));
        }
        usages.sort_unstable();
        if usages.is_empty() {
            return Ok(());
        }
        let (id, pool, place) = usages[usages.len() - 1 - nth % usages.len()];
        let sql =
            format!("SELECT * FROM credit_pools.explain_usage(customer_id => 'c-{}', usage_id => {id})", self.run);
        let row = self.write(&sql)?;
        let usage = &self.pools[pool].usages[place];
        let figures = (units(row.get("credits"), 2), units(row.get("reversed"), 2), row.int("pool_id"));
        if figures != (usage.credits, usage.reversed, self.ids[pool]) {
            differs!("should be {usage:?}: {row:?}\n from {sql}");
        }
        // What it drew at first: of the grants, and as debt.
        let drawn: Amount = grants_of(&row).iter().map(|(_, part)| part).sum();
        if drawn + units(row.get("debt"), 2) != usage.credits.max(0) {
            differs!("the grants drawn do not make up the credits: {row:?}\n from {sql}");
        }
        self.counts.worked("explain_usage");
        Ok(())
    }

    /// Each row is a usage; a row that cannot be paid fails the statement.
    pub fn insert(&mut self, rows: &[(usize, i128, bool)], again: bool) -> Result<(), String> {
        if !again || self.inserted.is_empty() {
            self.inserted.clear();
            for (pool, value, keyed) in rows {
                self.keys += usize::from(*keyed);
                let key = keyed.then(|| format!("row-{}", self.keys));
                let (pool, value) = (*pool, *value);
                let call = Call::Usage { pool, feature: METERED, value, cap: false, total: false, at: None, key };
                self.inserted.push(call);
            }
        }
        let mut values = Vec::new();
        for call in &self.inserted {
            let Call::Usage { pool, value, key, .. } = call else { continue };
            let key = key.as_deref().map_or("NULL".to_owned(), support::text);
            values.push(format!("('c-{}', {}, {}, {key})", self.run, Self::resource(*pool), decimal(*value, 2)));
        }
        let sql = format!("INSERT INTO metered_{} VALUES {}", self.run, values.join(", "));
        self.trail.push(sql.clone());
        let answer = self.session.try_rows(&sql);
        let mut new: VecDeque<Row> = VecDeque::new();
        if answer.is_ok() {
            let last = self.pools.iter().flat_map(|pool| &pool.usages).map(|usage| usage.id).max().unwrap_or(0);
            new = self
                .session
                .rows(&format!(
                    "SELECT usage_id, pool_id, value FROM credit_pools.usage_events
                     WHERE customer_id = 'c-{}' AND usage_id > {last} ORDER BY usage_id",
                    self.run
                ))
                .into();
        }
        let (mut pools, mut known) = (self.pools.clone(), self.rows_known.clone());
        for call in &self.inserted {
            let Call::Usage { pool, value, key, .. } = call else { continue };
            // A key that was used with the same payload is not charged again.
            if key.as_ref().is_some_and(|key| known.contains(key)) {
                continue;
            }
            let id = self.ids[*pool];
            let is_its = |row: &Row| row.int("pool_id") == id && units(row.get("value"), 2) == *value;
            let row = new.iter().position(is_its).and_then(|place| new.remove(place));
            match (self.expect(&mut pools, call, row.as_ref()), &answer) {
                (Outcome::Row(_), Ok(_)) if row.is_some() => known.extend(key.clone()),
                // Not yet the bad one.
                (Outcome::Row(_), Err(_)) => known.extend(key.clone()),
                (Outcome::Error(codes, _), Err(fault)) if codes.contains(&fault.code.as_str()) => {
                    self.counts.refused("meter_table, an INSERT");
                    return Ok(());
                }
                (outcome, answer) => {
                    differs!("a metered row should come to {outcome:?}: {answer:?}, {row:?}\n from {sql}")
                }
            }
        }
        if let Err(fault) = answer {
            differs!("should work: {fault}");
        }
        if !new.is_empty() {
            differs!("charged for no row: {new:?}\n from {sql}");
        }
        self.counts.worked("meter_table, an INSERT");
        (self.pools, self.rows_known) = (pools, known);
        Ok(())
    }

    /// Reads on from the consumer's position: all events in order, none twice, none left out.
    pub fn fetch(&mut self, max: usize, done: usize) -> Result<(), String> {
        let consumer = format!("consumer-{}", self.run);
        let sql = format!("SELECT event_id FROM credit_pools.fetch_events(consumer => '{consumer}', max => {max})");
        self.trail.push(sql.clone());
        let ids = |rows: Vec<Row>| -> Vec<i64> { rows.iter().map(|row| row.int("event_id")).collect() };
        let found = ids(self.session.try_rows(&sql).map_err(|fault| fault.to_string())?);
        let wanted = ids(self.session.rows(&format!(
            "SELECT event_id FROM credit_pools.event WHERE event_id > {} ORDER BY event_id LIMIT {max}",
            self.read_up_to
        )));
        // The last ones may have to wait for a transaction of somebody else.
        if !wanted.starts_with(&found) {
            differs!("events should be {wanted:?}, are {found:?}\n from {sql}");
        }
        self.counts.worked("fetch_events");
        let Some(event) = found.get(done.min(found.len().saturating_sub(1))).copied() else { return Ok(()) };
        let ack = |event: i64| {
            format!("SELECT * FROM credit_pools.ack_events(consumer => '{consumer}', event_id => {event})")
        };
        self.write(&ack(event))?;
        self.counts.worked("ack_events");
        // The same again is a success, backwards is none.
        self.write(&ack(event))?;
        self.counts.repeated("ack_events");
        if self.read_up_to > 0 && max.is_multiple_of(4) {
            let sql = ack(self.read_up_to);
            match self.session.try_row(&sql) {
                Err(fault) if fault.code == "22023" => self.counts.refused("ack_events"),
                answer => differs!("should fail with 22023: {answer:?}\n from {sql}"),
            }
        }
        self.read_up_to = event;
        Ok(())
    }
}

/// The grants of an estimate or an explanation: of which how much, in order.
fn grants_of(row: &Row) -> Vec<(i64, Amount)> {
    let list: serde_json::Value = serde_json::from_str(row.get("grants")).unwrap_or_default();
    let figure = |value: &serde_json::Value| units(value.to_string().trim_matches('"'), 2);
    let of = |grant: &serde_json::Value| (grant["grant_id"].as_i64().unwrap_or(0), figure(&grant["credits"]));
    list.as_array().map_or(Vec::new(), |list| list.iter().map(of).collect())
}
