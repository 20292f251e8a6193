//! `txcat descriptors FILE`: how well descriptor keys hold on a file: how many there are, how pure, how many
//! of them another file knows already.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use comfy_table::{Table, presets};
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{Descriptor, DescriptorKey};

/// How well descriptor keys hold on a file.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// CSV with a header, plain or gzipped.
    pub file: PathBuf,
    /// A second file: says how many of FILE's rows and keys it knows already.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Column with the statement text.
    #[arg(long, value_name = "COLUMN", default_value = "descriptor")]
    pub column: String,
    /// Column with the category, for the keys' purity; passed over where the file has none.
    #[arg(long, value_name = "COLUMN", default_value = "category")]
    pub category: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What was found; shares are in `[0, 1]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Rows read, refused ones included.
    pub rows: u64,
    /// Rows whose text is no descriptor: empty or far too long.
    pub refused: u64,
    /// Different texts.
    pub distinct_descriptors: u64,
    /// Different keys, the empty one not counted.
    pub distinct_keys: u64,
    /// Rows whose key is empty: nothing stable in the text.
    pub without_key: u64,
    /// Share of the rows with key and category that have their key's most frequent category.
    pub purity: Option<f64>,
    /// Rows in which each part was found.
    pub parts: Parts,
    /// What another file knows of this one.
    pub against: Option<Against>,
}

/// Rows in which a part was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are the descriptor's parts by name")]
pub struct Parts {
    pub processor: u64,
    pub store_number: u64,
    pub order_code: u64,
    pub phone: u64,
    pub masked_card: u64,
    pub date: u64,
    pub place: u64,
}

/// What another file knows of this one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// Different keys there.
    pub distinct_keys: u64,
    /// Share of this file's rows whose key is among them.
    pub rows_known: f64,
    /// Share of this file's keys that are among them.
    pub keys_known: f64,
}

/// Runs `txcat descriptors`.
///
/// # Errors
/// When a file can't be read, is no CSV or lacks the column.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let report = report(options)?;
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", table(&report));
    }
    Ok(())
}

/// Reads the file, and the other one where there is one.
///
/// # Errors
/// As [`run`].
pub fn report(options: &Options) -> anyhow::Result<Report> {
    let mut tally = Tally::default();
    read(&options.file, &options.column, Some(&options.category), |text, category| tally.add(text, category))?;
    if tally.rows == 0 {
        bail!("{} has no rows", options.file.display());
    }
    let against = match &options.against {
        None => None,
        Some(other) => {
            let mut known = HashSet::new();
            read(other, &options.column, None, |text, _| {
                known.extend(Descriptor::parse(text).ok().map(|descriptor| descriptor.key().clone()));
            })?;
            Some(tally.against(&known))
        }
    };
    Ok(tally.report(against))
}

#[derive(Default)]
struct Tally {
    rows: u64,
    refused: u64,
    without_key: u64,
    /// Hashes stand for the texts: a feed has few merchants, and endless texts.
    descriptors: HashSet<u64>,
    keys: HashMap<DescriptorKey, Key>,
    parts: Parts,
}

#[derive(Default)]
struct Key {
    rows: u64,
    categories: HashMap<Box<str>, u64>,
}

impl Tally {
    fn add(&mut self, text: &str, category: Option<&str>) {
        self.rows += 1;
        let Ok(descriptor) = Descriptor::parse(text) else {
            self.refused += 1;
            return;
        };
        self.descriptors.insert(xxh3_64(descriptor.raw().as_bytes()));
        self.parts.add(&descriptor);
        if descriptor.key().is_empty() {
            self.without_key += 1;
            return;
        }
        let key = self.keys.entry(descriptor.key().clone()).or_default();
        key.rows += 1;
        if let Some(category) = category.filter(|category| !category.is_empty()) {
            match key.categories.get_mut(category) {
                Some(rows) => *rows += 1,
                None => drop(key.categories.insert(category.into(), 1)),
            }
        }
    }

    fn against(&self, known: &HashSet<DescriptorKey>) -> Against {
        let there = || self.keys.iter().filter(|(key, _)| known.contains(*key));
        Against {
            distinct_keys: known.iter().filter(|key| !key.is_empty()).count() as u64,
            rows_known: share(there().map(|(_, key)| key.rows).sum(), self.rows - self.refused).unwrap_or(0.0),
            keys_known: share(there().count() as u64, self.keys.len() as u64).unwrap_or(0.0),
        }
    }

    fn report(self, against: Option<Against>) -> Report {
        let labelled = self.keys.values().flat_map(|key| key.categories.values()).sum();
        let right = self.keys.values().filter_map(|key| key.categories.values().max()).sum();
        Report {
            rows: self.rows,
            refused: self.refused,
            distinct_descriptors: self.descriptors.len() as u64,
            distinct_keys: self.keys.len() as u64,
            without_key: self.without_key,
            purity: share(right, labelled),
            parts: self.parts,
            against,
        }
    }
}

impl Parts {
    fn add(&mut self, descriptor: &Descriptor) {
        self.processor += u64::from(descriptor.processor().is_some());
        self.store_number += u64::from(descriptor.store_number().is_some());
        self.order_code += u64::from(descriptor.order_code().is_some());
        self.phone += u64::from(descriptor.phone().is_some());
        self.masked_card += u64::from(descriptor.masked_card().is_some());
        self.date += u64::from(descriptor.date().is_some());
        self.place += u64::from(descriptor.place().is_some());
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Streams the texts, and the categories where the file has them.
fn read(
    path: &Path,
    column: &str,
    category: Option<&str>,
    mut row: impl FnMut(&str, Option<&str>),
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
    let mut file = BufReader::new(file);
    let zipped = file.fill_buf().with_context(|| format!("can't read {}", path.display()))?.starts_with(&[0x1f, 0x8b]);
    let file: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut rows = csv::Reader::from_reader(file);
    let headers = rows.byte_headers().with_context(|| format!("{}: no header line", path.display()))?.clone();
    let position = |name: &str| headers.iter().position(|header| header == name.as_bytes());
    let Some(text) = position(column) else {
        let there: Vec<_> = headers.iter().map(String::from_utf8_lossy).collect();
        bail!("{} has no column `{column}` (it has: {}); name it with --column", path.display(), there.join(", "));
    };
    let category = category.and_then(position);
    let mut record = csv::ByteRecord::new();
    loop {
        let more = rows.read_byte_record(&mut record).with_context(|| format!("{}: not CSV", path.display()))?;
        if !more {
            return Ok(());
        }
        let field = |index: usize| String::from_utf8_lossy(record.get(index).unwrap_or_default());
        row(&field(text), category.map(field).as_deref());
    }
}

fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let mut line = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    line("rows", report.rows.to_string());
    line("refused (empty or too long)", report.refused.to_string());
    line("distinct descriptors", report.distinct_descriptors.to_string());
    line("distinct keys", report.distinct_keys.to_string());
    line("rows without a key", report.without_key.to_string());
    line("category purity of keys", report.purity.map_or_else(|| "no category column".to_owned(), percent));
    let Parts { processor, store_number, order_code, phone, masked_card, date, place } = &report.parts;
    line("rows with a processor", processor.to_string());
    line("rows with a store number", store_number.to_string());
    line("rows with an order code", order_code.to_string());
    line("rows with a phone number", phone.to_string());
    line("rows with a masked card", masked_card.to_string());
    line("rows with a date", date.to_string());
    line("rows with a place", place.to_string());
    if let Some(against) = &report.against {
        line("keys of the other file", against.distinct_keys.to_string());
        line("rows with a key known there", percent(against.rows_known));
        line("keys known there", percent(against.keys_known));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn options(file: &Path, against: Option<&Path>) -> Options {
        Options {
            file: file.to_owned(),
            against: against.map(Path::to_owned),
            column: "descriptor".to_owned(),
            category: "category".to_owned(),
            json: false,
        }
    }

    #[test]
    fn branches_of_one_merchant_are_one_key_and_purity_counts_the_rows_that_disagree() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rows.csv.gz");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(
            b"descriptor,category\nRONA # 55140,hardware\nRONA # 55130,hardware\nRONA #3,gifts\nESSO,fuel\n,x\n",
        )
        .unwrap();
        std::fs::write(&file, gz.finish().unwrap()).unwrap();
        let other = dir.path().join("other.csv");
        std::fs::write(&other, "id,descriptor\n1,RONA #9\n").unwrap();
        let report = report(&options(&file, Some(&other))).unwrap();
        assert_eq!((report.rows, report.refused, report.distinct_descriptors, report.distinct_keys), (5, 1, 4, 2));
        assert_eq!(report.purity, Some(0.75));
        assert_eq!(report.parts.store_number, 3);
        assert_eq!(report.against, Some(Against { distinct_keys: 1, rows_known: 0.75, keys_known: 0.5 }));
    }

    #[test]
    fn a_missing_column_is_named_with_those_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rows.csv");
        std::fs::write(&file, "id,text\n1,ESSO\n").unwrap();
        let error = report(&options(&file, None)).unwrap_err().to_string();
        assert!(error.contains("no column `descriptor` (it has: id, text)"), "{error}");
    }
}
