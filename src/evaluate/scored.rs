//! What one engine answered on one file, and the figures over it.

use std::collections::HashMap;

use rust_decimal::Decimal;

use crate::domain::{Acceptance, DescriptorKey, TransactionId};

use super::{
    metrics::{self, Coverage, Scored, Share},
    paired::{self, Difference, Pair},
};

/// Share of right answers among the accepted that coverage is reported at, for every stage alike.
pub const COVERAGE_TARGET: f64 = 0.92;

/// One row of a scored file.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Which row.
    pub id: TransactionId,
    /// Its descriptor key.
    pub key: DescriptorKey,
    /// Truth, answer, confidence.
    pub scored: Scored,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answerer {
    /// The stage's name, or a peer's.
    pub name: String,
    /// The engine and its version; empty for a peer.
    pub engine: String,
    /// The accuracy the stage is meant to have; a peer has none.
    pub target: Option<f64>,
}

/// What 1,000 answers cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// How much.
    pub per_1000: Decimal,
    /// In which currency.
    pub currency: String,
}

/// One engine's answers on one file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileScore {
    /// Who answered.
    pub answerer: Answerer,
    /// The file's name without its ending.
    pub file: String,
    /// Its rows, in the file's order.
    pub items: Vec<Item>,
    /// Rows the engine answered in a second, rendering included, enrichment not; a peer's is unknown.
    pub rows_per_s: Option<f64>,
    /// What the answers cost, where somebody bills for them.
    pub cost: Option<Cost>,
    /// The figures.
    pub figures: Figures,
}

/// The figures over one engine's answers on one file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Share of right answers.
    pub accuracy: Share,
    /// The same among rows whose descriptor key occurs among the bought labels.
    pub known: Option<Share>,
    /// The same among the others.
    pub unknown: Option<Share>,
    /// See [`metrics::macro_f1`].
    pub macro_f1: f64,
    /// See [`metrics::calibration_error`]; absent without confidences.
    pub ece: Option<f64>,
    /// What thresholds fitted on dev for [`COVERAGE_TARGET`] accept; absent without confidences.
    pub coverage: Option<Coverage>,
}

impl Figures {
    /// Computes them; `acceptance` is dev's. `None` without rows.
    #[must_use]
    pub fn of(items: &[Item], has_confidence: bool, acceptance: Acceptance) -> Option<Self> {
        let rows: Vec<Scored> = items.iter().map(|item| item.scored).collect();
        Some(Self {
            accuracy: metrics::accuracy(&rows, |_| true)?,
            known: metrics::accuracy(&rows, |row| row.known),
            unknown: metrics::accuracy(&rows, |row| !row.known),
            macro_f1: metrics::macro_f1(&rows),
            ece: has_confidence.then(|| metrics::calibration_error(&rows)),
            coverage: has_confidence.then(|| metrics::coverage(&rows, acceptance)),
        })
    }
}

/// Our accuracy minus theirs on the same file, rows joined by id; `None` when they share no row.
#[must_use]
pub fn difference(ours: &FileScore, theirs: &FileScore, seed: u64) -> Option<Difference> {
    let right: HashMap<&TransactionId, bool> =
        theirs.items.iter().map(|item| (&item.id, item.scored.correct())).collect();
    let pairs: Vec<Pair<'_>> = ours
        .items
        .iter()
        .filter_map(|item| {
            let theirs = *right.get(&item.id)?;
            Some(Pair { ours: item.scored.correct(), theirs, key: item.key.as_str() })
        })
        .collect();
    paired::compare(&pairs, seed)
}
