//! Lists, filters and cursors.

use serde_json::{Value, json};
use txcat::{clock, store::NewEvalRun};

use crate::harness::{App, row, with};

fn ids(page: &Value) -> Vec<&str> {
    page["transactions"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn filters_narrow_a_list() {
    let app = App::start().await;
    app.ingest(&[
        with(row("jan", "COFFEE 0412"), json!({ "posted_at": "2026-01-05" })),
        with(row("feb", "COFFEE 0977"), json!({ "posted_at": "2026-02-05T12:00:00Z" })),
        with(row("mar", "CORNER PLACE"), json!({ "posted_at": "2026-03-05", "account_id": "acc-2" })),
    ])
    .await;
    let key = app.get("/v1/transactions/jan").await.with(200)["descriptor_key"].as_str().unwrap().to_owned();
    for (query, expected) in [
        (String::new(), vec!["mar", "feb", "jan"]),
        ("?account_id=acc-2".into(), vec!["mar"]),
        ("?category=coffee_shop".into(), vec!["feb", "jan"]),
        ("?review_status=pending".into(), vec!["mar"]),
        ("?from=2026-02-05T12:00:00Z".into(), vec!["mar", "feb"]),
        ("?from=2026-01-05&to=2026-03-05".into(), vec!["feb", "jan"]),
        (format!("?descriptor_key={key}&to=2026-02-01"), vec!["jan"]),
        ("?account_id=nobody".into(), vec![]),
        ("?limit=500".into(), vec!["mar", "feb", "jan"]),
    ] {
        let page = app.get(&format!("/v1/transactions{query}")).await.with(200);
        assert_eq!(ids(&page), expected, "{query}");
        assert_eq!(page["next"], Value::Null);
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition_while_rows_come_in() {
    let app = App::start().await;
    let day = |id: &str, day: u32| with(row(id, "COFFEE"), json!({ "posted_at": format!("2026-03-{day:02}") }));
    let rows: Vec<Value> = (0..7).map(|n| day(&format!("t{n}"), 10 + n / 3)).collect();
    app.ingest(&rows).await;
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = app.get(&format!("/v1/transactions?limit=2{after}")).await.with(200);
        assert!(ids(&page).len() <= 2);
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        app.ingest(&[day(&format!("new{}", seen.len()), 20)]).await;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]);
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused() {
    let app = App::start().await;
    let mut refused = Vec::new();
    for query in [
        "limit=0",
        "limit=501",
        "limit=many",
        "acount_id=a",
        "account_id=",
        "category=Not-A-Slug",
        "from=yesterday",
        "after=00",
        "review_status=maybe",
        "limit=1&limit=2",
    ] {
        let problem = app.get(&format!("/v1/transactions?{query}")).await.with(400);
        refused.push(json!({ query: problem["detail"] }));
    }
    insta::assert_json_snapshot!(refused);
}

#[tokio::test]
async fn the_categories_are_those_of_the_taxonomy() {
    let app = App::start().await;
    let body = app.get("/v1/categories").await.with(200);
    let categories = body["categories"].as_array().unwrap();
    let find = |slug: &str| categories.iter().find(|category| category["slug"] == slug).unwrap();
    assert!(body["taxonomy"].as_str().unwrap().starts_with("consumer@"));
    assert_eq!(find("coffee_shop")["parent"], "eating_out");
    assert_eq!(find("coffee_shop")["assignable"], true);
    assert_eq!(find("eating_out")["assignable"], false);
}

#[tokio::test]
async fn accuracy_is_empty_before_anything_was_measured() {
    let app = App::start().await;
    assert_eq!(app.get("/v1/accuracy").await.with(200), json!({ "runs": [], "live": [], "confidence_levels": [] }));
}

#[tokio::test]
async fn accuracy_is_what_was_stored_with_its_interval() {
    let app = App::start().await;
    let run = NewEvalRun {
        started_at: clock::now(),
        data_set: "demo".to_owned(),
        file: "test_natural.csv.gz".to_owned(),
        file_sha256: [7; 32],
        stage: "adapter".to_owned(),
        engine: "adapter:demo@1f3a9c02".to_owned(),
        taxonomy: "consumer@00000000".to_owned(),
        peer: false,
        label_budget: Some(12_000),
        labels_sha256: Some([9; 32]),
        seed: Some(1),
        code_version: Some("0.1.0".to_owned()),
        target: Some(0.92),
        rows: 200,
        correct: 180,
        known_rows: 100,
        known_correct: 98,
        macro_f1: 0.8,
        ece: Some(0.02),
        coverage_at_target: Some(0.95),
        rows_per_s: Some(500.0),
        cost_per_1000: None,
        currency: None,
    };
    app.store.insert_run(&run, &[]).await.unwrap();
    insta::assert_json_snapshot!(app.get("/v1/accuracy").await.with(200));
}
