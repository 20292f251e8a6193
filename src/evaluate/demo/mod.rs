//! The demo data set: bank transactions of people who don't exist, generated from a seed.
//!
//! Built to show the product on a laptop, not to flatter it: brands, shapes of statement texts,
//! habits and ambiguities were written down before anything was trained on it, and nothing in it is
//! tuned to a result. `eval/datasets/demo/README.md` tells what is in it. Labels have no noise, and
//! the texts are tidier than a real bank's: figures on it say nothing about real data.

mod catalog;
mod dice;
mod life;
mod people;
mod shapes;

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use chrono::{Days, Months, NaiveDate};
use flate2::{Compression, GzBuilder};

use self::{
    catalog::{Catalog, lands},
    dice::Dice,
    people::Account,
};
use super::written;
use crate::domain::{Taxonomy, taxonomy};

/// The seed of the shipped files.
pub const SEED: u64 = 20_261_123;

/// Rows of the pool: the last ones before the training period ends.
const POOL: usize = 12_000;
/// Rows of `dev` and of each test file.
const SAMPLE: usize = 1_500;
/// Accounts; about one in twelve opens only after the training period.
const ACCOUNTS: usize = 220;

/// Rows that an account brings in a year and a half.
const ROWS_OF_AN_ACCOUNT: usize = 500;
const COLUMNS: [&str; 8] =
    ["id", "posted_on", "account_id", "descriptor", "amount", "direction", "currency", "category"];

/// One line of a file.
#[derive(Debug, Clone)]
struct Row {
    day: NaiveDate,
    account: String,
    /// The shop's name, or the text itself where no shop is behind it.
    merchant: String,
    descriptor: String,
    cents: u64,
    credit: bool,
    currency: &'static str,
    category: &'static str,
}

/// Why the set could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The consumer taxonomy can't be read.
    #[error("the consumer taxonomy can't be read")]
    Taxonomy(#[from] taxonomy::Error),
    /// A file can't be written.
    #[error("a file of the demo data set can't be written")]
    Io(#[from] io::Error),
    /// A row can't be written.
    #[error("a row of the demo data set can't be written")]
    Csv(#[from] csv::Error),
}

/// The files of the set: name and CSV text.
pub type Files = Vec<(&'static str, Vec<u8>)>;

fn date(year: i32, month: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default()
}

/// Makes the whole set in memory.
///
/// # Errors
/// When the consumer taxonomy can't be read.
pub fn generate(seed: u64) -> Result<Files, Error> {
    let taxonomy = Taxonomy::consumer()?;
    let (start, cut, news, end) = (date(2024, 7), date(2025, 4), date(2025, 7), date(2026, 1));
    let catalogs: Vec<Catalog> = lands().into_iter().map(|land| Catalog::of(land, seed)).collect();

    let (mut before, mut after, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..ACCOUNTS {
        let dice = &mut Dice::new(seed, &format!("life {number}"));
        // The US and Canada have most of the accounts.
        let catalog = &catalogs[dice.pick(&[0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4])];
        // Accounts are opened all the time; a few only after the training period.
        let until = if dice.chance(0.08) { 355 } else { 250 };
        let opened = start + Days::new(dice.below(until) as u64);
        let mut account = Account::new(number, catalog, opened, seed);
        let mut month = start;
        while month < end {
            let next = month + Months::new(1);
            if next > opened {
                let rows = life::month(&mut account, month, month >= news, dice);
                match month {
                    month if month < cut => before.extend(rows),
                    month if month < news => after.extend(rows),
                    _ => new.extend(rows),
                }
            }
            month = next;
        }
    }

    // A bill of the last days of a month may be booked in the next one.
    before.retain(|row: &Row| row.day < cut);
    before.sort_by(|a, b| (a.day, &a.account, &a.descriptor).cmp(&(b.day, &b.account, &b.descriptor)));
    let pool = before.split_off(before.len().saturating_sub(POOL));
    let dice = &mut Dice::new(seed, "samples");
    let mut recent = sample(&mut after, 2 * SAMPLE, dice);
    let dev = recent.split_off(SAMPLE);
    let known: HashSet<&str> = pool.iter().map(|row| row.merchant.as_str()).collect();
    new.retain(|row| !known.contains(row.merchant.as_str()));
    let new = sample(&mut new, SAMPLE, dice);

    let mut files: Files = vec![("categories.csv", written::categories(&taxonomy)?)];
    for (name, prefix, rows) in [
        ("pool.csv.gz", 'p', pool),
        ("dev.csv.gz", 'd', dev),
        ("test_recent.csv.gz", 'r', recent),
        ("test_new_merchants.csv.gz", 'n', new),
    ] {
        files.push((name, table(rows, prefix)?));
    }
    Ok(files)
}

/// Writes so many transactions into a file, in the order of time: as many accounts as make them in a year and a half, who
/// live as those of the data set do. Holds the accounts and a month in memory.
///
/// # Errors
/// When the file can't be written.
pub fn write_transactions(seed: u64, rows: usize, file: &Path) -> Result<(), Error> {
    let gz = GzBuilder::new().mtime(0).write(io::BufWriter::new(File::create(file)?), Compression::fast());
    let mut writer = csv::Writer::from_writer(gz);
    writer.write_record(COLUMNS)?;
    let catalogs: Vec<Catalog> = lands().into_iter().map(|land| Catalog::of(land, seed)).collect();
    let (start, mut month, mut at) = (date(2024, 7), date(2024, 7), 0);
    let mut lives: Vec<(Account<'_>, Dice)> = (0..=rows / ROWS_OF_AN_ACCOUNT)
        .map(|number| {
            let mut dice = Dice::new(seed, &format!("stream {number}"));
            let catalog = &catalogs[dice.pick(&[0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4])];
            let opened = start + Days::new(dice.below(250) as u64);
            (Account::new(number, catalog, opened, seed), dice)
        })
        .collect();
    while at < rows {
        let next = month + Months::new(1);
        let awake = lives.iter_mut().filter(|(account, _)| next > account.from);
        let mut lived: Vec<Row> = awake.flat_map(|(account, dice)| life::month(account, month, false, dice)).collect();
        lived.sort_by(|a, b| (a.day, &a.account, &a.descriptor).cmp(&(b.day, &b.account, &b.descriptor)));
        lived.truncate(rows - at);
        for row in &lived {
            record(&mut writer, &format!("t{at:09}"), row)?;
            at += 1;
        }
        month = next;
    }
    writer.into_inner().map_err(|error| Error::Io(error.into_error()))?.finish()?.flush()?;
    Ok(())
}

/// Takes `n` rows at random.
fn sample(rows: &mut Vec<Row>, n: usize, dice: &mut Dice) -> Vec<Row> {
    (0..n.min(rows.len())).map(|_| rows.swap_remove(dice.below(rows.len()))).collect()
}

fn table(mut rows: Vec<Row>, prefix: char) -> Result<Vec<u8>, Error> {
    rows.sort_by(|a, b| (a.day, &a.account, &a.descriptor, a.cents).cmp(&(b.day, &b.account, &b.descriptor, b.cents)));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for (at, row) in rows.iter().enumerate() {
        record(&mut writer, &format!("{prefix}{at:05}"), row)?;
    }
    writer.into_inner().map_err(|error| Error::Io(error.into_error()))
}

fn record(writer: &mut csv::Writer<impl Write>, id: &str, row: &Row) -> Result<(), Error> {
    Ok(writer.write_record([
        id,
        row.day.to_string().as_str(),
        row.account.as_str(),
        row.descriptor.as_str(),
        format!("{}.{:02}", row.cents / 100, row.cents % 100).as_str(),
        if row.credit { "credit" } else { "debit" },
        row.currency,
        row.category,
    ])?)
}

/// Writes the set into a folder, which is made where it is missing.
///
/// # Errors
/// When the set can't be made or a file can't be written.
pub fn write(seed: u64, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    for (name, text) in generate(seed)? {
        let file = File::create(folder.join(name))?;
        if name.ends_with(".gz") {
            // No time in the header: the same rows make the same file.
            let mut gz = GzBuilder::new().mtime(0).write(file, Compression::best());
            gz.write_all(&text)?;
            gz.finish()?;
        } else {
            let mut file = file;
            file.write_all(&text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Read};

    use flate2::read::GzDecoder;

    use super::*;
    use crate::domain::Slug;

    fn shipped(name: &str) -> Vec<u8> {
        let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/datasets/demo").join(name)).unwrap();
        if !name.ends_with(".gz") {
            return bytes;
        }
        let mut text = Vec::new();
        GzDecoder::new(bytes.as_slice()).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn the_seed_makes_the_shipped_files() {
        for (name, text) in generate(SEED).unwrap() {
            assert!(text == shipped(name), "{name} differs: run `txcat demo-data` and train the demo adapter again");
        }
    }

    #[test]
    fn another_seed_makes_another_set() {
        let files = |seed| generate(seed).unwrap();
        assert_ne!(files(1)[1].1, files(2)[1].1);
    }

    #[test]
    fn every_category_of_the_consumer_taxonomy_can_be_learned() {
        let taxonomy = Taxonomy::from_categories_csv(shipped("categories.csv").as_slice(), "demo").unwrap();
        let consumer = Taxonomy::consumer().unwrap();
        let slugs = |taxonomy: &Taxonomy| taxonomy.assignable().iter().map(|c| c.slug.clone()).collect::<Vec<Slug>>();
        assert_eq!(slugs(&taxonomy), slugs(&consumer));
        let pool = shipped("pool.csv.gz");
        let seen: BTreeSet<String> =
            csv::Reader::from_reader(pool.as_slice()).records().map(|row| row.unwrap()[7].to_owned()).collect();
        assert_eq!(seen.len(), taxonomy.assignable().len());
    }

    #[test]
    fn every_row_of_a_test_file_has_a_text_and_an_amount() {
        let text = shipped("test_new_merchants.csv.gz");
        let rows: Vec<_> = csv::Reader::from_reader(text.as_slice()).records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), SAMPLE);
        for row in rows {
            assert!(crate::domain::Descriptor::parse(&row[3]).is_ok());
            assert!(row[4].parse::<rust_decimal::Decimal>().unwrap() > rust_decimal::Decimal::ZERO);
        }
    }
}
