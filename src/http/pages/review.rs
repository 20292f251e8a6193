//! The desk: a queue that is leased to whoever looks at it, and why each transaction got its answer.

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
};
use crate::{
    access::Caller,
    clock,
    domain::{
        Category, ConfidenceLevel, CorrectionScope, Descriptor, Direction, Lane, ReviewReason, Slug, Taxonomy,
        TransactionId, UserHistory, money, prediction::Evidence,
    },
    review::{self, Measured, Work},
    store::{GroupFilter, Opinion, ReviewAction, TransactionView},
};

/// Groups that somebody has at a time.
const AT_HAND: u32 = 20;
/// Rows of a preview that a page shows.
const SHOWN: u32 = 200;

/// What the desk is narrowed to. A form sends fields that nobody filled in as empty text.
#[derive(Deserialize)]
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
    group: Option<String>,
}

impl DeskQuery {
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
struct Filter {
    lane: Lane,
    text: String,
    reason: String,
    category: String,
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

/// A category to choose.
#[derive(Serialize)]
pub(super) struct Choice<'a> {
    slug: &'a Slug,
    name: &'a str,
    probability: Option<f64>,
}

impl<'a> Choice<'a> {
    /// Without a probability.
    pub(super) fn of(category: &'a Category) -> Self {
        Self { slug: &category.slug, name: &category.name, probability: None }
    }
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
    filter: Filter,
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
        let query = query_of(
            filter.lane,
            filter.text.as_deref().unwrap_or_default(),
            filter.reason.map_or("", ReviewReason::as_str),
            filter.category.as_ref().map_or("", Slug::as_str),
        );
        Self { id: view.id, name: view.name, shared: view.shared, own: view.own, made_by: view.made_by, query }
    }
}

/// What the queue is narrowed to, as a query.
fn query_of(lane: Lane, text: &str, reason: &str, category: &str) -> String {
    let fields = [("lane", lane.as_str()), ("text", text), ("reason", reason), ("category", category)];
    serde_urlencoded::to_string(fields).unwrap_or_default()
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
    let DeskQuery { lane, text, reason, category, group } = query;
    let mut query = query_of(lane, &text, &reason, &category);
    if let Some(group) = &group {
        query.push('&');
        query.push_str(&serde_urlencoded::to_string([("group", group)]).unwrap_or_default());
    }
    Ok(Queue {
        items: work.into_iter().map(Item::from).collect(),
        lanes: lanes.map(|lane| LaneShown { lane, rows: of(lane).map_or(0, |count| count.rows) }).into(),
        query,
        filter: Filter { lane, text, reason, category },
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

/// Which transaction to show, and the group it stands in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DetailQuery {
    transaction: TransactionId,
    group: String,
}

#[derive(Serialize)]
pub(super) struct Part {
    name: &'static str,
    value: String,
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
pub(super) struct Other {
    category: Slug,
    probability: f64,
}

#[derive(Serialize)]
pub(super) struct AnswerShown {
    category: Slug,
    confidence: f64,
    level: Option<&'static str>,
    alternatives: Vec<Other>,
    stage: String,
    engine: String,
    taxonomy: String,
    made_at: DateTime<Utc>,
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
pub(super) struct Said {
    category: Slug,
    confidence: f64,
    stage: String,
    engine: String,
    made_at: DateTime<Utc>,
}

impl From<Opinion> for Said {
    fn from(opinion: Opinion) -> Self {
        Self {
            category: opinion.category,
            confidence: f64::from(opinion.confidence),
            stage: opinion.stage,
            engine: opinion.engine,
            made_at: opinion.made_at,
        }
    }
}

/// Something that somebody did, as pages tell it.
#[derive(Serialize)]
pub(super) struct Done {
    id: i64,
    made_at: DateTime<Utc>,
    made_by: String,
    kind: &'static str,
    transaction: Option<String>,
    merchant: Option<String>,
    into: Option<String>,
    direction: Option<&'static str>,
    name: Option<String>,
    can_undo: bool,
    undoes: Option<i64>,
    category: Option<Slug>,
    category_before: Option<Slug>,
    rows: u32,
    left_rule: bool,
    undone_by: Option<i64>,
    note: Option<String>,
}

impl From<ReviewAction> for Done {
    fn from(action: ReviewAction) -> Self {
        Self {
            id: action.id,
            made_at: action.made_at,
            made_by: action.made_by,
            kind: action.kind.as_str(),
            transaction: action.transaction_id.map(String::from),
            merchant: action.merchant,
            into: action.into,
            direction: action.direction.map(Direction::as_str),
            undoes: action.undoes,
            name: action.name,
            can_undo: action.undone_by.is_none() && action.kind.can_be_undone(),
            category: action.category,
            category_before: action.category_before,
            rows: action.rows,
            left_rule: action.left_rule,
            undone_by: action.undone_by,
            note: action.note,
        }
    }
}

#[derive(Serialize)]
struct Detail<'a> {
    id: String,
    group: String,
    descriptor: String,
    merchant_text: String,
    key: String,
    parts: Vec<Part>,
    amount: String,
    direction: &'static str,
    posted_at: DateTime<Utc>,
    account_id: String,
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

pub(super) async fn detail(
    State(state): State<AppState>,
    Params(query): Params<DetailQuery>,
) -> Result<Response, Error> {
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
            id: row.id.to_string(),
            group: query.group,
            descriptor: row.descriptor.raw().to_owned(),
            merchant_text: row.descriptor.merchant().to_owned(),
            key: row.descriptor.key().as_str().to_owned(),
            parts: parts(&row.descriptor),
            amount: row.amount.to_string(),
            direction: row.direction.as_str(),
            posted_at: row.posted_at,
            account_id: row.account_id.to_string(),
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

pub(super) fn answer(view: &TransactionView) -> Option<AnswerShown> {
    let stored = view.prediction.as_ref()?;
    let prediction = &stored.prediction;
    let others = prediction.alternatives.iter();
    Some(AnswerShown {
        category: prediction.category.clone(),
        confidence: f64::from(prediction.confidence),
        level: stored.level.map(ConfidenceLevel::as_str),
        alternatives: others
            .map(|other| Other { category: other.category.clone(), probability: f64::from(other.confidence) })
            .collect(),
        stage: prediction.provenance.stage.clone(),
        engine: prediction.provenance.engine.clone(),
        taxonomy: prediction.provenance.taxonomy.clone(),
        made_at: stored.made_at,
    })
}

/// What the statement text told beside the merchant.
pub(super) fn parts(descriptor: &Descriptor) -> Vec<Part> {
    let place = descriptor.place().map(|place| {
        let told = [&place.city, &place.region, &place.country];
        told.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
    });
    let date = descriptor.date().map(|date| match date.year {
        Some(year) => format!("{year}-{:02}-{:02}", date.month, date.day),
        None => format!("{:02}-{:02}", date.month, date.day),
    });
    [
        ("processor", descriptor.processor().map(str::to_owned)),
        ("branch", descriptor.store_number().map(str::to_owned)),
        ("reference", descriptor.order_code().map(str::to_owned)),
        ("telephone", descriptor.phone().map(str::to_owned)),
        ("card", descriptor.masked_card().map(str::to_owned)),
        ("date", date),
        ("place", place),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(Part { name, value: value.filter(|value| !value.is_empty())? }))
    .collect()
}

/// One reason for an answer, as people read it.
pub(super) fn in_words(evidence: &Evidence) -> String {
    let words = |slug: &Slug| slug.as_str().replace('_', " ");
    match evidence {
        Evidence::Example { text, category, similarity } => {
            format!("labelled example “{text}” is {}, similarity {similarity:.2}", words(category))
        }
        Evidence::Description { category, similarity } => {
            format!("near to what {} is described as, similarity {similarity:.2}", words(category))
        }
        Evidence::History { category, count } => format!("{count} earlier visits were {}", words(category)),
        Evidence::Merchant { name, category } => format!("the directory has {name} under {}", words(category)),
        Evidence::KnownKey { category, count } => {
            format!("{count} labelled rows with this key, mostly {}", words(category))
        }
        Evidence::Encoder { category, confidence } => {
            format!("the encoder alone says {}, {:.1} %", words(category), 100.0 * confidence)
        }
        Evidence::Suspicious { .. } => "the text may be meant for a model rather than for people".to_owned(),
        Evidence::Unanswered { why } => format!("no usable answer: {why}"),
    }
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
    posted_at: DateTime<Utc>,
    descriptor: String,
    account_id: String,
    amount: String,
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
        let told = view?.transaction;
        Some(Affected {
            posted_at: told.posted_at,
            descriptor: told.descriptor.raw().to_owned(),
            account_id: told.account_id.into(),
            amount: told.amount.to_string(),
            category: row.category.map_or("nothing".to_owned(), String::from),
            waits: row.waits,
        })
    });
    let affected = affected.collect();
    part("preview.html", PreviewShown { rows, scope: scope.as_str(), category, memory, affected })
}
