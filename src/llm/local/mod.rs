//! A model file (GGUF) that runs in this process: nothing leaves the machine, and no server is needed.
//!
//! It does not write. Each category of the closed set is scored by the probability of its tokens behind the prompt,
//! so it can't answer off the list, and its confidence is a share of the list. One thread owns the weights; no tensor
//! leaves this module.

mod config;
mod error;
mod scorer;
mod template;
mod tokenizer;
mod transformer;
mod trie;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

pub use error::Error;

use super::{Ask, Attempts, ChatModel, ModelEntry, Reply};
use scorer::{Counts, Scorer};

/// Prompts that may wait before one who asks waits himself.
const QUEUE: usize = 32;

/// What a model read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Prompts that were answered.
    pub prompts: u64,
    /// Tokens that went through the model, those of the answers' tree included.
    pub forwarded: u64,
    /// Tokens of prompts that did not have to, because the prompt before had them too.
    pub cached: u64,
}

/// A handle on a model file's thread; the last one ends it.
pub struct LocalModel {
    name: String,
    timeout: Duration,
    jobs: mpsc::Sender<Job>,
    counts: Arc<Counts>,
}

type Job = Box<dyn FnOnce(&mut Scorer) + Send>;

impl LocalModel {
    /// Reads the model file of an entry and starts the thread.
    ///
    /// # Errors
    /// When the entry names no file, or the file can't be read or holds a model that can't be computed.
    pub fn open(entry: &ModelEntry) -> Result<Self, super::Error> {
        let file = entry
            .file
            .as_deref()
            .ok_or_else(|| super::Error::Setting { model: entry.name.clone(), says: "a gguf model needs a `file`" })?;
        let counts = Arc::new(Counts::default());
        let mut scorer = Scorer::open(file, entry.tokenizer.as_deref(), Arc::clone(&counts))?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name(format!("gguf-{}", entry.name))
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut scorer);
                }
            })
            .map_err(|source| Error::File { path: file.to_owned(), source })?;
        Ok(Self { name: format!("{}/{}", entry.name, entry.model), timeout: entry.timeout(), jobs, counts })
    }

    /// What it read so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counts.stats()
    }

    /// Tokens of a text, in which the model's own marks are no more than their letters.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub async fn tokens(&self, text: &str) -> Result<Vec<u32>, super::Error> {
        let text = text.to_owned();
        self.work(move |scorer, _| scorer.tokens(&text)).await
    }

    /// What tokens say of the next one: a logit for each token of the vocabulary.
    ///
    /// # Errors
    /// When there are more than the model reads, or it can't be computed.
    pub async fn logits(&self, tokens: Vec<u32>) -> Result<Vec<f32>, super::Error> {
        self.work(move |scorer, _| scorer.next(&tokens)).await
    }

    /// Has the thread do something. Where nobody waits any more, it is told between parts of the work.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Scorer, &dyn Fn() -> bool) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, super::Error> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |scorer| {
            if !answer.is_closed() {
                let done = work(scorer, &|| answer.is_closed());
                // The asker may have gone: then the answer goes nowhere.
                let _ = answer.send(done);
            }
        });
        self.jobs.send(job).await.map_err(|_| Error::Stopped)?;
        Ok(answered.await.map_err(|_| Error::Stopped)??)
    }

    async fn answered(&self, ask: &Ask) -> Result<Reply, super::Error> {
        let (ask, timeout) = (ask.clone(), self.timeout);
        let answered = self.work(move |scorer, has_gone| {
            let begun = Instant::now();
            let goes_on = || match () {
                () if has_gone() => Err(Error::Abandoned),
                () if begun.elapsed() > timeout => Err(Error::Late),
                () => Ok(()),
            };
            scorer.ask(&ask, &goes_on)
        });
        answered.await.map_err(|error| match error {
            super::Error::Local(source) if matches!(*source, Error::Late) => super::Error::TimedOut { after: timeout },
            error => error,
        })
    }
}

impl ChatModel for LocalModel {
    fn name(&self) -> &str {
        &self.name
    }

    /// One: the answers of several would have to be written to be read.
    fn rows_per_request(&self) -> usize {
        1
    }

    fn most_attempts(&self) -> u32 {
        1
    }

    fn most_answer_tokens(&self, _: &Ask) -> u32 {
        0
    }

    fn ask_counted<'a>(&'a self, ask: &'a Ask, attempts: &'a Attempts) -> BoxFuture<'a, Result<Reply, super::Error>> {
        attempts.one(self.answered(ask)).boxed()
    }
}
