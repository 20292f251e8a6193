//! Who was measured on what: the head of every report and comparison.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    evaluate::metrics::{Share, wilson},
    store::EvalRun,
};

/// Who was measured on what, and how often it was right. Shares are in 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrackedRun {
    /// Its number; later ones are greater.
    pub id: i64,
    /// When the command that made it began.
    pub started_at: DateTime<Utc>,
    /// The data set's name.
    pub data_set: String,
    /// The file's name within it.
    pub file: String,
    /// SHA-256 of the file, hexadecimal: which version of the data.
    pub file_sha256: String,
    /// Which stage, or which peer.
    pub stage: String,
    /// Which engine, with its content hash; empty for a peer.
    pub engine: String,
    /// Whether another program gave the answers.
    pub peer: bool,
    /// Which taxonomy version.
    pub taxonomy: String,
    /// How many labels could be seen, where that was limited.
    #[schema(required)]
    pub label_budget: Option<i32>,
    /// SHA-256 of the sorted ids of those labels.
    #[schema(required)]
    pub labels_sha256: Option<String>,
    /// What drew labels.
    #[schema(required)]
    pub seed: Option<i64>,
    /// The program that measured.
    #[schema(required)]
    pub code_version: Option<String>,
    /// The accuracy the stage is meant to have; never a measurement.
    #[schema(required)]
    pub target: Option<f64>,
    /// Share of rows that are right, with its Wilson interval over rows.
    #[schema(required)]
    pub accuracy: Option<Share>,
    /// Mean F1 over categories.
    pub macro_f1: f64,
    /// Share of rows that can be accepted at 92 % accuracy, by thresholds fitted on dev.
    #[schema(required)]
    pub coverage_at_target: Option<f64>,
    /// Rows in a second.
    #[schema(required)]
    pub rows_per_s: Option<f64>,
    /// What 1,000 rows cost, as a decimal; null where nobody bills for them.
    #[schema(required, value_type = Option<String>)]
    pub cost_per_1000: Option<Decimal>,
    /// ISO 4217.
    #[schema(required)]
    pub currency: Option<String>,
}

impl From<EvalRun> for TrackedRun {
    fn from(EvalRun { id, run }: EvalRun) -> Self {
        let count = |rows: i32| usize::try_from(rows).unwrap_or_default();
        Self {
            id,
            started_at: run.started_at,
            data_set: run.data_set,
            file: run.file,
            file_sha256: hex::encode(run.file_sha256),
            stage: run.stage,
            engine: run.engine,
            peer: run.peer,
            taxonomy: run.taxonomy,
            label_budget: run.label_budget,
            labels_sha256: run.labels_sha256.map(hex::encode),
            seed: run.seed,
            code_version: run.code_version,
            target: run.target,
            accuracy: wilson(count(run.correct), count(run.rows)),
            macro_f1: run.macro_f1,
            coverage_at_target: run.coverage_at_target,
            rows_per_s: run.rows_per_s,
            cost_per_1000: run.cost_per_1000,
            currency: run.currency,
        }
    }
}
