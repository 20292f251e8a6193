//! From which confidence on an answer goes without a person's eye.
//!
//! One threshold for rows whose key an engine's labels had shown and one for the others: where known
//! keys are most of the rows and nearly always right, a single threshold would wave every unknown
//! merchant through on their credit, and the more of them traffic brings, the less it would keep.

use serde::{Deserialize, Serialize};

/// Fewest accepted rows that a threshold may rest on.
const FEWEST: usize = 20;
/// The 90 % quantile of the standard normal distribution.
const ONE_SIDED: f64 = 1.281_551_565_544_600_4;

/// An answer whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The answer's confidence, in `[0, 1]`.
    pub confidence: f32,
    /// Whether it is right.
    pub right: bool,
    /// Whether the engine's labels had shown the row's descriptor key.
    pub known: bool,
}

/// Lowest confidences, in `[0, 1]`, from which answers are accepted; `None` accepts none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Among rows with a known key.
    pub known: Option<f32>,
    /// Among the others.
    pub unknown: Option<f32>,
}

impl Acceptance {
    /// The thresholds that accept most while, in either group by itself, at least `target` (in
    /// `[0, 1]`) of the accepted answers are right. A group accepts none where not even its 20 most
    /// confident answers are.
    #[must_use]
    pub fn fit(answers: &[Judged], target: f64) -> Self {
        Self::lowest(answers, |right, accepted| right as f64 >= target * accepted as f64)
    }

    /// The thresholds that accept most while, in either group by itself, the share of right answers among the accepted is
    /// surely at least `promise` (in `[0, 1]`): the lower bound of its one-sided 90 % Wilson interval is. Of many thresholds,
    /// chance favours some.
    #[must_use]
    pub fn fit_surely(answers: &[Judged], promise: f64) -> Self {
        Self::lowest(answers, |right, accepted| at_least(right, accepted) >= promise)
    }

    fn lowest(answers: &[Judged], keeps: impl Fn(usize, usize) -> bool) -> Self {
        let of = |known: bool| lowest(answers.iter().filter(|answer| answer.known == known).collect(), &keeps);
        Self { known: of(true), unknown: of(false) }
    }

    /// Whether an answer is accepted.
    #[must_use]
    pub fn accepts(&self, confidence: f32, known: bool) -> bool {
        let threshold = if known { self.known } else { self.unknown };
        threshold.is_some_and(|threshold| confidence >= threshold)
    }
}

/// The lower bound of the one-sided 90 % Wilson interval of a share.
fn at_least(right: usize, of: usize) -> f64 {
    let (n, share, z) = (of as f64, right as f64 / of as f64, ONE_SIDED);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    (share + z * z / (2.0 * n) - half) / (1.0 + z * z / n)
}

fn lowest(mut answers: Vec<&Judged>, keeps: impl Fn(usize, usize) -> bool) -> Option<f32> {
    answers.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let (mut right, mut threshold) = (0_usize, None);
    for (at, answer) in answers.iter().enumerate() {
        right += usize::from(answer.right);
        let accepted = at + 1;
        let last_of_its_confidence = answers.get(accepted).is_none_or(|next| next.confidence < answer.confidence);
        if last_of_its_confidence && accepted >= FEWEST && keeps(right, accepted) {
            threshold = Some(answer.confidence);
        }
    }
    threshold
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged((confidence, right, known): (u8, bool, bool)) -> Judged {
        Judged { confidence: f32::from(confidence) / 100.0, right, known }
    }

    #[test]
    fn unknown_keys_are_not_accepted_on_the_credit_of_known_ones() {
        // Known keys are always right; of the unknown, only those said with 80 % and more.
        let known = (0..100).map(|at| judged((at, true, true)));
        let unknown = (0..100).map(|at| judged((at, at >= 80, false)));
        let answers: Vec<Judged> = known.chain(unknown).collect();
        let fitted = Acceptance::fit(&answers, 1.0);
        assert_eq!(fitted, Acceptance { known: Some(0.0), unknown: Some(0.8) });
        assert!(fitted.accepts(0.1, true) && !fitted.accepts(0.79, false) && fitted.accepts(0.8, false));
    }

    #[test]
    fn a_threshold_rests_on_twenty_rows() {
        let few: Vec<Judged> = (0..19).map(|at| judged((at, true, true))).collect();
        assert_eq!(Acceptance::fit(&few, 0.5), Acceptance::default());
        assert!(!Acceptance::default().accepts(1.0, true));
    }

    proptest! {
        #[test]
        fn accepted_answers_reach_the_target_in_either_group_and_no_lower_threshold_does(
            rows in prop::collection::vec((0..20_u8, any::<bool>(), any::<bool>()), 0..300), target in 0.3..1.0_f64,
        ) {
            let answers: Vec<Judged> = rows.into_iter().map(judged).collect();
            let fitted = Acceptance::fit(&answers, target);
            for (known, threshold) in [(true, fitted.known), (false, fitted.unknown)] {
                let share_from = |lowest: f32| {
                    let kept: Vec<bool> = answers.iter()
                        .filter(|answer| answer.known == known && answer.confidence >= lowest)
                        .map(|answer| answer.right)
                        .collect();
                    (kept.len(), kept.iter().filter(|right| **right).count() as f64)
                };
                if let Some(threshold) = threshold {
                    let (n, right) = share_from(threshold);
                    prop_assert!(n >= FEWEST && right >= target * n as f64);
                }
                for lower in (0..20).map(|step| f32::from(step as u8) / 100.0) {
                    let (n, right) = share_from(lower);
                    if threshold.is_none_or(|threshold| lower < threshold) && n >= FEWEST {
                        let reached = right >= target * n as f64;
                        let as_much = threshold.is_some_and(|threshold| share_from(threshold).0 == n);
                        prop_assert!(!reached || as_much);
                    }
                }
            }
        }
    }
}
