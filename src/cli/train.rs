//! `txcat train`: an adapter and its side parts, from a data set's bought labels.

pub mod compare;
mod source;
mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, bail};
use clap::builder::RangedU64ValueParser;
use indicatif::HumanDuration;
use serde::{Deserialize, Serialize};

pub(super) use self::{
    source::{LabelledRows, Prepared, Source, lexicon},
    watch::Watch,
};
use super::{
    Settings, memory, models,
    service::{not_all, positive, share, share64},
};
use crate::{
    evaluate::metrics,
    model::{
        AdapterFacts, BaseEncoder, Format, Method,
        facts::Effort,
        lora::{LoraOptions, TARGETS, Target},
        optim::Decay,
        replaceable,
        train::{DevMetrics, TrainOptions, train},
        wide::WideOptions,
    },
};

/// Trains an adapter on a data set's bought labels, or compares the ways to. Opens its pool and dev, and no test file.
///
/// Ctrl-C ends the training early: the best adapter so far is calibrated and saved.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Options {
    /// Compare instead.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Which labels. Beside the training, not in it: clap can't tell whether nested options are there.
    #[command(flatten)]
    pub source: Option<Source>,
    /// One training.
    #[command(flatten)]
    pub training: Option<Training>,
}

/// What else to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Train by every method on the same rows, and print what each costs and reaches.
    Compare(compare::Options),
}

/// One training.
#[derive(Debug, clap::Args)]
pub struct Training {
    /// The adapter's folder; an adapter that stood there is replaced.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// What trains: low-rank differences, the same on 4-bit weights, every weight, or the head alone.
    #[arg(long, value_enum, default_value_t = Method::Lora)]
    pub method: Method,

    /// Rank of the LoRA difference.
    #[arg(long, default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    pub rank: usize,

    /// Its scale is alpha / rank.
    #[arg(long, default_value_t = 32.0, value_parser = positive)]
    pub alpha: f32,

    /// Share of a layer's inputs dropped on the way into the difference.
    #[arg(long, default_value_t = 0.05, value_parser = not_all)]
    pub dropout: f32,

    /// Linear layers that get a difference. [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub targets: Vec<Target>,

    /// Most passes over the rows; 0 trains the side parts alone. [default: 3, and 40 of the head alone]
    #[arg(long)]
    pub epochs: Option<usize>,

    /// Rows in one step.
    #[arg(long, default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub batch: usize,

    /// Learning rate of what trains beside the head. [default: 0.001, and 0.0001 of every weight]
    #[arg(long, value_parser = positive)]
    pub learning_rate: Option<f32>,

    /// Learning rate of the head.
    #[arg(long, default_value_t = 3e-3, value_parser = positive)]
    pub head_learning_rate: f32,

    /// How the learning rate falls after the warm-up.
    #[arg(long, value_enum, default_value_t = Decay::Linear)]
    pub decay: Decay,

    /// Share of the steps in which the learning rate rises.
    #[arg(long, default_value_t = 0.06, value_parser = share)]
    pub warmup: f32,

    /// Weight of a category: its rows to the power of minus this. 0 is none, 1 makes all equal.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub class_weighting: f32,

    /// Passes without a better dev accuracy before training ends.
    #[arg(long, default_value_t = 2)]
    pub patience: usize,

    /// Multiply with the frozen weights in bf16, which is faster where the machine has instructions for it; for LoRA alone.
    #[arg(long)]
    pub bf16: bool,

    /// Leave the wide part out: encoder and head alone.
    #[arg(long)]
    pub no_wide: bool,

    /// Accuracy that accepted answers shall have on dev.
    #[arg(long, default_value_t = 0.92, value_parser = share64)]
    pub target: f64,

    /// Print one JSON object instead of sentences.
    #[arg(long)]
    pub json: bool,
}

/// What a training gave and cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it was trained.
    pub method: Method,
    /// Labelled rows.
    pub labels: usize,
    /// Rows that went through the encoder's or head's training, all passes together.
    pub rows: usize,
    /// How long those took: without reading, measuring on dev, the wide part and calibration.
    pub seconds: f64,
    /// Numbers that were trained, the wide part's not among them.
    pub trained: usize,
    /// Of the adapter's folder.
    pub bytes: u64,
    /// Most memory held while training; absent where the system doesn't say.
    pub peak_memory: Option<u64>,
    /// Memory held before training: the program and the rows.
    pub memory_before: Option<u64>,
    /// The pass that was kept.
    pub best_epoch: usize,
    /// Measured on dev.
    pub dev: DevMetrics,
}

/// Runs `txcat train`.
///
/// # Errors
/// When the data set can't be read, the encoder can't be had, or the folder can't be written.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    match options {
        Options { action: Some(Action::Compare(compare)), .. } => compare::run(&compare, settings).await,
        Options { source: Some(source), training: Some(training), .. } => training.run(source, settings).await,
        Options { .. } => bail!("--data and --out are missing"),
    }
}

/// Becomes true when somebody presses Ctrl-C.
pub(super) fn interrupted() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("ending early: the best so far is calibrated and saved");
            asked.store(true, Ordering::Relaxed);
        }
    });
    stop
}

impl Training {
    async fn run(self, source: Source, settings: &Settings) -> anyhow::Result<()> {
        let base = models::pull(settings, None).await?;
        let json = self.json;
        let outcome = self.fit(source, base, interrupted()).await?;
        if json {
            println!("{}", serde_json::to_string(&outcome)?);
        }
        Ok(())
    }

    /// Trains, saves, and says what came out, unless it is told as JSON.
    ///
    /// # Errors
    /// When the data set can't be read, or the folder can't be written.
    pub(super) async fn fit(self, source: Source, base: BaseEncoder, stop: Arc<AtomicBool>) -> anyhow::Result<Outcome> {
        tokio::task::spawn_blocking(move || self.fit_now(&source, &base, &stop)).await?
    }

    fn fit_now(&self, source: &Source, base: &BaseEncoder, stop: &AtomicBool) -> anyhow::Result<Outcome> {
        replaceable(&self.out)?;
        let Prepared { rows, mut naming } = source.prepare(!self.no_wide)?;
        let mut watch = Watch::new();
        watch.say(&format!(
            "{} labelled rows, {} lexicon terms, {} unlabelled texts; {} dev rows",
            rows.rows.len(),
            rows.terms.len(),
            rows.texts.len(),
            rows.dev.len()
        ));
        if self.bf16 && !Format::Bf16.is_fast() {
            watch.say("there are no instructions for bf16 here: the training is no faster than without --bf16");
        }
        let memory_before = memory::held();
        memory::forget_peak();
        let classes = naming.categories.len();
        let trained =
            train(base, &rows, classes, &self.train_options(source.seed), &mut |step| watch.show(step), stop)?;
        let peak_memory = memory::peak();
        let (done, took) = watch.end();
        naming.effort = Some(Effort { rows: done, seconds: took.as_secs_f64() });
        let facts = trained.save(&self.out, naming)?;
        let outcome = Outcome {
            method: self.method,
            labels: rows.rows.len(),
            rows: done,
            seconds: took.as_secs_f64(),
            trained: facts.trained,
            bytes: bytes_in(&self.out)?,
            peak_memory,
            memory_before,
            best_epoch: facts.best_epoch,
            dev: facts.dev,
        };
        if self.json {
            return Ok(outcome);
        }
        if done > 0 {
            let rate = done as f64 / outcome.seconds;
            println!("{}: {done} rows in {} ({rate:.1} rows/s)", self.method, HumanDuration(took));
        }
        tell(&facts, &outcome);
        Ok(outcome)
    }

    fn train_options(&self, seed: u64) -> TrainOptions {
        let targets = if self.targets.is_empty() { TARGETS.to_vec() } else { self.targets.clone() };
        TrainOptions {
            lora: LoraOptions { rank: self.rank, alpha: self.alpha, dropout: self.dropout, targets },
            epochs: self.epochs.unwrap_or(self.method.epochs()),
            batch: self.batch,
            learning_rate: self.learning_rate.unwrap_or(self.method.learning_rate()),
            head_learning_rate: self.head_learning_rate,
            warmup: self.warmup,
            decay: self.decay,
            class_weighting: self.class_weighting,
            patience: self.patience.max(1),
            wide: (!self.no_wide).then(WideOptions::default),
            target: self.target,
            seed,
            bf16: self.bf16,
            ..TrainOptions::of(self.method)
        }
    }
}

/// Megabytes, of a million bytes.
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Folders larger than this are said to be so: the wide part alone keeps below it.
const LARGE: u64 = 32_000_000;

/// What was measured on dev, in sentences.
fn tell(facts: &AdapterFacts, outcome: &Outcome) {
    tell_dev(facts);
    println!("  {} numbers trained, {:.1} MB on disk", outcome.trained, megabytes(outcome.bytes));
    if outcome.bytes > LARGE {
        println!("  larger than 32 MB: every weight's gain is stored");
    }
}

/// What was measured on dev.
pub(super) fn tell_dev(facts: &AdapterFacts) {
    let dev = &facts.dev;
    println!("{} saved; on dev ({} rows):", facts.name, dev.rows);
    let shown = |accuracy: f64| {
        let right = (accuracy * dev.rows as f64).round() as usize;
        let interval = metrics::wilson(right, dev.rows);
        let interval = interval.map(|of| format!(" (95 %: {:.2} – {:.2})", 100.0 * of.low, 100.0 * of.high));
        format!("{:.2} %{}", 100.0 * accuracy, interval.unwrap_or_default())
    };
    println!("  right: {}", shown(dev.accuracy));
    println!("  encoder and head alone: {}", shown(dev.encoder_accuracy));
    if let Some(wide) = dev.wide_accuracy {
        println!("  wide part alone: {}", shown(wide));
    }
    for (keys, weights, threshold) in [
        ("known", facts.fusion.known, facts.acceptance.known),
        ("unknown", facts.fusion.unknown, facts.acceptance.unknown),
    ] {
        let accepted = threshold.map_or_else(|| "none accepted".to_owned(), |at| format!("accepted from {at:.3} on"));
        if dev.wide_accuracy.is_some() {
            println!(
                "  {keys} keys: weights of the encoder and of the wide part {:.2}, {:.2}; {accepted}",
                weights.encoder, weights.wide
            );
        } else if keys == "unknown" {
            println!("  no key is known without the wide part; {accepted}");
        }
    }
    println!("  accepted at {:.0} % right: {:.1} % of the rows", facts.training.target * 100.0, dev.coverage * 100.0);
}

/// Bytes of a folder's files.
fn bytes_in(dir: &Path) -> anyhow::Result<u64> {
    let entries = fs::read_dir(dir).with_context(|| format!("can't read {}", dir.display()))?;
    entries.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use clap::error::ErrorKind;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(words: &str) -> Result<Options, clap::Error> {
        match Cli::try_parse_from(words.split(' '))?.command {
            Command::Train(options) => Ok(*options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn training_is_the_command_itself_and_comparing_a_subcommand() {
        let Options { action: None, source: Some(source), training: Some(training) } =
            parsed("txcat train --data d --out o --epochs 2").unwrap()
        else {
            panic!("no training")
        };
        assert_eq!((source.label_budget, training.method, training.epochs), (12_000, Method::Lora, Some(2)));
        assert_eq!(training.train_options(7), TrainOptions { epochs: 2, seed: 7, ..TrainOptions::default() });
        let bf16 = parsed("txcat train --data d --out o --bf16").unwrap().training.unwrap();
        assert!(bf16.train_options(7).bf16 && !training.train_options(7).bf16);
        let compared = parsed("txcat train compare --data d --methods lora,full").unwrap();
        assert!(matches!(compared.action, Some(Action::Compare(_))));
        for wrong in ["txcat train", "txcat train --data d", "txcat train --out o --data d compare --data d"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "--rank 0",
            "--alpha 0",
            "--dropout 1",
            "--batch 0",
            "--learning-rate=-1",
            "--head-learning-rate NaN",
            "--warmup 9",
            "--class-weighting=-0.5",
            "--target 7",
        ] {
            let refused = parsed(&format!("txcat train --data d --out o {wrong}")).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ValueValidation, "{wrong}");
        }
    }
}
