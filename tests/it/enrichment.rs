//! What is known around a transaction is the same, whether it comes from the store or from a data set's files.

use std::path::Path;

use txcat::{
    clock,
    enrich::Enricher,
    evaluate::{
        corpus::Corpus,
        dataset::{Dataset, Row},
        labels::Choice,
    },
    store::ImportedLabel,
};

use crate::database::fresh_store;

#[tokio::test(flavor = "multi_thread")]
async fn the_store_and_the_data_sets_reader_give_the_same_enriched_transactions() {
    const BUDGET: usize = 2_000;
    let (store, _database) = fresh_store().await;
    let dataset = Dataset::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/datasets/demo")).unwrap();
    let corpus = Corpus::read(&dataset, Choice::Budget { budget: BUDGET, seed: 1 }, || {}).unwrap();

    // The store gets what the reader's timelines have: pool and dev as rows, the bought labels, known since posted.
    let rows = |name: &str| -> Vec<Row> {
        dataset.rows(dataset.file(name).unwrap()).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let now = clock::now();
    let dev = rows("dev");
    for row in rows("pool").chunks(1_000).chain(dev.chunks(1_000)) {
        let transactions: Vec<_> = row.iter().map(|row| row.transaction.clone()).collect();
        store.ingest(&transactions, now).await.unwrap();
    }
    let labels: Vec<_> = corpus
        .rows
        .iter()
        .map(|row| ImportedLabel {
            transaction_id: row.transaction.id.clone(),
            category: row.category.clone(),
            known_at: row.transaction.posted_at,
        })
        .collect();
    store.import_labels(&labels, "test", now).await.unwrap();

    let enricher = Enricher::open(store.clone()).await.unwrap();
    let merchants = enricher.merchants().await.unwrap();
    let asked: Vec<_> = dev.iter().map(|row| row.transaction.clone()).collect();
    let from_store = enricher.enrich(asked.clone()).await.unwrap();
    let from_files: Vec<_> = asked.iter().map(|row| corpus.timelines.enriched(row, |row| merchants.of(row))).collect();
    for (stored, read) in from_store.iter().zip(&from_files) {
        assert_eq!(stored, read);
    }
    assert!(from_files.iter().filter(|row| row.merchant.is_some()).count() > 500, "the directory finds brands");
    assert!(from_files.iter().filter(|row| !row.history.same_key.labels.is_empty()).count() > 100, "labels are known");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_merchant_is_found_by_the_next_transaction() {
    let (store, _database) = fresh_store().await;
    let enricher = Enricher::open(store.clone()).await.unwrap();
    let dataset = Dataset::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/datasets/demo")).unwrap();
    let file = dataset.file("dev").unwrap();
    let mut row = dataset.transactions(file).unwrap().next().unwrap().unwrap();
    row.descriptor = txcat::domain::Descriptor::parse("QUIXOTIC PANTRY 12").unwrap();
    let before = enricher.enrich(vec![row.clone()]).await.unwrap();
    assert_eq!(before[0].merchant, None);

    let table =
        txcat::enrich::merchants::table::read("id,name,kind\nown-1,Quixotic Pantry,shop=supermarket\n".as_bytes());
    store.upsert_merchants(&table.merchants, "own").await.unwrap();
    let after = enricher.enrich(vec![row]).await.unwrap();
    assert_eq!(after[0].merchant.as_ref().unwrap().merchant.id, "own-1");
    store.close().await;
}
