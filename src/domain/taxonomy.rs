//! The closed set of categories that an answer comes from, with a version.
//!
//! A deployment serves one taxonomy at a time; an adapter is bound to the version it was trained
//! on. Read from a TOML file, or from a data set's `categories.csv`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Direction;

/// A category's name in code, SQL and JSON: 1–64 of `a-z`, `0-9` and `_`, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(Arc<str>);

/// Text that is not a slug.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be 1–64 of a–z, 0–9 and _, starting with a letter")]
pub struct InvalidSlug;

impl Slug {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let well_formed = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidSlug) }
    }
}

impl TryFrom<String> for Slug {
    type Error = InvalidSlug;

    fn try_from(text: String) -> Result<Self, InvalidSlug> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.as_str().to_owned()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One category of a taxonomy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// Its name in code, SQL and JSON.
    pub slug: Slug,
    /// The primary category it details; absent on a primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Slug>,
    /// Its name for people.
    pub name: String,
    /// What belongs in it, in a sentence.
    pub description: String,
    /// The only direction it makes sense in, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// ISO 18245 merchant category codes (or `from-to` ranges) that mean it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcc: Vec<String>,
    /// Plaid personal finance category v2 identifier, for interoperability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pfc: Option<String>,
}

/// A version of the closed set of categories. Predictions come from [`Taxonomy::assignable`].
#[derive(Debug, Clone)]
pub struct Taxonomy {
    name: String,
    version: String,
    categories: Vec<Category>,
}

/// Why a set of categories is no taxonomy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not TOML of the documented shape.
    #[error("the taxonomy file can't be read")]
    Toml(#[from] toml::de::Error),
    /// Not a `categories.csv` of the documented shape.
    #[error("categories.csv can't be read")]
    Csv(#[from] csv::Error),
    /// No category at all.
    #[error("a taxonomy needs at least two assignable categories")]
    TooFew,
    /// A slug stands twice.
    #[error("category `{slug}` stands twice")]
    Duplicate {
        /// The slug.
        slug: Slug,
    },
    /// A parent that does not exist, or is itself a detail.
    #[error("category `{slug}` names the parent `{parent}`, which is no primary category")]
    Parent {
        /// The child.
        slug: Slug,
        /// What it names.
        parent: Slug,
    },
    /// A merchant category code that is not four digits, or claimed by two categories.
    #[error("merchant category code `{mcc}` of `{slug}` is malformed or already taken")]
    Mcc {
        /// The category.
        slug: Slug,
        /// The code or range.
        mcc: String,
    },
}
