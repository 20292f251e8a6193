//! The feed of changes, to be read again from any place.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    error::{Error, Problem},
    extract::{Limit, Params, Place},
    state::AppState,
};
use crate::{domain::Slug, events, store};

/// From where to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// `next` of the answer before; from the beginning without it.
    #[serde(default)]
    #[param(value_type = Option<i64>, minimum = 0, default = 0)]
    after: Place,
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
}

/// A change of a transaction's category in force.
#[derive(Serialize, ToSchema)]
pub(super) struct Event {
    /// Its place in the feed. Places follow each other without a gap, and who has read up to one has missed nothing before it.
    id: i64,
    /// What happened: `transaction.category_changed`.
    #[serde(rename = "type")]
    kind: String,
    /// To which transaction.
    transaction_id: String,
    /// In force before; `null` where nothing was.
    #[schema(value_type = Option<String>, required)]
    before: Option<Slug>,
    /// In force after; `null` where nothing is.
    #[schema(value_type = Option<String>, required)]
    after: Option<Slug>,
    /// Why: `answer` (a stage was asked again), `correction`, `import`, `rule` (a person's, for other rows too),
    /// `decision_undone`, `recategorization` or `recategorization_undone`.
    cause: String,
    /// Of which recategorization; `null` where it was none.
    #[schema(required)]
    recategorization_id: Option<i64>,
    /// When.
    at: DateTime<Utc>,
}

impl From<store::Event> for Event {
    fn from(event: store::Event) -> Self {
        let store::Event { id, kind, transaction_id, before, after, cause, recategorization_id, at } = event;
        Self { id, kind, transaction_id, before, after, cause, recategorization_id, at }
    }
}

/// A part of the feed.
#[derive(Serialize, ToSchema)]
pub(super) struct EventPage {
    /// In the order of the feed. Changes of one transaction come in the order in which they happened.
    events: Vec<Event>,
    /// What to pass as `after` the next time, also where nothing is new.
    next: i64,
}

/// What changed of transactions since a place in the feed. The first answer to a transaction is no change. Read on from
/// `next`, at once where the part is full. Events that are older than a deployment keeps them (90 days, unless it says otherwise) and that
/// every endpoint has taken may be gone: who was away for longer sees it by the gap between `after` and the first `id`.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    params(EventQuery),
    responses(
        (status = 200, body = EventPage),
        (status = 422, description = "A place that the feed has not come to", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventPage>, Error> {
    let after = query.after.get();
    let events = events::after(&state.store, after, query.limit.get()).await?;
    let next = events.last().map_or(after, |last| last.id);
    Ok(Json(EventPage { events: events.into_iter().map(Event::from).collect(), next }))
}
