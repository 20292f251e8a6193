//! Reads, builds the stages, asks them, stores what they said.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Options, SEED,
    stored::{Made, data_set, to_store},
};
use crate::{
    adapters::roster,
    categorize::{self, Engine, Sources, Stage, StageEntry, StageFile},
    cli::{Settings, chat, models, service::DEMO_ADAPTER},
    clock,
    config::Precision,
    domain::Transaction,
    enrich::{Enricher, Examples, examples::LabelledText},
    evaluate::{
        corpus::Corpus,
        dataset::{DataFile, Dataset},
        peers,
        run::{self, Bill, Prepared},
        scored::FileScore,
    },
    llm::ChatModel,
    model::{AdapterBank, AdapterFacts, AdapterModel, Encoder, facts::LABELS},
    spend::{Metered, Spent},
    store::{self, Store},
};

/// What was measured.
pub(super) struct Evaluation {
    /// What could be known.
    pub(super) corpus: Corpus,
    /// Ours, stage by stage, file by file.
    pub(super) scores: Vec<FileScore>,
    /// Others'.
    pub(super) peers: Vec<FileScore>,
    /// How many commands have scored each file.
    pub(super) times: BTreeMap<String, u32>,
}

impl Evaluation {
    pub(super) async fn run(
        options: &Options,
        settings: &Settings,
        dataset: &Dataset,
        files: &[DataFile],
        store: &Store,
    ) -> anyhow::Result<Self> {
        let started_at = clock::now();
        if let Some(dir) = &options.peers {
            let any = files.iter().map(|file| peers::find(dir, &file.name)).collect::<Result<Vec<_>, _>>()?;
            ensure!(
                any.iter().any(|found| !found.is_empty()),
                "{} has no NAME-FILE.csv for a file that is scored",
                dir.display()
            );
        }
        let choice = options.choice.choice(SEED)?;
        let encoder = Encoder::load(models::pull(settings, None).await?)?;
        let adapter = adapter_for(options, dataset, &encoder, settings.compute.precision)?;
        let mut file = StageFile::load(&options.stage_file)?;
        // What is measured is the stage: where its model can't be had, nobody answers in its name.
        file.stages.iter_mut().for_each(|entry| entry.otherwise = None);
        let entries = entries(options, &file, adapter.is_some())?;
        let taxonomy = dataset.taxonomy();
        store.sync_taxonomy(taxonomy, started_at).await?;

        let bar = rows_bar(None, "reading");
        let corpus = tokio::task::block_in_place(|| Corpus::read(dataset, choice, || bar.inc(1)))?;
        bar.finish_and_clear();
        if let Some(path) = &options.labels_out {
            let ids: String = corpus.labels.sorted().into_iter().flat_map(|id| [id.as_str(), "\n"]).collect();
            fs::write(path, ids).with_context(|| format!("can't write {}", path.display()))?;
        }
        let reads = entries.iter().any(|entry| entry.needs(Engine::Adapter, &file));
        let learned = adapter.as_ref().filter(|_| reads).and_then(|adapter| adapter.facts().sources.get(LABELS));
        if learned.is_some_and(|digest| *digest != corpus.labels.digest()) {
            eprintln!(
                "the adapter learned from other labels than these: `known` tells of these, and more labels than the \
                 budget may have been looked at; --labels names the adapter's own"
            );
        }
        let merchants = Enricher::open(store.clone()).await?.merchants().await?;
        let merchant = |row: &Transaction| merchants.of(row);
        let labelled = corpus.labelled(merchant);
        let dev = Prepared::read(dataset, dataset.file("dev")?, &corpus, merchant)?;
        let tests = files
            .iter()
            .filter(|file| file.name != "dev")
            .map(|file| Prepared::read(dataset, file, &corpus, merchant))
            .collect::<Result<Vec<_>, _>>()?;
        let wants_dev = files.iter().any(|file| file.name == "dev");

        let asks = entries.iter().any(|entry| entry.needs(Engine::Prompt, &file));
        let way = if options.batches { chat::Way::Batches } else { chat::Way::Remembered };
        let chat = if asks { chat::model(settings, store, way)? } else { None };
        ensure!(chat.is_some() || !options.batches, "--batches asks a chat model: name one, and a stage that asks it");
        let examples = match &chat {
            Some(_) if entries.iter().any(|entry| entry.retrieves(&file)) => Some(
                Examples::fixed(
                    encoder.clone(),
                    labelled.iter().map(|of| LabelledText::of(&of.transaction.transaction, &of.category)),
                )
                .await?,
            ),
            _ => None,
        };
        let mut scores = Vec::new();
        // A cascade's steps answer as they serve: with what was fitted for them here, or before.
        let mut fitted = roster::fitted(store, taxonomy).await?;
        let unfitted = HashMap::new();
        for entry in &entries {
            let stage = Stage::build(
                entry,
                &Sources {
                    stages: &file,
                    taxonomy,
                    encoder: encoder.clone(),
                    adapter: adapter.clone(),
                    chat: chat.clone().map(|chat| -> Arc<dyn ChatModel> { chat }),
                    examples: examples.clone(),
                    prompts: &options.prompts,
                    labelled: &labelled,
                    calibrations: if entry.engine == Engine::Cascade { &fitted } else { &unfitted },
                },
            )
            .await?;
            let rows = dev.rows.len() + tests.iter().map(|test| test.rows.len()).sum::<usize>();
            let bar = rows_bar(Some(rows), &stage.name);
            let meter = chat.as_deref().filter(|of| entry.needs(Engine::Prompt, &file) && of.is_priced());
            let spent = || meter.map(Metered::spent).unwrap_or_default();
            let before = spent();
            let mut dev_answers = run::answer(&stage, &dev, &corpus, taxonomy, |rows| bar.inc(rows as u64)).await?;
            if let Some(chat) = meter {
                dev_answers.bill(&bill(before, spent(), chat.currency()));
            }
            let mut dev_report = dev_answers.clone();
            // An engine that brings no threshold of its own is calibrated here, on dev.
            let calibration = (stage.acceptance.is_none()).then(|| dev_answers.calibration());
            if let Some(calibration) = &calibration {
                dev_report.calibrate_across();
                dev_answers.calibrate(calibration);
                keep(store, &stage, dataset, calibration, dev_answers.len(), started_at).await?;
                fitted.insert(stage.fitted_for().to_owned(), calibration.clone());
            } else if let Some(acceptance) = stage.acceptance {
                let levels = dev_answers.levels(acceptance);
                keep(store, &stage, dataset, &levels, dev_answers.len(), started_at).await?;
            }
            if wants_dev {
                scores.extend(dev_report.score(&dev_report, options.without_side_parts));
            }
            for test in &tests {
                let before = spent();
                let mut answers = run::answer(&stage, test, &corpus, taxonomy, |rows| bar.inc(rows as u64)).await?;
                if let Some(chat) = meter {
                    answers.bill(&bill(before, spent(), chat.currency()));
                }
                if let Some(calibration) = &calibration {
                    answers.calibrate(calibration);
                }
                scores.extend(answers.score(&dev_answers, options.without_side_parts));
            }
            bar.finish_and_clear();
        }

        let mut times = BTreeMap::new();
        let digests = files
            .iter()
            .map(|file| Ok((file.name.as_str(), file.sha256()?)))
            .collect::<anyhow::Result<HashMap<_, _>>>()?;
        let keep = async |score: &FileScore, peer: bool| -> anyhow::Result<()> {
            let made = Made {
                started_at,
                peer,
                label_budget: options.choice.label_budget,
                labels: corpus.labels.digest(),
                file_sha256: digests[score.file.as_str()],
            };
            let (run, items) = to_store(score, dataset, &made)?;
            store.insert_run(&run, &items).await?;
            Ok(())
        };
        // Ours are kept whatever is wrong with what peers have said.
        for score in &scores {
            keep(score, false).await?;
        }
        let peers = match &options.peers {
            Some(dir) => score_peers(dir, &scores, dataset)?,
            None => Vec::new(),
        };
        for score in &peers {
            keep(score, true).await?;
        }
        for file in files {
            times.insert(file.name.clone(), store.times_scored(&digests[file.name.as_str()]).await?);
        }
        Ok(Self { corpus, scores, peers, times })
    }
}

/// What a chat model took between two readings of its meter.
fn bill(before: Spent, after: Spent, currency: &str) -> Bill {
    let tokens = |spent: Spent| u64::from(spent.usage.prompt) + u64::from(spent.usage.completion);
    Bill { cost: after.cost - before.cost, currency: currency.to_owned(), tokens: tokens(after) - tokens(before) }
}

/// The stages to run. Without `--adapter`, the adapter stage runs only where the demo adapter fits.
fn entries(options: &Options, file: &StageFile, adapter: bool) -> anyhow::Result<Vec<StageEntry>> {
    if !options.stages.is_empty() {
        return Ok(options.stages.iter().map(|name| file.entry(name).cloned()).collect::<Result<_, _>>()?);
    }
    // What a cascade accepts of a step is a share of what is fitted for it.
    let is_a_step = |name: &str| file.stages.iter().any(|of| of.steps.iter().any(|step| step.stage == name));
    let (run, left): (Vec<_>, Vec<_>) = file
        .stages
        .iter()
        .filter(|entry| !entry.step_only || is_a_step(&entry.name))
        .cloned()
        .partition(|entry| adapter || !entry.needs(Engine::Adapter, file));
    for entry in left {
        eprintln!("stage `{}` is left out: name an adapter of this data set with --adapter", entry.name);
    }
    Ok(run)
}

/// The adapter that was named, or the demo's where it fits.
pub(super) fn adapter_for(
    options: &Options,
    dataset: &Dataset,
    encoder: &Encoder,
    precision: Precision,
) -> anyhow::Result<Option<Arc<AdapterModel>>> {
    let load = |dir: &Path| AdapterBank::beside(encoder)?.in_precision(precision).load(dir);
    if let Some(dir) = &options.adapter {
        return Ok(Some(Arc::new(load(dir)?)));
    }
    let demo = Path::new(DEMO_ADAPTER);
    if !demo.exists() {
        return Ok(None);
    }
    let fits = AdapterFacts::read(demo)?.taxonomy == dataset.taxonomy().version();
    Ok(if fits { Some(Arc::new(load(demo)?)) } else { None })
}

/// Keeps what was fitted on dev for the stage, so that serving uses the same.
async fn keep(
    store: &Store,
    stage: &Stage,
    dataset: &Dataset,
    fitted: &categorize::Calibration,
    rows: usize,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let calibration = store::Calibration {
        engine: stage.fitted_for().to_owned(),
        taxonomy: dataset.taxonomy().version().to_owned(),
        target: stage.target,
        parameters: serde_json::to_value(fitted)?,
        rows: i32::try_from(rows)?,
        fitted_on: format!("{}/dev", data_set(dataset)),
        fitted_at: now,
    };
    Ok(store.put_calibration(&calibration).await?)
}

/// The peers' answers on the files that our stages were scored on.
fn score_peers(dir: &Path, scores: &[FileScore], dataset: &Dataset) -> anyhow::Result<Vec<FileScore>> {
    let mut seen = Vec::new();
    let mut scored = Vec::new();
    for ours in scores {
        if seen.contains(&&ours.file) {
            continue;
        }
        seen.push(&ours.file);
        for peer in peers::find(dir, &ours.file)? {
            scored.push(peers::score(&peer, ours, dataset.taxonomy())?);
        }
    }
    Ok(scored)
}

pub(super) fn rows_bar(rows: Option<usize>, what: &str) -> ProgressBar {
    let (bar, template) = match rows {
        Some(rows) => (ProgressBar::new(rows as u64), "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}"),
        None => (ProgressBar::no_length(), "{msg} {spinner} {human_pos} rows {per_sec}"),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
}
