//! Personal data in statement texts: what must not be learned by heart.
//!
//! Card and account numbers carry a check digit and are found surely; telephone numbers are mostly the
//! merchant's; names are a guess. A finding never repeats what it found.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    report::{Check, Flag, Level},
    rows::share,
    set::LabelledSet,
};

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A payment card's number: 13 to 19 digits that satisfy Luhn.
    Card,
    /// An international bank account number that satisfies mod 97.
    Iban,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A person's name, by the words around it.
    Name,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Card, Self::Iban, Self::Email, Self::Phone, Self::Name];

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

    /// Numbers of cards and accounts, and addresses, are nobody's merchant: such rows are kept out.
    fn is_sure(self) -> bool {
        matches!(self, Self::Card | Self::Iban | Self::Email)
    }
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

static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[0-9](?:[ -]?[0-9]){12,18}").ok());
static ACCOUNT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b").ok());
static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b").ok());
static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)\b(?:mr|mrs|ms|miss|herr|frau|mme|mlle)\.? +[a-z]{2,}",
        r"|\b(?:e-?transfer|zelle|venmo|interac|wire|transfer|payment|paid|sent|received) +",
        r"(?:payment +)?(?:to|from) +[a-z]{2,} +(?:[a-z]\.? +)?[a-z]{2,}\b",
    ))
    .ok()
});

fn found(pattern: &Option<Regex>, text: &str, is: impl Fn(&str) -> bool) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.find_iter(text).any(|part| is(part.as_str())))
}

/// The kinds of personal data in a statement text, as far as the text alone tells.
#[must_use]
pub fn kinds(text: &str) -> Vec<Kind> {
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    let is_card = |part: &str| {
        let digits = digits(part);
        // The first digit is the kind of issuer: 2 to 6 are banks, travel and petrol cards.
        luhn(&digits)
            && (b'2'..=b'6').contains(&digits.as_bytes()[0])
            && digits.bytes().any(|b| b != digits.as_bytes()[0])
    };
    let is_iban = |part: &str| iban(&part.replace(' ', ""));
    let there = |kind: &Kind| match kind {
        Kind::Card => found(&DIGITS, text, is_card),
        Kind::Iban => found(&ACCOUNT, &text.to_uppercase(), is_iban),
        Kind::Email => found(&EMAIL, text, |_| true),
        Kind::Name => found(&NAME, text, |_| true),
        // The descriptor's own parser knows those.
        Kind::Phone => false,
    };
    Kind::ALL.into_iter().filter(there).collect()
}

/// `pii`: rows with personal data in the statement text.
#[must_use]
pub fn pii(set: &LabelledSet) -> Check {
    let mut counts = Kind::ALL.map(|kind| (kind, 0));
    let mut flags = Vec::new();
    for (place, example) in set.examples.iter().enumerate() {
        let descriptor = &example.transaction.descriptor;
        let mut kinds = kinds(descriptor.raw());
        kinds.extend(descriptor.phone().map(|_| Kind::Phone));
        counts.iter_mut().filter(|(kind, _)| kinds.contains(kind)).for_each(|(_, count)| *count += 1);
        if !kinds.is_empty() {
            let says: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            let flag = Flag::of(set, place, says.join(", "));
            flags.push(if kinds.iter().any(|kind| kind.is_sure()) { flag.quarantine() } else { flag });
        }
    }
    // What is acted on first.
    flags.sort_by_key(|flag| (!flag.quarantined, flag.place));
    let of = |wanted: fn(Kind) -> bool| counts.iter().any(|(kind, count)| *count > 0 && wanted(*kind));
    let level = match () {
        () if of(|kind| matches!(kind, Kind::Card | Kind::Iban)) => Level::Block,
        () if of(|kind| kind == Kind::Email) => Level::Warn,
        () if !flags.is_empty() => Level::Info,
        () => Level::Pass,
    };
    let says: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{} {count}", kind.as_str()))
        .collect();
    let says =
        if says.is_empty() { "no personal data found".to_owned() } else { format!("rows with {}", says.join(", ")) };
    let share = share(flags.len(), set.examples.len());
    let check = Check::new("pii", level, says).value("share_of_rows", share).flags(flags);
    counts.into_iter().fold(check, |check, (kind, count)| check.value(kind.as_str(), f64::from(count)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    #[test]
    fn texts_are_told_apart() {
        for (text, expected) in [
            ("CARD 4111 1111 1111 1111 REF", vec![Kind::Card]),
            ("CARD 4111-1111-1111-1112", vec![]),
            ("ORDER 0000000000000000", vec![]),
            ("SEPA DE89 3704 0044 0532 0130 00 RENT", vec![Kind::Iban]),
            ("PAYPAL *ann.lee+shop@mail.example.com", vec![Kind::Email]),
            ("E-TRANSFER TO JANE Q DOE", vec![Kind::Name]),
            ("MRS SMITH TUTORING", vec![Kind::Name]),
            ("SQ *BLUE BOTTLE 0412 OAKLAND CA", vec![]),
            ("TRANSFER TO SAVINGS", vec![]),
        ] {
            assert_eq!(kinds(text), expected, "{text}");
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
