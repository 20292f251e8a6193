//! A checked set as the store keeps it.

use chrono::{DateTime, Utc};

use super::{gate::Outcome, set::LabelledSet};
use crate::store::{DatasetItem, NewDataset, NewLabelReport};

/// Everything to store about one check.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The set.
    pub dataset: NewDataset,
    /// What was found.
    pub report: NewLabelReport,
    /// Its rows, where they are the store's own.
    pub items: Vec<DatasetItem>,
}

/// Of a set from a folder.
///
/// # Errors
/// When the report can't be written as JSON.
pub fn of_folder(set: &LabelledSet, outcome: &Outcome, now: DateTime<Utc>) -> Result<Record, serde_json::Error> {
    record(set, outcome, ("folder", "cli"), now, Vec::new())
}

/// Of a set of stored transactions, made by somebody.
///
/// # Errors
/// When the report can't be written as JSON.
pub fn of_store(
    set: &LabelledSet,
    outcome: &Outcome,
    made_by: &str,
    now: DateTime<Utc>,
) -> Result<Record, serde_json::Error> {
    let item = |(place, example): (usize, &super::set::Example)| DatasetItem {
        transaction_id: example.transaction.id.to_string(),
        category: set.slug(example.class).to_string(),
        labelled_by: example.labelled_by.clone().unwrap_or_default(),
        kept: !outcome.quarantine.contains_key(&place),
    };
    record(set, outcome, ("store", made_by), now, set.examples.iter().enumerate().map(item).collect())
}

fn record(
    set: &LabelledSet,
    outcome: &Outcome,
    (source, made_by): (&'static str, &str),
    now: DateTime<Utc>,
    items: Vec<DatasetItem>,
) -> Result<Record, serde_json::Error> {
    let (manifest, report) = (&outcome.manifest, &outcome.report);
    let count = |rows: usize| i32::try_from(rows).unwrap_or(i32::MAX);
    Ok(Record {
        dataset: NewDataset {
            name: set.name.clone(),
            source,
            taxonomy: manifest.taxonomy.clone(),
            rows: count(manifest.rows),
            rows_sha256: bytes(&manifest.rows_sha256),
            made_by: made_by.to_owned(),
            made_at: now,
        },
        report: NewLabelReport {
            passed: manifest.passed,
            quarantined: count(report.quarantined),
            manifest_sha256: bytes(&manifest.sha256),
            manifest: serde_json::to_value(manifest)?,
            report: serde_json::to_value(report)?,
        },
        items,
    })
}

/// A hash that was written as text here.
fn bytes(hash: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    // Only a text of another length fails, and these are SHA-256.
    let _ = hex::decode_to_slice(hash, &mut bytes);
    bytes
}
