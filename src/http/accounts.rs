//! One account as a whole: all that is stored of it, and its erasure.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    error::{Error, Missing, Problem},
    extract::{Named, Thing, Who},
    state::AppState,
};
use crate::{
    access, clock,
    domain::AccountId,
    privacy,
    store::{self, AccountRows},
};

/// What an erasure took, and what was learned from it and still stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Erased {
    /// Transactions.
    transactions: i64,
    /// What people said of them.
    labels: i64,
    /// Rules of the account.
    rules: i64,
    /// Labelled sets that held some of the rows: they are marked, and check anew without them.
    datasets: Vec<LearnedFrom>,
    /// Adapters that were trained on such a set: they are marked, and forget by being trained again.
    adapters: Vec<LearnedFrom>,
}

/// Something that was made of rows which are gone.
#[derive(Serialize, ToSchema)]
struct LearnedFrom {
    id: i64,
    /// Its name; of an adapter with the version.
    name: String,
    /// Of its rows, how many were erased, all erasures together.
    erased_rows: i64,
}

impl From<store::LearnedFrom> for LearnedFrom {
    fn from(of: store::LearnedFrom) -> Self {
        let store::LearnedFrom { id, name, erased_rows } = of;
        Self { id, name, erased_rows }
    }
}

/// All that is stored of an account, as it stands in the tables.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountExport {
    account_id: String,
    transactions: Value,
    predictions: Value,
    corrections: Value,
    in_force: Value,
    review_items: Value,
    review_changes: Value,
    rules: Value,
    groups: Value,
    events: Value,
    dataset_items: Value,
    shadow_predictions: Value,
    review_actions: Value,
    second_labels: Value,
    recategorization_changes: Value,
    recategorization_labels: Value,
    recategorization_failures: Value,
    eval_items: Value,
}

impl AccountExport {
    /// Of an account.
    pub(super) fn new(account: &AccountId, rows: AccountRows) -> Self {
        Self {
            account_id: account.to_string(),
            transactions: rows.transactions,
            predictions: rows.predictions,
            corrections: rows.corrections,
            in_force: rows.in_force,
            review_items: rows.review_items,
            review_changes: rows.review_changes,
            rules: rows.rules,
            groups: rows.groups,
            events: rows.events,
            dataset_items: rows.dataset_items,
            shadow_predictions: rows.shadow_predictions,
            review_actions: rows.review_actions,
            second_labels: rows.second_labels,
            recategorization_changes: rows.recategorization_changes,
            recategorization_labels: rows.recategorization_labels,
            recategorization_failures: rows.recategorization_failures,
            eval_items: rows.eval_items,
        }
    }
}

impl Thing for AccountRows {
    type Id = AccountId;

    fn unknown() -> Error {
        Missing::Account.into()
    }
}

/// Erases an account: its transactions and all that was said of them, its rules and its group. Labelled sets and adapters that
/// learned from it are named, and stay marked. It can't be taken back.
#[utoipa::path(
    delete,
    path = "/v1/accounts/{id}",
    tag = "accounts",
    params(("id" = String, Path, description = "Your identifier of the account")),
    responses(
        (status = 200, description = "Nothing of it is left", body = Erased),
        (status = 404, description = "Nothing of it is here", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn erase(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(account): Named<AccountRows>,
) -> Result<Json<Erased>, Error> {
    let erased = privacy::erase(&state.store, &account, caller.name(), &mut access::random()?, clock::now()).await?;
    let store::Erased { transactions, labels, rules, datasets, adapters } = erased.ok_or_else(AccountRows::unknown)?;
    Ok(Json(Erased {
        transactions,
        labels,
        rules,
        datasets: datasets.into_iter().map(LearnedFrom::from).collect(),
        adapters: adapters.into_iter().map(LearnedFrom::from).collect(),
    }))
}

/// All that is stored of an account: for whoever it belongs to.
#[utoipa::path(
    get,
    path = "/v1/accounts/{id}/export",
    tag = "accounts",
    params(("id" = String, Path, description = "Your identifier of the account")),
    responses(
        (status = 200, body = AccountExport),
        (status = 404, description = "Nothing of it is here", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn export(
    State(state): State<AppState>,
    Named(account): Named<AccountRows>,
) -> Result<Json<AccountExport>, Error> {
    let rows = privacy::export(&state.store, &account).await?.ok_or_else(AccountRows::unknown)?;
    Ok(Json(AccountExport::new(&account, rows)))
}
