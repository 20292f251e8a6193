//! Erasure, export and retention: what is gone is gone from every table, and what others rest on still stands.

use std::{fs, process::Command, sync::Arc};

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use txcat::{access::Scope, clock, domain::Taxonomy};

use crate::{
    database::fresh_store,
    harness::{App, Run as _, Said, row, txcat, with},
};

/// Strings that lead to the account and to nobody else.
const TELLING: [&str; 9] = [
    "acc-gone-77",
    "tx-gone-1",
    "tx-gone-2",
    "tx-gone-3",
    "WILHELMINA ZAPATEK",
    "wilhelmina zapatek",
    "Tante Agathe",
    "the tenant said so",
    "a lease of the Zapateks",
];

/// The whole database as text, `bytea` columns too where they hold text.
fn dump(app: &App) -> String {
    let output = Command::new("pg_dump").arg(&app.database.url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Where a string stands in a dump, in clear or as the hexadecimal digits of `bytea`.
fn found<'a>(dump: &'a str, needle: &str) -> Option<&'a str> {
    let digits = hex::encode(needle);
    dump.lines().find(|line| line.contains(needle) || line.contains(&digits))
}

/// Two accounts that share a merchant; one of them also pays its landlady. What was said of them is in every table that there is.
async fn lived_in() -> App {
    let mut app = App::start().await;
    let key = app.make_key("backend", &[Scope::Admin], None).await;
    app.use_key(&key);
    let mine = |id: &str, text: &str| {
        let more = json!({ "account_id": "acc-gone-77", "counterparty": "Tante Agathe" });
        with(row(id, text), more)
    };
    app.ingest(&[
        mine("tx-gone-1", "RENT WILHELMINA ZAPATEK"),
        mine("tx-gone-2", "CORNER PLACE"),
        with(row("tx-kept-1", "CORNER PLACE"), json!({ "account_id": "acc-kept" })),
        with(row("tx-kept-2", "COFFEE HOUSE"), json!({ "account_id": "acc-kept" })),
    ])
    .await;
    let pending = with(mine("tx-gone-3", "HOLD WILHELMINA ZAPATEK"), json!({ "status": "pending" }));
    app.ingest(&[pending]).await;
    app.ingest(&[with(mine("tx-gone-4", "HOLD WILHELMINA ZAPATEK"), json!({ "replaces": "tx-gone-3" }))]).await;
    let waits = app.post("/v1/reviews/claims", &json!({ "count": 10 })).await.with(200);
    let group = |id: &str| {
        let of_row = waits["groups"].as_array().unwrap().iter().find(|group| group["transaction"]["id"] == id);
        of_row.unwrap()["group"].clone()
    };
    app.post("/v1/reviews/skips", &json!({ "group": group("tx-gone-4") })).await.with(204);
    let hard = json!({ "group": group("tx-gone-1"), "note": "a lease of the Zapateks" });
    app.post("/v1/reviews/escalations", &hard).await.with(204);
    let said = json!({ "category": "coffee_shop", "scope": "account_merchant", "note": "the tenant said so" });
    let keyed = app.request("POST", "/v1/transactions/tx-gone-1/correction").header("idempotency-key", "k").json(&said);
    app.send(keyed).await.with(200);
    let everywhere = json!({ "category": "supermarket", "scope": "merchant" });
    app.post("/v1/transactions/tx-gone-2/correction", &everywhere).await.with(200);
    let everywhere = json!({ "category": "restaurant", "scope": "merchant" });
    app.post("/v1/transactions/tx-gone-4/correction", &everywhere).await.with(200);
    let group = json!({ "account_ids": ["acc-gone-77", "acc-kept"], "group": "pilot" });
    app.post("/v1/account-groups", &group).await.with(200);
    let scope = json!({ "scope": { "account_ids": ["acc-gone-77", "acc-kept"] }, "reason": "again" });
    let worker = app.work();
    let run = app.post("/v1/recategorizations", &scope).await.with(202)["id"].clone();
    crate::jobs::until(async || {
        app.get(&format!("/v1/recategorizations/{run}")).await.with(200)["phase"] == "previewed"
    })
    .await;
    drop(worker);
    learned_from(&app).await;
    app.get("/v1/events").await.with(200);
    app.get("/v1/reviews/groups").await;
    app
}

/// A labelled set with two of the account's rows, its report, and an adapter that was trained on it.
async fn learned_from(app: &App) {
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let statements = [
        "insert into datasets (name, source, taxonomy, rows, rows_sha256, made_by, made_at)
        values ('march', 'store', 't', 2, sha256('a'), 'me', now())",
        "insert into dataset_items (dataset_id, transaction_id, category, labelled_by, kept)
        values (1, 'tx-gone-1', 'rent', 'me', true), (1, 'tx-gone-4', 'rent', 'me', true), (1, 'tx-kept-1', 'rent', 'me', true)",
        r#"insert into label_reports (dataset_id, passed, quarantined, manifest_sha256, manifest, report, checked_at)
        values (1, true, 0, sha256('m'), '{}',
            '{"checks": [{"name": "c", "flags": [{"id": "tx-gone-1", "says": "RENT WILHELMINA ZAPATEK"}]}]}', now())"#,
        "insert into adapters (name, version, engine, taxonomy, account_group, base, base_sha256, label_manifest, last_label,
            facts, state, share, state_since, registered_by, registered_at)
        values ('mine', 3, 'e', 't', 'all', 'b', 'x', encode(sha256('m'), 'hex'), 0, '{}', 'candidate', 0, now(), 'me', now())",
        "insert into shadow_predictions (adapter_id, transaction_id, category, confidence, made_at)
        select max(id), 'tx-gone-1', 'rent', 0.5, now() from adapters",
        // A change that waits to be applied, of another account's answer that rests on the label.
        r#"update recategorization_changes set decision = jsonb_set(decision, '{prediction,evidence}', '[{"kind": "example",
            "text": "RENT WILHELMINA ZAPATEK", "category": "rent", "similarity": 0.5}]')
        where transaction_id = 'tx-kept-1'"#,
    ];
    for statement in &statements {
        sqlx::query(sqlx::AssertSqlSafe((*statement).to_owned())).execute(&pool).await.unwrap();
    }
    // Another account's answer that rests on the label.
    let evidence = r#"set session_replication_role = replica;
        update predictions set evidence = '[
            {"kind": "example", "text": "RENT WILHELMINA ZAPATEK", "category": "rent", "similarity": 0.5},
            {"kind": "example", "text": "RENT OF THE HALL", "category": "rent", "similarity": 0.4}
        ]'
        where transaction_id = 'tx-kept-1'"#;
    sqlx::raw_sql(evidence).execute(&mut *pool.acquire().await.unwrap()).await.unwrap();
    let eval = "with run as (
            insert into eval_runs (started_at, data_set, file, file_sha256, stage, engine, taxonomy, target, rows, correct, known_rows,
                known_correct, macro_f1, ece, coverage_at_target, rows_per_s)
            values (now(), 'd', 'f', sha256('f'), 's', 'e', 't', 0.9, 1, 1, 1, 1, 1, 0, 1, 1) returning id
        )
        insert into eval_items (run_id, item_id, expected, predicted, confidence, known_key, descriptor_key, amount)
        select id, 'tx-gone-1', 'rent', 'rent', 0.9, true, 'wilhelmina zapatek', 6.5 from run";
    sqlx::query(eval).execute(&pool).await.unwrap();
}

#[tokio::test]
async fn an_erased_account_is_in_no_table_and_in_no_file_any_more() {
    let app = lived_in().await;
    let kept = app.get("/v1/transactions/tx-kept-1").await.with(200);
    let before = dump(&app);
    for needle in TELLING {
        assert!(found(&before, needle).is_some(), "{needle} never was there: this test can't fail");
    }
    let events = app.get("/v1/events").await.with(200)["events"].as_array().unwrap().len();
    let erased = app.send(app.request("DELETE", "/v1/accounts/acc-gone-77")).await.with(200);
    assert_eq!((&erased["transactions"], &erased["labels"], &erased["rules"]), (&json!(4), &json!(3), &json!(1)));
    assert_eq!(erased["datasets"][0]["name"], "march");
    assert_eq!(erased["adapters"][0]["name"], "mine@3");
    assert_eq!(erased["adapters"][0]["erased_rows"], 2);

    // What was asked before is not done again, and what was answered is not told again.
    let said = json!({ "category": "coffee_shop", "scope": "account_merchant", "note": "the tenant said so" });
    let keyed = app.request("POST", "/v1/transactions/tx-gone-1/correction").header("idempotency-key", "k").json(&said);
    assert_eq!(app.send(keyed).await.with(410)["type"], "urn:txcat:problem:idempotency-key-erased");
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let after = dump(&app);
    for needle in TELLING.into_iter().chain(["tx-gone-4", "acc-gone"]) {
        assert_eq!(found(&after, needle), None, "{needle} is still there");
    }
    let told = app.get("/v1/events").await.with(200)["events"].as_array().unwrap().len();
    assert_eq!(told, events, "the feed has a gap");

    let cited = "select evidence from predictions where transaction_id = 'tx-kept-1'";
    let cited: Value = sqlx::query_scalar(cited).fetch_one(&pool).await.unwrap();
    assert_eq!((&cited[0]["text"], &cited[1]["text"]), (&json!("erased"), &json!("RENT OF THE HALL")));

    // Others keep what is theirs, and a rule for everybody goes on for a merchant that others have too.
    let left = app.get("/v1/transactions/tx-kept-1").await.with(200);
    for member in ["category", "decided_by", "review_status"] {
        assert_eq!(left[member], kept[member], "{member}");
    }
    assert_eq!(app.count().await, 2);
    app.ingest(&[with(row("tx-kept-3", "CORNER PLACE"), json!({ "account_id": "acc-kept" }))]).await;
    let ruled = app.get("/v1/transactions/tx-kept-3").await.with(200);
    assert_eq!(
        (ruled["category"].as_str(), ruled["decided_by"].as_str()),
        (Some("supermarket"), Some("merchant_rule"))
    );
    for page in ["/v1/reviews", "/v1/reviews/decisions", "/v1/recategorizations", "/v1/adapters", "/v1/datasets"] {
        app.get(page).await.with(200);
    }
    let (sets, adapters) = (app.get("/v1/datasets").await.with(200), app.get("/v1/adapters").await.with(200));
    assert_eq!(sets["datasets"][0]["erased_rows"], erased["datasets"][0]["erased_rows"]);
    assert_eq!(adapters["adapters"][0]["erased_rows"], 2);
    app.get("/v1/transactions/tx-gone-1").await.with(404);
    app.send(app.request("DELETE", "/v1/accounts/acc-gone-77")).await.with(404);

    // Who knows the identifier can tell that it was erased.
    let acts = app.store.latest_audit_rows(None, Some("account.erased"), 1).await.unwrap();
    let act: Value = serde_json::from_str(&acts[0].record).unwrap();
    let salt = hex::decode(act["detail"]["salt"].as_str().unwrap()).unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest([salt.as_slice(), b"acc-gone-77"].concat());
    assert_eq!(
        (act["actor"].as_str(), act["detail"]["digest"].as_str()),
        (Some("backend"), Some(&*hex::encode(digest)))
    );

    // The account may come back, as any other.
    app.ingest(&[with(row("tx-gone-1", "CORNER PLACE"), json!({ "account_id": "acc-gone-77" }))]).await;
    app.get("/v1/transactions/tx-gone-1").await.with(200);
}

/// 1,500 labelled rows of one account among 20,000 of others, all with one key, whose answers cite labelled rows.
const MANY: &str = "set session_replication_role = replica;
    insert into rendered_texts (hash, text) values (decode(repeat('00', 16), 'hex'), 'text');
    insert into transactions (id, account_id, posted_at, amount, currency, direction, descriptor, descriptor_key, status,
        content_hash, received_at)
    select 'tx-' || n, case when n <= 1500 then 'acc-gone' else 'acc-' || n end, timestamptz '2026-01-01', 1, 'USD', 'debit',
        'CAB RIDE ' || n, 'cab ride', 'posted', decode(repeat('00', 32), 'hex'), now()
    from generate_series(1, 21500) as n;
    insert into predictions (transaction_id, category, confidence, alternatives, evidence, stage, engine, taxonomy,
        text_hash, made_at)
    select id, 'taxi', 0.9, '[]', jsonb_build_array(
            jsonb_build_object('kind', 'example', 'text', 'CAB RIDE ' || row_number() over (), 'category', 'taxi', 'similarity', 0.9),
            jsonb_build_object('kind', 'history', 'category', 'taxi', 'count', 2)
        ), 'scripted', 'scripted@1', 'consumer', decode(repeat('00', 16), 'hex'), now()
    from (select id from transactions order by id desc) as rows;
    insert into corrections_made (transaction_id, category, source, scope, made_by, made_at)
    select id, 'taxi', 'import', 'transaction', 'me', now() from transactions where account_id = 'acc-gone';
    set session_replication_role = default;
    analyze";

#[tokio::test]
async fn what_cites_an_account_is_found_without_reading_every_answer() {
    let (_store, database) = fresh_store().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    sqlx::raw_sql(MANY).execute(&mut *pool.acquire().await.unwrap()).await.unwrap();
    let patience = format!("alter database \"{}\" set statement_timeout = '10s'", database.name());
    sqlx::query(sqlx::AssertSqlSafe(patience)).execute(&pool).await.unwrap();
    let erased = txcat(&["accounts", "erase", "acc-gone", "--yes"]).on(&database.url).run();
    assert_eq!(erased.code, 0, "{erased:?}");
    let cites =
        "select count(*) from predictions where evidence @> jsonb_build_array(jsonb_build_object('text', $1::text))";
    let cites = async |text: &str| sqlx::query_scalar::<_, i64>(cites).bind(text).fetch_one(&pool).await.unwrap();
    assert_eq!((cites("CAB RIDE 7").await, cites("CAB RIDE 1500").await, cites("CAB RIDE 1501").await), (0, 0, 1));
    assert!(cites("erased").await > 1000);
    pool.close().await;
}

#[tokio::test]
async fn what_was_noted_of_an_audited_row_goes_with_it() {
    let (store, database) = fresh_store().await;
    let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
    store.sync_taxonomy(&taxonomy, clock::now()).await.unwrap();
    let lineup = App::scripted(&taxonomy);
    let app = App::answering(store, database, taxonomy, lineup, 1.0).await;
    app.ingest(&[with(row("tx-gone-1", "SURE COFFEE"), json!({ "account_id": "acc-gone-77" }))]).await;
    app.post("/v1/reviews/claims", &json!({ "lane": "audit" })).await.with(200);
    let hard = json!({ "group": "audit:tx-gone-1", "note": "ask the tenant" });
    app.post("/v1/reviews/escalations", &hard).await.with(204);
    app.send(app.request("DELETE", "/v1/accounts/acc-gone-77")).await.with(200);
    let after = dump(&app);
    for needle in ["tx-gone-1", "ask the tenant"] {
        assert_eq!(found(&after, needle), None, "{needle} is still there");
    }
    let trail = app.get("/v1/reviews/decisions").await.with(200);
    assert_eq!(trail["actions"][0]["kind"], "escalate", "that somebody left it to others stays");
}

#[tokio::test]
async fn an_export_has_all_of_an_account_and_nothing_of_another() {
    let app = lived_in().await;
    let export = app.get("/v1/accounts/acc-gone-77/export").await.with(200);
    let text = export.to_string();
    for needle in TELLING {
        assert!(text.contains(needle), "{needle}");
    }
    assert!(!text.contains("acc-kept") && !text.contains("tx-kept"), "{text}");
    let count = |of: &str| export[of].as_array().unwrap().len();
    assert_eq!((count("transactions"), count("corrections"), count("rules"), count("groups")), (4, 3, 1, 1));
    assert!(count("predictions") >= 4 && count("dataset_items") == 2);
    assert_eq!((count("shadow_predictions"), count("eval_items")), (1, 1));
    for other in ["second_labels", "recategorization_changes", "recategorization_labels", "recategorization_failures"] {
        assert!(export[other].is_array(), "{other}");
    }
    app.get("/v1/accounts/nobody/export").await.with(404);

    let printed = txcat(&["accounts", "export", "acc-gone-77"]).on(&app.database.url).run().json();
    assert_eq!(printed, export);
}

/// What `txcat retention` says of a file with this text.
fn retain(app: &App, text: &str) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().join("keep.toml");
    fs::write(&keep, text).unwrap();
    txcat(&["retention", "--json", "--keep"]).arg(&keep).on(&app.database.url).run()
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_goes_and_the_rest_stays() {
    let app = lived_in().await;
    let recent =
        with(row("tx-new", "COFFEE"), json!({ "posted_at": (clock::now() - TimeDelta::days(2)).to_rfc3339() }));
    app.ingest(&[recent]).await;
    // Answers kept for idempotency keys, one of them for more than a day.
    for key in ["old", "new"] {
        let asked = app.request("POST", "/v1/transactions").header("idempotency-key", key);
        app.send(asked.json(&json!({ "transactions": [] }))).await;
    }
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let aged = "update idempotent_answers set begun_at = begun_at - interval '25 hours'
        where begun_at = (select min(begun_at) from idempotent_answers)";
    assert_eq!(sqlx::query(aged).execute(&pool).await.unwrap().rows_affected(), 1);
    let aged = "set session_replication_role = replica;
        update events set at = at - interval '2 days';
        update eval_runs set started_at = started_at - interval '2 days';
        update shadow_predictions set made_at = made_at - interval '2 days';
        set session_replication_role = default";
    sqlx::raw_sql(aged).execute(&pool).await.unwrap();
    pool.close().await;
    let told = retain(&app, "key_usage = 400").json();
    let answers = told["tables"].as_array().unwrap().iter().find(|told| told["table"] == "idempotent_answers");
    assert_eq!(answers.unwrap()["dropped"], 1, "{told}");
    let told = retain(&app, "transactions = 30\nevents = 1\neval_items = 1\nshadow_predictions = 1").json();
    let dropped = |table: &str| {
        let tables = told["tables"].as_array().unwrap();
        tables.iter().find(|told| told["table"] == table).unwrap()["dropped"].as_u64().unwrap()
    };
    assert_eq!((dropped("transactions"), dropped("eval_items")), (6, 1));
    assert_eq!(dropped("key_usage"), 0);
    assert_eq!(dropped("idempotent_answers"), 0, "all are younger than a day");
    let again = app.request("POST", "/v1/transactions").header("idempotency-key", "new");
    let again = app.send(again.json(&json!({ "transactions": [] }))).await;
    assert!(again.headers.contains_key("idempotency-replayed"), "{again:?}");
    assert_eq!(app.count().await, 1);
    app.get("/v1/transactions/tx-new").await.with(200);
    let events = app.get("/v1/events").await.with(200);
    let last = events["events"].as_array().unwrap();
    assert!(last.len() <= 1, "{events}");
    // The next event has its place after the last one that was told.
    let said = json!({ "category": "supermarket", "scope": "transaction" });
    app.post("/v1/transactions/tx-new/correction", &said).await.with(200);
    let events = app.get("/v1/events").await.with(200)["events"].as_array().unwrap().clone();
    assert!(events.last().unwrap()["id"].as_i64() > last.last().and_then(|event| event["id"].as_i64()));

    for wrong in ["transactoins = 30", "transactions = 0"] {
        let said = retain(&app, wrong).refused(1);
        assert!(said.contains("does not say how many days"), "{wrong}: {said}");
    }
}

#[tokio::test]
async fn events_go_after_ninety_days_once_every_endpoint_has_them() {
    let mut app = App::start().await;
    let key = app.make_key("backend", &[Scope::Admin], None).await;
    app.use_key(&key);
    let rows: Vec<Value> = (1..=6).map(|n| row(&format!("t{n}"), "CORNER PLACE")).collect();
    app.ingest(&rows).await;
    for n in 1..=6 {
        let said = json!({ "category": "supermarket", "scope": "transaction" });
        app.post(&format!("/v1/transactions/t{n}/correction"), &said).await.with(200);
    }
    let places = async || {
        let feed = app.get("/v1/events").await.with(200);
        feed["events"].as_array().unwrap().iter().map(|event| event["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(places().await, [1, 2, 3, 4, 5, 6]);
    // Five are a hundred days old, and one endpoint has taken three.
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let aged = "set session_replication_role = replica;
        update events set at = at - interval '100 days' where id < 6;
        set session_replication_role = default";
    sqlx::raw_sql(aged).execute(&pool).await.unwrap();
    pool.close().await;
    let endpoint = json!({ "url": "https://backend.example/hook", "after": 3 });
    let endpoint = app.post("/v1/webhooks", &endpoint).await.with(201)["id"].clone();
    let dropped = |text: &str| {
        let told = retain(&app, text).json();
        let events = told["tables"].as_array().unwrap().iter().find(|told| told["table"] == "events").unwrap().clone();
        (events["days"].clone(), events["dropped"].clone())
    };
    assert_eq!(dropped("events = 120"), (json!(120), json!(0)));
    assert_eq!(dropped("key_usage = 90"), (json!(90), json!(3)), "what the endpoint has not taken stays");
    assert_eq!(places().await, [4, 5, 6]);
    app.send(app.request("DELETE", &format!("/v1/webhooks/{endpoint}"))).await.with(204);
    assert_eq!(dropped("key_usage = 90"), (json!(90), json!(2)));
    assert_eq!(places().await, [6]);
}
