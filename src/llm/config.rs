//! `models/chat.toml`: which chat models there are, how each is reached and limited, and what it costs.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    Error,
    pricing::{Budget, Price},
};

/// `models/chat.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// What may be spent.
    #[serde(default)]
    pub budget: Budget,
    /// The models.
    #[serde(default, rename = "model")]
    pub models: Vec<ModelEntry>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// What it is called here.
    pub name: String,
    /// Which wire format it speaks.
    pub provider: Provider,
    /// Where it is, with the version: `https://api.openai.com/v1`. A model file has none.
    #[serde(default)]
    pub base_url: String,
    /// The model file of `gguf`, from the folder that txcat runs in.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// The `tokenizer.json` of that model, where the file's own tokenizer is of a kind that is not known here.
    #[serde(default)]
    pub tokenizer: Option<PathBuf>,
    /// What the provider calls it.
    pub model: String,
    /// The environment variable that holds its key; none for a server without keys.
    #[serde(default)]
    pub key: Option<String>,
    /// The header that carries the key; `authorization` carries it as a bearer token.
    #[serde(default)]
    pub key_header: Option<String>,
    /// Put behind every path, such as Azure's `api-version`.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// How its answer is held to a form.
    #[serde(default)]
    pub structured: Structured,
    /// Which member of a chat completion's request limits its answer.
    #[serde(default)]
    pub answer_limit: AnswerLimit,
    /// Whether it tells the probability of its tokens.
    #[serde(default)]
    pub logprobs: bool,
    /// Sampling temperature, in `[0, 2]`; models that think take none.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Tokens that it may think before it answers, beside the answer's own.
    #[serde(default)]
    pub thinking_tokens: u32,
    /// Transactions of one request.
    #[serde(default = "rows_per_request")]
    pub rows_per_request: usize,
    /// Requests under way at a time.
    #[serde(default = "concurrency")]
    pub concurrency: usize,
    /// Requests a minute.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, prompt and answer.
    #[serde(default)]
    pub tokens_per_minute: Option<u32>,
    /// Seconds until an attempt is given up.
    #[serde(default = "timeout_s")]
    pub timeout_s: f32,
    /// Attempts after the first, each after a longer wait.
    #[serde(default = "retries")]
    pub retries: usize,
    /// The first wait, in seconds; it doubles each time.
    #[serde(default = "backoff_s")]
    pub backoff_s: f32,
    /// Seconds that a server which failed five times in a row is left alone.
    #[serde(default = "rest_s")]
    pub rest_s: f32,
    /// Seconds between two looks at a batch.
    #[serde(default = "batch_poll_s")]
    pub batch_poll_s: f32,
    /// Whether personal data is sent as it is. Off only for a server of your own.
    #[serde(default)]
    pub send_personal_data: bool,
    /// What it costs, each price from a day on.
    #[serde(default, rename = "price")]
    pub prices: Vec<Price>,
}

/// Transactions of one request where a model's entry doesn't say.
#[must_use]
pub fn rows_per_request() -> usize {
    10
}
fn concurrency() -> usize {
    8
}
fn timeout_s() -> f32 {
    30.0
}
fn retries() -> usize {
    3
}
fn backoff_s() -> f32 {
    0.5
}
fn rest_s() -> f32 {
    30.0
}
fn batch_poll_s() -> f32 {
    30.0
}

/// Which wire format, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Chat completions: OpenAI, Azure, vLLM, Ollama, llama.cpp and others.
    Openai,
    /// Anthropic's Messages.
    Anthropic,
    /// No wire at all: a model file that runs in this process.
    Gguf,
}

/// How an answer is held to a form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structured {
    /// By a strict JSON Schema with the categories as an enum. A server that refuses it is asked for the next.
    #[default]
    JsonSchema,
    /// By the same schema beside `json_object`, as llama-cpp-python, Together and Fireworks take it.
    JsonObjectSchema,
    /// To some JSON object; the prompt says which.
    JsonObject,
    /// By the prompt's words alone.
    Text,
}

/// The member of a request that limits the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerLimit {
    /// OpenAI's, which models that think take alone.
    #[default]
    MaxCompletionTokens,
    /// The older name. A server that knows this one alone passes over the other, and answers without a limit.
    MaxTokens,
}

impl ModelFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it can't be read, is not of this shape, or has a setting that can't be.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::ModelFile { path: path.to_owned(), source })?;
        let file: Self = toml::from_str(&text)
            .map_err(|source| Error::ModelToml { path: path.to_owned(), source: Box::new(source) })?;
        file.budget.check()?;
        file.models.iter().try_for_each(ModelEntry::check)?;
        let mut names = HashSet::new();
        if let Some(twice) = file.models.iter().find(|model| !names.insert(&model.name)) {
            return Err(Error::Setting { model: twice.name.clone(), says: "is there twice" });
        }
        Ok(file)
    }

    /// The model of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn entry(&self, name: &str) -> Result<&ModelEntry, Error> {
        self.models.iter().find(|model| model.name == name).ok_or_else(|| Error::UnknownModel {
            name: name.to_owned(),
            known: match self.models.as_slice() {
                [] => "none".to_owned(),
                models => models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", "),
            },
        })
    }
}

impl ModelEntry {
    fn check(&self) -> Result<(), Error> {
        let wrong = |says| Err(Error::Setting { model: self.name.clone(), says });
        let seconds = [self.timeout_s, self.backoff_s, self.rest_s, self.batch_poll_s];
        let is_file = self.provider == Provider::Gguf;
        match () {
            () if is_file && self.file.is_none() => wrong("a gguf model needs a `file`"),
            () if !is_file && self.base_url.is_empty() => wrong("needs a `base_url`"),
            () if !is_file
                && !reqwest::Url::parse(&self.base_url).is_ok_and(|url| url.scheme().starts_with("http")) =>
            {
                wrong("base_url must be an address such as https://api.openai.com/v1")
            }
            () if !is_file && (self.file.is_some() || self.tokenizer.is_some()) => {
                wrong("`file` and `tokenizer` are of gguf models alone")
            }
            () if !(1..=200).contains(&self.rows_per_request) => wrong("rows_per_request must be from 1 to 200"),
            () if !(1..=1_000).contains(&self.concurrency) => wrong("concurrency must be from 1 to 1000"),
            () if self.retries > 20 => wrong("retries must be at most 20"),
            () if !seconds.iter().all(|seconds| (0.001..=3_600.0).contains(seconds)) => {
                wrong("timeout_s, backoff_s, rest_s and batch_poll_s must be from 0.001 to 3600")
            }
            () if !self.prices.iter().all(Price::is_positive) => {
                wrong("a price can't be negative, and `batch` is a part of the other prices, from 0 to 1")
            }
            () if self.requests_per_minute == Some(0) || self.tokens_per_minute == Some(0) => {
                wrong("a limit of 0 a minute lets nothing pass")
            }
            () if !self.temperature.is_none_or(|of| (0.0..=2.0).contains(&of)) => {
                wrong("temperature must be from 0 to 2")
            }
            () => Ok(()),
        }
    }

    /// How often one request may be sent.
    #[must_use]
    pub fn most_attempts(&self) -> u32 {
        u32::try_from(self.retries).unwrap_or(u32::MAX - 1) + 1
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs_f32(self.timeout_s)
    }

    /// The key, from the environment.
    ///
    /// # Errors
    /// When its variable is not set, or empty.
    pub fn secret(&self) -> Result<Option<crate::config::Secret>, Error> {
        let Some(variable) = &self.key else { return Ok(None) };
        match std::env::var(variable) {
            Ok(key) if !key.trim().is_empty() => Ok(Some(key.trim().to_owned().into())),
            _ => Err(Error::NoKey { model: self.name.clone(), variable: variable.clone() }),
        }
    }
}
