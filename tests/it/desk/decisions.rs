//! What a decision changes, remembers and leaves alone; and that undo brings all of it back.

use serde_json::{Value, json};
use txcat::access::Role;

use super::{claimed, decision, person, place, stands};
use crate::harness::{App, row, with};

async fn decide(app: &App, body: &Value) -> Value {
    app.post("/v1/reviews/decisions", body).await.with(201)
}

async fn undo(app: &App, decision: &Value) -> Value {
    app.post(&format!("/v1/reviews/decisions/{}/undo", decision["decision"]), &json!({})).await.with(200)
}

/// Every row of the places below, as it stands.
async fn all(app: &App) -> Vec<String> {
    let mut all = Vec::new();
    for id in ["a1", "a2", "b1", "other", "refund", "decided"] {
        all.push(stands(app, id).await);
    }
    all
}

async fn places() -> App {
    let app = App::start().await;
    app.ingest(&[
        place("a1", "acc-1", "CORNER PLACE 0412", "5.00"),
        place("a2", "acc-1", "CORNER PLACE 0977", "5.00"),
        place("b1", "acc-2", "CORNER PLACE", "5.00"),
        place("other", "acc-1", "GRAND HALL", "9.00"),
        with(place("refund", "acc-1", "CORNER PLACE", "5.00"), json!({ "direction": "credit" })),
        place("decided", "acc-3", "CORNER PLACE", "5.00"),
    ])
    .await;
    app.post("/v1/transactions/decided/correction", &json!({ "category": "fast_food", "scope": "transaction" }))
        .await
        .with(200);
    claimed(&app, json!({ "count": 10 })).await;
    app
}

const DOUBTFUL: &str = "restaurant by stage, pending";
const DECIDED: &str = "fast_food by correction, reviewed";

#[tokio::test]
async fn a_decision_reaches_as_far_as_its_preview_says_and_undo_restores_exactly_that() {
    let app = places().await;
    let before = all(&app).await;
    assert_eq!(before, [DOUBTFUL, DOUBTFUL, DOUBTFUL, DOUBTFUL, DOUBTFUL, DECIDED]);
    let by = |rule: &str| format!("bar_and_nightlife by {rule}, reviewed");
    let (own, account, everywhere) = (by("correction"), by("account_rule"), by("merchant_rule"));
    for (scope, rows, expected) in [
        ("transaction", 1, [&own, DOUBTFUL, DOUBTFUL, DOUBTFUL, DOUBTFUL, DECIDED]),
        ("account_merchant", 2, [&own, &account, DOUBTFUL, DOUBTFUL, DOUBTFUL, DECIDED]),
        ("merchant", 3, [&own, &everywhere, &everywhere, DOUBTFUL, DOUBTFUL, DECIDED]),
    ] {
        let path = format!("/v1/reviews/preview?transaction_id=a1&category=bar_and_nightlife&scope={scope}");
        let preview = app.get(&path).await.with(200);
        assert_eq!(preview["rows"], rows, "{scope}");
        assert_eq!(preview["affected"].as_array().unwrap().len(), rows, "{scope}");
        assert_eq!(preview["affected"][0]["id"], "a1");
        assert_eq!(preview["memory"].is_null(), scope == "transaction");
        let wrong = with(decision("a1", "bar_and_nightlife", scope), json!({ "expects": rows + 1 }));
        let refused = app.post("/v1/reviews/decisions", &wrong).await.with(409);
        assert_eq!(refused["type"], "urn:txcat:problem:preview-outdated");
        assert_eq!(all(&app).await, before, "a refused decision changed something");
        let right = with(decision("a1", "bar_and_nightlife", scope), json!({ "expects": rows, "note": "a bar" }));
        let decided = decide(&app, &right).await;
        assert_eq!(decided["rows"], rows);
        assert_eq!(all(&app).await, expected, "{scope}");
        assert_eq!(undo(&app, &decided).await, json!({ "restored": rows, "kept": 0 }));
        assert_eq!(all(&app).await, before, "undo of {scope}");
        let twice =
            app.post(&format!("/v1/reviews/decisions/{}/undo", decided["decision"]), &json!({})).await.with(409);
        assert_eq!(twice["type"], "urn:txcat:problem:already-undone");
        claimed(&app, json!({ "count": 10 })).await;
    }
    let trail = app.get("/v1/reviews/decisions?transaction_id=a1").await.with(200);
    let told = &trail["actions"][1];
    assert_eq!((&told["kind"], &told["note"], &told["made_by"]), (&json!("decide"), &json!("a bar"), &json!("local")));
    assert_eq!((&told["category_before"], &told["category"]), (&json!("restaurant"), &json!("bar_and_nightlife")));
    assert_eq!(told["undone_by"], trail["actions"][0]["id"]);
}

#[tokio::test]
async fn a_row_that_another_has_replaced_is_previewed_and_decided_as_that_one() {
    let app = places().await;
    app.ingest(&[with(place("p", "acc-1", "CORNER PLACE", "5.00"), json!({ "status": "pending" }))]).await;
    app.ingest(&[with(place("s", "acc-1", "CORNER PLACE", "6.00"), json!({ "replaces": "p" }))]).await;
    claimed(&app, json!({ "count": 10 })).await;
    let path = "/v1/reviews/preview?transaction_id=p&category=bar_and_nightlife&scope=account_merchant";
    let preview = app.get(path).await.with(200);
    let ids = |preview: &Value| {
        let affected = preview["affected"].as_array().unwrap().iter();
        affected.map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((&preview["rows"], ids(&preview)), (&json!(3), vec!["s".to_owned(), "a1".to_owned(), "a2".to_owned()]));
    let last = app.get(&format!("{path}&after=a1&limit=1")).await.with(200);
    assert_eq!((&last["rows"], ids(&last)), (&json!(3), vec!["a2".to_owned()]));
    let right = with(decision("p", "bar_and_nightlife", "account_merchant"), json!({ "expects": 3 }));
    assert_eq!(decide(&app, &right).await["transaction"]["id"], "s");
    assert_eq!(stands(&app, "a2").await, "bar_and_nightlife by account_rule, reviewed");
}

#[tokio::test]
async fn a_decision_changes_the_next_answer_and_undo_takes_that_back_too() {
    let app = places().await;
    let decided = decide(&app, &decision("a1", "bar_and_nightlife", "merchant")).await;
    let next = app.ingest(&[place("next", "acc-9", "CORNER PLACE 55", "5.00")]).await.remove(0);
    assert_eq!((&next["category"], &next["decided_by"]), (&json!("bar_and_nightlife"), &json!("merchant_rule")));
    assert_eq!(next["review_status"], "accepted");
    let rows = decided["rows"].as_u64().unwrap() + 1;
    assert_eq!(undo(&app, &decided).await, json!({ "restored": rows, "kept": 0 }), "the row that followed is told of");
    assert_eq!(stands(&app, "next").await, DOUBTFUL, "what followed the rule goes back to the stage's word, and waits");
    let after = app.ingest(&[place("after", "acc-9", "CORNER PLACE 56", "5.00")]).await.remove(0);
    assert_eq!((&after["category"], &after["decided_by"]), (&json!("restaurant"), &json!("stage")));
}

#[tokio::test]
async fn an_account_s_own_rule_goes_before_one_for_everybody_and_an_undo_restores_what_a_rule_said() {
    let app = places().await;
    decide(&app, &decision("a1", "bar_and_nightlife", "account_merchant")).await;
    decide(&app, &decision("b1", "fast_food", "merchant")).await;
    let answers =
        app.ingest(&[place("n1", "acc-1", "CORNER PLACE", "1"), place("n2", "acc-7", "CORNER PLACE", "1")]).await;
    assert_eq!(answers[0]["category"], "bar_and_nightlife");
    assert_eq!(answers[1]["category"], "fast_food");
    app.post("/v1/transactions/n1/complaint", &json!({})).await.with(204);
    claimed(&app, json!({ "count": 10 })).await;
    let changed = decide(&app, &decision("n1", "coffee_shop", "account_merchant")).await;
    undo(&app, &changed).await;
    let again = app.ingest(&[place("n3", "acc-1", "CORNER PLACE", "1")]).await.remove(0);
    assert_eq!(again["category"], "bar_and_nightlife", "the rule says again what it said before");
}

#[tokio::test]
async fn undo_leaves_alone_what_was_decided_again_since() {
    let app = places().await;
    let decided = decide(&app, &decision("a1", "bar_and_nightlife", "merchant")).await;
    let word = json!({ "category": "coffee_shop", "scope": "transaction" });
    app.post("/v1/transactions/b1/correction", &word).await.with(200);
    assert_eq!(undo(&app, &decided).await, json!({ "restored": 2, "kept": 1 }));
    assert_eq!(stands(&app, "b1").await, "coffee_shop by correction, reviewed");
    assert_eq!(stands(&app, "a2").await, DOUBTFUL);
}

#[tokio::test]
async fn a_label_that_was_taken_back_teaches_nobody() {
    let app = places().await;
    let labelled = async || app.store.labelled(100).await.unwrap().len();
    let before = labelled().await;
    let decided = decide(&app, &decision("a1", "bar_and_nightlife", "transaction")).await;
    assert_eq!(labelled().await, before + 1);
    undo(&app, &decided).await;
    assert_eq!(labelled().await, before);
    let later = with(row("later", "CORNER PLACE"), json!({ "posted_at": "2027-01-01" }));
    app.ingest(&[later]).await;
    let later = app.store.view(&"later".parse().unwrap()).await.unwrap().unwrap();
    let history = app.store.history(&[later.transaction]).await.unwrap();
    assert!(history[0].iter().all(|entry| entry.label.is_none()), "a history knows the label that was taken back");
}

#[tokio::test]
async fn a_second_person_labels_without_seeing_the_first_and_kappa_tells_how_far_they_agree() {
    let mut app = App::start_with_second_share(1.0).await;
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "5.00"), place("b", "acc-1", "GRAND HALL", "9.00")]).await;
    let (analyst, colleague) =
        (person(&app, "analyst-1", Role::Analyst).await, person(&app, "analyst-2", Role::Analyst).await);
    app.use_key(&analyst);
    claimed(&app, json!({ "count": 10 })).await;
    decide(&app, &decision("a", "bar_and_nightlife", "transaction")).await;
    decide(&app, &decision("b", "fast_food", "transaction")).await;
    let own = app.post("/v1/reviews/second-labels/claims", &json!({})).await.with(200);
    assert!(own["asked"].as_array().unwrap().is_empty(), "nobody judges his own decisions");
    app.use_key(&colleague);
    let asked = app.post("/v1/reviews/second-labels/claims", &json!({})).await.with(200);
    assert!(!asked.to_string().contains("bar_and_nightlife"), "the first label shows: {asked}");
    for (place, category) in ["bar_and_nightlife", "coffee_shop"].into_iter().enumerate() {
        let path = format!("/v1/reviews/second-labels/{}", asked["asked"][place]["decision"]);
        app.post(&path, &json!({ "category": category })).await.with(204);
        app.post(&path, &json!({ "category": category })).await.with(409);
    }
    let numbers = app.get("/v1/reviews/numbers").await.with(200);
    let agreement = &numbers["agreement"];
    assert_eq!((&agreement["pairs"], &agreement["agreeing"]), (&json!(2), &json!(0.5)));
    // One of two alike; by chance 1/4: (1/2 - 1/4) / (1 - 1/4).
    assert!((agreement["kappa"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9);
    assert_eq!(stands(&app, "b").await, "fast_food by correction, reviewed", "a second label changes nothing");
}
