//! How much a key may ask for, and how it is told.

use std::num::NonZeroU32;

use serde_json::json;
use txcat::access::{KeyLimits, Scope};

use crate::harness::{App, row};

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
