//! What one word of a statement text is, judged by its form alone.

use super::{parts::StatementDate, words};

/// What a word says the next one is.
pub(super) enum Announced {
    /// A branch's number, and the word says no more than that.
    Store,
    /// A branch's number, and the word may be part of the name.
    Branch,
    Card,
    Reference,
}

pub(super) fn announces(word: &str) -> Option<Announced> {
    let word = word.trim_end_matches(['.', ':', '-']);
    let is = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(word));
    if is(&["#", "NO", "NR", "UNIT", "FILIALE", "TERMINAL"]) {
        Some(Announced::Store)
    } else if is(&["STORE", "STR", "SHOP", "BRANCH", "STN", "KIOSK", "STATION"]) {
        Some(Announced::Branch)
    } else if is(&["CARD", "CARTE", "KARTE", "IN"]) {
        Some(Announced::Card)
    } else if is(&["REF", "REFERENCE", "ORDER", "INVOICE", "INV", "CONF", "TXN", "TRACE", "AUTH", "TICKET"]) {
        Some(Announced::Reference)
    } else {
        None
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The visible end of `XXXXXXXXXXXX1234`, `****1234`, `450012XXXXXX1234`.
pub(super) fn masked_card(word: &str) -> Option<String> {
    let shown = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let end = shown.trim_start_matches(['X', 'x', '*', '•', '-']);
    let masked = shown.chars().count() - end.chars().count();
    (masked >= 2 && (2..=6).contains(&end.len()) && all_digits(end)).then(|| end.to_owned())
}

/// A telephone number in up to four words: its digits, and how many words it took.
pub(super) fn phone(ahead: &[&str]) -> Option<(String, usize)> {
    let first = *ahead.first()?;
    if ahead.len() == 1 && toll_free_cut(first) {
        return Some((digits_of(first), 1));
    }
    let separated =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'(' | b')' | b'+'));
    for used in 1..=ahead.len() {
        if !separated(ahead[used - 1]) {
            break;
        }
        let text = ahead[..used].join(" ");
        let digits = digits_of(&text);
        let groups: Vec<usize> =
            text.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty()).map(str::len).collect();
        let american = matches!(groups[..], [3, 3, 4] | [1, 3, 3, 4] | [3, 7] | [1, 3, 7])
            && (used == 1 || text.contains(['-', '(', '.']) || used == 3)
            && digits.trim_start_matches('1').starts_with(|c: char| c >= '2');
        let international = text.starts_with('+') && (8..=15).contains(&digits.len());
        let toll_free = groups.len() == 1 && digits.len() == 10 && toll_free_cut(&text);
        let more = ahead.get(used).is_some_and(|next| separated(next) && text.starts_with('+'));
        if (american || international || toll_free) && !more {
            return Some((if text.starts_with('+') { format!("+{digits}") } else { digits }, used));
        }
    }
    None
}

/// `800-2`, `(1-888-555`: a North American toll-free prefix and not yet a whole number; or ten digits of one.
fn toll_free_cut(text: &str) -> bool {
    let text = text.trim_start_matches('(');
    let text = text.strip_prefix("1-").unwrap_or(text);
    let code = ["800", "822", "833", "844", "855", "866", "877", "888"].iter().find_map(|code| text.strip_prefix(code));
    code.is_some_and(|rest| match rest.strip_prefix('-') {
        Some(cut) => cut.len() <= 7 && cut.bytes().all(|b| b.is_ascii_digit() || b == b'-'),
        None => rest.len() == 7 && all_digits(rest),
    })
}

fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// A date in one word or two, and how many it took. `None` inside where day and month can't be told apart.
pub(super) fn date(word: &str, next: &str) -> Option<(Option<StatementDate>, usize)> {
    let word = word.trim_end_matches([',', '.', ':']);
    if let Some(date) = numeric_date(word) {
        return Some((date, 1));
    }
    // `24AUG`, `24AUG19`, `VIA//DGV131/24AUG` is left to the order code.
    let day_end = word.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=2).contains(&day_end) && word.is_ascii() && word.len() >= day_end + 3 {
        let (month, year) = (words::month(&word[day_end..day_end + 3]), &word[day_end + 3..]);
        if let (Some(month), Some(year)) = (month, year_of(year)) {
            return known(word[..day_end].parse().ok()?, month, year).map(|date| (Some(date), 1));
        }
    }
    let (day, month) = (word.parse::<u32>().ok().filter(|_| word.len() == 2)?, words::month(next)?);
    known(day, month, None).map(|date| (Some(date), 2))
}

fn year_of(text: &str) -> Option<Option<i32>> {
    match text.len() {
        0 => Some(None),
        2 if all_digits(text) => Some(text.parse::<i32>().ok().map(|year| 2000 + year)),
        4 if all_digits(text) => Some(text.parse().ok().filter(|year| (1990..2100).contains(year))),
        _ => None,
    }
}

fn known(day: u32, month: u32, year: Option<i32>) -> Option<StatementDate> {
    // A leap year where none was told: 29 February exists in some year.
    chrono::NaiveDate::from_ymd_opt(year.unwrap_or(2000), month, day).map(|_| StatementDate { year, month, day })
}

/// `2019-05-12`, `12/05/2019`, `12.05.19`, `05/12`.
fn numeric_date(word: &str) -> Option<Option<StatementDate>> {
    let separator = word.chars().find(|c| !c.is_ascii_digit()).filter(|c| matches!(c, '/' | '-' | '.'))?;
    let fields: Vec<&str> = word.split(separator).collect();
    if !fields.iter().all(|field| all_digits(field)) {
        return None;
    }
    let (first, second, year) = match fields[..] {
        [year, month, day] if year.len() == 4 => {
            let year = year_of(year)??;
            return known(day.parse().ok()?, month.parse().ok()?, Some(year)).map(Some);
        }
        [first, second, year] if matches!(year.len(), 2 | 4) && first.len() <= 2 && second.len() <= 2 => {
            (first, second, Some(year_of(year)??))
        }
        [first, second] if separator == '/' && first.len() == 2 && second.len() == 2 => (first, second, None),
        _ => return None,
    };
    let (first, second) = (first.parse().ok()?, second.parse().ok()?);
    match (known(first, second, year), known(second, first, year)) {
        (None, None) => None,
        (Some(date), None) | (None, Some(date)) => Some(Some(date)),
        // Dots are European: day first. Otherwise a date surely, but which one can't be told.
        (Some(date), Some(other)) => Some((date == other || separator == '.').then_some(date)),
    }
}

/// `14:05`, `14:05:33`.
pub(super) fn time(word: &str) -> bool {
    let fields: Vec<&str> = word.split(':').collect();
    matches!(fields.len(), 2 | 3) && fields.iter().all(|field| field.len() == 2 && all_digits(field))
}

/// Digits that begin a name: `7 ELEVEN`, `241 PIZZA`, `1441456 ONTARIO`, `123INK`, `A1`.
pub(super) fn leads_a_name(word: &str, next: &str) -> bool {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &word[digits..];
    if digits == 0 {
        return word.len() <= 4 && word.bytes().filter(u8::is_ascii_digit).count() == 1;
    }
    if rest.is_empty() {
        return (digits <= 3 && !word.starts_with('0') && next.starts_with(char::is_alphabetic))
            || ((6..=8).contains(&digits) && numbered_company(next));
    }
    if (6..=8).contains(&digits) && numbered_company(rest) {
        return true;
    }
    digits <= 4
        && !word.starts_with('0')
        && rest.trim_start_matches(['-', '&', '/', '.']).starts_with(char::is_alphabetic)
}

/// What follows the number of a company that has no other name: `1441456 ONTARIO LTD`.
fn numbered_company(next: &str) -> bool {
    ["ONTARIO", "ONT", "CANADA", "QUEBEC", "ALBERTA", "MANITOBA", "BC", "B.C.", "NB", "NOVA"]
        .iter()
        .any(|place| place.eq_ignore_ascii_case(next))
}

/// `00654`, `-034`, `(08)`, and behind a name `T3749` and `T-1234`: the branch.
pub(super) fn store_number(word: &str, behind: bool) -> Option<&str> {
    let bare = word.trim_matches(['-', '(', ')', ',', '.', ':', '/']);
    let bare = bare
        .split_at_checked(bare.len().saturating_sub(3))
        .filter(|(_, mark)| loyalty_mark(mark))
        .map_or(bare, |(number, _)| number);
    if all_digits(bare) && bare.len() <= 6 {
        return Some(bare);
    }
    let (letter, digits) = bare.split_at_checked(1)?;
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    (behind && letter.bytes().all(|b| b.is_ascii_uppercase()) && (3..=5).contains(&digits.len()) && all_digits(digits))
        .then_some(bare)
}

/// `QTH`, `QPS`: a loyalty program's mark behind a branch's number.
pub(super) fn loyalty_mark(word: &str) -> bool {
    word.len() == 3 && word.starts_with('Q') && word.bytes().all(|b| b.is_ascii_uppercase())
}

/// A reference of one purchase: long digits, or letters and digits mixed so that no name is in it.
pub(super) fn order_code(word: &str, starred: bool) -> bool {
    let bare = word.trim_matches(['-', '(', ')', ',', '.', ':', '/']);
    if !bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/')) {
        return false;
    }
    let digits = bare.bytes().filter(u8::is_ascii_digit).count();
    let letters = bare.bytes().filter(u8::is_ascii_alphabetic).count();
    if letters == 0 {
        return digits >= 7;
    }
    let longest_word = bare.split(|c: char| !c.is_ascii_alphabetic()).map(str::len).max().unwrap_or(0);
    digits >= 2 && digits + letters >= 6 && longest_word <= if starred { 5 } else { 4 }
        || starred && digits + letters >= 7 && (digits >= 1 && longest_word <= 5 || digits >= 3 && longest_word <= 6)
}

/// A name with digits glued on: `MART0776`, `SERVICEONTARIO-034`, `PORTRAITS23031`.
pub(super) fn glued_number(word: &str) -> Option<(&str, &str)> {
    let name = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &word[name.len()..];
    let letters = name.trim_end_matches('-');
    let wordlike = letters.len() >= 4
        && letters.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'\'' | b'.' | b'&' | b'-'));
    (wordlike && number.len() >= 2).then_some((letters, number))
}
