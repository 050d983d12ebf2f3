//! What goes back, in the naive model (contract sections 5 and 10).

use crate::holds::Usage;
use crate::naive::{Amount, Minute, Pool};

impl Pool {
    /// Gives credits of a usage back, last drawn first. The amount is at most what is left to reverse.
    pub fn reverse(&mut self, usage: usize, amount: Amount, now: Minute) {
        let mut uncounted = amount;
        while let Some((since, counted)) = self.usages[usage].counted.pop() {
            let part = uncounted.min(counted);
            uncounted -= part;
            self.give_back_spending(since, now, part);
            if counted > part {
                self.usages[usage].counted.push((since, counted - part));
                break;
            }
        }
        let mut open = amount;
        while open > 0 {
            let Some((place, drawn)) = self.usages[usage].draws.pop() else { return };
            let part = open.min(drawn);
            open -= part;
            self.usages[usage].reversed += part;
            if drawn > part {
                self.usages[usage].draws.push((place, drawn - part));
            }
            match place {
                Some(place) => {
                    self.grants[place].consumed -= part;
                    self.book("reverse", part, Some(place), Some(now));
                    self.expire_if_over(place, part, now);
                }
                None => self.reverse_debt(part, now),
            }
        }
        self.settle(Some(now));
    }

    /// Open debt shrinks; of paid debt the payments are undone, the latest first.
    fn reverse_debt(&mut self, amount: Amount, now: Minute) {
        let still_open = amount.min(self.debt);
        if still_open > 0 {
            self.debt -= still_open;
            self.book("reverse", still_open, None, Some(now));
        }
        let mut open = amount - still_open;
        while open > 0 {
            let Some((place, paid)) = self.settlements.pop() else { return };
            let part = open.min(paid);
            open -= part;
            if paid > part {
                self.settlements.push((place, paid - part));
            }
            self.grants[place].consumed -= part;
            self.in_any_order(|pool| {
                pool.book("debt_settle", part, Some(place), Some(now));
                pool.book("debt_settle", -part, None, Some(now));
                pool.book("reverse", part, None, Some(now));
                pool.expire_if_over(place, part, now);
            });
        }
    }

    /// What belongs to a grant that is no longer active expires at once.
    fn expire_if_over(&mut self, place: usize, part: Amount, now: Minute) {
        let grant = &mut self.grants[place];
        if grant.void || grant.ended {
            grant.late = true;
            grant.expired += part;
            self.book("expire", -part, Some(place), Some(now));
        }
    }

    /// What the feature has come to by its usages of a period; one that was taken back as a whole does not count.
    pub fn total(&self, feature: usize, from: Minute, to: Minute) -> i128 {
        let counts = |usage: &&Usage| {
            let gone = usage.credits > 0 && usage.reversed == usage.credits && !usage.lowered;
            usage.feature == Some(feature) && (from..to).contains(&usage.occurred) && !gone
        };
        self.usages.iter().filter(counts).filter_map(|usage| usage.value).sum()
    }

    /// A lower total: takes value back, the latest usage first, credits in proportion. Returns the credits; None where
    /// the contract does not say, since some of it was reversed by hand before.
    pub fn lower(&mut self, feature: usize, from: Minute, to: Minute, value: i128, now: Minute) -> Option<Amount> {
        let mut places: Vec<usize> = (0..self.usages.len())
            .filter(|place| {
                let usage = &self.usages[*place];
                usage.feature == Some(feature) && (from..to).contains(&usage.occurred) && usage.value_left > 0
            })
            .collect();
        places.sort_by_key(|place| (self.usages[*place].occurred, self.usages[*place].id));
        let (mut open, mut returned) = (value, 0);
        while open > 0 {
            let place = places.pop()?;
            let usage = &self.usages[place];
            if usage.reversed > 0 && !usage.lowered {
                if usage.reversed == usage.credits {
                    continue;
                }
                return None;
            }
            let part = open.min(usage.value_left);
            let credits = (usage.credits - usage.reversed) * part / usage.value_left;
            open -= part;
            returned += credits;
            self.reverse(place, credits, now);
            self.usages[place].value_left -= part;
            self.usages[place].lowered = true;
        }
        Some(returned)
    }
}
