//! A tuned model as an entry of the chat model file, so that `--chat-model` can name it.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Serialize;

use super::Error;
use crate::llm::{ModelEntry, ModelFile, config::Structured};

/// What of a base model's entry holds for the tuned one. Its price is another, so none is written.
#[derive(Serialize)]
struct Tuned<'a> {
    name: &'a str,
    provider: &'a str,
    base_url: &'a str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_header: Option<&'a str>,
    structured: &'a str,
    logprobs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    rows_per_request: usize,
    concurrency: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_minute: Option<u32>,
    send_personal_data: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Entries<'a> {
    model: [Tuned<'a>; 1],
}

/// Appends the tuned model `model` of `base` to a chat model file under a name; the file may not be there yet. It
/// is asked for one row at a time, as it was trained.
///
/// # Errors
/// When the file has that name, can't be read or written, or would not be a model file.
pub fn append(path: &Path, name: &str, base: &ModelEntry, model: &str) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    if !before.is_empty() && ModelFile::load(path)?.models.iter().any(|model| model.name == name) {
        return Err(Error::Named { name: name.to_owned(), path: path.to_owned() });
    }
    let tuned = Tuned {
        name,
        provider: "openai",
        base_url: &base.base_url,
        model,
        key: base.key.as_deref(),
        key_header: base.key_header.as_deref(),
        structured: match base.structured {
            Structured::JsonSchema => "json_schema",
            Structured::JsonObjectSchema => "json_object_schema",
            Structured::JsonObject => "json_object",
            Structured::Text => "text",
        },
        logprobs: base.logprobs,
        temperature: base.temperature,
        rows_per_request: 1,
        concurrency: base.concurrency,
        requests_per_minute: base.requests_per_minute,
        tokens_per_minute: base.tokens_per_minute,
        send_personal_data: base.send_personal_data,
        query: &base.query,
    };
    let entry = toml::to_string(&Entries { model: [tuned] }).map_err(Error::Toml)?;
    let gap = if before.is_empty() || before.ends_with("\n\n") { "" } else { "\n" };
    let text =
        format!("{before}{gap}# Tuned from {}. Its price is not the base model's: add one.\n{entry}", base.model);
    fs::write(path, text).map_err(failed)
}
