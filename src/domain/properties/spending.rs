//! Spending limits against a list of all that was ever charged.

use proptest::prelude::*;

use super::cases;
use super::operations::tick;
use crate::{Amount, SpendingLimit};

proptest! {
    #![proptest_config(cases(2_000))]

    /// "Counts what is charged and held in the window in which it was; what comes back in the same window counts no
    /// more." Windows follow each other without a gap.
    #[test]
    fn a_limit_counts_what_its_window_charged(
        steps in prop::collection::vec((0..7_i64, any::<bool>(), any::<prop::sample::Index>(), 1..20_i128), 1..30),
        most in 0..50_i128,
        length in 1..20_i64,
    ) {
        let credits = Amount::from_raw;
        let (mut limit, mut now) =
            (SpendingLimit { amount: credits(most), window_start: tick(0), window_end: tick(length), used: credits(0) }, 0);
        let mut charged: Vec<(i64, i128)> = Vec::new();
        for (gap, back, which, amount) in steps {
            now += gap;
            let start = now / length * length;
            limit.enter((tick(start), tick(start + length)));
            if back && !charged.is_empty() {
                let place = which.index(charged.len());
                let (since, left) = &mut charged[place];
                let amount = amount.min(*left);
                *left -= amount;
                limit.unspend(credits(amount), tick(*since));
            } else {
                limit.spend(credits(amount));
                charged.push((now, amount));
            }
            let used: i128 = charged.iter().filter(|(at, _)| *at >= start).map(|(_, amount)| amount).sum();
            prop_assert_eq!(limit.used, credits(used));
            prop_assert_eq!(limit.left(), credits((most - used).max(0)));
        }
    }
}
