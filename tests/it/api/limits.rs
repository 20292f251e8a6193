//! How much a key may ask for, and how it is told.

use std::num::NonZeroU32;

use serde_json::json;
use txcat::access::{KeyLimits, Scope};

use crate::harness::{App, Run as _, Said, row, txcat};

#[tokio::test]
async fn a_key_is_told_what_it_has_left_and_refused_what_is_too_much() {
    let mut app = App::start().await;
    let limits = KeyLimits { requests_per_minute: NonZeroU32::new(3), rows_per_day: None };
    let key = app.make_limited_key("few", &[Scope::Read], None, limits).await;
    let other = app.make_key("many", &[Scope::Read], None).await;
    app.use_key(&key);
    for left in [2, 1, 0] {
        let answer = app.get("/v1/categories").await;
        assert_eq!(answer.headers["ratelimit-policy"], "\"requests\";q=3;w=60");
        let told = answer.headers["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"requests\";r={left};t=")), "{told}");
        answer.with(200);
    }
    let refused = app.get("/v1/categories").await;
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
    assert!(refused.headers["ratelimit"].to_str().unwrap().starts_with("\"requests\";r=0;t="));
    assert_eq!(refused.with(429)["type"], "urn:txcat:problem:too-many-requests");
    // What is refused for its scope counts too, and health needs no key.
    app.get("/healthz").await.with(200);
    app.use_key(&other);
    let answer = app.get("/v1/categories").await;
    assert_eq!(answer.headers["ratelimit-policy"], "\"requests\";q=12000;w=60");
    answer.with(200);
}

#[tokio::test]
async fn a_day_s_rows_are_counted_across_servers_and_none_is_taken_beyond() {
    let mut app = App::start().await;
    let limits = KeyLimits { requests_per_minute: None, rows_per_day: NonZeroU32::new(3) };
    let key = app.make_limited_key("few", &[Scope::Ingest, Scope::Read], None, limits).await;
    app.use_key(&key);
    app.ingest(&[row("t1", "COFFEE"), row("t2", "COFFEE")]).await;
    let body = json!({ "transactions": [row("t3", "COFFEE"), row("t4", "COFFEE")] });
    let refused = app.post("/v1/transactions", &body).await;
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait));
    assert_eq!(refused.with(429)["type"], "urn:txcat:problem:quota-spent");
    assert_eq!(app.count().await, 2, "a call is taken whole or not at all");
    app.ingest(&[row("t3", "COFFEE")]).await;
    app.post("/v1/transactions", &json!({ "transactions": [row("t5", "COFFEE")] })).await.with(429);
}

/// What the program says to someone at the server.
fn told(app: &App, arguments: &[&str]) -> Said {
    txcat(arguments).on(&app.database.url).run()
}

#[tokio::test]
async fn what_a_key_may_ask_for_stands_in_the_list_of_keys_and_in_the_audit_log() {
    let app = App::start().await;
    let create = ["keys", "create", "--name", "few", "--scope", "read"];
    let limits = ["--requests-per-minute", "60", "--rows-per-day", "5000"];
    told(&app, &[&create[..], &limits].concat()).ok();
    app.make_key("many", &[Scope::Read], None).await;
    let list = told(&app, &["keys", "list"]).ok();
    let of = |name: &str| list.lines().find(|line| line.contains(name)).unwrap();
    assert!(of("few").contains("60 requests a minute, 5,000 rows a day"), "{list}");
    assert!(of("many").contains("default"), "{list}");
    let keys = told(&app, &["keys", "list", "--json"]).json();
    let few = keys["keys"].as_array().unwrap().iter().find(|key| key["name"] == "few").unwrap();
    assert_eq!(
        (&few["state"], &few["scopes"], &few["rows_per_day"]),
        (&json!("open"), &json!(["read"]), &json!(5_000))
    );
    let log = told(&app, &["audit", "list", "--json"]).json();
    let made = log["acts"].as_array().unwrap().iter().find(|act| act["detail"]["name"] == "few").unwrap();
    assert_eq!((&made["act"], &made["detail"]["requests_per_minute"]), (&json!("key.made"), &json!(60)));
    assert_eq!(made["detail"]["rows_per_day"], 5_000);
}

#[tokio::test]
async fn nobody_is_linked_to_a_provider_that_others_may_read_along_with() {
    let app = App::start().await;
    told(&app, &["people", "add", "anna"]).ok();
    let link = ["people", "link", "anna", "subject-1", "--oidc-issuer"];
    let error = told(&app, &[&link[..], &["http://id.bank.example"]].concat()).refused(2);
    assert!(error.contains("must be an https address"), "{error}");
    told(&app, &[&link[..], &["https://id.bank.example"]].concat()).ok();
}

#[tokio::test]
async fn the_service_tells_itself_in_numbers_without_a_word_of_what_was_sent() {
    let app = App::start().await;
    app.ingest(&[row("secret-1", "SECRET CORNER"), row("t2", "COFFEE")]).await;
    app.get("/v1/transactions/secret-1").await.with(200);
    app.get("/v1/transactions/nobody").await.with(404);
    app.get("/nowhere").await.with(404);
    let pool = sqlx::PgPool::connect(&app.database.url).await.unwrap();
    let spend = "insert into model_spend (day, currency, spent) values ((now() at time zone 'UTC')::date, 'USD', 1.25)";
    sqlx::query(spend).execute(&pool).await.unwrap();
    let answer = app.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.with(200).as_str().unwrap().to_owned();
    for line in [
        "txcat_http_requests_total{method=\"GET\",route=\"/v1/transactions/{id}\",status=\"404\"} 1",
        "txcat_http_requests_total{method=\"POST\",route=\"/v1/transactions\",status=\"200\"} 1",
        "txcat_http_requests_total{method=\"GET\",route=\"unknown\",status=\"404\"} 1",
        "txcat_http_request_seconds_count{method=\"POST\",route=\"/v1/transactions\"} 1",
        "txcat_review_waiting 1",
        "txcat_jobs{state=\"waiting\"} 0",
        "txcat_audit_records 1",
        "txcat_model_spend_today{currency=\"USD\"} 1.25",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.to_lowercase().contains("secret") && text.ends_with("# EOF\n"), "{text}");
    // Alert rules and dashboard ask for nothing that is not told.
    let names = regex::Regex::new(r"txcat_[a-z_]+").unwrap();
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/txcat.json"] {
        let asked = std::fs::read_to_string(file).unwrap();
        for name in names.find_iter(&asked) {
            let told = name.as_str().trim_end_matches("_bucket").trim_end_matches("_total");
            assert!(text.contains(&format!("# TYPE {told} ")), "{file} asks for {told}");
        }
    }
}
