//! The kernels compiled for each instruction set, one of which is chosen when the program runs.

use std::{hint::black_box, num::NonZero, sync::OnceLock};

use clap::ValueEnum;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512, TILE, Tiles};
use super::{
    attend,
    lanes::{LANES, Lanes, Portable},
    number::{Bf16, Format, Int8, Number},
    panels::{Panels, Step, VECTORS},
    product::{self, Activations, Added, Beside, Chunk, Gelu, Plain, ROWS, Rows},
    rows,
};
pub(super) use crate::config::Instructions;

/// What [`limit`] was told.
static FASTEST: OnceLock<Instructions> = OnceLock::new();

/// Nothing faster is used in this process from now on, even where the machine has it; the first word counts.
pub fn limit(fastest: Instructions) {
    let _ = FASTEST.set(fastest);
}

/// The fastest instructions that this machine has and that may be used.
#[must_use]
pub fn in_use() -> Instructions {
    Isa::fastest().instructions()
}

/// Which instructions compute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512<true>),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512<false>),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Portable(Portable),
}

impl Isa {
    /// Every one that this machine has, the fastest first.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::up_to(Instructions::Amx)
    }

    /// Plain Rust with the processor's tiles, or with what stands in for them.
    #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
    pub(super) fn portable_with_tiles() -> Self {
        Self::Portable(Portable { tiles: Some(Tiles::detect_or_emulate()) })
    }

    /// The fastest that may be used.
    pub(super) fn fastest() -> Self {
        let fastest = FASTEST.get().copied().unwrap_or(Instructions::Amx);
        Self::up_to(fastest).next().unwrap_or(Self::Portable(Portable::default()))
    }

    /// Those that this machine has of these and slower ones, the fastest first. Nobody looks for faster ones, or asks the system for them.
    fn up_to(fastest: Instructions) -> impl Iterator<Item = Self> {
        let slower = Instructions::value_variants().iter().rev();
        slower.copied().filter(move |instructions| *instructions <= fastest).filter_map(Self::of)
    }

    fn of(instructions: Instructions) -> Option<Self> {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            Instructions::Amx => Avx512::detect().and_then(Avx512::with_tiles).map(Self::Avx512Bf16),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Bf16 => Avx512::detect().map(Self::Avx512Bf16),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => Avx512::detect().map(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Avx2::detect().map(Self::Avx2),
            Instructions::Portable => Some(Self::Portable(Portable::default())),
            #[cfg(not(target_arch = "x86_64"))]
            _ => None,
        }
    }

    /// Whether there are instructions for products of this format, without which `f32` is faster.
    pub(super) fn has(self, format: Format) -> bool {
        let least = if format == Format::Bf16 { Instructions::Avx512Bf16 } else { Instructions::Avx2 };
        self.instructions() >= least
    }

    /// What computes so many rows fastest: with no more than one tile's, each weight is used once, and without tiles they arrive sooner.
    /// Sums of bytes are exact, so that this changes no answer.
    pub(super) fn for_rows(self, rows: usize, format: Format) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Self::Avx512Bf16(s) = self
            && rows <= TILE
            && format == Format::Int8
        {
            return Self::Avx512Bf16(s.without_tiles());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (rows, format);
        self
    }

    /// Rows that are multiplied together, at most.
    pub(super) fn rows(self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if self.tiles().is_some() {
            return TILE;
        }
        ROWS
    }

    /// What multiplies whole tiles, where that is used.
    #[cfg(target_arch = "x86_64")]
    fn tiles(self) -> Option<Tiles> {
        match self {
            Self::Avx512Bf16(s) => s.tiles(),
            Self::Portable(s) => s.tiles(),
            Self::Avx512(_) | Self::Avx2(_) => None,
        }
    }

    pub(super) fn instructions(self) -> Instructions {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(s) if s.tiles().is_some() => Instructions::Amx,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(_) => Instructions::Avx512Bf16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Instructions::Avx512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Instructions::Avx2,
            Self::Portable(_) => Instructions::Portable,
        }
    }
}

type Weights<'a> = (&'a [Step<VECTORS>], &'a Panels<VECTORS>);
type FirstFactors<'a> = (&'a [Step<1>], &'a Panels<1>);
type Sizes = (usize, usize);
type Scores<'a> = &'a mut [[f32; LANES]];

/// Rows of sums that [`Isa::probe`] keeps going at once, each as wide as a panel: as many as hide how long a product takes.
const CHAINS: usize = 3;
const FEW_CHAINS: usize = 1;

/// Steps of [`Isa::probe`].
const PROBED: NonZero<usize> = NonZero::new(4_000).unwrap();

impl Isa {
    /// Nothing but products, of which none is prepared, and how many operations those were: a multiplication and an
    /// addition are two.
    pub(super) fn probe(self, format: Format) -> usize {
        #[cfg(target_arch = "x86_64")]
        if let Some(tiles) = self.tiles() {
            #[expect(unsafe_code, reason = "only the caller knows what else a thread does")]
            // SAFETY: this thread does nothing else with tiles until the probe is over.
            let mut set = unsafe { tiles.set() };
            return set.probe(PROBED, format == Format::Bf16);
        }
        let mut sums = [0.0; LANES];
        match format {
            Format::Int8 => self.multiply::<Int8>(&mut sums),
            Format::Bf16 => self.multiply::<Bf16>(&mut sums),
        }
        black_box(sums);
        let chains = if self.instructions() >= Instructions::Avx512 { CHAINS } else { FEW_CHAINS };
        PROBED.get() * chains * VECTORS * LANES * (4 / format.size()) * 2
    }
}

/// Names of kernels, and what they do.
mod bodies {
    use super::*;

    #[inline(always)]
    pub(super) fn multiply<S: Lanes, N: Number>(s: S, sums: &mut [f32; LANES]) {
        if S::FEW { chains::<S, N, FEW_CHAINS>(s, sums) } else { chains::<S, N, CHAINS>(s, sums) }
    }

    #[inline(always)]
    fn chains<S: Lanes, N: Number, const C: usize>(s: S, sums: &mut [f32; LANES]) {
        // What is multiplied differs from sum to sum, and from step to step for all that the compiler knows: it may prepare nothing.
        // Rows share the weights, as those of a product do: reading them for each row would take as long as multiplying.
        // As bf16 the bytes are numbers below 1, whose products are none that processors take time over.
        // A step has whole cache lines, as a panel's have: a vector that lies on two of them takes twice as long to read.
        let step = black_box(Step([[0x3f; 4 * LANES]; VECTORS]));
        let mut chains = [[N::start(s, &[0; LANES]); VECTORS]; C];
        for _ in 0..PROBED.get() {
            let rows = black_box([[0x3e, 0x3f, 0x40, 0x3f]; C]);
            for (chains, xs) in chains.iter_mut().zip(rows) {
                for (chain, weights) in chains.iter_mut().zip(&step.0) {
                    *chain = N::dot(s, *chain, xs, weights);
                }
            }
        }
        for chain in chains.into_iter().flatten() {
            s.store(s.add(s.load(sums), N::floats(s, chain)), sums);
        }
    }

    pub(super) use rows::{embed, mean, norm, to_bytes};

    macro_rules! products {
        ($($name:ident = $finish:ident;)+) => {$(
            #[inline(always)]
            pub(super) fn $name<S: Lanes, N: Number>(
                s: S,
                xs: Activations<'_>,
                by: Weights<'_>,
                chunks: &[Chunk],
                beside: Option<Beside<'_>>,
                to: Rows<'_>,
            ) {
                product::product::<S, N, _>(s, xs, by, chunks, beside, &mut $finish(to));
            }
        )+};
    }

    products! {
        plain = Plain;
        gelu = Gelu;
        added = Added;
    }

    #[inline(always)]
    pub(super) fn reduce<S: Lanes, N: Number>(
        s: S,
        xs: Activations<'_>,
        by: FirstFactors<'_>,
        chunks: &[Chunk],
        to: Rows<'_>,
    ) {
        product::product::<S, N, _>(s, xs, by, chunks, None, &mut Plain(to));
    }

    #[inline(always)]
    pub(super) fn reduce_more<S: Lanes, N: Number>(
        s: S,
        xs: Activations<'_>,
        by: FirstFactors<'_>,
        chunks: &[Chunk],
        to: Rows<'_>,
    ) {
        product::product::<S, N, _>(s, xs, by, chunks, None, &mut Added(to));
    }

    #[inline(always)]
    pub(super) fn attend_1<S: Lanes>(s: S, rows: &mut [f32], sizes: Sizes, scores: Scores<'_>) {
        attend::attend::<S, 1>(s, rows, sizes, scores);
    }

    #[inline(always)]
    pub(super) fn attend_2<S: Lanes>(s: S, rows: &mut [f32], sizes: Sizes, scores: Scores<'_>) {
        attend::attend::<S, 2>(s, rows, sizes, scores);
    }

    #[inline(always)]
    pub(super) fn attend_4<S: Lanes>(s: S, rows: &mut [f32], sizes: Sizes, scores: Scores<'_>) {
        attend::attend::<S, 4>(s, rows, sizes, scores);
    }
}

macro_rules! kernels {
    ($($name:ident$(<$number:ident>)?($($arg:ident: $type:ty),+);)+) => {
        impl Isa {$(
            pub(super) fn $name$(<$number: Number>)?(self, $($arg: $type),+) {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
                fn avx512_bf16$(<$number: Number>)?(s: Avx512<true>, $($arg: $type),+) {
                    bodies::$name::<_$(, $number)?>(s, $($arg),+);
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
                fn avx512$(<$number: Number>)?(s: Avx512<false>, $($arg: $type),+) {
                    bodies::$name::<_$(, $number)?>(s, $($arg),+);
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                fn avx2$(<$number: Number>)?(s: Avx2, $($arg: $type),+) {
                    bodies::$name::<_$(, $number)?>(s, $($arg),+);
                }
                #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "only detection shows that a machine has these"))]
                match self {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: there is such a token only where `detect` found the very features that the function asks for.
                    Self::Avx512Bf16(s) => unsafe { avx512_bf16$(::<$number>)?(s, $($arg),+) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Self::Avx512(s) => unsafe { avx512$(::<$number>)?(s, $($arg),+) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Self::Avx2(s) => unsafe { avx2$(::<$number>)?(s, $($arg),+) },
                    Self::Portable(s) => bodies::$name::<_$(, $number)?>(s, $($arg),+),
                }
            }
        )+}
    };
}

kernels! {
    multiply<N>(sums: &mut [f32; LANES]);
    embed(ids: &[u32], words: &[f32], positions: &[f32], hidden: usize, xs: &mut [f32]);
    norm<N>(xs: &mut [f32], affine: (&[f32], &[f32], f32), bytes: &mut [u8], ranges: &mut [[f32; 2]]);
    to_bytes<N>(xs: &[f32], sizes: Sizes, bytes: &mut [u8], ranges: &mut [[f32; 2]]);
    mean(xs: &[f32], out: &mut [f32]);
    plain<N>(xs: Activations<'_>, by: Weights<'_>, chunks: &[Chunk], beside: Option<Beside<'_>>, to: Rows<'_>);
    gelu<N>(xs: Activations<'_>, by: Weights<'_>, chunks: &[Chunk], beside: Option<Beside<'_>>, to: Rows<'_>);
    added<N>(xs: Activations<'_>, by: Weights<'_>, chunks: &[Chunk], beside: Option<Beside<'_>>, to: Rows<'_>);
    reduce<N>(xs: Activations<'_>, by: FirstFactors<'_>, chunks: &[Chunk], to: Rows<'_>);
    reduce_more<N>(xs: Activations<'_>, by: FirstFactors<'_>, chunks: &[Chunk], to: Rows<'_>);
    attend_1(rows: &mut [f32], sizes: Sizes, scores: Scores<'_>);
    attend_2(rows: &mut [f32], sizes: Sizes, scores: Scores<'_>);
    attend_4(rows: &mut [f32], sizes: Sizes, scores: Scores<'_>);
}
