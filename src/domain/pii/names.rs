//! People's names, guessed from the words around them: what stands behind the words of a transfer.
//!
//! Names are not looked up anywhere. Found too many, a merchant is hidden; found too few, a person is told: where in
//! doubt, between people, a word is a name.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

/// Words of a name at most, without what stands between them.
const MOST_WORDS: usize = 4;

/// What makes one expect a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cue {
    /// `MR`, `FRAU`.
    Title,
    /// A way that people pay each other.
    People,
    /// Money moved, between accounts or people.
    Moved,
    /// Money moved, and only what follows `to` or `from` is a party.
    MovedTo,
    /// A payment, mostly to a firm.
    Paid,
}

impl Cue {
    const ALL: [(&'static str, Self); 5] = [
        ("title", Self::Title),
        ("people", Self::People),
        ("moved_to", Self::MovedTo),
        ("moved", Self::Moved),
        ("paid", Self::Paid),
    ];

    /// How many words make a name behind it, with or without what leads to one; `None` where none does.
    fn least(self, led: bool) -> Option<usize> {
        match (self, led) {
            (Self::Title, _) | (Self::People | Self::Moved | Self::MovedTo, true) => Some(1),
            (Self::People | Self::Moved, false) | (Self::Paid, true) => Some(2),
            (Self::MovedTo | Self::Paid, false) => None,
        }
    }
}

static CUES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)\b(?:(?P<title>mr|mrs|ms|miss|mx|dr|herr|frau|mme|mlle|monsieur|madame|sr|sra|señor|señora)\b\.?",
        r"|(?P<people>interac|e-?transfer|e-?tfr|zelle|venmo|cash ?app|bizum|twint|swish|vipps|revolut|wise|",
        r"gutschrift|überweisung|ueberweisung|faster payments?|fps|standing order|request money)\b",
        r"|(?P<moved_to>virement|vir)\b",
        r"|(?P<moved>transfer|trf|tfr|xfer|wire|transferencia|bonifico)\b",
        r"|(?P<paid>payment|pmt|paid|sent|received|paypal)\b)",
    ))
    .ok()
});
/// A word of letters. The apostrophe of a JSON text may be escaped.
static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}](?:[\p{L}'’.-]|\\u0027)*").ok());
static CODE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}]*[0-9][\p{L}0-9]*").ok());

/// What stands between a cue and what leads to a name.
#[rustfmt::skip]
const FILLERS: [&str; 25] = [
    "credit", "debit", "e-tfr", "e-transfer", "emis", "etfr", "etransfer", "inst", "instant",
    "money", "payment", "pmt", "received", "recibida", "recu", "reçu", "sent", "sepa",
    "standard", "tfr", "transfer", "trf", "virement", "xfer", "émis",
];

/// What leads to a name.
#[rustfmt::skip]
const LEADS: [&str; 13] = [
    "a", "an", "by", "da", "de", "from", "para", "per", "pour",
    "to", "vers", "von", "à",
];

/// What belongs to a name and is none.
#[rustfmt::skip]
const PARTICLES: [&str; 28] = [
    "al", "bin", "da", "de", "del", "den", "der", "di", "dos",
    "dr", "du", "el", "frau", "herr", "la", "le", "miss", "mlle",
    "mme", "mr", "mrs", "ms", "mx", "ten", "ter", "van", "von",
    "zu",
];

/// What firms, accounts and institutions are called: no part of it is a person's name.
#[rustfmt::skip]
const BUSINESS: [&str; 119] = [
    "account", "acct", "ag", "agency", "airlines", "amex", "association", "bank", "banking",
    "bar", "barclaycard", "broadband", "bundesagentur", "bv", "caf", "cafe", "center", "centre",
    "checking", "chequing", "chk", "chq", "church", "city", "clinic", "club", "cnav",
    "co", "coffee", "company", "compte", "consulting", "corp", "council", "cpam", "credit",
    "current", "debit", "dental", "dentist", "department", "electric", "energy", "enterprises", "epargne",
    "familienkasse", "finanzamt", "foundation", "fund", "garage", "gas", "gmbh", "grill", "group",
    "gym", "hospital", "hotel", "inc", "insurance", "international", "invest", "investment", "investments",
    "isa", "kg", "klarna", "konto", "limited", "livret", "llc", "llp", "ltd",
    "market", "mastercard", "media", "ministry", "mobile", "mortgage", "motors", "online", "own",
    "payroll", "pharmacy", "pizza", "plc", "pocket", "pot", "pub", "railway", "rentenversicherung",
    "restaurant", "sa", "sarl", "sas", "sav", "saver", "savings", "school", "services",
    "shop", "solutions", "spa", "sparkonto", "storage", "store", "stores", "supermarket", "svgs",
    "systems", "tagesgeld", "taxi", "telecom", "trust", "university", "vets", "visa", "wallet",
    "water", "épargne",
];

/// What a transfer is for, or what comes behind a name.
#[rustfmt::skip]
const PURPOSES: [&str; 43] = [
    "allocations", "bill", "bills", "card", "deposit", "dividend", "dividenden", "fee", "fees",
    "for", "fps", "gehalt", "id", "interest", "inv", "invoice", "loan", "lohn",
    "loyer", "miete", "monthly", "on", "payment", "payments", "purchase", "ref", "reference",
    "refund", "rent", "rest", "retraite", "salaire", "salary", "share", "tax", "thanks",
    "the", "transfer", "via", "wages", "web", "www", "zinsen",
];

fn is_one_of(list: &[&str], word: &str) -> bool {
    let plain = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    list.binary_search(&plain.as_str()).is_ok()
}

fn word(text: &str) -> Option<&str> {
    Some(WORD.as_ref()?.find(text)?.as_str())
}

/// Names in a text, in the order of their places; what is `taken` by something surer is no part of one.
pub(super) fn find(text: &str, taken: &[Range<usize>]) -> Vec<Range<usize>> {
    let Some(cues) = CUES.as_ref() else { return Vec::new() };
    let mut names: Vec<Range<usize>> = Vec::new();
    for found in cues.captures_iter(text) {
        let cue = Cue::ALL.into_iter().find_map(|(name, cue)| Some((found.name(name)?.range(), cue)));
        let Some((at, cue)) = cue else { continue };
        if names.last().is_some_and(|name| at.start < name.end) {
            continue;
        }
        let cards =
            text[..at.start].trim_end().rsplit(' ').next().is_some_and(|word| is_one_of(&["card", "debit"], word));
        if cue == Cue::Paid && cards {
            continue;
        }
        if text[at.clone()].eq_ignore_ascii_case("fps") {
            names.extend(before(text, at.start, taken));
        }
        names.extend(behind(text, found.get(0).map_or(at.end, |whole| whole.end()), cue, taken));
    }
    names
}

/// The name that a British faster payment begins with.
fn before(text: &str, at: usize, taken: &[Range<usize>]) -> Option<Range<usize>> {
    let from = text[..at].rfind(['"', '\n']).map_or(0, |end| end + 1);
    name(text, from, Cue::People, taken).filter(|(name, words)| *words >= 2 && name.end < at).map(|(name, _)| name)
}

/// The name behind a cue that ends at `at`.
fn behind(text: &str, mut at: usize, cue: Cue, taken: &[Range<usize>]) -> Option<Range<usize>> {
    let mut led = false;
    let mut codes = 0;
    loop {
        let gap = text[at..].len() - text[at..].trim_start_matches([' ', ':', '*', '-', '/']).len();
        if gap == 0 {
            return None;
        }
        led |= cue == Cue::People && text[at..at + gap].contains(['*', ':']);
        at += gap;
        if cue == Cue::Title {
            break;
        }
        let code = CODE.as_ref().and_then(|code| code.find(&text[at..])).map(|code| code.end());
        if let Some(length) = code.filter(|_| cue == Cue::People && codes < 2) {
            codes += 1;
            at += length;
            continue;
        }
        let Some(next) = word(&text[at..]) else { break };
        if is_one_of(&FILLERS, next) {
            at += next.len();
        } else {
            // A word that leads to a name is followed by one.
            if is_one_of(&LEADS, next) && text[at + next.len()..].starts_with([' ', ':']) {
                led = true;
                at += next.len();
                at += text[at..].len() - text[at..].trim_start_matches([' ', ':']).len();
            }
            break;
        }
    }
    name(text, at, cue, taken)
        .filter(|(_, words)| cue.least(led).is_some_and(|least| *words >= least))
        .map(|(name, _)| name)
}

/// The name that begins at `from`, and of how many words it is: it ends where a purpose begins. Behind a title there is a
/// person, whatever comes next.
fn name(text: &str, from: usize, cue: Cue, taken: &[Range<usize>]) -> Option<(Range<usize>, usize)> {
    let (mut at, mut end, mut words) = (from, None, 0);
    while let Some(next) = word(&text[at..]) {
        let after = at + next.len();
        let short = next.chars().count() <= 2;
        let goes_on = |c: char| c.is_alphanumeric() || c == '@' || c == '_' || c == '/' && short;
        let partly = text[after..].starts_with(goes_on);
        if partly || taken.iter().any(|taken| at < taken.end && taken.start < after) {
            break;
        }
        let is_business = is_one_of(&BUSINESS, next);
        if is_business && cue != Cue::Title {
            return None;
        }
        if is_business || is_one_of(&PURPOSES, next) {
            break;
        }
        if !is_one_of(&PARTICLES, next) {
            words += 1;
            end = Some(after);
        }
        at = after;
        let rest = &text[at..];
        let gap = if words == 1 && rest.starts_with(", ") { 1 } else { 0 };
        let spaces = rest[gap..].len() - rest[gap..].trim_start_matches(' ').len();
        if words == MOST_WORDS || spaces == 0 {
            break;
        }
        at += gap + spaces;
    }
    end.map(|end| (from..end, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        find(text, &[]).into_iter().map(|at| &text[at]).collect()
    }

    #[test]
    fn names_are_what_follows_the_words_of_a_transfer_between_people() {
        for (text, name) in [
            ("ZELLE TO JOHN SMITH", "JOHN SMITH"),
            ("ZELLE FROM MARIA", "MARIA"),
            ("Zelle to Ana", "Ana"),
            ("ZELLE TO TESS P 77", "TESS P"),
            ("INTERAC E-TRANSFER FROM MARIE-CLAIRE O'NEIL", "MARIE-CLAIRE O'NEIL"),
            (r"INTERAC E-TRANSFER FROM SEAN O\u0027NEIL", r"SEAN O\u0027NEIL"),
            ("INTERAC E-TRANSFER SENT PRIYA ADAIR 0HR5Q7", "PRIYA ADAIR"),
            ("E-TRANSFER RECEIVED RUTH ROSSI X4KHZ2", "RUTH ROSSI"),
            ("VIR INST VERS PAUL MORI", "PAUL MORI"),
            ("VIR RECU DE CAMILLE JOSHI", "CAMILLE JOSHI"),
            ("GUTSCHRIFT NILS PARK", "NILS PARK"),
            ("SEPA-ÜBERWEISUNG AN JÜRGEN MÜLLER", "JÜRGEN MÜLLER"),
            ("VENMO *ANA DE SOUZA", "ANA DE SOUZA"),
            ("CASH APP*KIRA S", "KIRA S"),
            ("VENMO PAYMENT 1023992 SARAH CONNOR", "SARAH CONNOR"),
            ("WISE TRANSFER KARL MARX", "KARL MARX"),
            ("TRANSFER TO MARIA", "MARIA"),
            ("TRANSFER TO ANNA MARIA VAN DER BERG", "ANNA MARIA VAN DER BERG"),
            ("PAYMENT TO GONZALEZ, MARIA", "GONZALEZ, MARIA"),
            ("VIREMENT INSTANT EMIS POUR LÉA MARTIN", "LÉA MARTIN"),
            ("RENT MRS PATEL", "PATEL"),
            ("MRS SMITH COFFEE", "SMITH"),
            ("STANDING ORDER TO WEI TANAKA RENT", "WEI TANAKA"),
            ("FARAH EVANS BILLS FPS", "FARAH EVANS"),
        ] {
            assert_eq!(names(text), [name], "{text}");
        }
    }

    #[test]
    fn firms_accounts_and_purposes_are_no_names() {
        for text in [
            "TRANSFER TO SAVINGS ACCOUNT",
            "TRANSFER FROM CHK 1132",
            "PAYMENT TO ACME LTD",
            "CARD PAYMENT TO TIM HORTONS",
            "DIRECT DEBIT PAYMENT TO BRITISH GARDENS",
            "PAYPAL *STEAM GAMES",
            "TRANSFERWISE",
            "VIR SALAIRE ACME",
            "VIR CAF ALLOCATIONS",
            "DIRECT DEBIT PAYMENT TO ZOPA REF 10",
            "WIRE TRANSFER FEE",
            "TFR-TO C/C 8841",
            "VIREMENT VERS COMPTE 12",
        ] {
            assert_eq!(names(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn a_name_ends_where_something_surer_begins() {
        let text = "SEPA UEBERWEISUNG AN HANS MUELLER DE89370400440532013000";
        let at = text.find("DE89").unwrap();
        let taken = vec![Range { start: at, end: text.len() }];
        let found: Vec<&str> = find(text, &taken).into_iter().map(|at| &text[at]).collect();
        assert_eq!(found, ["HANS MUELLER"]);
    }

    #[test]
    fn the_lists_of_words_are_sorted_for_their_search() {
        assert!([&FILLERS[..], &LEADS, &PARTICLES, &BUSINESS, &PURPOSES].into_iter().all(<[_]>::is_sorted));
    }
}
