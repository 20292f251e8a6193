//! API keys as rows: hashes and facts, never a secret. `access` makes and checks them.

use chrono::{DateTime, Utc};

use super::{Error, Store};

/// A key to store.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The public part of the key, which finds its row.
    pub prefix: String,
    /// What people call it; no two keys share a name.
    pub name: String,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
    /// What its holder may do.
    pub scopes: Vec<String>,
    /// From when.
    pub created_at: DateTime<Utc>,
    /// Until when; without end if absent.
    pub expires_at: Option<DateTime<Utc>>,
    /// What kind of person has it; a program's has none.
    pub role: Option<String>,
}

/// A key as stored.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// The public part of the key.
    pub prefix: String,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret part.
    pub secret_hash: Vec<u8>,
    /// What its holder may do.
    pub scopes: Vec<String>,
    /// From when.
    pub created_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it opens nothing any more.
    pub revoked_at: Option<DateTime<Utc>>,
    /// What kind of person has it; a program's has none.
    pub role: Option<String>,
}

impl Store {
    /// Stores a key.
    ///
    /// # Errors
    /// [`Error::Constraint`] `api_keys_name_once` when the name is taken; else when the database fails.
    pub async fn create_key(&self, key: &NewKey) -> Result<(), Error> {
        sqlx::query!(
            "insert into api_keys (
                prefix,
                name,
                secret_hash,
                scopes,
                created_at,
                expires_at,
                role
            )
            values ($1, $2, $3, $4, $5, $6, $7)",
            key.prefix,
            key.name,
            key.secret_hash.as_slice(),
            &key.scopes,
            key.created_at,
            key.expires_at,
            key.role,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The key with this prefix, revoked and expired ones too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_key(&self, prefix: &str) -> Result<Option<StoredKey>, Error> {
        let key = sqlx::query_as!(
            StoredKey,
            "select
                prefix,
                name,
                secret_hash,
                scopes,
                created_at,
                expires_at,
                revoked_at,
                role
            from api_keys
            where prefix = $1",
            prefix,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(key)
    }

    /// Whether there ever was a key, usable or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn any_keys(&self) -> Result<bool, Error> {
        let any =
            sqlx::query_scalar!(r#"select exists (select from api_keys) as "any!""#).fetch_one(&self.pool).await?;
        Ok(any)
    }

    /// Whether a key exists that is neither revoked nor expired.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn any_usable_keys(&self, now: DateTime<Utc>) -> Result<bool, Error> {
        let any = sqlx::query_scalar!(
            r#"select exists (
                select
                from api_keys
                where revoked_at is null
                and (expires_at is null or expires_at > $1)
            ) as "any!""#,
            now,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(any)
    }

    /// Every key there ever was, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_keys(&self) -> Result<Vec<StoredKey>, Error> {
        let keys = sqlx::query_as!(
            StoredKey,
            "select
                prefix,
                name,
                secret_hash,
                scopes,
                created_at,
                expires_at,
                revoked_at,
                role
            from api_keys
            order by
                created_at,
                prefix",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(keys)
    }

    /// Closes a key, named by its prefix or its name; returns whether one was open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_key(&self, prefix_or_name: &str, now: DateTime<Utc>) -> Result<bool, Error> {
        let done = sqlx::query!(
            "update api_keys
            set revoked_at = $2
            where (prefix = $1 or name = $1)
            and revoked_at is null",
            prefix_or_name,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}
