//! A thread of its own for one model, with a bounded queue in front.
//!
//! One thread owns the weights, so that a burst of requests queues instead of fighting over the
//! cores; the queue is bounded, so that it pushes back instead of growing.

use std::{
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
};

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
        Self::spawn(name, move |mut queue| {
            while let Some(Job { question, answer }) = queue.blocking_recv() {
                if !answer.is_closed() {
                    let _ = answer.send(caught(|| work(question)));
                }
            }
        })
    }

    fn spawn(name: &str, run: impl FnOnce(mpsc::Receiver<Job<Q, A>>) + Send + 'static) -> Result<Self, Error> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || run(queue)).map_err(|source| Error::File {
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

impl<Q: Send + 'static, A: Send + 'static> Worker<Vec<Q>, Vec<A>> {
    /// Starts the thread `name`, which takes what waits in its queue together, up to `most` rows at a time:
    /// many small requests cost what one large one does.
    pub(super) fn start_together(
        name: &str,
        most: usize,
        mut work: impl FnMut(&[Q]) -> Result<Vec<A>, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        Self::spawn(name, move |mut queue| {
            while let Some(first) = queue.blocking_recv() {
                let mut rows = first.question.len();
                let mut jobs = vec![first];
                while rows < most
                    && let Ok(next) = queue.try_recv()
                {
                    rows += next.question.len();
                    jobs.push(next);
                }
                jobs.retain(|job| !job.answer.is_closed());
                answer(jobs, &mut |rows| caught(|| work(rows)));
            }
        })
    }
}

/// Does work that a bug may end: the thread goes on with the next.
fn caught<A>(work: impl FnOnce() -> Result<A, Error>) -> Result<A, Error> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::Panicked))
}

/// Answers jobs together, and where that fails each alone, so that none fails for another's sake. An asker may
/// have gone meanwhile: then the answer goes nowhere.
fn answer<Q, A>(jobs: Vec<Job<Vec<Q>, Vec<A>>>, work: &mut impl FnMut(&[Q]) -> Result<Vec<A>, Error>) {
    if jobs.len() > 1 {
        let lengths: Vec<usize> = jobs.iter().map(|job| job.question.len()).collect();
        let (rows, askers): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.question, job.answer)).unzip();
        let rows: Vec<Q> = rows.into_iter().flatten().collect();
        let mut said = work(&rows).ok().map(Vec::into_iter);
        let mut rest = rows.as_slice();
        for (length, asker) in lengths.into_iter().zip(askers) {
            let (own, others) = rest.split_at(length);
            rest = others;
            let _ = asker.send(match &mut said {
                Some(said) => Ok(said.take(length).collect()),
                None => work(own),
            });
        }
        return;
    }
    for Job { question, answer } in jobs {
        let _ = answer.send(work(&question));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_answered_together_and_each_asker_gets_its_own() {
        let (begin, may_begin) = std::sync::mpsc::channel();
        let (tell, mut sizes) = mpsc::unbounded_channel();
        let worker = Worker::start_together("test", 8, move |rows: &[u32]| {
            let _ = tell.send(rows.len());
            let _: Result<(), _> = may_begin.recv();
            if rows.contains(&7) { Err(Error::Stopped) } else { Ok(rows.iter().map(|row| row * 10).collect()) }
        })
        .unwrap();
        let ask = |rows: Vec<u32>| {
            let worker = worker.clone();
            tokio::spawn(async move { worker.ask(rows).await })
        };
        let first = ask(vec![1]);
        assert_eq!(sizes.recv().await, Some(1), "the first is being answered, so that the others gather behind it");
        let others = [vec![2, 3], vec![7], vec![4]].map(ask);
        while worker.jobs.capacity() > QUEUE - others.len() {
            tokio::task::yield_now().await;
        }
        (0..8).for_each(|_| begin.send(()).unwrap());
        let mut answers = Vec::new();
        for asked in std::iter::once(first).chain(others) {
            answers.push(asked.await.unwrap().ok());
        }
        assert_eq!(answers, [Some(vec![10]), Some(vec![20, 30]), None, Some(vec![40])]);
        assert_eq!(sizes.recv().await, Some(4), "what waited was taken together");
    }

    #[tokio::test]
    async fn a_bug_ends_the_answer_to_one_asker_and_not_the_thread() {
        let work = |rows: &[u32]| Ok(rows.iter().map(|row| 100 / (row - 7)).collect());
        let worker = Worker::start_together("test", 8, work).unwrap();
        let (guilty, other) = tokio::join!(worker.ask(vec![7]), worker.ask(vec![9, 12]));
        assert!(matches!(guilty, Err(Error::Panicked)), "{guilty:?}");
        assert_eq!(other.unwrap(), [50, 20]);
        assert_eq!(worker.ask(vec![8]).await.unwrap(), [100]);
        let one_by_one = Worker::start("test", |row: u32| Ok(100 / (row - 7))).unwrap();
        assert!(matches!(one_by_one.ask(7).await, Err(Error::Panicked)));
        assert_eq!(one_by_one.ask(8).await.unwrap(), 100);
    }

    #[tokio::test]
    async fn nothing_is_computed_for_an_asker_who_has_gone() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (begin, may_begin) = std::sync::mpsc::channel();
        let worker = Worker::start_together("test", 1, move |rows: &[u32]| {
            let _ = tell.send(rows.to_vec());
            let _: Result<(), _> = may_begin.recv();
            Ok(rows.to_vec())
        })
        .unwrap();
        let ask = |row| {
            let worker = worker.clone();
            tokio::spawn(async move { worker.ask(vec![row]).await })
        };
        let first = ask(1);
        assert_eq!(told.recv().await, Some(vec![1]), "the thread is at work");
        let gone = ask(2);
        while worker.jobs.capacity() == QUEUE {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        let last = ask(3);
        (0..3).for_each(|_| begin.send(()).unwrap());
        assert_eq!((first.await.unwrap().unwrap(), last.await.unwrap().unwrap()), (vec![1], vec![3]));
        assert_eq!(told.recv().await, Some(vec![3]));
    }
}
