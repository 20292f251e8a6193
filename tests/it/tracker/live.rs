use std::sync::Arc;

use serde_json::{Value, json};
use txcat::{
    categorize::{Lineup, Stage},
    clock,
    domain::{Acceptance, Enrichment, Taxonomy},
};

use crate::{
    database::fresh_store,
    harness::{App, Scripted, row},
};

/// Every accepted answer is drawn for a person's eye.
async fn audited() -> App {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(Scripted::new(taxonomy.version())));
    stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
    App::answering(store, database, taxonomy, Lineup::alone(stage), 1.0).await
}

async fn say(app: &App, id: &str, category: &str) {
    let correction = json!({ "category": category, "scope": "transaction" });
    app.post(&format!("/v1/transactions/{id}/correction"), &correction).await.with(200);
}

#[tokio::test]
async fn live_accuracy_rests_on_what_people_said_of_rows_drawn_at_random_and_on_nothing_else() {
    let app = audited().await;
    let rows: Vec<Value> = (0..10)
        .map(|n| row(&format!("sure-{n}"), "COFFEE"))
        .chain((0..4).map(|n| row(&format!("doubtful-{n}"), "CORNER PLACE")))
        .collect();
    app.ingest(&rows).await;
    let nothing = app.get("/v1/accuracy").await.with(200);
    assert_eq!(nothing["runs"], json!([]));
    assert_eq!(
        nothing["live"],
        json!([{
            "stage": "scripted", "engine": "scripted@1", "drawn": 10, "waiting": 10, "accepted": null,
            "doubtful_judged": 0, "doubtful_right": 0,
        }])
    );
    for n in 0..8 {
        say(&app, &format!("sure-{n}"), if n < 6 { "coffee_shop" } else { "restaurant" }).await;
    }
    say(&app, "doubtful-0", "restaurant").await;
    say(&app, "doubtful-1", "bar_and_nightlife").await;
    // Two words that are taken back: nothing is left of them.
    for id in ["sure-9", "doubtful-2"] {
        say(&app, id, "bar_and_nightlife").await;
        let decisions = app.get(&format!("/v1/reviews/decisions?transaction_id={id}")).await.with(200);
        let undo = format!("/v1/reviews/decisions/{}/undo", decisions["actions"][0]["id"]);
        app.post(&undo, &json!({})).await.with(200);
    }
    let live = &app.get("/v1/accuracy").await.with(200)["live"][0];
    assert_eq!((&live["drawn"], &live["waiting"]), (&json!(10), &json!(2)));
    assert_eq!((&live["accepted"]["n"], &live["accepted"]["share"]), (&json!(8), &json!(0.75)));
    assert!(live["accepted"]["low"].as_f64().unwrap() < 0.45 && live["accepted"]["high"].as_f64().unwrap() > 0.9);
    assert_eq!((&live["doubtful_judged"], &live["doubtful_right"]), (&json!(2), &json!(1)));
}
