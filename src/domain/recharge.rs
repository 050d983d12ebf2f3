//! Whether a pool recharges, by how much, and if not, why.

use crate::{Amount, minor_digits};

/// How much one recharge brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Up to this balance.
    Target(Amount),
    Fixed(Amount),
}

#[derive(Clone, Debug)]
pub struct PolicyRules {
    pub enabled: bool,
    pub threshold: Amount,
    pub size: Size,
    pub price_per_credit: Option<Amount>,
    pub currency: Option<String>,
    pub max_spend: Option<Amount>,
    pub max_count: Option<i64>,
    /// Decimal places of the credit type.
    pub scale: u32,
}

/// The pool that is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct PoolView {
    pub balance: Amount,
    /// The amount of the recharge in flight, if there is one.
    pub in_flight: Option<Amount>,
    pub cooling_down: bool,
    pub breaker_open: bool,
}

/// What the policy's pools have spent together in the current period.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spending {
    pub spent: Amount,
    pub count: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    Disabled,
    Breaker,
    Pending,
    Cooldown,
    CountLimit,
    SpendLimit,
}

impl SkipReason {
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::Disabled => "disabled",
            SkipReason::Breaker => "breaker",
            SkipReason::Pending => "pending",
            SkipReason::Cooldown => "cooldown",
            SkipReason::CountLimit => "count_limit",
            SkipReason::SpendLimit => "spend_limit",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub amount: Amount,
    pub price: Option<Amount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not below the threshold, pending credits counted.
    Enough,
    Skip(SkipReason),
    Recharge(Attempt),
}

impl PolicyRules {
    /// `spending` is asked for only when nothing else stands in the way: reading it takes the lock that
    /// the pools of a limited policy share.
    pub fn decide<E>(&self, pool: PoolView, spending: impl FnOnce() -> Result<Spending, E>) -> Result<Decision, E> {
        let in_flight = pool.in_flight.unwrap_or(Amount::ZERO);
        if pool.balance.checked_add(in_flight).is_none_or(|sum| sum >= self.threshold) {
            return Ok(Decision::Enough);
        }
        let blocked = [
            (!self.enabled, SkipReason::Disabled),
            (pool.breaker_open, SkipReason::Breaker),
            (pool.in_flight.is_some(), SkipReason::Pending),
            (pool.cooling_down, SkipReason::Cooldown),
        ];
        if let Some((_, reason)) = blocked.into_iter().find(|(applies, _)| *applies) {
            return Ok(Decision::Skip(reason));
        }
        let amount = match self.size {
            Size::Fixed(amount) => amount,
            // The gap is positive: the balance is below the threshold, and the target above it.
            Size::Target(target) => match target.checked_sub(pool.balance) {
                Some(gap) => gap,
                None => return Ok(Decision::Enough),
            },
        };
        let Some(price) = self.price(amount) else {
            // More money than can be counted: never credits for nothing instead.
            return Ok(Decision::Skip(SkipReason::SpendLimit));
        };
        if self.max_spend.is_none() && self.max_count.is_none() {
            return Ok(Decision::Recharge(Attempt { amount, price }));
        }
        let spending = spending()?;
        if self.max_count.is_some_and(|max| spending.count >= max) {
            return Ok(Decision::Skip(SkipReason::CountLimit));
        }
        Ok(match self.within_spend(Attempt { amount, price }, spending.spent) {
            Some(attempt) => Decision::Recharge(attempt),
            None => Decision::Skip(SkipReason::SpendLimit),
        })
    }

    /// Cuts an attempt to what the spend limit leaves; nothing where it leaves nothing.
    fn within_spend(&self, attempt: Attempt, spent: Amount) -> Option<Attempt> {
        let (Some(limit), Some(per_credit), Some(full)) = (self.max_spend, self.price_per_credit, attempt.price) else {
            return Some(attempt);
        };
        let left = limit.checked_sub(spent)?;
        if !left.is_positive() {
            return None;
        }
        if full <= left {
            return Some(attempt);
        }
        let cut = left.divide_floor(per_credit, self.scale)?.min(attempt.amount);
        let price = self.price(cut)??.min(left);
        cut.is_positive().then_some(Attempt { amount: cut, price: Some(price) })
    }

    /// Whether any recharge of this policy would bring credits for a price that rounds to no money at all.
    pub fn is_for_nothing(&self) -> bool {
        let smallest = match self.size {
            Size::Fixed(amount) => Some(amount),
            Size::Target(target) => target.checked_sub(self.threshold),
        };
        let price = smallest.and_then(|amount| self.price(amount)).flatten();
        self.price_per_credit.is_some_and(Amount::is_positive) && price.is_some_and(Amount::is_zero)
    }

    /// Rounded half away from zero to the currency's minor unit; `None` beyond what an amount can carry.
    fn price(&self, amount: Amount) -> Option<Option<Amount>> {
        let Some(per_credit) = self.price_per_credit else { return Some(None) };
        let digits = minor_digits(self.currency.as_deref().unwrap_or_default());
        amount.multiply_rounded(per_credit, digits).filter(|price| price.within_outside_limit()).map(Some)
    }
}

/// The parts of a limit, in percent, whose passing is told.
const MARKS: [i64; 3] = [80, 90, 100];

/// The marks of a limit that are passed on the way from `before` to `after`.
pub fn marks_passed(before: Amount, after: Amount, limit: Amount) -> Vec<i64> {
    let reached = |used: Amount, mark: i64| {
        limit.percent_floor(Amount::from_units(mark), crate::MAX_SCALE).is_some_and(|at| used >= at)
    };
    MARKS.into_iter().filter(|mark| !reached(before, *mark) && reached(after, *mark)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    fn policy() -> PolicyRules {
        PolicyRules {
            enabled: true,
            threshold: amount("100"),
            size: Size::Target(amount("500")),
            price_per_credit: Some(amount("0.01")),
            currency: Some("USD".into()),
            max_spend: None,
            max_count: None,
            scale: 0,
        }
    }

    fn pool(balance: &str) -> PoolView {
        PoolView { balance: amount(balance), in_flight: None, cooling_down: false, breaker_open: false }
    }

    fn decide(policy: &PolicyRules, pool: PoolView, spending: Spending) -> Decision {
        policy.decide(pool, || Ok::<_, ()>(spending)).unwrap()
    }

    #[test]
    fn fires_strictly_below_the_threshold_and_closes_the_gap() {
        let none = Spending::default();
        assert_eq!(decide(&policy(), pool("100"), none), Decision::Enough);
        let expected = Attempt { amount: amount("401"), price: Some(amount("4.01")) };
        assert_eq!(decide(&policy(), pool("99"), none), Decision::Recharge(expected));
        let Decision::Recharge(in_debt) = decide(&policy(), pool("-50"), none) else { panic!() };
        assert_eq!(in_debt.amount, amount("550"));
    }

    #[test]
    fn what_is_in_flight_counts_and_blocks() {
        let waiting = |amount_text| PoolView { in_flight: Some(amount(amount_text)), ..pool("50") };
        assert_eq!(decide(&policy(), waiting("50"), Spending::default()), Decision::Enough);
        assert_eq!(decide(&policy(), waiting("49"), Spending::default()), Decision::Skip(SkipReason::Pending));
    }

    #[test]
    fn the_spend_limit_cuts_and_then_skips() {
        let policy = PolicyRules { max_spend: Some(amount("10")), ..policy() };
        let spent = |text| Spending { spent: amount(text), count: 1 };
        let cut = Attempt { amount: amount("100"), price: Some(amount("1")) };
        assert_eq!(decide(&policy, pool("0"), spent("9")), Decision::Recharge(cut));
        assert_eq!(decide(&policy, pool("0"), spent("10")), Decision::Skip(SkipReason::SpendLimit));
    }

    #[test]
    fn no_credits_for_no_money() {
        let tiny = PolicyRules { price_per_credit: Some(amount("0.000012")), ..policy() };
        assert!(tiny.is_for_nothing()); // 400 x 0.000012 = 0.0048
        assert!(!PolicyRules { price_per_credit: Some(amount("0.0000125")), ..policy() }.is_for_nothing());
        assert!(!PolicyRules { price_per_credit: Some(Amount::ZERO), ..policy() }.is_for_nothing());
        assert!(!PolicyRules { price_per_credit: None, ..policy() }.is_for_nothing());
        let dear = PolicyRules { price_per_credit: Some(amount("999999999999999999")), ..policy() };
        assert_eq!(decide(&dear, pool("0"), Spending::default()), Decision::Skip(SkipReason::SpendLimit));
    }

    #[test]
    fn marks_are_told_when_they_are_reached() {
        let passed = |before, after| marks_passed(amount(before), amount(after), amount("10"));
        assert_eq!(passed("0", "7.99"), Vec::<i64>::new());
        assert_eq!(passed("7.99", "8"), [80]);
        assert_eq!(passed("8", "8.5"), Vec::<i64>::new());
        assert_eq!(passed("5", "10"), [80, 90, 100]);
        assert_eq!(passed("9", "10"), [100]);
    }

    #[test]
    fn every_obstacle_has_its_reason() {
        let off = PolicyRules { enabled: false, ..policy() };
        let counted = PolicyRules { max_count: Some(2), ..policy() };
        let broken = PoolView { breaker_open: true, ..pool("0") };
        let cooling = PoolView { cooling_down: true, ..pool("0") };
        let two = Spending { spent: Amount::ZERO, count: 2 };
        for (policy, pool, reason) in [
            (&off, pool("0"), SkipReason::Disabled),
            (&policy(), broken, SkipReason::Breaker),
            (&policy(), cooling, SkipReason::Cooldown),
            (&counted, pool("0"), SkipReason::CountLimit),
        ] {
            assert_eq!(decide(policy, pool, two), Decision::Skip(reason));
        }
    }
}
