//! A transaction as a prompt shows it: what the stage may look at, under a number that means nothing elsewhere.

use serde::Serialize;

use crate::domain::{Direction, EnrichedTransaction, Enrichment, Slug};

/// One transaction of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its number within the request, such as `t1`: never the caller's own id, which may say who somebody is.
    pub id: String,
    /// Statement text, as it stands.
    pub descriptor: String,
    /// How much, in `currency`.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// Which way the money went.
    pub direction: Direction,
    /// ISO 18245.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcc: Option<String>,
    /// How it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What the directory knows of the merchant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merchant: Option<MerchantFacts>,
    /// What the account did before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryFacts>,
    /// Transactions like it whose category a person gave, most alike first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub similar: Vec<Similar>,
}

/// What the directory knows of a merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MerchantFacts {
    /// Its name.
    pub name: String,
    /// What it is, such as `supermarket`.
    pub kind: String,
    /// The category that the directory has for such merchants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Slug>,
}

/// What the account did before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryFacts {
    /// Earlier transactions with the same merchant.
    pub visits: u32,
    /// What they usually cost, in their currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typical_amount: Option<String>,
    /// At a steady pace and a steady amount.
    pub recurring: bool,
    /// What a person last called one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Slug>,
}

/// A labelled transaction like the one at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Similar {
    /// Its statement text.
    pub descriptor: String,
    /// What a person called it.
    pub category: Slug,
}

impl Row {
    /// A transaction under its number in the request, from 1, with as much of the enrichment as the stage may look at.
    #[must_use]
    pub fn of(number: usize, row: &EnrichedTransaction, enrichment: Enrichment, similar: Vec<Similar>) -> Self {
        let transaction = &row.transaction;
        let full = enrichment == Enrichment::Full;
        let same = &row.history.same_key;
        let history = (full && same.count > 0).then(|| HistoryFacts {
            visits: same.count,
            typical_amount: same.typical_amount.as_ref().map(|money| money.in_full().to_string()),
            recurring: same.recurring,
            category: same.latest_label.clone(),
        });
        let merchant = row.merchant.as_ref().filter(|_| full).map(|found| MerchantFacts {
            name: found.merchant.name.clone(),
            kind: found.merchant.kind.rsplit('=').next().unwrap_or_default().replace('_', " "),
            category: found.merchant.category.clone(),
        });
        Self {
            id: format!("t{number}"),
            descriptor: transaction.descriptor.raw().to_owned(),
            amount: transaction.amount.in_full().to_string(),
            currency: transaction.amount.currency().code().to_owned(),
            direction: transaction.direction,
            mcc: transaction.mcc.as_ref().filter(|_| full).map(ToString::to_string),
            channel: transaction.channel.as_ref().filter(|_| full).map(ToString::to_string),
            merchant,
            history,
            similar,
        }
    }
}
