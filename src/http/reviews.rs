//! The review queue: transactions that wait for a person's eye, and the desk where people decide them.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

pub(super) mod decisions;
pub(super) mod desk;
pub(super) mod trail;
pub(super) mod views;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::TransactionOut,
    codes,
    error::Error,
    extract::{After, Limit, Params, page},
    state::AppState,
};
use crate::{
    domain::{AccountId, ReviewReason, Slug},
    store::{ReviewFilter, ReviewItem},
};

/// What the queue is narrowed to; all that are given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReviewQuery {
    /// Of this account.
    #[param(value_type = Option<String>)]
    account_id: Option<AccountId>,
    /// With this category in force.
    #[param(value_type = Option<String>)]
    category: Option<Slug>,
    /// Waiting for this reason: `low_confidence`, `not_calibrated`, `unanswered`, `suspicious`, `broken_promise`,
    /// `audit`, `complaint`, `disagreement`, `rule_withdrawn`, `split` or `drift`.
    #[param(value_type = Option<String>)]
    reason: Option<ReviewReason>,
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
    /// `next` of the answer before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// A page of the queue.
#[derive(Serialize, ToSchema)]
pub(super) struct ReviewPage {
    /// Newest transaction first.
    reviews: Vec<Review>,
    /// What to pass as `after` for the next page; `null` on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// A transaction that waits, and why.
#[derive(Serialize, ToSchema)]
pub(super) struct Review {
    #[schema(schema_with = codes::review_reason)]
    reason: ReviewReason,
    /// Since when it waits.
    opened_at: DateTime<Utc>,
    transaction: TransactionOut,
}

impl From<ReviewItem> for Review {
    fn from(item: ReviewItem) -> Self {
        Self { reason: item.reason, opened_at: item.opened_at, transaction: item.view.into() }
    }
}

/// What waits for a person's eye. A correction takes a transaction off the queue.
#[utoipa::path(
    get,
    path = "/v1/reviews",
    tag = "reviews",
    params(ReviewQuery),
    responses((status = 200, body = ReviewPage))
)]
pub(super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<ReviewQuery>,
) -> Result<Json<ReviewPage>, Error> {
    let filter = ReviewFilter { account_id: query.account_id, category: query.category, reason: query.reason };
    let after = query.after.map(|after| after.0);
    let items = state.store.reviews(&filter, after.as_ref(), query.limit.get() + 1).await?;
    let (items, next) = page(items, query.limit.get(), |item| After::encode(&item.view.cursor()));
    Ok(Json(ReviewPage { reviews: items.into_iter().map(Into::into).collect(), next }))
}
