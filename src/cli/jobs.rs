//! `txcat jobs`: what waits, what is being worked on, what failed; and what begins by the clock.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{Settings, service::with_store};
use crate::{
    clock,
    jobs::Cron,
    store::{Job, JobFilter, Store},
};

/// Next times of a cron line that are shown.
const TIMES: usize = 3;

/// What cron lines look like.
const LINES: &str = "\
A line begins a recategorization: five fields of time in UTC as cron has them, the task, options, and in braces what to look
at and why. Without apply:true it is previewed only; with it, applied where the guards allow that.

  # doubtful answers of the last month, every night at 02:30; made up for within six hours
  30 2 * * * recategorize ?id=doubtful&fill=6h {scope:{below_confidence:0.8},last_days:30,reason:\"nightly\",apply:true}
  0 4 * * 0 recategorize ?id=all {scope:{everything:true},reason:\"weekly look\"}

What can't be begun is tried three times (?max=N says otherwise) and then stands among the jobs as failed: accounts, merchants,
categories and adapters of a line are looked up when it is due, and not by `txcat jobs cron`.

The scope is that of POST /v1/recategorizations; adapter:\"consumer@3\" has a registered adapter answer.";

/// What waits in the queue, what is being worked on, and what failed. A job that is done is gone: what it did stands with
/// its run (`txcat recategorize list`).
///
///   txcat jobs list
///   txcat jobs show 12
///   txcat jobs retry 12
///   txcat jobs cron nightly.cron
///
/// A job that fails is tried again, later and later; one that failed too often stays here until it is retried or
/// cancelled.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List jobs that are not done, in the order in which workers take them.
    List {
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Show one job, with why it failed.
    Show {
        /// Its number.
        job: i64,
        /// Print one JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Have a job that waits or failed done at once, as if it had never failed.
    Retry {
        /// Its number.
        job: i64,
    },
    /// Take a job out of the queue that no worker is at. The run that it was about stays as it is: `txcat recategorize
    /// cancel` gives that up.
    Cancel {
        /// Its number.
        job: i64,
    },
    /// Check a file of cron lines, and say when each is due next.
    #[command(after_long_help = LINES)]
    Cron {
        /// The file.
        #[arg(value_name = "FILE", env = "TXCAT_CRON")]
        file: PathBuf,
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `txcat jobs`.
///
/// # Errors
/// When there is no such job, a worker is at it, a cron line can't be understood, or the database can't be had.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    if let Action::Cron { file, json } = options.action {
        return cron(&Cron::load(&file)?, json);
    }
    with_store(settings, async |store| on(options.action, store).await).await
}

async fn on(action: Action, store: &Store) -> anyhow::Result<()> {
    match action {
        Action::List { limit, json } => list(&store.jobs(&JobFilter::default(), limit).await?, json),
        Action::Show { job, json } => show(&find(store, job).await?, json),
        Action::Retry { job } => {
            find(store, job).await?;
            ensure!(store.retry_job(job, clock::now()).await?, "a worker is at job {job}: there is nothing to retry");
            println!("job {job} waits for a worker");
            Ok(())
        }
        Action::Cancel { job } => {
            find(store, job).await?;
            ensure!(store.cancel_job(job).await?, "a worker is at job {job}: give up what it works on");
            println!("job {job} is taken out");
            Ok(())
        }
        Action::Cron { file, json } => cron(&Cron::load(&file)?, json),
    }
}

async fn find(store: &Store, id: i64) -> anyhow::Result<Job> {
    let found = store.jobs(&JobFilter { id: Some(id), ..JobFilter::default() }, 1).await?.pop();
    found.with_context(|| format!("there is no job {id}: it was never there, or is done"))
}

fn list(jobs: &[Job], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", json!({ "jobs": jobs }));
        return Ok(());
    }
    let mut table =
        table(&["job", "task", "about", "state", "priority", "begun", "due", "worker", "last failed because"]);
    for job in jobs {
        table.add_row([
            Cell::new(job.id).set_alignment(CellAlignment::Right),
            Cell::new(&job.task),
            Cell::new(job.queue.as_deref().unwrap_or_default()),
            Cell::new(job.state),
            Cell::new(job.priority).set_alignment(CellAlignment::Right),
            Cell::new(format!("{} of {}", job.attempts, job.max_attempts)),
            Cell::new(job.run_at.format("%Y-%m-%d %H:%M:%S")),
            Cell::new(job.worker.as_deref().unwrap_or_default()),
            Cell::new(job.last_error.as_deref().unwrap_or_default()),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn show(job: &Job, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string(job)?);
        return Ok(());
    }
    println!("job {} is {}: {} {}", job.id, job.state, job.task, job.payload);
    println!(
        "  asked for {}, due {}",
        job.created_at.format("%Y-%m-%d %H:%M:%S"),
        job.run_at.format("%Y-%m-%d %H:%M:%S")
    );
    println!("  begun {} of {} times, priority {}", job.attempts, job.max_attempts, job.priority);
    if let (Some(worker), Some(since)) = (&job.worker, job.locked_at) {
        println!("  {worker} is at it since {}", since.format("%Y-%m-%d %H:%M:%S"));
    }
    if let Some(why) = &job.last_error {
        println!("  it failed the last time: {why}");
    }
    Ok(())
}

fn cron(cron: &Cron, as_json: bool) -> anyhow::Result<()> {
    let entries = cron.entries(clock::now(), TIMES);
    if as_json {
        println!("{}", json!({ "cron": entries }));
        return Ok(());
    }
    let mut table = table(&["line", "what for", "then", "next (UTC)"]);
    for entry in entries {
        let next: Vec<String> = entry.next.iter().map(|at| at.format("%Y-%m-%d %H:%M").to_string()).collect();
        table.add_row([
            Cell::new(entry.id),
            Cell::new(entry.reason),
            Cell::new(if entry.applies { "applied within guards" } else { "previewed" }),
            Cell::new(if next.is_empty() { "not within a year".to_owned() } else { next.join("\n") }),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}
