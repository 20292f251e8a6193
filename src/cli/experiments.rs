//! `txcat experiments labels|golden|cleaning|upkeep`: what labels are worth, measured on a data set.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::{Settings, labels::LabelChoice, models, train};
use crate::{
    clock,
    curate::{
        confident::Prune,
        set::{LabelledSet, Which},
    },
    domain::{Enrichment, TransactionId},
    evaluate::labels as bought,
    experiments::{
        cleaning,
        golden::{self, Unit},
        golden_page,
        ground::Ground,
        labels::{self, Way},
        page::{File, Made, Page},
        upkeep, upkeep_page,
    },
    model::{AdapterFacts, BaseEncoder, facts::LABELS},
};

/// Experiments on labels.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Which.
    #[command(subcommand)]
    pub action: Action,
}

/// Which experiment.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Accuracy against labels: rows at random, beside rows that were selected.
    Labels(Labels),
    /// Few curated labels beside many noisy ones.
    Golden(Golden),
    /// Labels as they were, with wrong ones, and after cleaning.
    Cleaning(Cleaning),
    /// How few labels a quarter keep an adapter at its target.
    Upkeep(Upkeep),
}

/// What every experiment is told.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The data set's folder: categories.csv, pool and dev as .csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Write the report and its plots into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Draws rows, passes and resamples.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Accuracy against labels, on one half of dev; the other half chooses the pass and fits fusion and temperature.
#[derive(Debug, clap::Args)]
pub struct Labels {
    /// What every experiment is told.
    #[command(flatten)]
    pub common: Common,

    /// How many labels, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "N", default_values_t = [500, 1_000, 2_000, 5_000, 12_000])]
    pub budgets: Vec<usize>,

    /// How the rows are found, separated by commas; the others are compared with the first.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Way::Random, Way::Selected])]
    pub ways: Vec<Way>,

    /// Passes over the rows; 0 trains the wide part alone.
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,
}

/// Few curated labels beside many noisy ones, on one half of dev.
#[derive(Debug, clap::Args)]
pub struct Golden {
    /// What every experiment is told.
    #[command(flatten)]
    pub common: Common,

    /// How many selected rows with the pool's own labels.
    #[arg(long, default_value_t = 500)]
    pub curated: usize,

    /// Passes over them; 0 trains the wide part alone.
    #[arg(long, default_value_t = 30)]
    pub curated_epochs: usize,

    /// How many rows at random.
    #[arg(long, default_value_t = 50_000)]
    pub noisy: usize,

    /// Passes over those; 0 trains the wide part alone.
    #[arg(long, default_value_t = 1)]
    pub noisy_epochs: usize,

    /// Shares of them that get a wrong label, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 0.1, 0.2, 0.4])]
    pub rates: Vec<f64>,

    /// What gets a wrong label: rows one by one, or whole merchants.
    #[arg(long, value_enum, default_value_t = Unit::Rows)]
    pub unit: Unit,
}

/// What the label-error check's cleaning is worth, on one half of dev.
#[derive(Debug, clap::Args)]
pub struct Cleaning {
    /// What every experiment is told.
    #[command(flatten)]
    pub common: Common,

    /// Which labels of the pool may be looked at.
    #[command(flatten)]
    pub choice: LabelChoice,

    /// Share of the labels that is made wrong.
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub flip: f64,

    /// How labels that are probably wrong are picked.
    #[arg(long, value_enum, default_value_t = Prune::Sure)]
    pub prune: Prune,

    /// Parts that the rows are cut into: each is judged by a model trained on the others.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=50))]
    pub folds: u8,

    /// Passes over the rows; 0 trains the wide part alone.
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,
}

/// How few labels a quarter keep an adapter at its target, and whether the watch notices when it isn't.
///
/// Scores every quarter of a test file before any of its labels is bought. Opens that file.
#[derive(Debug, clap::Args)]
pub struct Upkeep {
    /// What every experiment is told.
    #[command(flatten)]
    pub common: Common,

    /// The rows whose labels the adapter learned from: one id a line.
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,

    /// The adapter, trained with --plain-text.
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,

    /// The lexicon it was trained with, if any.
    #[arg(long, value_name = "FILE")]
    pub lexicon: Option<PathBuf>,

    /// The file of later rows.
    #[arg(long, value_name = "NAME", default_value = "test_natural")]
    pub file: String,

    /// Labels bought of each quarter, separated by commas; 0 is no upkeep.
    #[arg(long, value_delimiter = ',', value_name = "N", default_values_t = [0, 25, 50, 100, 200, 400])]
    pub budgets: Vec<usize>,

    /// Rows of each quarter that are audited for the watch.
    #[arg(long, value_name = "N", default_value_t = 150)]
    pub audit: usize,

    /// Accuracy that was promised.
    #[arg(long, default_value_t = 0.92)]
    pub target: f64,
}

/// Runs `txcat experiments`.
///
/// # Errors
/// When the data set can't be read, a training fails, or a file can't be written.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let base = models::pull(settings, None).await?;
    let made = Made { command: command(), at: clock::now() };
    let say = |said: &str| eprintln!("{said}");
    match options.action {
        Action::Labels(Labels { common, budgets, ways, epochs }) => {
            ensure!(budgets.iter().all(|budget| *budget > 0), "--budgets takes numbers from 1 on");
            let ground = Ground::read(&common.data, base).await?;
            let plan = labels::Plan { budgets, ways, epochs, seed: common.seed };
            let points = labels::run(&ground, &plan, say).await?;
            common.finish(&labels::page(&ground, &plan, &points), &made, &points)
        }
        Action::Golden(Golden { common, curated, curated_epochs, noisy, noisy_epochs, rates, unit }) => {
            ensure!(rates.iter().all(|rate| (0.0..=1.0).contains(rate)), "--rates takes shares from 0 to 1");
            let ground = Ground::read(&common.data, base).await?;
            let plan = golden::Plan { curated, curated_epochs, noisy, noisy_epochs, rates, unit, seed: common.seed };
            let arms = golden::run(&ground, &plan, say).await?;
            common.finish(&golden_page::page(&ground, &plan, &arms), &made, &arms)
        }
        Action::Cleaning(cleaning) => cleaning.run(base, &made).await,
        Action::Upkeep(upkeep) => upkeep.run(base, &made).await,
    }
}

impl Cleaning {
    async fn run(self, base: BaseEncoder, made: &Made) -> anyhow::Result<()> {
        let Self { common, choice, flip: share, prune, folds, epochs } = self;
        ensure!((0.0..1.0).contains(&share), "--flip takes a share from 0 to 1");
        let ground = Ground::read(&common.data, base).await?;
        let which = Which::Chosen(choice.choice(common.seed)?);
        let set = LabelledSet::read(&ground.dataset, which, || {})?;
        ensure!(set.examples.len() >= 10, "{} labelled rows are too few to make some wrong", set.examples.len());
        let plan = cleaning::Plan { share, prune, folds: usize::from(folds), epochs, seed: common.seed };
        let measured = cleaning::run(&ground, &set, &plan, |said| eprintln!("{said}")).await?;
        common.finish(&cleaning::page(&ground, &plan, &measured), made, &measured)
    }
}

impl Upkeep {
    async fn run(self, base: BaseEncoder, made: &Made) -> anyhow::Result<()> {
        let Self { common, labels, adapter, lexicon, file, budgets, audit, target } = self;
        let ids: BTreeSet<TransactionId> = super::labels::ids(&labels)?.into_iter().collect();
        let facts = AdapterFacts::read(&adapter)?;
        let digest = bought::digest(&ids.iter().collect::<Vec<_>>());
        ensure!(facts.sources.get(LABELS) == Some(&digest), "the adapter learned from other labels than these");
        ensure!(facts.enrichment == Enrichment::None, "the adapter was not trained with --plain-text");
        let ground = Ground::read(&common.data, base).await?;
        let terms = lexicon.map(|path| train::lexicon(&path, ground.taxonomy())).transpose()?.unwrap_or_default();
        let start = upkeep::Start { ground: &ground, adapter: &adapter, bought: &ids, terms: &terms };
        let plan = upkeep::Plan { file, budgets, audit, target, seed: common.seed };
        let courses = upkeep::run(&start, &plan, |said| eprintln!("{said}")).await?;
        common.finish(&upkeep_page::page(&start, &plan, &courses), made, &courses)
    }
}

/// The command line as it was typed, but for the program's path and the database's address, which may hold a password.
pub(super) fn command() -> String {
    let mut typed = std::env::args().skip(1);
    let mut words = vec!["txcat".to_owned()];
    while let Some(word) = typed.next() {
        match word.strip_prefix("--database-url") {
            Some("") => drop(typed.next()),
            Some(rest) if rest.starts_with('=') => {}
            _ => words.push(word),
        }
    }
    words.join(" ")
}

impl Common {
    fn finish(&self, page: &Page, made: &Made, figures: &impl Serialize) -> anyhow::Result<()> {
        finish(self.json, self.out.as_deref(), page, made, figures)
    }
}

/// Prints, and writes where that is asked for.
pub(super) fn finish(
    json: bool,
    out: Option<&Path>,
    page: &Page,
    made: &Made,
    figures: &impl Serialize,
) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
    } else {
        println!("{}", page.shown());
    }
    let Some(dir) = out else { return Ok(()) };
    fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    for File { name, text } in page.files(made)? {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}
