//! What a confidence promises, in words that an app can act on.
//!
//! Levels are fitted on `dev`, one after the other: of the answers that no higher level takes, a level takes as many
//! as it can while its promise surely holds among them ([`Acceptance::fit_surely`]), for keys that the labels had shown and for the others by
//! themselves. So each level keeps its promise alone, and not on the credit of a higher one. None takes an answer that
//! the engine itself holds for less probable than the next lower level promises: no `very_high` lives on surer ones.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    acceptance::{Acceptance, Judged},
    transaction::{InvalidText, code_enum},
};

/// How much an answer can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfidenceLevel {
    /// Promises nothing.
    Low,
    /// At least 70 % of such answers are right.
    Medium,
    /// At least 90 % of such answers are right.
    High,
    /// At least 98 % of such answers are right.
    VeryHigh,
}

code_enum!(
    ConfidenceLevel { Low = "low", Medium = "medium", High = "high", VeryHigh = "very_high" },
    "low, medium, high or very_high"
);

impl ConfidenceLevel {
    /// All that promise something, highest first.
    pub const PROMISING: [Self; 3] = [Self::VeryHigh, Self::High, Self::Medium];

    /// The calibrated confidence, in `[0, 1]`, without which no answer has the level.
    fn least_confidence(self) -> f32 {
        match self {
            Self::Low => 0.0,
            Self::Medium => 0.50,
            Self::High => 0.70,
            Self::VeryHigh => 0.90,
        }
    }

    /// The share of right answers that it promises, in `[0, 1]`.
    #[must_use]
    pub fn promise(self) -> f64 {
        match self {
            Self::Low => 0.0,
            Self::Medium => 0.70,
            Self::High => 0.90,
            Self::VeryHigh => 0.98,
        }
    }
}

/// From which calibrated confidence on an answer has which level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    /// Of [`ConfidenceLevel::VeryHigh`].
    pub very_high: Acceptance,
    /// Of [`ConfidenceLevel::High`], where it is not very high.
    pub high: Acceptance,
    /// Of [`ConfidenceLevel::Medium`], where it is not higher.
    pub medium: Acceptance,
}

impl Levels {
    /// Fits them on answers with calibrated confidences.
    #[must_use]
    pub fn fit(answers: &[Judged]) -> Self {
        let mut rest = answers.to_vec();
        let mut next = |level: ConfidenceLevel| {
            let sure: Vec<Judged> =
                rest.iter().filter(|answer| answer.confidence >= level.least_confidence()).copied().collect();
            let fitted = Acceptance::fit_surely(&sure, level.promise());
            rest.retain(|answer| !fitted.accepts(answer.confidence, answer.known));
            fitted
        };
        let [very_high, high, medium] = ConfidenceLevel::PROMISING.map(&mut next);
        Self { very_high, high, medium }
    }

    /// The level of an answer with this calibrated confidence.
    #[must_use]
    pub fn of(&self, confidence: f32, known: bool) -> ConfidenceLevel {
        let thresholds = [self.very_high, self.high, self.medium];
        let taken =
            ConfidenceLevel::PROMISING.into_iter().zip(thresholds).find(|(_, of)| of.accepts(confidence, known));
        taken.map_or(ConfidenceLevel::Low, |(level, _)| level)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_level_does_not_live_on_the_credit_of_a_higher_one() {
        // 1,000 sure answers, all right; 200 less sure, of which four in five are: with the sure ones they would be
        // 97 % right, which is what `high` promises and more.
        let sure = (0..1_000).map(|_| Judged { confidence: 0.99, right: true, known: true });
        let less = (0..200).map(|at| Judged { confidence: 0.8, right: at % 5 != 0, known: true });
        let levels = Levels::fit(&sure.chain(less).collect::<Vec<_>>());
        assert_eq!(levels.of(0.99, true), ConfidenceLevel::VeryHigh);
        assert_eq!(levels.of(0.8, true), ConfidenceLevel::Medium);
        assert_eq!(levels.of(0.99, false), ConfidenceLevel::Low, "no key like this was ever judged");
        assert_eq!(levels.of(0.5, true), ConfidenceLevel::Low);
    }

    #[test]
    fn an_answer_that_is_half_sure_is_not_very_high_on_the_credit_of_surer_ones() {
        let sure = (0..1_400).map(|_| Judged { confidence: 0.99, right: true, known: true });
        let half = (0..20).map(|at| Judged { confidence: 0.52, right: at % 2 == 0, known: true });
        let levels = Levels::fit(&sure.chain(half).collect::<Vec<_>>());
        assert_eq!(levels.of(0.99, true), ConfidenceLevel::VeryHigh);
        assert_eq!(levels.of(0.52, true), ConfidenceLevel::Low);
    }

    #[test]
    fn a_few_sure_answers_that_happen_to_be_right_are_no_promise() {
        let of = |rows: usize, wrong: usize| -> Vec<Judged> {
            (0..rows).map(|at| Judged { confidence: 0.99, right: at >= wrong, known: true }).collect()
        };
        let level = |answers: &[Judged]| Levels::fit(answers).of(0.99, true);
        assert_eq!(level(&of(40, 0)), ConfidenceLevel::High);
        assert_eq!(level(&of(81, 0)), ConfidenceLevel::VeryHigh);
        // Of 1,000 that are right in 98 of 100, the promise might as well not hold.
        assert_eq!([level(&of(1_000, 20)), level(&of(1_000, 10))], [ConfidenceLevel::High, ConfidenceLevel::VeryHigh]);
    }

    proptest! {
        #[test]
        fn every_level_keeps_its_promise_on_the_answers_it_was_fitted_on(
            rows in prop::collection::vec((0..20_u8, any::<bool>(), any::<bool>()), 0..400),
        ) {
            let judged = |(step, right, known): (u8, bool, bool)| {
                // Surer answers are right more often.
                Judged { confidence: f32::from(step) / 20.0, right: right || step > 12, known }
            };
            let answers: Vec<Judged> = rows.into_iter().map(judged).collect();
            let levels = Levels::fit(&answers);
            for level in ConfidenceLevel::PROMISING {
                let of_level: Vec<&Judged> =
                    answers.iter().filter(|answer| levels.of(answer.confidence, answer.known) == level).collect();
                let right = of_level.iter().filter(|answer| answer.right).count();
                prop_assert!(right as f64 >= level.promise() * of_level.len() as f64);
            }
        }
    }
}
