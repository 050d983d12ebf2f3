//! Random operations on a pool, carried out on a `Wallet` or on the model.

use std::ops::Range;
use std::rc::Rc;

use proptest::prelude::*;

use super::model::{Held, Lot, Model, runs};
use crate::{
    Amount, Category, Drawn, DrawnPart, Entry, EntryType, Grant, HeldPart, Hold, Instant, Limit, OnInsufficient,
    PaidDebt, Refusal, Status, Wallet,
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
    Draw {
        cost: i128,
        feature: Option<&'static str>,
        cap: bool,
        late: i64,
    },
    Overdraft(Option<i128>),
    Freeze(bool),
    Void {
        pick: usize,
        amount: Option<i128>,
    },
    Confirm {
        pick: usize,
    },
    /// Priority and end, counted from now.
    Update {
        pick: usize,
        priority: Option<i16>,
        ends_in: Option<i64>,
    },
    Ceiling(Option<i128>),
    /// To another pool.
    Transfer {
        amount: i128,
    },
    Reserve {
        cost: i128,
        feature: Option<&'static str>,
        lasts: i64,
    },
    /// `None`: all that is held.
    Settle {
        pick: usize,
        charge: Option<i128>,
        close: bool,
    },
    Release {
        pick: usize,
    },
    Extend {
        pick: usize,
        lasts: i64,
    },
    /// `None`: all that is left.
    Reverse {
        pick: usize,
        credits: Option<i128>,
    },
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
    Moved(Vec<Amount>),
    Released(Amount),
    Extended(bool),
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
    let feature = [None, None, Some("a"), Some("b"), Some("c")][usize::from(second % 5)];
    let (hold, lasts) = (usize::from(second % 5), 1 + i64::from(third % 8));
    let op = match kind % 36 {
        0..7 => Op::Add(spec(dice)),
        7..13 => Op::Draw { cost: i128::from(first % 31), feature, cap: third % 2 == 1, late: i64::from(fourth % 3) },
        13..15 => Op::Overdraft((second % 5 < 4).then_some(i128::from(first % 25))),
        15..17 => Op::Void { pick, amount: (third % 2 == 0).then_some(i128::from(1 + first % 19)) },
        17..19 => Op::Confirm { pick },
        19 => Op::Update {
            pick,
            priority: (first < 192).then_some(i16::from(first % 101)),
            ends_in: (third % 3 > 0).then_some(lasts),
        },
        20..24 => Op::Reserve { cost: i128::from(first % 25), feature, lasts },
        24..28 => {
            Op::Settle { pick: hold, charge: (third % 4 > 0).then_some(i128::from(first % 25)), close: fourth % 3 > 0 }
        }
        28 | 29 => Op::Release { pick: hold },
        30 => Op::Extend { pick: hold, lasts },
        31..34 => Op::Reverse { pick, credits: (third % 2 == 0).then_some(i128::from(1 + first % 19)) },
        34 if fourth % 2 == 0 => Op::Transfer { amount: i128::from(1 + first % 25) },
        34 => Op::Ceiling((second % 3 == 0).then_some(i128::from(first % 25))),
        _ => Op::Freeze(first % 3 == 1),
    };
    let gap = [0, 0, 0, 0, 0, 1, 2, 3, 1, 4 + i64::from(gap % 11)][usize::from(gap % 10)];
    (gap, op)
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<[u8; 9]>().prop_map(step), 1..30)
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

/// What a pool's ledger and tables tell of earlier calls.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// What each hold was made for.
    holds: Vec<Option<&'static str>>,
    /// Of each usage that took credits its entries, and those of the calls that reversed it.
    usages: Vec<Vec<Range<usize>>>,
}

impl Past {
    /// `own`: the entries of the call, those of the clock not among them.
    pub fn note(&mut self, op: &Op, outcome: &Result<Outcome, Refusal>, entries: &[Entry], own: Range<usize>) {
        match (op, outcome) {
            (Op::Reserve { feature, .. }, Ok(_)) => self.holds.push(*feature),
            (Op::Reverse { pick, .. }, Ok(_)) if !self.usages.is_empty() => {
                let usage = self.picked(*pick);
                self.usages[usage].push(own);
            }
            (Op::Draw { .. } | Op::Settle { .. }, Ok(_)) if entries[own.clone()].iter().any(|e| e.kind.is_usage()) => {
                self.usages.push(vec![own]);
            }
            _ => {}
        }
    }

    fn picked(&self, pick: usize) -> usize {
        pick % self.usages.len()
    }

    /// What a usage drew, less what has been reversed of it.
    pub fn drawn(&self, entries: &[Entry], usage: usize) -> Vec<DrawnPart> {
        let mut calls = self.usages[usage].iter().map(|own| &entries[own.clone()]);
        let drawn = calls.next().unwrap().iter().filter(|entry| entry.kind.is_usage());
        let mut parts: Vec<_> = drawn.map(|e| DrawnPart { grant_id: e.grant_id, left: -e.amount }).collect();
        for entry in calls.flatten().filter(|entry| entry.kind == EntryType::Reverse) {
            let mut rest = entry.amount.raw();
            for part in parts.iter_mut().rev().filter(|part| part.grant_id == entry.grant_id) {
                let undone = rest.min(part.left.raw());
                part.left = Amount::from_raw(part.left.raw() - undone);
                rest -= undone;
            }
        }
        parts
    }

    /// The debt that grants have paid and that was not undone, latest first.
    pub fn paid(entries: &[Entry]) -> Vec<PaidDebt> {
        let mut paid: Vec<PaidDebt> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind == EntryType::DebtSettle) {
            match entry.grant_id {
                Some(grant_id) if entry.amount.is_negative() => paid.push(PaidDebt { grant_id, amount: -entry.amount }),
                Some(grant_id) => {
                    let last = paid.last_mut().unwrap();
                    assert_eq!(last.grant_id, grant_id, "not the latest payment");
                    last.amount = last.amount.checked_sub(entry.amount).unwrap();
                    paid.retain(|payment| payment.amount.is_positive());
                }
                None => {}
            }
        }
        paid.reverse();
        paid
    }
}

pub fn hold_id(number: usize) -> Rc<str> {
    format!("hold {number}").into()
}

impl Held {
    pub fn hold(&self, number: usize, unit: i128) -> Hold {
        let part = |(grant_id, count)| HeldPart { grant_id, amount: Amount::from_raw(count * unit) };
        Hold {
            id: hold_id(number),
            status: self.state,
            parts: runs(&self.credits).into_iter().map(part).collect(),
            expires_at: tick(self.ends),
            created_at: tick(self.made),
            closed_at: self.closed.map(tick),
            charged: Amount::from_raw(self.charged * unit),
            fresh: false,
            dirty: false,
        }
    }
}

/// Who makes the operations: the time, the size of a credit, the number of grants made before, and what else was.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub now: i64,
    pub unit: i128,
    pub made: i64,
    pub past: &'a Past,
}

impl Caller<'_> {
    /// One of the grants made so far, or the next, which is unknown.
    pub fn picked(&self, pick: usize) -> i64 {
        1 + pick as i64 % (self.made + 1)
    }

    /// One of the holds made so far, or the next, which is unknown.
    pub fn picked_hold(&self, pick: usize) -> Rc<str> {
        hold_id(pick % (self.past.holds.len() + 1))
    }

    /// What there is to reverse, if there is a usage: of it, and of the debt that was paid.
    pub fn reversible(&self, wallet: &Wallet, pick: usize) -> Option<(Vec<DrawnPart>, Vec<PaidDebt>)> {
        let usage = (!self.past.usages.is_empty()).then(|| self.past.picked(pick))?;
        Some((self.past.drawn(&wallet.entries, usage), Past::paid(&wallet.entries)))
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
            Op::Update { pick, priority, ends_in } => {
                let ends = ends_in.map(|ticks| tick(self.now + ticks));
                wallet.update(self.picked(*pick), *priority, ends, now).map(|()| Outcome::Done)
            }
            Op::Ceiling(left) => {
                wallet.ceiling = left.map(|left| self.credits(left));
                Ok(Outcome::Done)
            }
            Op::Transfer { amount } => {
                let moved = wallet.transfer(self.credits(*amount), &mut || -1, now)?;
                Ok(Outcome::Moved(moved.iter().map(|grant| grant.amount).collect()))
            }
            Op::Reserve { cost, feature, lasts } => {
                let (id, ends) = (hold_id(self.past.holds.len()), tick(self.now + lasts));
                wallet.reserve(&id, self.credits(*cost), *feature, ends, now).map(|()| Outcome::Done)
            }
            Op::Settle { pick, charge, close } => {
                let id = self.picked_hold(*pick);
                let held = wallet.find_hold(&id).map_or(Amount::ZERO, Hold::held);
                let charge = charge.map_or(held, |charge| self.credits(charge));
                let feature = self.past.holds.get(pick % (self.past.holds.len() + 1)).copied().flatten();
                undone_if_refused(wallet, |wallet| wallet.settle(&id, charge, feature, *close, now)).map(Outcome::Drawn)
            }
            Op::Release { pick } => wallet.release(&self.picked_hold(*pick), now).map(Outcome::Released),
            Op::Extend { pick, lasts } => {
                wallet.extend(&self.picked_hold(*pick), tick(self.now + lasts), now).map(Outcome::Extended)
            }
            Op::Reverse { pick, credits } => {
                let Some((parts, paid)) = self.reversible(wallet, *pick) else { return Ok(Outcome::Done) };
                let left = Amount::from_raw(parts.iter().map(|part| part.left.raw()).sum());
                let credits = credits.map_or(left, |credits| self.credits(credits).min(left));
                wallet.reverse(&parts, &paid, credits, now).map(|()| Outcome::Done)
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
            Op::Update { pick, priority, ends_in } => {
                let ends = ends_in.map(|ticks| self.now + ticks);
                model.update(self.picked(*pick), *priority, ends).map(|()| Outcome::Done)
            }
            Op::Ceiling(left) => {
                model.ceiling = *left;
                Ok(Outcome::Done)
            }
            Op::Transfer { amount } => model.transfer(*amount).map(Outcome::Moved),
            Op::Reserve { cost, feature, lasts } => {
                model.reserve(*cost, *feature, self.now + lasts).map(|()| Outcome::Done)
            }
            Op::Settle { pick, charge, close } => {
                model.settle_hold(pick % (model.holds.len() + 1), *charge, *close).map(Outcome::Drawn)
            }
            Op::Release { pick } => model.release(pick % (model.holds.len() + 1)).map(Outcome::Released),
            Op::Extend { pick, lasts } => {
                model.extend(pick % (model.holds.len() + 1), self.now + lasts).map(Outcome::Extended)
            }
            Op::Reverse { pick, credits } => {
                if let Some(usage) = pick.checked_rem(model.usages.len()) {
                    model.reverse(usage, *credits);
                }
                Ok(Outcome::Done)
            }
        }
    }
}

/// A call that fails half-way is undone by the database; one that asks for more grants goes on with the same wallet.
fn undone_if_refused<T>(
    wallet: &mut Wallet,
    call: impl FnOnce(&mut Wallet) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let before = wallet.clone();
    let outcome = call(wallet);
    if outcome.as_ref().is_err_and(|refusal| *refusal != Refusal::NeedsAllGrants) {
        *wallet = before;
    }
    outcome
}
