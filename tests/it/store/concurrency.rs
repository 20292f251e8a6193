use std::sync::Arc;

use chrono::TimeDelta;
use rust_decimal::dec;
use sqlx::{Connection as _, PgConnection};
use txcat::{
    domain::{CorrectionScope, Transaction},
    store::{ActionFilter, Exceeded, Ingested, NewModelCall, ReviewFilter, Store, TransactionFilter, Undone},
};

use super::{
    correction, hour, id, in_force, pending, replacing, row, said,
    slow_line::{Answers, SlowLine},
    view,
};
use crate::database::{empty_database, fresh_database, fresh_store};

async fn at_once(store: &Store, calls: Vec<Vec<Transaction>>) -> Vec<Vec<Ingested>> {
    let start = Arc::new(tokio::sync::Barrier::new(calls.len()));
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|rows| {
            let (store, start) = (store.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                store.ingest(&rows, hour(9)).await.unwrap()
            })
        })
        .collect();
    futures::future::try_join_all(tasks).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_rows_posted_by_several_at_once_are_stored_once() {
    let (store, _database) = fresh_store().await;
    for round in 0..5 {
        let rows: Vec<_> = (0..200).map(|n| row(&format!("{round}-{n}"), "acc", n, "SHOP")).collect();
        let calls = (0..6)
            .map(|call| {
                let mut rows = rows.clone();
                rows.rotate_left(call * 31);
                rows
            })
            .collect();
        let outcomes = at_once(&store, calls).await;
        let new = outcomes.iter().flatten().filter(|outcome| **outcome == Ingested::New).count();
        let known = outcomes.iter().flatten().filter(|outcome| **outcome == Ingested::Known).count();
        assert_eq!((new, known), (200, 1000));
    }
    assert_eq!(store.list(&TransactionFilter::default(), None, 5000).await.unwrap().len(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_contents_under_one_id_posted_at_once_one_wins() {
    let (store, _database) = fresh_store().await;
    for n in 0..20 {
        let name = format!("r{n}");
        let calls = vec![vec![row(&name, "acc", 1, "ONE")], vec![row(&name, "acc", 1, "TWO")]];
        let mut outcomes: Vec<_> = at_once(&store, calls).await.concat();
        outcomes.sort_by_key(|outcome| *outcome == Ingested::Conflict);
        assert_eq!(outcomes, [Ingested::New, Ingested::Conflict]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pending_row_gets_one_successor_however_many_come_at_once() {
    let (store, _database) = fresh_store().await;
    for n in 0..20 {
        let old = format!("p{n}");
        store.ingest(&[pending(&old, "acc", 1, "SHOP")], hour(1)).await.unwrap();
        let successor = |name: &str| vec![replacing(&old, row(&format!("{name}{n}"), "acc", 2, "SHOP"))];
        let outcomes =
            at_once(&store, vec![successor("a"), successor("a"), successor("b"), successor("b")]).await.concat();
        let times = |what| outcomes.iter().filter(|outcome| **outcome == what).count();
        let counts = (times(Ingested::New), times(Ingested::Known), times(Ingested::AlreadyReplaced));
        assert_eq!(counts, (1, 1, 2), "{outcomes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_correction_survives_a_replacement_and_a_prediction_at_the_same_moment() {
    let (store, _database) = fresh_store().await;
    for n in 0..20 {
        let (old, new) = (format!("p{n}"), format!("q{n}"));
        store.ingest(&[pending(&old, "acc", 1, "SHOP")], hour(1)).await.unwrap();
        let corrected = {
            let (store, old) = (store.clone(), old.clone());
            tokio::spawn(async move { store.correct(&correction(&old, "fuel", CorrectionScope::Transaction, 9)).await })
        };
        let replaced = {
            let (store, old, new) = (store.clone(), old.clone(), new.clone());
            tokio::spawn(async move { store.ingest(&[replacing(&old, row(&new, "acc", 2, "SHOP"))], hour(9)).await })
        };
        let predicted = {
            let (store, old) = (store.clone(), old.clone());
            tokio::spawn(async move { store.record(&[said(&old, "groceries", 0.9)], hour(9)).await })
        };
        corrected.await.unwrap().unwrap().unwrap();
        assert_eq!(replaced.await.unwrap().unwrap(), [Ingested::New]);
        predicted.await.unwrap().unwrap();
        store.record(&[said(&new, "groceries", 0.9)], hour(9)).await.unwrap();
        assert_eq!(in_force(&store, &new).await, "fuel by correction, reviewed");
        assert_eq!(view(&store, &old).await.replaced_by, Some(id(&new)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_correction_that_postgres_ends_in_a_deadlock_is_made_all_the_same() {
    let (store, database) = fresh_store().await;
    store.ingest(&[row("t", "acc", 1, "SHOP")], hour(1)).await.unwrap();
    store.record(&[said("t", "groceries", 0.9)], hour(1)).await.unwrap();
    // Another takes what the correction takes last, waits until that waits for it, and takes what the correction has.
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut looks = PgConnection::connect(&database.url).await.unwrap();
    // Whoever has waited for a second is ended, and that is the correction.
    sqlx::query("set deadlock_timeout = '1min'").execute(&mut other).await.unwrap();
    let mut taken = other.begin().await.unwrap();
    let takes_last = "select 1 from in_force where transaction_id = 't' for update";
    sqlx::query(takes_last).execute(&mut *taken).await.unwrap();
    let corrected = {
        let store = store.clone();
        tokio::spawn(async move { store.correct(&correction("t", "fuel", CorrectionScope::Transaction, 9)).await })
    };
    let waits =
        "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut looks).await.unwrap() {
        assert!(!corrected.is_finished(), "it waits for nobody");
        tokio::task::yield_now().await;
    }
    sqlx::query("select 1 from transactions where id = 't' for update").execute(&mut *taken).await.unwrap();
    taken.commit().await.unwrap();
    corrected.await.unwrap().unwrap().unwrap();
    assert_eq!(in_force(&store, "t").await, "fuel by correction, reviewed");
}

/// Waits until so many wait for a lock.
async fn until_waiting(looks: &mut PgConnection, many: i64) {
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut *looks).await.unwrap() < many {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rule_that_one_person_leaves_while_another_takes_it_back_stands() {
    let (store, database) = fresh_store().await;
    store.ingest(&[row("a", "acc", 1, "SHOP"), row("b", "acc", 2, "SHOP")], hour(1)).await.unwrap();
    store.record(&[said("a", "groceries", 0.9), said("b", "groceries", 0.9)], hour(1)).await.unwrap();
    store.correct(&correction("a", "snacks", CorrectionScope::AccountMerchant, 2)).await.unwrap().unwrap();
    let first = store.review_actions(&ActionFilter::default(), 1).await.unwrap().remove(0).id;
    // The second person has said something else of the rule, and is not done yet.
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut looks = PgConnection::connect(&database.url).await.unwrap();
    let mut taken = other.begin().await.unwrap();
    sqlx::query("select 1 from in_force where transaction_id = 'b' for update").execute(&mut *taken).await.unwrap();
    let corrected = tokio::spawn({
        let store = store.clone();
        async move { store.correct(&correction("b", "fuel", CorrectionScope::AccountMerchant, 3)).await }
    });
    until_waiting(&mut looks, 1).await;
    let undone = tokio::spawn({
        let store = store.clone();
        async move { store.undo(first, None, "analyst", hour(3)).await }
    });
    until_waiting(&mut looks, 2).await;
    taken.commit().await.unwrap();
    corrected.await.unwrap().unwrap().unwrap();
    assert!(matches!(undone.await.unwrap().unwrap(), Ok(Undone { restored: 1, kept: 0, .. })));
    let rules = store.merchant_rules(row("a", "acc", 1, "SHOP").descriptor.key().as_str(), 10).await.unwrap();
    let rules: Vec<_> = rules.iter().map(|rule| rule.category.as_str()).collect();
    assert_eq!(rules, ["fuel"]);
    assert_eq!(in_force(&store, "a").await, "groceries by stage, accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_that_comes_while_its_row_is_replaced_leaves_nothing_in_force_there() {
    let (store, database) = fresh_store().await;
    store.ingest(&[pending("p", "acc", 1, "SHOP")], hour(1)).await.unwrap();
    store.record(&[said("p", "groceries", 0.2)], hour(1)).await.unwrap();
    // The replacement has emptied the pending row, and is not done yet.
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut looks = PgConnection::connect(&database.url).await.unwrap();
    let mut taken = other.begin().await.unwrap();
    sqlx::query("select 1 from review_items where transaction_id = 'p' for update").execute(&mut *taken).await.unwrap();
    let replaced = tokio::spawn({
        let store = store.clone();
        async move { store.ingest(&[replacing("p", row("s", "acc", 2, "SHOP"))], hour(2)).await }
    });
    until_waiting(&mut looks, 1).await;
    let answered = tokio::spawn({
        let store = store.clone();
        async move { store.record(&[said("p", "fuel", 0.2)], hour(2)).await }
    });
    until_waiting(&mut looks, 2).await;
    taken.commit().await.unwrap();
    assert_eq!(replaced.await.unwrap().unwrap(), [Ingested::New]);
    answered.await.unwrap().unwrap();
    let old = view(&store, "p").await;
    assert_eq!((old.replaced_by, old.in_force), (Some(id("s")), None));
    assert!(store.reviews(&ReviewFilter::default(), None, 10).await.unwrap().is_empty());
    let open = "select count(*) from review_items where resolved_at is null";
    assert_eq!(sqlx::query_scalar::<_, i64>(open).fetch_one(&mut looks).await.unwrap(), 0, "nobody can decide it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_may_bring_up_the_schema_at_once_and_create_the_database() {
    let database = empty_database().await;
    let stores = futures::future::join_all((0..4).map(|_| Store::connect(&database.url, 1))).await;
    for store in stores {
        store.unwrap().ready().await.unwrap();
    }
    let missing = format!("{}_more", database.name());
    let url = database.url.replace(database.name(), &missing);
    let stores = futures::future::join_all((0..4).map(|_| Store::connect(&url, 1))).await;
    for store in stores {
        store.unwrap().ready().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_while_its_transaction_begins_leaves_none_open() {
    let database = fresh_database().await;
    let line = SlowLine::to(&database.url).await;
    let store = Store::connect(&line.url, 1).await.unwrap();
    let mut other = PgConnection::connect(&database.url).await.unwrap();

    line.set(Answers::UntilBegin);
    let ingest = tokio::spawn({
        let store = store.clone();
        async move { store.ingest(&[row("t", "acc", 1, "SHOP")], hour(1)).await }
    });
    line.until_begun().await;
    ingest.abort();
    assert!(ingest.await.unwrap_err().is_cancelled());
    line.set(Answers::Pass);

    store.ready().await.unwrap();
    let open = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in %'";
    let open: i64 = sqlx::query_scalar(open).fetch_one(&mut other).await.unwrap();
    assert_eq!(open, 0, "the next caller is in a transaction that nobody ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_of_two_days_at_midnight_never_pass_a_months_budget_together() {
    let (store, database) = fresh_store().await;
    let call = NewModelCall {
        model: "model".to_owned(),
        rows: 1,
        reserved: dec!(0.6),
        currency: "USD".to_owned(),
        daily: None,
        monthly: Some(dec!(1)),
        requests_sha256: None,
    };
    // What was booked for one day is not there for others yet.
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut looks = PgConnection::connect(&database.url).await.unwrap();
    let mut taken = other.begin().await.unwrap();
    sqlx::query("lock table model_calls in share mode").execute(&mut *taken).await.unwrap();
    let mut booked = Vec::new();
    for (waiting, at) in (1..).zip([hour(24) - TimeDelta::seconds(1), hour(24)]) {
        let (store, call) = (store.clone(), call.clone());
        booked.push(tokio::spawn(async move { store.reserve_call(&call, at).await.unwrap() }));
        until_waiting(&mut looks, waiting).await;
    }
    taken.commit().await.unwrap();
    let [old, new] = &futures::future::join_all(booked).await[..] else { panic!("two calls") };
    assert!(old.as_ref().unwrap().is_ok());
    assert_eq!(*new.as_ref().unwrap(), Err(Exceeded::Monthly));
}
