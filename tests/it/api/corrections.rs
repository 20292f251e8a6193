//! Reviews and corrections.

use serde_json::{Value, json};

use crate::harness::{App, row, with};

async fn waiting(app: &App) -> Vec<String> {
    let queue = app.get("/v1/reviews").await.with(200);
    let ids = queue["reviews"].as_array().unwrap().iter();
    ids.map(|item| item["transaction"]["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_doubtful_transaction_waits_for_review_and_a_correction_takes_it_off() {
    let app = App::start().await;
    app.ingest(&[row("sure", "COFFEE"), row("unsure", "CORNER PLACE")]).await;
    let queue = app.get("/v1/reviews").await.with(200);
    insta::assert_json_snapshot!(queue, {
        ".reviews[].opened_at" => "[time]",
        ".reviews[].transaction.taxonomy" => "[taxonomy]",
    });
    let correction = json!({ "category": "bar_and_nightlife", "scope": "transaction", "note": "beer\nand wine" });
    let corrected = app.post("/v1/transactions/unsure/correction", &correction).await.with(200);
    assert_eq!(corrected["category"], "bar_and_nightlife");
    assert_eq!(corrected["decided_by"], "correction");
    assert_eq!(corrected["review_status"], "reviewed");
    assert_eq!(corrected["predicted"], "restaurant", "the prediction stays beside the correction");
    assert!(waiting(&app).await.is_empty());
}

#[tokio::test]
async fn the_next_transaction_of_the_account_and_merchant_follows_a_correction_at_once() {
    let app = App::start().await;
    app.ingest(&[row("t1", "CORNER PLACE 0412")]).await;
    let correction = json!({ "category": "bar_and_nightlife", "scope": "account_merchant" });
    app.post("/v1/transactions/t1/correction", &correction).await.with(200);
    let results = app
        .ingest(&[
            with(row("next", "CORNER PLACE 0977"), json!({ "posted_at": "2026-03-15" })),
            with(row("other-account", "CORNER PLACE 0977"), json!({ "account_id": "acc-2" })),
            with(row("refund", "CORNER PLACE 0977"), json!({ "direction": "credit" })),
            row("other-merchant", "ANOTHER PLACE"),
        ])
        .await;
    let decided: Vec<(&Value, &Value)> =
        results.iter().map(|result| (&result["category"], &result["decided_by"])).collect();
    let (ruled, by_stage) =
        ((json!("bar_and_nightlife"), json!("account_rule")), (json!("restaurant"), json!("stage")));
    assert_eq!(decided[0], (&ruled.0, &ruled.1));
    assert_eq!(results[0]["predicted"], "restaurant");
    for other in &decided[1..] {
        assert_eq!(*other, (&by_stage.0, &by_stage.1));
    }
    assert!(!waiting(&app).await.contains(&"next".to_owned()));
}

#[tokio::test]
async fn a_correction_of_this_transaction_alone_does_not_reach_the_next() {
    let app = App::start().await;
    app.ingest(&[row("t1", "CORNER PLACE")]).await;
    let correction = json!({ "category": "bar_and_nightlife", "scope": "transaction" });
    app.post("/v1/transactions/t1/correction", &correction).await.with(200);
    let next = app.ingest(&[with(row("t2", "CORNER PLACE"), json!({ "posted_at": "2026-03-15" }))]).await;
    assert_eq!(next[0]["category"], "restaurant");
}

#[tokio::test]
async fn a_repeated_row_says_the_category_in_force_now() {
    let app = App::start().await;
    app.ingest(&[row("t1", "CORNER PLACE")]).await;
    let correction = json!({ "category": "bar_and_nightlife", "scope": "transaction" });
    app.post("/v1/transactions/t1/correction", &correction).await.with(200);
    let again = app.ingest(&[row("t1", "CORNER PLACE")]).await;
    assert_eq!(again[0]["category"], "bar_and_nightlife");
    assert_eq!(again[0]["predicted"], "restaurant");
}

#[tokio::test]
async fn a_correction_that_makes_no_sense_is_refused() {
    let app = App::start().await;
    app.ingest(&[row("t1", "CORNER PLACE")]).await;
    let mut refused = Vec::new();
    for (path, body) in [
        ("t1", json!({ "category": "moon_travel", "scope": "transaction" })),
        ("t1", json!({ "category": "eating_out", "scope": "transaction" })),
        ("t1", json!({ "category": "Not A Slug", "scope": "transaction" })),
        ("t1", json!({ "category": "coffee_shop", "scope": "everyone" })),
        ("t1", json!({ "category": "coffee_shop" })),
        ("t1", json!({ "category": "coffee_shop", "scope": "transaction", "by": "me" })),
        ("t1", json!({ "category": "coffee_shop", "scope": "transaction", "note": "x".repeat(1_001) })),
        ("nobody", json!({ "category": "coffee_shop", "scope": "transaction" })),
    ] {
        let answer = app.post(&format!("/v1/transactions/{path}/correction"), &body).await;
        let problem = answer.body;
        refused.push(json!([answer.status, problem["type"], problem["pointer"], problem["detail"]]));
    }
    insta::assert_json_snapshot!(refused, { "[][3]" => insta::dynamic_redaction(|detail, _| {
        let text = detail.as_str().unwrap();
        text.split(" in taxonomy ").next().unwrap().to_owned()
    }) });
    assert_eq!(app.get("/v1/transactions/t1").await.with(200)["decided_by"], "stage");
}
