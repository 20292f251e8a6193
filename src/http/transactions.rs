//! Transactions: send them, look at one, list them, correct one.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{
    answer::{RowRefused, RowResult, TransactionOut},
    codes,
    error::{Error, Missing, Problem},
    extract::{After, At, JsonText, Limit, Named, Note, Params, Thing, Who, page},
    rows::{self, NewTransaction},
    state::AppState,
};
use crate::{
    clock,
    domain::{AccountId, Correction, CorrectionScope, DescriptorKey, ReviewStatus, Slug, Transaction, TransactionId},
    pipeline::{self, Outcome},
    store::{TransactionFilter, TransactionView},
};

/// The most rows of one call.
pub(super) const MOST_ROWS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    transactions: Vec<&'a RawValue>,
    #[serde(default)]
    adapter: Option<String>,
}

/// Rows to categorize.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Batch)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
pub(super) struct BatchDoc {
    #[schema(min_items = 1, max_items = 1000)]
    transactions: Vec<NewTransaction>,
    /// The adapter that shall answer, by name and version (`consumer@3`) or by name for its newest version.
    /// Without one, the champion or canary of each row's account group does.
    adapter: Option<String>,
}

/// One result for each row, in the same order.
#[derive(Serialize, ToSchema)]
pub(super) struct Results {
    results: Vec<RowResult>,
}

/// Stores and categorizes transactions.
///
/// Each row is taken or refused by itself. A row that is stored already, with the same content,
/// gets its stored prediction and the category in force now, so a call may be repeated. A call of
/// one row that is refused answers with that row's problem and status.
#[utoipa::path(
    post,
    path = "/v1/transactions",
    tag = "transactions",
    request_body = BatchDoc,
    responses(
        (status = 200, description = "One result for each row, in the same order", body = Results),
        (status = 409, description = "The only row conflicts", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 4 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not 1 to 1,000 rows, no such adapter, or the only row is refused", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The chat model can't be had now; the rows are stored, and categorized when they \
            come again", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn send(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<Json<Results>, Error> {
    let batch: Batch<'_> = body.parse()?;
    if batch.transactions.is_empty() || batch.transactions.len() > MOST_ROWS {
        let detail = format!("send 1 to {MOST_ROWS} transactions in one call, not {}", batch.transactions.len());
        return Err(Error::Shape { pointer: Some("/transactions".to_owned()), detail });
    }
    state.access.use_rows(&caller, batch.transactions.len(), clock::now()).await?;
    let parsed: Vec<Result<Transaction, Box<RowRefused>>> = batch
        .transactions
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            rows::parse(raw).map_err(|row| {
                Box::new(RowRefused { problem: Problem::refused_row(index, &row), id: row.id.map(String::from) })
            })
        })
        .collect();
    let accepted: Vec<Transaction> = parsed.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
    let outcomes = state.entrance.process(accepted, batch.adapter, clock::now()).await?;
    let mut outcomes = outcomes.into_iter();
    let mut results = Vec::with_capacity(parsed.len());
    for (index, row) in parsed.into_iter().enumerate() {
        results.push(match row {
            Ok(row) => {
                outcomes.next().map(|outcome| result(index, &row.id, outcome)).ok_or(pipeline::Error::Vanished)?
            }
            Err(refused) => RowResult::Refused(*refused),
        });
    }
    match results.as_slice() {
        [RowResult::Refused(only)] => Err(Error::Row(Box::new(only.problem.clone()))),
        _ => Ok(Json(Results { results })),
    }
}

/// The rows of a body as the route takes it, all or the first problem: for commands that read such bodies from files.
///
/// # Errors
/// When the text is no such body, or a row is refused.
pub fn read(text: &str) -> Result<Vec<Transaction>, Error> {
    let wrong = |of: serde_json::Error| match of.classify() {
        serde_json::error::Category::Data => Error::Shape { pointer: None, detail: of.to_string() },
        _ => Error::Syntax { line: of.line(), column: of.column() },
    };
    let batch: Batch<'_> = serde_json::from_str(text).map_err(wrong)?;
    let refused = |(index, raw): (usize, &&RawValue)| {
        rows::parse(raw).map_err(|row| Error::Row(Box::new(Problem::refused_row(index, &row))))
    };
    batch.transactions.iter().enumerate().map(refused).collect()
}

fn result(index: usize, id: &TransactionId, outcome: Outcome) -> RowResult {
    let problem = match outcome {
        Outcome::Done(done) => return RowResult::done(done.view),
        Outcome::Conflict => Problem::conflict(index),
        Outcome::ReplacesUnknown => Problem::replaces_unknown(index),
        Outcome::AlreadyReplaced => Problem::already_replaced(index),
    };
    RowResult::Refused(RowRefused { id: Some(id.to_string()), problem })
}

/// One transaction, with its prediction and the category in force.
#[utoipa::path(
    get,
    path = "/v1/transactions/{id}",
    tag = "transactions",
    params(("id" = String, Path, description = "Your identifier")),
    responses(
        (status = 200, body = TransactionOut),
        (status = 404, description = "No such transaction", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<AppState>,
    Named(id): Named<TransactionView>,
) -> Result<Json<TransactionOut>, Error> {
    let view = state.store.view(&id).await?;
    view.map(|view| Json(view.into())).ok_or_else(TransactionView::unknown)
}

impl Thing for TransactionView {
    type Id = TransactionId;

    fn unknown() -> Error {
        Missing::Transaction.into()
    }
}

/// What a list is narrowed to; all that are given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Of this account.
    #[param(value_type = Option<String>)]
    account_id: Option<AccountId>,
    /// With this category in force.
    #[param(value_type = Option<String>)]
    category: Option<Slug>,
    /// In this state of review: accepted, pending or reviewed.
    #[param(value_type = Option<String>)]
    review_status: Option<ReviewStatus>,
    /// Posted at this time or later (RFC 3339 or date).
    #[param(value_type = Option<String>)]
    from: Option<At>,
    /// Posted before this time.
    #[param(value_type = Option<String>)]
    to: Option<At>,
    /// Of the merchant that statements write so: the `descriptor_key` of a transaction, and all keys that were merged with it.
    descriptor_key: Option<String>,
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
    /// `next` of the answer before.
    #[param(value_type = Option<String>)]
    after: Option<After>,
}

/// A page of transactions.
#[derive(Serialize, ToSchema)]
pub(super) struct TransactionPage {
    /// Newest first.
    transactions: Vec<TransactionOut>,
    /// What to pass as `after` for the next page; `null` on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// Transactions, newest first. A page that was begun is never shifted by new rows.
#[utoipa::path(
    get,
    path = "/v1/transactions",
    tag = "transactions",
    params(ListQuery),
    responses((status = 200, body = TransactionPage))
)]
pub(super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<ListQuery>,
) -> Result<Json<TransactionPage>, Error> {
    let filter = TransactionFilter {
        account_id: query.account_id,
        category: query.category,
        review_status: query.review_status,
        from: query.from.map(|at| at.0),
        to: query.to.map(|at| at.0),
        descriptor_key: query.descriptor_key.as_deref().map(DescriptorKey::from_stored),
        ..TransactionFilter::default()
    };
    let after = query.after.map(|after| after.0);
    let views = state.store.list(&filter, after.as_ref(), query.limit.get() + 1).await?;
    let (views, next) = page(views, query.limit.get(), |view| After::encode(&view.cursor()));
    Ok(Json(TransactionPage { transactions: views.into_iter().map(Into::into).collect(), next }))
}

/// What a transaction really is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCorrection)]
pub(super) struct NewCorrection {
    /// A category that can be assigned.
    #[schema(value_type = String, example = "supermarket")]
    category: Slug,
    /// How far it reaches: this transaction alone, or also every later one of the account, or of all accounts, with the
    /// same descriptor key and direction.
    #[schema(schema_with = codes::correction_scope)]
    scope: CorrectionScope,
    /// Why, at most 1,000 characters.
    #[schema(value_type = Option<String>, max_length = 1000)]
    note: Option<Note>,
}

/// Says what a transaction really is. It holds at once, and the prediction stays beside it.
#[utoipa::path(
    post,
    path = "/v1/transactions/{id}/correction",
    tag = "reviews",
    params(("id" = String, Path, description = "Your identifier")),
    request_body = NewCorrection,
    responses(
        (status = 200, description = "The transaction as it is now", body = TransactionOut),
        (status = 404, description = "No such transaction", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a category that can be assigned", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn correct(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<TransactionView>,
    body: JsonText,
) -> Result<Json<TransactionOut>, Error> {
    let said: NewCorrection = body.parse()?;
    let correction = Correction {
        transaction_id: id,
        category: said.category,
        scope: said.scope,
        note: said.note.map(|note| note.0),
        made_by: caller.name().to_owned(),
        made_at: clock::now(),
    };
    Ok(Json(state.desk.correct(&correction).await?.into()))
}
