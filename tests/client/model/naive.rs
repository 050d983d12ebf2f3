//! The rules of a pool once more, as plainly as possible and straight from the contract (sections 2, 4 and 10): lists and
//! loops, no cleverness, nothing taken from the extension. Amounts count in hundredths, time in minutes. Holds are in
//! holds.rs, what goes back in reversal.rs.

use crate::holds::{Hold, Usage};
use std::collections::BTreeSet;

pub type Amount = i128;
pub type Minute = i64;

#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// The server's id; the model only carries it.
    pub id: i64,
    pub amount: Amount,
    pub consumed: Amount,
    pub expired: Amount,
    pub voided: Amount,
    /// What holds keep of it.
    pub held: Amount,
    pub category: &'static str,
    pub priority: i64,
    pub start: Minute,
    pub end: Option<Minute>,
    pub created: Minute,
    pub unpaid: bool,
    pub was_unpaid: bool,
    /// It has begun to count.
    pub begun: bool,
    /// Its end has come and is booked.
    pub ended: bool,
    /// It was voided as a whole: what still comes back is voided, too.
    pub void: bool,
    /// Something came back after it was over.
    pub late: bool,
    /// None: for every feature.
    pub features: Option<BTreeSet<usize>>,
}

impl Grant {
    pub fn remaining(&self) -> Amount {
        self.amount - self.consumed - self.expired - self.voided
    }

    pub fn available(&self) -> Amount {
        if self.begun && !self.ended { self.remaining() - self.held } else { 0 }
    }

    /// It can neither be drawn from any more nor be changed.
    pub fn is_over(&self) -> bool {
        self.ended || self.void || self.remaining() == 0
    }

    fn serves(&self, feature: Option<usize>) -> bool {
        match &self.features {
            None => true,
            Some(features) => feature.is_some_and(|feature| features.contains(&feature)),
        }
    }

    /// The words that the view may show: one, but where the contract does not say which of two comes first.
    pub fn status(&self, now: Minute) -> Vec<&'static str> {
        if self.void {
            return if self.ended || self.late { vec!["voided", "expired"] } else { vec!["voided"] };
        }
        if self.ended && self.held > 0 {
            return vec!["expired"];
        }
        if self.remaining() > 0 {
            return match (self.unpaid, self.begun) {
                (true, _) if self.start > now => vec!["pending_payment", "scheduled"],
                (true, _) => vec!["pending_payment"],
                (false, false) => vec!["scheduled"],
                (false, true) => vec!["active"],
            };
        }
        let mut words = Vec::new();
        if self.expired > 0 && !self.late {
            // What expiry took was the last of it, hence no doubt.
            return vec!["expired"];
        }
        if self.voided > 0 {
            words.push("voided");
        }
        if self.consumed > 0 {
            words.push("depleted");
        }
        if self.late || self.end.is_some_and(|end| end <= now) {
            words.push("expired");
        }
        words
    }
}

/// One row of the ledger that has an effect, or announces one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub kind: &'static str,
    pub amount: Amount,
    pub grant: Option<i64>,
    /// When it counts; None where the contract leaves it open.
    pub at: Option<Minute>,
    /// Rows of one group may come in any order among themselves.
    pub group: usize,
}

/// Charged or held at an instant; or given back (a negative amount) of what was charged or held earlier.
#[derive(Clone, Debug)]
pub struct Spending {
    pub at: Minute,
    pub since: Minute,
    pub amount: Amount,
}

#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// None: without end.
    pub floor_below_zero: Option<Amount>,
    pub frozen: bool,
    pub debt: Amount,
    pub grants: Vec<Grant>,
    pub holds: Vec<Hold>,
    /// The debt that grants have paid, in that order, as far as it was not undone.
    pub settlements: Vec<(usize, Amount)>,
    pub usages: Vec<Usage>,
    /// What limits count.
    pub spending: Vec<Spending>,
    pub ledger: Vec<Entry>,
    /// Rows are booked in any order for now.
    pub any_order: bool,
    pub group: usize,
}

pub struct Taken {
    pub consumed: Amount,
    pub shortfall: Amount,
    /// Which grants (by place) or, without one, the debt; in order.
    pub draws: Vec<(Option<usize>, Amount)>,
}

/// PC001's figures.
#[derive(Debug)]
pub struct Refused {
    pub balance: Amount,
    pub floor: Amount,
    pub shortfall: Amount,
}

impl Pool {
    pub fn balance(&self) -> Amount {
        self.grants.iter().map(Grant::available).sum::<Amount>() - self.debt - self.unbacked()
    }

    /// What holds keep of the overdraft.
    pub fn unbacked(&self) -> Amount {
        self.holds.iter().flat_map(|hold| &hold.parts).filter(|(grant, _)| grant.is_none()).map(|(_, part)| part).sum()
    }

    pub fn held(&self) -> Amount {
        self.holds.iter().map(Hold::held).sum()
    }

    pub fn book(&mut self, kind: &'static str, amount: Amount, place: Option<usize>, at: Option<Minute>) {
        if !self.any_order {
            self.group += 1;
        }
        let grant = place.map(|place| self.grants[place].id);
        self.ledger.push(Entry { kind, amount, grant, at, group: self.group });
    }

    pub fn in_any_order(&mut self, work: impl FnOnce(&mut Pool)) {
        self.group += 1;
        self.any_order = true;
        work(self);
        self.any_order = false;
    }

    pub fn restricted(&self) -> Amount {
        self.grants.iter().filter(|grant| grant.features.is_some()).map(Grant::available).sum()
    }

    /// When the next credits expire that are there now, and how many.
    pub fn next_expiry(&self) -> Option<(Minute, Amount)> {
        let end = self.grants.iter().filter(|grant| grant.available() > 0).filter_map(|grant| grant.end).min()?;
        let amount = self.grants.iter().filter(|grant| grant.end == Some(end)).map(Grant::available).sum();
        Some((end, amount))
    }

    /// Lets time pass: each instant at which something is due, one after the other.
    pub fn advance(&mut self, now: Minute) {
        loop {
            let holds = self.holds.iter().filter(|hold| hold.is_open()).map(|hold| hold.ends);
            let ends = self.grants.iter().filter(|grant| !grant.ended).filter_map(|grant| grant.end);
            let starts = self
                .grants
                .iter()
                .filter(|grant| !grant.begun && !grant.ended && !grant.unpaid)
                .map(|grant| grant.start);
            let Some(instant) = holds.chain(ends).chain(starts).filter(|instant| *instant <= now).min() else {
                return;
            };
            // Holds end before grants do, expiry comes before new grants, these before the settlement of debt.
            self.in_any_order(|pool| pool.time_out(instant));
            self.in_any_order(|pool| {
                for place in 0..pool.grants.len() {
                    if !pool.grants[place].ended && pool.grants[place].end.is_some_and(|end| end <= instant) {
                        pool.expire(place, Some(instant));
                        pool.grants[place].ended = true;
                    }
                }
            });
            self.in_any_order(|pool| {
                for place in 0..pool.grants.len() {
                    let grant = &pool.grants[place];
                    if !grant.begun && !grant.ended && !grant.unpaid && grant.start <= instant {
                        pool.begin(place, Some(instant));
                    }
                }
            });
            self.settle(Some(instant));
        }
    }

    /// Takes what is neither used nor held; what never counted goes without a row.
    fn expire(&mut self, place: usize, at: Option<Minute>) {
        let grant = &mut self.grants[place];
        let rest = grant.remaining() - grant.held;
        grant.expired += rest;
        if grant.begun && rest > 0 {
            self.book("expire", -rest, Some(place), at);
        }
    }

    /// What has come back to this grant: it stays where the grant is still there.
    pub fn take_back(&mut self, place: usize, part: Amount, at: Option<Minute>) {
        let grant = &mut self.grants[place];
        if grant.void {
            grant.voided += part;
            self.book("void", -part, Some(place), at);
        } else if grant.ended {
            grant.expired += part;
            self.book("expire", -part, Some(place), at);
        }
    }

    fn begin(&mut self, place: usize, at: Option<Minute>) {
        let grant = &mut self.grants[place];
        grant.begun = true;
        let amount = grant.remaining();
        if amount > 0 {
            self.book("grant", amount, Some(place), at);
        }
    }

    /// Debt is paid first, in order of consumption, never by credits for some features only.
    pub fn settle(&mut self, at: Option<Minute>) {
        for place in self.order(None) {
            let grant = &mut self.grants[place];
            let part = self.debt.min(grant.available());
            if part > 0 {
                grant.consumed += part;
                self.debt -= part;
                match self.settlements.last_mut() {
                    Some((last, sum)) if *last == place => *sum += part,
                    _ => self.settlements.push((place, part)),
                }
                self.book("debt_settle", part, None, at);
                self.book("debt_settle", -part, Some(place), at);
            }
        }
    }

    /// The order of consumption: places of the grants that a usage of this feature may touch.
    pub fn order(&self, feature: Option<usize>) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.grants.len())
            .filter(|place| self.grants[*place].available() > 0 && self.grants[*place].serves(feature))
            .collect();
        places.sort_by_key(|place| {
            let grant = &self.grants[*place];
            (
                grant.priority,
                grant.features.is_none(),
                grant.end.unwrap_or(Minute::MAX),
                grant.category != "promotional",
                grant.start,
                grant.created,
                *place,
            )
        });
        places
    }

    pub fn grant(&mut self, mut grant: Grant, now: Minute) {
        grant.created = now;
        let counts = !grant.unpaid && grant.start <= now;
        self.grants.push(grant);
        let place = self.grants.len() - 1;
        if !counts {
            self.book("schedule", 0, Some(place), None);
        }
        if counts {
            // Whether a start in the past counts then or now is not laid down.
            let at = (self.grants[place].start == now).then_some(now);
            self.begin(place, at);
            self.settle(at);
        }
    }

    pub fn confirm(&mut self, place: usize, now: Minute) {
        self.grants[place].unpaid = false;
        if self.grants[place].start <= now {
            self.begin(place, None);
            self.settle(None);
        }
    }

    /// As a whole (None): what is free goes now, what is held when it comes back.
    pub fn void(&mut self, place: usize, amount: Option<Amount>) -> Amount {
        let grant = &mut self.grants[place];
        let free = grant.remaining() - grant.held;
        let part = amount.unwrap_or(free);
        grant.voided += part;
        grant.void = amount.is_none() || grant.remaining() == 0;
        let begun = grant.begun;
        if grant.void {
            // Nothing is left to begin or to end.
            grant.ended = grant.ended || !begun;
        }
        if begun && part > 0 {
            self.book("void", -part, Some(place), None);
        }
        part
    }

    /// What a usage or hold may touch, and how much of it fits (None: any amount).
    pub fn room(&self, feature: Option<usize>) -> (Amount, Option<Amount>) {
        let within: Amount = self.order(feature).iter().map(|place| self.grants[*place].available()).sum();
        let balance = within - self.debt - self.unbacked();
        (balance, self.floor_below_zero.map(|floor| (balance + floor).max(0)))
    }

    pub fn refuse(&self, feature: Option<usize>, cost: Amount) -> Refused {
        let (balance, room) = self.room(feature);
        let floor = -self.floor_below_zero.unwrap_or(0);
        Refused { balance, floor, shortfall: cost - room.unwrap_or(0) }
    }

    /// `left`: what limits leave; with `cap` the usage is cut down to that, too.
    pub fn consume(
        &mut self,
        feature: Option<usize>,
        cost: Amount,
        cap: bool,
        left: Option<Amount>,
        (at, now): (Minute, Minute),
    ) -> Result<Taken, Refused> {
        let mut taken = cost;
        if let Some(room) = self.room(feature).1
            && room < cost
        {
            if !cap {
                return Err(self.refuse(feature, cost));
            }
            taken = room;
        }
        if cap && let Some(left) = left {
            taken = taken.min(left.max(0));
        }
        let draws = self.draw(feature, taken, at);
        self.spending.push(Spending { at: now, since: now, amount: taken });
        Ok(Taken { consumed: taken, shortfall: cost - taken, draws })
    }

    /// Of what was charged or held at `since`: it counts no more where that is in the same window.
    pub fn give_back_spending(&mut self, since: Minute, at: Minute, amount: Amount) {
        self.spending.push(Spending { at, since, amount: -amount });
    }

    pub fn spent(&self, from: Minute, to: Minute) -> Amount {
        let window = from..to;
        let counts = |spending: &&Spending| window.contains(&spending.at) && window.contains(&spending.since);
        self.spending.iter().filter(counts).map(|spending| spending.amount).sum()
    }

    /// From the grants in order, beyond them as debt.
    pub fn draw(&mut self, feature: Option<usize>, amount: Amount, at: Minute) -> Vec<(Option<usize>, Amount)> {
        let mut draws = Vec::new();
        let mut open = amount;
        for place in self.order(feature) {
            let grant = &mut self.grants[place];
            let part = open.min(grant.available());
            if part > 0 {
                grant.consumed += part;
                open -= part;
                draws.push((Some(place), part));
                self.book("consume", -part, Some(place), Some(at));
            }
        }
        if open > 0 {
            self.debt += open;
            draws.push((None, open));
            self.book("debt", -open, None, Some(at));
        }
        draws
    }

    /// Takes an amount out in order of consumption: of which grant how much. Never limited credits, never the overdraft.
    pub fn move_out(&mut self, amount: Amount) -> Result<Vec<(usize, Amount)>, Refused> {
        let balance = self.room(None).0;
        if balance < amount {
            return Err(Refused { balance, floor: 0, shortfall: amount - balance });
        }
        let mut moved = Vec::new();
        let mut open = amount;
        for place in self.order(None) {
            let grant = &mut self.grants[place];
            let part = open.min(grant.available());
            if part > 0 {
                grant.voided += part;
                open -= part;
                moved.push((place, part));
                self.book("transfer_out", -part, Some(place), None);
            }
        }
        Ok(moved)
    }

    pub fn move_in(&mut self, grant: Grant) {
        let amount = grant.amount;
        self.grants.push(Grant { begun: true, ..grant });
        self.book("transfer_in", amount, Some(self.grants.len() - 1), None);
    }
}
