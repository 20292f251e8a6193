//! What to do next, in a word, a sentence and steps. How it comes about is `decide`.

use serde::Serialize;
use utoipa::ToSchema;

use super::questions::Question;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceCode)]
pub enum Code {
    /// What answers now does what is wanted.
    Keep,
    /// A better prompt reaches what is wanted.
    Prompt,
    /// The facts must come first.
    RetrievalFirst,
    /// Nothing beyond prompts is worth it.
    StayWithPrompts,
    /// There are too few good labels to learn from.
    LabelFirst,
    /// A better prompt now, and a model of one's own behind it.
    PromptThenFineTune,
    /// A model of one's own.
    FineTune,
    /// More labels for the model of one's own that answers now.
    LabelAndRetrain,
    /// Something must be known first.
    Undecided,
}

impl Code {
    /// As people say it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Keep => "Keep what answers now",
            Self::Prompt => "A better prompt, and no more",
            Self::RetrievalFirst => "Retrieval first",
            Self::StayWithPrompts => "Stay with prompts",
            Self::LabelFirst => "Label first",
            Self::PromptThenFineTune => "Prompt first, then fine-tune",
            Self::FineTune => "Fine-tune",
            Self::LabelAndRetrain => "Label what is doubtful, and train again",
            Self::Undecided => "Not decided yet",
        }
    }

    /// Whether fine-tuning is among what to do.
    #[must_use]
    pub fn fine_tunes(self) -> bool {
        matches!(self, Self::PromptThenFineTune | Self::FineTune | Self::LabelAndRetrain)
    }
}

/// What to do, and why.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceVerdict)]
pub struct Verdict {
    /// What.
    pub code: Code,
    /// What and why, in a sentence or two.
    pub says: String,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// The question whose answer names the lever; `null` where all six lead to fine-tuning.
    pub stopped_at: Option<Question>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = AdviceStep)]
pub struct Step {
    /// The option, where it is one.
    pub option: Option<String>,
    /// What is done, and what it brings.
    pub says: String,
}
