//! Merchants as statements write them: their traffic, and what people say of one as a whole.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    codes,
    error::{Error, Problem},
    extract::{JsonText, Limit, Note, Params, Reason, Who},
    state::AppState,
};
use crate::{
    access::Caller,
    clock,
    domain::{Direction, Slug, Transaction, TransactionId},
    review::MerchantPreview,
    store::{MerchantAffected, MerchantChange, MerchantEdit, MerchantEdited, MerchantFilter, MerchantVolume},
};

/// Which merchants.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MerchantsQuery {
    /// With this text in a key or in the name.
    text: Option<String>,
    /// Traffic of so many days, 1 to 3,650.
    #[serde(default = "quarter")]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 3650, default = 90)]
    days: Days,
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
}

/// A stretch of time up to now.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
struct Days(u32);

impl TryFrom<u32> for Days {
    type Error = &'static str;

    fn try_from(days: u32) -> Result<Self, &'static str> {
        if (1..=3650).contains(&days) { Ok(Self(days)) } else { Err("must be 1 to 3650") }
    }
}

fn quarter() -> Days {
    Days(90)
}

/// Merchants, most rows first.
#[derive(Serialize, ToSchema)]
pub(super) struct Merchants {
    merchants: Vec<MerchantOut>,
}

/// A merchant's traffic.
#[derive(Serialize, ToSchema)]
#[schema(as = MerchantVolume)]
pub(super) struct MerchantOut {
    /// The descriptor key that it goes by.
    merchant: String,
    /// What people call it.
    #[schema(required)]
    name: Option<String>,
    /// Every key that its statements have.
    keys: Vec<String>,
    rows: u32,
    accounts: u32,
    /// The category that most of its rows have.
    #[schema(required)]
    category: Option<String>,
    /// Share of the rows that have it.
    share: f64,
    /// Rows that wait for review.
    waiting: u32,
    /// Rows that a person decided.
    reviewed: u32,
    /// What the directory calls it, where it knows it.
    #[schema(required)]
    directory: Option<String>,
}

impl From<MerchantVolume> for MerchantOut {
    fn from(volume: MerchantVolume) -> Self {
        Self {
            merchant: volume.key,
            name: volume.name,
            keys: volume.keys,
            rows: volume.rows,
            accounts: volume.accounts,
            category: volume.category,
            share: volume.share,
            waiting: volume.waiting,
            reviewed: volume.reviewed,
            directory: volume.merchant,
        }
    }
}

/// Merchants as statements write them, with their traffic.
#[utoipa::path(
    get,
    path = "/v1/merchants",
    tag = "merchants",
    params(MerchantsQuery),
    responses((status = 200, body = Merchants))
)]
pub(super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<MerchantsQuery>,
) -> Result<Json<Merchants>, Error> {
    let since = clock::now() - TimeDelta::days(i64::from(query.days.0));
    let filter = MerchantFilter { text: query.text.filter(|text| !text.is_empty()), merchant: None };
    let volumes = state.store.merchant_volumes(since, &filter, query.limit.get()).await?;
    Ok(Json(Merchants { merchants: volumes.into_iter().map(MerchantOut::from).collect() }))
}

/// What is said of a merchant.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = MerchantChange)]
pub(super) enum Change {
    /// What pages call it.
    Rename {
        /// Its name, at most 1,000 characters; null: by its key again.
        #[schema(value_type = Option<String>, max_length = 1000)]
        name: Option<Reason>,
    },
    /// What its rows of one direction are, on every account without a rule of its own.
    Categorize {
        /// Of which rows.
        #[schema(schema_with = codes::direction)]
        direction: Direction,
        /// A category that can be assigned.
        #[schema(value_type = String, example = "supermarket")]
        category: Slug,
    },
    /// It is the same as another, and goes by the other's key from now on.
    Merge {
        /// A key of the other.
        into: String,
    },
}

impl From<Change> for MerchantChange {
    fn from(change: Change) -> Self {
        match change {
            Change::Rename { name } => Self::Rename { name: name.map(|name| name.0.trim().to_owned()) },
            Change::Categorize { direction, category } => Self::Categorize { direction, category },
            Change::Merge { into } => Self::Merge { into },
        }
    }
}

/// Something to say of a merchant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMerchantEdit)]
pub(super) struct NewEdit {
    /// A descriptor key of the merchant.
    merchant: String,
    change: Change,
    /// Why, at most 1,000 characters.
    #[schema(value_type = Option<String>, max_length = 1000)]
    note: Option<Note>,
    /// `rows` of the preview: it is refused where it would decide another number now.
    expects: Option<u32>,
}

impl NewEdit {
    fn of(self, caller: &Caller) -> MerchantEdit {
        MerchantEdit {
            merchant: self.merchant,
            change: self.change.into(),
            expects: self.expects,
            note: self.note.map(|note| note.0),
            made_by: caller.name().to_owned(),
            made_at: clock::now(),
        }
    }
}

/// What it would do.
#[derive(Serialize, ToSchema)]
#[schema(as = MerchantPreview)]
pub(super) struct PreviewOut {
    /// The key that the merchant would go by.
    merchant: String,
    /// Every key that it would have.
    keys: Vec<String>,
    /// How many rows it would decide. Pass it as `expects` to decide on no others.
    rows: u32,
    /// How many of them would have another category than now.
    changing: u32,
    /// Those rows in the order of their ids, at most 500.
    affected: Vec<AffectedOut>,
    /// What would be remembered, in words.
    memory: String,
}

/// A row that it would decide.
#[derive(Serialize, ToSchema)]
#[schema(as = MerchantAffectedRow)]
pub(super) struct AffectedOut {
    id: String,
    descriptor: String,
    account_id: String,
    #[schema(value_type = String)]
    amount: Decimal,
    currency: &'static str,
    posted_at: DateTime<Utc>,
    /// What it is now.
    #[schema(value_type = String)]
    category: Slug,
    /// What it would be.
    #[schema(value_type = String)]
    becomes: Slug,
    /// Whether it waits for review.
    waits: bool,
}

impl AffectedOut {
    fn of(row: MerchantAffected, told: Transaction) -> Self {
        Self {
            id: row.id.into(),
            descriptor: told.descriptor.raw().to_owned(),
            account_id: told.account_id.into(),
            amount: told.amount.in_full(),
            currency: told.amount.currency().code(),
            posted_at: told.posted_at,
            category: row.category,
            becomes: row.becomes,
            waits: row.waits,
        }
    }
}

/// What an edit of a merchant would change and remember. Changes nothing.
#[utoipa::path(
    post,
    path = "/v1/merchants/preview",
    tag = "merchants",
    request_body = NewEdit,
    responses(
        (status = 200, body = PreviewOut),
        (status = 404, description = "No row has such a key", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "One merchant already", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not of the documented shape, or no category that can be assigned",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn preview(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<Json<PreviewOut>, Error> {
    let edit: NewEdit = body.parse()?;
    let MerchantPreview { reach, memory } = state.desk.preview_merchant(&edit.of(&caller), 500).await?;
    let ids: Vec<TransactionId> = reach.affected.iter().map(|row| row.id.clone()).collect();
    let told = reach.affected.into_iter().zip(state.store.views(&ids).await?);
    Ok(Json(PreviewOut {
        merchant: reach.merchant,
        keys: reach.keys,
        rows: reach.rows,
        changing: reach.changing,
        affected: told.filter_map(|(row, view)| Some(AffectedOut::of(row, view?.transaction))).collect(),
        memory,
    }))
}

/// An edit that holds.
#[derive(Serialize, ToSchema)]
#[schema(as = MerchantEdit)]
pub(super) struct EditOut {
    /// Its number, to take it back by: `/v1/reviews/decisions/{id}/undo`.
    decision: i64,
    /// How many rows it decided.
    rows: u32,
}

/// Says what a merchant is called, what it is everywhere, or that two are one. What people said of single transactions
/// stays.
#[utoipa::path(
    post,
    path = "/v1/merchants/edits",
    tag = "merchants",
    request_body = NewEdit,
    responses(
        (status = 201, description = "It holds", body = EditOut),
        (status = 404, description = "No row has such a key", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "One merchant already, or other rows than expected; nothing was changed",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not of the documented shape, or no category that can be assigned",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn edit(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<(StatusCode, Json<EditOut>), Error> {
    let edit: NewEdit = body.parse()?;
    let MerchantEdited { action: decision, rows } = state.desk.edit_merchant(&edit.of(&caller)).await?;
    Ok((StatusCode::CREATED, Json(EditOut { decision, rows })))
}
