//! What a caller may do.

use std::{fmt, str::FromStr};

/// What a caller may do. Every route declares the one it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Send transactions.
    Ingest,
    /// Look at transactions, categories and measurements.
    Read,
    /// See the review queue and correct.
    Review,
    /// Run what works on many stored transactions at once.
    Batch,
    /// Everything.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Read, Self::Review, Self::Batch, Self::Admin];

    /// Its name in keys, SQL and the API's document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Review => "review",
            Self::Batch => "batch",
            Self::Admin => "admin",
        }
    }
}

/// Text that names no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be ingest, read, review, batch or admin")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
