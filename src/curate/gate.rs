//! Every check on one set, and what follows: which rows pass, and whether training may begin.

use std::collections::BTreeMap;

use super::{
    agreement,
    around::{self, HeldOut},
    confident::Prune,
    counts,
    manifest::{Facts, Manifest, rows_sha256},
    pii,
    report::{Check, LabelReport, SHOWN},
    rows,
    set::LabelledSet,
    suspects::{self, Opinion},
    twins,
};
use crate::{domain::Transaction, store::Traffic};

/// How a set is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Parts that the rows are cut into for out-of-fold probabilities.
    pub folds: usize,
    /// What they are drawn from.
    pub seed: u64,
    /// How wrong labels are picked.
    pub prune: Prune,
}

impl Default for Settings {
    fn default() -> Self {
        Self { folds: 5, seed: 1, prune: Prune::Sure }
    }
}

/// What a check came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// For people and pages.
    pub report: LabelReport,
    /// For training.
    pub manifest: Manifest,
    /// Every check with all of its rows.
    pub checks: Vec<Check>,
    /// What the folds' models say.
    pub opinion: Opinion,
    /// Why each example that is kept out is, by its place in the set.
    pub quarantine: BTreeMap<usize, String>,
}

impl Outcome {
    /// Places of the examples that pass.
    pub fn kept(&self, set: &LabelledSet) -> impl Iterator<Item = usize> {
        (0..set.examples.len()).filter(|place| !self.quarantine.contains_key(place))
    }
}

/// Puts every check to a set. Trains a model for each fold; everything else is arithmetic.
#[must_use]
pub fn check(set: &LabelledSet, held_out: &[HeldOut], traffic: Option<&Traffic>, settings: Settings) -> Outcome {
    let opinion = Opinion::of(set, settings.folds, settings.seed);
    let checks = vec![
        rows::schema(set),
        rows::taxonomy(set),
        rows::direction(set),
        twins::duplicates(set),
        twins::near_duplicates(set),
        rows::conflicts(set),
        suspects::label_errors(set, &opinion, settings.prune),
        counts::counts(set),
        counts::imbalance(set),
        agreement::agreement(set),
        around::leakage(set, held_out),
        pii::pii(set),
        around::drift(set, traffic),
    ];
    let mut quarantine: BTreeMap<usize, String> = BTreeMap::new();
    for (check, flag) in checks.iter().flat_map(|check| check.flags.iter().map(move |flag| (check, flag))) {
        if let (true, Some(place)) = (flag.quarantined, flag.place) {
            let why = quarantine.entry(place).or_default();
            if !why.is_empty() {
                why.push_str("; ");
            }
            why.push_str(&format!("{}: {}", check.name, flag.says));
        }
    }
    let row = |place: usize| {
        let example = &set.examples[place];
        (&example.transaction, set.slug(example.class).as_str())
    };
    let hashed = |rows: Vec<(&Transaction, &str)>| (rows_sha256(rows.iter().copied()), rows.len());
    let places = 0..set.examples.len();
    let manifest = Manifest::new(Facts {
        data_set: &set.name,
        rows: hashed(places.clone().map(row).collect()),
        kept: hashed(places.filter(|place| !quarantine.contains_key(place)).map(row).collect()),
        taxonomy: set.taxonomy.version(),
        split_seed: settings.seed,
        folds: settings.folds,
        checks: &checks,
    });
    let shown = |check: &Check| Check { flags: check.flags.iter().take(SHOWN).cloned().collect(), ..check.clone() };
    let report = LabelReport {
        data_set: set.name.clone(),
        taxonomy: set.taxonomy.version().to_owned(),
        rows: set.examples.len(),
        refused: set.refused.len(),
        quarantined: quarantine.len() + set.refused.len(),
        passed: manifest.passed,
        manifest: manifest.sha256.clone(),
        checks: checks.iter().map(shown).collect(),
        classes: opinion.classes(set, settings.prune),
    };
    Outcome { report, manifest, checks, opinion, quarantine }
}
