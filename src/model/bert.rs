//! The shape of a BERT: `config.json` of a base encoder.

use std::path::Path;

use serde::Deserialize;

use super::Error;

/// `config.json`, as far as the arithmetic depends on it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Config {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    pub(super) layer_norm_eps: f64,
    pub(super) hidden_act: String,
}

impl Config {
    /// Reads `config.json` of a base encoder's folder.
    pub(super) fn load(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("config.json");
        let malformed = |source| Error::Malformed { path: path.clone(), what: "encoder configuration", source };
        let text = std::fs::read(&path).map_err(|source| Error::File { action: "read", path: path.clone(), source })?;
        let config: Self = serde_json::from_slice(&text).map_err(|source| malformed(source.into()))?;
        if config.hidden_act != "gelu" || !config.hidden_size.is_multiple_of(config.num_attention_heads.max(1)) {
            return Err(malformed("only a BERT with gelu is known".into()));
        }
        Ok(config)
    }
}
