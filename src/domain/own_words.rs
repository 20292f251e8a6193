//! Lines that whoever runs txcat wrote: prompts, categories and what belongs in them.
//!
//! A person's name is a guess from the words before it, and prose about money has the same words ("received from a
//! relative"). In these lines no name is suspected. Numbers and addresses are no guess: they are personal
//! wherever they stand.

use std::{collections::HashSet, ops::Range};

/// Lines of one's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnWords(HashSet<String>);

impl OwnWords {
    /// Every line of these texts.
    #[must_use]
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(texts.into_iter().flat_map(str::lines).map(str::to_owned).collect())
    }

    /// Keeps the lines that a text has too.
    pub fn keep_those_of(&mut self, text: &str) {
        let lines: HashSet<&str> = text.lines().collect();
        self.0.retain(|line| lines.contains(line.as_str()));
    }

    /// Keeps the lines that are as said.
    pub fn keep(&mut self, is: impl Fn(&str) -> bool) {
        self.0.retain(|line| is(line));
    }

    /// Whether a place in a text, in bytes, is within a line of one's own.
    #[must_use]
    pub fn hold(&self, text: &str, at: &Range<usize>) -> bool {
        let from = text[..at.start].rfind('\n').map_or(0, |end| end + 1);
        let to = text[at.end..].find('\n').map_or(text.len(), |more| at.end + more);
        self.0.contains(text[from..to].trim_end_matches('\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_is_ones_own() {
        let own = OwnWords::of(["gifts: money from a relative\nrent"]);
        let holds = |text: &str| own.hold(text, &(text.find("relative").unwrap()..text.find("relative").unwrap() + 8));
        assert!(holds("rent\ngifts: money from a relative\nend") && holds("gifts: money from a relative"));
        assert!(!holds("my gifts: money from a relative") && !holds("gifts: money from a relative of JOHN"));
    }
}
