//! Attention of one sequence: every query looks at every key of it, and at no other.
#![expect(clippy::needless_range_loop, reason = "iterators over vectors would leave them in memory")]

use super::lanes::{LANES, Lanes};

/// Keys of which scores are made at once, at most.
pub(super) const KEYS: usize = 8;

#[inline(always)]
fn vector(values: &[f32], at: usize) -> &[f32; LANES] {
    values[at..].first_chunk().expect("rows are whole vectors")
}

/// Query, key and value of a head, as places in a row, and the row's length.
#[derive(Clone, Copy)]
struct Head {
    query: usize,
    key: usize,
    value: usize,
    stride: usize,
}

/// Sixteen queries of a head, numbers before queries, each vector on a cache line of its own.
#[repr(C, align(64))]
struct Queries<const D: usize>([[[f32; LANES]; LANES]; D]);

/// Sixteen queries' scores of each key lie in one vector, so that a softmax needs no sum across one.
///
/// `rows` has each token's query, key and value, `hidden` numbers each; the context takes the query's place.
/// Queries come scaled so that weights are powers of 2. `scores` has room for the tokens and [`KEYS`].
#[inline(always)]
pub(super) fn attend<S: Lanes, const D: usize>(
    s: S,
    rows: &mut [f32],
    (stride, hidden): (usize, usize),
    scores: &mut [[f32; LANES]],
) {
    let tokens = rows.len() / stride;
    let mut queries = Queries([[[0.0; LANES]; LANES]; D]);
    for from in (0..hidden).step_by(D * LANES) {
        let head = Head { query: from, key: hidden + from, value: 2 * hidden + from, stride };
        for first in (0..tokens).step_by(LANES) {
            let count = LANES.min(tokens - first);
            for (d, turned) in queries.0.iter_mut().enumerate() {
                let mut columns = [s.splat(0.0); LANES];
                for (i, column) in columns.iter_mut().enumerate() {
                    // Past the last query the last is taken again: nobody reads those lanes.
                    *column = s.load(vector(rows, (first + i.min(count - 1)) * stride + head.query + d * LANES));
                }
                let columns = s.transpose(columns);
                for i in 0..LANES {
                    s.store(columns[i], &mut turned[i]);
                }
            }
            let mut top = s.splat(f32::NEG_INFINITY);
            let mut at = 0;
            while at < tokens {
                if tokens - at > KEYS / 2 {
                    top = s.max(top, score::<S, D, KEYS>(s, &queries.0, rows, (at, tokens), head, scores));
                    at += KEYS;
                } else {
                    top = s.max(top, score::<S, D, { KEYS / 2 }>(s, &queries.0, rows, (at, tokens), head, scores));
                    at += KEYS / 2;
                }
            }
            let mut sum = s.splat(0.0);
            for score in &mut scores[..tokens] {
                let weight = s.exp2(s.sub(s.load(score), top));
                s.store(weight, score);
                sum = s.add(sum, weight);
            }
            let mut sums = [0.0; LANES];
            s.store(sum, &mut sums);
            for at in (0..count).step_by(4) {
                mix::<S, D>(s, rows, &scores[..tokens], &sums, (first, at, count), head);
            }
        }
    }
}

/// Scores of `J` keys from `at` on, and the highest. Past the last key the last is taken again: nobody reads those.
#[inline(always)]
fn score<S: Lanes, const D: usize, const J: usize>(
    s: S,
    queries: &[[[f32; LANES]; LANES]; D],
    rows: &[f32],
    (at, tokens): (usize, usize),
    head: Head,
    scores: &mut [[f32; LANES]],
) -> S::F {
    let mut sums = [s.splat(0.0); J];
    for (d, queries) in queries.iter().enumerate() {
        let mut keys = [&queries[0]; J];
        for (i, key) in keys.iter_mut().enumerate() {
            *key = vector(rows, (at + i).min(tokens - 1) * head.stride + head.key + d * LANES);
        }
        for (e, query) in queries.iter().enumerate() {
            let query = s.load(query);
            for i in 0..J {
                sums[i] = s.fma(s.splat(keys[i][e]), query, sums[i]);
            }
        }
    }
    let mut top = sums[0];
    let scores: &mut [[f32; LANES]; J] = scores[at..].first_chunk_mut().expect("room for whole blocks of keys");
    for i in 0..J {
        s.store(sums[i], &mut scores[i]);
        top = s.max(top, sums[i]);
    }
    top
}

/// The context of four queries from `first + at` on, or of the last again.
#[inline(always)]
fn mix<S: Lanes, const D: usize>(
    s: S,
    rows: &mut [f32],
    weights: &[[f32; LANES]],
    sums: &[f32; LANES],
    (first, at, count): (usize, usize, usize),
    head: Head,
) {
    let lane = |i: usize| (at + i).min(count - 1);
    let lanes = [lane(0), lane(1), lane(2), lane(3)];
    let mut contexts = [[s.splat(0.0); D]; 4];
    for (token, weights) in weights.iter().enumerate() {
        let mut value = [s.splat(0.0); D];
        for d in 0..D {
            value[d] = s.load(vector(rows, token * head.stride + head.value + d * LANES));
        }
        for i in 0..4 {
            let weight = s.splat(weights[lanes[i]]);
            for d in 0..D {
                contexts[i][d] = s.fma(weight, value[d], contexts[i][d]);
            }
        }
    }
    for i in 0..4 {
        let by = s.splat(1.0 / sums[lanes[i]]);
        for d in 0..D {
            let to = (first + lanes[i]) * head.stride + head.query + d * LANES;
            s.store(s.mul(contexts[i][d], by), rows[to..].first_chunk_mut().expect("rows are whole vectors"));
        }
    }
}
