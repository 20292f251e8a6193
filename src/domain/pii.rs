//! Personal data in texts written by strangers: where it stands, as far as the text alone tells.
//!
//! Card and account numbers carry a check digit and are found surely; telephone numbers are mostly the
//! merchant's; names are a guess from the words before them.

mod names;
mod numbers;

use std::{ops::Range, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

pub use numbers::{iban, luhn};

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A payment card's number: 13 to 19 digits that satisfy Luhn.
    #[serde(rename = "card_number")]
    Card,
    /// An international bank account number that satisfies mod 97.
    Iban,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A person's name, by the words around it.
    #[serde(rename = "person_name")]
    Name,
}

impl Kind {
    /// All, surest first: where two overlap, the earlier one counts.
    pub const ALL: [Self; 5] = [Self::Iban, Self::Card, Self::Email, Self::Phone, Self::Name];

    /// Its name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card_number",
            Self::Iban => "iban",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Name => "person_name",
        }
    }
}

/// Personal data in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Where, in bytes.
    pub at: Range<usize>,
}

static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b").ok());
static PHONE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        // With a country's code.
        r"(?:\+|\b00)[1-9](?:[ ().-]{0,2}[0-9]){6,13}\b",
        // North America's three groups; the first of a bare run of ten is a toll-free one.
        r"|(?:\b1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}\b",
        r"|\b(?:1[ .-]?)?8(?:00|33|44|55|66|77|88)[ .-]?[0-9]{3}[ .-]?[0-9]{4}\b",
        // Europe's trunk zero, in groups.
        r"|\b0[1-9][0-9]{1,3}[ /.-][0-9]{3,4}(?:[ .-]?[0-9]{2,4}){1,2}\b",
    ))
    .ok()
});

/// Everything personal in a text, in the order of its places; nothing overlaps.
#[must_use]
pub fn find(text: &str) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for kind in Kind::ALL {
        let mut taken: Vec<Range<usize>> = found.iter().map(|found| found.at.clone()).collect();
        taken.sort_by_key(|taken| taken.start);
        let places = match kind {
            Kind::Iban => numbers::accounts(text),
            Kind::Card => numbers::cards(text, &taken),
            Kind::Email => like(&EMAIL, text),
            Kind::Phone => like(&PHONE, text),
            Kind::Name => names::find(text, &taken),
        };
        for at in places {
            if found.iter().all(|other| other.at.end <= at.start || at.end <= other.at.start) {
                found.push(Found { kind, at });
            }
        }
    }
    found.sort_by_key(|found| found.at.start);
    found
}

/// The kinds of personal data in a text.
#[must_use]
pub fn kinds(text: &str) -> Vec<Kind> {
    let found = find(text);
    Kind::ALL.into_iter().filter(|kind| found.iter().any(|found| found.kind == *kind)).collect()
}

fn like(pattern: &LazyLock<Option<Regex>>, text: &str) -> Vec<Range<usize>> {
    pattern.iter().flat_map(|pattern| pattern.find_iter(text)).map(|found| found.range()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Kind, &str)> {
        find(text).into_iter().map(|found| (found.kind, &text[found.at])).collect()
    }

    #[test]
    fn numbers_with_check_digits_are_found_in_any_spacing_and_others_are_not() {
        assert_eq!(found("PAYMENT 4111 1111 1111 1111 REF 9"), [(Kind::Card, "4111 1111 1111 1111")]);
        assert_eq!(found("X4111111111111111Y"), [(Kind::Card, "4111111111111111")]);
        assert_eq!(found("PAYMENT 4111 1111 1111 1112"), []);
        assert_eq!(found("SEPA DE89 3704 0044 0532 0130 00 MIETE"), [(Kind::Iban, "DE89 3704 0044 0532 0130 00")]);
        assert_eq!(found("gb82west12345698765432"), [(Kind::Iban, "gb82west12345698765432")]);
        assert_eq!(found("DE89370400440532013001"), []);
        assert_eq!(found("ORDER 0000000000000000"), [], "sixteen zeros satisfy Luhn and are no card");
    }

    #[test]
    fn addresses_and_telephone_numbers_are_found() {
        assert_eq!(found("PAYPAL *j.doe+x@mail.example.org"), [(Kind::Email, "j.doe+x@mail.example.org")]);
        for (text, number) in [
            ("AMZN 206-555-0100 WA", "206-555-0100"),
            ("CALL (416) 555 0199", "(416) 555 0199"),
            ("HELP 8005550123", "8005550123"),
            ("TEL +49 30 1234567", "+49 30 1234567"),
            ("HOTEL 030 1234 5678", "030 1234 5678"),
        ] {
            assert_eq!(found(text), [(Kind::Phone, number)], "{text}");
        }
        assert_eq!(found("SHELL 57444 0123456"), []);
    }
}
