//! What waits, in which order, and for whom.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use txcat::{access::Role, clock, domain::Taxonomy, store::ImportedLabel};

use super::{claimed, decision, person, place, stands};
use crate::{
    database::fresh_store,
    harness::{App, PATIENCE, with},
};

#[tokio::test]
async fn rows_of_one_merchant_wait_as_one_group_and_most_rows_go_first_then_most_money() {
    let app = App::start().await;
    app.ingest(&[
        place("a1", "acc-1", "CORNER PLACE", "5.00"),
        place("a2", "acc-2", "CORNER PLACE", "5.00"),
        place("b1", "acc-1", "GRAND HALL", "900.00"),
        place("c1", "acc-1", "LITTLE NOOK", "1.00"),
        place("d1", "acc-1", "SURE COFFEE", "1.00"),
    ])
    .await;
    let groups = app.get("/v1/reviews/groups").await.with(200);
    let order: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|group| group["group"].clone()).collect();
    assert_eq!(order, ["debit:corner place", "debit:grand hall", "debit:little nook"]);
    assert_eq!(groups["groups"][0]["rows"], 2);
    let found = app.get("/v1/reviews/groups?text=NOOK").await.with(200);
    assert_eq!(found["groups"].as_array().unwrap().len(), 1);
    assert!(app.get("/v1/reviews/groups?text=%25").await.with(200)["groups"].as_array().unwrap().is_empty());
    assert!(app.get("/v1/reviews/groups?category=fuel").await.with(200)["groups"].as_array().unwrap().is_empty());
    let numbers = app.get("/v1/reviews/numbers").await.with(200);
    assert_eq!((&numbers["lanes"][0]["groups"], &numbers["lanes"][0]["rows"]), (&json!(3), &json!(4)));
}

#[tokio::test]
async fn nobody_gets_what_somebody_else_has_until_it_is_given_back() {
    let mut app = App::start().await;
    app.ingest(&[place("a1", "acc-1", "CORNER PLACE", "5.00"), place("b1", "acc-1", "GRAND HALL", "9.00")]).await;
    let (analyst, colleague) =
        (person(&app, "analyst-1", Role::Analyst).await, person(&app, "analyst-2", Role::Analyst).await);
    app.use_key(&analyst);
    assert_eq!(claimed(&app, json!({})).await, [("debit:grand hall".to_owned(), 1)]);
    app.use_key(&colleague);
    assert_eq!(claimed(&app, json!({ "count": 5 })).await, [("debit:corner place".to_owned(), 1)]);
    assert!(claimed(&app, json!({ "group": "debit:grand hall" })).await.is_empty());
    let refused =
        app.post("/v1/reviews/decisions", &decision("b1", "bar_and_nightlife", "transaction")).await.with(409);
    assert_eq!(refused["type"], "urn:txcat:problem:not-claimed");
    assert_eq!(refused["detail"], "analyst-1 works on this group; claim one first");
    app.post("/v1/reviews/releases", &json!({ "group": "debit:grand hall" })).await.with(409);
    app.use_key(&analyst);
    app.post("/v1/reviews/releases", &json!({ "group": "debit:grand hall" })).await.with(204);
    app.use_key(&colleague);
    assert_eq!(claimed(&app, json!({ "count": 5 })).await.len(), 2);
    app.post("/v1/reviews/decisions", &decision("b1", "bar_and_nightlife", "transaction")).await.with(201);
    assert_eq!(stands(&app, "b1").await, "bar_and_nightlife by correction, reviewed");
    let again = app.post("/v1/reviews/decisions", &decision("b1", "fast_food", "transaction")).await.with(409);
    assert_eq!(again["type"], "urn:txcat:problem:already-decided");
}

#[tokio::test]
async fn what_is_skipped_comes_back_to_others_and_what_is_escalated_waits_in_its_own_queue() {
    let mut app = App::start().await;
    app.ingest(&[place("a1", "acc-1", "CORNER PLACE", "5.00"), place("b1", "acc-1", "GRAND HALL", "9.00")]).await;
    let (analyst, colleague) =
        (person(&app, "analyst-1", Role::Analyst).await, person(&app, "analyst-2", Role::Analyst).await);
    app.use_key(&analyst);
    claimed(&app, json!({ "count": 2 })).await;
    app.post("/v1/reviews/skips", &json!({ "group": "debit:grand hall" })).await.with(204);
    let hard = json!({ "group": "debit:corner place", "note": "could be a bar" });
    app.post("/v1/reviews/escalations", &hard).await.with(204);
    assert!(claimed(&app, json!({ "count": 5 })).await.is_empty());
    app.use_key(&colleague);
    assert_eq!(claimed(&app, json!({ "count": 5 })).await, [("debit:grand hall".to_owned(), 1)]);
    let escalated = app.get("/v1/reviews/groups?lane=escalated").await.with(200);
    assert_eq!(escalated["groups"][0]["escalation_note"], "could be a bar");
    assert_eq!(claimed(&app, json!({ "lane": "escalated" })).await, [("debit:corner place".to_owned(), 1)]);
    let trail = app.get("/v1/reviews/decisions").await.with(200);
    let kinds: Vec<_> = trail["actions"].as_array().unwrap().iter().map(|action| action["kind"].clone()).collect();
    assert_eq!(kinds, ["escalate", "skip"]);
}

#[tokio::test]
async fn a_complaint_puts_a_transaction_before_people_and_changes_nothing_until_they_decide() {
    let app = App::start().await;
    app.ingest(&[place("a1", "acc-1", "SURE COFFEE", "5.00")]).await;
    assert!(claimed(&app, json!({})).await.is_empty());
    app.post("/v1/transactions/a1/complaint", &json!({})).await.with(204);
    assert_eq!(stands(&app, "a1").await, "coffee_shop by stage, pending");
    assert_eq!(claimed(&app, json!({})).await.len(), 1);
    app.post("/v1/transactions/nobody/complaint", &json!({})).await.with(404);
}

#[tokio::test]
async fn a_complaint_counts_for_a_row_that_waits_for_another_reason_and_for_the_one_that_took_a_rows_place() {
    let app = App::start().await;
    let mut posted = place("a2", "acc-1", "SURE COFFEE", "5.00");
    posted["replaces"] = json!("a1");
    let mut pending = place("a1", "acc-1", "SURE COFFEE", "5.00");
    pending["status"] = json!("pending");
    app.ingest(&[pending, posted, place("a3", "acc-1", "CORNER PLACE", "5.00")]).await;
    for id in ["a1", "a3"] {
        app.post(&format!("/v1/transactions/{id}/complaint"), &json!({})).await.with(204);
    }
    assert_eq!(stands(&app, "a2").await, "coffee_shop by stage, pending");
    let waiting = app.get("/v1/reviews").await.with(200);
    let reasons =
        waiting["reviews"].as_array().unwrap().iter().map(|item| (&item["transaction"]["id"], &item["reason"]));
    assert!(reasons.clone().count() == 2 && reasons.clone().all(|(_, reason)| reason == "complaint"), "{waiting}");
}

#[tokio::test]
async fn a_complaint_about_what_a_person_said_waits_on_though_a_file_brings_a_label() {
    let app = App::start().await;
    app.ingest(&[place("a1", "acc-1", "SURE COFFEE", "5.00"), place("a2", "acc-1", "SURE COFFEE", "5.00")]).await;
    app.post("/v1/transactions/a1/correction", &json!({ "category": "bar_and_nightlife", "scope": "transaction" }))
        .await
        .with(200);
    for id in ["a1", "a2"] {
        app.post(&format!("/v1/transactions/{id}/complaint"), &json!({})).await.with(204);
    }
    let labels = ["a1", "a2"].map(|id| ImportedLabel {
        transaction_id: id.parse().unwrap(),
        category: "fast_food".parse().unwrap(),
        known_at: clock::now(),
    });
    app.store.import_labels(&labels, "import", clock::now()).await.unwrap();
    assert_eq!(stands(&app, "a1").await, "bar_and_nightlife by correction, pending");
    assert_eq!(stands(&app, "a2").await, "fast_food by import, reviewed");
    assert_eq!(claimed(&app, json!({})).await.iter().map(|(_, rows)| rows).sum::<u64>(), 1);
    app.post("/v1/reviews/decisions", &decision("a1", "coffee_shop", "transaction")).await.with(201);
    assert_eq!(stands(&app, "a1").await, "coffee_shop by correction, reviewed");
}

#[tokio::test]
async fn of_a_group_the_row_is_shown_that_is_about_most_for_its_currency() {
    let app = App::start().await;
    let yen = |row: Value| with(row, json!({ "currency": "JPY" }));
    app.ingest(&[
        yen(place("j1", "acc-1", "CORNER PLACE", "5000")),
        place("u1", "acc-1", "CORNER PLACE", "900.00"),
        yen(place("j2", "acc-1", "GRAND HALL", "5000")),
        place("u2", "acc-1", "LITTLE NOOK", "1.00"),
    ])
    .await;
    let found = app.get("/v1/reviews/groups?text=corner").await.with(200);
    assert_eq!(found["groups"][0]["transaction"]["id"], "u1", "{found}");
}

#[tokio::test]
async fn answers_drawn_for_an_audit_are_judged_one_by_one_whatever_is_decided_beside_them() {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    let lineup = App::scripted(&taxonomy);
    let app = App::answering(store, database, taxonomy, lineup, 1.0).await;
    app.ingest(&[place("a1", "acc-1", "SURE COFFEE", "5.00"), place("a2", "acc-2", "SURE COFFEE", "50.00")]).await;
    assert!(claimed(&app, json!({ "count": 5 })).await.is_empty(), "an audit stands among the doubtful");
    let audits = claimed(&app, json!({ "lane": "audit", "count": 5 })).await;
    assert_eq!(audits.len(), 2);
    let said = decision("a1", "bar_and_nightlife", "merchant");
    assert_eq!(app.post("/v1/reviews/decisions", &said).await.with(201)["rows"], 1);
    assert_eq!(stands(&app, "a2").await, "coffee_shop by stage, pending");
    let live = app.get("/v1/accuracy").await.with(200);
    assert_eq!((&live["live"][0]["drawn"], &live["live"][0]["waiting"]), (&json!(2), &json!(1)));
}

/// Keys and rows of what waits, as the desk shows them.
async fn shown(app: &App) -> Vec<(String, u64)> {
    let listed = tokio::time::timeout(PATIENCE, app.get("/v1/reviews/groups")).await;
    let listed = listed.expect("the desk waits for somebody's decision").with(200);
    let groups = listed["groups"].as_array().unwrap().iter();
    groups.map(|group| (group["group"].as_str().unwrap().to_owned(), group["rows"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_long_decision_keeps_nobody_from_the_desk() {
    let app = App::start().await;
    app.ingest(&[place("a1", "acc-1", "CORNER PLACE", "5.00")]).await;
    assert_eq!(shown(&app).await, [("debit:corner place".to_owned(), 1)]);
    // As a decision holds its group until it has covered every row.
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    let mut decision = connection.begin().await.unwrap();
    let held = "select group_key from review_groups where group_key = 'debit:corner place' for update";
    sqlx::query(held).execute(&mut *decision).await.unwrap();
    app.ingest(&[place("a2", "acc-2", "CORNER PLACE", "5.00"), place("b1", "acc-1", "GRAND HALL", "1.00")]).await;
    let before = [("debit:corner place".to_owned(), 1), ("debit:grand hall".to_owned(), 1)];
    let mut meanwhile = shown(&app).await;
    meanwhile.sort();
    assert_eq!(meanwhile, before, "other groups are counted, and this one is shown as it was");
    decision.rollback().await.unwrap();
    assert_eq!(shown(&app).await[0], ("debit:corner place".to_owned(), 2));
    // Nor does whoever counts for long.
    let mut counting = connection.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(8021)").execute(&mut *counting).await.unwrap();
    app.ingest(&[place("a3", "acc-3", "CORNER PLACE", "5.00")]).await;
    assert_eq!(shown(&app).await[0], ("debit:corner place".to_owned(), 2));
    counting.rollback().await.unwrap();
    assert_eq!(shown(&app).await[0], ("debit:corner place".to_owned(), 3));
}

#[tokio::test]
async fn what_can_not_be_written_to_the_trail_is_not_done() {
    let app = App::start().await;
    app.ingest(&[place("a1", "acc-1", "CORNER PLACE", "5.00")]).await;
    let group = json!({ "group": "debit:corner place", "note": "could be a bar" });
    claimed(&app, json!({})).await;
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    let broken = "alter table review_actions add constraint broken check (kind not in ('skip', 'escalate'))";
    sqlx::query(broken).execute(&mut connection).await.unwrap();
    app.post("/v1/reviews/escalations", &group).await.with(500);
    app.post("/v1/reviews/skips", &json!({ "group": "debit:corner place" })).await.with(500);
    sqlx::query("alter table review_actions drop constraint broken").execute(&mut connection).await.unwrap();
    let escalated = app.get("/v1/reviews/groups?lane=escalated").await.with(200);
    assert!(escalated["groups"].as_array().unwrap().is_empty(), "{escalated}");
    // The lease is still there, and gives the same a second time.
    app.post("/v1/reviews/escalations", &group).await.with(204);
    let trail = app.get("/v1/reviews/decisions").await.with(200);
    assert_eq!(trail["actions"].as_array().unwrap().len(), 1);
}
