//! What was measured: stages against targets, one run in depth, live answers, and two runs side by side.

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::Response,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        accuracy::{self, Accuracy},
        error::Error,
        extract::{Params, Who},
        state::AppState,
    },
    page,
    second::AgreementShown,
};
use crate::{
    evaluate::tracker::{self, Compared, RunReport, TrackedRun},
    store::EvalRunFilter,
    web::chart::{self, Bar, Curve},
};

/// Runs that can be chosen from.
const MOST_RUNS: u32 = 200;

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
    agreement: AgreementShown,
    stages: Option<String>,
    runs: Vec<TrackedRun>,
    report: Option<RunReport>,
    reliability: Option<String>,
    coverage: Option<String>,
    over_time: Option<String>,
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
    let chosen = query.run.parse().ok().or_else(|| {
        let best = runs.iter().filter(|run| !run.peer);
        best.max_by_key(|run| (run.accuracy.map_or(0, |share| share.n), run.id)).map(|run| run.id)
    });
    let mut report = None;
    if let Some(id) = chosen {
        report = Some(report_of(&state, id).await?);
    }
    let with: Option<i64> = query.with.parse().ok();
    let (mut compared, mut trouble) = (None, None);
    if let (Some(ours), Some(theirs)) = (chosen, with) {
        match tracker::pairing(&state.store, ours, theirs).await {
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
        agreement: state.desk.agreement().await?.into(),
        stages: stages(&measured, report.as_ref())?,
        reliability: report.as_ref().and_then(reliability).transpose()?,
        coverage: report.as_ref().and_then(coverage).transpose()?,
        over_time: report.as_ref().map(|report| over_time(report, &runs)).transpose()?.flatten(),
        measured,
        runs,
        report,
        compared,
        with,
        trouble,
    };
    page("accuracy.html", &caller, shown)
}

async fn report_of(state: &AppState, id: i64) -> Result<RunReport, Error> {
    let measured = tracker::measured(&state.store, id).await?;
    let mut report = tokio::task::spawn_blocking(move || measured.report()).await.map_err(|_| Error::Panicked)??;
    report.classes.sort_by(|a, b| a.f1.total_cmp(&b.f1).then_with(|| b.support.cmp(&a.support)));
    Ok(report)
}

/// The stages on the file of the run that is looked at, each against its own target.
fn stages(measured: &Accuracy, report: Option<&RunReport>) -> Result<Option<String>, crate::web::Error> {
    let Some(report) = report else { return Ok(None) };
    let bars: Vec<Bar> = measured
        .on(&report.run.file)
        .map(|(stage, share, low, high, target)| Bar {
            name: stage.replace('_', " "),
            share,
            interval: (low, high),
            target: (target > 0.0).then_some(target),
        })
        .collect();
    if bars.is_empty() {
        return Ok(None);
    }
    let says = format!("Accuracy of {} stages on {}, with 95 % intervals and targets", bars.len(), report.run.file);
    chart::bars(&says, &bars).map(Some)
}

fn reliability(report: &RunReport) -> Option<Result<String, crate::web::Error>> {
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

fn coverage(report: &RunReport) -> Option<Result<String, crate::web::Error>> {
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

/// The stage's runs on this file, the oldest at the left.
fn over_time(report: &RunReport, runs: &[TrackedRun]) -> Result<Option<String>, crate::web::Error> {
    let same = |run: &&TrackedRun| run.stage == report.run.stage && run.file_sha256 == report.run.file_sha256;
    let mut shares: Vec<f64> = runs.iter().filter(same).filter_map(|run| Some(run.accuracy?.share)).collect();
    shares.reverse();
    if shares.len() < 2 {
        return Ok(None);
    }
    let last = (shares.len() - 1) as f64;
    let lowest = shares.iter().copied().fold(1.0, f64::min);
    let drawn = Curve {
        says: format!("Accuracy of {} over its {} runs on {}", report.run.stage, shares.len(), report.run.file),
        x: "runs, from the first to the latest",
        y: "right",
        points: shares.iter().enumerate().map(|(place, share)| (place as f64 / last, *share)).collect(),
        from: ((lowest - 0.05) * 10.0).floor().max(0.0) / 10.0,
        diagonal: false,
    };
    chart::curve(&drawn).map(Some)
}

/// Which run's numbers to write down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassesQuery {
    run: i64,
}

pub(super) async fn classes(
    State(state): State<AppState>,
    Params(query): Params<ClassesQuery>,
) -> Result<([(HeaderName, String); 2], String), Error> {
    let report = report_of(&state, query.run).await?;
    let number = |share: Option<f64>| share.map_or_else(String::new, |share| share.to_string());
    let mut file = String::from("category,support,answered,right,precision,recall,recall_low,recall_high,f1\n");
    for class in &report.classes {
        let recall = class.recall;
        let cells = [
            class.category.clone(),
            class.support.to_string(),
            class.answered.to_string(),
            class.right.to_string(),
            number(class.precision),
            number(recall.map(|share| share.share)),
            number(recall.map(|share| share.low)),
            number(recall.map(|share| share.high)),
            class.f1.to_string(),
        ];
        file.push_str(&cells.join(","));
        file.push('\n');
    }
    let attached = format!("attachment; filename=\"run-{}-classes.csv\"", query.run);
    let media = "text/csv; charset=utf-8".to_owned();
    Ok(([(header::CONTENT_TYPE, media), (header::CONTENT_DISPOSITION, attached)], file))
}
