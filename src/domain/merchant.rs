//! A merchant as the directory knows it, and a match of a descriptor with it.

use super::{Slug, transaction::Country};

/// An entry of the merchant directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    /// Stable identifier within the directory's source, such as a name-suggestion-index id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Other names it goes by on statements.
    pub aliases: Vec<String>,
    /// What it is, in the source's own term: an OpenStreetMap tag such as `shop=supermarket`.
    pub kind: String,
    /// The category of our own taxonomy that the kind maps to.
    pub category: Option<Slug>,
    /// Where it trades; empty means anywhere.
    pub countries: Vec<Country>,
    /// Its Wikidata item, such as `Q483551`.
    pub wikidata: Option<String>,
}

/// How a descriptor was matched with a merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchKind {
    /// The whole name or alias stands in the text, on word borders.
    Exact,
    /// The text was cut (card networks cut at 22 characters) in the middle of the name.
    Truncated,
    /// Within a small edit distance.
    Fuzzy,
}

/// A merchant found in a descriptor.
#[derive(Debug, Clone, PartialEq)]
pub struct MerchantMatch {
    /// Which merchant.
    pub merchant: std::sync::Arc<Merchant>,
    /// The name or alias that matched.
    pub matched: String,
    /// How.
    pub kind: MatchKind,
    /// How sure, in `(0, 1]`.
    pub score: f32,
}
