//! What a caller gets when a request can't be answered.

use serde_json::{Value, json};

use crate::harness::{Answer, App, row};

async fn post_raw(app: &App, content_type: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.request("POST", "/v1/transactions").body(body);
    let request = match content_type {
        Some(content_type) => request.header("content-type", content_type),
        None => request,
    };
    app.send(request).await
}

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let app = App::start().await;
    let json_type = Some("application/json");
    let answers = [
        ("unknown route", app.get("/v1/nothing").await),
        ("unknown id", app.get("/v1/transactions/nobody").await),
        ("impossible id", app.get("/v1/transactions/%00").await),
        ("wrong method", app.send(app.request("DELETE", "/v1/transactions")).await),
        ("no content type", post_raw(&app, None, "{}").await),
        ("a form", post_raw(&app, Some("application/x-www-form-urlencoded"), "a=b").await),
        ("plain text", post_raw(&app, Some("text/plain"), "{}").await),
        ("empty body", post_raw(&app, json_type, "").await),
        ("broken JSON", post_raw(&app, json_type, "{\n  \"transactions\": [}").await),
        ("more after the JSON", post_raw(&app, json_type, "{\"transactions\": []} x").await),
        ("not UTF-8", post_raw(&app, json_type, &b"{\n\"a\xff"[..]).await),
        ("an array", post_raw(&app, json_type, "[[]]").await),
        ("no rows member", post_raw(&app, json_type, "{}").await),
        ("rows of another type", post_raw(&app, json_type, "{\"transactions\": {}}").await),
        ("unknown member", post_raw(&app, json_type, "{\"transactions\": [], \"a\": 1}").await),
        ("too large", post_raw(&app, json_type, vec![b' '; 4 * 1024 * 1024 + 1]).await),
    ];
    let mut problems = serde_json::Map::new();
    for (what, answer) in answers {
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}: {}", answer.body);
        assert_eq!(answer.body["status"], answer.status, "{what}");
        assert!(answer.headers.contains_key("x-request-id"), "{what}");
        problems.insert(what.to_owned(), answer.body);
    }
    insta::assert_json_snapshot!(problems);
    let wrong = app.send(app.request("DELETE", "/v1/transactions")).await;
    assert_eq!(wrong.headers["allow"], "POST,GET,HEAD");
}

#[tokio::test]
async fn a_bug_is_answered_and_the_service_goes_on() {
    let app = App::start().await;
    let body = json!({ "transactions": [row("t1", "ENGINE PANICS SECRETLY")] });
    let answer = app.post("/v1/transactions", &body).await;
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = answer.with(500);
    assert_eq!(problem["type"], "urn:txcat:problem:internal");
    assert!(!problem.to_string().contains("SECRETLY") && !problem.to_string().contains("script"));
    app.get("/healthz").await.with(200);
}

#[tokio::test]
async fn a_request_id_is_kept_when_it_is_sane() {
    let app = App::start().await;
    let id = async |sent: &str| {
        let answer = app.send(app.request("GET", "/healthz").header("x-request-id", sent)).await;
        answer.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("abc-1.2_3").await, "abc-1.2_3");
    assert_ne!(id("a b").await, "a b");
    let long = "a".repeat(129);
    assert_ne!(id(&long).await, long);
    assert_ne!(id("a b").await, id("a b").await);
}

#[tokio::test]
async fn without_its_database_the_service_says_so() {
    let app = App::start().await;
    let well = json!({ "database": "ok", "schema": "ok", "engine": "ok", "taxonomy": "ok" });
    assert_eq!(app.get("/readyz").await.with(200), well);
    app.store.close().await;
    let problem = app.get("/v1/transactions").await;
    assert_eq!(problem.headers["retry-after"], "1");
    assert_eq!(problem.with(503)["type"], "urn:txcat:problem:database-unavailable");
    app.get("/healthz").await.with(200);
    let findings = loop {
        let readiness = app.get("/readyz").await;
        if readiness.status == 503 {
            break readiness.body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    assert_eq!(findings, json!({ "database": "failing", "schema": "failing", "engine": "ok", "taxonomy": "failing" }));
}

#[tokio::test]
async fn a_taxonomy_that_was_never_stored_is_not_ready() {
    let app = App::start_without_taxonomy().await;
    let readiness = app.get("/readyz").await.with(503);
    assert_eq!(readiness["taxonomy"], Value::from("failing"));
    assert_eq!(readiness["database"], Value::from("ok"));
}

#[tokio::test]
async fn what_the_document_refuses_is_refused() {
    let app = App::start().await;
    app.get("/v1/events?after=0").await.with(200);
    app.get("/v1/events?after=-1").await.with(400);
    let hook = |after: i64| json!({ "url": "https://backend.example/hooks/txcat", "after": after });
    assert_eq!(app.post("/v1/webhooks", &hook(-1)).await.with(422)["pointer"], "/after");
    app.post("/v1/webhooks", &hook(0)).await.with(201);
    app.post("/v1/reviews/import", &json!([{}])).await.with(200);
    assert_eq!(app.post("/v1/reviews/import", &json!([[null, null]])).await.with(422)["pointer"], "/0");
    let share = app.send(
        app.request("POST", "/v1/adapters/demo/moves")
            .header("content-type", "application/json")
            .body(r#"{"to": "canary", "share": -2.5e182}"#),
    );
    assert_eq!(share.await.with(422)["pointer"], "/share");
}
