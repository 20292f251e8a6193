//! A human's word on a transaction, and whether one is wanted.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Slug, TransactionId};

/// How far a correction reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorrectionScope {
    /// This transaction alone.
    Transaction,
    /// This one, and every later one of the same account and descriptor key.
    AccountMerchant,
}

/// A human's word on one transaction. It never overwrites the prediction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Which transaction.
    pub transaction_id: TransactionId,
    /// What it really is.
    pub category: Slug,
    /// How far that reaches.
    pub scope: CorrectionScope,
    /// Why, in the corrector's words.
    pub note: Option<String>,
    /// Who said so: the API key's name, or `local`.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// Whether a human's eye is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewStatus {
    /// The confidence was high enough.
    Accepted,
    /// Waits in the review queue.
    Pending,
    /// A human decided.
    Reviewed,
}
