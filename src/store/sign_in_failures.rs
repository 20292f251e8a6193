//! Wrong secrets for people's keys, in a row. `access` decides what they come to.

use chrono::{DateTime, Utc};

use super::{Error, Store};

impl Store {
    /// The latest of at least `most` failures in a row, the last after `since`: the key is locked. A clock that was put back leaves
    /// failures that are yet to come, which lock nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sign_in_locked(
        &self,
        key_prefix: &str,
        most: i32,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        let last = sqlx::query_scalar!(
            "select last_at
            from sign_in_failures
            where key_prefix = $1
            and failures >= $2
            and last_at > $3
            and last_at <= $4",
            key_prefix,
            most,
            since,
            now,
        );
        Ok(last.fetch_optional(&self.pool).await?)
    }

    /// Counts a failure, one more in a row where the last one came after `since`. A key that is locked stays so no longer for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_sign_in_failure(
        &self,
        key_prefix: &str,
        most: i32,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "insert into sign_in_failures (
                key_prefix,
                failures,
                last_at
            )
            values ($1, 1, $4)
            on conflict (key_prefix) do update set
                failures = case
                    when sign_in_failures.last_at > $3 and sign_in_failures.last_at <= $4 then sign_in_failures.failures + 1
                    else 1
                end,
                last_at = excluded.last_at
            where sign_in_failures.failures < $2
            or sign_in_failures.last_at <= $3
            or sign_in_failures.last_at > $4",
            key_prefix,
            most,
            since,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets the failures of a key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_sign_in_failures(&self, key_prefix: &str) -> Result<(), Error> {
        sqlx::query!("delete from sign_in_failures where key_prefix = $1", key_prefix).execute(&self.pool).await?;
        Ok(())
    }
}
