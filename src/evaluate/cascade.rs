//! Which thresholds make a cascade right often enough for the least money.
//!
//! Every step has answered every row of dev. For each step but the last, thresholds are those that keep a share of
//! right answers among what it takes ([`Acceptance::fit`]); all combinations of such shares are tried. What was
//! chosen on one half of dev is measured on the other.

use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::Serialize;

use super::metrics::{Share, wilson};
use crate::domain::{Acceptance, Judged};

/// Shares of right answers that a step may be asked to keep.
const KEPT: [f64; 17] =
    [0.70, 0.75, 0.80, 0.85, 0.88, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998, 1.0];

/// A step's answers to all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct StepAnswers {
    /// Its stage's name.
    pub stage: String,
    /// Confidence, whether right, whether its labels had shown the key; `None` where it has no answer.
    pub judged: Vec<Option<Judged>>,
    /// What one of its answers costs.
    pub cost: Decimal,
}

/// A cascade with thresholds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// What each step takes; the last takes all.
    pub accepts: Vec<Acceptance>,
}

/// A cascade as measured on some rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// How often right.
    pub accuracy: Option<Share>,
    /// What 1,000 rows cost.
    pub per_1000: Decimal,
    /// Share of the rows that each step answered for good.
    pub taken: Vec<f64>,
}

/// Runs the steps' answers through a plan, on the rows at these places.
#[must_use]
pub fn outcome(steps: &[StepAnswers], plan: &Plan, places: &[usize]) -> Outcome {
    let (mut right, mut taken, mut asked) = (0, vec![0_usize; steps.len()], vec![0_u64; steps.len()]);
    for &place in places {
        for (number, step) in steps.iter().enumerate() {
            asked[number] += 1;
            let last = number + 1 == steps.len();
            let takes = |of: &Judged| last || plan.accepts[number].accepts(of.confidence, of.known);
            match step.judged[place].as_ref().filter(|judged| takes(judged)) {
                Some(judged) => {
                    right += usize::from(judged.right);
                    taken[number] += 1;
                    break;
                }
                // No answer of the last step is a wrong one, and is paid for.
                None if last => taken[number] += 1,
                None => {}
            }
        }
    }
    let cost: Decimal = steps.iter().zip(&asked).map(|(step, &asked)| step.cost * Decimal::from(asked)).sum();
    let rows = places.len().max(1);
    Outcome {
        accuracy: wilson(right, places.len()),
        per_1000: cost * Decimal::from(1_000) / Decimal::from(rows),
        taken: taken.iter().map(|&of| of as f64 / rows as f64).collect(),
    }
}

/// Every plan that no other beats in both accuracy and cost on these rows, cheapest first, with what it comes to.
#[must_use]
pub fn frontier(steps: &[StepAnswers], places: &[usize]) -> Vec<(Plan, Outcome)> {
    let free = steps.len().saturating_sub(1);
    let ways: Vec<Vec<Acceptance>> = steps[..free]
        .iter()
        .map(|step| {
            let judged: Vec<Judged> = places.iter().filter_map(|&place| step.judged[place]).collect();
            // A step that takes nothing is no step: the cheapest plan of all may be the last one alone.
            // One that takes everything makes the steps behind it idle.
            let mut ways = vec![Acceptance::default(), Acceptance { known: Some(0.0), unknown: Some(0.0) }];
            for kept in KEPT {
                let way = Acceptance::fit(&judged, kept);
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            ways
        })
        .collect();
    let mut plans = vec![Vec::new()];
    for step in &ways {
        plans = plans.iter().flat_map(|before| step.iter().map(|&way| [before.as_slice(), &[way]].concat())).collect();
    }
    let mut tried: Vec<(Plan, Outcome)> = plans
        .into_iter()
        .map(|mut accepts| {
            accepts.push(Acceptance { known: Some(0.0), unknown: Some(0.0) });
            let plan = Plan { accepts };
            let outcome = outcome(steps, &plan, places);
            (plan, outcome)
        })
        .collect();
    let share = |of: &Outcome| of.accuracy.map_or(0.0, |accuracy| accuracy.share);
    tried.sort_by(|(_, a), (_, b)| a.per_1000.cmp(&b.per_1000).then(share(b).total_cmp(&share(a))));
    let mut best = f64::NEG_INFINITY;
    tried.retain(|(_, outcome)| {
        let better = share(outcome) > best;
        best = best.max(share(outcome));
        better
    });
    tried
}

/// The cheapest of a frontier that reaches a target, or, where none does, the most accurate.
#[must_use]
pub fn cheapest(frontier: &[(Plan, Outcome)], target: f64) -> Option<&(Plan, Outcome)> {
    let reaches = |of: &&(Plan, Outcome)| of.1.accuracy.is_some_and(|accuracy| accuracy.share >= target);
    frontier.iter().find(reaches).or_else(|| frontier.last())
}

/// A cost as a place on an axis.
#[must_use]
pub fn axis(cost: Decimal) -> f64 {
    cost.to_f64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    /// A free step that is right where it is sure (every second row), and a dear one that always is.
    fn steps() -> Vec<StepAnswers> {
        let judged =
            |place: usize, right: bool, confidence: f32| Some(Judged { confidence, right, known: place % 4 < 2 });
        let free = (0..400).map(|at| judged(at, at % 2 == 0, if at % 2 == 0 { 0.9 } else { 0.3 })).collect();
        let dear = (0..400).map(|at| judged(at, true, 0.5)).collect();
        let step = |stage: &str, judged, cost| StepAnswers { stage: stage.to_owned(), judged, cost };
        vec![step("free", free, Decimal::ZERO), step("dear", dear, dec!(0.01))]
    }

    #[test]
    fn only_what_the_free_step_is_unsure_of_is_paid_for() {
        let places: Vec<usize> = (0..400).collect();
        let steps = steps();
        let frontier = frontier(&steps, &places);
        let (plan, outcome) = cheapest(&frontier, 1.0).unwrap();
        assert_eq!((outcome.per_1000, outcome.taken.clone()), (dec!(5), vec![0.5, 0.5]));
        assert_eq!(outcome.accuracy.unwrap().share, 1.0);
        assert_eq!(plan.accepts[0], Acceptance { known: Some(0.9), unknown: Some(0.9) });
        assert!(frontier.windows(2).all(|pair| pair[0].1.per_1000 < pair[1].1.per_1000));
        assert_eq!(super::outcome(&steps, plan, &[1, 3]).per_1000, dec!(10), "the same plan on other rows");
    }

    #[test]
    fn a_target_that_nothing_reaches_gets_the_most_accurate() {
        let mut steps = steps();
        steps[1].judged = vec![None; 400];
        let places: Vec<usize> = (0..400).collect();
        let (_, outcome) = cheapest(&frontier(&steps, &places), 0.99).cloned().unwrap();
        assert_eq!(outcome.accuracy.unwrap().share, 0.5);
    }
}
