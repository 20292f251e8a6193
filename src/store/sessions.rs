//! Who is signed in: hashes of cookies and the keys behind them, never a secret. `access` makes and checks them.

use chrono::{DateTime, Utc};

use super::{Error, Store};

/// A session to store.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// SHA-256 of the cookie.
    pub token_hash: [u8; 32],
    /// The public part of the key that was signed in with.
    pub key_prefix: String,
    /// What a page must send along with every change.
    pub csrf: String,
    /// From when.
    pub begun_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// A session that is open, with the person behind it.
#[derive(Debug, Clone)]
pub struct StoredSession {
    /// What people call the key: the person's name.
    pub name: String,
    /// What the person may do.
    pub scopes: Vec<String>,
    /// What a page must send along with every change.
    pub csrf: String,
    /// Requests a minute; the deployment's default without one.
    pub requests_per_minute: Option<i32>,
    /// Rows sent a day; as many as come without one.
    pub rows_per_day: Option<i64>,
}

impl Store {
    /// Stores a session, and drops those that have ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_session(&self, session: &NewSession) -> Result<(), Error> {
        sqlx::query!("delete from sessions where expires_at <= $1", session.begun_at).execute(&self.pool).await?;
        sqlx::query!(
            "insert into sessions (
                token_hash,
                key_prefix,
                csrf,
                begun_at,
                expires_at
            )
            values ($1, $2, $3, $4, $5)",
            session.token_hash.as_slice(),
            session.key_prefix,
            session.csrf,
            session.begun_at,
            session.expires_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The open session of a cookie; none once its key is revoked or has expired.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self, token_hash: &[u8; 32], now: DateTime<Utc>) -> Result<Option<StoredSession>, Error> {
        let session = sqlx::query_as!(
            StoredSession,
            "select
                api_keys.name,
                api_keys.scopes,
                sessions.csrf,
                api_keys.requests_per_minute,
                api_keys.rows_per_day
            from sessions
            join api_keys on api_keys.prefix = sessions.key_prefix
            where sessions.token_hash = $1
            and sessions.expires_at > $2
            and api_keys.role is not null
            and api_keys.revoked_at is null
            and (api_keys.expires_at is null or api_keys.expires_at > $2)",
            token_hash.as_slice(),
            now,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(session)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(&self, token_hash: &[u8; 32]) -> Result<(), Error> {
        sqlx::query!("delete from sessions where token_hash = $1", token_hash.as_slice()).execute(&self.pool).await?;
        Ok(())
    }
}
