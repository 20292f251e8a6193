//! The accuracy tracker: figures that Postgres computes, runs compared, stages checked, other trackers fed.

mod api;
mod commands;
mod figures;
mod live;

use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rust_decimal::Decimal;
use serde_json::json;
use txcat::{
    clock,
    domain::Taxonomy,
    store::{EvalItem, NewEvalRun, Store},
};

/// Some categories of the consumer taxonomy; the first three are details of one primary.
pub(crate) const CATEGORIES: [&str; 6] = ["coffee_shop", "restaurant", "fast_food", "supermarket", "fuel", "rent"];

/// Rows as an engine would answer them that has a share of the merchants right. Rows of one merchant are right or wrong
/// together; confidences are often tied; one row in forty has no answer.
pub(crate) fn answered(seed: u64, rows: usize, share: f64) -> Vec<EvalItem> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let wrong: Vec<bool> = (0..rows / 4).map(|_| !rng.random_bool(share)).collect();
    (0..rows).map(|row| item(&mut rng, row, &wrong)).collect()
}

fn item(rng: &mut ChaCha8Rng, row: usize, wrong: &[bool]) -> EvalItem {
    // What the row is depends on its number alone, so that two engines are asked about the same rows.
    let mut facts = ChaCha8Rng::seed_from_u64(row as u64);
    let merchant = facts.random_range(0..wrong.len());
    let gold = merchant % CATEGORIES.len();
    let miss = wrong[merchant] != rng.random_bool(0.05);
    let answer = if miss { (gold + rng.random_range(1..CATEGORIES.len())) % CATEGORIES.len() } else { gold };
    let other = (answer + 1) % CATEGORIES.len();
    let third = (answer + 3) % CATEGORIES.len();
    let unanswered = facts.random_bool(0.025);
    let confidence = f32::from(rng.random_range(8..=20_u8)) / 20.0;
    let shares = [0.7, 0.2].map(|share| share * (1.0 - confidence));
    let right = !unanswered && answer == gold;
    let (gold_rank, gold_probability) = match gold {
        _ if unanswered => (None, 0.0),
        _ if right => (Some(1), confidence),
        gold if gold == other => (Some(2), shares[0]),
        gold if gold == third => (Some(3), shares[1]),
        _ => (None, 0.0),
    };
    EvalItem {
        item_id: format!("row-{row:06}"),
        expected: CATEGORIES[gold].to_owned(),
        predicted: if unanswered { "uncategorized" } else { CATEGORIES[answer] }.to_owned(),
        confidence: if unanswered { 0.0 } else { confidence },
        known_key: merchant % 3 > 0,
        descriptor_key: Some(format!("merchant {merchant}")),
        direction: Some(if facts.random_bool(0.9) { "debit" } else { "credit" }.to_owned()),
        amount: Some(Decimal::new(facts.random_range(1..300_000), 2)),
        country: facts.random_bool(0.8).then(|| "CA".to_owned()),
        posted_at: Some(begin() + TimeDelta::hours(facts.random_range(0..4_000))),
        account_age_days: Some(facts.random_range(0..900)),
        head_merchant: Some(merchant % 5 == 0),
        alternatives: Some(json!([
            { "category": CATEGORIES[other], "confidence": shares[0] },
            { "category": CATEGORIES[third], "confidence": shares[1] },
        ])),
        gold_rank,
        gold_probability: Some(gold_probability),
        decided_by: Some("adapter:demo@1f3a9c02".to_owned()),
        latency_ms: Some(0.25 * f32::from(rng.random_range(1..=8_u8))),
        tokens: None,
        cost: None,
        error: unanswered.then(|| "the model declined".to_owned()),
    }
}

fn begin() -> DateTime<Utc> {
    "2026-01-15T00:00:00Z".parse().unwrap()
}

/// A run of rows, as a command stores it.
pub(crate) fn run(stage: &str, items: &[EvalItem]) -> NewEvalRun {
    let count = |keep: fn(&&EvalItem) -> bool| i32::try_from(items.iter().filter(keep).count()).unwrap();
    NewEvalRun {
        started_at: clock::now(),
        data_set: "made".to_owned(),
        file: "test_recent".to_owned(),
        file_sha256: [7; 32],
        stage: stage.to_owned(),
        engine: format!("{stage}:made@00000000"),
        peer: false,
        taxonomy: Taxonomy::consumer().unwrap().version().to_owned(),
        label_budget: Some(100),
        labels_sha256: Some([9; 32]),
        seed: Some(1),
        code_version: Some("0.1.0".to_owned()),
        target: Some(0.92),
        rows: count(|_| true),
        correct: count(|item| item.gold_rank == Some(1)),
        known_rows: count(|item| item.known_key),
        known_correct: count(|item| item.known_key && item.gold_rank == Some(1)),
        macro_f1: 0.5,
        ece: Some(0.1),
        coverage_at_target: Some(0.5),
        rows_per_s: Some(10.0),
        cost_per_1000: None,
        currency: None,
    }
}

/// Stores a run and its rows.
pub(crate) async fn stored(store: &Store, stage: &str, items: &[EvalItem]) -> i64 {
    store.sync_taxonomy(&Taxonomy::consumer().unwrap(), clock::now()).await.unwrap();
    store.insert_run(&run(stage, items), items).await.unwrap()
}
