//! Anthropic's Messages, with the answer forced into a tool's input.
//!
//! Shapes are those of Anthropic's API reference, version `2023-06-01`.

use futures::{FutureExt, future::BoxFuture};
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Ask, ChatModel, Error, Fault, ModelEntry, Reply, Usage, answer,
    wire::{Answered, Wire},
};

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
        let version = HeaderMap::from_iter([(
            "anthropic-version".parse().map_err(|_| Error::Setting {
                model: entry.name.clone(),
                says: "the version's header can't be made",
            })?,
            HeaderValue::from_static(VERSION),
        )]);
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

    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Reply, Error>> {
        async move {
            let tokens = ask.prompt_tokens() + ask.most_answer_tokens();
            read(self.wire.post(body(&self.entry, ask), tokens).await?, ask)
        }
        .boxed()
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
pub(super) fn read(answered: Answered, ask: &Ask) -> Result<Reply, Error> {
    let Answered { body, doubtful } = answered;
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
    Ok(Reply { answers, usage, doubtful })
}
