//! `txcat data check|select`: is a labelled set fit to be learned from, and what should be labelled next?

mod files;
mod select;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{bail, ensure};
use chrono::TimeDelta;
use indicatif::ProgressBar;

pub use self::select::Select;
use super::{Settings, labels::LabelChoice, service::with_store, train};
use crate::{
    clock,
    curate::{
        self, LabelledSet, Level, Outcome, Which, around,
        confident::Prune,
        experiment::{self, Flip},
        record, report, set,
        suspects::Opinion,
    },
    evaluate::dataset::Dataset,
    store::{Store, Traffic},
};

/// Labelled sets.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Check the labels that training would learn from, and say whether it may.
    Check(Box<Check>),
    /// Pick the rows that are worth an expert's time.
    Select(Select),
}

/// Checks the labels that training would learn from, and says whether it may.
///
/// Reads the labelled rows of pool and dev; of the test files, everything but the labels. What passes, what
/// is kept out and why, and the manifest that `txcat train` asks for go into --out. Fails when a check blocks.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The data set's folder: categories.csv, pool, dev and test_* as .csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Which labels.
    #[command(flatten)]
    pub choice: LabelChoice,

    /// Look at every label of the pool.
    #[arg(long, conflicts_with_all = ["labels", "label_budget"])]
    pub all: bool,

    /// A lexicon (CSV: term, category, weight) for the folds' models, as `txcat train` takes it.
    #[arg(long, value_name = "FILE")]
    pub lexicon: Option<PathBuf>,

    /// Draws the folds, and the choice of labels as `txcat train --seed` does.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Parts that the rows are cut into: each is judged by a model trained on the others.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=50))]
    pub folds: u16,

    /// How labels that are probably wrong are picked.
    #[arg(long, value_enum, default_value_t = Prune::Sure)]
    pub prune: Prune,

    /// Write pass.csv, quarantine.csv, flagged.csv, labels.txt (for `--labels`) and manifest.json into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Don't store the report, and don't compare with recent traffic.
    #[arg(long)]
    pub no_database: bool,

    /// Write the out-of-fold probabilities and what follows from them as CSV.
    #[arg(long, value_name = "FILE")]
    pub probabilities: Option<PathBuf>,

    /// Experiment: give this share of the labels another category first, and say how many of them the check
    /// finds, and what cleaning is worth on dev. Stores nothing and writes no manifest.
    #[arg(long, value_name = "SHARE", conflicts_with = "out")]
    pub flip: Option<f64>,

    /// Experiment: what a flipped label becomes.
    #[arg(long, value_enum, default_value_t = Flip::Uniform, requires = "flip")]
    pub flip_by: Flip,
}

/// Runs `txcat data`.
///
/// # Errors
/// When the set can't be read, a file can't be written, the database fails, or a check blocks.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let options = match options.action {
        Action::Check(options) => options,
        Action::Select(options) => return options.run(settings).await,
    };
    if options.flip.is_some() {
        return tokio::task::spawn_blocking(move || measure(&options)).await?;
    }
    let report = if options.no_database {
        check(*options, None).await?
    } else {
        with_store(settings, async |store| check(*options, Some(store)).await).await?
    };
    let blocked: Vec<&str> =
        report.checks.iter().filter(|check| check.level == Level::Block).map(|check| check.name.as_str()).collect();
    ensure!(blocked.is_empty(), "blocked by {}: nothing may be trained on this set as it is", blocked.join(", "));
    Ok(())
}

async fn check(options: Check, store: Option<&Store>) -> anyhow::Result<curate::LabelReport> {
    let now = clock::now();
    let traffic: Option<Traffic> = match store {
        Some(store) => Some(store.traffic(now - TimeDelta::days(around::DAYS)).await?),
        None => None,
    };
    let (set, outcome) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let dataset = Dataset::open(&options.data)?;
        let set = options.read(&dataset)?;
        let held_out = around::held_out(&dataset)?;
        let outcome = curate::check(&set, &held_out, traffic.as_ref(), options.settings());
        options.write(&set, &outcome)?;
        options.print(&outcome)?;
        Ok((set, outcome))
    })
    .await??;
    if let Some(store) = store {
        let stored = record::of_folder(&set, &outcome, now)?;
        store.insert_dataset(&stored.dataset, &stored.report, &stored.items).await?;
    }
    Ok(outcome.report)
}

impl Check {
    fn settings(&self) -> curate::Settings {
        curate::Settings { folds: usize::from(self.folds), seed: self.seed, prune: self.prune }
    }

    fn which(&self) -> anyhow::Result<Which> {
        if self.all {
            return Ok(Which::All);
        }
        Ok(Which::Chosen(self.choice.choice(self.seed)?))
    }

    fn read(&self, dataset: &Dataset) -> anyhow::Result<LabelledSet> {
        let bar = ProgressBar::new_spinner().with_message("reading");
        let mut set = LabelledSet::read(dataset, self.which()?, || bar.inc(1))?;
        if let Some(path) = &self.lexicon {
            set.terms = train::lexicon(path, dataset.taxonomy())?;
        }
        bar.finish_and_clear();
        ensure!(!set.examples.is_empty() || !set.refused.is_empty(), "{} has no labelled rows", self.data.display());
        Ok(set)
    }

    fn write(&self, set: &LabelledSet, outcome: &Outcome) -> anyhow::Result<()> {
        if let Some(dir) = &self.out {
            files::write(dir, set, outcome)?;
        }
        if let Some(path) = &self.probabilities {
            files::probabilities(path, set, &outcome.opinion, &BTreeSet::new())?;
        }
        Ok(())
    }

    fn print(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let report = &outcome.report;
        if self.json {
            println!("{}", serde_json::to_string(report)?);
            return Ok(());
        }
        println!("{}\n{}", report::checks(report), report::classes(report));
        let flagged = report::flagged(report, 5);
        if flagged.row_count() > 0 {
            println!("{flagged}");
        }
        println!(
            "{}: {} labelled rows, {} refused, {} kept out; {} (manifest {})",
            report.data_set,
            report.rows,
            report.refused,
            report.quarantined,
            if report.passed { "passed" } else { "BLOCKED" },
            &report.manifest[..8]
        );
        if let Some(dir) = &self.out {
            println!("written to {}", dir.display());
        }
        Ok(())
    }
}

/// The experiment of `--flip`.
fn measure(options: &Check) -> anyhow::Result<()> {
    let share = options.flip.unwrap_or_default();
    ensure!((0.0..1.0).contains(&share), "--flip takes a share from 0 to 1");
    let dataset = Dataset::open(&options.data)?;
    let before = options.read(&dataset)?;
    if before.examples.len() < 10 {
        bail!("{} labelled rows are too few to flip some of them", before.examples.len());
    }
    let mut set = before.clone();
    let folds = usize::from(options.folds);
    let flipped = experiment::flip(&mut set, share, options.flip_by, folds, options.seed);
    let opinion = Opinion::of(&set, folds, options.seed);
    let found = experiment::found(&opinion, &flipped);
    if let Some(path) = &options.probabilities {
        files::probabilities(path, &set, &opinion, &flipped)?;
    }
    let on = set::dev(&dataset)?;
    let gains = experiment::gains(&before, &set, &opinion, &on, options.seed);
    if options.json {
        let all = serde_json::json!({
            "rows": set.examples.len(), "flipped": flipped.len(), "found": found, "dev": gains,
        });
        println!("{all}");
        return Ok(());
    }
    println!(
        "{} of {} labels flipped ({:?}, seed {})",
        flipped.len(),
        set.examples.len(),
        options.flip_by,
        options.seed
    );
    println!("{}", experiment::found_table(&found, options.prune));
    println!("right on dev's {} rows, wide part alone:\n{}", on.len(), experiment::gains_table(&gains));
    Ok(())
}
