//! What was measured, run by run: figures, slices, and two runs on the same rows.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    error::{Error, Missing, Problem},
    extract::{Limit, Named, Params, Thing, page},
    state::AppState,
};
use crate::{
    evaluate::tracker::{self, Compared, RunReport, TrackedRun},
    store::EvalRunFilter,
};

/// What the list is narrowed to; all that are given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunQuery {
    /// On this data set.
    data_set: Option<String>,
    /// On this file of it.
    file: Option<String>,
    /// By this stage or peer.
    stage: Option<String>,
    /// By this engine.
    engine: Option<String>,
    /// By other programs, or by stages.
    peer: Option<bool>,
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
    /// `next` of the answer before.
    after: Option<i64>,
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
pub(super) struct RunPage {
    /// Newest first.
    runs: Vec<TrackedRun>,
    /// What to pass as `after` for the next page; `null` on the last one.
    #[schema(required)]
    next: Option<i64>,
}

/// Every scoring of a file, by a stage or by another program.
#[utoipa::path(
    get,
    path = "/v1/eval-runs",
    tag = "accuracy",
    params(RunQuery),
    responses((status = 200, body = RunPage))
)]
pub(super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<RunQuery>,
) -> Result<Json<RunPage>, Error> {
    let limit = query.limit.get();
    let filter = EvalRunFilter {
        id: None,
        data_set: query.data_set,
        file: query.file,
        stage: query.stage,
        engine: query.engine,
        peer: query.peer,
        before: query.after,
        with_rows: false,
    };
    let found = state.store.eval_runs(&filter, limit + 1).await?;
    let (found, next) = page(found, limit, |run| run.id);
    Ok(Json(RunPage { runs: found.into_iter().map(TrackedRun::from).collect(), next }))
}

impl Thing for TrackedRun {
    type Id = i64;

    fn unknown() -> Error {
        Missing::Run.into()
    }
}

/// One run with all its figures: intervals, slices, calibration, categories, mistakes.
#[utoipa::path(
    get,
    path = "/v1/eval-runs/{id}",
    tag = "accuracy",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = RunReport),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A run without rows", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<AppState>,
    Named(id): Named<TrackedRun>,
) -> Result<Json<RunReport>, Error> {
    let measured = tracker::measured(&state.store, id).await?;
    let report = tokio::task::spawn_blocking(move || measured.report()).await.map_err(|_| Error::Panicked)??;
    Ok(Json(report))
}

/// Which runs are compared.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CompareQuery {
    /// Whose accuracy: a run's number.
    ours: i64,
    /// Minus whose.
    theirs: i64,
}

/// Two runs on the same rows: the difference with its interval by merchant, McNemar's exact test over rows and category by
/// category (Holm), and the rows that only one has right.
#[utoipa::path(
    get,
    path = "/v1/eval-runs/compare",
    tag = "accuracy",
    params(CompareQuery),
    responses(
        (status = 200, body = Compared),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Runs of different files", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn compare(
    State(state): State<AppState>,
    Params(query): Params<CompareQuery>,
) -> Result<Json<Compared>, Error> {
    let pairing = tracker::pairing(&state.store, query.ours, query.theirs).await?;
    let compared = tokio::task::spawn_blocking(move || pairing.compare()).await.map_err(|_| Error::Panicked)??;
    Ok(Json(compared))
}
