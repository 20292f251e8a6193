//! Names within one typing error: every name is filed under each of its one-letter deletions, so two
//! texts that differ by one missing, added, wrong or swapped letter meet in one of them.

use rapidfuzz::distance::osa;
use xxhash_rust::xxh3::xxh3_64;

/// Lengths at which one error leaves a name recognizable, in letters.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=28;

/// One-letter deletions of names, sorted by hash.
#[derive(Debug, Default)]
pub(super) struct Near {
    deletions: Vec<(u32, u32)>,
}

impl Near {
    /// Files names, numbered in their order.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut deletions = Vec::new();
        for (at, name) in names.enumerate() {
            if LENGTHS.contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphabetic()) {
                deletions.extend(hashes(name).map(|hash| (hash, at as u32)));
            }
        }
        deletions.sort_unstable();
        deletions.dedup();
        Self { deletions }
    }

    /// Names one error away from `text` that begin with the same letter.
    pub(super) fn to<'a>(&self, text: &str, name: impl Fn(u32) -> &'a str) -> Vec<u32> {
        if !LENGTHS.contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for hash in hashes(text) {
            let from = self.deletions.partition_point(|(other, _)| *other < hash);
            for (_, at) in self.deletions[from..].iter().take_while(|(other, _)| *other == hash) {
                let candidate = name(*at);
                if !found.contains(at)
                    && candidate.as_bytes()[0] == text.as_bytes()[0]
                    && osa::distance(candidate.bytes(), text.bytes()) == 1
                {
                    found.push(*at);
                }
            }
        }
        found
    }
}

/// Hashes of the text (ASCII) and of the text without each one letter.
fn hashes(text: &str) -> impl Iterator<Item = u32> {
    let without = (0..text.len()).map(|at| {
        let mut shorter = Vec::with_capacity(text.len());
        shorter.extend_from_slice(&text.as_bytes()[..at]);
        shorter.extend_from_slice(&text.as_bytes()[at + 1..]);
        xxh3_64(&shorter) as u32
    });
    std::iter::once(xxh3_64(text.as_bytes()) as u32).chain(without)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_is_near_and_two_are_not() {
        let names = ["shoppersdrugmart", "petrocanada", "timhortons"];
        let near = Near::of(names.into_iter());
        let to = |text| near.to(text, |at| names[at as usize]);
        assert_eq!(to("shoppersdrgmart"), [0]);
        assert_eq!(to("petrocanadaa"), [1]);
        assert_eq!(to("timhotrons"), [2]);
        assert_eq!(to("timhorten"), [0_u32; 0]);
        assert_eq!(to("xtimhortons"), [0_u32; 0]);
    }
}
