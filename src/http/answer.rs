//! What the API says about a transaction: the same words wherever one is shown.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{codes, error::Problem};
use crate::{
    domain::{
        Category, ConfidenceLevel, DecidedBy, Direction, ReviewStatus, Slug,
        prediction::{Evidence, Scored},
        transaction::{Channel, Status},
    },
    store::TransactionView,
};

/// What is known about one transaction's category.
#[derive(Serialize, ToSchema)]
pub(super) struct Answer {
    /// The category in force now: a person's word where there is one, else the stage's.
    #[schema(value_type = Option<String>, required, example = "coffee")]
    category: Option<Slug>,
    /// Whose word `category` is.
    #[schema(schema_with = decided_by_or_null, required)]
    decided_by: Option<DecidedBy>,
    /// Whether a person's eye is wanted.
    #[schema(schema_with = codes::review_status)]
    review_status: ReviewStatus,
    /// The stage's own first choice; differs from `category` where a person decided.
    #[schema(value_type = Option<String>, required, example = "coffee")]
    predicted: Option<Slug>,
    /// Calibrated probability that `predicted` is right.
    #[schema(value_type = Option<f32>, required, minimum = 0.0, maximum = 1.0)]
    confidence: Option<f32>,
    /// What `confidence` promises: of `very_high` answers at least 98 % are right, of `high` at least 90 %, of `medium`
    /// at least 70 %; fitted on labelled rows, and held against people's word on live ones (`/v1/accuracy`). Null
    /// while nothing is fitted for the engine, and where a person's rule decided.
    #[schema(schema_with = confidence_level_or_null, required)]
    confidence_level: Option<ConfidenceLevel>,
    /// The stage's second choice.
    #[schema(required)]
    runner_up: Option<RunnerUp>,
    /// The stage that predicted.
    #[schema(value_type = Option<String>, required, example = "adapter")]
    stage: Option<String>,
    /// The engine and its version.
    #[schema(value_type = Option<String>, required, example = "adapter:demo@1f3a9c02")]
    engine: Option<String>,
    /// The taxonomy version that the prediction comes from.
    #[schema(value_type = Option<String>, required, example = "consumer@8f14e45f")]
    taxonomy: Option<String>,
    /// While a change of the taxonomy is tried: what `category` is called in the taxonomy before. `null` where several of
    /// its categories became this one since; left out at other times.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, example = "coffee_shop")]
    shadow_category: Option<Option<Slug>>,
    /// The taxonomy before, while a change of it is tried; left out at other times.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, example = "consumer@8f14e45f")]
    shadow_taxonomy: Option<String>,
    /// What spoke for `predicted`, in the engine's terms.
    #[schema(value_type = Vec<EvidenceOut>)]
    evidence: Vec<Evidence>,
    /// The merchant that the directory found in the descriptor.
    #[schema(required)]
    merchant: Option<MerchantOut>,
}

fn decided_by_or_null() -> utoipa::openapi::Schema {
    codes::or_null(codes::decided_by())
}

fn confidence_level_or_null() -> utoipa::openapi::Schema {
    codes::or_null(codes::confidence_level())
}

/// A category and its probability.
#[derive(Serialize, ToSchema)]
pub(super) struct RunnerUp {
    #[schema(value_type = String)]
    category: Slug,
    #[schema(minimum = 0.0, maximum = 1.0)]
    confidence: f32,
}

/// A merchant of the directory.
#[derive(Serialize, ToSchema)]
pub(super) struct MerchantOut {
    /// Its identifier in the directory.
    id: String,
    /// Its name; `null` once the entry has gone.
    #[schema(required)]
    name: Option<String>,
}

/// One reason for a prediction.
#[derive(ToSchema)]
#[schema(as = Evidence)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(dead_code, reason = "read by the OpenAPI document only; `domain::prediction::Evidence` is what is written")]
enum EvidenceOut {
    /// A labelled example that lies near.
    Example { text: String, category: String, similarity: f32 },
    /// A category description that lies near.
    Description { category: String, similarity: f32 },
    /// Earlier transactions of the account with the same key.
    History { category: String, count: u32 },
    /// The merchant directory.
    Merchant { name: String, category: String },
    /// Labelled rows with this key that the adapter was trained on.
    KnownKey { category: String, count: u32 },
    /// The statement text may be meant for a model rather than for people.
    Suspicious {
        #[schema(schema_with = codes::suspicions)]
        suspicions: Vec<String>,
    },
    /// The model gave no answer that could be used.
    Unanswered { why: String },
    /// What the adapter's encoder alone would have said.
    Encoder { category: String, confidence: f32 },
}

/// A transaction with what is known about its category.
#[derive(Serialize, ToSchema)]
#[schema(as = Transaction)]
pub(super) struct TransactionOut {
    id: String,
    account_id: String,
    posted_at: DateTime<Utc>,
    /// Exact decimal.
    #[schema(value_type = String, example = "6.50")]
    amount: Decimal,
    #[schema(example = "USD")]
    currency: &'static str,
    #[schema(schema_with = codes::direction)]
    direction: Direction,
    descriptor: String,
    /// What stays the same from one visit of the merchant to the next.
    descriptor_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = codes::channel, required = false)]
    channel: Option<Channel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counterparty: Option<String>,
    #[schema(schema_with = codes::status)]
    status: Status,
    /// The pending transaction that this one succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    /// The posted transaction that succeeded this one; then look there.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    #[serde(flatten)]
    answer: Answer,
}

/// One category of the taxonomy.
#[derive(Serialize, ToSchema)]
#[schema(as = Category)]
pub(super) struct CategoryOut<'a> {
    #[schema(value_type = String)]
    slug: &'a Slug,
    /// The primary category that it details.
    #[schema(value_type = Option<String>, required)]
    parent: Option<&'a Slug>,
    name: &'a str,
    description: &'a str,
    /// Whether predictions and corrections may use it.
    assignable: bool,
    /// The only direction it makes sense in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = codes::direction, required = false)]
    direction: Option<Direction>,
    /// ISO 18245 codes and ranges that mean it.
    #[schema(value_type = Vec<String>)]
    mcc: &'a [String],
    /// Plaid personal finance category v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pfc: Option<&'a str>,
}

impl<'a> CategoryOut<'a> {
    pub(super) fn new(category: &'a Category, assignable: bool) -> Self {
        Self {
            slug: &category.slug,
            parent: category.parent.as_ref(),
            name: &category.name,
            description: &category.description,
            assignable,
            direction: category.direction,
            mcc: &category.mcc,
            pfc: category.pfc.as_deref(),
        }
    }
}

/// What became of one row of a call.
#[derive(Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(super) enum RowResult {
    /// Stored, now or earlier, and categorized.
    Ok(Box<RowDone>),
    /// Not taken; the other rows are.
    Refused(RowRefused),
}

/// A row that was taken.
#[derive(Serialize, ToSchema)]
pub(super) struct RowDone {
    id: String,
    #[serde(flatten)]
    answer: Answer,
}

/// A row that was not taken.
#[derive(Serialize, ToSchema)]
pub(super) struct RowRefused {
    /// The row's id, where that much could be read.
    #[schema(required)]
    pub(super) id: Option<String>,
    /// Why.
    pub(super) problem: Problem,
}

impl RowResult {
    pub(super) fn done(view: TransactionView) -> Self {
        Self::Ok(Box::new(RowDone { id: view.transaction.id.to_string(), answer: Answer::from(view) }))
    }
}

impl From<TransactionView> for Answer {
    fn from(view: TransactionView) -> Self {
        let (category, decided_by) = view.in_force.map(|held| (held.category, held.decided_by)).unzip();
        let (prediction, level) = view.prediction.map(|stored| (stored.prediction, stored.level)).unzip();
        let provenance = prediction.as_ref().map(|prediction| prediction.provenance.clone());
        let first = prediction.as_ref().map(|prediction| (prediction.category.clone(), prediction.confidence));
        let (predicted, confidence) = first.unzip();
        let (alternatives, evidence) =
            prediction.map(|prediction| (prediction.alternatives, prediction.evidence)).unwrap_or_default();
        Self {
            category,
            decided_by,
            review_status: view.review_status,
            predicted,
            confidence,
            confidence_level: level.flatten(),
            runner_up: alternatives.into_iter().next().map(RunnerUp::from),
            stage: provenance.as_ref().map(|made| made.stage.clone()),
            engine: provenance.as_ref().map(|made| made.engine.clone()),
            taxonomy: provenance.map(|made| made.taxonomy),
            shadow_category: view.shadow.as_ref().map(|shadow| shadow.category.clone()),
            shadow_taxonomy: view.shadow.map(|shadow| shadow.taxonomy),
            evidence,
            merchant: view.merchant.map(|merchant| MerchantOut { id: merchant.id, name: merchant.name }),
        }
    }
}

impl From<Scored> for RunnerUp {
    fn from(scored: Scored) -> Self {
        Self { category: scored.category, confidence: scored.confidence }
    }
}

impl From<TransactionView> for TransactionOut {
    fn from(view: TransactionView) -> Self {
        let row = view.transaction.clone();
        let replaced_by = view.replaced_by.as_ref().map(ToString::to_string);
        Self {
            id: row.id.into(),
            account_id: row.account_id.into(),
            posted_at: row.posted_at,
            amount: row.amount.in_full(),
            currency: row.amount.currency().code(),
            direction: row.direction,
            descriptor: row.descriptor.raw().to_owned(),
            descriptor_key: row.descriptor.key().as_str().to_owned(),
            mcc: row.mcc.map(String::from),
            country: row.country.map(String::from),
            channel: row.channel,
            counterparty: row.counterparty.map(String::from),
            status: row.status,
            replaces: row.replaces.map(String::from),
            replaced_by,
            answer: Answer::from(view),
        }
    }
}
