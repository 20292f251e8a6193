//! Reads the parts of a cleaned statement text: one pass over its words, each either a part or the merchant's.

use super::{prefix, tail, token};

/// Everything that is not the merchant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) processor: Option<&'static str>,
    pub(super) store_number: Option<String>,
    pub(super) order_code: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) masked_card: Option<String>,
    pub(super) date: Option<StatementDate>,
    pub(super) place: Option<Place>,
}

/// A date as a statement text tells it: often without the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementDate {
    /// The year, where it was told.
    pub year: Option<i32>,
    /// 1–12.
    pub month: u32,
    /// 1–31.
    pub day: u32,
}

/// Where it happened, as the text tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The city, as written.
    pub city: Option<String>,
    /// State or province, in capitals.
    pub region: Option<String>,
    /// ISO 3166-1 alpha-2, in capitals.
    pub country: Option<String>,
}

/// Splits a cleaned text into the merchant's part and the rest. The merchant's part is never empty:
/// where everything was a code, it is the text itself.
pub(super) fn read(raw: &str) -> (String, Parts) {
    let mut parts = Parts::default();
    let mut text = prefix::strip_lead_in(raw);
    while let Some((processor, rest)) = prefix::strip_processor(text) {
        // The first names the wallet, the last the one who knows the merchant; `SQ *SQ *` is one and the same.
        parts.processor = Some(processor);
        text = rest;
    }
    let mut words = split(text, parts.processor.is_some());
    take_codes(&mut words, &mut parts);
    let mut words: Vec<&str> = words.iter().map(|word| word.text).filter(|text| !text.is_empty()).collect();
    parts.place = tail::take_place(&mut words, raw);
    let merchant = words.join(" ");
    let merchant = merchant.trim_matches(|c: char| matches!(c, ' ' | '-' | '/' | ',' | '*' | '#' | ':' | '_'));
    let merchant = if merchant.contains(char::is_alphabetic) { merchant } else { text };
    (merchant.split_whitespace().collect::<Vec<_>>().join(" "), parts)
}

/// A word, and whether a `*` stands somewhere before it: what follows a star is more likely a code.
#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    starred: bool,
}

fn split(text: &str, mut starred: bool) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    for text in text.split_whitespace() {
        if token::masked_card(text).is_some() {
            words.push(Word { text, starred });
            continue;
        }
        for (index, text) in text.split('*').enumerate() {
            starred |= index > 0;
            // `RAIL//DGV131/25JUL`, `SCP_CJ046641819US`: a name and codes in one.
            let mixed = text.bytes().any(|b| b.is_ascii_digit()) && token::date(text, "").is_none();
            let separators: &[char] = if mixed { &['/', '_'] } else { &[] };
            words.extend(text.split(separators).filter(|text| !text.is_empty()).map(|text| Word { text, starred }));
        }
    }
    words
}

/// Blanks the words that are codes, and keeps what they said.
fn take_codes(words: &mut [Word<'_>], parts: &mut Parts) {
    let mut index = 0;
    while index < words.len() {
        let used = take_one(words, index, parts);
        for word in &mut words[index..index + used] {
            word.text = "";
        }
        index += used.max(1);
    }
}

/// How many words from `index` on were one code; 0 when none. May shorten the word in place.
fn take_one(words: &mut [Word<'_>], index: usize, parts: &mut Parts) -> usize {
    let Word { text, starred } = words[index];
    let next = words.get(index + 1).map_or("", |word| word.text);
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return take_announced(words, index, parts);
    }
    if let Some(card) = token::masked_card(text) {
        parts.masked_card.get_or_insert(card);
        return 1;
    }
    let ahead: Vec<&str> = words[index..].iter().take(4).map(|word| word.text).collect();
    if let Some((phone, used)) = token::phone(&ahead) {
        parts.phone.get_or_insert(phone);
        return used;
    }
    if let Some((date, used)) = token::date(text, next) {
        if parts.date.is_none() {
            parts.date = date;
        }
        return used;
    }
    if token::time(text) {
        return 1;
    }
    if let Some((name, number)) = text.trim_end_matches('#').split_once('#') {
        let number = number.trim_start_matches('#');
        if number.len() <= 8 && number.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            parts.store_number.get_or_insert(number.to_owned());
        } else {
            parts.order_code.get_or_insert(number.to_owned());
        }
        words[index].text = name;
        // The mark is one word further: blank it here, the name stays.
        if let Some(mark) = words.get_mut(index + 1).filter(|word| token::loyalty_mark(word.text)) {
            mark.text = "";
        }
        return usize::from(name.is_empty());
    }
    if token::leads_a_name(text, next) && index == 0 {
        return 0;
    }
    if let Some(number) = token::store_number(text, index > 0) {
        parts.store_number.get_or_insert(number.to_owned());
        return 1 + usize::from(token::loyalty_mark(next));
    }
    let glued = token::glued_number(text);
    if (starred || glued.is_none()) && token::order_code(text, starred) {
        parts.order_code.get_or_insert(text.trim_matches(['-', '(', ')', ',', '.', ':']).to_owned());
        return 1;
    }
    if let Some((name, number)) = glued {
        let part = if number.len() <= 6 { &mut parts.store_number } else { &mut parts.order_code };
        part.get_or_insert(number.to_owned());
        words[index].text = name;
    }
    0
}

/// Words that say what the next one is: `STORE 12`, `CARD 1234`, `REF 9X7`, `#`, `NO. 5`.
fn take_announced(words: &mut [Word<'_>], index: usize, parts: &mut Parts) -> usize {
    let Some(next) = words.get(index + 1).map(|word| word.text) else { return 0 };
    let number = next.trim_start_matches(['#', ':']);
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return 0;
    }
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    match token::announces(words[index].text) {
        Some(token::Announced::Store) if index > 0 && digits > 0 && number.len() <= 8 => {
            parts.store_number.get_or_insert(number.to_owned());
            2
        }
        // `FUTURE SHOP 317`: the word belongs to the name.
        Some(token::Announced::Branch) if index > 0 && digits > 0 && number.len() <= 8 => {
            parts.store_number.get_or_insert(number.to_owned());
            words[index + 1].text = "";
            0
        }
        Some(token::Announced::Card) if digits == number.len() && (2..=6).contains(&digits) => {
            parts.masked_card.get_or_insert(number.to_owned());
            2
        }
        Some(token::Announced::Reference) if digits >= 3 => {
            parts.order_code.get_or_insert(number.to_owned());
            2
        }
        _ => 0,
    }
}
