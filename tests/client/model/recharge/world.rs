//! The rules of auto-recharge once more (contract sections 6 and 10), as plainly as possible: every decision is made from
//! lists, nothing is counted ahead. The pools are those of naive.rs. Amounts and money count in hundredths.

use crate::naive::{Amount, Grant, Minute, Pool};

/// Places of the customer's pools; the first is the global one.
pub const POOLS: [Option<&str>; 3] = [None, Some("ws"), Some("lab")];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// Up to this balance.
    Target(Amount),
    Fixed(Amount),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub enabled: bool,
    pub threshold: Amount,
    pub size: Size,
    /// Money for one credit, in thousandths; None: no price.
    pub price: Option<i128>,
    pub max_spend: Option<Amount>,
    pub per: Minute,
    pub max_count: Option<usize>,
    pub cooldown: Minute,
    pub immediate: bool,
}

/// What stays the same during a run: the contract does not say whether a change of it counts for what is in flight.
#[derive(Clone, Debug)]
pub struct Terms {
    pub max_failures: usize,
    pub backoff: Minute,
    pub lasts: Option<Minute>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    Pending,
    Processing,
    Succeeded,
    Failed,
    Skipped,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Processing => "processing",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
        }
    }
}

/// A decision.
#[derive(Clone, Debug)]
pub struct Recharge {
    /// The server's id, as soon as it is known.
    pub id: i64,
    pub pool: usize,
    /// The pool's own policy, or the customer's.
    pub own: bool,
    pub status: Status,
    pub reason: &'static str,
    pub amount: Amount,
    pub price: Option<Amount>,
    pub attempts: usize,
    pub reference: Option<String>,
    pub created: Minute,
    /// From when it may be handed out.
    pub next: Minute,
    pub balance: Amount,
}

impl Recharge {
    pub fn is_in_flight(&self) -> bool {
        matches!(self.status, Status::Pending | Status::Processing)
    }

    fn counts(&self) -> bool {
        self.is_in_flight() || self.status == Status::Succeeded
    }
}

#[derive(Clone, Debug)]
pub struct World {
    pub now: Minute,
    pub terms: Terms,
    pub pools: Vec<Pool>,
    pub breakers: [bool; POOLS.len()],
    /// When maintenance looks again at a pool that was passed over.
    pub look_again: [Option<Minute>; POOLS.len()],
    pub wide: Option<Policy>,
    pub own: [Option<Policy>; POOLS.len()],
    /// In order.
    pub recharges: Vec<Recharge>,
}

/// What a pool's policy says of it at this instant.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    Enough,
    /// Low, but for what is in flight.
    Lifted,
    Skip(&'static str, Option<Minute>),
    Recharge(Amount, Option<Amount>),
}

impl World {
    pub fn new(terms: Terms, overdraft: Amount) -> World {
        World {
            now: 0,
            terms,
            pools: POOLS.map(|_| Pool { floor_below_zero: Some(overdraft), ..Pool::default() }).into(),
            breakers: Default::default(),
            look_again: Default::default(),
            wide: None,
            own: Default::default(),
            recharges: Vec::new(),
        }
    }

    pub fn policy(&self, pool: usize) -> Option<&Policy> {
        self.own[pool].as_ref().or(self.wide.as_ref())
    }

    pub fn in_flight(&self, pool: usize) -> Option<&Recharge> {
        self.recharges.iter().find(|recharge| recharge.pool == pool && recharge.is_in_flight())
    }

    /// Carries out what is due in a pool; whether there was anything.
    pub fn advance(&mut self, pool: usize) -> bool {
        let rows = self.pools[pool].ledger.len();
        self.pools[pool].advance(self.now);
        self.pools[pool].ledger.len() > rows
    }

    pub fn window(&self, policy: &Policy) -> (Minute, Minute) {
        let start = self.now.div_euclid(policy.per) * policy.per;
        (start, start + policy.per)
    }

    /// Money and number of what counts in the period, of the pool's own policy or of the customer's.
    pub fn spent(&self, policy: &Policy, pool: usize) -> (Amount, usize) {
        let (from, to) = self.window(policy);
        let own = self.own[pool].is_some();
        let mut spent = (0, 0);
        for recharge in &self.recharges {
            let same_policy = recharge.own == own && (!own || recharge.pool == pool);
            if same_policy && recharge.counts() && (from..to).contains(&recharge.created) {
                spent = (spent.0 + recharge.price.unwrap_or(0), spent.1 + 1);
            }
        }
        spent
    }

    pub fn cooling_until(&self, policy: &Policy, pool: usize) -> Option<Minute> {
        let last = self.recharges.iter().rfind(|r| r.pool == pool && r.status != Status::Skipped)?;
        Some(last.created + policy.cooldown).filter(|until| *until > self.now)
    }

    /// None without a policy. What is due has been carried out.
    pub fn decide(&self, pool: usize) -> Option<Decision> {
        let policy = self.policy(pool)?;
        let balance = self.pools[pool].balance();
        let in_flight = self.in_flight(pool);
        if balance >= policy.threshold {
            return Some(Decision::Enough);
        }
        if in_flight.is_some_and(|recharge| balance + recharge.amount >= policy.threshold) {
            return Some(Decision::Lifted);
        }
        if !policy.enabled {
            return Some(Decision::Skip("disabled", None));
        }
        if self.breakers[pool] {
            return Some(Decision::Skip("breaker", None));
        }
        if in_flight.is_some() {
            return Some(Decision::Skip("pending", None));
        }
        if let Some(until) = self.cooling_until(policy, pool) {
            return Some(Decision::Skip("cooldown", Some(until)));
        }
        let amount = match policy.size {
            Size::Target(target) => target - balance,
            Size::Fixed(amount) => amount,
        };
        let (spent, count) = self.spent(policy, pool);
        let (_, end) = self.window(policy);
        if policy.max_count.is_some_and(|max| count >= max) {
            return Some(Decision::Skip("count_limit", Some(end)));
        }
        let Some(per_credit) = policy.price else { return Some(Decision::Recharge(amount, None)) };
        let price = |amount: Amount| (amount * per_credit + 500) / 1000;
        let full = price(amount);
        let left = policy.max_spend.map_or(full, |max| max - spent);
        if full <= left {
            return Some(Decision::Recharge(amount, Some(full)));
        }
        // "What exceeds it is cut to what is left; nothing left = skipped."
        let cut = left.max(0) * 1000 / per_credit;
        if cut == 0 {
            return Some(Decision::Skip("spend_limit", Some(end)));
        }
        Some(Decision::Recharge(cut, Some(price(cut).min(left))))
    }

    /// At the end of a call that changed the pool.
    pub fn evaluate(&mut self, pool: usize) {
        if self.pools[pool].frozen {
            return;
        }
        let balance = self.pools[pool].balance();
        let row = Recharge {
            id: 0,
            pool,
            own: self.own[pool].is_some(),
            status: Status::Pending,
            reason: "",
            amount: 0,
            price: None,
            attempts: 0,
            reference: None,
            created: self.now,
            next: self.now,
            balance,
        };
        match self.decide(pool) {
            None | Some(Decision::Enough | Decision::Lifted) => {}
            Some(Decision::Skip(reason, until)) => {
                self.look_again[pool] = until;
                let latest = self.recharges.iter_mut().rfind(|recharge| recharge.pool == pool);
                match latest {
                    // The same again is no new row.
                    Some(latest) if latest.status == Status::Skipped && latest.reason == reason => {
                        latest.balance = balance;
                    }
                    _ => self.recharges.push(Recharge { status: Status::Skipped, reason, ..row }),
                }
            }
            Some(Decision::Recharge(amount, price)) => {
                self.look_again[pool] = None;
                self.recharges.push(Recharge { amount, price, ..row });
                if self.policy(pool).is_some_and(|policy| policy.immediate) {
                    self.settle(self.recharges.len() - 1, None);
                }
            }
        }
    }

    /// The recharge's own grant fires nothing.
    pub fn settle(&mut self, number: usize, reference: Option<String>) {
        let Recharge { pool, amount, .. } = self.recharges[number];
        let grant = Grant {
            amount,
            category: "paid",
            priority: 50,
            start: self.now,
            end: self.terms.lasts.map(|lasts| self.now + lasts),
            ..Grant::default()
        };
        self.pools[pool].grant(grant, self.now);
        self.recharges[number].status = Status::Succeeded;
        self.recharges[number].reference = reference;
    }

    /// The pools that the customer's policy covers.
    pub fn covered(&self) -> Vec<usize> {
        (0..POOLS.len()).filter(|pool| self.own[*pool].is_none()).collect()
    }

    /// When a policy is set or reset: closes breakers, looks at the pools. How many were asked for.
    pub fn look_at(&mut self, pools: &[usize]) -> usize {
        let asked = |world: &World| world.recharges.iter().filter(|r| r.status != Status::Skipped).count();
        let before = asked(self);
        for pool in pools {
            self.advance(*pool);
            self.breakers[*pool] = false;
            self.evaluate(*pool);
        }
        asked(self) - before
    }

    /// A pool whose reason not to recharge has ended is looked at; whether it was.
    pub fn look_again(&mut self, pool: usize) -> bool {
        let ended = self.look_again[pool].is_some_and(|at| at <= self.now);
        if ended {
            self.look_again[pool] = None;
            self.evaluate(pool);
        }
        ended
    }

    /// A failed payment; whether it was the last.
    pub fn fail(&mut self, number: usize, permanent: bool) -> bool {
        let recharge = &mut self.recharges[number];
        recharge.attempts += 1;
        let last = permanent || recharge.attempts >= self.terms.max_failures;
        if last {
            recharge.status = Status::Failed;
            self.breakers[recharge.pool] = true;
        } else {
            recharge.status = Status::Pending;
            // "Back-off doubling to a day."
            recharge.next = self.now + (self.terms.backoff << (recharge.attempts - 1)).min(1440);
        }
        last
    }
}
