//! The audit log: privileged acts are in it with who did them, and nobody changes it unseen.

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, PgPool};
use txcat::{
    access::{Act, Broken, Chain, LOCAL, Role, Scope},
    clock,
    domain::Taxonomy,
};

use crate::{
    desk::person,
    harness::{App, Run as _, row, txcat},
};

/// What the log says, followed from its beginning.
async fn acts(app: &App) -> Result<Vec<Act>, Broken> {
    let mut chain = Chain::new(None);
    let rows = app.store.audit_rows(0, 10_000).await.unwrap();
    rows.iter().map(|row| chain.follow(row)).collect()
}

#[tokio::test]
async fn privileged_acts_stand_in_the_log_with_who_did_them() {
    let app = App::start_with_key(&[Scope::Admin]).await;
    person(&app, "anna", Role::Analyst).await;
    app.store.revoke_key("anna", LOCAL, clock::now()).await.unwrap();
    app.ingest(&[row("t1", "CORNER PLACE"), row("t2", "CORNER PLACE")]).await;
    let rule = json!({ "category": "coffee_shop", "scope": "account_merchant" });
    app.post("/v1/transactions/t1/correction", &rule).await.with(200);
    let group = json!({ "account_ids": ["acc-1", "acc-2"], "group": "pilot" });
    app.post("/v1/account-groups", &group).await.with(200);
    let webhook =
        app.post("/v1/webhooks", &json!({ "url": "https://backend.example/hook?token=hidden" })).await.with(201);
    app.send(app.request("DELETE", &format!("/v1/webhooks/{}", webhook["id"]))).await.with(204);
    let run =
        app.post("/v1/recategorizations", &json!({ "scope": { "everything": true }, "reason": "a new engine" })).await;
    let run = run.with(202)["id"].clone();
    app.post(&format!("/v1/recategorizations/{run}/cancel"), &json!({})).await.with(200);

    let acts = acts(&app).await.unwrap();
    let told: Vec<(&str, &str)> = acts.iter().map(|act| (act.act.as_str(), act.actor.as_str())).collect();
    let expected = [
        ("taxonomy.added", ""),
        ("key.made", LOCAL),
        ("person.made", LOCAL),
        ("person.revoked", LOCAL),
        ("rule.made", "test"),
        ("account_group.joined", "test"),
        ("webhook.made", "test"),
        ("webhook.removed", "test"),
        ("recategorization.begun", "test"),
        ("recategorization.cancelled", "test"),
    ];
    assert_eq!(told.iter().map(|(act, _)| *act).collect::<Vec<_>>(), expected.map(|(act, _)| act));
    for ((act, actor), (_, by)) in told.iter().zip(expected).skip(1) {
        assert_eq!(*actor, by, "{act}");
    }
    assert!(told[0].1.starts_with("database:"), "nobody said who: {}", told[0].1);
    assert_eq!(acts[5].detail["accounts"], 2);
    let text = serde_json::to_string(&acts).unwrap();
    for hidden in ["acc-1", "CORNER", "corner", "token=hidden", "\"t1\""] {
        assert!(!text.contains(hidden), "{hidden} stands in a log that is never erased: {text}");
    }
}

#[tokio::test]
async fn what_was_rolled_back_is_not_in_the_log_and_what_goes_on_at_once_has_one_order() {
    let app = App::start().await;
    let before = acts(&app).await.unwrap().len();
    let mut connection = PgConnection::connect(&app.database.url).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    sqlx::query("insert into account_groups (account_id, account_group) values ('a', 'g')")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(acts(&app).await.unwrap().len(), before);
    let taken = app.make_key("once", &[Scope::Read], None).await;
    assert!(taken.starts_with("txcat_"));
    futures::future::join_all((0..20).map(|n| {
        let (app, name) = (&app, format!("key-{n}"));
        async move { app.make_key(&name, &[Scope::Read], None).await }
    }))
    .await;
    assert_eq!(acts(&app).await.unwrap().len(), before + 21);
}

#[tokio::test]
async fn the_log_is_not_changed_and_a_change_past_the_database_is_found() {
    let app = App::start().await;
    for n in 0..5 {
        app.make_key(&format!("key-{n}"), &[Scope::Read], None).await;
    }
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    for change in ["update audit_log set record = record", "delete from audit_log", "truncate audit_log"] {
        let refusal = sqlx::query(change).execute(&pool).await.unwrap_err();
        assert_eq!(refusal.as_database_error().unwrap().constraint(), Some("audit_log_append_only"), "{change}");
    }
    let audit = |arguments: &[&str]| txcat(&["audit"]).args(arguments).on(&app.database.url).run();
    let head = audit(&["verify"]).ok().lines().last().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    std::fs::write(&file, audit(&["export"]).ok()).unwrap();
    let file = file.to_str().unwrap();
    audit(&["verify", "--file", file, "--head", &head]).ok();
    let empty = folder.path().join("empty.jsonl");
    std::fs::write(&empty, "").unwrap();
    let error = audit(&["verify", "--file", empty.to_str().unwrap()]).refused(1);
    assert!(error.contains("holds no record"), "{error}");
    let listed = audit(&["list", "--json", "--act", "key.", "--limit", "2"]).json();
    assert_eq!(listed["acts"][0]["detail"]["name"], "key-4");
    assert_eq!(listed["acts"].as_array().unwrap().len(), 2);

    // Whoever owns the database can switch triggers off.
    let past = async |change: &str| {
        let mut connection = pool.acquire().await.unwrap();
        sqlx::raw_sql("set session_replication_role = replica").execute(&mut *connection).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(change.to_owned())).execute(&mut *connection).await.unwrap();
        sqlx::raw_sql("set session_replication_role = origin").execute(&mut *connection).await.unwrap();
    };
    past("delete from audit_log where seq = (select max(seq) from audit_log)").await;
    assert_eq!(audit(&["verify"]).code, 0, "a chain alone can't tell that its end is gone");
    let error = audit(&["verify", "--head", &head]).refused(1);
    assert!(error.contains("before the record"), "{error}");
    past("update audit_log set record = replace(record, 'key-1', 'key-9') where record like '%key-1%'").await;
    let said = audit(&["verify", "--json"]);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let changed = told["whole"] == false && told["problem"].as_str().unwrap().contains("was changed");
    assert!(said.code == 1 && changed, "{said:?}");
}

#[tokio::test]
async fn a_taxonomy_is_in_the_log_once() {
    let app = App::start().await;
    app.store.sync_taxonomy(&Taxonomy::consumer().unwrap(), clock::now()).await.unwrap();
    let added = acts(&app).await.unwrap().into_iter().filter(|act| act.act == "taxonomy.added");
    assert_eq!(added.count(), 1);
}
