//! Decisions on recharges, one after another under one policy.

use proptest::prelude::*;

use super::cases;
use crate::{Amount, Attempt, Decision, PolicyRules, PoolView, Size, SkipReason, Spending, minor_digits};

const CURRENCIES: [&str; 4] = ["USD", "JPY", "KWD", "CLF"];

fn scaled(mantissa: i128, scale: u32) -> Amount {
    Amount::from_scaled(mantissa, scale).unwrap()
}

/// Policies that the API lets through: a target above the threshold, a spend limit only with a price.
fn policies() -> impl Strategy<Value = PolicyRules> {
    let sizes = (any::<bool>(), 1..100_000_i128);
    let price = prop::option::weighted(0.8, (1..3000_i128, 0..7_u32));
    let limits = (prop::option::of(0..200_000_i128), prop::option::of(0..12_i64));
    (0..=6_u32, 0..50_000_i128, sizes, price, 0..CURRENCIES.len(), limits, prop::bool::weighted(0.9)).prop_map(
        |(scale, threshold, (fixed, size), price, currency, (max_spend, max_count), enabled)| {
            let currency = CURRENCIES[currency];
            let max_spend = max_spend.filter(|_| price.is_some());
            PolicyRules {
                enabled,
                threshold: scaled(threshold, scale),
                size: if fixed {
                    Size::Fixed(scaled(size, scale))
                } else {
                    Size::Target(scaled(threshold + size, scale))
                },
                price_per_credit: price.map(|(mantissa, places)| scaled(mantissa, places)),
                currency: price.map(|_| currency.to_string()),
                max_spend: max_spend.map(|minor| scaled(minor, minor_digits(currency))),
                max_count,
                scale,
            }
        },
    )
}

#[derive(Clone, Copy, Debug)]
struct Look {
    balance: i128,
    in_flight: Option<i128>,
    cooling_down: bool,
    breaker_open: bool,
}

fn looks() -> impl Strategy<Value = Look> {
    let rarely = || prop::bool::weighted(0.1);
    (-50_000..60_000_i128, prop::option::weighted(0.15, 1..50_000_i128), rarely(), rarely()).prop_map(
        |(balance, in_flight, cooling_down, breaker_open)| Look { balance, in_flight, cooling_down, breaker_open },
    )
}

impl Look {
    fn view(self, scale: u32) -> PoolView {
        PoolView {
            balance: scaled(self.balance, scale),
            in_flight: self.in_flight.map(|amount| scaled(amount, scale)),
            cooling_down: self.cooling_down,
            breaker_open: self.breaker_open,
        }
    }

    fn is_clear(self) -> bool {
        self.in_flight.is_none() && !self.cooling_down && !self.breaker_open
    }
}

fn decide(policy: &PolicyRules, pool: PoolView, spending: Spending) -> Decision {
    policy.decide(pool, || Ok::<_, ()>(spending)).unwrap()
}

/// Credits times price, compared without rounding.
fn costs_at_most(credits: Amount, price: Amount, money: Amount) -> bool {
    let wide = |amount: Amount| ethnum::I256::from(amount.raw());
    wide(credits) * wide(price) <= wide(money) * wide(Amount::ONE)
}

/// One step of the credit type.
fn step(policy: &PolicyRules) -> Amount {
    scaled(1, policy.scale)
}

/// What the policy asks for before any limit.
fn wanted(policy: &PolicyRules, balance: Amount) -> Amount {
    match policy.size {
        Size::Fixed(amount) => amount,
        Size::Target(target) => Amount::from_raw(target.raw() - balance.raw()),
    }
}

fn assert_attempt(policy: &PolicyRules, pool: PoolView, spending: Spending, attempt: Attempt) {
    assert!(policy.enabled && pool.balance < policy.threshold, "fires at or above the threshold");
    assert!(pool.in_flight.is_none() && !pool.cooling_down && !pool.breaker_open);
    assert!(policy.max_count.is_none_or(|max| spending.count < max));
    let wanted = wanted(policy, pool.balance);
    assert!(attempt.amount.is_positive() && attempt.amount <= wanted);
    assert!(attempt.amount.decimals() <= policy.scale);
    let Some(per_credit) = policy.price_per_credit else {
        assert_eq!((attempt.amount, attempt.price), (wanted, None));
        return;
    };
    let minor = minor_digits(policy.currency.as_deref().unwrap());
    let price = attempt.price.unwrap();
    assert!(!price.is_negative() && price.decimals() <= minor);
    // Within half a minor unit of the exact price.
    let off = |minors: i128| Amount::from_raw(2 * price.raw() + minors * 10_i128.pow(18 - minor));
    let twice = Amount::from_raw(2 * attempt.amount.raw());
    assert!(
        costs_at_most(twice, per_credit, off(1))
            && !costs_at_most(twice, per_credit, Amount::from_raw(off(-1).raw() - 1))
    );
    let Some(limit) = policy.max_spend else {
        assert_eq!(attempt.amount, wanted);
        return;
    };
    let left = Amount::from_raw(limit.raw() - spending.spent.raw());
    assert!(price <= left, "spends more than is left");
    if attempt.amount < wanted {
        assert!(costs_at_most(attempt.amount, per_credit, left));
        let more = Amount::from_raw(attempt.amount.raw() + step(policy).raw());
        assert!(!costs_at_most(more, per_credit, left), "cut further than to what is left");
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn a_sequence_stays_within_the_limits(policy in policies(), looks in prop::collection::vec(looks(), 1..40)) {
        let mut spending = Spending::default();
        for look in looks {
            let pool = look.view(policy.scale);
            let pending = look.in_flight.unwrap_or(0);
            match decide(&policy, pool, spending) {
                Decision::Recharge(attempt) => {
                    assert_attempt(&policy, pool, spending, attempt);
                    spending.count += 1;
                    spending.spent = spending.spent.checked_add(attempt.price.unwrap_or(Amount::ZERO)).unwrap();
                }
                Decision::Enough => prop_assert!(scaled(look.balance + pending, policy.scale) >= policy.threshold),
                Decision::Skip(reason) => {
                    prop_assert!(scaled(look.balance + pending, policy.scale) < policy.threshold);
                    let applies = match reason {
                        SkipReason::Disabled => !policy.enabled,
                        SkipReason::Breaker => look.breaker_open,
                        SkipReason::Pending => look.in_flight.is_some(),
                        SkipReason::Cooldown => look.cooling_down,
                        SkipReason::CountLimit => policy.max_count == Some(spending.count),
                        SkipReason::SpendLimit => {
                            // Not one step of credits fits into what is left.
                            let left = policy.max_spend.unwrap().checked_sub(spending.spent).unwrap();
                            let least = step(&policy).min(wanted(&policy, pool.balance));
                            left.is_zero() || !costs_at_most(least, policy.price_per_credit.unwrap(), left)
                        }
                    };
                    prop_assert!(applies, "{reason:?}");
                }
            }
            prop_assert!(policy.max_spend.is_none_or(|limit| spending.spent <= limit));
            prop_assert!(policy.max_count.is_none_or(|limit| spending.count <= limit));
        }
    }

    /// "Nothing left = skipped", also where a limit was lowered below what is spent.
    #[test]
    fn nothing_left_is_skipped(policy in policies(), look in looks(), beyond in 0..3_i128) {
        let Some(limit) = policy.max_spend else { return Ok(()) };
        let spending = Spending { spent: Amount::from_raw(limit.raw() + beyond * Amount::ONE.raw()), count: 0 };
        let decision = decide(&policy, look.view(policy.scale), spending);
        prop_assert!(!matches!(decision, Decision::Recharge(_)), "{decision:?} with nothing left");
    }

    /// The spending is locked for reading: only where there is a limit and nothing else stands in the way.
    #[test]
    fn spending_is_read_only_when_it_decides(policy in policies(), look in looks()) {
        let pool = look.view(policy.scale);
        let mut asked = false;
        let decision = policy.decide(pool, || {
            asked = true;
            Ok::<_, ()>(Spending::default())
        });
        let low = pool.balance < policy.threshold;
        let limited = policy.max_spend.is_some() || policy.max_count.is_some();
        prop_assert_eq!(asked, low && policy.enabled && look.is_clear() && limited, "{:?}", decision);
        let failed = policy.decide(pool, || Err::<Spending, _>("locked"));
        prop_assert_eq!(failed.is_err(), asked);
    }
}
