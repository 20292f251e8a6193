//! Descriptors parsed per second and histories folded per second, over the demo data set.

use std::{fs::File, path::Path};

use chrono::{DateTime, Duration};
use divan::{Bencher, counter::ItemsCount};
use flate2::read::GzDecoder;
use rust_decimal::Decimal;
use txcat::domain::{Descriptor, Direction, HistoryEntry, Money, Transaction, UserHistory, enrichment::HISTORY_WINDOW};

fn main() {
    divan::main();
}

/// The texts of the demo set's pool.
fn texts() -> Vec<String> {
    let pool = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/datasets/demo/pool.csv.gz");
    csv::Reader::from_reader(GzDecoder::new(File::open(pool).expect("the demo data set is in the repository")))
        .records()
        .map_while(Result::ok)
        .map(|row| row[3].to_owned())
        .collect()
}

#[divan::bench(sample_count = 10)]
fn parse(bencher: Bencher) {
    let texts = texts();
    bencher
        .counter(ItemsCount::new(texts.len()))
        .bench(|| texts.iter().filter_map(|text| Descriptor::parse(text).ok()).count());
}

#[divan::bench(sample_count = 10)]
fn fold_a_full_window(bencher: Bencher) {
    let amount = Money::new(Decimal::new(1299, 2), "CAD".parse().expect("a currency")).expect("an amount");
    let descriptors: Vec<_> = texts().iter().take(1_000).filter_map(|text| Descriptor::parse(text).ok()).collect();
    let entries: Vec<_> = (0..)
        .zip(&descriptors)
        .map(|(day, descriptor)| HistoryEntry {
            posted_at: DateTime::UNIX_EPOCH + Duration::days(day),
            key: descriptor.key().clone(),
            amount,
            direction: Direction::Debit,
            label: None,
        })
        .collect();
    let at: Vec<_> = entries[HISTORY_WINDOW..]
        .iter()
        .zip(&descriptors[HISTORY_WINDOW..])
        .map(|(entry, descriptor)| {
            Transaction::posted(
                "t".parse().expect("an id"),
                "a".parse().expect("an id"),
                entry.posted_at,
                amount,
                Direction::Debit,
                descriptor.clone(),
            )
        })
        .collect();
    bencher.counter(ItemsCount::new(at.len())).bench(|| {
        let window = |index: usize| &entries[index..index + HISTORY_WINDOW];
        at.iter().enumerate().map(|(index, at)| UserHistory::fold(window(index), at).keys.len()).sum::<usize>()
    });
}
