//! Files of transactions: the first byte says which format and mapping, the rest is the file. A row is a transaction that
//! can be stored, or is refused with a reason; the reader never stops in the middle of a file that can be read.
#![no_main]

use std::{io::Cursor, sync::LazyLock, sync::Arc};

use libfuzzer_sys::{Corpus, fuzz_target};
use txcat::{
    cli::import::reader::{Format, Rows},
    domain::{Descriptor, Taxonomy, Transaction},
    evaluate::columns::{DirectionDefault, Mapping},
};

static CONSUMER: LazyLock<Arc<Taxonomy>> = LazyLock::new(|| Arc::new(Taxonomy::consumer().unwrap()));

fuzz_target!(|input: (u8, &[u8])| -> Corpus {
    let (how, file) = input;
    let name = ["rows.csv", "rows.jsonl", "rows.csv.gz", "rows.ndjson.gz"][usize::from(how % 4)];
    let mapping = Mapping {
        columns: if how & 4 == 0 { Default::default() } else { [("descriptor", "merchant".to_owned())].into() },
        labels: (how & 8 != 0).then(|| "label".to_owned()),
        currency: (how & 16 != 0).then(|| "EUR".parse().unwrap()),
        direction: (how & 32 != 0).then_some(DirectionDefault::BySign),
        id_from_row: how & 64 != 0,
    };
    if how & 128 != 0 {
        // Another kind of CSV: a set of categories.
        let _ = Taxonomy::from_categories_csv(file, "categories");
        return Corpus::Keep;
    }
    let Some(format) = Format::of(name) else { return Corpus::Reject };
    let Ok(rows) = Rows::open(Cursor::new(file.to_vec()), format, mapping, Arc::clone(&CONSUMER)) else {
        return Corpus::Keep;
    };
    let _ = rows.missing_columns();
    let mut before = 0;
    // What can't be read on ends the file.
    for line in rows.map_while(Result::ok) {
        assert!(line.number > before, "line {} after {before}", line.number);
        before = line.number;
        match line.row {
            Ok((transaction, label)) => {
                storable(&transaction);
                assert!(label.is_none_or(|label| CONSUMER.contains(&label)));
            }
            Err(reject) => assert!(!reject.to_string().is_empty()),
        }
    }
    Corpus::Keep
});

/// Postgres takes it, and gives back the same.
fn storable(row: &Transaction) {
    // An offset may lead over a year's border.
    let year: i32 = row.posted_at.format("%Y").to_string().parse().unwrap();
    assert!((-1..=10_000).contains(&year), "{}", row.posted_at);
    let again = Descriptor::parse(row.descriptor.raw()).expect("what was cleaned is a descriptor");
    assert_eq!(again.key(), row.descriptor.key());
    for text in [row.id.as_str(), row.account_id.as_str()] {
        assert!(!text.is_empty() && !text.contains('\0') && text.len() <= 512);
    }
}
