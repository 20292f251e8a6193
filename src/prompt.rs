//! Prompt folders: `prompts/categorize/<version>/`, versioned by their content.
//!
//! A folder holds the few-shot examples that a stage shows its model. The version that is stored
//! with every prediction is the folder's name and the hash of its files, so a prediction can be
//! traced to the very words behind it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{Currency, Direction, Slug};

/// One worked example of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// Statement text as a bank would show it.
    pub descriptor: String,
    /// How much, in `currency`.
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: Currency,
    /// Which way the money went.
    pub direction: Direction,
    /// What it is.
    pub category: Slug,
}

/// A loaded prompt folder.
#[derive(Debug, Clone)]
pub struct PromptSet {
    version: String,
    examples: Vec<Example>,
}

/// Why a prompt folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing or unreadable.
    #[error("`{}` can't be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not an example.
    #[error("`{}` line {line} is not an example", path.display())]
    Example {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

impl PromptSet {
    /// Reads `dir/examples.jsonl`.
    ///
    /// # Errors
    /// When the file is missing or a line is not an [`Example`].
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("examples.jsonl");
        let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let mut examples = Vec::new();
        for (line, json) in (1..).zip(text.lines()).filter(|(_, json)| !json.trim().is_empty()) {
            let parsed = serde_json::from_str(json);
            examples.push(parsed.map_err(|source| Error::Example { path: path.clone(), line, source })?);
        }
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let hash = hex::encode(&Sha256::digest(&text)[..4]);
        Ok(Self { version: format!("{name}@{hash}"), examples })
    }

    /// Folder name and content hash, such as `few_shot_v1@9f2c11aa`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The worked examples.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }
}
