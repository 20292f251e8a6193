//! What the README says of backup and point-in-time recovery, rehearsed on a Postgres of its own.

use std::{fmt::Write as _, fs};

use sqlx::{Connection as _, PgConnection};

use crate::{
    doctor::{doctor, finding},
    harness::{Run as _, Server, txcat},
};

/// Stores so many rows whose ids begin so, and makes a key of that name, which the audit log tells of.
fn live(url: &str, time: &str, rows: usize) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.csv");
    let mut text = "id,posted_on,account_id,descriptor,amount,direction,currency\n".to_owned();
    for row in 0..rows {
        writeln!(text, "{time}-{row},2026-03-14,acc-{},SHOP {row},6.50,debit,EUR", row % 7).unwrap();
    }
    fs::write(&file, text).unwrap();
    txcat(&["import", file.to_str().unwrap(), "--no-categorize"]).on(url).run().ok();
    txcat(&["keys", "create", "--name", time, "--scope", "read"]).on(url).run().ok();
}

async fn asked(url: &str, query: &'static str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let answer = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    answer
}

async fn rows_by_time(url: &str) -> String {
    let query = "select string_agg(time || ' ' || rows, ', ' order by time)
        from (select split_part(id, '-', 1) as time, count(*) as rows from transactions group by 1) as counted";
    asked(url, query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_brought_back_to_a_moment_between_two_writes() {
    let server = Server::start_with(|folder| {
        let archive = folder.join("archive");
        let archive = archive.display();
        // Moved into place, so that what has the name is whole.
        let copy = format!("test ! -f {archive}/%f && cp %p {archive}/%f.part && mv {archive}/%f.part {archive}/%f");
        format!("archive_mode = on\narchive_command = 'mkdir -p {archive} && {copy}'")
    })
    .await;
    let url = server.url();
    live(&url, "first", 40);
    let backup = server.back_up("base");
    live(&url, "second", 30);
    let moment = asked(&url, "select clock_timestamp()::text").await;
    live(&url, "third", 20);
    // What is not archived yet is not in the archive: a deployment has `archive_timeout` for that.
    let last = asked(&url, "select pg_walfile_name(pg_switch_wal())").await;
    while !server.folder().join("archive").join(&last).exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(rows_by_time(&url).await, "first 40, second 30, third 20");

    let archive = server.folder().join("archive");
    let restored = Server::restored(
        &backup,
        &format!(
            "archive_mode = off\nrestore_command = 'cp {}/%f %p'\nrecovery_target_time = '{moment}'\n\
             recovery_target_action = 'promote'",
            archive.display(),
        ),
    )
    .await;
    let url = restored.url();
    // It answers before it has come to the moment, and takes writes when it has.
    while asked(&url, "select pg_is_in_recovery()::text").await == "true" {
        tokio::task::yield_now().await;
    }
    assert_eq!(rows_by_time(&url).await, "first 40, second 30");
    let (_, told) = doctor(&url, "127.0.0.1:8080");
    assert_eq!((finding(&told, "schema").0, finding(&told, "audit log").0), ("ok", "ok"), "{told}");

    // Life goes on from there, and the chain with it.
    let keys = txcat(&["keys", "list"]).on(&url).run().ok();
    assert!(keys.contains("first") && keys.contains("second") && !keys.contains("third"), "{keys}");
    live(&url, "after", 10);
    assert_eq!(rows_by_time(&url).await, "after 10, first 40, second 30");
    let log = txcat(&["audit", "list"]).on(&url).run().ok();
    assert!(log.contains("after") && !log.contains("third"), "{log}");
    txcat(&["audit", "verify"]).on(&url).run().ok();
}
