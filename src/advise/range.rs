//! A number that is known between two ends, such as what a guide says or what machines cost.
//!
//! No distribution: low ends go with low ends. Sums stop at the largest decimal instead of failing.

use rust_decimal::{Decimal, prelude::ToPrimitive as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The largest number that is taken from outside.
const MOST: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// Two ends; the same where the number is known. As input one number does too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Written")]
#[schema(as = AdviceRange)]
pub struct Range {
    /// The lower end, as a decimal.
    #[serde(serialize_with = "tidy")]
    #[schema(value_type = String)]
    pub low: Decimal,
    /// The upper end, as a decimal.
    #[serde(serialize_with = "tidy")]
    #[schema(value_type = String)]
    pub high: Decimal,
}

/// To a millionth, without trailing zeros.
fn tidy<S: serde::Serializer>(number: &Decimal, to: S) -> Result<S::Ok, S::Error> {
    Serialize::serialize(&number.round_dp(6).normalize(), to)
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a number, or an object of `low` and `high`")]
enum Written {
    One(Decimal),
    Both(Ends),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ends {
    low: Decimal,
    high: Decimal,
}

/// Why two numbers are no range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidRange {
    /// Below nothing.
    #[error("must not be negative")]
    Negative,
    /// The ends are the wrong way round.
    #[error("`low` must not be above `high`")]
    Upside,
    /// More than anything costs.
    #[error("must be at most 1,000,000,000")]
    TooLarge,
}

impl TryFrom<Written> for Range {
    type Error = InvalidRange;

    fn try_from(written: Written) -> Result<Self, InvalidRange> {
        match written {
            Written::One(number) => Self::new(number, number),
            Written::Both(Ends { low, high }) => Self::new(low, high),
        }
    }
}

impl std::str::FromStr for Range {
    type Err = InvalidText;

    /// `120` or `70..1000`.
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let number = |text: &str| text.trim().replace('_', "").parse::<Decimal>().map_err(|_| InvalidText::NoNumber);
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        Ok(Self::new(number(low)?, number(high)?)?)
    }
}

/// Why a text is no range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidText {
    /// Not numbers.
    #[error("must be a number such as 120, or two such as 70..1000")]
    NoNumber,
    /// Numbers that are no range.
    #[error(transparent)]
    Range(#[from] InvalidRange),
}

impl Range {
    /// Nothing.
    pub const ZERO: Self = Self { low: Decimal::ZERO, high: Decimal::ZERO };
    /// One.
    pub const ONE: Self = Self { low: Decimal::ONE, high: Decimal::ONE };

    /// A range from outside.
    ///
    /// # Errors
    /// When an end is negative or beyond a thousand millions, or the ends are the wrong way round.
    pub fn new(low: Decimal, high: Decimal) -> Result<Self, InvalidRange> {
        match () {
            () if low < Decimal::ZERO => Err(InvalidRange::Negative),
            () if low > high => Err(InvalidRange::Upside),
            () if high > MOST => Err(InvalidRange::TooLarge),
            () => Ok(Self { low, high }),
        }
    }

    /// A number that is known.
    #[must_use]
    pub const fn exact(number: Decimal) -> Self {
        Self { low: number, high: number }
    }

    /// Halfway.
    #[must_use]
    pub fn middle(self) -> Decimal {
        plus(self.low, self.high) / Decimal::TWO
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { low: plus(self.low, other.low), high: plus(self.high, other.high) }
    }

    /// The difference: its ends are the least and the most that it can be.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { low: plus(self.low, -other.high), high: plus(self.high, -other.low) }
    }

    /// So many times; a negative number turns the ends round.
    #[must_use]
    pub fn times(self, number: Decimal) -> Self {
        let (a, b) = (times(self.low, number), times(self.high, number));
        Self { low: a.min(b), high: a.max(b) }
    }

    /// The product of two ranges, neither below nothing.
    #[must_use]
    pub fn by(self, other: Self) -> Self {
        Self { low: times(self.low, other.low), high: times(self.high, other.high) }
    }

    /// The quotient of two ranges, neither below nothing; the largest decimal where the divisor is nothing.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        let quotient = |a: Decimal, b: Decimal| a.checked_div(b).unwrap_or(Decimal::MAX);
        Self { low: quotient(self.low, other.high), high: quotient(self.high, other.low) }
    }

    /// At least this.
    #[must_use]
    pub fn at_least(self, floor: Decimal) -> Self {
        Self { low: self.low.max(floor), high: self.high.max(floor) }
    }
}

fn plus(a: Decimal, b: Decimal) -> Decimal {
    a.checked_add(b).unwrap_or(if a.is_sign_negative() { Decimal::MIN } else { Decimal::MAX })
}

/// A product; the outermost decimal where it is larger than any.
pub(super) fn times(a: Decimal, b: Decimal) -> Decimal {
    let opposite = a.is_sign_negative() != b.is_sign_negative();
    a.checked_mul(b).unwrap_or(if opposite { Decimal::MIN } else { Decimal::MAX })
}

/// A quotient as a float, for months and points.
pub(super) fn ratio(a: Decimal, b: Decimal) -> f64 {
    a.to_f64().unwrap_or(f64::MAX) / b.to_f64().unwrap_or(f64::MAX)
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn ranges_are_read_from_one_number_or_two() {
        let read = |text: &str| serde_json::from_str::<Range>(text).map_err(|error| error.to_string());
        assert_eq!(read("70"), Ok(Range::exact(dec!(70))));
        assert_eq!(read("\"0.40\""), Ok(Range::exact(dec!(0.40))));
        assert_eq!(read(r#"{"low": 70, "high": "1000"}"#), Ok(Range { low: dec!(70), high: dec!(1000) }));
        assert!(read(r#"{"low": 2, "high": 1}"#).unwrap_err().contains("must not be above"));
        assert!(read("-1").unwrap_err().contains("must not be negative"));
        assert!(read("[]").unwrap_err().contains("must be a number"));
        assert_eq!("70..1_000".parse(), Ok(Range { low: dec!(70), high: dec!(1000) }));
        assert_eq!("cheap".parse::<Range>(), Err(InvalidText::NoNumber));
    }

    #[test]
    fn a_difference_is_as_wide_as_both() {
        let (a, b) = (Range { low: dec!(10), high: dec!(12) }, Range { low: dec!(1), high: dec!(4) });
        assert_eq!(a.minus(b), Range { low: dec!(6), high: dec!(11) });
        assert_eq!(a.times(dec!(-1)), Range { low: dec!(-12), high: dec!(-10) });
    }

    #[test]
    fn what_is_too_large_stops_at_the_largest_decimal() {
        let large = Range::exact(Decimal::MAX);
        assert_eq!(large.plus(large).by(large), large);
        assert_eq!(Range::ONE.over(Range::ZERO), large);
        assert_eq!(large.times(dec!(-2)).low, Decimal::MIN);
    }
}
