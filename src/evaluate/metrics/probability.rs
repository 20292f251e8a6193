//! How good the probabilities are, by proper scores.
//!
//! A prediction names up to five categories, not all, so neither score is of a whole distribution: log loss has a floor, and the
//! Brier score is of whether the answer is right.

use super::Scored;

/// The least probability that [`log_loss`] takes a truth to have been given: a truth among the categories that are not
/// named would cost infinitely much, and one row would decide the figure.
pub const PROBABILITY_FLOOR: f64 = 1e-4;

/// Mean of `-ln p`, where `p` is the probability that each row's truth was given, 0 where it was not named, and at least
/// [`PROBABILITY_FLOOR`]; `None` of nothing. Lower is better.
#[must_use]
pub fn log_loss(truths: &[f32]) -> Option<f64> {
    let loss = |&truth: &f32| -f64::from(truth).max(PROBABILITY_FLOOR).ln();
    (!truths.is_empty()).then(|| truths.iter().map(loss).sum::<f64>() / truths.len() as f64)
}

/// Brier score of the answer: mean squared distance between its probability and whether it is right (scikit-learn's
/// `brier_score_loss` of "right"); `None` of nothing. Lower is better.
#[must_use]
pub fn answer_brier(rows: &[Scored]) -> Option<f64> {
    let square = |row: &Scored| (f64::from(row.confidence) - f64::from(u8::from(row.correct()))).powi(2);
    (!rows.is_empty()).then(|| rows.iter().map(square).sum::<f64>() / rows.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sure_mistake_costs_most_and_no_more_than_the_floor() {
        let loss = log_loss(&[1.0, 0.5, 0.0]).unwrap();
        assert!((loss - (2.0_f64.ln() - PROBABILITY_FLOOR.ln()) / 3.0).abs() < 1e-12, "{loss}");
        assert_eq!(log_loss(&[]), None);
        let row = |answer, confidence| Scored { gold: 0, answer, confidence, known: true, knows_key: true };
        assert_eq!(answer_brier(&[row(0, 1.0), row(1, 1.0), row(0, 0.5), row(1, 0.5)]), Some(0.375));
        assert_eq!(answer_brier(&[]), None);
    }
}
