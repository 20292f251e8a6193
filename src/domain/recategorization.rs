//! Which stored transactions are categorized anew, and where that stands.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    AccountId, DescriptorKey, Slug, instant,
    transaction::{InvalidText, code_enum},
};

/// Which stored transactions a run looks at; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecategorizationScope {
    /// Posted at this time or later. Read from a day, which is its first moment in UTC, or from a moment.
    #[serde(deserialize_with = "instant::or_none")]
    pub from: Option<DateTime<Utc>>,
    /// Posted before this time. Read as `from` is: with a day, up to its first moment.
    #[serde(deserialize_with = "instant::or_none")]
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

/// A scope that can't be looked at.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidScope {
    /// Of nothing, or of everything and something.
    #[error("name what shall be looked at, or `everything` and nothing else")]
    Unclear,
    /// Of a time that ends before it begins.
    #[error("the time that shall be looked at ends before it begins: `to` must be after `from`")]
    Backwards,
    /// Of a confidence that no answer has.
    #[error("`below_confidence` is {below}: it must be a number above 0 and at most 1")]
    Confidence {
        /// What was asked for.
        below: f32,
    },
    /// Of what nobody here has heard of.
    #[error("the scope names what is not known here: {}", names.iter().map(UnknownName::to_string).collect::<Vec<_>>().join(", "))]
    Unknown {
        /// The first of them.
        names: Vec<UnknownName>,
    },
}

/// A name in a scope that stands for nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownName {
    /// An account without a transaction.
    Account(AccountId),
    /// A merchant without one.
    Merchant(DescriptorKey),
    /// A category of no taxonomy.
    Category(Slug),
    /// An engine that never answered.
    Engine(String),
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => write!(f, "account `{id}`"),
            Self::Merchant(key) => write!(f, "merchant `{}`", key.as_str()),
            Self::Category(slug) => write!(f, "category `{slug}`"),
            Self::Engine(name) => write!(f, "engine `{name}`"),
        }
    }
}

impl RecategorizationScope {
    /// Whether it says one thing: what is looked at, or that everything is.
    ///
    /// # Errors
    /// When it says neither, or both, or what no row can be.
    pub fn checked(self) -> Result<Self, InvalidScope> {
        let narrowed = Self { everything: false, ..self.clone() } != Self::default();
        if narrowed == self.everything {
            return Err(InvalidScope::Unclear);
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| to <= from) {
            return Err(InvalidScope::Backwards);
        }
        if let Some(below) = self.below_confidence.filter(|below| !(*below > 0.0 && *below <= 1.0)) {
            return Err(InvalidScope::Confidence { below });
        }
        // Postgres stores no such text, so nothing is called so.
        let engines = self.engines.iter().filter(|name| name.contains('\0')).cloned().map(UnknownName::Engine);
        let keys = self.descriptor_keys.iter().filter(|key| key.as_str().contains('\0'));
        let names: Vec<_> = engines.chain(keys.cloned().map(UnknownName::Merchant)).collect();
        if names.is_empty() { Ok(self) } else { Err(InvalidScope::Unknown { names }) }
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
    /// A person has spoken of it since, or it waits for one because its customer complained.
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
        assert_eq!(RecategorizationScope::default().checked(), Err(InvalidScope::Unclear));
        assert_eq!(RecategorizationScope { everything: true, ..coffee }.checked(), Err(InvalidScope::Unclear));
    }

    #[test]
    fn a_scope_that_no_row_can_be_in_is_refused() {
        let time = |text: &str| Some(text.parse().unwrap());
        let (early, late) = (time("2026-04-01T00:00:00Z"), time("2026-05-01T00:00:00Z"));
        let between = |from, to| RecategorizationScope { from, to, ..Default::default() };
        assert!(between(early, late).checked().is_ok());
        assert_eq!(between(late, early).checked(), Err(InvalidScope::Backwards));
        assert_eq!(between(early, early).checked(), Err(InvalidScope::Backwards));
        let below = |below| RecategorizationScope { below_confidence: Some(below), ..Default::default() }.checked();
        assert!(below(1.0).is_ok() && below(0.5).is_ok());
        for wrong in [2.0, 0.0, -0.5] {
            assert_eq!(below(wrong), Err(InvalidScope::Confidence { below: wrong }));
        }
        assert!(below(f32::NAN).is_err());
    }
}
