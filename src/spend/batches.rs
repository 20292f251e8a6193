//! A chat model asked through its provider's batch API: cheaper, and answered within a day.
//!
//! Requests become files and batches, each booked once at the batch prices. The same requests again are the same
//! batches: a process that died while it waited goes on where it stood, and pays nothing twice.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{Books, Settled};
use crate::{
    clock,
    llm::{
        self, Ask, ModelEntry, Price, Reply, Usage,
        batch::{Batch, BatchFault, BatchFile, Batches, Error},
    },
};

/// Looks at a batch in a row that may fail.
const MOST_FAILED_LOOKS: usize = 10;

/// The way through batches.
pub(super) struct Batched {
    batches: Batches,
    pub(super) name: String,
    pub(super) rows_per_request: usize,
    thinking_tokens: u32,
    /// Batches that a request goes into at most, one after the other.
    rounds: u32,
    poll: Duration,
}

/// What came of a file in one batch.
struct Round {
    /// The provider's name of it.
    batch: String,
    /// Whether it was made now.
    is_new: bool,
    replies: Vec<Result<Reply, BatchFault>>,
}

impl Batched {
    pub(super) fn new(entry: &ModelEntry) -> Result<Self, llm::Error> {
        let batches = Batches::new(entry).map_err(|error| match error {
            Error::Llm(error) => error,
            error => llm::Error::Batch(Arc::new(error)),
        })?;
        Ok(Self {
            batches,
            name: format!("{}/{}", entry.name, entry.model),
            rows_per_request: entry.rows_per_request,
            thinking_tokens: entry.thinking_tokens,
            rounds: entry.most_attempts(),
            poll: Duration::from_secs_f32(entry.batch_poll_s),
        })
    }

    pub(super) fn most_answer_tokens(&self, ask: &Ask) -> u32 {
        ask.most_answer_tokens() + self.thinking_tokens
    }

    /// Asks this alone, in a batch of its own.
    pub(super) async fn ask(&self, books: &Books, ask: &Ask) -> Result<Reply, llm::Error> {
        let mut replies = self.ask_all(books, std::slice::from_ref(ask)).await;
        replies.pop().unwrap_or(Err(llm::Error::BatchFault(BatchFault::Missing)))
    }

    /// Asks all of these; what one batch leaves open goes into another.
    pub(super) async fn ask_all(&self, books: &Books, asks: &[Ask]) -> Vec<Result<Reply, llm::Error>> {
        let mut replies: Vec<Option<Result<Reply, llm::Error>>> = asks.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..asks.len()).collect();
        for round in 1..=self.rounds {
            let left: Vec<Ask> = open.iter().map(|&place| asks[place].clone()).collect();
            let mut again = Vec::new();
            for (place, said) in std::mem::take(&mut open).into_iter().zip(self.round(books, &left).await) {
                if round < self.rounds && matches!(&said, Err(llm::Error::BatchFault(fault)) if fault.may_pass()) {
                    again.push(place);
                }
                replies[place] = Some(said);
            }
            if again.is_empty() {
                break;
            }
            open = again;
        }
        let missing = || Err(llm::Error::BatchFault(BatchFault::Missing));
        replies.into_iter().map(|reply| reply.unwrap_or_else(missing)).collect()
    }

    async fn round(&self, books: &Books, asks: &[Ask]) -> Vec<Result<Reply, llm::Error>> {
        let failed = |asks: &[Ask], error: Error| -> Vec<Result<Reply, llm::Error>> {
            let error = Arc::new(error);
            asks.iter().map(|_| Err(llm::Error::Batch(Arc::clone(&error)))).collect()
        };
        let files = match self.batches.files(asks) {
            Ok(files) => files,
            Err(error) => return failed(asks, error),
        };
        let mut replies = Vec::with_capacity(asks.len());
        for file in files {
            let asks = &asks[file.range.clone()];
            match self.file(books, &file, asks).await {
                Ok(said) => replies.extend(said.into_iter().map(|said| said.map_err(llm::Error::BatchFault))),
                Err(error) => replies.extend(failed(asks, error)),
            }
        }
        replies
    }

    /// One file all the way. A batch that was there before and holds no answer at all is spent: another takes its place.
    async fn file(
        &self,
        books: &Books,
        file: &BatchFile,
        asks: &[Ask],
    ) -> Result<Vec<Result<Reply, BatchFault>>, Error> {
        let mut spent = HashSet::new();
        loop {
            let Round { batch, is_new, replies } = self.batch(books, file, asks, &spent).await?;
            if is_new || replies.iter().any(Result::is_ok) || !spent.insert(batch) {
                return Ok(replies);
            }
        }
    }

    /// One batch: booked, submitted, waited for, read, settled.
    async fn batch(
        &self,
        books: &Books,
        file: &BatchFile,
        asks: &[Ask],
        spent: &HashSet<String>,
    ) -> Result<Round, Error> {
        let price = Price::on(&books.prices, clock::now().date_naive()).map(Price::in_batches);
        let cost = |usage: Usage| price.as_ref().map(|price| price.of(usage));
        let most =
            |ask: &Ask| price.as_ref().map(|price| price.at_most(ask.prompt_tokens(), self.most_answer_tokens(ask)));
        let rows = asks.iter().map(|ask| ask.ids.len()).sum::<usize>();
        let rows = i32::try_from(rows).unwrap_or(i32::MAX);
        let reserved = asks.iter().filter_map(most).sum();
        let call = books.reserve(rows, reserved, Some(file.sha256.clone())).await?;
        let batch = match self.batches.submit(file, spent).await {
            Ok(batch) => batch,
            Err(error) => {
                // What may have been created stays booked: run again, the command finds it.
                if matches!(&error, Error::Llm(error) if error.doubtful() == 0) {
                    books.take_back(call).await?;
                }
                return Err(error);
            }
        };
        let is_new = books.name_batch(call, &batch.id).await?;
        if !is_new {
            books.take_back(call).await?;
        }
        let batch = self.done(batch).await?;
        let replies = match self.batches.results(&batch, asks).await {
            Err(error @ Error::CameToNothing { .. }) => {
                books.take_back(call).await?;
                return Err(error);
            }
            replies => replies?,
        };
        let mut usage = Usage::default();
        replies.iter().flatten().for_each(|reply| usage += reply.usage);
        let outcome = if replies.iter().any(Result::is_ok) { "answered" } else { "failed" };
        books.count(usage, cost(usage));
        if is_new {
            let answers = replies.iter().flatten().flat_map(|reply| &reply.answers);
            let answered = Some(answers.filter(|answer| answer.is_ok()).count());
            books.settle(call, Settled { usage, doubtful: 0, cost: cost(usage), outcome, answered }).await?;
        }
        Ok(Round { batch: batch.id, is_new, replies })
    }

    async fn done(&self, mut batch: Batch) -> Result<Batch, Error> {
        let mut failed_looks = 0;
        while !batch.is_final() {
            let (done, of) = batch.request_counts.map_or((0, 0), |counts| (counts.completed, counts.total));
            tracing::info!(batch.id, batch.status, requests.done = done, requests.all = of, "A batch is under way");
            tokio::time::sleep(self.poll).await;
            match self.batches.poll(&batch.id).await {
                Ok(polled) => (batch, failed_looks) = (polled, 0),
                Err(Error::Llm(error)) if error.may_pass() && failed_looks < MOST_FAILED_LOOKS => {
                    failed_looks += 1;
                    tracing::warn!(batch.id, error = %error, "A batch can't be looked at for now");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(batch)
    }
}
