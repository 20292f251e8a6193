//! What is cleaning worth? Labels are made wrong on purpose, the label-error check takes out what it calls wrong, and
//! the whole adapter learns from the labels as they were, with the wrong ones, and after cleaning.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Error, clear, engine,
    ground::Ground,
    page::{Page, Sheet, count, percent, points},
    shown,
};
use crate::{
    curate::{
        confident::Prune,
        experiment::{Flip, flip},
        set::LabelledSet,
        suspects::Opinion,
    },
    evaluate::{
        market::Market,
        metrics::{Scored, Share, accuracy, wilson},
        paired::Difference,
    },
    model::{Labelled, train::TrainOptions},
};

/// What to measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Share of the labels that is made wrong.
    pub share: f64,
    /// How suspects are picked.
    pub prune: Prune,
    /// Parts that the rows are cut into for the check.
    pub folds: usize,
    /// Passes over the rows; 0 trains the wide part alone.
    pub epochs: usize,
    /// Draws the wrong labels, passes and resamples.
    pub seed: u64,
}

/// The labels of one training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// As they were.
    Untouched,
    /// A share of them wrong.
    Raw,
    /// Those without what the check calls wrong.
    Cleaned,
}

/// One training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arm {
    /// From which labels.
    pub labels: Labels,
    /// How many.
    pub rows: usize,
    /// How many of them were made wrong.
    pub wrong: usize,
    /// Right, all keys.
    pub accuracy: Option<Share>,
    /// Right, keys among the labels.
    pub known: Option<Share>,
    /// Right, the others.
    pub unknown: Option<Share>,
    /// Minus raw, on the same rows.
    pub minus_raw: Option<Difference>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Labels the check called wrong.
    pub called: usize,
    /// Share of those that were made wrong.
    pub precision: Option<Share>,
    /// Share of those made wrong that it called.
    pub recall: Option<Share>,
    /// Raw, cleaned, untouched.
    pub arms: Vec<Arm>,
}

/// Makes labels wrong, cleans, and trains three times. `say` hears what is done.
///
/// # Errors
/// When data can't be read or a training fails.
pub async fn run(
    ground: &Ground,
    set: &LabelledSet,
    plan: &Plan,
    mut say: impl FnMut(&str) + Send,
) -> Result<Measured, Error> {
    let mut spoiled = set.clone();
    let wrong = flip(&mut spoiled, plan.share, Flip::Uniform, plan.folds, plan.seed);
    let opinion = Opinion::of(&spoiled, plan.folds, plan.seed);
    let called: BTreeSet<usize> = opinion.suspects(plan.prune).into_iter().collect();
    let hits = called.intersection(&wrong).count();
    say(&format!(
        "{} of {} labels made wrong; {} called wrong, {hits} of them rightly",
        wrong.len(),
        set.examples.len(),
        called.len()
    ));
    let trainings = [
        (Labels::Raw, weighed(ground, &spoiled, |_| true), wrong.len()),
        (Labels::Cleaned, weighed(ground, &spoiled, |at| !called.contains(&at)), wrong.len() - hits),
        (Labels::Untouched, weighed(ground, set, |_| true), 0),
    ];
    let options =
        TrainOptions { epochs: plan.epochs, patience: plan.epochs.max(1), seed: plan.seed, ..TrainOptions::default() };
    let (mut arms, mut raw): (Vec<Arm>, Option<Vec<Scored>>) = (Vec::new(), None);
    for (labels, rows, wrong) in trainings {
        let count = rows.len();
        let scored = ground.measure(rows, &options, &mut |_| {}).await?;
        let minus_raw = raw.as_ref().and_then(|raw| ground.difference(&scored, raw, plan.seed));
        let arm = Arm {
            labels,
            rows: count,
            wrong,
            accuracy: accuracy(&scored, |_| true),
            known: accuracy(&scored, |row| row.known),
            unknown: accuracy(&scored, |row| !row.known),
            minus_raw,
        };
        say(&format!("{}: {}", labels.words(), shown(arm.accuracy)));
        arms.push(arm);
        raw.get_or_insert(scored);
    }
    Ok(Measured {
        called: called.len(),
        precision: wilson(hits, called.len()),
        recall: wilson(hits, wrong.len()),
        arms,
    })
}

/// The rows that are kept, each with the weight of the traffic that it stands for among them.
fn weighed(ground: &Ground, set: &LabelledSet, keep: impl Fn(usize) -> bool) -> Vec<Labelled> {
    let kept: Vec<usize> = (0..set.examples.len()).filter(|&at| keep(at)).collect();
    let places = ground.pool.places(kept.iter().map(|&at| &set.examples[at].transaction.id));
    let weights = Market::new(&ground.pool.candidates).weights(&places);
    let rows = set.labelled();
    kept.iter().zip(weights).map(|(&at, weight)| Labelled { weight, ..rows[at].clone() }).collect()
}

impl Labels {
    fn words(self) -> &'static str {
        match self {
            Self::Untouched => "labels as they were",
            Self::Raw => "with wrong ones",
            Self::Cleaned => "cleaned",
        }
    }
}

/// The figures on paper.
#[must_use]
pub fn page(ground: &Ground, plan: &Plan, measured: &Measured) -> Page {
    let mut sheet = Sheet::new(&[
        "labels",
        "rows",
        "made wrong",
        "right, %",
        "known keys",
        "unknown keys",
        "minus with wrong ones, points",
    ]);
    sheet.rows = measured
        .arms
        .iter()
        .map(|arm| {
            vec![
                arm.labels.words().to_owned(),
                count(arm.rows),
                count(arm.wrong),
                percent(arm.accuracy),
                percent(arm.known),
                percent(arm.unknown),
                points(arm.minus_raw),
            ]
        })
        .collect();
    let mut check = Sheet::new(&["picked by", "called wrong", "precision, %", "recall, %"]);
    check.rows = vec![vec![
        plan.prune.as_str().to_owned(),
        count(measured.called),
        percent(measured.precision),
        percent(measured.recall),
    ]];
    Page {
        name: "cleaning",
        title: "What cleaning labels is worth".to_owned(),
        method: vec![
            ground.words(),
            format!(
                "{:.0} % of the labels are given another category that occurs, each as likely. The label-error check                  ({} folds of the wide part) then takes out what it calls wrong; nobody looks at those. Three trainings                  from nothing: {}, seed {}. Intervals are Wilson's at 95 %; differences are paired, with intervals over                  rows (over whole merchant keys).",
                100.0 * plan.share,
                plan.folds,
                engine(plan.epochs),
                plan.seed
            ),
        ],
        sheets: vec![("The check".to_owned(), check), ("Right, with 95 % intervals".to_owned(), sheet)],
        charts: Vec::new(),
        shows: measured.arms.iter().filter_map(sentence).collect(),
        limits: vec![
            "Wrong labels are drawn evenly over categories; people confuse some more than others.".to_owned(),
            "Precision is a lower bound: a label of the pool may be wrong without having been made so.".to_owned(),
            "One seed, one data set.".to_owned(),
        ],
    }
}

fn sentence(arm: &Arm) -> Option<String> {
    let gain = arm.minus_raw?;
    let (name, clear, gain) = (arm.labels.words(), clear(&gain), 100.0 * gain.difference);
    Some(format!("{name}: {gain:+.2} points beside the labels with wrong ones; {clear}."))
}
