//! Small calls that come at once go the way together: a hundred calls of one row cost the database and the
//! model what one call of a hundred rows does.
//!
//! Nothing waits for company: what comes while every batch is under way is the next batch.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, Span};

use super::{Error, Outcome, Pipeline};
use crate::{domain::Transaction, spans};

/// Calls of more rows than this go by themselves.
const SMALL: usize = 32;
/// Rows of one batch at most, but for its last call.
const ROWS: usize = 64;
/// Batches under way at a time: one computes while the database works on the other.
const BATCHES: usize = 2;
/// Calls that may wait before a caller waits to be let in.
const QUEUE: usize = 1_024;

type Answer = Result<Vec<Outcome>, Error>;

struct Call {
    rows: Vec<Transaction>,
    adapter: Option<String>,
    now: DateTime<Utc>,
    /// In whose trace the work stands.
    span: Span,
    answer: oneshot::Sender<Answer>,
}

/// The entrance to a pipeline. Clones share it; it ends with the last one.
#[derive(Clone)]
pub struct Gathered {
    pipeline: Arc<Pipeline>,
    calls: mpsc::Sender<Call>,
}

impl Gathered {
    /// Opens the entrance.
    #[must_use]
    pub fn before(pipeline: Arc<Pipeline>) -> Self {
        let (calls, queue) = mpsc::channel(QUEUE);
        tokio::spawn(run(Arc::clone(&pipeline), queue));
        Self { pipeline, calls }
    }

    /// [`Pipeline::process`], with what else has come.
    ///
    /// # Errors
    /// As [`Pipeline::process`]; no call fails for another's sake.
    pub async fn process(&self, rows: Vec<Transaction>, adapter: Option<String>, now: DateTime<Utc>) -> Answer {
        if rows.len() > SMALL {
            return self.pipeline.process(&rows, adapter.as_deref(), now).await;
        }
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call { rows, adapter, now, span: Span::current(), answer }).await.map_err(|_| Error::Broken)?;
        answered.await.map_err(|_| Error::Broken)?
    }
}

async fn run(pipeline: Arc<Pipeline>, mut queue: mpsc::Receiver<Call>) {
    let permits = Arc::new(Semaphore::new(BATCHES));
    let mut next = None;
    // A closed semaphore can't be: nobody closes this one.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let Some(first) = (match next.take() {
            Some(call) => Some(call),
            None => queue.recv().await,
        }) else {
            return;
        };
        let mut calls = vec![first];
        let mut rows = calls[0].rows.len();
        while rows < ROWS
            && let Ok(call) = queue.try_recv()
        {
            if call.adapter != calls[0].adapter {
                next = Some(call);
                break;
            }
            rows += call.rows.len();
            calls.push(call);
        }
        let pipeline = Arc::clone(&pipeline);
        tokio::spawn(async move {
            answer(&pipeline, calls).await;
            drop(permit);
        });
    }
}

/// Answers calls together, and where that fails, or there is one, each alone. When every caller has gone, the work
/// is given up: a model may be paid for it.
async fn answer(pipeline: &Arc<Pipeline>, mut calls: Vec<Call>) {
    if calls.len() > 1 {
        let together: Vec<Transaction> = calls.iter().flat_map(|call| call.rows.iter().cloned()).collect();
        let now = calls.iter().map(|call| call.now).max().unwrap_or_default();
        let requests: Vec<Span> = calls.iter().map(|call| call.span.clone()).collect();
        let batch = spans::batch(&requests, together.len());
        let work = guarded(pipeline, together, calls[0].adapter.clone(), now, batch);
        let gone = join_all(calls.iter_mut().map(|call| call.answer.closed()));
        let outcomes = tokio::select! {
            outcomes = work => outcomes,
            _ = gone => return,
        };
        if let Ok(outcomes) = outcomes {
            let mut outcomes = outcomes.into_iter();
            for call in calls {
                let _ = call.answer.send(Ok(outcomes.by_ref().take(call.rows.len()).collect()));
            }
            return;
        }
    }
    for Call { rows, adapter, now, span, mut answer } in calls {
        let outcomes = tokio::select! {
            outcomes = guarded(pipeline, rows, adapter, now, span) => outcomes,
            () = answer.closed() => continue,
        };
        let _ = answer.send(outcomes);
    }
}

/// [`Pipeline::process`] in a task of its own, so that a bug under it ends one batch only. Dropped, it ends the
/// task.
async fn guarded(
    pipeline: &Arc<Pipeline>,
    rows: Vec<Transaction>,
    adapter: Option<String>,
    now: DateTime<Utc>,
    span: Span,
) -> Answer {
    let pipeline = Arc::clone(pipeline);
    let work = async move { pipeline.process(&rows, adapter.as_deref(), now).await };
    let task = tokio::spawn(work.instrument(span));
    AbortOnDropHandle::new(task).await.unwrap_or(Err(Error::Broken))
}
