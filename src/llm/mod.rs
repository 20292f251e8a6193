//! Chat models: asked for the categories of a few transactions at once, they answer from a closed set.
//!
//! Not where prompts are worded ([`prompt`](crate::prompt)) nor where an answer becomes a prediction
//! ([`categorize`](crate::categorize)). A model answers by id; what it said of an id that was not asked, or of
//! none, is a [`Fault`] and never an answer.

pub mod answer;
mod anthropic;
pub mod batch;
mod breaker;
mod call;
pub mod config;
mod files;
pub mod local;
mod openai;
pub mod pricing;
pub mod redact;
pub mod tuning;
mod wire;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;

pub use config::{ModelEntry, ModelFile, Provider};
pub use pricing::Price;

use crate::{
    domain::{OwnWords, Slug},
    spans,
};

/// Requests of one caller under way at a time; a model's own limit holds beside it.
const AT_ONCE: usize = 16;

/// A model that takes a prompt and answers for each id that the prompt holds.
pub trait ChatModel: Send + Sync {
    /// Its name and the provider's, such as `small/gpt-4o-mini`: part of the engine that predictions name.
    fn name(&self) -> &str;

    /// How many transactions one request may hold.
    fn rows_per_request(&self) -> usize;

    /// How often one request may be sent, and so be billed.
    fn most_attempts(&self) -> u32;

    /// Tokens that an answer takes at most, with what the model thinks unseen.
    fn most_answer_tokens(&self, ask: &Ask) -> u32 {
        ask.most_answer_tokens()
    }

    /// Asks once, over the wire as often as failures that pass by need, and counts these attempts.
    ///
    /// Dropping the future gives the request up.
    fn ask_counted<'a>(&'a self, ask: &'a Ask, attempts: &'a Attempts) -> BoxFuture<'a, Result<Reply, Error>>;

    /// The same where nobody counts.
    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Reply, Error>> {
        async move { self.ask_counted(ask, &Attempts::default()).await }.boxed()
    }

    /// Asks all of these; replies in the same order.
    fn ask_all<'a>(&'a self, asks: &'a [Ask]) -> BoxFuture<'a, Vec<Result<Reply, Error>>> {
        each(self, asks)
    }

    /// Transactions that a caller who has many does best to bring at once.
    fn rows_at_once(&self) -> usize {
        256
    }
}

/// Asks each of these for itself, some at a time; replies in the same order.
pub fn each<'a, M: ChatModel + ?Sized>(model: &'a M, asks: &'a [Ask]) -> BoxFuture<'a, Vec<Result<Reply, Error>>> {
    stream::iter(asks).map(|ask| model.ask(ask)).buffered(AT_ONCE).collect().boxed()
}

/// Attempts of one call that may have been billed, counted as they begin: who drops the call knows how many there were.
#[derive(Debug, Default)]
pub struct Attempts(AtomicU32);

impl Attempts {
    /// How many there are, with one that is under way.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Makes one, which counts unless it surely wasn't billed.
    async fn one<T>(&self, attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let said = attempt.await;
        if said.as_ref().is_err_and(Error::surely_unbilled) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
        said
    }
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// What stays the same from request to request: it comes first, so that providers can keep it.
    pub system: String,
    /// The transactions.
    pub user: String,
    /// What of both is the prompt's own, and no transaction's.
    pub own: Arc<OwnWords>,
    /// The ids to answer for.
    pub ids: Vec<String>,
    /// The closed set of answers.
    pub categories: Arc<[Slug]>,
    /// The JSON Schema of the answer, its `category` limited to the set.
    pub schema: Arc<serde_json::Value>,
}

impl Ask {
    /// More tokens than this no answer takes.
    #[must_use]
    pub fn most_answer_tokens(&self) -> u32 {
        64 + 48 * u32::try_from(self.ids.len()).unwrap_or(u32::MAX / 64)
    }

    /// Tokens of the whole request, guessed from its length: too many rather than too few.
    #[must_use]
    pub fn prompt_tokens(&self) -> u32 {
        let bytes = self.system.len()
            + self.user.len()
            + self.categories.iter().map(|slug| slug.as_str().len() + 4).sum::<usize>();
        u32::try_from(bytes / 3 + 64).unwrap_or(u32::MAX)
    }
}

/// What a model said, and what that took.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// For each id that was asked, in that order.
    pub answers: Vec<Result<Answer, Fault>>,
    /// Tokens used.
    pub usage: Usage,
}

/// An answer for one id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// One of the closed set.
    pub category: Slug,
    /// The model's own probability of those words, in `(0, 1]`, where it tells.
    pub confidence: Option<f32>,
    /// Other categories with their probabilities, most probable first, where the model tells.
    pub others: Vec<(Slug, f32)>,
}

/// Why there is no answer for an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The id is not in the answer.
    Missing,
    /// The id is in the answer more than once.
    Duplicate,
    /// The answer has ids that nobody asked: nothing it says is trusted.
    Extra,
    /// No category of the closed set.
    OffList,
    /// Not JSON, or of another shape.
    Malformed,
    /// The model declined.
    Refused,
    /// The provider held the answer back.
    Filtered,
    /// The answer ended early.
    Truncated,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the answer leaves it out",
            Self::Duplicate => "the answer has it twice",
            Self::Extra => "the answer has ids that nobody asked",
            Self::OffList => "the answer is no category of the set",
            Self::Malformed => "the answer is not of the asked form",
            Self::Refused => "the model declined",
            Self::Filtered => "the provider held the answer back",
            Self::Truncated => "the answer ended early",
        })
    }
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of the prompt, with those that the provider had kept.
    pub prompt: u32,
    /// Of those, the ones that the provider had kept.
    pub cached: u32,
    /// Of those, the ones that the provider keeps from now on at a price of their own.
    pub cache_written: u32,
    /// Of the answer, with what the model thought unseen.
    pub completion: u32,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt += other.prompt;
        self.cached += other.cached;
        self.cache_written += other.cache_written;
        self.completion += other.completion;
    }
}

/// Why a model could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model file can't be read.
    #[error("`{}` can't be read", path.display())]
    ModelFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The model file is not of the documented shape.
    #[error("`{}` is not a model file", path.display())]
    ModelToml {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A budget that can't be.
    #[error("the model file's budget: {says}")]
    Budget {
        /// What is wrong.
        says: &'static str,
    },
    /// A setting that can't be.
    #[error("model `{model}`: {says}")]
    Setting {
        /// Which model.
        model: String,
        /// What is wrong.
        says: &'static str,
    },
    /// No model of that name.
    #[error("there is no model `{name}`: the model file has {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The key is not in the environment.
    #[error("model `{model}` needs a key in the environment variable {variable}")]
    NoKey {
        /// Which model.
        model: String,
        /// Where its key is looked for.
        variable: String,
    },
    /// The client could not be made.
    #[error("the HTTP client can't be set up")]
    Client(#[source] reqwest::Error),
    /// No connection, or one that was cut.
    #[error("the model's server can't be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No whole answer in time.
    #[error("the model did not answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// Too many requests, or the server is overloaded.
    #[error("the model's server asks to wait (status {status})")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// For how long, where it says.
        retry_after: Option<Duration>,
    },
    /// The server failed.
    #[error("the model's server failed (status {status})")]
    Failed {
        /// The HTTP status.
        status: u16,
    },
    /// The request was refused for what it is.
    #[error("the model's server refused the request (status {status}, {code})")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The server's word for it.
        code: String,
    },
    /// The server's answer is not of the protocol.
    #[error("the model's server does not speak the protocol")]
    Protocol(#[source] serde_json::Error),
    /// It was tried as often as it may be.
    #[error("{address} gave no answer that can be used")]
    GivenUp {
        /// What was asked, without its query.
        address: String,
        /// Attempts that may have been billed all the same.
        doubtful: u32,
        /// Why the last one failed.
        source: Arc<Error>,
    },
    /// Too many failures in a row: it is not asked for a while.
    #[error("it failed {failures} times in a row and is not asked for another {} s", wait.as_secs().max(1))]
    Resting {
        /// How many.
        failures: u32,
        /// For how long.
        wait: Duration,
        /// Why it failed last.
        #[source]
        last: Arc<Error>,
    },
    /// The call could pass a budget.
    #[error("the {period} budget of {limit} {currency} for models would be passed")]
    Spent {
        /// `daily` or `monthly`.
        period: &'static str,
        /// The limit.
        limit: rust_decimal::Decimal,
        /// In which currency.
        currency: String,
    },
    /// What keeps the books failed: no call is made that could not be booked.
    #[error("what models cost can't be booked")]
    Books(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The batch that the request went into failed as a whole.
    #[error("the batch could not be done")]
    Batch(#[source] Arc<batch::Error>),
    /// The request's own line of a batch has no reply.
    #[error("the batch holds no reply to the request")]
    BatchFault(#[from] batch::BatchFault),
    /// The model that runs here failed.
    #[error("the local model failed")]
    Local(#[source] Box<local::Error>),
}

impl From<local::Error> for Error {
    fn from(source: local::Error) -> Self {
        Self::Local(Box::new(source))
    }
}

impl Error {
    /// What failed last.
    fn last(&self) -> &Self {
        match self {
            Self::GivenUp { source, .. } => source.last(),
            error => error,
        }
    }

    /// Attempts that may have been billed without an answer.
    #[must_use]
    pub fn doubtful(&self) -> u32 {
        match self {
            Self::GivenUp { doubtful, .. } => *doubtful,
            error => u32::from(!error.surely_unbilled()),
        }
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self.last(),
            Self::Unreachable(_) | Self::TimedOut { .. } | Self::Busy { .. } | Self::Failed { .. } | Self::Protocol(_)
        )
    }

    /// Whether the server surely did not bill the last attempt: it said no before any work.
    #[must_use]
    pub fn surely_unbilled(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Protocol(_) | Self::Failed { .. } => false,
            Self::Unreachable(source) => source.is_connect(),
            _ => true,
        }
    }

    /// Whether a stage may answer in another way instead: not when the settings are wrong.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self.last() {
            Self::Batch(source) => match source.as_ref() {
                batch::Error::Llm(error) => error.is_outage(),
                _ => true,
            },
            Self::BatchFault(fault) => fault.may_pass(),
            // An empty account, a revoked key, a model that is gone: nothing that the caller can mend.
            Self::Resting { .. } | Self::Spent { .. } | Self::Rejected { .. } => true,
            _ => self.may_pass(),
        }
    }

    /// Whether the server knows nothing of what was asked for.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.last(), Self::Rejected { status: 404, .. })
    }

    /// A word for the kind of failure.
    fn kind(&self) -> &'static str {
        match self.last() {
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut { .. } => "timeout",
            Self::Busy { .. } => "busy",
            Self::Failed { .. } => "server_error",
            Self::Rejected { .. } => "rejected",
            Self::Protocol(_) => "protocol",
            Self::Resting { .. } => "resting",
            _ => "_OTHER",
        }
    }

    /// How long the server asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Asks a hosted model, as a trace tells it.
async fn traced(
    provider: &str,
    model: &str,
    most_tokens: u32,
    call: impl Future<Output = Result<Reply, Error>>,
) -> Result<Reply, Error> {
    let span = spans::chat(provider, model, most_tokens);
    let reply = call.instrument(span.clone()).await;
    match &reply {
        Ok(reply) => spans::used(&span, reply.usage.prompt, reply.usage.completion),
        Err(error) => spans::failed(&span, error.kind()),
    }
    reply
}

/// A model as its entry describes it.
///
/// # Errors
/// When its key is missing or a setting can't be.
pub fn open(entry: &ModelEntry) -> Result<Arc<dyn ChatModel>, Error> {
    Ok(match entry.provider {
        Provider::Openai => Arc::new(openai::OpenAi::new(entry)?),
        Provider::Anthropic => Arc::new(anthropic::Anthropic::new(entry)?),
        Provider::Gguf => Arc::new(local::LocalModel::open(entry)?),
    })
}

/// The body of a request as it leaves the machine: personal data covered, unless the entry says otherwise.
#[must_use]
pub fn as_sent(entry: &ModelEntry, ask: &Ask) -> serde_json::Value {
    let body = match entry.provider {
        Provider::Openai => openai::body(entry, entry.structured, ask),
        Provider::Anthropic => anthropic::body(entry, ask),
        Provider::Gguf => serde_json::json!({ "system": ask.system, "user": ask.user }),
    };
    if entry.send_personal_data { body } else { redact::Covered::of(body, &ask.own).body }
}
