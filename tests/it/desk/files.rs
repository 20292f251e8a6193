//! Decisions as files, and decisions that come from one.

use chrono::TimeDelta;
use serde_json::{Value, json};
use txcat::clock;

use super::{claimed, decision, place, stands};
use crate::harness::App;

async fn file(app: &App, query: &str) -> String {
    let answer = app.get(&format!("/v1/reviews/export?{query}")).await;
    assert_eq!(answer.status, 200);
    match answer.body {
        Value::String(text) => text,
        body => body.to_string(),
    }
}

#[tokio::test]
async fn what_a_stranger_wrote_is_no_formula_in_a_spreadsheet() {
    let app = App::start().await;
    app.ingest(&[place("f", "acc-1", "=CMD|' /C calc'!A0 PLACE", "5.00")]).await;
    let table = file(&app, "format=csv&what=waiting").await;
    assert!(table.contains("'=CMD|' /C calc'!A0 PLACE"), "{table}");
    let lines = file(&app, "format=jsonl&what=waiting").await;
    assert!(lines.contains("\"=CMD|' /C calc'!A0 PLACE\""), "as it was written, for programs: {lines}");
}

#[tokio::test]
async fn decisions_are_written_for_other_programs_without_those_that_were_taken_back() {
    let app = App::start().await;
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "5.00"), place("b", "acc-1", "GRAND, HALL", "9.00")]).await;
    claimed(&app, json!({ "count": 10 })).await;
    let first = app.post("/v1/reviews/decisions", &decision("a", "bar_and_nightlife", "transaction")).await.with(201);
    app.post("/v1/reviews/decisions", &decision("b", "fast_food", "merchant")).await.with(201);
    app.post(&format!("/v1/reviews/decisions/{}/undo", first["decision"]), &json!({})).await.with(200);
    let table = file(&app, "format=csv").await;
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let columns = rows.headers().unwrap().clone();
    let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1);
    let cell = |name: &str| rows[0].get(columns.iter().position(|column| column == name).unwrap()).unwrap();
    assert_eq!((cell("descriptor"), cell("category"), cell("scope")), ("GRAND, HALL", "fast_food", "merchant"));
    assert_eq!((cell("category_before"), cell("made_by")), ("restaurant", "local"));
    assert_eq!(cell("reason"), "low_confidence", "why it waited");
    let line: Value = serde_json::from_str(file(&app, "format=jsonl").await.trim()).unwrap();
    assert_eq!((&line["transaction_id"], &line["amount"]), (&json!("b"), &json!("9")));
    let tasks: Value = serde_json::from_str(&file(&app, "format=label_studio").await).unwrap();
    assert_eq!(tasks[0]["annotations"][0]["result"][0]["value"]["choices"], json!(["fast_food"]));
    let waiting: Value = serde_json::from_str(&file(&app, "format=label_studio&what=waiting").await).unwrap();
    assert_eq!(waiting[0]["data"]["transaction_id"], "a");
    assert_eq!(waiting[0]["predictions"][0]["result"][0]["value"]["choices"], json!(["restaurant"]));
    app.get("/v1/reviews/export?format=xml").await.with(400);
}

#[tokio::test]
async fn what_label_studio_annotated_is_decided_here_and_the_same_file_may_come_twice() {
    let app = App::start().await;
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "5.00"), place("b", "acc-1", "GRAND HALL", "9.00")]).await;
    let text = file(&app, "format=label_studio&what=waiting").await;
    let mut tasks: Vec<Value> = serde_json::from_str(&text).unwrap();
    tasks.sort_by_key(|task| task["data"]["transaction_id"].to_string());
    let annotated = |choice: &str, more: Value| {
        let result = json!([{ "from_name": "category", "to_name": "text", "type": "choices", "value": { "choices": [choice] } }]);
        let mut annotation = json!({ "completed_by": { "email": "ann@example.com" }, "result": result });
        annotation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        annotation
    };
    tasks[0]["annotations"] = json!([
        annotated("fast_food", json!({ "updated_at": "2026-01-01T00:00:00Z" })),
        annotated("bar_and_nightlife", json!({ "updated_at": "2026-01-02T00:00:00Z" })),
        annotated("coffee_shop", json!({ "updated_at": "2026-01-03T00:00:00Z", "was_cancelled": true })),
    ]);
    tasks.push(json!({ "data": { "transaction_id": "nobody" }, "annotations": [annotated("fuel", json!({}))] }));
    tasks.push(json!({ "data": { "transaction_id": "a" }, "annotations": [annotated("moon", json!({}))] }));
    tasks.push(json!({ "data": {}, "annotations": [annotated("fuel", json!({}))] }));
    let body = json!(tasks);
    let imported = app.post("/v1/reviews/import", &body).await.with(200);
    insta::assert_json_snapshot!(imported);
    assert_eq!(stands(&app, "a").await, "bar_and_nightlife by correction, reviewed");
    assert_eq!(stands(&app, "b").await, "restaurant by stage, pending");
    let again = async |tasks: &[Value]| {
        let again = app.post("/v1/reviews/import", &json!(tasks)).await.with(200);
        ["decided", "known", "superseded"].map(|count| again[count].as_u64().unwrap())
    };
    assert_eq!(again(&tasks).await, [0, 1, 0]);

    // Exports repeat all annotations: what somebody said here since stays, until it is annotated anew or taken back.
    let word = json!({ "category": "fuel", "scope": "transaction" });
    let said = app.post("/v1/transactions/a/correction", &word).await.with(200);
    assert_eq!(said["category"], "fuel");
    assert_eq!(again(&tasks).await, [0, 0, 1]);
    assert_eq!(stands(&app, "a").await, "fuel by correction, reviewed");
    let later = json!({ "updated_at": clock::now() + TimeDelta::hours(1) });
    tasks[0]["annotations"].as_array_mut().unwrap().push(annotated("coffee_shop", later));
    assert_eq!(again(&tasks).await, [1, 0, 0]);
    assert_eq!(stands(&app, "a").await, "coffee_shop by correction, reviewed");
}
