//! Deciding: preview, decide, take back, and say it again as a second person.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    answer::TransactionOut,
    codes,
    error::{Error, Problem},
    extract::{JsonText, Limit, Named, Note, Params, Thing, Who},
    state::AppState,
};
use crate::{
    clock,
    domain::{Correction, CorrectionScope, Slug, TransactionId},
    review,
    store::{ReviewAction, Undone},
};

/// Which decision to preview.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PreviewQuery {
    /// The transaction at hand.
    #[param(value_type = String)]
    transaction_id: TransactionId,
    /// What would be said of it.
    #[param(value_type = String)]
    category: Slug,
    /// How far: `transaction`, `account_merchant` or `merchant`.
    #[param(value_type = String)]
    scope: CorrectionScope,
    /// How many rows to list, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
    /// The `id` of the last row that was listed.
    #[param(value_type = Option<String>)]
    after: Option<TransactionId>,
}

/// What a decision would change.
#[derive(Serialize, ToSchema)]
#[schema(as = DecisionPreview)]
pub(in super::super) struct PreviewOut {
    /// How many rows it would decide, the one at hand among them. Pass it as `expects` to decide on no others.
    rows: u32,
    /// Those rows: the one at hand, then the others in the order of their ids.
    affected: Vec<AffectedOut>,
    /// The rule that it would leave for rows to come, in words; null where it reaches none.
    #[schema(required)]
    memory: Option<String>,
}

/// A row that a decision would change.
#[derive(Serialize, ToSchema)]
#[schema(as = AffectedRow)]
pub(in super::super) struct AffectedOut {
    id: String,
    /// What it is now.
    #[schema(value_type = Option<String>, required)]
    category: Option<Slug>,
    /// Whether it waits for review.
    waits: bool,
}

/// What a decision would change and remember.
#[utoipa::path(
    get,
    path = "/v1/reviews/preview",
    tag = "reviews",
    params(PreviewQuery),
    responses(
        (status = 200, body = PreviewOut),
        (status = 404, description = "No such transaction", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a category that can be assigned", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn preview(
    State(state): State<AppState>,
    Params(query): Params<PreviewQuery>,
) -> Result<Json<PreviewOut>, Error> {
    let PreviewQuery { transaction_id, category, scope, limit, after } = query;
    let preview = state.desk.preview(&transaction_id, &category, scope, after.as_ref(), limit.get()).await?;
    let affected = preview
        .affected
        .into_iter()
        .map(|row| AffectedOut { id: row.id.into(), category: row.category, waits: row.waits })
        .collect();
    Ok(Json(PreviewOut { rows: preview.rows, affected, memory: preview.memory }))
}

/// What a transaction of a claimed group is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDecision)]
pub(in super::super) struct NewDecision {
    /// The transaction at hand.
    #[schema(value_type = String)]
    transaction_id: TransactionId,
    /// A category that can be assigned.
    #[schema(value_type = String, example = "supermarket")]
    category: Slug,
    /// How far it reaches: this transaction alone, or also every other that no person has decided, of this account or
    /// of all, with the same descriptor key and direction, now and later.
    #[schema(schema_with = codes::correction_scope)]
    scope: CorrectionScope,
    /// Why, at most 1,000 characters.
    #[schema(value_type = Option<String>, max_length = 1000)]
    note: Option<Note>,
    /// `rows` of the preview: it is refused where it would change another number now.
    expects: Option<u32>,
}

/// A decision that holds.
#[derive(Serialize, ToSchema)]
#[schema(as = Decision)]
pub(in super::super) struct DecisionOut {
    /// Its number, to take it back by.
    decision: i64,
    /// How many rows it decided, the one at hand among them.
    rows: u32,
    /// The transaction as it is now.
    transaction: TransactionOut,
}

/// Decides. The caller must have claimed the group.
#[utoipa::path(
    post,
    path = "/v1/reviews/decisions",
    tag = "reviews",
    request_body = NewDecision,
    responses(
        (status = 201, description = "It holds", body = DecisionOut),
        (status = 404, description = "No such transaction", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Decided meanwhile, not claimed by the caller, or other rows than expected; \
            nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a category that can be assigned", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn decide(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<(StatusCode, Json<DecisionOut>), Error> {
    let said: NewDecision = body.parse()?;
    let correction = Correction {
        transaction_id: said.transaction_id,
        category: said.category,
        scope: said.scope,
        note: said.note.map(|note| note.0),
        made_by: caller.name().to_owned(),
        made_at: clock::now(),
    };
    let settled = state.desk.decide(correction, said.expects).await?;
    let out = DecisionOut { decision: settled.action, rows: settled.rows, transaction: settled.view.into() };
    Ok((StatusCode::CREATED, Json(out)))
}

impl Thing for ReviewAction {
    type Id = i64;

    fn unknown() -> Error {
        review::Error::UnknownAction.into()
    }
}

/// What became of a decision that was taken back.
#[derive(Serialize, ToSchema)]
#[schema(as = Undone)]
pub(in super::super) struct UndoneOut {
    /// Rows that are as they were.
    restored: u32,
    /// Rows that were decided again since, and stay so.
    kept: u32,
}

/// Takes a decision back: every row that it changed is as it was, its rule is gone, and what waited waits again.
#[utoipa::path(
    post,
    path = "/v1/reviews/decisions/{id}/undo",
    tag = "reviews",
    params(("id" = i64, Path, description = "The decision's number")),
    responses(
        (status = 200, body = UndoneOut),
        (status = 404, description = "No such decision", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Taken back already, or done in a taxonomy that was left since", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn undo(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<ReviewAction>,
) -> Result<Json<UndoneOut>, Error> {
    let Undone { restored, kept, .. } = state.desk.undo(id, None, caller.name(), clock::now()).await?;
    Ok(Json(UndoneOut { restored, kept }))
}

/// How many to be asked about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSecondClaim)]
pub(in super::super) struct NewSecondClaim {
    /// 1 to 500.
    #[serde(default)]
    #[schema(value_type = u32, required = false, minimum = 1, maximum = 500, default = 100)]
    count: Limit,
}

/// Decisions of others that the caller shall make again.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct SecondClaims {
    asked: Vec<SecondOut>,
}

/// A decision of somebody else, without what was said.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondClaim)]
pub(in super::super) struct SecondOut {
    /// The decision's number.
    decision: i64,
    id: String,
    descriptor: String,
    #[schema(value_type = String)]
    amount: rust_decimal::Decimal,
    currency: &'static str,
    #[schema(schema_with = codes::direction)]
    direction: crate::domain::Direction,
    posted_at: chrono::DateTime<chrono::Utc>,
}

/// Leases decisions of others to the caller, who shall label the same rows without knowing what they said.
#[utoipa::path(
    post,
    path = "/v1/reviews/second-labels/claims",
    tag = "reviews",
    request_body = NewSecondClaim,
    responses(
        (status = 200, body = SecondClaims),
        (status = 422, description = "Not of the documented shape", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn claim_second(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<Json<SecondClaims>, Error> {
    let NewSecondClaim { count } = body.parse()?;
    let asked = state.desk.claim_second(count.get(), caller.name(), clock::now()).await?;
    let asked = asked.into_iter().map(|again| {
        let row = again.view.transaction;
        SecondOut {
            decision: again.decision,
            id: row.id.into(),
            descriptor: row.descriptor.raw().to_owned(),
            amount: row.amount.in_full(),
            currency: row.amount.currency().code(),
            direction: row.direction,
            posted_at: row.posted_at,
        }
    });
    Ok(Json(SecondClaims { asked: asked.collect() }))
}

/// What the second person says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SecondLabel)]
pub(in super::super) struct NewSecondLabel {
    /// A category that can be assigned.
    #[schema(value_type = String, example = "supermarket")]
    category: Slug,
}

/// Stores a second label. It changes nothing that is in force.
#[utoipa::path(
    post,
    path = "/v1/reviews/second-labels/{id}",
    tag = "reviews",
    params(("id" = i64, Path, description = "The decision's number")),
    request_body = NewSecondLabel,
    responses(
        (status = 204, description = "Stored"),
        (status = 404, description = "No such decision", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The caller was not asked", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not a category that can be assigned", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn second_label(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<ReviewAction>,
    body: JsonText,
) -> Result<StatusCode, Error> {
    let NewSecondLabel { category } = body.parse()?;
    state.desk.second_label(id, &category, caller.name(), clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What two people said of the same rows, neither knowing of the other's word, as CSV: enough to compute kappa from.
#[utoipa::path(
    get,
    path = "/v1/reviews/second-labels",
    tag = "reviews",
    responses((status = 200, description = "The file", body = String, content_type = "text/csv"))
)]
pub(in super::super) async fn pairs(
    State(state): State<AppState>,
) -> Result<([(HeaderName, &'static str); 2], Vec<u8>), Error> {
    let file = review::write_pairs(&state.desk.label_pairs().await?)?;
    let attached = "attachment; filename=\"second-labels.csv\"";
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, attached)], file))
}
