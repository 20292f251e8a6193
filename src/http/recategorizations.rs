//! Stored transactions categorized anew: previewed, applied, undone. The work is a job for whichever worker is free; the run
//! says how far it came.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    error::{Error, Missing, Problem},
    extract::{After, JsonText, Limit, Named, Params, Reason, Thing, Who, page},
    state::AppState,
};
use crate::{
    clock,
    domain::{Becomes, ChangeState, RecategorizationScope, RecategorizationStep, Slug, TaxonomyMapping, Urgency},
    jobs::recategorization::Step,
    recategorize::{
        self, Guards, Plan, Report,
        apply::{self, Ask},
        preview,
        report::{BecomesDoc, Change, ScopeDoc},
        taxonomy,
    },
    store::{ChangeFilter, NewJob, Recategorization},
};

/// A run to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRecategorization {
    #[schema(value_type = ScopeDoc)]
    scope: RecategorizationScope,
    /// Why, in a sentence.
    #[schema(value_type = String, min_length = 1, max_length = 1000)]
    reason: Reason,
    /// The adapter that answers, by name and version (`consumer@3`) or by name for its newest version. Without one, the
    /// champion or canary of each row's account group does.
    #[serde(default)]
    adapter: Option<String>,
}

/// Begins a preview: what would change if the rows of a scope were categorized now. A worker does it behind the answer, also
/// after a restart; look at the run until its phase is `previewed`. Nothing that apps see changes.
#[utoipa::path(
    post,
    path = "/v1/recategorizations",
    tag = "recategorizations",
    request_body = NewRecategorization,
    responses(
        (status = 202, description = "Begun", body = Report),
        (status = 422, description = "Not of this shape, a scope that says nothing or names what is not known here, or no such adapter", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn begin(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<(StatusCode, Json<Report>), Error> {
    let NewRecategorization { scope, reason: Reason(reason), adapter } = body.parse()?;
    let plan = Plan { scope, adapter, reason, by: caller.name().to_owned() };
    let id = preview::plan(&state.store, &state.pipeline, plan, Some(begun), clock::now()).await?;
    told(&state, id).await
}

/// Goes on with a preview that stopped, and tries rows again that could not be answered.
#[utoipa::path(
    post,
    path = "/v1/recategorizations/{id}/resume",
    tag = "recategorizations",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 202, description = "It goes on", body = Report),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Some of it was applied, or it was given up", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(
    State(state): State<AppState>,
    Named(id): Named<Recategorization>,
) -> Result<(StatusCode, Json<Report>), Error> {
    preview::allow(&state.store, id).await?;
    // A run of the night that is to be applied where its guards allow that stays one.
    let asked = Step::asked(&state.store, id).await?;
    let step = asked.filter(|step| *step == RecategorizationStep::PreviewAndApply);
    accepted(&state, id, step.unwrap_or(RecategorizationStep::Preview)).await
}

/// A change of the taxonomy to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTaxonomyMigration {
    /// The version of the old taxonomy, which answers name. The new one is the one that this service answers in.
    #[schema(example = "consumer@8f14e45f")]
    from: String,
    /// What becomes of its categories: another name, or one of several that the stage chooses from. A category that both
    /// have needs no line where it stays what it is.
    #[schema(value_type = BTreeMap<String, BecomesDoc>)]
    map: BTreeMap<Slug, Becomes>,
    /// Why, in a sentence.
    #[schema(value_type = String, min_length = 1, max_length = 1000)]
    reason: Reason,
}

/// Begins a preview of everything stored in the taxonomy that this service answers in. It goes on behind the answer, and is
/// looked at, applied and undone as any run. From the application on, answers tell the category in both taxonomies, until
/// the run is concluded or undone.
#[utoipa::path(
    post,
    path = "/v1/recategorizations/taxonomy",
    tag = "recategorizations",
    request_body = NewTaxonomyMigration,
    responses(
        (status = 202, description = "Begun", body = Report),
        (status = 422, description = "Not of this shape, or a mapping with mistakes, all of which are named", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn begin_taxonomy(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<(StatusCode, Json<Report>), Error> {
    let NewTaxonomyMigration { from, map, reason: Reason(reason) } = body.parse()?;
    let plan = taxonomy::Plan { mapping: TaxonomyMapping { from, map }, reason, by: caller.name().to_owned() };
    let id = taxonomy::plan(&state.store, &state.pipeline, &state.taxonomy, plan, Some(begun), clock::now()).await?;
    told(&state, id).await
}

/// Ends the time in which answers tell both taxonomies. From then on nothing is taken back.
#[utoipa::path(
    post,
    path = "/v1/recategorizations/{id}/conclude",
    tag = "recategorizations",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, description = "It is concluded", body = Report),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It leads to no other taxonomy, is not applied, or was concluded before",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn conclude(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<Recategorization>,
) -> Result<Json<Report>, Error> {
    taxonomy::conclude(&state.store, id, caller.name(), clock::now()).await?;
    Ok(Json(Report::of(&state.store, id).await?))
}

/// Which runs to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunQuery {
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
    /// `next` of the answer before: older than this run.
    before: Option<i64>,
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
pub(super) struct RecategorizationPage {
    /// Newest first, without what each would change.
    recategorizations: Vec<Report>,
    /// What to pass as `before` for the next page; `null` on the last one.
    #[schema(required)]
    next: Option<i64>,
}

/// Runs, newest first.
#[utoipa::path(
    get,
    path = "/v1/recategorizations",
    tag = "recategorizations",
    params(RunQuery),
    responses((status = 200, body = RecategorizationPage))
)]
pub(super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<RunQuery>,
) -> Result<Json<RecategorizationPage>, Error> {
    let limit = query.limit.get();
    let found = Report::list(&state.store, query.before, limit + 1).await?;
    let (recategorizations, next) = page(found, limit, |run| run.id);
    Ok(Json(RecategorizationPage { recategorizations, next }))
}

/// One run, with what it would change or has changed.
#[utoipa::path(
    get,
    path = "/v1/recategorizations/{id}",
    tag = "recategorizations",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Report),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<AppState>,
    Named(id): Named<Recategorization>,
) -> Result<Json<Report>, Error> {
    Ok(Json(Report::of(&state.store, id).await?))
}

/// What a run's rows are narrowed to; all that are given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangeQuery {
    /// From this category.
    #[param(value_type = Option<String>)]
    from: Option<Slug>,
    /// To this category.
    #[param(value_type = Option<String>)]
    to: Option<Slug>,
    /// In this state: `proposed`, `skipped`, `applied`, `undone` or `kept`.
    #[param(value_type = Option<String>)]
    state: Option<ChangeState>,
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
    /// `next` of the answer before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// A page of a run's rows.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangePage {
    /// Oldest transaction first.
    changes: Vec<Change>,
    /// What to pass as `after` for the next page; `null` on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// The rows that a run would change or has changed.
#[utoipa::path(
    get,
    path = "/v1/recategorizations/{id}/changes",
    tag = "recategorizations",
    params(("id" = i64, Path, description = "Its number"), ChangeQuery),
    responses(
        (status = 200, body = ChangePage),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn changes(
    State(state): State<AppState>,
    Named(id): Named<Recategorization>,
    Params(query): Params<ChangeQuery>,
) -> Result<Json<ChangePage>, Error> {
    let id = recategorize::find(&state.store, id).await?.id;
    let filter = ChangeFilter { from: query.from, to: query.to, state: query.state };
    let after = query.after.map(|after| after.0);
    let rows = state.store.recategorization_changes(id, &filter, after.as_ref(), query.limit.get() + 1).await?;
    let (rows, next) = page(rows, query.limit.get(), |row| After::encode(&row.cursor()));
    Ok(Json(ChangePage { changes: rows.into_iter().map(Change::from).collect(), next }))
}

/// A share, from 0 to 1.
#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Share(f64);

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Self, &'static str> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err("must be from 0 to 1") }
    }
}

/// How a run is to be applied.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Application {
    /// The largest share of the scope that may change, from 0 to 1.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0.0, maximum = 1.0, default = 0.2)]
    max_changed: Option<Share>,
    /// The largest share of its rows that a category of 100 rows or more may lose, from 0 to 1.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0.0, maximum = 1.0, default = 0.5)]
    max_category_loss: Option<Share>,
    /// Why guards that refuse shall not count; recorded with the run.
    #[serde(default, rename = "override")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    overrides: Option<Reason>,
}

/// Brings a previewed run into force. It goes on behind the answer, 5,000 rows at a time; the same call goes on where a
/// server died, and changes nothing where all is done. Rows on which a person has spoken since the preview are skipped.
///
/// Refused where more of the scope would change than `max_changed`, where a category of 100 rows or more would lose more of
/// them than `max_category_loss`, or where people's labels say that answers get worse, unless `override` says why that
/// shall not count. Of a change of the taxonomy, rows that are renamed count for neither; there, a target of a split that no
/// row would get is refused.
#[utoipa::path(
    post,
    path = "/v1/recategorizations/{id}/apply",
    tag = "recategorizations",
    params(("id" = i64, Path, description = "Its number")),
    request_body = Application,
    responses(
        (status = 202, description = "It is being applied, or was", body = Report),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It can't be applied from where it stands, or the guards refuse", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not of this shape", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn apply(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<Recategorization>,
    body: JsonText,
) -> Result<(StatusCode, Json<Report>), Error> {
    let Application { max_changed, max_category_loss, overrides } = body.parse()?;
    let usual = Guards::default();
    let guards = Guards {
        max_changed: max_changed.map_or(usual.max_changed, |share| share.0),
        max_category_loss: max_category_loss.map_or(usual.max_category_loss, |share| share.0),
    };
    let overrides = overrides.map(|reason| reason.0);
    let (now, ask) = (clock::now(), Ask { guards, overrides, by: caller.name().to_owned() });
    apply::allow(&state.store, id, &ask, now).await?;
    accepted(&state, id, RecategorizationStep::Apply).await
}

/// Puts back what a run changed, as it was; rows on which a person has spoken since are kept. It goes on behind the
/// answer; the same call goes on where a server died.
#[utoipa::path(
    post,
    path = "/v1/recategorizations/{id}/undo",
    tag = "recategorizations",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 202, description = "It is being undone, or was", body = Report),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Nothing of it is in force, or it answers in a taxonomy that was left since", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn undo(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<Recategorization>,
) -> Result<(StatusCode, Json<Report>), Error> {
    apply::allow_undo(&state.store, id, caller.name(), clock::now()).await?;
    accepted(&state, id, RecategorizationStep::Undo).await
}

/// Gives up a run of which nothing was applied; a preview that is under way stops at its next page.
#[utoipa::path(
    post,
    path = "/v1/recategorizations/{id}/cancel",
    tag = "recategorizations",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 200, description = "It is cancelled", body = Report),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Some of it was applied", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<Recategorization>,
) -> Result<Json<Report>, Error> {
    apply::cancel(&state.store, id, caller.name(), clock::now()).await?;
    Ok(Json(Report::of(&state.store, id).await?))
}

impl Thing for Recategorization {
    type Id = i64;

    fn unknown() -> Error {
        Missing::Recategorization.into()
    }
}

/// What a run begins with.
fn begun(run: i64) -> NewJob {
    Step { run, step: RecategorizationStep::Preview, urgency: Urgency::Interactive }.job()
}

/// Has workers take the run this step further.
async fn accepted(state: &AppState, id: i64, step: RecategorizationStep) -> Result<(StatusCode, Json<Report>), Error> {
    Step { run: id, step, urgency: Urgency::Interactive }.ask(&state.store).await?;
    told(state, id).await
}

async fn told(state: &AppState, id: i64) -> Result<(StatusCode, Json<Report>), Error> {
    Ok((StatusCode::ACCEPTED, Json(Report::of(&state.store, id).await?)))
}
