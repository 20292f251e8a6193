//! Who is asking, and what they may do: API keys, people and their scopes.
//!
//! A person is a key with a role: it opens the pages, where it becomes a session for as long as a working day; so does what a
//! provider of OpenID Connect says of somebody whom an admin has linked to that key (`oidc`). What was done with such rights stands
//! in the audit log, which `audit` checks.
//!
//! A key is `txcat_<prefix>_<secret>`: the prefix finds its row, and the row holds only the SHA-256
//! of the secret, which with 256 random bits needs no slower hash. Bound to loopback and as long as
//! no key exists, whoever reaches the port is the local admin.

mod audit;
mod key;
mod limits;
mod oidc;
mod role;
mod scope;
mod session;

use std::net::SocketAddr;

use chrono::{DateTime, Timelike as _, Utc};
use rand::{SeedableRng as _, rngs::StdRng};

pub use audit::{Act, Broken, Chain, Head, InvalidHead};
pub use key::{FreshKey, Holder, KeyLimits, KeyRequest, Rotation};
pub use limits::{Limits, REQUESTS_PER_MINUTE, Standing};
pub use oidc::{Begun, InvalidOidc, Oidc, OidcError, OidcSettings, Returned, UNDER_WAY, issuer};
pub use role::{Role, UnknownRole};
pub use scope::{Scope, UnknownScope};
pub use session::{FreshSession, SESSION};

use crate::store::{self, Store, StoredKey};

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    name: String,
    scopes: Vec<Scope>,
    csrf: Option<String>,
    limits: Option<KeyLimits>,
}

/// The name of whoever acts on this machine without a key.
pub const LOCAL: &str = "local";

impl Caller {
    /// The key's name, or `local`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the caller has the scope. An admin has all.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// What a page must send along with every change, where the caller came with a cookie.
    #[must_use]
    pub fn csrf(&self) -> Option<&str> {
        self.csrf.as_deref()
    }

    fn local() -> Self {
        Self { name: LOCAL.to_owned(), scopes: vec![Scope::Admin], csrf: None, limits: None }
    }
}

/// What secrets are drawn from.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn random() -> Result<StdRng, Error> {
    StdRng::try_from_os_rng().map_err(|_| Error::NoRandom)
}

/// Why nobody is let in, or not this caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key was sent, and one is needed.
    #[error("send an API key as `authorization: Bearer txcat_…`")]
    NoKey,
    /// Not a key, an unknown one, or one that was revoked or has expired: the caller isn't told which.
    #[error("the API key is not valid")]
    InvalidKey,
    /// A person's key, after too many wrong secrets for it. Only who has the right one is told.
    #[error("too many wrong keys were tried for this person: signing in is locked until {}", until.format("%H:%M:%S UTC"))]
    Locked {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// A request more than the key may make a minute.
    #[error("this key may make {limit} requests a minute")]
    TooManyRequests {
        /// The limit.
        limit: u32,
        /// Seconds until the next may come.
        wait: u64,
    },
    /// More rows than the key may send a day.
    #[error("this key may send {limit} rows a day: the day ends in {wait} s")]
    QuotaSpent {
        /// The limit.
        limit: u32,
        /// Seconds until the day ends.
        wait: u64,
    },
    /// Reachable from elsewhere, and nothing to check callers with.
    #[error(
        "{bind} can be reached from other machines and no usable API key exists: \
         make one with `txcat keys create`, or listen on 127.0.0.1"
    )]
    Exposed {
        /// Where the service was to listen.
        bind: SocketAddr,
    },
    /// A key of that name exists.
    #[error("an API key of this name exists already")]
    NameTaken,
    /// No secret can be made.
    #[error("the operating system gave no random bytes")]
    NoRandom,
    /// The database.
    #[error("the database could not be used")]
    Store(#[source] store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Constraint { name } if name == "api_keys_name_once" => Self::NameTaken,
            error => Self::Store(error),
        }
    }
}

/// Checks who is asking.
#[derive(Debug, Clone)]
pub struct Access {
    store: Store,
    open: bool,
    limits: Limits,
}

impl Access {
    /// For a service that listens on `bind`.
    ///
    /// # Errors
    /// [`Error::Exposed`] when no usable key exists and other machines can reach the address.
    pub async fn new(store: Store, bind: SocketAddr, now: DateTime<Utc>) -> Result<Self, Error> {
        if !bind.ip().is_loopback() && !store.any_usable_keys(now).await? {
            return Err(Error::Exposed { bind });
        }
        // Revoking the last key must lock, not unlock: a key that ever existed ends the openness.
        let open = bind.ip().is_loopback() && !store.any_keys().await?;
        Ok(Self { store, open, limits: Limits::default() })
    }

    /// With other limits for keys that have none of their own.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Counts a request of a caller; none where it has no limit. Who acts on this machine without a key has none.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`] when it is one too many.
    pub fn count(&self, caller: &Caller) -> Result<Option<Standing>, Error> {
        let Some(KeyLimits { requests_per_minute, .. }) = caller.limits else { return Ok(None) };
        self.limits
            .count(&caller.name, requests_per_minute)
            .map_err(|refused| Error::TooManyRequests { limit: refused.limit, wait: refused.wait.as_secs() + 1 })
    }

    /// Counts rows that a caller sends.
    ///
    /// # Errors
    /// [`Error::QuotaSpent`] when they are more than it may send that day; else when the database fails.
    pub async fn use_rows(&self, caller: &Caller, rows: usize, now: DateTime<Utc>) -> Result<(), Error> {
        let Some(limit) = caller.limits.and_then(|limits| limits.rows_per_day) else { return Ok(()) };
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        if self.store.use_rows(&caller.name, now.date_naive(), rows, i64::from(limit.get())).await? {
            return Ok(());
        }
        let wait = 86_400 - u64::from(now.time().num_seconds_from_midnight());
        Err(Error::QuotaSpent { limit: limit.get(), wait })
    }

    /// Whether callers needed no key when this was made. Making the first key ends it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Who sent this `authorization` header, or none.
    ///
    /// # Errors
    /// When a key is needed and none came, the key is not valid, or the database fails.
    pub async fn authenticate(&self, header: Option<&str>, now: DateTime<Utc>) -> Result<Caller, Error> {
        let Some(header) = header else {
            let open = self.open && !self.store.any_keys().await?;
            return if open { Ok(Caller::local()) } else { Err(Error::NoKey) };
        };
        let stored = self.valid_key(key::from_header(header).ok_or(Error::InvalidKey)?, now).await?;
        let scopes = stored.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
        let limits = KeyLimits::stored(stored.requests_per_minute, stored.rows_per_day);
        Ok(Caller { name: stored.name, scopes, csrf: None, limits: Some(limits) })
    }

    /// The key of this prefix and secret, if it opens anything.
    async fn valid_key(&self, (prefix, secret): (&str, &str), now: DateTime<Utc>) -> Result<StoredKey, Error> {
        let stored = self.store.find_key(prefix).await?;
        // As much is computed for a prefix that nobody has as for a key that is there.
        let hash = stored.as_ref().map_or(&[0_u8; 32] as &[u8], |stored| stored.secret_hash.as_slice());
        let right = key::is_hash_of(hash, secret);
        let open = |stored: &StoredKey| stored.revoked_at.is_none() && stored.expires_at.is_none_or(|end| end > now);
        stored.filter(|stored| right && open(stored)).ok_or(Error::InvalidKey)
    }
}
