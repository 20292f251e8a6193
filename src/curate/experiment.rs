//! How good is the label-error check? Labels are made wrong on purpose, and the check is asked for them.
//!
//! For measuring the gate itself; nothing that is flipped here is stored or trained on.

use std::collections::BTreeSet;

use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use rand::{Rng, SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{confident::Prune, set::LabelledSet, suspects::Opinion};
use crate::{
    evaluate::{
        metrics::{Share, wilson},
        paired::{self, Difference, Pair},
    },
    model::{
        AdapterInput, Labelled, argmax,
        folds::{self, Aids},
    },
};

/// What a flipped label becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Flip {
    /// Any other category that occurs, each as likely.
    Uniform,
    /// Another category, as likely as out-of-fold models confuse the two: the mistakes people make.
    Confusion,
}

/// Gives a share of the examples another label; returns their places. At least two categories must occur.
pub fn flip(set: &mut LabelledSet, share: f64, by: Flip, folds: usize, seed: u64) -> BTreeSet<usize> {
    let n = (share.clamp(0.0, 1.0) * set.examples.len() as f64).round() as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let places: BTreeSet<usize> = index::sample(&mut rng, set.examples.len(), n).into_iter().collect();
    let occurring: BTreeSet<usize> = set.examples.iter().map(|example| example.class).collect();
    let weights = match by {
        Flip::Uniform => {
            let mut weights = vec![vec![0.0; set.classes()]; set.classes()];
            weights.iter_mut().for_each(|row| occurring.iter().for_each(|&class| row[class] = 1.0));
            (0..weights.len()).for_each(|class| weights[class][class] = 0.0);
            weights
        }
        Flip::Confusion => confusion(&set.labelled(), set.aids(), set.classes(), folds, seed),
    };
    for &place in &places {
        let class = &mut set.examples[place].class;
        *class = drawn(&weights[*class], &mut rng).unwrap_or(*class);
    }
    places
}

/// How much probability out-of-fold models give to each other class (second), summed over each class's rows (first).
/// Only classes that occur.
#[must_use]
pub fn confusion(rows: &[Labelled], aids: Aids<'_>, classes: usize, folds: usize, seed: u64) -> Vec<Vec<f64>> {
    let occurring: BTreeSet<usize> = rows.iter().map(|row| row.class).collect();
    let mut weights = vec![vec![0.0; classes]; classes];
    let said = folds::out_of_fold(rows, aids, classes, folds, seed);
    for (row, said) in rows.iter().zip(&said) {
        occurring.iter().for_each(|&class| weights[row.class][class] += f64::from(said[class]));
    }
    (0..classes).for_each(|class| weights[class][class] = 0.0);
    weights
}

/// A place drawn by weight; `None` where all weights are 0.
pub fn drawn(weights: &[f64], rng: &mut impl Rng) -> Option<usize> {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    })
}

/// What the check found of the flipped labels, by one way of pruning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Found {
    /// How suspects were picked.
    pub prune: Prune,
    /// Labels called wrong.
    pub called: usize,
    /// Share of those that were flipped. The others may be wrong too: nobody knows the truth of them.
    pub precision: Option<Share>,
    /// Share of the flipped ones that were called wrong.
    pub recall: Option<Share>,
}

/// Precision and recall of every way of pruning.
#[must_use]
pub fn found(opinion: &Opinion, flipped: &BTreeSet<usize>) -> Vec<Found> {
    Prune::ALL
        .into_iter()
        .map(|prune| {
            let called = opinion.suspects(prune);
            let hits = called.iter().filter(|place| flipped.contains(*place)).count();
            Found {
                prune,
                called: called.len(),
                precision: wilson(hits, called.len()),
                recall: wilson(hits, flipped.len()),
            }
        })
        .collect()
}

/// Accuracy of the wide part on rows whose truth is known, by what it was trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gains {
    /// The labels before any was flipped.
    pub untouched: Option<Share>,
    /// The flipped labels as they are.
    pub raw: Option<Share>,
    /// Without the rows that the check calls wrong, by every way of picking them.
    pub cleaned: Vec<Gain>,
}

/// What cleaning is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gain {
    /// How suspects were picked.
    pub prune: Prune,
    /// How often right after training without them.
    pub accuracy: Option<Share>,
    /// Minus how often right with them, on the same rows.
    pub minus_raw: Option<Difference>,
}

/// Trains on the set before flipping, after, and after every way of cleaning, and measures each on the
/// same rows.
#[must_use]
pub fn gains(before: &LabelledSet, flipped: &LabelledSet, opinion: &Opinion, on: &[Labelled], seed: u64) -> Gains {
    let asked: Vec<&AdapterInput> = on.iter().map(|row| &row.input).collect();
    let right = |rows: &[Labelled]| -> Vec<bool> {
        let said = folds::after_training(rows, flipped.aids(), &asked, flipped.classes(), seed);
        said.iter().zip(on).map(|(said, row)| argmax(said) == row.class).collect()
    };
    let share = |right: &[bool]| wilson(right.iter().filter(|right| **right).count(), right.len());
    let labelled = flipped.labelled();
    let raw = right(&labelled);
    let gain = |prune: Prune| {
        let called: BTreeSet<usize> = opinion.suspects(prune).into_iter().collect();
        let left = labelled.iter().enumerate().filter(|(place, _)| !called.contains(place));
        let cleaned = right(&left.map(|(_, row)| row.clone()).collect::<Vec<_>>());
        let pair = |((&ours, &theirs), row): ((&bool, &bool), &Labelled)| (ours, theirs, row.input.key.clone());
        let pairs: Vec<(bool, bool, String)> = cleaned.iter().zip(&raw).zip(on).map(pair).collect();
        let pairs: Vec<Pair<'_>> =
            pairs.iter().map(|(ours, theirs, key)| Pair { ours: *ours, theirs: *theirs, key }).collect();
        Gain { prune, accuracy: share(&cleaned), minus_raw: paired::compare(&pairs, seed) }
    };
    Gains {
        untouched: share(&right(&before.labelled())),
        raw: share(&raw),
        cleaned: Prune::ALL.into_iter().map(gain).collect(),
    }
}

fn percent(share: Option<Share>) -> String {
    share.map_or_else(
        || "–".to_owned(),
        |Share { share, low, high, .. }| format!("{:.1} ({:.1} – {:.1})", 100.0 * share, 100.0 * low, 100.0 * high),
    )
}

fn points(difference: Option<Difference>) -> String {
    difference.map_or_else(
        || "–".to_owned(),
        |Difference { difference, rows, keys, .. }| {
            let [rows, keys] = [rows, keys].map(|of| format!("{:+.2} … {:+.2}", 100.0 * of.low, 100.0 * of.high));
            format!("{:+.2} (rows {rows}; keys {keys})", 100.0 * difference)
        },
    )
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// What every way of pruning found, per cent with 95 % intervals.
#[must_use]
pub fn found_table(found: &[Found], default: Prune) -> Table {
    let mut table = table(&["picked by", "called wrong", "precision % (95 %)", "recall % (95 %)"]);
    for Found { prune, called, precision, recall } in found {
        let mark = if *prune == default { " (the check)" } else { "" };
        table.add_row([
            Cell::new(format!("{}{mark}", prune.as_str())),
            right(called),
            right(percent(*precision)),
            right(percent(*recall)),
        ]);
    }
    table
}

/// What cleaning is worth, per cent and points with 95 % intervals.
#[must_use]
pub fn gains_table(gains: &Gains) -> Table {
    let mut table = table(&["trained on", "right % (95 %)", "minus raw, points"]);
    for (name, share) in [("labels as they were", gains.untouched), ("flipped, raw", gains.raw)] {
        table.add_row([Cell::new(name), right(percent(share)), right("")]);
    }
    for Gain { prune, accuracy, minus_raw } in &gains.cleaned {
        let name = format!("flipped, cleaned by {}", prune.as_str());
        table.add_row([Cell::new(name), right(percent(*accuracy)), right(points(*minus_raw))]);
    }
    table
}
