//! Comparing two engines on the same rows: how big is the difference, and could it be chance?

use std::collections::BTreeMap;

use serde::Serialize;

pub use super::resample::Interval;
use super::{
    binomial,
    resample::{self, CLUSTERS, Merchant, RESAMPLES},
};

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

/// Compares the two on the same rows; `None` without rows. Keys are drawn as the tracker draws those of two stored runs: in the
/// order of their bytes, whatever that of the rows.
#[must_use]
pub fn compare(pairs: &[Pair<'_>], seed: u64) -> Option<Difference> {
    if pairs.is_empty() {
        return None;
    }
    let gain = |pair: &Pair<'_>| i64::from(pair.ours) - i64::from(pair.theirs);
    let mut by_key: BTreeMap<&str, Merchant> = BTreeMap::new();
    for pair in pairs {
        let merchant = by_key.entry(pair.key).or_insert(Merchant { sum: 0, rows: 0 });
        merchant.sum += gain(pair);
        merchant.rows += 1;
    }
    let keys = clustered(by_key.into_values());
    let rows = clustered(pairs.iter().map(|pair| Merchant { sum: gain(pair), rows: 1 }));
    let only_ours = pairs.iter().filter(|pair| pair.ours && !pair.theirs).count();
    let only_theirs = pairs.iter().filter(|pair| !pair.ours && pair.theirs).count();
    let interval = |of: &[Merchant]| Some(resample::drawn_mean(of, RESAMPLES, seed)?.interval());
    Some(Difference {
        n: pairs.len(),
        difference: pairs.iter().map(gain).sum::<i64>() as f64 / pairs.len() as f64,
        rows: interval(&rows)?,
        keys: interval(&keys)?,
        p: mcnemar(only_ours, only_theirs),
    })
}

/// What is drawn for an interval, of rows or merchants in their order and what was gained in each.
fn clustered(gains: impl Iterator<Item = Merchant>) -> Vec<Merchant> {
    let mut clusters: Vec<Merchant> = Vec::new();
    for (number, gain) in gains.enumerate() {
        match clusters.get_mut(number % CLUSTERS as usize) {
            Some(cluster) => {
                cluster.sum += gain.sum;
                cluster.rows += gain.rows;
            }
            None => clusters.push(gain),
        }
    }
    clusters
}

/// Exact two-sided McNemar test: under equal accuracy, the rows that only one engine has right
/// fall to either side like a fair coin.
#[must_use]
pub fn mcnemar(only_ours: usize, only_theirs: usize) -> f64 {
    let (more, all) = (only_ours.max(only_theirs) as u64, (only_ours + only_theirs) as u64);
    (2.0 * binomial::at_least(more, all, 0.5)).min(1.0)
}

/// Holm's step-down correction: p-values, in the order given, of which any below a level may be called a finding with no
/// more than that chance that one of them is none.
#[must_use]
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&a, &b| ps[a].total_cmp(&ps[b]));
    let mut corrected = vec![1.0; ps.len()];
    let mut highest = 0.0_f64;
    for (rank, &place) in order.iter().enumerate() {
        highest = highest.max((ps.len() - rank) as f64 * ps[place]).min(1.0);
        corrected[place] = highest;
    }
    corrected
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
    fn holm_agrees_with_the_textbook() {
        // statsmodels' multipletests([0.01, 0.04, 0.03, 0.005], method="holm")
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, known) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - known).abs() < 1e-12, "{corrected:?}");
        }
        assert!(holm(&[]).is_empty() && holm(&[0.9, 0.8]) == [1.0, 1.0]);
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
