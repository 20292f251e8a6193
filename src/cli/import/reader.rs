//! A file of transactions, one row at a time: CSV or JSON lines, plain or gzip.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error as StdError,
    io::{BufRead, BufReader, Read},
    str::FromStr,
};

use flate2::read::MultiGzDecoder;
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    domain::{
        Currency, Descriptor, Direction, Money, Slug, Taxonomy, Transaction, TransactionId,
        transaction::{FIELDS, REQUIRED, Status},
    },
    evaluate::dataset::timestamp,
};

/// A row that can't be a transaction.
#[derive(Debug, thiserror::Error)]
pub(super) enum Reject {
    /// The line is no record at all.
    #[error("{source}")]
    Record {
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
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
    /// A label that is no category.
    #[error("is no category of the taxonomy")]
    Label,
}

impl Reject {
    /// The field at fault, if it is one field's.
    pub(super) fn field(&self) -> Option<&'static str> {
        match self {
            Self::Record { .. } | Self::Cells { .. } => None,
            Self::Missing { field } | Self::Field { field, .. } => Some(field),
            Self::Label => Some("label"),
        }
    }
}

/// Which way the money went, where no column says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DirectionDefault {
    /// Every row is out of the account.
    Debit,
    /// Every row is into the account.
    Credit,
    /// Negative amounts are debits, the others credits.
    BySign,
}

/// How a file's columns become a transaction.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    /// Field to column, where they differ.
    pub(super) columns: HashMap<&'static str, String>,
    /// The column with a category that is known to be right.
    pub(super) labels: Option<String>,
    /// For rows without a currency.
    pub(super) currency: Option<Currency>,
    /// For rows without a direction.
    pub(super) direction: Option<DirectionDefault>,
    /// Whether rows without an id get one from their line and content.
    pub(super) id_from_row: bool,
}

/// One row, and where it stood.
pub(super) struct Line {
    /// Counted from 1, the header included.
    pub(super) number: u64,
    /// The transaction and its label, or why there is none.
    pub(super) row: Result<(Transaction, Option<Slug>), Reject>,
}

/// Reads rows from any reader.
pub(super) struct Rows {
    source: Source,
    mapping: Mapping,
    taxonomy: std::sync::Arc<Taxonomy>,
}

enum Source {
    Csv { reader: csv::Reader<Box<dyn Read + Send>>, header: Vec<String>, record: csv::ByteRecord },
    JsonLines { reader: BufReader<Box<dyn Read + Send>>, number: u64, line: Vec<u8> },
}

/// What a file's name says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    json_lines: bool,
    gzip: bool,
}

impl Format {
    /// By the endings: `.jsonl`, `.ndjson` (else CSV), with or without `.gz`.
    pub(super) fn of(file_name: &str) -> Self {
        let lower = file_name.to_ascii_lowercase();
        let (stem, gzip) = lower.strip_suffix(".gz").map_or((lower.as_str(), false), |stem| (stem, true));
        Self { json_lines: stem.ends_with(".jsonl") || stem.ends_with(".ndjson"), gzip }
    }
}

impl Rows {
    /// Opens the rows; a CSV's header is read here.
    pub(super) fn open(
        file: impl Read + Send + 'static,
        format: Format,
        mapping: Mapping,
        taxonomy: std::sync::Arc<Taxonomy>,
    ) -> Result<Self, csv::Error> {
        let file = BufReader::with_capacity(1 << 16, file);
        let text: Box<dyn Read + Send> = if format.gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let source = if format.json_lines {
            Source::JsonLines { reader: BufReader::with_capacity(1 << 16, text), number: 0, line: Vec::new() }
        } else {
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
            let header = reader.headers()?.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
            Source::Csv { reader, header, record: csv::ByteRecord::new() }
        };
        Ok(Self { source, mapping, taxonomy })
    }

    /// The columns that a CSV lacks for what `mapping` says; JSON lines can differ from line to line.
    pub(super) fn missing_columns(&self) -> Vec<String> {
        let Source::Csv { header, .. } = &self.source else { return Vec::new() };
        let has = |column: &str| header.iter().any(|name| name == column);
        let mut missing: Vec<String> =
            self.mapping.columns.values().chain(&self.mapping.labels).filter(|column| !has(column)).cloned().collect();
        missing.extend(
            FIELDS[..REQUIRED]
                .iter()
                .copied()
                .filter(|&field| !self.mapping.columns.contains_key(field) && !aliases(field).any(has))
                .filter(|&field| !self.mapping.has_default(field))
                .map(str::to_owned),
        );
        missing.sort();
        missing
    }

    fn line(&self, number: u64, values: &BTreeMap<String, String>) -> Line {
        Line { number, row: self.mapping.transaction(number, values, &self.taxonomy) }
    }
}

impl Iterator for Rows {
    /// An error here ends the file: it can't be read on.
    type Item = Result<Line, Box<dyn StdError + Send + Sync>>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Csv { reader, header, record } => match reader.read_byte_record(record) {
                Ok(false) => None,
                Err(error) => Some(Err(error.into())),
                Ok(true) => {
                    let number = record.position().map_or(0, csv::Position::line);
                    match csv::StringRecord::from_byte_record(record.clone()) {
                        // Cells beyond the header come of a separator that wasn't quoted: all may have moved.
                        Ok(record) if record.len() > header.len() => Some(Ok(Line {
                            number,
                            row: Err(Reject::Cells { found: record.len(), header: header.len() }),
                        })),
                        Ok(record) => {
                            let values = header.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
                            Some(Ok(self.line(number, &values)))
                        }
                        Err(error) => Some(Ok(Line {
                            number,
                            row: Err(Reject::Record { source: error.utf8_error().clone().into() }),
                        })),
                    }
                }
            },
            Source::JsonLines { reader, number, line } => loop {
                line.clear();
                *number += 1;
                match reader.read_until(b'\n', line) {
                    Ok(0) => return None,
                    Err(error) => return Some(Err(error.into())),
                    Ok(_) if line.trim_ascii().is_empty() => {}
                    Ok(_) => {
                        let number = *number;
                        return Some(Ok(match object(line) {
                            Ok(values) => self.line(number, &values),
                            Err(source) => Line { number, row: Err(Reject::Record { source: source.into() }) },
                        }));
                    }
                }
            },
        }
    }
}

/// The scalar members of a JSON object as text, a number's digits as they stand.
fn object(line: &[u8]) -> serde_json::Result<BTreeMap<String, String>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(line)?;
    let mut values = BTreeMap::new();
    for (name, value) in members {
        let text = value.get();
        if text.starts_with('"') {
            values.insert(name, serde_json::from_str(text)?);
        } else if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            values.insert(name, text.to_owned());
        }
    }
    Ok(values)
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

    fn transaction(
        &self,
        number: u64,
        values: &BTreeMap<String, String>,
        taxonomy: &Taxonomy,
    ) -> Result<(Transaction, Option<Slug>), Reject> {
        let signed: Decimal = self.needed(values, "amount")?;
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
