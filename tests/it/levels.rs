//! What a confidence promises: said with every answer, held against people's word, and taken back where it breaks.

use std::sync::Arc;

use serde_json::{Value, json};
use txcat::{
    adapters::roster,
    categorize::{Calibration, Lineup, Stage},
    clock,
    domain::{Acceptance, ConfidenceLevel, Enrichment, Judged, Taxonomy},
    evaluate::promise,
    store,
};

use crate::{
    database::fresh_store,
    harness::{App, PATIENCE, Scripted, row},
};

/// Of the scripted engine's three confidences, the highest was always right, the next in 96 of 100, the lowest in 30.
fn fitted() -> Calibration {
    let answers =
        |confidence: f32, right: usize| (0..100).map(move |at| Judged { confidence, right: at < right, known: false });
    let judged: Vec<Judged> = answers(0.96875, 100).chain(answers(0.9375, 96)).chain(answers(0.375, 30)).collect();
    Calibration::of_calibrated(&judged, Acceptance { known: Some(0.9), unknown: Some(0.9) })
}

/// Everything that is accepted is drawn for an audit.
async fn app() -> App {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(Scripted::new(taxonomy.version())));
    stage.calibrate(fitted());
    let app = App::answering(store, database, Arc::clone(&taxonomy), Lineup::alone(stage), 1.0).await;
    app.store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    app
}

async fn reasons(app: &App, reason: &str) -> Vec<String> {
    let queue = app.get(&format!("/v1/reviews?reason={reason}&limit=500")).await.with(200);
    let ids = queue["reviews"].as_array().unwrap().iter();
    ids.map(|item| item["transaction"]["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_answer_says_what_its_confidence_promises_and_so_does_a_later_look() {
    let app = app().await;
    let said = app.ingest(&[row("a", "COFFEE"), row("b", "MARKET"), row("c", "PLACE")]).await;
    let levels: Vec<&Value> = said.iter().map(|said| &said["confidence_level"]).collect();
    assert_eq!(levels, [&json!("very_high"), &json!("high"), &json!("low")]);
    assert_eq!(app.get("/v1/transactions/b").await.with(200)["confidence_level"], "high");
}

#[tokio::test]
async fn nothing_is_promised_before_anything_is_fitted() {
    let app = App::start().await;
    assert_eq!(app.ingest(&[row("a", "COFFEE")]).await[0]["confidence_level"], Value::Null);
}

#[tokio::test]
async fn a_running_server_takes_up_what_was_fitted() {
    let app = App::start().await;
    let stage = app.pipeline.lineup().champion().clone();
    let fitting = store::Calibration {
        engine: stage.engine().to_owned(),
        taxonomy: Taxonomy::consumer().unwrap().version().to_owned(),
        target: 0.92,
        parameters: serde_json::to_value(fitted()).unwrap(),
        rows: 300,
        fitted_on: "made/dev".to_owned(),
        fitted_at: clock::now(),
    };
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    let follows = tokio::spawn(roster::follow_fitted(app.store.clone(), taxonomy, stage, Arc::clone(&app.pipeline)));
    assert_eq!(app.ingest(&[row("before", "COFFEE")]).await[0]["confidence_level"], Value::Null);
    app.store.put_calibration(&fitting).await.unwrap();
    let taken_up = async {
        let mut number = 0;
        while app.ingest(&[row(&format!("t{number}"), "COFFEE")]).await[0]["confidence_level"] != "very_high" {
            number += 1;
        }
    };
    tokio::time::timeout(PATIENCE, taken_up).await.expect("it was told, and does not wait a minute");
    follows.abort();
}

#[tokio::test]
async fn a_persons_rule_is_no_promise_of_the_stage() {
    let app = app().await;
    app.ingest(&[row("a", "COFFEE")]).await;
    let correction = json!({"category": "restaurant", "scope": "account_merchant"});
    app.post("/v1/transactions/a/correction", &correction).await.with(200);
    let later = &app.ingest(&[row("b", "COFFEE")]).await[0];
    assert_eq!((&later["category"], &later["confidence_level"]), (&json!("restaurant"), &Value::Null));
}

#[tokio::test]
async fn a_level_that_breaks_its_promise_goes_to_people_until_it_holds_again() {
    let app = app().await;
    let rows: Vec<Value> = (0..30).map(|n| row(&format!("t{n}"), &format!("COFFEE {n}"))).collect();
    app.ingest(&rows).await;
    app.ingest(&[row("market", "MARKET")]).await;
    let say = async |id: String, category: &str| {
        let correction = json!({"category": category, "scope": "transaction"});
        app.post(&format!("/v1/transactions/{id}/correction"), &correction).await.with(200);
    };
    for n in 0..30 {
        say(format!("t{n}"), if n < 5 { "restaurant" } else { "coffee_shop" }).await;
    }
    // 25 of 30 is 66 to 93 %.
    let now = clock::now();
    let live = promise::live(&app.store, now).await.unwrap();
    let [coffee] = &live[..] else { panic!("nobody has spoken about the market: {live:?}") };
    assert_eq!((coffee.level, coffee.right.n, coffee.is_kept()), (ConfidenceLevel::VeryHigh, 30, false));
    app.pipeline.distrust(promise::broken(&live));
    app.ingest(&[row("next", "COFFEE 99"), row("other", "MARKET 99")]).await;
    assert_eq!(reasons(&app, "broken_promise").await, ["next"]);
    assert!(reasons(&app, "audit").await.contains(&"other".to_owned()));

    // What people say of these counts too; and what was said long ago no longer does.
    say("next".to_owned(), "coffee_shop").await;
    assert_eq!(promise::live(&app.store, now).await.unwrap()[0].right.n, 31);
    let later = now + chrono::TimeDelta::days(promise::DAYS + 1);
    assert!(promise::broken(&promise::live(&app.store, later).await.unwrap()).is_empty());
}
