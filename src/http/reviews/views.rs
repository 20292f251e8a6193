//! Saved views of the queue: a name for what it is narrowed to, private or shared.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    codes,
    error::{Error, Missing, Problem},
    extract::{JsonText, Named, Reason, Thing, Who},
    state::AppState,
};
use crate::{
    clock,
    domain::{Lane, ReviewReason, Slug},
    store::{self, SavedView},
};

/// What a view narrows the queue to; all that are given must hold.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReviewViewFilter)]
pub(in super::super) struct ViewFilter {
    /// Which queue.
    #[serde(default)]
    #[schema(schema_with = codes::lane, required = false)]
    pub(in super::super) lane: Lane,
    /// With this text in the group's key, or in the name that people gave its merchant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in super::super) text: Option<String>,
    /// With a row that waits for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = codes::review_reason_or_null, required = false)]
    pub(in super::super) reason: Option<ReviewReason>,
    /// With a waiting row of this category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(in super::super) category: Option<Slug>,
}

/// A view to keep. One of the caller's with the same name is replaced.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewReviewView)]
pub(in super::super) struct NewView {
    /// At most 1,000 characters.
    #[schema(value_type = String, min_length = 1, max_length = 1000)]
    name: Reason,
    /// Whether everybody at the desk sees it.
    #[serde(default)]
    shared: bool,
    #[serde(default)]
    #[schema(required = false)]
    filter: ViewFilter,
}

/// A saved view.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewView)]
pub(in super::super) struct ViewOut {
    pub(in super::super) id: i64,
    pub(in super::super) name: String,
    pub(in super::super) shared: bool,
    pub(in super::super) filter: ViewFilter,
    pub(in super::super) made_by: String,
    made_at: DateTime<Utc>,
    /// Whether it is the caller's own.
    pub(in super::super) own: bool,
}

/// Saved views.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewViews)]
pub(in super::super) struct Views {
    /// The caller's own, then those that others share.
    views: Vec<ViewOut>,
}

/// Everything that a person may choose from.
pub(in super::super) async fn of(state: &AppState, who: &str) -> Result<Vec<ViewOut>, Error> {
    let views = state.store.saved_views(who).await?.into_iter();
    views
        .map(|SavedView { id, name, shared, filter, made_by, made_at }| {
            let corrupt = |_| store::Error::Corrupt { what: "review_views.filter" };
            let filter = serde_json::from_value(filter).map_err(corrupt)?;
            Ok(ViewOut { id, name, shared, filter, own: made_by == who, made_by, made_at })
        })
        .collect()
}

/// The caller's views, and those that others share.
#[utoipa::path(get, path = "/v1/reviews/views", tag = "reviews", responses((status = 200, body = Views)))]
pub(in super::super) async fn list(State(state): State<AppState>, Who(caller): Who) -> Result<Json<Views>, Error> {
    Ok(Json(Views { views: of(&state, caller.name()).await? }))
}

/// Keeps a view of the queue.
#[utoipa::path(
    post,
    path = "/v1/reviews/views",
    tag = "reviews",
    request_body = NewView,
    responses(
        (status = 201, description = "Kept", body = Views),
        (status = 422, description = "Not of the documented shape", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn save(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<(StatusCode, Json<Views>), Error> {
    let NewView { name: Reason(name), shared, filter } = body.parse()?;
    let filter = serde_json::to_value(filter)?;
    state.store.save_view(name.trim(), shared, &filter, caller.name(), clock::now()).await?;
    Ok((StatusCode::CREATED, Json(Views { views: of(&state, caller.name()).await? })))
}

impl Thing for SavedView {
    type Id = i64;

    fn unknown() -> Error {
        Missing::View.into()
    }
}

/// Forgets one of the caller's own views.
#[utoipa::path(
    delete,
    path = "/v1/reviews/views/{id}",
    tag = "reviews",
    params(("id" = i64, Path, description = "The view's number")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "The caller has no such view", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn forget(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<SavedView>,
) -> Result<StatusCode, Error> {
    if state.store.forget_view(id, caller.name()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(SavedView::unknown())
    }
}
