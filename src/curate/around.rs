//! What lies around a labelled set: files that it must not know, and traffic that it must resemble.
//!
//! Of a test file, text, key, amount and time are looked at; its labels never.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{
    report::{Check, Flag, Level},
    rows::share,
    set::LabelledSet,
};
use crate::{
    domain::{DescriptorKey, Slug, Transaction},
    evaluate::dataset::{self, Dataset},
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

/// Reads dev and every test file without their category column.
///
/// # Errors
/// When a file can't be read.
pub fn held_out(dataset: &Dataset) -> Result<Vec<HeldOut>, dataset::Error> {
    let files = std::iter::once(dataset.file("dev")?).chain(dataset.tests());
    files
        .map(|file| {
            let rows = dataset.transactions(file)?.collect::<Result<_, _>>()?;
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
/// Population stability: below, the two are alike; from `SHIFTED` on, they are not (the usual reading).
const ALIKE: f64 = 0.1;
const SHIFTED: f64 = 0.25;

/// Population stability index of two counted distributions over the same bins; 0 when they are alike.
/// Half a row is added to every bin, so that an empty one doesn't make it infinite. 0 of nothing.
#[must_use]
pub fn psi(expected: &[f64], found: &[f64]) -> f64 {
    let bins = expected.len().min(found.len());
    let smoothed = |counts: &[f64]| {
        let total: f64 = counts[..bins].iter().sum::<f64>() + 0.5 * bins as f64;
        counts[..bins].iter().map(move |count| (count + 0.5) / total).collect::<Vec<_>>()
    };
    let (expected, found) = (smoothed(expected), smoothed(found));
    expected.iter().zip(&found).map(|(expected, found)| (found - expected) * (found / expected).ln()).sum()
}

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
    let mut known: HashMap<&DescriptorKey, ()> = HashMap::new();
    known.extend(set.examples.iter().map(|example| (example.transaction.descriptor.key(), ())));
    let unknown: u64 =
        traffic.keys.iter().filter(|(key, _)| key.is_empty() || !known.contains_key(key)).map(|(_, count)| count).sum();
    let unknown = unknown as f64 / rows as f64;
    let mut expected = vec![0.0; set.classes()];
    set.examples.iter().for_each(|example| expected[example.class] += 1.0);
    let mut found = vec![0.0; set.classes()];
    let mut foreign = 0;
    for (category, count) in &traffic.categories {
        match of(set, category) {
            Some(class) => found[class] += *count as f64,
            None => foreign += count,
        }
    }
    let decided = found.iter().sum::<f64>();
    let psi = (decided > 0.0).then(|| psi(&expected, &found));
    let level = match psi {
        Some(psi) if psi >= SHIFTED => Level::Warn,
        Some(psi) if psi >= ALIKE => Level::Info,
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

fn of(set: &LabelledSet, category: &Slug) -> Option<usize> {
    set.taxonomy.index_of(category)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn psi_agrees_with_the_formula() {
        // 10,000 rows make the half rows vanish: (0.6 − 0.5) ln(0.6/0.5) + (0.4 − 0.5) ln(0.4/0.5).
        let index = psi(&[5_000_000.0, 5_000_000.0], &[6_000_000.0, 4_000_000.0]);
        assert!((index - (0.1 * 1.2_f64.ln() - 0.1 * 0.8_f64.ln())).abs() < 1e-6, "{index}");
        assert!(psi(&[], &[]).abs() < 1e-12);
        assert!(psi(&[100.0, 0.0], &[0.0, 100.0]) > SHIFTED);
    }

    proptest! {
        #[test]
        fn psi_is_never_negative_symmetric_and_nothing_for_like_counts(
            counts in prop::collection::vec((0..500_u32, 0..500_u32), 1..20),
        ) {
            let (one, other): (Vec<f64>, Vec<f64>) =
                counts.iter().map(|&(one, other)| (f64::from(one), f64::from(other))).unzip();
            let there = psi(&one, &other);
            prop_assert!(there >= -1e-12 && there.is_finite());
            prop_assert!((there - psi(&other, &one)).abs() < 1e-9);
            prop_assert!(psi(&one, &one).abs() < 1e-12);
        }
    }
}
