//! `txcat import` as its own process: counts, rejects, and what a kill in the middle leaves.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use txcat::store::Store;

use crate::{
    database::{TestDatabase, fresh_database},
    harness::{Run as _, txcat},
};

fn import(database: &TestDatabase, file: &Path, arguments: &[&str]) -> Command {
    let mut command = txcat(&["import"]);
    command.arg(file).args(["--no-categorize", "--json"]).args(arguments).on(&database.url);
    command
}

async fn stored(database: &TestDatabase) -> (i64, i64) {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let counted = sqlx::query_as("select (select count(*) from transactions), (select count(*) from corrections)")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_killed_in_the_middle_and_run_again_stores_every_row_once() {
    const ROWS: i64 = 60_000;
    let database = fresh_database().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.csv");
    let mut text = "id,posted_on,account_id,descriptor,amount,direction,currency,category\n".to_owned();
    for row in 0..ROWS {
        let label = if row % 3 == 0 { "salary" } else { "" };
        writeln!(
            text,
            "r{row},2024-01-{:02},a{},SHOP {},{row}.25,debit,EUR,{label}",
            1 + row % 28,
            row % 50,
            row % 700
        )
        .unwrap();
    }
    std::fs::write(&file, text).unwrap();

    let mut command = import(&database, &file, &["--labels", "category"]);
    let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while stored(&database).await.0 < 3_000 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing was imported");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success(), "it was killed before its end");
    let (before, _) = stored(&database).await;
    assert!((3_000..ROWS).contains(&before), "{before}");

    let again = import(&database, &file, &["--labels", "category"]).run().json();
    // What the killed process had begun may have been committed after the count above.
    let (new, known) = (again["new"].as_i64().unwrap(), again["known"].as_i64().unwrap());
    assert_eq!(new + known, ROWS);
    assert!(known >= before && new > 0, "{again}");
    assert_eq!(stored(&database).await, (ROWS, ROWS / 3));

    let third = import(&database, &file, &["--labels", "category"]).run().json();
    assert_eq!(
        (third["new"].as_i64(), third["known"].as_i64(), third["labels"].as_i64()),
        (Some(0), Some(ROWS), Some(0))
    );
    assert_eq!(stored(&database).await, (ROWS, ROWS / 3));
    assert!(!dir.path().join("rows.csv.rejects.jsonl").exists(), "nothing was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_fail_are_listed_with_line_and_reason_and_the_others_are_stored() {
    let database = fresh_database().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bank.csv");
    let header = "Booked,Card,Merchant,Value,Kind\n";
    let rows = "2024-03-01,c1,Corner Bakery,-4.20,salary\n\
                2024-03-02,c1,Corner Bakery,12.00,\n\
                2024-13-02,c1,Corner Bakery,12.00,\n\
                2024-03-02,c1,,12.00,\n\
                2024-03-02,c1,Corner Bakery,twelve,\n\
                2024-03-02,c1,Corner Bakery,1.00,no_such_category\n\
                2024-03-02,c1,Corner Bakery, Main Street,1.00,salary\n\
                -9999-03-02,c1,Corner Bakery,1.00,\n";
    std::fs::write(&file, format!("{header}{rows}")).unwrap();
    let map = ["--map", "posted_at=Booked", "--map", "account_id=Card", "--map", "descriptor=Merchant", "--map"];
    let missing = [&map[..], &["amount=Value"]].concat();
    let said = import(&database, &file, &missing).run().refused(1);
    assert!(said.contains("no column for currency, direction, id"), "{said}");

    let rest = ["amount=Value", "--currency", "EUR", "--direction", "by-sign", "--id-from-row", "--labels", "Kind"];
    let all = [&map[..], &rest].concat();
    let first = import(&database, &file, &all).run().json();
    assert_eq!((first["new"].as_i64(), first["rejected"].as_i64()), (Some(2), Some(6)), "{first}");
    let rejects = std::fs::read_to_string(dir.path().join("bank.csv.rejects.jsonl")).unwrap();
    let fields: Vec<(u64, String)> = rejects
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|reject| (reject["line"].as_u64().unwrap(), reject["field"].as_str().unwrap_or_default().to_owned()))
        .collect();
    // One has a separator too many: which field is at fault can't be told. Postgres has no such year as the last.
    let expected = [(4, "posted_at"), (5, "descriptor"), (6, "amount"), (7, "label"), (8, ""), (9, "posted_at")];
    assert_eq!(fields, expected.map(|(line, field)| (line, field.to_owned())));
    let told = |place: usize| {
        let reject: serde_json::Value = serde_json::from_str(rejects.lines().nth(place).unwrap()).unwrap();
        [&reject["column"], &reject["reason"]].map(|member| member.as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(told(0)[0], "Booked");
    assert!(told(0)[1].starts_with("must be a date (2026-03-14) or an RFC 3339 time"), "{rejects}");
    assert_eq!(told(2), ["Value", "must be a decimal such as 12.50"].map(str::to_owned));
    assert_eq!(told(3), ["Kind", "is no category of the taxonomy"].map(str::to_owned));
    let second = import(&database, &file, &all).run().json();
    assert_eq!((second["new"].as_i64(), second["known"].as_i64()), (Some(0), Some(2)), "an id is made of the row");
    let most = |share: &str| import(&database, &file, &[&all[..], &["--max-rejected", share]].concat()).run();
    assert_eq!(most("0.75").json()["rejected"], 6);
    let said = most("0.7");
    assert!(said.err.contains("6 of 8 rows can't be taken, more than the share of 0.7 that may"), "{}", said.err);
    said.refused(1);
    import(&database, &file, &["--map", "colour=Card"]).run().refused(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_files_name_and_header_leave_open_is_refused() {
    let database = fresh_database().await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let said = import(&database, &file("arr.json", "[]"), &[]).run().refused(1);
    assert!(said.contains("arr.json must be .csv, .jsonl or .ndjson"), "{said}");
    let twice = "id,posted_on,account_id,descriptor,amount,direction,currency,id\n\
                 a1,2024-03-01,c1,Bakery,4.20,debit,EUR,b1\n";
    let said = import(&database, &file("twice.csv", twice), &[]).run().refused(1);
    assert!(said.contains("more than one column named id"), "{said}");
    let lines = "{\"id\":\"j1\",\"amount\":\"1,50\"}\n[1]\n";
    let file = file("rows.jsonl", lines);
    assert_eq!(import(&database, &file, &[]).run().json()["rejected"], 2);
    let rejects = std::fs::read_to_string(dir.path().join("rows.jsonl.rejects.jsonl")).unwrap();
    let expected = "{\"line\":1,\"id\":\"j1\",\"field\":\"amount\",\"reason\":\"must be a decimal such as 12.50\"}\n\
                    {\"line\":2,\"reason\":\"must be a JSON object\"}\n";
    assert_eq!(rejects, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_end_with_a_lone_carriage_return_are_rows_of_their_own() {
    let database = fresh_database().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("old.csv");
    let rows = "posted_on,account_id,descriptor,amount,direction,currency\r\
                2024-03-01,c1,Bakery,4.20,debit,EUR\r2024-03-01,c1,Bakery,4.20,debit,EUR\r2024-03-01,c1,,1,debit,EUR\r";
    std::fs::write(&file, rows).unwrap();
    let done = import(&database, &file, &["--id-from-row"]).run().json();
    assert_eq!((done["new"].as_i64(), done["rejected"].as_i64()), (Some(2), Some(1)), "{done}");
    let rejects = std::fs::read_to_string(dir.path().join("old.csv.rejects.jsonl")).unwrap();
    let reject: serde_json::Value = serde_json::from_str(rejects.trim()).unwrap();
    assert_eq!((reject["line"].as_u64(), reject["field"].as_str()), (Some(4), Some("descriptor")));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_are_read_like_csv_gzip_or_not() {
    let database = fresh_database().await;
    let dir = tempfile::tempdir().unwrap();
    let lines = r#"{"id":"j1","posted_at":"2024-03-01T10:00:00+01:00","account_id":"a","descriptor":"SHOP","amount":"1.10","currency":"EUR","direction":"debit","extra":[1]}

{"id":"j2","posted_at":"2024-03-01","account_id":"a","descriptor":"SHOP","amount":1.1,"currency":"EUR","direction":"credit"}
not json
{"id":"j1","posted_at":"2024-03-01","account_id":"a","descriptor":"SHOP","amount":9,"currency":"EUR","direction":"debit"}
"#;
    let plain = dir.path().join("rows.jsonl");
    std::fs::write(&plain, lines).unwrap();
    let first = import(&database, &plain, &[]).run().json();
    let count = |counts: &serde_json::Value, name: &str| counts[name].as_u64().unwrap();
    assert_eq!((count(&first, "new"), count(&first, "conflicting"), count(&first, "rejected")), (2, 1, 1));
    let zipped = dir.path().join("rows.jsonl.gz");
    let mut gz = flate2::write::GzEncoder::new(std::fs::File::create(&zipped).unwrap(), flate2::Compression::fast());
    std::io::copy(&mut lines.as_bytes(), &mut gz).unwrap();
    gz.finish().unwrap();
    let second = import(&database, &zipped, &[]).run().json();
    assert_eq!((count(&second, "new"), count(&second, "known"), count(&second, "conflicting")), (0, 2, 1));

    // A gzip file that ends too early is an error, not a short file.
    let whole = std::fs::read(&zipped).unwrap();
    std::fs::write(&zipped, &whole[..whole.len() - 20]).unwrap();
    import(&database, &zipped, &[]).run().refused(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_goes_along_to_the_row_that_takes_its_rows_place_in_one_batch_as_in_two() {
    let header = "id,posted_on,account_id,descriptor,amount,direction,currency,status,replaces,category\n";
    let pending = "p,2024-03-01,a,SHOP,1.00,debit,EUR,pending,,salary\n\
                   r,2024-03-01,a,STALL,2.00,debit,EUR,pending,,salary\n";
    let posted = "q,2024-03-02,a,SHOP,1.10,debit,EUR,posted,p,\n\
                  s,2024-03-02,a,STALL,2.10,debit,EUR,posted,r,fast_food\n";
    for files in
        [vec![format!("{header}{pending}{posted}")], vec![format!("{header}{pending}"), format!("{header}{posted}")]]
    {
        let database = fresh_database().await;
        let dir = tempfile::tempdir().unwrap();
        let mut labels = 0;
        for (number, text) in files.iter().chain(files.last()).enumerate() {
            let file = dir.path().join(format!("{number}.csv"));
            std::fs::write(&file, text).unwrap();
            labels += import(&database, &file, &["--labels", "category"]).run().json()["labels"].as_u64().unwrap();
        }
        assert_eq!(labels, 3, "of {} files", files.len());
        let store = Store::connect(&database.url, 2).await.unwrap();
        for (id, category) in [("q", "salary"), ("s", "fast_food")] {
            let view = store.views(&[id.parse().unwrap()]).await.unwrap().remove(0).unwrap();
            let held = view.in_force.map(|held| format!("{} by {}", held.category, held.decided_by));
            assert_eq!(held, Some(format!("{category} by import")), "{id} of {} files", files.len());
        }
        store.close().await;
    }
}
