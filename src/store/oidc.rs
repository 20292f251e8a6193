//! Signing in by a provider, as rows: sign-ins under way, and whom the provider's names belong to. `access` decides what they come to.

use chrono::{DateTime, Utc};

use super::{Error, Store, tell_actor};

/// Sign-ins under way that are kept; beyond it the oldest go. Whoever begins them is nobody yet.
const MOST: i64 = 10_000;

/// A sign-in that has begun.
#[derive(Debug, Clone)]
pub struct NewOidcSignIn {
    /// SHA-256 of the state that must come back.
    pub state_hash: [u8; 32],
    /// What the provider's token must carry.
    pub nonce: String,
    /// What shows the provider that the one who comes back is the one who began.
    pub pkce_verifier: String,
    /// When.
    pub begun_at: DateTime<Utc>,
}

/// What a sign-in that comes back is held to.
#[derive(Debug, Clone)]
pub struct OidcSignIn {
    /// What the provider's token must carry.
    pub nonce: String,
    /// What shows the provider that the one who comes back is the one who began.
    pub pkce_verifier: String,
}

/// Whom a provider means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSubject {
    /// The provider's address.
    pub issuer: String,
    /// What it calls somebody, and nobody else.
    pub subject: String,
}

impl Store {
    /// Stores a sign-in that has begun, and drops those that began before `since`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_oidc_sign_in(&self, sign_in: &NewOidcSignIn, since: DateTime<Utc>) -> Result<(), Error> {
        sqlx::query!(
            "delete from oidc_sign_ins
            where begun_at <= $1
            or state_hash in (
                select state_hash
                from oidc_sign_ins
                order by begun_at desc
                offset $2
            )",
            since,
            MOST - 1,
        )
        .execute(&self.pool)
        .await?;
        sqlx::query!(
            "insert into oidc_sign_ins (
                state_hash,
                nonce,
                pkce_verifier,
                begun_at
            )
            values ($1, $2, $3, $4)",
            sign_in.state_hash.as_slice(),
            sign_in.nonce,
            sign_in.pkce_verifier,
            sign_in.begun_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes out the sign-in of a state, if it began after `since`: it comes back once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_oidc_sign_in(
        &self,
        state_hash: &[u8; 32],
        since: DateTime<Utc>,
    ) -> Result<Option<OidcSignIn>, Error> {
        let sign_in = sqlx::query_as!(
            OidcSignIn,
            "delete from oidc_sign_ins
            where state_hash = $1
            and begun_at > $2
            returning
                nonce,
                pkce_verifier",
            state_hash.as_slice(),
            since,
        );
        Ok(sign_in.fetch_optional(&self.pool).await?)
    }

    /// The public part of the open key of the person whom a provider means.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_of_oidc_subject(&self, whom: &OidcSubject, now: DateTime<Utc>) -> Result<Option<String>, Error> {
        let prefix = sqlx::query_scalar!(
            "select prefix
            from api_keys
            where oidc_issuer = $1
            and oidc_subject = $2
            and role is not null
            and successor is null
            and revoked_at is null
            and (expires_at is null or expires_at > $3)",
            whom.issuer,
            whom.subject,
            now,
        );
        Ok(prefix.fetch_optional(&self.pool).await?)
    }

    /// Lets the person of this name in where a provider means `whom`, or by the key alone; who was signed in is not any more. Returns
    /// whether there is such a person.
    ///
    /// # Errors
    /// [`Error::Constraint`] `api_keys_oidc_once` when the provider means somebody else already; else when the database fails.
    pub async fn link_person(&self, name: &str, whom: Option<&OidcSubject>, by: &str) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, by).await?;
        let linked = sqlx::query!(
            "update api_keys
            set
                oidc_issuer = $2,
                oidc_subject = $3
            where name = $1
            and role is not null
            and successor is null
            and revoked_at is null",
            name,
            whom.map(|whom| whom.issuer.as_str()),
            whom.map(|whom| whom.subject.as_str()),
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "delete from sessions
            using api_keys
            where api_keys.prefix = sessions.key_prefix
            and api_keys.name = $1",
            name,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(linked.rows_affected() > 0)
    }

    /// Writes into the audit log that a provider sent somebody who is nobody here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_refused_sign_in(&self, whom: &OidcSubject) -> Result<(), Error> {
        sqlx::query!(
            r#"select write_audit('oidc:' || $2, 'sign_in.refused', 'oidc_issuer:' || $1, '{}') as "written!: ()""#,
            whom.issuer,
            whom.subject,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(())
    }
}
