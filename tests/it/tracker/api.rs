use serde_json::Value;
use txcat::evaluate::tracker;

use super::{answered, run, stored};
use crate::harness::App;

fn ids(page: &Value) -> Vec<i64> {
    page["runs"].as_array().unwrap().iter().map(|run| run["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn runs_are_listed_newest_first_page_by_page_and_narrowed() {
    let app = App::start().await;
    let items = answered(1, 40, 0.9);
    let mut all = Vec::new();
    for stage in ["few_shot", "adapter", "few_shot", "adapter", "adapter"] {
        all.push(stored(&app.store, stage, &items).await);
    }
    let mut peer = run("svc", &items);
    peer.peer = true;
    all.push(app.store.insert_run(&peer, &items).await.unwrap());
    all.reverse();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/v1/eval-runs?limit=4{after}")).await.with(200);
        seen.extend(ids(&page));
        match page["next"].as_i64() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    let adapters = app.get("/v1/eval-runs?stage=adapter&data_set=made&file=test_recent").await.with(200);
    assert_eq!(ids(&adapters), [all[1], all[2], all[4]]);
    assert_eq!(ids(&app.get("/v1/eval-runs?peer=true").await.with(200)), [all[0]]);
    assert_eq!(ids(&app.get("/v1/eval-runs?engine=few_shot:made@00000000").await.with(200)), [all[3], all[5]]);
    assert!(ids(&app.get("/v1/eval-runs?data_set=other").await.with(200)).is_empty());
    app.get("/v1/eval-runs?stagge=adapter").await.with(400);
    app.get("/v1/eval-runs?limit=0").await.with(400);
    let accuracy = app.get("/v1/accuracy").await.with(200);
    assert_eq!(accuracy["runs"].as_array().unwrap().len(), 2, "the latest of each stage, and no peer");
}

#[tokio::test]
async fn a_run_is_shown_with_what_the_tracker_says_of_it() {
    let app = App::start().await;
    let id = stored(&app.store, "adapter", &answered(1, 300, 0.85)).await;
    let shown = app.get(&format!("/v1/eval-runs/{id}")).await.with(200);
    let report = tracker::measured(&app.store, id).await.unwrap().report().unwrap();
    assert_eq!(shown, serde_json::to_value(&report).unwrap());
    assert_eq!(shown["run"]["labels_sha256"], "09".repeat(32));
    for (path, status, kind) in [
        ("/v1/eval-runs/77", 404, "unknown-run"),
        ("/v1/eval-runs/x", 404, "unknown-run"),
        ("/v1/eval-runs/compare?ours=77&theirs=78", 404, "unknown-run"),
        ("/v1/eval-runs/compare?ours=1", 400, "query"),
    ] {
        let problem = app.get(path).await.with(status);
        assert_eq!(problem["type"], format!("urn:txcat:problem:{kind}"), "{path}");
    }
    let empty = stored(&app.store, "adapter", &[]).await;
    app.get(&format!("/v1/eval-runs/{empty}")).await.with(422);
}

#[tokio::test]
async fn two_runs_are_compared_and_runs_of_other_files_are_not() {
    let app = App::start().await;
    let theirs = stored(&app.store, "few_shot", &answered(1, 400, 0.6)).await;
    let ours = stored(&app.store, "adapter", &answered(2, 400, 0.95)).await;
    let found = app.get(&format!("/v1/eval-runs/compare?ours={ours}&theirs={theirs}")).await.with(200);
    assert!(found["all"]["difference"].as_f64().unwrap() > 0.2, "{}", found["all"]);
    assert!(found["all"]["by_merchant"]["low"].as_f64().unwrap() > 0.0);
    assert!(found["all"]["p"].as_f64().unwrap() < 1e-6);
    assert_eq!((&found["ours"]["id"], &found["theirs"]["id"]), (&ours.into(), &theirs.into()));
    let row = &found["differing"][0];
    assert!(row["ours"] == row["expected"] || row["theirs"] == row["expected"], "{row}");
    let mut elsewhere = run("adapter", &[]);
    elsewhere.file_sha256 = [8; 32];
    let elsewhere = app.store.insert_run(&elsewhere, &[]).await.unwrap();
    let problem = app.get(&format!("/v1/eval-runs/compare?ours={ours}&theirs={elsewhere}")).await.with(422);
    assert_eq!(problem["type"], "urn:txcat:problem:runs-apart");
}
