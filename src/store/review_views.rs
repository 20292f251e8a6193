//! Saved views: names for what the queue is narrowed to.

use chrono::{DateTime, Utc};

use super::{Error, Store};

/// A saved view.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedView {
    /// Its number.
    pub id: i64,
    /// Its name, one of its owner's kind.
    pub name: String,
    /// Whether everybody at the desk sees it.
    pub shared: bool,
    /// What the queue is narrowed to.
    pub filter: serde_json::Value,
    /// Whose it is.
    pub made_by: String,
    /// Since when it is so.
    pub made_at: DateTime<Utc>,
}

impl Store {
    /// A person's views, then those that others share, each by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn saved_views(&self, who: &str) -> Result<Vec<SavedView>, Error> {
        let views = sqlx::query_as!(
            SavedView,
            "select
                id,
                name,
                shared,
                filter,
                made_by,
                made_at
            from review_views
            where made_by = $1
            or shared
            order by
                made_by = $1 desc,
                name,
                made_by",
            who,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(views)
    }

    /// Keeps a view; one of the same owner and name is replaced.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_view(
        &self,
        name: &str,
        shared: bool,
        filter: &serde_json::Value,
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Result<i64, Error> {
        let id = sqlx::query_scalar!(
            "insert into review_views (
                name,
                shared,
                filter,
                made_by,
                made_at
            )
            values ($1, $2, $3, $4, $5)
            on conflict (made_by, name) do update set
                shared = excluded.shared,
                filter = excluded.filter,
                made_at = excluded.made_at
            returning id",
            name,
            shared,
            filter,
            made_by,
            now,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(id)
    }

    /// Forgets a person's own view; returns whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_view(&self, id: i64, who: &str) -> Result<bool, Error> {
        let done = sqlx::query!("delete from review_views where id = $1 and made_by = $2", id, who)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}
