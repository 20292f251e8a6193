//! Signing in: a person's key becomes a cookie, and the cookie a caller.
//!
//! The cookie is 256 random bits, of which the database has only the hash. A change that comes with a cookie
//! must carry the session's second secret, which only a page of ours can read.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngCore;
use sha2::{Digest, Sha256};

use super::{Access, Caller, Error, key};
use crate::store::NewSession;

/// How long somebody stays signed in.
pub const SESSION: TimeDelta = TimeDelta::hours(12);

/// A session that has just begun. Its token is the cookie.
pub struct FreshSession {
    token: String,
}

impl FreshSession {
    /// What the cookie holds.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for FreshSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreshSession([redacted])")
    }
}

impl Access {
    /// Begins a session for the person who has this key. A program's key opens none. `random` must not be
    /// predictable.
    ///
    /// # Errors
    /// When the key is not a person's, or not valid any more, or the database fails.
    pub async fn sign_in(
        &self,
        key: &str,
        random: &mut impl RngCore,
        now: DateTime<Utc>,
    ) -> Result<FreshSession, Error> {
        let stored = self.valid_key(key::split(key).ok_or(Error::InvalidKey)?, now).await?;
        if stored.role.is_none() {
            return Err(Error::InvalidKey);
        }
        let (mut token, mut csrf) = ([0; 32], [0; 32]);
        random.fill_bytes(&mut token);
        random.fill_bytes(&mut csrf);
        let session = FreshSession { token: hex::encode(token) };
        let row = NewSession {
            token_hash: hash(&session.token),
            key_prefix: stored.prefix,
            csrf: hex::encode(csrf),
            begun_at: now,
            expires_at: now + SESSION,
        };
        self.store.begin_session(&row).await?;
        Ok(session)
    }

    /// Who has this cookie.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when nobody has, any more; else when the database fails.
    pub async fn session(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, Error> {
        let stored = self.store.session(&hash(token), now).await?.ok_or(Error::InvalidKey)?;
        let scopes = stored.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
        Ok(Caller { name: stored.name, scopes, csrf: Some(stored.csrf) })
    }

    /// Ends the session of this cookie.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sign_out(&self, token: &str) -> Result<(), Error> {
        Ok(self.store.end_session(&hash(token)).await?)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
