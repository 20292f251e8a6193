//! A way to answer, as a person writes it down: how accurate it is, what it costs to have and what it costs to run.
//!
//! No sums: `options` does them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    accuracy::{Accuracy, Share},
    range::Range,
};

/// Which kind of lever an option pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceLever)]
pub enum Lever {
    /// Words, examples and what is known around a row.
    Prompt,
    /// Facts that are looked up for each row.
    Retrieval,
    /// A model that learned from labels.
    FineTune,
    /// Another model with the same words.
    ModelSwitch,
}

impl Lever {
    /// As people say it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Retrieval => "retrieval",
            Self::FineTune => "fine-tuning",
            Self::ModelSwitch => "another model",
        }
    }
}

/// A way to answer: what it reaches, what it costs to have and to run.
///
/// What it costs to run is its bill, else its tokens; with its machines and what it takes a month beside. A prompt or a
/// retrieval that says nothing of it runs at what today costs.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceSetup)]
pub struct Setup {
    /// What to call it; no two share a name.
    pub name: String,
    /// Which kind.
    pub lever: Lever,
    /// How accurate it is.
    pub accuracy: Accuracy,
    /// The row of the cost table that says what is left out here.
    #[serde(default)]
    pub guide: Option<String>,
    /// What it costs once. [default: the guide's compute and engineering]
    #[serde(default)]
    pub one_off: Option<Range>,
    /// From the decision until it answers. [default: the guide's]
    #[serde(default)]
    pub weeks: Option<Range>,
    /// A bill that was paid, or would be.
    #[serde(default)]
    pub bill: Option<Bill>,
    /// What it sends and gets, and at which prices.
    #[serde(default)]
    pub tokens: Option<Tokens>,
    /// Machines of one's own.
    #[serde(default)]
    pub machines: Option<Machines>,
    /// What it takes a month, whatever the volume. [default: the guide's]
    #[serde(default)]
    pub per_month: Option<Range>,
    /// What a provider trains on, billed at the guide's price of training.
    #[serde(default)]
    pub training: Option<Training>,
    /// Hours of a machine of one's own that training takes. [default: the guide's compute]
    #[serde(default)]
    pub training_hours: Option<Range>,
    /// How it is kept right, where it is fine-tuned. [default: the guide's]
    #[serde(default)]
    pub retraining: Option<Retraining>,
}

/// So much for so many transactions.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceBill)]
pub struct Bill {
    /// What was paid.
    pub amount: Range,
    /// For how many transactions; at least 1.
    pub transactions: u64,
}

/// Tokens of one transaction: a request's tokens over the transactions in it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceTokens)]
pub struct Tokens {
    /// Of the prompt. Where a bill is stated, they are solved for.
    #[serde(default)]
    pub prompt: Option<Range>,
    /// Of the answer.
    pub answer: Range,
    /// Share of the prompt that the provider has kept from before.
    #[serde(default)]
    #[schema(value_type = f64)]
    pub cached_share: Share,
    /// Share of the transactions that can wait for the batch API.
    #[serde(default)]
    #[schema(value_type = f64)]
    pub batch_share: Share,
    /// What they cost.
    pub price: TokenPrice,
}

/// Prices of a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceTokenPrice)]
pub struct TokenPrice {
    /// Of the prompt.
    pub prompt: Range,
    /// Of the prompt's tokens that the provider has kept. [default: the prompt's]
    #[serde(default)]
    pub cached: Option<Range>,
    /// Of the answer.
    pub completion: Range,
    /// What the batch API takes of these prices, such as 0.5. [default: all]
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    pub batch: Option<Share>,
    /// How many times these prices a fine-tuned model costs. [default: 1]
    #[serde(default)]
    pub premium: Option<Range>,
}

/// Machines of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceMachines)]
pub struct Machines {
    /// Transactions that one machine answers in a second; above 0.
    pub rows_per_s: Range,
    /// What an hour of one costs. [default: the scenario's]
    #[serde(default)]
    pub price_per_hour: Option<Range>,
    /// How many are kept running whatever comes. [default: 1]
    #[serde(default)]
    pub at_least: Option<Range>,
    /// How many times the mean the busiest hour brings. [default: 1]
    #[serde(default)]
    pub peak: Option<Range>,
}

/// What a provider trains on.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceTraining)]
pub struct Training {
    /// Examples of one pass.
    pub examples: u32,
    /// Tokens of one example.
    pub tokens: u32,
    /// Passes.
    pub epochs: u32,
}

/// How a fine-tuned model is kept right.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdviceRetraining)]
pub struct Retraining {
    /// Months between two trainings; at least 1.
    pub every_months: u32,
    /// What each costs. [default: the guide's weeks at the price of a week]
    #[serde(default)]
    pub cost: Option<Range>,
}
