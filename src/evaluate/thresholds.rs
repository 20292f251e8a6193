//! Whether a stage has fallen: below a floor that was stated, or below what was stored before.
//!
//! What is called a fall is so by no more than chance would with the level of the file, whole merchants taken as one: both
//! tests draw merchants, and all p-values of a file are corrected together (Holm). Without a fall that is real, at most
//! `level` of all runs of a file's checks call one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    metrics::{Share, wilson},
    paired::holm,
    resample::{self, CLUSTERS, Merchant},
    tracker,
};
use crate::store::{self, EvalRun, EvalRunFilter, Store};

/// The chance of a false alarm that a file has where it states none: what lies outside a 95 % interval on one side.
const LEVEL: f64 = 0.025;
/// Draws of a test: enough for the smallest p-values that a file of dozens of checks asks for.
pub const DRAWS: u32 = 3_999;
/// Draws the merchants.
const SEED: u64 = 1;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not of the documented shape.
    #[error("{} is no file of thresholds", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A number that is no share.
    #[error("{}: `{field}` must be above 0 and below 1", path.display())]
    Share {
        /// The file.
        path: PathBuf,
        /// Which number.
        field: &'static str,
    },
    /// A check that checks nothing.
    #[error("{}: the check of `{stage}` on {file} has neither `floor` nor `baseline`", path.display())]
    Empty {
        /// The file of thresholds.
        path: PathBuf,
        /// Which stage.
        stage: String,
        /// On which file.
        file: String,
    },
    /// Nothing was measured yet.
    #[error("stage `{stage}` was never scored on {data_set}/{file}: run `txcat eval --files {file}` on it first")]
    NotMeasured {
        /// The data set.
        data_set: String,
        /// The file.
        file: String,
        /// The stage.
        stage: String,
    },
    /// There is no such baseline.
    #[error("the baseline of stage `{stage}` on {data_set}/{file} is not in the tracker")]
    NoBaseline {
        /// The data set.
        data_set: String,
        /// The file.
        file: String,
        /// The stage.
        stage: String,
    },
    /// Runs can't be read.
    #[error(transparent)]
    Tracker(#[from] tracker::Error),
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
}

/// What must hold, as a file has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// The chance that anything is called a fall where nothing fell, strictly between 0 and 1.
    #[serde(default = "level")]
    pub level: f64,
    /// What is checked.
    #[serde(default, rename = "check")]
    pub checks: Vec<Check>,
}

fn level() -> f64 {
    LEVEL
}

/// What the latest run of one stage on one file must not lie below.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The data set's name.
    pub data_set: String,
    /// The file's name within it.
    pub file: String,
    /// Which stage.
    pub stage: String,
    /// An accuracy.
    pub floor: Option<f64>,
    /// A run that was stored before.
    pub baseline: Option<Baseline>,
}

/// A stored run on the same file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// The latest of this engine in the same stage.
    Engine(String),
    /// The latest of this peer, whose answers were imported.
    Peer(String),
    /// The one with this number.
    Run(i64),
}

impl Thresholds {
    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read, or is not of the documented shape.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let read: Self =
            toml::from_str(&text).map_err(|source| Error::Toml { path: path.to_owned(), source: Box::new(source) })?;
        let inner = |share: f64| 0.0 < share && share < 1.0;
        let refused = |field| Err(Error::Share { path: path.to_owned(), field });
        if !inner(read.level) {
            return refused("level");
        }
        for check in &read.checks {
            if !check.floor.is_none_or(inner) {
                return refused("floor");
            }
            if check.floor.is_none() && check.baseline.is_none() {
                let (stage, file) = (check.stage.clone(), check.file.clone());
                return Err(Error::Empty { path: path.to_owned(), stage, file });
            }
        }
        Ok(read)
    }
}

/// What a check rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The run that is checked.
    pub run: i64,
    /// Right rows, merchant by merchant.
    pub merchants: Vec<Merchant>,
    /// The run it is compared with, and what was gained merchant by merchant.
    pub baseline: Option<(i64, Vec<Merchant>)>,
}

/// Reads what a check rests on.
///
/// # Errors
/// When the stage or the baseline was never scored on the file, or the database fails.
pub async fn evidence(store: &Store, check: &Check) -> Result<Evidence, Error> {
    let on_file = EvalRunFilter {
        data_set: Some(check.data_set.clone()),
        file: Some(check.file.clone()),
        ..EvalRunFilter::default()
    };
    let latest = async |filter: EvalRunFilter| -> Result<Option<EvalRun>, Error> {
        Ok(store.eval_runs(&filter, 1).await?.into_iter().next())
    };
    let ours = EvalRunFilter { stage: Some(check.stage.clone()), peer: Some(false), ..on_file.clone() };
    let run = latest(ours).await?.ok_or_else(|| Error::NotMeasured {
        data_set: check.data_set.clone(),
        file: check.file.clone(),
        stage: check.stage.clone(),
    })?;
    let merchants = tracker::merchants(&store.eval_cells(run.id, CLUSTERS).await?);
    let theirs = match check.baseline.clone() {
        None => return Ok(Evidence { run: run.id, merchants, baseline: None }),
        Some(Baseline::Run(id)) => EvalRunFilter { id: Some(id), ..on_file },
        Some(Baseline::Engine(engine)) => {
            EvalRunFilter { engine: Some(engine), stage: Some(check.stage.clone()), peer: Some(false), ..on_file }
        }
        Some(Baseline::Peer(name)) => EvalRunFilter { stage: Some(name), peer: Some(true), ..on_file },
    };
    // Not the run that is checked: beside itself it never falls.
    let others = store.eval_runs(&theirs, 2).await?.into_iter().find(|other| other.id != run.id);
    let before = others.ok_or_else(|| Error::NoBaseline {
        data_set: check.data_set.clone(),
        file: check.file.clone(),
        stage: check.stage.clone(),
    })?;
    let gains = tracker::pairing(store, run.id, before.id).await?.merchants();
    Ok(Evidence { run: run.id, merchants, baseline: Some((before.id, gains)) })
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The data set's name.
    pub data_set: String,
    /// The file's name within it.
    pub file: String,
    /// Which stage.
    pub stage: String,
    /// The run that was checked.
    pub run: i64,
    /// Its accuracy.
    pub accuracy: Option<Share>,
    /// What it must not lie below.
    pub floor: Option<f64>,
    /// The chance of so low an accuracy at the floor, corrected.
    pub floor_p: Option<f64>,
    /// The run it was compared with.
    pub baseline: Option<i64>,
    /// Its accuracy minus the baseline's.
    pub difference: Option<f64>,
    /// The chance of so great a loss where nothing was lost, corrected.
    pub baseline_p: Option<f64>,
    /// Whether it fell.
    pub fallen: bool,
}

/// Judges all checks of a file together, each with its evidence, by tests of so many draws ([`DRAWS`]).
#[must_use]
pub fn judge(level: f64, checked: &[(Check, Evidence)], draws: u32) -> Vec<Verdict> {
    let raw: Vec<[Option<f64>; 2]> = checked
        .iter()
        .map(|(check, evidence)| {
            let floor = check.floor.map(|floor| below(floor, &evidence.merchants, draws));
            let baseline = evidence.baseline.as_ref().map(|(_, gains)| {
                let gains: Vec<i64> = gains.iter().map(|merchant| merchant.sum).collect();
                resample::fallen(&gains, draws, SEED)
            });
            [floor, baseline]
        })
        .collect();
    let ps: Vec<f64> = raw.iter().flatten().flatten().copied().collect();
    let mut corrected = holm(&ps).into_iter();
    checked
        .iter()
        .zip(raw)
        .map(|((check, evidence), raw)| {
            let [floor_p, baseline_p] = raw.map(|p| p.and_then(|_| corrected.next()));
            let total = |of: &[Merchant], part: fn(&Merchant) -> i64| of.iter().map(part).sum::<i64>();
            let count =
                |part: fn(&Merchant) -> i64| usize::try_from(total(&evidence.merchants, part)).unwrap_or_default();
            let difference = evidence.baseline.as_ref().map(|(_, gains)| {
                total(gains, |merchant| merchant.sum) as f64 / total(gains, |merchant| merchant.rows).max(1) as f64
            });
            Verdict {
                data_set: check.data_set.clone(),
                file: check.file.clone(),
                stage: check.stage.clone(),
                run: evidence.run,
                accuracy: wilson(count(|merchant| merchant.sum), count(|merchant| merchant.rows)),
                floor: check.floor,
                floor_p,
                baseline: evidence.baseline.as_ref().map(|(run, _)| *run),
                difference,
                baseline_p,
                fallen: floor_p.into_iter().chain(baseline_p).any(|p| p < level),
            }
        })
        .collect()
}

/// The chance of so low an accuracy at the floor: one side of the interval by merchant, turned into a p-value.
fn below(floor: f64, merchants: &[Merchant], draws: u32) -> f64 {
    resample::drawn_mean(merchants, draws, SEED).map_or(1.0, |accuracy| accuracy.reaching(floor))
}

#[cfg(test)]
mod tests;
