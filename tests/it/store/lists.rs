use txcat::{
    domain::{CorrectionScope, ReviewStatus},
    store::{Store, TransactionFilter},
};

use super::{correction, hour, row, said, slug};
use crate::database::fresh_store;

async fn page(store: &Store, filter: &TransactionFilter, limit: u32, between: impl AsyncFn(usize)) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let rows = store.list(filter, after.as_ref(), limit).await.unwrap();
        let Some(last) = rows.last() else { return ids };
        after = Some(last.cursor());
        ids.extend(rows.iter().map(|view| view.transaction.id.to_string()));
        between(ids.len()).await;
    }
}

#[tokio::test]
async fn pages_meet_without_gap_or_overlap_while_rows_come_in() {
    let (store, _database) = fresh_store().await;
    // Ten rows an hour, so that the id has to order rows of one time.
    let rows: Vec<_> = (0..50).map(|n| row(&format!("r{n:02}"), "acc", n / 10, "SHOP")).collect();
    store.ingest(&rows, hour(9)).await.unwrap();
    let expected: Vec<_> = (0..50).rev().map(|n| format!("r{n:02}")).collect();
    let seen = page(&store, &TransactionFilter::default(), 7, async |so_far| {
        // Newer than everything: must not push rows of the pages to come.
        let newer = row(&format!("new{so_far}"), "acc", 1000, "SHOP");
        store.ingest(&[newer], hour(9)).await.unwrap();
    })
    .await;
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn filters_narrow_a_list_each_and_together() {
    let (store, _database) = fresh_store().await;
    let rows: Vec<_> = (0..40)
        .map(|n| {
            row(
                &format!("r{n:02}"),
                ["x", "y"][n % 2],
                n as i64,
                ["COFFEE BAR", "HARDWARE STORE"][usize::from(n >= 20)],
            )
        })
        .collect();
    store.ingest(&rows, hour(9)).await.unwrap();
    let decisions: Vec<_> = (0..30)
        .map(|n| said(&format!("r{n:02}"), if n < 20 { "restaurants" } else { "hardware" }, n as f32 / 30.0))
        .collect();
    store.record(&decisions, hour(9)).await.unwrap();
    store.correct(&correction("r01", "groceries", CorrectionScope::Transaction, 10)).await.unwrap().unwrap();
    let count = async |filter: TransactionFilter| page(&store, &filter, 3, async |_| {}).await.len();
    let all = TransactionFilter::default;
    assert_eq!(count(all()).await, 40);
    assert_eq!(count(TransactionFilter { account_id: Some("x".parse().unwrap()), ..all() }).await, 20);
    assert_eq!(count(TransactionFilter { account_id: Some("z".parse().unwrap()), ..all() }).await, 0);
    assert_eq!(count(TransactionFilter { category: Some(slug("restaurants")), ..all() }).await, 19);
    assert_eq!(count(TransactionFilter { category: Some(slug("groceries")), ..all() }).await, 1);
    assert_eq!(count(TransactionFilter { review_status: Some(ReviewStatus::Pending), ..all() }).await, 14);
    assert_eq!(count(TransactionFilter { review_status: Some(ReviewStatus::Reviewed), ..all() }).await, 1);
    assert_eq!(count(TransactionFilter { review_status: Some(ReviewStatus::Accepted), ..all() }).await, 15);
    assert_eq!(count(TransactionFilter { from: Some(hour(10)), to: Some(hour(15)), ..all() }).await, 5);
    let key = rows[0].descriptor.key().clone();
    assert_eq!(count(TransactionFilter { descriptor_key: Some(key.clone()), ..all() }).await, 20);
    assert_eq!(count(TransactionFilter { min_confidence: Some(0.5), ..all() }).await, 15);
    let together = TransactionFilter {
        account_id: Some("y".parse().unwrap()),
        category: Some(slug("restaurants")),
        descriptor_key: Some(key),
        from: Some(hour(4)),
        min_confidence: Some(0.5),
        ..all()
    };
    assert_eq!(page(&store, &together, 2, async |_| {}).await, ["r19", "r17", "r15"]);
}
