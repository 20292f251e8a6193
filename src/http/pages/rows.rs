//! Two runs row by row, and the numbers of charts as files.

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::Response,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        error::Error,
        extract::{Params, Who, page as cut},
        state::AppState,
    },
    accuracy::report_of,
    page,
};
use crate::{
    evaluate::tracker::{self, TrackedRun},
    store::{EvalRunFilter, RowPair, RowsOf},
};

/// Rows on a page.
const AT_ONCE: u32 = 200;
/// Runs whose course a chart shows.
pub(super) const MOST_RUNS: u32 = 200;

/// Which rows of which runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowsQuery {
    run: i64,
    with: i64,
    #[serde(default)]
    which: RowsOf,
    after: Option<String>,
}

#[derive(Serialize)]
struct Rows {
    here: &'static str,
    ours: TrackedRun,
    theirs: TrackedRun,
    which: RowsOf,
    choices: Vec<(RowsOf, &'static str)>,
    rows: Vec<RowPair>,
    next: Option<String>,
}

pub(super) async fn show(
    State(state): State<AppState>,
    Who(caller): Who,
    Params(query): Params<RowsQuery>,
) -> Result<Response, Error> {
    let RowsQuery { run, with, which, after } = query;
    let of = async |id| {
        let stored = state.store.eval_run(id).await?.ok_or(tracker::Error::Unknown { id })?;
        Ok::<TrackedRun, Error>(stored.into())
    };
    let (ours, theirs) = (of(run).await?, of(with).await?);
    let rows = state.store.row_pairs(run, with, which, after.as_deref(), AT_ONCE + 1).await?;
    let (rows, next) = cut(rows, AT_ONCE, |row| row.id.clone());
    page("rows.html", &caller, Rows { here: "accuracy", ours, theirs, which, choices: RowsOf::ALL.into(), rows, next })
}

/// Whose numbers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NumbersQuery {
    what: What,
    run: i64,
    with: Option<i64>,
    #[serde(default)]
    which: RowsOf,
}

/// Which numbers.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// Every stage on the run's file.
    Stages,
    /// Confidence against accuracy, and coverage.
    Bins,
    /// What is taken for what.
    Confusion,
    /// Category by category.
    Classes,
    /// Every run on the same file.
    OverTime,
    /// The rows of two runs, side by side.
    Rows,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Stages => "stages",
            Self::Bins => "confidence",
            Self::Confusion => "confusion",
            Self::Classes => "classes",
            Self::OverTime => "over-time",
            Self::Rows => "rows",
        }
    }
}

/// The numbers of a chart or table as CSV.
pub(super) async fn numbers(
    State(state): State<AppState>,
    Params(query): Params<NumbersQuery>,
) -> Result<([(HeaderName, String); 2], Vec<u8>), Error> {
    let stored = state.store.eval_run(query.run).await?.ok_or(tracker::Error::Unknown { id: query.run })?;
    let mut file = csv::Writer::from_writer(Vec::new());
    match query.what {
        What::Stages | What::OverTime => {
            let mut course = course(&state, &stored.into()).await?;
            if matches!(query.what, What::Stages) {
                let mut seen = Vec::new();
                course.retain(|run| {
                    let new = !seen.contains(&run.stage);
                    seen.push(run.stage.clone());
                    new
                });
            }
            write(
                &mut file,
                ["run", "started_at", "stage", "engine", "rows", "right", "low", "high", "target", "macro_f1"],
            )?;
            for run in course {
                let share = run.accuracy;
                write(
                    &mut file,
                    [
                        run.id.to_string(),
                        run.started_at.to_rfc3339(),
                        run.stage,
                        run.engine,
                        share.map_or_else(String::new, |share| share.n.to_string()),
                        number(share.map(|share| share.share)),
                        number(share.map(|share| share.low)),
                        number(share.map(|share| share.high)),
                        number(run.target),
                        run.macro_f1.to_string(),
                    ],
                )?;
            }
        }
        What::Bins => {
            write(&mut file, ["rows", "confidence", "right", "coverage", "right_among_as_sure"])?;
            for bin in report_of(&state, query.run).await?.bins {
                let cells = [bin.confidence, bin.accuracy, bin.coverage, 1.0 - bin.risk].map(|cell| cell.to_string());
                write(&mut file, std::iter::once(bin.rows.to_string()).chain(cells))?;
            }
        }
        What::Confusion => {
            write(&mut file, ["expected", "predicted", "rows"])?;
            for cell in state.store.confusion(query.run).await? {
                write(&mut file, [cell.expected, cell.predicted, cell.rows.to_string()])?;
            }
        }
        What::Classes => {
            write(
                &mut file,
                ["category", "support", "answered", "right", "precision", "recall", "recall_low", "recall_high", "f1"],
            )?;
            for class in report_of(&state, query.run).await?.classes {
                write(
                    &mut file,
                    [
                        class.category,
                        class.support.to_string(),
                        class.answered.to_string(),
                        class.right.to_string(),
                        number(class.precision),
                        number(class.recall.map(|share| share.share)),
                        number(class.recall.map(|share| share.low)),
                        number(class.recall.map(|share| share.high)),
                        class.f1.to_string(),
                    ],
                )?;
            }
        }
        What::Rows => {
            let with = query.with.unwrap_or(query.run);
            write(&mut file, ["id", "key", "expected", "ours", "ours_confidence", "theirs", "theirs_confidence"])?;
            let mut after: Option<String> = None;
            loop {
                let rows = state.store.row_pairs(query.run, with, query.which, after.as_deref(), 5_000).await?;
                let Some(last) = rows.last().map(|row| row.id.clone()) else { break };
                after = Some(last);
                for row in rows {
                    write(
                        &mut file,
                        [
                            row.id,
                            row.key.unwrap_or_default(),
                            row.expected,
                            row.ours,
                            row.ours_confidence.to_string(),
                            row.theirs,
                            row.theirs_confidence.to_string(),
                        ],
                    )?;
                }
            }
        }
    }
    let written = file.into_inner().map_err(|error| Error::unwritten(error.into_error()))?;
    let attached = format!("attachment; filename=\"run-{}-{}.csv\"", query.run, query.what.name());
    let media = "text/csv; charset=utf-8".to_owned();
    Ok(([(header::CONTENT_TYPE, media), (header::CONTENT_DISPOSITION, attached)], written))
}

/// Every run of a stage on the same file as this one, the newest first.
pub(super) async fn course(state: &AppState, like: &TrackedRun) -> Result<Vec<TrackedRun>, Error> {
    let filter = EvalRunFilter {
        data_set: Some(like.data_set.clone()),
        file: Some(like.file.clone()),
        peer: Some(false),
        ..EvalRunFilter::default()
    };
    let found = state.store.eval_runs(&filter, MOST_RUNS).await?;
    Ok(found.into_iter().map(TrackedRun::from).filter(|run| run.file_sha256 == like.file_sha256).collect())
}

fn write(file: &mut csv::Writer<Vec<u8>>, cells: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), Error> {
    file.write_record(cells).map_err(Error::unwritten)
}

fn number(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| share.to_string())
}
