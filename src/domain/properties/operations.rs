//! Random operations on a pool, carried out on a `Wallet` or on the model.

use proptest::prelude::*;

use super::model::{Lot, Model};
use crate::{
    Amount, Category, Drawn, Entry, EntryType, Grant, Instant, Limit, OnInsufficient, Refusal, Status, Wallet,
};

/// A grant to come; times are counted from the tick at which it is made.
#[derive(Clone, Debug)]
pub struct Spec {
    pub category: Category,
    pub priority: i16,
    pub features: Vec<&'static str>,
    pub amount: i128,
    pub starts_in: i64,
    pub lasts: Option<i64>,
    pub unpaid: bool,
}

#[derive(Clone, Debug)]
pub enum Op {
    Add(Spec),
    Draw { cost: i128, feature: Option<&'static str>, cap: bool, late: i64 },
    Overdraft(Option<i128>),
    Freeze(bool),
    Void { pick: usize, amount: Option<i128> },
    Confirm { pick: usize },
    Hold { pick: usize, amount: i128 },
}

/// An operation and the ticks that pass before it.
pub type Step = (i64, Op);

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done,
    Added(Status),
    Drawn(Drawn),
    Voided(Amount),
    Confirmed(bool),
}

pub fn tick(tick: i64) -> Instant {
    Instant::from_micros(tick * 1000)
}

pub fn tick_or_never(at: Option<i64>) -> Instant {
    at.map_or(Instant::INFINITY, tick)
}

/// Strategies made of many parts take most of the time of a test: a step is drawn as bytes, of which all zero
/// is the simplest.
fn spec(dice: [u8; 7]) -> Spec {
    let [amount, category, priority, features, start, life, payment] = dice.map(i64::from);
    Spec {
        category: [Category::Paid, Category::Promotional, Category::Recurring][category as usize % 3],
        priority: if priority < 192 { 50 } else { (priority % 101) as i16 },
        features: [vec![], vec![], vec![], vec![], vec!["a"], vec!["b"], vec!["b", "a"]][features as usize % 7].clone(),
        amount: i128::from(1 + amount % 19),
        starts_in: match start % 6 {
            4 => -(start % 7),
            5 => 1 + start % 7,
            _ => 0,
        },
        lasts: (life % 3 > 0).then_some(1 + life % 11),
        unpaid: payment >= 200,
    }
}

pub fn specs() -> impl Strategy<Value = Spec> {
    any::<[u8; 7]>().prop_map(spec)
}

pub fn step([gap, kind, dice @ ..]: [u8; 9]) -> Step {
    let [first, second, third, fourth, ..] = dice;
    let pick = usize::from(second % 12);
    let op = match kind % 21 {
        0..6 => Op::Add(spec(dice)),
        6..13 => Op::Draw {
            cost: i128::from(first % 31),
            feature: [None, None, Some("a"), Some("b"), Some("c")][usize::from(second % 5)],
            cap: third % 2 == 1,
            late: i64::from(fourth % 3),
        },
        13..15 => Op::Overdraft((second % 5 < 4).then_some(i128::from(first % 25))),
        15..17 => Op::Void { pick, amount: (third % 2 == 0).then_some(i128::from(1 + first % 19)) },
        17..19 => Op::Confirm { pick },
        19 => Op::Hold { pick, amount: i128::from(1 + first % 9) },
        _ => Op::Freeze(first % 3 == 1),
    };
    let gap = [0, 0, 0, 0, 0, 1, 2, 3, 1, 4 + i64::from(gap % 11)][usize::from(gap % 10)];
    (gap, op)
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<[u8; 9]>().prop_map(step), 1..25)
}

/// What one credit is: from the smallest amount to nearly the largest.
pub fn units() -> impl Strategy<Value = i128> {
    prop_oneof![Just(1_i128), Just(10_i128.pow(12)), Just(10_i128.pow(18)), Just(10_i128.pow(34)), 1..10_i128.pow(20)]
}

impl Spec {
    pub fn lot(&self, id: i64, now: i64) -> Lot {
        let starts = now + self.starts_in;
        Lot {
            id,
            priority: self.priority,
            category: self.category,
            features: self.features.clone(),
            amount: self.amount,
            consumed: 0,
            held: 0,
            expired: 0,
            voided: 0,
            state: Status::Scheduled,
            paid: !self.unpaid,
            counted: false,
            starts,
            ends: self.lasts.map(|ticks| starts.max(now) + ticks),
            made: now,
            origin: None,
        }
    }
}

impl Lot {
    pub fn grant(&self, unit: i128) -> Grant {
        let credits = |count: i128| Amount::from_raw(count * unit);
        let features: Vec<String> = self.features.iter().map(|name| name.to_string()).collect();
        Grant {
            features: (!features.is_empty()).then_some(features),
            consumed: credits(self.consumed),
            held: credits(self.held),
            expired: credits(self.expired),
            voided: credits(self.voided),
            status: self.state,
            unpaid: !self.paid,
            expires_at: tick_or_never(self.ends),
            ..Grant::new(
                self.id,
                credits(self.amount),
                self.category,
                self.priority,
                tick(self.starts),
                tick(self.made),
            )
        }
    }
}

/// Who makes the operations: the time, the size of a credit and the number of grants made before.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub now: i64,
    pub unit: i128,
    pub made: i64,
}

impl Caller {
    /// One of the grants made so far, or the next, which is unknown.
    pub fn picked(&self, pick: usize) -> i64 {
        1 + pick as i64 % (self.made + 1)
    }

    fn credits(&self, count: i128) -> Amount {
        Amount::from_raw(count * self.unit)
    }

    pub fn on_wallet(&self, wallet: &mut Wallet, op: &Op) -> Result<Outcome, Refusal> {
        let now = tick(self.now);
        match op {
            Op::Add(spec) => {
                let grant = spec.lot(self.made + 1, self.now).grant(self.unit);
                wallet.add(grant, spec.unpaid, now).map(Outcome::Added)
            }
            Op::Draw { cost, feature, cap, late } => {
                let mode = if *cap { OnInsufficient::Cap } else { OnInsufficient::Reject };
                wallet.draw(self.credits(*cost), *feature, mode, tick(self.now - late)).map(Outcome::Drawn)
            }
            Op::Overdraft(limit) => {
                wallet.overdraft = limit.map_or(Limit::Unlimited, |limit| Limit::Finite(self.credits(limit)));
                Ok(Outcome::Done)
            }
            Op::Freeze(frozen) => {
                wallet.frozen = *frozen;
                Ok(Outcome::Done)
            }
            Op::Void { pick, amount } => {
                let amount = amount.map(|amount| self.credits(amount));
                wallet.void(self.picked(*pick), amount, now).map(Outcome::Voided)
            }
            Op::Confirm { pick } => wallet.confirm(self.picked(*pick), now).map(Outcome::Confirmed),
            Op::Hold { pick, amount } => {
                hold(wallet, self.picked(*pick), self.credits(*amount), now);
                Ok(Outcome::Done)
            }
        }
    }

    pub fn on_model(&self, model: &mut Model, op: &Op) -> Result<Outcome, Refusal> {
        match op {
            Op::Add(spec) => Ok(Outcome::Added(model.add(spec.lot(self.made + 1, self.now)))),
            Op::Draw { cost, feature, cap, late } => {
                model.draw(*cost, *feature, *cap, self.now - late).map(Outcome::Drawn)
            }
            Op::Overdraft(limit) => {
                model.overdraft = *limit;
                Ok(Outcome::Done)
            }
            Op::Freeze(frozen) => {
                model.frozen = *frozen;
                Ok(Outcome::Done)
            }
            Op::Void { pick, amount } => model.void(self.picked(*pick), *amount).map(Outcome::Voided),
            Op::Confirm { pick } => model.confirm(self.picked(*pick)).map(Outcome::Confirmed),
            Op::Hold { pick, amount } => {
                model.hold(self.picked(*pick), *amount);
                Ok(Outcome::Done)
            }
        }
    }
}

/// Wallets do not hold yet, but they load grants with holds: this stands in for what will make them.
pub fn hold(wallet: &mut Wallet, id: i64, part: Amount, now: Instant) {
    let Some(grant) = wallet.grants.iter_mut().find(|g| g.id == id) else { return };
    if part > grant.available() {
        return;
    }
    let minus = |from: Amount| Amount::from_raw(from.raw() - part.raw());
    grant.held = grant.held.checked_add(part).unwrap();
    grant.dirty = true;
    if grant.is_restricted() {
        wallet.figures.restricted = minus(wallet.figures.restricted);
    }
    wallet.figures.held = wallet.figures.held.checked_add(part).unwrap();
    wallet.figures.balance = minus(wallet.figures.balance);
    wallet.seq += 1;
    wallet.entries.push(Entry {
        seq: wallet.seq,
        kind: EntryType::Update,
        amount: -part,
        balance_after: wallet.figures.balance,
        grant_id: Some(id),
        reservation: None,
        effective_at: now,
        reason: None,
        change: Default::default(),
    });
}
