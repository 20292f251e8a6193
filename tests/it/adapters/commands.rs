//! `txcat adapters` as its own process: from labels to a champion.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::make;
use crate::{
    database::{TestDatabase, fresh_database},
    harness::{Run as _, Said, txcat},
    model,
};

/// A folder of cafés and filling stations; every label is right.
fn folder(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("categories.csv"), "category,description\ncafes,coffee and cake\nfuel,petrol and diesel\n")
        .unwrap();
    for (name, month, n) in [("pool", 1, 200), ("dev", 2, 160), ("test_later", 3, 160)] {
        let mut text = "id,posted_on,account_id,descriptor,amount,direction,currency,category\n".to_owned();
        for row in 0..n {
            let (descriptor, category) =
                [("BLUE COFFEE HOUSE", "cafes"), ("SHELL STATION", "fuel"), ("COFFEE BAR", "cafes")][row % 3];
            writeln!(
                text,
                "{name}{row},2024-{month:02}-{:02},acct-{},{descriptor},{row}.50,debit,CAD,{category}",
                1 + row % 28,
                row % 7
            )
            .unwrap();
        }
        fs::write(dir.join(format!("{name}.csv")), text).unwrap();
    }
}

struct Shell<'a> {
    database: &'a TestDatabase,
    encoder: &'a Path,
    categories: &'a Path,
}

impl Shell<'_> {
    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = txcat(arguments);
        command.arg("--encoder-dir").arg(self.encoder);
        if ["health", "retrain"].contains(&arguments[1]) {
            command.arg("--taxonomy").arg(self.categories);
        }
        command.on(&self.database.url).run()
    }

    async fn sql(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.database.url).await.unwrap();
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_folder_to_a_champion_and_from_labels_to_the_next_candidate() {
    let (encoder, base) = model::tiny_encoder();
    let database = fresh_database().await;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("shops");
    folder(&data);
    let categories = data.join("categories.csv");
    let shell = Shell { database: &database, encoder: encoder.path(), categories: &categories };
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    make(&base, &dir.path().join("cafes"), true, 1);
    make(&base, &dir.path().join("upside-down"), false, 1);
    let data = data.to_str().unwrap();

    let register = || shell.run(&["adapters", "register", &at("cafes")]).ok();
    assert!(register().starts_with("cafes@1 is candidate (adapter:"));
    assert!(register().starts_with("cafes@1 is candidate, as it was before (adapter:"), "registered once");
    assert!(
        shell.run(&["adapters", "promote", "cafes", "--to", "champion"]).refused(1).contains("txcat adapters evaluate")
    );
    let said =
        shell.run(&["adapters", "evaluate", "cafes", "--data", data, "--label-budget", "100", "--p95-ms", "5000"]).ok();
    assert!(said.contains("open target: 100.0 % of 160 rows right") && said.contains("the gate is open"), "{said}");
    assert!(said.contains("open held_out"), "the test file is what it is scored on: {said}");
    shell.run(&["adapters", "promote", "cafes", "--to", "champion"]).ok();

    shell.run(&["adapters", "register", &at("upside-down")]).ok();
    let failed = shell.run(&["adapters", "evaluate", "upside-down", "--data", data, "--label-budget", "100", "--json"]);
    assert_eq!(failed.code, 1, "{}", failed.err);
    let report: Value = serde_json::from_str(&failed.out).unwrap();
    assert_eq!(
        (&report["report"]["accuracy"]["share"], &report["report"]["champion"]["share"]),
        (&Value::from(0.0), &Value::from(1.0))
    );
    assert_eq!(report["report"]["falls"].as_array().unwrap().len(), 2, "{report}");
    let shut = shell.run(&["adapters", "promote", "upside-down", "--to", "canary"]).refused(1);
    assert!(shut.contains("the gate is shut") && shut.contains("not_worse_than_champion"), "{shut}");
    let listed = shell.run(&["adapters", "list", "--json"]).json();
    let states = listed["adapters"].as_array().unwrap().iter().map(|adapter| adapter["state"].as_str().unwrap());
    assert_eq!(states.collect::<Vec<_>>(), ["candidate", "champion"]);

    let health = shell.run(&["adapters", "health", "--json"]).json();
    assert_eq!(
        (health["diagnosis"]["reasons"].as_array().unwrap().len(), &health["plan"]),
        (0, &Value::Null),
        "{health}"
    );
    let few = shell.run(&["adapters", "retrain", "--out", &at("next")]).refused(1);
    assert!(few.contains("people have labelled 0 transactions in ") && few.contains("begins at 100"), "{few}");
    let pool = format!("{data}/pool.csv");
    let import =
        ["import", &pool, "--labels", "category", "--no-categorize", "--taxonomy", categories.to_str().unwrap()];
    shell.run(&import).ok();
    let health = shell.run(&["adapters", "health", "--json"]).json();
    assert_eq!(health["diagnosis"]["reasons"][0]["name"], "labels", "{health}");
    assert!(health["plan"]["id"].is_i64(), "{health}");

    // Labels that people chose to give, but for every fifth, which came with the data, and every seventh, an audit.
    shell.sql("update in_force set decided_by = 'correction' where substr(transaction_id, 5)::int % 5 <> 0").await;
    shell
        .sql(
            "insert into review_items (transaction_id, reason, group_key, doubt, amount, currency, opened_at, resolved_at)
            select id, 'audit', 'alone:' || id, 0.1, amount, currency, posted_at, posted_at from transactions
            where substr(id, 5)::int % 7 = 0",
        )
        .await;
    let said = shell.run(&["adapters", "retrain", "--out", &at("next"), "--epochs", "6", "--batch", "8"]).ok();
    assert!(said.contains("1/4 140 labels to learn from, 30 to calibrate on, 30 for the gate"), "{said}");
    assert!(said.contains("cafes@2 is candidate") && said.contains("not_worse_than_champion"), "{said}");
    let shown = shell.run(&["adapters", "show", "cafes@2"]).ok();
    assert!(shown.contains("gate on 30 rows of next-labels/test_newest"), "{shown}");
    for file in ["test_newest", "dev"] {
        let rows = fs::read_to_string(dir.path().join(format!("next-labels/{file}.csv"))).unwrap();
        let numbers = rows.lines().skip(1).map(|row| row[4..].split(',').next().unwrap().parse::<u32>().unwrap());
        let chosen: Vec<u32> = numbers.filter(|number| number % 5 != 0 && number % 7 != 0).collect();
        assert!(chosen.is_empty(), "rows of {file} that people chose: {chosen:?}");
    }
    let again = shell.run(&["adapters", "health", "--json"]).json();
    assert_eq!(again["diagnosis"]["labels"], 140, "as many as training again learns from: {again}");
    assert_ne!(again["plan"]["id"], health["plan"]["id"], "the candidate closed the plan");
    let evaluate = ["adapters", "evaluate", "cafes@2", "--data", &at("next-labels"), "--label-budget", "140"];
    let on_dev = || shell.run(&[&evaluate[..], &["--files", "dev"]].concat());
    let failed = on_dev();
    assert_eq!(failed.code, 1, "{}", failed.err);
    assert!(failed.out.contains("SHUT held_out: the adapter was trained or chosen on dev"), "{}", failed.out);
    assert!(failed.out.contains("promote cafes@2 --to shadow") && failed.err.contains("the gate is shut"));
    shell.run(&["adapters", "promote", "cafes@2", "--to", "shadow", "--share", "0.1"]).ok();
    assert!(!on_dev().out.contains("--to shadow"), "it is one");
    let shut = shell.run(&["adapters", "promote", "cafes@2", "--to", "canary"]).refused(1);
    assert!(shut.contains("the gate is shut") && shut.contains("held_out"), "{shut}");

    shell.sql("update in_force set decided_by = 'correction'").await;
    let said = shell
        .run(&["adapters", "retrain", "--out", &at("after"), "--labels-out", &at("next-labels"), "--epochs", "1"])
        .ok();
    assert!(said.contains("1/4 170 labels to learn from, 30 to calibrate on, 0 for the gate"), "{said}");
    assert!(said.contains("4/4 the gate: not made") && !said.contains("better_than_champion"), "{said}");
    assert!(shell.run(&["adapters", "promote", "cafes@3", "--to", "canary"]).refused(1).contains("has not measured"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_ends_when_the_shadow_has_seen_its_last_rows() {
    let (encoder, base) = model::tiny_encoder();
    let database = fresh_database().await;
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path());
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let categories = at("categories.csv");
    let shell = Shell { database: &database, encoder: encoder.path(), categories: Path::new(&categories) };
    for (name, right, state) in [("cafes", true, "champion"), ("upside-down", false, "shadow")] {
        make(&base, &dir.path().join(name), right, 1);
        shell.run(&["adapters", "register", &at(name)]).ok();
        shell.run(&["adapters", "promote", name, "--to", state, "--share", "1", "--override", "for the test"]).ok();
    }
    shell.run(&["import", &at("pool.csv"), "--taxonomy", &categories]).ok();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let seen: i64 =
        sqlx::query_scalar("select count(*) from shadow_predictions").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(seen, 200);
}
