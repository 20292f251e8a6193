//! Adapters on live traffic: who answers whom, who goes up on what evidence, and what is taken back.
//!
//! Real adapters on a tiny encoder: one that learned the labels, and one that learned them the wrong way round.

mod broken;
mod commands;
mod precision;

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};
use tempfile::TempDir;
use txcat::{
    adapters::{
        promotion::{self, Ask},
        registry::{self, Registration},
        roster::Roster,
        watch,
    },
    categorize::{Calibration, Engine, Lineup, Stage, StageEntry},
    clock,
    config::Precision,
    domain::{Acceptance, AdapterState, Enrichment, Judged, Taxonomy, adapter::EVERYONE, draw::drawn},
    model::{AdapterBank, BaseEncoder, Naming, train::TrainRows},
    store::{self, NewAdapterGate, StoredAdapter},
};

use crate::{
    database::fresh_store,
    harness::{self, App, PATIENCE},
    model,
};

/// A service that follows the registry, and adapters to put into it.
struct Stand {
    app: App,
    base: BaseEncoder,
    bank: AdapterBank,
    taxonomy: Arc<Taxonomy>,
    folders: Arc<TempDir>,
    follows: tokio::task::JoinHandle<()>,
    encoder: Arc<TempDir>,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.follows.abort();
    }
}

fn taxonomy() -> Taxonomy {
    let text = "category,description\ncafes,coffee and cake\nfuel,petrol and diesel\n";
    Taxonomy::from_categories_csv(text.as_bytes(), "categories").unwrap()
}

fn entry() -> StageEntry {
    StageEntry {
        name: "adapter".to_owned(),
        engine: Engine::Adapter,
        enrichment: Enrichment::None,
        target: 0.92,
        prompt: None,
        retrieve: 0,
        otherwise: None,
        step_only: false,
        steps: Vec::new(),
    }
}

/// Trains on the tiny rows, or on the same with every label wrong.
fn make(base: &BaseEncoder, dir: &Path, right: bool, seed: u64) {
    let mut rows: TrainRows = model::rows();
    if !right {
        for row in rows.rows.iter_mut().chain(&mut rows.dev).chain(&mut rows.terms) {
            row.class = 1 - row.class;
        }
    }
    let options = txcat::model::train::TrainOptions { seed, ..model::options() };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let trained = txcat::model::train::train(base, &rows, 2, &options, &mut |_| {}, &stop).unwrap();
    let naming = Naming { taxonomy: taxonomy().version().to_owned(), ..model::naming() };
    trained.save(dir, naming).unwrap();
}

impl Stand {
    /// With `good` as everybody's champion.
    async fn start() -> Self {
        Self::on(model::tiny_encoder(), Precision::F32).await
    }

    async fn on((encoder, base): (TempDir, BaseEncoder), precision: Precision) -> Self {
        let folders = tempfile::tempdir().unwrap();
        make(&base, &folders.path().join("good"), true, 1);
        Self::with(Arc::new(encoder), base, Arc::new(folders), precision).await
    }

    /// Another service, with the same champion.
    async fn again(&self, precision: Precision) -> Self {
        Self::with(Arc::clone(&self.encoder), self.base.clone(), Arc::clone(&self.folders), precision).await
    }

    async fn with(encoder: Arc<TempDir>, base: BaseEncoder, folders: Arc<TempDir>, precision: Precision) -> Self {
        let (store, database) = fresh_store().await;
        let taxonomy = Arc::new(taxonomy());
        store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
        let first = folders.path().join("good");
        let bank = AdapterBank::open(&base).unwrap().in_precision(precision);
        let mut roster = Roster::new(store.clone(), bank.clone(), entry(), Arc::clone(&taxonomy));
        roster.begin_with(&first, "test", clock::now()).await.unwrap();
        let lineup = roster.lineup().await.unwrap();
        let app = App::answering(store, database, Arc::clone(&taxonomy), lineup, 0.0).await;
        let follows = tokio::spawn(roster.follow(Arc::clone(&app.pipeline)));
        Self { app, base, bank, taxonomy, folders, follows, encoder }
    }

    async fn register(&self, name: &str, right: bool, group: &str) -> StoredAdapter {
        let dir = self.folders.path().join(name);
        make(&self.base, &dir, right, 7 + name.len() as u64);
        let what = Registration { dir: &dir, name: None, account_group: group, by: "test" };
        let adapter = registry::register(&self.app.store, &self.bank, what, clock::now()).await.unwrap().adapter;
        std::fs::remove_dir_all(dir).unwrap();
        adapter
    }

    async fn adapter(&self, reference: &str) -> StoredAdapter {
        registry::find(&self.app.store, reference).await.unwrap()
    }

    /// Moves over HTTP, whatever the gate says.
    async fn force(&self, reference: &str, to: &str, share: f32) -> Value {
        let body = json!({ "to": to, "share": share, "override": "for the test" });
        self.app.post(&format!("/v1/adapters/{reference}/moves"), &body).await.with(200)
    }

    /// Sends one row for each account, under ids that begin with `lot`; returns the results.
    async fn send(&self, lot: &str, accounts: usize) -> Vec<Value> {
        let rows: Vec<Value> = (0..accounts).map(|account| row(lot, account)).collect();
        self.app.ingest(&rows).await
    }

    /// Sends rows until the line-up has changed: all of `wanted`'s engine, or some of it.
    async fn until_answers(&self, engine: &str, all: bool) -> Vec<Value> {
        let followed = async {
            for round in 0.. {
                let results = self.send(&format!("until-{engine}-{round}-"), 40).await;
                let by = |result: &&Value| result["engine"] == engine;
                let seen = results.iter().filter(by).count();
                if if all { seen == results.len() } else { seen > 0 } {
                    return results;
                }
            }
            unreachable!()
        };
        tokio::time::timeout(PATIENCE, followed).await.expect("the server does not follow")
    }

    /// Says what each answered row of a lot really is: a café.
    async fn correct_all(&self, results: &[Value]) {
        for result in results {
            let path = format!("/v1/transactions/{}/correction", result["id"].as_str().unwrap());
            self.app.post(&path, &json!({ "category": "cafes", "scope": "transaction" })).await.with(200);
        }
    }
}

fn row(lot: &str, account: usize) -> Value {
    let account_id = format!("acc-{account}");
    harness::with(harness::row(&format!("{lot}{account}"), "BLUE COFFEE HOUSE"), json!({ "account_id": account_id }))
}

fn engines(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["engine"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_tell_how_many_texts_were_read() {
    let stand = Stand::start().await;
    stand.send("alike-", 3).await;
    stand.app.ingest(&[harness::row("other", "SHELL STATION")]).await;
    let told = stand.app.get("/metrics").await.with(200);
    let told = told.as_str().unwrap();
    for line in ["txcat_adapter_texts{source=\"memory\"} 2\n", "txcat_adapter_texts{source=\"encoder\"} 2\n"] {
        assert!(told.contains(line), "{line}{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fitted_for_the_champion_is_taken_up_while_it_answers() {
    let stand = Stand::start().await;
    let before = &stand.send("before-", 1).await[0];
    assert_eq!(before["confidence_level"], Value::Null);
    let right = |known| (0..400).map(move |_| Judged { confidence: 0.3, right: true, known });
    let judged: Vec<Judged> = right(true).chain(right(false)).collect();
    let fitted = Calibration::of_calibrated(&judged, Acceptance { known: Some(0.5), unknown: Some(0.5) });
    let fitting = store::Calibration {
        engine: before["engine"].as_str().unwrap().to_owned(),
        taxonomy: stand.taxonomy.version().to_owned(),
        target: 0.92,
        parameters: serde_json::to_value(fitted).unwrap(),
        rows: 800,
        fitted_on: "made/dev".to_owned(),
        fitted_at: clock::now(),
    };
    stand.app.store.put_calibration(&fitting).await.unwrap();
    let taken_up = async {
        let mut lot = 0;
        while stand.send(&format!("after-{lot}-"), 1).await[0]["confidence_level"].is_null() {
            lot += 1;
        }
    };
    tokio::time::timeout(PATIENCE, taken_up).await.expect("the server does not follow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_answers_its_share_of_the_accounts_and_always_the_same_ones() {
    let stand = Stand::start().await;
    let bad = stand.register("bad", false, EVERYONE).await;
    let moved = stand.force("bad@1", "canary", 0.4).await;
    assert_eq!(moved["adapter"]["state"], "canary");
    assert_eq!(moved["decisions"][0]["overridden"], true);
    assert_eq!(moved["decisions"][0]["reason"], "for the test");
    stand.until_answers(&bad.engine, false).await;
    let first = stand.send("first-", 60).await;
    let again = stand.send("again-", 60).await;
    assert_eq!(engines(&first), engines(&again));
    for (account, result) in first.iter().enumerate() {
        let canary = drawn(&format!("acc-{account}"), &bad.engine, 0.4);
        assert_eq!(result["engine"] == bad.engine.as_str(), canary, "acc-{account}");
        assert_eq!(result["category"], if canary { "fuel" } else { "cafes" });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_up_is_shut_until_the_gate_has_measured_it_beside_the_champion_and_is_open() {
    let stand = Stand::start().await;
    let next = stand.register("next", true, EVERYONE).await;
    let champion = stand.adapter("good").await;
    let ask = json!({ "to": "champion" });
    let refused = async || stand.app.post("/v1/adapters/next@1/moves", &ask).await.with(409);
    assert_eq!(refused().await["type"], "urn:txcat:problem:no-gate");
    let gate = async |champion_id: Option<i64>, better: bool| {
        let checks = json!([
            { "name": "target", "passed": true, "says": "96 % of 400 rows right" },
            { "name": "better_than_champion", "passed": better, "says": "+0.10 points" },
        ]);
        let gate = NewAdapterGate {
            adapter_id: next.id,
            champion_id,
            data_set: "tiny/dev".to_owned(),
            rows: 400,
            passed: better,
            report: json!({ "checks": checks }),
            made_by: "test".to_owned(),
            made_at: clock::now(),
        };
        stand.app.store.insert_gate(&gate).await.unwrap();
    };
    gate(None, true).await;
    assert_eq!(refused().await["type"], "urn:txcat:problem:no-gate", "it was measured beside no champion");
    gate(Some(champion.id), false).await;
    let shut = refused().await;
    assert_eq!(shut["type"], "urn:txcat:problem:gate-shut");
    assert!(shut["detail"].as_str().unwrap().contains("better_than_champion: +0.10 points"), "{shut}");
    stand.app.post("/v1/adapters/next@1/moves", &json!({ "to": "canary" })).await.with(200);
    gate(Some(champion.id), true).await;
    let moved = stand.app.post("/v1/adapters/next@1/moves", &ask).await.with(200);
    assert_eq!(moved["adapter"]["state"], "champion");
    assert_eq!(moved["decisions"][0]["numbers"]["predecessor"], champion.id);
    assert_eq!(stand.adapter("good@1").await.state, AdapterState::Retired);
    stand.until_answers(&next.engine, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_and_none_is_answered_by_both_while_champions_change() {
    let stand = Arc::new(Stand::start().await);
    let next = stand.register("next", true, EVERYONE).await;
    let sender = |worker: usize| {
        let stand = Arc::clone(&stand);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for round in 0..40 {
                let results = stand.send(&format!("w{worker}-{round}-"), 3).await;
                let engines = engines(&results);
                assert!(engines.windows(2).all(|pair| pair[0] == pair[1]), "{engines:?}");
                seen.push(engines[0].to_owned());
            }
            seen
        })
    };
    let senders: Vec<_> = (0..4).map(sender).collect();
    stand.force("next@1", "champion", 1.0).await;
    let mut seen = Vec::new();
    for sender in senders {
        seen.extend(sender.await.unwrap());
    }
    assert_eq!(seen.len(), 160);
    let last = stand.until_answers(&next.engine, true).await;
    assert_eq!(last.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_takes_back_a_canary_that_people_correct_more_often_and_leaves_a_good_one() {
    let stand = Stand::start().await;
    let bad = stand.register("bad", false, EVERYONE).await;
    stand.force("bad@1", "canary", 0.4).await;
    stand.until_answers(&bad.engine, false).await;
    let results = stand.send("live-", 100).await;
    let look = async || watch::look(&stand.app.store, watch::Limits::default(), clock::now()).await.unwrap();
    assert!(look().await.iter().all(|finding| !finding.taken_back), "nobody has said anything yet");
    stand.correct_all(&results).await;
    let found = look().await;
    assert_eq!((found.len(), found[0].taken_back), (1, true), "{found:?}");
    let shown = stand.app.get("/v1/adapters/bad@1").await.with(200);
    assert_eq!(shown["adapter"]["state"], "retired");
    let decision = &shown["decisions"][0];
    assert_eq!(decision["made_by"], "watch");
    let wrong = decision["numbers"]["now"]["wrong"].as_u64().unwrap();
    assert!(wrong >= 20 && decision["numbers"]["reference"]["wrong"] == 0, "{decision}");
    let good = stand.adapter("good").await;
    stand.until_answers(&good.engine, true).await;

    let fine = stand.register("fine", true, EVERYONE).await;
    stand.force("fine@1", "canary", 0.4).await;
    stand.until_answers(&fine.engine, false).await;
    let results = stand.send("fine-", 100).await;
    stand.correct_all(&results).await;
    assert!(look().await.iter().all(|finding| !finding.taken_back));
    assert_eq!(stand.adapter("fine@1").await.state, AdapterState::Canary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_champion_makes_room_for_the_one_that_it_replaced() {
    let stand = Stand::start().await;
    let good = stand.adapter("good").await;
    let results = stand.send("before-", 100).await;
    stand.correct_all(&results).await;
    let bad = stand.register("bad", false, EVERYONE).await;
    stand.force("bad@1", "champion", 1.0).await;
    stand.until_answers(&bad.engine, true).await;
    let results = stand.send("after-", 40).await;
    stand.correct_all(&results).await;
    let found = watch::look(&stand.app.store, watch::Limits::default(), clock::now()).await.unwrap();
    assert!(found[0].taken_back, "{found:?}");
    assert_eq!(stand.adapter("bad@1").await.state, AdapterState::Retired);
    assert_eq!(stand.adapter("good@1").await.state, AdapterState::Champion);
    stand.until_answers(&good.engine, true).await;
    let first = stand.app.post("/v1/adapters/good@1/rollback", &json!({ "reason": "why not" })).await.with(409);
    assert_eq!(first["type"], "urn:txcat:problem:no-way", "it replaced nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_looks_on_and_changes_nothing() {
    let stand = Stand::start().await;
    let good = stand.adapter("good").await;
    stand.register("bad", false, EVERYONE).await;
    stand.force("bad@1", "shadow", 1.0).await;
    let looks_on = async {
        for round in 0.. {
            let results = stand.send(&format!("{round}-"), 5).await;
            assert!(engines(&results).iter().all(|engine| *engine == good.engine));
            stand.app.pipeline.settle().await;
            let shown = stand.app.get("/v1/adapters/bad@1").await.with(200);
            if shown["adapter"]["shadow"]["answered"].as_u64().unwrap() > 0 {
                stand.correct_all(&results).await;
                return stand.app.get("/v1/adapters/bad@1").await.with(200);
            }
        }
        unreachable!()
    };
    let shown = tokio::time::timeout(PATIENCE, looks_on).await.expect("the shadow never looked");
    let shadow = &shown["adapter"]["shadow"];
    let count = |name: &str| shadow[name].as_u64().unwrap();
    assert_eq!((count("judged"), count("agreed"), count("right"), count("champion_right")), (5, 0, 0, 5), "{shadow}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_group_has_a_champion_of_its_own_and_a_caller_may_name_an_adapter() {
    let stand = Stand::start().await;
    let good = stand.adapter("good").await;
    let bad = stand.register("bad", false, "merchants").await;
    let body = json!({ "account_ids": ["acc-0", "acc-1"], "group": "merchants" });
    assert_eq!(stand.app.post("/v1/account-groups", &body).await.with(200)["changed"], 2);
    stand.force("bad@1", "champion", 1.0).await;
    assert_eq!(stand.adapter("good").await.state, AdapterState::Champion, "each group has its own");
    stand.until_answers(&bad.engine, false).await;
    let results = stand.send("grouped-", 4).await;
    assert_eq!(engines(&results), [&*bad.engine, &*bad.engine, &*good.engine, &*good.engine]);

    let named = json!({ "transactions": [row("named-", 3)], "adapter": "bad@1" });
    let answered = stand.app.post("/v1/transactions", &named).await.with(200);
    assert_eq!(answered["results"][0]["engine"], bad.engine.as_str());
    let unknown = json!({ "transactions": [row("unknown-", 3)], "adapter": "worse@1" });
    let refused = stand.app.post("/v1/transactions", &unknown).await.with(422);
    assert_eq!(
        (refused["type"].as_str(), refused["pointer"].as_str()),
        (Some("urn:txcat:problem:unknown-adapter"), Some("/adapter"))
    );
    stand.app.get("/v1/transactions/unknown-3").await.with(404);

    let out = json!({ "account_ids": ["acc-0"], "group": null });
    assert_eq!(stand.app.post("/v1/account-groups", &out).await.with(200)["changed"], 1);
    let bad_name = json!({ "account_ids": ["acc-0"], "group": "not a name" });
    assert_eq!(stand.app.post("/v1/account-groups", &bad_name).await.with(422)["pointer"], "/group");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_promote_at_once_do_not_make_two_champions() {
    let stand = Stand::start().await;
    for name in ["one", "two-"] {
        stand.register(name, true, EVERYONE).await;
    }
    let ask =
        || Ask { to: AdapterState::Champion, share: 1.0, overrides: Some("race".to_owned()), by: "test".to_owned() };
    let (one, two) = (stand.adapter("one").await, stand.adapter("two-").await);
    let store = &stand.app.store;
    let (a, b) = tokio::join!(
        promotion::promote(store, &one, ask(), clock::now()),
        promotion::promote(store, &two, ask(), clock::now())
    );
    assert!(a.is_ok() || b.is_ok(), "{a:?} {b:?}");
    let champions = store.adapters(Some(stand.taxonomy.version())).await.unwrap();
    let champions = champions.iter().filter(|adapter| adapter.state == AdapterState::Champion).count();
    assert_eq!(champions, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_that_lead_nowhere_are_refused_with_the_reason() {
    let stand = Stand::start().await;
    stand.register("next", true, EVERYONE).await;
    let path = "/v1/adapters/next@1/moves";
    let kind = async |path: &str, body: Value, status: u16| {
        let problem = stand.app.post(path, &body).await.with(status);
        problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    };
    assert_eq!(kind("/v1/adapters/none@1/moves", json!({ "to": "shadow" }), 404).await, "unknown-adapter");
    assert_eq!(kind(path, json!({ "to": "shadow", "share": 1.5 }), 422).await, "invalid-body");
    assert_eq!(kind(path, json!({ "to": "best" }), 422).await, "invalid-body");
    assert_eq!(kind(path, json!({ "to": "shadow", "override": " " }), 422).await, "invalid-body");
    assert_eq!(kind(path, json!({ "to": "candidate" }), 409).await, "no-way");
    assert_eq!(kind("/v1/adapters/good@1/moves", json!({ "to": "retired" }), 409).await, "no-way");
    assert_eq!(kind("/v1/adapters/next@1/rollback", json!({ "reason": "x" }), 409).await, "no-way");
    stand.app.post(path, &json!({ "to": "retired" })).await.with(200);
    assert_eq!(kind(path, json!({ "to": "champion", "override": "x" }), 409).await, "no-way");
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_answers_are_drawn_for_an_audit_and_what_people_say_of_them_is_counted_apart() {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    let scripted = harness::Scripted::new(taxonomy.version());
    let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(scripted));
    stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
    let app = App::answering(store, database, taxonomy, Lineup::alone(stage), 0.3).await;
    let rows: Vec<Value> = (0..100).map(|n| harness::row(&format!("t-{n}"), "COFFEE")).collect();
    app.ingest(&rows).await;
    app.ingest(&[harness::row("doubtful", "SOMETHING")]).await;
    let queue = app.get("/v1/reviews?reason=audit&limit=500").await.with(200);
    let drawn: Vec<&Value> = queue["reviews"].as_array().unwrap().iter().collect();
    assert!((15..45).contains(&drawn.len()), "{} of 100", drawn.len());
    assert!(drawn.iter().all(|item| item["transaction"]["category"] == "coffee_shop"), "they are in force meanwhile");
    for (place, item) in drawn.iter().enumerate() {
        let category = if place < 3 { "restaurant" } else { "coffee_shop" };
        let path = format!("/v1/transactions/{}/correction", item["transaction"]["id"].as_str().unwrap());
        app.post(&path, &json!({ "category": category, "scope": "transaction" })).await.with(200);
    }
    app.post("/v1/transactions/doubtful/correction", &json!({ "category": "groceries", "scope": "transaction" })).await;
    let tally = app.store.live_tally("scripted@1", chrono::DateTime::UNIX_EPOCH, None).await.unwrap();
    assert_eq!((tally.audited as usize, tally.audited_wrong, tally.answered), (drawn.len(), 3, 101));
}
