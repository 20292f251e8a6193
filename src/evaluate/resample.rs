//! Drawing anew: intervals by bootstrap and tests by flipped signs, over whole merchants.
//!
//! Rows of one merchant are right or wrong together, so what is drawn is a merchant with all its rows.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use utoipa::ToSchema;

/// How often merchants are drawn anew for an interval.
pub const RESAMPLES: usize = 4_000;

/// A percentile interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Interval {
    /// 2.5 % of the resampled figures lie below.
    pub low: f64,
    /// 2.5 % lie above.
    pub high: f64,
}

/// How often to draw, so that many merchants cost seconds and not minutes.
#[must_use]
pub fn resamples(merchants: usize) -> usize {
    (40_000_000 / merchants.max(1)).clamp(400, RESAMPLES)
}

/// A figure of as many merchants as there are, drawn with replacement, `resamples` times; sorted. `figure` gets the
/// drawn merchants' places.
pub fn drawn(merchants: usize, resamples: usize, seed: u64, mut figure: impl FnMut(&[usize]) -> f64) -> Vec<f64> {
    if merchants == 0 {
        return Vec::new();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut places = vec![0; merchants];
    let mut figures: Vec<f64> = (0..resamples)
        .map(|_| {
            places.iter_mut().for_each(|place| *place = rng.random_range(0..merchants));
            figure(&places)
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// The percentile interval of resampled figures; `None` of nothing.
#[must_use]
pub fn interval(sorted: &[f64]) -> Option<Interval> {
    // The places that leave 2.5 % on either side, counting the gaps between and beside so many figures.
    let tail = ((sorted.len() + 1) / 40).saturating_sub(1);
    Some(Interval { low: *sorted.get(tail)?, high: *sorted.get(sorted.len().checked_sub(1 + tail)?)? })
}

/// One merchant: the sum of what is counted over its rows, and its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merchant {
    /// Right rows; or rows that only we have right less those that only they have.
    pub sum: i64,
    /// Its rows.
    pub rows: i64,
}

/// The mean over all rows, `resamples` times with merchants drawn anew; sorted.
#[must_use]
pub fn drawn_means(merchants: &[Merchant], resamples: usize, seed: u64) -> Vec<f64> {
    drawn(merchants.len(), resamples, seed, |places| mean(merchants, places))
}

/// The mean over all rows of the merchants at these places.
fn mean(merchants: &[Merchant], places: &[usize]) -> f64 {
    let (sum, rows) = places.iter().fold((0, 0), |(sum, rows), &place| {
        let merchant = merchants[place];
        (sum + merchant.sum, rows + merchant.rows)
    });
    sum as f64 / rows as f64
}

/// Rows of one merchant that are of one category and got one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Which merchant, counted from 0.
    pub merchant: usize,
    /// Index of the true category.
    pub gold: usize,
    /// Index of the answer.
    pub answer: usize,
    /// How many rows.
    pub rows: u32,
}

/// Intervals of the F1 scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct F1Intervals {
    /// Of the mean over categories.
    pub macro_f1: Interval,
    /// Of the mean weighted by rows.
    pub weighted_f1: Interval,
}

/// Intervals of both F1 scores, merchants drawn anew `resamples` times; `None` of nothing.
#[must_use]
pub fn f1_intervals(cells: &[Cell], resamples: usize, seed: u64) -> Option<F1Intervals> {
    let mut scores = F1Scores::of(cells);
    let mut weighted = Vec::with_capacity(resamples);
    let macros = drawn(scores.merchants.len(), resamples, seed, |places| {
        let [by_class, by_rows] = scores.at(places);
        weighted.push(by_rows);
        by_class
    });
    weighted.sort_by(f64::total_cmp);
    Some(F1Intervals { macro_f1: interval(&macros)?, weighted_f1: interval(&weighted)? })
}

/// F1 of drawn merchants.
struct F1Scores {
    merchants: Vec<Vec<Cell>>,
    /// For each category its rows, its answers, and what is both.
    counts: Vec<[u32; 3]>,
}

impl F1Scores {
    fn of(cells: &[Cell]) -> Self {
        let many = |place: fn(&Cell) -> usize| cells.iter().map(|cell| place(cell) + 1).max().unwrap_or(0);
        let mut merchants = vec![Vec::new(); many(|cell| cell.merchant)];
        for cell in cells {
            merchants[cell.merchant].push(*cell);
        }
        Self { merchants, counts: vec![[0; 3]; many(|cell| cell.gold.max(cell.answer))] }
    }

    /// Mean over categories, and weighted by rows.
    fn at(&mut self, places: &[usize]) -> [f64; 2] {
        self.counts.fill([0; 3]);
        for cell in places.iter().flat_map(|&place| &self.merchants[place]) {
            self.counts[cell.gold][0] += cell.rows;
            self.counts[cell.answer][1] += cell.rows;
            self.counts[cell.gold][2] += if cell.gold == cell.answer { cell.rows } else { 0 };
        }
        let (mut sum, mut heavy, mut rows, mut seen) = (0.0, 0.0, 0.0, 0.0);
        for [support, answered, right] in self.counts.iter().map(|count| count.map(f64::from)) {
            if support + answered > 0.0 {
                let f1 = 2.0 * right / (support + answered);
                sum += f1;
                heavy += support * f1;
                rows += support;
                seen += 1.0;
            }
        }
        [sum / seen, heavy / rows]
    }
}

/// Chance of so low a sum or a lower one, did each merchant's difference fall to either side like a fair coin
/// (one-sided randomization test; with one row a merchant it is McNemar's). It counts what was seen as one of the
/// draws, so that its level is held exactly.
#[must_use]
pub fn fallen(differences: &[i64], draws: u32, seed: u64) -> f64 {
    let moved: Vec<i64> = differences.iter().copied().filter(|difference| *difference != 0).collect();
    let seen: i64 = moved.iter().sum();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let as_low = (0..draws)
        .filter(|_| {
            let flipped = moved.chunks(64).map(|some| {
                let coins: u64 = rng.random();
                some.iter().zip(0_u32..).map(|(by, bit)| if coins >> bit & 1 == 1 { -by } else { *by }).sum::<i64>()
            });
            flipped.sum::<i64>() <= seen
        })
        .count();
    (1 + as_low) as f64 / f64::from(1 + draws)
}

#[cfg(test)]
mod tests;
