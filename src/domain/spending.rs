//! Spending limits: what a pool or a customer may use per calendar window.

use crate::{Amount, Instant};

/// A limit and what counts under it in its present window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendingLimit {
    pub amount: Amount,
    pub window_start: Instant,
    pub window_end: Instant,
    pub used: Amount,
}

impl SpendingLimit {
    /// What may still be used in the window.
    pub fn left(&self) -> Amount {
        self.amount.checked_sub(self.used).unwrap_or(Amount::ZERO).max(Amount::ZERO)
    }

    /// Begins a new window, if `window` is another than the present one.
    pub fn enter(&mut self, window: (Instant, Instant)) {
        if (self.window_start, self.window_end) != window {
            (self.window_start, self.window_end) = window;
            self.used = Amount::ZERO;
        }
    }

    pub fn spend(&mut self, amount: Amount) {
        self.used = self.used.checked_add(amount).unwrap_or(self.used);
    }

    /// Takes back what was counted at `since`; what was counted in a window that is over is over with it.
    pub fn unspend(&mut self, amount: Amount, since: Instant) {
        if since >= self.window_start {
            self.used = self.used.checked_sub(amount).unwrap_or(Amount::ZERO).max(Amount::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Instant {
        Instant::from_micros(day * 86_400_000_000)
    }

    #[test]
    fn a_window_forgets_the_one_before() {
        let units = Amount::from_units;
        let mut limit = SpendingLimit { amount: units(100), window_start: at(0), window_end: at(30), used: units(0) };
        limit.spend(units(70));
        assert_eq!(limit.left(), units(30));
        limit.unspend(units(20), at(3));
        assert_eq!(limit.left(), units(50));
        limit.enter((at(0), at(30)));
        assert_eq!(limit.used, units(50));
        limit.enter((at(30), at(60)));
        assert_eq!(limit.left(), units(100));
        limit.spend(units(60));
        // Counted in the window before: nothing to take back.
        limit.unspend(units(50), at(3));
        assert_eq!(limit.used, units(60));
        limit.spend(units(60));
        assert_eq!(limit.left(), units(0));
    }
}
