//! `txcat eval`: every stage over the same rows, measured, stored and printed.

mod check;
mod compare;
mod evaluation;
mod export;
mod fit_cascade;
mod replay;
mod runs;
mod sample_size;
mod show;
mod stored;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use super::{Settings, chat, labels::LabelChoice, service::with_store};
use crate::{
    domain::{Slug, Taxonomy},
    evaluate::{
        dataset::{DataFile, Dataset},
        report::{self, Compared, LabelFacts, Report},
        resample,
        scored::{self, FileScore},
    },
    store::Store,
};
use evaluation::Evaluation;
pub(super) use stored::{Made, data_set, to_store};

/// Draws the label choice's remainder.
const SEED: u64 = 1;

/// Measures every stage, or reads what was measured.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Command {
    /// Do something else instead.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Which labels. Beside the options, not in them: clap can't tell whether nested options are there.
    #[command(flatten)]
    pub choice: LabelChoice,
    /// Whether to replay. Beside the options for the same reason.
    #[command(flatten)]
    pub replay: Replay,
    /// What is measured.
    #[command(flatten)]
    pub options: Option<Options>,
}

/// Streaming a file through the whole service, in time order, while an analyst who knows the labels works on the queue.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Replay {
    /// Don't score: stream the file through the whole service, in time order, while an analyst who knows the labels works
    /// on the queue. Takes one file and one stage.
    #[arg(long = "replay")]
    pub wanted: bool,

    /// How many rows the analyst may decide, in per cent of the rows. [default: 0,1,2,5]
    #[arg(long, value_name = "PER_CENT", value_delimiter = ',', requires = "wanted")]
    pub budgets: Vec<f64>,

    /// Write the replay's report and plot into this folder.
    #[arg(long, value_name = "DIR", requires = "wanted")]
    pub out: Option<PathBuf>,
}

/// What else to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Fit the thresholds of a cascade: which stage answers what, so that a target is reached for the least money.
    FitCascade(Box<fit_cascade::Options>),
    /// Tell how many rows to label before an accuracy can be claimed.
    SampleSize(sample_size::Options),
    /// Read what was measured.
    #[command(flatten)]
    Read(Read),
}

/// What to do with what was measured.
#[derive(Debug, clap::Subcommand)]
pub enum Read {
    /// List what was measured, newest first.
    Runs(runs::Options),
    /// Show one run with all its figures: intervals, slices, calibration, categories, mistakes.
    Show(show::Options),
    /// Compare runs on the same rows: McNemar, intervals by merchant, categories.
    Compare(compare::Options),
    /// Fail where a stage has fallen below a floor or below a run that was stored before.
    Check(check::Options),
    /// Write a run for another tracker: promptfoo or MLflow.
    Export(export::Options),
}

/// Measures, or does what else there is to do.
///
/// # Errors
/// When the data set, the database or a stage can't be used; when a check has failed.
pub async fn start(command: Command, settings: &Settings) -> anyhow::Result<()> {
    let Command { action, choice, replay, options } = command;
    match (action, options) {
        (Some(Action::FitCascade(options)), _) => fit_cascade::run(*options, settings).await,
        (Some(Action::SampleSize(options)), _) => sample_size::run(&options),
        (Some(Action::Read(read)), _) => with_store(settings, async |store| read.run(store).await).await,
        (None, Some(options)) => run(Options { choice, replay, ..options }, settings).await,
        (None, None) => bail!("name a data set with --data"),
    }
}

impl Read {
    async fn run(self, store: &Store) -> anyhow::Result<()> {
        match self {
            Self::Runs(options) => runs::run(options, store).await,
            Self::Show(options) => show::run(&options, store).await,
            Self::Compare(options) => compare::run(&options, store).await,
            Self::Check(options) => check::run(&options, store).await,
            Self::Export(options) => export::run(&options, store).await,
        }
    }
}

/// Runs every stage over the same labelled rows, stores the answers in the tracker and prints accuracy.
///
/// Shares are per cent. `known keys` are rows whose descriptor key occurs among the bought labels.
/// `accepted at 92` is the share of rows that confidence thresholds accept which were fitted on dev
/// for 92 % right answers, one for keys that the engine's labels had shown and one for the others;
/// on dev itself they are judged by the rows they were fitted on.
/// Differences come with 95 % intervals from paired resamples, of rows and of whole keys.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The data set's folder: categories.csv, pool, dev and test_* as .csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Run only these stages. [default: all of the stage file]
    #[arg(long = "stage", value_name = "NAME")]
    pub stages: Vec<String>,

    /// Which labels.
    #[arg(skip)]
    pub choice: LabelChoice,

    /// Write the ids of the rows whose labels were looked at, one a line.
    #[arg(long, value_name = "FILE")]
    pub labels_out: Option<PathBuf>,

    /// The adapter of the `adapter` stage. [default: models/adapters/demo, where its categories are the data set's]
    #[arg(long, env = "TXCAT_ADAPTER", value_name = "DIR")]
    pub adapter: Option<PathBuf>,

    /// Ask the chat model through its provider's batch API: cheaper, and answered within a day. The command waits;
    /// when it is interrupted and run again, it goes on with the same batches and pays nothing twice.
    #[arg(long)]
    pub batches: bool,

    /// Files to score: `dev`, `test` (all test files) or names such as `test_recent`, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "dev")]
    pub files: Vec<String>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Write every answer as STAGE-FILE.csv (id, category, confidence) into this folder.
    #[arg(long, value_name = "DIR")]
    pub predictions: Option<PathBuf>,

    /// Score the answers of other programs beside ours: PEER-FILE.csv with id and category in this folder.
    #[arg(long, value_name = "DIR")]
    pub peers: Option<PathBuf>,

    /// Also score the adapter's encoder and head alone, without the parts that PEFT can't express.
    #[arg(long)]
    pub without_side_parts: bool,

    /// Whether to replay instead.
    #[arg(skip)]
    pub replay: Replay,

    /// The file that lists the stages.
    #[arg(long = "stages", env = "TXCAT_STAGES", value_name = "FILE", default_value = "eval/stages.toml")]
    pub stage_file: PathBuf,

    /// The folder of prompt versions.
    #[arg(long = "prompts-dir", env = "TXCAT_PROMPTS_DIR", value_name = "DIR", default_value = "prompts/categorize")]
    pub prompts: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the data set, the database or a stage can't be used.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    chat::check(settings)?;
    let dataset = Dataset::open(&options.data)?;
    let files = options.chosen_files(&dataset)?;
    if options.replay.wanted {
        return replay::run(&options, settings, &dataset, &files).await;
    }
    let Evaluation { corpus, scores, peers, times } =
        with_store(settings, async |store| Evaluation::run(&options, settings, &dataset, &files, store).await).await?;

    if let Some(dir) = &options.predictions {
        write_predictions(dir, dataset.taxonomy(), &scores)?;
    }
    let times_scored = |score: &FileScore| times.get(&score.file).copied();
    let report = Report {
        runs: scores.iter().map(|score| report::Run::new(score, times_scored(score))).collect(),
        peers: peers.iter().map(|score| report::Run::new(score, None)).collect(),
        differences: stage_differences(&scores).into_iter().chain(peer_differences(&scores, &peers)).collect(),
        labels: LabelFacts {
            budget: options.choice.label_budget,
            bought: corpus.rows.len(),
            listed: options.choice.labels.is_some(),
            digest: corpus.labels.digest(),
        },
    };
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    println!("{}", report::scores(report.runs.iter().chain(&report.peers)));
    if !report.differences.is_empty() {
        println!("{}", report::differences(&report.differences));
    }
    let LabelFacts { bought, digest, .. } = &report.labels;
    println!("{bought} labels of the pool were looked at (digest {})", &digest[..8]);
    for (file, times) in &times {
        println!("{file}: scored by {times} command{} so far", if *times == 1 { "" } else { "s" });
    }
    Ok(())
}

/// Every later stage minus every earlier one, file by file.
fn stage_differences(scores: &[FileScore]) -> Vec<Compared<'_>> {
    let pairs = scores.iter().enumerate().flat_map(|(place, theirs)| {
        scores[place + 1..].iter().filter(|ours| ours.file == theirs.file).map(move |ours| (ours, theirs))
    });
    pairs.filter_map(|(ours, theirs)| compared(ours, theirs)).collect()
}

/// The adapter (without one, the last stage) minus every peer, file by file.
fn peer_differences<'a>(scores: &'a [FileScore], peers: &'a [FileScore]) -> Vec<Compared<'a>> {
    peers
        .iter()
        .filter_map(|peer| {
            let mut ours = scores.iter().filter(|score| score.file == peer.file);
            let adapter = ours.clone().find(|score| score.answerer.name == "adapter");
            compared(adapter.or_else(|| ours.next_back())?, peer)
        })
        .collect()
}

fn compared<'a>(ours: &'a FileScore, theirs: &'a FileScore) -> Option<Compared<'a>> {
    let difference = scored::difference(ours, theirs, resample::SEED)?;
    Some(Compared { ours: &ours.answerer.name, theirs: &theirs.answerer.name, file: &ours.file, difference })
}

/// `STAGE-FILE.csv` for every score.
fn write_predictions(dir: &Path, taxonomy: &Taxonomy, scores: &[FileScore]) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    for score in scores {
        let path = dir.join(format!("{}-{}.csv", score.answerer.name, score.file));
        let mut text = "id,category,confidence\n".to_owned();
        for item in &score.items {
            let category = taxonomy.assignable().get(item.scored.answer);
            let category = category.map_or_else(Slug::uncategorized, |category| category.slug.clone());
            writeln!(text, "{},{category},{}", item.id, item.scored.confidence)?;
        }
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

impl Options {
    fn chosen_files(&self, dataset: &Dataset) -> anyhow::Result<Vec<DataFile>> {
        let mut files: Vec<DataFile> = Vec::new();
        for name in &self.files {
            let found = match name.as_str() {
                "test" => dataset.tests().cloned().collect(),
                name => vec![dataset.file(name)?.clone()],
            };
            ensure!(!found.is_empty(), "{} has no test files", dataset.dir().display());
            ensure!(found.iter().all(|file| file.name != "pool"), "the pool is not scored: labels come from it");
            files.extend(
                found.into_iter().filter(|file| files.iter().all(|one| one.name != file.name)).collect::<Vec<_>>(),
            );
        }
        Ok(files)
    }
}
