//! What rows ranked by their confidence show: is it calibrated, and are the surest ones right?
//!
//! Rows of one confidence have no order among them: each counts as right by the share of them that is.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Scored, Share, accuracy};
use crate::domain::Acceptance;

/// How many bins of equal size rows are put into (adaptive bins).
pub const BINS: usize = 15;

/// Rows of neighbouring confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = ConfidenceBin)]
pub struct Bin {
    /// How many.
    pub rows: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// Share of them that is right.
    pub accuracy: f64,
    /// Share of all rows that are as sure as the least sure here, or surer.
    pub coverage: f64,
    /// Share of those that is wrong.
    pub risk: f64,
}

/// Rows ranked by confidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// [`BINS`] of equal size (to one row), the least sure first; fewer where there are fewer rows.
    pub bins: Vec<Bin>,
    /// Expected calibration error: the mean, weighted by rows, of the distance between a bin's accuracy and its mean
    /// confidence.
    pub ece: f64,
    /// Area under the risk-coverage curve (Geifman et al. 2019): the mean risk over accepting the surest row, the surest
    /// two, and so on to all.
    pub aurc: f64,
}

/// Ranks rows; `None` of nothing.
#[must_use]
pub fn ranked(rows: &[Scored]) -> Option<Ranked> {
    let mut sorted: Vec<&Scored> = rows.iter().collect();
    sorted.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
    let n = sorted.len();
    let right: Vec<f64> = sorted
        .chunk_by(|a, b| a.confidence == b.confidence)
        .flat_map(|tied| {
            let share = tied.iter().filter(|row| row.correct()).count() as f64 / tied.len() as f64;
            std::iter::repeat_n(share, tied.len())
        })
        .collect();
    // From the surest down: share of wrong rows among it and all surer ones.
    let mut wrong = 0.0;
    let mut risks: Vec<f64> = right
        .iter()
        .rev()
        .zip(1..)
        .map(|(right, accepted)| {
            wrong += 1.0 - right;
            wrong / f64::from(accepted)
        })
        .collect();
    risks.reverse();
    let bin = |range: std::ops::Range<usize>| {
        let size = range.len() as f64;
        Bin {
            rows: range.len(),
            confidence: sorted[range.clone()].iter().map(|row| f64::from(row.confidence)).sum::<f64>() / size,
            accuracy: right[range.clone()].iter().sum::<f64>() / size,
            coverage: (n - range.start) as f64 / n as f64,
            risk: risks[range.start],
        }
    };
    let bins: Vec<Bin> =
        (0..BINS).map(|bin| bin * n / BINS..(bin + 1) * n / BINS).filter(|range| !range.is_empty()).map(bin).collect();
    (n > 0).then(|| Ranked {
        ece: bins.iter().map(|bin| bin.rows as f64 * (bin.accuracy - bin.confidence).abs()).sum::<f64>() / n as f64,
        aurc: risks.iter().sum::<f64>() / n as f64,
        bins,
    })
}

/// [`Ranked::ece`] alone; 0 of nothing.
#[must_use]
pub fn calibration_error(rows: &[Scored]) -> f64 {
    ranked(rows).map_or(0.0, |ranked| ranked.ece)
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
    use super::*;

    fn row(right: bool, confidence: f32) -> Scored {
        Scored { gold: 1, answer: usize::from(right), confidence, known: true, knows_key: true }
    }

    #[test]
    fn confident_and_right_is_calibrated_and_confident_and_wrong_is_not() {
        assert!(calibration_error(&vec![row(true, 1.0); 40]).abs() < 1e-9);
        assert!((calibration_error(&vec![row(false, 1.0); 40]) - 1.0).abs() < 1e-9);
        assert_eq!(calibration_error(&[]), 0.0);
    }

    #[test]
    fn tied_rows_are_calibrated_as_a_whole_in_whatever_order_they_come() {
        // Half of the rows said with 0.5 are right: no bin may see only the wrong ones.
        let rows: Vec<Scored> = (0..300).map(|at| row(at < 150, 0.5)).collect();
        assert!(calibration_error(&rows) < 1e-9);
    }

    #[test]
    fn the_risk_curve_falls_where_the_surest_are_right() {
        // The least sure is wrong, the other three right: risks 0, 0, 0, 1/4.
        let rows = [row(false, 0.1), row(true, 0.7), row(true, 0.8), row(true, 0.9)];
        let found = ranked(&rows).unwrap();
        assert!((found.aurc - 0.0625).abs() < 1e-12, "{found:?}");
        assert_eq!(found.bins.len(), 4);
        assert!((found.bins[0].coverage, found.bins[0].risk) == (1.0, 0.25) && found.bins[1].risk == 0.0);
    }
}
