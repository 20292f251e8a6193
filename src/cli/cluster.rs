//! `txcat cluster`: this process as a part of a cluster.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use super::{Settings, models, service, service::DEMO_ADAPTER};
use crate::{
    cluster::{Engines, Executor, Scheduler},
    model::AdapterBank,
};

/// A cluster that categorizes folders of Parquet files: one scheduler, and an executor on each machine.
///
/// The scheduler splits files into tasks and gives a lost executor's to another one. An executor holds the adapters
/// that it is started with; a query names one by its content. Rows are read and answers written by executors, so they,
/// the scheduler and whoever asks must all see the same places: a shared disk, or S3 with each process's own AWS_…
/// environment. Ballista asks nobody who they are: keep its ports on a network of your own.
///
///   txcat cluster scheduler --listen 10.0.0.1:50050
///   txcat cluster executor --scheduler df://10.0.0.1:50050 --listen 10.0.0.2 --adapter models/adapters/mine
///   txcat recategorize --from s3://rows/2026 --to s3://answers/2026 --scheduler df://10.0.0.1:50050 \\
///       --adapter models/adapters/mine
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[expect(clippy::doc_markdown, reason = "--help prints it as it is")]
pub struct Options {
    /// Which part.
    #[command(subcommand)]
    pub part: Part,
}

/// Which part.
#[derive(Debug, clap::Subcommand)]
pub enum Part {
    /// Take queries and give their tasks to executors.
    Scheduler(SchedulerOptions),
    /// Read rows, ask adapters, write answers.
    Executor(ExecutorOptions),
}

/// The scheduler's settings.
#[derive(Debug, clap::Args)]
pub struct SchedulerOptions {
    /// Where it listens; with port 0 any free port, which is printed.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 50050)))]
    pub listen: SocketAddr,

    /// The name that executors call it by. [default: the address that it listens on]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// Executors without which GET /readyz answers 503.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub executors: usize,

    /// Seconds without a sign of life after which an executor counts as lost, and its tasks go to another one.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub lost_after: u64,
}

/// An executor's settings.
#[derive(Debug, clap::Args)]
pub struct ExecutorOptions {
    /// The scheduler that it works for.
    #[arg(long, env = "TXCAT_SCHEDULER", value_name = "URL")]
    pub scheduler: String,

    /// The folder of an adapter that may be asked for. May be repeated.
    #[arg(long, value_name = "DIR", default_value = DEMO_ADAPTER)]
    pub adapter: Vec<PathBuf>,

    /// The taxonomy of these adapters: a TOML file, or a data set's categories.csv. [default: the consumer taxonomy]
    #[arg(long, env = "TXCAT_TAXONOMY", value_name = "FILE")]
    pub taxonomy: Option<PathBuf>,

    /// The address that it listens on, with two free ports.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::from(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,

    /// The name that the others call it by. [default: the address that it listens on]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// Tasks at the same time. [default: one for each core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub tasks: Option<u16>,

    /// Seconds between two signs of life.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub sign_every: u64,

    /// Where parts of answers lie until they are written. [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
}

/// Runs `txcat cluster`.
///
/// # Errors
/// When the part can't be started, or ends by itself.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    match options.part {
        Part::Scheduler(SchedulerOptions { listen, host, executors, lost_after }) => {
            let scheduler = Scheduler { listen, host, executors, lost_after };
            Ok(scheduler.run(|address| println!("scheduler on df://{address}")).await?)
        }
        Part::Executor(options) => executor(options, settings).await,
    }
}

async fn executor(options: ExecutorOptions, settings: &Settings) -> anyhow::Result<()> {
    let taxonomy = service::taxonomy(options.taxonomy.as_deref())?;
    let base = models::pull(settings, None).await?;
    let bank = AdapterBank::open(&base)?.in_precision(settings.compute.precision);
    let engines = Arc::new(Engines::load(&bank, taxonomy, &options.adapter)?);
    println!("executor with {}", engines.names().join(", "));
    let temporary = tempfile::tempdir()?;
    let executor = Executor {
        scheduler: options.scheduler,
        listen: options.listen,
        host: options.host,
        tasks: match options.tasks {
            Some(tasks) => tasks.into(),
            None => std::thread::available_parallelism().map_or(1, Into::into),
        },
        sign_every: options.sign_every,
        work_dir: options.work_dir.unwrap_or_else(|| temporary.path().to_owned()),
    };
    let ended = executor.run(Arc::clone(&engines)).await;
    println!("answered {} rows", engines.answered());
    Ok(ended?)
}
