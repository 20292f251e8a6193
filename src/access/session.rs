//! Signing in: a person's key becomes a cookie, and the cookie a caller.
//!
//! The cookie is 256 random bits, of which the database has only the hash. A change that comes with a cookie
//! must carry the session's second secret, which only a page of ours can read.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngCore;

use super::{
    Access, Caller, Error, KeyLimits,
    key::{self, draw, hash},
};
use crate::store::NewSession;

/// Wrong secrets in a row that lock a person's key.
const MOST_FAILURES: i32 = 5;

/// For how long, and how long failures count.
const LOCK: TimeDelta = TimeDelta::minutes(15);

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
        let (prefix, secret) = key::split(key).ok_or(Error::InvalidKey)?;
        let stored = match self.valid_key((prefix, secret), now).await {
            Ok(stored) if stored.role.is_some() => stored,
            Err(Error::InvalidKey) => {
                if self.store.find_key(prefix).await?.is_some() {
                    self.store.note_sign_in_failure(prefix, MOST_FAILURES, now - LOCK, now).await?;
                }
                return Err(Error::InvalidKey);
            }
            Ok(_) => return Err(Error::InvalidKey),
            Err(error) => return Err(error),
        };
        if let Some(last) = self.store.sign_in_locked(prefix, MOST_FAILURES, now - LOCK, now).await? {
            return Err(Error::Locked { until: last + LOCK });
        }
        self.store.forget_sign_in_failures(prefix).await?;
        self.begin_session(stored.prefix, random, now).await
    }

    /// Begins a session for the person who has the key of this prefix, by whatever it was shown that it is that person.
    pub(super) async fn begin_session(
        &self,
        key_prefix: String,
        random: &mut impl RngCore,
        now: DateTime<Utc>,
    ) -> Result<FreshSession, Error> {
        let session = FreshSession { token: draw(random) };
        let row = NewSession {
            token_hash: hash(&session.token),
            key_prefix,
            csrf: draw(random),
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
        let limits = KeyLimits::stored(stored.requests_per_minute, stored.rows_per_day);
        Ok(Caller { name: stored.name, scopes, csrf: Some(stored.csrf), limits: Some(limits) })
    }

    /// Ends the session of this cookie.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sign_out(&self, token: &str) -> Result<(), Error> {
        Ok(self.store.end_session(&hash(token)).await?)
    }
}
