//! API keys as rows: hashes and facts, never a secret. `access` makes and checks them.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::{Error, OidcSubject, Store, tell_actor};

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
    /// By whom it is made.
    pub made_by: String,
    /// Requests a minute; the deployment's default without one.
    pub requests_per_minute: Option<i32>,
    /// Rows sent a day; as many as come without one.
    pub rows_per_day: Option<i64>,
    /// Whom a provider means by this person, where one does.
    pub oidc: Option<OidcSubject>,
}

/// A key to put in the place of another.
#[derive(Debug, Clone)]
pub struct KeyRotation {
    /// The public part of the new key.
    pub prefix: String,
    /// SHA-256 of its secret part.
    pub secret_hash: [u8; 32],
    /// Until when the old one opens what it opened; no longer than it would have.
    pub overlap_until: DateTime<Utc>,
    /// Until when the new one does. Without it, as long as the old one was made for; without end if that had none.
    pub expires_at: Option<DateTime<Utc>>,
    /// When.
    pub now: DateTime<Utc>,
    /// By whom.
    pub made_by: String,
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
    /// The public part of the key that took its place.
    pub successor: Option<String>,
    /// Requests a minute; the deployment's default without one.
    pub requests_per_minute: Option<i32>,
    /// Rows sent a day; as many as come without one.
    pub rows_per_day: Option<i64>,
    /// The provider that means somebody by this person.
    pub oidc_issuer: Option<String>,
    /// What it calls the person.
    pub oidc_subject: Option<String>,
}

impl Store {
    /// Stores a key.
    ///
    /// # Errors
    /// [`Error::Constraint`] `api_keys_name_once` when the name is taken; else when the database fails.
    pub async fn create_key(&self, key: &NewKey) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, &key.made_by).await?;
        insert_key(&mut tx, key).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Puts a new key in the place of an open one, named by its prefix or its name, with the same name and rights. Returns until
    /// when the old one still opens what it opened, or none where there is no such key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_key(
        &self,
        prefix_or_name: &str,
        rotation: &KeyRotation,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, &rotation.made_by).await?;
        let prefix = sqlx::query_scalar!(
            "select
                prefix
            from api_keys
            where (prefix = $1 or name = $1)
            and revoked_at is null
            and successor is null
            for update",
            prefix_or_name,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(prefix) = prefix else { return Ok(None) };
        let Some(old) = keys(&mut *tx, Some(&prefix)).await?.pop() else { return Ok(None) };
        let ends = old.expires_at.map_or(rotation.overlap_until, |end| end.min(rotation.overlap_until));
        sqlx::query!(
            "update api_keys
            set
                successor = $2,
                expires_at = $3
            where prefix = $1",
            old.prefix,
            rotation.prefix,
            ends,
        )
        .execute(&mut *tx)
        .await?;
        let as_long = old.expires_at.map(|end| rotation.now + (end - old.created_at));
        let new = NewKey {
            prefix: rotation.prefix.clone(),
            name: old.name,
            secret_hash: rotation.secret_hash,
            scopes: old.scopes,
            created_at: rotation.now,
            expires_at: rotation.expires_at.or(as_long),
            role: old.role,
            made_by: rotation.made_by.clone(),
            requests_per_minute: old.requests_per_minute,
            rows_per_day: old.rows_per_day,
            oidc: old.oidc_issuer.zip(old.oidc_subject).map(|(issuer, subject)| OidcSubject { issuer, subject }),
        };
        insert_key(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(Some(ends))
    }

    /// The key with this prefix, revoked and expired ones too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_key(&self, prefix: &str) -> Result<Option<StoredKey>, Error> {
        Ok(keys(&self.pool, Some(prefix)).await?.pop())
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
        keys(&self.pool, None).await
    }

    /// Closes a key, named by its prefix or its name; a name also closes the keys that were rotated out. Returns whether one
    /// was open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_key(&self, prefix_or_name: &str, by: &str, now: DateTime<Utc>) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, by).await?;
        let done = sqlx::query!(
            "update api_keys
            set revoked_at = $2
            where (prefix = $1 or name = $1)
            and revoked_at is null",
            prefix_or_name,
            now,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

/// The key with a prefix, or every key, oldest first.
async fn keys(executor: impl PgExecutor<'_>, prefix: Option<&str>) -> Result<Vec<StoredKey>, Error> {
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
            role,
            successor,
            requests_per_minute,
            rows_per_day,
            oidc_issuer,
            oidc_subject
        from api_keys
        where ($1::text is null or prefix = $1)
        order by
            created_at,
            prefix",
        prefix,
    )
    .fetch_all(executor)
    .await?;
    Ok(keys)
}

async fn insert_key(tx: &mut PgConnection, key: &NewKey) -> Result<(), Error> {
    sqlx::query!(
        "insert into api_keys (
            prefix,
            name,
            secret_hash,
            scopes,
            created_at,
            expires_at,
            role,
            requests_per_minute,
            rows_per_day,
            oidc_issuer,
            oidc_subject
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        key.prefix,
        key.name,
        key.secret_hash.as_slice(),
        &key.scopes,
        key.created_at,
        key.expires_at,
        key.role,
        key.requests_per_minute,
        key.rows_per_day,
        key.oidc.as_ref().map(|oidc| oidc.issuer.as_str()),
        key.oidc.as_ref().map(|oidc| oidc.subject.as_str()),
    )
    .execute(tx)
    .await?;
    Ok(())
}
