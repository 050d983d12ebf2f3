//! Exact decimal amounts: 18 decimals, up to 18 digits before the point.
//!
//! An `Amount` counts units of 10^-18 in an `i128`. The contract allows scales of 0 to 18, so one fixed
//! unit serves every credit type and arithmetic never needs to align scales. Sums may have two digits more
//! and are checked.

use std::fmt;

use ethnum::I256;

/// Decimal places that an amount can carry; the largest scale of a credit type.
pub const MAX_SCALE: u32 = 18;
/// Digits before the decimal point that an amount from outside may have.
pub const MAX_INTEGER_DIGITS: u32 = 18;

const ONE: i128 = 10_i128.pow(MAX_SCALE);
const OUTSIDE_LIMIT: i128 = 10_i128.pow(MAX_SCALE + MAX_INTEGER_DIGITS);
const SUM_LIMIT: u128 = 10_u128.pow(MAX_SCALE + MAX_INTEGER_DIGITS + 2);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(i128);

/// An amount's size in groups of four decimal digits, as a PostgreSQL numeric has it: the first group times 10,000 to the
/// power of the weight, no group of zeros at either end.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    all: [u16; 10],
    start: usize,
    end: usize,
    pub weight: i32,
    /// Decimals, without zeros at the end.
    pub scale: u32,
}

impl Groups {
    pub fn digits(&self) -> &[u16] {
        self.all.get(self.start..self.end).unwrap_or_default()
    }
}

/// Why a text or a result is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountError {
    NotFinite,
    TooLarge,
    TooManyDecimals,
    Malformed,
}

impl Amount {
    pub const ZERO: Amount = Amount(0);
    pub const ONE: Amount = Amount(ONE);
    /// More than any sum can be.
    pub const MAX: Amount = Amount(i128::MAX);

    pub const fn from_units(units: i64) -> Amount {
        Amount(units as i128 * ONE)
    }

    /// `mantissa` × 10^-`scale`, or nothing where it does not fit or has more than 18 decimals.
    pub fn from_scaled(mantissa: i128, scale: u32) -> Option<Amount> {
        let lift = MAX_SCALE.checked_sub(scale)?;
        mantissa.checked_mul(10_i128.pow(lift)).map(Amount)
    }

    /// The raw count of 10^-18.
    pub const fn raw(self) -> i128 {
        self.0
    }

    pub const fn from_raw(raw: i128) -> Amount {
        Amount(raw)
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// How many decimal places the amount needs.
    pub fn decimals(self) -> u32 {
        let mut rest = self.0.unsigned_abs();
        // Most amounts are whole; the rest goes digit by digit.
        if rest.is_multiple_of(ONE as u128) {
            return 0;
        }
        let mut decimals = MAX_SCALE;
        while decimals > 0 && rest.is_multiple_of(10) {
            rest /= 10;
            decimals -= 1;
        }
        decimals
    }

    /// `None` for what is beyond all sums (more than 19 digits before the point).
    pub fn groups(self) -> Option<Groups> {
        let size = self.0.unsigned_abs();
        let mut whole = u64::try_from(size / ONE as u128).ok()?;
        let decimals = (size % ONE as u128) as u64;
        let mut all = [0; 10];
        for group in all[..5].iter_mut().rev() {
            *group = (whole % 10_000) as u16;
            whole /= 10_000;
        }
        let mut scale = 0;
        if decimals > 0 {
            let mut rest = decimals;
            scale = MAX_SCALE;
            while rest.is_multiple_of(10) {
                rest /= 10;
                scale -= 1;
            }
            // 18 decimals are four groups and half of one.
            all[9] = (decimals % 100) as u16 * 100;
            let mut rest = decimals / 100;
            for group in all[5..9].iter_mut().rev() {
                *group = (rest % 10_000) as u16;
                rest /= 10_000;
            }
        }
        let used = |group: &u16| *group != 0;
        let (start, end) =
            (all.iter().position(used).unwrap_or(0), all.iter().rposition(used).map_or(0, |last| last + 1));
        let weight = if end == 0 { 0 } else { 4 - start as i32 };
        Some(Groups { all, start, end, weight, scale })
    }

    /// Reads plain decimal notation, as PostgreSQL prints `numeric`.
    pub fn parse(text: &str) -> Result<Amount, AmountError> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if digits.eq_ignore_ascii_case("nan")
            || digits.eq_ignore_ascii_case("infinity")
            || digits.eq_ignore_ascii_case("inf")
        {
            return Err(AmountError::NotFinite);
        }
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(AmountError::Malformed);
        }
        let fraction = fraction.trim_end_matches('0');
        let whole = whole.trim_start_matches('0');
        if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(AmountError::Malformed);
        }
        if fraction.len() > MAX_SCALE as usize {
            return Err(AmountError::TooManyDecimals);
        }
        // Figures that the extension itself wrote may be sums, so a little more than the limit for
        // amounts from outside can be read back: what fits into an i128.
        if whole.len() > MAX_INTEGER_DIGITS as usize + 3 {
            return Err(AmountError::TooLarge);
        }
        let mut raw: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            raw = raw
                .checked_mul(10)
                .and_then(|r| r.checked_add(i128::from(digit - b'0')))
                .ok_or(AmountError::TooLarge)?;
        }
        raw = raw.checked_mul(10_i128.pow(MAX_SCALE - fraction.len() as u32)).ok_or(AmountError::TooLarge)?;
        Ok(Amount(if negative { -raw } else { raw }))
    }

    /// Whether an amount from outside is within the documented size.
    pub fn within_outside_limit(self) -> bool {
        self.0.unsigned_abs() < OUTSIDE_LIMIT as u128
    }

    /// A sum of at most 20 digits before the point; nothing beyond.
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount).filter(|sum| sum.0.unsigned_abs() < SUM_LIMIT)
    }

    pub fn checked_sub(self, other: Amount) -> Option<Amount> {
        self.checked_add(-other)
    }

    /// `self` × `other`, rounded half away from zero to `scale` places.
    ///
    /// The contract's rule for the cost of a usage (section 1). The product is exact before it is rounded.
    pub fn multiply_rounded(self, other: Amount, scale: u32) -> Option<Amount> {
        let product = I256::from(self.0) * I256::from(other.0);
        let places = 2 * MAX_SCALE - scale.min(MAX_SCALE);
        let divisor = I256::from(10_i128).pow(places);
        let half = divisor / 2;
        let rounded = if product >= 0 { (product + half) / divisor } else { (product - half) / divisor };
        let raw = rounded * I256::from(10_i128.pow(MAX_SCALE - scale.min(MAX_SCALE)));
        i128::try_from(raw).ok().map(Amount)
    }

    /// `percent` of it, cut (toward zero) to `scale` places.
    pub fn percent_floor(self, percent: Amount, scale: u32) -> Option<Amount> {
        let places = MAX_SCALE - scale.min(MAX_SCALE);
        let unit = I256::from(10_i128).pow(places);
        let product = I256::from(self.0) * I256::from(percent.0) / (I256::from(ONE) * I256::from(100_i128));
        i128::try_from(product / unit * unit).ok().map(Amount)
    }

    /// `part` ÷ `whole` of it, cut (toward zero) to `scale` places; nothing for a whole of zero.
    pub fn share_floor(self, part: Amount, whole: Amount, scale: u32) -> Option<Amount> {
        if whole.is_zero() {
            return None;
        }
        let unit = I256::from(10_i128).pow(MAX_SCALE - scale.min(MAX_SCALE));
        let share = I256::from(self.0) * I256::from(part.0) / I256::from(whole.0);
        i128::try_from(share / unit * unit).ok().map(Amount)
    }

    /// `self` ÷ `other`, cut (toward zero) to `scale` places; nothing for a divisor of zero.
    pub fn divide_floor(self, other: Amount, scale: u32) -> Option<Amount> {
        if other.is_zero() {
            return None;
        }
        let scale = scale.min(MAX_SCALE);
        let quotient = I256::from(self.0) * I256::from(10_i128.pow(scale)) / I256::from(other.0);
        let raw = quotient * I256::from(10_i128.pow(MAX_SCALE - scale));
        i128::try_from(raw).ok().map(Amount)
    }
}

impl std::ops::Neg for Amount {
    type Output = Amount;
    fn neg(self) -> Amount {
        Amount(self.0.saturating_neg())
    }
}

impl fmt::Display for Amount {
    /// Plain notation without trailing zeros: `4850`, `0.5`, `-12.000001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / ONE as u128, magnitude % ONE as u128);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:018}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Amount({self})")
    }
}

/// As its decimal text: a JSON number would not be exact for every reader.
impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        let text = String::deserialize(deserializer)?;
        Amount::parse(&text).map_err(|_| serde::de::Error::custom("not an amount"))
    }
}

/// A floor that may be absent: the overdraft limit of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Finite(Amount),
    Unlimited,
}

impl Limit {
    pub fn parse(text: &str) -> Result<Limit, AmountError> {
        if text.eq_ignore_ascii_case("infinity") {
            return Ok(Limit::Unlimited);
        }
        Amount::parse(text).map(Limit::Finite)
    }

    /// The larger of the two.
    pub fn max(self, other: Limit) -> Limit {
        match (self, other) {
            (Limit::Finite(a), Limit::Finite(b)) => Limit::Finite(a.max(b)),
            _ => Limit::Unlimited,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Finite(amount) => write!(f, "{amount}"),
            Limit::Unlimited => f.write_str("Infinity"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[test]
    fn reads_and_prints_plain_decimals() {
        for text in ["0", "1", "-1", "0.5", "4850", "-12.000001", "999999999999999999.999999999999999999"] {
            assert_eq!(amount(text).to_string(), text);
        }
        assert_eq!(amount("4850.000000").to_string(), "4850");
        assert_eq!(amount("007.50").to_string(), "7.5");
    }

    #[test]
    fn refuses_what_is_no_amount() {
        assert_eq!(Amount::parse("NaN"), Err(AmountError::NotFinite));
        assert_eq!(Amount::parse("-Infinity"), Err(AmountError::NotFinite));
        assert_eq!(Amount::parse("0.0000000000000000001"), Err(AmountError::TooManyDecimals));
        assert_eq!(Amount::parse(&"9".repeat(200)), Err(AmountError::TooLarge));
        assert_eq!(Amount::parse("1e5"), Err(AmountError::Malformed));
        assert_eq!(Amount::parse(""), Err(AmountError::Malformed));
    }

    #[test]
    fn counts_decimals() {
        assert_eq!(amount("0").decimals(), 0);
        assert_eq!(amount("100").decimals(), 0);
        assert_eq!(amount("1.10").decimals(), 1);
        assert_eq!(amount("0.000000000000000001").decimals(), 18);
    }

    fn grouped(text: &str) -> (Vec<u16>, i32, u32) {
        let groups = amount(text).groups().unwrap();
        (groups.digits().to_vec(), groups.weight, groups.scale)
    }

    #[test]
    fn groups_digits_as_numeric_does() {
        assert_eq!(grouped("0"), (vec![], 0, 0));
        assert_eq!(grouped("-1"), (vec![1], 0, 0));
        assert_eq!(grouped("10000"), (vec![1], 1, 0));
        assert_eq!(grouped("12345.5"), (vec![1, 2345, 5000], 1, 1));
        assert_eq!(grouped("0.000010"), (vec![1000], -2, 5));
        assert_eq!(grouped("0.000000000000000001"), (vec![100], -5, 18));
        assert_eq!(grouped("100000000.0001"), (vec![1, 0, 0, 1], 2, 4));
        assert!(Amount::from_raw(i128::from(u64::MAX) * ONE).groups().is_some());
        assert!(Amount::from_raw((i128::from(u64::MAX) + 1) * ONE).groups().is_none());
    }

    #[test]
    fn rounds_half_away_from_zero() {
        let cost = |value: &str, rate: &str, scale| amount(value).multiply_rounded(amount(rate), scale).unwrap();
        assert_eq!(cost("1", "0.5", 0), amount("1"));
        assert_eq!(cost("-1", "0.5", 0), amount("-1"));
        assert_eq!(cost("1", "0.49", 0), amount("0"));
        assert_eq!(cost("3", "0.3333335", 6), amount("1.000001"));
        assert_eq!(cost("999999999999999999", "1", 18), amount("999999999999999999"));
        assert_eq!(amount("999999999999999999").multiply_rounded(amount("999999999999999999"), 0), None);
    }

    #[test]
    fn divides_toward_zero() {
        assert_eq!(amount("10").divide_floor(amount("3"), 2), Some(amount("3.33")));
        assert_eq!(amount("10").divide_floor(Amount::ZERO, 2), None);
        assert_eq!(amount("10").share_floor(amount("1"), amount("3"), 2), Some(amount("3.33")));
        assert_eq!(amount("10").share_floor(amount("2"), amount("3"), 0), Some(amount("6")));
        assert_eq!(amount("10").share_floor(amount("2"), Amount::ZERO, 0), None);
    }
}
