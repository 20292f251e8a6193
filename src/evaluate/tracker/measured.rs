//! From a run's counts in Postgres to its report.

use super::{ClassFigures, Error, F1Intervals, Mistake, RunFigures, RunReport, Slice, names::Names};
use crate::{
    domain::taxonomy::Category,
    evaluate::{
        metrics::{BINS, Bin, Confusion, PROBABILITY_FLOOR, wilson},
        resample::{self, CLUSTERS, Cell, Merchant, RESAMPLES, SEED},
    },
    store::{EvalBin, EvalCell, EvalRun, EvalSlice, EvalTotals, Store},
};

/// Mistakes that a report lists.
const MOST_MISTAKES: usize = 50;

/// A run's counts as Postgres gives them.
#[derive(Debug, Clone)]
pub struct Measured {
    run: EvalRun,
    totals: EvalTotals,
    cells: Vec<EvalCell>,
    bins: Vec<EvalBin>,
    slices: Vec<EvalSlice>,
    categories: Vec<Category>,
}

/// What is drawn of a run's cells: right rows, cluster by cluster.
#[must_use]
pub fn merchants(cells: &[EvalCell]) -> Vec<Merchant> {
    let right = |cell: &EvalCell| if cell.expected == cell.predicted { i64::from(cell.rows) } else { 0 };
    let clusters = cells.chunk_by(|a, b| a.cluster == b.cluster);
    clusters
        .map(|of_one| Merchant {
            sum: of_one.iter().map(right).sum(),
            rows: of_one.iter().map(|cell| i64::from(cell.rows)).sum(),
        })
        .collect()
}

/// Reads a run's counts.
///
/// # Errors
/// When there is no such run, it has no rows, or the database fails.
pub async fn measured(store: &Store, id: i64) -> Result<Measured, Error> {
    let run = store.eval_run(id).await?.ok_or(Error::Unknown { id })?;
    let bins = async { if run.run.peer { Ok(Vec::new()) } else { store.eval_bins(id, BINS as u32).await } };
    // Two at a time: each may use more than one core by itself.
    let ((totals, slices), (bins, cells, taxonomy)) = tokio::try_join!(
        async { Ok::<_, Error>((store.eval_totals(id, PROBABILITY_FLOOR).await?, store.eval_slices(id).await?)) },
        async {
            let (bins, cells) = (bins.await?, store.eval_cells(id, CLUSTERS).await?);
            Ok::<_, Error>((bins, cells, store.taxonomy(&run.run.taxonomy).await?))
        },
    )?;
    if totals.rows == 0 {
        return Err(Error::Empty { id });
    }
    let categories = taxonomy.map_or_else(Vec::new, |taxonomy| taxonomy.categories);
    Ok(Measured { run, totals, cells, bins, slices, categories })
}

impl Measured {
    /// Computes the figures; the intervals of a million rows take about a second.
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
        let clusters = self.cells.chunk_by(|a, b| a.cluster == b.cluster).map(|of_one| {
            of_one.iter().map(|cell| Cell {
                gold: names.place(&cell.expected),
                answer: names.place(&cell.predicted),
                rows: cell.rows,
            })
        });
        let by_merchant = resample::score_intervals(clusters, RESAMPLES, SEED).ok_or(Error::Empty { id })?;
        let totals = &self.totals;
        let [rows, correct] = [totals.rows, totals.correct].map(|count| count as usize);
        let peer = self.run.run.peer;
        let mean = |part: fn(&EvalBin) -> f64| {
            (!peer).then(|| self.bins.iter().map(part).sum::<f64>() / f64::from(totals.rows))
        };
        let figures = RunFigures {
            accuracy: wilson(correct, rows).ok_or(Error::Empty { id })?,
            accuracy_by_merchant: by_merchant.accuracy,
            answered: wilson(correct, totals.answered as usize),
            top3: wilson(totals.among_three as usize, totals.told as usize),
            primary: confusion.primary_accuracy(&names.primaries),
            macro_f1: confusion.macro_f1(),
            weighted_f1: confusion.weighted_f1(),
            f1_by_merchant: F1Intervals { macro_f1: by_merchant.macro_f1, weighted_f1: by_merchant.weighted_f1 },
            log_loss: totals.log_loss,
            answer_brier: totals.answer_brier.filter(|_| !peer),
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
