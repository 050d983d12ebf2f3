//! Balance alerts: levels that the balance of a pool may fall below.
//!
//! An alert fires at a crossing, from its level or above it to below it, and again only after the balance has been back.
//! Nothing but the balance before and after tells which: there is no state that could be wrong.

use crate::{Amount, MAX_SCALE};

/// The levels of a pool, each kind in descending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    thresholds: Vec<Amount>,
    percents: Vec<Amount>,
}

/// A pool as alerts see it. `granted` is what percents are of; only needed where there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Standing {
    pub balance: Amount,
    pub granted: Amount,
}

/// A level that was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub at: Amount,
    pub share: Option<Share>,
}

/// How a level came of a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub percent: Amount,
    pub granted: Amount,
}

impl Alerts {
    pub fn new(thresholds: Vec<Amount>, percents: Vec<Amount>) -> Alerts {
        Alerts { thresholds: descending(thresholds), percents: descending(percents) }
    }

    pub fn thresholds(&self) -> &[Amount] {
        &self.thresholds
    }

    pub fn percents(&self) -> &[Amount] {
        &self.percents
    }

    /// The levels that the balance has fallen below, highest first.
    pub fn crossed(&self, before: Standing, after: Standing) -> Vec<Level> {
        if self.is_above_all(after) {
            return Vec::new();
        }
        let absolute = self.thresholds.iter().map(|at| (Some(*at), Level { at: *at, share: None }));
        let relative = self.percents.iter().filter_map(|percent| {
            let level = |granted| Some((share(granted, *percent)?, Share { percent: *percent, granted }));
            let was = level(before.granted);
            // With nothing granted any more, it is what there was that has been lost.
            let (at, share) = level(after.granted).or(was)?;
            Some((was.map(|(at, _)| at), Level { at, share: Some(share) }))
        });
        let fell = |(was, level): &(Option<Amount>, Level)| {
            was.is_some_and(|was| before.balance >= was) && after.balance < level.at
        };
        let mut levels: Vec<Level> = absolute.chain(relative).filter(fell).map(|(_, level)| level).collect();
        levels.sort_by_key(|level| std::cmp::Reverse(level.at));
        levels
    }
}

impl Alerts {
    /// The usual case, at the price of the highest level of each kind.
    fn is_above_all(&self, standing: Standing) -> bool {
        let above = |level: Amount| standing.balance >= level;
        self.thresholds.first().is_none_or(|level| above(*level))
            && self.percents.first().is_none_or(|percent| share(standing.granted, *percent).is_some_and(above))
    }
}

fn descending(mut amounts: Vec<Amount>) -> Vec<Amount> {
    amounts.sort_by_key(|amount| std::cmp::Reverse(*amount));
    amounts.dedup();
    amounts
}

/// Nothing of nothing: a pool without grants is not low, it is empty.
fn share(granted: Amount, percent: Amount) -> Option<Amount> {
    granted.percent_floor(percent, MAX_SCALE).filter(|level| level.is_positive())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    fn alerts(thresholds: &[&str], percents: &[&str]) -> Alerts {
        let parse = |texts: &[&str]| texts.iter().map(|text| amount(text)).collect();
        Alerts::new(parse(thresholds), parse(percents))
    }

    fn crossed(alerts: &Alerts, before: (&str, &str), after: (&str, &str)) -> Vec<String> {
        let standing =
            |(balance, granted): (&str, &str)| Standing { balance: amount(balance), granted: amount(granted) };
        let levels = alerts.crossed(standing(before), standing(after));
        levels.iter().map(|level| level.at.to_string()).collect()
    }

    #[test]
    fn fires_strictly_below_and_once_per_crossing() {
        let alerts = alerts(&["100", "500", "100"], &[]);
        assert_eq!(alerts.thresholds(), [amount("500"), amount("100")]);
        assert_eq!(crossed(&alerts, ("600", "0"), ("500", "0")), Vec::<String>::new());
        assert_eq!(crossed(&alerts, ("500", "0"), ("499.5", "0")), ["500"]);
        assert_eq!(crossed(&alerts, ("499.5", "0"), ("100", "0")), Vec::<String>::new());
        assert_eq!(crossed(&alerts, ("500", "0"), ("-3", "0")), ["500", "100"]);
        assert_eq!(crossed(&alerts, ("0", "0"), ("50", "0")), Vec::<String>::new());
    }

    #[test]
    fn percents_are_of_what_is_granted_then() {
        let alerts = alerts(&["150"], &["20", "12.5", "100"]);
        assert_eq!(crossed(&alerts, ("1000", "1000"), ("999", "1000")), ["1000"]);
        assert_eq!(crossed(&alerts, ("999", "1000"), ("120", "1000")), ["200", "150", "125"]);
        // More is granted: the level rises over the balance only where it was not below its level before.
        assert_eq!(crossed(&alerts, ("300", "1000"), ("390", "2000")), ["400"]);
        assert_eq!(crossed(&alerts, ("100", "1000"), ("390", "2000")), Vec::<String>::new());
        // Nothing granted: nothing to be below of, unless there just was.
        assert_eq!(crossed(&alerts, ("0", "0"), ("-1", "0")), Vec::<String>::new());
        assert_eq!(crossed(&alerts, ("140", "1000"), ("0", "0")), ["125"]);
        assert_eq!(crossed(&alerts, ("0", "0"), ("400", "400")), Vec::<String>::new());
    }
}
