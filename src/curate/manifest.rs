//! What training asks for: which rows were checked, how, and with what result, under one hash.
//!
//! The same rows, settings and surroundings give the same manifest on any machine; it holds no time.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::report::{Check, Level, Value};
use crate::domain::Transaction;

/// The manifest's file in the check's folder.
pub const FILE: &str = "manifest.json";
const FORMAT: u32 = 1;

/// A check's result without its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckValue {
    /// The check.
    pub name: String,
    /// How bad its finding is.
    pub level: Level,
    /// How many rows are behind it.
    pub rows: usize,
    /// Its numbers.
    pub values: Vec<Value>,
}

/// Which rows were checked, how, and with what result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The set's name.
    pub data_set: String,
    /// [`rows_sha256`] of the labelled rows that could be read.
    pub rows_sha256: String,
    /// How many these are.
    pub rows: usize,
    /// [`rows_sha256`] of those that pass, quarantined ones left out.
    pub kept_sha256: String,
    /// How many these are.
    pub kept: usize,
    /// The version of the taxonomy that the labels are in.
    pub taxonomy: String,
    /// What folds were drawn from.
    pub split_seed: u64,
    /// How many folds.
    pub folds: usize,
    /// Whether no check blocks.
    pub passed: bool,
    /// Every check.
    pub checks: Vec<CheckValue>,
    /// SHA-256 of all of the above.
    pub sha256: String,
}

/// Why a manifest gives no leave to train.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("can't read {}: run `txcat data check` on the set first", path.display())]
    Missing {
        /// Where it was looked for.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no manifest.
    #[error("{} is no manifest", path.display())]
    Malformed {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Its hash is not that of its content.
    #[error("{} was changed after the check", path.display())]
    Changed {
        /// The file.
        path: std::path::PathBuf,
    },
    /// A check blocked.
    #[error("the check of this set blocked: {checks}")]
    Blocked {
        /// Which checks, by name.
        checks: String,
    },
    /// It is of other rows.
    #[error("the manifest is of {checked} other rows or labels (taxonomy {taxonomy}): check this set")]
    OtherRows {
        /// How many it is of.
        checked: usize,
        /// Their taxonomy.
        taxonomy: String,
    },
}

/// What a manifest is made of.
pub(super) struct Facts<'a> {
    pub(super) data_set: &'a str,
    pub(super) rows: (String, usize),
    pub(super) kept: (String, usize),
    pub(super) taxonomy: &'a str,
    pub(super) split_seed: u64,
    pub(super) folds: usize,
    pub(super) checks: &'a [Check],
}

impl Manifest {
    pub(super) fn new(facts: Facts<'_>) -> Self {
        let value = |check: &Check| CheckValue {
            name: check.name.clone(),
            level: check.level,
            rows: check.rows,
            values: check.values.clone(),
        };
        let mut manifest = Self {
            format: FORMAT,
            data_set: facts.data_set.to_owned(),
            rows_sha256: facts.rows.0,
            rows: facts.rows.1,
            kept_sha256: facts.kept.0,
            kept: facts.kept.1,
            taxonomy: facts.taxonomy.to_owned(),
            split_seed: facts.split_seed,
            folds: facts.folds,
            passed: facts.checks.iter().all(|check| check.level < Level::Block),
            checks: facts.checks.iter().map(value).collect(),
            sha256: String::new(),
        };
        manifest.sha256 = manifest.hash();
        manifest
    }

    /// Over its JSON with an empty hash: the order of members is the order above.
    fn hash(&self) -> String {
        let blank = Self { sha256: String::new(), ..self.clone() };
        hex::encode(Sha256::digest(serde_json::to_vec(&blank).unwrap_or_default()))
    }

    /// Whether the hash is that of the content.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.format == FORMAT && self.hash() == self.sha256
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When there is none, or it was changed since.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read(path).map_err(|source| Error::Missing { path: path.to_owned(), source })?;
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|source| Error::Malformed { path: path.to_owned(), source })?;
        if manifest.is_whole() { Ok(manifest) } else { Err(Error::Changed { path: path.to_owned() }) }
    }

    /// Whether training on these rows may begin: the check passed, and was of exactly them, or left
    /// exactly them.
    ///
    /// # Errors
    /// When a check blocked, or other rows were checked.
    pub fn allows(&self, rows_sha256: &str, taxonomy: &str) -> Result<(), Error> {
        if !self.passed {
            let blocked = self.checks.iter().filter(|check| check.level == Level::Block);
            let checks = blocked.map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::Blocked { checks });
        }
        if self.taxonomy == taxonomy && [&self.rows_sha256, &self.kept_sha256].iter().any(|hash| *hash == rows_sha256) {
            return Ok(());
        }
        Err(Error::OtherRows { checked: self.rows, taxonomy: self.taxonomy.clone() })
    }
}

/// SHA-256 over labelled rows: everything the caller told, with the label, whatever their order.
#[must_use]
pub fn rows_sha256<'a>(rows: impl IntoIterator<Item = (&'a Transaction, &'a str)>) -> String {
    let mut hashes: Vec<[u8; 32]> = rows
        .into_iter()
        .map(|(row, category)| {
            let mut hash = Sha256::new();
            let amount = row.amount.amount().normalize().to_string();
            let posted_at = row.posted_at.timestamp_micros().to_string();
            for field in [
                row.id.as_str(),
                row.account_id.as_str(),
                &posted_at,
                &amount,
                row.amount.currency().code(),
                row.direction.as_str(),
                row.descriptor.raw(),
                category,
            ] {
                hash.update((field.len() as u64).to_be_bytes());
                hash.update(field);
            }
            hash.finalize().into()
        })
        .collect();
    hashes.sort_unstable();
    let mut hash = Sha256::new();
    hashes.iter().for_each(|row| hash.update(row));
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(checks: &[Check]) -> Manifest {
        Manifest::new(Facts {
            data_set: "demo",
            rows: ("aa".to_owned(), 10),
            kept: ("bb".to_owned(), 8),
            taxonomy: "demo@1",
            split_seed: 1,
            folds: 5,
            checks,
        })
    }

    #[test]
    fn a_passing_manifest_allows_the_checked_and_the_kept_rows_and_no_others() {
        let passed = manifest(&[Check::new("schema", Level::Warn, "a few")]);
        assert!(passed.allows("aa", "demo@1").is_ok() && passed.allows("bb", "demo@1").is_ok());
        assert!(matches!(passed.allows("cc", "demo@1"), Err(Error::OtherRows { checked: 10, .. })));
        assert!(matches!(passed.allows("aa", "other@1"), Err(Error::OtherRows { .. })));
        let blocked = manifest(&[Check::new("pii", Level::Block, "cards"), Check::new("schema", Level::Pass, "")]);
        assert!(matches!(blocked.allows("aa", "demo@1"), Err(Error::Blocked { checks }) if checks == "pii"));
    }

    #[test]
    fn a_manifest_that_was_edited_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert!(matches!(Manifest::read(&path), Err(Error::Missing { .. })));
        let blocked = manifest(&[Check::new("pii", Level::Block, "cards").value("card_number", 0.1 + 0.2)]);
        fs::write(&path, serde_json::to_vec(&blocked).unwrap()).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), blocked);
        fs::write(&path, serde_json::to_vec(&Manifest { passed: true, ..blocked }).unwrap()).unwrap();
        assert!(matches!(Manifest::read(&path), Err(Error::Changed { .. })));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(Manifest::read(&path), Err(Error::Malformed { .. })));
    }
}
