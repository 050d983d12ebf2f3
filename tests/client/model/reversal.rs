//! What goes back, in the naive model (contract sections 5 and 10).

use crate::naive::{Amount, Minute, Pool};

impl Pool {
    /// Gives credits of a usage back, last drawn first. The amount is at most what is left to reverse.
    pub fn reverse(&mut self, usage: usize, amount: Amount, now: Minute) {
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
}
