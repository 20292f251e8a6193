//! Numbers of cards and accounts, by their check digits.
//!
//! A number that stands by itself, as it is printed, needs no more than these. Within more digits or letters it must
//! also be what an issuer or a country gives out: of anybody's digits, every tenth satisfies Luhn.

use std::{
    ops::{Range, RangeInclusive},
    sync::LazyLock,
};

use regex::Regex;

/// How many digits a card's number has.
const CARD: RangeInclusive<usize> = 13..=19;
/// How many characters an account's number has.
const ACCOUNT: RangeInclusive<usize> = 15..=34;

static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[0-9](?:[ .-]?[0-9]){12,}").ok());
static IBAN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i-u)[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}").ok());

/// How long the account numbers of each country are (ISO 13616's registry).
#[rustfmt::skip]
const COUNTRIES: [(usize, &[&str]); 18] = [
    (15, &["NO"]), (16, &["BE"]), (18, &["DK", "FI", "FK", "FO", "GL", "NL", "SD"]), (19, &["MK", "SI"]),
    (20, &["AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"]), (21, &["CH", "HR", "LI", "LV"]),
    (22, &["BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS", "VA"]),
    (23, &["AE", "GI", "IL", "IQ", "OM", "SO", "TL"]),
    (24, &["AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"]), (25, &["LY", "PT", "ST"]),
    (26, &["IS", "TR"]), (27, &["BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"]),
    (28, &["AL", "AZ", "BY", "CY", "DO", "GT", "HN", "HU", "LB", "NI", "PL", "SV"]),
    (29, &["BR", "EG", "PS", "QA", "UA"]), (30, &["JO", "KW", "MU", "YE"]), (31, &["MT", "SC"]), (32, &["LC"]),
    (33, &["RU"]),
];

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
    let formed = ACCOUNT.contains(&bytes.len())
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

/// Account numbers in a text, in the order of their places.
pub(super) fn accounts(text: &str) -> Vec<Range<usize>> {
    let Some(pattern) = IBAN.as_ref() else { return Vec::new() };
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(like) = pattern.find_at(text, from) {
        let account = account(text, like.range());
        from = account.as_ref().map_or(like.start() + 1, |account| account.end);
        found.extend(account);
    }
    found
}

/// The account's number that a match begins with: as long as its country's are, or else the longest that is printed.
fn account(text: &str, like: Range<usize>) -> Option<Range<usize>> {
    let run = Run::of(text, like, u8::is_ascii_alphanumeric);
    let long = run.places.len();
    let is = |length: usize| iban(&run.characters[..length]);
    let of_country = COUNTRIES.iter().find(|(_, countries)| countries.contains(&&run.characters[..2]));
    let given = of_country.map(|(length, _)| *length).filter(|&length| length <= long && is(length));
    let printed = |length: &usize| run.is_whole(&(0..*length)) && run.is_printed(&(0..*length));
    let length = given.or_else(|| ACCOUNT.rev().filter(|&length| length <= long).find(|n| printed(n) && is(*n)))?;
    Some(run.at(&(0..length)))
}

/// Card numbers in a text, outside of what is `taken`, which is in the order of its places.
pub(super) fn cards(text: &str, taken: &[Range<usize>]) -> Vec<Range<usize>> {
    let Some(pattern) = DIGITS.as_ref() else { return Vec::new() };
    let starts = std::iter::once(0).chain(taken.iter().map(|taken| taken.end));
    let free = starts.zip(taken.iter().map(|taken| taken.start).chain([text.len()]));
    free.flat_map(|(start, end)| {
        let runs = pattern.find_iter(&text[start..end]);
        runs.flat_map(move |found| {
            let run = Run::of(text, start + found.start()..start + found.end(), u8::is_ascii_digit);
            let cards = cards_of(&run);
            cards.into_iter().map(move |card| run.at(&card))
        })
    })
    .collect()
}

/// Every part of a run of digits that may be a card's number: those that stand alone before those that don't.
fn cards_of(run: &Run<'_>) -> Vec<Range<usize>> {
    let digits = run.characters.as_str();
    let parts = || {
        let from = |start: usize| CARD.map(move |length| start..start + length);
        (0..digits.len()).flat_map(from).filter(|part| part.end <= digits.len())
    };
    let checks = |part: &Range<usize>| {
        let digits = &digits[part.clone()];
        luhn(digits) && digits.bytes().any(|byte| byte != digits.as_bytes()[0])
    };
    // The first digit is the kind of issuer: 3 to 6 are banks and travel.
    let alone = |part: &Range<usize>| {
        (b'3'..=b'6').contains(&digits.as_bytes()[part.start]) && run.is_whole(part) && run.is_printed(part)
    };
    let among_others =
        |part: &Range<usize>| is_issued(&digits[part.clone()]) && (run.is_whole(part) || run.is_printed(part));
    let found = joined(parts().filter(|part| alone(part) && checks(part)));
    let is_free = |part: &Range<usize>| {
        let next = found.partition_point(|other| other.end <= part.start);
        found.get(next).is_none_or(|other| part.end <= other.start)
    };
    let others = joined(parts().filter(|part| among_others(part) && checks(part) && is_free(part)));
    [found, others].concat()
}

/// Parts in the order of their beginnings, where those that overlap are one.
fn joined(parts: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    parts.fold(Vec::new(), |mut apart: Vec<Range<usize>>, part| {
        match apart.last_mut().filter(|last| part.start < last.end) {
            Some(last) => last.end = last.end.max(part.end),
            None => apart.push(part),
        }
        apart
    })
}

/// Whether an issuer's cards begin like this and are as long (ISO/IEC 7812's ranges, as networks publish them).
fn is_issued(digits: &str) -> bool {
    let length = digits.len();
    match digits[..4].parse::<u16>() {
        // American Express.
        Ok(3400..=3499 | 3700..=3799) => length == 15,
        // Diners Club.
        Ok(3000..=3059 | 3600..=3699 | 3800..=3999) => length == 14 || length >= 16,
        // Visa.
        Ok(4000..=4999) => length == 16 || length == 19,
        // Mastercard.
        Ok(2221..=2720 | 5100..=5599) => length == 16,
        // Mir; JCB; Maestro, Discover, UnionPay, RuPay.
        Ok(2200..=2204 | 3528..=3589 | 5000..=5099 | 5600..=6999) => length >= 16,
        _ => false,
    }
}

/// Characters of a kind, with at most one other between two of them.
struct Run<'a> {
    text: &'a [u8],
    is: fn(&u8) -> bool,
    /// Where each is in the text.
    places: Vec<usize>,
    /// They themselves, in upper case.
    characters: String,
}

impl<'a> Run<'a> {
    fn of(text: &'a str, at: Range<usize>, is: fn(&u8) -> bool) -> Self {
        let text = text.as_bytes();
        let places: Vec<usize> = at.filter(|&place| is(&text[place])).collect();
        let characters = places.iter().map(|&place| char::from(text[place].to_ascii_uppercase())).collect();
        Self { text, is, places, characters }
    }

    /// Where a part of it is in the text.
    fn at(&self, part: &Range<usize>) -> Range<usize> {
        self.places[part.start]..self.places[part.end - 1] + 1
    }

    /// Whether none of the kind stands right before a part, or right behind it.
    fn is_whole(&self, part: &Range<usize>) -> bool {
        let at = self.at(part);
        let before = at.start.checked_sub(1).map(|place| &self.text[place]);
        ![before, self.text.get(at.end)].into_iter().flatten().any(self.is)
    }

    /// Whether a part is in one piece, or in groups of four, or like American Express' and Diners Club's cards.
    fn is_printed(&self, part: &Range<usize>) -> bool {
        let places = &self.places[part.clone()];
        let groups: Vec<usize> = places.chunk_by(|one, next| one + 1 == *next).map(<[usize]>::len).collect();
        match groups.as_slice() {
            [_] | [4, 6, 4 | 5] => true,
            [fours @ .., last] => *last <= 4 && fours.iter().all(|&group| group == 4),
            [] => false,
        }
    }
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

    fn numbers(text: &str) -> Vec<&str> {
        let accounts = accounts(text);
        let cards = cards(text, &accounts);
        accounts.into_iter().chain(cards).map(|at| &text[at]).collect()
    }

    #[test]
    fn no_number_or_code_that_stands_before_a_number_hides_it() {
        let card = "5500005555555559";
        for before in
            ["REF 2026 ", "REF 20260314 ", "2026-03-14 ", "ID 12345.", "AUTH 493021 ", "20260314", "1 22 333 "]
        {
            assert_eq!(numbers(&format!("{before}{card} 17")), [card], "{before}");
        }
        assert_eq!(numbers("TERM 0412 4111 1111 1111 1111 9021"), ["4111 1111 1111 1111"]);
        assert_eq!(numbers("4111111111111111 5500005555555559"), ["4111111111111111", card]);
        for before in ["RE2026 RG ", "RG12 3456 ", "SEPA", "AB12CD34", "DE00 "] {
            assert_eq!(numbers(&format!("{before}DE89370400440532013000")), ["DE89370400440532013000"], "{before}");
        }
        assert_eq!(
            numbers("GB82 WEST 1234 5698 7654 32 DE89370400440532013000 5500005555555559"),
            ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", card]
        );
    }

    #[test]
    fn days_references_and_terminals_are_seldom_taken_for_numbers() {
        // Every tenth number satisfies Luhn, and four in ten begin like a card: 4 % of those of as many digits.
        type Text = fn(u64) -> String;
        let texts: [(Text, usize); 5] = [
            (|n| format!("REF 20260314 {:08} TERMINAL {:06}", n * 7_919 % 100_000_000, n), 0),
            (|n| format!("2026-03-14 09:26:53 {:06} 0412 {:06}", n * 7_919 % 1_000_000, n), 400),
            (|n| format!("POS 20260314 092653 {:06}", n * 7_919 % 1_000_000), 0),
            (|n| format!("ORDER {:016}", n * 7_919_101_113 % 10_000_000_000_000_000), 600),
            (|n| format!("RE2026{n:06} CORNER COFFEE STORE RG12 OAKLAND"), 0),
        ];
        for (text, most) in texts {
            let taken = (0..10_000).map(text).filter(|text| !numbers(text).is_empty()).count();
            assert!(taken <= most, "{taken} such as {}", text(1));
        }
    }

    proptest! {
        #[test]
        fn a_card_is_found_whatever_digits_stand_before_and_behind_it(
            before in "([0-9]{1,24}[ .-]?){0,3}", body in "(4|5[1-5]|6011|35[3-8])[0-9]{14}", behind in "([ .-]?[0-9]{1,9}){0,3}",
        ) {
            let body = &body[..15];
            let card = (0..10).map(|digit| format!("{body}{digit}")).find(|card| luhn(card)).unwrap();
            let text = format!("{before}{card}{behind}");
            let at = before.len()..before.len() + card.len();
            let covers = |found: &Range<usize>| found.start <= at.start && at.end <= found.end;
            prop_assert!(cards(&text, &[]).iter().any(covers), "{}", text);
        }

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
