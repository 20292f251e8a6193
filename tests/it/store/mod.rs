//! The store against a real Postgres: what each unit of work promises.

mod concurrency;
mod history;
mod in_force;
mod ingest;
mod lists;
mod slow_line;
mod tables;
mod undo;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use txcat::{
    domain::{
        Correction, CorrectionScope, Descriptor, Direction, Money, Prediction, Provenance, ReviewReason, Slug,
        TextHash, Transaction, TransactionId, transaction::Status,
    },
    store::{Decision, Store, TransactionView},
};

/// A moment in the test's own time, so many hours after its beginning.
pub(crate) fn hour(hours: i64) -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hours)
}

pub(crate) fn id(text: &str) -> TransactionId {
    text.parse().unwrap()
}

pub(crate) fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

/// A posted debit of 12.50 CAD.
pub(crate) fn row(id: &str, account: &str, hours: i64, descriptor: &str) -> Transaction {
    Transaction::posted(
        id.parse().unwrap(),
        account.parse().unwrap(),
        hour(hours),
        money("12.50"),
        Direction::Debit,
        Descriptor::parse(descriptor).unwrap(),
    )
}

pub(crate) fn money(amount: &str) -> Money {
    Money::new(amount.parse::<Decimal>().unwrap(), "CAD".parse().unwrap()).unwrap()
}

pub(crate) fn pending(id: &str, account: &str, hours: i64, descriptor: &str) -> Transaction {
    Transaction { status: Status::Pending, ..row(id, account, hours, descriptor) }
}

pub(crate) fn replacing(old: &str, new: Transaction) -> Transaction {
    Transaction { replaces: Some(id(old)), ..new }
}

/// What a stage might say.
pub(crate) fn said(id: &str, category: &str, confidence: f32) -> Decision {
    let text = format!("text of {id}");
    Decision {
        transaction_id: id.parse().unwrap(),
        prediction: Prediction {
            category: slug(category),
            confidence,
            alternatives: Vec::new(),
            evidence: Vec::new(),
            provenance: Provenance {
                stage: "test".to_owned(),
                engine: "test@00000000".to_owned(),
                taxonomy: "test@00000000".to_owned(),
                text: TextHash::of(&text),
            },
        },
        text,
        merchant_id: None,
        rule: None,
        level: None,
        review: (confidence < 0.5).then_some(ReviewReason::LowConfidence),
    }
}

pub(crate) fn correction(id: &str, category: &str, scope: CorrectionScope, hours: i64) -> Correction {
    Correction {
        transaction_id: id.parse().unwrap(),
        category: slug(category),
        scope,
        note: None,
        made_by: "analyst".to_owned(),
        made_at: hour(hours),
    }
}

pub(crate) async fn view(store: &Store, text: &str) -> TransactionView {
    store.view(&id(text)).await.unwrap().unwrap()
}

/// Category in force, who decided it, and the state of review, in one line.
pub(crate) async fn in_force(store: &Store, text: &str) -> String {
    let view = view(store, text).await;
    match view.in_force {
        Some(in_force) => format!("{} by {}, {}", in_force.category, in_force.decided_by, view.review_status),
        None => format!("nothing, {}", view.review_status),
    }
}
