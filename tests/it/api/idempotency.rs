//! A request that comes again with its idempotency key: answered once, whatever happens between.

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, PgPool};
use txcat::{access::Scope, clock, http::ANSWERS_KEPT};

use crate::{
    harness::{Answer, App, PATIENCE, row},
    jobs::until,
};

async fn post(app: &App, key: &str, path: &str, body: &Value) -> Answer {
    app.send(app.request("POST", path).header("idempotency-key", key).json(body)).await
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|said| said == "true")
}

/// Makes every row look as if it had been begun so much earlier.
async fn age(pool: &PgPool, interval: &str) {
    let aged = "update idempotent_answers set begun_at = begun_at - $1::text::interval";
    sqlx::query(aged).bind(interval).execute(pool).await.unwrap();
}

async fn kept(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from idempotent_answers").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_request_that_comes_again_makes_nothing_new_and_gets_the_same_answer() {
    let app = App::start().await;
    let hook = json!({ "url": "https://backend.example/hook" });
    let first = post(&app, "make-hook", "/v1/webhooks", &hook).await;
    assert!(!replayed(&first));
    let again = post(&app, "\"make-hook\"", "/v1/webhooks", &hook).await;
    assert!(replayed(&again), "{again:?}");
    assert_eq!(again.headers["content-type"], first.headers["content-type"]);
    assert!(again.headers.contains_key("x-request-id"));
    // A secret is shown once, and kept nowhere in the clear.
    let mut made = first.with(201);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    made["secret"] = Value::Null;
    assert_eq!(again.with(201), made);
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let told = "select count(*) from idempotent_answers where encode(answer, 'escape') like '%whsec_%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(told).fetch_one(&pool).await.unwrap(), 0);
    pool.close().await;
    assert_eq!(app.get("/v1/webhooks").await.with(200)["webhooks"].as_array().unwrap().len(), 1);
    post(&app, "another", "/v1/webhooks", &hook).await.with(201);
    app.post("/v1/webhooks", &hook).await.with(201);
    assert_eq!(app.get("/v1/webhooks").await.with(200)["webhooks"].as_array().unwrap().len(), 3);

    // A refusal is an answer too, and an empty one.
    let wrong = post(&app, "wrong", "/v1/webhooks", &json!({ "url": "ftp://x" })).await.with(422);
    let again = post(&app, "wrong", "/v1/webhooks", &json!({ "url": "ftp://x" })).await;
    assert!(replayed(&again) && again.headers["content-type"] == "application/problem+json");
    assert_eq!(again.with(422), wrong);
    app.ingest(&[row("t1", "COFFEE")]).await;
    let complain =
        async || app.send(app.request("POST", "/v1/transactions/t1/complaint").header("idempotency-key", "c")).await;
    complain().await.with(204);
    let again = complain().await;
    assert!(replayed(&again) && !again.headers.contains_key("content-type"), "{again:?}");
    again.with(204);
}

#[tokio::test]
async fn a_key_with_another_body_or_that_is_none_is_refused() {
    let app = App::start().await;
    let rows = |id: &str| json!({ "transactions": [row(id, "COFFEE")] });
    post(&app, "k", "/v1/transactions", &rows("t1")).await.with(200);
    let refused = post(&app, "k", "/v1/transactions", &rows("t2")).await;
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert_eq!(refused.with(422)["type"], "urn:txcat:problem:idempotency-key-reused");
    assert_eq!(app.count().await, 1);
    for wrong in ["", "\"\"", "\"half", &"k".repeat(256)] {
        let refused = post(&app, wrong, "/v1/transactions", &rows("t3")).await.with(400);
        assert_eq!(refused["type"], "urn:txcat:problem:idempotency-key", "{wrong}");
    }
    let twice = app.request("POST", "/v1/transactions").header("idempotency-key", "a").header("idempotency-key", "b");
    app.send(twice.json(&rows("t3"))).await.with(400);
    let long = vec![b' '; 4 * 1024 * 1024 + 1];
    let long = app.request("POST", "/v1/transactions").header("idempotency-key", "l").body(long);
    app.send(long).await.with(413);
    assert_eq!(app.count().await, 1);
    // The same key elsewhere is another one, and reading needs none.
    post(&app, "k", "/v1/transactions/t1/complaint", &json!({})).await.with(204);
    app.send(app.request("GET", "/v1/transactions").header("idempotency-key", "")).await.with(200);
}

#[tokio::test]
async fn while_the_first_is_answered_the_second_waits_and_nobody_s_patience_undoes_it() {
    let app = App::start().await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let body = json!({ "transactions": [row("t1", "COFFEE")] });
    // Nothing can be stored as long as somebody else has the table.
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    let mut lock = connection.begin().await.unwrap();
    sqlx::query("lock table transactions in access exclusive mode").execute(&mut *lock).await.unwrap();
    let request = app.request("POST", "/v1/transactions").header("idempotency-key", "k").json(&body);
    let first = tokio::spawn(request.send());
    until(async || kept(&pool).await == 1).await;
    let second = post(&app, "k", "/v1/transactions", &body).await;
    assert_eq!(second.headers["retry-after"], "1");
    assert_eq!(second.with(409)["type"], "urn:txcat:problem:idempotency-key-pending");
    // Another body is refused even now.
    post(&app, "k", "/v1/transactions", &json!({ "transactions": [] })).await.with(422);
    // The caller hangs up, and the work goes on.
    first.abort();
    assert!(first.await.is_err());
    lock.rollback().await.unwrap();
    let done = "select exists (select from idempotent_answers where status = 200)";
    until(async || sqlx::query_scalar(done).fetch_one(&pool).await.unwrap()).await;
    let answer = post(&app, "k", "/v1/transactions", &body).await;
    assert!(replayed(&answer));
    assert_eq!(answer.with(200)["results"][0]["status"], "ok");
}

#[tokio::test]
async fn a_request_that_an_erasure_overtakes_is_done_once_and_its_answer_is_not_kept() {
    let app = App::start().await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    app.ingest(&[row("t1", "COFFEE")]).await;
    let hook = json!({ "url": "https://backend.example/hook" });
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    let mut lock = connection.begin().await.unwrap();
    sqlx::query("lock table webhooks in access exclusive mode").execute(&mut *lock).await.unwrap();
    let request = app.request("POST", "/v1/webhooks").header("idempotency-key", "k").json(&hook);
    let first = tokio::spawn(request.send());
    until(async || kept(&pool).await == 1).await;
    app.send(app.request("DELETE", "/v1/accounts/acc-1")).await.with(200);
    let second = tokio::time::timeout(PATIENCE, post(&app, "k", "/v1/webhooks", &hook));
    second.await.expect("it was begun a second time").with(409);
    lock.rollback().await.unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), 201);
    let told = post(&app, "k", "/v1/webhooks", &hook).await.with(410);
    assert_eq!(told["type"], "urn:txcat:problem:idempotency-key-erased");
    let bodies = "select count(*) from idempotent_answers where answer <> ''";
    assert_eq!(sqlx::query_scalar::<_, i64>(bodies).fetch_one(&pool).await.unwrap(), 0);
    assert_eq!(app.get("/v1/webhooks").await.with(200)["webhooks"].as_array().unwrap().len(), 1);
    // After a day the key is good for something new.
    age(&pool, "25 hours").await;
    post(&app, "k", "/v1/webhooks", &hook).await.with(201);
    assert!(replayed(&post(&app, "k", "/v1/webhooks", &hook).await));
}

#[tokio::test]
async fn two_at_once_store_once() {
    let app = App::start().await;
    let hook = json!({ "url": "https://backend.example/hook" });
    let answers = futures::future::join_all((0..8).map(|_| post(&app, "k", "/v1/webhooks", &hook))).await;
    let fresh = answers.iter().filter(|answer| answer.status == 201 && !replayed(answer)).count();
    let told_later = answers.iter().all(|answer| [201, 409].contains(&answer.status));
    assert!(fresh == 1 && told_later, "{answers:?}");
    assert_eq!(app.get("/v1/webhooks").await.with(200)["webhooks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_crash_in_between_locks_a_key_for_minutes_and_not_for_ever() {
    let app = App::start().await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let body = json!({ "transactions": [row("t1", "COFFEE")] });
    post(&app, "k", "/v1/transactions", &body).await.with(200);
    // As a server leaves it that is killed before the answer is kept.
    let killed = "update idempotent_answers set status = null, content_type = null, answer = null";
    sqlx::query(killed).execute(&pool).await.unwrap();
    post(&app, "k", "/v1/transactions", &body).await.with(409);
    age(&pool, "4 minutes").await;
    post(&app, "k", "/v1/transactions", &json!({ "transactions": [row("t2", "COFFEE")] })).await.with(422);
    let answer = post(&app, "k", "/v1/transactions", &body).await;
    assert!(!replayed(&answer));
    assert_eq!(answer.with(200)["results"][0]["status"], "ok");
    assert!(replayed(&post(&app, "k", "/v1/transactions", &body).await));
}

#[tokio::test]
async fn what_failed_may_be_tried_again_at_once() {
    let app = App::start().await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    for text in ["ENGINE FAILS", "ENGINE PANICS"] {
        let body = json!({ "transactions": [row(&text.replace(' ', "-"), text)] });
        post(&app, text, "/v1/transactions", &body).await.with(500);
        assert!(!replayed(&post(&app, text, "/v1/transactions", &body).await));
        assert_eq!(kept(&pool).await, 0, "{text}");
    }
}

#[tokio::test]
async fn two_callers_with_one_key_meet_their_own_answers() {
    let mut app = App::start().await;
    let keys = [app.make_key("one", &[Scope::Admin], None).await, app.make_key("two", &[Scope::Admin], None).await];
    let hook = |n: usize| json!({ "url": format!("https://backend.example/{n}") });
    for round in 0..2 {
        for (n, key) in keys.iter().enumerate() {
            app.use_key(key);
            let answer = post(&app, "k", "/v1/webhooks", &hook(n)).await;
            assert_eq!(replayed(&answer), round == 1);
            assert_eq!(answer.with(201)["url"], hook(n)["url"]);
        }
    }
    // Without the scope nobody is told even that there was an answer.
    let reader = app.make_key("reader", &[Scope::Read], None).await;
    app.use_key(&reader);
    post(&app, "k", "/v1/webhooks", &hook(0)).await.with(403);
}

#[tokio::test]
async fn an_answer_is_forgotten_after_a_day() {
    let app = App::start().await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let body = json!({ "transactions": [row("t1", "COFFEE")] });
    post(&app, "k", "/v1/transactions", &body).await.with(200);
    age(&pool, "23 hours").await;
    assert_eq!(app.store.drop_idempotent_answers(clock::now() - ANSWERS_KEPT).await.unwrap(), 0);
    assert!(replayed(&post(&app, "k", "/v1/transactions", &body).await));
    age(&pool, "2 hours").await;
    // Still there, and old: as if it were gone, and for another body too.
    let other = json!({ "transactions": [row("t2", "COFFEE")] });
    let answer = post(&app, "k", "/v1/transactions", &other).await;
    assert!(!replayed(&answer));
    answer.with(200);
    assert_eq!(app.count().await, 2);
    age(&pool, "25 hours").await;
    assert_eq!(app.store.drop_idempotent_answers(clock::now() - ANSWERS_KEPT).await.unwrap(), 1);
}

#[tokio::test]
async fn every_post_of_the_api_that_asks_for_a_scope_says_that_it_takes_a_key() {
    let app = App::start().await;
    let document = app.get("/openapi.json").await.with(200);
    let mut posts = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let named = |parameter: &Value| parameter["name"] == "Idempotency-Key" && parameter["in"] == "header";
            let said = operation["parameters"].as_array().is_some_and(|parameters| parameters.iter().any(named));
            let takes = method == "post" && operation["security"].is_array();
            assert_eq!(said, takes, "{method} {path}");
            posts += usize::from(takes);
            let problems = ["400", "409", "410", "422"].map(|status| operation["responses"][status].is_object());
            assert!(!takes || problems == [true; 4], "{method} {path}");
        }
    }
    assert!(posts >= 25, "{posts}");
}
