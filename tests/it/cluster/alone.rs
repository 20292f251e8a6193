//! One process.

use std::{path::Path, sync::Arc};

use datafusion::arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, TimestampMillisecondArray, TimestampSecondArray,
};
use txcat::{
    categorize::Stage,
    cluster::{Asked, Engines, Folders, Work, function},
    config,
    domain::{Descriptor, EnrichedTransaction, Money, Taxonomy, Transaction, UserHistory},
    enrich::MerchantIndex,
    evaluate::{columns::Mapping, dataset::timestamp},
    model::{AdapterBank, AdapterModel, BaseEncoder},
};

use super::places::{Row, answers, recategorize, rows, spread, texts, write};
use crate::harness::Run as _;

async fn base() -> BaseEncoder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let models = config::Models { dir, encoder: None, encoder_dir: None };
    BaseEncoder::pull(&models, None, &mut |_| {}).await.unwrap()
}

/// What the shipped adapter says of rows about whose accounts nothing is known.
async fn asked_directly(rows: &[Row]) -> Vec<(String, String, f32)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let adapter = Arc::new(AdapterModel::load(&root.join("models/adapters/demo"), &base().await).unwrap());
    let stage = Stage::of_adapter("adapter", 0.92, &Taxonomy::consumer().unwrap(), adapter).unwrap();
    let merchants = MerchantIndex::shipped();
    let enriched: Vec<EnrichedTransaction> = rows
        .iter()
        .map(|row| {
            let field = |at: usize| row[at].as_deref().unwrap();
            let transaction = Transaction::posted(
                field(0).parse().unwrap(),
                field(2).parse().unwrap(),
                timestamp(field(1)).unwrap(),
                Money::new(field(4).parse().unwrap(), field(6).parse().unwrap()).unwrap(),
                field(5).parse().unwrap(),
                Descriptor::parse(field(3)).unwrap(),
            );
            let merchant = merchants.of(&transaction);
            EnrichedTransaction { transaction, merchant, history: UserHistory::default() }
        })
        .collect();
    let predictions = stage.categorize(&enriched).await.unwrap();
    let id = |row: &EnrichedTransaction| row.transaction.id.to_string();
    let rows = enriched.iter().zip(predictions);
    rows.map(|(row, of)| (id(row), of.category.to_string(), of.confidence)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_answered_as_the_adapter_answers_rows_without_history() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("rows"), dir.path().join("answers"));
    let rows = rows(300);
    spread(&from, &rows, 3).await;
    let counted = recategorize(from.to_str().unwrap(), to.to_str().unwrap(), &[]).run().json();
    assert_eq!(
        (counted["files"].as_u64(), counted["rows"].as_u64(), counted["answered"].as_u64()),
        (Some(3), Some(300), Some(300)),
    );

    let written = answers(&to).await;
    assert_eq!(written.keys().collect::<Vec<_>>(), ["later/part 2.parquet", "part 0.parquet", "part 1.parquet"]);
    let mut written: Vec<_> = written.into_values().flatten().collect();
    written.sort();
    let taxonomy = Taxonomy::consumer().unwrap().version().to_owned();
    let expected = asked_directly(&rows).await;
    assert_eq!(written.len(), expected.len());
    for (row, (id, category, confidence)) in written.iter().zip(expected) {
        assert_eq!((row.0.as_ref(), row.1.as_ref()), (Some(&id), Some(&category)));
        let found = f32::from_bits(row.2.unwrap());
        assert!((found - confidence).abs() < 1e-5, "{id}: {found} and {confidence}");
        assert_eq!(row.3, None, "nothing is promised where nothing is fitted");
        assert!(row.4.as_ref().unwrap().starts_with("adapter:demo@"), "{row:?}");
        assert_eq!(row.5.as_ref(), Some(&taxonomy));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_asked_about_once() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("rows"), dir.path().join("answers"));
    spread(&from, &rows(40), 2).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let taxonomy = Taxonomy::consumer().unwrap();
    let demo = [root.join("models/adapters/demo")];
    let engines = Arc::new(Engines::load(&AdapterBank::open(&base().await).unwrap(), taxonomy.clone(), &demo).unwrap());
    let asked = Asked {
        engine: engines.names().remove(0),
        taxonomy: taxonomy.version().to_owned(),
        currency: None,
        direction: None,
        fitted: None,
    };
    let categorize = function(Some(Arc::clone(&engines)));
    let work = Work { categorize, asked, mapping: Mapping::default(), at_once: 2, resume: false };
    let folders = Folders::new(from.to_str().unwrap(), to.to_str().unwrap()).unwrap();
    let session = txcat::cluster::alone().unwrap();
    let written = folders.run(&session, &work, &|_, _, rows| assert_eq!(rows, 20)).await.unwrap();
    assert_eq!((written.len(), engines.answered()), (2, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_numbers_and_times_are_read_as_an_import_reads_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = rows(4);
    for (at, row) in rows.iter_mut().enumerate() {
        row[1] = Some("2026-03-14".to_owned());
        row[4] = Some(format!("{}.50", 12 + at));
    }
    let days = 20_526;
    let amounts: ArrayRef =
        Arc::new(Decimal128Array::from(vec![1250, 1350, 1450, 1550]).with_precision_and_scale(12, 2).unwrap());
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![days; 4]));
    let midnight = TimestampMillisecondArray::from(vec![i64::from(days) * 86_400_000; 4]);
    let plain: ArrayRef = Arc::new(midnight.clone());
    let zoned: ArrayRef = Arc::new(midnight.with_timezone("Europe/Berlin"));
    write(&dir.path().join("text/a.parquet"), texts(&rows)).await;
    for (name, posted_at) in [("dates", dates), ("times", plain), ("zones", zoned)] {
        let mut columns = texts(&rows);
        columns[1] = ("posted_at", posted_at);
        columns[4].1 = Arc::clone(&amounts);
        write(&dir.path().join(name).join("a.parquet"), columns).await;
    }
    let mut found = Vec::new();
    for name in ["text", "dates", "times", "zones"] {
        let (from, to) = (dir.path().join(name), dir.path().join(format!("{name} answers")));
        let counted = recategorize(from.to_str().unwrap(), to.to_str().unwrap(), &[]).run().json();
        assert_eq!(counted["answered"], 4, "{name}: {counted}");
        found.push(answers(&to).await);
    }
    assert!(found.windows(2).all(|two| two[0] == two[1]), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_transactions_are_kept_counted_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("rows"), dir.path().join("answers"));
    let mut rows = rows(8);
    rows[1][4] = Some("a lot".to_owned());
    rows[2][6] = Some("XYZ".to_owned());
    rows[3][3] = None;
    rows[4][0] = None;
    rows[5][1] = Some("yesterday".to_owned());
    rows[6][5] = Some("sideways".to_owned());
    write(&from.join("a.parquet"), texts(&rows)).await;
    let counted = recategorize(from.to_str().unwrap(), to.to_str().unwrap(), &[]).run().json();
    assert_eq!((counted["rows"].as_u64(), counted["refused"].as_u64()), (Some(8), Some(6)));
    let written = answers(&to).await.remove("a.parquet").unwrap();
    assert_eq!(written.len(), 8);
    let fields = ["amount", "currency", "descriptor", "id", "posted_at", "direction"];
    for (row, field) in rows[1..7].iter().zip(fields) {
        let answer = written.iter().find(|answer| answer.0 == row[0]).unwrap();
        let problem = answer.6.as_ref().unwrap();
        assert!(problem.starts_with(&format!("{field}: ")), "{problem}");
        assert_eq!((&answer.1, &answer.2, &answer.4), (&None, &None, &None));
        let shown = counted["problems"].as_array().unwrap().iter().any(|of| of["what"] == *problem && of["rows"] == 1);
        assert!(shown, "{counted}");
    }
    assert_eq!(written.iter().filter(|answer| answer.6.is_none() && answer.1.is_some()).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_no_calendar_has_is_a_problem_of_its_row_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("rows"), dir.path().join("answers"));
    let rows = rows(3);
    let mut columns = texts(&rows);
    columns[1] = ("posted_at", Arc::new(TimestampSecondArray::from(vec![1_773_446_400, i64::MAX, 1_773_446_400])));
    write(&from.join("a.parquet"), columns).await;
    let counted = recategorize(from.to_str().unwrap(), to.to_str().unwrap(), &[]).run().json();
    assert_eq!((counted["answered"].as_u64(), counted["refused"].as_u64()), (Some(2), Some(1)), "{counted}");
    assert_eq!(counted["problems"][0]["what"], "posted_at: is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_written_over_and_resume_does_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("rows"), dir.path().join("answers"));
    spread(&from, &rows(60), 3).await;
    let (from, place) = (from.to_str().unwrap(), to.to_str().unwrap());
    recategorize(from, place, &[]).run().json();
    let whole = answers(&to).await;

    let again = recategorize(from, place, &[]).run().refused(1);
    assert!(again.contains("3 of the files already") && again.contains("--resume"), "{again}");

    std::fs::remove_file(to.join("part 1.parquet")).unwrap();
    let kept = std::fs::metadata(to.join("part 0.parquet")).unwrap().modified().unwrap();
    let counted = recategorize(from, place, &["--resume"]).run().json();
    assert_eq!((counted["files"].as_u64(), counted["rows"].as_u64()), (Some(3), Some(60)));
    assert_eq!(answers(&to).await, whole);
    assert_eq!(std::fs::metadata(to.join("part 0.parquet")).unwrap().modified().unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_cannot_be_used_are_refused_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let said = |from: &str, to: &str| recategorize(from, to, &[]).run().refused(1);
    let rows = rows(3);
    write(Path::new(&at("rows/a.parquet")), texts(&rows)).await;

    assert!(said(&at("rows"), &at("rows/answers")).contains("choose a folder beside it"));
    assert!(!Path::new(&at("rows/answers")).exists(), "nothing is made where nothing will be written");
    std::fs::create_dir(at("empty")).unwrap();
    assert!(said(&at("empty"), &at("answers")).contains("has no .parquet files"));
    assert!(said(&at("none"), &at("answers")).contains("none"));

    let mut columns = texts(&rows);
    columns.truncate(6);
    columns[3].0 = "merchant";
    write(Path::new(&at("other/a.parquet")), columns).await;
    let missing = said(&at("other"), &at("answers"));
    assert!(missing.contains("a.parquet` has no column for currency, descriptor"), "{missing}");
    let mapped = ["--map", "descriptor=merchant", "--currency", "EUR"];
    let counted = recategorize(&at("other"), &at("mapped"), &mapped).run().json();
    assert_eq!(counted["answered"], 3);

    std::fs::create_dir(at("broken")).unwrap();
    std::fs::write(at("broken/a.parquet"), "no Parquet").unwrap();
    let broken = said(&at("broken"), &at("broken answers"));
    assert!(broken.contains("a.parquet` could not be recategorized"), "{broken}");
}
