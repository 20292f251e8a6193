//! What a run's rows come to: figures over all of them, over slices, over categories.

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::TrackedRun;
use crate::evaluate::{
    metrics::{Bin, Share},
    resample::Interval,
};

/// Figures over all rows. Shares are in 0 to 1, their intervals 95 % over rows; `by_merchant` draws whole merchants anew,
/// and is the one to trust where merchants repeat.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunFigures {
    /// Share of rows that are right.
    pub accuracy: Share,
    /// Its interval by merchant.
    pub accuracy_by_merchant: Interval,
    /// Share of right answers among the rows that were answered.
    #[schema(required)]
    pub answered: Option<Share>,
    /// Share of rows whose truth is among the first three choices; null where only one was told.
    #[schema(required)]
    pub top3: Option<Share>,
    /// Share of rows whose primary category is right.
    #[schema(required)]
    pub primary: Option<Share>,
    /// Mean F1 over categories.
    pub macro_f1: f64,
    /// The same, weighted by rows.
    pub weighted_f1: f64,
    /// Intervals of both, by merchant.
    pub f1_by_merchant: F1Intervals,
    /// Mean of `-ln p` of the probability that the truth was given, p at least 0.0001: a row keeps five choices, and a truth
    /// among the others counts so. Null where only one choice was told.
    #[schema(required)]
    pub log_loss: Option<f64>,
    /// Brier score of the answer: mean squared distance between its confidence and whether it is right; null for a peer.
    #[schema(required)]
    pub answer_brier: Option<f64>,
    /// Expected calibration error over bins of equal size; null for a peer.
    #[schema(required)]
    pub ece: Option<f64>,
    /// Area under the risk-coverage curve; null for a peer.
    #[schema(required)]
    pub aurc: Option<f64>,
    /// Milliseconds within which half of the rows were answered, each bearing an equal share of its batch.
    #[schema(required)]
    pub latency_p50_ms: Option<f64>,
    /// Milliseconds within which 95 % were.
    #[schema(required)]
    pub latency_p95_ms: Option<f64>,
    /// Tokens of all rows; null where no chat model decided.
    #[schema(required)]
    pub tokens: Option<i64>,
    /// Cost of all rows, as a decimal.
    #[schema(required, value_type = Option<String>)]
    pub cost: Option<Decimal>,
}

/// Intervals of the F1 scores, by merchant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct F1Intervals {
    /// Of the mean over categories.
    pub macro_f1: Interval,
    /// Of the mean weighted by rows.
    pub weighted_f1: Interval,
}

/// One category.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClassFigures {
    /// Which.
    pub category: String,
    /// Rows of it.
    pub support: usize,
    /// Rows that were said to be of it.
    pub answered: usize,
    /// Rows that are and were said to be.
    pub right: usize,
    /// Share of the answers that are right.
    #[schema(required)]
    pub precision: Option<f64>,
    /// Share of its rows that were found, with its interval over rows.
    #[schema(required)]
    pub recall: Option<Share>,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// Rows of one category that got another answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mistake {
    /// Their category.
    pub expected: String,
    /// The answer.
    pub predicted: String,
    /// How many.
    pub rows: usize,
}

/// Rows that have something in common.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Slice {
    /// By what: `key`, `merchant`, `direction`, `amount`, `country`, `month`, `account_age` or `primary`.
    pub slice: String,
    /// What these have in common.
    pub value: String,
    /// Share of them that is right.
    pub accuracy: Share,
}

/// One run with all its figures.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunReport {
    /// Who was measured on what.
    pub run: TrackedRun,
    /// Over all rows.
    pub figures: RunFigures,
    /// By what rows have in common.
    pub slices: Vec<Slice>,
    /// Rows ranked by confidence, the least sure first: calibration, and the risk-coverage curve. Empty for a peer.
    pub bins: Vec<Bin>,
    /// Category by category.
    pub classes: Vec<ClassFigures>,
    /// What is taken for what, the most frequent first, at most 50.
    pub mistakes: Vec<Mistake>,
}
