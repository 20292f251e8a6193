//! What the wide part says of rows that it was not trained on: the opinion that label checks start from.
//!
//! The wide part alone, because it trains in seconds, and on real card data is as often right as the
//! whole adapter. Probabilities leave here as plain numbers.

use std::collections::HashMap;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{
    calibrate::softmax,
    input::{AdapterInput, Labelled},
    wide::{Wide, WideOptions},
};

/// What every fold's model is given beside its labelled rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aids<'a> {
    /// Terms that hint at a class, as texts without a payment.
    pub terms: &'a [Labelled],
    /// Unlabelled texts of the same kind: how common each piece of text is.
    pub texts: &'a [AdapterInput],
}

/// For each row, the probability of every class by a model that saw neither the row nor another with
/// the same descriptor. With fewer than two descriptors or folds, every class is as likely as any other.
#[must_use]
pub fn out_of_fold(rows: &[Labelled], aids: Aids<'_>, classes: usize, folds: usize, seed: u64) -> Vec<Vec<f32>> {
    let fold_of = assigned(rows, folds, seed);
    let folds = fold_of.iter().max().map_or(0, |last| last + 1);
    let mut probabilities = vec![vec![1.0 / classes as f32; classes]; rows.len()];
    if folds < 2 {
        return probabilities;
    }
    let answers: Vec<(Vec<usize>, Vec<Vec<f32>>)> = (0..folds)
        .into_par_iter()
        .map(|fold| {
            let (held, seen): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|&row| fold_of[row] == fold);
            let seen: Vec<Labelled> = seen.into_iter().map(|row| rows[row].clone()).collect();
            let asked: Vec<&AdapterInput> = held.iter().map(|&row| &rows[row].input).collect();
            (held, after_training(&seen, aids, &asked, classes, seed))
        })
        .collect();
    for (row, said) in answers.into_iter().flat_map(|(held, said)| held.into_iter().zip(said)) {
        probabilities[row] = said;
    }
    probabilities
}

/// The probability of every class for each asked input, by a wide part trained on all of `rows`.
#[must_use]
pub fn after_training(
    rows: &[Labelled],
    aids: Aids<'_>,
    asked: &[&AdapterInput],
    classes: usize,
    seed: u64,
) -> Vec<Vec<f32>> {
    let wide = Wide::train((rows, aids.terms, aids.texts), classes, WideOptions::default(), seed);
    asked.iter().map(|input| softmax(wide.logits(input).into_iter())).collect()
}

/// The fold of each row: descriptors in an order drawn from the seed, each to the fold that has the
/// fewest rows so far, so that folds differ by no more than one descriptor's rows.
fn assigned(rows: &[Labelled], folds: usize, seed: u64) -> Vec<usize> {
    let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, row) in rows.iter().enumerate() {
        groups.entry(row.input.descriptor.to_lowercase()).or_default().push(place);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.sort_unstable();
    groups.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut sizes = vec![0; folds.min(groups.len()).max(1)];
    let mut fold_of = vec![0; rows.len()];
    for group in groups {
        let smallest = (0..sizes.len()).min_by_key(|&fold| sizes[fold]).unwrap_or(0);
        sizes[smallest] += group.len();
        group.into_iter().for_each(|row| fold_of[row] = smallest);
    }
    fold_of
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Descriptor;

    fn row(descriptor: &str, class: usize) -> Labelled {
        Labelled { input: AdapterInput::of_descriptor(&Descriptor::parse(descriptor).unwrap()), class, weight: 1.0 }
    }

    #[test]
    fn a_wrong_label_is_unlikely_to_a_model_that_did_not_see_it() {
        let mut rows: Vec<Labelled> = (0..40)
            .flat_map(|n| [row(&format!("COFFEE HOUSE {n}X"), 0), row(&format!("PETROL STATION {n}X"), 1)])
            .collect();
        rows[10].class = 1;
        let texts: Vec<AdapterInput> = rows.iter().map(|row| row.input.clone()).collect();
        let said = out_of_fold(&rows, Aids { terms: &[], texts: &texts }, 2, 4, 7);
        assert!(said.iter().all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-4));
        let own: Vec<f32> = rows.iter().zip(&said).map(|(row, said)| said[row.class]).collect();
        let lowest = (0..own.len()).min_by(|&a, &b| own[a].total_cmp(&own[b])).unwrap();
        assert!(lowest == 10 && own[10] < 0.3, "{lowest}: {own:?}");
        assert_eq!(
            out_of_fold(&rows, Aids { terms: &[], texts: &texts }, 2, 4, 7),
            said,
            "the same seed gives the same answers"
        );
    }

    #[test]
    fn one_descriptor_alone_says_nothing() {
        let rows = [row("COFFEE", 0), row("coffee", 1)];
        assert_eq!(out_of_fold(&rows, Aids::default(), 2, 5, 1), [[0.5, 0.5], [0.5, 0.5]]);
    }

    proptest! {
        #[test]
        fn copies_of_a_descriptor_share_a_fold_and_folds_are_even(
            kinds in prop::collection::vec(0..30_u8, 1..120), folds in 2..8_usize, seed in any::<u64>(),
        ) {
            let rows: Vec<Labelled> = kinds.iter().map(|kind| row(&format!("SHOP N{kind}X"), 0)).collect();
            let fold_of = assigned(&rows, folds, seed);
            for (a, b) in (0..kinds.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                prop_assert!(kinds[a] != kinds[b] || fold_of[a] == fold_of[b]);
            }
            let largest = kinds.iter().map(|kind| kinds.iter().filter(|other| *other == kind).count()).max().unwrap();
            let sizes: Vec<usize> = (0..folds).map(|fold| fold_of.iter().filter(|of| **of == fold).count()).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= largest);
        }
    }
}
