//! Runs over HTTP, and on the command line.

use std::sync::Arc;

use serde_json::{Value, json};
use txcat::{
    access::Scope,
    categorize::{Lineup, Stage},
    domain::{Acceptance, CorrectionScope, Enrichment, RecategorizationStep, Urgency},
    jobs::recategorization::Step,
};

use super::{NEXT, Stand, rows};
use crate::{
    api::schema,
    database::TestDatabase,
    harness::{App, Run as _, Said, Scripted, txcat},
    model,
    store::{correction, in_force},
};

/// A service of the next engine over rows that the first one answered.
pub(crate) async fn service(rows_of_it: usize) -> App {
    let stand = Stand::start().await;
    stand.answered(&rows(rows_of_it)).await;
    let engine = Scripted::saying(stand.taxonomy.version(), "scripted@2", NEXT);
    let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(engine));
    stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
    let Stand { store, taxonomy, database } = stand;
    App::answering(store, database, Arc::clone(&taxonomy), Lineup::alone(stage), 0.0).await
}

/// Looks at a run until it stands there.
pub(crate) async fn until(app: &App, run: &Value, phase: &str) -> Value {
    loop {
        let seen = app.get(&format!("/v1/recategorizations/{run}")).await.with(200);
        if seen["phase"] == phase {
            return seen;
        }
        assert_eq!(seen["stopped"], Value::Null, "{seen}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn from_preview_to_undo_over_http() {
    let app = service(60).await;
    let _worker = app.work();
    let document = app.get("/openapi.json").await.with(200);
    let valid = |method: &str, path: &str, status: u16, body: &Value| {
        let answer = &document["paths"][path][method]["responses"][status.to_string()];
        let schema = &answer["content"].as_object().unwrap().values().next().unwrap()["schema"];
        let found = schema::violations(&document, schema, body);
        assert!(found.is_empty(), "{method} {path}: {found:#?}\n{body:#}");
    };
    let body = json!({ "scope": { "everything": true }, "reason": "a better engine" });
    let begun = app.post("/v1/recategorizations", &body).await.with(202);
    valid("post", "/v1/recategorizations", 202, &begun);
    assert_eq!((&begun["rows"], &begun["made_by"]), (&json!(60), &json!("local")));
    let run = &begun["id"];
    let seen = until(&app, run, "previewed").await;
    valid("get", "/v1/recategorizations/{id}", 200, &seen);
    assert_eq!(seen["diff"]["changed"], 40);
    assert_eq!(seen["diff"]["money"], json!([{ "currency": "CAD", "amount": "500.00", "rows": 40 }]));
    let page = app.get(&format!("/jobs/recategorizations/{run}")).await;
    assert!(page.body.as_str().unwrap().contains("500.00 CAD"), "{}", page.body);
    assert!(seen["refusals"][0].as_str().unwrap().contains("66.7 % of the scope would change"), "{seen}");
    assert_eq!(app.get("/v1/transactions/t1").await.with(200)["category"], "supermarket");

    let (mut after, mut listed) = (String::new(), Vec::new());
    loop {
        let path = format!("/v1/recategorizations/{run}/changes?limit=7&from=supermarket{after}");
        let page = app.get(&path).await.with(200);
        valid("get", "/v1/recategorizations/{id}/changes", 200, &page);
        assert_eq!(page["changes"][0]["amount"], "12.50", "as /v1/transactions has it");
        listed.extend(page["changes"].as_array().unwrap().iter().map(|row| row["transaction_id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!((listed.len(), &listed[0]), (20, &json!("t1")), "page by page, each once");

    let path = format!("/v1/recategorizations/{run}/apply");
    app.post(&path, &json!({ "max_changed": 1.5 })).await.with(422);
    let refused = app.post(&path, &json!({ "max_changed": 0.6, "max_category_loss": 1.0 })).await.with(409);
    assert!(refused["detail"].as_str().unwrap().contains("of 60.0 % that may"), "{refused}");
    let refused = app.post(&path, &json!({})).await.with(409);
    assert_eq!(refused["type"], "urn:txcat:problem:guards-refuse");
    let applying = app.post(&path, &json!({ "override": "the test says so" })).await.with(202);
    valid("post", "/v1/recategorizations/{id}/apply", 202, &applying);
    let applied = until(&app, run, "applied").await;
    assert_eq!(applied["changes"], json!([{ "state": "applied", "why": null, "rows": 40 }]));
    assert_eq!(app.get("/v1/transactions/t1").await.with(200)["category"], "convenience_store");
    app.post(&path, &json!({})).await.with(202);

    let undoing = app.send(app.request("POST", &format!("/v1/recategorizations/{run}/undo"))).await.with(202);
    valid("post", "/v1/recategorizations/{id}/undo", 202, &undoing);
    until(&app, run, "undone").await;
    assert_eq!(app.get("/v1/transactions/t1").await.with(200)["category"], "supermarket");
    let list = app.get("/v1/recategorizations?limit=1").await.with(200);
    valid("get", "/v1/recategorizations", 200, &list);
    assert_eq!((&list["recategorizations"][0]["phase"], &list["next"]), (&json!("undone"), &Value::Null));
}

#[tokio::test]
async fn guards_take_their_limits_over_http() {
    let app = service(60).await;
    let _worker = app.work();
    let body = json!({ "scope": { "everything": true }, "reason": "a better engine" });
    let run = app.post("/v1/recategorizations", &body).await.with(202)["id"].clone();
    until(&app, &run, "previewed").await;
    let wide = json!({ "max_changed": 0.7, "max_category_loss": 1.0 });
    app.post(&format!("/v1/recategorizations/{run}/apply"), &wide).await.with(202);
    let kept = &until(&app, &run, "applied").await["override_reason"];
    assert_eq!(
        kept, "with limits of 70 % changed and 100 % of a category lost",
        "what would have been refused otherwise"
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_problem() {
    let app = service(3).await;
    let _worker = app.work();
    for (body, status, kind) in [
        (json!({ "scope": {}, "reason": "why" }), 422, "invalid-body"),
        (json!({ "scope": { "everything": true, "engines": ["x"] }, "reason": "why" }), 422, "invalid-body"),
        (json!({ "scope": { "everything": true }, "reason": " " }), 422, "invalid-body"),
        (json!({ "scope": { "evrything": true }, "reason": "why" }), 422, "invalid-body"),
        (json!({ "scope": { "below_confidence": 2 }, "reason": "why" }), 422, "invalid-body"),
        (
            json!({ "scope": { "from": "2026-05-01T00:00:00Z", "to": "2026-04-01T00:00:00Z" }, "reason": "why" }),
            422,
            "invalid-body",
        ),
        (json!({ "scope": { "everything": true }, "reason": "why", "adapter": "nobody@1" }), 422, "unknown-adapter"),
    ] {
        let problem = app.post("/v1/recategorizations", &body).await.with(status);
        assert_eq!(problem["type"], format!("urn:txcat:problem:{kind}"), "{body} {problem}");
    }
    assert_eq!(app.get("/v1/recategorizations").await.with(200)["recategorizations"], json!([]));
    app.post("/v1/recategorizations/77/apply", &json!({})).await.with(404);
    app.get("/v1/recategorizations/77/changes").await.with(404);
    let body = json!({ "scope": { "below_confidence": 0.5 }, "reason": "doubt" });
    let run = app.post("/v1/recategorizations", &body).await.with(202)["id"].clone();
    until(&app, &run, "previewed").await;
    let undo = app.send(app.request("POST", &format!("/v1/recategorizations/{run}/undo"))).await.with(409);
    assert_eq!(undo["type"], "urn:txcat:problem:phase");
    let cancelled = app.send(app.request("POST", &format!("/v1/recategorizations/{run}/cancel"))).await.with(200);
    assert_eq!(cancelled["phase"], "cancelled");
    app.send(app.request("POST", &format!("/v1/recategorizations/{run}/resume"))).await.with(409);
}

#[tokio::test]
async fn a_run_of_the_night_that_is_resumed_is_applied_all_the_same() {
    let app = service(3).await;
    // Nobody works, so that what was asked for waits.
    let body = json!({ "scope": { "everything": true }, "reason": "a night" });
    let run = app.post("/v1/recategorizations", &body).await.with(202)["id"].clone();
    let number = run.as_i64().unwrap();
    let asked = async || Step::asked(&app.store, number).await.unwrap();
    assert_eq!(asked().await, Some(RecategorizationStep::Preview));
    let resume = async || {
        let path = format!("/v1/recategorizations/{run}/resume");
        app.send(app.request("POST", &path)).await.with(202);
    };
    resume().await;
    assert_eq!(asked().await, Some(RecategorizationStep::Preview), "what nobody wanted to be applied");
    let night = Step { run: number, step: RecategorizationStep::PreviewAndApply, urgency: Urgency::Nightly };
    night.ask(&app.store).await.unwrap();
    resume().await;
    assert_eq!(asked().await, Some(RecategorizationStep::PreviewAndApply));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_in_a_scope_is_its_first_moment_over_http_and_on_the_command_line() {
    let app = service(60).await;
    let counted = async |scope: Value| {
        let body = json!({ "scope": scope, "reason": "these days" });
        let begun = app.post("/v1/recategorizations", &body).await.with(202);
        (begun["rows"].clone(), begun["scope"]["from"].clone(), begun["scope"]["to"].clone())
    };
    let expected = (json!(24), json!("2026-01-02T00:00:00Z"), json!("2026-01-03T00:00:00Z"));
    assert_eq!(counted(json!({ "from": "2026-01-02", "to": "2026-01-03" })).await, expected);
    assert_eq!(counted(json!({ "from": "2026-01-02T01:00:00+01:00", "to": "2026-01-03T00:00:00Z" })).await, expected);
    let body = json!({ "scope": { "from": "2026-01-02", "to": "tomorrow" }, "reason": "why" });
    let refused = app.post("/v1/recategorizations", &body).await.with(422);
    assert_eq!(
        (&refused["pointer"], &refused["detail"]),
        (&json!("/scope/to"), &json!("must be a day (YYYY-MM-DD, in UTC) or an RFC 3339 time"))
    );

    let (encoder, _) = model::tiny_encoder();
    let encoder = encoder.path().to_str().unwrap();
    let preview = |from: &str, to: &str| {
        let stage = ["--stage", "few_shot", "--encoder-dir", encoder, "--json", "--reason", "these days"];
        recategorize(&app.database, &[&["preview", "--from", from, "--to", to][..], &stage[..]].concat())
    };
    for (from, to) in [("2026-01-02", "2026-01-03"), ("2026-01-02T01:00:00+01:00", "2026-01-03T00:00:00Z")] {
        let seen = preview(from, to).json();
        assert_eq!((seen["rows"].clone(), seen["scope"]["from"].clone(), seen["scope"]["to"].clone()), expected);
    }
    let error = preview("2026-01-02", "tomorrow").refused(2);
    assert!(error.contains("must be a day (YYYY-MM-DD, in UTC)"), "{error}");
}

#[tokio::test]
async fn who_may_only_look_can_not_begin() {
    let app = App::start_with_key(&[Scope::Read]).await;
    app.get("/v1/recategorizations").await.with(200);
    let body = json!({ "scope": { "everything": true }, "reason": "why" });
    app.post("/v1/recategorizations", &body).await.with(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_names_what_nobody_has_heard_of_is_refused_by_that_name() {
    let app = service(9).await;
    let begin =
        async |scope: Value| app.post("/v1/recategorizations", &json!({ "scope": scope, "reason": "why" })).await;
    let known = json!({
        "account_ids": ["account-1"],
        "descriptor_keys": [rows(1)[0].descriptor.key().as_str()],
        "categories": ["fast_food", "coffee_shop"],
        "engines": ["scripted@1", "scripted@2"],
    });
    begin(known.clone()).await.with(202);
    for (member, name, told) in [
        ("account_ids", "account-77", "account `account-77`"),
        ("descriptor_keys", "no such shop", "merchant `no such shop`"),
        ("categories", "no_such_category", "category `no_such_category`"),
        ("engines", "nobody@1", "engine `nobody@1`"),
        ("engines", "a\0b", "engine `a\0b`"),
    ] {
        let mut scope = known.clone();
        scope[member].as_array_mut().unwrap().push(json!(name));
        let refused = begin(scope).await.with(422);
        assert_eq!(refused["pointer"], "/scope");
        assert_eq!(refused["detail"], format!("the scope names what is not known here: {told}"));
    }
    assert_eq!(app.get("/v1/recategorizations").await.with(200)["recategorizations"].as_array().unwrap().len(), 1);

    let (encoder, _) = model::tiny_encoder();
    let encoder = encoder.path().to_str().unwrap();
    let few_shot = ["--stage", "few_shot", "--encoder-dir", encoder, "--reason", "why"];
    let scope = ["preview", "--account", "account-77", "--category", "no_such_category"];
    let error = recategorize(&app.database, &[&scope[..], &few_shot[..]].concat()).refused(1);
    let says = "txcat: the scope names what is not known here: account `account-77`, category `no_such_category`";
    assert_eq!(error.lines().last(), Some(says), "{error}");
}

/// What `txcat recategorize` says.
pub(super) fn recategorize(database: &TestDatabase, arguments: &[&str]) -> Said {
    txcat(&["recategorize"]).args(arguments).on(&database.url).run()
}

#[tokio::test]
async fn the_command_line_shows_applies_and_undoes() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let run = stand.previewed(super::everything()).await.to_string();
    let told = |arguments: &[&str]| recategorize(&stand.database, arguments);
    let shown = told(&["show", &run, "--changes", "3"]).ok();
    for said in [
        "60 of 60 rows looked at with scripted@2",
        "40 rows would change (66.7 % of the scope)",
        "GUARD: ",
        "PLACE",
        "500.00 CAD",
        "12.50 CAD",
    ] {
        assert!(shown.contains(said), "{said} in\n{shown}");
    }
    let error = told(&["apply", &run]).refused(1);
    assert!(error.contains("66.7 % of the scope would change, of 20.0 % that may"), "{error}");
    let error = told(&["apply", &run, "--override", " "]).refused(2);
    assert!(error.contains("must not be empty"), "{error}");
    let applied = told(&["apply", &run, "--override", "the test says so", "--json"]).json();
    assert_eq!((&applied["phase"], &applied["override_reason"]), (&json!("applied"), &json!("the test says so")));
    stand.store.correct(&correction("t1", "bakery", CorrectionScope::Transaction, 3_000)).await.unwrap();
    let shown = told(&["show", &run]).ok();
    assert!(shown.contains("40 rows were to change (66.7 % of the scope)") && !shown.contains("would"), "{shown}");
    let undone = told(&["undo", &run]).ok();
    assert!(undone.contains("39 rows undone") && undone.contains("1 rows kept (person)"), "{undone}");
    assert!(undone.contains("40 rows were to change, until it was undone"), "{undone}");
    assert_eq!(in_force(&stand.store, "t1").await, "bakery by correction, reviewed");
    assert_eq!(in_force(&stand.store, "t4").await, "supermarket by stage, accepted");
    let again = told(&["undo", &run]);
    assert!(again.err.starts_with("recategorization 1 is undone already"), "{}", again.err);
    assert!(again.ok().contains("39 rows undone"));
    let listed = told(&["list"]).ok();
    assert!(listed.contains("undone") && listed.contains("a better engine"), "{listed}");
    let missing = "txcat: there is no recategorization 77\n";
    assert_eq!(told(&["undo", "77"]).refused(1), missing, "and no row was looked at");
    assert_eq!(told(&["show", "77"]).refused(1), missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_previews_and_resumes() {
    let stand = Stand::start().await;
    stand.answered(&rows(30)).await;
    let (encoder, _) = model::tiny_encoder();
    let with_encoder = |arguments: &[&str]| {
        let of_encoder = ["--encoder-dir", encoder.path().to_str().unwrap(), "--json", "--stage"];
        let (stage, arguments) = arguments.split_last().unwrap();
        recategorize(&stand.database, &[arguments, &of_encoder, &[stage]].concat())
    };
    let error = with_encoder(&["preview", "--reason", "another stage", "few_shot"]).refused(1);
    assert!(error.contains("or `everything` and nothing else"), "{error}");
    let seen = with_encoder(&["preview", "--everything", "--reason", "another stage", "few_shot"]).json();
    assert_eq!((&seen["phase"], &seen["seen"], &seen["failed"]), (&json!("previewed"), &json!(30), &json!(0)));
    assert!(seen["engines"][0].as_str().unwrap().starts_with("nearest"), "{seen}");
    let run = seen["id"].to_string();
    assert_eq!(with_encoder(&["resume", &run, "few_shot"]).json(), seen, "there is nothing left to do");
    let error = with_encoder(&["resume", &run, "enriched_prompt"]).refused(1);
    assert!(error.contains("would answer now"), "{error}");
}

#[tokio::test]
async fn a_run_that_no_worker_can_be_asked_for_is_not_begun() {
    let app = service(9).await;
    let pool = sqlx::PgPool::connect(&app.database.url).await.unwrap();
    let change = async |sql: &'static str| sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    let body = json!({ "scope": { "everything": true }, "reason": "a better engine" });
    change("alter table graphile_worker._private_jobs rename to elsewhere").await;
    let refused = app.post("/v1/recategorizations", &body).await;
    assert!(refused.status >= 500, "{}", refused.body);
    change("alter table graphile_worker.elsewhere rename to _private_jobs").await;
    assert_eq!(app.get("/v1/recategorizations").await.with(200)["recategorizations"], json!([]));
    let begun = app.post("/v1/recategorizations", &body).await.with(202);
    assert_eq!(begun["job"]["state"], "waiting", "{begun}");
    pool.close().await;
}
