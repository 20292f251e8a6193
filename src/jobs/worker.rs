//! A worker: takes jobs out of the queue until it is told to stop.
//!
//! It lives as long as its heartbeats come. One that is killed is noticed after its lease, and its jobs are taken up by
//! another; one that loses the database begins again when the database is back.

use std::time::Duration;

use graphile_worker::{TaskHandler as _, Worker};

use super::{
    AGAIN, Cron, Hands,
    recategorization::{Recategorize, Step},
    webhooks::{self, Deliver},
};

/// Heartbeats in a lease: one may be late.
const HEARTBEATS: u32 = 5;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Jobs at a time.
    pub concurrency: usize,
    /// Without a heartbeat for so long, its jobs go to others.
    pub lease: Duration,
    /// How long jobs may go on once it shall stop; what takes longer is handed back.
    pub drain: Duration,
    /// How often it looks for jobs whose time has come; others are announced.
    pub poll: Duration,
    /// What begins by the clock.
    pub cron: Cron,
}

/// Works until the hands' `stop` is cancelled. While there is no database, it waits for one.
pub async fn run(hands: Hands, options: Options) {
    tokio::join!(jobs(&hands, &options), webhooks::announce(hands.clone()), free(&hands, options.lease));
}

/// Sees, once a lease, to queues and jobs that nobody would free.
async fn free(hands: &Hands, lease: Duration) {
    let mut looks = tokio::time::interval(lease);
    loop {
        tokio::select! {
            () = hands.stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        match hands.store.heartbeats_until_now(lease).await {
            Ok(0) => {}
            Ok(workers) => tracing::warn!(workers, "Heartbeats were yet to come: the clock was put back"),
            Err(error) => tracing::debug!(error = %error, "The workers could not be looked at"),
        }
        match hands.store.free_queues(lease).await {
            Ok(0) => {}
            Ok(queues) => tracing::warn!(queues, "Queues were freed whose job was gone"),
            Err(error) => tracing::debug!(error = %error, "The queues could not be looked at"),
        }
        match hands.store.drop_replaced_jobs().await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "Jobs were dropped whose place others had taken"),
            Err(error) => tracing::debug!(error = %error, "The jobs could not be looked at"),
        }
    }
}

async fn jobs(hands: &Hands, options: &Options) {
    while !hands.stop.is_cancelled() {
        match once(hands, options).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(error = %error, "The worker lost the queue and begins again"),
        }
        tokio::select! {
            () = hands.stop.cancelled() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Build(#[from] graphile_worker::WorkerBuildError),
    #[error(transparent)]
    Run(#[from] graphile_worker::runner::WorkerRuntimeError),
}

async fn once(hands: &Hands, options: &Options) -> Result<(), Lost> {
    let Options { concurrency, lease, drain, poll, cron } = options;
    let worker = Worker::options()
        .database(hands.store.queue())
        .concurrency(*concurrency)
        .poll_interval(*poll)
        .listen_os_shutdown_signals(false)
        .shutdown_signal(hands.stop.clone().cancelled_owned())
        .shutdown_grace_period(*drain)
        .shutdown_interrupted_job_retry_delay(Duration::ZERO)
        .heartbeat_interval(*lease / HEARTBEATS)
        .sweep_interval(*lease / HEARTBEATS)
        .sweep_threshold(*lease)
        .recovery_delay(Duration::ZERO)
        .add_extension(hands.clone())
        .define_jobs([Step::definition(), Recategorize::definition(), Deliver::definition()])
        .with_crons(cron.crontabs())
        .init()
        .await?;
    Ok(worker.run().await?)
}
