//! How far the people who labelled agree, beyond what chance would give.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    report::{Check, Flag, Level},
    set::LabelledSet,
};

/// Fewest items that two people must both have labelled for their agreement to say anything.
const FEWEST: usize = 10;
/// Below this, people agree no better than moderately (Landis and Koch 1977).
const SUBSTANTIAL: f64 = 0.6;
/// Below this, at best fairly.
const MODERATE: f64 = 0.4;

/// Cohen's kappa of two people's labels on the same items: 1 is full agreement, 0 what chance would
/// give. `None` without items, or where both gave one and the same label throughout, so that chance
/// alone explains everything.
#[must_use]
pub fn kappa(pairs: &[(usize, usize)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let agree = pairs.iter().filter(|(one, other)| one == other).count() as f64 / n;
    let mut counts: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for &(one, other) in pairs {
        counts.entry(one).or_default().0 += 1.0;
        counts.entry(other).or_default().1 += 1.0;
    }
    let chance: f64 = counts.values().map(|(one, other)| one * other / (n * n)).sum();
    (n > 0.0 && chance < 1.0 - 1e-12).then(|| (agree - chance) / (1.0 - chance))
}

/// `agreement`: kappa over all pairs of people, on statement texts (with direction) that both labelled.
/// A person's first label of a text counts.
#[must_use]
pub fn agreement(set: &LabelledSet) -> Check {
    const NAME: &str = "agreement";
    if !set.names_annotators {
        return Check::new(NAME, Level::Info, "not checked: there is no column `labelled_by`");
    }
    let mut items: BTreeMap<(String, &str), BTreeMap<&str, usize>> = BTreeMap::new();
    let mut people: BTreeSet<&str> = BTreeSet::new();
    for (place, example) in set.examples.iter().enumerate() {
        let Some(who) = example.labelled_by.as_deref() else { continue };
        people.insert(who);
        let text = example.transaction.descriptor.raw().to_lowercase();
        items.entry((text, example.transaction.direction.as_str())).or_default().entry(who).or_insert(place);
    }
    let (mut pairs, mut flags) = (Vec::new(), Vec::new());
    for by in items.values() {
        let said: Vec<(&str, usize)> = by.iter().map(|(who, place)| (*who, *place)).collect();
        for (at, &(one, first)) in said.iter().enumerate() {
            for &(other, second) in &said[at + 1..] {
                let classes = (set.examples[first].class, set.examples[second].class);
                pairs.push(classes);
                if classes.0 != classes.1 {
                    let says = format!("{one} says {}, {other} {}", set.slug(classes.0), set.slug(classes.1));
                    flags.push(Flag::of(set, second, says));
                }
            }
        }
    }
    let share = pairs.iter().filter(|(one, other)| one == other).count() as f64 / pairs.len().max(1) as f64;
    let (level, says) = match kappa(&pairs) {
        _ if people.len() < 2 => (Level::Info, format!("not checked: {} people labelled", people.len())),
        _ if pairs.len() < FEWEST => {
            (Level::Info, format!("not checked: only {} texts were labelled by two people", pairs.len()))
        }
        None => {
            (Level::Info, "not checked: only one label was ever given to texts that two people labelled".to_owned())
        }
        Some(kappa) => {
            let level = match kappa {
                kappa if kappa < MODERATE => Level::Block,
                kappa if kappa < SUBSTANTIAL => Level::Warn,
                _ => Level::Pass,
            };
            let says = format!(
                "{} people agree on {:.1} % of {} pairs of labels, kappa {kappa:.2}",
                people.len(),
                100.0 * share,
                pairs.len()
            );
            (level, says)
        }
    };
    let check = Check::new(NAME, level, says).value("pairs", pairs.len() as f64).value("agreeing", share).flags(flags);
    match kappa(&pairs) {
        Some(kappa) => check.value("kappa", kappa),
        None => check,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kappa_agrees_with_the_textbook() {
        // 20 both yes, 15 both no, 5 and 10 apart: 0.7 agree, 0.5 by chance.
        let pairs = [vec![(1, 1); 20], vec![(1, 0); 5], vec![(0, 1); 10], vec![(0, 0); 15]].concat();
        assert!((kappa(&pairs).unwrap() - 0.4).abs() < 1e-9);
        assert_eq!((kappa(&[]), kappa(&[(3, 3), (3, 3)])), (None, None));
    }

    proptest! {
        #[test]
        fn kappa_is_symmetric_at_most_one_and_one_only_in_full_agreement(
            pairs in prop::collection::vec((0..4_usize, 0..4_usize), 1..60),
        ) {
            let turned: Vec<_> = pairs.iter().map(|&(one, other)| (other, one)).collect();
            let (there, back) = (kappa(&pairs), kappa(&turned));
            prop_assert_eq!(there.is_some(), back.is_some());
            if let (Some(there), Some(back)) = (there, back) {
                prop_assert!((there - back).abs() < 1e-9 && (-1.0 - 1e-9..=1.0 + 1e-9).contains(&there));
                prop_assert_eq!(there > 1.0 - 1e-9, pairs.iter().all(|(one, other)| one == other));
            }
        }
    }
}
