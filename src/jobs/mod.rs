//! Work that a queue in Postgres hands to workers: on this machine or on others, now or by the clock.
//!
//! The queue is `graphile_worker`: leases with heartbeats, retries, priorities and cron are its own. A job says which row
//! it is about and nothing else; how far it came stands in that row, so a job may be dropped at any point and begun anew by
//! whoever takes it next. It is not what the work is: that is the module's that does it.

pub mod cron;
pub mod recategorization;
pub mod webhooks;
pub mod worker;

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use chrono::TimeDelta;
use graphile_worker::WorkerContext;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use cron::Cron;

use crate::{
    causes::with_causes,
    clock,
    domain::{Urgency, recategorization::InvalidScope},
    events::{self, Deliverer},
    pipeline::Pipeline,
    recategorize,
    store::{self, Store},
};

/// How long a more urgent job waits before one that takes long makes room for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a worker waits before it looks for a database that it lost.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a job could not be done, or no worker be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// A recategorization.
    #[error(transparent)]
    Recategorize(#[from] recategorize::Error),
    /// An endpoint.
    #[error(transparent)]
    Events(#[from] events::Error),
    /// A file of cron lines that can't be read.
    #[error("can't read the cron lines in {}", path.display())]
    CronFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A cron line that can't be understood.
    #[error("cron line {number}: {problem}")]
    CronLine {
        /// Counted from one.
        number: usize,
        /// What is wrong with it.
        problem: CronProblem,
    },
}

/// What is wrong with a cron line.
#[derive(Debug, thiserror::Error)]
pub enum CronProblem {
    /// Not of the form.
    #[error("must be `minute hour day month weekday recategorize ?id=name {{scope: …, reason: …}}`")]
    Form,
    /// A task that there is none of.
    #[error("there is no task `{task}`: recategorize is the only one")]
    Task {
        /// Its name.
        task: String,
    },
    /// A payload that the task can't take.
    #[error("the task can't take what is in the braces: {0}")]
    Payload(serde_json::Error),
    /// A scope that says nothing, or two things.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// A run that says nothing of why it is made.
    #[error("`reason` must say why")]
    Reason,
    /// Two lines of one name.
    #[error("another line is called `{id}` too: give each its own ?id=")]
    SameId {
        /// The name.
        id: String,
    },
}

/// What jobs are done with.
#[derive(Clone)]
pub struct Hands {
    /// The database.
    pub store: Store,
    /// Who is asked about transactions.
    pub pipeline: Arc<Pipeline>,
    /// Who tells endpoints.
    pub deliverer: Deliverer,
    /// Cancelled when the worker shall stop: what takes long is handed back then.
    pub stop: CancellationToken,
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hands").finish_non_exhaustive()
    }
}

impl Hands {
    fn of(context: &WorkerContext) -> Result<&Self, Told> {
        context.get_ext().ok_or_else(|| Told("the worker was started without hands".to_owned()))
    }

    /// Ends when something of this urgency should make room: the worker stops, or a more urgent job finds none free. What a
    /// person asked for comes `further` first: it would be begun again and again where others keep coming.
    async fn called_away(&self, urgency: Urgency, further: &mut watch::Receiver<u64>) {
        let mut looks = tokio::time::interval(PATIENCE);
        looks.tick().await;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            let since = clock::now() - TimeDelta::from_std(PATIENCE).unwrap_or_default();
            // A database that can't be had is the work's own business.
            if !self.store.more_urgent_job_waits(urgency.priority(), since).await.unwrap_or(false) {
                continue;
            }
            let rows = *further.borrow();
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = further.wait_for(|now| urgency == Urgency::Nightly || *now > rows) => {}
            }
            return;
        }
    }
}

/// What the queue keeps of a failure: a sentence with its causes.
struct Told(String);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the queue is told of a job. The log hears that it failed: why may name accounts.
fn told<T>(context: &WorkerContext, done: Result<T, Error>) -> Result<T, Told> {
    done.map_err(|error| {
        let (job, tries) = (context.job(), format!("{} of {}", context.job().attempts(), context.job().max_attempts()));
        tracing::warn!(job.id = job.id(), job.tries = tries, "A job failed: `txcat jobs show` says why");
        Told::from(error)
    })
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        Self(with_causes(&error))
    }
}
