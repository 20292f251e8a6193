//! What a categorizer said about one transaction, and where that came from.
//!
//! A prediction is append-only: corrections stand beside it, so accuracy is a query over the pair.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Slug, injection::Suspicion};

/// A category and the probability that it is right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// Which category.
    pub category: Slug,
    /// Calibrated probability, in `[0, 1]`.
    pub confidence: f32,
}

/// What made a prediction: enough to make it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The stage it ran in, such as `adapter`.
    pub stage: String,
    /// The engine and its content hash, such as `adapter:demo@1f3a9c02`.
    pub engine: String,
    /// The taxonomy version the answer comes from.
    pub taxonomy: String,
    /// Hash of the text the engine saw, hexadecimal; see [`TextHash`].
    pub text: TextHash,
}

/// SHA-256 of a rendered text, shortened to 128 bits: the key under which the text is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TextHash(#[serde(with = "hex::serde")] [u8; 16]);

impl TextHash {
    /// The hash of a rendered text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(text)[..16]);
        Self(short)
    }
}

impl fmt::Display for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// SHA-256 of everything that an engine's answer to a row rests on, shortened to 128 bits: rows of one hash get one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InputHash([u8; 16]);

impl InputHash {
    /// Over the parts with their lengths, so that no two lists of parts run together.
    #[must_use]
    pub fn of<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.as_ref().len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        Self(short)
    }

    /// The hash as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads a stored hash back.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// Text that is not 32 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("must be 32 hexadecimal digits")]
pub struct InvalidTextHash(#[source] hex::FromHexError);

impl FromStr for TextHash {
    type Err = InvalidTextHash;

    fn from_str(text: &str) -> Result<Self, InvalidTextHash> {
        let mut hash = [0; 16];
        hex::decode_to_slice(text, &mut hash).map_err(InvalidTextHash)?;
        Ok(Self(hash))
    }
}

/// One reason for an answer, in the engine's own terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Evidence {
    /// A labelled example that lies nearest to the transaction.
    Example {
        /// The example's text.
        text: String,
        /// Its category.
        category: Slug,
        /// Cosine similarity, in `[-1, 1]`.
        similarity: f32,
    },
    /// A category description that lies nearest to the transaction.
    Description {
        /// Whose description.
        category: Slug,
        /// Cosine similarity, in `[-1, 1]`.
        similarity: f32,
    },
    /// Earlier transactions of this account with the same key, whose category was known.
    History {
        /// Their category.
        category: Slug,
        /// How many.
        count: u32,
    },
    /// The merchant directory.
    Merchant {
        /// The merchant's name.
        name: String,
        /// The category its kind maps to.
        category: Slug,
    },
    /// Labelled rows with this descriptor key that the engine learned from.
    KnownKey {
        /// Their most frequent category.
        category: Slug,
        /// How many rows.
        count: u32,
    },
    /// The statement text may be meant for a model rather than for people.
    Suspicious {
        /// What is suspected.
        suspicions: Vec<Suspicion>,
    },
    /// The model gave no answer that could be used.
    Unanswered {
        /// Why not.
        why: String,
    },
    /// The adapter's encoder and what it had without the other parts.
    Encoder {
        /// Its own first choice.
        category: Slug,
        /// Its own probability for it.
        confidence: f32,
    },
}

impl Evidence {
    /// With another name for its category; `None` where it has none.
    #[must_use]
    pub fn renamed(mut self, new: impl Fn(&Slug) -> Option<Slug>) -> Option<Self> {
        match &mut self {
            Self::Example { category, .. }
            | Self::Description { category, .. }
            | Self::History { category, .. }
            | Self::Merchant { category, .. }
            | Self::KnownKey { category, .. }
            | Self::Encoder { category, .. } => *category = new(category)?,
            Self::Suspicious { .. } | Self::Unanswered { .. } => {}
        }
        Some(self)
    }
}

/// One answer: a category, how sure, what else it could be, why, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The first choice.
    pub category: Slug,
    /// Calibrated probability that it is right, in `[0, 1]`.
    pub confidence: f32,
    /// The next best, best first, at most four.
    pub alternatives: Vec<Scored>,
    /// What decided.
    pub evidence: Vec<Evidence>,
    /// What made it.
    pub provenance: Provenance,
}

impl Prediction {
    /// Whether the engine's labels had shown the row's descriptor key.
    #[must_use]
    pub fn knows_key(&self) -> bool {
        self.evidence.iter().any(|evidence| matches!(evidence, Evidence::KnownKey { .. }))
    }

    /// Whether the engine could say nothing: the category is [`Slug::uncategorized`].
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.evidence.iter().any(|evidence| matches!(evidence, Evidence::Unanswered { .. }))
    }

    /// Whether the statement text may be meant for a model.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        self.evidence.iter().any(|evidence| matches!(evidence, Evidence::Suspicious { .. }))
    }
}

impl TextHash {
    /// The hash as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads a stored hash back.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_input_do_not_run_together() {
        assert_ne!(InputHash::of(["ab", "c"]), InputHash::of(["a", "bc"]));
        assert_ne!(InputHash::of(["a"]), InputHash::of(["a", ""]));
        assert_eq!(InputHash::of(["a", "b"]), InputHash::of(["a", "b"]));
    }
}
