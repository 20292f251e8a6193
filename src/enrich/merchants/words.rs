//! What ordinary words in a statement text say about a match.
//!
//! `data/words.csv` sorts them: *generic* words (store, inc, payment) say nothing; *common* words
//! are brands too (Target, Next, Shell), so alone they are weak; *trade* words (plumbing, florist)
//! name a business, and a brand of another kind beside one is most likely someone else's name.

use std::{collections::BTreeMap, ops::Bound, sync::LazyLock};

use super::squash::Squashed;

/// What a word says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing.
    Generic,
    /// An ordinary word or surname that many businesses use.
    Common,
    /// A kind of business; the kinds (prefixes of OpenStreetMap tags) that go with it.
    Trade(Vec<String>),
}

static WORDS: LazyLock<BTreeMap<String, Class>> = LazyLock::new(|| {
    csv::Reader::from_reader(include_str!("data/words.csv").as_bytes())
        .deserialize::<(String, String, String)>()
        .filter_map(Result::ok)
        .map(|(word, class, kinds)| {
            let class = match class.as_str() {
                "generic" => Class::Generic,
                "common" => Class::Common,
                _ => Class::Trade(kinds.split('|').map(str::to_owned).collect()),
            };
            (word, class)
        })
        .collect()
});

/// The class of a squashed word; `None` for a word of no list.
pub(super) fn class(word: &str) -> Option<&'static Class> {
    WORDS.get(word)
}

/// Whether a name consists of listed words that say nothing about who: `Supermarket`, `The Store`, `1`.
pub(super) fn is_generic(name: &str) -> bool {
    let name = Squashed::of(name);
    name.text.chars().count() < 2
        || name.words.iter().all(|word| {
            let word = name.word(*word);
            word.bytes().all(|b| b.is_ascii_digit()) || matches!(class(word), Some(Class::Generic | Class::Trade(_)))
        })
}

/// Whether every word of a name is an ordinary one.
pub(super) fn is_common(name: &Squashed) -> bool {
    name.words.iter().all(|word| {
        let word = name.word(*word);
        word.len() < 3 || class(word).is_some()
    })
}

/// Whether a word stands for a business of another kind than `kind`. A `cut` word counts as what it begins.
pub(super) fn contradicts(word: &str, cut: bool, kind: &str) -> bool {
    const ENOUGH: usize = 5;
    let whole = if cut && word.len() >= ENOUGH {
        WORDS
            .range::<str, _>((Bound::Included(word), Bound::Unbounded))
            .take_while(|(longer, _)| longer.starts_with(word))
            .find_map(|(_, class)| matches!(class, Class::Trade(_)).then_some(class))
    } else {
        class(word)
    };
    matches!(whole, Some(Class::Trade(kinds)) if !kinds.iter().any(|prefix| kind.starts_with(prefix.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_word_list_is_read() {
        assert_eq!(WORDS.len(), include_str!("data/words.csv").lines().count() - 1);
    }

    #[test]
    fn a_trade_word_contradicts_a_brand_of_another_kind() {
        assert!(contradicts("plumbing", false, "shop=supermarket"));
        assert!(!contradicts("plumbing", false, "shop=doityourself"));
        assert!(!contradicts("anything", false, "shop=doityourself"));
        assert!(contradicts("plumbi", true, "shop=supermarket") && !contradicts("plumbi", false, "shop=supermarket"));
        assert!(is_generic("The Supermarket 24") && !is_generic("Metro"));
        assert!(is_common(&Squashed::of("Best Buy")) && !is_common(&Squashed::of("Rexall")));
    }
}
