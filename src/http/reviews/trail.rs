//! The trail of the desk, its numbers, and files for other programs.

#![expect(unused_qualifications, reason = "utoipa writes paths out in full")]

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderName, header},
};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    codes,
    error::{Error, Problem},
    extract::{JsonText, Limit, Params, Who},
    state::AppState,
};
use crate::{
    causes::with_causes,
    clock,
    domain::{ActionKind, CorrectionScope, Direction, Lane, Slug, TransactionId},
    review::{self, Format, PairAgreement},
    store::{ActionFilter, LaneCount, ReviewAction, Throughput},
};

/// What the trail is narrowed to; all that are given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct TrailQuery {
    /// Of this person.
    made_by: Option<String>,
    /// About this transaction, or changing it.
    #[param(value_type = Option<String>)]
    transaction_id: Option<TransactionId>,
    /// Decisions alone, and those alone that nobody took back.
    #[serde(default)]
    standing: bool,
    /// Before this number.
    before: Option<i64>,
    /// How many, 1 to 500.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: Limit,
}

/// What was done at the desk, latest first.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Trail {
    actions: Vec<Action>,
}

/// Something that somebody did.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewAction)]
pub(in super::super) struct Action {
    id: i64,
    #[schema(schema_with = codes::action_kind)]
    kind: ActionKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The merchant, of what is said of one as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant: Option<String>,
    /// The merchant that it was merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    into: Option<String>,
    /// Of which of its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = codes::direction, required = false)]
    direction: Option<Direction>,
    /// What it was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    category: Option<Slug>,
    /// What held before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    category_before: Option<Slug>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = codes::correction_scope, required = false)]
    scope: Option<CorrectionScope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// How many rows it changed.
    rows: u32,
    /// Whether it left a rule for rows to come.
    left_rule: bool,
    /// The decision that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    undoes: Option<i64>,
    /// What took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    undone_by: Option<i64>,
    made_by: String,
    made_at: DateTime<Utc>,
}

impl From<ReviewAction> for Action {
    fn from(action: ReviewAction) -> Self {
        Self {
            id: action.id,
            kind: action.kind,
            transaction_id: action.transaction_id.map(String::from),
            group: action.group,
            merchant: action.merchant,
            into: action.into,
            direction: action.direction,
            name: action.name,
            category: action.category,
            category_before: action.category_before,
            scope: action.scope,
            note: action.note,
            rows: action.rows,
            left_rule: action.left_rule,
            undoes: action.undoes,
            undone_by: action.undone_by,
            made_by: action.made_by,
            made_at: action.made_at,
        }
    }
}

/// Who did what, when, to how many rows, and why; latest first.
#[utoipa::path(
    get,
    path = "/v1/reviews/decisions",
    tag = "reviews",
    params(TrailQuery),
    responses((status = 200, body = Trail))
)]
pub(in super::super) async fn list(
    State(state): State<AppState>,
    Params(query): Params<TrailQuery>,
) -> Result<Json<Trail>, Error> {
    let filter = ActionFilter {
        made_by: query.made_by,
        transaction_id: query.transaction_id,
        standing: query.standing,
        before: query.before,
        ..ActionFilter::default()
    };
    let actions = state.store.review_actions(&filter, query.limit.get()).await?;
    Ok(Json(Trail { actions: actions.into_iter().map(Action::from).collect() }))
}

/// The desk in numbers.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewNumbers)]
pub(in super::super) struct Numbers {
    lanes: Vec<LaneOut>,
    /// Decisions of the last 24 hours that stand, person by person.
    day: Vec<PersonOut>,
    agreement: AgreementOut,
}

/// What waits in one queue.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewLane)]
pub(in super::super) struct LaneOut {
    #[schema(schema_with = codes::lane)]
    lane: Lane,
    groups: u32,
    rows: u32,
    /// Since when the oldest waits.
    #[schema(required)]
    oldest: Option<DateTime<Utc>>,
}

/// What one person decided.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewThroughput)]
pub(in super::super) struct PersonOut {
    made_by: String,
    decisions: u32,
    /// Rows that these decided.
    rows: u32,
}

/// How far people agree where two were asked, neither knowing of the other's word.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewAgreement)]
pub(in super::super) struct AgreementOut {
    /// Rows that two people labelled.
    pairs: usize,
    /// Share of them with one label.
    #[schema(required)]
    agreeing: Option<f64>,
    /// Cohen's kappa; null without pairs, or where chance alone explains everything.
    #[schema(required)]
    kappa: Option<f64>,
    /// Decisions that wait for a second person.
    waiting: u32,
    people: Vec<PairOut>,
}

/// How far two people agree.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewPair)]
pub(in super::super) struct PairOut {
    /// Who decided.
    first: String,
    /// Who was asked again.
    second: String,
    pairs: usize,
    #[schema(required)]
    kappa: Option<f64>,
}

impl From<PairAgreement> for PairOut {
    fn from(PairAgreement { first, second, pairs, kappa }: PairAgreement) -> Self {
        Self { first, second, pairs, kappa }
    }
}

impl From<LaneCount> for LaneOut {
    fn from(lane: LaneCount) -> Self {
        Self { lane: lane.lane, groups: lane.groups, rows: lane.rows, oldest: lane.oldest }
    }
}

impl From<review::Numbers> for Numbers {
    fn from(numbers: review::Numbers) -> Self {
        let person =
            |person: Throughput| PersonOut { made_by: person.made_by, decisions: person.decisions, rows: person.rows };
        let said = numbers.agreement;
        Self {
            lanes: numbers.lanes.into_iter().map(LaneOut::from).collect(),
            day: numbers.day.into_iter().map(person).collect(),
            agreement: AgreementOut {
                pairs: said.pairs,
                agreeing: said.agreeing,
                kappa: said.kappa,
                waiting: said.waiting,
                people: said.people.into_iter().map(PairOut::from).collect(),
            },
        }
    }
}

/// What waits and since when, what was decided in the last 24 hours, and how far people agree.
#[utoipa::path(get, path = "/v1/reviews/numbers", tag = "reviews", responses((status = 200, body = Numbers)))]
pub(in super::super) async fn numbers(State(state): State<AppState>) -> Result<Json<Numbers>, Error> {
    Ok(Json(state.desk.numbers(clock::now()).await?.into()))
}

/// What to write down, and how.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct ExportQuery {
    /// `csv`, `jsonl` or `label_studio`.
    #[param(value_type = String)]
    format: Format,
    /// `decisions` that stand, or what is `waiting`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    what: What,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    #[default]
    Decisions,
    Waiting,
}

/// Decisions, or what waits, as CSV, as one JSON object a line, or as tasks for Label Studio.
#[utoipa::path(
    get,
    path = "/v1/reviews/export",
    tag = "reviews",
    params(ExportQuery),
    responses((
        status = 200,
        description = "The file",
        content((String = "text/csv"), (String = "application/x-ndjson"), (String = "application/json")),
    ))
)]
pub(in super::super) async fn export(
    State(state): State<AppState>,
    Params(query): Params<ExportQuery>,
) -> ([(HeaderName, String); 2], Body) {
    let (rows, name) = match query.what {
        What::Decisions => (state.desk.decisions().boxed(), "decisions"),
        What::Waiting => (state.desk.backlog().boxed(), "waiting"),
    };
    let (media, ending) = match query.format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Jsonl => ("application/x-ndjson", "jsonl"),
        Format::LabelStudio => ("application/json", "json"),
    };
    let attached = format!("attachment; filename=\"{name}.{ending}\"");
    let headers = [(header::CONTENT_TYPE, media.to_owned()), (header::CONTENT_DISPOSITION, attached)];
    // The answer has begun: where something fails now, the file ends without its end, and the log says why.
    let file = review::written(rows, query.format).inspect_err(|error| {
        tracing::error!(error = %with_causes(error), "an export broke off");
    });
    (headers, Body::from_stream(file))
}

/// What became of them.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportedTasks)]
pub(in super::super) struct ImportedOut {
    /// Decisions that are new.
    decided: u32,
    /// Those that a person had made before, alike.
    known: u32,
    /// Those whose transaction a person has decided since they were annotated: what was said later stays.
    superseded: u32,
    /// Tasks that nobody has annotated.
    open: u32,
    refused: Vec<RefusedOut>,
}

/// A task that was not taken.
#[derive(Serialize, ToSchema)]
#[schema(as = RefusedTask)]
pub(in super::super) struct RefusedOut {
    /// Its place among the tasks, from 0.
    place: usize,
    why: String,
}

/// Takes in what was annotated in Label Studio, its JSON export as it is: each task's last annotation decides its
/// transaction alone, unless a person has decided that one since. The same file may come twice.
#[utoipa::path(
    post,
    path = "/v1/reviews/import",
    tag = "reviews",
    request_body = Vec<Object>,
    responses(
        (status = 200, body = ImportedOut),
        (status = 413, description = "More than 4 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not of the documented shape", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in super::super) async fn import(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<Json<ImportedOut>, Error> {
    let tasks: Vec<Map<String, Value>> = body.parse_list()?;
    let tasks: Vec<Value> = tasks.into_iter().map(Value::Object).collect();
    let imported = state.desk.import(&tasks, caller.name(), clock::now()).await?;
    let refused = imported.refused.into_iter();
    Ok(Json(ImportedOut {
        decided: imported.decided,
        known: imported.known,
        superseded: imported.superseded,
        open: imported.open,
        refused: refused.map(|task| RefusedOut { place: task.place, why: task.why.to_string() }).collect(),
    }))
}
