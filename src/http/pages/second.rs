//! Second labels: what somebody else decided, to be decided again without knowing how.

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    super::{error::Error, extract::Who, state::AppState},
    page,
    told::{Choice, RowTold},
};
use crate::{clock, review::Agreement};

/// Rows that somebody has at a time.
const AT_HAND: u32 = 10;

#[derive(Serialize)]
struct Asked<'a> {
    decision: i64,
    #[serde(flatten)]
    row: RowTold,
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
        let choices = again.suggestions.iter().filter_map(|slug| state.taxonomy.get(slug));
        Asked {
            decision: again.decision,
            row: (&again.view.transaction).into(),
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
