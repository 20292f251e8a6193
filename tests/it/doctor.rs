//! What a deployment is told about itself.

use std::process::Command;

use serde_json::Value;
use txcat::{access::Scope, clock};

use crate::{
    database::{TestDatabase, empty_database},
    harness::App,
};

/// What `txcat doctor` says of a database, and whether all is well.
pub(crate) fn doctor(database: &TestDatabase, bind: &str) -> (bool, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_txcat"))
        .args(["doctor", "--json", "--bind", bind])
        .env("DATABASE_URL", &database.url)
        .output()
        .unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    });
    (output.status.success(), told)
}

/// How a check came out, and what was found.
pub(crate) fn finding<'a>(told: &'a Value, check: &str) -> (&'a str, &'a str) {
    let finding = told["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("{check} is not looked at: {told}"));
    (finding["state"].as_str().unwrap(), finding["found"].as_str().unwrap())
}

#[tokio::test]
async fn a_deployment_is_told_what_is_wrong_and_what_only_wants_a_look() {
    let app = App::start().await;
    let (_, told) = doctor(&app.database, "127.0.0.1:8080");
    assert_eq!(finding(&told, "schema"), ("ok", "up to date"));
    assert_eq!(finding(&told, "clock").0, "ok");
    assert_eq!(finding(&told, "postgres").0, "ok");
    assert_eq!(finding(&told, "address").0, "look");
    assert_eq!(finding(&told, "audit log"), ("ok", "1 records, whole"));
    // The cluster of the tests does not wait for the disk, and has no merchants.
    assert_eq!(finding(&told, "fsync"), ("wrong", "off"));
    assert_eq!(finding(&told, "merchants"), ("wrong", "none"));

    let (well, told) = doctor(&app.database, "0.0.0.0:8080");
    assert!(!well && told["well"] == false);
    assert_eq!(finding(&told, "address").0, "wrong");
    app.make_key("soon", &[Scope::Read], Some(clock::now() + chrono::TimeDelta::days(3))).await;
    let (_, told) = doctor(&app.database, "0.0.0.0:8080");
    assert_eq!(finding(&told, "address").0, "look");
    assert_eq!(finding(&told, "keys"), ("look", "end within 14 days: soon"));
    for finding in told["findings"].as_array().unwrap() {
        assert_eq!(finding["state"] == "ok", finding["mend"].is_null(), "{finding}");
    }
}

#[tokio::test]
async fn a_database_without_the_schema_is_told_so_and_left_as_it_is() {
    let database = empty_database().await;
    for _ in 0..2 {
        let (well, told) = doctor(&database, "127.0.0.1:8080");
        let (state, found) = finding(&told, "schema");
        assert!(!well && state == "wrong" && found.contains("steps are missing"), "{told}");
    }
}
