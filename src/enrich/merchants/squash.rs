//! Names and statement texts reduced to letters and digits, with the places where words begin and end.
//!
//! Statement texts write one name in many ways (`WAL-MART`, `WALMART#12`, `WAL MART`), so names are
//! compared without spaces and punctuation; that a match starts and ends at a word border is checked
//! with the borders kept here. Not the descriptor key: that one serves grouping, this one comparing.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::domain::descriptor::undecorated;

/// A text without case, accents, spaces and punctuation, and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Squashed {
    /// Lower-case letters, digits and `&`.
    pub(super) text: String,
    /// The words, ascending; they cover `text` without gaps.
    pub(super) words: Vec<Word>,
}

/// Where a word lies in [`Squashed::text`], in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// First byte.
    pub(super) start: usize,
    /// Byte after the last.
    pub(super) end: usize,
    /// White space (not mere punctuation) stood before it.
    pub(super) spaced: bool,
}

impl Squashed {
    /// Squashes a name or a statement text.
    pub(super) fn of(raw: &str) -> Self {
        let mut squashed = Self { text: String::with_capacity(raw.len()), words: Vec::new() };
        let mut before = Before { spaced: true, class: Class::Gap };
        if raw.is_ascii() {
            squashed.read(raw.chars().map(|c| c.to_ascii_lowercase()), &mut before);
        } else {
            squashed.read(undecorated(raw.nfkd()).nfkc().flat_map(char::to_lowercase), &mut before);
        }
        squashed
    }

    fn read(&mut self, text: impl Iterator<Item = char>, before: &mut Before) {
        for c in text {
            // An apostrophe or a trade mark joins: MCDONALD'S is one word.
            if matches!(c, '\'' | '’' | '‘' | '`' | '´' | '®' | '™') {
                continue;
            }
            let class = Class::of(c);
            if class == Class::Gap {
                before.spaced |= c.is_whitespace();
                before.class = Class::Gap;
                continue;
            }
            if class != before.class {
                let start = self.text.len();
                self.words.push(Word { start, end: start, spaced: before.spaced });
            }
            match spelled(c) {
                Some(letters) => self.text.push_str(letters),
                None => self.text.push(c),
            }
            if let Some(word) = self.words.last_mut() {
                word.end = self.text.len();
            }
            *before = Before { spaced: false, class };
        }
    }

    /// The text of one word.
    pub(super) fn word(&self, word: Word) -> &str {
        &self.text[word.start..word.end]
    }
}

struct Before {
    spaced: bool,
    class: Class,
}

/// Letters and digits make separate words: STORE1234, 7ELEVEN.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Class {
    Letter,
    Digit,
    Gap,
}

impl Class {
    fn of(c: char) -> Self {
        if c.is_numeric() {
            Self::Digit
        } else if c.is_alphabetic() || is_combining_mark(c) || c == '&' {
            Self::Letter
        } else {
            Self::Gap
        }
    }
}

/// Letters that have no decomposition but a usual spelling.
fn spelled(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'ø' => "o",
        'æ' => "ae",
        'œ' => "oe",
        'ł' => "l",
        'đ' => "d",
        'ı' => "i",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(raw: &str) -> Vec<String> {
        let squashed = Squashed::of(raw);
        squashed.words.iter().map(|word| squashed.word(*word).to_owned()).collect()
    }

    #[test]
    fn case_accents_and_punctuation_go_and_borders_stay() {
        assert_eq!(words("WAL-MART #3111"), ["wal", "mart", "3111"]);
        assert_eq!(words("McDonald's F1234"), ["mcdonalds", "f", "1234"]);
        assert_eq!(words("Café Crème"), ["cafe", "creme"]);
        assert_eq!(words("दिल्ली मेट्रो ガスト"), ["दिल्ली", "मेट्रो", "ガスト"]);
        assert_eq!(words("H&M  STRASSE/Groß"), ["h&m", "strasse", "gross"]);
        assert_eq!(words(" \u{200f}··· "), Vec::<String>::new());
    }

    #[test]
    fn a_word_after_punctuation_alone_is_not_spaced() {
        let spaced: Vec<bool> = Squashed::of("AMAZON.CA TORONTO").words.iter().map(|word| word.spaced).collect();
        assert_eq!(spaced, [true, false, true]);
    }
}
