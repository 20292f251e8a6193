//! `txcat bench`: how fast this machine computes, and how fast it trains.

mod train;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::builder::RangedU64ValueParser;

use super::{Settings, models};
use crate::{
    config::Precision,
    domain::{Descriptor, EnrichedTransaction, Enrichment},
    http,
    model::{AdapterBank, AdapterInput, BaseEncoder, Format, bench::Bench, instructions_in_use},
};

/// More than any machine has cores.
const MOST_THREADS: u64 = 1_024;

/// Times the base encoder with a head of 20 categories, or a whole adapter, on the lines of a file.
///
/// Of the encoder alone, loading and cutting into tokens are outside the clock, and the last line says nothing but
/// the seconds (with --latency p50 and p99 in milliseconds), so that other engines can be measured beside it. An
/// adapter is timed from descriptor to category, and reads a text that a batch has twice once. `--precision` takes
/// `bf16`, or `f32`, the reference, instead of int8. Of a longer text the first 96 tokens are read.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Options {
    /// Time something else.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// What to compute.
    #[command(flatten)]
    pub forward: Option<Forward>,
}

/// What else can be timed.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Time one pass of training.
    Train(train::Train),
}

/// Rows through the encoder or an adapter.
#[derive(Debug, clap::Args)]
pub struct Forward {
    /// Descriptors, one a line.
    #[arg(long, value_name = "FILE")]
    pub texts: PathBuf,

    /// Lines to read, or with --bodies rows.
    #[arg(long, default_value_t = 512, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub rows: usize,

    /// Rows computed together.
    #[arg(long, default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub batch: usize,

    /// Put rows of like length together.
    #[arg(long, conflicts_with = "adapter")]
    pub sorted: bool,

    /// Time every row alone.
    #[arg(long)]
    pub latency: bool,

    /// Threads of the encoder. [default: all cores, and 1 with --latency]
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST_THREADS), conflicts_with = "adapter")]
    pub threads: Option<usize>,

    /// Time this adapter instead, from descriptor to category.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,

    /// The file's lines are bodies of `POST /v1/transactions`, whose rows are read as those of accounts and merchants that
    /// nobody knows: what a server with an empty database gives its adapter.
    #[arg(long, requires = "adapter")]
    pub bodies: bool,
}

/// Runs `txcat bench`.
///
/// # Errors
/// When the file, the encoder or the adapter can't be read.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    match options {
        Options { action: Some(Action::Train(train)), .. } => train.run(settings).await,
        Options { forward: Some(forward), .. } => self::forward(forward, settings).await,
        Options { .. } => bail!("--texts is missing"),
    }
}

async fn forward(options: Forward, settings: &Settings) -> anyhow::Result<()> {
    let text =
        std::fs::read_to_string(&options.texts).with_context(|| format!("can't read {}", options.texts.display()))?;
    let texts: Vec<String> = text.lines().take(options.rows).map(str::to_owned).collect();
    ensure!(!texts.is_empty(), "{} is empty", options.texts.display());
    let base = models::pull(settings, None).await?;
    match &options.adapter {
        Some(dir) => {
            let adapter = AdapterBank::open(&base)?.in_precision(settings.compute.precision).load(dir)?;
            match adapter.format() {
                Some(format) => println!("{} in {format} on {}", adapter.facts().name, instructions_in_use()),
                None => println!("{} in f32", adapter.facts().name),
            }
            let inputs = inputs(&options, &texts, adapter.facts().enrichment)?;
            let mut times = Vec::new();
            for pass in 0..2 {
                times.clear();
                for batch in inputs.chunks(if options.latency { 1 } else { options.batch }) {
                    let batch = batch.to_vec();
                    let started = Instant::now();
                    adapter.classify(batch).await?;
                    times.push(started.elapsed());
                }
                tracing::debug!(pass, "a pass over all rows");
            }
            tell(&options, times, inputs.len());
            Ok(())
        }
        None => tokio::task::block_in_place(|| encoder(&options, &base, settings.compute.precision, &texts)),
    }
}

/// What an adapter reads of the lines.
fn inputs(options: &Forward, lines: &[String], enrichment: Enrichment) -> anyhow::Result<Vec<AdapterInput>> {
    if !options.bodies {
        return lines.iter().map(|text| Ok(AdapterInput::of_descriptor(&Descriptor::parse(text)?))).collect();
    }
    let mut inputs = Vec::with_capacity(options.rows);
    for body in lines {
        let rows = http::transactions(body)?.into_iter().map(EnrichedTransaction::bare);
        inputs.extend(rows.map(|row| AdapterInput::of(&row, enrichment)));
    }
    inputs.truncate(options.rows);
    ensure!(!inputs.is_empty(), "{} has bodies without a transaction", options.texts.display());
    Ok(inputs)
}

fn encoder(options: &Forward, base: &BaseEncoder, precision: Precision, texts: &[String]) -> anyhow::Result<()> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or_else(|| if options.latency { 1 } else { cores() });
    let format = match precision {
        Precision::F32 => None,
        Precision::Bf16 => Some(Format::Bf16),
        Precision::Auto | Precision::Int8 => Some(Format::Int8),
    };
    let mut bench = Bench::open(base, format, threads)?;
    let started = Instant::now();
    let mut rows = bench.tokens(texts)?;
    let cut = started.elapsed();
    if options.sorted {
        rows.sort_by_key(Vec::len);
    }
    let tokens: usize = rows.iter().map(Vec::len).sum();
    println!(
        "{}: {} rows of {:.1} tokens, cut in {:.1} ms",
        bench.engine(),
        rows.len(),
        tokens as f64 / rows.len() as f64,
        cut.as_secs_f64() * 1e3
    );
    let size = if options.latency { 1 } else { options.batch };
    for batch in rows.chunks(size).take(8) {
        bench.batch(batch);
    }
    // Before and after, because what else a machine does changes from one second to the next.
    let before = bench.peak();
    let mut times = Vec::with_capacity(rows.len().div_ceil(size));
    for batch in rows.chunks(size) {
        let started = Instant::now();
        std::hint::black_box(bench.batch(batch));
        times.push(started.elapsed());
    }
    if let (Some(before), Some(after), Some(operations)) = (before, bench.peak(), bench.operations()) {
        let peak = (before + after) / 2.0;
        let reached = (operations * tokens) as f64 / times.iter().sum::<Duration>().as_secs_f64();
        println!("{:.0} of {:.0} GOP/s: {:.0} % of the peak", reached / 1e9, peak / 1e9, reached / peak * 100.0);
    }
    tell(options, times, rows.len());
    Ok(())
}

/// Prints what the batches took; the last line is for programs.
fn tell(options: &Forward, mut times: Vec<Duration>, rows: usize) {
    let seconds = times.iter().sum::<Duration>().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    let unit = if options.latency { "row" } else { "batch" };
    println!("{:.0} rows/s; p50 {:.3} ms and p99 {:.3} ms a {unit}", rows as f64 / seconds, at(0.5), at(0.99));
    if options.latency {
        println!("{:.4} {:.4}", at(0.5), at(0.99));
    } else {
        println!("{seconds:.6}");
    }
}
