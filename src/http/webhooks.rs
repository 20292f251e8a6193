//! Endpoints that are told of changes.

use axum::{Extension, Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    error::{Error, Missing, Problem},
    extract::{JsonText, Named, Place, Thing, Who},
    idempotency::KeptInstead,
    state::AppState,
};
use crate::{
    access, clock, events,
    jobs::webhooks::Deliver,
    signature,
    store::{self, Store},
};

/// An endpoint to tell.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWebhook {
    /// Where to: an http or https address. Redirects are not followed.
    #[schema(example = "https://backend.example/hooks/txcat")]
    url: String,
    /// The place in the feed after which it is told, 0 for all there is; from now on without it. It can't be beyond the newest
    /// event.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 0)]
    after: Option<Place>,
}

/// An endpoint as it stands.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Webhook {
    /// Its number.
    id: i64,
    /// Where it is.
    url: String,
    /// By whom it was made.
    created_by: String,
    /// When.
    created_at: DateTime<Utc>,
    /// The last event that it took.
    delivered: i64,
    /// When; `null` where it took none yet.
    #[schema(required)]
    delivered_at: Option<DateTime<Utc>>,
    /// Tries in a row that failed.
    failures: u32,
    /// Why the last one did; `null` where it did not.
    #[schema(required)]
    last_error: Option<String>,
    /// When it is tried again; `null` where it did not fail, or is paused.
    #[schema(required)]
    next_try_at: Option<DateTime<Utc>>,
    /// Since when it is told nothing, because it failed too often or said 410; `null` where it is told.
    #[schema(required)]
    paused_at: Option<DateTime<Utc>>,
}

impl From<store::Webhook> for Webhook {
    fn from(webhook: store::Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            created_by: webhook.created_by,
            created_at: webhook.created_at,
            delivered: webhook.delivered,
            delivered_at: webhook.delivered_at,
            failures: webhook.failures,
            last_error: webhook.last_error,
            next_try_at: webhook.next_try_at,
            paused_at: webhook.paused_at,
        }
    }
}

impl Thing for Webhook {
    type Id = i64;

    fn unknown() -> Error {
        Missing::Webhook.into()
    }
}

/// An endpoint just made.
#[derive(Serialize, ToSchema)]
pub(super) struct FreshWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    /// What signs what is sent to it, as Standard Webhooks has it: `whsec_` and base64. It is shown now and never again: `null` where
    /// this is given again to a request with the same `Idempotency-Key`. Who has not got it deletes the endpoint and makes another.
    #[schema(required)]
    secret: Option<String>,
}

/// Makes an endpoint that is told of changes, each at least once and in the order of the feed: `POST` with
/// `{"type": "events", "timestamp": …, "data": {"events": […]}}`, the events as `/v1/events` has them, up to 100, signed as
/// Standard Webhooks has it (`webhook-id`, `webhook-timestamp`, `webhook-signature`). Any answer of 2xx takes them; what is
/// not taken is sent again, later and later, and after twelve failures in a row the endpoint is paused.
#[utoipa::path(
    post,
    path = "/v1/webhooks",
    tag = "events",
    request_body = NewWebhook,
    responses(
        (status = 201, description = "Made", body = FreshWebhook),
        (status = 422, description = "Not of this shape, no address, or a place that the feed has not come to", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<(StatusCode, Extension<KeptInstead>, Json<FreshWebhook>), Error> {
    let NewWebhook { url, after } = body.parse()?;
    let mut random = [0; signature::SECRET];
    access::random()?.fill_bytes(&mut random);
    let after = after.map(Place::get);
    let made = events::register(&state.store, &url, after, caller.name(), random, clock::now()).await?;
    let secret = made.secret.expose().to_owned();
    let webhook = Webhook::from(made);
    let without = KeptInstead::json(&FreshWebhook { webhook: webhook.clone(), secret: None })?;
    Ok((StatusCode::CREATED, Extension(without), Json(FreshWebhook { webhook, secret: Some(secret) })))
}

/// All endpoints.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhooks {
    /// Oldest first.
    webhooks: Vec<Webhook>,
}

/// Endpoints that are told of changes, and how far each has come.
#[utoipa::path(
    get,
    path = "/v1/webhooks",
    tag = "events",
    responses((status = 200, body = Webhooks))
)]
pub(super) async fn list(State(state): State<AppState>) -> Result<Json<Webhooks>, Error> {
    let webhooks = state.store.webhooks(None).await?;
    Ok(Json(Webhooks { webhooks: webhooks.into_iter().map(Webhook::from).collect() }))
}

/// Takes an endpoint away.
#[utoipa::path(
    delete,
    path = "/v1/webhooks/{id}",
    tag = "events",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 204, description = "It is told nothing any more"),
        (status = 404, description = "No such endpoint", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<Webhook>,
) -> Result<StatusCode, Error> {
    let there = state.store.delete_webhook(id, caller.name()).await?;
    if there { Ok(StatusCode::NO_CONTENT) } else { Err(Webhook::unknown()) }
}

/// Tries an endpoint again that is paused or waits, from where it stood.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/resume",
    tag = "events",
    params(("id" = i64, Path, description = "Its number")),
    responses(
        (status = 202, description = "It is tried again", body = Webhook),
        (status = 404, description = "No such endpoint", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<Webhook>,
) -> Result<(StatusCode, Json<Webhook>), Error> {
    if !state.store.resume_webhook(id, caller.name()).await? {
        return Err(Webhook::unknown());
    }
    Deliver { webhook: id }.ask_at_once(&state.store).await?;
    Ok((StatusCode::ACCEPTED, Json(find(&state.store, id).await?)))
}

async fn find(store: &Store, id: i64) -> Result<Webhook, Error> {
    store.webhooks(Some(id)).await?.pop().map(Webhook::from).ok_or_else(Webhook::unknown)
}
