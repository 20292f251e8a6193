//! Parquet folders to read, and what was written into others.

use std::{collections::BTreeMap, fs::File, path::Path, process::Command, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
        datatypes::Float32Type,
    },
    dataframe::DataFrameWriteOptions,
    prelude::{ParquetReadOptions, SessionContext},
};
use flate2::read::MultiGzDecoder;

use crate::harness::txcat;

/// The columns of the demo set's rows, without their categories.
pub(super) const COLUMNS: [&str; 7] =
    ["id", "posted_on", "account_id", "descriptor", "amount", "direction", "currency"];

/// A row's fields, in the order of [`COLUMNS`].
pub(super) type Row = [Option<String>; 7];

/// What is written of a row: id, category, confidence (its bits), level, engine, taxonomy version, problem.
pub(super) type Answer =
    (Option<String>, Option<String>, Option<u32>, Option<String>, Option<String>, Option<String>, Option<String>);

/// The first rows of the demo set's pool.
pub(super) fn rows(count: usize) -> Vec<Row> {
    let pool = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/eval/datasets/demo/pool.csv.gz")).unwrap();
    let mut reader = csv::Reader::from_reader(MultiGzDecoder::new(pool));
    let rows: Vec<Row> = reader
        .records()
        .take(count)
        .map(|record| {
            let record = record.unwrap();
            std::array::from_fn(|at| Some(record[at].to_owned()))
        })
        .collect();
    assert_eq!(rows.len(), count);
    rows
}

/// The rows as columns of text.
pub(super) fn texts(rows: &[Row]) -> Vec<(&'static str, ArrayRef)> {
    let column = |at: usize| -> ArrayRef { Arc::new(rows.iter().map(|row| row[at].clone()).collect::<StringArray>()) };
    COLUMNS.into_iter().enumerate().map(|(at, name)| (name, column(at))).collect()
}

/// Writes a file.
pub(super) async fn write(file: &Path, columns: Vec<(&'static str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let table = SessionContext::new().read_batch(batch).unwrap();
    let one = DataFrameWriteOptions::new().with_single_file_output(true);
    table.write_parquet(file.to_str().unwrap(), one, None).await.unwrap();
}

/// Writes rows into so many files, some in a folder of the folder.
pub(super) async fn spread(folder: &Path, rows: &[Row], files: usize) {
    for (at, rows) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
        let below = if at % 3 == 2 { "later/" } else { "" };
        write(&folder.join(format!("{below}part {at}.parquet")), texts(rows)).await;
    }
}

/// `txcat recategorize` from one place to another, in `f32`: kernels for fewer bits take minutes where nothing is optimized.
pub(super) fn recategorize(from: &str, to: &str, arguments: &[&str]) -> Command {
    let mut command = txcat(&["recategorize", "--json", "--from", from, "--to", to]);
    command.args(arguments).env_remove("TXCAT_ADAPTER").env_remove("TXCAT_TAXONOMY").env_remove("TXCAT_SCHEDULER");
    command.env("TXCAT_PRECISION", "f32");
    command
}

/// Every answer below a folder, by file, sorted.
pub(super) async fn answers(folder: &Path) -> BTreeMap<String, Vec<Answer>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, in_file(&path).await);
            }
        }
    }
    found
}

async fn in_file(path: &Path) -> Vec<Answer> {
    let read = ParquetReadOptions::default();
    let table = SessionContext::new().read_parquet(path.to_str().unwrap(), read).await.unwrap();
    let mut answers = Vec::new();
    for batch in table.collect().await.unwrap() {
        let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(
            names,
            ["id", "category", "confidence", "confidence_level", "engine", "taxonomy_version", "problem"]
        );
        let texts = [0, 1, 3, 4, 5, 6].map(|column| {
            let text = &datafusion::arrow::datatypes::DataType::Utf8;
            datafusion::arrow::compute::cast(batch.column(column), text).unwrap()
        });
        let confidences = batch.column(2).as_primitive::<Float32Type>();
        for row in 0..batch.num_rows() {
            let text = |column: usize| {
                let texts = texts[column].as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            let confidence = confidences.is_valid(row).then(|| confidences.value(row).to_bits());
            answers.push((text(0), text(1), confidence, text(2), text(3), text(4), text(5)));
        }
    }
    answers.sort();
    answers
}
