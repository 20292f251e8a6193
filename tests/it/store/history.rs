use chrono::TimeDelta;
use txcat::{
    domain::{CorrectionScope, HistoryEntry, Transaction, UserHistory, enrichment::HISTORY_WINDOW},
    store::{ImportedLabel, Store},
};

use super::{correction, hour, id, pending, replacing, row, slug};
use crate::database::fresh_store;

/// What `history` promises, said plainly: for each row, everything before it in its account.
fn plain(all: &[Transaction], at: &Transaction) -> Vec<(chrono::DateTime<chrono::Utc>, String)> {
    let mut earlier: Vec<_> = all
        .iter()
        .filter(|row| row.account_id == at.account_id && (row.posted_at, &row.id) < (at.posted_at, &at.id))
        .collect();
    earlier.sort_by(|a, b| (a.posted_at, &a.id).cmp(&(b.posted_at, &b.id)));
    let start = earlier.len().saturating_sub(HISTORY_WINDOW);
    earlier[start..].iter().map(|row| (row.posted_at, row.descriptor.key().as_str().to_owned())).collect()
}

fn seen(entries: &[HistoryEntry]) -> Vec<(chrono::DateTime<chrono::Utc>, String)> {
    entries.iter().map(|entry| (entry.posted_at, entry.key.as_str().to_owned())).collect()
}

async fn labels(store: &Store, at: &Transaction) -> Vec<Option<String>> {
    let history = store.history(std::slice::from_ref(at)).await.unwrap().remove(0);
    history.into_iter().map(|entry| entry.label.map(|label| label.category.to_string())).collect()
}

#[tokio::test]
async fn a_batch_sees_what_each_of_its_rows_would_see_alone() {
    let (store, _database) = fresh_store().await;
    // Accounts of very different size, several rows at one time, names whose order depends on the collation.
    let names = ["a", "B", "c d", "É", "-x"];
    let rows: Vec<Transaction> = (0..900)
        .map(|n: i64| {
            let account = ["big", "big", "big", "middle", "small"][(n * 7 % 5) as usize];
            let account = if account == "small" { format!("small{}", n % 50) } else { account.to_owned() };
            let id = format!("{}{n}", names[(n % 5) as usize]);
            row(&id, &account, n * 37 % 300, ["COFFEE BAR", "HARDWARE", "PHARMACY"][(n % 3) as usize])
        })
        .collect();
    store.ingest(&rows, hour(9)).await.unwrap();
    // Some that are stored, in any order, some twice, and some that are not (yet).
    let mut batch: Vec<Transaction> = rows.iter().step_by(13).rev().cloned().collect();
    batch.push(row("new", "big", 10_000, "COFFEE BAR"));
    batch.push(row("new2", "nobody", 10, "COFFEE BAR"));
    batch.push(batch[3].clone());
    let histories = store.history(&batch).await.unwrap();
    assert_eq!(histories.len(), batch.len());
    for (at, history) in batch.iter().zip(&histories) {
        assert_eq!(seen(history), plain(&rows, at), "{}", at.id);
        assert_eq!(store.history(std::slice::from_ref(at)).await.unwrap()[0], *history);
    }
    assert_eq!(histories[batch.len() - 3].len(), HISTORY_WINDOW);
    assert!(store.history(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_label_counts_from_when_it_was_known_and_the_latest_known_one_holds() {
    let (store, _database) = fresh_store().await;
    store.ingest(&[row("a", "acc", 0, "SHOP"), row("b", "acc", 1, "SHOP")], hour(9)).await.unwrap();
    let imported = ImportedLabel { transaction_id: id("a"), category: slug("groceries"), known_at: hour(10) };
    store.import_labels(&[imported], "file", hour(50)).await.unwrap();
    store.correct(&correction("a", "fuel", CorrectionScope::Transaction, 20)).await.unwrap().unwrap();
    let at = |hours| row("z", "acc", hours, "SHOP");
    assert_eq!(labels(&store, &at(5)).await, [None, None]);
    assert_eq!(labels(&store, &at(10)).await, [Some("groceries".to_owned()), None]);
    assert_eq!(labels(&store, &at(19)).await, [Some("groceries".to_owned()), None]);
    assert_eq!(labels(&store, &at(20)).await, [Some("fuel".to_owned()), None]);
    let histories = store.history(&[at(30), at(15)]).await.unwrap();
    let folded = UserHistory::fold(&histories[1], &at(15));
    assert_eq!(folded.same_key.latest_label, Some(slug("groceries")));
    assert_eq!(UserHistory::fold(&histories[0], &at(30)).same_key.latest_label, Some(slug("fuel")));
}

#[tokio::test]
async fn a_replaced_row_leaves_the_history_and_its_labels_stay() {
    let (store, _database) = fresh_store().await;
    store.ingest(&[pending("p", "acc", 0, "SHOP")], hour(0)).await.unwrap();
    store.correct(&correction("p", "fuel", CorrectionScope::Transaction, 1)).await.unwrap().unwrap();
    store.ingest(&[replacing("p", row("q", "acc", 2, "SHOP"))], hour(2)).await.unwrap();
    assert_eq!(labels(&store, &row("z", "acc", 10, "SHOP")).await, [Some("fuel".to_owned())]);
}

/// Run by hand: `cargo test --release --test it million -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "fills a million rows to time one query"]
async fn history_among_a_million_rows_takes_milliseconds() {
    let (store, database) = fresh_store().await;
    let pool = sqlx::PgPool::connect(&database.url).await.unwrap();
    sqlx::query(
        "insert into transactions (id, account_id, posted_at, amount, currency, direction, descriptor,
            descriptor_key, status, content_hash, received_at)
         select 'r' || n, 'acc' || (n % 700), '2020-01-01'::timestamptz + n * interval '100 s', 1, 'CAD', 'debit',
            'SHOP ' || n % 5000, 'shop ' || n % 5000, 'posted', sha256(n::text::bytea), now()
         from generate_series(1, 1000000) as n",
    )
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("analyze").execute(&pool).await.unwrap();
    let start = "2020-01-01T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    for (what, accounts) in [("of 700 accounts", 700), ("of one account", 1)] {
        let batch: Vec<Transaction> = (0..1000)
            .map(|n| Transaction {
                posted_at: start + TimeDelta::seconds(100 * 900_000 + n),
                ..row(&format!("new{n}"), &format!("acc{}", n % accounts), 0, "SHOP 1")
            })
            .collect();
        for _ in 0..3 {
            let begun = std::time::Instant::now();
            let histories = store.history(&batch).await.unwrap();
            assert!(histories.iter().all(|history| history.len() == HISTORY_WINDOW));
            println!("1,000 rows {what}: {:?}", begun.elapsed());
        }
    }
    pool.close().await;
}
