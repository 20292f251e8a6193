//! 4-bit NormalFloat with double quantization, as in Dettmers et al., "QLoRA" (2023), and in
//! bitsandbytes, whose weights `tests/nf4_check.py` compares with these.
//!
//! Blocks of 64 numbers share a scale, their largest magnitude; the scales, less their mean, are kept
//! in 8 bits by blocks of 256, each with a 32-bit scale of its own: 4.13 bits a number in all.

/// Numbers that share a scale.
const BLOCK: usize = 64;
/// Scales that share a scale.
const SCALES: usize = 256;

/// The 16 levels: quantiles of the normal distribution, scaled to ±1, with an exact zero.
const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Numbers in NF4.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Nf4 {
    /// Two levels a byte, the first in the high half.
    levels: Vec<u8>,
    /// Of each block, a place in [`dynamic`].
    scales: Vec<u8>,
    /// Of each [`SCALES`] blocks.
    tops: Vec<f32>,
    /// Mean of the scales.
    mean: f32,
    len: usize,
}

impl Nf4 {
    pub(super) fn quantize(numbers: &[f32]) -> Self {
        let largest = |of: &[f32]| of.iter().fold(0.0f32, |top, x| top.max(x.abs()));
        let exact: Vec<f32> = numbers.chunks(BLOCK).map(largest).collect();
        let mean = (exact.iter().map(|scale| f64::from(*scale)).sum::<f64>() / exact.len().max(1) as f64) as f32;
        let dynamic = dynamic();
        let (mut scales, mut tops) = (Vec::with_capacity(exact.len()), Vec::new());
        for group in exact.chunks(SCALES) {
            let top = group.iter().fold(0.0f32, |top, scale| top.max((scale - mean).abs()));
            scales.extend(group.iter().map(|scale| nearest(&dynamic, (scale - mean) / top.max(f32::MIN_POSITIVE))));
            tops.push(top);
        }
        // The levels are chosen by the exact scale, as published; reading uses the rounded one.
        let mut levels = Vec::with_capacity(numbers.len().div_ceil(2));
        for (block, scale) in numbers.chunks(BLOCK).zip(&exact) {
            let level = |x: &f32| nearest(&LEVELS, x / scale.max(f32::MIN_POSITIVE));
            levels.extend(block.chunks(2).map(|two| level(&two[0]) << 4 | two.get(1).map_or(0, level)));
        }
        Self { levels, scales, tops, mean, len: numbers.len() }
    }

    pub(super) fn dequantize(&self) -> Vec<f32> {
        let dynamic = dynamic();
        let mut numbers = Vec::with_capacity(self.len + 1);
        for (at, (bytes, scale)) in self.levels.chunks(BLOCK / 2).zip(&self.scales).enumerate() {
            let scale = dynamic[usize::from(*scale)] * self.tops[at / SCALES] + self.mean;
            let scaled = LEVELS.map(|level| level * scale);
            numbers.extend(
                bytes.iter().flat_map(|byte| [scaled[usize::from(byte >> 4)], scaled[usize::from(byte & 0xf)]]),
            );
        }
        numbers.truncate(self.len);
        numbers
    }

    /// Bytes that it takes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.levels.len() + self.scales.len() + self.tops.len() * size_of::<f32>() + size_of::<f32>()
    }
}

/// The 8-bit values of bitsandbytes' signed dynamic map (7 exponent bits), in order: fine near zero, coarse near ±1.
fn dynamic() -> [f32; 256] {
    let mut values = [0.0f32; 256];
    let mut at = 0;
    for exponent in 0..7u8 {
        let steps = 1u32 << exponent;
        let magnitude = 10f64.powi(i32::from(exponent) - 6);
        for step in 0..steps {
            let middle = 0.1 + 0.9 * (f64::from(step) + 0.5) / f64::from(steps);
            values[at] = (magnitude * middle) as f32;
            values[at + 1] = -values[at];
            at += 2;
        }
    }
    values[255] = 1.0;
    values.sort_by(f32::total_cmp);
    values
}

/// Place of the nearest of sorted values.
fn nearest(values: &[f32], x: f32) -> u8 {
    let above = values.partition_point(|value| *value < x).min(values.len() - 1);
    let below = above.saturating_sub(1);
    (if x - values[below] <= values[above] - x { below } else { above }) as u8
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The normal distribution's function, by the error function's series.
    fn phi(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / 2.0 / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
    }

    fn quantile(p: f64) -> f64 {
        let (mut low, mut high) = (-5.0, 5.0);
        for _ in 0..100 {
            let middle = f64::midpoint(low, high);
            if phi(middle) < p { low = middle } else { high = middle }
        }
        low
    }

    #[test]
    fn the_levels_are_the_published_quantiles() {
        // Dettmers et al. 2023, appendix E: k + 1 quantiles on one side, k on the other, an exact zero.
        let offset = 0.967_708_3;
        let side = |steps: u32| (0..steps).map(move |at| offset + (0.5 - offset) * f64::from(at) / f64::from(steps));
        let mut levels: Vec<f64> = side(8).map(quantile).chain([0.0]).chain(side(7).map(|p| -quantile(p))).collect();
        levels.sort_by(f64::total_cmp);
        let top = levels[15];
        assert_eq!(levels.len(), 16);
        for (published, ours) in levels.into_iter().map(|level| level / top).zip(LEVELS) {
            assert!((published - f64::from(ours)).abs() < 1e-6, "{ours} for {published}");
        }
    }

    #[test]
    fn a_normal_matrix_comes_back_with_the_published_error_in_four_bits() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // Box-Muller: two uniform numbers to one normal.
        let mut normal = || {
            let (u, v) = (rng.random_range(f32::EPSILON..1.0), rng.random::<f32>());
            (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
        };
        let numbers: Vec<f32> = (0..384 * 1536).map(|_| normal()).collect();
        let quantized = Nf4::quantize(&numbers);
        let back = quantized.dequantize();
        let n = numbers.len() as f64;
        let error = numbers.iter().zip(&back).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / n;
        // bitsandbytes' own tests expect 0.0728 for NF4 with blocks of 64; see tests/nf4_check.py.
        assert!((error - 0.0728).abs() < 0.001, "mean absolute error {error}");
        let bits = quantized.bytes() as f64 * 8.0 / n;
        assert!((bits - 4.127).abs() < 0.001, "{bits} bits a number");
    }

    #[test]
    fn zeros_and_odd_ends_come_back() {
        let numbers: Vec<f32> = (0..131).map(|at| if at < 64 { 0.0 } else { (at % 3) as f32 - 1.0 }).collect();
        let back = Nf4::quantize(&numbers).dequantize();
        assert_eq!(back.len(), numbers.len());
        assert!(numbers.iter().zip(&back).all(|(a, b)| (a - b).abs() < 0.02), "{back:?}");
        assert_eq!(Nf4::quantize(&[]).dequantize(), Vec::<f32>::new());
    }
}
