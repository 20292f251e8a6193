//! AVX2 with FMA: a vector is two registers of eight lanes.
#![expect(unsafe_code, reason = "these instructions exist only where they were found")]

use std::arch::x86_64::*;

use super::{EXP2, LANES, Lanes, Line};

/// The proof that the instructions are there.
#[derive(Debug, Clone, Copy)]
pub(in crate::model::infer) struct Avx2(());

impl Avx2 {
    pub(in crate::model::infer) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// Of all lanes, one after the other.
    #[inline(always)]
    fn across(self, x: Two, of: impl Fn(f32, f32) -> f32) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        let [first, rest @ ..] = lanes;
        rest.into_iter().fold(first, of)
    }
}

type Two = [__m256; 2];

macro_rules! here {
    ($($body:tt)*) => {
        // SAFETY: `self` is given out only by `detect`, so the instructions exist; and every pointer comes from
        // an array reference of at least the size that is read or written, in instructions that need no alignment.
        unsafe { $($body)* }
    };
}

macro_rules! halves {
    ($($name:ident = $of:ident($($x:ident),+);)+) => {$(
        #[inline(always)]
        fn $name(self, $($x: Two),+) -> Two {
            here!([$of($($x[0]),+), $of($($x[1]),+)])
        }
    )+};
}

/// The first and the second number of every word: bf16 is the upper half of `f32`.
#[inline(always)]
fn pairs_of(_: Avx2, words: __m256i) -> [__m256; 2] {
    let first = here!(_mm256_slli_epi32::<16>(words));
    let second = here!(_mm256_and_si256(words, _mm256_set1_epi32(0xffff_0000_u32.cast_signed())));
    here!([_mm256_castsi256_ps(first), _mm256_castsi256_ps(second)])
}

impl Lanes for Avx2 {
    type F = Two;
    type I = [__m256i; 2];
    const SHIFTED: bool = true;
    const FEW: bool = true;

    halves! {
        add = _mm256_add_ps(a, b);
        sub = _mm256_sub_ps(a, b);
        mul = _mm256_mul_ps(a, b);
        fma = _mm256_fmadd_ps(a, b, c);
        min = _mm256_min_ps(a, b);
        max = _mm256_max_ps(a, b);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Two {
        here!([_mm256_set1_ps(x); 2])
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Two {
        here!([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from[8..].as_ptr())])
    }

    #[inline(always)]
    fn store(self, x: Two, to: &mut [f32; LANES]) {
        here!(_mm256_storeu_ps(to.as_mut_ptr(), x[0]));
        here!(_mm256_storeu_ps(to[8..].as_mut_ptr(), x[1]));
    }

    #[inline(always)]
    fn exp2(self, x: Two) -> Two {
        let x = self.max(x, self.splat(-126.0));
        let whole = here!([_mm256_floor_ps(x[0]), _mm256_floor_ps(x[1])]);
        let rest = self.sub(x, whole);
        let mut power = self.splat(EXP2[0]);
        for coefficient in &EXP2[1..] {
            power = self.fma(power, rest, self.splat(*coefficient));
        }
        for (power, whole) in power.iter_mut().zip(whole) {
            let exponent = here!(_mm256_slli_epi32::<23>(_mm256_cvtps_epi32(whole)));
            *power = here!(_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(*power), exponent)));
        }
        power
    }

    #[inline(always)]
    fn sum(self, x: Two) -> f32 {
        self.across(x, |a, b| a + b)
    }

    #[inline(always)]
    fn least(self, x: Two) -> f32 {
        self.across(x, f32::min)
    }

    #[inline(always)]
    fn most(self, x: Two) -> f32 {
        self.across(x, f32::max)
    }

    #[inline(always)]
    fn transpose(self, mut rows: [Two; LANES]) -> [Two; LANES] {
        let mut turned = [[0.0; LANES]; LANES];
        for (i, row) in rows.iter().enumerate() {
            let mut lanes = [0.0; LANES];
            self.store(*row, &mut lanes);
            for (j, x) in lanes.into_iter().enumerate() {
                turned[j][i] = x;
            }
        }
        for (row, turned) in rows.iter_mut().zip(&turned) {
            *row = self.load(turned);
        }
        rows
    }

    #[inline(always)]
    fn ints(self, from: &[i32; LANES]) -> [__m256i; 2] {
        here!([_mm256_loadu_si256(from.as_ptr().cast()), _mm256_loadu_si256(from[8..].as_ptr().cast())])
    }

    #[inline(always)]
    fn floats(self, x: [__m256i; 2]) -> Two {
        here!([_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])])
    }

    #[inline(always)]
    fn bits(self, x: [__m256i; 2]) -> Two {
        here!([_mm256_castsi256_ps(x[0]), _mm256_castsi256_ps(x[1])])
    }

    #[inline(always)]
    fn dot(self, mut sums: [__m256i; 2], xs: [u8; 4], weights: &Line) -> [__m256i; 2] {
        // Less 128, so that a byte's sign can go to the weights: two products of at most 128 * 127 fit in 16 bits.
        let xs = here!(_mm256_set1_epi32(i32::from_le_bytes(xs.map(|x| x ^ 0x80))));
        let size = here!(_mm256_abs_epi8(xs));
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<32>().0) {
            let signed = here!(_mm256_sign_epi8(_mm256_loadu_si256(weights.as_ptr().cast()), xs));
            let pairs = here!(_mm256_maddubs_epi16(size, signed));
            *sum = here!(_mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
        }
        sums
    }

    #[inline(always)]
    fn dot_bf16(self, mut sums: Two, xs: [u8; 4], weights: &Line) -> Two {
        let xs = pairs_of(self, here!(_mm256_set1_epi32(i32::from_le_bytes(xs))));
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<32>().0) {
            let weights = pairs_of(self, here!(_mm256_loadu_si256(weights.as_ptr().cast())));
            for (x, weight) in xs.into_iter().zip(weights) {
                *sum = here!(_mm256_fmadd_ps(x, weight, *sum));
            }
        }
        sums
    }

    #[inline(always)]
    fn to_bf16(self, xs: [Two; 2], to: &mut [u8; 4 * LANES]) {
        for (x, to) in xs.iter().zip(to.as_chunks_mut::<32>().0) {
            let [low, high] = x.map(|x| {
                let bits = here!(_mm256_castps_si256(x));
                let even = here!(_mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1)));
                let up = here!(_mm256_add_epi32(even, _mm256_set1_epi32(0x7fff)));
                here!(_mm256_srli_epi32::<16>(_mm256_add_epi32(bits, up)))
            });
            // Packing works within halves of a register.
            let packed = here!(_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high)));
            here!(_mm256_storeu_si256(to.as_mut_ptr().cast(), packed));
        }
    }

    #[inline(always)]
    fn to_bytes(self, xs: [Two; 4], to: &mut [u8; 4 * LANES]) {
        // Packing works within halves of a register.
        let order = here!(_mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        for (of, to) in xs.as_chunks::<2>().0.iter().zip(to.as_chunks_mut::<32>().0) {
            let low = here!(_mm256_packs_epi32(_mm256_cvtps_epi32(of[0][0]), _mm256_cvtps_epi32(of[0][1])));
            let high = here!(_mm256_packs_epi32(_mm256_cvtps_epi32(of[1][0]), _mm256_cvtps_epi32(of[1][1])));
            let packed = here!(_mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order));
            here!(_mm256_storeu_si256(to.as_mut_ptr().cast(), packed));
        }
    }

    #[inline(always)]
    fn soon(self, what: &Line) {
        here!(_mm_prefetch::<_MM_HINT_T1>(what.as_ptr()));
    }
}
