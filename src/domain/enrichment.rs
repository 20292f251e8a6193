//! What is known about a transaction beyond its own row, and the one text every model sees.
//!
//! [`UserHistory`] is one pure fold over an account's earlier rows and the labels known before
//! `posted_at`. The store and the data-set reader both feed it, so that training, evaluation and
//! serving see the same thing.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

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

impl UserHistory {
    /// Folds an account's earlier rows into what is known at a transaction.
    ///
    /// `earlier` is ascending by (`posted_at`, id) and strictly before `at`; its last [`HISTORY_WINDOW`]
    /// rows count. A label counts when it was known at `at.posted_at`.
    #[must_use]
    pub fn fold<'a>(earlier: impl IntoIterator<Item = &'a HistoryEntry>, at: &Transaction) -> Self {
        let earlier: Vec<_> = earlier.into_iter().collect();
        let window = &earlier[earlier.len().saturating_sub(HISTORY_WINDOW)..];
        let own_key = at.descriptor.key();
        let mut keys: HashMap<&DescriptorKey, u32> = HashMap::with_capacity(window.len());
        let mut labels: BTreeMap<&Slug, u32> = BTreeMap::new();
        let mut same = Vec::new();
        for entry in window {
            *keys.entry(&entry.key).or_default() += 1;
            if let Some(label) = known_label(entry, at) {
                *labels.entry(label).or_default() += 1;
            }
            if entry.direction == at.direction && entry.key == *own_key && !own_key.is_empty() {
                same.push(*entry);
            }
        }
        Self {
            transactions: window.len() as u32,
            keys: keys.into_iter().filter(|(key, _)| !key.is_empty()).map(|(key, n)| (key.clone(), n)).collect(),
            labels: labels.into_iter().map(|(label, n)| (label.clone(), n)).collect(),
            same_key: SameKey::of(&same, at),
        }
    }
}

fn known_label<'a>(entry: &'a HistoryEntry, at: &Transaction) -> Option<&'a Slug> {
    entry.label.as_ref().filter(|label| label.known_at <= at.posted_at).map(|label| &label.category)
}

impl SameKey {
    fn of(visits: &[&HistoryEntry], at: &Transaction) -> Self {
        let mut labels = BTreeMap::new();
        for label in visits.iter().filter_map(|visit| known_label(visit, at)) {
            *labels.entry(label.clone()).or_default() += 1;
        }
        let mut amounts: Vec<Decimal> = visits
            .iter()
            .filter(|visit| visit.amount.currency() == at.amount.currency())
            .map(|visit| visit.amount.amount())
            .collect();
        amounts.sort_unstable();
        let typical = lower_median(&amounts).copied();
        let mut gaps: Vec<f32> = visits
            .windows(2)
            .map(|pair| (pair[1].posted_at - pair[0].posted_at).num_seconds() as f32 / 86_400.0)
            .collect();
        gaps.sort_unstable_by(f32::total_cmp);
        let cadence_days = lower_median(&gaps).copied().filter(|_| visits.len() >= 3);
        Self {
            count: visits.len() as u32,
            latest_label: visits.iter().rev().find_map(|visit| known_label(visit, at)).cloned(),
            labels,
            typical_amount: typical.and_then(|amount| Money::new(amount, at.amount.currency()).ok()),
            cadence_days,
            recurring: cadence_days.is_some_and(|days| steady_pace(&gaps, days))
                && typical.is_some_and(|typical| steady_amount(&amounts, typical, visits.len())),
        }
    }
}

/// The middle one of sorted values, the lower of two: always a value that occurred.
fn lower_median<T>(sorted: &[T]) -> Option<&T> {
    sorted.get(sorted.len().saturating_sub(1) / 2)
}

/// Five days or more apart, and four of five gaps within two days or 15 % of the middle one.
fn steady_pace(gaps: &[f32], middle: f32) -> bool {
    let near = gaps.iter().filter(|&&gap| (gap - middle).abs() <= (middle * 0.15).max(2.0)).count();
    middle >= 5.0 && near * 5 >= gaps.len() * 4
}

/// Four of five amounts within 15 % of the middle one.
fn steady_amount(amounts: &[Decimal], middle: Decimal, visits: usize) -> bool {
    let slack = middle * Decimal::new(15, 2);
    let near = amounts.iter().filter(|&&amount| (amount - middle).abs() <= slack).count();
    near * 5 >= visits * 4
}

impl EnrichedTransaction {
    /// A row of which nothing else is known.
    #[must_use]
    pub fn bare(transaction: Transaction) -> Self {
        Self { transaction, merchant: None, history: UserHistory::default() }
    }

    /// The one text that every model sees; stored by its [`TextHash`](super::prediction::TextHash).
    #[must_use]
    pub fn render(&self, enrichment: Enrichment) -> String {
        let row = &self.transaction;
        let mut text = row.descriptor.merchant().to_lowercase();
        let direction = match row.direction {
            Direction::Debit => "paid",
            Direction::Credit => "received",
        };
        let _ = write!(text, ", {direction} {}", about(&row.amount));
        if enrichment == Enrichment::Full {
            self.render_facts(&mut text);
        }
        text
    }

    fn render_facts(&self, text: &mut String) {
        if let Some(found) = &self.merchant {
            let kind = found.merchant.kind.rsplit('=').next().unwrap_or_default().replace('_', " ");
            let _ = write!(text, "; {}, {kind}", found.merchant.name);
        }
        let same = &self.history.same_key;
        if same.count > 0 {
            let _ = write!(text, "; {} before", same.count);
            if let Some(amount) = &same.typical_amount {
                let _ = write!(text, ", about {}", about(amount));
            }
            if same.recurring {
                text.push_str(", recurring");
            }
            for label in top(&same.labels, 2) {
                let _ = write!(text, ", {}", words(label));
            }
        }
        let usual = top(&self.history.labels, 3);
        if !usual.is_empty() {
            text.push_str("; account: ");
            text.push_str(&usual.into_iter().map(words).collect::<Vec<_>>().join(", "));
        }
    }
}

/// Two significant digits: enough to tell a coffee from a rent, and equal for most visits of one merchant.
fn about(money: &Money) -> String {
    let rounded = money.amount().round_sf(2).unwrap_or_default().normalize();
    format!("{rounded} {}", money.currency().code().to_ascii_lowercase())
}

/// The most frequent, ties in the order of their names.
fn top(counts: &BTreeMap<Slug, u32>, n: usize) -> Vec<&Slug> {
    let mut slugs: Vec<_> = counts.iter().collect();
    slugs.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
    slugs.into_iter().take(n).map(|(slug, _)| slug).collect()
}

fn words(slug: &Slug) -> String {
    slug.as_str().replace('_', " ")
}
