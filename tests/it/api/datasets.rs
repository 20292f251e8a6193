//! Labelled sets made of what people said.

use serde_json::{Value, json};
use txcat::access::Scope;

use crate::harness::{App, row, with};

/// Sends rows and says what each is.
async fn labelled(app: &App, n: usize) {
    let kind = |n: usize| [("COFFEE HOUSE", "coffee_shop"), ("MARKET HALL", "supermarket")][n % 2];
    let rows: Vec<Value> = (0..n)
        .map(|n| {
            with(row(&format!("t{n:03}"), &format!("N{n}X {}", kind(n).0)), json!({ "amount": format!("{n}.50") }))
        })
        .collect();
    app.ingest(&rows).await;
    for n in 0..n {
        let correction = json!({ "category": kind(n).1, "scope": "transaction" });
        app.post(&format!("/v1/transactions/t{n:03}/correction"), &correction).await.with(200);
    }
}

#[tokio::test]
async fn corrections_become_a_checked_set_that_keeps_its_labels() {
    let app = App::start().await;
    labelled(&app, 24).await;
    app.ingest(&[row("unlabelled", "COFFEE")]).await;
    let made = app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    let (dataset, report) = (&made["dataset"], &made["report"]);
    assert_eq!((&dataset["rows"], &dataset["source"]), (&json!(24), &json!("store")), "{dataset}");
    assert_eq!((&report["rows"], &report["passed"]), (&json!(24), &dataset["passed"]));
    let check = |name: &str| {
        let checks = report["checks"].as_array().unwrap().iter();
        checks.clone().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!(check("schema")["level"], "pass");
    assert_eq!(check("counts")["level"], "warn");
    assert!(check("leakage")["says"].as_str().unwrap().contains("no held-out file"));

    let id = dataset["id"].as_i64().unwrap();
    assert_eq!(app.get(&format!("/v1/datasets/{id}")).await.with(200), made);
    let list = app.get("/v1/datasets?limit=1").await.with(200);
    assert_eq!(list["datasets"], json!([dataset]));
    // A later correction changes neither the set nor its report; the next set is another one.
    let items = app.store.dataset_items(id).await.unwrap();
    let correction = json!({ "category": "restaurant", "scope": "transaction" });
    app.post("/v1/transactions/t000/correction", &correction).await.with(200);
    assert_eq!(app.store.dataset_items(id).await.unwrap(), items);
    assert!(items.len() == 24 && items[0].category == "coffee_shop" && items[0].transaction_id == "t000");
    let other = app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    assert_ne!(other["dataset"]["id"], dataset["id"]);
    let again = app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    assert_eq!(again["dataset"]["id"], other["dataset"]["id"], "the same labels are the same set");
}

#[tokio::test]
async fn a_set_needs_labels_and_a_name_and_an_unknown_one_is_not_found() {
    let app = App::start().await;
    let nothing = app.post("/v1/datasets", &json!({ "name": "early" })).await.with(422);
    assert_eq!(nothing["type"], "urn:txcat:problem:no-labels");
    for body in [json!({}), json!({ "name": " " }), json!({ "name": "x".repeat(101) }), json!({ "name": "a", "b": 1 })]
    {
        assert_eq!(app.post("/v1/datasets", &body).await.with(422)["type"], "urn:txcat:problem:invalid-body", "{body}");
    }
    for id in ["1", "-1", "x", "99999999999999999999"] {
        let problem = app.get(&format!("/v1/datasets/{id}")).await.with(404);
        assert_eq!(problem["type"], "urn:txcat:problem:unknown-dataset");
    }
    assert_eq!(app.get("/v1/datasets").await.with(200), json!({ "datasets": [] }));
}

#[tokio::test]
async fn making_a_set_is_batch_work_and_looking_is_reading() {
    let app = App::start_with_key(&[Scope::Read]).await;
    app.post("/v1/datasets", &json!({ "name": "a" })).await.with(403);
    app.get("/v1/datasets").await.with(200);
}
