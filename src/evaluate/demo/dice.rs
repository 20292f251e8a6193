//! Randomness from a seed, and from nothing else.
//!
//! Only integer arithmetic and IEEE multiplication are used, so the same seed gives the same files on
//! every machine, whatever the version of the distributions in `rand`.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use sha2::{Digest, Sha256};

/// A stream of throws.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one purpose: streams of other purposes don't shift it.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(purpose).finalize();
        Self(ChaCha8Rng::from_seed(digest.into()))
    }

    /// A whole number in `0..n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// A number in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// One of a list, each as likely.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// An index in `0..n`, the first ones likeliest: Zipf with exponent 1.
    pub(super) fn zipf(&mut self, n: usize) -> usize {
        let total: f64 = (1..=n).map(|rank| 1.0 / rank as f64).sum();
        let mut left = self.unit() * total;
        for at in 0..n {
            left -= 1.0 / (at + 1) as f64;
            if left < 0.0 {
                return at;
            }
        }
        n.saturating_sub(1)
    }

    /// A whole number with the expectation `mean`, as near to it as whole numbers go.
    pub(super) fn about(&mut self, mean: f64) -> usize {
        mean as usize + usize::from(self.chance(mean - mean.floor()))
    }

    /// An amount in cents within `[low, high]` units, most of them small.
    pub(super) fn amount(&mut self, low: f64, high: f64) -> u64 {
        let units = low + (high - low) * self.unit() * self.unit();
        let cents = (units * 100.0) as u64;
        match self.below(10) {
            0..3 => cents / 100 * 100 + 99,
            3 => cents / 100 * 100 + 49,
            4 | 5 => (cents / 100).max(1) * 100,
            _ => cents,
        }
    }

    /// `n` digits.
    pub(super) fn digits(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }

    /// `n` letters and digits, as in an order code.
    pub(super) fn code(&mut self, n: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ0123456789";
        (0..n).map(|_| char::from(ALPHABET[self.below(ALPHABET.len())])).collect()
    }
}
