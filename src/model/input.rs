//! What an adapter reads of a transaction: plain data, so that training, evaluation and serving
//! build it in one way and a folder can keep some as probes.

use chrono::{Datelike, Weekday};
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

use crate::domain::{Descriptor, Direction, EnrichedTransaction, Enrichment};

/// One transaction as an adapter reads it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdapterInput {
    /// What the encoder reads.
    pub text: String,
    /// The descriptor as it came.
    pub descriptor: String,
    /// Its stable key.
    pub key: String,
    /// The processor in front of the merchant, or nothing.
    pub processor: String,
    /// Amount, direction and day; absent on a text that is no transaction.
    pub payment: Option<Payment>,
    /// Keys of the account's earlier rows, and how often each came up; this row's own left out.
    pub earlier: Vec<(String, u32)>,
}

/// The numbers of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// How much, in the currency's main unit.
    pub amount: f32,
    /// Money came in.
    pub credit: bool,
    /// Posted on a Saturday or Sunday.
    pub weekend: bool,
}

impl AdapterInput {
    /// What an adapter reads of an enriched transaction; `enrichment` is how much of it the encoder reads.
    #[must_use]
    pub fn of(enriched: &EnrichedTransaction, enrichment: Enrichment) -> Self {
        let row = &enriched.transaction;
        let own = row.descriptor.key();
        let earlier = enriched.history.keys.iter().filter(|(key, _)| *key != own);
        Self {
            text: enriched.render(enrichment),
            payment: Some(Payment {
                amount: row.amount.amount().to_f32().unwrap_or(0.0),
                credit: row.direction == Direction::Credit,
                weekend: matches!(row.posted_at.weekday(), Weekday::Sat | Weekday::Sun),
            }),
            earlier: earlier.map(|(key, count)| (key.as_str().to_owned(), *count)).collect(),
            ..Self::of_descriptor(&row.descriptor)
        }
    }

    /// What an adapter reads of a text alone, such as a term of a lexicon.
    #[must_use]
    pub fn of_descriptor(descriptor: &Descriptor) -> Self {
        Self {
            text: descriptor.merchant().to_lowercase(),
            descriptor: descriptor.raw().to_owned(),
            key: descriptor.key().as_str().to_owned(),
            processor: descriptor.processor().unwrap_or_default().to_owned(),
            payment: None,
            earlier: Vec::new(),
        }
    }
}

/// A row to learn from, or to measure on.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// The transaction.
    pub input: AdapterInput,
    /// Its category: a place in the taxonomy's assignable categories.
    pub class: usize,
    /// How much it counts; 1 is usual.
    pub weight: f32,
}

/// Another text of the same merchant as a statement might print it: cut at the end, or a word short.
pub(super) fn disturbed(text: &str, (cut, drop_word): (f32, f32), rng: &mut impl rand::Rng) -> String {
    let mut text: String = text.to_owned();
    let chars: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    if chars.len() > 10 && rng.random::<f32>() < cut {
        text.truncate(chars[rng.random_range((chars.len() / 2).max(6)..chars.len())]);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() >= 3 && rng.random::<f32>() < drop_word {
        let gone = rng.random_range(0..words.len());
        return words
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != gone)
            .map(|(_, word)| *word)
            .collect::<Vec<_>>()
            .join(" ");
    }
    text
}
