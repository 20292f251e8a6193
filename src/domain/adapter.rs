//! Where an adapter stands.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::transaction::{InvalidText, code_enum};

/// Where an adapter stands. It goes up on evidence, and down at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterState {
    /// Registered; answers only a caller who names it.
    Candidate,
    /// Answers a share of the accounts unseen, beside the champion.
    Shadow,
    /// Answers a share of the accounts in the champion's place.
    Canary,
    /// Answers everybody whom no canary takes.
    Champion,
    /// Answers nobody.
    Retired,
}

code_enum!(
    AdapterState {
        Candidate = "candidate",
        Shadow = "shadow",
        Canary = "canary",
        Champion = "champion",
        Retired = "retired",
    },
    "candidate, shadow, canary, champion or retired"
);

/// The account group of every account that is in no other.
pub const EVERYONE: &str = "everyone";
