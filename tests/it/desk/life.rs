//! One transaction's page: from its text to the adapters that learned from what people said.

use serde_json::json;

use super::{claimed, decision, place};
use crate::harness::{App, with};

async fn page(app: &App, id: &str) -> String {
    let answer = app.get(&format!("/transactions/{id}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let text = answer.body.as_str().unwrap();
    // Words alone, as somebody reads them.
    let mut words = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => words.push(c),
            _ => {}
        }
    }
    words.replace("&#x2f;", "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_correction_s_whole_life_stands_on_one_page_and_undo_is_told_there() {
    let app = App::start().await;
    app.ingest(&[
        place("a/1", "acc-1", "SQ *CORNER PLACE 0412 OAKLAND CA", "5.00"),
        place("b", "acc-2", "CORNER PLACE", "5.00"),
        place("c", "acc-3", "SURE COFFEE", "5.00"),
    ])
    .await;
    let before = page(&app, "a%2F1").await;
    for told in [
        "It is restaurant, by stage. pending",
        "Waited for low confidence since",
        "still does",
        "Nobody has decided it",
        "Nobody has labelled it",
        "No decision on this row left a rule",
        "No labelled set holds it",
        "Branch0412",
        "PlaceOAKLAND",
    ] {
        assert!(before.to_lowercase().contains(&told.to_lowercase()), "{told}: {before}");
    }
    claimed(&app, json!({ "count": 10 })).await;
    let said = with(decision("a/1", "bar_and_nightlife", "merchant"), json!({ "note": "a bar" }));
    let done = app.post("/v1/reviews/decisions", &said).await.with(201);
    app.ingest(&[place("next", "acc-9", "CORNER PLACE", "5.00")]).await;
    app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    let own = page(&app, "a%2F1").await;
    for told in [
        "It is bar and nightlife, by correction. reviewed",
        "local decided a/1: restaurant → bar and nightlife, 2 rows, left a rule",
        "bar and nightlife, said by local",
        "It counts as a label for training",
        "Later debits of corner place on every account without a rule of its own are bar and nightlife : 1 row has come and found it",
        "may show its text as bar and nightlife to a prompt",
        "1 · correctionsbar and nightlife",
        "none yet",
    ] {
        assert!(own.replace(" :", ":").contains(&told.replace(" :", ":")), "{told}: {own}");
    }
    let covered = page(&app, "b").await;
    assert!(
        covered.contains(&format!("It has none of its own: decision {} on a/1 covered it", done["decision"])),
        "{covered}"
    );
    assert!(covered.contains("No labelled set holds it") && covered.contains("No prompt is shown it"), "{covered}");
    let sure = page(&app, "c").await;
    assert!(sure.contains("Nobody was asked: the stage was sure enough"), "{sure}");
    let word = json!({ "category": "coffee_shop", "scope": "merchant" });
    app.post("/v1/transactions/a%2F1/correction", &word).await.with(200);
    let trail = app.get("/v1/reviews/decisions").await.with(200);
    app.post(&format!("/v1/reviews/decisions/{}/undo", trail["actions"][0]["id"]), &json!({})).await.with(200);
    let again = page(&app, "a%2F1").await;
    let remembered = format!("come and found it. decision {}", done["decision"]);
    assert!(again.contains(&remembered), "the decision that stands, not the one taken back: {again}");
    app.post(&format!("/v1/reviews/decisions/{}/undo", done["decision"]), &json!({})).await.with(200);
    let after = page(&app, "a%2F1").await;
    for told in ["It is restaurant, by stage. pending", "taken back", "Nobody has labelled it", "No prompt is shown it"]
    {
        assert!(after.contains(told), "{told}: {after}");
    }
    app.get("/transactions/nobody").await.with(404);
}

#[tokio::test]
async fn an_adapter_that_learned_from_a_label_is_named_beside_it() {
    let app = App::start().await;
    app.ingest(&[place("a", "acc-1", "CORNER PLACE", "5.00")]).await;
    let word = json!({ "category": "bar_and_nightlife", "scope": "transaction" });
    app.post("/v1/transactions/a/correction", &word).await.with(200);
    app.post("/v1/datasets", &json!({ "name": "corrections" })).await.with(201);
    let pool = sqlx::PgPool::connect(&app.database.url).await.unwrap();
    sqlx::query(
        "insert into adapters (name, version, engine, taxonomy, account_group, base, base_sha256, label_manifest, last_label,
            facts, state, share, state_since, registered_by, registered_at)
         select 'mine', 1, 'mine@1', 'consumer', 'everyone', 'base', '', encode(manifest_sha256, 'hex'), 1, '{}', 'candidate',
            0, now(), 'local', now()
         from label_reports",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert!(page(&app, "a").await.contains("mine@1 (candidate)"));
    pool.close().await;
}
