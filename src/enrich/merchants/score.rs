//! How much a name found in a text is worth: the weighing behind
//! [`MerchantIndex`](super::MerchantIndex), with its reasons.

use std::{fmt, sync::Arc};

use super::{
    index::{CURATED, Name, Span},
    kinds::kind,
    squash::{Squashed, Word},
    words::{self, Class},
};
use crate::domain::{Merchant, Slug, merchant::MatchKind, transaction::Country};

/// How much a name tells on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// Ordinary words, or at most three letters.
    Weak,
    /// One distinctive word.
    Plain,
    /// Several words, or a long one.
    Strong,
}

impl Strength {
    pub(super) fn of(name: &Squashed, written: &str) -> Self {
        let words = written.split_whitespace().count();
        if name.text.chars().count() <= 3 || words::is_common(name) && name.words.len() < 3 {
            Self::Weak
        } else if (words > 1 && name.text.len() >= 8) || name.text.len() >= 12 {
            Self::Strong
        } else {
            Self::Plain
        }
    }

    /// Acronyms of transit authorities and power companies stand for much else.
    fn of_kind(self, merchant: &Merchant, name: &str) -> Self {
        match rank(merchant) {
            3 if self == Self::Plain => Self::Weak,
            2 if self == Self::Plain && name.len() <= 5 && merchant.kind.starts_with("route=") => Self::Weak,
            _ => self,
        }
    }
}

/// Letters from which a misspelt name is believed beside other words.
const SURE: usize = 10;

/// Whether the name's main business is this merchant's: 1 it is, 2 and 3 it is not.
pub(super) fn rank(merchant: &Merchant) -> u8 {
    kind(&merchant.kind).map_or(1, |kind| kind.rank)
}

/// How a merchant's countries fit the transaction's; better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It trades there.
    Here,
    /// It trades anywhere.
    Anywhere,
    /// It trades in some countries, and where this was is unknown.
    Unknown,
    /// It trades elsewhere.
    Elsewhere,
}

pub(super) fn fit(merchant: &Merchant, country: Option<&Country>) -> Fit {
    match country {
        _ if merchant.countries.is_empty() => Fit::Anywhere,
        Some(country) if merchant.countries.contains(country) => Fit::Here,
        Some(_) => Fit::Elsewhere,
        None => Fit::Unknown,
    }
}

/// What changed a score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The name is an ordinary word or very short.
    WeakName,
    /// Other words stand before the name.
    Before(usize),
    /// Other words stand after it.
    After(usize),
    /// A word beside it names another kind of business.
    OtherTrade(String),
    /// Its countries don't have the transaction's.
    Elsewhere,
    /// Its countries are limited, and where this was is unknown.
    CountryUnknown,
    /// Merchants of other kinds have the same name.
    SharedName(usize),
    /// A short name that the text spreads over several words.
    Spread,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WeakName => f.write_str("an ordinary or very short name"),
            Self::Before(words) => write!(f, "{words} other word(s) before it"),
            Self::After(words) => write!(f, "{words} other word(s) after it"),
            Self::OtherTrade(word) => write!(f, "`{word}` names another kind of business"),
            Self::Elsewhere => f.write_str("trades in other countries"),
            Self::CountryUnknown => f.write_str("trades in some countries, and where this was is unknown"),
            Self::SharedName(others) => write!(f, "{others} other merchant(s) of another kind have this name"),
            Self::Spread => f.write_str("a short name spread over several words"),
        }
    }
}

/// What is weighed.
pub(super) struct Case<'a> {
    pub(super) text: &'a Squashed,
    /// The text may be cut off at its end.
    pub(super) cut: bool,
    pub(super) span: Span,
    pub(super) name: &'a Name,
    pub(super) merchant: &'a Merchant,
    pub(super) owners: &'a [&'a Arc<Merchant>],
    pub(super) country: Option<&'a Country>,
}

/// The score in `[0, 1]` and what made it.
pub(super) fn score(case: &Case<'_>) -> (f32, Vec<Note>) {
    let &Case { text, cut, span, name, merchant, owners, country } = case;
    let mut notes = Vec::new();
    let strength = name.strength.of_kind(merchant, &name.squashed);
    let mut score: f32 = match span.kind {
        MatchKind::Exact => 1.0,
        // How much of the name is there.
        MatchKind::Truncated => {
            let seen = text.words[span.last].end - text.words[span.first].start;
            0.6 + 0.35 * seen as f32 / name.squashed.len() as f32
        }
        MatchKind::Fuzzy => 0.8,
    };
    if strength == Strength::Weak {
        notes.push(Note::WeakName);
        if span.kind != MatchKind::Exact {
            return (0.0, notes);
        }
    }

    let inside = &text.words[span.first..=span.last];
    if name.squashed.len() <= 5 && inside[1..].iter().any(|word| word.spaced) && !name.written.contains(' ') {
        notes.push(Note::Spread);
        score *= 0.3;
    }

    let (before, after) = (&text.words[..span.first], &text.words[span.last + 1..]);
    let contradicts = |word: &&Word| {
        let last = cut && word.end == text.text.len();
        words::contradicts(text.word(**word), last, &merchant.kind)
    };
    if let Some(word) = before.iter().chain(after).find(contradicts) {
        notes.push(Note::OtherTrade(text.word(*word).to_owned()));
        score *= if strength == Strength::Strong && span.kind == MatchKind::Exact { 0.6 } else { 0.3 };
    }
    let telling = |words: &[Word]| words.iter().filter(|word| tells(text.word(**word))).count();
    let (before, after) = (telling(before), telling(after));
    let (per_before, per_after): (f32, f32) = match strength {
        Strength::Weak => (0.3, 0.6),
        Strength::Plain => (0.5, 0.88),
        Strength::Strong => (0.8, 0.97),
    };
    let alone = text.words.len() == span.last - span.first + 1;
    if span.kind == MatchKind::Fuzzy && !alone && (before + after > 0 || name.squashed.len() < SURE) {
        score *= 0.5;
    }
    if before > 0 {
        notes.push(Note::Before(before));
        score *= per_before.powi(before as i32);
    }
    if after > 0 {
        notes.push(Note::After(after));
        score *= per_after.powi(after.min(4) as i32);
    }

    let fit = fit(merchant, country);
    match fit {
        Fit::Here => {}
        Fit::Anywhere => score *= if strength == Strength::Weak { 0.8 } else { 0.95 },
        Fit::Unknown => {
            notes.push(Note::CountryUnknown);
            score *= if strength == Strength::Weak { 0.6 } else { 0.9 };
        }
        Fit::Elsewhere => {
            notes.push(Note::Elsewhere);
            let sure = strength == Strength::Strong && span.kind == MatchKind::Exact && before + after == 0;
            score *= if sure { 0.55 } else { 0.3 };
        }
    }

    let others = owners
        .iter()
        .filter(|other| {
            self::fit(other, country) <= fit && category(other) != category(merchant) && !same(other, merchant)
        })
        .count();
    if others > 0 {
        notes.push(Note::SharedName(others));
        score *= 0.75;
    }
    (score, notes)
}

/// Whether a word outside the match says something: not a number, a code, or a generic word.
pub(super) fn tells(word: &str) -> bool {
    word.len() >= 3 && word.bytes().all(|b| !b.is_ascii_digit()) && words::class(word) != Some(&Class::Generic)
}

fn category(merchant: &Merchant) -> Option<&Slug> {
    merchant.category.as_ref().or_else(|| kind(&merchant.kind)?.category.as_ref())
}

/// Side businesses of one brand share its Wikidata item, and our additions settle the kind.
fn same(a: &Merchant, b: &Merchant) -> bool {
    b.id.starts_with(CURATED) || a.wikidata.is_some() && a.wikidata == b.wikidata
}
