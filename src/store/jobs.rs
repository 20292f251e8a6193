//! The queue's jobs. `graphile_worker` keeps them in a Postgres schema of its own (`graphile_worker`), which its own
//! migrations make when a store is opened.
//!
//! It has no call that lists jobs, so they are read from its tables here. Those are no tables of ours, and these are the
//! only queries that the build can't check: tests do.

use std::{io, time::Duration};

use chrono::{DateTime, Utc};
use graphile_worker::{
    Database, DbExecutor as _, DbRow, DbValue, JobKeyMode, JobSpec, WorkerUtils, errors::GraphileWorkerError,
};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{Error, Store};
use crate::domain::JobState;

/// The schema of the queue.
const SCHEMA: &str = "graphile_worker";

/// A job to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Which task does it.
    pub task: &'static str,
    /// What the task is told: numbers and names, never a descriptor or an amount.
    pub payload: serde_json::Value,
    /// Jobs of one queue are done one after the other.
    pub queue: Option<String>,
    /// A job of the same key that waits is replaced by this one.
    pub key: Option<String>,
    /// Less goes first.
    pub priority: i16,
    /// Not before; at once where there is none.
    pub run_at: Option<DateTime<Utc>>,
    /// Whether a job of the same key that waits keeps its time.
    pub keeps_time: bool,
}

/// The job that something is to begin with, by the number that it gets.
pub type FirstJob = fn(i64) -> NewJob;

/// A job as it stands. One that is done is gone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// Which task does it.
    pub task: String,
    /// What the task is told.
    pub payload: serde_json::Value,
    /// Jobs of one queue are done one after the other.
    pub queue: Option<String>,
    /// Less goes first.
    pub priority: i16,
    /// Where it stands.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: i16,
    /// How often it is begun at most.
    pub max_attempts: i16,
    /// When it is due.
    pub run_at: DateTime<Utc>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Which worker is at it.
    pub worker: Option<String>,
    /// Since when.
    pub locked_at: Option<DateTime<Utc>>,
    /// Why it failed the last time.
    pub last_error: Option<String>,
}

/// Which jobs to list; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// The one of this number.
    pub id: Option<i64>,
    /// Of this queue.
    pub queue: Option<String>,
}

impl From<GraphileWorkerError> for Error {
    fn from(error: GraphileWorkerError) -> Self {
        match &error {
            GraphileWorkerError::SqlError(cause) => match cause.code() {
                None => Self::Unavailable(sqlx::Error::Io(io::Error::other(error))),
                Some(code) if super::is_passing(code) => Self::Unavailable(sqlx::Error::Io(io::Error::other(error))),
                Some(_) => Self::Queue(error),
            },
            _ => Self::Queue(error),
        }
    }
}

/// Makes the queue's schema, or brings it up to date. Several processes may do so at once.
pub(super) async fn migrate(pool: &sqlx::PgPool, options: &PgConnectOptions) -> Result<(), Error> {
    let mut lock = PgConnection::connect_with(options).await?;
    sqlx::query_scalar!(r#"select true as "locked!" from pg_advisory_lock(8023)"#).fetch_one(&mut lock).await?;
    let done = WorkerUtils::new(pool, SCHEMA).migrate().await;
    lock.close().await?;
    done.map_err(|error| Error::MigrateQueue(error.into()))
}

impl Store {
    /// What a worker works on.
    #[must_use]
    pub fn queue(&self) -> Database {
        Database::from(&self.pool)
    }

    fn queue_calls(&self) -> WorkerUtils {
        WorkerUtils::new(&self.pool, SCHEMA)
    }

    /// Puts a job into the queue, and returns its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_job(&self, new: NewJob) -> Result<i64, Error> {
        self.add_job_in(&mut *self.pool.acquire().await?, new).await
    }

    /// [`Self::add_job`] in a database transaction: the job is there when that is committed.
    pub(super) async fn add_job_in(&self, tx: &mut PgConnection, new: NewJob) -> Result<i64, Error> {
        let spec = JobSpec {
            queue_name: new.queue,
            run_at: new.run_at,
            job_key: new.key,
            job_key_mode: new.keeps_time.then_some(JobKeyMode::PreserveRunAt),
            priority: Some(new.priority),
            ..JobSpec::default()
        };
        Ok(*self.queue_calls().with_executor(tx).add_raw_job(new.task, new.payload, spec).await?.id())
    }

    /// The first job of a queue that is not done.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_in(&self, queue: String) -> Result<Option<Job>, Error> {
        Ok(self.jobs(&JobFilter { queue: Some(queue), ..JobFilter::default() }, 1).await?.pop())
    }

    /// Jobs that are not done, in the order in which workers take them, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs(&self, filter: &JobFilter, limit: u32) -> Result<Vec<Job>, Error> {
        let sql = "select
                jobs.id,
                tasks.identifier as task,
                jobs.payload,
                queues.queue_name as queue,
                jobs.priority,
                jobs.attempts,
                jobs.max_attempts,
                jobs.run_at,
                jobs.created_at,
                jobs.locked_by,
                jobs.locked_at,
                jobs.last_error
            from graphile_worker._private_jobs as jobs
            join graphile_worker._private_tasks as tasks on tasks.id = jobs.task_id
            left join graphile_worker._private_job_queues as queues on queues.id = jobs.job_queue_id
            where ($1::bigint is null or jobs.id = $1)
            and ($2::text is null or queues.queue_name = $2)
            order by
                jobs.locked_at is null,
                jobs.priority,
                jobs.run_at,
                jobs.id
            limit $3";
        let asked =
            vec![DbValue::I64Opt(filter.id), DbValue::TextOpt(filter.queue.clone()), DbValue::I64(i64::from(limit))];
        let rows = self.queue().fetch_all(sql, asked.into()).await.map_err(GraphileWorkerError::from)?;
        rows.iter().map(read_job).collect()
    }

    /// Whether a job of less priority number waits since before this time, as it does where no worker is free.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn more_urgent_job_waits(&self, priority: i16, since: DateTime<Utc>) -> Result<bool, Error> {
        let sql = "select exists (
                select
                    1
                from graphile_worker._private_jobs as jobs
                left join graphile_worker._private_job_queues as queues on queues.id = jobs.job_queue_id
                where jobs.is_available
                and jobs.priority < $1
                and jobs.run_at <= $2
                and jobs.created_at <= $2
                and queues.locked_at is null
            ) as waits";
        let asked = vec![DbValue::I16(priority), DbValue::TimestampTz(since)];
        let rows = self.queue().fetch_all(sql, asked.into()).await.map_err(GraphileWorkerError::from)?;
        let waits = rows.first().map(|row| row.try_get("waits")).transpose().map_err(GraphileWorkerError::from)?;
        Ok(waits.unwrap_or(false))
    }

    /// Frees queues that are kept for a job that is gone, for longer than a worker may be silent. A worker that was taken
    /// for dead and ends its job all the same leaves such a one behind, when another has taken the job up meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn free_queues(&self, lease: Duration) -> Result<u64, Error> {
        // A worker takes a job and its queue in one statement, so none is seen with the queue alone.
        let sql = "update graphile_worker._private_job_queues as queues
            set
                locked_by = null,
                locked_at = null
            where queues.locked_at < now() - $1::bigint * interval '1 millisecond'
            and not exists (
                select
                    1
                from graphile_worker._private_jobs as jobs
                where jobs.job_queue_id = queues.id
                and jobs.locked_at is not null
            )";
        let lease = DbValue::I64(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX));
        Ok(self.queue().execute(sql, vec![lease].into()).await.map_err(GraphileWorkerError::from)?)
    }

    /// Drops jobs in whose place others were asked for while a worker was at them, and which that worker did not end: nobody
    /// takes them up again, and they would count as failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_replaced_jobs(&self) -> Result<u64, Error> {
        let sql = "delete from graphile_worker._private_jobs as jobs
            using graphile_worker._private_job_retirements as replaced
            where replaced.id = jobs.id
            and jobs.locked_at is null";
        Ok(self.queue().execute(sql, Vec::new().into()).await.map_err(GraphileWorkerError::from)?)
    }

    /// Lets workers' last heartbeats be no later than now. A clock that was put back leaves some that are yet to come, and a worker
    /// that died before would keep its jobs until then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn heartbeats_until_now(&self, lease: Duration) -> Result<u64, Error> {
        let sql = "update graphile_worker._private_workers
            set last_heartbeat_at = now()
            where last_heartbeat_at > now() + $1::bigint * interval '1 millisecond'";
        let lease = DbValue::I64(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX));
        Ok(self.queue().execute(sql, vec![lease].into()).await.map_err(GraphileWorkerError::from)?)
    }

    /// Has a job that waits or failed done at once, as if it had never failed; tells whether there is one that no worker
    /// is at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry_job(&self, id: i64, now: DateTime<Utc>) -> Result<bool, Error> {
        let asked = graphile_worker::worker_utils::types::RescheduleJobOptions {
            run_at: Some(now),
            attempts: Some(0),
            ..Default::default()
        };
        Ok(!self.queue_calls().reschedule_jobs(&[id], asked).await?.is_empty())
    }

    /// Takes a job out of the queue; tells whether there was one that no worker is at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_job(&self, id: i64) -> Result<bool, Error> {
        Ok(!self.queue_calls().complete_jobs(&[id]).await?.is_empty())
    }

    /// Takes all jobs out of one queue that no worker is at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clear_queue(&self, queue: &str) -> Result<(), Error> {
        let of = JobFilter { queue: Some(queue.to_owned()), ..JobFilter::default() };
        let ids: Vec<i64> = self.jobs(&of, u32::MAX).await?.into_iter().map(|job| job.id).collect();
        self.queue_calls().complete_jobs(&ids).await?;
        Ok(())
    }
}

fn read_job(row: &DbRow) -> Result<Job, Error> {
    let read = || -> Result<Job, graphile_worker::DbError> {
        let (attempts, max_attempts) = (row.try_get("attempts")?, row.try_get("max_attempts")?);
        let locked_at = row.try_get("locked_at")?;
        let last_error: Option<String> = row.try_get("last_error")?;
        let state = match (locked_at, attempts) {
            (Some(_), _) => JobState::Running,
            (None, begun) if begun >= max_attempts => JobState::Failed,
            (None, 0) => JobState::Waiting,
            (None, _) => JobState::Retrying,
        };
        Ok(Job {
            id: row.try_get("id")?,
            task: row.try_get("task")?,
            payload: row.try_get("payload")?,
            queue: row.try_get("queue")?,
            priority: row.try_get("priority")?,
            state,
            attempts,
            max_attempts,
            run_at: row.try_get("run_at")?,
            created_at: row.try_get("created_at")?,
            worker: row.try_get("locked_by")?,
            locked_at,
            last_error: last_error.map(|said| plain(&said).to_owned()),
        })
    };
    read().map_err(|error| Error::Queue(error.into()))
}

/// The queue keeps an error as Rust prints it for programmers.
fn plain(said: &str) -> &str {
    said.strip_prefix("TaskError(\"").and_then(|said| said.strip_suffix("\")")).unwrap_or(said)
}
