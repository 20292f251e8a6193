//! The desk: a queue that is leased to whoever looks at it.

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        error::Error,
        extract::{Params, Who},
        reviews::views::{self, ViewOut},
        state::AppState,
    },
    Refused, asked, page, part,
    told::Choice,
};
use crate::{
    access::Caller,
    clock,
    domain::{Lane, ReviewReason, Slug},
    review::{self, Work},
    store::GroupFilter,
};

/// Groups that somebody has at a time.
const AT_HAND: u32 = 20;

/// What the desk is narrowed to. A form sends fields that nobody filled in as empty text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeskQuery {
    #[serde(default)]
    lane: Lane,
    #[serde(default)]
    text: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    category: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

impl DeskQuery {
    /// As a link has it.
    fn link(&self) -> String {
        serde_urlencoded::to_string(self).unwrap_or_default()
    }

    fn filter(&self) -> Result<GroupFilter, Refused> {
        Ok(GroupFilter {
            lane: self.lane,
            text: Some(self.text.trim().to_owned()).filter(|text| !text.is_empty()),
            reason: asked("reason", &self.reason)?,
            category: asked("category", &self.category)?,
            key: self.group.clone(),
        })
    }
}

/// An item of the list.
#[derive(Serialize)]
struct Item {
    group: String,
    transaction: String,
    descriptor: String,
    amount: String,
    rows: u32,
    predicted: String,
    confidence: Option<f64>,
    reason: ReviewReason,
}

impl From<Work> for Item {
    fn from(Work { group, view }: Work) -> Self {
        let prediction = view.prediction.as_ref().map(|stored| &stored.prediction);
        Self {
            group: group.key,
            transaction: view.transaction.id.to_string(),
            descriptor: view.transaction.descriptor.merchant().to_owned(),
            amount: view.transaction.amount.to_string(),
            rows: group.rows,
            predicted: prediction.map_or_else(String::new, |prediction| prediction.category.to_string()),
            confidence: prediction.map(|prediction| f64::from(prediction.confidence)),
            reason: group.reason,
        }
    }
}

#[derive(Serialize)]
struct LaneShown {
    lane: Lane,
    rows: u32,
}

#[derive(Serialize)]
struct Pace {
    decisions: u32,
    rows: u32,
    oldest: Option<DateTime<Utc>>,
    kappa: Option<f64>,
    pairs: usize,
    asked_again: u32,
}

impl From<review::Numbers> for Pace {
    fn from(numbers: review::Numbers) -> Self {
        Self {
            decisions: numbers.day.iter().map(|person| person.decisions).sum(),
            rows: numbers.day.iter().map(|person| person.rows).sum(),
            oldest: numbers.lanes.iter().filter_map(|lane| lane.oldest).min(),
            kappa: numbers.agreement.kappa,
            pairs: numbers.agreement.pairs,
            asked_again: numbers.agreement.waiting,
        }
    }
}

#[derive(Serialize)]
struct Queue {
    items: Vec<Item>,
    lanes: Vec<LaneShown>,
    filter: DeskQuery,
    query: String,
    /// What the filter can't be; then nothing is leased.
    refused: Option<Refused>,
}

#[derive(Serialize)]
struct Desk<'a> {
    here: &'static str,
    pace: Pace,
    views: Vec<View>,
    /// What is shown now, as the API takes it.
    filter_json: String,
    #[serde(flatten)]
    queue: Queue,
    reasons: Vec<&'static str>,
    categories: Vec<Choice<'a>>,
}

/// A saved view, as a link.
#[derive(Serialize)]
struct View {
    id: i64,
    name: String,
    shared: bool,
    own: bool,
    made_by: String,
    query: String,
}

impl From<ViewOut> for View {
    fn from(view: ViewOut) -> Self {
        let filter = view.filter;
        let query = DeskQuery {
            lane: filter.lane,
            text: filter.text.unwrap_or_default(),
            reason: filter.reason.map_or("", ReviewReason::as_str).to_owned(),
            category: filter.category.as_ref().map_or("", Slug::as_str).to_owned(),
            group: None,
        };
        let query = query.link();
        Self { id: view.id, name: view.name, shared: view.shared, own: view.own, made_by: view.made_by, query }
    }
}

/// Leases work to the one who looks, and lists it; none where the filter asks for what can't be.
async fn queue(state: &AppState, caller: &Caller, query: DeskQuery) -> Result<Queue, Error> {
    let now = clock::now();
    let (work, refused) = match query.filter() {
        Ok(filter) => (state.desk.claim(&filter, AT_HAND, caller.name(), now).await?, None),
        Err(refused) => (Vec::new(), Some(refused)),
    };
    let counted = state.desk.lanes(now).await?;
    let of = |lane| counted.iter().find(|count| count.lane == lane);
    let lanes = [Lane::Doubtful, Lane::Audit, Lane::Escalated];
    Ok(Queue {
        items: work.into_iter().map(Item::from).collect(),
        lanes: lanes.map(|lane| LaneShown { lane, rows: of(lane).map_or(0, |count| count.rows) }).into(),
        query: query.link(),
        filter: query,
        refused,
    })
}

pub(super) async fn show(
    State(state): State<AppState>,
    Who(caller): Who,
    Params(query): Params<DeskQuery>,
) -> Result<Response, Error> {
    let GroupFilter { lane, text, reason, category, .. } = query.filter().unwrap_or_default();
    let now = views::ViewFilter { lane, text, reason, category };
    let queue = queue(&state, &caller, query).await?;
    let categories = state.taxonomy.assignable().iter();
    let desk = Desk {
        here: "review",
        pace: state.desk.numbers(clock::now()).await?.into(),
        views: views::of(&state, caller.name()).await?.into_iter().map(View::from).collect(),
        filter_json: serde_json::to_string(&now)?,
        queue,
        reasons: ReviewReason::ALL.map(ReviewReason::as_str).into(),
        categories: categories.map(Choice::of).collect(),
    };
    page("review.html", &caller, desk)
}

pub(super) async fn list(
    State(state): State<AppState>,
    Who(caller): Who,
    Params(query): Params<DeskQuery>,
) -> Result<Response, Error> {
    part("fresh.html", queue(&state, &caller, query).await?)
}
