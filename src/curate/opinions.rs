//! What the stages say of rows without a label, put side by side: where they differ, a label is worth more.

use std::collections::{BTreeMap, HashMap};

use super::select::{CHUNK, Opinion};
use crate::model::{AdapterInput, Labelled, argmax, encoder::Vectors};

/// The class that each row's key most often has among the labels; of equals the first.
#[must_use]
pub fn memory(labelled: &[Labelled], asked: &[AdapterInput]) -> Vec<Option<usize>> {
    let mut known: HashMap<&str, BTreeMap<usize, usize>> = HashMap::new();
    for row in labelled.iter().filter(|row| !row.input.key.is_empty()) {
        *known.entry(&row.input.key).or_default().entry(row.class).or_default() += 1;
    }
    let most = |counts: &BTreeMap<usize, usize>| {
        counts.iter().max_by_key(|(class, count)| (**count, std::cmp::Reverse(**class))).map(|(class, _)| *class)
    };
    asked.iter().map(|input| known.get(input.key.as_str()).and_then(most)).collect()
}

/// The class of the labelled row whose vector is nearest.
#[must_use]
pub fn nearest(labelled: &[Labelled], vectors: &[Vec<f32>], asked: &[Vec<f32>]) -> Vec<Option<usize>> {
    let side_by_side = Vectors::new(vectors);
    let best = |row: &Vec<f32>| labelled.get(argmax(row)).map(|row| row.class);
    asked.chunks(CHUNK).flat_map(|some| side_by_side.similarities(some).iter().map(best).collect::<Vec<_>>()).collect()
}

/// The probabilities in force, beside the answers of other stages; each has one place for every row.
#[must_use]
pub fn opinions(in_force: &[Vec<f32>], others: &[Vec<Option<usize>>]) -> Vec<Opinion> {
    in_force
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let answer = argmax(row);
            Opinion {
                confidence: row.get(answer).copied().unwrap_or_default(),
                answer,
                others: others.iter().filter_map(|stage| stage[at]).collect(),
            }
        })
        .collect()
}
