//! The statement text: raw, parsed into parts, and reduced to a key that is stable across visits.
//!
//! Parsing reads what is surely there and leaves the rest in the merchant text; it never fails on
//! odd text, only on text that is empty or far too long. It knows no brands beyond the few whose
//! statement texts carry codes made of letters: that is the merchant directory's job.

mod clean;
mod key;
mod parts;
mod prefix;
mod tail;
mod token;
mod words;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use clean::undecorated;
pub use parts::{Place, StatementDate};

/// The longest text that [`Descriptor::parse`] takes, in characters as they arrive.
pub const MAX_CHARS: usize = 1_024;

/// How many characters of the cleaned text are kept; card networks give 22 to 40, a credit
/// transfer's remittance text 140.
pub const KEPT_CHARS: usize = 512;

/// The text of one statement line and what could be read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    raw: Box<str>,
    merchant: Box<str>,
    key: DescriptorKey,
    parts: Option<Box<parts::Parts>>,
}

/// Why a text is no descriptor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidDescriptor {
    /// Nothing visible in it.
    #[error("must not be empty")]
    Empty,
    /// Beyond [`MAX_CHARS`].
    #[error("must have at most {MAX_CHARS} characters")]
    TooLong,
}

impl Descriptor {
    /// Cleans and reads a statement text.
    ///
    /// # Errors
    /// When nothing visible is in it, or it is longer than [`MAX_CHARS`].
    pub fn parse(raw: &str) -> Result<Self, InvalidDescriptor> {
        if raw.chars().nth(MAX_CHARS).is_some() {
            return Err(InvalidDescriptor::TooLong);
        }
        let raw = clean::clean(raw);
        if raw.is_empty() {
            return Err(InvalidDescriptor::Empty);
        }
        let (merchant, parts) = parts::read(&raw);
        let key = key::stable(&raw, &merchant, &parts);
        Ok(Self {
            raw: raw.into(),
            merchant: merchant.into(),
            key,
            parts: (parts != parts::Parts::default()).then(|| Box::new(parts)),
        })
    }

    /// The text as it came, NFKC-normalized, without control, bidirectional and zero-width characters.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What is left of it without prefix, codes, dates and place: as written, single spaces. The raw text
    /// where nothing else is left.
    #[must_use]
    pub fn merchant(&self) -> &str {
        &self.merchant
    }

    /// What stays the same from one visit of the merchant to the next.
    #[must_use]
    pub fn key(&self) -> &DescriptorKey {
        &self.key
    }

    fn parts(&self) -> Option<&parts::Parts> {
        self.parts.as_deref()
    }

    /// The payment processor, wallet or marketplace in front of the merchant, such as `square`.
    #[must_use]
    pub fn processor(&self) -> Option<&'static str> {
        self.parts()?.processor
    }

    /// The branch's number, as written: `00654`, `F1234`.
    #[must_use]
    pub fn store_number(&self) -> Option<&str> {
        self.parts()?.store_number.as_deref()
    }

    /// A reference of this one purchase: order, ticket or authorization code.
    #[must_use]
    pub fn order_code(&self) -> Option<&str> {
        self.parts()?.order_code.as_deref()
    }

    /// A telephone number, digits only, with `+` where it was written.
    #[must_use]
    pub fn phone(&self) -> Option<&str> {
        self.parts()?.phone.as_deref()
    }

    /// The visible digits of a masked card or account number, such as `1234` of `XXXX1234`.
    #[must_use]
    pub fn masked_card(&self) -> Option<&str> {
        self.parts()?.masked_card.as_deref()
    }

    /// A date in the text: of the purchase, where the booking is later.
    #[must_use]
    pub fn date(&self) -> Option<StatementDate> {
        self.parts()?.date
    }

    /// City, region and country at the end of the text, as far as they are surely there.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.parts()?.place.as_ref()
    }
}

/// What stays the same from one visit of a merchant to the next: lower case, no store number,
/// order code, place or date. Empty when nothing but such codes was there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct DescriptorKey(Arc<str>);

impl DescriptorKey {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Nothing stable was in the descriptor: such transactions have nothing in common.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A key that [`Descriptor::parse`] made earlier, read back from where it was stored.
    #[must_use]
    pub fn from_stored(key: &str) -> Self {
        Self(key.into())
    }
}

impl From<String> for DescriptorKey {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl From<DescriptorKey> for String {
    fn from(key: DescriptorKey) -> Self {
        key.as_str().to_owned()
    }
}

impl std::fmt::Display for DescriptorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
