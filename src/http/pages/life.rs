//! A correction's whole life: what was predicted, what people said, what is remembered, and what learned from it.

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    super::{
        error::Error,
        extract::{Named, Who},
        state::AppState,
    },
    page,
    told::{AnswerShown, Done, RowTold, Said, answer, in_words},
};
use crate::{
    domain::DecidedBy,
    store::{GivenLabel, HoldingSet, LeftRule, TransactionView, Waited},
};

#[derive(Serialize)]
struct Shown {
    here: &'static str,
    #[serde(flatten)]
    row: RowTold,
    replaced_by: Option<String>,
    directory: Option<String>,
    category: Option<String>,
    decided_by: Option<&'static str>,
    status: &'static str,
    answer: Option<AnswerShown>,
    evidence: Vec<String>,
    opinions: Vec<Said>,
    waited: Option<Waited>,
    actions: Vec<Done>,
    label: Option<GivenLabel>,
    labels: Vec<GivenLabel>,
    /// The decision on another transaction that covered this one.
    covered_by: Option<Done>,
    rules: Vec<LeftRule>,
    is_example: bool,
    sets: Vec<HoldingSet>,
}

pub(super) async fn show(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(id): Named<TransactionView>,
) -> Result<Response, Error> {
    let life = state.desk.life(&id).await?;
    let (is_example, label) = (life.is_example(), life.label().cloned());
    let by_rule = life
        .view
        .in_force
        .as_ref()
        .is_some_and(|held| matches!(held.decided_by, DecidedBy::AccountRule | DecidedBy::MerchantRule));
    let covering = |action: &&crate::store::ReviewAction| {
        action.undone_by.is_none() && action.kind.can_be_undone() && action.transaction_id.as_ref() != Some(&id)
    };
    let covered_by = life.actions.iter().find(covering).filter(|_| by_rule).cloned().map(Done::from);
    let shown = Shown {
        here: "transactions",
        row: (&life.view.transaction).into(),
        replaced_by: life.view.replaced_by.as_ref().map(ToString::to_string),
        directory: life.view.merchant.as_ref().map(|merchant| merchant.name.clone().unwrap_or(merchant.id.clone())),
        category: life.view.in_force.as_ref().map(|held| held.category.to_string()),
        decided_by: life.view.in_force.as_ref().map(|held| held.decided_by.as_str()),
        status: life.view.review_status.as_str(),
        answer: answer(&life.view),
        evidence: life.view.prediction.iter().flat_map(|stored| &stored.prediction.evidence).map(in_words).collect(),
        opinions: life.opinions.into_iter().map(Said::from).collect(),
        waited: life.waited,
        actions: life.actions.into_iter().map(Done::from).collect(),
        label,
        labels: life.labels,
        covered_by,
        rules: life.rules,
        is_example,
        sets: life.sets,
    };
    page("life.html", &caller, shown)
}
