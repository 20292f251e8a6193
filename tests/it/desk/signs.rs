//! What puts accepted answers before people: an engine that says otherwise, and answers that have moved.

use std::{collections::HashMap, sync::Arc};

use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgPool;
use txcat::{
    categorize::{Group, Lineup, Seat, Stage},
    clock,
    domain::{Acceptance, Enrichment, Taxonomy},
    review::drift,
    store::MovedAnswers,
};

use super::{claimed, place, stands};
use crate::{
    database::fresh_store,
    harness::{App, Line, Scripted},
};

/// Says otherwise of markets, and as much as it may of coffee.
const OTHER: &[Line] = &[
    ("COFFEE", "coffee_shop", 0.96875, "restaurant"),
    ("BIG MARKET", "convenience_store", 0.9375, "supermarket"),
    ("", "fuel", 0.375, "fast_food"),
];

#[tokio::test]
async fn a_shadow_that_is_sure_of_something_else_puts_an_accepted_answer_before_people() {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    let pool = PgPool::connect(&database.url).await.unwrap();
    let adapter: i64 = sqlx::query_scalar(
        "insert into adapters (name, version, engine, taxonomy, account_group, base, base_sha256, last_label, facts, state,
            share, state_since, registered_by, registered_at)
         values ('other', 1, 'other@1', 'consumer', 'everyone', 'base', '', 0, '{}', 'shadow', 1, now(), 'local', now())
         returning id",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let stage = |engine: Scripted| {
        let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(engine));
        stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
        Arc::new(stage)
    };
    let other = Seat { adapter, stage: stage(Scripted::saying(taxonomy.version(), "other@1", OTHER)), share: 1.0 };
    let mut everyone = Group::of(stage(Scripted::new(taxonomy.version())));
    everyone.shadows.push(other);
    let lineup = Lineup::new(everyone, HashMap::new(), HashMap::new());
    let app = App::answering(store, database, taxonomy, lineup, 0.0).await;
    app.ingest(&[
        place("alike", "acc-1", "BLUE COFFEE", "5.00"),
        place("other", "acc-1", "BIG MARKET", "7.00"),
        place("unsure", "acc-1", "GRAND MARKET", "7.00"),
    ])
    .await;
    app.pipeline.settle().await;
    assert_eq!(stands(&app, "alike").await, "coffee_shop by stage, accepted");
    assert_eq!(
        stands(&app, "unsure").await,
        "supermarket by stage, accepted",
        "a shadow in doubt puts it before people"
    );
    assert_eq!(
        stands(&app, "other").await,
        "supermarket by stage, pending",
        "what is in force stays until somebody decides"
    );
    let waiting = app.get("/v1/reviews?reason=disagreement").await.with(200);
    assert_eq!(waiting["reviews"].as_array().unwrap().len(), 1);
    assert_eq!(claimed(&app, json!({ "reason": "disagreement" })).await, [("debit:big market".to_owned(), 1)]);
    let detail = app.get("/review/detail?transaction=other&group=debit%3Abig%20market").await.with(200);
    assert!(detail.as_str().unwrap().contains("convenience store"), "the desk does not show what the other said");
    pool.close().await;
}

/// Rows of one text on many accounts.
fn rows(name: &str, text: &str, count: usize) -> Vec<serde_json::Value> {
    (0..count).map(|n| place(&format!("{name}-{n}"), &format!("acc-{n}"), text, "5.00")).collect()
}

/// Makes all predictions that there are twenty days old.
async fn age(app: &App) {
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    for statement in [
        "alter table predictions disable trigger user",
        "update predictions set made_at = made_at - interval '20 days'",
        "alter table predictions enable trigger user",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

#[tokio::test]
async fn of_what_has_moved_a_few_rows_go_before_people_and_no_more_however_often_somebody_looks() {
    let app = App::start().await;
    app.ingest(&rows("old-coffee", "BLUE COFFEE", 120)).await;
    app.ingest(&rows("old-market", "BIG MARKET", 40)).await;
    age(&app).await;
    let now = clock::now();
    let quiet = drift::look(&app.store, "scripted@1", now).await.unwrap();
    assert!(quiet.is_empty(), "nothing came lately: {quiet:?}");
    app.ingest(&rows("coffee", "BLUE COFFEE", 40)).await;
    app.ingest(&rows("market", "BIG MARKET", 100)).await;
    let now = now + TimeDelta::minutes(1);
    let moved = drift::look(&app.store, "scripted@1", now).await.unwrap();
    let whats: Vec<_> = moved.iter().map(|one| (one.what.clone(), one.asked)).collect();
    let each = u64::from(drift::EACH);
    let category = |slug: &str| MovedAnswers::Category(slug.to_owned());
    assert_eq!(whats, [(category("supermarket"), each), (category("coffee_shop"), each)]);
    let waiting = app.get("/v1/reviews?reason=drift&limit=100").await.with(200);
    let ids: Vec<&str> =
        waiting["reviews"].as_array().unwrap().iter().map(|row| row["transaction"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 20);
    assert!(ids.iter().all(|id| !id.starts_with("old")), "rows from before are asked about: {ids:?}");
    assert!(stands(&app, ids[0]).await.ends_with("by stage, pending"));
    // Nobody is asked about more, also after some of them are decided.
    let word = json!({ "category": "fast_food", "scope": "transaction" });
    app.post(&format!("/v1/transactions/{}/correction", ids[0]), &word).await.with(200);
    for minutes in 2..5 {
        let again = drift::look(&app.store, "scripted@1", now + TimeDelta::minutes(minutes)).await.unwrap();
        assert!(again.iter().all(|one| one.asked == 0), "{again:?}");
    }
    // Another engine's answers are not compared with these.
    assert!(drift::look(&app.store, "scripted@2", now).await.unwrap().is_empty());
}
