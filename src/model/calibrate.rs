//! Probabilities that mean what they say: temperature, fusion of two opinions, and the confidence
//! from which answers are right often enough. All are fitted on rows that training didn't see.

use serde::{Deserialize, Serialize};

/// How the encoder's and the wide part's opinions become one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    /// Weight of the encoder's log-probabilities.
    pub encoder: f32,
    /// Weight of the wide part's.
    pub wide: f32,
    /// Divides the encoder's logits where it answers alone.
    pub encoder_temperature: f32,
}

impl Fusion {
    /// Calibrated probabilities of one row.
    pub(super) fn fused(&self, encoder: &[f32], wide: Option<&[f32]>) -> Vec<f32> {
        let Some(wide) = wide else { return self.alone(encoder) };
        let (encoder, wide) = (log_softmax(encoder), log_softmax(wide));
        softmax(encoder.iter().zip(&wide).map(|(encoder, wide)| self.encoder * encoder + self.wide * wide))
    }

    /// The encoder's own calibrated probabilities.
    pub(super) fn alone(&self, encoder: &[f32]) -> Vec<f32> {
        softmax(encoder.iter().map(|logit| logit / self.encoder_temperature))
    }

    /// Fits weights and temperature by likelihood on labelled rows.
    pub(super) fn fit(encoder: &[Vec<f32>], wide: Option<&[Vec<f32>]>, classes: &[usize]) -> Self {
        let loss_alone =
            |temperature: f32| mean_loss(classes, |at| softmax(encoder[at].iter().map(|logit| logit / temperature)));
        let encoder_temperature = lowest(loss_alone, 0.2, 8.0);
        let Some(wide) = wide else {
            return Self { encoder: 1.0 / encoder_temperature, wide: 0.0, encoder_temperature };
        };
        let mut best = (f64::INFINITY, Self { encoder: 0.0, wide: 1.0, encoder_temperature });
        for step in 0..=20u8 {
            let share = f32::from(step) / 20.0;
            let at_share =
                |scale: f32| Self { encoder: share * scale, wide: (1.0 - share) * scale, encoder_temperature };
            let loss = |scale: f32| mean_loss(classes, |at| at_share(scale).fused(&encoder[at], Some(&wide[at])));
            let scale = lowest(loss, 0.1, 8.0);
            if loss(scale) < best.0 {
                best = (loss(scale), at_share(scale));
            }
        }
        best.1
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

fn mean_loss(classes: &[usize], probabilities: impl Fn(usize) -> Vec<f32>) -> f64 {
    let loss = |at: usize| -f64::from(probabilities(at)[classes[at]].max(1e-9)).ln();
    (0..classes.len()).map(loss).sum::<f64>() / classes.len().max(1) as f64
}

/// The lowest confidence from which on at least `target` of the answers are right; `None` where
/// not even the most confident are.
pub(super) fn accept_at(mut answers: Vec<(f32, bool)>, target: f64) -> Option<f32> {
    answers.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut threshold) = (0usize, None);
    for (at, (confidence, is_right)) in answers.iter().enumerate() {
        right += usize::from(*is_right);
        let last_of_its_confidence = answers.get(at + 1).is_none_or(|next| next.0 < *confidence);
        if last_of_its_confidence && right as f64 / (at + 1) as f64 >= target {
            threshold = Some(*confidence);
        }
    }
    threshold
}

/// Place of the largest value; 0 for none.
pub(super) fn argmax(values: &[f32]) -> usize {
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
    fn the_threshold_is_the_lowest_that_keeps_the_target() {
        let answers = vec![(0.9, true), (0.8, true), (0.7, false), (0.6, true), (0.5, false), (0.5, false)];
        assert_eq!(accept_at(answers.clone(), 0.75), Some(0.6));
        assert_eq!(accept_at(answers.clone(), 1.0), Some(0.8));
        assert_eq!(accept_at(answers, 0.4), Some(0.5));
        assert_eq!(accept_at(vec![(0.9, false)], 0.5), None);
    }

    #[test]
    fn overconfident_logits_get_a_temperature_above_one() {
        // Right three times in four, said with 99.7 %.
        let encoder: Vec<Vec<f32>> = (0..400).map(|_| vec![6.0, 0.0]).collect();
        let classes: Vec<usize> = (0..400).map(|at| usize::from(at % 4 == 0)).collect();
        let fusion = Fusion::fit(&encoder, None, &classes);
        assert!((fusion.alone(&encoder[0])[0] - 0.75).abs() < 0.01, "{fusion:?}");
    }

    #[test]
    fn fusion_listens_to_the_opinion_that_is_right() {
        let classes: Vec<usize> = (0..300).map(|at| at % 3).collect();
        let right: Vec<Vec<f32>> =
            classes.iter().map(|&class| (0..3).map(|at| f32::from(u8::from(at == class)) * 2.0).collect()).collect();
        let noise: Vec<Vec<f32>> =
            (0..300).map(|at| (0..3).map(|class| ((at * 7 + class * 13) % 5) as f32).collect()).collect();
        let fusion = Fusion::fit(&noise, Some(&right), &classes);
        assert!(fusion.wide > 4.0 * fusion.encoder, "{fusion:?}");
    }
}
