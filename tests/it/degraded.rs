//! What is survived: a full disk, a clock that jumps, a merchant directory that is empty, and a table that is gone.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf, process::Command};

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use txcat::{
    access::{Access, Error, KeyLimits, Role, Scope},
    clock,
    enrich::Enricher,
};

use crate::{
    database::fresh_store,
    desk::person,
    doctor::{doctor, finding},
    harness::{App, row, work},
    jobs::{queue, until, waiting_preview},
};

/// A place for tables that holds a few megabytes. It is taken away when dropped, and whatever is in it must be gone by then.
struct Small {
    folder: PathBuf,
    name: String,
    admin_url: String,
}

impl Small {
    /// None where nothing can be mounted, which is said.
    async fn make(url: &str) -> Option<Self> {
        let name = format!("small_{}", std::process::id());
        let folder = std::env::temp_dir().join(format!("txcat-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&folder).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("NOT TESTED on a disk that is really full: nothing can be mounted here");
            return None;
        }
        let mut connection = PgConnection::connect(url).await.unwrap();
        let data: String = sqlx::query_scalar("show data_directory").fetch_one(&mut connection).await.unwrap();
        let data = std::fs::metadata(data).unwrap();
        let within = folder.join("tables");
        std::fs::create_dir(&within).unwrap();
        for path in [&folder, &within] {
            std::os::unix::fs::chown(path, Some(data.uid()), Some(data.gid())).unwrap();
        }
        let (server, _) = url.rsplit_once('/').unwrap();
        let options = url.split_once('?').map_or(String::new(), |(_, options)| format!("?{options}"));
        let small = Self { folder, name, admin_url: format!("{server}/postgres{options}") };
        let make = format!("create tablespace {} location '{}'", small.name, within.display());
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Some(small)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let (name, url) = (self.name.clone(), self.admin_url.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                let gone = sqlx::raw_sql(AssertSqlSafe(format!("drop tablespace {name}")));
                gone.execute(&mut connection).await.unwrap();
            });
        });
        let _ = dropped.join();
        let _ = Command::new("umount").arg(&self.folder).status();
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Writes are refused so that they may be tried again, and reads go on.
async fn full(app: &App) {
    let refused = app.post("/v1/transactions", &json!({ "transactions": [row("later", "COFFEE")] })).await;
    assert_eq!(refused.headers.get("retry-after").map(|wait| wait.to_str().unwrap()), Some("1"), "{}", refused.body);
    let problem = refused.with(503);
    assert_eq!(problem["type"], "urn:txcat:problem:database-unavailable");
    app.get("/v1/transactions/kept").await.with(200);
    app.get("/v1/transactions/later").await.with(404);
    app.get("/review").await.with(200);
}

#[tokio::test]
async fn a_write_that_finds_no_room_is_refused_with_when_to_come_again() {
    let app = App::start().await;
    app.ingest(&[row("kept", "COFFEE")]).await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let fill = "create function no_room() returns trigger language plpgsql as
            $$ begin raise exception 'could not extend file: No space left on device' using errcode = 'disk_full'; end $$;
        create trigger no_room before insert on transactions for each statement execute function no_room();";
    sqlx::raw_sql(fill).execute(&pool).await.unwrap();
    full(&app).await;
    // An answer like this is not kept for an idempotency key.
    let body = json!({ "transactions": [row("keyed", "COFFEE")] });
    let keyed =
        async || app.send(app.request("POST", "/v1/transactions").header("idempotency-key", "k").json(&body)).await;
    keyed().await.with(503);
    sqlx::raw_sql("drop trigger no_room on transactions").execute(&pool).await.unwrap();
    keyed().await.with(200);
    assert_eq!(app.count().await, 2);
    pool.close().await;
}

#[tokio::test]
async fn a_disk_that_is_really_full_loses_nothing_and_is_good_again_with_room() {
    let app = App::start().await;
    let Some(small) = Small::make(&app.database.url).await else { return };
    app.ingest(&[row("kept", "COFFEE")]).await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let moved = format!("alter table transactions set tablespace {}", small.name);
    sqlx::raw_sql(AssertSqlSafe(moved)).execute(&pool).await.unwrap();
    // Rows that no page has room for, until nothing fits any more.
    let table = format!("create table filler (content bytea) tablespace {}", small.name);
    sqlx::raw_sql(AssertSqlSafe(table)).execute(&pool).await.unwrap();
    sqlx::raw_sql("alter table filler alter column content set storage plain").execute(&pool).await.unwrap();
    let fill = "insert into filler select decode(repeat('ab', 4000), 'hex') from generate_series(1, $1)";
    for rows in [512, 256, 128, 64, 32, 16, 8, 4, 2, 1] {
        while sqlx::query(fill).bind(rows).execute(&pool).await.is_ok() {}
    }
    // What is left in the table's own pages takes a few rows yet.
    let mut taken = 0;
    loop {
        let answer =
            app.post("/v1/transactions", &json!({ "transactions": [row(&format!("fits-{taken}"), "COFFEE")] })).await;
        if answer.status != 200 {
            break;
        }
        taken += 1;
        assert!(taken < 200, "it is never full");
    }
    full(&app).await;
    sqlx::raw_sql("drop table filler").execute(&pool).await.unwrap();
    let stored = app.ingest(&[row("later", "COFFEE")]).await;
    assert_eq!(stored[0]["status"], "ok");
    assert_eq!(app.count().await, taken + 2);
    pool.close().await;
    drop(app);
    drop(small);
}

#[tokio::test]
async fn a_clock_that_jumps_a_day_locks_nobody_in_or_out_for_good() {
    let app = App::start().await;
    let key = person(&app, "anna", Role::Analyst).await;
    let access = Access::new(app.store.clone(), app.address, clock::now()).await.unwrap();
    let random = &mut <rand_chacha::ChaCha20Rng as rand::SeedableRng>::from_os_rng();
    let now = clock::now();
    let day = TimeDelta::days(1);
    // Forward: the session is over, and she signs in again. Back: both hold, and signing in goes on.
    let first = access.sign_in(&key, random, now).await.unwrap();
    assert!(access.session(first.reveal(), now - day).await.is_ok());
    assert!(matches!(access.session(first.reveal(), now + day).await, Err(Error::InvalidKey)));
    let second = access.sign_in(&key, random, now + day).await.unwrap();
    assert!(access.session(second.reveal(), now + day).await.is_ok());
    let third = access.sign_in(&key, random, now).await.unwrap();
    for session in [&second, &third] {
        assert!(access.session(session.reveal(), now).await.is_ok());
    }
    // Wrong keys that were tried on a clock that ran ahead lock nobody once it is right, and those tried then do.
    let wrong = format!("{}{}", &key[..key.len() - 4], if key.ends_with("0000") { "1111" } else { "0000" });
    for _ in 0..5 {
        access.sign_in(&wrong, random, now + day).await.unwrap_err();
    }
    assert!(matches!(access.sign_in(&key, random, now + day).await, Err(Error::Locked { .. })));
    access.sign_in(&key, random, now).await.unwrap();
    for _ in 0..5 {
        access.sign_in(&wrong, random, now).await.unwrap_err();
    }
    assert!(matches!(access.sign_in(&key, random, now).await, Err(Error::Locked { .. })));
    access.sign_in(&key, random, now + day).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_jumps_a_day_gives_nobody_more_than_the_limit_of_each_day() {
    let app = App::start().await;
    let limits = KeyLimits { requests_per_minute: 3.try_into().ok(), rows_per_day: 5.try_into().ok() };
    let key = app.make_limited_key("few", &[Scope::Ingest], None, limits).await;
    let access = Access::new(app.store.clone(), app.address, clock::now()).await.unwrap();
    let now = clock::now();
    let caller = access.authenticate(Some(&format!("Bearer {key}")), now).await.unwrap();
    for (days, rows, fits) in
        [(0, 4, true), (0, 2, false), (1, 5, true), (1, 1, false), (0, 1, true), (0, 1, false), (-1, 5, true)]
    {
        let used = access.use_rows(&caller, rows, now + TimeDelta::days(days)).await;
        assert_eq!(used.is_ok(), fits, "{rows} rows, day {days}");
    }
    // Requests a minute are counted on a clock that only runs: whatever the time of day is taken for.
    let counted: Vec<bool> = [0, 1, -1, 1]
        .map(|days| {
            let _ = now + TimeDelta::days(days);
            access.count(&caller).is_ok()
        })
        .to_vec();
    assert_eq!(counted, [true, true, true, false]);
}

#[tokio::test]
async fn a_request_that_died_on_a_clock_that_ran_ahead_may_come_again() {
    let app = App::start().await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let body = json!({ "transactions": [row("t1", "COFFEE")] });
    let keyed =
        async || app.send(app.request("POST", "/v1/transactions").header("idempotency-key", "k").json(&body)).await;
    keyed().await.with(200);
    let move_on = async |set: &str| {
        let sql = format!("update idempotent_answers set {set}");
        sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    };
    move_on("begun_at = begun_at + interval '1 day'").await;
    assert_eq!(keyed().await.headers["idempotency-replayed"], "true", "an answer is an answer");
    move_on("status = null, content_type = null, answer = null").await;
    let again = keyed().await;
    assert!(!again.headers.contains_key("idempotency-replayed"));
    again.with(200);
    assert_eq!(app.count().await, 1);
    pool.close().await;
}

#[tokio::test]
async fn a_dead_worker_s_job_is_taken_up_also_where_its_heartbeat_is_yet_to_come() {
    for jump in ["1 day", "-1 day"] {
        let (stand, pipeline, run) = waiting_preview().await;
        // As a worker leaves it that was killed, before the clock jumped the other way.
        let died = format!(
            "with dead as (
                insert into graphile_worker._private_workers (id, last_heartbeat_at, started_at, metadata)
                values ('dead', now() + interval '{jump}', now() + interval '{jump}', '{{}}')
                returning id
            ), held as (
                update graphile_worker._private_job_queues set locked_by = 'dead', locked_at = now() + interval '{jump}'
                returning id
            )
            update graphile_worker._private_jobs set locked_by = 'dead', locked_at = now() + interval '{jump}'
            returning locked_by"
        );
        assert_eq!(stand.text(died.leak()).await, "dead");
        let worker = work(&stand.store, &pipeline, 1);
        until(async || stand.report(run).await.phase.as_str() == "previewed").await;
        until(async || queue(&stand.store).await.is_empty()).await;
        drop(worker);
    }
}

#[tokio::test]
async fn without_a_merchant_directory_rows_are_categorized_by_the_merchants_known_before() {
    let app = App::start().await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let merchant = async |id: &str| -> Value {
        app.ingest(&[row(id, "STARBUCKS STORE 1234")]).await;
        app.get(&format!("/v1/transactions/{id}")).await.with(200)["merchant"].clone()
    };
    let before = merchant("before").await;
    sqlx::query("delete from table_versions where table_name = 'merchants'").execute(&pool).await.unwrap();
    assert_eq!(merchant("gone").await, before);
    // So does a service that begins now.
    Enricher::open(app.store.clone()).await.unwrap();
    // There again, and empty: a row without a merchant is a row all the same.
    let back = "insert into table_versions (table_name, version) values ('merchants', 9)";
    sqlx::query(back).execute(&pool).await.unwrap();
    assert_eq!(merchant("empty").await, Value::Null);
    pool.close().await;
}

#[tokio::test]
async fn a_database_that_lacks_a_table_is_told_of_and_good_again_with_it() {
    let app = App::start().await;
    app.ingest(&[row("kept", "COFFEE")]).await;
    let pool = PgPool::connect(&app.database.url).await.unwrap();
    let change = async |sql: &'static str| sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    change("alter table merchants rename to elsewhere").await;
    let sent = json!({ "transactions": [row("refused", "COFFEE")] });
    let refused = app.post("/v1/transactions", &sent).await;
    assert_eq!(refused.headers["retry-after"], "1");
    let problem = refused.with(503);
    assert_eq!(problem["type"], "urn:txcat:problem:database-incomplete");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("txcat doctor") && !problem.to_string().contains("merchants"), "{problem}");
    app.get("/v1/transactions/kept").await.with(503);
    let readiness = app.get("/readyz").await.with(503);
    assert_eq!(readiness, json!({ "database": "ok", "schema": "failing", "engine": "ok", "taxonomy": "ok" }));

    change("alter table account_rules rename column category to elsewhere").await;
    let (well, told) = doctor(&app.database.url, "127.0.0.1:8080");
    assert!(!well);
    assert_eq!(finding(&told, "schema"), ("wrong", "without account_rules.category, merchants"));
    assert!(told.to_string().contains("restore what is missing from a backup"), "{told}");

    change("alter table account_rules rename column elsewhere to category").await;
    change("alter table elsewhere rename to merchants").await;
    for _ in 0..2 {
        assert_eq!(app.post("/v1/transactions", &sent).await.with(200)["results"][0]["status"], "ok");
    }
    assert_eq!(app.count().await, 2);
    until(async || app.get("/readyz").await.status == 200).await;
    assert_eq!(finding(&doctor(&app.database.url, "127.0.0.1:8080").1, "schema"), ("ok", "up to date"));
    pool.close().await;
}

#[tokio::test]
async fn a_schema_that_a_newer_version_has_taken_on_is_not_held_to_this_one_s_columns() {
    let (store, database) = fresh_store().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    sqlx::raw_sql("alter table merchants drop column wikidata").execute(&pool).await.unwrap();
    assert_eq!(store.schema_condition().await.unwrap().missing, ["merchants.wikidata"]);
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (9999, 'takes away what no version in use asks for', true, '', 0)";
    sqlx::raw_sql(newer).execute(&pool).await.unwrap();
    let schema = store.schema_condition().await.unwrap();
    assert!(schema.is_whole() && schema.newer_migrations == 1, "{schema:?}");
    pool.close().await;
}
