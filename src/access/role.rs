//! What kind of person somebody is: a name for the scopes that come with it.

use std::{fmt, str::FromStr};

use super::Scope;

/// What kind of person somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Reader,
    /// Looks, and decides what waits for review.
    Analyst,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Analyst, Self::Admin];

    /// Its name on the command line and in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }

    /// What such a person may do.
    #[must_use]
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Reader => &[Scope::Read],
            Self::Analyst => &[Scope::Read, Scope::Review],
            Self::Admin => &[Scope::Admin],
        }
    }
}

/// Text that names no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be reader, analyst or admin")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
