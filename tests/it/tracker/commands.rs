//! `txcat eval` beside measuring: runs, show, compare, check, export, sample-size.

use std::{fs, path::Path};

use serde_json::Value;
use txcat::store::EvalItem;

use super::{answered, run, stored};
use crate::{
    database::{TestDatabase, fresh_store},
    harness::{Run as _, Said, txcat},
};

fn eval(database: &TestDatabase, arguments: &[&str]) -> Said {
    txcat(&["eval"]).args(arguments).on(&database.url).run()
}

/// The rows with every answer of some merchants made wrong.
fn fallen(items: &[EvalItem], merchants: usize) -> Vec<EvalItem> {
    let hit = |item: &EvalItem| {
        (0..merchants).any(|merchant| item.descriptor_key.as_deref() == Some(&format!("merchant {merchant}")))
    };
    let item = |item: &EvalItem| match hit(item) {
        true => EvalItem { predicted: "rent".to_owned(), gold_rank: None, ..item.clone() },
        false => item.clone(),
    };
    items.iter().map(item).collect()
}

fn thresholds(dir: &Path, text: &str) -> String {
    let path = dir.join("thresholds.toml");
    let head = "[[check]]\ndata_set = \"made\"\nfile = \"test_recent\"\nstage = \"adapter\"\n";
    fs::write(&path, format!("{head}{text}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_planted_regression_fails_the_check_and_what_is_as_good_passes() {
    let (store, database) = fresh_store().await;
    let dir = tempfile::tempdir().unwrap();
    let floor = thresholds(dir.path(), "floor = 0.85");
    let unmeasured = eval(&database, &["check", "--thresholds", &floor]).refused(1);
    assert!(unmeasured.contains("never scored on made/test_recent"), "{unmeasured}");

    let before = answered(1, 1_200, 0.95);
    let first = stored(&store, "adapter", &before).await;
    let holds = eval(&database, &["check", "--thresholds", &floor]).ok();
    assert!(holds.contains("holds") && !holds.contains("fallen"), "{holds}");

    // Another training of the same: as good, with other mistakes.
    stored(&store, "adapter", &answered(5, 1_200, 0.95)).await;
    let baseline = thresholds(dir.path(), &format!("floor = 0.85\nbaseline = {{ run = {first} }}"));
    eval(&database, &["check", "--thresholds", &baseline]).ok();

    // Two of 25 merchants lost: 7 to 8 points.
    stored(&store, "adapter", &fallen(&before, 24)).await;
    let failed = eval(&database, &["check", "--thresholds", &baseline]).refused(1);
    assert!(failed.contains("1 of 1 checks failed"), "{failed}");
    let json = eval(&database, &["check", "--thresholds", &baseline, "--json"]).out;
    let verdicts: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&verdicts[0]["fallen"], &verdicts[0]["baseline"]), (&true.into(), &first.into()));
    assert!(verdicts[0]["difference"].as_f64().unwrap() < -0.03, "{verdicts}");

    let nobody = thresholds(dir.path(), "baseline = { peer = \"svc\" }");
    assert!(eval(&database, &["check", "--thresholds", &nobody]).refused(1).contains("is not in the tracker"));
    let mut peer = run("svc", &before);
    peer.peer = true;
    store.insert_run(&peer, &before).await.unwrap();
    assert!(eval(&database, &["check", "--thresholds", &nobody]).refused(1).contains("checks failed"));
    assert!(eval(&database, &["check", "--thresholds", "no/such/file"]).refused(1).contains("can't read"));
}

#[tokio::test]
async fn the_shipped_thresholds_are_of_the_demo_sets_stages() {
    let (store, database) = fresh_store().await;
    let read = txcat::evaluate::thresholds::Thresholds::load(Path::new("eval/thresholds.toml")).unwrap();
    assert!(read.checks.iter().all(|check| check.data_set == "demo" && check.floor.is_some()));
    for check in &read.checks {
        let mut measured = run(&check.stage, &answered(1, 400, 1.0));
        (measured.data_set, measured.file) = (check.data_set.clone(), check.file.clone());
        store.insert_run(&measured, &perfect(400)).await.unwrap();
    }
    eval(&database, &["check"]).ok();
}

fn perfect(rows: usize) -> Vec<EvalItem> {
    let right = |item: EvalItem| EvalItem { predicted: item.expected.clone(), gold_rank: Some(1), error: None, ..item };
    answered(1, rows, 1.0).into_iter().map(right).collect()
}

#[tokio::test]
async fn a_run_is_listed_shown_in_every_form_and_compared() {
    let (store, database) = fresh_store().await;
    let (before, after) = (answered(1, 300, 0.7), answered(2, 300, 0.95));
    let [theirs, ours] = [stored(&store, "few_shot", &before).await, stored(&store, "adapter", &after).await];
    let (theirs, ours) = (theirs.to_string(), ours.to_string());
    let list = eval(&database, &["runs"]).ok();
    assert!(list.contains("few_shot") && list.contains("adapter:made@00000000"), "{list}");
    let list = eval(&database, &["runs", "--stage", "adapter", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 1);

    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let table = eval(&database, &["show", &ours]).ok();
    for part in ["macro F1", "by merchant", "calibration error", "account_age", "taken for"] {
        assert!(table.contains(part), "no {part} in {table}");
    }
    let json = eval(&database, &["show", &ours, "--json", "--items", &path("items.csv")]).json();
    let items = fs::read_to_string(path("items.csv")).unwrap();
    assert!(items.starts_with("id,expected,predicted,confidence,") && items.lines().count() == 301);
    assert!(items.lines().all(|line| line.starts_with("id,") || line.starts_with("row-")));
    let markdown = eval(&database, &["show", &ours, "--format", "md"]).ok();
    let right = format!("{:.1}", 100.0 * json["figures"]["accuracy"]["share"].as_f64().unwrap());
    assert!(markdown.starts_with("# adapter on made/test_recent\n") && markdown.contains(&right), "{markdown}");
    let blank_or_table = |line: &str| line.is_empty() || line.starts_with('|');
    let after_heading = markdown.split("## Slices\n").nth(1).unwrap().lines().take(5);
    assert!(after_heading.clone().all(blank_or_table), "{markdown}");
    eval(&database, &["show", &ours, "--format", "html", "--out", &path("run.html")]).ok();
    let html = fs::read_to_string(path("run.html")).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains(&right) && !html.contains("http"), "{html}");
    assert!(!html.contains("&lt;small"), "a macro's marks are not escaped");

    let compared = eval(&database, &["compare", &theirs, &ours]).ok();
    assert!(compared.contains("< 0.0001") && compared.contains("p, Holm"), "{compared}");
    let compared = eval(&database, &["compare", &theirs, &ours, "--json"]).json();
    assert!(compared[0]["all"]["difference"].as_f64().unwrap() > 0.1);
    let page = ["compare", &theirs, &ours, "--format", "md", "--note", "Made rows.", "--out", &path("page.md")];
    assert!(eval(&database, &page).ok().is_empty());
    let page = fs::read_to_string(path("page.md")).unwrap();
    assert!(page.starts_with("# few_shot, adapter on made/test_recent\n\nMade rows.\n"), "{page}");
    for part in ["## Differences", "| adapter − few_shot | +", "| key | known | ", "| macro F1, by merchant | 0."] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let slices = page.split("## Slices\n\n").nth(1).unwrap().split("\n\n").next().unwrap();
    assert!(slices.lines().all(|line| line.matches(" | ").count() == 4 || line.starts_with("|---")), "{slices}");
    assert!(eval(&database, &["compare", &ours, &ours]).refused(1).contains("named twice"));
    assert!(eval(&database, &["show", "77"]).refused(1).contains("there is no eval run 77"));

    let needed = eval(&database, &["sample-size", "--claim", "0.92", "--truly", "0.935", "--power", "0.5"]).ok();
    assert!(needed.contains("label 1179 rows") && needed.contains("1103 of them"), "{needed}");
    assert!(
        eval(&database, &["sample-size", "--claim", "0.92", "--truly", "0.9"]).refused(1).contains("above --claim")
    );
}

#[tokio::test]
async fn a_run_goes_to_promptfoo_and_to_mlflow() {
    let (store, database) = fresh_store().await;
    let items = answered(1, 60, 0.8);
    let id = stored(&store, "adapter", &items).await;
    let dir = tempfile::tempdir().unwrap();
    let out = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let id = id.to_string();
    eval(&database, &["export", &id, "--format", "promptfoo", "--out", &out("promptfoo")]).ok();
    let configuration: Value =
        serde_json::from_str(&fs::read_to_string(dir.path().join("promptfoo/promptfooconfig.json")).unwrap()).unwrap();
    assert_eq!(configuration["providers"], serde_json::json!(["echo"]));
    let mut tests = csv::Reader::from_path(dir.path().join("promptfoo/tests.csv")).unwrap();
    let columns = tests.headers().unwrap().clone();
    let place = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let (said, truth) = (place("predicted"), place("__expected"));
    let rows: Vec<_> = tests.records().map(Result::unwrap).collect();
    let passing = rows.iter().filter(|row| row[said] == row[truth]).count();
    assert_eq!((rows.len(), passing), (60, items.iter().filter(|item| item.gold_rank == Some(1)).count()));

    for _ in 0..2 {
        eval(&database, &["export", &id, "--format", "mlflow", "--out", &out("mlflow")]).ok();
    }
    let experiments: Vec<_> = fs::read_dir(dir.path().join("mlflow")).unwrap().map(Result::unwrap).collect();
    assert_eq!(experiments.len(), 1, "an export twice is one");
    let experiment = experiments[0].path();
    let run = experiment.join(format!("{:032x}", id.parse::<i64>().unwrap()));
    assert!(experiment.join("meta.yaml").exists() && run.join("meta.yaml").exists());
    let metric = fs::read_to_string(run.join("metrics/accuracy")).unwrap();
    let value: f64 = metric.split(' ').nth(1).unwrap().parse().unwrap();
    assert!((value - passing as f64 / 60.0).abs() < 1e-12, "{metric}");
    assert_eq!(fs::read_to_string(run.join("params/engine")).unwrap(), "adapter:made@00000000");
    assert_eq!(fs::read_to_string(run.join("artifacts/answers.csv")).unwrap().lines().count(), 61);
}
