use txcat::{
    domain::{
        CorrectionScope, Direction, Transaction,
        transaction::{Channel, Status},
    },
    store::{Ingested, TransactionFilter},
};

use super::{correction, hour, id, in_force, money, pending, replacing, row, said, view};
use crate::database::fresh_store;

#[tokio::test]
async fn a_row_comes_back_as_it_was_told() {
    let (store, _database) = fresh_store().await;
    let full = Transaction {
        amount: money("1234.5678"),
        direction: Direction::Credit,
        mcc: Some("5411".parse().unwrap()),
        country: Some("CA".parse().unwrap()),
        channel: Some(Channel::CardNotPresent),
        counterparty: Some("Zoë O'Brien; drop table".parse().unwrap()),
        status: Status::Pending,
        ..row("full", "acc", 1, "SQ *CAFÉ \"Ünal\" #12")
    };
    let bare = row("bare", "acc", 2, "TIM HORTONS");
    assert_eq!(store.ingest(&[full.clone(), bare.clone()], hour(9)).await.unwrap(), [Ingested::New, Ingested::New]);
    assert_eq!(view(&store, "full").await.transaction, full);
    assert_eq!(view(&store, "bare").await.transaction, bare);
    assert_eq!(store.views(&[id("bare"), id("gone"), id("bare")]).await.unwrap().iter().flatten().count(), 2);
}

#[tokio::test]
async fn a_repeated_row_is_known_and_another_content_is_a_conflict() {
    let (store, _database) = fresh_store().await;
    let told = row("a", "acc", 1, "TIM HORTONS #123");
    store.ingest(std::slice::from_ref(&told), hour(9)).await.unwrap();
    let changes: Vec<Transaction> = vec![
        Transaction { amount: money("12.51"), ..told.clone() },
        Transaction { posted_at: hour(2), ..told.clone() },
        Transaction { account_id: "other".parse().unwrap(), ..told.clone() },
        Transaction { direction: Direction::Credit, ..told.clone() },
        Transaction { country: Some("CA".parse().unwrap()), ..told.clone() },
        Transaction { status: Status::Pending, ..told.clone() },
        row("a", "acc", 1, "TIM HORTONS #124"),
    ];
    for changed in changes {
        assert_eq!(store.ingest(&[changed], hour(10)).await.unwrap(), [Ingested::Conflict]);
    }
    // The same amount, differently written.
    let same = Transaction { amount: money("12.5000"), ..told.clone() };
    assert_eq!(store.ingest(&[same], hour(10)).await.unwrap(), [Ingested::Known]);
    assert_eq!(view(&store, "a").await.transaction, told);
}

#[tokio::test]
async fn the_first_row_of_an_id_in_a_call_counts() {
    let (store, _database) = fresh_store().await;
    let (a, b) = (row("a", "acc", 1, "ONE"), row("a", "acc", 1, "TWO"));
    let outcome = store.ingest(&[a.clone(), b.clone(), a.clone()], hour(9)).await.unwrap();
    assert_eq!(outcome, [Ingested::New, Ingested::Conflict, Ingested::Known]);
    let outcome = store.ingest(&[b, a.clone()], hour(9)).await.unwrap();
    assert_eq!(outcome, [Ingested::Conflict, Ingested::Known]);
    assert_eq!(view(&store, "a").await.transaction, a);
    assert_eq!(store.ingest(&[], hour(9)).await.unwrap(), []);
}

#[tokio::test]
async fn a_posted_row_succeeds_its_pending_one_and_keeps_what_people_said() {
    let (store, _database) = fresh_store().await;
    store.ingest(&[pending("p", "acc", 1, "UBER *PENDING")], hour(9)).await.unwrap();
    store.record(&[said("p", "transport", 0.3)], hour(9)).await.unwrap();
    store.correct(&correction("p", "restaurants", CorrectionScope::Transaction, 10)).await.unwrap().unwrap();

    let posted = Transaction { amount: money("14.75"), ..replacing("p", row("q", "acc", 30, "UBER EATS TORONTO")) };
    assert_eq!(store.ingest(std::slice::from_ref(&posted), hour(31)).await.unwrap(), [Ingested::New]);
    assert_eq!(in_force(&store, "q").await, "restaurants by correction, reviewed");
    // The stage speaks about the new row too, and is overruled there as well.
    store.record(&[said("q", "transport", 0.2)], hour(31)).await.unwrap();
    assert_eq!(in_force(&store, "q").await, "restaurants by correction, reviewed");
    assert_eq!(view(&store, "q").await.prediction.unwrap().prediction.category.as_str(), "transport");

    let old = view(&store, "p").await;
    assert_eq!((old.replaced_by, old.in_force), (Some(id("q")), None));
    let listed = store.list(&TransactionFilter::default(), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|view| view.transaction.id.as_str()).collect::<Vec<_>>(), ["q"]);
    assert_eq!(store.ingest(&[posted], hour(32)).await.unwrap(), [Ingested::Known]);
}

#[tokio::test]
async fn only_a_pending_row_of_the_same_account_can_be_replaced_and_only_once() {
    let (store, _database) = fresh_store().await;
    let rows = [pending("p", "acc", 1, "SHOP"), row("done", "acc", 1, "SHOP")];
    store.ingest(&rows, hour(9)).await.unwrap();
    let outcome = store
        .ingest(
            &[
                replacing("nowhere", row("a", "acc", 2, "SHOP")),
                replacing("done", row("b", "acc", 2, "SHOP")),
                replacing("p", row("c", "somebody else", 2, "SHOP")),
                replacing("d", row("d", "acc", 2, "SHOP")),
                replacing("p", row("e", "acc", 2, "SHOP")),
                replacing("p", row("f", "acc", 2, "SHOP")),
            ],
            hour(9),
        )
        .await
        .unwrap();
    let unknown = Ingested::ReplacesUnknown;
    assert_eq!(outcome, [unknown, unknown, unknown, unknown, Ingested::New, Ingested::AlreadyReplaced]);
    let again = store.ingest(&[replacing("p", row("g", "acc", 3, "SHOP"))], hour(9)).await.unwrap();
    assert_eq!(again, [Ingested::AlreadyReplaced]);
    // The id is taken: that it replaces something else now is other content.
    let other = store.ingest(&[replacing("done", row("e", "acc", 2, "SHOP"))], hour(9)).await.unwrap();
    assert_eq!(other, [Ingested::Conflict]);
    let refused: Vec<_> = ["a", "b", "c", "d", "f", "g"].into_iter().map(id).collect();
    assert!(store.views(&refused).await.unwrap().iter().all(Option::is_none), "refused rows leave nothing behind");
}

#[tokio::test]
async fn a_chain_within_one_call_is_followed_in_any_order() {
    let (store, _database) = fresh_store().await;
    let rows = [
        replacing("b", row("c", "acc", 3, "SHOP")),
        replacing("a", pending("b", "acc", 2, "SHOP")),
        pending("a", "acc", 1, "SHOP"),
        replacing("y", row("x", "acc", 3, "SHOP")),
        replacing("x", row("y", "acc", 3, "SHOP")),
    ];
    let (new, unknown) = (Ingested::New, Ingested::ReplacesUnknown);
    assert_eq!(store.ingest(&rows, hour(9)).await.unwrap(), [new, new, new, unknown, unknown]);
    assert_eq!(store.ingest(&rows[..3], hour(9)).await.unwrap(), [Ingested::Known; 3]);
    // What is said about the first goes to the last.
    let corrected = store.correct(&correction("a", "groceries", CorrectionScope::Transaction, 9)).await.unwrap();
    assert_eq!(corrected.unwrap().transaction.id, id("c"));
    assert_eq!(in_force(&store, "c").await, "groceries by correction, reviewed");
}

#[tokio::test]
async fn a_thousand_rows_are_one_call_and_their_repetition_writes_nothing() {
    let (store, _database) = fresh_store().await;
    let rows: Vec<_> = (0..1000).map(|n| row(&format!("r{n}"), &format!("acc{}", n % 7), n, "SHOP")).collect();
    assert_eq!(store.ingest(&rows, hour(9)).await.unwrap(), vec![Ingested::New; 1000]);
    assert_eq!(store.ingest(&rows, hour(9)).await.unwrap(), vec![Ingested::Known; 1000]);
    let all = store.list(&TransactionFilter::default(), None, 2000).await.unwrap();
    assert_eq!(all.len(), 1000);
}

#[tokio::test]
async fn rows_that_were_stored_but_never_decided_are_found_again() {
    let (store, _database) = fresh_store().await;
    let rows = [row("a", "acc", 1, "SHOP"), row("b", "acc", 2, "SHOP"), pending("p", "acc", 2, "SHOP")];
    store.ingest(&rows, hour(9)).await.unwrap();
    store.ingest(&[replacing("p", row("q", "acc", 3, "SHOP"))], hour(9)).await.unwrap();
    store.record(&[said("a", "groceries", 0.9)], hour(9)).await.unwrap();
    let left = store.without_prediction(&["a", "b", "p", "q", "gone"].map(id)).await.unwrap();
    let mut left: Vec<_> = left.iter().map(|row| row.id.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["b", "q"]);
}
