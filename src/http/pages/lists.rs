//! Pages that list what the API lists: transactions, adapters, data sets; and the advice.

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        adapters::{self, Adapters},
        advice as advising,
        datasets::{self, CheckedDataset, Dataset},
        error::Error,
        extract::{After, Limit, Params, Who, page as cut},
        state::AppState,
    },
    Refused, asked, page,
    told::RowTold,
};
use crate::{
    advise::{Advice, Scenario},
    domain::DescriptorKey,
    store::{TransactionFilter, TransactionView},
};

/// Data sets on a page.
const MOST_SETS: u32 = 100;

/// What the list is narrowed to. A form sends fields that nobody filled in as empty text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransactionsQuery {
    #[serde(default)]
    account: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    status: String,
    after: Option<After>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    row: RowTold,
    category: Option<String>,
    decided_by: Option<&'static str>,
    confidence: Option<f64>,
    status: &'static str,
}

impl From<TransactionView> for Row {
    fn from(view: TransactionView) -> Self {
        Self {
            row: (&view.transaction).into(),
            category: view.in_force.as_ref().map(|held| held.category.to_string()),
            decided_by: view.in_force.map(|held| held.decided_by.as_str()),
            confidence: view.prediction.map(|stored| f64::from(stored.prediction.confidence)),
            status: view.review_status.as_str(),
        }
    }
}

#[derive(Serialize)]
struct Transactions {
    here: &'static str,
    rows: Vec<Row>,
    next: Option<String>,
    account: String,
    category: String,
    key: String,
    status: String,
    refused: Option<Refused>,
}

impl TransactionsQuery {
    fn filter(&self) -> Result<TransactionFilter, Refused> {
        Ok(TransactionFilter {
            account_id: asked("account", &self.account)?,
            category: asked("category", &self.category)?,
            review_status: asked("status", &self.status)?,
            descriptor_key: (!self.key.is_empty()).then(|| DescriptorKey::from_stored(&self.key)),
            ..TransactionFilter::default()
        })
    }
}

pub(super) async fn transactions(
    State(state): State<AppState>,
    Who(caller): Who,
    Params(query): Params<TransactionsQuery>,
) -> Result<Response, Error> {
    let limit = Limit::default().get();
    let (views, refused) = match query.filter() {
        Ok(filter) => {
            let after = query.after.as_ref().map(|after| &after.0);
            (state.store.list(&filter, after, limit + 1).await?, None)
        }
        Err(refused) => (Vec::new(), Some(refused)),
    };
    let (views, next) = cut(views, limit, |view| After::encode(&view.cursor()));
    let rows = views.into_iter().map(Row::from).collect();
    let TransactionsQuery { account, category, key, status, .. } = query;
    page(
        "transactions.html",
        &caller,
        Transactions { here: "transactions", rows, next, account, category, key, status, refused },
    )
}

#[derive(Serialize)]
struct Registry {
    here: &'static str,
    #[serde(flatten)]
    registry: Adapters,
}

pub(super) async fn adapters(State(state): State<AppState>, Who(caller): Who) -> Result<Response, Error> {
    let registry = adapters::registered(&state).await?;
    page("adapters.html", &caller, Registry { here: "adapters", registry })
}

/// Which set to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetQuery {
    set: Option<i64>,
}

#[derive(Serialize)]
struct Sets {
    here: &'static str,
    datasets: Vec<Dataset>,
    chosen: Option<CheckedDataset>,
}

pub(super) async fn datasets(
    State(state): State<AppState>,
    Who(caller): Who,
    Params(query): Params<SetQuery>,
) -> Result<Response, Error> {
    let stored = state.store.datasets(MOST_SETS).await?;
    let shown = query.set.or_else(|| stored.first().map(|set| set.id));
    let chosen = match shown {
        Some(id) => Some(datasets::checked(&state, id).await?),
        None => None,
    };
    let datasets = stored.into_iter().map(Dataset::from).collect();
    page("datasets.html", &caller, Sets { here: "datasets", datasets, chosen })
}

#[derive(Serialize)]
struct Advised {
    here: &'static str,
    words: &'static str,
    advice: Advice,
}

pub(super) async fn advice(State(state): State<AppState>, Who(caller): Who) -> Result<Response, Error> {
    let advice = advising::advised(&state, Scenario::default()).await?;
    page("advice.html", &caller, Advised { here: "advice", words: advice.verdict.code.words(), advice })
}
