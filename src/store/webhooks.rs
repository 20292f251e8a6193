//! Endpoints that are told of events, and how far each has come.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{Error, Store, tell_actor};
use crate::config::Secret;

/// An endpoint to tell.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Where.
    pub url: String,
    /// What signs what is sent to it.
    pub secret: Secret,
    /// The last event that it is not told of any more.
    pub after: i64,
    /// By whom.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// An endpoint as it stands.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its number.
    pub id: i64,
    /// Where.
    pub url: String,
    /// What signs what is sent to it.
    pub secret: Secret,
    /// By whom it was made.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The last event that it took.
    pub delivered: i64,
    /// When.
    pub delivered_at: Option<DateTime<Utc>>,
    /// The last event of the message that it is being told.
    pub telling_upto: Option<i64>,
    /// Tries in a row that failed.
    pub failures: u32,
    /// Why the last one did.
    pub last_error: Option<String>,
    /// When it is tried again.
    pub next_try_at: Option<DateTime<Utc>>,
    /// Since when nobody tries any more.
    pub paused_at: Option<DateTime<Utc>>,
}

struct WebhookRow {
    id: i64,
    url: String,
    secret: String,
    created_by: String,
    created_at: DateTime<Utc>,
    delivered: i64,
    delivered_at: Option<DateTime<Utc>>,
    telling_upto: Option<i64>,
    failures: i32,
    last_error: Option<String>,
    next_try_at: Option<DateTime<Utc>>,
    paused_at: Option<DateTime<Utc>>,
}

impl From<WebhookRow> for Webhook {
    fn from(row: WebhookRow) -> Self {
        Self {
            id: row.id,
            url: row.url,
            secret: Secret::from(row.secret),
            created_by: row.created_by,
            created_at: row.created_at,
            delivered: row.delivered,
            delivered_at: row.delivered_at,
            telling_upto: row.telling_upto,
            failures: row.failures.unsigned_abs(),
            last_error: row.last_error,
            next_try_at: row.next_try_at,
            paused_at: row.paused_at,
        }
    }
}

/// A try that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDelivery {
    /// Why, without a word of what was sent.
    pub why: String,
    /// When it is tried again.
    pub next_try_at: Option<DateTime<Utc>>,
    /// Since when nobody tries any more.
    pub paused_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Stores an endpoint, and has workers look at once whether there are events for it.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn create_webhook(&self, new: &NewWebhook) -> Result<Webhook, Error> {
        let mut tx = self.begin().await?;
        let id = sqlx::query_scalar!(
            "insert into webhooks (
                url,
                secret,
                created_by,
                created_at,
                delivered
            )
            values ($1, $2, $3, $4, $5)
            returning id",
            new.url,
            new.secret.expose(),
            new.created_by,
            new.created_at,
            new.after,
        )
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query_scalar!(r#"select true as "told!" from pg_notify('txcat_events', '')"#).fetch_one(&mut *tx).await?;
        let made = webhooks(&mut *tx, Some(id)).await?.pop().ok_or(sqlx::Error::RowNotFound)?;
        tx.commit().await?;
        Ok(made)
    }

    /// All endpoints, or the one of a number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhooks(&self, id: Option<i64>) -> Result<Vec<Webhook>, Error> {
        webhooks(&self.pool, id).await
    }

    /// Endpoints that are not paused and have not taken everything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhooks_behind(&self) -> Result<Vec<(i64, Option<DateTime<Utc>>)>, Error> {
        let last = self.last_event().await?;
        let behind = sqlx::query!(
            "select
                id,
                next_try_at
            from webhooks
            where delivered < $1
            and paused_at is null
            order by id",
            last,
        );
        Ok(behind.fetch_all(&self.pool).await?.into_iter().map(|row| (row.id, row.next_try_at)).collect())
    }

    /// Notes which message an endpoint is about to be told, before it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhook_telling(&self, id: i64, upto: i64) -> Result<(), Error> {
        sqlx::query!("update webhooks set telling_upto = $2 where id = $1", id, upto).execute(&self.pool).await?;
        Ok(())
    }

    /// Notes that an endpoint took the events after one place up to another; tells whether it still stood at the first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhook_took(&self, id: i64, after: i64, upto: i64, now: DateTime<Utc>) -> Result<bool, Error> {
        let took = sqlx::query!(
            "update webhooks
            set
                delivered = $3,
                delivered_at = $4,
                telling_upto = null,
                failures = 0,
                last_error = null,
                next_try_at = null
            where id = $1
            and delivered = $2",
            id,
            after,
            upto,
            now,
        );
        Ok(took.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Notes that a try failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhook_failed(&self, id: i64, failed: &FailedDelivery) -> Result<(), Error> {
        sqlx::query!(
            "update webhooks
            set
                failures = failures + 1,
                last_error = $2,
                next_try_at = $3,
                paused_at = $4
            where id = $1",
            id,
            failed.why,
            failed.next_try_at,
            failed.paused_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Has an endpoint tried again at once; tells whether there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume_webhook(&self, id: i64, by: &str) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, by).await?;
        let resumed = sqlx::query!(
            "update webhooks
            set
                failures = 0,
                last_error = null,
                next_try_at = null,
                paused_at = null
            where id = $1",
            id,
        );
        let resumed = resumed.execute(&mut *tx).await?.rows_affected() == 1;
        tx.commit().await?;
        Ok(resumed)
    }

    /// Takes an endpoint away; tells whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_webhook(&self, id: i64, by: &str) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, by).await?;
        let deleted = sqlx::query!("delete from webhooks where id = $1", id);
        let deleted = deleted.execute(&mut *tx).await?.rows_affected() == 1;
        tx.commit().await?;
        Ok(deleted)
    }
}

async fn webhooks(executor: impl PgExecutor<'_>, id: Option<i64>) -> Result<Vec<Webhook>, Error> {
    let rows = sqlx::query_as!(
        WebhookRow,
        "select
            id,
            url,
            secret,
            created_by,
            created_at,
            delivered,
            delivered_at,
            telling_upto,
            failures,
            last_error,
            next_try_at,
            paused_at
        from webhooks
        where ($1::bigint is null or id = $1)
        order by id",
        id,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(Webhook::from).collect())
}
