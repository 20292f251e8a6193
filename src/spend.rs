//! Every call to a paid model booked before it is made, so that no budget is passed, and settled when it is done.
//!
//! A call that is given up, or whose server did not say what became of it, is booked at what it may have cost.

mod batches;

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{FutureExt, future::BoxFuture};
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use tracing::Instrument as _;

use batches::Batched;

use crate::{
    clock,
    llm::{self, Answer, Ask, Attempts, ChatModel, ModelEntry, Price, Reply, Usage, pricing::Budget},
    store::{Exceeded, KeptReply, NewModelCall, ReservedCall, SettledCall, Store},
};

/// How long an evaluation needn't ask again what was answered.
const KEPT: TimeDelta = TimeDelta::days(1);

/// What a model's calls took and cost so far, in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Spent {
    /// Calls.
    pub calls: u64,
    /// Tokens of answered calls.
    pub usage: Usage,
    /// What all of them cost.
    pub cost: Decimal,
}

/// A model whose calls are booked.
pub struct Metered {
    way: Way,
    books: Books,
}

/// How a model is asked.
enum Way {
    /// At once. For an evaluation, what was answered within a day is not asked again: by this entry's requests.
    Calls(Arc<dyn ChatModel>, Option<Box<ModelEntry>>),
    /// Within a day.
    Batches(Box<Batched>),
}

/// Where calls are booked.
#[derive(Clone)]
struct Books {
    store: Store,
    model: String,
    prices: Arc<[Price]>,
    budget: Budget,
    spent: Arc<Mutex<Spent>>,
}

/// What became of a call.
struct Settled {
    usage: Usage,
    doubtful: u32,
    /// `None` where no price is known.
    cost: Option<Decimal>,
    outcome: &'static str,
    /// Transactions; `None` where none was asked about.
    answered: Option<usize>,
}

impl Metered {
    /// Books the calls of `inner`, which `entry` describes.
    ///
    /// # Errors
    /// When there is a budget and no price: then nothing would be held.
    pub fn new(
        inner: Arc<dyn ChatModel>,
        entry: &ModelEntry,
        budget: Budget,
        store: Store,
    ) -> Result<Self, llm::Error> {
        let books = Books::new(inner.name().to_owned(), entry, budget, store)?;
        Ok(Self { way: Way::Calls(inner, None), books })
    }

    /// The same for an evaluation, which is booked apart from what is served: a request that was answered within a day is
    /// not made, nor paid, again.
    #[must_use]
    pub fn remembering(self, entry: &ModelEntry) -> Self {
        match self.way {
            Way::Calls(inner, _) => {
                let books = Books { model: format!("{}:evaluation", inner.name()), ..self.books };
                Self { way: Way::Calls(inner, Some(Box::new(entry.clone()))), books }
            }
            Way::Batches(_) => self,
        }
    }

    /// Asks the model that `entry` describes through its provider's batch API, and books the batches.
    ///
    /// # Errors
    /// When its key is missing, the provider has no batches, or there is a budget and no price.
    pub fn in_batches(entry: &ModelEntry, budget: Budget, store: Store) -> Result<Self, llm::Error> {
        let batched = Batched::new(entry)?;
        let books = Books::new(format!("{}:batches", batched.name), entry, budget, store)?;
        Ok(Self { way: Way::Batches(Box::new(batched)), books })
    }

    /// What its calls took and cost so far.
    #[must_use]
    pub fn spent(&self) -> Spent {
        *self.books.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the model has a price, so that its cost is known.
    #[must_use]
    pub fn is_priced(&self) -> bool {
        !self.books.prices.is_empty()
    }

    /// What prices and costs are in.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.books.budget.currency
    }

    async fn remembered(
        &self,
        inner: &dyn ChatModel,
        entry: &ModelEntry,
        ask: &Ask,
        attempts: &Attempts,
    ) -> Result<Reply, llm::Error> {
        let sent = llm::as_sent(entry, ask).to_string();
        let request = hex::encode(Sha256::digest(sent));
        if let Some(reply) = self.books.kept(&request, ask).await? {
            return Ok(reply);
        }
        let reply = self.asked(inner, ask, attempts).await?;
        if reply.answers.iter().all(Result::is_ok) {
            self.books.keep(&request, &reply).await?;
        }
        Ok(reply)
    }

    async fn asked(&self, inner: &dyn ChatModel, ask: &Ask, attempts: &Attempts) -> Result<Reply, llm::Error> {
        let price = Price::on(&self.books.prices, clock::now().date_naive()).cloned();
        let once = price.as_ref().map(|price| price.at_most(ask.prompt_tokens(), inner.most_answer_tokens(ask)));
        let rows = i32::try_from(ask.ids.len()).unwrap_or(i32::MAX);
        let call =
            self.books.reserve(rows, once.unwrap_or_default() * Decimal::from(inner.most_attempts()), None).await?;
        let mut open = Open { books: self.books.clone(), call: Some(call), once, attempts };
        let reply = inner.ask_counted(ask, attempts).await;
        let usage = reply.as_ref().map_or_else(|_| Usage::default(), |reply| reply.usage);
        // The one that was answered is billed by its tokens.
        let doubtful = attempts.count().saturating_sub(u32::from(reply.is_ok()));
        let cost = price.map(|price| price.of(usage) + once.unwrap_or_default() * Decimal::from(doubtful));
        let outcome = if reply.is_ok() { "answered" } else { "failed" };
        let answered = reply.as_ref().map_or(0, |reply| reply.answers.iter().filter(|answer| answer.is_ok()).count());
        open.call = None;
        self.books.count(usage, cost);
        // Booked to the end, also where whoever asked goes meanwhile.
        let settled = Settled { usage, doubtful, cost, outcome, answered: Some(answered) };
        let booking = self.books.clone().settle_or_warn(call, settled).in_current_span();
        tokio::spawn(booking).await.ok();
        reply
    }
}

impl ChatModel for Metered {
    fn name(&self) -> &str {
        match &self.way {
            Way::Calls(inner, _) => inner.name(),
            Way::Batches(batched) => &batched.name,
        }
    }

    fn rows_per_request(&self) -> usize {
        match &self.way {
            Way::Calls(inner, _) => inner.rows_per_request(),
            Way::Batches(batched) => batched.rows_per_request,
        }
    }

    fn most_attempts(&self) -> u32 {
        match &self.way {
            Way::Calls(inner, _) => inner.most_attempts(),
            Way::Batches(_) => 1,
        }
    }

    fn most_answer_tokens(&self, ask: &Ask) -> u32 {
        match &self.way {
            Way::Calls(inner, _) => inner.most_answer_tokens(ask),
            Way::Batches(batched) => batched.most_answer_tokens(ask),
        }
    }

    fn ask_counted<'a>(&'a self, ask: &'a Ask, attempts: &'a Attempts) -> BoxFuture<'a, Result<Reply, llm::Error>> {
        match &self.way {
            Way::Calls(inner, None) => self.asked(inner.as_ref(), ask, attempts).boxed(),
            Way::Calls(inner, Some(entry)) => self.remembered(inner.as_ref(), entry, ask, attempts).boxed(),
            Way::Batches(batched) => batched.ask(&self.books, ask).boxed(),
        }
    }

    fn ask_all<'a>(&'a self, asks: &'a [Ask]) -> BoxFuture<'a, Vec<Result<Reply, llm::Error>>> {
        match &self.way {
            Way::Calls(..) => llm::each(self, asks),
            Way::Batches(batched) => batched.ask_all(&self.books, asks).boxed(),
        }
    }

    fn rows_at_once(&self) -> usize {
        match &self.way {
            Way::Calls(inner, _) => inner.rows_at_once(),
            Way::Batches(_) => usize::MAX,
        }
    }
}

impl Books {
    fn new(model: String, entry: &ModelEntry, budget: Budget, store: Store) -> Result<Self, llm::Error> {
        if budget.limits() && entry.prices.is_empty() {
            return Err(llm::Error::Setting {
                model: entry.name.clone(),
                says: "has no price, so that no budget could be held: a server of your own costs 0",
            });
        }
        Ok(Self { store, model, prices: entry.prices.clone().into(), budget, spent: Arc::default() })
    }

    async fn reserve(
        &self,
        rows: i32,
        reserved: Decimal,
        requests_sha256: Option<String>,
    ) -> Result<ReservedCall, llm::Error> {
        let call = NewModelCall {
            model: self.model.clone(),
            rows,
            reserved,
            currency: self.budget.currency.clone(),
            daily: self.budget.daily,
            monthly: self.budget.monthly,
            requests_sha256,
        };
        let let_through = self.store.reserve_call(&call, clock::now()).await.map_err(books)?;
        let spent = |period, limit: Option<Decimal>| llm::Error::Spent {
            period,
            limit: limit.unwrap_or_default(),
            currency: self.budget.currency.clone(),
        };
        let_through.map_err(|exceeded| match exceeded {
            Exceeded::Daily => spent("daily", self.budget.daily),
            Exceeded::Monthly => spent("monthly", self.budget.monthly),
        })
    }

    async fn settle(&self, call: ReservedCall, settled: Settled) -> Result<(), llm::Error> {
        let Settled { usage, doubtful, cost, outcome, answered } = settled;
        let count = |tokens: u32| i32::try_from(tokens).unwrap_or(i32::MAX);
        let settled = SettledCall {
            prompt_tokens: count(usage.prompt),
            cached_tokens: count(usage.cached),
            cache_written_tokens: count(usage.cache_written),
            completion_tokens: count(usage.completion),
            cost,
            doubtful_attempts: count(doubtful),
            outcome,
            answered_rows: answered.map(|rows| i32::try_from(rows).unwrap_or(i32::MAX)),
        };
        self.store.settle_call(call, &settled, clock::now()).await.map_err(books)
    }

    /// For a call that is over: its answer was paid for, and isn't lost because it can't be booked.
    async fn settle_or_warn(self, call: ReservedCall, settled: Settled) {
        if let Err(error) = self.settle(call, settled).await {
            tracing::warn!(error = %error, "a call that is over stays booked at the most it can cost");
        }
    }

    /// Adds to what this process tells of its own calls.
    fn count(&self, usage: Usage, cost: Option<Decimal>) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.calls += 1;
        spent.usage += usage;
        spent.cost += cost.unwrap_or_default();
    }

    /// A reply of the last day to a request, as if it had been given now; it is not booked again.
    async fn kept(&self, request: &str, ask: &Ask) -> Result<Option<Reply>, llm::Error> {
        let since = clock::now() - KEPT;
        let Some(kept) = self.store.kept_reply(&self.model, request, since).await.map_err(books)? else {
            return Ok(None);
        };
        let read =
            serde_json::from_value::<Vec<Answer>>(kept.answers).ok().zip(serde_json::from_value(kept.usage).ok());
        let Some((answers, usage)) = read.filter(|(answers, _)| answers.len() == ask.ids.len()) else {
            return Ok(None);
        };
        self.count(usage, kept.cost);
        Ok(Some(Reply { answers: answers.into_iter().map(Ok).collect(), usage }))
    }

    async fn keep(&self, request: &str, reply: &Reply) -> Result<(), llm::Error> {
        let now = clock::now();
        let answers: Vec<&Answer> = reply.answers.iter().flatten().collect();
        let json =
            |value: serde_json::Result<serde_json::Value>| value.map_err(|error| llm::Error::Books(Box::new(error)));
        let kept = KeptReply {
            answers: json(serde_json::to_value(answers))?,
            usage: json(serde_json::to_value(reply.usage))?,
            cost: Price::on(&self.prices, now.date_naive()).map(|price| price.of(reply.usage)),
        };
        self.store.keep_reply(&self.model, request, &kept, now, now - KEPT).await.map_err(books)
    }

    async fn take_back(&self, call: ReservedCall) -> Result<(), llm::Error> {
        self.store.take_back_call(call).await.map_err(books)
    }

    /// `false`: the batch was booked before.
    async fn name_batch(&self, call: ReservedCall, batch: &str) -> Result<bool, llm::Error> {
        self.store.name_batch(call, &self.model, batch).await.map_err(books)
    }
}

/// Books what fine-tuning costs, which is billed once, after hours.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// Where it is booked.
    pub store: &'a Store,
    /// The model that learns.
    pub entry: &'a ModelEntry,
    /// What may be spent.
    pub budget: &'a Budget,
}

impl Training<'_> {
    /// Books what training on so many tokens, all epochs together, will about cost.
    ///
    /// # Errors
    /// When that passes a budget, or there is a budget and no price of training.
    pub async fn reserve(&self, rows: i32, tokens: u64) -> Result<ReservedCall, llm::Error> {
        let price = Price::on(&self.entry.prices, clock::now().date_naive());
        let cost = price.and_then(|price| price.of_training(tokens));
        if self.budget.limits() && cost.is_none() {
            return Err(llm::Error::Setting {
                model: self.entry.name.clone(),
                says: "has no price of training, so that no budget could be held",
            });
        }
        self.books().reserve(rows, cost.unwrap_or_default(), None).await
    }

    /// Books what it cost: these tokens at the price of the day on which it began.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle(
        &self,
        call: ReservedCall,
        begun: DateTime<Utc>,
        tokens: u64,
        status: &str,
    ) -> Result<(), llm::Error> {
        let price = Price::on(&self.entry.prices, begun.date_naive());
        let cost = price.and_then(|price| price.of_training(tokens));
        let usage = Usage { prompt: u32::try_from(tokens).unwrap_or(u32::MAX), ..Usage::default() };
        let outcome = if status == "succeeded" { "answered" } else { "failed" };
        self.books().settle(call, Settled { usage, doubtful: 0, cost, outcome, answered: None }).await
    }

    /// Takes a booking back: the provider said no before any work.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_unbilled(&self, call: ReservedCall) -> Result<(), llm::Error> {
        let nothing = Settled {
            usage: Usage::default(),
            doubtful: 0,
            cost: Some(Decimal::ZERO),
            outcome: "failed",
            answered: None,
        };
        self.books().settle(call, nothing).await
    }

    fn books(&self) -> Books {
        Books {
            store: self.store.clone(),
            model: format!("{}/{}:training", self.entry.name, self.entry.model),
            prices: self.entry.prices.clone().into(),
            budget: self.budget.clone(),
            spent: Arc::default(),
        }
    }
}

fn books(source: crate::store::Error) -> llm::Error {
    llm::Error::Books(Box::new(source))
}

/// A call under way. Dropped before it was settled, the caller has gone: every attempt so far may have been billed.
struct Open<'a> {
    books: Books,
    call: Option<ReservedCall>,
    once: Option<Decimal>,
    attempts: &'a Attempts,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let (Some(call), Ok(runtime)) = (self.call.take(), tokio::runtime::Handle::try_current()) else { return };
        let (books, doubtful) = (self.books.clone(), self.attempts.count());
        let cost = self.once.map(|once| once * Decimal::from(doubtful));
        runtime.spawn(async move {
            books.count(Usage::default(), cost);
            let settled = Settled { usage: Usage::default(), doubtful, cost, outcome: "given_up", answered: Some(0) };
            books.settle_or_warn(call, settled).await;
        });
    }
}
