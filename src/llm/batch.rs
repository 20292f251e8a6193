//! Batches of a provider of OpenAI's format: the requests of chat completions in a file, answered within a
//! day at a lower price.
//!
//! Answers come in any order and some don't come: they are joined by `custom_id`, never by place. What is submitted
//! twice is one batch, so a process that died while it submitted submits again. Not where a batch is booked.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Ask, ModelEntry, Reply,
    call::Call,
    files::{self, Listed, MARK},
    openai,
    redact::Covered,
    wire::{Answered, Wire},
};
use crate::domain::pii;

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
    /// More requests than a file holds, or none.
    #[error("a batch holds from 1 to {MOST_REQUESTS} requests, not {requests}")]
    Requests {
        /// How many there are.
        requests: usize,
    },
    /// More bytes than a file holds.
    #[error("a batch holds at most {MOST_BYTES} bytes, not {bytes}")]
    Bytes {
        /// How many there are.
        bytes: usize,
    },
    /// Ids that can't be joined on, or that say who somebody is.
    #[error("custom ids must be given once each, have 1 to 512 characters and hold no personal data")]
    CustomId,
    /// A request that can't be written as JSON.
    #[error("a request can't be written")]
    Write(#[source] serde_json::Error),
    /// It has no results yet.
    #[error("the batch is not done: {status}")]
    Unfinished {
        /// The provider's word for where it stands.
        status: String,
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

    fn came_to_nothing(&self) -> bool {
        self.is_final() && self.status != "completed"
    }
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

    /// Puts requests into one batch, each under an id that means nothing elsewhere. The same requests again are the
    /// same batch, unless it failed, expired or was cancelled.
    ///
    /// # Errors
    /// When there are too many, ids can't be joined on, or the server can't be asked or refuses.
    pub async fn submit(&self, requests: &[(String, Ask)]) -> Result<Batch, Error> {
        let lines = self.lines(requests)?;
        let mark = files::hash(&lines);
        let file = files::upload(&self.wire, "batch", &lines).await?;
        let body = json!({
            "input_file_id": file,
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": {MARK: mark},
        });
        let same = |batch: &Batch| batch.metadata.as_ref().and_then(|metadata| metadata.get(MARK)) == Some(&mark);
        // The newest comes first: where it came to nothing, the next is another.
        let before = match files::find(&self.wire, BATCHES, None, same).await? {
            Some(batch) if batch.came_to_nothing() => batch.id,
            Some(batch) => return Ok(batch),
            None => String::new(),
        };
        let key = format!("{MARK}-batch-{mark}-{before}");
        let alive = |batch: &Batch| same(batch) && !batch.came_to_nothing();
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

    /// What came of each request: `requests` are those that were submitted.
    ///
    /// # Errors
    /// When the batch is not done, or the server can't be asked.
    pub async fn results(
        &self,
        id: &str,
        requests: &[(String, Ask)],
    ) -> Result<HashMap<String, Result<Reply, BatchFault>>, Error> {
        let batch = self.poll(id).await?;
        if !batch.is_final() {
            return Err(Error::Unfinished { status: batch.status });
        }
        let asks: HashMap<&str, &Ask> = requests.iter().map(|(id, ask)| (id.as_str(), ask)).collect();
        let mut results: HashMap<String, Result<Reply, BatchFault>> = HashMap::with_capacity(asks.len());
        let mut passed_over = 0_usize;
        for file in [batch.output_file_id, batch.error_file_id].into_iter().flatten() {
            let content = self.wire.content(&format!("/files/{file}/content")).await?;
            for line in content.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
                let said: Option<Line> = serde_json::from_slice(line).ok();
                let asked = said.and_then(|said| Some((*asks.get(said.custom_id.as_str())?, said)));
                let Some((ask, said)) = asked else {
                    passed_over += 1;
                    continue;
                };
                let (custom_id, result) = (said.custom_id.clone(), self.result(said, ask));
                results.entry(custom_id).and_modify(|there| *there = Err(BatchFault::Twice)).or_insert(result);
            }
        }
        if passed_over > 0 {
            tracing::warn!(lines = passed_over, "A batch has lines of no request that was submitted");
        }
        let missing = if batch.status == "expired" { BatchFault::Expired } else { BatchFault::Missing };
        for id in asks.into_keys() {
            results.entry(id.to_owned()).or_insert_with(|| Err(missing.clone()));
        }
        Ok(results)
    }

    /// The file of the requests, without personal data unless the server is one of your own.
    fn lines(&self, requests: &[(String, Ask)]) -> Result<Vec<u8>, Error> {
        if !(1..=MOST_REQUESTS).contains(&requests.len()) {
            return Err(Error::Requests { requests: requests.len() });
        }
        let mut seen = HashSet::new();
        let fit = |id: &str| (1..=512).contains(&id.len()) && pii::find(id).is_empty();
        if !requests.iter().all(|(id, _)| fit(id) && seen.insert(id)) {
            return Err(Error::CustomId);
        }
        let mut lines = Vec::new();
        for (id, ask) in requests {
            let line = json!({"custom_id": id, "method": "POST", "url": ENDPOINT, "body": self.covered(ask).body});
            serde_json::to_writer(&mut lines, &line).map_err(Error::Write)?;
            lines.push(b'\n');
        }
        if lines.len() > MOST_BYTES {
            return Err(Error::Bytes { bytes: lines.len() });
        }
        Ok(lines)
    }

    fn covered(&self, ask: &Ask) -> Covered {
        let body = openai::body(&self.entry, self.entry.structured, ask);
        if self.wire.covers() { Covered::of(body) } else { Covered::nothing(body) }
    }

    fn result(&self, said: Line, ask: &Ask) -> Result<Reply, BatchFault> {
        let code = |code: Option<String>| code.unwrap_or_else(|| "no code".to_owned());
        match (said.response, said.error) {
            (Some(response), _) if response.status_code == 200 => {
                let mut body = response.body;
                self.covered(ask).restore(&mut body);
                openai::read(Answered { body, doubtful: 0 }, ask).map_err(|_| BatchFault::Malformed)
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

#[derive(Deserialize)]
struct LineError {
    #[serde(default)]
    code: Option<String>,
}
