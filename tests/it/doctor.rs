//! What a deployment is told about itself.

use serde_json::Value;
use txcat::{access::Scope, clock};

use crate::{
    database::empty_database,
    harness::{App, Run as _, txcat},
};

/// What `txcat doctor` says of a database, and whether all is well.
pub(crate) fn doctor(url: &str, bind: &str) -> (bool, Value) {
    let said = txcat(&["doctor", "--json", "--bind", bind]).on(url).run();
    let told = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    (said.code == 0, told)
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
    let (_, told) = doctor(&app.database.url, "127.0.0.1:8080");
    assert_eq!(finding(&told, "schema"), ("ok", "up to date"));
    assert_eq!(finding(&told, "clock").0, "ok");
    assert_eq!(finding(&told, "postgres").0, "ok");
    assert_eq!(finding(&told, "address").0, "look");
    assert_eq!(finding(&told, "audit log"), ("ok", "1 records, whole"));
    // The cluster of the tests does not wait for the disk, and has no merchants.
    assert_eq!(finding(&told, "fsync"), ("wrong", "off"));
    assert_eq!(finding(&told, "merchants"), ("wrong", "none"));

    let (well, told) = doctor(&app.database.url, "0.0.0.0:8080");
    assert!(!well && told["well"] == false);
    assert_eq!(finding(&told, "address").0, "wrong");
    app.make_key("soon", &[Scope::Read], Some(clock::now() + chrono::TimeDelta::days(3))).await;
    let (_, told) = doctor(&app.database.url, "0.0.0.0:8080");
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
        let (well, told) = doctor(&database.url, "127.0.0.1:8080");
        let (state, found) = finding(&told, "schema");
        assert!(!well && state == "wrong" && found.contains("steps are missing"), "{told}");
    }
}
