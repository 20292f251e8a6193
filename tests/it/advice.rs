//! Advice over HTTP and on the command line: the shipped scenario, this deployment, and what can't be advised on.

use std::sync::Arc;

use serde_json::{Value, json};
use txcat::{
    categorize::{Lineup, Stage},
    clock,
    domain::{Acceptance, Enrichment, Taxonomy},
    store::{NewEvalRun, Store},
};

use crate::{
    database::{TestDatabase, fresh_database, fresh_store},
    harness::{App, NOWHERE, Run as _, SCRIPT, Said, Scripted, row, txcat, with},
};

const FINTECH: &str = "eval/scenarios/fintech.toml";

fn advise(database: Option<&TestDatabase>, arguments: &[&str]) -> Said {
    let url = database.map_or(NOWHERE, |database| &database.url);
    txcat(&["advise"]).args(arguments).on(url).run()
}

#[track_caller]
fn advised(database: Option<&TestDatabase>, arguments: &[&str]) -> Value {
    advise(database, &[arguments, &["--json"]].concat()).json()
}

/// The page without the day on which it was printed.
fn undated(page: &str) -> String {
    page.replace(&clock::now().date_naive().to_string(), "[today]")
}

fn fintech() -> Value {
    let text = std::fs::read_to_string(FINTECH).unwrap();
    toml::from_str(&text).unwrap()
}

#[test]
fn the_shipped_scenario_is_printed_as_advice() {
    insta::assert_snapshot!(undated(&advise(None, &["--scenario", FINTECH]).ok()));
}

#[test]
fn the_same_advice_is_markdown() {
    let page = advise(None, &["--scenario", FINTECH, "--markdown"]).ok();
    assert!(page.starts_with("# Advice: fintech\n\n"), "{page}");
    assert!(
        page.contains("Prompt first, then fine-tune") && page.contains("| right | 82 % | 87 % | 92 % | 88 % |"),
        "{page}"
    );
    assert!(page.contains("## What would change the decision"), "{page}");
}

#[tokio::test]
async fn the_command_line_and_http_give_the_same_advice() {
    let app = App::start().await;
    let answer = app.post("/v1/advice", &fintech()).await.with(200);
    assert_eq!(answer["verdict"]["code"], "prompt_then_fine_tune");
    assert_eq!(answer, advised(None, &["--scenario", FINTECH]));
    // Every accuracy says how it is known.
    let accuracies = answer["options"].as_array().unwrap().iter().chain([&answer["today"]]);
    assert!(accuracies.map(|option| &option["accuracy"]["basis"]).all(|basis| basis == "claimed"));
}

#[test]
fn a_flag_goes_before_the_scenario() {
    let code = |arguments: &[&str]| {
        advised(None, &[&["--scenario", FINTECH], arguments].concat())["verdict"]["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(&["--labels", "200"]), "label_first");
    assert_eq!(code(&["--transactions-per-month", "5000"]), "stay_with_prompts");
    assert_eq!(code(&["--private-or-current-data", "yes"]), "retrieval_first");
    assert_eq!(code(&["--maintainable", "no"]), "stay_with_prompts");
    assert_eq!(code(&["--target", "0.85"]), "prompt");
    assert_eq!(code(&["--horizon", "1"]), "fine_tune");
    let said = advised(None, &["--scenario", FINTECH, "--transactions-per-month", "100000"]);
    assert_eq!(said["questions"][4]["evidence"], "100,000: said by --transactions-per-month");
    assert_eq!(said["questions"][3]["evidence"], "12,000: the scenario's `labels`");
}

#[test]
fn what_cannot_be_read_is_said_in_a_sentence() {
    let refused = |arguments: &[&str], code: i32| advise(None, arguments).refused(code);
    assert!(refused(&["--scenario", "nothing.toml"], 1).starts_with("txcat: can't read nothing.toml"));
    assert!(refused(&["--scenario", "Cargo.toml"], 1).starts_with("txcat: Cargo.toml is no scenario"));
    assert!(refused(&["--target", "92"], 2).contains("must be from 0 to 1"));
    assert!(refused(&["--scenario", FINTECH, "--machine-per-hour", "cheap"], 2).contains("must be a number"));
}

#[tokio::test]
async fn what_cannot_be_advised_on_is_a_problem() {
    let app = App::start().await;
    let send = async |body: Value| app.post("/v1/advice", &body).await.with(422);
    let problem = send(json!({ "transactions_per_month": "many" })).await;
    assert_eq!(
        (&problem["type"], &problem["pointer"]),
        (&json!("urn:txcat:problem:invalid-body"), &json!("/transactions_per_month"))
    );
    let problem = send(json!({ "claims": [] })).await;
    assert!(problem["detail"].as_str().unwrap().contains("unknown field `claims`"), "{problem}");
    let mut twice = fintech();
    twice["option"][1]["name"] = json!("prompt");
    let problem = send(twice).await;
    assert_eq!(problem["type"], "urn:txcat:problem:invalid-scenario");
    assert_eq!(problem["detail"], "two options are called `prompt`");
    let problem = send(json!({ "horizon_months": 0 })).await;
    assert_eq!(problem["type"], "urn:txcat:problem:invalid-scenario");
    let huge = json!({ "machine_per_hour": { "low": 0, "high": 1e300 } });
    assert_eq!(send(huge).await["type"], "urn:txcat:problem:invalid-body");
}

#[tokio::test]
async fn a_deployment_that_knows_nothing_is_asked() {
    let database = fresh_database().await;
    let advice = advised(Some(&database), &[]);
    assert_eq!(advice["verdict"]["code"], "undecided");
    let flags: Vec<&str> =
        advice["asked"].as_array().unwrap().iter().map(|ask| ask["flag"].as_str().unwrap()).collect();
    for flag in ["--transactions-per-month", "--labels", "--maintainable", "--today"] {
        assert!(flags.iter().any(|said| said.contains(flag)), "{flag}: {flags:?}");
    }
    let page = advise(Some(&database), &[]).ok();
    assert!(page.contains("not known") && page.contains("--consistent-behaviour yes|no"), "{page}");
}

/// What answers in these tests.
const SERVES: &str = "prompt:small:few_shot_v1@1";

async fn app(audit_share: f32) -> App {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    let engine = Scripted::saying(taxonomy.version(), SERVES, SCRIPT);
    let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(engine));
    stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
    let app = App::answering(store, database, Arc::clone(&taxonomy), Lineup::alone(stage), audit_share).await;
    app.store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    app
}

async fn measured(store: &Store, stage: &str, engine: &str, correct: i32) {
    let run = NewEvalRun {
        started_at: clock::now(),
        data_set: "shops".to_owned(),
        file: "test_recent.csv.gz".to_owned(),
        file_sha256: [7; 32],
        stage: stage.to_owned(),
        engine: engine.to_owned(),
        taxonomy: Taxonomy::consumer().unwrap().version().to_owned(),
        peer: false,
        labels_sha256: None,
        seed: None,
        code_version: None,
        label_budget: None,
        target: Some(0.92),
        rows: 2_000,
        correct,
        known_rows: 1_000,
        known_correct: 0,
        macro_f1: 0.5,
        ece: Some(0.02),
        coverage_at_target: Some(0.5),
        rows_per_s: Some(200.0),
        cost_per_1000: engine.starts_with("prompt").then(|| "1.40".parse().unwrap()),
        currency: engine.starts_with("prompt").then(|| "USD".to_owned()),
    };
    store.insert_run(&run, &[]).await.unwrap();
}

#[tokio::test]
async fn a_deployment_is_advised_by_what_it_measured() {
    let app = app(0.0).await;
    measured(&app.store, "scripted", SERVES, 1_640).await;
    measured(&app.store, "enriched_prompt", "prompt:small:enriched_v1@1", 1_740).await;
    measured(&app.store, "adapter", "adapter:shops@1", 1_900).await;
    // Scored last, and not what serves: another prompt in the same stage.
    measured(&app.store, "scripted", "prompt:small:few_shot_v0@7", 600).await;
    let day = clock::now().date_naive().to_string();
    app.ingest(&[
        with(row("t1", "COFFEE"), json!({ "posted_at": day })),
        with(row("t2", "MARKET"), json!({ "posted_at": day })),
    ])
    .await;
    let advice = app.post("/v1/advice", &json!({})).await.with(200);
    assert_eq!(advice["scenario"], "this deployment");
    assert_eq!((&advice["transactions_per_month"], &advice["target"]), (&json!(2), &json!(0.92)));
    let today = &advice["today"];
    assert_eq!((&today["name"], &today["accuracy"]["basis"]), (&json!("scripted"), &json!("measured")));
    assert_eq!(today["accuracy"]["source"], "shops/test_recent.csv.gz");
    assert_eq!((&today["accuracy"]["share"], &today["accuracy"]["rows"]), (&json!(0.82), &json!(2_000)));
    assert_eq!(today["accuracy"]["engine"], "prompt:small:few_shot_v1@1");
    assert!(today["accuracy"]["low"].as_f64().unwrap() < 0.82);
    let question = |advice: &Value, place: usize| {
        (advice["questions"][place]["answer"].clone(), advice["questions"][place]["basis"].clone())
    };
    assert_eq!(question(&advice, 0), (json!("no"), json!("measured")));
    assert_eq!(question(&advice, 1), (json!("unknown"), json!("asked")));
    assert_eq!(question(&advice, 4), (json!("no"), json!("measured")), "two rows are no 50,000");
    assert!(advice["asked"].as_array().unwrap().iter().any(|ask| ask["member"] == "/machine_per_hour"));

    let said = json!({
        "transactions_per_month": 3_000_000,
        "labels": 12_000,
        "machine_per_hour": { "low": "0.10", "high": "1.20" },
        "answers": { "private_or_current_data": false, "consistent_behaviour": true, "maintainable": true },
    });
    let advice = app.post("/v1/advice", &said).await.with(200);
    assert_eq!(advice["verdict"]["code"], "prompt_then_fine_tune", "{}", advice["verdict"]["says"]);
    assert_eq!(question(&advice, 4), (json!("yes"), json!("stated")));
    assert_eq!(advice["today"]["per_month"], json!({ "low": "4200", "high": "4200" }));
    assert_eq!(advice["asked"], json!([]));
}

#[tokio::test]
async fn what_people_said_of_live_answers_stands_beside_what_was_measured() {
    // Everything that is accepted is drawn for a person's eye.
    let app = app(1.0).await;
    let rows: Vec<Value> = (0..120).map(|n| row(&format!("t{n}"), &format!("COFFEE {n}"))).collect();
    app.ingest(&rows).await;
    let say = async |n: usize| {
        let said = if n.is_multiple_of(6) { "restaurant" } else { "coffee_shop" };
        let body = json!({ "category": said, "scope": "transaction" });
        app.post(&format!("/v1/transactions/t{n}/correction"), &body).await.with(200);
    };
    for n in 0..99 {
        say(n).await;
    }
    assert_eq!(app.post("/v1/advice", &json!({})).await.with(200)["live"], Value::Null, "99 are too few");
    for n in 99..120 {
        say(n).await;
    }
    let live = app.post("/v1/advice", &json!({})).await.with(200)["live"].clone();
    assert_eq!((&live["rows"], &live["right"], &live["below_file"]), (&json!(120), &json!(100), &Value::Null));
    measured(&app.store, "scripted", SERVES, 1_960).await;
    let advice = app.post("/v1/advice", &json!({})).await.with(200);
    assert_eq!((&advice["live"]["below_file"], &advice["today"]["accuracy"]["share"]), (&json!(true), &json!(0.98)));
    assert!(advice["live"]["says"].as_str().unwrap().contains("no longer stands for the traffic"), "{advice}");
    let unknown = advise(Some(&app.database), &["--today", "nosuch"]).refused(1);
    assert!(unknown.contains("nosuch") && unknown.contains("few_shot, enriched_prompt"), "{unknown}");
}

#[tokio::test]
async fn good_labels_are_those_that_passed_the_gate() {
    let app = app(0.0).await;
    measured(&app.store, "scripted", SERVES, 1_640).await;
    let corrected: Vec<Value> = (0..40)
        .map(|n| with(row(&format!("t{n}"), &format!("SHOP {n}")), json!({ "amount": format!("{n}.50") })))
        .collect();
    app.ingest(&corrected).await;
    for n in 0..40 {
        let category = if n % 2 == 0 { "coffee_shop" } else { "supermarket" };
        let body = json!({ "category": category, "scope": "transaction" });
        app.post(&format!("/v1/transactions/t{n}/correction"), &body).await.with(200);
    }
    let before = app.post("/v1/advice", &json!({})).await.with(200);
    assert_eq!(before["questions"][3]["answer"], "unknown", "nobody has checked them");
    let made = app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    assert_eq!(made["dataset"]["passed"], true, "{}", made["report"]["checks"]);
    let good = 40 - made["dataset"]["quarantined"].as_i64().unwrap();
    let advice = app.post("/v1/advice", &json!({})).await.with(200);
    let labels = &advice["questions"][3];
    assert_eq!((&labels["answer"], &labels["basis"]), (&json!("no"), &json!("measured")));
    assert!(
        labels["evidence"].as_str().unwrap().starts_with(&format!("{good}: of 40 labels of `corrections`")),
        "{labels}"
    );
}
