//! Texts into tokens: a `tokenizer.json`, or the same made from a GGUF file's metadata.
//!
//! What strangers wrote is read without the model's own marks: `<|im_end|>` in a text is those letters and ends
//! nothing.

use std::{fs, path::Path};

use candle_core::quantized::gguf_file::Content;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer as Pieces;

use super::{
    Error,
    config::{Metadata, whole},
};

/// Where a text is cut before pieces are joined, as Qwen 2 does it (`tokenizer.json` of Qwen2.5, 2024-09); Llama 3
/// takes up to three digits together (`tokenizer.json` of Meta-Llama-3, 2024-04).
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// The kinds of token (`tokenizer.ggml.token_type`) that are marks and never the letters of a text.
const MARKS: [i64; 2] = [3, 4];

/// Cuts texts into tokens.
pub(super) struct Tokenizer {
    plain: Pieces,
    marked: Pieces,
}

impl Tokenizer {
    /// From the file beside the model, or from the model's own metadata.
    pub(super) fn read(content: &Content, file: Option<&Path>) -> Result<Self, Error> {
        let mut form = match file {
            Some(path) => {
                let bytes = fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
                serde_json::from_slice(&bytes).map_err(|source| Error::Tokenize(source.into()))?
            }
            None => form(Metadata(content))?,
        };
        // A prompt is never cut short nor filled up.
        form["truncation"] = Value::Null;
        form["padding"] = Value::Null;
        let made = |form: &Value| Pieces::from_bytes(form.to_string()).map_err(Error::Tokenize);
        let marked = made(&form)?;
        form["added_tokens"] = json!([]);
        Ok(Self { plain: made(&form)?, marked })
    }

    /// One more than the highest token.
    pub(super) fn size(&self) -> usize {
        self.marked.get_vocab(true).into_values().max().map_or(0, |most| most as usize + 1)
    }

    /// The token that is this mark.
    pub(super) fn mark(&self, name: &str) -> Option<u32> {
        self.marked.token_to_id(name)
    }

    /// The name of a token.
    pub(super) fn name(&self, token: u32) -> Option<String> {
        self.marked.id_to_token(token)
    }

    /// A text in which nothing is a mark.
    pub(super) fn plain(&self, text: &str) -> Result<Vec<u32>, Error> {
        encode(&self.plain, text)
    }

    /// A template's own text, marks and all.
    pub(super) fn marked(&self, text: &str) -> Result<Vec<u32>, Error> {
        encode(&self.marked, text)
    }
}

fn encode(pieces: &Pieces, text: &str) -> Result<Vec<u32>, Error> {
    Ok(pieces.encode_fast(text, false).map_err(Error::Tokenize)?.get_ids().to_vec())
}

/// The metadata as a `tokenizer.json` has them.
fn form(of: Metadata<'_>) -> Result<Value, Error> {
    let kind = of.text("tokenizer.ggml.model").unwrap_or("none");
    let cut = of.text("tokenizer.ggml.pre").unwrap_or("default");
    let unknown = || Error::Tokenizer { kind: format!("{kind}, {cut}") };
    if kind != "gpt2" {
        return Err(unknown());
    }
    let split = |pattern: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]})
    };
    let gpt2 = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let (cuts, whole_words) = match cut {
        "qwen2" | "deepseek-r1-qwen" => (split(QWEN2), false),
        "llama-bpe" | "llama3" | "llama-v3" => (split(LLAMA3), true),
        "gpt-2" => (gpt2, false),
        "smollm" => {
            (json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, gpt2]}), false)
        }
        _ => return Err(unknown()),
    };
    let texts = |key: &str| -> Result<Vec<&str>, Error> {
        let values = of.list(key).ok_or_else(|| Error::Metadata { key: key.to_owned(), says: "is missing" })?;
        let wrong = || Error::Metadata { key: key.to_owned(), says: "is no list of texts" };
        values.iter().map(|value| value.to_string().map(String::as_str).map_err(|_| wrong())).collect()
    };
    let tokens = texts("tokenizer.ggml.tokens")?;
    let kinds = of.list("tokenizer.ggml.token_type").unwrap_or_default();
    let is_mark = |at: usize| kinds.get(at).and_then(whole).is_some_and(|kind| MARKS.contains(&(kind as i64)));
    let marks: Vec<Value> = (0..tokens.len())
        .filter(|at| is_mark(*at))
        .map(|at| {
            json!({"id": at, "content": tokens[at], "special": true, "normalized": false,
                   "single_word": false, "lstrip": false, "rstrip": false})
        })
        .collect();
    let vocabulary: Map<String, Value> =
        tokens.iter().enumerate().map(|(at, token)| ((*token).to_owned(), at.into())).collect();
    Ok(json!({
        "version": "1.0",
        "added_tokens": marks,
        "normalizer": if whole_words { Value::Null } else { json!({"type": "NFC"}) },
        "pre_tokenizer": cuts,
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole_words,
            "vocab": vocabulary, "merges": texts("tokenizer.ggml.merges")?,
        },
    }))
}
