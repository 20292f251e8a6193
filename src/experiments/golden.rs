//! "500 curated examples beat 50,000 noisy ones": is that so?
//!
//! The curated rows are selected and have the pool's own labels; the noisy ones are drawn at random, and a share
//! of them is given another category, as likely as out-of-fold models confuse the two. Both train the whole
//! adapter. The noisy rows are more labels than a product's figure may rest on: this is about labels alone.

use std::collections::{BTreeMap, BTreeSet};

use rand::{
    SeedableRng,
    seq::{SliceRandom, index},
};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Error, ground::Ground, shown};
use crate::{
    curate::experiment::{confusion, drawn},
    evaluate::{
        metrics::{Scored, Share, accuracy},
        paired::Difference,
    },
    model::{Labelled, folds::Aids, train::TrainOptions},
};

/// Rows that the confusions are counted on.
pub(super) const CONFUSED_ON: usize = 5_000;
/// Parts that those are cut into.
const FOLDS: usize = 4;

/// What gets one wrong label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A row: slips, which a merchant's other rows outvote.
    Rows,
    /// All rows of a merchant: what an annotator, or a rule, has wrong every time.
    Merchants,
}

/// What to measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Selected rows with the pool's own labels.
    pub curated: usize,
    /// Passes over them; 0 trains the wide part alone.
    pub curated_epochs: usize,
    /// Rows at random.
    pub noisy: usize,
    /// Passes over those.
    pub noisy_epochs: usize,
    /// Shares of those that get a wrong label.
    pub rates: Vec<f64>,
    /// One by one, or by merchant.
    pub unit: Unit,
    /// Draws rows, wrong labels, passes and resamples.
    pub seed: u64,
}

/// One training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arm {
    /// Labels.
    pub labels: usize,
    /// Share of them that was made wrong; `None` for the curated.
    pub noise: Option<f64>,
    /// Merchants among them.
    pub merchants: usize,
    /// Right, all keys.
    pub accuracy: Option<Share>,
    /// Right, keys among the labels.
    pub known: Option<Share>,
    /// Right, the others.
    pub unknown: Option<Share>,
    /// The curated minus this, on the same rows.
    pub curated_gain: Option<Difference>,
}

/// Trains on the curated rows, then on the noisy ones at each rate. `say` hears what is done.
///
/// # Errors
/// When data can't be read or a training fails.
pub async fn run(ground: &Ground, plan: &Plan, mut say: impl FnMut(&str) + Send) -> Result<Vec<Arm>, Error> {
    let options =
        |epochs: usize| TrainOptions { epochs, patience: epochs.max(1), seed: plan.seed, ..TrainOptions::default() };
    let curated = ground.buy(&ground.selected(plan.curated, plan.seed)?)?;
    let (labels, merchants) = (curated.len(), merchants(&curated));
    let ours = ground.measure(curated, &options(plan.curated_epochs), &mut |_| {}).await?;
    let mut arms = vec![Arm::of(&ours, (labels, merchants), None, None)];
    say(&format!("{labels} curated: {}", shown(arms[0].accuracy)));
    let clean = ground.buy(&ground.at_random(plan.noisy, plan.seed))?;
    let aids = Aids { terms: &[], texts: &ground.texts };
    let mut sample = clean.clone();
    sample.shuffle(&mut ChaCha8Rng::seed_from_u64(plan.seed));
    sample.truncate(CONFUSED_ON);
    let weights = confusion(&sample, aids, ground.classes(), FOLDS, plan.seed);
    for &rate in &plan.rates {
        let mut noisy = clean.clone();
        flip(&mut noisy, &weights, rate, plan.unit, plan.seed);
        let counts = (noisy.len(), self::merchants(&noisy));
        let theirs = ground.measure(noisy, &options(plan.noisy_epochs), &mut |_| {}).await?;
        let gain = ground.difference(&ours, &theirs, plan.seed);
        let arm = Arm::of(&theirs, counts, Some(rate), gain);
        say(&format!("{} with {:.0} % wrong: {}", arm.labels, 100.0 * rate, shown(arm.accuracy)));
        arms.push(arm);
    }
    Ok(arms)
}

impl Arm {
    fn of(
        scored: &[Scored],
        (labels, merchants): (usize, usize),
        noise: Option<f64>,
        curated_gain: Option<Difference>,
    ) -> Self {
        Self {
            labels,
            noise,
            merchants,
            accuracy: accuracy(scored, |_| true),
            known: accuracy(scored, |row| row.known),
            unknown: accuracy(scored, |row| !row.known),
            curated_gain,
        }
    }
}

fn merchants(rows: &[Labelled]) -> usize {
    rows.iter().map(|row| &row.input.key).collect::<BTreeSet<_>>().len()
}

/// Gives this share of the rows another class, drawn from the weights of their own.
fn flip(rows: &mut [Labelled], weights: &[Vec<f64>], share: f64, unit: Unit, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let wanted = (share.clamp(0.0, 1.0) * rows.len() as f64).round() as usize;
    match unit {
        Unit::Rows => {
            for at in index::sample(&mut rng, rows.len(), wanted) {
                rows[at].class = drawn(&weights[rows[at].class], &mut rng).unwrap_or(rows[at].class);
            }
        }
        Unit::Merchants => {
            let mut of_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            rows.iter().enumerate().for_each(|(at, row)| of_key.entry(row.input.key.clone()).or_default().push(at));
            let mut merchants: Vec<Vec<usize>> = of_key.into_values().collect();
            merchants.shuffle(&mut rng);
            let mut flipped = 0;
            for merchant in merchants {
                if flipped + merchant.len() > wanted {
                    continue;
                }
                let class = rows[merchant[0]].class;
                let wrong = drawn(&weights[class], &mut rng).unwrap_or(class);
                merchant.iter().for_each(|&at| rows[at].class = wrong);
                flipped += merchant.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AdapterInput;

    /// Ten rows each of twenty merchants, of four classes.
    fn rows() -> Vec<Labelled> {
        let row = |n: usize| Labelled {
            input: AdapterInput { key: format!("merchant {}", n / 10), ..AdapterInput::default() },
            class: n / 10 % 4,
            weight: 1.0,
        };
        (0..200).map(row).collect()
    }

    /// Class 0 is taken for 1 alone, and so on in a ring.
    fn ring() -> Vec<Vec<f64>> {
        (0..4).map(|class| (0..4).map(|other| f64::from(u8::from(other == (class + 1) % 4))).collect()).collect()
    }

    #[test]
    fn as_many_rows_as_asked_get_the_class_theirs_is_taken_for() {
        for (unit, merchants) in [(Unit::Rows, 15..=20), (Unit::Merchants, 4..=4)] {
            let (before, mut after) = (rows(), rows());
            flip(&mut after, &ring(), 0.2, unit, 3);
            let changed: Vec<usize> = (0..200).filter(|&at| before[at].class != after[at].class).collect();
            assert_eq!(changed.len(), 40, "{unit:?}");
            assert!(changed.iter().all(|&at| after[at].class == (before[at].class + 1) % 4));
            let keys: BTreeSet<&str> = changed.iter().map(|&at| before[at].input.key.as_str()).collect();
            assert!(merchants.contains(&keys.len()), "{unit:?}: {}", keys.len());
        }
    }
}
