//! Our client against a server that others wrote: `tests/llama_server_check.py` starts llama.cpp's with random weights
//! and names it in `TXCAT_LLAMA_URL`. What it answers is noise; only the protocol is held to.

use std::{fs, sync::Arc};

use serde_json::json;
use txcat::llm::{self, Ask, ChatModel, Error, Fault, ModelFile, Reply};

const CATEGORIES: [&str; 4] = ["food", "fuel", "groceries", "travel"];

fn model(more: &str) -> Arc<dyn ChatModel> {
    let url = std::env::var("TXCAT_LLAMA_URL").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.toml");
    // A busy machine takes its time.
    let patience = if more.contains("timeout_s") { "" } else { "timeout_s = 300.0\n" };
    let entry = format!(
        "[[model]]\nname = \"own\"\nprovider = \"openai\"\nmodel = \"tiny\"\nbase_url = \"{url}\"\n\
         answer_limit = \"max_tokens\"\nbackoff_s = 0.01\n{patience}{more}"
    );
    fs::write(&path, entry).unwrap();
    llm::open(&ModelFile::load(&path).unwrap().models[0]).unwrap()
}

/// One row; its id stands in the schema too, because random weights would write any other.
fn ask(user: &str) -> Ask {
    let answer = json!({
        "type": "object", "additionalProperties": false, "required": ["id", "category"],
        "properties": {"id": {"type": "string", "enum": ["t1"]}, "category": {"type": "string", "enum": CATEGORIES}},
    });
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["answers"],
        "properties": {"answers": {"type": "array", "items": answer, "minItems": 1, "maxItems": 1}},
    });
    Ask {
        system: "Put the transaction into a category: food, fuel, groceries or travel.".to_owned(),
        user: user.to_owned(),
        own: Arc::default(),
        ids: vec!["t1".to_owned()],
        categories: CATEGORIES.iter().map(|slug| slug.parse().unwrap()).collect(),
        schema: Arc::new(schema),
    }
}

fn show(what: &str, reply: &Reply) {
    println!("{what}: {:?}, {:?}", reply.answers, reply.usage);
}

/// Random weights may write blanks until there is no room for an answer: then they are asked again.
async fn finished(model: &dyn ChatModel, ask: &Ask) -> Reply {
    for _ in 0..20 {
        let reply = model.ask(ask).await.unwrap();
        if reply.answers[0] != Err(Fault::Truncated) {
            return reply;
        }
    }
    panic!("no answer ended in time");
}

#[tokio::test]
#[ignore = "needs the server that tests/llama_server_check.py starts"]
async fn a_schema_holds_answers_to_the_list_and_usage_and_logprobs_are_told() {
    for structured in ["json_schema", "json_object_schema"] {
        let model = model(&format!("structured = \"{structured}\"\nlogprobs = true\n"));
        for text in ["SHELL 44", "BLUE BOTTLE", "ÅÄÖ \"quoted\""] {
            let reply = finished(model.as_ref(), &ask(text)).await;
            show(structured, &reply);
            let answer = reply.answers[0].as_ref().unwrap();
            assert!(CATEGORIES.contains(&answer.category.as_str()));
            assert!(answer.confidence.is_some_and(|share| share > 0.0 && share <= 1.0), "{answer:?}");
            assert!(reply.usage.prompt > 20 && reply.usage.completion > 10);
        }
    }
}

#[tokio::test]
#[ignore = "needs the server that tests/llama_server_check.py starts"]
async fn without_a_schema_noise_is_a_fault_and_no_answer() {
    for structured in ["json_object", "text"] {
        let reply = model(&format!("structured = \"{structured}\"\n")).ask(&ask("SHELL 44")).await.unwrap();
        show(structured, &reply);
        assert!(reply.answers.len() == 1 && reply.answers[0].is_err() && reply.usage.completion > 0);
    }
}

#[tokio::test]
#[ignore = "needs the server that tests/llama_server_check.py starts"]
async fn an_answer_that_takes_too_long_is_given_up() {
    let error = model("timeout_s = 0.05\nretries = 1\n").ask(&ask(&"SHELL 44 ".repeat(150))).await.unwrap_err();
    assert!(error.is_outage() && error.doubtful() == 2, "{error:?}");
    assert!(matches!(error, Error::GivenUp { source, .. } if matches!(*source, Error::TimedOut { .. })));
}

#[tokio::test]
#[ignore = "needs a server that tests/llama_server_check.py has killed"]
async fn a_server_that_was_killed_cannot_be_reached() {
    let error = model("retries = 1\n").ask(&ask("SHELL 44")).await.unwrap_err();
    assert!(error.is_outage() && error.doubtful() == 0, "{error:?}");
    assert!(matches!(error, Error::GivenUp { source, .. } if matches!(*source, Error::Unreachable(_))));
}
