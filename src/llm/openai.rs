//! Chat completions: OpenAI's wire format, which Azure, vLLM, Ollama and llama.cpp speak too.
//!
//! Shapes are those of OpenAI's OpenAPI document (`CreateChatCompletionRequest`); a test holds them to it.

use std::sync::atomic::{AtomicU8, Ordering};

use futures::{FutureExt, future::BoxFuture};
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Ask, Attempts, ChatModel, Error, Fault, ModelEntry, Reply, Usage,
    answer::{self, Token},
    config::{AnswerLimit, Structured},
    traced,
    wire::Wire,
};

/// Ways to hold an answer to a form, each asked for less than the one before.
const ORDER: [Structured; 4] =
    [Structured::JsonSchema, Structured::JsonObjectSchema, Structured::JsonObject, Structured::Text];

/// A server of chat completions.
pub(super) struct OpenAi {
    name: String,
    entry: ModelEntry,
    wire: Wire,
    /// How many steps below `entry.structured` the server wants it.
    lowered: AtomicU8,
}

impl OpenAi {
    pub(super) fn new(entry: &ModelEntry) -> Result<Self, Error> {
        let wire = Wire::new(entry, "/chat/completions", "authorization", HeaderMap::new())?;
        let name = format!("{}/{}", entry.name, entry.model);
        Ok(Self { name, entry: entry.clone(), wire, lowered: AtomicU8::new(0) })
    }

    fn structured(&self, lowered: u8) -> Structured {
        let first = ORDER.iter().position(|one| *one == self.entry.structured).unwrap_or(0);
        ORDER[(first + usize::from(lowered)).min(ORDER.len() - 1)]
    }

    /// One step below the way that was refused; of many requests that were refused it, one takes the step.
    fn lower(&self, refused: Structured) {
        let step = |lowered| (self.structured(lowered) == refused).then_some(lowered + 1);
        // Another has taken it: then there is nothing to do.
        let _ = self.lowered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    async fn answered(&self, ask: &Ask, attempts: &Attempts) -> Result<Reply, Error> {
        loop {
            let structured = self.structured(self.lowered.load(Ordering::Relaxed));
            let body = body(&self.entry, structured, ask);
            let tokens = ask.prompt_tokens() + ask.most_answer_tokens();
            match self.wire.post(body, &ask.own, tokens, attempts).await {
                Err(error) if structured != Structured::Text && refuses_format(&error) => {
                    tracing::warn!(model.name = self.name, "the server takes no such response_format: asking for less");
                    self.lower(structured);
                }
                Err(error) => return Err(error),
                Ok(answered) => return read(answered, ask),
            }
        }
    }
}

impl ChatModel for OpenAi {
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
        traced("openai", &self.entry.model, self.most_answer_tokens(ask), self.answered(ask, attempts)).boxed()
    }
}

/// Whether the server does not take this way to hold an answer to a form.
fn refuses_format(error: &Error) -> bool {
    matches!(error.last(), Error::Rejected { status: 400 | 404 | 422 | 500, code } if code.starts_with("response_format"))
}

/// The request's body. What is the same from request to request stands first.
pub(super) fn body(entry: &ModelEntry, structured: Structured, ask: &Ask) -> Value {
    let mut body = json!({
        "model": entry.model,
        "messages": [
            {"role": "system", "content": ask.system},
            {"role": "user", "content": ask.user},
        ],
    });
    let limit = match entry.answer_limit {
        AnswerLimit::MaxCompletionTokens => "max_completion_tokens",
        AnswerLimit::MaxTokens => "max_tokens",
    };
    body[limit] = (ask.most_answer_tokens() + entry.thinking_tokens).into();
    match structured {
        Structured::JsonSchema => {
            body["response_format"] = json!({
                "type": "json_schema",
                "json_schema": {"name": "categories", "strict": true, "schema": *ask.schema},
            });
        }
        Structured::JsonObjectSchema => {
            body["response_format"] = json!({"type": "json_object", "schema": *ask.schema});
        }
        Structured::JsonObject => body["response_format"] = json!({"type": "json_object"}),
        Structured::Text => {}
    }
    if entry.logprobs {
        body["logprobs"] = true.into();
        // Some servers tell none where they are not asked for others beside the one that was taken.
        body["top_logprobs"] = 1.into();
    }
    if let Some(temperature) = entry.temperature {
        body["temperature"] = temperature.into();
    }
    body
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    #[serde(default)]
    content: Option<Vec<Piece>>,
}

#[derive(Deserialize)]
struct Piece {
    token: String,
    logprob: f64,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

/// Reads a completion.
pub(super) fn read(body: Value, ask: &Ask) -> Result<Reply, Error> {
    let completion: Completion = serde_json::from_value(body).map_err(Error::Protocol)?;
    // A server that doesn't count: too many rather than too few, so that a budget holds.
    let uncounted = || Usage { prompt: ask.prompt_tokens(), completion: ask.most_answer_tokens(), ..Usage::default() };
    let usage = completion.usage.map_or_else(uncounted, |tokens| Usage {
        prompt: tokens.prompt_tokens,
        cached: tokens.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
        cache_written: 0,
        completion: tokens.completion_tokens,
    });
    let answers = completion.choices.first().map_or(Err(Fault::Malformed), |choice| said(choice, ask));
    Ok(Reply { answers: answers.unwrap_or_else(|fault| vec![Err(fault); ask.ids.len()]), usage })
}

fn said(choice: &Choice, ask: &Ask) -> Result<Vec<Result<Answer, Fault>>, Fault> {
    if choice.message.refusal.is_some() {
        return Err(Fault::Refused);
    }
    match choice.finish_reason.as_deref() {
        Some("length") => return Err(Fault::Truncated),
        Some("content_filter") => return Err(Fault::Filtered),
        _ => {}
    }
    let text = choice.message.content.as_deref().ok_or(Fault::Malformed)?;
    let pieces = choice.logprobs.as_ref().and_then(|logprobs| logprobs.content.as_deref()).unwrap_or_default();
    Ok(answer::read(text, &spelling(pieces, text), ask))
}

/// The tokens that spell the text: some servers take away what a model puts around its answer, such as the marks of a
/// code block, and leave it among the tokens. Tokens that don't spell the text say nothing of its parts: none.
fn spelling<'a>(pieces: &'a [Piece], text: &str) -> Vec<Token<'a>> {
    let spelled: String = pieces.iter().map(|piece| piece.token.as_str()).collect();
    let Some(mut around) = spelled.rfind(text) else { return Vec::new() };
    let within = pieces.iter().filter_map(|piece| {
        let taken = around.min(piece.token.len());
        around -= taken;
        let text = &piece.token[taken..];
        (!text.is_empty()).then_some(Token { text, logprob: piece.logprob })
    });
    within.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_takes_away_around_an_answer_is_taken_from_its_tokens() {
        let pieces: Vec<Piece> = [("```", -9.0), ("json\n{\"a", -1.0), ("\":1}", -2.0)]
            .map(|(token, logprob)| Piece { token: token.to_owned(), logprob })
            .into();
        let spelled = |text: &str| -> Vec<(String, f64)> {
            spelling(&pieces, text).iter().map(|token| (token.text.to_owned(), token.logprob)).collect()
        };
        assert_eq!(spelled("{\"a\":1}"), [("{\"a".to_owned(), -1.0), ("\":1}".to_owned(), -2.0)]);
        assert!(spelled("{\"b\":1}").is_empty(), "tokens of another text say nothing of this one");
    }
}
