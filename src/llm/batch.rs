//! Batches of a provider of OpenAI's format: the requests of chat completions in a file, answered within a
//! day at a lower price.
//!
//! Answers come in any order and some don't come: they are joined by `custom_id`, never by place. What is submitted
//! twice is one batch, so a process that died while it submitted, or waited, submits again and goes on. Not where a
//! batch is booked and waited for: [`spend`](crate::spend) does both.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Ask, ModelEntry, Reply,
    call::Call,
    files::{self, Listed, MARK},
    openai,
    redact::Covered,
    wire::Wire,
};
const BATCHES: &str = "/batches";
const ENDPOINT: &str = "/v1/chat/completions";
/// Requests that one file may hold.
pub const MOST_REQUESTS: usize = 50_000;
/// Bytes that one file may hold.
pub const MOST_BYTES: usize = 200_000_000;

/// Why a batch could not be submitted or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be asked.
    #[error(transparent)]
    Llm(#[from] super::Error),
    /// One request that no file holds.
    #[error("a batch holds at most {MOST_BYTES} bytes, and one request has {bytes}")]
    Bytes {
        /// How many it has.
        bytes: usize,
    },
    /// A request that can't be written as JSON.
    #[error("a request can't be written")]
    Write(#[source] serde_json::Error),
    /// It has no results yet.
    #[error("the batch is not done: {status}")]
    Unfinished {
        /// The provider's word for where it stands.
        status: String,
    },
    /// The provider would not do it.
    #[error("the batch came to nothing: {status} ({code})")]
    CameToNothing {
        /// The provider's word for where it stands.
        status: String,
        /// And for why.
        code: String,
    },
}

/// Why one request of a batch has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// Neither file of the batch has it.
    #[error("the batch has no answer to it")]
    Missing,
    /// The files have it more than once.
    #[error("the batch has more than one answer to it")]
    Twice,
    /// The batch ended before it was asked.
    #[error("the batch ended before it was asked")]
    Expired,
    /// It failed.
    #[error("it failed (status {status}, {code})")]
    Failed {
        /// The HTTP status; 0 where there was none.
        status: u16,
        /// The server's word for it.
        code: String,
    },
    /// Its answer is not of the protocol.
    #[error("its answer is not of the protocol")]
    Malformed,
}

/// A batch as the provider tells of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Batch {
    /// The provider's name of it: what is kept to poll it later.
    pub id: String,
    /// Where it stands, in the provider's word.
    pub status: String,
    /// The file of the answers.
    #[serde(default)]
    pub output_file_id: Option<String>,
    /// The file of the requests that failed.
    #[serde(default)]
    pub error_file_id: Option<String>,
    /// How far it is.
    #[serde(default)]
    pub request_counts: Option<RequestCounts>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    errors: Option<BatchErrors>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct BatchErrors {
    #[serde(default)]
    data: Vec<LineError>,
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct RequestCounts {
    /// Requests.
    pub total: u64,
    /// Those that were answered.
    pub completed: u64,
    /// Those that failed.
    pub failed: u64,
}

impl Batch {
    /// Whether nothing more will come: what there is of it can be read.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "expired" | "cancelled")
    }

    /// Whether it has ended without anything that could be read.
    fn came_to_nothing(&self) -> bool {
        self.is_final() && self.status != "completed" && self.output_file_id.is_none()
    }

    fn code(&self) -> Option<String> {
        self.errors.as_ref()?.data.iter().find_map(|error| error.code.clone())
    }
}

impl BatchFault {
    /// Whether the same request may succeed in another batch.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Failed { status, .. } => !(400..500).contains(status) || matches!(status, 408 | 409 | 429),
            Self::Missing | Self::Twice | Self::Expired | Self::Malformed => true,
        }
    }
}

/// Requests that go into one file.
pub struct BatchFile {
    /// Which of all the requests.
    pub range: Range<usize>,
    /// SHA-256 of its lines: the same requests are the same batch.
    pub sha256: String,
    lines: Vec<u8>,
}

impl Listed for Batch {
    fn id(&self) -> &str {
        &self.id
    }
}

/// The batches of one model.
pub struct Batches {
    wire: Wire,
    entry: ModelEntry,
}

impl Batches {
    /// Those of the model that an entry describes.
    ///
    /// # Errors
    /// When its key is missing, a setting can't be, or the provider has no batches of this format.
    pub fn new(entry: &ModelEntry) -> Result<Self, Error> {
        Ok(Self { wire: files::wire(entry)?, entry: entry.clone() })
    }

    /// The files that requests go into, without personal data unless the server is one of your own. A request's
    /// `custom_id` is its place in its file.
    ///
    /// # Errors
    /// When one request is larger than a file may be.
    pub fn files(&self, asks: &[Ask]) -> Result<Vec<BatchFile>, Error> {
        let mut files: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
        for (place, ask) in asks.iter().enumerate() {
            let line = |id: usize| {
                let body = self.covered(ask).body;
                let line = json!({"custom_id": id.to_string(), "method": "POST", "url": ENDPOINT, "body": body});
                let mut line = serde_json::to_vec(&line).map_err(Error::Write)?;
                line.push(b'\n');
                Ok::<_, Error>(line)
            };
            if let Some((range, lines)) = files.last_mut().filter(|(range, _)| range.len() < MOST_REQUESTS) {
                let line = line(range.len())?;
                if lines.len() + line.len() <= MOST_BYTES {
                    lines.extend(line);
                    range.end += 1;
                    continue;
                }
            }
            let line = line(0)?;
            if line.len() > MOST_BYTES {
                return Err(Error::Bytes { bytes: line.len() });
            }
            files.push((place..place + 1, line));
        }
        let named = |(range, lines): (Range<usize>, Vec<u8>)| BatchFile { range, sha256: files::hash(&lines), lines };
        Ok(files.into_iter().map(named).collect())
    }

    /// Makes a batch of a file. The same file again is the same batch, unless nothing came of it, or it is one of those
    /// that are `spent`.
    ///
    /// # Errors
    /// When the server can't be asked or refuses.
    pub async fn submit(&self, requests: &BatchFile, spent: &HashSet<String>) -> Result<Batch, Error> {
        let mark = &requests.sha256;
        let file = files::upload(&self.wire, "batch", &requests.lines).await?;
        let body = json!({
            "input_file_id": file,
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": {MARK: mark},
        });
        let same = |batch: &Batch| batch.metadata.as_ref().and_then(|metadata| metadata.get(MARK)) == Some(mark);
        // The newest comes first: where it came to nothing, the next is another.
        let before = match files::find(&self.wire, BATCHES, None, same).await? {
            Some(batch) if batch.came_to_nothing() || spent.contains(&batch.id) => batch.id,
            Some(batch) => return Ok(batch),
            None => String::new(),
        };
        let key = format!("{MARK}-batch-{mark}-{before}");
        let alive = |batch: &Batch| same(batch) && !batch.came_to_nothing() && !spent.contains(&batch.id);
        let find = || -> BoxFuture<'_, Result<Option<Batch>, super::Error>> {
            Box::pin(files::find(&self.wire, BATCHES, None, alive))
        };
        Ok(files::create_once(&self.wire, &Call::create(BATCHES, &body, &key), find).await?)
    }

    /// Where a batch stands.
    ///
    /// # Errors
    /// When the server can't be asked, or knows no such batch.
    pub async fn poll(&self, id: &str) -> Result<Batch, Error> {
        let body = self.wire.call(&Call::get(&format!("{BATCHES}/{id}"), &[])).await?;
        Ok(serde_json::from_value(body).map_err(super::Error::Protocol)?)
    }

    /// What came of each request of a batch that is done: `asks` are those of its file, in that order.
    ///
    /// # Errors
    /// When the batch is not done or came to nothing, or the server can't be asked.
    pub async fn results(&self, batch: &Batch, asks: &[Ask]) -> Result<Vec<Result<Reply, BatchFault>>, Error> {
        let status = batch.status.clone();
        if !batch.is_final() {
            return Err(Error::Unfinished { status });
        }
        if batch.came_to_nothing() {
            return Err(Error::CameToNothing { status, code: code(batch.code()) });
        }
        let mut results: HashMap<usize, Result<Reply, BatchFault>> = HashMap::with_capacity(asks.len());
        let mut passed_over = 0_usize;
        for file in [&batch.output_file_id, &batch.error_file_id].into_iter().flatten() {
            let content = self.wire.content(&format!("/files/{file}/content")).await?;
            for line in content.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
                let said: Option<Line> = serde_json::from_slice(line).ok();
                let asked = said.and_then(|said| {
                    let place: usize = said.custom_id.parse().ok()?;
                    Some((place, asks.get(place)?, said))
                });
                let Some((place, ask, said)) = asked else {
                    passed_over += 1;
                    continue;
                };
                let result = self.result(said, ask);
                results.entry(place).and_modify(|there| *there = Err(BatchFault::Twice)).or_insert(result);
            }
        }
        if passed_over > 0 {
            tracing::warn!(lines = passed_over, "A batch has lines of no request that was submitted");
        }
        let missing = if status == "expired" { BatchFault::Expired } else { BatchFault::Missing };
        Ok((0..asks.len()).map(|place| results.remove(&place).unwrap_or_else(|| Err(missing.clone()))).collect())
    }

    fn covered(&self, ask: &Ask) -> Covered {
        let body = openai::body(&self.entry, self.entry.structured, ask);
        if self.wire.covers() { Covered::of(body, &ask.own) } else { Covered::nothing(body) }
    }

    fn result(&self, said: Line, ask: &Ask) -> Result<Reply, BatchFault> {
        match (said.response, said.error) {
            (Some(response), _) if response.status_code == 200 => {
                let mut body = response.body;
                self.covered(ask).restore(&mut body);
                openai::read(body, ask).map_err(|_| BatchFault::Malformed)
            }
            (_, Some(LineError { code: Some(code) })) if code == "batch_expired" => Err(BatchFault::Expired),
            (Some(response), error) => {
                let told = response.body["error"]["code"].as_str().map(str::to_owned);
                Err(BatchFault::Failed {
                    status: response.status_code,
                    code: code(told.or(error.and_then(|error| error.code))),
                })
            }
            (None, Some(error)) => Err(BatchFault::Failed { status: 0, code: code(error.code) }),
            (None, None) => Err(BatchFault::Malformed),
        }
    }
}

fn code(code: Option<String>) -> String {
    code.unwrap_or_else(|| "no code".to_owned())
}

/// A line of a batch's files.
#[derive(Deserialize)]
struct Line {
    custom_id: String,
    #[serde(default)]
    response: Option<LineResponse>,
    #[serde(default)]
    error: Option<LineError>,
}

#[derive(Deserialize)]
struct LineResponse {
    status_code: u16,
    #[serde(default)]
    body: Value,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct LineError {
    #[serde(default)]
    code: Option<String>,
}
