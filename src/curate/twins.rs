//! Rows that say the same twice: exact copies, and texts that differ in a letter or two.
//!
//! `MinHash` over runs of three characters finds pairs of texts worth comparing without comparing all of
//! them; an edit distance decides. Texts that differ in digits alone (a store's number) are not twins.

use std::collections::{HashMap, HashSet};

use minhash_rs::prelude::{LshIndex, MinHash, NoStore, QueryState};
use rapidfuzz::distance::indel;

use super::{
    report::{Check, Flag, Level},
    rows::share,
    set::LabelledSet,
};

/// Hashes of one text, and the groups of them of which one must be shared by a pair to be compared: two
/// texts with half of their pieces in common are then compared with a chance of 0.87, with three
/// quarters of them for certain.
const HASHES: usize = 128;
const BANDS: usize = 32;
/// Texts compared with one text at most, most promising first.
const MOST_COMPARED: usize = 64;
/// From this normalized similarity on, two texts are near copies: one letter in ten differs.
const SIMILAR: f64 = 0.9;
/// From this share of the rows on, copies distort what is learned.
const MOST_COPIES: f64 = 0.01;

type Sketch = MinHash<u64, HASHES>;

/// `duplicates`: rows that are one event stored twice, as far as the row tells: account, day, text,
/// amount and direction are the same. The first of each is no copy.
#[must_use]
pub fn duplicates(set: &LabelledSet) -> Check {
    let mut seen = HashMap::new();
    let mut flags = Vec::new();
    let mut unlike = 0;
    for (place, example) in set.examples.iter().enumerate() {
        let row = &example.transaction;
        let text = row.descriptor.raw().to_lowercase();
        let event = (&row.account_id, row.posted_at.date_naive(), text, row.amount, row.direction);
        let first = *seen.entry(event).or_insert(place);
        if first != place {
            let of = &set.examples[first];
            let other = of.class != example.class;
            unlike += usize::from(other);
            let says =
                format!("the same event as {}{}", of.transaction.id, if other { ", with another label" } else { "" });
            let flag = Flag::of(set, place, says);
            flags.push(if other { flag.quarantine() } else { flag });
        }
    }
    let share = share(flags.len(), set.examples.len());
    let level = match flags.len() {
        0 => Level::Pass,
        _ if unlike > 0 || share >= MOST_COPIES => Level::Warn,
        _ => Level::Info,
    };
    let says = match flags.len() {
        0 => "no event is there twice".to_owned(),
        copies => format!("{copies} rows repeat an event, {unlike} of them with another label"),
    };
    Check::new("duplicates", level, says).value("share_of_rows", share).value("unlike", unlike as f64).flags(flags)
}

/// `near_duplicates`: statement texts that differ from another by a letter or two. Worth knowing, as
/// what a split or a fold holds apart they bring together; where the labels differ, worth a look.
#[must_use]
pub fn near_duplicates(set: &LabelledSet) -> Check {
    let mut firsts: HashMap<String, usize> = HashMap::new();
    let mut texts: Vec<(String, usize)> = Vec::new();
    for (place, example) in set.examples.iter().enumerate() {
        let text = letters(example.transaction.descriptor.raw());
        if !text.is_empty() && !firsts.contains_key(&text) {
            firsts.insert(text.clone(), place);
            texts.push((text, place));
        }
    }
    let pairs = near_pairs(&texts.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>());
    let twins: HashSet<usize> = pairs.iter().flat_map(|&(one, other)| [one, other]).collect();
    let unlike =
        pairs.iter().filter(|(one, other)| set.examples[texts[*one].1].class != set.examples[texts[*other].1].class);
    let flags: Vec<Flag> = unlike
        .map(|&(one, other)| {
            let [first, second] = [one, other].map(|at| texts[at].1);
            let of = &set.examples[first];
            let says = format!("reads almost like {}, which is {}", of.transaction.id, set.slug(of.class));
            Flag::of(set, second, says)
        })
        .collect();
    let share = share(twins.len(), texts.len());
    let level = if pairs.is_empty() { Level::Pass } else { Level::Info };
    let says = format!(
        "{} of {} texts (digits aside) differ from another by a letter or two; {} pairs have unlike labels",
        twins.len(),
        texts.len(),
        flags.len()
    );
    Check::new("near_duplicates", level, says)
        .value("share_of_texts", share)
        .value("pairs", pairs.len() as f64)
        .flags(flags)
}

/// Lower case, without digits and marks: what makes two stores of a chain the same text.
fn letters(text: &str) -> String {
    let kept: String = text.to_lowercase().chars().map(|c| if c.is_alphabetic() { c } else { ' ' }).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Pairs of places of different texts that are near copies, each pair once, the earlier place first.
fn near_pairs(texts: &[&str]) -> Vec<(usize, usize)> {
    let sketches: Vec<Sketch> = texts.iter().map(|text| sketch(text)).collect();
    let index: LshIndex<Sketch, HASHES, BANDS, NoStore> = LshIndex::from_signatures(sketches.iter().cloned());
    let mut state = QueryState::default();
    let mut pairs = Vec::new();
    for (place, sketch) in sketches.iter().enumerate() {
        let candidates = index.candidates(sketch, &mut state).iter().map(|candidate| candidate.id as usize);
        for earlier in candidates.filter(|&other| other < place).take(MOST_COMPARED) {
            let (one, other) = (texts[earlier].chars(), texts[place].chars());
            if indel::normalized_similarity(one, other) >= SIMILAR {
                pairs.push((earlier, place));
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Hashes of every run of three characters, the text's ends among them.
fn sketch(text: &str) -> Sketch {
    let padded: Vec<char> = format!(" {text} ").chars().collect();
    padded.windows(3).map(|run| xxhash_rust::xxh3::xxh3_64(run.iter().collect::<String>().as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_letter_apart_is_near_and_another_merchant_is_not() {
        let texts = ["blue bottle coffee house", "blue botle coffee house", "corner bakery", "blue whale aquarium"];
        assert_eq!(near_pairs(&texts), [(0, 1)]);
        assert_eq!(letters("RONA # 55140"), letters("rona #3"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_long_text_and_itself_without_one_letter_are_always_found(
            text in "[a-z]{6,12} [a-z]{6,12} [a-z]{4,8}", at in 1..15_usize,
        ) {
            let mut shorter = text.clone();
            shorter.remove(at);
            prop_assume!(shorter != text);
            prop_assert_eq!(near_pairs(&[&text, &shorter]), [(0, 1)]);
        }
    }
}
