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
/// all), each as one knot at its mean score. Rows of one score stay together, for nothing tells them apart.
fn pool_adjacent_violators(sorted: &[Judged]) -> Vec<(f32, f32)> {
    #[derive(Default)]
    struct Step {
        rows: usize,
        score: f64,
        right: usize,
    }
    impl Step {
        fn share(&self) -> f64 {
            self.right as f64 / self.rows as f64
        }
        fn with(self, other: &Self) -> Self {
            Self { rows: self.rows + other.rows, score: self.score + other.score, right: self.right + other.right }
        }
    }
    let mut blocks = vec![Step::default()];
    for tied in sorted.chunk_by(|a, b| a.confidence.total_cmp(&b.confidence).is_eq()) {
        let score = tied.iter().map(|answer| f64::from(answer.confidence)).sum();
        let tied = Step { rows: tied.len(), score, right: tied.iter().filter(|answer| answer.right).count() };
        match blocks.pop_if(|block| block.rows < SMALLEST_STEP) {
            Some(begun) => blocks.push(begun.with(&tied)),
            None => blocks.push(tied),
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    for block in blocks.into_iter().filter(|block| block.rows > 0) {
        steps.push(block);
        while let [.., before, last] = steps.as_slice() {
            if before.share() <= last.share() && last.rows >= SMALLEST_STEP.min(sorted.len()) {
                break;
            }
            let Some(last) = steps.pop() else { break };
            let Some(before) = steps.pop() else { break };
            steps.push(before.with(&last));
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

    #[test]
    fn answers_of_one_confidence_are_worth_the_share_of_them_that_is_right() {
        let answers: Vec<Judged> = (0..100).map(|at| judged(0.5, at >= 8)).collect();
        let fitted = Calibration::fit(&answers, 0.9);
        assert!((fitted.apply(0.5) - 0.92).abs() < 1e-6, "{}", fitted.apply(0.5));
        assert!(fitted.acceptance.accepts(fitted.apply(0.5), true));
        // Beside others they are worth the same.
        let others = (0..60).map(|at| judged(0.25, at % 2 == 0)).chain((0..60).map(|at| judged(0.75, at > 0)));
        let fitted = Calibration::fit(&others.chain(answers).collect::<Vec<_>>(), 0.9);
        for (raw, share) in [(0.25, 0.5), (0.5, 0.92), (0.75, 59.0 / 60.0)] {
            assert!((fitted.apply(raw) - share).abs() < 1e-6, "{raw}: {}", fitted.apply(raw));
        }
    }

    proptest! {
        #[test]
        fn what_is_fitted_does_not_depend_on_the_order_of_the_rows(answers in prop::collection::vec((0..6_u8, any::<bool>()), 0..300)) {
            let mut answers: Vec<Judged> =
                answers.into_iter().map(|(raw, right)| judged(f32::from(raw) / 6.0, right)).collect();
            let fitted = Calibration::fit(&answers, 0.8);
            answers.sort_by_key(|answer| answer.right);
            prop_assert_eq!(&Calibration::fit(&answers, 0.8), &fitted);
            answers.reverse();
            prop_assert_eq!(&Calibration::fit(&answers, 0.8), &fitted);
        }

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
