//! Reduces a merchant text to what is stable: see [`stable`].

use unicode_normalization::char::is_combining_mark;

use super::{
    DescriptorKey,
    clean::fold,
    parts::{self, Parts},
    token, words,
};

/// Enough for any text: a round that changes something takes a word off or shortens one.
const ROUNDS: usize = 64;

/// The card networks' merchant field is cut somewhere in here.
const CUT: std::ops::RangeInclusive<usize> = 19..=25;

/// The key of a merchant text. Parsing a key gives that key again: what was taken off may uncover more of the
/// same, such as a city behind a legal form, so it is repeated until nothing changes.
pub(super) fn stable(raw: &str, merchant: &str, parts: &Parts) -> DescriptorKey {
    let mut key = reduce(raw, merchant, parts.processor);
    for _ in 0..ROUNDS {
        let (merchant, parts) = parts::read(&key);
        let again = reduce(&key, &merchant, parts.processor);
        if again == key {
            break;
        }
        key = again;
    }
    DescriptorKey(key.into())
}

/// Whether the text's last word may have been cut by the field's end.
fn was_cut(raw: &str, merchant: &str) -> bool {
    let last = merchant.rsplit(' ').next().unwrap_or(merchant);
    CUT.contains(&raw.chars().count()) && raw.ends_with(last) && last.chars().all(char::is_alphabetic)
}

fn reduce(raw: &str, merchant: &str, processor: Option<&'static str>) -> String {
    let folded = fold(merchant).replace('\'', "");
    let text = without_open_parenthesis(&folded);
    let mut key = joined(text);
    if key.is_empty() {
        key.extend(letters_of_codes(text));
    }
    legal_form(&mut key, was_cut(raw, merchant));
    while key.len() > 1 && key.last().is_some_and(|last| matches!(last.as_str(), "of" | "the" | "for" | "and")) {
        key.pop();
    }
    if key.len() > 1 && matches!(key[0].as_str(), "the" | "www") {
        key.remove(0);
    }
    platform(&mut key, processor);
    key.join(" ")
}

/// The words, with what belongs together joined: `d g vacuum` → `dg vacuum`, `scholar s` → `scholars`,
/// `o connor` → `oconnor`, `7 eleven` → `7eleven`. Words with digits are left out, but for a first one that
/// begins a name; `and` too, as `&` comes and goes.
fn joined(text: &str) -> Vec<String> {
    let mut key: Vec<String> = Vec::new();
    let mut initials = false;
    let mut number = "";
    let mut pieces = pieces(text).peekable();
    let mut first = true;
    while let Some(word) = pieces.next() {
        let first = std::mem::take(&mut first);
        if word.contains(char::is_numeric) {
            if first && token::leads_a_name(word, pieces.peek().unwrap_or(&"")) {
                if word.chars().all(char::is_numeric) {
                    number = word;
                } else {
                    key.push(word.to_owned());
                }
            }
            continue;
        }
        let single = word.chars().count() == 1;
        match key.last_mut() {
            None => key.push(std::mem::take(&mut number).to_owned() + word),
            Some(last) if word == "s" && last.chars().count() > 1 => last.push('s'),
            Some(last) if word == "l" && matches!(last.as_str(), "int" | "nat" | "natl") => last.push('l'),
            Some(last) if initials && (single || last == "o") => last.push_str(word),
            Some(_) if word == "and" => continue,
            Some(_) => key.push(word.to_owned()),
        }
        initials = single;
    }
    key
}

/// One spelling for one legal form. They stay: two registrations of one name are often two trades. Where the
/// field's end cut one, or left one or two letters of a word, those go.
fn legal_form(key: &mut Vec<String>, cut: bool) {
    if key.len() < 2 {
        return;
    }
    let Some(last) = key.pop() else { return };
    if cut && (last.chars().count() <= 2 || words::begins_legal_form(&last)) {
        return;
    }
    key.push(words::legal_form(&last).map_or(last, str::to_owned));
}

/// Words: letters with their marks, and digits; everything else parts them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && !is_combining_mark(c))
        .map(|word| word.trim_start_matches(is_combining_mark))
        .filter(|word| !word.is_empty())
}

/// Where every word has digits, the letters in them: `impark00090389u` → `impark`; not those that mask a card.
fn letters_of_codes(text: &str) -> impl Iterator<Item = String> {
    let letters = text.split(|c: char| !c.is_alphabetic()).filter(|letters| letters.chars().count() >= 3);
    letters.filter(|letters| letters.chars().any(|c| c != 'x')).map(str::to_owned)
}

/// Platforms whose texts carry codes made of letters, or their customer's name: reduced to the platform
/// and its product, because that is who was paid.
fn platform(key: &mut Vec<String>, processor: Option<&'static str>) {
    if matches!(processor, Some("google" | "apple"))
        && key.first().is_none_or(|first| first != "google" && first != "apple")
    {
        key.insert(0, processor.unwrap_or_default().to_owned());
    }
    if key.len() > 1 && key[0] == "dd" && key[1] == "doordash" {
        key.remove(0);
    }
    let (name, products): (&str, &[&str]) = match key.first().map_or("", String::as_str) {
        "facebk" | "facebook" | "fb" => ("facebook", &[]),
        "uber" => ("uber", &["eats", "one", "freight", "bv"]),
        "lyft" => ("lyft", &[]),
        "airbnb" => ("airbnb", &[]),
        "amazon" | "amzn" => ("amazon", &["prime", "web", "aws", "music", "video", "digital", "kindle", "fresh"]),
        "eventbrite" => ("eventbrite", &[]),
        "doordash" => ("doordash", &[]),
        "google" => return google(key),
        "" => {
            key.extend(processor.map(str::to_owned));
            return;
        }
        _ => return,
    };
    let product = key.drain(..).skip(1).find(|word| products.contains(&word.as_str()));
    key.push(name.to_owned());
    key.extend(product);
}

/// Google's own products go without the customer's name; what was bought in its store keeps its own.
fn google(key: &mut Vec<String>) {
    let Some(product) = key.get_mut(1) else { return };
    if product == "adws" || product == "adwords" {
        "ads".clone_into(product);
    }
    if matches!(product.as_str(), "ads" | "gsuite" | "workspace" | "cloud" | "storage" | "play" | "services") {
        key.truncate(2);
    }
}

/// Without `(KENNED`: a branch in brackets that the field's end cut.
fn without_open_parenthesis(text: &str) -> &str {
    match text.rfind('(') {
        Some(open) if !text[open..].contains(')') && text[..open].contains(char::is_alphabetic) => &text[..open],
        _ => text,
    }
}
