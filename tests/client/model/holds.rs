//! Holds in the naive model (contract sections 5 and 10): a list of parts, each of a grant or of the overdraft.

use crate::naive::{Amount, Minute, Pool, Refused, Spending};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Active,
    Settled,
    Released,
    Expired,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Settled => "settled",
            State::Released => "released",
            State::Expired => "expired",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Hold {
    pub id: String,
    pub state: State,
    pub feature: Option<usize>,
    /// The price of the moment at which it was made, in thousandths.
    pub rate: i128,
    pub amount: Amount,
    pub charged: Amount,
    pub made: Minute,
    pub ends: Minute,
    /// What is held: of which grant (by place), or of the overdraft; in order of consumption.
    pub parts: Vec<(Option<usize>, Amount)>,
}

impl Hold {
    pub fn is_open(&self) -> bool {
        self.state == State::Active
    }

    pub fn held(&self) -> Amount {
        self.parts.iter().map(|(_, part)| part).sum()
    }
}

/// A usage, and what it drew, as far as it was not reversed: of which grant, or as debt; in order.
#[derive(Clone, Debug)]
pub struct Usage {
    pub id: i64,
    pub feature: Option<usize>,
    pub value: Option<i128>,
    pub credits: Amount,
    pub reversed: Amount,
    pub draws: Vec<(Option<usize>, Amount)>,
    pub occurred: Minute,
    /// Since when how much of it counts for limits, as far as it was not reversed; in the order of the draws.
    pub counted: Vec<(Minute, Amount)>,
    /// Of its value: what a lower total has not taken back.
    pub value_left: i128,
    /// A lower total took some of it back.
    pub lowered: bool,
}

impl Usage {
    pub fn new(
        id: i64,
        feature: Option<usize>,
        value: Option<i128>,
        credits: Amount,
        (at, now): (Minute, Minute),
    ) -> Self {
        Usage {
            id,
            feature,
            value,
            credits,
            reversed: 0,
            draws: Vec::new(),
            occurred: at,
            counted: vec![(now, credits)],
            value_left: value.unwrap_or(0),
            lowered: false,
        }
    }
}

impl Pool {
    pub fn reserve(
        &mut self,
        id: String,
        feature: Option<usize>,
        rate: i128,
        cost: Amount,
        ends: Minute,
        now: Minute,
    ) -> Result<(), Refused> {
        if self.room(feature).1.is_some_and(|room| room < cost) {
            return Err(self.refuse(feature, cost));
        }
        let mut parts = Vec::new();
        let mut open = cost;
        for place in self.order(feature) {
            let part = open.min(self.grants[place].available());
            if part > 0 {
                self.grants[place].held += part;
                open -= part;
                parts.push((Some(place), part));
            }
        }
        if open > 0 {
            parts.push((None, open));
        }
        for (place, part) in &parts {
            self.book("reserve", -part, *place, Some(now));
        }
        self.holds.push(Hold {
            id,
            state: State::Active,
            feature,
            rate,
            amount: cost,
            charged: 0,
            made: now,
            ends,
            parts,
        });
        self.spending.push(Spending { at: now, since: now, amount: cost });
        Ok(())
    }

    /// All holds whose time is over.
    pub fn time_out(&mut self, instant: Minute) {
        for number in 0..self.holds.len() {
            if self.holds[number].is_open() && self.holds[number].ends <= instant {
                self.holds[number].state = State::Expired;
                self.give_back_spending(self.holds[number].made, self.holds[number].ends, self.holds[number].held());
                let parts = std::mem::take(&mut self.holds[number].parts);
                self.give_back("reservation_expire", &parts, instant);
            }
        }
    }

    pub fn release(&mut self, number: usize, now: Minute) {
        self.holds[number].state = State::Released;
        self.give_back_spending(self.holds[number].made, now, self.holds[number].held());
        let parts = std::mem::take(&mut self.holds[number].parts);
        self.in_any_order(|pool| pool.give_back("release", &parts, now));
        self.settle(Some(now));
    }

    fn give_back(&mut self, kind: &'static str, parts: &[(Option<usize>, Amount)], at: Minute) {
        for (place, part) in parts {
            if let Some(place) = place {
                self.grants[*place].held -= part;
            }
            self.book(kind, *part, *place, Some(at));
        }
        for (place, part) in parts {
            if let Some(place) = place {
                self.take_back(*place, *part, Some(at));
            }
        }
    }

    /// Charges a part of what is held, or all of it, to the grants that back it. Always fits.
    pub fn settle_hold(
        &mut self,
        number: usize,
        within: Amount,
        last: bool,
        now: Minute,
    ) -> Vec<(Option<usize>, Amount)> {
        let feature = self.holds[number].feature;
        // What is charged within the hold counts where the hold was made.
        if last {
            self.give_back_spending(self.holds[number].made, now, self.holds[number].held() - within);
        }
        let (mut charge, mut back, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let mut open = within;
        for (place, part) in std::mem::take(&mut self.holds[number].parts) {
            let now_charged = open.min(part);
            open -= now_charged;
            if now_charged > 0 {
                charge.push((place, now_charged));
            }
            if part > now_charged {
                let rest = (place, part - now_charged);
                if last { back.push(rest) } else { kept.push(rest) }
            }
        }
        self.holds[number].parts = kept;
        // All that leaves the hold: a row for each grant, in the hold's order.
        let mut leaving: Vec<(Option<usize>, Amount)> = Vec::new();
        for (place, part) in charge.iter().chain(&back) {
            match leaving.last_mut() {
                Some((same, sum)) if same == place => *sum += part,
                _ => leaving.push((*place, *part)),
            }
        }
        for (place, part) in &leaving {
            if let Some(place) = place {
                self.grants[*place].held -= part;
            }
            self.book("release", *part, *place, Some(now));
        }
        let mut draws = Vec::new();
        for (place, part) in charge {
            match place {
                Some(place) => {
                    self.grants[place].consumed += part;
                    draws.push((Some(place), part));
                    self.book("consume", -part, Some(place), Some(now));
                }
                // Held on the overdraft: by now there may be credits.
                None => draws.extend(self.draw(feature, part, now)),
            }
        }
        self.in_any_order(|pool| {
            for (place, part) in back {
                if let Some(place) = place {
                    pool.take_back(place, part, Some(now));
                }
            }
        });
        self.settle(Some(now));
        if last {
            self.holds[number].state = State::Settled;
        }
        draws
    }
}
