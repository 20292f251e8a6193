//! A human's word on a transaction, and whether one is wanted.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Slug, TransactionId,
    transaction::{InvalidText, code_enum},
};

/// How far a correction reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorrectionScope {
    /// This transaction alone.
    Transaction,
    /// This one, and every later one of the same account and descriptor key.
    AccountMerchant,
    /// This one, and every later one with the descriptor key, whatever the account.
    Merchant,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewStatus {
    /// The confidence was high enough.
    Accepted,
    /// Waits in the review queue.
    Pending,
    /// A human decided.
    Reviewed,
}

/// Why a human's eye is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewReason {
    /// Below the confidence that keeps the stage's target accuracy.
    LowConfidence,
    /// The stage has no such confidence fitted yet, so nothing it says is accepted unseen.
    NotCalibrated,
    /// The model gave no answer that could be used.
    Unanswered,
    /// The statement text may be meant for a model.
    Suspicious,
    /// Answers of its confidence level were right less often than the level promises.
    BrokenPromise,
    /// Drawn at random from the accepted: what people say of these rows is how accurate live answers are.
    Audit,
    /// A customer said that it is wrong.
    Complaint,
    /// Another engine, as sure as it may be, said something else.
    Disagreement,
    /// A rule had decided it, and was taken back.
    RuleWithdrawn,
    /// A person or a rule had decided it, and that category was split in another taxonomy.
    Split,
    /// Drawn by lot from a merchant or category whose answers have moved.
    Drift,
}

/// Whose word the category in force is, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// A human corrected this transaction.
    Correction,
    /// A label that came with the imported data.
    Import,
    /// A human corrected an earlier transaction of this account and descriptor key.
    AccountRule,
    /// A human said what this descriptor key is, whatever the account.
    MerchantRule,
    /// The stage's prediction.
    Stage,
}

impl DecidedBy {
    /// Whether nobody chose a labelled row for its answer: the label came with the data, or the row was drawn for an
    /// audit. People correct what is wrong, so that other labels don't tell how often answers are right.
    #[must_use]
    pub fn is_at_random(self, audited: bool) -> bool {
        self == Self::Import || audited
    }
}

/// The category that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Which.
    pub category: Slug,
    /// Whose word it is.
    pub decided_by: DecidedBy,
}

code_enum!(
    ReviewReason {
        LowConfidence = "low_confidence",
        NotCalibrated = "not_calibrated",
        Unanswered = "unanswered",
        Suspicious = "suspicious",
        BrokenPromise = "broken_promise",
        Audit = "audit",
        Complaint = "complaint",
        Disagreement = "disagreement",
        RuleWithdrawn = "rule_withdrawn",
        Split = "split",
        Drift = "drift",
    },
    "low_confidence, not_calibrated, unanswered, suspicious, broken_promise, audit, complaint, disagreement, \
     rule_withdrawn, split or drift"
);
code_enum!(
    DecidedBy {
        Correction = "correction",
        Import = "import",
        AccountRule = "account_rule",
        MerchantRule = "merchant_rule",
        Stage = "stage",
    },
    "correction, import, account_rule, merchant_rule or stage"
);
code_enum!(
    ReviewStatus { Accepted = "accepted", Pending = "pending", Reviewed = "reviewed" },
    "accepted, pending or reviewed"
);
code_enum!(
    CorrectionScope { Transaction = "transaction", AccountMerchant = "account_merchant", Merchant = "merchant" },
    "transaction, account_merchant or merchant"
);

/// Which queue of the desk an item stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Answers in doubt, those first where most is at risk.
    #[default]
    Doubtful,
    /// Answers drawn at random, oldest first.
    Audit,
    /// What somebody could not decide.
    Escalated,
}

/// What somebody did at the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Said what something is.
    Decide,
    /// Took a decision back.
    Undo,
    /// Passed a group over.
    Skip,
    /// Left a group to somebody who knows more.
    Escalate,
    /// Said what a merchant is called.
    Rename,
    /// Said what a merchant is, everywhere.
    Categorize,
    /// Said that two merchants are one.
    Merge,
}

impl ActionKind {
    /// Whether it changes what holds, so that somebody may take it back.
    #[must_use]
    pub fn can_be_undone(self) -> bool {
        matches!(self, Self::Decide | Self::Rename | Self::Categorize | Self::Merge)
    }
}

code_enum!(Lane { Doubtful = "doubtful", Audit = "audit", Escalated = "escalated" }, "doubtful, audit or escalated");
code_enum!(
    ActionKind {
        Decide = "decide",
        Undo = "undo",
        Skip = "skip",
        Escalate = "escalate",
        Rename = "rename",
        Categorize = "categorize",
        Merge = "merge",
    },
    "decide, undo, skip, escalate, rename, categorize or merge"
);
