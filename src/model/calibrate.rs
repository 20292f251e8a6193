//! Probabilities that mean what they say: temperature, and the fusion of two opinions. Both are
//! fitted on rows that training didn't see.

use serde::{Deserialize, Serialize};

/// Fewest dev rows that a group of keys may have weights of its own from.
const FEWEST: usize = 100;

/// How much either opinion counts: factors of their log-probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Of the encoder's.
    pub encoder: f32,
    /// Of the wide part's.
    pub wide: f32,
}

/// How the encoder's and the wide part's opinions become one: the wide part has seen a known key's
/// labels, and knows less of an unknown one, so either case has its own weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    /// For rows whose key is among the labels.
    pub known: Weights,
    /// For the others.
    pub unknown: Weights,
    /// Divides the encoder's logits where it answers alone.
    pub encoder_temperature: f32,
}

/// Both opinions about one row, as logits, and whether its key is among the labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opinions<'a> {
    pub(super) encoder: &'a [f32],
    pub(super) wide: Option<&'a [f32]>,
    pub(super) known: bool,
}

impl Weights {
    fn fused(self, encoder: &[f32], wide: &[f32]) -> Vec<f32> {
        let (encoder, wide) = (log_softmax(encoder), log_softmax(wide));
        softmax(encoder.iter().zip(&wide).map(|(encoder, wide)| self.encoder * encoder + self.wide * wide))
    }

    fn fit(rows: &[(&[f32], &[f32], usize)]) -> Self {
        let mut best = (f64::INFINITY, Self { encoder: 0.0, wide: 1.0 });
        for step in 0..=20u8 {
            let share = f32::from(step) / 20.0;
            let at_share = |scale: f32| Self { encoder: share * scale, wide: (1.0 - share) * scale };
            let loss = |scale: f32| {
                mean_loss(rows.iter().map(|(encoder, wide, class)| (at_share(scale).fused(encoder, wide), *class)))
            };
            let scale = lowest(loss, 0.1, 8.0);
            if loss(scale) < best.0 {
                best = (loss(scale), at_share(scale));
            }
        }
        best.1
    }
}

impl Fusion {
    /// Calibrated probabilities of one row.
    pub(super) fn fused(&self, row: Opinions<'_>) -> Vec<f32> {
        let weights = if row.known { self.known } else { self.unknown };
        row.wide.map_or_else(|| self.alone(row.encoder), |wide| weights.fused(row.encoder, wide))
    }

    /// The encoder's own calibrated probabilities.
    pub(super) fn alone(&self, encoder: &[f32]) -> Vec<f32> {
        softmax(encoder.iter().map(|logit| logit / self.encoder_temperature))
    }

    /// Fits weights and temperature by likelihood on labelled rows.
    pub(super) fn fit(rows: &[Opinions<'_>], classes: &[usize]) -> Self {
        let alone = |temperature: f32| {
            let scaled = rows.iter().map(|row| softmax(row.encoder.iter().map(|logit| logit / temperature)));
            mean_loss(scaled.zip(classes.iter().copied()))
        };
        let encoder_temperature = lowest(alone, 0.2, 8.0);
        let of = |keep: &dyn Fn(&Opinions<'_>) -> bool| -> Vec<(&[f32], &[f32], usize)> {
            let kept = rows.iter().zip(classes).filter(|(row, _)| keep(row));
            kept.filter_map(|(row, class)| Some((row.encoder, row.wide?, *class))).collect()
        };
        let all = Weights::fit(&of(&|_| true));
        let fitted = |known: bool| {
            let group = of(&|row| row.known == known);
            if group.len() < FEWEST { all } else { Weights::fit(&group) }
        };
        Self { known: fitted(true), unknown: fitted(false), encoder_temperature }
    }
}

/// Where a function with one valley is lowest, to a percent, by golden section over logarithms.
fn lowest(of: impl Fn(f32) -> f64, low: f32, high: f32) -> f32 {
    const GOLDEN: f32 = 0.618_034;
    let (mut low, mut high) = (low.ln(), high.ln());
    while high - low > 0.01 {
        let (left, right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
        if of(left.exp()) < of(right.exp()) { high = right } else { low = left }
    }
    f32::midpoint(low, high).exp()
}

/// Mean negative logarithm of the right class's probability.
fn mean_loss(rows: impl ExactSizeIterator<Item = (Vec<f32>, usize)>) -> f64 {
    let n = rows.len().max(1) as f64;
    rows.map(|(probabilities, class)| -f64::from(probabilities[class].max(1e-9)).ln()).sum::<f64>() / n
}

/// Place of the largest value, of equals the first; 0 for none.
#[must_use]
pub fn argmax(values: &[f32]) -> usize {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a))).unwrap_or(0)
}

pub(super) fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total = logits.iter().map(|logit| (logit - top).exp()).sum::<f32>().ln();
    logits.iter().map(|logit| logit - top - total).collect()
}

pub(super) fn softmax(logits: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut values: Vec<f32> = logits.collect();
    let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - top).exp());
    let total: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= total);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_logits_get_a_temperature_above_one() {
        // Right three times in four, said with 99.7 %.
        let encoder: Vec<Vec<f32>> = (0..400).map(|_| vec![6.0, 0.0]).collect();
        let classes: Vec<usize> = (0..400).map(|at| usize::from(at % 4 == 0)).collect();
        let rows: Vec<Opinions<'_>> =
            encoder.iter().map(|encoder| Opinions { encoder, wide: None, known: true }).collect();
        let fusion = Fusion::fit(&rows, &classes);
        assert!((fusion.alone(&encoder[0])[0] - 0.75).abs() < 0.01, "{fusion:?}");
    }

    #[test]
    fn fusion_listens_to_the_opinion_that_is_right_for_known_and_unknown_keys_apart() {
        let classes: Vec<usize> = (0..300).map(|at| at % 3).collect();
        let right: Vec<Vec<f32>> =
            classes.iter().map(|&class| (0..3).map(|at| f32::from(u8::from(at == class)) * 2.0).collect()).collect();
        let noise: Vec<Vec<f32>> =
            (0..300).map(|at| (0..3).map(|class| ((at * 7 + class * 13) % 5) as f32).collect()).collect();
        let known = noise.iter().zip(&right).map(|(noise, right)| (noise, right, true));
        let unknown = noise.iter().zip(&right).map(|(noise, right)| (right, noise, false));
        let rows: Vec<Opinions<'_>> =
            known.chain(unknown).map(|(encoder, wide, known)| Opinions { encoder, wide: Some(wide), known }).collect();
        let fusion = Fusion::fit(&rows, &[classes.clone(), classes].concat());
        assert!(fusion.known.wide > 4.0 * fusion.known.encoder, "{fusion:?}");
        assert!(fusion.unknown.encoder > 4.0 * fusion.unknown.wide, "{fusion:?}");
    }
}
