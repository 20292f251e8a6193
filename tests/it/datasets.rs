//! The data-set reader and the label budget, on generated folders and, where it is at hand, on real data.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use txcat::evaluate::{
    corpus::Corpus,
    dataset::{Dataset, Error},
    labels::Choice,
};

const HEADER: &str = "id,posted_on,account_id,descriptor,amount,direction,currency,category,ledger,noise\n";

/// A folder with a pool of 300 rows over 10 days, dev and one gzipped test file.
pub(crate) fn generated() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("categories.csv", "category,description\nfood,\"shops, cafés\"\ntravel,\"trains, taxis\"\n");
    write("pool.csv", &rows("p", 1, 300));
    write("dev.csv", &rows("d", 11, 160));
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(rows("t", 20, 40).as_bytes()).unwrap();
    std::fs::write(dir.path().join("test_next.csv.gz"), gz.finish().unwrap()).unwrap();
    dir
}

fn rows(prefix: &str, first_day: usize, n: usize) -> String {
    let mut text = HEADER.to_owned();
    for row in 0..n {
        let (merchant, category) =
            [("CORNER BAKERY", "food"), ("NORTHERN RAIL", "travel"), ("CITY TAXI", "travel")][row * row % 7 % 3];
        let (day, account) = (first_day + row / 30, row % 4);
        writeln!(
            text,
            "{prefix}{row:04},2024-01-{day:02},acct-{account},\"{merchant} #{:03}\",{row}.50,debit,CAD,{category},,x",
            row % 11
        )
        .unwrap();
    }
    text
}

fn budget(budget: usize) -> Choice {
    Choice::Budget { budget, seed: 1 }
}

#[test]
fn a_folder_is_read_row_by_row_and_its_test_files_stay_closed_until_asked_for() {
    let dir = generated();
    let test = dir.path().join("test_next.csv.gz");
    std::fs::write(&test, "not gzip at all").unwrap();
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.taxonomy().assignable().len(), 2);
    assert_eq!(dataset.tests().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["test_next"]);
    let corpus = Corpus::read(&dataset, budget(30), || {}).unwrap();
    assert_eq!(corpus.rows.len(), 30);
    assert!(dataset.rows(dataset.file("test_next").unwrap()).is_err(), "now it is opened");
}

#[test]
fn history_knows_only_labels_that_were_bought_and_rows_that_came_before() {
    let dir = generated();
    let dataset = Dataset::open(dir.path()).unwrap();
    let corpus = Corpus::read(&dataset, budget(30), || {}).unwrap();
    let test: Vec<_> = dataset.rows(dataset.file("test_next").unwrap()).unwrap().collect::<Result<_, _>>().unwrap();
    let timelines = corpus.timelines_with(&test);
    assert_eq!(timelines.len(), 300 + 160 + 40);
    let last = &test[39].transaction;
    let before: Vec<_> = timelines.before(last).collect();
    assert!(before.iter().all(|entry| entry.posted_at <= last.posted_at));
    assert_eq!(before.len(), 75 + 40 + 9, "its account's rows of pool, dev and the file itself, but not itself");
    let labelled =
        |account: &str| corpus.rows.iter().filter(|row| row.transaction.account_id.as_str() == account).count();
    assert_eq!(before.iter().filter(|entry| entry.label.is_some()).count(), labelled(last.account_id.as_str()));
}

#[test]
fn a_bad_row_is_named_with_its_file_line_and_column() {
    let dir = generated();
    let pool = dir.path().join("pool.csv");
    let good = std::fs::read_to_string(&pool).unwrap();
    let error = |from: &str, to: &str| {
        std::fs::write(&pool, good.replacen(from, to, 1)).unwrap();
        let dataset = Dataset::open(dir.path()).unwrap();
        Corpus::read(&dataset, budget(300), || {}).unwrap_err()
    };
    let field = error(",7.50,", ",seven,");
    assert!(matches!(&field, Error::Field { line: 9, column: "amount", .. }), "{field:?}");
    let category = error("food,,x", "fodder,,x");
    assert!(matches!(&category, Error::Category { .. }), "{category:?}");
    let column = error("posted_on", "booked_on");
    assert!(matches!(&column, Error::Column { column: "posted_on", .. }), "{column:?}");
}

#[test]
fn a_folder_without_dev_is_refused() {
    let dir = generated();
    std::fs::remove_file(dir.path().join("dev.csv")).unwrap();
    assert!(matches!(Dataset::open(dir.path()), Err(Error::Missing { name, .. }) if name == "dev"));
}

/// Real labelled data beside the checkout; absent on most machines.
pub(crate) fn toronto() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/toronto");
    let there = dir.join("pool.csv.gz").exists();
    if !there {
        eprintln!("SKIPPED: {} is not here; only generated data was tested", dir.display());
    }
    there.then_some(dir)
}

#[test]
fn twelve_thousand_labels_of_the_real_pool_are_bought_and_no_more() {
    let Some(dir) = toronto() else { return };
    let dataset = Dataset::open(&dir).unwrap();
    let mut read = 0;
    let corpus = Corpus::read(&dataset, budget(12_000), || read += 1).unwrap();
    assert_eq!((corpus.rows.len(), read, corpus.timelines.len()), (12_000, 255_591, 255_591));
    let dev: Vec<_> = dataset.rows(dataset.file("dev").unwrap()).unwrap().collect::<Result<_, _>>().unwrap();
    let known = dev.iter().filter(|row| corpus.knows(row.transaction.descriptor.key())).count();
    eprintln!("dev: {known} of {} rows have a labelled key", dev.len());
    assert!(known > 3_000);
}
