//! Rows that are kept for a time only, table by table. Transactions are forgotten where accounts are erased.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Error, Store, tell_actor};

impl Store {
    /// Drops events told before a time, but none that an endpoint has not taken, nor the last one, whose place the next follows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_events(&self, before: DateTime<Utc>, by: &str) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, by).await?;
        sqlx::query_scalar!("select set_config('txcat.erasing', 'yes', true)").fetch_one(&mut *tx).await?;
        let gone = sqlx::query!(
            "delete from events
            where at < $1
            and id < (select max(id) from events)
            and id <= coalesce((select min(delivered) from webhooks), id)",
            before,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }

    /// Drops calls to chat models that were settled before a time. What a day came to stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_model_calls(&self, before: DateTime<Utc>) -> Result<u64, Error> {
        let gone = sqlx::query!(
            "delete from model_calls
            where begun_at < $1
            and settled_at < $1
            and not exists (select from finetune_jobs where finetune_jobs.reserved_call = model_calls.id)",
            before,
        );
        Ok(gone.execute(&self.pool).await?.rows_affected())
    }

    /// Drops what shadows would have said before a time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_shadow_predictions(&self, before: DateTime<Utc>) -> Result<u64, Error> {
        let gone = sqlx::query!("delete from shadow_predictions where made_at < $1", before);
        Ok(gone.execute(&self.pool).await?.rows_affected())
    }

    /// Drops the rows of eval runs begun before a time. Their figures stay.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_eval_items(&self, before: DateTime<Utc>) -> Result<u64, Error> {
        let gone = sqlx::query!(
            "delete from eval_items
            using eval_runs
            where eval_runs.id = eval_items.run_id
            and eval_runs.started_at < $1",
            before,
        );
        Ok(gone.execute(&self.pool).await?.rows_affected())
    }

    /// Drops what keys sent on days before one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_key_usage(&self, before: NaiveDate) -> Result<u64, Error> {
        let gone = sqlx::query!("delete from key_usage where day < $1", before);
        Ok(gone.execute(&self.pool).await?.rows_affected())
    }
}
