//! Which stored transactions are categorized anew, and where that stands.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    AccountId, DescriptorKey, Slug,
    transaction::{InvalidText, code_enum},
};

/// Which stored transactions a run looks at; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecategorizationScope {
    /// Posted at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Posted before this time.
    pub to: Option<DateTime<Utc>>,
    /// Of one of these accounts.
    pub account_ids: Vec<AccountId>,
    /// Of one of these merchants, as statements write them.
    pub descriptor_keys: Vec<DescriptorKey>,
    /// With one of these categories in force.
    pub categories: Vec<Slug>,
    /// Answered by one of these engines.
    pub engines: Vec<String>,
    /// Answered with less confidence than this.
    pub below_confidence: Option<f32>,
    /// All there are; nothing else may be given then.
    pub everything: bool,
}

/// A scope of nothing, or of everything and something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name what shall be looked at, or `everything` and nothing else")]
pub struct InvalidScope;

impl RecategorizationScope {
    /// Whether it says one thing: what is looked at, or that everything is.
    ///
    /// # Errors
    /// When it says neither, or both.
    pub fn checked(self) -> Result<Self, InvalidScope> {
        let narrowed = Self { everything: false, ..self.clone() } != Self::default();
        if narrowed == self.everything { Err(InvalidScope) } else { Ok(self) }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecategorizationPhase {
    /// The rows of the scope are being asked about, or wait to be.
    Predicting,
    /// What would change is known.
    Previewed,
    /// The changes are being brought into force.
    Applying,
    /// They are in force.
    Applied,
    /// What was before is being put back.
    Undoing,
    /// It is back.
    Undone,
    /// Given up before anything changed.
    Cancelled,
}

code_enum!(
    RecategorizationPhase {
        Predicting = "predicting",
        Previewed = "previewed",
        Applying = "applying",
        Applied = "applied",
        Undoing = "undoing",
        Undone = "undone",
        Cancelled = "cancelled",
    },
    "predicting, previewed, applying, applied, undoing, undone or cancelled"
);

/// What became of one row's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// Nothing yet.
    Proposed,
    /// Not applied: the row has changed since the preview.
    Skipped,
    /// In force.
    Applied,
    /// Applied, and put back.
    Undone,
    /// Applied, and not put back: the row has changed since.
    Kept,
}

code_enum!(
    ChangeState {
        Proposed = "proposed",
        Skipped = "skipped",
        Applied = "applied",
        Undone = "undone",
        Kept = "kept",
    },
    "proposed, skipped, applied, undone or kept"
);

/// Why a row was left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftBecause {
    /// A person has spoken of it since.
    Person,
    /// Another answer has come into force since.
    Changed,
}

code_enum!(LeftBecause { Person = "person", Changed = "changed" }, "person or changed");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_says_what_it_is_about_or_that_it_is_about_everything() {
        let everything = RecategorizationScope { everything: true, ..Default::default() };
        let coffee = RecategorizationScope { categories: vec!["coffee_shop".parse().unwrap()], ..Default::default() };
        assert!(everything.clone().checked().is_ok() && coffee.clone().checked().is_ok());
        assert_eq!(RecategorizationScope::default().checked(), Err(InvalidScope));
        assert_eq!(RecategorizationScope { everything: true, ..coffee }.checked(), Err(InvalidScope));
    }
}
