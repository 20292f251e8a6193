//! `txcat adapters evaluate`: an adapter and the champion on the same rows, through the promotion gate.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context, bail, ensure};
use indicatif::ProgressBar;

use super::registered::print_checks;
use crate::{
    access::LOCAL,
    adapters::{
        gate::{self, Answered, GateReport, Limits, Measured, p95},
        registry,
    },
    categorize::Stage,
    cli::{Settings, eval, labels::LabelChoice, models, service::share64},
    clock,
    domain::{AdapterState, Taxonomy, Transaction},
    enrich::Enricher,
    evaluate::{
        corpus::Corpus,
        dataset::Dataset,
        run::{self, Prepared},
        scored::FileScore,
    },
    model::AdapterBank,
    store::{NewAdapterGate, Store, StoredAdapter},
};

/// Draws the label choice's remainder and the resamples of intervals.
const SEED: u64 = 1;
/// Single rows that are timed.
const TIMED_ROWS: usize = 200;

/// Scores an adapter and its group's champion on the same labelled rows and judges: target, better or worse
/// than the champion (McNemar, and by merchants), categories that fall, calibration, latency. Files that the adapter was
/// trained or chosen on are no evidence: the gate stays shut by them. The report is kept; `promote` asks for it. Exits with 1
/// where the gate is shut on the way to a canary.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// Which adapter.
    #[arg(value_name = "REFERENCE")]
    pub reference: String,

    /// The data set's folder: categories.csv, pool, dev and test_* as .csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Which labels accounts' histories may know.
    #[command(flatten)]
    pub choice: LabelChoice,

    /// Files to score, separated by commas; the tracker counts how often each was. [default: the test files, or dev
    /// where there is none]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub files: Vec<String>,

    /// What the lower end of the accuracy's 95 % interval must reach.
    #[arg(long, value_parser = share64, default_value_t = Limits::default().target)]
    pub target: f64,

    /// Longest time in milliseconds that 95 % of single rows may take.
    #[arg(long, default_value_t = Limits::default().most_p95_ms)]
    pub p95_ms: f64,

    /// Highest expected calibration error.
    #[arg(long, default_value_t = Limits::default().most_ece)]
    pub ece: f64,

    /// Print one JSON object instead of sentences.
    #[arg(long)]
    pub json: bool,
}

impl Evaluate {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let json = self.json;
        let (adapter, report) = self.measure(settings, store).await?;
        if json {
            println!("{}", serde_json::json!({ "adapter": adapter.reference(), "report": report }));
        } else {
            println!("{}:", adapter.reference());
            print_checks(&report.checks);
            tell_next(&adapter, &report);
        }
        let shut = gate::shut(&report.checks, AdapterState::Canary);
        ensure!(shut.is_empty(), "the gate is shut: {} of {} checks failed", shut.len(), report.checks.len());
        Ok(())
    }

    /// Measures, and stores the report.
    pub(super) async fn measure(
        self,
        settings: &Settings,
        store: &Store,
    ) -> anyhow::Result<(StoredAdapter, GateReport)> {
        let started_at = clock::now();
        let adapter = registry::find(store, &self.reference).await?;
        let dataset = Dataset::open(&self.data)?;
        let taxonomy = Arc::clone(dataset.taxonomy());
        if adapter.taxonomy != taxonomy.version() {
            bail!(
                "{} answers in {}, and the data set's categories are {}",
                adapter.reference(),
                adapter.taxonomy,
                taxonomy.version()
            );
        }
        let champion =
            store.adapters(Some(taxonomy.version())).await?.into_iter().find(|other| {
                other.is_champion_of(taxonomy.version(), &adapter.account_group) && other.id != adapter.id
            });
        let bank = AdapterBank::open(&models::pull(settings, None).await?)?.in_precision(settings.compute.precision);
        let ours = stage(store, &bank, &adapter, &taxonomy, self.target).await?;
        let sources: HashMap<String, String> = serde_json::from_value(adapter.facts["sources"].clone())?;
        let theirs = match &champion {
            Some(champion) => Some(stage(store, &bank, champion, &taxonomy, self.target).await?),
            None => None,
        };
        let bar = ProgressBar::new_spinner().with_message("reading");
        let corpus = tokio::task::block_in_place(|| {
            Corpus::read(&dataset, self.choice.choice(SEED)?, || bar.inc(1)).map_err(anyhow::Error::from)
        })?;
        let merchants = Enricher::open(store.clone()).await?.merchants().await?;
        let (mut answered, mut names, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let mut learned_from = Vec::new();
        let mut files = self.files.clone();
        if files.is_empty() {
            files.extend(dataset.tests().map(|file| file.name.clone()));
        }
        if files.is_empty() {
            files.push("dev".to_owned());
        }
        for name in &files {
            let file = dataset.file(name)?;
            let digest = hex::encode(file.sha256()?);
            if sources.values().any(|source| *source == digest) {
                learned_from.push(name.clone());
            }
            let prepared = Prepared::read(&dataset, file, &corpus, |row: &Transaction| merchants.of(row))?;
            bar.set_message(format!("scoring {name}"));
            let ours_on = self.score(&ours, &prepared, &corpus, &dataset, store, started_at).await?;
            let theirs_on = match &theirs {
                Some(theirs) => Some(self.score(theirs, &prepared, &corpus, &dataset, store, started_at).await?),
                None => None,
            };
            for (place, item) in ours_on.items.iter().enumerate() {
                let champion = theirs_on.as_ref().map(|theirs| theirs.items[place].scored.correct());
                answered.push(Answered { adapter: item.scored, champion, key: item.key.as_str().to_owned() });
            }
            for row in prepared.enriched.iter().take(TIMED_ROWS) {
                let begun = Instant::now();
                ours.categorize(std::slice::from_ref(row)).await?;
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            names.push(format!("{}/{name}", eval::data_set(&dataset)));
        }
        bar.finish_and_clear();
        ensure!(!answered.is_empty(), "there are no rows");
        let categories: Vec<String> = taxonomy.assignable().iter().map(|category| category.slug.to_string()).collect();
        let limits = Limits { target: self.target, most_p95_ms: self.p95_ms, most_ece: self.ece, ..Limits::default() };
        let p95_ms = p95(&mut times);
        let measured = Measured { answered: &answered, categories: &categories, learned_from: &learned_from, p95_ms };
        let report = gate::judge(measured, limits, SEED);
        let gate = NewAdapterGate {
            adapter_id: adapter.id,
            champion_id: champion.map(|champion| champion.id),
            data_set: names.join(", "),
            rows: i32::try_from(answered.len())?,
            passed: report.passed(),
            report: serde_json::to_value(&report)?,
            made_by: LOCAL.to_owned(),
            made_at: clock::now(),
        };
        store.insert_gate(&gate).await?;
        Ok((adapter, report))
    }

    /// One stage on one file, kept in the tracker.
    async fn score(
        &self,
        stage: &Stage,
        prepared: &Prepared,
        corpus: &Corpus,
        dataset: &Dataset,
        store: &Store,
        started_at: chrono::DateTime<chrono::Utc>,
    ) -> anyhow::Result<FileScore> {
        let answers = run::answer(stage, prepared, corpus, dataset.taxonomy(), |_| {}).await?;
        let score = answers.score_at(stage.acceptance.unwrap_or_default()).context("there are no rows")?;
        let digest = dataset.file(&score.file)?.sha256()?;
        let made = eval::Made {
            started_at,
            peer: false,
            label_budget: self.choice.label_budget,
            labels: corpus.labels.digest(),
            file_sha256: digest,
        };
        let (run, items) = eval::to_store(&score, dataset, &made)?;
        store.insert_run(&run, &items).await?;
        Ok(score)
    }
}

async fn stage(
    store: &Store,
    bank: &AdapterBank,
    adapter: &StoredAdapter,
    taxonomy: &Taxonomy,
    target: f64,
) -> anyhow::Result<Stage> {
    let model = Arc::new(registry::open(store, bank, adapter).await?);
    Ok(Stage::of_adapter("adapter", target, taxonomy, model)?)
}

/// Which way is open now.
pub(super) fn tell_next(adapter: &StoredAdapter, report: &GateReport) {
    let reference = adapter.reference();
    let open = |to| gate::shut(&report.checks, to).is_empty();
    if open(AdapterState::Champion) {
        println!("the gate is open: txcat adapters promote {reference} --to canary --share 0.1, then --to champion");
    } else if open(AdapterState::Canary) {
        println!(
            "open for a canary, which brings evidence: txcat adapters promote {reference} --to canary --share 0.1"
        );
    } else if adapter.state == AdapterState::Candidate {
        println!("the gate is shut; a shadow harms nobody: txcat adapters promote {reference} --to shadow --share 0.1");
    } else {
        println!("the gate is shut: {reference} stays {}", adapter.state);
    }
}
