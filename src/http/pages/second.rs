//! Second labels: what somebody else decided, to be decided again without knowing how.

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    super::{error::Error, extract::Who, state::AppState},
    page,
    review::{Choice, Part, parts},
};
use crate::{clock, review::Agreement};

/// Rows that somebody has at a time.
const AT_HAND: u32 = 10;

#[derive(Serialize)]
struct Asked<'a> {
    decision: i64,
    descriptor: String,
    key: String,
    parts: Vec<Part>,
    amount: String,
    direction: &'static str,
    posted_at: DateTime<Utc>,
    account: String,
    choices: Vec<Choice<'a>>,
}

#[derive(Serialize)]
struct Second<'a> {
    here: &'static str,
    asked: Vec<Asked<'a>>,
    categories: Vec<Choice<'a>>,
    agreement: Agreement,
}

pub(super) async fn show(State(state): State<AppState>, Who(caller): Who) -> Result<Response, Error> {
    let asked = state.desk.claim_second(AT_HAND, caller.name(), clock::now()).await?;
    let asked = asked.iter().map(|again| {
        let row = &again.view.transaction;
        let choices = again.suggestions.iter().filter_map(|slug| state.taxonomy.get(slug));
        Asked {
            decision: again.decision,
            descriptor: row.descriptor.raw().to_owned(),
            key: row.descriptor.key().as_str().to_owned(),
            parts: parts(&row.descriptor),
            amount: row.amount.to_string(),
            direction: row.direction.as_str(),
            posted_at: row.posted_at,
            account: row.account_id.to_string(),
            choices: choices.map(Choice::of).collect(),
        }
    });
    let second = Second {
        here: "review",
        asked: asked.collect(),
        categories: state.taxonomy.assignable().iter().map(Choice::of).collect(),
        agreement: state.desk.agreement().await?,
    };
    page("second.html", &caller, second)
}
