use sqlx::PgPool;
use txcat::{
    domain::{
        CorrectionScope, Direction, Merchant, ReviewReason,
        prediction::{Evidence, Scored},
    },
    store::{Decision, Error, ImportedLabel, ReviewFilter, TransactionFilter},
};

use super::{correction, hour, id, in_force, row, said, slug, view};
use crate::{database::fresh_store, jobs::until};

async fn waiting(store: &txcat::store::Store) -> Vec<String> {
    let items = store.reviews(&ReviewFilter::default(), None, 100).await.unwrap();
    items.iter().map(|item| item.view.transaction.id.to_string()).collect()
}

#[tokio::test]
async fn a_prediction_comes_back_as_it_was_made() {
    let (store, _database) = fresh_store().await;
    store.ingest(&[row("a", "acc", 1, "SHOP")], hour(9)).await.unwrap();
    let shop = Merchant {
        id: "nsi:shop".to_owned(),
        name: "The Shop".to_owned(),
        aliases: Vec::new(),
        kind: "shop=supermarket".to_owned(),
        category: None,
        countries: Vec::new(),
        wikidata: None,
    };
    store.upsert_merchants(&[shop], "test").await.unwrap();
    let mut decision = Decision { merchant_id: Some("nsi:shop".to_owned()), ..said("a", "groceries", 0.75) };
    decision.prediction.alternatives = vec![Scored { category: slug("restaurants"), confidence: 0.125 }];
    decision.prediction.evidence = vec![
        Evidence::Encoder { category: slug("groceries"), confidence: 0.5 },
        Evidence::History { category: slug("groceries"), count: 3 },
    ];
    store.record(std::slice::from_ref(&decision), hour(10)).await.unwrap();
    let view = view(&store, "a").await;
    let stored = view.prediction.unwrap();
    assert_eq!(stored.prediction, decision.prediction);
    assert_eq!((stored.made_at, stored.rule), (hour(10), None));
    assert_eq!(view.merchant.unwrap().name.as_deref(), Some("The Shop"));
}

#[tokio::test]
async fn a_correction_beats_an_imported_label_that_beats_a_rule_that_beats_the_stage() {
    let (store, _database) = fresh_store().await;
    store.ingest(&[row("old", "acc", 0, "COFFEE BAR"), row("a", "acc", 1, "COFFEE BAR")], hour(9)).await.unwrap();
    assert_eq!(in_force(&store, "a").await, "nothing, pending");
    store.record(&[said("a", "groceries", 0.9)], hour(9)).await.unwrap();
    assert_eq!(in_force(&store, "a").await, "groceries by stage, accepted");

    store.correct(&correction("old", "work_meals", CorrectionScope::AccountMerchant, 9)).await.unwrap().unwrap();
    let key = ("acc".parse().unwrap(), row("a", "acc", 1, "COFFEE BAR").descriptor.key().clone(), Direction::Debit);
    let rule = store.rules_for(std::slice::from_ref(&key)).await.unwrap().remove(&key).unwrap();
    assert_eq!(rule.category, slug("work_meals"));
    store.record(&[Decision { rule: Some(rule.clone()), ..said("a", "groceries", 0.9) }], hour(10)).await.unwrap();
    assert_eq!(in_force(&store, "a").await, "work_meals by account_rule, accepted");
    assert_eq!(view(&store, "a").await.prediction.unwrap().prediction.category, slug("groceries"));

    let label = ImportedLabel { transaction_id: id("a"), category: slug("snacks"), known_at: hour(1) };
    assert_eq!(store.import_labels(std::slice::from_ref(&label), "file", hour(11)).await.unwrap(), 1);
    assert_eq!(store.import_labels(&[label], "file", hour(11)).await.unwrap(), 0, "known already");
    store.record(&[said("a", "groceries", 0.9)], hour(11)).await.unwrap();
    assert_eq!(in_force(&store, "a").await, "snacks by import, reviewed");

    store.correct(&correction("a", "restaurants", CorrectionScope::Transaction, 12)).await.unwrap().unwrap();
    let other = ImportedLabel { transaction_id: id("a"), category: slug("fuel"), known_at: hour(13) };
    assert_eq!(store.import_labels(&[other], "file", hour(13)).await.unwrap(), 1);
    store.record(&[Decision { rule: Some(rule.clone()), ..said("a", "groceries", 0.1) }], hour(13)).await.unwrap();
    assert_eq!(in_force(&store, "a").await, "restaurants by correction, reviewed");
    assert_eq!(waiting(&store).await, [""; 0]);
}

#[tokio::test]
async fn a_rule_is_of_one_account_key_and_direction_and_the_latest_correction_sets_it() {
    let (store, _database) = fresh_store().await;
    let coffee = row("a", "acc", 1, "COFFEE BAR");
    store.ingest(&[coffee.clone(), row("b", "acc", 1, "12345678")], hour(9)).await.unwrap();
    let key = |account: &str, direction| (account.parse().unwrap(), coffee.descriptor.key().clone(), direction);
    let asked = [key("acc", Direction::Debit), key("acc", Direction::Credit), key("other", Direction::Debit)];
    for (category, scope) in [
        ("restaurants", CorrectionScope::Transaction),
        ("work_meals", CorrectionScope::AccountMerchant),
        ("groceries", CorrectionScope::AccountMerchant),
    ] {
        store.correct(&correction("a", category, scope, 9)).await.unwrap().unwrap();
    }
    let rules = store.rules_for(&asked).await.unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[&asked[0]].category, slug("groceries"));
    // A text of codes alone has no key: a rule for it would catch every such row.
    let codes = row("b", "acc", 1, "12345678").descriptor.key().clone();
    if codes.as_str().is_empty() {
        store.correct(&correction("b", "fees", CorrectionScope::AccountMerchant, 9)).await.unwrap().unwrap();
        assert_eq!(in_force(&store, "b").await, "fees by correction, reviewed");
        assert!(store.rules_for(&[("acc".parse().unwrap(), codes, Direction::Debit)]).await.unwrap().is_empty());
    }
    assert!(store.correct(&correction("gone", "fees", CorrectionScope::Transaction, 9)).await.unwrap().is_none());
}

#[tokio::test]
async fn unsure_rows_wait_for_review_until_a_person_or_a_surer_prediction_decides() {
    let (store, _database) = fresh_store().await;
    let rows: Vec<_> = (0..4).map(|n| row(&format!("r{n}"), "acc", n, "SHOP")).collect();
    store.ingest(&rows, hour(9)).await.unwrap();
    let decisions: Vec<_> = (0..4).map(|n| said(&format!("r{n}"), "groceries", 0.1 + 0.2 * n as f32)).collect();
    store.record(&decisions, hour(9)).await.unwrap();
    assert_eq!(waiting(&store).await, ["r1", "r0"]);
    let first = store.reviews(&ReviewFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!((first.reason, first.opened_at), (ReviewReason::LowConfidence, hour(9)));
    assert_eq!(in_force(&store, "r1").await, "groceries by stage, pending");
    let rest = store.reviews(&ReviewFilter::default(), Some(&first.view.cursor()), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    let filter = ReviewFilter { category: Some(slug("fuel")), ..ReviewFilter::default() };
    assert!(store.reviews(&filter, None, 10).await.unwrap().is_empty());

    store.correct(&correction("r1", "fuel", CorrectionScope::Transaction, 10)).await.unwrap().unwrap();
    assert_eq!(waiting(&store).await, ["r0"]);
    store.record(&[said("r0", "groceries", 0.95)], hour(11)).await.unwrap();
    assert_eq!(waiting(&store).await, [""; 0]);
    store.record(&[said("r0", "groceries", 0.05)], hour(12)).await.unwrap();
    let again = store.reviews(&ReviewFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!(again.opened_at, hour(12), "a new wait begins");
}

#[tokio::test]
async fn a_row_that_is_replaced_before_it_is_decided_never_comes_into_force() {
    let (store, _database) = fresh_store().await;
    store.ingest(&[super::pending("p", "acc", 1, "SHOP")], hour(9)).await.unwrap();
    store.ingest(&[super::replacing("p", row("q", "acc", 2, "SHOP"))], hour(9)).await.unwrap();
    store.record(&[said("p", "groceries", 0.1), said("q", "groceries", 0.9)], hour(9)).await.unwrap();
    assert_eq!(view(&store, "p").await.in_force, None);
    assert_eq!(in_force(&store, "q").await, "groceries by stage, accepted");
    assert_eq!(waiting(&store).await, [""; 0]);
}

#[tokio::test]
async fn the_last_decision_of_an_id_in_a_call_counts_and_an_unknown_id_stores_nothing() {
    let (store, _database) = fresh_store().await;
    store.ingest(&[row("a", "acc", 1, "SHOP")], hour(9)).await.unwrap();
    store.record(&[said("a", "groceries", 0.6), said("a", "fuel", 0.7)], hour(9)).await.unwrap();
    assert_eq!(in_force(&store, "a").await, "fuel by stage, accepted");
    let refusal = store.record(&[said("a", "fees", 0.9), said("gone", "fees", 0.9)], hour(10)).await.unwrap_err();
    assert!(matches!(&refusal, Error::Constraint { name } if name == "predictions_transaction_known"), "{refusal:?}");
    assert_eq!(in_force(&store, "a").await, "fuel by stage, accepted");
}

#[tokio::test]
async fn what_was_predicted_and_corrected_can_never_be_changed() {
    let (store, database) = fresh_store().await;
    store.ingest(&[row("a", "acc", 1, "SHOP")], hour(9)).await.unwrap();
    store.record(&[said("a", "groceries", 0.9)], hour(9)).await.unwrap();
    store.correct(&correction("a", "fuel", CorrectionScope::Transaction, 10)).await.unwrap().unwrap();
    let pool = PgPool::connect(&database.url).await.unwrap();
    for statement in [
        "update predictions set category = 'fuel'",
        "delete from predictions",
        "truncate predictions cascade",
        "update corrections_made set category = 'fees'",
        "delete from corrections_made",
        "update rendered_texts set text = ''",
    ] {
        let refusal = sqlx::query(statement).execute(&pool).await.unwrap_err();
        let constraint = refusal.as_database_error().and_then(|refusal| refusal.constraint().map(str::to_owned));
        assert!(constraint.is_some_and(|name| name.ends_with("_append_only")), "{statement}");
    }
    pool.close().await;
    let listed = store.list(&TransactionFilter { category: Some(slug("fuel")), ..Default::default() }, None, 5).await;
    assert_eq!(listed.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_call_reads_does_not_grow_with_tables_that_nobody_has_analyzed() {
    let (store, database) = fresh_store().await;
    let (calls, rows) = (30, 40);
    for call in 0..calls {
        let ids: Vec<String> = (0..rows).map(|row| format!("t{call}-{row}")).collect();
        let told: Vec<_> = ids.iter().map(|id| row(id, "acc", 1, "SHOP")).collect();
        store.ingest(&told, hour(9)).await.unwrap();
        let decisions: Vec<_> =
            ids.iter().map(|id| said(id, "groceries", if id.ends_with('7') { 0.1 } else { 0.9 })).collect();
        store.record(&decisions, hour(9)).await.unwrap();
    }
    // A connection tells what it has read at the latest when it ends.
    store.close().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    let told =
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'txcat'";
    until(async || sqlx::query_scalar::<_, i64>(told).fetch_one(&pool).await.unwrap() == 0).await;
    let read: i64 = sqlx::query_scalar(
        "select sum(idx_tup_fetch)::bigint
        from pg_stat_user_tables
        where relname in ('transactions', 'predictions', 'in_force')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let of_a_row = read as f64 / f64::from(calls * rows);
    assert!((1.0..15.0).contains(&of_a_row), "{of_a_row:.1} rows are looked up for each that is recorded");
    pool.close().await;
}
