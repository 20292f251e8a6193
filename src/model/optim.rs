//! AdamW over one vector of numbers, with warm-up, decay and clipping.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// In a straight line to zero.
    Linear,
    /// Along half a cosine to zero.
    Cosine,
}

/// Share of the full learning rate at `step` of `steps`, the first `warmup` share of them rising.
pub(super) fn rate(step: usize, steps: usize, warmup: f32, decay: Decay) -> f32 {
    let at = (step as f32 + 0.5) / steps.max(1) as f32;
    if at < warmup {
        return at / warmup;
    }
    let left = ((1.0 - at) / (1.0 - warmup).max(f32::EPSILON)).clamp(0.0, 1.0);
    match decay {
        Decay::Linear => left,
        Decay::Cosine => 0.5 * (1.0 - (std::f32::consts::PI * left).cos()),
    }
}

/// Scales gradients down to a length of at most `most`; gives the length they had.
pub(super) fn clip(gradients: &mut [f32], most: f32) -> f32 {
    let length = super::kernel::dot(gradients, gradients).sqrt();
    if length > most && length.is_finite() {
        let scale = most / length;
        gradients.iter_mut().for_each(|gradient| *gradient *= scale);
    }
    length
}

/// AdamW's moments.
pub(super) struct AdamW {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

const BETA: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;
/// Numbers that one core steps at a time.
const CHUNK: usize = 1 << 16;

impl AdamW {
    pub(super) fn new(size: usize) -> Self {
        Self { first: vec![0.0; size], second: vec![0.0; size], steps: 0 }
    }

    /// One step, on all cores: every number goes its way alone.
    pub(super) fn step(&mut self, numbers: &mut [f32], gradients: &[f32], pace: Pace) {
        self.steps += 1;
        let (first_share, second_share) = (1.0 - BETA.0.powi(self.steps), 1.0 - BETA.1.powi(self.steps));
        let moments = self.first.par_chunks_mut(CHUNK).zip(self.second.par_chunks_mut(CHUNK));
        let chunks = numbers.par_chunks_mut(CHUNK).zip(gradients.par_chunks(CHUNK)).zip(moments);
        chunks.enumerate().for_each(|(chunk, ((numbers, gradients), (first, second)))| {
            let moments = first.iter_mut().zip(second);
            for (at, ((number, gradient), (first, second))) in
                numbers.iter_mut().zip(gradients).zip(moments).enumerate()
            {
                let (rate, decay) = pace.of(chunk * CHUNK + at);
                *first = BETA.0 * *first + (1.0 - BETA.0) * gradient;
                *second = BETA.1 * *second + (1.0 - BETA.1) * gradient * gradient;
                let step = (*first / first_share) / ((*second / second_share).sqrt() + EPSILON);
                *number -= rate * (step + decay * *number);
            }
        });
    }
}

/// How fast numbers go, and which of them decay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Numbers below this go at the first rate, the rest at the second.
    pub(super) border: usize,
    pub(super) rates: [f32; 2],
    /// Numbers below this don't decay.
    pub(super) undecayed: usize,
    pub(super) weight_decay: f32,
}

impl Pace {
    fn of(&self, at: usize) -> (f32, f32) {
        (self.rates[usize::from(at >= self.border)], if at < self.undecayed { 0.0 } else { self.weight_decay })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls_to_zero() {
        assert!(rate(0, 100, 0.1, Decay::Linear) < 0.1);
        assert!((rate(10, 100, 0.1, Decay::Linear) - 1.0).abs() < 0.02);
        assert!(rate(99, 100, 0.1, Decay::Linear) < 0.01 && rate(99, 100, 0.1, Decay::Cosine) < 0.01);
        assert!(rate(55, 100, 0.1, Decay::Cosine) > 0.4);
    }

    #[test]
    fn clipping_keeps_the_direction() {
        let mut gradients = [3.0, 4.0];
        assert!((clip(&mut gradients, 1.0) - 5.0).abs() < 1e-6);
        assert!((gradients[0] - 0.6).abs() < 1e-6 && (gradients[1] - 0.8).abs() < 1e-6);
    }

    #[test]
    fn adamw_walks_down_a_slope() {
        let (mut numbers, mut adamw) = ([2.0f32, -3.0], AdamW::new(2));
        let pace = Pace { border: 1, rates: [0.05, 0.05], undecayed: 0, weight_decay: 0.0 };
        for _ in 0..400 {
            let gradients = numbers.map(|number| 2.0 * number);
            adamw.step(&mut numbers, &gradients, pace);
        }
        assert!(numbers.iter().all(|number| number.abs() < 0.05), "{numbers:?}");
    }

    #[test]
    fn only_numbers_above_a_border_decay() {
        let (mut numbers, mut adamw) = ([1.0f32, 1.0, 1.0], AdamW::new(3));
        let pace = Pace { border: 2, rates: [0.1, 0.2], undecayed: 1, weight_decay: 0.5 };
        adamw.step(&mut numbers, &[0.0; 3], pace);
        assert_eq!(numbers, [1.0, 0.95, 0.9]);
    }
}
