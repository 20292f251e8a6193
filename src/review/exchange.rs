//! What was decided, and what waits, as files for other programs; and decisions that come back from one.
//!
//! Label Studio's format is its JSON of tasks: <https://labelstud.io/guide/export>. A labelling setup for it needs
//! one `Choices` named `category` on one `Text` named `text`.

use std::fmt;

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _, stream};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Desk, Error};
use crate::{
    domain::{ActionKind, Correction, CorrectionScope, DecidedBy, Slug, TransactionId},
    store::{ActionFilter, LabelPair, ReviewFilter, TransactionView},
};

/// Rows read from the database at a time.
const PAGE: u32 = 500;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Label Studio's JSON of tasks.
    LabelStudio,
}

/// A row of an export. Without `category`, it waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// The transaction.
    pub transaction_id: String,
    /// When it was posted.
    pub posted_at: DateTime<Utc>,
    /// Its statement text.
    pub descriptor: String,
    /// How much.
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// debit or credit.
    pub direction: String,
    /// The stage's answer.
    pub predicted: Option<String>,
    /// Its calibrated probability.
    pub confidence: Option<f32>,
    /// The engine.
    pub engine: Option<String>,
    /// Why it waits or waited.
    pub reason: Option<String>,
    /// What a person said.
    pub category: Option<String>,
    /// What held before.
    pub category_before: Option<String>,
    /// How far it reaches.
    pub scope: Option<String>,
    /// Why, in the person's words.
    pub note: Option<String>,
    /// How many rows it decided.
    pub rows: Option<u32>,
    /// The decision's number.
    pub decision: Option<i64>,
    /// Who.
    pub made_by: Option<String>,
    /// When.
    pub made_at: Option<DateTime<Utc>>,
}

/// The members of [`Exported`], in their order.
const COLUMNS: [&str; 18] = [
    "transaction_id",
    "posted_at",
    "descriptor",
    "amount",
    "currency",
    "direction",
    "predicted",
    "confidence",
    "engine",
    "reason",
    "category",
    "category_before",
    "scope",
    "note",
    "rows",
    "decision",
    "made_by",
    "made_at",
];

/// What became of tasks that came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Decisions that are new.
    pub decided: u32,
    /// Those that a person had made before, alike.
    pub known: u32,
    /// Those whose transaction a person has decided since they were annotated.
    pub superseded: u32,
    /// Tasks that nobody has annotated.
    pub open: u32,
    /// Tasks that can't be taken.
    pub refused: Vec<RefusedTask>,
}

/// What became of a task.
enum Taken {
    Decided,
    Known,
    Superseded,
    Open,
}

/// A task that can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedTask {
    /// Its place, from 0.
    pub place: usize,
    /// Why.
    pub why: Refusal,
}

/// Why a task can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `data.transaction_id` is missing, or no id.
    NoId,
    /// No transaction of that id.
    Unknown,
    /// The choice is no category that can be assigned.
    OffTaxonomy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoId => "data.transaction_id is missing or no identifier",
            Self::Unknown => "there is no transaction with this id",
            Self::OffTaxonomy => "the choice is no category that can be assigned",
        })
    }
}

impl Desk {
    /// The decisions that stand, latest first, some at a time.
    pub fn decisions(&self) -> impl Stream<Item = Result<Vec<Exported>, Error>> + use<> {
        stream::try_unfold((self.store.clone(), None), |(store, before)| async move {
            let filter = ActionFilter { standing: true, before, ..ActionFilter::default() };
            let actions = store.review_actions(&filter, PAGE).await?;
            let Some(last) = actions.last().map(|action| action.id) else { return Ok(None) };
            let decided: Vec<_> = actions
                .into_iter()
                .filter(|action| action.kind == ActionKind::Decide)
                .filter_map(|action| Some((action.transaction_id.clone()?, action)))
                .collect();
            let ids: Vec<TransactionId> = decided.iter().map(|(id, _)| id.clone()).collect();
            let views = store.views(&ids).await?;
            let exported = decided.into_iter().zip(views).filter_map(|((_, action), view)| {
                Some(Exported {
                    reason: action.reason.map(|reason| reason.as_str().to_owned()),
                    category: action.category.map(String::from),
                    category_before: action.category_before.map(String::from),
                    scope: action.scope.map(|scope| scope.as_str().to_owned()),
                    note: action.note,
                    rows: Some(action.rows),
                    decision: Some(action.id),
                    made_by: Some(action.made_by),
                    made_at: Some(action.made_at),
                    ..Exported::of(view?)
                })
            });
            Ok(Some((exported.collect(), (store, Some(last)))))
        })
    }

    /// What waits for review, newest transaction first, some at a time.
    pub fn backlog(&self) -> impl Stream<Item = Result<Vec<Exported>, Error>> + use<> {
        stream::try_unfold((self.store.clone(), None), |(store, after)| async move {
            let items = store.reviews(&ReviewFilter::default(), after.as_ref(), PAGE).await?;
            let Some(last) = items.last() else { return Ok(None) };
            let last = last.view.cursor();
            let exported = items
                .into_iter()
                .map(|item| Exported { reason: Some(item.reason.as_str().to_owned()), ..Exported::of(item.view) });
            Ok(Some((exported.collect(), (store, Some(last)))))
        })
    }

    /// Takes in what was annotated in Label Studio: each task's last annotation is a decision about its transaction
    /// alone. What a person said here before, alike, is left alone, and so is what somebody said later than the annotation: an
    /// export brings all annotations again, so a file may come twice.
    ///
    /// # Errors
    /// When the database fails; tasks taken by then stay taken.
    pub async fn import(&self, tasks: &[Value], who: &str, now: DateTime<Utc>) -> Result<Imported, Error> {
        let mut imported = Imported::default();
        for (place, task) in tasks.iter().enumerate() {
            match self.import_one(task, who, now).await? {
                Ok(Taken::Decided) => imported.decided += 1,
                Ok(Taken::Known) => imported.known += 1,
                Ok(Taken::Superseded) => imported.superseded += 1,
                Ok(Taken::Open) => imported.open += 1,
                Err(why) => imported.refused.push(RefusedTask { place, why }),
            }
        }
        Ok(imported)
    }

    async fn import_one(&self, task: &Value, who: &str, now: DateTime<Utc>) -> Result<Result<Taken, Refusal>, Error> {
        let Some(annotation) = last_annotation(task) else { return Ok(Ok(Taken::Open)) };
        let Some(choice) = choice(annotation) else { return Ok(Ok(Taken::Open)) };
        let id = task["data"]["transaction_id"].as_str().and_then(|id| id.parse::<TransactionId>().ok());
        let Some(id) = id else { return Ok(Err(Refusal::NoId)) };
        let category = choice.parse::<Slug>().ok().filter(|slug| self.taxonomy.contains(slug));
        let Some(category) = category else { return Ok(Err(Refusal::OffTaxonomy)) };
        let Some(view) = self.store.view(&id).await? else {
            return Ok(Err(Refusal::Unknown));
        };
        let stands =
            view.in_force.is_some_and(|held| held.decided_by == DecidedBy::Correction && held.category == category);
        if stands {
            return Ok(Ok(Taken::Known));
        }
        if let Some(since) = annotated_at(annotation) {
            let later = ActionFilter {
                transaction_id: Some(id.clone()),
                standing: true,
                since: Some(since),
                ..ActionFilter::default()
            };
            if !self.store.review_actions(&later, 1).await?.is_empty() {
                return Ok(Ok(Taken::Superseded));
            }
        }
        let correction = Correction {
            transaction_id: id,
            category,
            scope: CorrectionScope::Transaction,
            note: Some(format!("annotated in Label Studio by {}", annotator(annotation))),
            made_by: who.to_owned(),
            made_at: now,
        };
        Ok(match self.store.correct(&correction).await? {
            Some(_) => Ok(Taken::Decided),
            None => Err(Refusal::Unknown),
        })
    }
}

impl Exported {
    fn of(view: TransactionView) -> Self {
        let row = view.transaction;
        let prediction = view.prediction.map(|stored| stored.prediction);
        Self {
            transaction_id: row.id.into(),
            posted_at: row.posted_at,
            descriptor: row.descriptor.raw().to_owned(),
            amount: row.amount.amount(),
            currency: row.amount.currency().code().to_owned(),
            direction: row.direction.as_str().to_owned(),
            predicted: prediction.as_ref().map(|prediction| prediction.category.to_string()),
            confidence: prediction.as_ref().map(|prediction| prediction.confidence),
            engine: prediction.map(|prediction| prediction.provenance.engine),
            reason: None,
            category: None,
            category_before: None,
            scope: None,
            note: None,
            rows: None,
            decision: None,
            made_by: None,
            made_at: None,
        }
    }

    fn task(&self) -> Value {
        let chosen = |slug: &str| json!([{ "from_name": "category", "to_name": "text", "type": "choices", "value": { "choices": [slug] } }]);
        let predictions: Vec<Value> = self
            .predicted
            .iter()
            .map(|slug| json!({ "model_version": self.engine, "score": self.confidence, "result": chosen(slug) }))
            .collect();
        let annotations: Vec<Value> = self
            .category
            .iter()
            .map(|slug| json!({ "completed_by": self.made_by, "created_at": self.made_at, "result": chosen(slug) }))
            .collect();
        json!({
            "data": {
                "text": self.descriptor,
                "transaction_id": self.transaction_id,
                "posted_at": self.posted_at,
                "amount": self.amount,
                "currency": self.currency,
                "direction": self.direction,
            },
            "predictions": predictions,
            "annotations": annotations,
        })
    }
}

/// Writes rows in a format, as they come: a file is never in memory as a whole.
pub fn written(
    rows: impl Stream<Item = Result<Vec<Exported>, Error>> + Send,
    format: Format,
) -> impl Stream<Item = Result<Vec<u8>, Error>> + Send {
    let begin = match format {
        Format::Csv => header(),
        Format::Jsonl => Ok(Vec::new()),
        Format::LabelStudio => Ok(b"[".to_vec()),
    };
    let end = if format == Format::LabelStudio { b"]\n".to_vec() } else { Vec::new() };
    let mut first = true;
    let pages = rows.map(move |rows| {
        let rows = rows?;
        let file = write(&rows, format, !first);
        first &= rows.is_empty();
        file
    });
    stream::iter([begin]).chain(pages).chain(stream::iter([Ok(end)]))
}

/// Some rows of a file; whether there were any before them.
fn write(rows: &[Exported], format: Format, before: bool) -> Result<Vec<u8>, Error> {
    match format {
        Format::Csv => {
            let mut file = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
            for row in rows {
                let (descriptor, note) = (as_text(&row.descriptor), row.note.as_deref().map(as_text));
                file.serialize(Exported { descriptor, note, ..row.clone() })?;
            }
            Ok(file.into_inner().map_err(|error| csv::Error::from(error.into_error()))?)
        }
        Format::Jsonl => {
            let mut file = Vec::new();
            for row in rows {
                serde_json::to_writer(&mut file, row)?;
                file.push(b'\n');
            }
            Ok(file)
        }
        Format::LabelStudio => {
            let mut file = Vec::new();
            for (place, row) in rows.iter().enumerate() {
                file.extend_from_slice(if before || place > 0 { b",\n" } else { b"\n" });
                serde_json::to_writer(&mut file, &row.task())?;
            }
            Ok(file)
        }
    }
}

/// The header line of a table of rows.
fn header() -> Result<Vec<u8>, Error> {
    let mut file = csv::Writer::from_writer(Vec::new());
    file.write_record(COLUMNS)?;
    Ok(file.into_inner().map_err(|error| csv::Error::from(error.into_error()))?)
}

/// Writes what two people said as CSV: decision, transaction, who said what first, and who said what, and when, second.
///
/// # Errors
/// When a row can't be written.
pub fn write_pairs(pairs: &[LabelPair]) -> Result<Vec<u8>, Error> {
    let mut file = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    file.write_record(["decision", "transaction_id", "first_by", "first", "second_by", "second", "second_at"])?;
    for pair in pairs {
        file.serialize(pair)?;
    }
    Ok(file.into_inner().map_err(|error| csv::Error::from(error.into_error()))?)
}

/// A cell that no spreadsheet takes for a formula: a quote before what could begin one, as OWASP has it for CSV injection.
fn as_text(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

fn last_annotation(task: &Value) -> Option<&Value> {
    let annotations = task["annotations"].as_array()?;
    let done = annotations.iter().filter(|annotation| annotation["was_cancelled"] != json!(true));
    done.max_by_key(|annotation| annotation["updated_at"].as_str().unwrap_or_default().to_owned())
}

/// When it was said last, as far as it tells.
fn annotated_at(annotation: &Value) -> Option<DateTime<Utc>> {
    let at = annotation["updated_at"].as_str().or(annotation["created_at"].as_str())?;
    Some(DateTime::parse_from_rfc3339(at).ok()?.to_utc())
}

fn choice(annotation: &Value) -> Option<&str> {
    let results = annotation["result"].as_array()?;
    results.iter().find_map(|result| result["value"]["choices"][0].as_str())
}

fn annotator(annotation: &Value) -> String {
    match &annotation["completed_by"] {
        Value::String(name) => name.clone(),
        Value::Object(person) => person["email"].as_str().unwrap_or("somebody").to_owned(),
        Value::Number(number) => format!("person {number}"),
        _ => "somebody".to_owned(),
    }
}
