//! Alerts over a pool's life, against a count of its crossings.

use proptest::prelude::*;

use super::cases;
use crate::{Alerts, Amount, Standing};

fn units(number: i64) -> Amount {
    Amount::from_units(number)
}

proptest! {
    #![proptest_config(cases(2000))]

    /// Each level is told of once for each stretch below it that began at or above it.
    #[test]
    fn once_per_crossing(
        levels in prop::collection::vec(0..60_i64, 0..5),
        balances in prop::collection::vec(-20..80_i64, 2..40),
    ) {
        let alerts = Alerts::new(levels.iter().map(|level| units(*level)).collect(), Vec::new());
        let standing = |balance: &i64| Standing { balance: units(*balance), granted: Amount::ZERO };
        let mut told: Vec<i64> = Vec::new();
        for pair in balances.windows(2) {
            let crossed = alerts.crossed(standing(&pair[0]), standing(&pair[1]));
            prop_assert!(crossed.windows(2).all(|two| two[0].at > two[1].at), "highest first");
            told.extend(crossed.iter().map(|level| levels.iter().copied().find(|l| units(*l) == level.at).unwrap()));
        }
        for level in &levels {
            // Naively: a letter per balance, b for below.
            let letters: String = balances.iter().map(|b| if b < level { 'b' } else { 'a' }).collect();
            prop_assert_eq!(told.iter().filter(|l| *l == level).count(), letters.matches("ab").count());
        }
    }

    /// A percentage is a level that moves with what is granted: the same as levels of its own before and after.
    #[test]
    fn a_percentage_is_its_share(
        percent in 1..=100_i64,
        (was, is) in (1..500_i64, 1..500_i64),
        (before, after) in (-50..500_i64, -50..500_i64),
    ) {
        let alerts = Alerts::new(Vec::new(), vec![units(percent)]);
        let crossed = alerts.crossed(
            Standing { balance: units(before), granted: units(was) },
            Standing { balance: units(after), granted: units(is) },
        );
        // In hundredths, so that nothing is rounded.
        let fell = 100 * before >= percent * was && 100 * after < percent * is;
        prop_assert_eq!(crossed.len(), usize::from(fell));
        for level in crossed {
            prop_assert_eq!(level.at, Amount::from_scaled(i128::from(percent * is), 2).unwrap());
        }
    }
}
