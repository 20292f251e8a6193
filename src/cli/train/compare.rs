//! `txcat train compare`: every way to fine-tune on the same rows, each in a process of its own, so
//! that its memory is its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail, ensure};
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde::Serialize;

use super::{Outcome, Source, megabytes};
use crate::{
    cli::{Settings, models, service::asked_to_stop},
    evaluate::{
        metrics::{Share, wilson},
        report::percent,
    },
    model::{Method, method::METHODS},
};

/// Trains by every method on the same rows, and prints what each costs and reaches.
///
/// Without the wide part, unless asked for, so that the method is what differs. Accuracy is on dev, which
/// also chose the pass, so it flatters all of them alike; its interval is Wilson's at 95 %. Time is that
/// of the passes over the rows; memory is the most that the method's own process held.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Which labels.
    #[command(flatten)]
    pub source: Source,

    /// Which methods, separated by commas. [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub methods: Vec<Method>,

    /// Most passes over the rows; the head alone, whose passes cost nothing, keeps its own.
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,

    /// Rank of the LoRA difference.
    #[arg(long, default_value_t = 16)]
    pub rank: usize,

    /// Train the wide part beside each.
    #[arg(long)]
    pub wide: bool,

    /// Keep the adapters, each in a folder of its method's name. [default: they are thrown away]
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// What LoRA is said to reach of full fine-tuning, and at which share of its cost.
const CLAIM: (f64, f64) = (0.95, 0.10);

/// What is printed.
#[derive(Debug, Serialize)]
struct Comparison {
    wide_part: bool,
    methods: Vec<Line>,
    claim: Claim,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    outcome: Outcome,
    accuracy: Option<Share>,
    samples_per_s: f64,
    /// Absent without full fine-tuning to compare with.
    of_full: Option<Ratios>,
}

/// Shares of what full fine-tuning reaches and costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Ratios {
    accuracy: f64,
    time: f64,
    /// Of the memory that training adds to what the program and the rows hold.
    memory: Option<f64>,
    trained: f64,
    bytes: f64,
}

#[derive(Debug, Serialize)]
struct Claim {
    accuracy: f64,
    cost: f64,
}

/// Runs `txcat train compare`.
///
/// # Errors
/// When a training fails, or somebody ends it.
pub async fn run(options: &Options, settings: &Settings) -> anyhow::Result<()> {
    models::pull(settings, None).await?;
    let temporary = tempfile::tempdir()?;
    let dir = options.keep.as_deref().unwrap_or(temporary.path());
    let methods = if options.methods.is_empty() { METHODS.to_vec() } else { options.methods.clone() };
    // Ended by a signal at once, this process would leave the training that is under way behind.
    let stop = asked_to_stop()?;
    let mut outcomes = Vec::new();
    for method in methods {
        eprintln!("{method}:");
        outcomes.push(tokio::select! {
            outcome = options.outcome(method, dir, settings) => outcome?,
            () = stop.cancelled() => bail!("ended while {method} was trained"),
        });
    }
    let full = outcomes.iter().find(|outcome| outcome.method == Method::Full).cloned();
    let comparison = Comparison {
        wide_part: options.wide,
        methods: outcomes.into_iter().map(|outcome| Line::new(outcome, full.as_ref())).collect(),
        claim: Claim { accuracy: CLAIM.0, cost: CLAIM.1 },
    };
    if options.json {
        println!("{}", serde_json::to_string(&comparison)?);
    } else {
        comparison.print();
    }
    Ok(())
}

impl Options {
    /// Trains in a child process of the same program, which is killed where this is dropped.
    async fn outcome(&self, method: Method, dir: &Path, settings: &Settings) -> anyhow::Result<Outcome> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.arg("--models-dir").arg(&settings.models.dir);
        if let Some(name) = &settings.models.encoder {
            command.arg("--encoder").arg(name);
        }
        if let Some(dir) = &settings.models.encoder_dir {
            command.arg("--encoder-dir").arg(dir);
        }
        command.args(["train", "--json", "--method", method.name()]);
        command.arg("--out").arg(dir.join(method.name())).arg("--data").arg(&self.source.data);
        for (name, path) in [
            ("--labels", &self.source.labels),
            ("--lexicon", &self.source.lexicon),
            ("--manifest", &self.source.manifest),
        ] {
            if let Some(path) = path {
                command.arg(name).arg(path);
            }
        }
        if let Some(reason) = &self.source.without_check {
            command.args(["--without-check", reason]);
        }
        command.args(["--label-budget", &self.source.label_budget.to_string()]);
        command.args(["--seed", &self.source.seed.to_string(), "--rank", &self.rank.to_string()]);
        if method != Method::Head {
            command.args(["--epochs", &self.epochs.to_string()]);
        }
        command.args(self.source.plain_text.then_some("--plain-text"));
        command.args((!self.wide).then_some("--no-wide"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let output = command.spawn()?.wait_with_output().await?;
        ensure!(output.status.success(), "training by {method} failed: {}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("training by {method} gave no outcome"))
    }
}

impl Line {
    fn new(outcome: Outcome, full: Option<&Outcome>) -> Self {
        let right = (outcome.dev.accuracy * outcome.dev.rows as f64).round() as usize;
        Self {
            accuracy: wilson(right, outcome.dev.rows),
            samples_per_s: outcome.rows as f64 / outcome.seconds.max(f64::MIN_POSITIVE),
            of_full: full.map(|full| Ratios::new(&outcome, full)),
            outcome,
        }
    }
}

impl Ratios {
    fn new(outcome: &Outcome, full: &Outcome) -> Self {
        let added = |of: &Outcome| Some(of.peak_memory?.saturating_sub(of.memory_before?) as f64);
        Self {
            accuracy: outcome.dev.accuracy / full.dev.accuracy,
            time: outcome.seconds / full.seconds,
            memory: added(outcome).zip(added(full)).map(|(ours, theirs)| ours / theirs),
            trained: outcome.trained as f64 / full.trained as f64,
            bytes: outcome.bytes as f64 / full.bytes as f64,
        }
    }
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

impl Comparison {
    fn print(&self) {
        println!("{}", self.table());
        println!(
            "{}",
            if self.wide_part {
                "With the wide part."
            } else {
                "Without the wide part (--no-wide): the method is what differs."
            }
        );
        println!(
            "Accuracy on dev, which also chose the pass: it flatters. Memory: the most held, and of it before training."
        );
        let ratios = self.methods.iter().filter(|line| line.outcome.method != Method::Full);
        for (line, of) in ratios.filter_map(|line| Some((line, line.of_full?))) {
            println!("{}", sentence(line.outcome.method, of));
        }
        println!(
            "Claimed of LoRA: {:.0} % of full fine-tuning's accuracy at {:.0} % of its cost.",
            CLAIM.0 * 100.0,
            CLAIM.1 * 100.0
        );
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY).set_header([
            "method",
            "accuracy on dev",
            "95 % interval",
            "samples/s",
            "seconds",
            "MB of memory",
            "of it before",
            "numbers trained",
            "MB on disk",
        ]);
        for line in &self.methods {
            let of = &line.outcome;
            let interval = line.accuracy.map(|share| format!("{} – {}", percent(share.low), percent(share.high)));
            let memory =
                |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{:.0}", megabytes(bytes)));
            table.add_row([
                Cell::new(of.method.name()),
                right(percent(of.dev.accuracy)),
                right(interval.unwrap_or_default()),
                right(format!("{:.1}", line.samples_per_s)),
                right(format!("{:.1}", of.seconds)),
                right(memory(of.peak_memory)),
                right(memory(of.memory_before)),
                right(of.trained.to_string()),
                right(format!("{:.1}", megabytes(of.bytes))),
            ]);
        }
        table
    }
}

fn sentence(method: Method, of: Ratios) -> String {
    let memory = of
        .memory
        .map_or_else(String::new, |memory| format!(", {} % of the memory that training adds", percent(memory)));
    format!(
        "{method} reaches {} % of full's accuracy in {} % of its time{memory}, with {} % of the numbers trained and {} % of the disk.",
        percent(of.accuracy),
        percent(of.time),
        percent(of.trained),
        percent(of.bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::train::DevMetrics;

    fn outcome(method: Method, accuracy: f64, seconds: f64, peak: u64) -> Outcome {
        Outcome {
            method,
            labels: 100,
            rows: 300,
            seconds,
            trained: 1_000,
            bytes: 4_000_000,
            peak_memory: Some(peak),
            memory_before: Some(100_000_000),
            best_epoch: 3,
            dev: DevMetrics { rows: 200, accuracy, ..DevMetrics::default() },
        }
    }

    #[test]
    fn shares_of_full_fine_tuning_are_of_the_same_figure() {
        let full = outcome(Method::Full, 0.9, 40.0, 900_000_000);
        let line = Line::new(outcome(Method::Lora, 0.855, 10.0, 300_000_000), Some(&full));
        let of = line.of_full.unwrap();
        assert!((of.accuracy - 0.95).abs() < 1e-9 && (of.time - 0.25).abs() < 1e-9, "{of:?}");
        assert_eq!(of.memory, Some(0.25), "what was held before training counts for neither");
        assert!((line.samples_per_s - 30.0).abs() < 1e-9 && line.accuracy.unwrap().low < 0.855);
        let said = sentence(Method::Lora, of);
        assert!(said.starts_with("lora reaches 95.0 % of full's accuracy in 25.0 % of its time"), "{said}");
        assert_eq!(Line::new(full, None).of_full, None);
    }
}
