//! Jobs at a provider, kept in the store: created once, followed across restarts, booked like every paid call.
//!
//! Creating goes in steps that are each kept: claimed, booked, uploaded, created. Whoever finds an unfinished one
//! goes on where it stood. The provider is asked between database transactions, never within one.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Error, validate::Report};
use crate::{
    llm::{
        ModelEntry,
        pricing::Budget,
        tuning::{Job, Method, NewJob, Suffix, Tuning},
    },
    spend::Training,
    store::{Claim, FinetuneJob, FinetuneNews, NewFinetuneJob, Store},
};

/// How long a process that creates a job may be silent before another goes on in its place.
const CLAIM: TimeDelta = TimeDelta::minutes(30);

/// What to train, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The training file's text.
    pub text: String,
    /// How to learn from it.
    pub method: Method,
    /// Passes over it. [default: the cookbook's choice]
    pub epochs: Option<u32>,
    /// What the tuned model's name ends in.
    pub suffix: Option<Suffix>,
    /// Seeds the provider's choices.
    pub seed: Option<u32>,
}

/// Whether a job is new.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It was created now.
    New(FinetuneJob),
    /// It was there: nothing was uploaded and nothing will be billed again.
    There(FinetuneJob),
}

/// One provider's jobs.
pub struct Jobs<'a> {
    store: &'a Store,
    entry: &'a ModelEntry,
    tuning: Tuning,
    training: Training<'a>,
}

impl<'a> Jobs<'a> {
    /// Those of the provider of a model's entry.
    ///
    /// # Errors
    /// When its key is missing, a setting can't be, or the provider has no fine-tuning of this format.
    pub fn new(store: &'a Store, entry: &'a ModelEntry, budget: &'a Budget) -> Result<Self, Error> {
        let tuning = Tuning::new(entry)?;
        Ok(Self { store, entry, tuning, training: Training { store, entry, budget } })
    }

    /// What is asked of the provider beside jobs.
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// Creates a job, unless the same file is being trained on by the same model, or was with success.
    ///
    /// # Errors
    /// When the file is not fit to train on, a budget would be passed, or the provider can't be asked or refuses.
    pub async fn create(&self, order: &Order, now: DateTime<Utc>) -> Result<Created, Error> {
        let report = Report::of(&order.text);
        let (lines, preferences, faults) = (report.lines, report.preferences, report.bad_lines());
        if faults > 0 || lines == 0 {
            return Err(Error::Unfit { faults, lines });
        }
        if report.foreign > 0 {
            return Err(Error::Foreign { foreign: report.foreign, lines });
        }
        if report.is_short() {
            return Err(Error::Short { lines });
        }
        let wanted = if order.method == Method::Dpo { lines } else { 0 };
        if preferences != wanted {
            return Err(Error::Method { preferences, lines });
        }
        let leaving = self.tuning.lines(&order.text)?;
        let epochs = order.epochs.unwrap_or_else(|| report.epochs());
        let new = NewFinetuneJob {
            entry: self.entry.name.clone(),
            base_url: self.entry.base_url.trim_end_matches('/').to_owned(),
            model: self.entry.model.clone(),
            file_sha256: hex::encode(Sha256::digest(&leaving)),
            method: order.method.as_str().to_owned(),
            settings: json!({
                "epochs": epochs,
                "suffix": order.suffix.as_ref().map(ToString::to_string),
                "seed": order.seed,
            }),
            rows: i32::try_from(lines).unwrap_or(i32::MAX),
        };
        let id = match self.store.claim_finetune_job(&new, now, now + CLAIM).await? {
            Claim::Ours(id) => id,
            Claim::Theirs(id) => return Ok(Created::There(self.stored(id).await?)),
        };
        let job = NewJob {
            model: new.model.clone(),
            training_file: String::new(),
            method: order.method,
            epochs: Some(epochs),
            suffix: order.suffix.clone(),
            seed: order.seed,
            mark: mark(&new),
            attempt: id,
        };
        let tokens = report.booked_tokens(epochs);
        let created = self.create_claimed(id, job, &leaving, tokens, now).await;
        if let Err(error) = &created {
            self.let_go(id, error).await?;
        }
        created?;
        Ok(Created::New(self.stored(id).await?))
    }

    async fn create_claimed(
        &self,
        id: i64,
        mut job: NewJob,
        lines: &[u8],
        tokens: u64,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let stored = self.stored(id).await?;
        if stored.reserved().is_none() {
            let call = self.training.reserve(stored.rows, tokens).await?;
            self.store.book_finetune_job(id, Some(call)).await?;
        }
        job.training_file = match stored.training_file {
            Some(file) => file,
            None => {
                let file = self.tuning.upload(lines).await?;
                self.store.uploaded_finetune_file(id, &file).await?;
                file
            }
        };
        let created = self.tuning.create(&job).await?;
        Ok(self.store.note_finetune_job(id, &created.id, &news(&created), now).await?)
    }

    /// A job whose creation failed is free again; what surely was not billed is not booked either.
    async fn let_go(&self, id: i64, error: &Error) -> Result<(), Error> {
        let surely_unbilled = matches!(error, Error::Llm(error) if error.doubtful() == 0);
        if let Some(call) = self.stored(id).await?.reserved().filter(|_| surely_unbilled) {
            self.training.settle_unbilled(call).await?;
            self.store.book_finetune_job(id, None).await?;
        }
        Ok(self.store.release_finetune_job(id).await?)
    }

    /// Asks where a job stands, keeps it, and settles its booking when it is done.
    ///
    /// # Errors
    /// When it was never created, or the provider can't be asked.
    pub async fn refresh(&self, job: &FinetuneJob, now: DateTime<Utc>) -> Result<FinetuneJob, Error> {
        let name = job.job.as_deref().ok_or(Error::NotCreated)?;
        self.keep(job, &self.tuning.job(name).await?, now).await
    }

    /// Stops a job. One that never came to the provider is given up here.
    ///
    /// # Errors
    /// When it is being created, or may be at the provider and nobody knows, or the provider can't be asked or refuses.
    pub async fn cancel(&self, job: &FinetuneJob, now: DateTime<Utc>) -> Result<FinetuneJob, Error> {
        if let Some(name) = job.job.as_deref() {
            return match self.tuning.cancel(name).await {
                Ok(told) => self.keep(job, &told, now).await,
                // The provider knows no such job, and so nothing more will be heard of it.
                Err(error) if error.is_not_found() => {
                    let lost = FinetuneNews {
                        status: "cancelled".to_owned(),
                        is_final: true,
                        fine_tuned_model: None,
                        trained_tokens: None,
                        error_code: Some("not_found".to_owned()),
                    };
                    self.store.note_finetune_job(job.id, name, &lost, now).await?;
                    self.stored(job.id).await
                }
                Err(error) => Err(error.into()),
            };
        }
        if job.reserved_call.is_some() {
            return Err(Error::MayBeThere);
        }
        if !self.store.give_up_finetune_job(job.id, now).await? {
            return Err(Error::BeingCreated);
        }
        self.stored(job.id).await
    }

    /// Books what the provider's bill says of a job that ended without saying it, such as a cancelled one.
    ///
    /// # Errors
    /// When the job goes on, when its tokens are known, or when the database fails.
    pub async fn settle(&self, job: &FinetuneJob, tokens: u64, now: DateTime<Utc>) -> Result<FinetuneJob, Error> {
        if !job.is_unsettled() {
            return Err(Error::Settled { status: job.status.clone() });
        }
        if let Some(call) = job.reserved() {
            self.training.settle(call, job.created_at, tokens, &job.status).await?;
        }
        let name = job.job.as_deref().ok_or(Error::NotCreated)?;
        let trained_tokens = i64::try_from(tokens).ok();
        let news = FinetuneNews {
            status: job.status.clone(),
            is_final: true,
            fine_tuned_model: job.fine_tuned_model.clone(),
            trained_tokens,
            error_code: job.error_code.clone(),
        };
        self.store.note_finetune_job(job.id, name, &news, now).await?;
        self.stored(job.id).await
    }

    async fn keep(&self, job: &FinetuneJob, told: &Job, now: DateTime<Utc>) -> Result<FinetuneJob, Error> {
        self.store.note_finetune_job(job.id, &told.id, &news(told), now).await?;
        if let Some(call) = job.reserved().filter(|_| Job::is_final(&told.status)) {
            // A failed job that tells no billable tokens has none; of others it is not known, and they stay booked.
            let tokens = told.trained_tokens.or((told.status == "failed").then_some(0));
            if let Some(tokens) = tokens {
                self.training.settle(call, job.created_at, tokens, &told.status).await?;
            }
        }
        self.stored(job.id).await
    }

    async fn stored(&self, id: i64) -> Result<FinetuneJob, Error> {
        self.store.finetune_job(id).await?.ok_or(Error::NotCreated)
    }
}

/// What a job goes by at its provider: the file, and how it is learned from.
fn mark(job: &NewFinetuneJob) -> String {
    let mut hash = Sha256::new();
    for part in [&job.file_sha256, &job.method, &job.settings.to_string()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

fn news(job: &Job) -> FinetuneNews {
    FinetuneNews {
        status: job.status.clone(),
        is_final: Job::is_final(&job.status),
        fine_tuned_model: job.fine_tuned_model.clone(),
        trained_tokens: job.trained_tokens.and_then(|tokens| i64::try_from(tokens).ok()),
        error_code: job.error.as_ref().and_then(|error| error.code.clone()),
    }
}
