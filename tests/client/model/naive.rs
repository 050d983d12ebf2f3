//! The rules of a pool once more, as plainly as possible and straight from the contract (sections 2, 4 and 10): lists and
//! loops, no cleverness, nothing taken from the extension. Amounts count in hundredths, time in minutes.

use std::collections::BTreeSet;

pub type Amount = i128;
pub type Minute = i64;

#[derive(Clone, Debug)]
pub struct Grant {
    /// The server's id; the model only carries it.
    pub id: i64,
    pub amount: Amount,
    pub consumed: Amount,
    pub expired: Amount,
    pub voided: Amount,
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
    /// None: for every feature.
    pub features: Option<BTreeSet<usize>>,
}

impl Grant {
    pub fn remaining(&self) -> Amount {
        self.amount - self.consumed - self.expired - self.voided
    }

    pub fn available(&self) -> Amount {
        if self.begun && !self.ended { self.remaining() } else { 0 }
    }

    fn serves(&self, feature: Option<usize>) -> bool {
        match &self.features {
            None => true,
            Some(features) => feature.is_some_and(|feature| features.contains(&feature)),
        }
    }

    /// The words that the view may show: one, but where the contract does not say which of two comes first.
    pub fn status(&self, now: Minute) -> Vec<&'static str> {
        if self.remaining() > 0 {
            return match (self.unpaid, self.begun) {
                (true, _) if self.start > now => vec!["pending_payment", "scheduled"],
                (true, _) => vec!["pending_payment"],
                (false, false) => vec!["scheduled"],
                (false, true) => vec!["active"],
            };
        }
        let mut words = Vec::new();
        if self.expired > 0 {
            // What expiry took was the last of it, hence no doubt.
            return vec!["expired"];
        }
        if self.voided > 0 {
            words.push("voided");
        }
        if self.consumed > 0 {
            words.push("depleted");
        }
        if self.end.is_some_and(|end| end <= now) {
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
}

#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// None: without end.
    pub floor_below_zero: Option<Amount>,
    pub frozen: bool,
    pub debt: Amount,
    pub grants: Vec<Grant>,
    pub ledger: Vec<Entry>,
    pub used: Amount,
    pub usages: usize,
}

pub struct Taken {
    pub consumed: Amount,
    pub shortfall: Amount,
}

/// PC001's figures.
pub struct Refused {
    pub balance: Amount,
    pub floor: Amount,
    pub shortfall: Amount,
}

impl Pool {
    pub fn balance(&self) -> Amount {
        self.grants.iter().map(Grant::available).sum::<Amount>() - self.debt
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
            let ends = self.grants.iter().filter(|grant| !grant.ended).filter_map(|grant| grant.end);
            let starts = self
                .grants
                .iter()
                .filter(|grant| !grant.begun && !grant.ended && !grant.unpaid)
                .map(|grant| grant.start);
            let Some(instant) = ends.chain(starts).filter(|instant| *instant <= now).min() else {
                return;
            };
            // Expiry comes before new grants, these before the settlement of debt.
            for grant in &mut self.grants {
                if !grant.ended && grant.end.is_some_and(|end| end <= instant) {
                    let rest = grant.remaining();
                    if grant.begun && rest > 0 {
                        self.ledger.push(Entry {
                            kind: "expire",
                            amount: -rest,
                            grant: Some(grant.id),
                            at: Some(instant),
                        });
                    }
                    grant.expired += rest;
                    grant.ended = true;
                }
            }
            for place in 0..self.grants.len() {
                let grant = &self.grants[place];
                if !grant.begun && !grant.ended && !grant.unpaid && grant.start <= instant {
                    self.begin(place, Some(instant));
                }
            }
            self.settle(Some(instant));
        }
    }

    fn begin(&mut self, place: usize, at: Option<Minute>) {
        let grant = &mut self.grants[place];
        grant.begun = true;
        if grant.remaining() > 0 {
            self.ledger.push(Entry { kind: "grant", amount: grant.remaining(), grant: Some(grant.id), at });
        }
    }

    /// Debt is paid first, in order of consumption, never by credits for some features only.
    fn settle(&mut self, at: Option<Minute>) {
        for place in self.order(None) {
            let grant = &mut self.grants[place];
            let part = self.debt.min(grant.available());
            if part > 0 {
                grant.consumed += part;
                self.debt -= part;
                self.ledger.push(Entry { kind: "debt_settle", amount: part, grant: None, at });
                self.ledger.push(Entry { kind: "debt_settle", amount: -part, grant: Some(grant.id), at });
            }
        }
    }

    /// The order of consumption: places of the grants that a usage of this feature may touch.
    fn order(&self, feature: Option<usize>) -> Vec<usize> {
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
        if !counts {
            self.ledger.push(Entry { kind: "schedule", amount: 0, grant: Some(grant.id), at: None });
        }
        self.grants.push(grant);
        if counts {
            let place = self.grants.len() - 1;
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

    pub fn void(&mut self, place: usize, amount: Amount) {
        let grant = &mut self.grants[place];
        let effect = if grant.begun { -amount } else { 0 };
        grant.voided += amount;
        if grant.remaining() == 0 {
            // Nothing is left to begin or to end.
            grant.ended = grant.ended || !grant.begun;
        }
        if effect != 0 {
            self.ledger.push(Entry { kind: "void", amount: effect, grant: Some(grant.id), at: None });
        }
    }

    pub fn consume(&mut self, feature: Option<usize>, cost: Amount, cap: bool, at: Minute) -> Result<Taken, Refused> {
        let order = self.order(feature);
        let within: Amount = order.iter().map(|place| self.grants[*place].available()).sum();
        let balance = within - self.debt;
        let room = self.floor_below_zero.map(|floor| (balance + floor).max(0));
        let taken = match room {
            Some(room) if room < cost => {
                if !cap {
                    let floor = -self.floor_below_zero.unwrap_or(0);
                    return Err(Refused { balance, floor, shortfall: cost - room });
                }
                room
            }
            _ => cost,
        };
        let mut open = taken;
        for place in order {
            let grant = &mut self.grants[place];
            let part = open.min(grant.available());
            if part > 0 {
                grant.consumed += part;
                open -= part;
                self.ledger.push(Entry { kind: "consume", amount: -part, grant: Some(grant.id), at: Some(at) });
            }
        }
        if open > 0 {
            self.debt += open;
            self.ledger.push(Entry { kind: "debt", amount: -open, grant: None, at: Some(at) });
        }
        self.used += taken;
        self.usages += 1;
        Ok(Taken { consumed: taken, shortfall: cost - taken })
    }
}
