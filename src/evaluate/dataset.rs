//! A data set's folder: `categories.csv`, `pool`, `dev` and any number of `test_*`, as `.csv` or `.csv.gz`.
//!
//! Columns: `id, posted_on, account_id, descriptor, amount, direction, currency, category`, optionally
//! `ledger, mcc, country, channel, counterparty, labelled_by`; others are passed over. Files are streamed, and a
//! test file is opened only by whoever asks for its rows. [`Transactions`] never looks at the category
//! column; who reads [`Rows`] of the pool shuts the labels away until they are bought.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    error::Error as StdError,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, SubsecRound as _, Utc};
use flate2::read::MultiGzDecoder;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{Descriptor, Money, Slug, Taxonomy, Transaction, TransactionId, taxonomy, transaction::Status};

/// Why a data set can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder lacks a file.
    #[error("{} has no {name}.csv or {name}.csv.gz", dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// The file's name without its ending.
        name: String,
    },
    /// The file can't be opened or read.
    #[error("can't read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no CSV of one shape.
    #[error("{}: not a table of comma-separated values", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: csv::Error,
    },
    /// Rows that a list names are not there.
    #[error("{missing} of {listed} listed rows are not in the pool, such as `{first}`")]
    Unlisted {
        /// How many are not.
        missing: usize,
        /// How many are listed.
        listed: usize,
        /// One of them.
        first: TransactionId,
    },
    /// A column is missing.
    #[error("{} has no column `{column}`", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// A field is refused.
    #[error("{} line {line}: `{column}`", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// An id that an earlier row has: which of the two is meant can't be told.
    #[error("{} line {line}: `id` is that of line {first} too", path.display())]
    Repeated {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The line that had it first.
        first: u64,
    },
    /// A category that `categories.csv` does not name.
    #[error("{} line {line}: categories.csv has no `{category}`", path.display())]
    Category {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What stands there.
        category: Slug,
    },
    /// `categories.csv` is no taxonomy.
    #[error("can't use {}", path.display())]
    Taxonomy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: taxonomy::Error,
    },
}

impl Error {
    /// Whether every listed row is among those that there are.
    ///
    /// # Errors
    /// When one is not.
    pub fn unless_all<'a>(
        listed: &'a HashSet<TransactionId>,
        there: impl Fn(&'a TransactionId) -> bool,
    ) -> Result<(), Self> {
        let missing: Vec<&TransactionId> = listed.iter().filter(|id| !there(id)).collect();
        match missing.iter().min() {
            None => Ok(()),
            Some(first) => {
                Err(Self::Unlisted { missing: missing.len(), listed: listed.len(), first: TransactionId::clone(first) })
            }
        }
    }

    /// Whether one row is at fault, and the rows after it can still be read.
    #[must_use]
    pub fn is_of_one_row(&self) -> bool {
        match self {
            Self::Field { .. } | Self::Repeated { .. } | Self::Category { .. } => true,
            Self::Csv { source, .. } => !matches!(source.kind(), csv::ErrorKind::Io(_)),
            Self::Missing { .. }
            | Self::Io { .. }
            | Self::Column { .. }
            | Self::Unlisted { .. }
            | Self::Taxonomy { .. } => false,
        }
    }
}

/// One file of a data set. Holding it opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its name without the ending: `pool`, `dev`, `test_recent`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

impl DataFile {
    /// SHA-256 of the file as it lies on disk.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn sha256(&self) -> Result<[u8; 32], Error> {
        let failed = |source| Error::Io { path: self.path.clone(), source };
        let mut hash = Sha256::new();
        io::copy(&mut File::open(&self.path).map_err(failed)?, &mut hash).map_err(failed)?;
        Ok(hash.finalize().into())
    }
}

/// A row and what it really is.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The row.
    pub transaction: Transaction,
    /// Its true category.
    pub category: Slug,
}

/// A data set's folder.
#[derive(Debug, Clone)]
pub struct Dataset {
    dir: PathBuf,
    taxonomy: Arc<Taxonomy>,
    files: BTreeMap<String, DataFile>,
}

impl Dataset {
    /// Lists the folder and reads `categories.csv`; opens nothing else.
    ///
    /// # Errors
    /// When the folder lacks `categories.csv`, `pool` or `dev`, or the categories are no taxonomy.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).map_err(failed(dir))? {
            let path = entry.map_err(failed(dir))?.path();
            let Some(file_name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(name) = file_name.strip_suffix(".gz").unwrap_or(file_name).strip_suffix(".csv") else { continue };
            if name == "pool" || name == "dev" || name.starts_with("test_") {
                // With both at hand, the plain file wins: it is the one a person edits.
                let plain = !file_name.ends_with(".gz");
                if plain || !files.contains_key(name) {
                    files.insert(name.to_owned(), DataFile { name: name.to_owned(), path: path.clone() });
                }
            }
        }
        let taxonomy = taxonomy(&dir.join("categories.csv"))?;
        let dataset = Self { dir: dir.to_owned(), taxonomy: Arc::new(taxonomy), files };
        dataset.file("pool")?;
        dataset.file("dev")?;
        Ok(dataset)
    }

    /// The categories it brings.
    #[must_use]
    pub fn taxonomy(&self) -> &Arc<Taxonomy> {
        &self.taxonomy
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One of its files.
    ///
    /// # Errors
    /// When the folder has none of that name.
    pub fn file(&self, name: &str) -> Result<&DataFile, Error> {
        self.files.get(name).ok_or_else(|| Error::Missing { dir: self.dir.clone(), name: name.to_owned() })
    }

    /// Its test files, by name. They are not opened.
    pub fn tests(&self) -> impl Iterator<Item = &DataFile> {
        self.files.values().filter(|file| file.name.starts_with("test_"))
    }

    /// Streams a file's rows without their categories.
    ///
    /// # Errors
    /// When the file can't be opened or lacks a column.
    pub fn transactions(&self, file: &DataFile) -> Result<Transactions, Error> {
        Records::open(file).map(Transactions)
    }

    /// Streams a file's rows with their categories.
    ///
    /// # Errors
    /// When the file can't be opened or lacks a column.
    pub fn rows(&self, file: &DataFile) -> Result<Rows, Error> {
        Ok(Rows { records: Records::open(file)?, taxonomy: Arc::clone(&self.taxonomy) })
    }
}

/// A file's rows without their categories, one at a time.
pub struct Transactions(Records);

impl Iterator for Transactions {
    type Item = Result<Transaction, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.advance() {
            Ok(true) => Some(self.0.transaction()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// A file's rows with their categories, one at a time.
pub struct Rows {
    records: Records,
    taxonomy: Arc<Taxonomy>,
}

impl Rows {
    /// The next row whose id `wanted` keeps; of the others, nothing but the id is looked at.
    pub fn next_where(&mut self, wanted: impl Fn(&str) -> bool) -> Option<Result<Row, Error>> {
        loop {
            match self.records.advance() {
                Ok(true) if wanted(self.records.id()) => return Some(self.row()),
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The columns' names as they stand in the file.
    #[must_use]
    pub fn header(&self) -> &csv::StringRecord {
        &self.records.header
    }

    /// The row that was read last, parsed or refused, as it stands in the file.
    #[must_use]
    pub fn record(&self) -> &csv::StringRecord {
        &self.records.record
    }

    /// The id of the row that was read last, as it stands in the file.
    #[must_use]
    pub fn id(&self) -> &str {
        self.records.id()
    }

    /// The line where the row that was read last begins, counted from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.records.line()
    }

    /// Whether the file says who labelled its rows.
    #[must_use]
    pub fn names_annotators(&self) -> bool {
        self.records.columns.labelled_by.is_some()
    }

    /// Who gave the row that was read last its label, where the file says so.
    #[must_use]
    pub fn labelled_by(&self) -> Option<&str> {
        let who = self.records.text(self.records.columns.labelled_by?).trim();
        (!who.is_empty()).then_some(who)
    }

    fn row(&self) -> Result<Row, Error> {
        let transaction = self.records.transaction()?;
        let category: Slug = self.records.parsed("category", self.records.columns.category)?;
        if self.taxonomy.index_of(&category).is_none() {
            return Err(Error::Category { path: self.records.path.clone(), line: self.records.line(), category });
        }
        Ok(Row { transaction, category })
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_where(|_| true)
    }
}

/// Where each column stands.
struct Columns {
    id: usize,
    posted_on: usize,
    account_id: usize,
    descriptor: usize,
    amount: usize,
    direction: usize,
    currency: usize,
    category: usize,
    mcc: Option<usize>,
    country: Option<usize>,
    channel: Option<usize>,
    counterparty: Option<usize>,
    labelled_by: Option<usize>,
}

/// The file under the two iterators: one record at a time, parsed on demand.
struct Records {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read + Send>>,
    header: csv::StringRecord,
    record: csv::StringRecord,
    columns: Columns,
    /// The line of every id so far, by the id's hash.
    ids: HashMap<u64, u64>,
}

impl Records {
    fn open(file: &DataFile) -> Result<Self, Error> {
        let path = file.path.clone();
        let opened = File::open(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let gz = path.extension().is_some_and(|ending| ending == "gz");
        let text: Box<dyn Read + Send> = if gz {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(BufReader::new(opened))))
        } else {
            Box::new(BufReader::with_capacity(1 << 16, opened))
        };
        let mut reader = csv::Reader::from_reader(text);
        let header = reader.headers().map_err(|source| Error::Csv { path: path.clone(), source })?.clone();
        let place = |column: &str| header.iter().position(|name| name == column);
        let needed = |column| place(column).ok_or_else(|| Error::Column { path: path.clone(), column });
        let columns = Columns {
            id: needed("id")?,
            posted_on: needed("posted_on")?,
            account_id: needed("account_id")?,
            descriptor: needed("descriptor")?,
            amount: needed("amount")?,
            direction: needed("direction")?,
            currency: needed("currency")?,
            category: needed("category")?,
            mcc: place("mcc"),
            country: place("country"),
            channel: place("channel"),
            counterparty: place("counterparty"),
            labelled_by: place("labelled_by"),
        };
        Ok(Self { path, reader, header, record: csv::StringRecord::new(), columns, ids: HashMap::new() })
    }

    fn advance(&mut self) -> Result<bool, Error> {
        let read = self.reader.read_record(&mut self.record);
        if !read.map_err(|source| Error::Csv { path: self.path.clone(), source })? {
            return Ok(false);
        }
        let line = self.line();
        match self.ids.entry(xxh3_64(self.id().as_bytes())) {
            Entry::Occupied(first) => Err(Error::Repeated { path: self.path.clone(), line, first: *first.get() }),
            Entry::Vacant(new) => {
                new.insert(line);
                Ok(true)
            }
        }
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    fn id(&self) -> &str {
        self.text(self.columns.id)
    }

    fn text(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default()
    }

    fn refused(&self, column: &'static str, source: impl StdError + Send + Sync + 'static) -> Error {
        Error::Field { path: self.path.clone(), line: self.line(), column, source: Box::new(source) }
    }

    fn parsed<T: FromStr<Err: StdError + Send + Sync + 'static>>(
        &self,
        name: &'static str,
        column: usize,
    ) -> Result<T, Error> {
        self.text(column).parse().map_err(|source| self.refused(name, source))
    }

    fn optional<T: FromStr<Err: StdError + Send + Sync + 'static>>(
        &self,
        name: &'static str,
        column: Option<usize>,
    ) -> Result<Option<T>, Error> {
        match column {
            Some(column) if !self.text(column).is_empty() => self.parsed(name, column).map(Some),
            _ => Ok(None),
        }
    }

    fn transaction(&self) -> Result<Transaction, Error> {
        let columns = &self.columns;
        let amount: Decimal = self.parsed("amount", columns.amount)?;
        let currency = self.parsed("currency", columns.currency)?;
        Ok(Transaction {
            id: self.parsed("id", columns.id)?,
            account_id: self.parsed("account_id", columns.account_id)?,
            posted_at: timestamp(self.text(columns.posted_on)).map_err(|source| self.refused("posted_on", source))?,
            amount: Money::new(amount, currency).map_err(|source| self.refused("amount", source))?,
            direction: self.parsed("direction", columns.direction)?,
            descriptor: Descriptor::parse(self.text(columns.descriptor))
                .map_err(|source| self.refused("descriptor", source))?,
            mcc: self.optional("mcc", columns.mcc)?,
            country: self.optional("country", columns.country)?,
            channel: self.optional("channel", columns.channel)?,
            counterparty: self.optional("counterparty", columns.counterparty)?,
            status: Status::Posted,
            replaces: None,
        })
    }
}

/// The categories of a data set. Where they are those of the consumer taxonomy, they *are* the consumer
/// taxonomy, so that an adapter trained on the set serves it. Else the name is no folder's: the same
/// categories in another folder are the same taxonomy.
///
/// # Errors
/// When the file can't be read, or is no taxonomy.
pub fn taxonomy(path: &Path) -> Result<Taxonomy, Error> {
    let failed = |source| Error::Taxonomy { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let own = Taxonomy::from_categories_csv(file, "categories").map_err(failed)?;
    let consumer = Taxonomy::consumer().map_err(failed)?;
    let same = own.assignable().len() == consumer.assignable().len()
        && own.assignable().iter().all(|category| consumer.contains(&category.slug));
    Ok(if same { consumer } else { own })
}

/// A date (midnight UTC) or an RFC 3339 time.
///
/// # Errors
/// When the text is neither, or of a year that isn't written in four digits: a database need not know it.
pub fn timestamp(text: &str) -> Result<DateTime<Utc>, InvalidTime> {
    match text.parse::<NaiveDate>() {
        Ok(date) if (0..=9_999).contains(&date.year()) => Ok(date.and_time(NaiveTime::MIN).and_utc()),
        Ok(_) => Err(InvalidTime::Year),
        Err(error) if text.len() <= "2018-07-01".len() => Err(error.into()),
        // To the microsecond, as they are stored.
        Err(_) => Ok(DateTime::parse_from_rfc3339(text)?.to_utc().trunc_subsecs(6)),
    }
}

/// Text that is no date or time of a row.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTime {
    /// Not of the form.
    #[error("must be a date (2026-03-14) or an RFC 3339 time with an offset (2026-03-14T09:26:53Z)")]
    Form(#[from] chrono::ParseError),
    /// A year before 0 or after 9999.
    #[error("must be of a year from 0000 to 9999")]
    Year,
}
