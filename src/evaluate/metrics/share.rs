//! Shares of rows: their intervals, and how many rows it takes to show one.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};
use utoipa::ToSchema;

use crate::evaluate::binomial;

/// A share and its Wilson 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
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
pub(in crate::evaluate) const Z: f64 = 1.959_963_984_540_054;

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

/// Rows to label before a claim can be made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Needed {
    /// How many rows.
    pub rows: u64,
    /// How many of them must be right at the least.
    pub right: u64,
    /// The chance that so many are, in `[0, 1]`.
    pub power: f64,
}

/// The fewest rows to label, drawn at random, so that with a chance of `power` the Wilson interval's lower
/// end reaches `claim`, when `truth` is the share that is right: exact by the binomial distribution. `None` where
/// the truth lies not above the claim, or a number is no share strictly between 0 and 1.
#[must_use]
pub fn rows_needed(claim: f64, truth: f64, power: f64) -> Option<Needed> {
    let inner = |share: f64| 0.0 < share && share < 1.0;
    if !(inner(claim) && inner(truth) && inner(power) && claim < truth) {
        return None;
    }
    let spread = |share: f64| (share * (1.0 - share)).sqrt();
    let wanted = Z * spread(claim) + Normal::standard().inverse_cdf(power) * spread(truth);
    // A normal distribution's answer lies so near that the search may begin below it.
    let about = (wanted / (truth - claim)).powi(2);
    let step = (about / 20_000.0).max(1.0) as usize;
    let first = (0.8 * about - 20.0).max(1.0) as u64;
    let at = |rows: u64| {
        let n = rows as f64;
        // The lower end reaches the claim from here on: Wilson's interval turned inside out.
        let right = (n * claim + Z * spread(claim) * n.sqrt() - 1e-9).ceil() as u64;
        Needed { rows, right, power: binomial::at_least(right, rows, truth) }
    };
    (first..).step_by(step).map(at).find(|needed| needed.power >= power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wilson_agrees_with_the_textbook() {
        let share = wilson(81, 263).unwrap();
        assert!((share.low - 0.2553).abs() < 1e-4 && (share.high - 0.3662).abs() < 1e-4, "{share:?}");
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(0, 10).unwrap().low, 0.0);
        assert_eq!(wilson(10, 10).unwrap().high, 1.0);
    }

    #[test]
    fn wilson_holds_the_truth_in_95_of_100_samples() {
        // Exact, not simulated: for each truth the chance of every outcome whose interval holds it.
        for n in [150_u64, 600, 1_500] {
            let truths: Vec<f64> = (0..200).map(|step| 0.6 + 0.001_9 * f64::from(step)).collect();
            let held = |truth: f64| {
                let holds = |hits: &u64| {
                    wilson(*hits as usize, n as usize).is_some_and(|share| share.low <= truth && truth <= share.high)
                };
                let (first, last) = ((0..=n).find(holds).unwrap(), (0..=n).rev().find(holds).unwrap());
                binomial::at_least(first, n, truth) - binomial::at_least(last + 1, n, truth)
            };
            let mean = truths.iter().map(|&truth| held(truth)).sum::<f64>() / truths.len() as f64;
            assert!((mean - 0.95).abs() < 0.01, "{n} rows: {mean}");
        }
    }

    #[test]
    fn the_rows_that_a_claim_takes_are_the_fewest_that_do() {
        // Counted with scipy.stats.binom from one row up.
        for (claim, truth, power, rows, right) in [
            (0.92, 0.935, 0.5, 1_179, 1_103),
            (0.92, 0.935, 0.8, 2_374, 2_210),
            (0.92, 0.935, 0.9, 3_148, 2_926),
            (0.9, 0.99, 0.8, 53, 52),
            (0.5, 0.9, 0.8, 8, 7),
        ] {
            let needed = rows_needed(claim, truth, power).unwrap();
            assert_eq!((needed.rows, needed.right), (rows, right), "{needed:?}");
            assert!(needed.power >= power);
            let low = |hits: u64| wilson(hits as usize, needed.rows as usize).unwrap().low;
            assert!(low(needed.right) >= claim && low(needed.right - 1) < claim, "{needed:?}");
        }
        assert_eq!(rows_needed(0.92, 0.92, 0.8), None);
        assert_eq!(rows_needed(0.92, 1.0, 0.8), None);
        assert!(rows_needed(0.92, 0.920_01, 0.8).unwrap().rows > 1_000_000_000);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_share_and_stays_in_the_unit(hits in 0..500_usize, more in 0..500_usize) {
            prop_assume!(hits + more > 0);
            let share = wilson(hits, hits + more).unwrap();
            prop_assert!(0.0 <= share.low && share.low <= share.share);
            prop_assert!(share.share <= share.high && share.high <= 1.0);
        }
    }
}
