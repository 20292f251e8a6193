//! Whole rows: their sum of embeddings, layer norm, what products read of them, mean.

use super::{
    lanes::{LANES, Lanes},
    number::Number,
};

#[inline(always)]
fn vectors(row: &[f32]) -> &[[f32; LANES]] {
    row.as_chunks().0
}

/// Vectors by fours: one chain of additions would wait for itself.
#[inline(always)]
fn fours(row: &[f32]) -> &[[[f32; LANES]; 4]] {
    vectors(row).as_chunks().0
}

/// Each token's embedding and its position's, added up.
#[inline(always)]
pub(super) fn embed<S: Lanes>(s: S, ids: &[u32], words: &[f32], positions: &[f32], hidden: usize, xs: &mut [f32]) {
    for ((id, position), row) in ids.iter().zip(positions.chunks_exact(hidden)).zip(xs.chunks_exact_mut(hidden)) {
        let word = &words[*id as usize * hidden..][..hidden];
        for ((word, position), x) in vectors(word).iter().zip(vectors(position)).zip(row.as_chunks_mut().0) {
            s.store(s.add(s.load(word), s.load(position)), x);
        }
    }
}

/// The first `count` values of rows of `stride` as products read them, and their ranges.
#[inline(always)]
pub(super) fn to_bytes<S: Lanes, N: Number>(
    s: S,
    xs: &[f32],
    (stride, count): (usize, usize),
    bytes: &mut [u8],
    ranges: &mut [[f32; 2]],
) {
    for ((row, bytes), range) in xs.chunks_exact(stride).zip(bytes.chunks_exact_mut(count * N::SIZE)).zip(ranges) {
        let row = &row[..count];
        let (mut least, mut most) = ([s.splat(f32::INFINITY); 4], [s.splat(f32::NEG_INFINITY); 4]);
        for four in fours(row) {
            for i in 0..4 {
                let x = s.load(&four[i]);
                (least[i], most[i]) = (s.min(least[i], x), s.max(most[i], x));
            }
        }
        *range = N::write(s, row, (least, most), bytes);
    }
}

/// Layer norm of every row in place, and what products read of it.
#[inline(always)]
pub(super) fn norm<S: Lanes, N: Number>(
    s: S,
    xs: &mut [f32],
    (weight, bias, eps): (&[f32], &[f32], f32),
    bytes: &mut [u8],
    ranges: &mut [[f32; 2]],
) {
    let size = weight.len();
    for ((row, bytes), range) in xs.chunks_exact_mut(size).zip(bytes.chunks_exact_mut(size * N::SIZE)).zip(ranges) {
        let mut sums = [s.splat(0.0); 4];
        for four in fours(row) {
            for i in 0..4 {
                sums[i] = s.add(sums[i], s.load(&four[i]));
            }
        }
        let mean = total(s, sums) / size as f32;
        let (center, mut squares) = (s.splat(mean), [s.splat(0.0); 4]);
        for four in fours(row) {
            for i in 0..4 {
                let x = s.sub(s.load(&four[i]), center);
                squares[i] = s.fma(x, x, squares[i]);
            }
        }
        let scale = 1.0 / (total(s, squares) / size as f32 + eps).sqrt();
        let (by, from) = (s.splat(scale), s.splat(-mean * scale));
        let (mut least, mut most) = ([s.splat(f32::INFINITY); 4], [s.splat(f32::NEG_INFINITY); 4]);
        let affine = fours(weight).iter().zip(fours(bias));
        for (four, (weight, bias)) in row.as_chunks_mut::<LANES>().0.as_chunks_mut::<4>().0.iter_mut().zip(affine) {
            for i in 0..4 {
                let x = s.fma(s.fma(s.load(&four[i]), by, from), s.load(&weight[i]), s.load(&bias[i]));
                s.store(x, &mut four[i]);
                (least[i], most[i]) = (s.min(least[i], x), s.max(most[i], x));
            }
        }
        *range = N::write(s, row, (least, most), bytes);
    }
}

#[inline(always)]
fn total<S: Lanes>(s: S, sums: [S::F; 4]) -> f32 {
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

/// The mean of rows as long as `out`.
#[inline(always)]
pub(super) fn mean<S: Lanes>(s: S, xs: &[f32], out: &mut [f32]) {
    let size = out.len();
    let by = s.splat(size as f32 / xs.len() as f32);
    for (column, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut sum = s.splat(0.0);
        for row in xs.chunks_exact(size) {
            sum = s.add(sum, s.load(&vectors(row)[column]));
        }
        s.store(s.mul(sum, by), out);
    }
}
