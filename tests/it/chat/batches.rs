//! The batch API as a way to ask a chat model: joined, gone on with, and booked once at its own price.

use std::sync::Arc;

use rust_decimal::{Decimal, dec};
use serde_json::Value;
use txcat::{
    categorize::{Categorizer as _, Error},
    domain::EnrichedTransaction,
    llm::{ModelEntry, pricing::Budget},
    spend::Metered,
    store::Store,
};

use super::{
    asking,
    provider::{answers, rows},
    row,
};
use crate::{database::fresh_store, provider::Provider};

/// Two rows a request; 1 a million tokens of prompt and 2 of answer, half of that in batches.
fn entry(provider: &Provider) -> ModelEntry {
    provider.entry(
        "rows_per_request = 2\nbatch_poll_s = 0.01\n[[price]]\nfrom = \"2020-01-01\"\nprompt = \"1\"\ncompletion = \"2\"\n\
         batch = \"0.5\"\nsource = \"made up\"\n",
    )
}

fn model(entry: &ModelEntry, budget: Budget, store: &Store) -> Arc<Metered> {
    Arc::new(Metered::in_batches(entry, budget, store.clone()).unwrap())
}

fn five() -> Vec<EnrichedTransaction> {
    ["CORNER COFFEE", "SHELL 12", "BLUE COFFEE", "SHELL 13", "TEA"]
        .iter()
        .enumerate()
        .map(|(place, text)| row(&format!("r{place}"), text))
        .collect()
}

fn coffee_or_fuel(body: &Value) -> String {
    let is_fuel = |row: &Value| row["descriptor"].as_str().unwrap().starts_with("SHELL");
    answers(&rows(body), |row| (if is_fuel(row) { "fuel" } else { "coffee_shop" }).to_owned())
}

async fn said(model: Arc<Metered>) -> Vec<String> {
    asking(model).categorize(&five()).await.unwrap().iter().map(|of| of.category.to_string()).collect()
}

const RIGHT: [&str; 5] = ["coffee_shop", "fuel", "coffee_shop", "fuel", "coffee_shop"];
/// What a request is billed: 100 tokens of prompt and 10 of answer, at half price.
const ONE: Decimal = dec!(0.00006);

async fn booked(store: &Store) -> Vec<(String, i64, i64, Decimal)> {
    let days = store.days_of_calls(chrono::DateTime::UNIX_EPOCH).await.unwrap();
    days.into_iter().map(|day| (day.model, day.calls, day.rows, day.cost)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rows_share_a_batch_and_what_it_leaves_open_goes_into_another() {
    let (store, _database) = fresh_store().await;
    let provider = Provider::start().await;
    let mut lines = 0;
    provider.script.with(|inner| {
        inner.completes = Some(Box::new(move |body| {
            lines += 1;
            // The batch's last line, which holds the last row, stays without a reply.
            (lines != 1).then(|| coffee_or_fuel(body))
        }));
    });
    let entry = entry(&provider);
    let model = model(&entry, Budget::default(), &store);
    assert_eq!(said(Arc::clone(&model)).await, RIGHT);
    provider.script.with(|inner| assert_eq!((inner.batches.len(), inner.files.len()), (2, 2)));
    assert_eq!(model.spent().cost, dec!(3) * ONE);
    let name = "small/gpt-4o-mini:batches".to_owned();
    assert_eq!(booked(&store).await, [(name.clone(), 2, 6, dec!(3) * ONE)]);

    // The same command again reads the same batches, and pays nothing twice.
    assert_eq!(said(self::model(&entry, Budget::default(), &store)).await, RIGHT);
    provider.script.with(|inner| assert_eq!(inner.batches.len(), 2));
    assert_eq!(booked(&store).await, [(name, 2, 6, dec!(3) * ONE)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_died_while_it_waited_goes_on_with_its_batch() {
    let (store, _database) = fresh_store().await;
    let provider = Provider::start().await;
    let entry = entry(&provider);
    let dying = tokio::spawn(said(model(&entry, Budget::default(), &store)));
    let looked_at = || provider.script.requests("GET", "/batches/batch_1").len();
    while looked_at() < 2 {
        tokio::task::yield_now().await;
    }
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    let reserved = booked(&store).await;
    assert!(reserved.len() == 1 && reserved[0].3 > dec!(3) * ONE, "the most it can cost stays booked: {reserved:?}");

    provider.script.with(|inner| inner.completes = Some(Box::new(|body| Some(coffee_or_fuel(body)))));
    assert_eq!(said(model(&entry, Budget::default(), &store)).await, RIGHT);
    provider.script.with(|inner| assert_eq!((inner.batches.len(), inner.files.len()), (1, 1)));
    assert_eq!(booked(&store).await, [("small/gpt-4o-mini:batches".to_owned(), 1, 5, dec!(3) * ONE)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_comes_to_nothing_is_not_paid_and_the_next_run_makes_another() {
    let (store, _database) = fresh_store().await;
    let provider = Provider::start().await;
    let entry = entry(&provider);
    let failing = tokio::spawn({
        let (entry, store) = (entry.clone(), store.clone());
        async move { asking(model(&entry, Budget::default(), &store)).categorize(&five()).await }
    });
    while provider.script.with(|inner| inner.batches.is_empty()) {
        tokio::task::yield_now().await;
    }
    provider.script.with(|inner| {
        inner.batches[0]["status"] = "failed".into();
        let errors = serde_json::json!({"object": "list", "data": [{"code": "token_limit_exceeded", "message": "x"}]});
        inner.batches[0]["errors"] = errors;
    });
    let Err(error @ Error::Partly { .. }) = failing.await.unwrap() else { panic!("nothing was answered") };
    let says = txcat::causes::with_causes(&error);
    assert!(says.contains("token_limit_exceeded"), "{says}");
    assert!(booked(&store).await.is_empty(), "what nobody worked on is not booked");

    provider.script.with(|inner| inner.completes = Some(Box::new(|body| Some(coffee_or_fuel(body)))));
    assert_eq!(said(model(&entry, Budget::default(), &store)).await, RIGHT);
    provider.script.with(|inner| assert_eq!(inner.batches.len(), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_beyond_the_budget_is_not_sent() {
    let (store, _database) = fresh_store().await;
    let provider = Provider::start().await;
    let budget = Budget { daily: Some(dec!(0.0001)), ..Budget::default() };
    let Err(error) = asking(model(&entry(&provider), budget, &store)).categorize(&five()).await else {
        panic!("it is too dear")
    };
    assert!(error.is_outage() && txcat::causes::with_causes(&error).contains("daily budget"));
    provider.script.with(|inner| assert!(inner.seen.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_a_single_answer_is_not_gone_on_with_forever() {
    let (store, _database) = fresh_store().await;
    let provider = Provider::start().await;
    provider.script.with(|inner| inner.completes = Some(Box::new(|_| None)));
    let entry = entry(&provider);
    let Err(Error::Partly { answers, .. }) = asking(model(&entry, Budget::default(), &store)).categorize(&five()).await
    else {
        panic!("nothing was answered")
    };
    assert!(answers.iter().all(Option::is_none));
    let made = provider.script.with(|inner| inner.batches.len());
    provider.script.with(|inner| inner.completes = Some(Box::new(|body| Some(coffee_or_fuel(body)))));
    assert_eq!(said(model(&entry, Budget::default(), &store)).await, RIGHT);
    provider.script.with(|inner| assert_eq!(inner.batches.len(), made + 1));
}
