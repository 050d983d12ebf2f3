//! Plays a sequence on the server and in the world side by side.

use super::steps::{Setting, Step};
use super::world::{Decision, POOLS, Policy, Recharge, Size, Status, World};
use crate::calls::{EPOCH, instant};
use crate::coverage::Counts;
use crate::naive::{Amount, Grant, Minute};
use crate::play::{differs, same};
use support::{Row, Session, decimal};

pub struct Difference {
    pub step: usize,
    pub what: String,
    /// The statements that led to it.
    pub trail: Vec<String>,
}

pub struct Game<'a> {
    pub session: &'a mut Session,
    pub run: String,
    pub overdraft: Amount,
    pub world: World,
    pub ids: Vec<i64>,
    pub holds: usize,
    pub trail: Vec<String>,
    pub counts: Counts,
}

pub fn money(price: Option<Amount>) -> String {
    price.map_or("NULL".to_owned(), |price| decimal(price, 2))
}

impl<'a> Game<'a> {
    pub fn new(session: &'a mut Session, run: String, setting: &Setting) -> Self {
        Game {
            session,
            run,
            overdraft: setting.overdraft,
            world: World::new(setting.terms.clone(), setting.overdraft),
            ids: Vec::new(),
            holds: 0,
            trail: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub fn play(mut self, steps: &[Step], every: usize) -> Result<Counts, Difference> {
        let mut at = 0;
        let mut result = self.begin();
        for (number, step) in steps.iter().enumerate() {
            if result.is_err() {
                break;
            }
            at = number;
            result = self.step(step);
            if result.is_ok() && (number + 1) % every == 0 {
                result = self.compare();
            }
        }
        match result.and_then(|()| self.compare()) {
            Ok(()) => Ok(self.counts),
            Err(what) => Err(Difference { step: at, what, trail: self.trail }),
        }
    }

    fn try_call(&mut self, call: &str) -> Result<Result<Row, String>, String> {
        let sql = format!("SELECT * FROM credit_pools.{call}");
        self.trail.push(sql.clone());
        match self.session.try_row(&sql) {
            Ok(row) => Ok(Ok(row)),
            Err(fault) if fault.is_contract_code() => Ok(Err(fault.code)),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// A call that has to work, or to be refused with this code.
    fn call(&mut self, call: &str, refused: Option<&str>) -> Result<Option<Row>, String> {
        let name = RECHARGE_FUNCTIONS.iter().find(|name| call.starts_with(&format!("{name}("))).copied();
        match (self.try_call(call)?, refused) {
            (Ok(row), None) => {
                if let Some(name) = name {
                    self.counts.worked(name);
                }
                Ok(Some(row))
            }
            (Err(code), Some(wanted)) if code == wanted => {
                if let Some(name) = name {
                    self.counts.refused(name);
                }
                Ok(None)
            }
            (answer, refused) => Err(format!("{answer:?}, should be refused with {refused:?}: {call}")),
        }
    }

    pub fn check(&self, row: &Row, pairs: &[(&str, String)]) -> Result<(), String> {
        for (column, wanted) in pairs {
            let found = row.opt(column).unwrap_or("NULL");
            if !same(found, wanted) {
                differs!(
                    "minute {}: {column} is {found}, should be {wanted}\n in {row:?}\n {}",
                    self.world.now,
                    self.shown()
                );
            }
        }
        Ok(())
    }

    /// What a difference may come from.
    pub fn shown(&self) -> String {
        let World { wide, own, breakers, recharges, .. } = &self.world;
        let last = &recharges[recharges.len().saturating_sub(5)..];
        format!("model: {wide:?}, {own:?}, breakers {breakers:?}, last {last:#?}")
    }

    fn set_clock(&mut self) -> Result<(), String> {
        let sql = format!("SELECT set_config('credit_pools.test_clock', {}::text, false)", instant(self.world.now));
        self.trail.push(sql.clone());
        self.session.try_row(&sql).map(|_| ()).map_err(|fault| fault.to_string())
    }

    fn resource(pool: Option<usize>) -> String {
        pool.and_then(|pool| POOLS[pool]).map_or("NULL".to_owned(), support::text)
    }

    fn scope(&self, pool: usize) -> String {
        let run = &self.run;
        format!("customer_id => 'c-{run}', resource_id => {}, credit_type_id => 't-{run}'", Self::resource(Some(pool)))
    }

    fn begin(&mut self) -> Result<(), String> {
        self.set_clock()?;
        self.call(&format!("define_credit_type(credit_type_id => 't-{}', scale => 2)", self.run), None)?;
        for pool in 0..POOLS.len() {
            let limit = decimal(self.overdraft, 2);
            let call = format!("open_pool({}, overdraft_limit => {limit})", self.scope(pool));
            let row = self.call(&call, None)?;
            self.ids.extend(row.map(|row| row.int("pool_id")));
        }
        Ok(())
    }

    fn balance(&self, pool: usize) -> (&'static str, String) {
        ("balance", decimal(self.world.pools[pool].balance(), 2))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let decisions = self.world.recharges.len();
        match step {
            Step::Wait(minutes) => {
                self.world.now += minutes;
                self.set_clock()?;
            }
            Step::Maintain => self.maintain()?,
            Step::Grant { pool, amount, lasts } => {
                let end = lasts.map(|lasts| self.world.now + lasts);
                let expiry = end.map_or(String::new(), |end| format!(", expires_at => {}", instant(end)));
                let call = format!("grant_credits({}, amount => {}{expiry})", self.scope(*pool), decimal(*amount, 2));
                let Some(row) = self.call(&call, None)? else { return Ok(()) };
                let grant = Grant {
                    id: row.int("grant_id"),
                    amount: *amount,
                    category: "paid",
                    priority: 50,
                    start: self.world.now,
                    end,
                    ..Grant::default()
                };
                self.world.advance(*pool);
                self.world.pools[*pool].grant(grant, self.world.now);
                self.world.evaluate(*pool);
                self.check(&row, &[self.balance(*pool)])?;
            }
            Step::Consume { pool, amount } => self.consume(*pool, *amount)?,
            Step::Reserve { pool, amount, ttl } => {
                self.holds += 1;
                let id = format!("h{}", self.holds);
                let call = format!(
                    "reserve_credits({}, reservation_id => '{id}', amount => {}, ttl => '{ttl} minutes')",
                    self.scope(*pool),
                    decimal(*amount, 2)
                );
                let mut world = self.world.clone();
                world.advance(*pool);
                let now = world.now;
                let refused = if world.pools[*pool].frozen {
                    Some("PC005")
                } else if world.pools[*pool].reserve(id, None, 0, *amount, now + ttl, now).is_err() {
                    Some("PC001")
                } else {
                    world.evaluate(*pool);
                    None
                };
                if let Some(row) = self.call(&call, refused)? {
                    self.world = world;
                    self.check(&row, &[self.balance(*pool)])?;
                }
            }
            Step::Release { nth } => {
                let mut open: Vec<(usize, usize)> = Vec::new();
                for (pool, found) in self.world.pools.iter().enumerate() {
                    let is_open =
                        |number: &usize| found.holds[*number].is_open() && found.holds[*number].ends > self.world.now;
                    open.extend((0..found.holds.len()).filter(is_open).map(|number| (pool, number)));
                }
                if open.is_empty() {
                    return Ok(());
                }
                let (pool, number) = open[open.len() - 1 - nth % open.len()];
                let id = self.world.pools[pool].holds[number].id.clone();
                let call = format!("release_reservation(customer_id => 'c-{}', reservation_id => '{id}')", self.run);
                let row = self.call(&call, None)?;
                self.world.advance(pool);
                let now = self.world.now;
                self.world.pools[pool].release(number, now);
                self.world.evaluate(pool);
                if let Some(row) = row {
                    self.check(&row, &[self.balance(pool)])?;
                }
            }
            Step::Void { nth } => self.void(*nth)?,
            Step::Freeze { pool, on } => {
                if self.world.pools[*pool].frozen == *on {
                    return Ok(());
                }
                let status = if *on { "frozen" } else { "active" };
                self.call(&format!("set_pool({}, status => '{status}')", self.scope(*pool)), None)?;
                self.world.advance(*pool);
                self.world.pools[*pool].frozen = *on;
                self.world.evaluate(*pool);
            }
            Step::Policy { pool, policy } => self.set_policy(pool.filter(|pool| *pool > 0), policy)?,
            Step::Reset { pool } => {
                let pool = pool.filter(|pool| *pool > 0);
                let run = &self.run;
                let call = format!(
                    "reset_auto_recharge(customer_id => 'c-{run}', credit_type_id => 't-{run}', resource_id => {})",
                    Self::resource(pool)
                );
                let policy = pool.map_or(self.world.wide.as_ref(), |pool| self.world.policy(pool));
                let Some(row) = self.call(&call, if policy.is_none() { Some("PC002") } else { None })? else {
                    return Ok(());
                };
                let pools = pool.map_or_else(|| self.world.covered(), |pool| vec![pool]);
                self.look_at(&pools, &row)?;
            }
            Step::Claim { most, lease } => self.claim(*most, *lease)?,
            Step::Complete { nth, reference } => self.complete(*nth, *reference)?,
            Step::Fail { nth, permanent } => self.fail(*nth, *permanent)?,
            Step::Explain { pool } => self.explain(*pool)?,
        }
        self.learn(decisions)
    }

    fn maintain(&mut self) -> Result<(), String> {
        self.trail.push("SELECT * FROM credit_pools.run_maintenance()".to_owned());
        let result = self.session.try_rows("SELECT * FROM credit_pools.run_maintenance()");
        result.map_err(|fault| fault.to_string())?;
        self.counts.worked("run_maintenance");
        if self.trail.len().is_multiple_of(2) {
            // What goes into the archive is there as before.
            let sql = format!(
                "SELECT * FROM credit_pools.archive_ledger(before => credit_pools.clock(), customer_id => 'c-{}')",
                self.run
            );
            self.trail.push(sql.clone());
            self.session.try_rows(&sql).map_err(|fault| fault.to_string())?;
        }
        // In which order it looks at the pools of a policy is not laid down, though the first may use up a limit.
        let last = self.world.recharges.iter().map(|recharge| recharge.id).max().unwrap_or(0);
        let rows = self.session.rows(&format!(
            "SELECT pool_id FROM credit_pools.recharges WHERE customer_id = 'c-{}' AND recharge_id > {last} ORDER BY recharge_id",
            self.run
        ));
        let told: Vec<i64> = rows.iter().map(|row| row.int("pool_id")).collect();
        let mut pools: Vec<usize> = (0..POOLS.len()).collect();
        pools.sort_by_key(|pool| told.iter().position(|id| *id == self.ids[*pool]).unwrap_or(usize::MAX));
        for pool in pools {
            let due = self.world.advance(pool);
            if due {
                self.world.evaluate(pool);
            }
            if !self.world.look_again(pool) && !due {
                self.perhaps_evaluate(pool);
            }
        }
        Ok(())
    }

    /// Of a call that changed nothing in the pool the contract says neither that it looks at it nor that it does not.
    fn perhaps_evaluate(&mut self, pool: usize) {
        let mut looked = self.world.clone();
        looked.evaluate(pool);
        if looked.recharges.len() == self.world.recharges.len() {
            return;
        }
        let sql = format!("SELECT count(*) FROM credit_pools.recharges WHERE pool_id = {}", self.ids[pool]);
        let known = self.world.recharges.iter().filter(|recharge| recharge.pool == pool).count();
        if self.session.value(&sql) != known.to_string() {
            self.world = looked;
        }
    }

    fn consume(&mut self, pool: usize, amount: Amount) -> Result<(), String> {
        let call = format!("consume_credits({}, amount => {})", self.scope(pool), decimal(amount, 2));
        let mut world = self.world.clone();
        world.advance(pool);
        let now = world.now;
        let refused = if world.pools[pool].frozen {
            Some("PC005")
        } else if world.pools[pool].consume(None, amount, false, None, (now, now)).is_err() {
            // It is decided on the balance after the call: a recharge does not help it.
            Some("PC001")
        } else {
            world.evaluate(pool);
            None
        };
        if let Some(row) = self.call(&call, refused)? {
            self.world = world;
            self.check(&row, &[("credits_consumed", decimal(amount, 2)), self.balance(pool)])?;
        }
        Ok(())
    }

    fn void(&mut self, nth: usize) -> Result<(), String> {
        let mut living: Vec<(i64, usize)> = Vec::new();
        for (pool, found) in self.world.pools.iter().enumerate() {
            let lives = |grant: &&Grant| grant.available() > 0 && grant.end.is_none_or(|end| end > self.world.now);
            living.extend(found.grants.iter().filter(lives).map(|grant| (grant.id, pool)));
        }
        living.sort_unstable();
        if living.is_empty() {
            return Ok(());
        }
        let (id, pool) = living[living.len() - 1 - nth % living.len()];
        let row = self.call(&format!("void_grant(customer_id => 'c-{}', grant_id => {id})", self.run), None)?;
        let due = self.world.advance(pool);
        // What was due may have used it up: then there is nothing to void.
        let grants = &self.world.pools[pool].grants;
        let place = grants.iter().position(|grant| grant.id == id && grant.available() > 0);
        if let Some(place) = place {
            self.world.pools[pool].void(place, None);
        }
        if due || place.is_some() {
            self.world.evaluate(pool);
        }
        match row {
            Some(row) => self.check(&row, &[self.balance(pool)]),
            None => Ok(()),
        }
    }

    fn set_policy(&mut self, pool: Option<usize>, policy: &Policy) -> Result<(), String> {
        let run = &self.run;
        let terms = &self.world.terms;
        let size = match policy.size {
            Size::Target(target) => format!("target_balance => {}", decimal(target, 2)),
            Size::Fixed(amount) => format!("recharge_amount => {}", decimal(amount, 2)),
        };
        let mut more = String::new();
        if let Some(price) = policy.price {
            more += &format!(", price_per_credit => {}, price_currency => 'EUR'", decimal(price, 3));
        }
        if let Some(max) = policy.max_spend {
            more += &format!(", max_spend => {}", decimal(max, 2));
        }
        if let Some(max) = policy.max_count {
            more += &format!(", max_count => {max}");
        }
        let lasts = terms.lasts.map_or("NULL".to_owned(), |lasts| format!("'{lasts} minutes'"));
        let call = format!(
            "set_auto_recharge(customer_id => 'c-{run}', credit_type_id => 't-{run}', threshold => {}, {size}{more}, spend_period => '{}', \
             cooldown => '{} minutes', grant_expires_after => {lasts}, settlement => '{}', max_failures => {}, backoff => '{} minutes', \
             enabled => {}, resource_id => {})",
            decimal(policy.threshold, 2),
            if policy.per == 60 { "1 hour" } else { "1 day" },
            policy.cooldown,
            if policy.immediate { "immediate" } else { "on_payment" },
            terms.max_failures,
            terms.backoff,
            policy.enabled,
            Self::resource(pool)
        );
        let Some(row) = self.call(&call, None)? else { return Ok(()) };
        let pools = match pool {
            Some(pool) => {
                self.world.own[pool] = Some(policy.clone());
                vec![pool]
            }
            None => {
                self.world.wide = Some(policy.clone());
                self.world.covered()
            }
        };
        self.look_at(&pools, &row)
    }

    fn look_at(&mut self, pools: &[usize], row: &Row) -> Result<(), String> {
        let asked = self.world.look_at(pools);
        let pairs = [("pools_covered", pools.len().to_string()), ("recharges_requested", asked.to_string())];
        self.check(row, &pairs)
    }

    /// Each pending recharge once, until its lease ends.
    fn claim(&mut self, most: usize, lease: Minute) -> Result<(), String> {
        let sql = format!(
            "SELECT *, ((extract(epoch FROM lease_expires_at) - {EPOCH}) / 60)::bigint AS lease FROM credit_pools.claim_recharges(worker => 'w-{}', max_count => {most}, lease => '{lease} minutes')",
            self.run
        );
        self.trail.push(sql.clone());
        let rows = self.session.try_rows(&sql).map_err(|fault| fault.to_string())?;
        let now = self.world.now;
        let free = |recharge: &Recharge| recharge.is_in_flight() && recharge.next <= now;
        let mut left = self.world.recharges.iter().filter(|recharge| free(recharge)).count();
        let customer = format!("c-{}", self.run);
        // Those that other runs left behind are handed out, too.
        for row in rows.iter().filter(|row| row.get("customer_id") == customer) {
            let found = self.world.recharges.iter_mut().find(|recharge| recharge.id == row.int("recharge_id"));
            let Some(recharge) = found.filter(|recharge| free(recharge)) else {
                differs!("minute {now}: not to be handed out: {row:?}\n from {sql}");
            };
            recharge.status = Status::Processing;
            recharge.next = now + lease;
            left -= 1;
            let pairs = [
                ("amount", decimal(recharge.amount, 2)),
                ("price", money(recharge.price)),
                ("attempts", recharge.attempts.to_string()),
                ("lease", (now + lease).to_string()),
            ];
            self.check(row, &pairs)?;
        }
        if rows.len() > most || (rows.len() < most && left > 0) {
            differs!("minute {now}: {left} more should be handed out: {rows:?}\n from {sql}");
        }
        if !rows.is_empty() {
            self.counts.worked("claim_recharges");
        }
        Ok(())
    }

    /// Mostly one in flight.
    fn nth_recharge(&self, nth: usize) -> Option<usize> {
        let all: Vec<usize> = (0..self.world.recharges.len()).collect();
        let flying: Vec<usize> =
            all.iter().copied().filter(|number| self.world.recharges[*number].is_in_flight()).collect();
        let list = if nth < 4 && !flying.is_empty() { flying } else { all };
        (!list.is_empty()).then(|| list[list.len() - 1 - nth % list.len()])
    }

    fn complete(&mut self, nth: usize, reference: usize) -> Result<(), String> {
        let Some(number) = self.nth_recharge(nth) else { return Ok(()) };
        let recharge = self.world.recharges[number].clone();
        let reference = format!("pay-{reference}");
        let call = format!(
            "complete_recharge(customer_id => 'c-{}', recharge_id => {}, payment_reference => '{reference}')",
            self.run, recharge.id
        );
        let again = recharge.reference.as_ref() == Some(&reference);
        let refused = match recharge.status {
            Status::Pending | Status::Processing => None,
            Status::Succeeded if again => None,
            Status::Succeeded => Some("PC004"),
            Status::Failed | Status::Skipped => Some("PC005"),
        };
        let Some(row) = self.call(&call, refused)? else { return Ok(()) };
        let due = self.world.advance(recharge.pool);
        if !again {
            self.world.settle(number, Some(reference));
            self.counts.worked("paid");
        }
        if due {
            self.world.evaluate(recharge.pool);
        } else if again {
            self.perhaps_evaluate(recharge.pool);
        }
        let word = if again { "t" } else { "f" };
        let pairs = [
            ("status", "succeeded".to_owned()),
            ("amount", decimal(recharge.amount, 2)),
            ("is_duplicate", word.to_owned()),
            self.balance(recharge.pool),
        ];
        self.check(&row, &pairs)
    }

    fn fail(&mut self, nth: usize, permanent: bool) -> Result<(), String> {
        let Some(number) = self.nth_recharge(nth) else { return Ok(()) };
        // Whether what is due is looked at by the call that opens the breaker is not laid down: it is booked before.
        let pool = self.world.recharges[number].pool;
        if self.world.clone().advance(pool) {
            let decisions = self.world.recharges.len();
            self.maintain()?;
            self.learn(decisions)?;
        }
        let recharge = self.world.recharges[number].clone();
        let call = format!(
            "fail_recharge(customer_id => 'c-{}', recharge_id => {}, reason => 'declined', permanent => {permanent})",
            self.run, recharge.id
        );
        let refused = if recharge.is_in_flight() { None } else { Some("PC005") };
        let Some(row) = self.call(&call, refused)? else { return Ok(()) };
        if !self.world.fail(number, permanent) {
            self.perhaps_evaluate(pool);
        }
        let after = &self.world.recharges[number];
        if after.status == Status::Pending && after.attempts > 1 {
            self.counts.worked("a doubled pause");
        }
        let next = if after.status == Status::Pending { after.next.to_string() } else { "NULL".to_owned() };
        let pairs = [("status", after.status.word().to_owned()), ("attempts", after.attempts.to_string())];
        let found = row.opt("next_attempt_at").map_or("NULL".to_owned(), |at| {
            self.session.value(&format!("SELECT ((extract(epoch FROM timestamptz '{at}') - {EPOCH}) / 60)::bigint"))
        });
        if found != next {
            differs!("minute {}: the next attempt is at {found}, should be at {next}: {row:?}", self.world.now);
        }
        self.check(&row, &pairs)
    }

    /// Says what the policy would decide now.
    fn explain(&mut self, pool: usize) -> Result<(), String> {
        let Some(row) = self.call(&format!("explain_recharge({})", self.scope(pool)), None)? else { return Ok(()) };
        let mut world = self.world.clone();
        world.advance(pool);
        let decision = world.decide(pool);
        let (reason, amount, price) = match decision {
            None => ("no_policy", None, None),
            Some(_) if world.pools[pool].frozen => ("frozen", None, None),
            Some(Decision::Enough) => ("enough", None, None),
            Some(Decision::Lifted) => ("pending", None, None),
            Some(Decision::Skip(reason, _)) => (reason, None, None),
            Some(Decision::Recharge(amount, price)) => ("NULL", Some(amount), price),
        };
        let mut pairs = vec![
            ("would_fire", if amount.is_some() { "t" } else { "f" }.to_owned()),
            ("reason", reason.to_owned()),
            ("amount", money(amount)),
            ("price", money(price)),
            ("balance", decimal(world.pools[pool].balance(), 2)),
            ("pending", money(world.in_flight(pool).map(|recharge| recharge.amount))),
        ];
        if let Some(policy) = world.policy(pool) {
            let (spent, count) = world.spent(policy, pool);
            if policy.max_spend.is_some() {
                pairs.push(("spent", decimal(spent, 2)));
            }
            if policy.max_count.is_some() {
                pairs.push(("recharges", count.to_string()));
            }
        }
        self.check(&row, &pairs)
    }
}

const RECHARGE_FUNCTIONS: [&str; 12] = [
    "complete_recharge",
    "consume_credits",
    "explain_recharge",
    "fail_recharge",
    "grant_credits",
    "open_pool",
    "release_reservation",
    "reserve_credits",
    "reset_auto_recharge",
    "set_auto_recharge",
    "set_pool",
    "void_grant",
];
