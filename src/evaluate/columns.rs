//! How named columns become a transaction: a file's, a row group's, whoever reads them.
//!
//! [`Mapping`] takes one row as text by column name. What can't be a transaction is a [`Reject`] that says which field
//! and why, so that whoever reads can count and show it. It reads no file.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error as StdError,
    str::FromStr,
};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dataset::timestamp;
use crate::domain::{
    Currency, Descriptor, Direction, Money, Slug, Taxonomy, Transaction, TransactionId,
    transaction::{FIELDS, REQUIRED, Status},
};

/// A row that can't be a transaction.
#[derive(Debug, thiserror::Error)]
pub enum Reject {
    /// A line of JSON lines is no object.
    #[error("must be a JSON object")]
    NotAnObject,
    /// A CSV line is no text.
    #[error("must be UTF-8 text")]
    NotText,
    /// A CSV line has more cells than its header.
    #[error("the line has {found} cells and the header {header}")]
    Cells {
        /// How many it has.
        found: usize,
        /// How many it should have.
        header: usize,
    },
    /// A field is missing.
    #[error("is missing")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A field is refused.
    #[error("{source}")]
    Field {
        /// Which.
        field: &'static str,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// An amount that is no decimal.
    #[error("must be a decimal such as 12.50")]
    NotDecimal,
    /// A label that is no category.
    #[error("is no category of the taxonomy")]
    Label,
}

impl Reject {
    /// The field at fault, if it is one field's.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::NotAnObject | Self::NotText | Self::Cells { .. } => None,
            Self::NotDecimal => Some("amount"),
            Self::Missing { field } | Self::Field { field, .. } => Some(field),
            Self::Label => Some("label"),
        }
    }
}

/// Which way the money went, where no column says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum DirectionDefault {
    /// Every row is out of the account.
    Debit,
    /// Every row is into the account.
    Credit,
    /// Negative amounts are debits, the others credits.
    BySign,
}

/// How a file's columns become a transaction.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    /// Field to column, where they differ.
    pub columns: HashMap<&'static str, String>,
    /// The column with a category that is known to be right.
    pub labels: Option<String>,
    /// For rows without a currency.
    pub currency: Option<Currency>,
    /// For rows without a direction.
    pub direction: Option<DirectionDefault>,
    /// Whether rows without an id get one from their line and content.
    pub id_from_row: bool,
}

/// The columns a field is looked for in when nothing is mapped.
fn aliases(field: &'static str) -> impl Iterator<Item = &'static str> {
    std::iter::once(field).chain((field == "posted_at").then_some("posted_on"))
}

impl Mapping {
    fn has_default(&self, field: &str) -> bool {
        match field {
            "id" => self.id_from_row,
            "currency" => self.currency.is_some(),
            "direction" => self.direction.is_some(),
            _ => false,
        }
    }

    /// The columns that are lacked for what this says, by name.
    #[must_use]
    pub fn missing(&self, has: impl Fn(&str) -> bool) -> Vec<String> {
        let mut missing: Vec<String> =
            self.columns.values().chain(&self.labels).filter(|column| !has(column)).cloned().collect();
        missing.extend(
            FIELDS[..REQUIRED]
                .iter()
                .copied()
                .filter(|&field| !self.columns.contains_key(field) && !aliases(field).any(&has))
                .filter(|&field| !self.has_default(field))
                .map(str::to_owned),
        );
        missing.sort();
        missing
    }

    /// The column that a field is taken from.
    #[must_use]
    pub fn column<'a>(&'a self, field: &'static str, has: impl Fn(&str) -> bool) -> Option<&'a str> {
        match self.columns.get(field) {
            Some(column) => Some(column.as_str()),
            None => aliases(field).find(|column| has(column)),
        }
    }

    /// The columns that fields, and the `label`, are taken from, among those that `has` says are there.
    #[must_use]
    pub fn columns(&self, has: impl Fn(&str) -> bool) -> BTreeMap<&'static str, String> {
        let fields = FIELDS.into_iter().filter_map(|field| Some((field, self.column(field, &has)?.to_owned())));
        fields.chain(self.labels.clone().map(|column| ("label", column))).collect()
    }

    /// A row's id as it stands there.
    #[must_use]
    pub fn id<'a>(&self, values: &'a BTreeMap<String, String>) -> Option<&'a str> {
        self.text(values, "id")
    }

    fn text<'a>(&self, values: &'a BTreeMap<String, String>, field: &'static str) -> Option<&'a str> {
        let text = match self.columns.get(field) {
            Some(column) => values.get(column)?,
            None => aliases(field).find_map(|column| values.get(column))?,
        };
        Some(text.as_str()).filter(|text| !text.trim().is_empty())
    }

    fn optional<T: FromStr<Err: StdError + Send + Sync + 'static>>(
        &self,
        values: &BTreeMap<String, String>,
        field: &'static str,
    ) -> Result<Option<T>, Reject> {
        self.text(values, field).map(|text| text.parse().map_err(refused(field))).transpose()
    }

    fn needed<T: FromStr<Err: StdError + Send + Sync + 'static>>(
        &self,
        values: &BTreeMap<String, String>,
        field: &'static str,
    ) -> Result<T, Reject> {
        self.optional(values, field)?.ok_or(Reject::Missing { field })
    }

    /// The transaction of a row, and its label where a column has labels.
    ///
    /// `number` is where the row stands, for ids made of it.
    ///
    /// # Errors
    /// When a field is missing or refused.
    pub fn transaction(
        &self,
        number: u64,
        values: &BTreeMap<String, String>,
        taxonomy: &Taxonomy,
    ) -> Result<(Transaction, Option<Slug>), Reject> {
        let signed = self.text(values, "amount").ok_or(Reject::Missing { field: "amount" })?;
        let signed: Decimal = signed.parse().map_err(|_| Reject::NotDecimal)?;
        let (amount, by_sign) = match self.direction {
            Some(DirectionDefault::BySign) if signed.is_sign_negative() => (-signed, Some(Direction::Debit)),
            Some(DirectionDefault::BySign) => (signed, Some(Direction::Credit)),
            Some(DirectionDefault::Debit) => (signed, Some(Direction::Debit)),
            Some(DirectionDefault::Credit) => (signed, Some(Direction::Credit)),
            None => (signed, None),
        };
        let direction =
            self.optional(values, "direction")?.or(by_sign).ok_or(Reject::Missing { field: "direction" })?;
        let currency =
            self.optional(values, "currency")?.or(self.currency).ok_or(Reject::Missing { field: "currency" })?;
        let posted_at = self.text(values, "posted_at").ok_or(Reject::Missing { field: "posted_at" })?;
        let descriptor = self.text(values, "descriptor").ok_or(Reject::Missing { field: "descriptor" })?;
        let id = match self.optional(values, "id")? {
            Some(id) => id,
            None if self.id_from_row => id_from_row(number, values)?,
            None => return Err(Reject::Missing { field: "id" }),
        };
        let label = match self.labels.as_ref().and_then(|column| values.get(column)).filter(|text| !text.is_empty()) {
            Some(text) => {
                let slug: Slug = text.parse().map_err(|_| Reject::Label)?;
                Some(slug).filter(|slug| taxonomy.contains(slug)).ok_or(Reject::Label).map(Some)?
            }
            None => None,
        };
        let transaction = Transaction {
            id,
            account_id: self.needed(values, "account_id")?,
            posted_at: timestamp(posted_at).map_err(refused("posted_at"))?,
            amount: Money::new(amount, currency).map_err(refused("amount"))?,
            direction,
            descriptor: Descriptor::parse(descriptor).map_err(refused("descriptor"))?,
            mcc: self.optional(values, "mcc")?,
            country: self.optional(values, "country")?,
            channel: self.optional(values, "channel")?,
            counterparty: self.optional(values, "counterparty")?,
            status: self.optional(values, "status")?.unwrap_or(Status::Posted),
            replaces: self.optional(values, "replaces")?,
        };
        Ok((transaction, label))
    }
}

fn refused<E: StdError + Send + Sync + 'static>(field: &'static str) -> impl FnOnce(E) -> Reject {
    move |source| Reject::Field { field, source: source.into() }
}

/// The same line of the same file always gets the same id, so that a second run finds it again.
fn id_from_row(number: u64, values: &BTreeMap<String, String>) -> Result<TransactionId, Reject> {
    let mut hash = Sha256::new();
    for (name, value) in values {
        for text in [name, value] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    }
    format!("row-{number}-{}", hex::encode(&hash.finalize()[..8])).parse().map_err(refused("id"))
}
