//! `txcat worker`: works on jobs until Ctrl-C or SIGTERM.

use std::{sync::Arc, time::Duration};

use clap::Args;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Settings, chat,
    serve::WATCH_EVERY,
    service::{Ready, Serving, asked_to_stop, with_store},
};
use crate::{
    config::Work,
    events::{Deliverer, Patience},
    jobs::{
        Cron, Hands,
        worker::{self, Options as How},
    },
    pipeline::Pipeline,
    store::Store,
};

/// How often a worker looks for jobs whose time has come.
const POLL: Duration = Duration::from_secs(1);

/// Works on jobs until Ctrl-C or SIGTERM: recategorizations that were asked for over HTTP or by a cron line, and endpoints
/// that are told of changes (`txcat webhooks`).
///
/// Start as many as you like, on any number of machines, with the same Postgres and the same stage; `txcat serve
/// --workers 0` then leaves the work to them. A run is taken up by one of them at a time and goes on where the last one
/// stopped: a worker that is killed is noticed after its lease, one that is told to stop hands its work back at once. What
/// a person asked for goes before what began by the clock.
///
///   txcat worker --concurrency 4 --cron nightly.cron
///   txcat jobs list
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// Jobs at a time.
    #[arg(long, env = "TXCAT_CONCURRENCY", value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,

    /// How jobs are worked on.
    #[command(flatten)]
    pub work: Work,

    /// Which stage answers.
    #[command(flatten)]
    pub serving: Serving,
}

/// Runs `txcat worker`.
///
/// # Errors
/// When the database or the stage can't be had, or a cron line can't be understood.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    chat::check(settings)?;
    cron(&options.work)?;
    with_store(settings, async |store| work(&options, settings, store).await).await
}

async fn work(options: &Options, settings: &Settings, store: &Store) -> anyhow::Result<()> {
    let Ready { pipeline, taxonomy, roster } = options.serving.pipeline(settings, store).await?;
    let pipeline = Arc::new(pipeline);
    let every = Duration::from_secs(WATCH_EVERY);
    let mut beside = Ready::keep_fresh(roster, &taxonomy, &pipeline, store, every);
    let stop = asked_to_stop()?;
    let worker = beside_it(options.concurrency.into(), &options.work, store, &pipeline, &stop)?;
    eprintln!("txcat works on {} jobs at a time, with {}", options.concurrency, pipeline.lineup().engines().join(", "));
    worker.await?;
    beside.shutdown().await;
    pipeline.settle().await;
    eprintln!("txcat: stopped");
    Ok(())
}

/// The cron lines that were named.
///
/// # Errors
/// When the file can't be read, or a line can't be understood.
pub(super) fn cron(work: &Work) -> anyhow::Result<Cron> {
    Ok(work.cron.as_deref().map(Cron::load).transpose()?.unwrap_or_default())
}

/// A worker in the background, which ends when `stop` is cancelled; none works on no job.
///
/// # Errors
/// When a cron line can't be understood, or no HTTP client can be had.
pub(super) fn beside_it(
    concurrency: usize,
    work: &Work,
    store: &Store,
    pipeline: &Arc<Pipeline>,
    stop: &CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let how = How {
        concurrency,
        lease: Duration::from_secs(work.lease),
        drain: Duration::from_secs(work.drain),
        poll: POLL,
        cron: cron(work)?,
    };
    let deliverer = Deliverer::new(store.clone(), Patience::default())?;
    let hands = Hands { store: store.clone(), pipeline: Arc::clone(pipeline), deliverer, stop: stop.clone() };
    Ok(tokio::spawn(async move {
        if how.concurrency > 0 {
            worker::run(hands, how).await;
        }
    }))
}
