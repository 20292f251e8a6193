//! Chat models over real HTTP, against a provider whose every reaction is scripted: what is sent, what becomes of
//! answers, and what is booked.

mod batches;
mod cascade;
mod faults;
mod hostile;
mod money;
mod provider;
mod words;

use std::sync::Arc;

pub(crate) use provider::{COMPLETION_TOKENS, PROMPT_TOKENS, Provider, Reaction, answers, rows};
use txcat::{
    categorize::{PromptCategorizer, Wording},
    domain::{Descriptor, Direction, EnrichedTransaction, Enrichment, Money, Taxonomy, Transaction, UserHistory},
    llm::{ChatModel, ModelEntry},
    prompt::PromptSet,
};

/// A row of this text.
pub(crate) fn row(id: &str, descriptor: &str) -> EnrichedTransaction {
    let transaction = Transaction::posted(
        id.parse().unwrap(),
        "acct-1".parse().unwrap(),
        chrono::DateTime::UNIX_EPOCH,
        Money::new("12.50".parse().unwrap(), "USD".parse().unwrap()).unwrap(),
        Direction::Debit,
        Descriptor::parse(descriptor).unwrap(),
    );
    EnrichedTransaction { transaction, merchant: None, history: UserHistory::default() }
}

fn taxonomy() -> Taxonomy {
    Taxonomy::consumer().unwrap()
}

fn prompt(name: &str) -> PromptSet {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/prompts/categorize");
    PromptSet::load(&std::path::Path::new(dir).join(name)).unwrap()
}

/// A model at the scripted provider: ten rows a request, two tries more, hardly any waiting.
fn entry(provider: &Provider) -> ModelEntry {
    toml::from_str(&format!(
        r#"
        name = "scripted"
        provider = "openai"
        base_url = "{}"
        model = "small"
        logprobs = true
        retries = 2
        backoff_s = 0.01
        timeout_s = 60.0
        [[price]]
        from = "2020-01-01"
        prompt = "1"
        completion = "2"
        source = "made up"
        "#,
        provider.url()
    ))
    .unwrap()
}

/// The shipped few-shot prompt put to a model.
fn asking(model: Arc<dyn ChatModel>) -> PromptCategorizer {
    let prompt = prompt("few_shot_v1");
    let examples = prompt.examples().to_vec();
    let wording = Wording::new(prompt, &taxonomy(), &examples, Enrichment::None, None).unwrap();
    PromptCategorizer::new("few_shot", &taxonomy(), wording, model, None)
}
