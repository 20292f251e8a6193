//! One transaction at the desk: why it got its answer, and what a decision would change.

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    super::{error::Error, extract::Params, state::AppState},
    part,
    told::{AnswerShown, Choice, Done, RowTold, Said, answer, in_words},
};
use crate::{
    domain::{CorrectionScope, Slug, Taxonomy, TransactionId, UserHistory, money},
    review::{self, Measured},
    store::{GroupFilter, TransactionView},
};

/// Rows of a preview that a page shows.
const SHOWN: u32 = 200;

/// Which transaction to show, and the group it stands in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DetailQuery {
    transaction: TransactionId,
    group: String,
}

#[derive(Serialize)]
struct Named {
    id: String,
    name: Option<String>,
}

#[derive(Serialize)]
struct HistoryShown {
    transactions: u32,
    same: u32,
    typical: Option<String>,
    recurring: bool,
    cadence: Option<f32>,
    label: Option<Slug>,
}

impl From<UserHistory> for HistoryShown {
    fn from(history: UserHistory) -> Self {
        let same = history.same_key;
        Self {
            transactions: history.transactions,
            same: same.count,
            typical: same.typical_amount.map(|money| money.to_string()),
            recurring: same.recurring,
            cadence: same.cadence_days,
            label: same.latest_label,
        }
    }
}

#[derive(Serialize)]
struct MeasuredShown {
    cost: Option<String>,
    ms: Option<f64>,
    data: String,
    at: DateTime<Utc>,
}

impl From<Measured> for MeasuredShown {
    fn from(measured: Measured) -> Self {
        Self {
            cost: measured.cost.map(|(cost, currency)| money::told(cost, &currency)),
            ms: measured.ms,
            data: measured.data,
            at: measured.at,
        }
    }
}

#[derive(Serialize)]
struct Detail<'a> {
    #[serde(flatten)]
    row: RowTold,
    group: String,
    mcc: Option<String>,
    category: String,
    decided_by: &'static str,
    reason: &'static str,
    rows: u32,
    escalation: Option<String>,
    picked: Option<&'a Slug>,
    choices: Vec<Choice<'a>>,
    merchant: Option<Named>,
    history: HistoryShown,
    answer: Option<AnswerShown>,
    evidence: Vec<String>,
    text: Option<String>,
    measured: Option<MeasuredShown>,
    opinions: Vec<Said>,
    actions: Vec<Done>,
}

pub(super) async fn show(State(state): State<AppState>, Params(query): Params<DetailQuery>) -> Result<Response, Error> {
    let why = state.desk.why(&query.transaction).await?;
    let filter = GroupFilter { key: Some(query.group.clone()), ..GroupFilter::default() };
    let group = state.store.review_groups(&filter, 1).await?.into_iter().next();
    let names: Vec<Choice<'_>> = why.suggestions.iter().map(|slug| choice(&state.taxonomy, slug, &why.view)).collect();
    let row = &why.view.transaction;
    let answer = answer(&why.view);
    let latest = why.view.prediction.as_ref().map(|stored| stored.made_at);
    let escalation = group
        .as_ref()
        .and_then(|group| Some(format!("{}: {}", group.escalated_by.as_deref()?, group.escalation_note.as_deref()?)));
    part(
        "detail.html",
        Detail {
            row: row.into(),
            group: query.group,
            mcc: row.mcc.as_ref().map(ToString::to_string),
            category: why.view.in_force.as_ref().map_or("nothing".to_owned(), |held| held.category.to_string()),
            decided_by: why.view.in_force.as_ref().map_or("nobody", |held| held.decided_by.as_str()),
            reason: group.as_ref().map_or("nothing", |group| group.reason.as_str()),
            rows: group.map_or(0, |group| group.rows),
            escalation,
            picked: why.suggestions.first(),
            choices: names,
            merchant: why.view.merchant.clone().map(|merchant| Named { id: merchant.id, name: merchant.name }),
            history: why.history.clone().into(),
            answer,
            evidence: why.view.prediction.iter().flat_map(|stored| &stored.prediction.evidence).map(in_words).collect(),
            text: why.text.clone(),
            measured: why.measured.clone().map(MeasuredShown::from),
            opinions: why
                .opinions
                .iter()
                .filter(|opinion| Some(opinion.made_at) != latest || opinion.stage == "shadow")
                .cloned()
                .map(Said::from)
                .collect(),
            actions: why.actions.iter().cloned().map(Done::from).collect(),
        },
    )
}

fn choice<'a>(taxonomy: &'a Taxonomy, slug: &'a Slug, view: &TransactionView) -> Choice<'a> {
    let prediction = view.prediction.as_ref().map(|stored| &stored.prediction);
    let probability = prediction.and_then(|prediction| {
        let first = (prediction.category == *slug).then_some(prediction.confidence);
        let other =
            || prediction.alternatives.iter().find(|other| other.category == *slug).map(|other| other.confidence);
        first.or_else(other).map(f64::from)
    });
    Choice { slug, name: taxonomy.get(slug).map_or(slug.as_str(), |category| &category.name), probability }
}

/// Which decision to preview.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewQuery {
    transaction: TransactionId,
    category: Slug,
    scope: CorrectionScope,
}

#[derive(Serialize)]
struct Affected {
    #[serde(flatten)]
    row: RowTold,
    category: String,
    waits: bool,
}

#[derive(Serialize)]
struct PreviewShown {
    rows: u32,
    scope: &'static str,
    category: Slug,
    memory: Option<String>,
    affected: Vec<Affected>,
}

pub(super) async fn preview(
    State(state): State<AppState>,
    Params(query): Params<PreviewQuery>,
) -> Result<Response, Error> {
    let PreviewQuery { transaction, category, scope } = query;
    let review::Preview { rows, affected, memory } =
        state.desk.preview(&transaction, &category, scope, None, SHOWN).await?;
    let ids: Vec<TransactionId> = affected.iter().map(|row| row.id.clone()).collect();
    let views = state.store.views(&ids).await?;
    let affected = affected.into_iter().zip(views).filter_map(|(row, view)| {
        Some(Affected {
            row: (&view?.transaction).into(),
            category: row.category.map_or("nothing".to_owned(), String::from),
            waits: row.waits,
        })
    });
    let affected = affected.collect();
    part("preview.html", PreviewShown { rows, scope: scope.as_str(), category, memory, affected })
}
