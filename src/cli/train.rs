//! `txcat train`: a LoRA adapter and its side parts, from a data set's bought labels.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, bail};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Settings, models};
use crate::{
    domain::{Descriptor, EnrichedTransaction, Enrichment, Slug, Taxonomy, Transaction, TransactionId},
    enrich::MerchantIndex,
    evaluate::{
        corpus::Corpus,
        dataset::{Dataset, Row},
        labels::Choice,
    },
    model::{
        AdapterInput, Labelled, Naming,
        folder::LABELS,
        lora::{LoraOptions, TARGETS, Target},
        optim::Decay,
        train::{Progress, TrainOptions, TrainRows, train},
        wide::WideOptions,
    },
};

/// Trains an adapter on a data set's bought labels. Opens its pool and dev, and no test file.
///
/// Ctrl-C ends the training early: the best adapter so far is calibrated and saved.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The data set's folder: categories.csv, pool and dev as .csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// The adapter's folder; what stood there is replaced.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// How many labels of the pool may be looked at.
    #[arg(long, value_name = "N", default_value_t = 12_000)]
    pub label_budget: usize,

    /// Look at the labels of these rows instead: one id a line, at most --label-budget.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// A lexicon (CSV: term, category, weight): terms that hint at a category, as weak rows and as features.
    #[arg(long, value_name = "FILE")]
    pub lexicon: Option<PathBuf>,

    /// Let the encoder read the descriptor, amount and direction only.
    #[arg(long)]
    pub plain_text: bool,

    /// Rank of the LoRA difference.
    #[arg(long, default_value_t = 16)]
    pub rank: usize,

    /// Its scale is alpha / rank.
    #[arg(long, default_value_t = 32.0)]
    pub alpha: f32,

    /// Share of a layer's inputs dropped on the way into the difference.
    #[arg(long, default_value_t = 0.05)]
    pub dropout: f32,

    /// Linear layers that get a difference. [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub targets: Vec<Target>,

    /// Most passes over the rows; 0 trains the side parts alone.
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,

    /// Rows in one step.
    #[arg(long, default_value_t = 32)]
    pub batch: usize,

    /// Learning rate of the difference.
    #[arg(long, default_value_t = 1e-3)]
    pub learning_rate: f32,

    /// Learning rate of the head.
    #[arg(long, default_value_t = 3e-3)]
    pub head_learning_rate: f32,

    /// How the learning rate falls after the warm-up.
    #[arg(long, value_enum, default_value_t = Decay::Linear)]
    pub decay: Decay,

    /// Share of the steps in which the learning rate rises.
    #[arg(long, default_value_t = 0.06)]
    pub warmup: f32,

    /// Weight of a category: its rows to the power of minus this. 0 is none, 1 makes all equal.
    #[arg(long, default_value_t = 0.0)]
    pub class_weighting: f32,

    /// Passes without a better dev accuracy before training ends.
    #[arg(long, default_value_t = 2)]
    pub patience: usize,

    /// Leave the wide part out: encoder and head alone.
    #[arg(long)]
    pub no_wide: bool,

    /// Accuracy that accepted answers shall have on dev.
    #[arg(long, default_value_t = 0.92)]
    pub target: f64,

    /// Seeds everything random, the choice of labels included.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Runs `txcat train`.
///
/// # Errors
/// When the data set can't be read, the encoder can't be had, or the folder can't be written.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let base = models::pull(settings, None).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("ending early: the best so far is calibrated and saved");
            asked.store(true, Ordering::Relaxed);
        }
    });
    let facts = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let Prepared { rows, naming } = prepare(&options)?;
        println!(
            "{} labelled rows, {} lexicon terms, {} unlabelled texts; {} dev rows",
            rows.rows.len(),
            rows.terms.len(),
            rows.texts.len(),
            rows.dev.len()
        );
        let started = std::time::Instant::now();
        let bar = ProgressBar::new(0);
        bar.set_style(
            ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} rows {per_sec} eta {eta}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let mut encoder_took = None;
        let mut told = 0;
        let mut show = |step: Progress| match step {
            Progress::Rows { done, total, loss } => {
                // Where no bar is drawn, a line for every tenth.
                if bar.is_hidden() && done * 10 / total.max(1) > told {
                    told = done * 10 / total.max(1);
                    println!("{done} of {total} rows, loss {loss:.3}");
                }
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(format!("loss {loss:.3}"));
            }
            Progress::Epoch { epoch, dev_accuracy } => {
                bar.suspend(|| {
                    println!("epoch {epoch}: the encoder alone is right on {:.2} % of dev", dev_accuracy * 100.0);
                });
            }
            Progress::Wide => {
                encoder_took = Some((started.elapsed(), bar.position()));
                bar.set_message("wide part");
            }
            Progress::Calibrating => bar.set_message("calibrating"),
        };
        let trained = train(&base, &rows, naming.categories.len(), &options.train_options(), &mut show, &stop)?;
        bar.finish_and_clear();
        if let Some((took, done)) = encoder_took.filter(|(_, done)| *done > 0) {
            let rate = done as f64 / took.as_secs_f64();
            println!("encoder: {done} rows in {} ({rate:.1} rows/s, dev included)", HumanDuration(took));
        }
        Ok(trained.save(&options.out, naming)?)
    })
    .await??;
    let dev = &facts.dev;
    println!("{} saved; on dev ({} rows):", facts.name, dev.rows);
    println!("  right: {:.2} %", dev.accuracy * 100.0);
    println!("  encoder and head alone: {:.2} %", dev.encoder_accuracy * 100.0);
    if let Some(wide) = dev.wide_accuracy {
        println!("  wide part alone: {:.2} %", wide * 100.0);
    }
    for (keys, weights, threshold) in [
        ("known", facts.fusion.known, facts.acceptance.known),
        ("unknown", facts.fusion.unknown, facts.acceptance.unknown),
    ] {
        let accepted = threshold.map_or_else(|| "none accepted".to_owned(), |at| format!("accepted from {at:.3} on"));
        println!(
            "  {keys} keys: weights of the encoder and of the wide part {:.2}, {:.2}; {accepted}",
            weights.encoder, weights.wide
        );
    }
    println!("  accepted at {:.0} % right: {:.1} % of the rows", facts.training.target * 100.0, dev.coverage * 100.0);
    Ok(())
}

impl Options {
    fn train_options(&self) -> TrainOptions {
        let targets = if self.targets.is_empty() { TARGETS.to_vec() } else { self.targets.clone() };
        TrainOptions {
            lora: LoraOptions { rank: self.rank, alpha: self.alpha, dropout: self.dropout, targets },
            epochs: self.epochs,
            batch: self.batch.max(1),
            learning_rate: self.learning_rate,
            head_learning_rate: self.head_learning_rate,
            warmup: self.warmup,
            decay: self.decay,
            class_weighting: self.class_weighting,
            patience: self.patience.max(1),
            wide: (!self.no_wide).then(WideOptions::default),
            target: self.target,
            seed: self.seed,
            ..TrainOptions::default()
        }
    }

    fn choice(&self) -> anyhow::Result<Choice> {
        let Some(path) = &self.labels else {
            return Ok(Choice::Budget { budget: self.label_budget, seed: self.seed });
        };
        let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        let ids = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let ids: HashSet<TransactionId> = ids.map(str::parse).collect::<Result<_, _>>()?;
        if ids.len() > self.label_budget {
            bail!("{} names {} rows, and the budget is {}", path.display(), ids.len(), self.label_budget);
        }
        Ok(Choice::Listed(ids))
    }

    fn enrichment(&self) -> Enrichment {
        if self.plain_text { Enrichment::None } else { Enrichment::Full }
    }
}

struct Prepared {
    rows: TrainRows,
    naming: Naming,
}

/// Reads pool and dev, and buys the labels.
fn prepare(options: &Options) -> anyhow::Result<Prepared> {
    let dataset = Dataset::open(&options.data)?;
    let taxonomy = Arc::clone(dataset.taxonomy());
    let bar = ProgressBar::new_spinner().with_message("reading");
    let corpus = Corpus::read(&dataset, options.choice()?, || bar.inc(1))?;
    let mut seen = HashSet::new();
    let mut texts = Vec::new();
    for transaction in dataset.transactions(dataset.file("pool")?)? {
        let descriptor = transaction?.descriptor;
        if seen.insert(descriptor.raw().to_lowercase()) {
            texts.push(AdapterInput::of_descriptor(&descriptor));
        }
    }
    let dev: Vec<Row> = dataset.rows(dataset.file("dev")?)?.collect::<Result<_, _>>()?;
    let terms = options.lexicon.as_deref().map(|path| lexicon(path, &taxonomy)).transpose()?.unwrap_or_default();
    bar.finish_and_clear();

    // The merchants that serving and evaluation start from.
    let merchants = MerchantIndex::shipped();
    let enrich = |row: &Transaction| -> EnrichedTransaction { corpus.timelines.enriched(row, |row| merchants.of(row)) };
    let labelled = |row: &Row, weight: f32| Labelled {
        input: AdapterInput::of(&enrich(&row.transaction), options.enrichment()),
        class: taxonomy.index_of(&row.category).unwrap_or_default(),
        weight,
    };
    let weight = |row: &Row| corpus.labels.weights.get(&row.transaction.id).copied().unwrap_or(1.0);
    let rows = TrainRows {
        rows: corpus.rows.iter().map(|row| labelled(row, weight(row))).collect(),
        terms,
        dev: dev.iter().map(|row| labelled(row, 1.0)).collect(),
        texts,
    };
    let mut sources = BTreeMap::from([(LABELS.to_owned(), corpus.labels.digest())]);
    for name in ["pool", "dev"] {
        sources.insert(format!("{name} of the data set"), hex::encode(dataset.file(name)?.sha256()?));
    }
    if let Some(path) = &options.lexicon {
        let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        sources.insert("lexicon".to_owned(), hex::encode(Sha256::digest(bytes)));
    }
    let folder = options.data.canonicalize().unwrap_or_else(|_| options.data.clone());
    let naming = Naming {
        data: format!(
            "{} labels of the data set `{}`",
            rows.rows.len(),
            folder.file_name().unwrap_or_default().to_string_lossy()
        ),
        taxonomy: taxonomy.version().to_owned(),
        enrichment: options.enrichment(),
        categories: taxonomy.assignable().iter().map(|category| category.slug.to_string()).collect(),
        sources,
    };
    Ok(Prepared { rows, naming })
}

#[derive(Deserialize)]
struct Term {
    term: String,
    category: Slug,
    weight: f32,
}

/// Reads a lexicon; terms of categories that the taxonomy doesn't have are passed over.
fn lexicon(path: &Path, taxonomy: &Taxonomy) -> anyhow::Result<Vec<Labelled>> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .with_context(|| format!("can't read {}", path.display()))?;
    let mut terms = Vec::new();
    for term in csv::Reader::from_reader(text.as_bytes()).deserialize() {
        let Term { term, category, weight } = term.with_context(|| path.display().to_string())?;
        if let (Some(class), Ok(descriptor)) = (taxonomy.index_of(&category), Descriptor::parse(&term)) {
            terms.push(Labelled { input: AdapterInput::of_descriptor(&descriptor), class, weight });
        }
    }
    Ok(terms)
}
