//! Matches per second of the merchant index, over the statement texts of the demo data set.

use std::{fs::File, path::Path};

use divan::{Bencher, counter::ItemsCount};
use flate2::read::GzDecoder;
use txcat::{
    domain::{Descriptor, transaction::Country},
    enrich::{MerchantIndex, merchants::table},
};

fn main() {
    divan::main();
}

/// The texts of the demo set's pool, parsed, and their countries.
fn texts() -> Vec<(Descriptor, Option<Country>)> {
    let pool = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/datasets/demo/pool.csv.gz");
    csv::Reader::from_reader(GzDecoder::new(File::open(pool).expect("the demo data set is in the repository")))
        .records()
        .map_while(Result::ok)
        .filter_map(|row| {
            let country = row[6].get(..2).filter(|code| *code != "EU").and_then(|code| code.parse().ok());
            Some((Descriptor::parse(&row[3]).ok()?, country))
        })
        .collect()
}

#[divan::bench(sample_count = 10)]
fn find(bencher: Bencher) {
    let (index, texts) = (MerchantIndex::shipped(), texts());
    bencher.counter(ItemsCount::new(texts.len())).bench(|| {
        texts.iter().filter(|(descriptor, country)| index.find(descriptor, country.as_ref()).is_some()).count()
    });
}

#[divan::bench(sample_count = 5)]
fn build(bencher: Bencher) {
    let merchants = table::shipped();
    bencher.with_inputs(|| merchants.clone()).bench_values(MerchantIndex::build);
}
