//! Comparing two engines on the same rows: how big is the difference, and could it be chance?

use std::collections::HashMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// How often the rows are drawn anew for an interval.
pub const RESAMPLES: usize = 4_000;

/// One engine's accuracy minus another's on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Rows.
    pub n: usize,
    /// Ours minus theirs, in `[-1, 1]`.
    pub difference: f64,
    /// 95 % interval, rows drawn anew.
    pub rows: Interval,
    /// 95 % interval, whole descriptor keys drawn anew: rows of one merchant are not independent,
    /// so this is the one to trust where merchants repeat.
    pub keys: Interval,
    /// Exact two-sided McNemar p-value of "both are equally often right".
    pub p: f64,
}

/// A percentile interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// 2.5 % of the resampled differences lie below.
    pub low: f64,
    /// 2.5 % lie above.
    pub high: f64,
}

/// Whether each engine was right about one row, and the row's descriptor key.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// We were right.
    pub ours: bool,
    /// They were right.
    pub theirs: bool,
    /// The row's descriptor key, which groups rows of one merchant.
    pub key: &'a str,
}

/// Compares the two on the same rows; `None` without rows.
#[must_use]
pub fn compare(pairs: &[Pair<'_>], seed: u64) -> Option<Difference> {
    if pairs.is_empty() {
        return None;
    }
    let gain = |pair: &Pair<'_>| f64::from(i8::from(pair.ours) - i8::from(pair.theirs));
    let singles: Vec<(f64, f64)> = pairs.iter().map(|pair| (gain(pair), 1.0)).collect();
    let mut place = HashMap::new();
    let mut clusters: Vec<(f64, f64)> = Vec::new();
    for pair in pairs {
        let index = *place.entry(pair.key).or_insert(clusters.len());
        if index == clusters.len() {
            clusters.push((0.0, 0.0));
        }
        clusters[index].0 += gain(pair);
        clusters[index].1 += 1.0;
    }
    let only_ours = pairs.iter().filter(|pair| pair.ours && !pair.theirs).count();
    let only_theirs = pairs.iter().filter(|pair| !pair.ours && pair.theirs).count();
    Some(Difference {
        n: pairs.len(),
        difference: singles.iter().map(|(gain, _)| gain).sum::<f64>() / pairs.len() as f64,
        rows: bootstrap(&singles, seed),
        keys: bootstrap(&clusters, seed),
        p: mcnemar(only_ours, only_theirs),
    })
}

/// Percentile interval of `sum(gains) / sum(sizes)` over clusters drawn with replacement.
fn bootstrap(clusters: &[(f64, f64)], seed: u64) -> Interval {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut differences: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let (mut gain, mut size) = (0.0, 0.0);
            for _ in clusters {
                let drawn = clusters[rng.random_range(0..clusters.len())];
                gain += drawn.0;
                size += drawn.1;
            }
            gain / size
        })
        .collect();
    differences.sort_by(f64::total_cmp);
    Interval { low: differences[RESAMPLES / 40], high: differences[RESAMPLES - 1 - RESAMPLES / 40] }
}

/// Exact two-sided McNemar test: under equal accuracy, the rows that only one engine has right
/// fall to either side like a fair coin.
#[must_use]
pub fn mcnemar(only_ours: usize, only_theirs: usize) -> f64 {
    let n = only_ours + only_theirs;
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for k in 1..=only_ours.min(only_theirs) {
        log_term += ((n - k + 1) as f64 / k as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mcnemar_agrees_with_the_binomial_table() {
        assert!((mcnemar(5, 15) - 0.041_389).abs() < 1e-5);
        assert!((mcnemar(0, 0) - 1.0).abs() < 1e-12);
        assert!((mcnemar(7, 7) - 1.0).abs() < 1e-12);
        assert!((mcnemar(0, 10) - 2.0 / 1024.0).abs() < 1e-9);
        assert!(mcnemar(300, 900) < 1e-50);
    }

    #[test]
    fn rows_of_one_merchant_widen_the_interval_of_keys() {
        let keys: Vec<String> = (0..20).map(|key| format!("merchant {key}")).collect();
        let pairs: Vec<Pair<'_>> =
            (0..400).map(|row| Pair { ours: true, theirs: (row / 20) % 4 != 0, key: &keys[row / 20] }).collect();
        let difference = compare(&pairs, 7).unwrap();
        assert!((difference.difference - 0.25).abs() < 1e-9);
        let width = |interval: Interval| interval.high - interval.low;
        assert!(width(difference.keys) > 2.0 * width(difference.rows), "{difference:?}");
        assert_eq!(compare(&pairs, 7), Some(difference), "the same seed gives the same interval");
        assert_eq!(compare(&[], 7), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn swapping_the_engines_mirrors_the_difference(
            outcomes in prop::collection::vec((any::<bool>(), any::<bool>(), 0..9_u8), 1..60),
        ) {
            let keys: Vec<String> = outcomes.iter().map(|(_, _, key)| key.to_string()).collect();
            let pairs = |swap: bool| -> Vec<Pair<'_>> {
                outcomes.iter().zip(&keys).map(|(&(a, b, _), key)| {
                    let (ours, theirs) = if swap { (b, a) } else { (a, b) };
                    Pair { ours, theirs, key }
                }).collect()
            };
            let (there, back) = (compare(&pairs(false), 3).unwrap(), compare(&pairs(true), 3).unwrap());
            prop_assert!((there.difference + back.difference).abs() < 1e-9);
            prop_assert!((there.rows.low + back.rows.high).abs() < 1e-9);
            prop_assert!((there.p - back.p).abs() < 1e-12);
            prop_assert!(there.rows.low <= there.difference + 1e-9 && there.difference <= there.rows.high + 1e-9);
        }
    }
}
