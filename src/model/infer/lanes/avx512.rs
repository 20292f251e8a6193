//! AVX-512 with VNNI: a vector is one register, and four products of bytes are one instruction. With its BF16
//! extension, two products in bf16 are one too.
#![expect(unsafe_code, reason = "these instructions exist only where they were found")]

use std::{arch::x86_64::*, mem::transmute};

use super::{EXP2, LANES, Lanes, Line, Tiles};

/// The proof that the instructions are there, those for bf16 among them or not; and tiles, where they are to be used.
#[derive(Debug, Clone, Copy)]
pub(in crate::model::infer) struct Avx512<const BF16: bool> {
    tiles: Option<Tiles>,
}

impl<const BF16: bool> Avx512<BF16> {
    pub(in crate::model::infer) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && (!BF16 || is_x86_feature_detected!("avx512bf16"));
        found.then_some(Self { tiles: None })
    }
}

impl Avx512<true> {
    /// The same beside tiles.
    pub(in crate::model::infer) fn with_tiles(self) -> Option<Self> {
        Tiles::detect().map(|tiles| Self { tiles: Some(tiles) })
    }

    pub(in crate::model::infer) fn without_tiles(self) -> Self {
        Self { tiles: None }
    }
}

macro_rules! here {
    ($($body:tt)*) => {
        // SAFETY: `self` is given out only by `detect`, so the instructions exist; and every pointer comes from
        // an array reference of just the size that is read or written, in instructions that need no alignment.
        unsafe { $($body)* }
    };
}

/// The first and the second number of every word: bf16 is the upper half of `f32`.
#[inline(always)]
fn pairs_of<const BF16: bool>(_: Avx512<BF16>, words: __m512i) -> [__m512; 2] {
    let first = here!(_mm512_slli_epi32::<16>(words));
    let second = here!(_mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000_u32.cast_signed())));
    here!([_mm512_castsi512_ps(first), _mm512_castsi512_ps(second)])
}

impl<const BF16: bool> Lanes for Avx512<BF16> {
    type F = __m512;
    type I = __m512i;
    const SHIFTED: bool = false;
    const FEW: bool = false;

    #[inline(always)]
    fn tiles(self) -> Option<Tiles> {
        // So that what knows of no bf16 has no code for tiles.
        self.tiles.filter(|_| BF16)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        here!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        here!(_mm512_loadu_ps(from.as_ptr()))
    }

    #[inline(always)]
    fn store(self, x: __m512, to: &mut [f32; LANES]) {
        here!(_mm512_storeu_ps(to.as_mut_ptr(), x));
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        here!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        here!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        here!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        here!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        here!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        here!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn exp2(self, x: __m512) -> __m512 {
        // What `x` is above the whole number below it; the scaling takes that whole number.
        let rest = here!(_mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(x));
        let mut power = self.splat(EXP2[0]);
        for coefficient in &EXP2[1..] {
            power = self.fma(power, rest, self.splat(*coefficient));
        }
        here!(_mm512_scalef_ps(power, x))
    }

    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        here!(_mm512_reduce_add_ps(x))
    }

    #[inline(always)]
    fn least(self, x: __m512) -> f32 {
        here!(_mm512_reduce_min_ps(x))
    }

    #[inline(always)]
    fn most(self, x: __m512) -> f32 {
        here!(_mm512_reduce_max_ps(x))
    }

    #[inline(always)]
    fn transpose(self, mut a: [__m512; LANES]) -> [__m512; LANES] {
        let mut b = a;
        for i in 0..8 {
            b[2 * i] = here!(_mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]));
            b[2 * i + 1] = here!(_mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]));
        }
        for i in 0..8 {
            // Pairs of rows `4 k`, `4 k + 2` and `4 k + 1`, `4 k + 3`.
            let from = 4 * (i / 2) + i % 2;
            let (low, high) = here!((_mm512_castps_pd(b[from]), _mm512_castps_pd(b[from + 2])));
            a[2 * i] = here!(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)));
            a[2 * i + 1] = here!(_mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
        }
        for i in 0..4 {
            b[i] = here!(_mm512_shuffle_f32x4::<0x88>(a[i], a[4 + i]));
            b[4 + i] = here!(_mm512_shuffle_f32x4::<0xdd>(a[i], a[4 + i]));
            b[8 + i] = here!(_mm512_shuffle_f32x4::<0x88>(a[8 + i], a[12 + i]));
            b[12 + i] = here!(_mm512_shuffle_f32x4::<0xdd>(a[8 + i], a[12 + i]));
        }
        for i in 0..4 {
            a[i] = here!(_mm512_shuffle_f32x4::<0x88>(b[i], b[8 + i]));
            a[8 + i] = here!(_mm512_shuffle_f32x4::<0xdd>(b[i], b[8 + i]));
            a[4 + i] = here!(_mm512_shuffle_f32x4::<0x88>(b[4 + i], b[12 + i]));
            a[12 + i] = here!(_mm512_shuffle_f32x4::<0xdd>(b[4 + i], b[12 + i]));
        }
        a
    }

    #[inline(always)]
    fn ints(self, from: &[i32; LANES]) -> __m512i {
        here!(_mm512_loadu_si512(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn floats(self, x: __m512i) -> __m512 {
        here!(_mm512_cvtepi32_ps(x))
    }

    #[inline(always)]
    fn bits(self, x: __m512i) -> __m512 {
        here!(_mm512_castsi512_ps(x))
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, xs: [u8; 4], weights: &Line) -> __m512i {
        let four = i32::from_le_bytes(xs);
        here!(_mm512_dpbusd_epi32(sums, _mm512_set1_epi32(four), _mm512_loadu_si512(weights.as_ptr().cast())))
    }

    #[inline(always)]
    fn dot_bf16(self, sums: __m512, xs: [u8; 4], weights: &Line) -> __m512 {
        let xs = here!(_mm512_set1_epi32(i32::from_le_bytes(xs)));
        let weights = here!(_mm512_loadu_si512(weights.as_ptr().cast()));
        if BF16 {
            let (xs, weights) = here!((transmute::<__m512i, __m512bh>(xs), transmute::<__m512i, __m512bh>(weights)));
            return here!(_mm512_dpbf16_ps(sums, xs, weights));
        }
        let (xs, weights) = (pairs_of(self, xs), pairs_of(self, weights));
        xs.into_iter().zip(weights).fold(sums, |sums, (x, weight)| self.fma(x, weight, sums))
    }

    #[inline(always)]
    fn to_bf16(self, xs: [__m512; 2], to: &mut [u8; 4 * LANES]) {
        for (x, to) in xs.into_iter().zip(to.as_chunks_mut::<32>().0) {
            let bits = here!(_mm512_castps_si512(x));
            let even = here!(_mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1)));
            let up = here!(_mm512_add_epi32(even, _mm512_set1_epi32(0x7fff)));
            let halves = here!(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_add_epi32(bits, up))));
            here!(_mm256_storeu_si256(to.as_mut_ptr().cast(), halves));
        }
    }

    #[inline(always)]
    fn to_bytes(self, [a, b, c, d]: [__m512; 4], to: &mut [u8; 4 * LANES]) {
        let low = here!(_mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b)));
        let high = here!(_mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d)));
        // Packing works within quarters of a register.
        let order = here!(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        let packed = here!(_mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high)));
        here!(_mm512_storeu_si512(to.as_mut_ptr().cast(), packed));
    }

    #[inline(always)]
    fn soon(self, what: &Line) {
        here!(_mm_prefetch::<_MM_HINT_T1>(what.as_ptr()));
    }
}
