//! What lies around a labelled set: files that it must not know, and traffic that it must resemble.
//!
//! Of a test file, text, key, amount and time are looked at; its labels never.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::{
    report::{Check, Flag, Level},
    rows::share,
    set::LabelledSet,
};
use crate::{
    domain::{DescriptorKey, Transaction},
    evaluate::{
        dataset::{self, Dataset},
        drift::{MOVED, psi},
    },
    store::Traffic,
};

/// A held-out file, without its labels.
#[derive(Debug, Clone)]
pub struct HeldOut {
    /// Its name without the ending.
    pub name: String,
    /// Its rows.
    pub rows: Vec<Transaction>,
}

/// Reads dev and every test file without their category column. Rows of dev that can't be read are passed over: the schema
/// check tells them.
///
/// # Errors
/// When a file can't be read.
pub fn held_out(dataset: &Dataset) -> Result<Vec<HeldOut>, dataset::Error> {
    let files = std::iter::once(dataset.file("dev")?).chain(dataset.tests());
    files
        .map(|file| {
            let told = |row: &Result<Transaction, dataset::Error>| {
                file.name == "dev" && row.as_ref().is_err_and(dataset::Error::is_of_one_row)
            };
            let rows = dataset.transactions(file)?.filter(|row| !told(row)).collect::<Result<_, _>>()?;
            Ok(HeldOut { name: file.name.clone(), rows })
        })
        .collect()
}

/// `leakage`: labelled rows that stand in a held-out file too block; labelled rows from the time that a
/// test file covers are a warning. How many held-out rows have a labelled key is only said: that
/// merchants come again is what is learned.
#[must_use]
pub fn leakage(set: &LabelledSet, files: &[HeldOut]) -> Check {
    if files.is_empty() {
        return Check::new("leakage", Level::Info, "not checked: there is no held-out file");
    }
    let keys: HashSet<&DescriptorKey> =
        set.examples.iter().map(|example| example.transaction.descriptor.key()).filter(|key| !key.is_empty()).collect();
    let mut flags = Vec::new();
    let mut says = Vec::new();
    let mut check = Check::new("leakage", Level::Pass, "");
    let (mut same, mut late) = (HashSet::new(), HashSet::new());
    for file in files {
        let known = file.rows.iter().filter(|row| keys.contains(row.descriptor.key())).count();
        let ids: HashSet<&str> = file.rows.iter().map(|row| row.id.as_str()).collect();
        let events: HashSet<_> = file.rows.iter().map(event).collect();
        let begins = file.rows.iter().map(|row| row.posted_at).min();
        let (mut copies, mut overlapping) = (0, 0);
        for (place, example) in set.examples.iter().enumerate() {
            let row = &example.transaction;
            let in_time = begins.is_some_and(|begins| row.posted_at >= begins);
            if ids.contains(row.id.as_str()) || events.contains(&event(row)) {
                copies += 1;
                if same.insert(place) {
                    flags.push(Flag::of(set, place, format!("stands in {} too", file.name)).quarantine());
                }
            } else if in_time && file.name != "dev" {
                overlapping += 1;
                if late.insert(place) {
                    flags.push(Flag::of(set, place, format!("posted after {} begins", file.name)));
                }
            }
        }
        let of_known = share(known, file.rows.len());
        says.push(format!(
            "{}: {copies} rows shared, {overlapping} in its time, {:.1} % of its rows have a labelled key",
            file.name,
            100.0 * of_known
        ));
        check = check
            .value(format!("{}_shared_rows", file.name), f64::from(copies))
            .value(format!("{}_rows_in_time", file.name), f64::from(overlapping))
            .value(format!("{}_known_keys", file.name), of_known);
    }
    let level = match () {
        () if !same.is_empty() => Level::Block,
        () if !late.is_empty() => Level::Warn,
        () => Level::Pass,
    };
    Check { level, says: says.join("; "), ..check }.flags(flags)
}

/// What makes two rows one event, whatever their ids are.
fn event(row: &Transaction) -> (&str, DateTime<Utc>, &str, rust_decimal::Decimal, crate::domain::Direction) {
    (row.account_id.as_str(), row.posted_at, row.descriptor.raw(), row.amount.amount(), row.direction)
}

/// Days of traffic that a set is compared with.
pub const DAYS: i64 = 30;
/// From this population stability index on, beyond what chance gives, the two are not alike (the usual reading).
const SHIFTED: f64 = 0.25;

/// `drift`: how far the set is from recent traffic, in categories (PSI) and in keys (unknown ones).
#[must_use]
pub fn drift(set: &LabelledSet, traffic: Option<&Traffic>) -> Check {
    const NAME: &str = "drift";
    let Some(traffic) = traffic else {
        return Check::new(NAME, Level::Info, "not checked: no database");
    };
    let rows: u64 = traffic.keys.iter().map(|(_, count)| count).sum();
    if rows == 0 {
        return Check::new(NAME, Level::Info, format!("not checked: no traffic in the last {DAYS} days"));
    }
    let known: HashSet<&DescriptorKey> =
        set.examples.iter().map(|example| example.transaction.descriptor.key()).collect();
    let unknown: u64 =
        traffic.keys.iter().filter(|(key, _)| key.is_empty() || !known.contains(key)).map(|(_, count)| count).sum();
    let unknown = unknown as f64 / rows as f64;
    let mut expected = vec![0; set.classes()];
    set.examples.iter().for_each(|example| expected[example.class] += 1);
    let mut found = vec![0; set.classes()];
    let mut foreign = 0;
    for (category, count) in &traffic.categories {
        match set.taxonomy.index_of(category) {
            Some(class) => found[class] += count,
            None => foreign += count,
        }
    }
    let psi = found.iter().any(|count| *count > 0).then(|| psi(&expected, &found));
    let level = match psi {
        Some(psi) if psi >= SHIFTED => Level::Warn,
        Some(psi) if psi >= MOVED => Level::Info,
        _ => Level::Pass,
    };
    let of_classes =
        psi.map_or_else(|| "no categories to compare".to_owned(), |psi| format!("PSI of categories {psi:.3}"));
    let foreign_says = if foreign > 0 { format!("; {foreign} rows are in other categories") } else { String::new() };
    let says = format!(
        "against {rows} rows of the last {DAYS} days: {of_classes}, {:.1} % of the rows have an unknown key{foreign_says}",
        100.0 * unknown
    );
    let check = Check::new(NAME, level, says).value("traffic_rows", rows as f64).value("unknown_keys", unknown);
    match psi {
        Some(psi) => check.value("psi", psi),
        None => check,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{
        domain::{Descriptor, Direction, Money, Taxonomy},
        store::LabelledTransaction,
    };

    /// 200 labels, and 200 rows of traffic, each of a category of its own number.
    fn checked(mut label: impl FnMut(usize) -> usize, mut answer: impl FnMut(usize) -> usize) -> Check {
        let taxonomy = Arc::new(Taxonomy::consumer().unwrap());
        let category = |of: usize| taxonomy.assignable()[of].slug.clone();
        let labelled = |at: usize| LabelledTransaction {
            transaction: Transaction::posted(
                format!("row-{at}").parse().unwrap(),
                "acct-1".parse().unwrap(),
                DateTime::UNIX_EPOCH,
                Money::new("12.50".parse().unwrap(), "USD".parse().unwrap()).unwrap(),
                Direction::Debit,
                Descriptor::parse("CORNER SHOP").unwrap(),
            ),
            category: category(label(at)),
            labelled_by: "anna".to_owned(),
            at_random: false,
        };
        let set = LabelledSet::of_store("made".to_owned(), Arc::clone(&taxonomy), (0..200).map(labelled).collect());
        let traffic = Traffic {
            categories: (0..200).map(|at| (category(answer(at)), 1)).collect(),
            keys: vec![(Descriptor::parse("CORNER SHOP").unwrap().key().clone(), 200)],
        };
        drift(&set, Some(&traffic))
    }

    #[test]
    fn two_samples_of_one_distribution_are_no_drift_and_other_categories_are() {
        for seed in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut others = ChaCha8Rng::seed_from_u64(100 + seed);
            let check = checked(|_| rng.random_range(0..30), |_| others.random_range(0..30));
            assert_ne!(check.level, Level::Warn, "{}", check.says);
        }
        assert_eq!(checked(|at| at % 30, |at| at % 30).level, Level::Pass);
        assert_eq!(checked(|at| at % 30, |at| 20 + at % 30).level, Level::Warn);
    }
}
