//! What was measured: stages against targets, one run in depth, live answers, and two runs side by side.

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        accuracy::{self, Accuracy},
        error::Error,
        extract::{Params, Who},
        state::AppState,
    },
    asked, page,
    rows::{MOST_RUNS, course},
};
use crate::{
    evaluate::tracker::{self, Compared, RunReport, TrackedRun},
    review::Agreement,
    store::{ConfusionCell, EvalRunFilter},
    web::{
        self,
        chart::{self, Bar, Cell, Curve, Line},
    },
};

/// Which run is looked at, and which it is compared with. A form sends fields that nobody filled in as empty text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccuracyQuery {
    #[serde(default)]
    run: String,
    #[serde(default)]
    with: String,
}

#[derive(Serialize)]
struct Shown {
    here: &'static str,
    measured: Accuracy,
    agreement: Agreement,
    stages: Option<String>,
    runs: Vec<TrackedRun>,
    chosen: Option<i64>,
    report: Option<RunReport>,
    reliability: Option<String>,
    coverage: Option<String>,
    over_time: Option<String>,
    course: Vec<TrackedRun>,
    matrix: Option<String>,
    cells: Vec<ConfusionCell>,
    compared: Option<Compared>,
    with: Option<i64>,
    trouble: Option<String>,
}

pub(super) async fn show(
    State(state): State<AppState>,
    Who(caller): Who,
    Params(query): Params<AccuracyQuery>,
) -> Result<Response, Error> {
    let measured = accuracy::measured(&state).await?;
    let found = state.store.eval_runs(&EvalRunFilter::default(), MOST_RUNS).await?;
    let runs: Vec<TrackedRun> = found.into_iter().map(TrackedRun::from).collect();
    let with = number("with", &query.with)?;
    let chosen = match number("run", &query.run)? {
        Some(id) => Some(id),
        None => largest(&state).await?,
    };
    let (mut report, mut trouble) = (None, None);
    if let Some(id) = chosen {
        match report_of(&state, id).await {
            Ok(found) => report = Some(found),
            Err(Error::Tracker(error @ tracker::Error::Empty { .. })) => trouble = Some(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let (course, cells) = match &report {
        Some(report) => (course(&state, &report.run).await?, state.store.confusion(report.run.id).await?),
        None => (Vec::new(), Vec::new()),
    };
    let mut compared = None;
    if let (Some(report), Some(theirs)) = (&report, with) {
        match tracker::pairing(&state.store, report.run.id, theirs).await {
            Ok(pairing) => {
                let both = tokio::task::spawn_blocking(move || pairing.compare()).await;
                compared = Some(both.map_err(|_| Error::Panicked)??);
            }
            Err(error @ (tracker::Error::Apart { .. } | tracker::Error::Unknown { .. })) => {
                trouble = Some(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let shown = Shown {
        here: "accuracy",
        agreement: state.desk.agreement().await?,
        stages: stages(&measured, report.as_ref())?,
        reliability: report.as_ref().and_then(reliability).transpose()?,
        coverage: report.as_ref().and_then(coverage).transpose()?,
        over_time: match &report {
            Some(report) => over_time(&course, &report.run.file)?,
            None => None,
        },
        matrix: match &report {
            Some(report) => confusion(&cells, &report.run.file)?,
            None => None,
        },
        course,
        cells,
        measured,
        runs,
        chosen,
        report,
        compared,
        with,
        trouble,
    };
    page("accuracy.html", &caller, shown)
}

/// The run that a field names, where anybody filled it in.
fn number(field: &'static str, text: &str) -> Result<Option<i64>, Error> {
    asked(field, text).map_err(|_| Error::Query { detail: format!("{field} must be the number of a run") })
}

/// The run of a stage that has most rows, and has them still.
async fn largest(state: &AppState) -> Result<Option<i64>, Error> {
    let filter = EvalRunFilter { peer: Some(false), with_rows: true, ..EvalRunFilter::default() };
    let found = state.store.eval_runs(&filter, MOST_RUNS).await?;
    Ok(found.into_iter().max_by_key(|found| (found.run.rows, found.id)).map(|found| found.id))
}

pub(super) async fn report_of(state: &AppState, id: i64) -> Result<RunReport, Error> {
    let measured = tracker::measured(&state.store, id).await?;
    let mut report = tokio::task::spawn_blocking(move || measured.report()).await.map_err(|_| Error::Panicked)??;
    report.classes.sort_by(|a, b| a.f1.total_cmp(&b.f1).then_with(|| b.support.cmp(&a.support)));
    Ok(report)
}

/// The stages on the file of the run that is looked at, each against its own target.
fn stages(measured: &Accuracy, report: Option<&RunReport>) -> Result<Option<String>, web::Error> {
    let Some(report) = report else { return Ok(None) };
    let bars: Vec<Bar> = measured
        .on(&report.run.file)
        .map(|run| Bar {
            name: run.stage.replace('_', " "),
            share: run.accuracy,
            interval: (run.low, run.high),
            target: (run.target > 0.0).then_some(run.target),
        })
        .collect();
    if bars.is_empty() {
        return Ok(None);
    }
    let says = format!("Accuracy of {} stages on {}, with 95 % intervals and targets", bars.len(), report.run.file);
    chart::bars(&says, &bars).map(Some)
}

fn reliability(report: &RunReport) -> Option<Result<String, web::Error>> {
    let points: Vec<(f64, f64)> = report.bins.iter().map(|bin| (bin.confidence, bin.accuracy)).collect();
    (!points.is_empty()).then(|| {
        chart::curve(&Curve {
            says: "Reliability: share of right answers by confidence; on the diagonal, confidence is the truth"
                .to_owned(),
            x: "confidence",
            y: "right",
            points,
            from: 0.0,
            diagonal: true,
        })
    })
}

fn coverage(report: &RunReport) -> Option<Result<String, web::Error>> {
    let mut points: Vec<(f64, f64)> = report.bins.iter().map(|bin| (bin.coverage, 1.0 - bin.risk)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let lowest = points.iter().map(|point| point.1).fold(1.0, f64::min);
    (!points.is_empty()).then(|| {
        chart::curve(&Curve {
            says: "Coverage against accuracy: share of right answers among the surest".to_owned(),
            x: "share of rows, the surest first",
            y: "right among them",
            points,
            from: (lowest * 10.0).floor() / 10.0,
            diagonal: false,
        })
    })
}

/// Every stage's runs on this file, the oldest at the left.
fn over_time(runs: &[TrackedRun], file: &str) -> Result<Option<String>, web::Error> {
    let mut lines: Vec<Line> = Vec::new();
    for run in runs.iter().rev() {
        let Some(share) = run.accuracy else { continue };
        let point = (run.started_at, share.share, share.low, share.high);
        match lines.iter_mut().find(|line| line.name == run.stage) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: run.stage.clone(), target: run.target, points: vec![point] }),
        }
    }
    if lines.iter().all(|line| line.points.len() < 2) {
        return Ok(None);
    }
    lines.sort_by(|a, b| a.target.unwrap_or_default().total_cmp(&b.target.unwrap_or_default()));
    let says = format!("Accuracy of {} stages on {file} over time, with 95 % intervals and targets", lines.len());
    lines.iter_mut().for_each(|line| line.name = line.name.replace('_', " "));
    chart::timeline(&says, &lines).map(Some)
}

/// What is taken for what.
fn confusion(cells: &[ConfusionCell], file: &str) -> Result<Option<String>, web::Error> {
    if cells.is_empty() {
        return Ok(None);
    }
    let drawn: Vec<Cell<'_>> = cells
        .iter()
        .map(|cell| Cell { expected: &cell.expected, predicted: &cell.predicted, rows: cell.rows })
        .collect();
    chart::matrix(&format!("Confusion matrix on {file}: categories down the side, answers along the top"), &drawn)
        .map(Some)
}
