//! Personal data in texts written by strangers: where it stands, as far as the text alone tells.
//!
//! Card and account numbers carry a check digit and are found surely; telephone numbers are mostly the
//! merchant's; names are a guess from the words before them.

mod names;

use std::{ops::Range, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Serialize};

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

    /// What it looks like; names look like nothing.
    fn pattern(self) -> Option<&'static Regex> {
        match self {
            Self::Card => DIGITS.as_ref(),
            Self::Iban => ACCOUNT.as_ref(),
            Self::Email => EMAIL.as_ref(),
            Self::Phone => PHONE.as_ref(),
            Self::Name => None,
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

/// Whether the digits satisfy Luhn's check (ISO/IEC 7812-1); anything but digits fails.
#[must_use]
pub fn luhn(digits: &str) -> bool {
    let mut sum = 0;
    for (place, byte) in digits.bytes().rev().enumerate() {
        if !byte.is_ascii_digit() {
            return false;
        }
        let digit = u32::from(byte - b'0') * if place % 2 == 1 { 2 } else { 1 };
        sum += digit / 10 + digit % 10;
    }
    !digits.is_empty() && sum % 10 == 0
}

/// Whether a text is an IBAN (ISO 13616): two letters, two digits, up to 30 letters and digits, and
/// remainder 1 in mod 97 with the first four moved to the end. No spaces; lower case fails.
#[must_use]
pub fn iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    let formed = (15..=34).contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit)
        && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    formed && mod_97(&bytes[4..], &bytes[..4]) == 1
}

/// The remainder of the number that the parts spell, letters counting 10 to 35.
fn mod_97(body: &[u8], head: &[u8]) -> u32 {
    body.iter().chain(head).fold(0, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}

static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[0-9](?:[ .-]?[0-9]){12,18}").ok());
static ACCOUNT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}\b").ok());
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
        let places = match kind.pattern() {
            Some(pattern) => pattern.find_iter(text).filter_map(|of| confirmed(kind, text, of.range())).collect(),
            None => names::find(text, &found.iter().map(|found| found.at.clone()).collect::<Vec<_>>()),
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

/// The part of a match that is what it looks like.
fn confirmed(kind: Kind, text: &str, at: Range<usize>) -> Option<Range<usize>> {
    match kind {
        Kind::Card => card(text, at),
        Kind::Iban => account(text, at),
        Kind::Email | Kind::Phone | Kind::Name => Some(at),
    }
}

/// The longest part of a run of digits that is a card's number.
fn card(text: &str, at: Range<usize>) -> Option<Range<usize>> {
    let run: Vec<usize> = text[at.clone()]
        .char_indices()
        .filter(|(_, c)| c.is_ascii_digit())
        .map(|(place, _)| at.start + place)
        .collect();
    for length in (13..=run.len()).rev() {
        for part in run.windows(length) {
            let digits: String = part.iter().map(|&place| char::from(text.as_bytes()[place])).collect();
            // The first digit is the kind of issuer: 2 to 6 are banks, travel and petrol cards.
            let issuer = (b'2'..=b'6').contains(&digits.as_bytes()[0]);
            if issuer && luhn(&digits) && digits.bytes().any(|byte| byte != digits.as_bytes()[0]) {
                return Some(part[0]..part[length - 1] + 1);
            }
        }
    }
    None
}

/// The longest beginning of a match that is an account's number.
fn account(text: &str, at: Range<usize>) -> Option<Range<usize>> {
    let places: Vec<usize> = text[at.clone()]
        .char_indices()
        .filter(|(_, c)| c.is_ascii_alphanumeric())
        .map(|(place, _)| at.start + place)
        .collect();
    (15..=places.len().min(34)).rev().find_map(|length| {
        let number: String =
            places[..length].iter().map(|&place| char::from(text.as_bytes()[place]).to_ascii_uppercase()).collect();
        iban(&number).then(|| at.start..places[length - 1] + 1)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn published_examples_pass_and_their_neighbours_fail() {
        for card in ["4111111111111111", "5500005555555559", "340000000000009", "6011000000000004", "79927398713"] {
            assert!(luhn(card), "{card}");
        }
        for account in
            ["GB82WEST12345698765432", "DE89370400440532013000", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"]
        {
            assert!(iban(account), "{account}");
        }
        assert!(!luhn("4111111111111112") && !luhn("") && !luhn("4111 1111"));
        for account in [
            "GB82WEST12345698765431",
            "gb82west12345698765432",
            "GB82",
            "8282WEST12345698765432",
            "GBXXWEST12345698765432",
        ] {
            assert!(!iban(account), "{account}");
        }
    }

    proptest! {
        #[test]
        fn every_number_has_one_check_digit_and_luhn_finds_a_changed_digit(
            body in "[0-9]{8,18}", place in 0..18_usize, other in 1..10_u8,
        ) {
            let right: Vec<String> = (0..10).map(|digit| format!("{body}{digit}")).filter(|text| luhn(text)).collect();
            prop_assert_eq!(right.len(), 1);
            let mut changed = right[0].clone().into_bytes();
            let place = place % changed.len();
            changed[place] = b'0' + (changed[place] - b'0' + other) % 10;
            prop_assert!(!luhn(std::str::from_utf8(&changed).unwrap()));
        }

        #[test]
        fn an_account_number_made_with_its_check_digits_passes_and_no_changed_digit_does(
            country in "[A-Z]{2}", body in "[A-Z]{4}[0-9]{14}", place in 4..18_usize, other in 1..10_u8,
        ) {
            let check = 98 - mod_97(body.as_bytes(), format!("{country}00").as_bytes());
            let account = format!("{country}{check:02}{body}");
            prop_assert!(iban(&account), "{}", account);
            let mut changed = account.into_bytes();
            let place = place + 4;
            changed[place] = b'0' + (changed[place] - b'0' + other) % 10;
            prop_assert!(!iban(std::str::from_utf8(&changed).unwrap()));
        }
    }
}
