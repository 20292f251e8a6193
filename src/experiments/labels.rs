//! How accuracy grows with labels: rows drawn at random, beside rows that were selected.
//!
//! Every point trains the whole adapter from nothing with the same settings. A label used for anything, also to
//! find the next rows, is bought and counts.

use serde::Serialize;

use super::{
    Error,
    chart::{Chart, Line},
    clear, engine,
    ground::Ground,
    page::{Page, Sheet, count, percent, points},
    shown,
};
use crate::{
    evaluate::{
        labels::{Choice, Labels},
        metrics::{Scored, Share, accuracy},
        paired::Difference,
    },
    model::{Labelled, train::TrainOptions},
};

/// How the labelled rows are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Every row of the pool as likely as any other.
    Random,
    /// As `txcat data select` picks: three quarters from nothing, the rest with what those taught.
    Selected,
    /// As `txcat train` buys: by volume, then where a merchant's labels differ.
    Volume,
}

impl Way {
    /// Its name in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Selected => "selected",
            Self::Volume => "volume",
        }
    }
}

/// What to measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// How many labels.
    pub budgets: Vec<usize>,
    /// Found how; the first is what the others are compared with.
    pub ways: Vec<Way>,
    /// Passes over the rows; 0 trains the wide part alone.
    pub epochs: usize,
    /// Draws rows, passes and resamples.
    pub seed: u64,
}

/// One training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// How the rows were found.
    pub way: Way,
    /// Labels bought.
    pub labels: usize,
    /// Right, all keys.
    pub accuracy: Option<Share>,
    /// Right, keys among the labels.
    pub known: Option<Share>,
    /// Right, the others.
    pub unknown: Option<Share>,
    /// Minus the plan's first way with as many labels, on the same rows.
    pub gain: Option<Difference>,
}

/// Measures every point, smallest budgets first. `say` hears what is under way.
///
/// # Errors
/// When data can't be read or a training fails.
pub async fn run(ground: &Ground, plan: &Plan, mut say: impl FnMut(&str) + Send) -> Result<Vec<Point>, Error> {
    let mut measured = Vec::new();
    for &budget in &plan.budgets {
        let mut baseline: Option<Vec<Scored>> = None;
        for &way in &plan.ways {
            let rows = bought(ground, way, budget, plan.seed)?;
            let labels = rows.len();
            let options = TrainOptions {
                epochs: plan.epochs,
                patience: plan.epochs.max(1),
                seed: plan.seed,
                ..TrainOptions::default()
            };
            let scored = ground.measure(rows, &options, &mut |_| {}).await?;
            let gain = baseline.as_ref().and_then(|theirs| ground.difference(&scored, theirs, plan.seed));
            let point = Point {
                way,
                labels,
                accuracy: accuracy(&scored, |_| true),
                known: accuracy(&scored, |row| row.known),
                unknown: accuracy(&scored, |row| !row.known),
                gain,
            };
            say(&format!("{} labels, {}: {}", labels, way.as_str(), shown(point.accuracy)));
            measured.push(point);
            baseline.get_or_insert(scored);
        }
    }
    Ok(measured)
}

fn bought(ground: &Ground, way: Way, budget: usize, seed: u64) -> Result<Vec<Labelled>, Error> {
    match way {
        Way::Random => ground.buy(&ground.at_random(budget, seed)),
        Way::Selected => ground.buy(&ground.selected(budget, seed)?),
        Way::Volume => {
            let shut = ground.shut()?;
            let bought = Labels::buy(Choice::Budget { budget, seed }, &ground.pool.candidates, shut);
            ground.buy(&ground.pool.places(bought.weights.keys()))
        }
    }
}

/// The figures on paper.
#[must_use]
pub fn page(ground: &Ground, plan: &Plan, measured: &[Point]) -> Page {
    let ways: Vec<&str> = plan.ways.iter().map(|way| way.as_str()).collect();
    let mut sheet =
        Sheet::new(&["labels", "way", "right, %", "known keys", "unknown keys", "minus the first way, points"]);
    sheet.rows = measured
        .iter()
        .map(|point| {
            let of =
                |share: Option<Share>| percent(share) + &share.map_or_else(String::new, |of| format!(" of {}", of.n));
            vec![
                count(point.labels),
                point.way.as_str().to_owned(),
                percent(point.accuracy),
                of(point.known),
                of(point.unknown),
                points(point.gain),
            ]
        })
        .collect();
    let lines = plan.ways.iter().map(|way| Line {
        name: way.as_str().to_owned(),
        points: measured
            .iter()
            .filter(|point| point.way == *way)
            .filter_map(|point| Some(((point.labels as f64).ln(), point.accuracy?)))
            .collect(),
        intervals: true,
    });
    let chart = Chart {
        title: "Right on the reporting half of dev, by labels".to_owned(),
        x: "labels of the pool (logarithmic)".to_owned(),
        marks: plan.budgets.iter().map(|&budget| ((budget as f64).ln(), count(budget))).collect(),
        y: "right, % (95 % interval)".to_owned(),
        target: Some(0.92),
        lines: lines.collect(),
    };
    Page {
        name: "labels",
        title: "How many labels, and which".to_owned(),
        method: vec![
            ground.words(),
            format!(
                "Ways: {}. `random` draws rows of the pool, each as likely as any other. `selected` is `txcat data select`: \
                 three quarters of the budget from nothing (traffic, and unlike merchants), the rest with \
                 what a wide part learned from those (doubt, disagreement). `volume` is what `txcat train` buys. Every label that is used for \
                 anything, also to find the next rows, is one of the budget.",
                ways.join(", ")
            ),
            format!(
                "Every point trains the same adapter from nothing: {}, seed {}. Rows weigh by the traffic they stand for, \
                 with either way. Intervals are Wilson's at 95 %; differences are paired, with intervals over rows (over \
                 whole merchant keys).",
                engine(plan.epochs),
                plan.seed
            ),
        ],
        sheets: vec![("Right, with 95 % intervals".to_owned(), sheet)],
        charts: vec![chart],
        shows: measured.iter().filter_map(sentence).collect(),
        limits: vec![
            "One seed for the draw and for training, one data set; rows of one merchant are not independent, so that of \
             the two intervals of a difference the one over keys is to be trusted."
                .to_owned(),
            "The half of dev that is reported on did not choose the pass, the fusion or the temperature of its own \
             adapters; the constants of the selection were tried on the other half alone. Earlier work on the product \
             looked at all of dev."
                .to_owned(),
            "No lexicon is used here and fewer passes than for the product's own figures, which are in `toronto.md`.".to_owned(),
        ],
    }
}

fn sentence(point: &Point) -> Option<String> {
    let gain = point.gain?;
    Some(format!(
        "{} labels: {} is right on {} %, {} points more than the first way; {}.",
        count(point.labels),
        point.way.as_str(),
        percent(point.accuracy),
        format_args!("{:+.1}", 100.0 * gain.difference),
        clear(&gain),
    ))
}
