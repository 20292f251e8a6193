//! The shape of a BERT: `config.json` of a base encoder.

use std::path::Path;

use serde::Deserialize;

use super::{Error, tokens::MAX_TOKENS};

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
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

/// What `config.json` says that the model is: read first, because others name their sizes otherwise.
#[derive(Debug, Deserialize)]
struct Kind {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
}

impl Kind {
    /// What it is, if that is no BERT. Configurations from before `model_type` have the architecture at most.
    fn foreign(&self) -> Option<String> {
        match &self.model_type {
            Some(found) => (found != "bert").then(|| format!("model_type is `{found}`, and only `bert` is known")),
            None => {
                let foreign = self.architectures.iter().find(|name| !name.starts_with("Bert"))?;
                Some(format!("its architecture is `{foreign}`, and only BERT is known"))
            }
        }
    }
}

/// What configurations from before this field mean.
fn absolute() -> String {
    "absolute".to_owned()
}

impl Config {
    /// Reads `config.json` of a base encoder's folder.
    pub(super) fn load(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("config.json");
        let malformed = |source| Error::Malformed { path: path.clone(), what: "encoder configuration", source };
        let text = std::fs::read(&path).map_err(|source| Error::File { action: "read", path: path.clone(), source })?;
        let kind: Kind = serde_json::from_slice(&text).map_err(|source| malformed(source.into()))?;
        if let Some(foreign) = kind.foreign() {
            return Err(malformed(foreign.into()));
        }
        let config: Self = serde_json::from_slice(&text).map_err(|source| malformed(source.into()))?;
        if let Some(what) = config.unknown() {
            return Err(malformed(what.into()));
        }
        if config.max_position_embeddings < MAX_TOKENS {
            return Err(malformed(format!("it reads no {MAX_TOKENS} tokens").into()));
        }
        Ok(config)
    }

    /// What of it the arithmetic doesn't know, by name.
    fn unknown(&self) -> Option<String> {
        let named = [
            ("hidden_act", &self.hidden_act, "gelu"),
            ("position_embedding_type", &self.position_embedding_type, "absolute"),
        ];
        if let Some((field, found, known)) = named.into_iter().find(|(_, found, known)| found != known) {
            return Some(format!("{field} is `{found}`, and only `{known}` is known"));
        }
        let (size, heads) = (self.hidden_size, self.num_attention_heads);
        (heads == 0 || !size.is_multiple_of(heads)).then(|| format!("{heads} heads don't divide {size}"))
    }
}

#[cfg(test)]
impl Config {
    /// A BERT of two small layers.
    pub(super) fn tiny() -> Self {
        Self {
            vocab_size: 20,
            hidden_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 24,
            max_position_embeddings: 12,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            hidden_act: "gelu".to_owned(),
            position_embedding_type: absolute(),
        }
    }

    /// The same with rows and heads that are whole vectors, for 1, 2 or 4 heads, and room for long sequences.
    pub(super) fn of_whole_vectors(heads: usize) -> Self {
        Self {
            vocab_size: 40,
            hidden_size: 64,
            num_attention_heads: heads,
            intermediate_size: 192,
            max_position_embeddings: 512,
            ..Self::tiny()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Configurations as those models' own code writes them, which name their sizes each in its way.
    #[test]
    fn other_models_are_refused_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for (config, name) in [
            (r#"{"model_type": "roberta", "hidden_size": 768, "architectures": ["RobertaModel"]}"#, "`roberta`"),
            (r#"{"model_type": "distilbert", "dim": 768, "n_layers": 6, "n_heads": 12}"#, "`distilbert`"),
            (r#"{"model_type": "modernbert", "hidden_activation": "gelu", "norm_eps": 1e-5}"#, "`modernbert`"),
            (r#"{"architectures": ["DistilBertModel"], "dim": 768}"#, "`DistilBertModel`"),
        ] {
            std::fs::write(dir.path().join("config.json"), config).unwrap();
            match Config::load(dir.path()) {
                Err(Error::Malformed { source, .. }) => assert!(source.to_string().contains(name), "{source}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_the_arithmetic_does_not_know_is_refused_by_its_name() {
        assert_eq!(Config::tiny().unknown(), None);
        let because = |change: &dyn Fn(&mut Config)| {
            let mut config = Config::tiny();
            change(&mut config);
            config.unknown().unwrap()
        };
        assert!(because(&|config| config.hidden_act = "gelu_new".into()).contains("`gelu_new`"));
        assert!(because(&|config| config.position_embedding_type = "relative_key".into()).contains("relative_key"));
        assert!(because(&|config| config.num_attention_heads = 3).contains("3 heads"));
    }
}
