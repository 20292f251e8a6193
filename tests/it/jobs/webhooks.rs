//! Endpoints that are told of changes: everything, in order, signed, whatever the endpoint does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpListener;
use txcat::{
    access::Scope,
    categorize::{Lineup, Stage},
    clock,
    domain::{Acceptance, CorrectionScope, Enrichment},
    store::Store,
};

use super::until;
use crate::{
    api::schema,
    harness::{App, Run as _, Scripted, row, txcat},
    recategorize::{NEXT, Stand, everything, rows},
    store::correction,
};

/// What an event tells, by its members.
const TOLD: [&str; 8] = ["after", "at", "before", "cause", "id", "recategorization_id", "transaction_id", "type"];

/// What an endpoint heard, and what it answers.
struct Endpoint {
    heard: Mutex<Heard>,
    secret: Mutex<String>,
}

struct Heard {
    luck: ChaCha8Rng,
    failing: f64,
    answer: StatusCode,
    messages: Vec<(bool, String, Value)>,
}

impl Endpoint {
    /// Fails with this share of messages, before or after it has looked at them.
    async fn listen(failing: f64, answer: StatusCode) -> (Arc<Self>, String) {
        let luck = ChaCha8Rng::seed_from_u64(20);
        let heard = Mutex::new(Heard { luck, failing, answer, messages: Vec::new() });
        let endpoint = Arc::new(Self { heard, secret: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", post(hear)).with_state(Arc::clone(&endpoint));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (endpoint, url)
    }

    /// Each event of every message: whether the message was taken, and the event.
    fn events(&self) -> Vec<(bool, Value)> {
        let heard = self.heard.lock().unwrap();
        let of = |(taken, _, message): &(bool, String, Value)| {
            let events = message["data"]["events"].as_array().unwrap().clone();
            events.into_iter().map(|event| (*taken, event)).collect::<Vec<_>>()
        };
        heard.messages.iter().flat_map(of).collect()
    }
}

async fn hear(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    // Another program's reading of the specification.
    let theirs = standardwebhooks::Webhook::new(&endpoint.secret.lock().unwrap()).unwrap();
    let at: i64 = header("webhook-timestamp").parse().unwrap();
    let signed = theirs.sign(&header("webhook-id"), at, &body).unwrap();
    if signed != header("webhook-signature") || clock::now().timestamp().abs_diff(at) > 60 {
        return StatusCode::UNAUTHORIZED;
    }
    let mut heard = endpoint.heard.lock().unwrap();
    let failing = heard.failing;
    let taken = !heard.luck.random_bool(failing);
    heard.messages.push((taken, header("webhook-id"), serde_json::from_slice(&body).unwrap()));
    if taken { StatusCode::NO_CONTENT } else { heard.answer }
}

/// A service of the next engine over so many rows that the first answered.
async fn service(count: usize) -> App {
    let stand = Stand::start().await;
    stand.answered(&rows(count)).await;
    let engine = Scripted::saying(stand.taxonomy.version(), "scripted@2", NEXT);
    let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(engine));
    stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
    let Stand { store, taxonomy, database } = stand;
    App::answering(store, database, taxonomy, Lineup::alone(stage), 0.0).await
}

async fn feed(app: &App) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = app.get(&format!("/v1/events?limit=70&after={after}")).await.with(200);
        let part = page["events"].as_array().unwrap();
        if part.is_empty() {
            return events;
        }
        events.extend(part.iter().cloned());
        after = page["next"].as_i64().unwrap();
    }
}

/// Takes a run to a phase.
async fn taken(app: &App, run: &Value, step: &str, phase: &str) {
    let body = if step == "apply" { json!({ "override": "a test" }) } else { json!({}) };
    app.post(&format!("/v1/recategorizations/{run}/{step}"), &body).await.with(202);
    reached(app, run, phase).await;
}

async fn reached(app: &App, run: &Value, phase: &str) {
    until(async || app.get(&format!("/v1/recategorizations/{run}")).await.with(200)["phase"] == phase).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_half_the_time_hears_everything_in_order() {
    let app = service(600).await;
    let _worker = app.work();
    let (endpoint, url) = Endpoint::listen(0.5, StatusCode::SERVICE_UNAVAILABLE).await;
    let made = app.post("/v1/webhooks", &json!({ "url": url })).await.with(201);
    *endpoint.secret.lock().unwrap() = made["secret"].as_str().unwrap().to_owned();

    // People, a recategorization and its undo; `t1` changes four times.
    let change = async |id: usize, category: &str| {
        let body = json!({ "category": category, "scope": "transaction" });
        app.post(&format!("/v1/transactions/t{id}/correction"), &body).await.with(200);
    };
    let begun = json!({ "scope": { "everything": true }, "reason": "a better engine" });
    let run = app.post("/v1/recategorizations", &begun).await.with(202)["id"].clone();
    reached(&app, &run, "previewed").await;
    taken(&app, &run, "apply", "applied").await;
    taken(&app, &run, "undo", "undone").await;
    for id in 0..40 {
        change(id, "fast_food").await;
    }
    for id in 0..40 {
        change(id, "convenience_store").await;
    }

    let all = feed(&app).await;
    assert_eq!(all.len(), 400 + 400 + 40 + 40, "each change once");
    let ids: Vec<i64> = all.iter().map(|event| event["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, (1..=880).collect::<Vec<_>>(), "without a gap");
    let of_t1: Vec<&Value> = all.iter().filter(|event| event["transaction_id"] == "t1").collect();
    let told: Vec<String> =
        of_t1.iter().map(|event| format!("{}→{} {}", event["before"], event["after"], event["cause"])).collect();
    assert_eq!(
        told,
        [
            r#""supermarket"→"convenience_store" "recategorization""#,
            r#""convenience_store"→"supermarket" "recategorization_undone""#,
            r#""supermarket"→"fast_food" "correction""#,
            r#""fast_food"→"convenience_store" "correction""#,
        ]
    );
    assert_eq!((&of_t1[0]["recategorization_id"], &of_t1[1]["recategorization_id"]), (&run, &run));

    until(async || {
        let webhooks = app.get("/v1/webhooks").await.with(200);
        assert_eq!(webhooks["webhooks"][0]["paused_at"], Value::Null, "{webhooks}");
        webhooks["webhooks"][0]["delivered"] == 880
    })
    .await;
    let heard = endpoint.events();
    let whole: BTreeMap<i64, &Value> = heard.iter().map(|(_, event)| (event["id"].as_i64().unwrap(), event)).collect();
    assert!(whole.values().copied().eq(&all), "every event, as the feed has it");
    let taken: Vec<i64> =
        heard.iter().filter(|(taken, _)| *taken).map(|(_, event)| event["id"].as_i64().unwrap()).collect();
    assert!(taken.is_sorted(), "in order");
    // Also where what was heard but not taken is counted: of one transaction, nothing is heard first that came later.
    let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
    for (_, event) in &heard {
        let (id, of) = (event["id"].as_i64().unwrap(), event["transaction_id"].as_str().unwrap());
        if seen.insert(id) {
            assert!(last.insert(of, id).is_none_or(|before| before < id), "{of} hears {id} too late");
        }
    }
    let messages = endpoint.heard.lock().unwrap();
    let mut same: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut open: Option<&str> = None;
    for (taken, id, message) in &messages.messages {
        assert!(same.insert(id, message).is_none_or(|before| before == message), "{id} is another message than before");
        assert!(open.is_none_or(|open| open == id), "{id} comes before another was taken");
        open = (!taken).then_some(id);
    }
    let failed = messages.messages.iter().filter(|(taken, ..)| !taken).count();
    println!("{} messages, {failed} of them not taken, for {} events", messages.messages.len(), all.len());
    assert!(failed > 2 && heard.len() > all.len(), "it did fail");
    for event in &all {
        let members: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(TOLD), "no statement text and no amount leaves");
    }
    assert!(!format!("{:?}", messages.messages).contains("MARKET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_keeps_failing_is_paused_and_goes_on_where_it_stood() {
    let app = service(9).await;
    let _worker = app.work();
    let (endpoint, url) = Endpoint::listen(1.0, StatusCode::INTERNAL_SERVER_ERROR).await;
    let made = app.post("/v1/webhooks", &json!({ "url": url })).await.with(201);
    *endpoint.secret.lock().unwrap() = made["secret"].as_str().unwrap().to_owned();
    let id = made["id"].clone();
    app.store.correct(&correction("t1", "bakery", CorrectionScope::Transaction, 2_000)).await.unwrap();
    until(async || app.get("/v1/webhooks").await.with(200)["webhooks"][0]["paused_at"] != Value::Null).await;
    let paused = app.get("/v1/webhooks").await.with(200)["webhooks"][0].clone();
    assert_eq!(
        (&paused["failures"], &paused["delivered"], &paused["next_try_at"]),
        (&json!(12), &json!(0), &Value::Null)
    );
    assert!(paused["last_error"].as_str().unwrap().contains("500"), "{paused}");
    let ids: BTreeSet<String> = endpoint.heard.lock().unwrap().messages.iter().map(|(_, id, _)| id.clone()).collect();
    assert_eq!(ids.len(), 1, "the same message every time");

    endpoint.heard.lock().unwrap().failing = 0.0;
    app.post(&format!("/v1/webhooks/{id}/resume"), &json!({})).await.with(202);
    until(async || app.get("/v1/webhooks").await.with(200)["webhooks"][0]["delivered"] == 1).await;

    endpoint.heard.lock().unwrap().failing = 1.0;
    endpoint.heard.lock().unwrap().answer = StatusCode::GONE;
    app.store.correct(&correction("t2", "bakery", CorrectionScope::Transaction, 2_000)).await.unwrap();
    until(async || app.get("/v1/webhooks").await.with(200)["webhooks"][0]["paused_at"] != Value::Null).await;
    let gone = app.get("/v1/webhooks").await.with(200)["webhooks"][0].clone();
    assert_eq!(gone["failures"], 1, "who says that it is gone is asked no more");
    let path = format!("/v1/webhooks/{id}");
    app.send(app.request("DELETE", &path)).await.with(204);
    app.send(app.request("DELETE", &path)).await.with(404);
}

#[tokio::test]
async fn a_change_that_commits_late_is_not_passed_over() {
    let stand = Stand::start().await;
    stand.answered(&rows(30)).await;
    let mut connection = PgConnection::connect(&stand.database.url).await.unwrap();
    let mut late = connection.begin().await.unwrap();
    let change = "update in_force set category = 'bakery', decided_by = 'correction' where transaction_id = 't1'";
    sqlx::query(change).execute(&mut *late).await.unwrap();
    stand.store.correct(&correction("t2", "bakery", CorrectionScope::Transaction, 2_000)).await.unwrap();
    let of = async |store: &Store, after: i64| {
        let events = store.events(after, 10).await.unwrap();
        events.into_iter().map(|event| (event.id, event.transaction_id)).collect::<Vec<_>>()
    };
    assert_eq!(of(&stand.store, 0).await, [(1, "t2".to_owned())], "written second, there first");
    late.commit().await.unwrap();
    assert_eq!(of(&stand.store, 1).await, [(2, "t1".to_owned())]);
    assert_eq!(of(&stand.store, 0).await.len(), 2, "and again from the beginning");
}

#[tokio::test]
async fn the_feed_and_the_endpoints_are_as_the_document_says() {
    let mut app = service(9).await;
    let document = app.get("/openapi.json").await.with(200);
    let valid = |method: &str, path: &str, status: u16, body: &Value| {
        let answer = &document["paths"][path][method]["responses"][status.to_string()];
        let schema = &answer["content"].as_object().unwrap().values().next().unwrap()["schema"];
        let found = schema::violations(&document, schema, body);
        assert!(found.is_empty(), "{method} {path}: {found:#?}\n{body:#}");
    };
    app.ingest(&[row("new", "COFFEE 1")]).await;
    assert!(feed(&app).await.is_empty(), "the first answer goes to who asked");
    app.store.correct(&correction("t2", "bakery", CorrectionScope::AccountMerchant, 2_000)).await.unwrap();
    let page = app.get("/v1/events").await.with(200);
    valid("get", "/v1/events", 200, &page);
    assert!(!page["events"].as_array().unwrap().is_empty());
    for url in ["ftp://backend.example/", "backend.example", "https://me:word@backend.example/"] {
        let refused = app.post("/v1/webhooks", &json!({ "url": url })).await.with(422);
        assert_eq!(refused["pointer"], "/url", "{refused}");
    }
    let made = app.post("/v1/webhooks", &json!({ "url": "https://backend.example/hook", "after": 0 })).await.with(201);
    valid("post", "/v1/webhooks", 201, &made);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let list = app.get("/v1/webhooks").await.with(200);
    valid("get", "/v1/webhooks", 200, &list);
    assert!(!list.to_string().contains("whsec_"), "shown once");
    let key = app.make_key("backend", &[Scope::Read], None).await;
    app.use_key(&key);
    app.get("/v1/events").await.with(200);
    app.get("/v1/webhooks").await.with(403);
}

#[tokio::test]
async fn an_endpoint_begins_at_a_place_that_the_feed_has_come_to() {
    let app = service(9).await;
    app.store.correct(&correction("t1", "bakery", CorrectionScope::Transaction, 2_000)).await.unwrap();
    let body = |after: i64| json!({ "url": "https://backend.example/hook", "after": after });
    let refused = app.post("/v1/webhooks", &body(2)).await.with(422);
    assert_eq!(
        (&refused["type"], &refused["pointer"], &refused["detail"]),
        (&json!("urn:txcat:problem:event-ahead"), &json!("/after"), &json!("there is no event 2 yet: the newest is 1"))
    );
    let read = app.get("/v1/events?after=2").await.with(422);
    assert_eq!(
        (&read["type"], &read["detail"]),
        (&refused["type"], &refused["detail"]),
        "no page that seems to be the end"
    );
    assert_eq!(app.get("/v1/events?after=1").await.with(200), json!({ "events": [], "next": 1 }));
    let add = |after: &str| {
        let words = ["webhooks", "add", "https://backend.example/hook", "--after", after];
        txcat(&words).on(&app.database.url).run()
    };
    assert_eq!(add("2").refused(1), "txcat: there is no event 2 yet: the newest is 1\n");
    assert_eq!(app.get("/v1/webhooks").await.with(200)["webhooks"], json!([]));
    app.post("/v1/webhooks", &body(1)).await.with(201);
    add("1").ok();
}

#[tokio::test]
async fn every_way_in_which_a_category_changes_is_told_with_its_cause() {
    let stand = Stand::start().await;
    stand.answered(&rows(30)).await;
    let causes = async || {
        let lines =
            stand.text("select concat_ws(' ', cause, count(*)) from events group by cause order by cause").await;
        lines.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    stand.store.correct(&correction("t2", "bakery", CorrectionScope::AccountMerchant, 1_100)).await.unwrap();
    let covered: usize =
        stand.text("select count(*)::text from in_force where decided_by = 'account_rule'").await.parse().unwrap();
    let mut expected = vec!["correction 1".to_owned()];
    if covered > 0 {
        expected.push(format!("rule {covered}"));
    }
    assert_eq!(causes().await, expected);
    let action = stand.text("select max(id)::text from review_actions").await.parse().unwrap();
    stand.store.undo(action, None, "analyst", crate::store::hour(1_200)).await.unwrap().unwrap();
    let undone = format!("decision_undone {}", 1 + covered);
    assert!(causes().await.contains(&undone), "{:?}", causes().await);
    let run = stand.previewed(everything()).await;
    stand.apply(run).await;
    stand.undo(run).await;
    let now = causes().await;
    let of = |cause: &str| now.iter().find_map(|line| line.strip_prefix(&format!("{cause} ")).map(str::to_owned));
    assert_eq!(of("recategorization"), of("recategorization_undone"));
    assert!(of("recategorization").is_some(), "{now:?}");
}

#[tokio::test]
async fn an_endpoint_is_made_and_its_secret_told_also_while_no_job_can_be_asked_for() {
    let app = App::start().await;
    let pool = sqlx::PgPool::connect(&app.database.url).await.unwrap();
    sqlx::raw_sql("alter table graphile_worker._private_jobs rename to elsewhere").execute(&pool).await.unwrap();
    let made = app.post("/v1/webhooks", &json!({ "url": "https://backend.example/hooks/txcat" })).await.with(201);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"), "{made}");
    let mut told = made.as_object().unwrap().clone();
    told.remove("secret");
    assert_eq!(app.get("/v1/webhooks").await.with(200)["webhooks"], json!([told]), "as it is listed");
    pool.close().await;
}
