//! Checks of single rows and of rows that share a key: can they be read, and can their labels be?

use std::collections::{BTreeMap, HashMap};

use super::{
    report::{Check, Flag, Level},
    set::{LabelledSet, Refused},
};
use crate::domain::{DescriptorKey, Direction};

/// From this share of the rows on, rows that can't be right are no longer exceptions.
const MOST_EXCEPTIONS: f64 = 0.01;
/// From this share of the rows on, conflicting labels are worth acting on.
const MOST_CONFLICTS: f64 = 0.05;

/// `schema`: rows that could not be read. They are kept out of what passes, and shown. Of dev every row is needed: one that
/// can't be read blocks, and so does a dev without rows.
#[must_use]
pub fn schema(set: &LabelledSet) -> Check {
    let flags: Vec<Flag> = set.refused.iter().filter(|row| row.off_taxonomy.is_none()).map(refused).collect();
    let all = set.examples.len() + set.refused.len();
    let level = exceptions(flags.len(), all);
    let says = match flags.len() {
        0 => format!("all {all} rows can be read"),
        bad => format!("{bad} of {all} rows can't be read"),
    };
    let check = Check::new("schema", level, says).value("refused", flags.len() as f64);
    match set.dev.as_ref().map(|dev| dev.rows) {
        Some(0) => {
            Check { level: Level::Block, says: format!("{}; dev has no rows", check.says), ..check }.flags(flags)
        }
        _ => with_dev(check, flags, of_dev(set, |row| row.off_taxonomy.is_none()), "rows of dev can't be read"),
    }
}

/// `taxonomy`: labels that are no category of the taxonomy.
#[must_use]
pub fn taxonomy(set: &LabelledSet) -> Check {
    let off = set.refused.iter().filter(|row| row.off_taxonomy.is_some());
    let flags: Vec<Flag> = off.map(refused).collect();
    let (level, says) = match flags.len() {
        0 => (Level::Pass, format!("every label is a category of {}", set.taxonomy.version())),
        bad => (Level::Block, format!("{bad} labels are no category of {}", set.taxonomy.version())),
    };
    let check = Check::new("taxonomy", level, says).value("off_taxonomy", flags.len() as f64);
    with_dev(check, flags, of_dev(set, |row| row.off_taxonomy.is_some()), "labels of dev are none either")
}

/// Rows of dev that are refused, of one kind. They are in no set, so none is kept out of it.
fn of_dev(set: &LabelledSet, kind: fn(&Refused) -> bool) -> Vec<Flag> {
    let refused_rows = set.dev.iter().flat_map(|dev| &dev.refused).filter(|row| kind(row));
    refused_rows.map(|row| Flag { quarantined: false, ..refused(row) }).collect()
}

/// A check that blocks where anything is wrong with dev.
fn with_dev(check: Check, flags: Vec<Flag>, of_dev: Vec<Flag>, what: &str) -> Check {
    if of_dev.is_empty() {
        return check.flags(flags);
    }
    let says = format!("{}; {} {what}", check.says, of_dev.len());
    Check { level: Level::Block, says, ..check }.flags([flags, of_dev].concat())
}

/// `direction`: a label that makes sense in one direction only, on a row of the other.
#[must_use]
pub fn direction(set: &LabelledSet) -> Check {
    let told = set.taxonomy.assignable().iter().filter(|category| category.direction.is_some()).count();
    if told == 0 {
        return Check::new("direction", Level::Info, "not checked: no category of the taxonomy names a direction");
    }
    let against = set.examples.iter().enumerate().filter_map(|(place, example)| {
        let wants = set.taxonomy.assignable()[example.class].direction?;
        let is = example.transaction.direction;
        (is != wants).then(|| Flag::of(set, place, format!("a {is}, and its label is of a {wants}")).quarantine())
    });
    let flags: Vec<Flag> = against.collect();
    let says = match flags.len() {
        0 => format!("no label contradicts its row's direction ({told} categories name one)"),
        bad => format!("{bad} labels contradict their row's direction"),
    };
    Check::new("direction", exceptions(flags.len(), set.examples.len()), says)
        .value("against_direction", flags.len() as f64)
        .flags(flags)
}

/// `conflicts`: rows of one key and direction whose labels differ. A chain whose stores differ is no
/// mistake, so they are shown and not kept out; behind the finding are the rows of the rarer labels.
#[must_use]
pub fn conflicts(set: &LabelledSet) -> Check {
    let mut groups: HashMap<(&DescriptorKey, Direction), BTreeMap<usize, Vec<usize>>> = HashMap::new();
    for (place, example) in set.examples.iter().enumerate() {
        let key = example.transaction.descriptor.key();
        if !key.is_empty() {
            let group = groups.entry((key, example.transaction.direction)).or_default();
            group.entry(example.class).or_default().push(place);
        }
    }
    let mut keys = 0;
    let mut flags = Vec::new();
    for ((key, _), labels) in &groups {
        let Some((usual, rows)) = labels.iter().max_by_key(|(class, rows)| (rows.len(), std::cmp::Reverse(**class)))
        else {
            continue;
        };
        keys += usize::from(labels.len() > 1);
        let says = format!("`{key}` is mostly {} ({} rows)", set.slug(*usual), rows.len());
        let rarer = labels.iter().filter(|(class, _)| *class != usual).flat_map(|(_, rows)| rows);
        flags.extend(rarer.map(|&place| Flag::of(set, place, says.clone())));
    }
    flags.sort_by_key(|flag| flag.place);
    let share = share(flags.len(), set.examples.len());
    let level = match flags.len() {
        0 => Level::Pass,
        _ if share > MOST_CONFLICTS => Level::Warn,
        _ => Level::Info,
    };
    let says = match flags.len() {
        0 => "no key has conflicting labels".to_owned(),
        bad => format!("{keys} of {} keys have conflicting labels, on {bad} rows", groups.len()),
    };
    Check::new("conflicts", level, says).value("keys", keys as f64).value("share_of_rows", share).flags(flags)
}

fn refused(row: &Refused) -> Flag {
    Flag {
        id: row.id.clone(),
        line: row.line,
        category: row.off_taxonomy.as_ref().map(ToString::to_string),
        says: row.says.clone(),
        quarantined: true,
        place: None,
    }
}

fn exceptions(bad: usize, all: usize) -> Level {
    match bad {
        0 => Level::Pass,
        _ if share(bad, all) < MOST_EXCEPTIONS => Level::Warn,
        _ => Level::Block,
    }
}

pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
