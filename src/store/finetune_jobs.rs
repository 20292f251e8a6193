//! Fine-tuning jobs: how far creating one came, and where it stands at the provider.

use chrono::{DateTime, Utc};

use super::{Error, ReservedCall, Store};

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FinetuneJob {
    /// Its number here.
    pub id: i64,
    /// The entry of the chat model file.
    pub entry: String,
    /// Where the provider is.
    pub base_url: String,
    /// The provider's name of the model that learns.
    pub model: String,
    /// SHA-256 of the training file.
    pub file_sha256: String,
    /// `supervised` or `dpo`.
    pub method: String,
    /// Lines of the file.
    pub rows: i32,
    /// The provider's name of the file, once it is there.
    pub training_file: Option<String>,
    /// The provider's name of the job, once it is created.
    pub job: Option<String>,
    /// The provider's word for where it stands, or `creating`.
    pub status: String,
    /// The tuned model, when there is one.
    pub fine_tuned_model: Option<String>,
    /// Tokens that are billed.
    pub trained_tokens: Option<i64>,
    /// Why it failed, in the provider's word.
    pub error_code: Option<String>,
    /// What it may cost, booked.
    #[serde(skip)]
    pub reserved_call: Option<i64>,
    /// On which day.
    #[serde(skip)]
    pub reserved_day: Option<chrono::NaiveDate>,
    /// Whether somebody said that it should be looked at again.
    pub stale: bool,
    /// When it was begun here.
    pub created_at: DateTime<Utc>,
    /// When it was last looked at.
    pub polled_at: Option<DateTime<Utc>>,
    /// When it was seen to be done.
    pub finished_at: Option<DateTime<Utc>>,
}

impl FinetuneJob {
    /// What it may cost, booked.
    #[must_use]
    pub fn reserved(&self) -> Option<ReservedCall> {
        Some(ReservedCall { id: self.reserved_call?, day: self.reserved_day? })
    }

    /// Whether it has ended at the provider and nobody knows what is billed: what it may cost stays booked.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        let ended = self.finished_at.is_some() && self.status != "failed";
        ended && self.job.is_some() && self.reserved_call.is_some() && self.trained_tokens.is_none()
    }
}

/// Where a job stands, as the provider told.
#[derive(Debug, Clone, PartialEq)]
pub struct FinetuneNews {
    /// The provider's word for it.
    pub status: String,
    /// Whether no other will come.
    pub is_final: bool,
    /// The tuned model.
    pub fine_tuned_model: Option<String>,
    /// Tokens that are billed.
    pub trained_tokens: Option<i64>,
    /// Why it failed.
    pub error_code: Option<String>,
}

impl Store {
    /// Keeps what a job may cost, or that nothing is booked for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn book_finetune_job(&self, id: i64, call: Option<ReservedCall>) -> Result<(), Error> {
        sqlx::query!(
            "update finetune_jobs
            set
                reserved_call = $2,
                reserved_day = $3
            where id = $1",
            id,
            call.map(|call| call.id),
            call.map(|call| call.day),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Keeps that the training file is at the provider.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn uploaded_finetune_file(&self, id: i64, training_file: &str) -> Result<(), Error> {
        sqlx::query!(
            "update finetune_jobs
            set
                training_file = $2
            where id = $1",
            id,
            training_file,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Keeps where a job stands; `job` is its name at the provider.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_finetune_job(
        &self,
        id: i64,
        job: &str,
        news: &FinetuneNews,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "update finetune_jobs
            set
                job = $2,
                status = $3,
                fine_tuned_model = $4,
                trained_tokens = $5,
                error_code = $6,
                stale = false,
                claimed_until = null,
                polled_at = $7,
                finished_at = case when $8 then coalesce(finished_at, $7) end
            where id = $1",
            id,
            job,
            news.status,
            news.fine_tuned_model,
            news.trained_tokens,
            news.error_code,
            now,
            news.is_final,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Marks the job of that name at its provider as one to look at again; `false` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_finetune_job(&self, job: &str) -> Result<bool, Error> {
        let marked = sqlx::query!(
            "update finetune_jobs
            set
                stale = true
            where job = $1",
            job,
        )
        .execute(&self.pool)
        .await?;
        Ok(marked.rows_affected() > 0)
    }

    /// A job by its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finetune_job(&self, id: i64) -> Result<Option<FinetuneJob>, Error> {
        Ok(self.finetune_jobs(Some(id)).await?.pop())
    }

    /// All jobs, or the one of that number, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finetune_jobs(&self, id: Option<i64>) -> Result<Vec<FinetuneJob>, Error> {
        let jobs = sqlx::query_as!(
            FinetuneJob,
            "select
                id,
                entry,
                base_url,
                model,
                file_sha256,
                method,
                rows,
                training_file,
                job,
                status,
                fine_tuned_model,
                trained_tokens,
                error_code,
                reserved_call,
                reserved_day,
                stale,
                created_at,
                polled_at,
                finished_at
            from finetune_jobs
            where $1::bigint is null or id = $1
            order by id desc",
            id,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(jobs)
    }
}
