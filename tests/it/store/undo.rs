use txcat::{
    domain::{CorrectionScope, Direction, ReviewReason},
    store::{ActionFilter, Decision, ReviewFilter, Store, Undone},
};

use super::{correction, hour, id, in_force, pending, replacing, row, said};
use crate::database::fresh_store;

/// Takes back what was said last of a transaction.
async fn undo_last(store: &Store, of: &str) {
    let filter = ActionFilter { transaction_id: Some(id(of)), standing: true, ..ActionFilter::default() };
    let last = store.review_actions(&filter, 1).await.unwrap().remove(0);
    let undone = store.undo(last.id, None, "analyst", hour(20)).await.unwrap();
    assert!(matches!(undone, Ok(Undone { restored: 1, kept: 0, .. })), "{undone:?}");
}

#[tokio::test]
async fn a_row_that_people_spoke_of_before_any_answer_goes_to_what_came_since() {
    let (store, _database) = fresh_store().await;
    let rows = [
        row("answered", "acc", 1, "COFFEE BAR"),
        row("ruled", "other", 1, "COFFEE BAR"),
        row("leaves a rule", "other", 2, "COFFEE BAR"),
        row("never", "acc", 3, "COFFEE BAR"),
    ];
    store.ingest(&rows, hour(9)).await.unwrap();
    for of in ["answered", "ruled", "never"] {
        store.correct(&correction(of, "fuel", CorrectionScope::Transaction, 9)).await.unwrap().unwrap();
    }
    let rule = correction("leaves a rule", "work_meals", CorrectionScope::AccountMerchant, 10);
    store.correct(&rule).await.unwrap().unwrap();
    let key = ("other".parse().unwrap(), rows[1].descriptor.key().clone(), Direction::Debit);
    let rule = store.rules_for(std::slice::from_ref(&key)).await.unwrap().remove(&key);
    let ruled = Decision { rule, ..said("ruled", "groceries", 0.9) };
    store.record(&[said("answered", "groceries", 0.9), ruled], hour(11)).await.unwrap();
    for of in ["answered", "ruled", "never"] {
        assert_eq!(in_force(&store, of).await, "fuel by correction, reviewed");
        undo_last(&store, of).await;
    }
    assert_eq!(in_force(&store, "answered").await, "groceries by stage, pending");
    assert_eq!(in_force(&store, "ruled").await, "work_meals by account_rule, accepted");
    assert_eq!(in_force(&store, "never").await, "nothing, pending");
    let queue = store.reviews(&ReviewFilter::default(), None, 10).await.unwrap();
    let waiting: Vec<_> = queue.iter().map(|item| (item.view.transaction.id.as_str(), item.reason)).collect();
    assert_eq!(waiting, [("answered", ReviewReason::RuleWithdrawn)]);
}

#[tokio::test]
async fn a_posted_row_that_nobody_answered_holds_nothing_once_the_word_of_its_pending_one_is_taken_back() {
    let (store, _database) = fresh_store().await;
    store.ingest(&[pending("p", "acc", 1, "SHOP")], hour(9)).await.unwrap();
    store.record(&[said("p", "groceries", 0.2)], hour(9)).await.unwrap();
    store.correct(&correction("p", "fuel", CorrectionScope::Transaction, 10)).await.unwrap().unwrap();
    let chain = [replacing("p", pending("q", "acc", 2, "SHOP")), replacing("q", row("s", "acc", 3, "SHOP"))];
    store.ingest(&chain, hour(11)).await.unwrap();
    assert_eq!(in_force(&store, "s").await, "fuel by correction, reviewed");
    undo_last(&store, "p").await;
    assert_eq!(in_force(&store, "s").await, "nothing, pending");
    let labels = store.given_labels(&id("s")).await.unwrap();
    assert!(labels.iter().all(|label| label.withdrawn), "{labels:?}");
    assert!(store.reviews(&ReviewFilter::default(), None, 10).await.unwrap().is_empty());
}
