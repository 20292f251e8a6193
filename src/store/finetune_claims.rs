//! Who creates a fine-tuning job: one process at a time, and for one file and model one job.

use chrono::{DateTime, Utc};

use super::{Error, Store};

/// A job that is about to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFinetuneJob {
    /// The entry of the chat model file that says where.
    pub entry: String,
    /// Where that is.
    pub base_url: String,
    /// The provider's name of the model that learns.
    pub model: String,
    /// SHA-256 of the training file as it is uploaded.
    pub file_sha256: String,
    /// `supervised` or `dpo`.
    pub method: String,
    /// Suffix, seed and epochs.
    pub settings: serde_json::Value,
    /// Lines of the file.
    pub rows: i32,
}

/// Whose a job is to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The caller's, until it says how it went.
    Ours(i64),
    /// Nobody's: it is created, or another process is creating it.
    Theirs(i64),
}

impl Store {
    /// Takes a job to create it: a new one, or one whose creation was begun and not ended by `until` of then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_finetune_job(
        &self,
        job: &NewFinetuneJob,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Claim, Error> {
        let mut work = self.begin().await?;
        let new = sqlx::query_scalar!(
            "insert into finetune_jobs (
                entry,
                base_url,
                model,
                file_sha256,
                method,
                settings,
                rows,
                status,
                claimed_until,
                created_at
            )
            values ($1, $2, $3, $4, $5, $6, $7, 'creating', $8, $9)
            on conflict do nothing
            returning
                id",
            job.entry,
            job.base_url,
            job.model,
            job.file_sha256,
            job.method,
            job.settings,
            job.rows,
            until,
            now,
        )
        .fetch_optional(&mut *work)
        .await?;
        if let Some(id) = new {
            work.commit().await?;
            return Ok(Claim::Ours(id));
        }
        let there = sqlx::query!(
            r#"select
                id,
                (job is null and (claimed_until is null or claimed_until < $4)) as "free!"
            from finetune_jobs
            where base_url = $1
            and model = $2
            and file_sha256 = $3
            and method = $5
            and settings = $6
            and status not in ('failed', 'cancelled')
            for update"#,
            job.base_url,
            job.model,
            job.file_sha256,
            now,
            job.method,
            job.settings,
        )
        .fetch_one(&mut *work)
        .await?;
        if !there.free {
            return Ok(Claim::Theirs(there.id));
        }
        sqlx::query!(
            "update finetune_jobs
            set
                claimed_until = $2
            where id = $1",
            there.id,
            until,
        )
        .execute(&mut *work)
        .await?;
        work.commit().await?;
        Ok(Claim::Ours(there.id))
    }

    /// Gives up a job that never came to its provider; `false` where it did, or where somebody is creating it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_up_finetune_job(&self, id: i64, now: DateTime<Utc>) -> Result<bool, Error> {
        let given_up = sqlx::query!(
            "update finetune_jobs
            set
                status = 'cancelled',
                finished_at = $2
            where id = $1
            and status = 'creating'
            and job is null
            and (claimed_until is null or claimed_until < $2)",
            id,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(given_up.rows_affected() == 1)
    }

    /// Lets go of a job whose creation failed: the next who asks for it goes on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_finetune_job(&self, id: i64) -> Result<(), Error> {
        sqlx::query!(
            "update finetune_jobs
            set
                claimed_until = null
            where id = $1",
            id,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
