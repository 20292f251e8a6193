//! Products: rows of activations with panels of weights, and what becomes of each sum at once.
#![expect(clippy::needless_range_loop, reason = "iterators over vectors would leave them in memory")]

use std::sync::Arc;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Read, Set, Sums};
use super::{
    lanes::{LANES, Lanes, Line, gelu},
    lowrank::{Difference, LayerDifference, LowRank},
    number::Number,
    panels::{Columns, Panels, Step},
};

/// Rows of activations: a value is `scale * byte + least`, or as it is where it is no byte.
#[derive(Clone, Copy)]
pub(super) struct Activations<'a> {
    /// `[rows, inputs]`, of so many bytes each as the format has.
    pub(super) bytes: &'a [u8],
    /// Of each row, scale and least.
    pub(super) ranges: &'a [[f32; 2]],
}

/// Rows that are computed together, at most [`ROWS`] or a tile's, all read with the same adapter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) row: usize,
    pub(super) rows: usize,
    /// Its place among the block's adapters.
    pub(super) adapter: Option<usize>,
}

/// Most rows of a chunk: with four vectors of sums each and one of weights they fill AVX-512's registers.
pub(super) const ROWS: usize = 6;

/// The low-rank differences of a block's adapters to one product.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    pub(super) adapters: &'a [Arc<LowRank>],
    pub(super) layer: usize,
    pub(super) of: fn(&LayerDifference) -> &Difference,
    /// The product's first panel, in the numbering of the difference.
    pub(super) panel: usize,
    /// What the first factors made of each row.
    pub(super) reduced: &'a [f32],
    pub(super) stride: usize,
}

/// An adapter's second factor in one panel, and the reduced numbers that it multiplies.
#[derive(Clone, Copy)]
struct SecondFactor<'a, const V: usize> {
    /// From the first row's on.
    reduced: &'a [f32],
    /// From a row's numbers to the next one's.
    stride: usize,
    /// What each number weighs in the panel's columns.
    weights: &'a [[[f32; LANES]; V]],
}

impl<const V: usize> SecondFactor<'_, V> {
    /// The same past so many rows.
    #[inline(always)]
    fn past(self, rows: usize) -> Self {
        Self { reduced: &self.reduced[rows * self.stride..], ..self }
    }
}

impl<'a> Beside<'a> {
    /// Of the adapter that a chunk's rows are read with.
    #[inline(always)]
    fn second_factor<const V: usize>(&self, panel: usize, chunk: Chunk) -> Option<SecondFactor<'a, V>> {
        let difference = (self.of)(&self.adapters[chunk.adapter?].layers[self.layer]);
        let (from, weights) = difference.of_panel(self.panel + panel);
        // Only the encoder's own panels have a difference, and those are as wide as its factors.
        let weights = weights.as_flattened().as_chunks::<V>().0;
        let stride = self.stride;
        (!weights.is_empty()).then(|| SecondFactor {
            reduced: &self.reduced[chunk.row * stride + from..],
            stride,
            weights,
        })
    }
}

/// What becomes of the sums of a row in the columns from `column` on.
pub(super) trait Finish<S: Lanes, const V: usize> {
    fn finish(&mut self, s: S, row: usize, column: usize, sums: [S::F; V]);
}

/// Rows of `stride` values that sums go to.
pub(super) struct Rows<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) stride: usize,
}

impl Rows<'_> {
    #[inline(always)]
    fn vectors<const V: usize>(&mut self, row: usize, column: usize) -> &mut [[f32; LANES]; V] {
        let from = row * self.stride + column;
        let vectors = self.values[from..from + V * LANES].as_chunks_mut::<LANES>().0;
        vectors.first_chunk_mut().expect("a slice of just so many")
    }
}

/// Written as they are.
pub(super) struct Plain<'a>(pub(super) Rows<'a>);
/// Written through the gelu.
pub(super) struct Gelu<'a>(pub(super) Rows<'a>);
/// Added to what is there.
pub(super) struct Added<'a>(pub(super) Rows<'a>);

impl<S: Lanes, const V: usize> Finish<S, V> for Plain<'_> {
    #[inline(always)]
    fn finish(&mut self, s: S, row: usize, column: usize, sums: [S::F; V]) {
        let to = self.0.vectors::<V>(row, column);
        for v in 0..V {
            s.store(sums[v], &mut to[v]);
        }
    }
}

impl<S: Lanes, const V: usize> Finish<S, V> for Gelu<'_> {
    #[inline(always)]
    fn finish(&mut self, s: S, row: usize, column: usize, sums: [S::F; V]) {
        let to = self.0.vectors::<V>(row, column);
        for v in 0..V {
            s.store(gelu(s, sums[v]), &mut to[v]);
        }
    }
}

impl<S: Lanes, const V: usize> Finish<S, V> for Added<'_> {
    #[inline(always)]
    fn finish(&mut self, s: S, row: usize, column: usize, sums: [S::F; V]) {
        let to = self.0.vectors::<V>(row, column);
        for v in 0..V {
            s.store(s.add(sums[v], s.load(&to[v])), &mut to[v]);
        }
    }
}

/// Every chunk of rows with every panel: panel after panel, so that one stays in the nearest cache for all chunks
/// while the next is fetched.
#[inline(always)]
pub(super) fn product<S: Lanes, N: Number, const V: usize>(
    s: S,
    xs: Activations<'_>,
    (all, panels): (&[Step<V>], &Panels<V>),
    chunks: &[Chunk],
    beside: Option<Beside<'_>>,
    finish: &mut impl Finish<S, V>,
) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "only the caller knows what else a thread does")]
    // SAFETY: nothing that is called until this ends sets tiles: sums are finished by this file's own arithmetic.
    let mut tiles = s.tiles().map(|tiles| (unsafe { tiles.set() }, Sums::<V>::EMPTY));
    let mut rest = &all[panels.at..];
    for (at, columns) in panels.columns.iter().enumerate() {
        let (steps, others) = rest.split_at(panels.steps);
        rest = others;
        let next = lines(&rest[..steps.len().min(rest.len())]);
        let mut fetched = next.chunks(next.len().div_ceil(chunks.len().max(1)).max(1));
        for chunk in chunks {
            let panel = Panel { steps, columns, column: at * V * LANES, next: fetched.next().unwrap_or(&[]) };
            let second = beside.and_then(|beside| beside.second_factor(at, *chunk));
            #[cfg(target_arch = "x86_64")]
            if let Some((set, sums)) = &mut tiles {
                by_tiles::<S, N, V>(s, xs, panel, *chunk, second, (set, sums), finish);
                continue;
            }
            if S::FEW {
                for at in 0..chunk.rows {
                    let second = second.map(|second| second.past(at));
                    tile::<S, N, 1, V>(s, xs, panel, chunk.row + at, second, finish);
                }
                continue;
            }
            match chunk.rows {
                1 => tile::<S, N, 1, V>(s, xs, panel, chunk.row, second, finish),
                2 => tile::<S, N, 2, V>(s, xs, panel, chunk.row, second, finish),
                3 => tile::<S, N, 3, V>(s, xs, panel, chunk.row, second, finish),
                4 => tile::<S, N, 4, V>(s, xs, panel, chunk.row, second, finish),
                5 => tile::<S, N, 5, V>(s, xs, panel, chunk.row, second, finish),
                rows => {
                    assert!(rows == ROWS, "a chunk of {rows} rows");
                    tile::<S, N, ROWS, V>(s, xs, panel, chunk.row, second, finish);
                }
            }
        }
    }
}

#[inline(always)]
fn lines<const V: usize>(steps: &[Step<V>]) -> &[Line] {
    #[expect(unsafe_code, reason = "there is no safe way to see through a wrapper in a slice")]
    // SAFETY: a step is its lines and nothing else (they are a multiple of its alignment), and asks for more
    // alignment than a line does.
    unsafe {
        std::slice::from_raw_parts(steps.as_ptr().cast(), steps.len() * V)
    }
}

/// One panel, where its columns begin, and what to fetch meanwhile.
#[derive(Clone, Copy)]
struct Panel<'a, const V: usize> {
    steps: &'a [Step<V>],
    columns: &'a Columns<V>,
    column: usize,
    next: &'a [Line],
}

/// `R` rows with one panel. All sums stay in registers: loops over `R` and `V` have constant ends, and what is
/// done with each row at the end is written out.
#[inline(always)]
fn tile<S: Lanes, N: Number, const R: usize, const V: usize>(
    s: S,
    xs: Activations<'_>,
    panel: Panel<'_, V>,
    row: usize,
    second: Option<SecondFactor<'_, V>>,
    finish: &mut impl Finish<S, V>,
) {
    let width = panel.steps.len() * 4;
    let fours = panel.steps.as_chunks::<4>().0;
    let none: &[[[u8; 4]; 4]] = &[];
    let mut rows = [none; R];
    for r in 0..R {
        let bytes = &xs.bytes[(row + r) * width..(row + r + 1) * width];
        rows[r] = bytes.as_chunks::<4>().0.as_chunks::<4>().0;
        assert!(rows[r].len() == fours.len());
    }
    let mut start = [N::start(s, &[0; LANES]); V];
    for v in 0..V {
        start[v] = N::start(s, &panel.columns.shifted[v]);
    }
    let mut sums = [start; R];
    let share = panel.next.len().div_ceil(fours.len());
    let mut next = panel.next.iter();
    for (at, four) in fours.iter().enumerate() {
        for _ in 0..share {
            if let Some(line) = next.next() {
                s.soon(line);
            }
        }
        for i in 0..4 {
            for r in 0..R {
                #[expect(unsafe_code, reason = "a bounds check for every word would cost as much as they do")]
                // SAFETY: every row has as many fours as the panel: asserted above.
                let x = unsafe { rows[r].get_unchecked(at) }[i];
                for v in 0..V {
                    sums[r][v] = N::dot(s, sums[r][v], x, &four[i].0[v]);
                }
            }
        }
    }
    complete::<S, N, R, V>(s, sums, xs.ranges, panel, row, second, finish);
}

/// What becomes of the sums of `R` rows with one panel.
#[inline(always)]
fn complete<S: Lanes, N: Number, const R: usize, const V: usize>(
    s: S,
    sums: [[N::Sums<S>; V]; R],
    ranges: &[[f32; 2]],
    panel: Panel<'_, V>,
    row: usize,
    second: Option<SecondFactor<'_, V>>,
    finish: &mut impl Finish<S, V>,
) {
    let ranges: &[[f32; 2]; R] = ranges[row..].first_chunk().expect("every row has a range");
    let mut values = [[s.splat(0.0); V]; R];
    for r in 0..R {
        let range = [s.splat(ranges[r][0]), s.splat(ranges[r][1])];
        for v in 0..V {
            values[r][v] = N::value(s, sums[r][v], range, panel.columns, v);
        }
    }
    if let Some(SecondFactor { reduced, stride, weights }) = second {
        for (rank, weights) in weights.iter().enumerate() {
            for r in 0..R {
                let x = s.splat(reduced[r * stride + rank]);
                for v in 0..V {
                    values[r][v] = s.fma(x, s.load(&weights[v]), values[r][v]);
                }
            }
        }
    }
    macro_rules! each {
        ($($r:literal)*) => {$(
            if $r < R {
                finish.finish(s, row + $r, panel.column, values[$r % R]);
            }
        )*};
    }
    each!(0 1 2 3 4 5);
}

/// A chunk's rows with one panel, by tiles: their sums go through memory.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn by_tiles<S: Lanes, N: Number, const V: usize>(
    s: S,
    xs: Activations<'_>,
    panel: Panel<'_, V>,
    chunk: Chunk,
    second: Option<SecondFactor<'_, V>>,
    (tiles, sums): (&mut Set, &mut Sums<V>),
    finish: &mut impl Finish<S, V>,
) {
    let stride = panel.steps.len() * 4;
    let read = Read { bytes: &xs.bytes[chunk.row * stride..], stride, rows: chunk.rows, next: panel.next };
    N::tiles(tiles, read, panel.steps, sums);
    for (at, sums) in sums.0[..chunk.rows].iter().enumerate() {
        let sums = sums.each_ref().map(|sums| N::sums_of_tiles(s, sums));
        let second = second.map(|second| second.past(at));
        complete::<S, N, 1, V>(s, [sums], xs.ranges, panel, chunk.row + at, second, finish);
    }
}
