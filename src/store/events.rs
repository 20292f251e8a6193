//! The feed of changes: what triggers noted of categories in force, in an order in which nobody misses any.
//!
//! A database transaction may note a change early and commit late, so the order of writing is no order to read by. An
//! event gets its place in the feed (`id`) once it is there for everybody, under a lock and without a gap: whoever has
//! read up to a place has read all before it. Events of one transaction keep their order, because who changes its row
//! waits for whoever changed it before.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgListener;

use super::{Error, Store, read_some};
use crate::domain::Slug;

/// Events that get their place at a time.
const PLACES: i64 = 10_000;

/// A change of a transaction's category in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its place in the feed.
    pub id: i64,
    /// What happened: `transaction.category_changed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// To which transaction.
    pub transaction_id: String,
    /// In force before; `None` where nothing was.
    pub before: Option<Slug>,
    /// In force after; `None` where nothing is.
    pub after: Option<Slug>,
    /// Why: `answer`, `correction`, `import`, `rule`, `decision_undone`, `recategorization` or
    /// `recategorization_undone`.
    pub cause: String,
    /// Of which recategorization.
    pub recategorization_id: Option<i64>,
    /// When it was written.
    pub at: DateTime<Utc>,
}

/// News of events, as they are committed.
pub struct EventNews(PgListener);

impl EventNews {
    /// Waits for the next. After a lost connection it says that there may be some.
    ///
    /// # Errors
    /// When the database can't be reached again.
    pub async fn next(&mut self) -> Result<(), Error> {
        self.0.try_recv().await?;
        // One look answers all that have come already.
        while self.0.next_buffered().is_some() {}
        Ok(())
    }
}

impl Store {
    /// Hears of events from now on.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn hear_events(&self) -> Result<EventNews, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen("txcat_events").await?;
        Ok(EventNews(listener))
    }

    /// Events after a place in the feed, at most `limit`; all that were committed before the call.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn events(&self, after: i64, limit: u32) -> Result<Vec<Event>, Error> {
        while self.place_events().await? == PLACES {}
        let rows = sqlx::query!(
            r#"select
                id as "id!",
                kind,
                transaction_id,
                before,
                after,
                cause,
                recategorization_id,
                at
            from events
            where id > $1
            order by id
            limit $2"#,
            after,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Event {
                    id: row.id,
                    kind: row.kind,
                    transaction_id: row.transaction_id,
                    before: read_some(row.before.as_deref(), "events.before")?,
                    after: read_some(row.after.as_deref(), "events.after")?,
                    cause: row.cause,
                    recategorization_id: row.recategorization_id,
                    at: row.at,
                })
            })
            .collect()
    }

    /// The last place in the feed; 0 where there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_event(&self) -> Result<i64, Error> {
        while self.place_events().await? == PLACES {}
        let last = sqlx::query_scalar!(r#"select coalesce(max(id), 0) as "last!" from events"#);
        Ok(last.fetch_one(&self.pool).await?)
    }

    /// Gives events that have none their places, in the order in which they were written, and tells how many it gave.
    async fn place_events(&self) -> Result<i64, Error> {
        let waiting = sqlx::query_scalar!(r#"select exists (select from events where id is null) as "waiting!""#);
        if !waiting.fetch_one(&self.pool).await? {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        sqlx::query_scalar!(r#"select true as "locked!" from pg_advisory_xact_lock(8022)"#).fetch_one(&mut *tx).await?;
        let placed = sqlx::query!(
            "with waiting as (
                select
                    seq,
                    row_number() over (order by seq) as nth
                from (
                    select
                        seq
                    from events
                    where id is null
                    order by seq
                    limit $1
                ) as next
            )
            update events
            set
                id = waiting.nth + (select coalesce(max(placed.id), 0) from events as placed)
            from waiting
            where events.seq = waiting.seq",
            PLACES,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(i64::try_from(placed.rows_affected()).unwrap_or(i64::MAX))
    }
}

/// Says why the rows of a database transaction change, where the rows themselves don't tell.
pub(super) async fn tell_cause(tx: &mut sqlx::PgConnection, cause: &str) -> Result<(), Error> {
    sqlx::query_scalar!("select set_config('txcat.cause', $1, true)", cause).fetch_one(tx).await?;
    Ok(())
}
