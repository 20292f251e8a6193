//! A file of transactions, one row at a time: CSV or JSON lines, plain or gzip.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    io::{BufRead, BufReader, Read},
};

use flate2::read::MultiGzDecoder;
use serde_json::value::RawValue;

use crate::{
    domain::{Slug, Taxonomy, Transaction},
    evaluate::columns::{Mapping, Reject},
};

/// One row, and where it stood.
pub struct Line {
    /// Counted from 1, the header included.
    pub number: u64,
    /// The row's id as it stands there, as far as that could be read.
    pub id: Option<String>,
    /// The transaction and its label, or why there is none.
    pub row: Result<(Transaction, Option<Slug>), Reject>,
}

/// Reads rows from any reader.
pub struct Rows {
    source: Source,
    mapping: Mapping,
    taxonomy: std::sync::Arc<Taxonomy>,
}

enum Source {
    Csv { reader: csv::Reader<Box<dyn Read + Send>>, header: Vec<String>, number: u64, record: csv::ByteRecord },
    JsonLines { reader: BufReader<Box<dyn Read + Send>>, number: u64, line: Vec<u8> },
}

/// What a file's name says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    json_lines: bool,
    gzip: bool,
}

impl Format {
    /// By the endings: `.csv`, `.jsonl` or `.ndjson`, with or without `.gz`; `None` with any other.
    #[must_use]
    pub fn of(file_name: &str) -> Option<Self> {
        let lower = file_name.to_ascii_lowercase();
        let (stem, gzip) = lower.strip_suffix(".gz").map_or((lower.as_str(), false), |stem| (stem, true));
        let json_lines = stem.ends_with(".jsonl") || stem.ends_with(".ndjson");
        (json_lines || stem.ends_with(".csv")).then_some(Self { json_lines, gzip })
    }
}

impl Rows {
    /// Opens the rows; a CSV's header is read here.
    ///
    /// # Errors
    /// When the header can't be read.
    pub fn open(
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
            Source::Csv { reader, header, number: 1, record: csv::ByteRecord::new() }
        };
        Ok(Self { source, mapping, taxonomy })
    }

    /// The columns that a CSV lacks for what `mapping` says; JSON lines can differ from line to line.
    #[must_use]
    pub fn missing_columns(&self) -> Vec<String> {
        let Source::Csv { header, .. } = &self.source else { return Vec::new() };
        self.mapping.missing(|column| header.iter().any(|name| name == column))
    }

    /// The columns that a CSV has more than once and that `mapping` takes something from: which is meant can't be told.
    #[must_use]
    pub fn repeated_columns(&self) -> Vec<String> {
        let Source::Csv { header, .. } = &self.source else { return Vec::new() };
        let times = |column: &String| header.iter().filter(|name| *name == column).count();
        self.columns().into_values().filter(|column| times(column) > 1).collect()
    }

    /// The columns that fields are taken from; of JSON lines, as far as they were named.
    #[must_use]
    pub fn columns(&self) -> BTreeMap<&'static str, String> {
        match &self.source {
            Source::Csv { header, .. } => self.mapping.columns(|column| header.iter().any(|name| name == column)),
            Source::JsonLines { .. } => self.mapping.columns(|_| false),
        }
    }

    /// The same rows with labels of another taxonomy.
    #[must_use]
    pub fn labelled_in(self, taxonomy: std::sync::Arc<Taxonomy>) -> Self {
        Self { taxonomy, ..self }
    }

    fn line(&self, number: u64, values: &BTreeMap<String, String>) -> Line {
        let id = self.mapping.id(values).map(str::to_owned);
        Line { number, id, row: self.mapping.transaction(number, values, &self.taxonomy) }
    }
}

impl Iterator for Rows {
    /// An error here ends the file: it can't be read on.
    type Item = Result<Line, Box<dyn StdError + Send + Sync>>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Csv { reader, header, number, record } => match reader.read_byte_record(record) {
                Ok(false) => None,
                Err(error) => Some(Err(error.into())),
                Ok(true) => {
                    // A lone carriage return ends a row, and the reader counts no line for it. Two rows must not have one number: where
                    // a file brings no ids, they are made of it.
                    *number = record.position().map_or(0, csv::Position::line).max(*number + 1);
                    let number = *number;
                    match csv::StringRecord::from_byte_record(record.clone()) {
                        // Cells beyond the header come of a separator that wasn't quoted: all may have moved.
                        Ok(record) if record.len() > header.len() => Some(Ok(Line {
                            number,
                            id: None,
                            row: Err(Reject::Cells { found: record.len(), header: header.len() }),
                        })),
                        Ok(record) => {
                            let values = header.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
                            Some(Ok(self.line(number, &values)))
                        }
                        Err(_) => Some(Ok(Line { number, id: None, row: Err(Reject::NotText) })),
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
                            Err(_) => Line { number, id: None, row: Err(Reject::NotAnObject) },
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
