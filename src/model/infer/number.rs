//! What a product's factors are kept as, chosen when the program runs ([`Format`]) and when it is compiled ([`Number`]).

use std::fmt;

use serde::Serialize;

use super::{
    isa::Isa,
    lanes::{LANES, Lanes, Line},
    panels::Columns,
};
#[cfg(target_arch = "x86_64")]
use super::{
    lanes::{Read, Set, Sums},
    panels::Step,
};

/// What weights and activations are kept as, where that is not `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Bytes: weights symmetric for each output, activations for each token and slice; sums are exact integers.
    Int8,
    /// The upper half of `f32`: eight bits of precision and no scales; sums are `f32`.
    Bf16,
}

impl Format {
    /// All of them, the fastest first.
    pub const ALL: [Self; 2] = [Self::Int8, Self::Bf16];

    /// As options and reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether this machine has instructions for its products.
    #[must_use]
    pub fn is_fast(self) -> bool {
        Isa::fastest().has(self)
    }

    /// Bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Int8 => Int8::SIZE,
            Self::Bf16 => Bf16::SIZE,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A format whose loops are compiled.
pub(super) trait Number {
    /// Bytes of a value.
    const SIZE: usize;
    /// Sixteen sums of products.
    type Sums<S: Lanes>: Copy;

    /// Before the first product. `shifted` is what [`Lanes::SHIFTED`] asks for.
    fn start<S: Lanes>(s: S, shifted: &[i32; LANES]) -> Self::Sums<S>;
    /// Adds to each lane the products of a word of activations with the lane's own word of weights.
    fn dot<S: Lanes>(s: S, sums: Self::Sums<S>, xs: [u8; 4], weights: &Line) -> Self::Sums<S>;
    fn floats<S: Lanes>(s: S, sums: Self::Sums<S>) -> S::F;
    /// Sums of products of some rows with a panel, by tiles.
    #[cfg(target_arch = "x86_64")]
    fn tiles<const V: usize>(tiles: &mut Set, xs: Read<'_>, steps: &[Step<V>], sums: &mut Sums<V>);
    /// Sums as tiles have left them.
    #[cfg(target_arch = "x86_64")]
    fn sums_of_tiles<S: Lanes>(s: S, sums: &[i32; LANES]) -> Self::Sums<S>;
    /// What the sums of a row in a panel's vector stand for; `range` is the row's scale and least.
    fn value<S: Lanes, const V: usize>(
        s: S,
        sums: Self::Sums<S>,
        range: [S::F; 2],
        columns: &Columns<V>,
        v: usize,
    ) -> S::F;
    /// Writes a row whose least and most are the ends of these, and returns its range.
    fn write<S: Lanes>(s: S, row: &[f32], ends: ([S::F; 4], [S::F; 4]), to: &mut [u8]) -> [f32; 2];
}

pub(super) struct Int8;
pub(super) struct Bf16;

impl Number for Int8 {
    const SIZE: usize = 1;
    type Sums<S: Lanes> = S::I;

    #[inline(always)]
    fn start<S: Lanes>(s: S, shifted: &[i32; LANES]) -> S::I {
        s.ints(if S::SHIFTED { shifted } else { &[0; LANES] })
    }

    #[inline(always)]
    fn dot<S: Lanes>(s: S, sums: S::I, xs: [u8; 4], weights: &Line) -> S::I {
        s.dot(sums, xs, weights)
    }

    #[inline(always)]
    fn floats<S: Lanes>(s: S, sums: S::I) -> S::F {
        s.floats(sums)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn tiles<const V: usize>(tiles: &mut Set, xs: Read<'_>, steps: &[Step<V>], sums: &mut Sums<V>) {
        tiles.bytes(xs, steps, sums);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn sums_of_tiles<S: Lanes>(s: S, sums: &[i32; LANES]) -> S::I {
        s.ints(sums)
    }

    #[inline(always)]
    fn value<S: Lanes, const V: usize>(
        s: S,
        sums: S::I,
        [scale, least]: [S::F; 2],
        columns: &Columns<V>,
        v: usize,
    ) -> S::F {
        let sum = s.fma(least, s.load(&columns.sums[v]), s.mul(s.floats(sums), scale));
        s.fma(sum, s.load(&columns.scales[v]), s.load(&columns.bias[v]))
    }

    #[inline(always)]
    fn write<S: Lanes>(s: S, row: &[f32], (least, most): ([S::F; 4], [S::F; 4]), to: &mut [u8]) -> [f32; 2] {
        let least = s.least(s.min(s.min(least[0], least[1]), s.min(least[2], least[3])));
        let most = s.most(s.max(s.max(most[0], most[1]), s.max(most[2], most[3])));
        let width = most - least;
        let per_unit = if width > 0.0 { 255.0 / width } else { 0.0 };
        let (by, from) = (s.splat(per_unit), s.splat(-least * per_unit));
        let fours: &[[[f32; LANES]; 4]] = row.as_chunks().0.as_chunks().0;
        for (four, to) in fours.iter().zip(to.as_chunks_mut().0) {
            let mut scaled = [by; 4];
            for i in 0..4 {
                scaled[i] = s.fma(s.load(&four[i]), by, from);
            }
            s.to_bytes(scaled, to);
        }
        [width / 255.0, least]
    }
}

impl Number for Bf16 {
    const SIZE: usize = 2;
    type Sums<S: Lanes> = S::F;

    #[inline(always)]
    fn start<S: Lanes>(s: S, _: &[i32; LANES]) -> S::F {
        s.splat(0.0)
    }

    #[inline(always)]
    fn dot<S: Lanes>(s: S, sums: S::F, xs: [u8; 4], weights: &Line) -> S::F {
        s.dot_bf16(sums, xs, weights)
    }

    #[inline(always)]
    fn floats<S: Lanes>(_: S, sums: S::F) -> S::F {
        sums
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn tiles<const V: usize>(tiles: &mut Set, xs: Read<'_>, steps: &[Step<V>], sums: &mut Sums<V>) {
        tiles.bf16(xs, steps, sums);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn sums_of_tiles<S: Lanes>(s: S, sums: &[i32; LANES]) -> S::F {
        s.bits(s.ints(sums))
    }

    #[inline(always)]
    fn value<S: Lanes, const V: usize>(s: S, sums: S::F, _: [S::F; 2], columns: &Columns<V>, v: usize) -> S::F {
        s.add(sums, s.load(&columns.bias[v]))
    }

    #[inline(always)]
    fn write<S: Lanes>(s: S, row: &[f32], _: ([S::F; 4], [S::F; 4]), to: &mut [u8]) -> [f32; 2] {
        let twos: &[[[f32; LANES]; 2]] = row.as_chunks().0.as_chunks().0;
        for ([a, b], to) in twos.iter().zip(to.as_chunks_mut().0) {
            s.to_bf16([s.load(a), s.load(b)], to);
        }
        [1.0, 0.0]
    }
}
