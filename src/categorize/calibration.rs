//! Turns an engine's own confidence into the share of right answers that it stands for.
//!
//! Isotonic regression by pooling adjacent violators (Barlow et al. 1972; Zadrozny and Elkan 2002):
//! the only assumption is that a higher score does not mean a worse answer, so one way fits every
//! engine. It is fitted on `dev`, never on a test file.

use serde::{Deserialize, Serialize};

use crate::domain::{Acceptance, Judged, Levels};

/// Fewest rows that a pooled step may rest on; below that, a step would be noise.
const SMALLEST_STEP: usize = 20;

/// A monotone map from raw confidence to probability, and from where on answers are accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// `(raw confidence, share right)`, both non-decreasing; linear in between, flat outside.
    knots: Vec<(f32, f32)>,
    /// From which calibrated confidence on answers are accepted: the target is kept on the fitting rows.
    #[serde(default)]
    pub acceptance: Acceptance,
    /// What calibrated confidences promise; `None` where it was fitted before there were levels.
    #[serde(default)]
    pub levels: Option<Levels>,
    /// The engine that gave the answers it was fitted on, with the labels that it had then; `None` where that was not kept.
    #[serde(default)]
    pub engine: Option<String>,
}

impl Calibration {
    /// Fits on answers with raw confidences. `target` is the accuracy in `[0, 1]` that accepted rows
    /// must keep. With no answers the map is the identity and nothing is accepted.
    #[must_use]
    pub fn fit(answers: &[Judged], target: f64) -> Self {
        let mut sorted = answers.to_vec();
        sorted.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
        let knots = pool_adjacent_violators(&sorted);
        let mut fitted = Self { knots, acceptance: Acceptance::default(), levels: None, engine: None };
        for answer in &mut sorted {
            answer.confidence = fitted.apply(answer.confidence);
        }
        fitted.acceptance = Acceptance::fit(&sorted, target);
        fitted.levels = Some(Levels::fit(&sorted));
        fitted
    }

    /// Of an engine that brings probabilities and thresholds of its own: what they promise is fitted, and nothing
    /// else changes.
    #[must_use]
    pub fn of_calibrated(answers: &[Judged], acceptance: Acceptance) -> Self {
        Self { knots: Vec::new(), acceptance, levels: Some(Levels::fit(answers)), engine: None }
    }

    /// What the other choices' probabilities are multiplied by when the first one's goes from `before` to `after`:
    /// they share the rest as before.
    #[must_use]
    pub fn rest(before: f32, after: f32) -> f32 {
        if before < 1.0 { (1.0 - after) / (1.0 - before) } else { 0.0 }
    }

    /// The probability that an answer with this raw confidence is right, in `[0, 1]`.
    #[must_use]
    pub fn apply(&self, raw: f32) -> f32 {
        let after = self.knots.partition_point(|knot| knot.0 < raw);
        match (after.checked_sub(1).map(|i| self.knots[i]), self.knots.get(after)) {
            (None, None) => raw.clamp(0.0, 1.0),
            (None, Some(&(_, share))) | (Some((_, share)), None) => share,
            (Some((x0, y0)), Some(&(x1, y1))) => {
                let t = if x1 > x0 { (raw - x0) / (x1 - x0) } else { 1.0 };
                (y1 - y0).mul_add(t, y0)
            }
        }
    }
}

/// Non-decreasing steps of at least [`SMALLEST_STEP`] rows (fewer only where there are fewer in
/// all), each as one knot at its mean score.
fn pool_adjacent_violators(sorted: &[Judged]) -> Vec<(f32, f32)> {
    struct Step {
        rows: usize,
        score: f64,
        right: usize,
    }
    impl Step {
        fn share(&self) -> f64 {
            self.right as f64 / self.rows as f64
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    for chunk in sorted.chunks(SMALLEST_STEP) {
        let score: f64 = chunk.iter().map(|answer| f64::from(answer.confidence)).sum();
        let right = chunk.iter().filter(|answer| answer.right).count();
        steps.push(Step { rows: chunk.len(), score, right });
        while let [.., before, last] = steps.as_slice() {
            if before.share() <= last.share() && last.rows >= SMALLEST_STEP.min(sorted.len()) {
                break;
            }
            let merged = Step {
                rows: before.rows + last.rows,
                score: before.score + last.score,
                right: before.right + last.right,
            };
            steps.truncate(steps.len() - 2);
            steps.push(merged);
        }
    }
    steps.iter().map(|step| ((step.score / step.rows as f64) as f32, step.share() as f32)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(confidence: f32, right: bool) -> Judged {
        Judged { confidence, right, known: true }
    }

    #[test]
    fn thresholds_are_of_calibrated_confidences() {
        let answers: Vec<Judged> =
            (0..1000_u16).map(|i| judged(f32::from(i) / 1000.0, i % 10 >= 9 - i / 110)).collect();
        let fitted = Calibration::fit(&answers, 0.8);
        let accepted: Vec<&Judged> =
            answers.iter().filter(|a| fitted.acceptance.accepts(fitted.apply(a.confidence), true)).collect();
        let right = accepted.iter().filter(|a| a.right).count();
        assert!(right as f64 >= 0.8 * accepted.len() as f64);
        assert!(accepted.len() > 100 && accepted.len() < 1000, "{}", accepted.len());
    }

    #[test]
    fn an_engine_that_is_never_right_is_never_accepted() {
        let answers: Vec<Judged> = (0..100_u16).map(|i| judged(f32::from(i) / 100.0, false)).collect();
        let fitted = Calibration::fit(&answers, 0.8);
        assert_eq!(fitted.acceptance, Acceptance::default());
        assert!(fitted.apply(0.99) < 0.01);
    }

    proptest! {
        #[test]
        fn the_map_is_monotone_and_a_probability(answers in prop::collection::vec((0.0_f32..1.0, any::<bool>()), 0..300), a in 0.0_f32..1.0, b in 0.0_f32..1.0) {
            let answers: Vec<Judged> = answers.into_iter().map(|(raw, right)| judged(raw, right)).collect();
            let fitted = Calibration::fit(&answers, 0.9);
            let (low, high) = (fitted.apply(a.min(b)), fitted.apply(a.max(b)));
            prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
            prop_assert!(low <= high + 1e-6);
        }
    }
}
