//! Amounts against decimal text, calculated with digit by digit as at school.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::cases;
use crate::{Amount, AmountError, Limit, MAX_INTEGER_DIGITS};

/// All magnitudes alike, not only the largest.
fn raws() -> impl Strategy<Value = i128> {
    let any_size = (0..127_u32, any::<u128>(), any::<bool>()).prop_map(|(bits, random, negative)| {
        let magnitude = (random & ((1_u128 << bits) - 1)) as i128;
        if negative { -magnitude } else { magnitude }
    });
    let round = (-999..1000_i128, 0..36_u32).prop_map(|(digits, zeros)| digits * 10_i128.pow(zeros.min(35)));
    let near_half =
        (-99..100_i128, 0..34_u32, -1..=1_i128).prop_map(|(n, zeros, off)| (10 * n + 5) * 10_i128.pow(zeros) + off);
    let edge = (prop::sample::select(&[0, 1, 18, 19, 36, 38][..]), any::<bool>(), -1..=1_i128).prop_map(
        |(zeros, negative, off)| {
            let power = 10_i128.pow(zeros);
            off + if negative { -power } else { power }
        },
    );
    prop_oneof![4 => any_size, 2 => round, 2 => near_half, 1 => edge, 1 => -i128::MAX..=i128::MAX]
}

/// Below the limit for what comes from outside, at any scale.
fn outside() -> impl Strategy<Value = i128> {
    raws().prop_map(|raw| raw % 10_i128.pow(36))
}

/// Digits without leading zeros; nothing is the number zero.
fn trimmed(digits: &str) -> &str {
    digits.trim_start_matches('0')
}

fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (trimmed(a), trimmed(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn plus_one(digits: &str) -> String {
    match digits.strip_suffix('9') {
        Some(front) => plus_one(front) + "0",
        None if digits.is_empty() => "1".into(),
        None => {
            let (front, last) = digits.split_at(digits.len() - 1);
            format!("{front}{}", last.parse::<u8>().unwrap() + 1)
        }
    }
}

fn product(a: &str, b: &str) -> String {
    let mut columns = vec![0_u32; a.len() + b.len()];
    for (i, x) in a.bytes().rev().enumerate() {
        for (j, y) in b.bytes().rev().enumerate() {
            columns[i + j] += u32::from(x - b'0') * u32::from(y - b'0');
        }
    }
    let mut carry = 0;
    let mut digits = String::new();
    for column in columns {
        digits.insert(0, char::from_digit((column + carry) % 10, 10).unwrap());
        carry = (column + carry) / 10;
    }
    assert_eq!(carry, 0);
    digits
}

/// Drops the last `places` digits; away from zero where the first of them is a 5 or more.
fn without_last(digits: &str, places: usize) -> String {
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (kept, dropped) = digits.split_at(digits.len() - places);
    if dropped.starts_with(['5', '6', '7', '8', '9']) { plus_one(kept) } else { kept.to_string() }
}

fn magnitude(raw: i128) -> String {
    raw.unsigned_abs().to_string()
}

/// The sign of a product or a quotient.
fn sign(a: i128, b: i128) -> &'static str {
    if (a < 0) == (b < 0) { "" } else { "-" }
}

fn zeros(count: u32) -> String {
    "0".repeat(count as usize)
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn what_is_printed_reads_back(raw in raws()) {
        let amount = Amount::from_raw(raw);
        prop_assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
    }

    #[test]
    fn prints_the_shortest_text_of_the_value(raw in raws()) {
        let amount = Amount::from_raw(raw);
        let text = amount.to_string();
        let unsigned = text.strip_prefix('-').unwrap_or(&text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        prop_assert_eq!(text.starts_with('-'), raw < 0);
        prop_assert!(!whole.is_empty() && (whole == "0" || !whole.starts_with('0')));
        prop_assert!(!fraction.ends_with('0') && text.contains('.') != fraction.is_empty());
        let digits = format!("{whole}{fraction:0<18}");
        prop_assert_eq!(compare(&digits, &magnitude(raw)), Ordering::Equal);
        prop_assert_eq!(amount.decimals() as usize, fraction.len());
        prop_assert_eq!(amount.within_outside_limit(), whole.len() <= MAX_INTEGER_DIGITS as usize);
        prop_assert_eq!((amount.is_zero(), amount.is_positive(), amount.is_negative()), (raw == 0, raw > 0, raw < 0));
    }

    #[test]
    fn reads_with_idle_zeros_and_signs(raw in outside(), before in 0..40_u32, after in 0..40_u32) {
        let text = Amount::from_raw(raw).to_string();
        let (minus, digits) = text.strip_prefix('-').map_or(("", &text[..]), |digits| ("-", digits));
        let point = if digits.contains('.') { "" } else { "." };
        let dressed = format!("{minus}{}{digits}{point}{}", zeros(before), zeros(after));
        prop_assert_eq!(Amount::parse(&dressed), Ok(Amount::from_raw(raw)));
        if minus.is_empty() {
            prop_assert_eq!(Amount::parse(&format!("+{dressed}")), Ok(Amount::from_raw(raw)));
        }
    }

    #[test]
    fn nineteen_decimals_are_too_many(raw in outside(), last in 1..10_u8) {
        let text = Amount::from_raw(raw).to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let longer = format!("{whole}.{fraction:0<18}{last}");
        prop_assert_eq!(Amount::parse(&longer), Err(AmountError::TooManyDecimals));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-+]{0,2}[0-9eE.,_ ²٣]{0,45}|\\PC{0,12}") {
        if let Ok(amount) = Amount::parse(&text) {
            prop_assert!(text.chars().all(|c| c.is_ascii_digit() || "+-.".contains(c)), "{amount}");
            prop_assert!(text.chars().any(|c| c.is_ascii_digit()), "{amount}");
        }
        let _ = Limit::parse(&text);
    }

    #[test]
    fn is_ordered_by_value(a in raws(), b in raws()) {
        let expected = match (a < 0, b < 0) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => compare(&magnitude(a), &magnitude(b)),
            (true, true) => compare(&magnitude(b), &magnitude(a)),
        };
        prop_assert_eq!(Amount::from_raw(a).cmp(&Amount::from_raw(b)), expected);
    }

    #[test]
    fn sums_are_exact_or_refused(a in raws(), b in raws()) {
        let (x, y) = (Amount::from_raw(a), Amount::from_raw(b));
        match x.checked_add(y) {
            // At most 20 digits before the point and 18 behind it.
            Some(sum) => prop_assert!(sum.raw() == a + b && sum.raw().unsigned_abs() < 10_u128.pow(38)),
            None => prop_assert!(a.checked_add(b).is_none_or(|sum| sum.unsigned_abs() >= 10_u128.pow(38))),
        }
        prop_assert_eq!(x.checked_sub(y), x.checked_add(-y));
        prop_assert_eq!(x.checked_add(y), y.checked_add(x));
    }

    #[test]
    fn scaled_numbers_count_from_their_own_place(mantissa in raws(), scale in 0..25_u32) {
        let shifted = 18_u32.checked_sub(scale).and_then(|up| format!("{mantissa}{}", zeros(up)).parse().ok());
        prop_assert_eq!(Amount::from_scaled(mantissa, scale), shifted.map(Amount::from_raw));
    }

    #[test]
    fn multiplies_exactly_and_rounds_half_away_from_zero(a in raws(), b in raws(), scale in 0..=18_u32) {
        let rounded = without_last(&product(&magnitude(a), &magnitude(b)), (36 - scale) as usize);
        let expected: Option<i128> = format!("{}{rounded}{}", sign(a, b), zeros(18 - scale)).parse().ok();
        let found = Amount::from_raw(a).multiply_rounded(Amount::from_raw(b), scale);
        prop_assert_eq!(found.map(Amount::raw), expected);
    }

    /// The quotient is the largest whose product with the divisor is not above the dividend.
    #[test]
    fn divides_toward_zero(a in raws(), b in raws(), scale in 0..=18_u32) {
        let quotient = Amount::from_raw(a).divide_floor(Amount::from_raw(b), scale);
        if b == 0 {
            prop_assert_eq!(quotient, None);
            return Ok(());
        }
        let dividend = magnitude(a) + &zeros(scale);
        let fits = |quotient: &str| compare(&product(quotient, &magnitude(b)), &dividend).is_le();
        let step = 10_i128.pow(18 - scale);
        match quotient.map(Amount::raw) {
            Some(raw) => {
                prop_assert_eq!(raw % step, 0);
                prop_assert!(raw == 0 || (raw < 0) == (sign(a, b) == "-"));
                let steps = magnitude(raw / step);
                prop_assert!(fits(&steps) && !fits(&plus_one(&steps)));
            }
            None => prop_assert!(fits(&plus_one(&magnitude(i128::MAX / step)))),
        }
    }

    /// The share is the largest whose product with the whole is not above the part's.
    #[test]
    fn shares_are_cut_toward_zero(a in raws(), part in raws(), whole in raws(), scale in 0..=18_u32) {
        let share = Amount::from_raw(a).share_floor(Amount::from_raw(part), Amount::from_raw(whole), scale);
        if whole == 0 {
            prop_assert_eq!(share, None);
            return Ok(());
        }
        let dividend = product(&magnitude(a), &magnitude(part));
        let step = 10_i128.pow(18 - scale);
        let fits = |steps: &str| compare(&product(&product(steps, &magnitude(step)), &magnitude(whole)), &dividend).is_le();
        match share.map(Amount::raw) {
            Some(raw) => {
                prop_assert_eq!(raw % step, 0);
                prop_assert!(raw == 0 || (raw < 0) == ((a < 0) ^ (part < 0) ^ (whole < 0)));
                let steps = magnitude(raw / step);
                prop_assert!(fits(&steps) && !fits(&plus_one(&steps)));
            }
            None => prop_assert!(fits(&plus_one(&magnitude(i128::MAX / step)))),
        }
    }

    #[test]
    fn limits_read_back_and_compare(a in prop::option::of(outside()), b in prop::option::of(outside())) {
        let limit = |raw: Option<i128>| raw.map_or(Limit::Unlimited, |raw| Limit::Finite(Amount::from_raw(raw)));
        prop_assert_eq!(Limit::parse(&limit(a).to_string()), Ok(limit(a)));
        let larger = a.zip(b).map(|(a, b)| a.max(b));
        prop_assert_eq!(limit(a).max(limit(b)), limit(larger));
    }

    /// The text without its point is the groups, one after the other.
    #[test]
    fn groups_are_the_digits(raw in raws()) {
        let amount = Amount::from_raw(raw);
        let Some(groups) = amount.groups() else {
            prop_assert!(amount.raw().unsigned_abs() / 10_u128.pow(18) > u128::from(u64::MAX));
            return Ok(());
        };
        let digits = groups.digits();
        prop_assert!(digits.first() != Some(&0) && digits.last() != Some(&0) && digits.iter().all(|group| *group < 10_000));
        prop_assert_eq!(groups.scale, amount.decimals());
        let text: String = digits.iter().map(|group| format!("{group:04}")).collect();
        // Places behind the point: those of the groups, of which the first has (weight + 1) times 4 before it.
        let behind = 4 * (digits.len() as i32 - groups.weight - 1);
        let shown = text + &"0".repeat((18 - behind).max(0) as usize);
        let size = raw.unsigned_abs().to_string();
        if digits.is_empty() {
            prop_assert_eq!(raw, 0);
        } else if behind <= 18 {
            prop_assert_eq!(trimmed(&shown), size);
        } else {
            // The last group is half of one: behind is 20.
            prop_assert_eq!(trimmed(&shown), size + "00");
        }
    }
}
