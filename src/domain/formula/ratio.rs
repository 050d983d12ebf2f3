//! Fractions: what a formula calculates with, so that `value / 3 * 3` is `value`.
//!
//! A result is exact as long as its numerator and denominator stay below 2^249 (74 digits). One that does not
//! fit is calculated from its operands rounded to 36 decimals, and is itself rounded there, half away from zero;
//! then it may have 38 digits before the point. What is larger is an overflow: `None`.

use std::cmp::Ordering;

use ethnum::I256;

use crate::{Amount, MAX_SCALE};

/// Decimal places of a result that has no exact place here; twice those of an amount.
const PLACES: u32 = 2 * MAX_SCALE;
/// 2^249, which leaves `quotient` room for a digit more.
const LIMIT: I256 = I256::from_words(1 << 121, 0);

/// Not always in lowest terms; the denominator is positive.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    numerator: I256,
    denominator: I256,
}

impl Ratio {
    pub const ZERO: Ratio = Ratio { numerator: I256::ZERO, denominator: I256::ONE };

    fn new(numerator: I256, denominator: I256) -> Option<Ratio> {
        let fits = numerator > -LIMIT && numerator < LIMIT && denominator > 0 && denominator < LIMIT;
        fits.then_some(Ratio { numerator, denominator })
    }

    fn fixed(numerator: I256) -> Option<Ratio> {
        Ratio::new(numerator, ten(PLACES))
    }

    pub fn is_zero(self) -> bool {
        self.numerator == 0
    }

    pub fn negated(self) -> Ratio {
        Ratio { numerator: -self.numerator, ..self }
    }

    pub fn add(self, other: Ratio) -> Option<Ratio> {
        let sum = |a: Ratio, b: Ratio, shared: I256| {
            let (to_a, to_b) = (b.denominator / shared, a.denominator / shared);
            let numerator = a.numerator.checked_mul(to_a)?.checked_add(b.numerator.checked_mul(to_b)?)?;
            Ratio::new(numerator, a.denominator.checked_mul(to_a)?)
        };
        let equal = self.denominator == other.denominator;
        // Mostly the plain way fits, and saves the search for divisors.
        sum(self, other, if equal { self.denominator } else { I256::ONE })
            .or_else(|| {
                let (a, b) = (self.reduced(), other.reduced());
                sum(a, b, divisor(a.denominator, b.denominator))
            })
            .or_else(|| Ratio::fixed(self.rounded(PLACES)?.checked_add(other.rounded(PLACES)?)?))
    }

    pub fn subtract(self, other: Ratio) -> Option<Ratio> {
        self.add(other.negated())
    }

    pub fn multiply(self, other: Ratio) -> Option<Ratio> {
        self.exact_product(other)
            .or_else(|| Ratio::fixed(fixed_product(self.rounded(PLACES)?, other.rounded(PLACES)?)?))
    }

    /// The divisor must not be zero.
    pub fn divide(self, other: Ratio) -> Option<Ratio> {
        let over = |numerator: I256, divisor: I256| {
            Ratio::new(if divisor < 0 { -numerator } else { numerator }, divisor.abs())
        };
        let inverse = over(other.denominator, other.numerator)?;
        self.exact_product(inverse)
            .or_else(|| Ratio::fixed(over(self.rounded(PLACES)?, other.rounded(PLACES)?)?.rounded(PLACES)?))
    }

    fn exact_product(self, other: Ratio) -> Option<Ratio> {
        let product = |a: Ratio, b: Ratio| {
            Ratio::new(a.numerator.checked_mul(b.numerator)?, a.denominator.checked_mul(b.denominator)?)
        };
        product(self, other).or_else(|| {
            let (a, b) = (self.reduced(), other.reduced());
            let crossed = |a: Ratio, b: Ratio| Ratio { denominator: b.denominator, ..a }.reduced();
            product(crossed(a, b), crossed(b, a))
        })
    }

    /// Which is larger; by their difference to 36 decimals where that has no exact place.
    pub fn compare(self, other: Ratio) -> Option<Ordering> {
        Some(self.subtract(other)?.numerator.cmp(&I256::ZERO))
    }

    pub fn floor(self) -> Ratio {
        Ratio { numerator: self.numerator.div_euclid(self.denominator), denominator: I256::ONE }
    }

    pub fn ceil(self) -> Ratio {
        self.negated().floor().negated()
    }

    /// Half away from zero.
    pub fn round(self, places: u32) -> Option<Ratio> {
        Ratio::new(self.rounded(places)?, ten(places))
    }

    /// Rounded half away from zero to `scale` places.
    pub fn to_amount(self, scale: u32) -> Option<Amount> {
        let scale = scale.min(MAX_SCALE);
        let raw = self.rounded(scale)?.checked_mul(ten(MAX_SCALE - scale))?;
        i128::try_from(raw).ok().map(Amount::from_raw)
    }

    /// The count of 10^-`places`, rounded half away from zero.
    fn rounded(self, places: u32) -> Option<I256> {
        let whole = self.numerator.abs();
        let (mut quotient, mut rest) = (whole / self.denominator, whole % self.denominator);
        let mut left = places;
        while left > 0 {
            // As many digits at once as there is room for: n of them need at most 10/3 n bits.
            let digits = left.min((self.denominator.leading_zeros() - 1) * 3 / 10);
            rest *= ten(digits);
            quotient = quotient.checked_mul(ten(digits))?.checked_add(rest / self.denominator)?;
            rest %= self.denominator;
            left -= digits;
        }
        if rest >= self.denominator - rest {
            quotient = quotient.checked_add(I256::ONE)?;
        }
        Some(if self.numerator < 0 { -quotient } else { quotient })
    }

    /// In lowest terms.
    pub fn reduced(self) -> Ratio {
        let shared = divisor(self.numerator.abs(), self.denominator);
        Ratio { numerator: self.numerator / shared, denominator: self.denominator / shared }
    }
}

impl From<Amount> for Ratio {
    /// Whole numbers, the most frequent, without a denominator: products of many then stay short.
    fn from(amount: Amount) -> Ratio {
        let (raw, one) = (amount.raw(), Amount::ONE.raw());
        let (numerator, denominator) = if raw % one == 0 { (raw / one, 1) } else { (raw, one) };
        Ratio { numerator: I256::from(numerator), denominator: I256::from(denominator) }
    }
}

/// At most `PLACES` are asked for.
fn ten(exponent: u32) -> I256 {
    I256::from(10_i128.pow(exponent))
}

/// The greatest common divisor; of zero and another, the other.
fn divisor(mut a: I256, mut b: I256) -> I256 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Whole parts and decimals apart: together they would not fit before they are rounded.
fn fixed_product(a: I256, b: I256) -> Option<I256> {
    let unit = ten(PLACES);
    let split = |x: I256| (x.abs() / unit, x.abs() % unit);
    let ((a_whole, a_rest), (b_whole, b_rest)) = (split(a), split(b));
    let rest = (a_rest * b_rest + unit / 2) / unit;
    let magnitude = a_whole
        .checked_mul(b_whole)?
        .checked_mul(unit)?
        .checked_add(a_whole.checked_mul(b_rest)?)?
        .checked_add(b_whole.checked_mul(a_rest)?)?
        .checked_add(rest)?;
    Some(if (a < 0) == (b < 0) { magnitude } else { -magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Formula;

    #[track_caller]
    fn costs(text: &str, cost: &str) {
        let dimension = |name: &str| {
            Amount::parse(match name {
                "a" => "123456789.123456789123456789",
                "b" => "987654321.987654321987654321",
                "c" => "1000003.000000000000000007",
                "d" => "999983.000000000000000003",
                "e" => "77.000000000000000009",
                "p" => "999999999999999989",
                _ => "999999999999999967",
            })
            .ok()
        };
        let found = Formula::parse(text).unwrap().eval(Amount::ZERO, dimension, MAX_SCALE);
        assert_eq!(found.unwrap().to_string(), cost, "{text}");
    }

    #[test]
    fn stays_exact_where_terms_can_be_lowered() {
        costs("p*p*p*p / (p*p*p)", "999999999999999989");
        costs("(1/(p*p*p) + 1/(p*p*p*3)) * p*p*p * 3/4", "1");
        costs("(a*b/c) * (c/a) / b", "1");
    }

    #[test]
    fn rounds_what_has_no_exact_place() {
        costs("10 + 1/(p*p*p) + 1/(q*q*q)", "10");
        costs("a*b*c / (d*e*d)", "1583599259.506703315660898043");
        costs("2*a*b*c / (d*e*d) - a*b*c / (d*e*d)", "1583599259.506703315660898043");
        costs("if(a*b*c / (d*e*d) > 1583599259.506703315660898043, 1, 0)", "0");
    }

    #[test]
    fn rounds_its_last_place_half_away_from_zero() {
        let half = |sign: i128| fixed_product(I256::from(5 * sign), I256::from(10_i128.pow(PLACES - 1)));
        assert_eq!((half(1), half(-1)), (Some(I256::ONE), Some(-I256::ONE)));
        assert_eq!(fixed_product(I256::from(4), I256::from(10_i128.pow(PLACES - 1))), Some(I256::ZERO));
    }

    #[test]
    fn is_none_where_it_would_be_too_large() {
        let large = Ratio::fixed(LIMIT - 1).unwrap();
        for result in [large.add(large), large.multiply(large), large.divide(Ratio::new(1.into(), 7.into()).unwrap())] {
            assert!(result.is_none());
        }
        // Its inverse has a denominator with an end, but nothing before the 36th place.
        let tiny = Ratio::new(I256::ONE, LIMIT - 1).unwrap();
        assert!(large.divide(tiny).is_none());
        assert_eq!(large.compare(tiny), Some(Ordering::Greater));
        assert!(large.round(MAX_SCALE).is_some() && large.to_amount(0).is_none());
    }
}
