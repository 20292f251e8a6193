//! What a GGUF file's metadata say about its model: sizes, and how positions turn it.
//!
//! Keys are those of the GGUF specification (`ggml/docs/gguf.md`, read in November 2026).

use candle_core::quantized::gguf_file::{Content, Value};

use super::Error;

/// What can be computed.
pub(super) const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Sizes of a model.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// Heads of keys and values; each serves `heads / key_heads` heads.
    pub(super) key_heads: usize,
    pub(super) head: usize,
    pub(super) epsilon: f32,
    pub(super) rope_base: f32,
    /// Whether a head's halves turn together, or its neighbours: for those Llama's converter has reordered the rows.
    pub(super) turns_halves: bool,
    /// The most tokens that it reads.
    pub(super) context: usize,
}

impl Config {
    pub(super) fn read(content: &Content) -> Result<Self, Error> {
        let of = Metadata(content);
        let architecture = of.text("general.architecture").unwrap_or_default();
        if !ARCHITECTURES.contains(&architecture) {
            return Err(Error::Architecture { architecture: architecture.to_owned() });
        }
        let key = |name: &str| format!("{architecture}.{name}");
        let number = |name: &str| of.needed(&key(name));
        let heads = number("attention.head_count")?;
        let key_heads = of.number(&key("attention.head_count_kv"))?.unwrap_or(heads);
        let wrong = |name: &str, says| Err(Error::Metadata { key: key(name), says });
        if key_heads == 0 || heads == 0 || heads % key_heads != 0 {
            return wrong("attention.head_count_kv", "does not divide the heads");
        }
        let head = of.number(&key("attention.key_length"))?.unwrap_or(number("embedding_length")? / heads);
        let turned = of.number(&key("rope.dimension_count"))?.unwrap_or(head);
        if turned != head || head % 2 != 0 {
            return wrong("rope.dimension_count", "is not the size of a head: such positions can't be computed");
        }
        if of.text(&key("rope.scaling.type")).is_some_and(|kind| kind != "none") {
            return wrong("rope.scaling.type", "stretches positions in a way that can't be computed");
        }
        if of.number(&key("expert_count"))?.is_some_and(|count| count > 0) {
            return wrong("expert_count", "is of a mixture of experts, which can't be computed");
        }
        Ok(Self {
            layers: number("block_count")?,
            heads,
            key_heads,
            head,
            epsilon: of.float(&key("attention.layer_norm_rms_epsilon")).unwrap_or(1e-5),
            rope_base: of.float(&key("rope.freq_base")).unwrap_or(10_000.0),
            turns_halves: architecture != "llama",
            context: number("context_length")?,
        })
    }
}

/// A file's metadata, by key.
#[derive(Clone, Copy)]
pub(super) struct Metadata<'a>(pub(super) &'a Content);

impl<'a> Metadata<'a> {
    pub(super) fn text(self, key: &str) -> Option<&'a str> {
        match self.0.metadata.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn flag(self, key: &str) -> Option<bool> {
        match self.0.metadata.get(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    pub(super) fn list(self, key: &str) -> Option<&'a [Value]> {
        match self.0.metadata.get(key)? {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }

    /// A whole number that is not negative, however wide it is stored.
    pub(super) fn number(self, key: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.0.metadata.get(key) else { return Ok(None) };
        whole(value).map(Some).ok_or_else(|| Error::Metadata { key: key.to_owned(), says: "is no whole number from 0" })
    }

    fn needed(self, key: &str) -> Result<usize, Error> {
        self.number(key)?.ok_or_else(|| Error::Metadata { key: key.to_owned(), says: "is missing" })
    }

    fn float(self, key: &str) -> Option<f32> {
        match self.0.metadata.get(key)? {
            Value::F32(value) => Some(*value),
            Value::F64(value) => Some(*value as f32),
            _ => None,
        }
    }
}

/// A whole number that is not negative.
pub(super) fn whole(value: &Value) -> Option<usize> {
    match *value {
        Value::U8(value) => Some(value.into()),
        Value::U16(value) => Some(value.into()),
        Value::U32(value) => value.try_into().ok(),
        Value::U64(value) => value.try_into().ok(),
        Value::I8(value) => value.try_into().ok(),
        Value::I16(value) => value.try_into().ok(),
        Value::I32(value) => value.try_into().ok(),
        Value::I64(value) => value.try_into().ok(),
        _ => None,
    }
}
