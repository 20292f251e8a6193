//! One stored run: who was measured on what, and all its figures.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Error, SEED};
use crate::{
    domain::taxonomy::Category,
    evaluate::{
        metrics::{BINS, Bin, Confusion, PROBABILITY_FLOOR, Share, wilson},
        resample::{self, Cell, F1Intervals, Interval, Merchant},
    },
    store::{EvalBin, EvalCell, EvalRun, EvalSlice, EvalTotals, MerchantCell, MerchantTally, Store},
};

/// Mistakes that a report lists.
const MOST_MISTAKES: usize = 50;

/// Who was measured on what, and how often it was right. Shares are in 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrackedRun {
    /// Its number; later ones are greater.
    pub id: i64,
    /// When the command that made it began.
    pub started_at: DateTime<Utc>,
    /// The data set's name.
    pub data_set: String,
    /// The file's name within it.
    pub file: String,
    /// SHA-256 of the file, hexadecimal: which version of the data.
    pub file_sha256: String,
    /// Which stage, or which peer.
    pub stage: String,
    /// Which engine, with its content hash; empty for a peer.
    pub engine: String,
    /// Whether another program gave the answers.
    pub peer: bool,
    /// Which taxonomy version.
    pub taxonomy: String,
    /// How many labels could be seen, where that was limited.
    #[schema(required)]
    pub label_budget: Option<i32>,
    /// SHA-256 of the sorted ids of those labels.
    #[schema(required)]
    pub labels_sha256: Option<String>,
    /// What drew labels.
    #[schema(required)]
    pub seed: Option<i64>,
    /// The program that measured.
    #[schema(required)]
    pub code_version: Option<String>,
    /// The accuracy the stage is meant to have; never a measurement.
    #[schema(required)]
    pub target: Option<f64>,
    /// Share of rows that are right, with its Wilson interval over rows.
    #[schema(required)]
    pub accuracy: Option<Share>,
    /// Mean F1 over categories.
    pub macro_f1: f64,
    /// Share of rows that can be accepted at 92 % accuracy, by thresholds fitted on dev.
    #[schema(required)]
    pub coverage_at_target: Option<f64>,
    /// Rows in a second.
    #[schema(required)]
    pub rows_per_s: Option<f64>,
    /// What 1,000 rows cost, as a decimal; null where nobody bills for them.
    #[schema(required, value_type = Option<String>)]
    pub cost_per_1000: Option<Decimal>,
    /// ISO 4217.
    #[schema(required)]
    pub currency: Option<String>,
}

impl From<EvalRun> for TrackedRun {
    fn from(EvalRun { id, run }: EvalRun) -> Self {
        let count = |rows: i32| usize::try_from(rows).unwrap_or_default();
        Self {
            id,
            started_at: run.started_at,
            data_set: run.data_set,
            file: run.file,
            file_sha256: hex::encode(run.file_sha256),
            stage: run.stage,
            engine: run.engine,
            peer: run.peer,
            taxonomy: run.taxonomy,
            label_budget: run.label_budget,
            labels_sha256: run.labels_sha256.map(hex::encode),
            seed: run.seed,
            code_version: run.code_version,
            target: run.target,
            accuracy: wilson(count(run.correct), count(run.rows)),
            macro_f1: run.macro_f1,
            coverage_at_target: run.coverage_at_target,
            rows_per_s: run.rows_per_s,
            cost_per_1000: run.cost_per_1000,
            currency: run.currency,
        }
    }
}

/// Figures over all rows. Shares are in 0 to 1, their intervals 95 % over rows; `by_merchant` draws whole merchants anew,
/// and is the one to trust where merchants repeat.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunFigures {
    /// Share of rows that are right.
    pub accuracy: Share,
    /// Its interval by merchant.
    pub accuracy_by_merchant: Interval,
    /// Share of right answers among the rows that were answered.
    #[schema(required)]
    pub answered: Option<Share>,
    /// Share of rows whose truth is among the first three choices; null where only one was told.
    #[schema(required)]
    pub top3: Option<Share>,
    /// Share of rows whose primary category is right.
    #[schema(required)]
    pub primary: Option<Share>,
    /// Mean F1 over categories.
    pub macro_f1: f64,
    /// The same, weighted by rows.
    pub weighted_f1: f64,
    /// Intervals of both, by merchant.
    pub f1_by_merchant: F1Intervals,
    /// Mean of `-ln p` of the probability that the truth was given, p at least 0.0001; null where only one choice was told.
    #[schema(required)]
    pub log_loss: Option<f64>,
    /// Mean squared distance between confidence and whether the row is right; null for a peer.
    #[schema(required)]
    pub brier: Option<f64>,
    /// Expected calibration error over bins of equal size; null for a peer.
    #[schema(required)]
    pub ece: Option<f64>,
    /// Area under the risk-coverage curve; null for a peer.
    #[schema(required)]
    pub aurc: Option<f64>,
    /// Milliseconds within which half of the rows were answered, each bearing an equal share of its batch.
    #[schema(required)]
    pub latency_p50_ms: Option<f64>,
    /// Milliseconds within which 95 % were.
    #[schema(required)]
    pub latency_p95_ms: Option<f64>,
    /// Tokens of all rows; null where no chat model decided.
    #[schema(required)]
    pub tokens: Option<i64>,
    /// Cost of all rows, as a decimal.
    #[schema(required, value_type = Option<String>)]
    pub cost: Option<Decimal>,
}

/// One category.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClassFigures {
    /// Which.
    pub category: String,
    /// Rows of it.
    pub support: usize,
    /// Rows that were said to be of it.
    pub answered: usize,
    /// Rows that are and were said to be.
    pub right: usize,
    /// Share of the answers that are right.
    #[schema(required)]
    pub precision: Option<f64>,
    /// Share of its rows that were found, with its interval over rows.
    #[schema(required)]
    pub recall: Option<Share>,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// Rows of one category that got another answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mistake {
    /// Their category.
    pub expected: String,
    /// The answer.
    pub predicted: String,
    /// How many.
    pub rows: usize,
}

/// Rows that have something in common.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Slice {
    /// By what: `key`, `merchant`, `direction`, `amount`, `country`, `month`, `account_age` or `primary`.
    pub slice: String,
    /// What these have in common.
    pub value: String,
    /// Share of them that is right.
    pub accuracy: Share,
}

/// One run with all its figures.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunReport {
    /// Who was measured on what.
    pub run: TrackedRun,
    /// Over all rows.
    pub figures: RunFigures,
    /// By what rows have in common.
    pub slices: Vec<Slice>,
    /// Rows ranked by confidence, the least sure first: calibration, and the risk-coverage curve. Empty for a peer.
    pub bins: Vec<Bin>,
    /// Category by category.
    pub classes: Vec<ClassFigures>,
    /// What is taken for what, the most frequent first, at most 50.
    pub mistakes: Vec<Mistake>,
}

/// A run's counts as Postgres gives them.
#[derive(Debug, Clone)]
pub struct Measured {
    run: EvalRun,
    totals: EvalTotals,
    cells: Vec<EvalCell>,
    bins: Vec<EvalBin>,
    slices: Vec<EvalSlice>,
    merchants: Vec<MerchantTally>,
    merchant_cells: Vec<MerchantCell>,
    categories: Vec<Category>,
}

/// Reads a run's counts.
///
/// # Errors
/// When there is no such run, it has no rows, or the database fails.
pub async fn measured(store: &Store, id: i64) -> Result<Measured, Error> {
    let run = store.eval_run(id).await?.ok_or(Error::Unknown { id })?;
    let bins = async { if run.run.peer { Ok(Vec::new()) } else { store.eval_bins(id, BINS as u32).await } };
    // Two at a time: each may use more than one core by itself.
    let ((totals, cells, slices), (bins, merchants, merchant_cells, taxonomy)) = tokio::try_join!(
        async {
            let (totals, cells) = (store.eval_totals(id, PROBABILITY_FLOOR).await?, store.eval_cells(id).await?);
            Ok::<_, Error>((totals, cells, store.eval_slices(id).await?))
        },
        async {
            let (bins, merchants) = (bins.await?, store.eval_merchants(id).await?);
            let cells = store.eval_merchant_cells(id).await?;
            Ok::<_, Error>((bins, merchants, cells, store.taxonomy(&run.run.taxonomy).await?))
        },
    )?;
    if totals.rows == 0 {
        return Err(Error::Empty { id });
    }
    let categories = taxonomy.map_or_else(Vec::new, |taxonomy| taxonomy.categories);
    Ok(Measured { run, totals, cells, bins, slices, merchants, merchant_cells, categories })
}

impl Measured {
    /// Right rows merchant by merchant.
    #[must_use]
    pub fn merchants(&self) -> Vec<Merchant> {
        self.merchants.iter().map(|of| Merchant { sum: of.correct, rows: of.rows }).collect()
    }

    /// Computes the figures; intervals take seconds where there are many merchants.
    ///
    /// # Errors
    /// When the run has no rows.
    pub fn report(self) -> Result<RunReport, Error> {
        let id = self.run.id;
        let names = Names::of(&self.cells, &self.categories);
        let confusion: Confusion = self
            .cells
            .iter()
            .map(|cell| (names.place(&cell.expected), names.place(&cell.predicted), cell.rows as usize))
            .collect();
        let merchants = self.merchants();
        let draws = resample::resamples(merchants.len());
        let by_merchant = resample::interval(&resample::drawn_means(&merchants, draws, SEED));
        let f1 = resample::f1_intervals(&names.drawn_from(&self.merchant_cells), draws, SEED);
        let (by_merchant, f1) = by_merchant.zip(f1).ok_or(Error::Empty { id })?;
        let totals = &self.totals;
        let [rows, correct] = [totals.rows, totals.correct].map(|count| count as usize);
        let peer = self.run.run.peer;
        let mean = |part: fn(&EvalBin) -> f64| {
            (!peer).then(|| self.bins.iter().map(part).sum::<f64>() / f64::from(totals.rows))
        };
        let figures = RunFigures {
            accuracy: wilson(correct, rows).ok_or(Error::Empty { id })?,
            accuracy_by_merchant: by_merchant,
            answered: wilson(correct, totals.answered as usize),
            top3: wilson(totals.among_three as usize, totals.told as usize),
            primary: confusion.primary_accuracy(&names.primaries),
            macro_f1: confusion.macro_f1(),
            weighted_f1: confusion.weighted_f1(),
            f1_by_merchant: f1,
            log_loss: totals.log_loss,
            brier: totals.brier.filter(|_| !peer),
            ece: mean(|bin| f64::from(bin.rows) * (bin.accuracy - bin.confidence).abs()),
            aurc: mean(|bin| bin.risks),
            latency_p50_ms: totals.latency_p50_ms,
            latency_p95_ms: totals.latency_p95_ms,
            tokens: totals.tokens,
            cost: totals.cost,
        };
        let classes = confusion.classes().into_iter().map(|count| ClassFigures {
            category: names.name(count.class),
            support: count.support,
            answered: count.answered,
            right: count.right,
            precision: count.precision(),
            recall: wilson(count.right, count.support),
            f1: count.f1(),
        });
        let mistakes = confusion.mistakes().into_iter().take(MOST_MISTAKES).map(|(gold, answer, rows)| Mistake {
            expected: names.name(gold),
            predicted: names.name(answer),
            rows,
        });
        let slices = self
            .slices
            .iter()
            .map(|of| (of.slice.as_str(), of.value.clone(), of.correct as usize, of.rows as usize))
            .chain(names.by_primary(&self.cells))
            .filter_map(|(slice, value, correct, rows)| {
                Some(Slice { slice: slice.to_owned(), value, accuracy: wilson(correct, rows)? })
            });
        let bins = self.bins.iter().map(|bin| Bin {
            rows: bin.rows as usize,
            confidence: bin.confidence,
            accuracy: bin.accuracy,
            coverage: bin.coverage,
            risk: bin.risk,
        });
        Ok(RunReport {
            slices: slices.collect(),
            bins: bins.collect(),
            classes: classes.collect(),
            mistakes: mistakes.collect(),
            figures,
            run: self.run.into(),
        })
    }
}

/// The categories that occur, numbered, each with its primary.
struct Names<'a> {
    places: BTreeMap<&'a str, usize>,
    names: Vec<&'a str>,
    primaries: Vec<usize>,
    primary_names: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn of(cells: &'a [EvalCell], categories: &'a [Category]) -> Self {
        let mut places: BTreeMap<&str, usize> =
            cells.iter().flat_map(|cell| [cell.expected.as_str(), &cell.predicted]).map(|name| (name, 0)).collect();
        places.values_mut().zip(0..).for_each(|(place, number)| *place = number);
        let names: Vec<&str> = places.keys().copied().collect();
        let parents: HashMap<&str, &str> = categories
            .iter()
            .filter_map(|category| Some((category.slug.as_str(), category.parent.as_ref()?.as_str())))
            .collect();
        let mut primary_names: Vec<&str> =
            names.iter().map(|name| parents.get(name).copied().unwrap_or(*name)).collect();
        let of_each = primary_names.clone();
        primary_names.sort_unstable();
        primary_names.dedup();
        let primaries = of_each.iter().filter_map(|name| primary_names.binary_search(name).ok()).collect();
        Self { places, names, primaries, primary_names }
    }

    fn place(&self, name: &str) -> usize {
        self.places.get(name).copied().unwrap_or(self.names.len())
    }

    fn name(&self, place: usize) -> String {
        self.names.get(place).copied().unwrap_or_default().to_owned()
    }

    /// Cells with merchants numbered; they come merchant by merchant.
    fn drawn_from(&self, cells: &[MerchantCell]) -> Vec<Cell> {
        cells
            .chunk_by(|a, b| a.merchant == b.merchant)
            .zip(0..)
            .flat_map(|(of_one, merchant)| {
                of_one.iter().map(move |cell| Cell {
                    merchant,
                    gold: self.place(&cell.expected),
                    answer: self.place(&cell.predicted),
                    rows: u32::try_from(cell.rows).unwrap_or(u32::MAX),
                })
            })
            .collect()
    }

    /// Right rows and rows by primary category; nothing where no category has a primary.
    fn by_primary(&self, cells: &[EvalCell]) -> Vec<(&'static str, String, usize, usize)> {
        let mut counts = vec![(0, 0); self.primary_names.len()];
        if self.primary_names.len() == self.names.len() {
            return Vec::new();
        }
        for cell in cells {
            let (correct, rows) = &mut counts[self.primaries[self.place(&cell.expected)]];
            *rows += cell.rows as usize;
            *correct += if cell.expected == cell.predicted { cell.rows as usize } else { 0 };
        }
        let named = self.primary_names.iter().zip(counts);
        named.map(|(name, (correct, rows))| ("primary", (*name).to_owned(), correct, rows)).collect()
    }
}
