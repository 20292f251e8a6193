//! Sixteen numbers at a time, on whatever this machine has.
//!
//! Every kernel is written once over [`Lanes`]; what differs between instruction sets is the handful of
//! operations here. An implementation is a token that only detection gives out, so that having one is the
//! proof that its instructions exist.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod emulated;
mod portable;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub(super) use self::portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(super) use self::{
    avx2::Avx2,
    avx512::Avx512,
    tiles::{Read, Set, Sums, TILE, Tiles},
};

/// Numbers in a vector.
pub(super) const LANES: usize = 16;

/// A word for each lane: four bytes, or two numbers in bf16.
pub(super) type Line = [i8; 4 * LANES];

/// Sixteen lanes of `f32` or `i32`, and the products of shorter numbers between them.
pub(super) trait Lanes: Copy {
    /// Sixteen `f32`.
    type F: Copy;
    /// Sixteen `i32`.
    type I: Copy;
    /// Whether [`Lanes::dot`] reads its bytes less 128, so that sums must start with 128 times the weights'.
    const SHIFTED: bool;
    /// Whether there are too few registers for six rows of four vectors.
    const FEW: bool;

    /// What multiplies whole tiles, where the machine has that.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn tiles(self) -> Option<Tiles> {
        None
    }

    fn splat(self, x: f32) -> Self::F;
    fn load(self, from: &[f32; LANES]) -> Self::F;
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `2^x` for `x <= 0` to 3e-6 of its value, or next to nothing where that is next to nothing.
    fn exp2(self, x: Self::F) -> Self::F;
    fn sum(self, x: Self::F) -> f32;
    fn least(self, x: Self::F) -> f32;
    fn most(self, x: Self::F) -> f32;
    /// Rows become columns.
    fn transpose(self, rows: [Self::F; LANES]) -> [Self::F; LANES];
    fn ints(self, from: &[i32; LANES]) -> Self::I;
    fn floats(self, x: Self::I) -> Self::F;
    /// The same bits.
    #[cfg(target_arch = "x86_64")]
    fn bits(self, x: Self::I) -> Self::F;
    /// Adds to each lane the sum of four products: `xs` with the lane's own four weights, none of which is -128.
    fn dot(self, sums: Self::I, xs: [u8; 4], weights: &Line) -> Self::I;
    /// Adds to each lane the sum of two products in bf16: `xs` with the lane's own two weights.
    fn dot_bf16(self, sums: Self::F, xs: [u8; 4], weights: &Line) -> Self::F;
    /// Rounded to bf16, ties to even; no number may be infinite or none.
    fn to_bf16(self, xs: [Self::F; 2], to: &mut [u8; 4 * LANES]);
    /// Rounded to whole numbers, which must lie in `0..=255` but for rounding.
    fn to_bytes(self, xs: [Self::F; 4], to: &mut [u8; 4 * LANES]);
    /// Tells the cache what is read soon.
    fn soon(self, what: &Line);
}

/// `2^x` for `x` in `[0, 1)` to 3e-6 of its value, highest power first.
const EXP2: [f32; 5] = [1.353_417e-2, 5.201_147e-2, 2.414_427_5e-1, 6.930_038_4e-1, 1.000_002_6];

/// `x * Φ(x)` to 2.1e-4, and beyond ten deviations to 2e-5 of `x`, which is far within what bytes keep, and near what bf16 keeps of a layer's larger values: the odd part of
/// Φ is a polynomial up to four deviations.
#[inline(always)]
pub(super) fn gelu<S: Lanes>(s: S, x: S::F) -> S::F {
    const ODD: [f32; 7] =
        [2.278_128_4e-8, -1.598_592_7e-6, 4.795_533_5e-5, -8.140_135e-4, 8.772_378e-3, -6.457_309e-2, 3.978_833_3e-1];
    let within = s.max(s.min(x, s.splat(4.0)), s.splat(-4.0));
    let square = s.mul(within, within);
    let mut odd = s.splat(ODD[0]);
    for coefficient in &ODD[1..] {
        odd = s.fma(odd, square, s.splat(*coefficient));
    }
    s.mul(x, s.fma(within, odd, s.splat(0.5)))
}
