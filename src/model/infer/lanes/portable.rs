//! Plain Rust, for every other machine, and what the others are held against.

use half::bf16;

#[cfg(all(test, target_arch = "x86_64"))]
use super::Tiles;
use super::{LANES, Lanes, Line};

/// Needs no proof.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::model::infer) struct Portable {
    /// Only for comparing what tiles multiply with what is multiplied here.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(in crate::model::infer) tiles: Option<Tiles>,
}

type Sixteen = [f32; LANES];

#[inline(always)]
fn each(of: impl Fn(usize) -> f32) -> Sixteen {
    std::array::from_fn(of)
}

impl Lanes for Portable {
    type F = Sixteen;
    type I = [i32; LANES];
    const SHIFTED: bool = false;
    const FEW: bool = true;

    #[cfg(all(test, target_arch = "x86_64"))]
    fn tiles(self) -> Option<Tiles> {
        self.tiles
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Sixteen {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &Sixteen) -> Sixteen {
        *from
    }

    #[inline(always)]
    fn store(self, x: Sixteen, to: &mut Sixteen) {
        *to = x;
    }

    #[inline(always)]
    fn add(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|at| a[at] + b[at])
    }

    #[inline(always)]
    fn sub(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|at| a[at] - b[at])
    }

    #[inline(always)]
    fn mul(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|at| a[at] * b[at])
    }

    #[inline(always)]
    fn fma(self, a: Sixteen, b: Sixteen, c: Sixteen) -> Sixteen {
        each(|at| a[at] * b[at] + c[at])
    }

    #[inline(always)]
    fn min(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|at| a[at].min(b[at]))
    }

    #[inline(always)]
    fn max(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|at| a[at].max(b[at]))
    }

    #[inline(always)]
    fn exp2(self, x: Sixteen) -> Sixteen {
        x.map(f32::exp2)
    }

    #[inline(always)]
    fn sum(self, x: Sixteen) -> f32 {
        x.iter().sum()
    }

    #[inline(always)]
    fn least(self, x: Sixteen) -> f32 {
        x.into_iter().fold(f32::INFINITY, f32::min)
    }

    #[inline(always)]
    fn most(self, x: Sixteen) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    fn transpose(self, rows: [Sixteen; LANES]) -> [Sixteen; LANES] {
        std::array::from_fn(|column| each(|row| rows[row][column]))
    }

    #[inline(always)]
    fn ints(self, from: &[i32; LANES]) -> [i32; LANES] {
        *from
    }

    #[inline(always)]
    fn floats(self, x: [i32; LANES]) -> Sixteen {
        x.map(|x| x as f32)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn bits(self, x: [i32; LANES]) -> Sixteen {
        x.map(|x| f32::from_bits(x.cast_unsigned()))
    }

    #[inline(always)]
    fn dot(self, mut sums: [i32; LANES], xs: [u8; 4], weights: &Line) -> [i32; LANES] {
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
            *sum += xs.iter().zip(weights).map(|(x, weight)| i32::from(*x) * i32::from(*weight)).sum::<i32>();
        }
        sums
    }

    #[inline(always)]
    fn dot_bf16(self, mut sums: Sixteen, xs: [u8; 4], weights: &Line) -> Sixteen {
        let two = |word: [u8; 4]| {
            let [a, b, c, d] = word;
            [[a, b], [c, d]].map(|half| bf16::from_le_bytes(half).to_f32())
        };
        let [x, y] = two(xs);
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
            let [of_x, of_y] = two(weights.map(i8::cast_unsigned));
            *sum += x * of_x + y * of_y;
        }
        sums
    }

    #[inline(always)]
    fn to_bf16(self, xs: [Sixteen; 2], to: &mut [u8; 4 * LANES]) {
        for (to, x) in to.as_chunks_mut().0.iter_mut().zip(xs.as_flattened()) {
            *to = bf16::from_f32(*x).to_le_bytes();
        }
    }

    #[inline(always)]
    fn to_bytes(self, xs: [Sixteen; 4], to: &mut [u8; 4 * LANES]) {
        for (to, x) in to.iter_mut().zip(xs.as_flattened()) {
            *to = x.round_ties_even() as u8;
        }
    }

    #[inline(always)]
    fn soon(self, _: &Line) {}
}
