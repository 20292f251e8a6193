//! Work at the desk: see what waits, claim it, give it back.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    answer::TransactionOut,
    codes,
    error::{Error, Problem},
    extract::{JsonText, Limit, Named, Params, Reason, Who},
    state::AppState,
};
use crate::{
    clock,
    domain::{Lane, ReviewReason, Slug},
    review::Work,
    store::{GroupFilter, TransactionView},
};

/// What work is narrowed to; all that are given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct WorkQuery {
    /// Which queue: `doubtful`, `audit` or `escalated`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    lane: Lane,
    /// With this text in the group's key, or in the name that people gave its merchant.
    text: Option<String>,
    /// With a row that waits for this reason.
    #[param(value_type = Option<String>)]
    reason: Option<ReviewReason>,
    /// With a waiting row of this category.
    #[param(value_type = Option<String>)]
    category: Option<Slug>,
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
}

impl WorkQuery {
    fn filter(self) -> GroupFilter {
        let text = self.text.filter(|text| !text.is_empty());
        GroupFilter { lane: self.lane, text, reason: self.reason, category: self.category, key: None }
    }
}

/// What to claim: one group, or the first of a queue.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewClaim)]
pub(in super::super) struct NewClaim {
    /// This group, whatever its place.
    group: Option<String>,
    /// The queue to take the first of.
    #[serde(default)]
    #[schema(schema_with = codes::lane, required = false)]
    lane: Lane,
    /// With this text in the group's key, or in the name that people gave its merchant.
    text: Option<String>,
    /// With a row that waits for this reason.
    #[schema(schema_with = codes::review_reason_or_null, required = false)]
    reason: Option<ReviewReason>,
    /// With a waiting row of this category.
    #[schema(value_type = Option<String>)]
    category: Option<Slug>,
    /// How many groups to have in all, 1 to 500.
    #[serde(default = "one")]
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 500, default = 1)]
    count: Limit,
}

fn one() -> Limit {
    Limit::ONE
}

/// A group that somebody has.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReviewGroupKey)]
pub(in super::super) struct GroupKey {
    /// Its key, from `/v1/reviews/groups` or `/v1/reviews/claims`.
    group: String,
}

/// A group that somebody can't decide.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Escalation)]
pub(in super::super) struct Escalation {
    /// Its key.
    group: String,
    /// What makes it hard, at most 1,000 characters.
    #[schema(value_type = String, min_length = 1, max_length = 1000)]
    note: Reason,
}

/// Groups of rows that one decision each may cover, first where a decision is likely to mend most.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Groups {
    groups: Vec<Group>,
}

/// Rows that one decision may cover: those of one descriptor key and direction.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewGroup)]
pub(in super::super) struct Group {
    group: String,
    #[schema(schema_with = codes::lane)]
    lane: Lane,
    /// How many rows wait in it.
    rows: u32,
    /// What wrong answers in it may come to, in typical transactions: the sum over its rows of doubt × (1 + amount /
    /// typical amount of the currency).
    at_risk: f64,
    /// Since when its oldest row waits.
    opened_at: DateTime<Utc>,
    /// Who works on it.
    #[schema(required)]
    claimed_by: Option<String>,
    /// Until when nobody else may.
    #[schema(required)]
    claimed_until: Option<DateTime<Utc>>,
    /// Who could not decide it.
    #[schema(required)]
    escalated_by: Option<String>,
    /// What that person said of it.
    #[schema(required)]
    escalation_note: Option<String>,
    /// Why the row to look at waits.
    #[schema(schema_with = codes::review_reason)]
    reason: ReviewReason,
    /// The row to look at: the one in which most is at risk.
    transaction: TransactionOut,
}

impl From<Work> for Group {
    fn from(Work { group, view }: Work) -> Self {
        Self {
            group: group.key,
            lane: group.lane,
            rows: group.rows,
            at_risk: group.at_risk,
            opened_at: group.opened_at,
            claimed_by: group.claimed_by,
            claimed_until: group.claimed_until,
            escalated_by: group.escalated_by,
            escalation_note: group.escalation_note,
            reason: group.reason,
            transaction: view.into(),
        }
    }
}

fn groups(work: Vec<Work>) -> Json<Groups> {
    Json(Groups { groups: work.into_iter().map(Group::from).collect() })
}

/// What waits, grouped by merchant, whoever works on it. First where a decision is likely to mend most: many doubtful rows,
/// lately, and then much money.
#[utoipa::path(
    get,
    path = "/v1/reviews/groups",
    tag = "reviews",
    params(WorkQuery),
    responses((status = 200, body = Groups))
)]
pub(in super::super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<WorkQuery>,
) -> Result<Json<Groups>, Error> {
    let limit = query.limit.get();
    Ok(groups(state.desk.waiting(&query.filter(), limit, clock::now()).await?))
}

/// Leases work to the caller for 15 minutes: what the caller has already, and more. Nobody else gets it meanwhile.
#[utoipa::path(
    post,
    path = "/v1/reviews/claims",
    tag = "reviews",
    request_body = NewClaim,
    responses(
        (status = 200, description = "What the caller has now; empty where nothing waits", body = Groups),
        (status = 422, description = "Not of the documented shape", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn claim(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<Json<Groups>, Error> {
    let NewClaim { group, lane, text, reason, category, count } = body.parse()?;
    let filter = GroupFilter { lane, text: text.filter(|text| !text.is_empty()), reason, category, key: group };
    Ok(groups(state.desk.claim(&filter, count.get(), caller.name(), clock::now()).await?))
}

/// Gives a group back, for others.
#[utoipa::path(
    post,
    path = "/v1/reviews/releases",
    tag = "reviews",
    request_body = GroupKey,
    responses(
        (status = 204, description = "Others may have it"),
        (status = 409, description = "The caller does not have it", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not of the documented shape", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn release(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<StatusCode, Error> {
    let GroupKey { group } = body.parse()?;
    state.desk.release(&group, caller.name()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a group back and is not shown it again for four hours.
#[utoipa::path(
    post,
    path = "/v1/reviews/skips",
    tag = "reviews",
    request_body = GroupKey,
    responses(
        (status = 204, description = "Passed over"),
        (status = 409, description = "The caller does not have it", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not of the documented shape", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn skip(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<StatusCode, Error> {
    let GroupKey { group } = body.parse()?;
    state.desk.skip(&group, caller.name(), clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a group back and puts it into the queue `escalated`, for somebody who knows more.
#[utoipa::path(
    post,
    path = "/v1/reviews/escalations",
    tag = "reviews",
    request_body = Escalation,
    responses(
        (status = 204, description = "Escalated"),
        (status = 409, description = "The caller does not have it", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not of the documented shape", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn escalate(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<StatusCode, Error> {
    let Escalation { group, note } = body.parse()?;
    state.desk.escalate(&group, &note.0, caller.name(), clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A customer's complaint: the transaction waits for a person's eye. What is in force stays so until somebody decides.
#[utoipa::path(
    post,
    path = "/v1/transactions/{id}/complaint",
    tag = "reviews",
    params(("id" = String, Path, description = "Your identifier")),
    responses(
        (status = 204, description = "It waits, now or already"),
        (status = 404, description = "No such transaction", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn complain(
    State(state): State<AppState>,
    Named(id): Named<TransactionView>,
) -> Result<StatusCode, Error> {
    state.desk.complain(&id, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
