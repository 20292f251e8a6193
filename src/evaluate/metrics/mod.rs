//! What is measured about a list of answers whose truth is known.
//!
//! Pure arithmetic over [`Scored`] rows; every figure says in its doc what it is exactly, so that a
//! reader can compute it again from the stored items. `tests/statistics_check.py` holds each to
//! scikit-learn, statsmodels and netcal. The tracker's queries compute the same in Postgres; a test
//! holds the two together.

mod classes;
mod probability;
mod ranked;
mod share;

pub use classes::{ClassCount, Confusion, macro_f1};
pub use probability::{PROBABILITY_FLOOR, answer_brier, log_loss};
pub use ranked::{BINS, Bin, Coverage, Ranked, calibration_error, coverage, ranked};
pub(super) use share::Z;
pub use share::{Needed, Share, rows_needed, wilson};

use crate::domain::Judged;

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

/// Share of right answers among the rows that `filter` keeps.
pub fn accuracy(rows: &[Scored], filter: impl Fn(&Scored) -> bool) -> Option<Share> {
    let (mut hits, mut n) = (0, 0);
    for row in rows.iter().filter(|row| filter(row)) {
        n += 1;
        hits += usize::from(row.correct());
    }
    wilson(hits, n)
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

    proptest! {
        #[test]
        fn metrics_stay_in_the_unit_and_ignore_the_order(mut rows in rows()) {
            let (f1, known) = (macro_f1(&rows), accuracy(&rows, |row| row.known));
            let unknown = accuracy(&rows, |row| !row.known);
            let all = accuracy(&rows, |_| true).unwrap();
            let before = ranked(&rows).unwrap();
            for figure in [f1, Confusion::of(&rows).weighted_f1(), before.ece, before.aurc, answer_brier(&rows).unwrap()] {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&figure));
            }
            let parts = known.map_or(0.0, |s| s.share * s.n as f64) + unknown.map_or(0.0, |s| s.share * s.n as f64);
            prop_assert!((parts - all.share * all.n as f64).abs() < 1e-6);
            rows.reverse();
            let after = ranked(&rows).unwrap();
            prop_assert!((macro_f1(&rows) - f1).abs() < 1e-12);
            prop_assert!((after.ece - before.ece).abs() < 1e-9 && (after.aurc - before.aurc).abs() < 1e-9);
        }
    }
}
