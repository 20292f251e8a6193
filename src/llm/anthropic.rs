//! Anthropic's Messages, with the answer forced into a tool's input.
//!
//! Shapes are those of Anthropic's API reference, version `2023-06-01`.

use futures::{FutureExt, future::BoxFuture};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Attempts, ChatModel, Error, Fault, ModelEntry, Reply, Usage, answer, traced, wire::Wire};

/// The version of the API that these shapes are of.
const VERSION: &str = "2023-06-01";
/// The tool whose input is the answer.
const TOOL: &str = "categories";

/// A server of messages.
pub(super) struct Anthropic {
    name: String,
    entry: ModelEntry,
    wire: Wire,
}

impl Anthropic {
    pub(super) fn new(entry: &ModelEntry) -> Result<Self, Error> {
        let version =
            HeaderMap::from_iter([(HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION))]);
        let wire = Wire::new(entry, "/messages", "x-api-key", version)?;
        Ok(Self { name: format!("{}/{}", entry.name, entry.model), entry: entry.clone(), wire })
    }
}

impl ChatModel for Anthropic {
    fn name(&self) -> &str {
        &self.name
    }

    fn rows_per_request(&self) -> usize {
        self.entry.rows_per_request
    }

    fn most_attempts(&self) -> u32 {
        self.entry.most_attempts()
    }

    fn most_answer_tokens(&self, ask: &Ask) -> u32 {
        ask.most_answer_tokens() + self.entry.thinking_tokens
    }

    fn ask_counted<'a>(&'a self, ask: &'a Ask, attempts: &'a Attempts) -> BoxFuture<'a, Result<Reply, Error>> {
        let call = async move {
            let tokens = ask.prompt_tokens() + ask.most_answer_tokens();
            read(self.wire.post(body(&self.entry, ask), &ask.own, tokens, attempts).await?, ask)
        };
        traced("anthropic", &self.entry.model, self.most_answer_tokens(ask), call).boxed()
    }
}

/// The request's body. Tools and system come first and are marked to be kept.
pub(super) fn body(entry: &ModelEntry, ask: &Ask) -> Value {
    let mut body = json!({
        "model": entry.model,
        "max_tokens": ask.most_answer_tokens() + entry.thinking_tokens,
        "tools": [{"name": TOOL, "description": "The category of every transaction.", "input_schema": *ask.schema}],
        "tool_choice": {"type": "tool", "name": TOOL},
        "system": [{"type": "text", "text": ask.system, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": ask.user}],
    });
    if let Some(temperature) = entry.temperature {
        body["temperature"] = temperature.into();
    }
    body
}

#[derive(Deserialize)]
struct Message {
    content: Vec<Block>,
    #[serde(default)]
    stop_reason: Option<String>,
    usage: Tokens,
}

#[derive(Deserialize)]
struct Block {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    input: Value,
}

#[derive(Deserialize)]
struct Tokens {
    input_tokens: u32,
    #[serde(default)]
    cache_creation_input_tokens: Option<u32>,
    #[serde(default)]
    cache_read_input_tokens: Option<u32>,
    output_tokens: u32,
}

/// Reads a message.
pub(super) fn read(body: Value, ask: &Ask) -> Result<Reply, Error> {
    let message: Message = serde_json::from_value(body).map_err(Error::Protocol)?;
    let cached = message.usage.cache_read_input_tokens.unwrap_or(0);
    let cache_written = message.usage.cache_creation_input_tokens.unwrap_or(0);
    let usage = Usage {
        prompt: message.usage.input_tokens + cached + cache_written,
        cached,
        cache_written,
        completion: message.usage.output_tokens,
    };
    let fault = match message.stop_reason.as_deref() {
        Some("max_tokens") => Some(Fault::Truncated),
        Some("refusal") => Some(Fault::Refused),
        _ => None,
    };
    let used = message.content.iter().find(|block| block.name.as_deref() == Some(TOOL));
    let answers = match (fault, used) {
        (Some(fault), _) => vec![Err(fault); ask.ids.len()],
        (None, Some(block)) => answer::read(&block.input.to_string(), &[], ask),
        (None, None) => vec![Err(Fault::Malformed); ask.ids.len()],
    };
    Ok(Reply { answers, usage })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn ask(ids: &[&str]) -> Ask {
        Ask {
            system: "the categories".to_owned(),
            user: "the transactions".to_owned(),
            own: Arc::default(),
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            categories: ["food", "travel"].map(|slug| slug.parse().unwrap()).into(),
            schema: Arc::new(json!({"type": "object"})),
        }
    }

    fn reply(stop: &str, content: &Value, usage: &Value) -> Reply {
        let body = json!({"type": "message", "content": content, "stop_reason": stop, "usage": usage});
        read(body, &ask(&["t1", "t2"])).unwrap()
    }

    fn said(stop: &str, content: &Value) -> Vec<Result<String, Fault>> {
        let answers = reply(stop, content, &json!({"input_tokens": 1, "output_tokens": 1})).answers;
        answers.into_iter().map(|one| one.map(|answer| answer.category.to_string())).collect()
    }

    #[test]
    fn the_tools_input_is_the_answer_wherever_it_stands() {
        let input = json!({"answers": [{"id": "t2", "category": "food"}, {"id": "t1", "category": "Travel"}]});
        let content = json!([
            {"type": "thinking", "thinking": "...", "signature": "..."},
            {"type": "text", "text": "Here you are."},
            {"type": "tool_use", "id": "toolu_1", "name": TOOL, "input": input},
        ]);
        assert_eq!(said("tool_use", &content), [Err(Fault::OffList), Ok("food".to_owned())]);
    }

    #[test]
    fn an_answer_without_the_tool_or_that_ended_early_is_none() {
        let whole = json!([{"type": "tool_use", "id": "1", "name": TOOL,
                            "input": {"answers": [{"id": "t1", "category": "food"}]}}]);
        assert_eq!(said("max_tokens", &whole), vec![Err(Fault::Truncated); 2]);
        assert_eq!(said("refusal", &json!([])), vec![Err(Fault::Refused); 2]);
        assert_eq!(said("end_turn", &json!([{"type": "text", "text": "food"}])), vec![Err(Fault::Malformed); 2]);
        let another = json!([{"type": "tool_use", "id": "1", "name": "search", "input": {"answers": []}}]);
        assert_eq!(said("tool_use", &another), vec![Err(Fault::Malformed); 2]);
        let strange = json!([{"type": "tool_use", "id": "1", "name": TOOL, "input": "food"}]);
        assert_eq!(said("tool_use", &strange), vec![Err(Fault::Malformed); 2]);
    }

    #[test]
    fn tokens_that_were_kept_are_of_the_prompt_too() {
        let usage = json!({"input_tokens": 10, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 3_000,
                           "output_tokens": 25});
        let reply = reply("tool_use", &json!([]), &usage);
        let expected = Usage { prompt: 3_210, cached: 3_000, cache_written: 200, completion: 25 };
        assert_eq!(reply.usage, expected);
        let null = json!({"input_tokens": 10, "cache_read_input_tokens": null, "output_tokens": 5});
        let reply = self::reply("tool_use", &json!([]), &null);
        assert_eq!(reply.usage, Usage { prompt: 10, completion: 5, ..Usage::default() });
    }

    #[test]
    fn what_is_no_message_is_another_protocol() {
        for body in [json!({}), json!([]), json!({"content": []}), json!({"content": "food", "usage": {}})] {
            assert!(matches!(read(body, &ask(&["t1"])), Err(Error::Protocol(_))));
        }
    }

    #[test]
    fn what_stays_the_same_is_marked_to_be_kept_and_the_tool_is_forced() {
        let file = "[[model]]\nname = 'a'\nprovider = 'anthropic'\nmodel = 'm'\nbase_url = 'u'\nthinking_tokens = 1000";
        let file: super::super::ModelFile = toml::from_str(file).unwrap();
        let ask = ask(&["t1"]);
        let body = body(&file.models[0], &ask);
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": TOOL}));
        assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral"}));
        assert_eq!(body["max_tokens"], ask.most_answer_tokens() + 1_000);
        assert!(body.get("temperature").is_none());
    }
}
