//! What calls cost, and what a budget lets through.

use std::sync::Arc;

use futures::future::join_all;
use rust_decimal::{Decimal, dec};
use serde_json::json;
use txcat::{
    categorize::{self, Categorizer as _, Error, Lineup, PromptCategorizer, Stage, Wording},
    domain::{Enrichment, Prediction},
    llm::{self, pricing::Budget},
    spend::Metered,
};

use super::{
    asking, entry, prompt,
    provider::{Provider, Reaction, answers, rows},
    row, taxonomy,
};
use crate::{
    database::fresh_store,
    harness::{self, App, Scripted, with},
};

async fn agreeable() -> Provider {
    Provider::start(|_, body| Reaction::Says(answers(&rows(body), |_| "coffee_shop".to_owned()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_never_pass_a_budget_together() {
    let (store, _database) = fresh_store().await;
    let provider = agreeable().await;
    let mut entry = entry(&provider);
    (entry.retries, entry.rows_per_request) = (0, 1);
    let budget = Budget { daily: Some(dec!(0.02)), ..Budget::default() };
    let open = || Arc::new(Metered::new(llm::open(&entry).unwrap(), &entry, budget.clone(), store.clone()).unwrap());
    // Two servers share the books.
    let stages = [asking(open()), asking(open())];
    let batch = [row("a", "CORNER COFFEE")];
    let asked = (0..60).map(|n| stages[n % 2].categorize(&batch));
    let outcomes = join_all(asked).await;
    let (answered, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(!answered.is_empty() && !refused.is_empty(), "{} answered", answered.len());
    let says = txcat::causes::with_causes(&refused[0].as_ref().unwrap_err());
    assert!(says.contains("daily budget of 0.02 USD"), "{says}");
    let days = store.days_of_calls(chrono::DateTime::UNIX_EPOCH).await.unwrap();
    let [day] = &days[..] else { panic!("{days:?}") };
    assert!(day.cost <= dec!(0.02));
    assert_eq!(usize::try_from(day.calls).unwrap(), answered.len(), "what was not let through is not booked");
    assert_eq!(provider.billed(), answered.len());
    // 100 tokens of which 40 were kept, at 1 a million without a price of their own, and 10 at 2.
    assert_eq!(day.cost, Decimal::from(day.calls) * dec!(0.00012));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_lets_another_engine_answer_under_its_own_name() {
    let (store, _database) = fresh_store().await;
    let provider = agreeable().await;
    let entry = entry(&provider);
    let budget = Budget { monthly: Some(dec!(0.0001)), ..Budget::default() };
    let model = Arc::new(Metered::new(llm::open(&entry).unwrap(), &entry, budget, store).unwrap());
    let words = prompt("few_shot_v1");
    let examples = words.examples().to_vec();
    let wording = Wording::new(words, &taxonomy(), &examples, Enrichment::None, None).unwrap();
    let other = Box::new(Scripted::new(taxonomy().version()));
    let stage = PromptCategorizer::new("few_shot", &taxonomy(), wording, model, Some(other));
    let said: Vec<Prediction> = stage.categorize(&[row("a", "CORNER COFFEE")]).await.unwrap();
    assert!(said[0].provenance.engine.starts_with("scripted"), "{}", said[0].provenance.engine);
    assert_eq!(provider.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_wants_a_price() {
    let (store, _database) = fresh_store().await;
    let provider = agreeable().await;
    let mut entry = entry(&provider);
    entry.prices.clear();
    let budget = Budget { daily: Some(dec!(1)), ..Budget::default() };
    let refused = Metered::new(llm::open(&entry).unwrap(), &entry, budget, store.clone()).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("has no price"));
    assert!(Metered::new(llm::open(&entry).unwrap(), &entry, Budget::default(), store).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_the_same_comes_first_and_stays_the_same() {
    let provider = agreeable().await;
    let stage = asking(llm::open(&entry(&provider)).unwrap());
    stage.categorize(&[row("a", "CORNER COFFEE")]).await.unwrap();
    stage.categorize(&[row("b", "SHELL 12"), row("c", "TEA")]).await.unwrap();
    let bodies: Vec<String> = provider.requests().iter().map(|request| request.body.to_string()).collect();
    let same = bodies[0].bytes().zip(bodies[1].bytes()).take_while(|(a, b)| a == b).count();
    let messages = provider.requests()[0].body["messages"].clone();
    assert_eq!(messages[0], provider.requests()[1].body["messages"][0]);
    assert!(messages[0]["content"].as_str().unwrap().len() > 10 * messages[1]["content"].as_str().unwrap().len());
    assert!(same > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_paid_for_what_a_person_has_ruled() {
    let (store, database) = fresh_store().await;
    let provider = agreeable().await;
    let model = asking(llm::open(&entry(&provider)).unwrap());
    let stage = Stage::new("few_shot", 0.82, Enrichment::None, Box::new(model));
    let app = App::answering(store, database, Arc::new(taxonomy()), Lineup::alone(stage), 0.0).await;
    app.store.sync_taxonomy(&taxonomy(), txcat::clock::now()).await.unwrap();
    app.ingest(&[harness::row("first", "CORNER PLACE 0412")]).await;
    let correction = json!({ "category": "bar_and_nightlife", "scope": "account_merchant" });
    app.post("/v1/transactions/first/correction", &correction).await.with(200);
    let later = |id: &str, text: &str| with(harness::row(id, text), json!({ "posted_at": "2026-03-15" }));
    let said = app.ingest(&[later("ruled", "CORNER PLACE 0977"), later("asked", "ANOTHER PLACE")]).await;
    assert_eq!((&said[0]["category"], &said[1]["category"]), (&json!("bar_and_nightlife"), &json!("coffee_shop")));
    assert_eq!(said[0]["decided_by"], "account_rule");
    let asked: Vec<String> =
        provider.requests().iter().flat_map(|of| rows(&of.body)).map(|row| row["descriptor"].to_string()).collect();
    assert_eq!(asked, ["\"CORNER PLACE 0412\"", "\"ANOTHER PLACE\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_of_two_stages_is_down_the_others_answers_stay_with_their_rows() {
    let provider = Provider::start(|_, _| Reaction::Status(500, vec![], json!({}))).await;
    let stage = |categorizer| Arc::new(Stage::new("stage", 0.9, Enrichment::None, categorizer));
    let down = stage(Box::new(asking(llm::open(&entry(&provider)).unwrap())) as Box<dyn categorize::Categorizer>);
    let well = stage(Box::new(Scripted::new(taxonomy().version())));
    let batch = [row("a", "SHELL 12"), row("b", "CORNER COFFEE"), row("c", "TEA"), row("d", "MARKET")];
    let Err(Error::Partly { answers, source }) = categorize::together(&batch, &[&down, &well, &down, &well]).await
    else {
        panic!("one stage is down")
    };
    let said: Vec<Option<&str>> = answers.iter().map(|of| of.as_ref().map(|of| of.category.as_str())).collect();
    assert_eq!(said, [None, Some("coffee_shop"), None, Some("supermarket")]);
    assert!(source.is_outage());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_counted_is_booked_at_the_most_it_can_be() {
    let (store, _database) = fresh_store().await;
    let provider = Provider::start(|_, body| {
        let said = answers(&rows(body), |_| "coffee_shop".to_owned());
        Reaction::Completion(json!({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}))
    })
    .await;
    let entry = entry(&provider);
    let open = || Arc::new(Metered::new(llm::open(&entry).unwrap(), &entry, Budget::default(), store.clone()).unwrap());
    asking(open()).categorize(&[row("a", "CORNER COFFEE")]).await.unwrap();
    let days = store.days_of_calls(chrono::DateTime::UNIX_EPOCH).await.unwrap();
    assert!(days[0].cost > Decimal::ZERO && days[0].prompt_tokens > 1_000, "{days:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_that_goes_on_pays_for_no_request_twice() {
    let (store, _database) = fresh_store().await;
    let provider = Provider::start(|number, body| match number {
        1 => Reaction::Status(401, vec![], json!({"error": {"code": "invalid_api_key"}})),
        _ => Reaction::Says(answers(&rows(body), |_| "coffee_shop".to_owned())),
    })
    .await;
    let mut entry = entry(&provider);
    (entry.rows_per_request, entry.concurrency) = (1, 1);
    let open = || {
        let metered = Metered::new(llm::open(&entry).unwrap(), &entry, Budget::default(), store.clone()).unwrap();
        Arc::new(metered.remembering(&entry))
    };
    let batch = [row("a", "CORNER COFFEE"), row("b", "SHELL 12"), row("c", "TEA")];
    assert!(asking(open()).categorize(&batch).await.is_err());
    assert_eq!(provider.billed(), 2);
    let again = open();
    asking(again.clone()).categorize(&batch).await.unwrap();
    assert_eq!((provider.requests().len(), provider.billed()), (4, 3), "only what had failed is asked again");
    assert_eq!(again.spent().cost, dec!(3) * dec!(0.00012), "what the answers cost is told all the same");
    let days = store.days_of_calls(chrono::DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(days[0].cost, dec!(3) * dec!(0.00012), "and booked once");
    assert!(days[0].model.ends_with(":evaluation"), "apart from what is served: {}", days[0].model);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_lets_another_engine_answer() {
    let provider = Provider::start(|_, _| Reaction::Status(401, vec![], json!({"error": {"code": "revoked"}}))).await;
    let words = prompt("few_shot_v1");
    let wording = Wording::new(words, &taxonomy(), &[], Enrichment::None, None).unwrap();
    let other = Box::new(Scripted::new(taxonomy().version()));
    let model = llm::open(&entry(&provider)).unwrap();
    let stage = PromptCategorizer::new("few_shot", &taxonomy(), wording, model, Some(other));
    let said = stage.categorize(&[row("a", "CORNER COFFEE")]).await.unwrap();
    assert!(said[0].provenance.engine.starts_with("scripted"), "{}", said[0].provenance.engine);
}
