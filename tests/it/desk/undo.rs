//! Undo where more was said or came in between: what comes back is what somebody still says, or else the stage.

use serde_json::{Value, json};

use super::{place, stands};
use crate::harness::{App, with};

const DOUBTFUL: &str = "restaurant by stage, pending";

/// Says what a row is; returns the decision's number.
async fn said(app: &App, id: &str, category: &str, scope: &str) -> i64 {
    let word = json!({ "category": category, "scope": scope });
    app.post(&format!("/v1/transactions/{id}/correction"), &word).await.with(200);
    app.get("/v1/reviews/decisions?limit=1").await.with(200)["actions"][0]["id"].as_i64().unwrap()
}

async fn undo(app: &App, decision: i64) -> Value {
    app.post(&format!("/v1/reviews/decisions/{decision}/undo"), &json!({})).await.with(200)
}

/// The ids of what waits, by the alphabet.
async fn waiting(app: &App) -> Vec<String> {
    let queue = app.get("/v1/reviews").await.with(200);
    let ids = queue["reviews"].as_array().unwrap().iter();
    let mut ids: Vec<_> = ids.map(|item| item["transaction"]["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_word_that_was_taken_back_stays_so_whichever_of_two_is_undone_first() {
    for first_is_undone_first in [true, false] {
        let app = App::start().await;
        app.ingest(&[place("t", "acc-1", "CORNER PLACE", "5.00")]).await;
        let first = said(&app, "t", "bar_and_nightlife", "account_merchant").await;
        app.ingest(&[place("between", "acc-1", "CORNER PLACE", "5.00")]).await;
        let second = said(&app, "t", "fast_food", "account_merchant").await;
        app.ingest(&[place("later", "acc-1", "CORNER PLACE", "5.00")]).await;
        assert_eq!(stands(&app, "between").await, "bar_and_nightlife by account_rule, accepted");
        assert_eq!(stands(&app, "later").await, "fast_food by account_rule, accepted");

        let (undone, other, standing) = match first_is_undone_first {
            true => (first, second, "fast_food"),
            false => (second, first, "bar_and_nightlife"),
        };
        undo(&app, undone).await;
        app.ingest(&[place("next", "acc-1", "CORNER PLACE", "5.00")]).await;
        assert_eq!(stands(&app, "t").await, format!("{standing} by correction, reviewed"));
        for id in ["between", "later", "next"] {
            assert_eq!(stands(&app, id).await, format!("{standing} by account_rule, accepted"), "{id}");
        }

        undo(&app, other).await;
        app.ingest(&[place("last", "acc-1", "CORNER PLACE", "5.00")]).await;
        let all = ["between", "last", "later", "next", "t"];
        for id in all {
            assert_eq!(stands(&app, id).await, DOUBTFUL, "{id}, undone first: {undone}");
        }
        assert_eq!(waiting(&app).await, all);
    }
}

#[tokio::test]
async fn what_was_said_before_and_nobody_took_back_comes_back() {
    let app = App::start().await;
    app.ingest(&[place("t", "acc-1", "CORNER PLACE", "5.00")]).await;
    let first = said(&app, "t", "coffee_shop", "merchant").await;
    let second = said(&app, "t", "bar_and_nightlife", "merchant").await;
    let third = said(&app, "t", "fast_food", "merchant").await;
    assert_eq!(undo(&app, second).await, json!({ "restored": 0, "kept": 1 }));
    assert_eq!(undo(&app, third).await, json!({ "restored": 1, "kept": 0 }));
    assert_eq!(stands(&app, "t").await, "coffee_shop by correction, reviewed");
    let next = app.ingest(&[place("next", "acc-9", "CORNER PLACE", "5.00")]).await.remove(0);
    assert_eq!((&next["category"], &next["decided_by"]), (&json!("coffee_shop"), &json!("merchant_rule")));
    undo(&app, first).await;
    assert_eq!((stands(&app, "t").await.as_str(), stands(&app, "next").await.as_str()), (DOUBTFUL, DOUBTFUL));
}

#[tokio::test]
async fn a_row_that_left_a_rule_which_is_gone_by_now_waits() {
    let app = App::start().await;
    app.ingest(&[place("t", "acc-1", "CORNER PLACE", "5.00")]).await;
    let rule = said(&app, "t", "bar_and_nightlife", "account_merchant").await;
    app.ingest(&[place("followed", "acc-1", "CORNER PLACE", "5.00")]).await;
    let own = said(&app, "followed", "fast_food", "transaction").await;
    undo(&app, rule).await;
    undo(&app, own).await;
    assert_eq!(stands(&app, "followed").await, DOUBTFUL);
    assert_eq!(waiting(&app).await, ["followed", "t"]);
}

#[tokio::test]
async fn what_was_said_of_a_pending_row_is_taken_back_from_the_posted_one() {
    let app = App::start().await;
    let labels = async || {
        let labelled = app.store.labelled(10).await.unwrap();
        labelled.iter().map(|label| format!("{} {}", label.transaction.id, label.category)).collect::<Vec<_>>()
    };
    app.ingest(&[with(place("p", "acc-1", "CORNER PLACE", "5.00"), json!({ "status": "pending" }))]).await;
    let first = said(&app, "p", "bar_and_nightlife", "transaction").await;
    let second = said(&app, "p", "fast_food", "transaction").await;
    app.ingest(&[with(place("s", "acc-1", "CORNER PLACE 0412", "6.00"), json!({ "replaces": "p" }))]).await;
    assert_eq!(stands(&app, "s").await, "fast_food by correction, reviewed");
    assert_eq!(undo(&app, second).await, json!({ "restored": 1, "kept": 0 }));
    assert_eq!(stands(&app, "s").await, "bar_and_nightlife by correction, reviewed");
    assert_eq!(labels().await, ["s bar_and_nightlife"]);
    assert_eq!(undo(&app, first).await, json!({ "restored": 1, "kept": 0 }));
    assert_eq!(stands(&app, "s").await, DOUBTFUL);
    assert_eq!(waiting(&app).await, ["s"]);
    assert_eq!(labels().await, [""; 0]);
}

#[tokio::test]
async fn a_customer_who_complained_of_a_decision_is_not_forgotten_with_it() {
    let app = App::start().await;
    app.ingest(&[place("t", "acc-1", "SURE COFFEE", "5.00")]).await;
    let decision = said(&app, "t", "fast_food", "transaction").await;
    app.post("/v1/transactions/t/complaint", &json!({})).await.with(204);
    undo(&app, decision).await;
    assert_eq!(stands(&app, "t").await, "coffee_shop by stage, pending");
    assert_eq!(waiting(&app).await, ["t"]);
}
