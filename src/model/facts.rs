//! What is known of an adapter but its numbers: `txcat.json` of its folder.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::domain::{Acceptance, Enrichment};

use super::{
    BaseEncoder, Error,
    calibrate::Fusion,
    folder::files_of,
    input::AdapterInput,
    method::Method,
    sha256_of,
    tensors::read,
    train::{DevMetrics, Origin, TrainOptions},
};

/// The file's name.
pub(super) const FACTS: &str = "txcat.json";
pub(super) const FORMAT: u32 = 2;

/// `txcat.json`: everything about an adapter but its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterFacts {
    pub(super) format: u32,
    /// Its name: the folder's.
    pub name: String,
    /// What it was trained on, in words.
    pub data: String,
    /// The base encoder.
    pub base: Base,
    /// Version of the taxonomy that it answers in.
    pub taxonomy: String,
    /// Slugs of that taxonomy's assignable categories, in its order.
    pub categories: Vec<String>,
    /// How much of a transaction the encoder reads.
    #[serde(default = "plain")]
    pub enrichment: Enrichment,
    /// How the parts become one probability.
    pub fusion: Fusion,
    /// From which confidence answers on dev were right at least as often as `training.target`.
    pub acceptance: Acceptance,
    /// How it was trained.
    pub training: TrainOptions,
    /// Who trained it.
    #[serde(default)]
    pub origin: Origin,
    /// The pass whose numbers were kept.
    pub best_epoch: usize,
    /// Numbers that were trained, the wide part's not among them; 0 where the folder doesn't say.
    #[serde(default)]
    pub trained: usize,
    /// Labelled rows, terms and unlabelled texts learned from.
    pub counts: [usize; 3],
    /// What its training took, where that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Measured on dev.
    pub dev: DevMetrics,
    /// SHA-256 of files the training read, by what they are.
    pub sources: BTreeMap<String, String>,
    /// SHA-256 of the other files of the folder, by name.
    pub files: BTreeMap<String, String>,
    /// Inputs, and what must come out.
    pub(super) probes: Vec<Probe>,
}

/// What a training took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Rows that went through it, all passes together.
    pub rows: usize,
    /// How long those took.
    pub seconds: f64,
}

/// Folders that don't say were trained on the descriptor, amount and direction.
fn plain() -> Enrichment {
    Enrichment::None
}

/// The name in [`AdapterFacts::sources`] of the digest of the labels that were learned from.
pub const LABELS: &str = "labels, by sorted id";

/// The name in [`AdapterFacts::sources`] of the SHA-256 of the manifest that let them be learned from.
pub const MANIFEST: &str = "manifest of the label check";

/// Which weights an adapter is a difference to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Such as `all-MiniLM-L6-v2`.
    pub name: String,
    /// SHA-256 of its `model.safetensors`.
    pub sha256: String,
    /// Its repository on the Hugging Face hub, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// How its linear layers' weights are kept. Without this an adapter would be a difference to other
    /// weights than those it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}

impl Base {
    /// What hubs and Python know it by.
    pub(super) fn repository(&self) -> &str {
        self.hub.as_deref().unwrap_or(&self.name)
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (SHA-256 {})", self.name, self.sha256)
    }
}

/// How weights are kept in fewer bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantization {
    /// 4-bit NormalFloat in blocks of 64, scales in 8 bits by 256, as bitsandbytes' double quantization.
    #[serde(rename = "nf4, blocks of 64, scales in 8 bits by 256")]
    Nf4,
}

impl Quantization {
    pub(super) fn of(method: Method) -> Option<Self> {
        method.quantizes().then_some(Self::Nf4)
    }
}

/// An input and what must come out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Probe {
    pub(super) input: AdapterInput,
    pub(super) encoder_logits: Vec<f32>,
    pub(super) probabilities: Vec<f32>,
}

/// What else is known of an adapter when it is saved.
#[derive(Debug, Clone)]
pub struct Naming {
    /// What it was trained on, in words.
    pub data: String,
    /// Version of the taxonomy.
    pub taxonomy: String,
    /// Slugs of its assignable categories, in order.
    pub categories: Vec<String>,
    /// How much of a transaction the rows' texts tell.
    pub enrichment: Enrichment,
    /// SHA-256 of files the training read, by what they are.
    pub sources: BTreeMap<String, String>,
    /// What the training took.
    pub effort: Option<Effort>,
}

impl AdapterFacts {
    /// Reads the facts of a folder without its numbers.
    ///
    /// # Errors
    /// When there is no such file, or it is malformed.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FACTS);
        let text = read(&path)?;
        let malformed = |source| Error::Malformed { path: path.clone(), what: "adapter description", source };
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|source| malformed(source.into()))?;
        if value.get("format").and_then(serde_json::Value::as_u64) != Some(u64::from(FORMAT)) {
            return Err(malformed(format!("its format is not {FORMAT}: train it again with this txcat").into()));
        }
        serde_json::from_value(value).map_err(|source| malformed(source.into()))
    }

    /// The engine of a folder's adapter, as predictions name it; no other file is read.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn engine(dir: &Path) -> Result<String, Error> {
        Ok(Self::read(dir)?.engine_of(&sha256_of(&dir.join(FACTS))?))
    }

    /// What predictions call the adapter whose `txcat.json` has this SHA-256.
    pub(super) fn engine_of(&self, sha256: &str) -> String {
        format!("adapter:{}@{}", self.name, &sha256[..8])
    }

    /// [`Self::read`] where the adapter is a difference to `base`, with the SHA-256 of every other file of
    /// the folder checked; beside it that of `txcat.json`, which holds theirs: it changes with any of them.
    pub(super) fn verified(dir: &Path, base: &BaseEncoder) -> Result<(Self, String), Error> {
        let facts = Self::read(dir)?;
        if facts.base.sha256 != base.sha256 {
            let (trained, here) = (Box::new(facts.base), Box::new(base.clone()));
            return Err(Error::OtherBase { dir: dir.to_owned(), trained, here });
        }
        for name in files_of(facts.training.method) {
            let path = dir.join(name);
            let wanted = facts.files.get(*name).cloned().unwrap_or_default();
            let found = sha256_of(&path)?;
            if found != wanted {
                return Err(Error::WrongHash { path, wanted, found });
            }
        }
        let hash = sha256_of(&dir.join(FACTS))?;
        Ok((facts, hash))
    }
}
