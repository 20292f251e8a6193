//! What is known about a transaction beyond its own row, and the one text every model sees.
//!
//! [`UserHistory`] is one pure fold over an account's earlier rows and the labels known before
//! `posted_at`. The store and the data-set reader both feed it, so that training, evaluation and
//! serving see the same thing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{DescriptorKey, Direction, MerchantMatch, Money, Slug, Transaction};

/// How many of an account's latest earlier rows the fold sees.
pub const HISTORY_WINDOW: usize = 200;

/// How much of an [`EnrichedTransaction`] a stage may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrichment {
    /// Descriptor, amount and direction only.
    None,
    /// Merchant facts and user history too.
    Full,
}

/// A label, and since when it was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLabel {
    /// The category.
    pub category: Slug,
    /// When it became known; it counts for transactions posted later.
    pub known_at: DateTime<Utc>,
}

/// One earlier row of an account, as the fold sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// When.
    pub posted_at: DateTime<Utc>,
    /// What for.
    pub key: DescriptorKey,
    /// How much.
    pub amount: Money,
    /// Which way.
    pub direction: Direction,
    /// What a human said it was, if one did.
    pub label: Option<KnownLabel>,
}

/// What an account did before a transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserHistory {
    /// Earlier rows seen, at most [`HISTORY_WINDOW`].
    pub transactions: u32,
    /// How often each descriptor key came up.
    pub keys: BTreeMap<DescriptorKey, u32>,
    /// Labels known for those rows.
    pub labels: BTreeMap<Slug, u32>,
    /// The rows with this transaction's own key and direction.
    pub same_key: SameKey,
}

/// An account's earlier rows with the key and direction of the transaction at hand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SameKey {
    /// How many.
    pub count: u32,
    /// Labels known for them.
    pub labels: BTreeMap<Slug, u32>,
    /// The label of the latest labelled one.
    pub latest_label: Option<Slug>,
    /// Median amount, of rows in the same currency.
    pub typical_amount: Option<Money>,
    /// Median days between them; absent below three visits.
    pub cadence_days: Option<f32>,
    /// At least three visits, at a steady pace and a steady amount.
    pub recurring: bool,
}

/// A transaction with what is known around it.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrichedTransaction {
    /// The row itself.
    pub transaction: Transaction,
    /// The directory's merchant, where one matched.
    pub merchant: Option<MerchantMatch>,
    /// What the account did before.
    pub history: UserHistory,
}
