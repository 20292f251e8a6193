//! What people say of a merchant as a whole: its name, its category everywhere, and that two are one.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use txcat::{
    categorize::{self, Categorizer, Lineup, Stage},
    clock,
    domain::{EnrichedTransaction, Enrichment, InputHash, Prediction, Taxonomy},
};

use super::{claimed, decision, place, stands};
use crate::{
    database::fresh_store,
    harness::{App, Scripted, with},
};

const DOUBTFUL: &str = "restaurant by stage, pending";

async fn edit(app: &App, merchant: &str, change: &Value) -> Value {
    let asked = json!({ "merchant": merchant, "change": change });
    let preview = app.post("/v1/merchants/preview", &asked).await.with(200);
    let wrong = with(asked.clone(), json!({ "expects": preview["rows"].as_u64().unwrap() + 1 }));
    assert_eq!(app.post("/v1/merchants/edits", &wrong).await.with(409)["type"], "urn:txcat:problem:preview-outdated");
    let right = with(asked, json!({ "expects": preview["rows"], "note": "seen on their receipt" }));
    let done = app.post("/v1/merchants/edits", &right).await.with(201);
    assert_eq!(done["rows"], preview["rows"]);
    with(preview, json!({ "decision": done["decision"] }))
}

async fn undo(app: &App, done: &Value) -> Value {
    app.post(&format!("/v1/reviews/decisions/{}/undo", done["decision"]), &json!({})).await.with(200)
}

async fn all(app: &App, ids: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for id in ids {
        all.push(stands(app, id).await);
    }
    all
}

#[tokio::test]
async fn merging_lets_rules_histories_and_groups_follow_and_undo_parts_them_again() {
    let app = App::start().await;
    app.ingest(&[
        place("old-1", "acc-1", "CORNER PLACE", "5.00"),
        place("old-2", "acc-2", "CORNER PLACE", "5.00"),
        place("new-1", "acc-1", "CRNR PLC", "5.00"),
        place("new-2", "acc-3", "CRNR PLC", "6.00"),
        place("said", "acc-4", "CRNR PLC", "6.00"),
    ])
    .await;
    let word = json!({ "category": "fast_food", "scope": "transaction" });
    app.post("/v1/transactions/said/correction", &word).await.with(200);
    claimed(&app, json!({ "count": 10 })).await;
    let rule = decision("old-1", "bar_and_nightlife", "merchant");
    app.post("/v1/reviews/decisions", &rule).await.with(201);
    let ids = ["old-1", "old-2", "new-1", "new-2", "said"];
    let before = all(&app, &ids).await;
    assert_eq!(before[2..], [DOUBTFUL, DOUBTFUL, "fast_food by correction, reviewed"]);

    let merged = edit(&app, "crnr plc", &json!({ "kind": "merge", "into": "corner place" })).await;
    assert_eq!((&merged["rows"], &merged["changing"]), (&json!(2), &json!(2)));
    assert_eq!(
        merged["affected"][0],
        json!({ "id": "new-1", "descriptor": "CRNR PLC", "account_id": "acc-1", "amount": "5.00", "currency": "USD",
        "posted_at": "2026-03-14T09:26:53Z", "category": "restaurant", "becomes": "bar_and_nightlife", "waits": true })
    );
    assert_eq!((&merged["merchant"], &merged["keys"]), (&json!("corner place"), &json!(["corner place", "crnr plc"])));
    let memory = merged["memory"].as_str().unwrap();
    assert!(memory.contains("“crnr plc” counts as “corner place”") && memory.contains("the one rule"), "{memory}");
    let ruled = "bar_and_nightlife by merchant_rule, reviewed";
    assert_eq!(
        all(&app, &ids).await[2..],
        [ruled, ruled, "fast_food by correction, reviewed"],
        "what a person said stays"
    );
    let listed = app.get("/v1/merchants?days=3650").await.with(200);
    assert_eq!(listed["merchants"].as_array().unwrap().len(), 1);
    assert_eq!((&listed["merchants"][0]["rows"], &listed["merchants"][0]["accounts"]), (&json!(5), &json!(4)));

    for key in ["corner%20place", "crnr%20plc"] {
        let listed = app.get(&format!("/v1/transactions?descriptor_key={key}")).await.with(200);
        assert_eq!(listed["transactions"].as_array().unwrap().len(), 5, "the merchant's rows, by either of its keys");
    }

    // What comes next is answered by the other's rule, and has the other's visits in its history.
    let next =
        app.ingest(&[with(place("next", "acc-1", "CRNR PLC", "5.00"), json!({ "posted_at": "2026-04-01" }))]).await;
    assert_eq!((&next[0]["category"], &next[0]["decided_by"]), (&json!("bar_and_nightlife"), &json!("merchant_rule")));
    let view = app.store.view(&"next".parse().unwrap()).await.unwrap().unwrap();
    let history = app.store.history(std::slice::from_ref(&view.transaction)).await.unwrap().remove(0);
    let own = view.transaction.descriptor.key();
    assert_eq!(history.iter().filter(|entry| entry.key == *own).count(), 2, "one visit under each of its keys");

    assert_eq!(undo(&app, &merged).await, json!({ "restored": 3, "kept": 0 }));
    assert_eq!(all(&app, &ids).await, before);
    assert_eq!(stands(&app, "next").await, DOUBTFUL, "what followed the other's rule waits");
    let groups = app.get("/v1/reviews/groups").await.with(200);
    assert_eq!(groups["groups"][0]["group"], "debit:crnr plc");
    assert_eq!(app.get("/v1/merchants?days=3650").await.with(200)["merchants"].as_array().unwrap().len(), 2);
    let trail = app.get("/v1/reviews/decisions").await.with(200);
    let told = &trail["actions"][1];
    assert_eq!(
        (&told["kind"], &told["merchant"], &told["into"]),
        (&json!("merge"), &json!("crnr plc"), &json!("corner place"))
    );
    assert_eq!((&told["rows"], &told["undone_by"]), (&json!(2), &trail["actions"][0]["id"]));
}

#[tokio::test]
async fn a_rule_that_is_taken_back_lets_go_of_the_rows_that_merges_brought_to_it() {
    let app = App::start().await;
    app.ingest(&[
        place("old-1", "acc-1", "CORNER PLACE", "5.00"),
        place("old-2", "acc-2", "CORNER PLACE", "5.00"),
        place("new", "acc-3", "CRNR PLC", "5.00"),
        place("newer", "acc-4", "CORNERPL", "5.00"),
        place("said", "acc-3", "CRNR PLC", "6.00"),
    ])
    .await;
    let ids = ["old-1", "old-2", "new", "newer"];
    let before = all(&app, &ids).await;
    claimed(&app, json!({ "count": 10 })).await;
    let rule = app.post("/v1/reviews/decisions", &decision("old-1", "bar_and_nightlife", "merchant")).await.with(201);
    let merged = edit(&app, "crnr plc", &json!({ "kind": "merge", "into": "corner place" })).await;
    let further = edit(&app, "cornerpl", &json!({ "kind": "merge", "into": "corner place" })).await;
    app.post("/v1/transactions/said/correction", &json!({ "category": "fast_food", "scope": "transaction" }))
        .await
        .with(200);
    let ruled = "bar_and_nightlife by merchant_rule, reviewed";
    assert_eq!(all(&app, &ids).await[2..], [ruled, ruled]);

    assert_eq!(undo(&app, &rule).await["restored"], 4);
    assert_eq!(all(&app, &ids).await, before, "no rule stands for any of them");
    assert_eq!(stands(&app, "said").await, "fast_food by correction, reviewed");
    undo(&app, &merged).await;
    undo(&app, &further).await;
    assert_eq!(all(&app, &ids).await, before);
}

#[tokio::test]
async fn a_merge_that_is_taken_back_lets_go_of_rows_that_a_later_one_brought_to_its_rule() {
    let app = App::start().await;
    app.ingest(&[
        place("ruled", "acc-1", "CRNR PLC", "5.00"),
        place("old", "acc-2", "CORNER PLACE", "5.00"),
        place("newer", "acc-4", "CORNERPL", "5.00"),
    ])
    .await;
    let ids = ["ruled", "old", "newer"];
    claimed(&app, json!({ "count": 10 })).await;
    app.post("/v1/reviews/decisions", &decision("ruled", "bar_and_nightlife", "merchant")).await.with(201);
    let merged = edit(&app, "crnr plc", &json!({ "kind": "merge", "into": "corner place" })).await;
    edit(&app, "cornerpl", &json!({ "kind": "merge", "into": "corner place" })).await;
    let ruled = "bar_and_nightlife by merchant_rule, reviewed";
    assert_eq!(all(&app, &ids).await[1..], [ruled, ruled]);

    undo(&app, &merged).await;
    assert_eq!(all(&app, &ids).await[1..], [DOUBTFUL, DOUBTFUL], "the rule is of another merchant again");
}

#[tokio::test]
async fn rows_of_merged_keys_wait_as_one_group_and_one_decision_reaches_all_of_them() {
    let app = App::start().await;
    app.ingest(&[
        place("a", "acc-1", "CORNER PLACE", "5.00"),
        place("b", "acc-2", "CRNR PLC", "5.00"),
        place("c", "acc-2", "CORNERPL", "5.00"),
    ])
    .await;
    let first = edit(&app, "crnr plc", &json!({ "kind": "merge", "into": "cornerpl" })).await;
    edit(&app, "cornerpl", &json!({ "kind": "merge", "into": "corner place" })).await;
    assert_eq!(claimed(&app, json!({})).await, [("debit:corner place".to_owned(), 3)]);
    let done = app.post("/v1/reviews/decisions", &decision("b", "fast_food", "merchant")).await.with(201);
    assert_eq!(done["rows"], 3);
    // Parted again, the key in the middle takes along what was merged into it, and nothing else.
    undo(&app, &first).await;
    let listed = app.get("/v1/merchants?days=3650").await.with(200);
    let mut keys: Vec<_> = listed["merchants"].as_array().unwrap().iter().map(|one| one["keys"].clone()).collect();
    keys.sort_by_key(ToString::to_string);
    assert_eq!(keys, [json!(["corner place", "cornerpl"]), json!(["crnr plc"])]);
}

#[tokio::test]
async fn a_category_said_everywhere_leaves_a_rule_and_no_label_and_spares_accounts_with_their_own() {
    let app = App::start().await;
    app.ingest(&[
        place("a", "acc-1", "CORNER PLACE", "5.00"),
        place("b", "acc-2", "CORNER PLACE", "5.00"),
        with(place("refund", "acc-2", "CORNER PLACE", "5.00"), json!({ "direction": "credit" })),
    ])
    .await;
    let own = json!({ "category": "coffee_shop", "scope": "account_merchant" });
    app.post("/v1/transactions/a/correction", &own).await.with(200);
    app.ingest(&[place("a2", "acc-1", "CORNER PLACE", "7.00")]).await;
    let labelled = app.store.labelled(10).await.unwrap().len();
    let said = json!({ "kind": "categorize", "direction": "debit", "category": "bar_and_nightlife" });
    let done = edit(&app, "corner place", &said).await;
    assert_eq!(done["rows"], 1);
    assert!(done["memory"].as_str().unwrap().contains("no transaction is labelled by it"));
    assert_eq!(stands(&app, "b").await, "bar_and_nightlife by merchant_rule, reviewed");
    assert_eq!(stands(&app, "a2").await, "coffee_shop by account_rule, accepted");
    assert_eq!(stands(&app, "refund").await, DOUBTFUL);
    assert_eq!(app.store.labelled(10).await.unwrap().len(), labelled);
    let next = app.ingest(&[place("next", "acc-9", "CORNER PLACE", "5.00")]).await.remove(0);
    assert_eq!(next["category"], "bar_and_nightlife");
    undo(&app, &done).await;
    assert_eq!((stands(&app, "b").await.as_str(), stands(&app, "next").await.as_str()), (DOUBTFUL, DOUBTFUL));
}

/// The scripted engine, which tells that it was asked and answers when it may.
struct Slow {
    engine: Scripted,
    asked: mpsc::UnboundedSender<()>,
    may_answer: Arc<Semaphore>,
}

impl Categorizer for Slow {
    fn engine(&self) -> &str {
        self.engine.engine()
    }

    fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        self.engine.input(row)
    }

    fn categorize<'a>(
        &'a self,
        batch: &'a [EnrichedTransaction],
    ) -> BoxFuture<'a, Result<Vec<Prediction>, categorize::Error>> {
        Box::pin(async {
            self.asked.send(()).unwrap();
            self.may_answer.acquire().await.unwrap().forget();
            self.engine.categorize(batch).await
        })
    }
}

#[tokio::test]
async fn what_is_said_of_a_merchant_while_a_model_answers_counts_for_the_rows_that_it_answers() {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    let (asked, mut was_asked) = mpsc::unbounded_channel();
    let may_answer = Arc::new(Semaphore::new(1));
    let slow = Slow { engine: Scripted::new(taxonomy.version()), asked, may_answer: Arc::clone(&may_answer) };
    let lineup = Lineup::alone(Stage::new("scripted", 0.92, Enrichment::Full, Box::new(slow)));
    let app = App::answering(store, database, taxonomy, lineup, 0.0).await;
    app.ingest(&[place("first", "acc-1", "CORNER PLACE", "5.00")]).await;
    was_asked.recv().await.unwrap();

    let left = async {
        was_asked.recv().await.unwrap();
        let said = json!({ "kind": "categorize", "direction": "debit", "category": "bar_and_nightlife" });
        let done = edit(&app, "corner place", &said).await;
        may_answer.add_permits(1);
        done
    };
    let rows = [place("meanwhile", "acc-2", "CORNER PLACE", "5.00")];
    let (done, told) = tokio::join!(left, app.ingest(&rows));
    assert_eq!(told[0]["category"], "bar_and_nightlife");
    assert_eq!(stands(&app, "meanwhile").await, "bar_and_nightlife by merchant_rule, accepted");

    let taken_back = async {
        was_asked.recv().await.unwrap();
        undo(&app, &done).await;
        may_answer.add_permits(2);
    };
    let rows = [place("ruled", "acc-3", "CORNER PLACE", "5.00"), place("other", "acc-3", "GRAND HALL", "5.00")];
    let ((), told) = tokio::join!(taken_back, app.ingest(&rows));
    assert_eq!(told[0]["category"], "restaurant");
    assert_eq!((stands(&app, "ruled").await.as_str(), stands(&app, "other").await.as_str()), (DOUBTFUL, DOUBTFUL));
}

#[tokio::test]
async fn a_name_is_shown_found_and_taken_away_again() {
    let app = App::start().await;
    app.ingest(&[place("a", "acc-1", "CRNR PLC", "5.00"), place("b", "acc-1", "GRAND HALL", "5.00")]).await;
    let named = edit(&app, "crnr plc", &json!({ "kind": "rename", "name": "Corner Place" })).await;
    assert_eq!(named["rows"], 0);
    let found = app.get("/v1/merchants?days=3650&text=corner%20p").await.with(200);
    assert_eq!(
        (&found["merchants"][0]["name"], &found["merchants"][0]["merchant"]),
        (&json!("Corner Place"), &json!("crnr plc"))
    );
    assert_eq!(found["merchants"].as_array().unwrap().len(), 1);
    let page = app.get("/merchants/one?key=crnr%20plc").await.with(200);
    assert!(page.as_str().unwrap().contains("<h1 class=\"text\">Corner Place</h1>"));
    // What waits of it is found by the name, too.
    let waits = app.get("/v1/reviews/groups?text=corner%20p").await.with(200)["groups"].clone();
    let taken =
        app.post("/v1/reviews/claims", &json!({ "text": "corner p", "count": 9 })).await.with(200)["groups"].clone();
    for groups in [waits, taken] {
        let keys: Vec<&Value> = groups.as_array().unwrap().iter().map(|group| &group["group"]).collect();
        assert_eq!(keys, ["debit:crnr plc"]);
    }
    assert!(app.get("/v1/reviews/groups?text=%25%20p").await.with(200)["groups"].as_array().unwrap().is_empty());
    // The name goes along to a merchant that has none, and comes back.
    let merged = edit(&app, "crnr plc", &json!({ "kind": "merge", "into": "grand hall" })).await;
    let name = async || app.get("/v1/merchants?days=3650&text=grand").await.with(200)["merchants"][0]["name"].clone();
    assert_eq!(name().await, "Corner Place");
    undo(&app, &merged).await;
    assert_eq!(name().await, Value::Null);
    undo(&app, &named).await;
    assert!(app.get("/v1/merchants?days=3650&text=corner").await.with(200)["merchants"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_was_taken_back_stays_so_whichever_of_two_is_undone_first() {
    let app = App::start().await;
    app.ingest(&[place("a", "acc-1", "CRNR PLC", "5.00")]).await;
    let name = async || app.get("/v1/merchants?days=3650").await.with(200)["merchants"][0]["name"].clone();
    let renamed = async |to: &str| edit(&app, "crnr plc", &json!({ "kind": "rename", "name": to })).await;
    let (first, second) = (renamed("Corner Place").await, renamed("Corner Pub").await);
    undo(&app, &first).await;
    assert_eq!(name().await, "Corner Pub");
    undo(&app, &second).await;
    assert_eq!(name().await, Value::Null);
    let (first, second) = (renamed("Corner Place").await, renamed("Corner Pub").await);
    undo(&app, &second).await;
    assert_eq!(name().await, "Corner Place");
    undo(&app, &first).await;
    assert_eq!(name().await, Value::Null);
}

#[tokio::test]
async fn what_can_t_be_said_of_a_merchant_is_refused() {
    let app = App::start().await;
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "5.00")]).await;
    let ask = async |merchant: &str, change: Value, status: u16| {
        let body = json!({ "merchant": merchant, "change": change });
        let previewed = app.post("/v1/merchants/preview", &body).await.with(status);
        assert_eq!(app.post("/v1/merchants/edits", &body).await.with(status), previewed);
        previewed["type"].clone()
    };
    let merge = |into: &str| json!({ "kind": "merge", "into": into });
    assert_eq!(ask("nobody", merge("corner place"), 404).await, "urn:txcat:problem:unknown-merchant");
    assert_eq!(ask("corner place", merge("nobody"), 404).await, "urn:txcat:problem:unknown-merchant");
    assert_eq!(ask("corner place", merge("corner place"), 409).await, "urn:txcat:problem:same-merchant");
    let moon = json!({ "kind": "categorize", "direction": "debit", "category": "moon" });
    assert_eq!(ask("corner place", moon, 422).await, "urn:txcat:problem:off-taxonomy");
    ask("corner place", json!({ "kind": "rename", "name": " " }), 422).await;
    ask("corner place", json!({ "kind": "burn" }), 422).await;
    assert_eq!(stands(&app, "a").await, DOUBTFUL);
    assert!(app.get("/v1/reviews/decisions").await.with(200)["actions"].as_array().unwrap().is_empty());
}
