//! Work that a queue hands to workers: where a job stands, how urgent it is, and which step of a recategorization it is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::transaction::{InvalidText, code_enum};

/// Where a job stands. One that is done is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for a worker, or for its time.
    Waiting,
    /// A worker is at it.
    Running,
    /// It failed, and is tried again later.
    Retrying,
    /// It failed too often, and is not tried again unless somebody asks.
    Failed,
}

code_enum!(
    JobState { Waiting = "waiting", Running = "running", Retrying = "retrying", Failed = "failed" },
    "waiting, running, retrying or failed"
);

/// How urgent a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Short, and others wait for it.
    Prompt,
    /// A person asked for it.
    Interactive,
    /// It may take the night.
    Nightly,
}

impl Urgency {
    /// As the queue numbers it: less goes first.
    #[must_use]
    pub fn priority(self) -> i16 {
        match self {
            Self::Prompt => -10,
            Self::Interactive => 0,
            Self::Nightly => 10,
        }
    }
}

/// What a worker does with a recategorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecategorizationStep {
    /// Find out what would change.
    Preview,
    /// Find that out, and apply it where the guards allow that.
    PreviewAndApply,
    /// Bring it into force.
    Apply,
    /// Put back what was before.
    Undo,
}

code_enum!(
    RecategorizationStep {
        Preview = "preview",
        PreviewAndApply = "preview_and_apply",
        Apply = "apply",
        Undo = "undo",
    },
    "preview, preview_and_apply, apply or undo"
);
