//! Confident learning: which labels are probably wrong, from probabilities of models that did not see them.
//!
//! After Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels"
//! (Journal of Artificial Intelligence Research 70, 2021): a row counts for the class whose probability
//! reaches what is usual among that class's own rows; the counts, scaled to the given labels, estimate
//! how often each label stands where another belongs. Pure arithmetic, in the paper's terms.

use serde::{Deserialize, Serialize};

use crate::model::argmax;

/// How rows to prune are picked once it is estimated how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Prune {
    /// For each pair of given and true class, those that lean furthest towards the true one.
    NoiseRate,
    /// For each given class, those that its own class is least likely for.
    Class,
    /// Those that both would pick.
    Both,
    /// Of those, the ones whose own class is all but impossible: for acting without a person's eye.
    Sure,
}

/// A label is surely wrong only below this part of what mere chance would give its class. Where one label in
/// twenty is wrong at random, every class of a noisy set keeps about half of that for mistakes alone: below it,
/// more labels are wrong than right, and taking them out does less harm than leaving them in.
pub const IMPOSSIBLE: f32 = 0.1;

impl Prune {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::NoiseRate, Self::Class, Self::Both, Self::Sure];

    /// Its name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoiseRate => "noise_rate",
            Self::Class => "class",
            Self::Both => "both",
            Self::Sure => "sure",
        }
    }
}

/// What the probabilities say about the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Confident {
    /// Probability of each row's own label: low is suspect.
    pub self_confidence: Vec<f32>,
    /// Normalized margin, `(p(label) − the largest other + 1) / 2`: low is suspect.
    pub margin: Vec<f32>,
    /// Each row's most probable class.
    pub best: Vec<usize>,
    /// Estimated rows of each given class (first) that truly are of each class (second); whole numbers
    /// whose rows add up to the given labels.
    pub joint: Vec<Vec<usize>>,
    by_noise_rate: Vec<bool>,
    by_class: Vec<bool>,
}

impl Confident {
    /// `probabilities` has one row for each label, and each label is a place in such a row.
    #[must_use]
    pub fn of(probabilities: &[Vec<f32>], labels: &[usize], classes: usize) -> Self {
        let rows = || probabilities.iter().zip(labels);
        let self_confidence: Vec<f32> = rows().map(|(row, label)| row[*label]).collect();
        let margin = rows().map(|(row, label)| f32::midpoint(row[*label] - largest_but(row, *label), 1.0)).collect();
        let best = probabilities.iter().map(|row| argmax(row)).collect();
        let joint = joint(probabilities, labels, classes);
        let mut confident = Self { self_confidence, margin, best, joint, by_noise_rate: vec![], by_class: vec![] };
        confident.by_noise_rate = confident.pruned_by_noise_rate(probabilities, labels);
        confident.by_class = confident.pruned_by_class(labels);
        confident
    }

    /// Whether this row's label is probably wrong. A row whose own label is the most probable never is.
    #[must_use]
    pub fn suspects(&self, row: usize, prune: Prune) -> bool {
        match prune {
            Prune::NoiseRate => self.by_noise_rate[row],
            Prune::Class => self.by_class[row],
            Prune::Both => self.by_noise_rate[row] && self.by_class[row],
            Prune::Sure => {
                self.self_confidence[row] < IMPOSSIBLE / self.joint.len() as f32 && self.suspects(row, Prune::Both)
            }
        }
    }

    /// Estimated share of a class's labels that are wrong; `None` without labels.
    #[must_use]
    pub fn noise(&self, class: usize) -> Option<f64> {
        let all: usize = self.joint[class].iter().sum();
        (all > 0).then(|| 1.0 - self.joint[class][class] as f64 / all as f64)
    }

    /// Estimated share of all labels that are wrong; 0 without labels.
    #[must_use]
    pub fn noise_of_all(&self) -> f64 {
        let all: usize = self.joint.iter().flatten().sum();
        let right: usize = (0..self.joint.len()).map(|class| self.joint[class][class]).sum();
        if all == 0 { 0.0 } else { 1.0 - right as f64 / all as f64 }
    }

    fn pruned_by_noise_rate(&self, probabilities: &[Vec<f32>], labels: &[usize]) -> Vec<bool> {
        let mut pruned = vec![false; labels.len()];
        for (given, of_class) in by_class(labels, self.joint.len()).into_iter().enumerate() {
            for (truly, &count) in self.joint[given].iter().enumerate() {
                if truly == given || count == 0 {
                    continue;
                }
                let lean = |row: usize| probabilities[row][truly] - probabilities[row][given];
                let mut rows = of_class.clone();
                rows.sort_by(|&a, &b| lean(b).total_cmp(&lean(a)));
                rows.into_iter().take(count).for_each(|row| pruned[row] = self.best[row] != given);
            }
        }
        pruned
    }

    fn pruned_by_class(&self, labels: &[usize]) -> Vec<bool> {
        let mut pruned = vec![false; labels.len()];
        for (given, mut rows) in by_class(labels, self.joint.len()).into_iter().enumerate() {
            let wrong = rows.len().saturating_sub(self.joint[given][given]);
            rows.sort_by(|&a, &b| self.self_confidence[a].total_cmp(&self.self_confidence[b]));
            rows.into_iter().take(wrong).for_each(|row| pruned[row] = self.best[row] != given);
        }
        pruned
    }
}

/// The calibrated confident joint, rounded so that every row still adds up to its given labels.
fn joint(probabilities: &[Vec<f32>], labels: &[usize], classes: usize) -> Vec<Vec<usize>> {
    let of_class = by_class(labels, classes);
    // What a class's own rows give it on average; no row can reach a class that has none.
    let thresholds: Vec<f64> = of_class
        .iter()
        .enumerate()
        .map(|(class, rows)| {
            let sum: f64 = rows.iter().map(|&row| f64::from(probabilities[row][class])).sum();
            if rows.is_empty() { f64::INFINITY } else { sum / rows.len() as f64 }
        })
        .collect();
    let mut counts = vec![vec![0.0; classes]; classes];
    for (row, &given) in probabilities.iter().zip(labels) {
        let reached = (0..classes).filter(|&class| f64::from(row[class]) >= thresholds[class] - 1e-6);
        if let Some(class) = reached.max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))) {
            counts[given][class] += 1.0;
        }
    }
    counts
        .into_iter()
        .zip(&of_class)
        .enumerate()
        .map(|(class, (mut counted, rows))| {
            counted[class] = f64::max(counted[class], 1.0);
            let total: f64 = counted.iter().sum();
            whole(&counted.iter().map(|count| count / total * rows.len() as f64).collect::<Vec<_>>(), rows.len())
        })
        .collect()
}

/// Rounds shares to whole numbers that add up to the total: the largest remainders are rounded up.
fn whole(shares: &[f64], total: usize) -> Vec<usize> {
    let mut rounded: Vec<usize> = shares.iter().map(|share| share.floor() as usize).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| shares[b].fract().total_cmp(&shares[a].fract()).then(a.cmp(&b)));
    let missing = total.saturating_sub(rounded.iter().sum());
    order.into_iter().cycle().take(missing).for_each(|place| rounded[place] += 1);
    rounded
}

fn by_class(labels: &[usize], classes: usize) -> Vec<Vec<usize>> {
    let mut of_class = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(row, &label)| of_class[label].push(row));
    of_class
}

fn largest_but(row: &[f32], label: usize) -> f32 {
    let others = row.iter().enumerate().filter(|(class, _)| *class != label);
    others.fold(0.0, |top, (_, probability)| probability.max(top))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_two_classes_is_counted_as_the_paper_counts() {
        // Thresholds: mean of 0.9, 0.8, 0.1 = 0.6 for class 0; of 0.9, 0.7 = 0.8 for class 1.
        let probabilities = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.3, 0.7]].map(|row| row.to_vec());
        let labels = [0, 0, 0, 1, 1];
        let confident = Confident::of(&probabilities, &labels, 2);
        // Counted: two of class 0 as such, one as class 1; one of class 1 as such, its other row as nothing.
        assert_eq!(confident.joint, [[2, 1], [0, 2]]);
        assert_eq!(confident.self_confidence, [0.9, 0.8, 0.1, 0.9, 0.7]);
        assert!((confident.margin[2] - 0.1).abs() < 1e-6 && (confident.margin[1] - 0.8).abs() < 1e-6);
        for prune in [Prune::NoiseRate, Prune::Class, Prune::Both] {
            let suspects: Vec<usize> = (0..5).filter(|&row| confident.suspects(row, prune)).collect();
            assert_eq!(suspects, [2], "{}", prune.as_str());
        }
        assert!(!(0..5).any(|row| confident.suspects(row, Prune::Sure)), "0.1 is not below 0.05");
        assert!((confident.noise_of_all() - 0.2).abs() < 1e-9);
        assert!((confident.noise(0).unwrap() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_class_without_rows_takes_none() {
        let confident = Confident::of(&[vec![0.2, 0.8], vec![0.9, 0.1]], &[0, 0], 2);
        assert_eq!((confident.joint[0].as_slice(), confident.noise(1)), ([2, 0].as_slice(), None));
        assert!(Confident::of(&[], &[], 2).noise_of_all() < 1e-9);
    }

    proptest! {
        #[test]
        fn estimates_add_up_and_agreeing_rows_are_never_suspects(
            rows in prop::collection::vec((prop::collection::vec(0.0001_f32..1.0, 4), 0..4_usize), 1..80),
        ) {
            let probabilities: Vec<Vec<f32>> = rows
                .iter()
                .map(|(row, _)| { let sum: f32 = row.iter().sum(); row.iter().map(|p| p / sum).collect() })
                .collect();
            let labels: Vec<usize> = rows.iter().map(|(_, label)| *label).collect();
            let confident = Confident::of(&probabilities, &labels, 4);
            for class in 0..4 {
                let given = labels.iter().filter(|label| **label == class).count();
                prop_assert_eq!(confident.joint[class].iter().sum::<usize>(), given);
            }
            for (row, &label) in labels.iter().enumerate() {
                prop_assert!((0.0..=1.0).contains(&confident.margin[row]));
                for prune in Prune::ALL {
                    prop_assert!(!confident.suspects(row, prune) || confident.best[row] != label);
                }
                let both = confident.suspects(row, Prune::NoiseRate) && confident.suspects(row, Prune::Class);
                prop_assert_eq!(confident.suspects(row, Prune::Both), both);
                let sure = both && confident.self_confidence[row] < 0.025;
                prop_assert_eq!(confident.suspects(row, Prune::Sure), sure);
            }
        }
    }
}
