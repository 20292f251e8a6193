//! What was measured: the same runs as `txcat eval --json` printed last, and apart from them what people said of live answers.

use axum::{Json, extract::State};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{codes, error::Error, state::AppState};
use crate::{
    clock,
    domain::ConfidenceLevel,
    evaluate::{
        metrics::{self, Share},
        promise::{self, LivePromise},
    },
    store::{LiveAccuracy, NewEvalRun},
};

/// The latest run of every stage on every file.
#[derive(Serialize, ToSchema)]
pub(super) struct Accuracy {
    /// Latest first within one file and stage; empty before the first `txcat eval`.
    runs: Vec<Run>,
    /// How accurate live answers are, engine by engine, most answers first; never mixed with `runs`.
    live: Vec<Live>,
    /// Whether live answers keep what their `confidence_level` promises, engine by engine.
    confidence_levels: Vec<Level>,
}

/// One engine's live answers. People are asked about a random sample of the accepted ones (`audit`): that share is an
/// unbiased estimate of how many accepted answers are right. What waits for review was doubtful and is counted apart: it says
/// nothing about the others.
#[derive(Serialize, ToSchema)]
#[schema(as = LiveAccuracy)]
pub(super) struct Live {
    stage: String,
    engine: String,
    /// Accepted answers that were drawn for a person's eye.
    drawn: u32,
    /// Those of them that nobody has spoken about yet: while there are some, the estimate rests on the others.
    waiting: u32,
    /// Share of the judged ones that are right, with its Wilson interval; null before the first.
    #[schema(required)]
    accepted: Option<Share>,
    /// Doubtful answers that a person has spoken about.
    doubtful_judged: u32,
    /// Those of them that were right.
    doubtful_right: u32,
}

impl From<LiveAccuracy> for Live {
    fn from(live: LiveAccuracy) -> Self {
        Self {
            accepted: metrics::wilson(live.audited_right as usize, live.audited as usize),
            waiting: live.drawn - live.audited,
            drawn: live.drawn,
            doubtful_judged: live.doubtful_judged,
            doubtful_right: live.doubtful_right,
            stage: live.stage,
            engine: live.engine,
        }
    }
}

/// One scoring of one file by one stage. Shares are in 0 to 1.
#[derive(Serialize, ToSchema)]
#[schema(as = EvalRun)]
pub(super) struct Run {
    pub(super) stage: String,
    file: String,
    /// Rows scored.
    n: i32,
    /// The accuracy the stage is meant to have; never a measurement.
    pub(super) target: f64,
    /// Share of rows that are right.
    pub(super) accuracy: f64,
    /// Wilson 95 % interval.
    pub(super) low: f64,
    /// Wilson 95 % interval.
    pub(super) high: f64,
    /// Accuracy on rows whose descriptor key the labels had shown.
    #[schema(required)]
    known: Option<f64>,
    /// Accuracy on the other rows.
    #[schema(required)]
    unknown: Option<f64>,
    macro_f1: f64,
    /// Expected calibration error.
    ece: f64,
    /// Share of rows that can be accepted at 92 % accuracy.
    coverage_at_target: f64,
    rows_per_s: f64,
    /// What 1,000 rows cost, as a decimal; null where nobody bills for them.
    #[schema(required, value_type = Option<String>)]
    cost_per_1000: Option<Decimal>,
    /// ISO 4217.
    #[schema(required)]
    currency: Option<String>,
    engine: String,
}

/// How right an engine's live answers of one confidence level were in the last 30 days, as far as people looked at
/// answers drawn at random.
#[derive(Serialize, ToSchema)]
#[schema(as = LiveConfidenceLevel)]
pub(super) struct Level {
    engine: String,
    #[schema(schema_with = codes::confidence_level)]
    confidence_level: ConfidenceLevel,
    /// The share of right answers that the level promises.
    promised: f64,
    /// Answers that people looked at.
    n: usize,
    /// Share of them that were right.
    accuracy: f64,
    /// Wilson 95 % interval.
    low: f64,
    /// Wilson 95 % interval.
    high: f64,
    /// Whether the interval reaches what is promised; where not, all answers of the level go to review.
    kept: bool,
}

impl From<LivePromise> for Level {
    fn from(live: LivePromise) -> Self {
        Self {
            kept: live.is_kept(),
            confidence_level: live.level,
            promised: live.level.promise(),
            n: live.right.n,
            accuracy: live.right.share,
            low: live.right.low,
            high: live.right.high,
            engine: live.engine,
        }
    }
}

impl From<NewEvalRun> for Run {
    fn from(run: NewEvalRun) -> Self {
        let share = |hits: i32, n: i32| metrics::wilson(usize::try_from(hits).ok()?, usize::try_from(n).ok()?);
        let all = share(run.correct, run.rows);
        let known = share(run.known_correct, run.known_rows);
        let unknown = share(run.correct - run.known_correct, run.rows - run.known_rows);
        Self {
            n: run.rows,
            target: run.target.unwrap_or_default(),
            accuracy: all.map_or(0.0, |all| all.share),
            low: all.map_or(0.0, |all| all.low),
            high: all.map_or(1.0, |all| all.high),
            known: known.map(|known| known.share),
            unknown: unknown.map(|unknown| unknown.share),
            macro_f1: run.macro_f1,
            ece: run.ece.unwrap_or_default(),
            coverage_at_target: run.coverage_at_target.unwrap_or_default(),
            rows_per_s: run.rows_per_s.unwrap_or_default(),
            cost_per_1000: run.cost_per_1000,
            currency: run.currency,
            stage: run.stage,
            file: run.file,
            engine: run.engine,
        }
    }
}

/// The latest run of every stage on every file, and how accurate live answers are.
#[utoipa::path(get, path = "/v1/accuracy", tag = "accuracy", responses((status = 200, body = Accuracy)))]
pub(super) async fn show(State(state): State<AppState>) -> Result<Json<Accuracy>, Error> {
    Ok(Json(measured(&state).await?))
}

/// The latest run of every stage on every file, and how accurate live answers are.
pub(super) async fn measured(state: &AppState) -> Result<Accuracy, Error> {
    let runs = state.store.latest_runs().await?;
    let live = state.store.live_accuracy().await?;
    let promises = promise::live(&state.store, clock::now()).await?;
    Ok(Accuracy {
        runs: runs.into_iter().map(|stored| stored.run.into()).collect(),
        live: live.into_iter().map(Live::from).collect(),
        confidence_levels: promises.into_iter().map(Level::from).collect(),
    })
}

impl Accuracy {
    /// The stages on a file.
    pub(super) fn on(&self, file: &str) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.file == file)
    }
}
