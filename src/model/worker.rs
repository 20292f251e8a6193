//! A thread of its own for one model, with a bounded queue in front.
//!
//! One thread owns the weights, so that a burst of requests queues instead of fighting over the
//! cores; the queue is bounded, so that it pushes back instead of growing.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use super::Error;

/// Jobs that may wait before [`Worker::ask`] waits itself.
const QUEUE: usize = 32;

/// A handle on the thread; clones share it, and the last one ends it.
#[derive(Debug)]
pub(super) struct Worker<Q, A> {
    jobs: mpsc::Sender<Job<Q, A>>,
}

#[derive(Debug)]
struct Job<Q, A> {
    question: Q,
    answer: oneshot::Sender<Result<A, Error>>,
}

impl<Q, A> Clone for Worker<Q, A> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Worker<Q, A> {
    /// Starts the thread `name`, which answers questions with `work`.
    pub(super) fn start(
        name: &str,
        mut work: impl FnMut(Q) -> Result<A, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (jobs, mut queue) = mpsc::channel::<Job<Q, A>>(QUEUE);
        let run = move || {
            while let Some(Job { question, answer }) = queue.blocking_recv() {
                // The asker may have gone: then the answer goes nowhere.
                let _ = answer.send(work(question));
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|source| Error::File {
            action: "start a thread for",
            path: PathBuf::from(name),
            source,
        })?;
        Ok(Self { jobs })
    }

    pub(super) async fn ask(&self, question: Q) -> Result<A, Error> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job { question, answer }).await.map_err(|_| Error::Stopped)?;
        answered.await.map_err(|_| Error::Stopped)?
    }
}
