//! Two stored runs on the same rows: how big is the difference, could it be chance, and where is it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Error, TrackedRun};
use crate::{
    evaluate::{
        paired::{holm, mcnemar},
        resample::{self, CLUSTERS, Interval, Merchant, RESAMPLES, SEED},
    },
    store::{EvalPair, EvalRun, PairedCell, Store},
};

/// Differing rows that a comparison lists.
const MOST_ROWS: u32 = 200;

/// Accuracy of one run minus accuracy of another, on the rows that both have.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Contrast {
    /// Rows.
    pub rows: usize,
    /// Rows that both have right.
    pub both: usize,
    /// Rows that we alone have right.
    pub only_ours: usize,
    /// Rows that they alone have right.
    pub only_theirs: usize,
    /// Ours minus theirs, in -1 to 1.
    pub difference: f64,
    /// Its 95 % interval, whole merchants drawn anew.
    pub by_merchant: Interval,
    /// Exact two-sided McNemar p-value of "both are equally often right", over rows.
    pub p: f64,
}

/// The same of one category.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ComparedClass {
    /// Which.
    pub category: String,
    /// Rows of it.
    pub rows: usize,
    /// Rows that we alone have right.
    pub only_ours: usize,
    /// Rows that they alone have right.
    pub only_theirs: usize,
    /// Ours minus theirs, in -1 to 1.
    pub difference: f64,
    /// Exact two-sided McNemar p-value.
    pub p: f64,
    /// The same with Holm's correction over all categories.
    pub p_holm: f64,
}

/// A row that only one has right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DifferingRow {
    /// Which.
    pub id: String,
    /// Its merchant.
    #[schema(required)]
    pub key: Option<String>,
    /// Its category.
    pub expected: String,
    /// What we said.
    pub ours: String,
    /// What they said.
    pub theirs: String,
}

/// Two runs on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Compared {
    /// Whose accuracy.
    pub ours: TrackedRun,
    /// Minus whose.
    pub theirs: TrackedRun,
    /// Over all rows.
    pub all: Contrast,
    /// Category by category, the smallest p-value first.
    pub classes: Vec<ComparedClass>,
    /// Rows that only one has right, by id, at most 200.
    pub differing: Vec<DifferingRow>,
}

/// Two runs' counts as Postgres gives them.
#[derive(Debug, Clone)]
pub struct Pairing {
    ours: EvalRun,
    theirs: EvalRun,
    cells: Vec<PairedCell>,
    differing: Vec<EvalPair>,
}

/// Reads two runs' counts.
///
/// # Errors
/// When there is no such run, they are of different files, or the database fails.
pub async fn pairing(store: &Store, ours: i64, theirs: i64) -> Result<Pairing, Error> {
    let [first, second] = [store.eval_run(ours).await?, store.eval_run(theirs).await?];
    let (first, second) = (first.ok_or(Error::Unknown { id: ours })?, second.ok_or(Error::Unknown { id: theirs })?);
    if first.run.file_sha256 != second.run.file_sha256 {
        return Err(Error::Apart { ours, theirs });
    }
    let (cells, differing) =
        tokio::try_join!(store.paired_cells(ours, theirs, CLUSTERS), store.differing(ours, theirs, MOST_ROWS))?;
    if cells.is_empty() {
        return Err(Error::Apart { ours, theirs });
    }
    Ok(Pairing { ours: first, theirs: second, cells, differing })
}

impl Pairing {
    /// What is drawn: what we gained, cluster by cluster.
    #[must_use]
    pub fn merchants(&self) -> Vec<Merchant> {
        let gain = |cell: &PairedCell| i64::from(cell.only_ours) - i64::from(cell.only_theirs);
        let clusters = self.cells.chunk_by(|a, b| a.cluster == b.cluster);
        clusters
            .map(|of_one| Merchant {
                sum: of_one.iter().map(gain).sum(),
                rows: of_one.iter().map(|cell| i64::from(cell.rows)).sum(),
            })
            .collect()
    }

    /// Computes the comparison.
    ///
    /// # Errors
    /// When the runs share no rows.
    pub fn compare(self) -> Result<Compared, Error> {
        let (ours, theirs) = (self.ours.id, self.theirs.id);
        let sum = |part: fn(&PairedCell) -> u32| self.cells.iter().map(|cell| part(cell) as usize).sum::<usize>();
        let (rows, only_ours, only_theirs) = (sum(|of| of.rows), sum(|of| of.only_ours), sum(|of| of.only_theirs));
        let drawn = resample::drawn_mean(&self.merchants(), RESAMPLES, SEED).ok_or(Error::Apart { ours, theirs })?;
        let all = Contrast {
            rows,
            both: sum(|of| of.both),
            only_ours,
            only_theirs,
            difference: (only_ours as f64 - only_theirs as f64) / rows as f64,
            by_merchant: drawn.interval(),
            p: mcnemar(only_ours, only_theirs),
        };
        // Of each category: rows, those that we alone have right, those that they alone have.
        let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        for cell in &self.cells {
            let count = counts.entry(&cell.category).or_default();
            for (sum, of_one) in count.iter_mut().zip([cell.rows, cell.only_ours, cell.only_theirs]) {
                *sum += of_one as usize;
            }
        }
        let ps: Vec<f64> =
            counts.values().map(|&[_, only_ours, only_theirs]| mcnemar(only_ours, only_theirs)).collect();
        let class = |((of, p), p_holm): ((_, f64), f64)| {
            let (category, [rows, only_ours, only_theirs]): (&str, [usize; 3]) = of;
            let difference = (only_ours as f64 - only_theirs as f64) / rows as f64;
            ComparedClass { category: category.to_owned(), rows, only_ours, only_theirs, difference, p, p_holm }
        };
        let corrected = holm(&ps);
        let mut classes: Vec<ComparedClass> = counts.into_iter().zip(ps).zip(corrected).map(class).collect();
        classes.sort_by(|a, b| a.p.total_cmp(&b.p));
        let row = |EvalPair { item_id, descriptor_key, expected, ours, theirs }: EvalPair| DifferingRow {
            id: item_id,
            key: descriptor_key,
            expected,
            ours,
            theirs,
        };
        let differing = self.differing.into_iter().map(row).collect();
        Ok(Compared { ours: self.ours.into(), theirs: self.theirs.into(), all, classes, differing })
    }
}
