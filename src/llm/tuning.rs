//! Fine-tuning jobs of a provider of OpenAI's format, and the list of its models.
//!
//! Shapes are those of OpenAI's OpenAPI document (`CreateFineTuningJobRequest`, `FineTuningJob`); a test holds them
//! to it. A status is kept as the provider words it: one that is not known here is a job that goes on.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::NaiveDate;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Error, ModelEntry,
    call::Call,
    files::{self, Listed, MARK},
    redact,
    wire::Wire,
};

const JOBS: &str = "/fine_tuning/jobs";

/// How a model learns from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// From right answers.
    Supervised,
    /// From pairs of a better and a worse answer (direct preference optimization).
    Dpo,
}

impl Method {
    /// The provider's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Supervised => "supervised",
            Self::Dpo => "dpo",
        }
    }
}

/// What a tuned model's name ends in: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suffix(String);

/// Text that can't end a model's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be 1 to 64 letters, digits, `-` and `_`")]
pub struct InvalidSuffix;

impl FromStr for Suffix {
    type Err = InvalidSuffix;

    fn from_str(text: &str) -> Result<Self, InvalidSuffix> {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if plain && (1..=64).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(InvalidSuffix) }
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// The provider's name of the model that learns.
    pub model: String,
    /// The provider's name of the file that it learns from.
    pub training_file: String,
    /// How.
    pub method: Method,
    /// Passes over the file; the provider chooses where there is no number.
    pub epochs: Option<u32>,
    /// What the tuned model's name ends in.
    pub suffix: Option<Suffix>,
    /// Seeds the provider's choices, up to 2147483647.
    pub seed: Option<u32>,
    /// What the job is found by: the same for two requests that mean one job.
    pub mark: String,
    /// Another for a job that takes the place of one that came to nothing.
    pub attempt: i64,
}

/// A job as the provider tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The provider's name of it.
    pub id: String,
    /// Where it stands, in the provider's word.
    pub status: String,
    /// The tuned model, when there is one.
    #[serde(default)]
    pub fine_tuned_model: Option<String>,
    /// Tokens that are billed, when they are known.
    #[serde(default)]
    pub trained_tokens: Option<u64>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<JobError>,
    /// What it is found by.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobError {
    /// The provider's word for it.
    #[serde(default)]
    pub code: Option<String>,
    /// In words. They may repeat what a line says.
    #[serde(default)]
    pub message: Option<String>,
}

impl Job {
    /// Whether a status is one after which no other comes.
    #[must_use]
    pub fn is_final(status: &str) -> bool {
        matches!(status, "succeeded" | "failed" | "cancelled")
    }

    /// Whether nothing came of a job of that status, so that another may take its place.
    #[must_use]
    pub fn came_to_nothing(status: &str) -> bool {
        matches!(status, "failed" | "cancelled")
    }
}

impl Listed for Job {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The provider's name of it.
    pub id: String,
    /// When, in seconds since 1970.
    pub created_at: i64,
    /// `info`, `warn` or `error`.
    #[serde(default)]
    pub level: String,
    /// In words.
    #[serde(default)]
    pub message: String,
}

impl Listed for Event {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A model as the provider lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedModel {
    /// Its name.
    pub id: String,
    /// Whose it is.
    #[serde(default)]
    pub owned_by: String,
    /// The day on which it stops, where one is announced.
    #[serde(default)]
    pub shutdown_date: Option<NaiveDate>,
}

impl Listed for ListedModel {
    fn id(&self) -> &str {
        &self.id
    }
}

/// The fine-tuning of one provider.
pub struct Tuning {
    wire: Wire,
}

impl Tuning {
    /// That of the provider of a model's entry.
    ///
    /// # Errors
    /// When its key is missing, a setting can't be, or the provider has no fine-tuning of this format.
    pub fn new(entry: &ModelEntry) -> Result<Self, Error> {
        Ok(Self { wire: files::wire(entry)? })
    }

    /// The lines of a training file as they may leave: covered, unless the server is one of your own.
    ///
    /// # Errors
    /// When a line is not JSON.
    pub fn lines(&self, text: &str) -> Result<Vec<u8>, serde_json::Error> {
        if self.wire.covers() { redact::cover_lines(text) } else { Ok(text.as_bytes().to_vec()) }
    }

    /// Puts a training file on the server, unless it is there, and says what it is called there.
    ///
    /// # Errors
    /// When the server can't be asked, or refuses.
    pub async fn upload(&self, lines: &[u8]) -> Result<String, Error> {
        files::upload(&self.wire, "fine-tune", lines).await
    }

    /// Deletes a training file.
    ///
    /// # Errors
    /// When the server can't be asked, or refuses.
    pub async fn delete_file(&self, id: &str) -> Result<(), Error> {
        files::delete(&self.wire, id).await
    }

    /// Creates a job, unless one of its mark is there and did not come to nothing.
    ///
    /// # Errors
    /// When the server can't be asked, or refuses.
    pub async fn create(&self, job: &NewJob) -> Result<Job, Error> {
        let key = format!("{MARK}-job-{}-{}", job.mark, job.attempt);
        let same = |listed: &Job| {
            let mark = listed.metadata.as_ref().and_then(|metadata| metadata.get(MARK));
            mark == Some(&job.mark) && !Job::came_to_nothing(&listed.status)
        };
        let find = || -> BoxFuture<'_, Result<Option<Job>, Error>> {
            Box::pin(files::find(&self.wire, JOBS, Some(("metadata[txcat]", &job.mark)), same))
        };
        files::create_once(&self.wire, &Call::create(JOBS, &body(job), &key), find).await
    }

    /// Where a job stands.
    ///
    /// # Errors
    /// When the server can't be asked, or knows no such job.
    pub async fn job(&self, id: &str) -> Result<Job, Error> {
        read(self.wire.call(&Call::get(&format!("{JOBS}/{id}"), &[])).await?)
    }

    /// Stops a job.
    ///
    /// # Errors
    /// When the server can't be asked, or refuses.
    pub async fn cancel(&self, id: &str) -> Result<Job, Error> {
        read(self.wire.call(&Call::act(&format!("{JOBS}/{id}/cancel"))).await?)
    }

    /// What happened to a job, oldest first.
    ///
    /// # Errors
    /// When the server can't be asked, or knows no such job.
    pub async fn events(&self, id: &str) -> Result<Vec<Event>, Error> {
        let mut events: Vec<Event> = files::all(&self.wire, &format!("{JOBS}/{id}/events")).await?;
        events.reverse();
        Ok(events)
    }

    /// The models that the provider has.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub async fn models(&self) -> Result<Vec<ListedModel>, Error> {
        let page: files::Page<ListedModel> = read(self.wire.call(&Call::get("/models", &[])).await?)?;
        Ok(page.data)
    }
}

fn read<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, Error> {
    serde_json::from_value(body).map_err(Error::Protocol)
}

fn body(job: &NewJob) -> Value {
    let mut hyperparameters = json!({});
    if let Some(epochs) = job.epochs {
        hyperparameters["n_epochs"] = epochs.into();
    }
    let mut method = json!({"type": job.method.as_str()});
    method[job.method.as_str()] = json!({"hyperparameters": hyperparameters});
    let mut body = json!({
        "model": job.model,
        "training_file": job.training_file,
        "method": method,
        "metadata": {MARK: job.mark},
    });
    if let Some(suffix) = &job.suffix {
        body["suffix"] = suffix.to_string().into();
    }
    if let Some(seed) = job.seed {
        body["seed"] = seed.into();
    }
    body
}
