//! What several pages tell of a transaction, of the answers to it and of what people did with it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    domain::{Category, ConfidenceLevel, Descriptor, Direction, Slug, Transaction, prediction::Evidence},
    store::{Opinion, ReviewAction, TransactionView},
};

/// A transaction, as pages tell it.
#[derive(Serialize)]
pub(super) struct RowTold {
    id: String,
    descriptor: String,
    merchant_text: String,
    key: String,
    told: Vec<Part>,
    amount: String,
    direction: &'static str,
    posted_at: DateTime<Utc>,
    account: String,
}

impl From<&Transaction> for RowTold {
    fn from(row: &Transaction) -> Self {
        Self {
            id: row.id.to_string(),
            descriptor: row.descriptor.raw().to_owned(),
            merchant_text: row.descriptor.merchant().to_owned(),
            key: row.descriptor.key().as_str().to_owned(),
            told: parts(&row.descriptor),
            amount: row.amount.to_string(),
            direction: row.direction.as_str(),
            posted_at: row.posted_at,
            account: row.account_id.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Part {
    name: &'static str,
    value: String,
}

/// A category to choose.
#[derive(Serialize)]
pub(super) struct Choice<'a> {
    pub(super) slug: &'a Slug,
    pub(super) name: &'a str,
    pub(super) probability: Option<f64>,
}

impl<'a> Choice<'a> {
    /// Without a probability.
    pub(super) fn of(category: &'a Category) -> Self {
        Self { slug: &category.slug, name: &category.name, probability: None }
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
fn parts(descriptor: &Descriptor) -> Vec<Part> {
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
