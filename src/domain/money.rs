//! Money: an exact decimal and an ISO 4217 currency, never a float.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An ISO 4217 currency code that exists, in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The three letters, such as `EUR`.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits after the decimal point in ordinary use (2 for EUR, 0 for JPY); `None` where ISO 4217 names none (gold).
    #[must_use]
    pub fn exponent(self) -> Option<u16> {
        self.0.exponent()
    }

    /// An amount with at least the digits of ordinary use, such as 6.50 EUR.
    #[must_use]
    pub fn in_full(self, amount: Decimal) -> Decimal {
        let mut amount = amount.normalize();
        amount.rescale(amount.scale().max(self.exponent().map_or(0, u32::from)));
        amount
    }
}

/// An amount as people read it, such as `6.50 EUR`, of a currency that is stored or configured as text. Where the text is no
/// ISO 4217 code the digits are as few as they can be.
#[must_use]
pub fn told(amount: Decimal, currency: &str) -> String {
    let amount = currency.parse().map_or_else(|_| amount.normalize(), |known: Currency| known.in_full(amount));
    format!("{amount} {currency}")
}

/// Text that is not an ISO 4217 code.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("is not an ISO 4217 currency code")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        iso_currency::Currency::from_code(&code.to_ascii_uppercase()).map(Self).ok_or(UnknownCurrency)
    }
}

impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;

    fn try_from(code: String) -> Result<Self, UnknownCurrency> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A non-negative amount in one currency; which way it went is the transaction's
/// [`Direction`](super::Direction).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

/// Why an amount is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidMoney {
    /// Refunds are credits, not negative debits.
    #[error("must not be negative: use `direction`")]
    Negative,
    /// More than the four digits that any ISO 4217 currency uses.
    #[error("must have at most 4 digits after the decimal point")]
    TooPrecise,
    /// Beyond what `numeric(20, 4)` holds with room for sums.
    #[error("must be below 1,000,000,000,000")]
    TooLarge,
}

impl Money {
    /// # Errors
    /// When the amount is negative, has more than four decimals, or is a trillion or more.
    pub fn new(amount: Decimal, currency: Currency) -> Result<Self, InvalidMoney> {
        if amount.is_sign_negative() && !amount.is_zero() {
            return Err(InvalidMoney::Negative);
        }
        let amount = amount.normalize();
        if amount.scale() > 4 {
            return Err(InvalidMoney::TooPrecise);
        }
        if amount >= Decimal::from(1_000_000_000_000_u64) {
            return Err(InvalidMoney::TooLarge);
        }
        Ok(Self { amount, currency })
    }

    /// The amount, without trailing zeros.
    #[must_use]
    pub fn amount(&self) -> Decimal {
        self.amount
    }

    /// The amount with the digits that its currency has in ordinary use, such as 6.50 EUR.
    #[must_use]
    pub fn in_full(&self) -> Decimal {
        self.currency.in_full(self.amount)
    }

    /// The currency.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.currency
    }
}

/// As people read it: `6.50 EUR`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.in_full(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn currency_codes_are_checked_against_iso_4217() {
        assert_eq!("cad".parse::<Currency>().unwrap().code(), "CAD");
        assert_eq!("XYZ".parse::<Currency>(), Err(UnknownCurrency));
        assert_eq!("".parse::<Currency>(), Err(UnknownCurrency));
    }

    #[test]
    fn amounts_that_no_account_can_hold_are_refused() {
        let eur = "EUR".parse().unwrap();
        assert_eq!(Money::new(dec!(-0.01), eur), Err(InvalidMoney::Negative));
        assert_eq!(Money::new(dec!(0.00001), eur), Err(InvalidMoney::TooPrecise));
        assert_eq!(Money::new(dec!(1_000_000_000_000), eur), Err(InvalidMoney::TooLarge));
        assert_eq!(Money::new(dec!(12.50), eur).unwrap(), Money::new(dec!(12.5), eur).unwrap());
    }

    #[test]
    fn people_read_an_amount_with_the_digits_of_its_currency() {
        for (amount, currency, reads) in [
            (dec!(12.5), "EUR", "12.50 EUR"),
            (dec!(500), "CAD", "500.00 CAD"),
            (dec!(0.00420), "USD", "0.0042 USD"),
            (dec!(1200), "JPY", "1200 JPY"),
            (dec!(1.5), "KWD", "1.500 KWD"),
            (dec!(3), "XAU", "3 XAU"),
            (dec!(2.50), "credits", "2.5 credits"),
        ] {
            assert_eq!(told(amount, currency), reads);
        }
        assert_eq!(Money::new(dec!(12.5), "EUR".parse().unwrap()).unwrap().to_string(), "12.50 EUR");
    }
}
