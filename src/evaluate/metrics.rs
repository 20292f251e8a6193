//! What is measured about a list of answers whose truth is known.
//!
//! Pure arithmetic over [`Scored`] rows; every figure says in its doc what it is exactly, so that a
//! reader can compute it again from the stored items.

use serde::Serialize;

use crate::domain::{Acceptance, Judged};

/// One row: what it is, what was answered, how sure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Index of the true category in the taxonomy.
    pub gold: usize,
    /// Index of the answer.
    pub answer: usize,
    /// The answer's probability, in `[0, 1]`.
    pub confidence: f32,
    /// Whether the row's descriptor key occurs among the bought labels.
    pub known: bool,
    /// Whether it occurs among the labels that the engine itself learned from.
    pub knows_key: bool,
}

impl Scored {
    /// Whether the answer is the truth.
    #[must_use]
    pub fn correct(&self) -> bool {
        self.gold == self.answer
    }

    /// As acceptance thresholds are fitted on it.
    #[must_use]
    pub fn judged(&self) -> Judged {
        Judged { confidence: self.confidence, right: self.correct(), known: self.knows_key }
    }
}

/// A share and its Wilson 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Rows it is a share of.
    pub n: usize,
    /// The share, in `[0, 1]`.
    pub share: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 97.5 % quantile of the standard normal distribution.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// The share of `hits` among `n` with its Wilson score interval; `None` of nothing.
#[must_use]
pub fn wilson(hits: usize, n: usize) -> Option<Share> {
    if n == 0 {
        return None;
    }
    let (size, share) = (n as f64, hits as f64 / n as f64);
    let denominator = 1.0 + Z * Z / size;
    let centre = (share + Z * Z / (2.0 * size)) / denominator;
    let half = Z / denominator * (share * (1.0 - share) / size + Z * Z / (4.0 * size * size)).sqrt();
    Some(Share { n, share, low: (centre - half).max(0.0).min(share), high: (centre + half).min(1.0).max(share) })
}

/// Share of right answers among the rows that `filter` keeps.
pub fn accuracy(rows: &[Scored], filter: impl Fn(&Scored) -> bool) -> Option<Share> {
    let (mut hits, mut n) = (0, 0);
    for row in rows.iter().filter(|row| filter(row)) {
        n += 1;
        hits += usize::from(row.correct());
    }
    wilson(hits, n)
}

/// Mean of the F1 scores of the categories that occur as truth or as answer (scikit-learn's
/// `f1_score(average="macro")`); 0 of nothing.
#[must_use]
pub fn macro_f1(rows: &[Scored]) -> f64 {
    let classes = rows.iter().map(|row| row.gold.max(row.answer) + 1).max().unwrap_or(0);
    let (mut right, mut golds, mut answers) = (vec![0_u32; classes], vec![0_u32; classes], vec![0_u32; classes]);
    for row in rows {
        golds[row.gold] += 1;
        answers[row.answer] += 1;
        right[row.gold] += u32::from(row.correct());
    }
    let scores: Vec<f64> = (0..classes)
        .filter(|&class| golds[class] + answers[class] > 0)
        .map(|class| 2.0 * f64::from(right[class]) / f64::from(golds[class] + answers[class]))
        .collect();
    if scores.is_empty() { 0.0 } else { scores.iter().sum::<f64>() / scores.len() as f64 }
}

/// How many bins of equal size [`calibration_error`] uses.
pub const BINS: usize = 15;

/// Expected calibration error over [`BINS`] bins of equal size (adaptive bins): the mean, weighted
/// by rows, of the distance between a bin's accuracy and its mean confidence; 0 of nothing.
#[must_use]
pub fn calibration_error(rows: &[Scored]) -> f64 {
    let mut sorted: Vec<&Scored> = rows.iter().collect();
    sorted.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
    let n = sorted.len();
    (0..BINS)
        .map(|bin| &sorted[bin * n / BINS..(bin + 1) * n / BINS])
        .map(|rows| {
            let gap: f64 = rows.iter().map(|row| f64::from(u8::from(row.correct())) - f64::from(row.confidence)).sum();
            gap.abs() / n as f64
        })
        .filter(|gap| gap.is_finite())
        .sum()
}

/// What thresholds accept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// The thresholds.
    pub acceptance: Acceptance,
    /// Share of the rows that are accepted.
    pub share: f64,
    /// How many of the accepted are right; absent when none is accepted.
    pub accuracy: Option<Share>,
}

/// Applies thresholds that were fitted elsewhere.
#[must_use]
pub fn coverage(rows: &[Scored], acceptance: Acceptance) -> Coverage {
    let accepted = |row: &Scored| acceptance.accepts(row.confidence, row.knows_key);
    let n = rows.iter().filter(|row| accepted(row)).count();
    let share = if rows.is_empty() { 0.0 } else { n as f64 / rows.len() as f64 };
    Coverage { acceptance, share, accuracy: accuracy(rows, accepted) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows() -> impl Strategy<Value = Vec<Scored>> {
        let row = (0..5_usize, 0..5_usize, 0_u8..=20, any::<bool>()).prop_map(|(gold, answer, confidence, known)| {
            Scored { gold, answer, confidence: f32::from(confidence) / 20.0, known, knows_key: known }
        });
        prop::collection::vec(row, 1..200)
    }

    #[test]
    fn wilson_agrees_with_the_textbook() {
        let share = wilson(81, 263).unwrap();
        assert!((share.low - 0.2553).abs() < 1e-4 && (share.high - 0.3662).abs() < 1e-4, "{share:?}");
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(0, 10).unwrap().low, 0.0);
        assert_eq!(wilson(10, 10).unwrap().high, 1.0);
    }

    #[test]
    fn macro_f1_agrees_with_scikit_learn() {
        // f1_score([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1], average="macro")
        let rows: Vec<Scored> = [(0, 0), (1, 2), (2, 1), (0, 0), (1, 0), (2, 1)]
            .map(|(gold, answer)| Scored { gold, answer, confidence: 1.0, known: true, knows_key: true })
            .into();
        assert!((macro_f1(&rows) - 0.266_666_666).abs() < 1e-6);
    }

    #[test]
    fn confident_and_right_is_calibrated_and_confident_and_wrong_is_not() {
        let right = vec![Scored { gold: 1, answer: 1, confidence: 1.0, known: true, knows_key: true }; 40];
        let wrong = vec![Scored { gold: 1, answer: 0, confidence: 1.0, known: true, knows_key: true }; 40];
        assert!(calibration_error(&right).abs() < 1e-9);
        assert!((calibration_error(&wrong) - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_share_and_stays_in_the_unit(hits in 0..500_usize, more in 0..500_usize) {
            prop_assume!(hits + more > 0);
            let share = wilson(hits, hits + more).unwrap();
            prop_assert!(0.0 <= share.low && share.low <= share.share);
            prop_assert!(share.share <= share.high && share.high <= 1.0);
        }

        #[test]
        fn metrics_stay_in_the_unit_and_ignore_the_order(mut rows in rows()) {
            let (f1, known) = (macro_f1(&rows), accuracy(&rows, |row| row.known));
            let unknown = accuracy(&rows, |row| !row.known);
            let all = accuracy(&rows, |_| true).unwrap();
            prop_assert!((0.0..=1.0).contains(&f1) && (0.0..=1.0).contains(&calibration_error(&rows)));
            let parts = known.map_or(0.0, |s| s.share * s.n as f64) + unknown.map_or(0.0, |s| s.share * s.n as f64);
            prop_assert!((parts - all.share * all.n as f64).abs() < 1e-6);
            rows.reverse();
            prop_assert!((macro_f1(&rows) - f1).abs() < 1e-12);
        }
    }
}
