//! Making keys and taking them apart.

use std::{fmt, num::NonZeroU32};

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngCore;
use sha2::{Digest, Sha256};

use subtle::ConstantTimeEq as _;

use super::{Error, Role, Scope};
use crate::store::{KeyRotation, NewKey, Store};

/// A key to make.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// What people call it.
    pub name: String,
    /// Who has it, and so what it may do.
    pub holder: Holder,
    /// Until when; without end if absent.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who makes it.
    pub made_by: String,
    /// How much it may ask for.
    pub limits: KeyLimits,
}

/// How much a key may ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Requests a minute; the deployment's default without one.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Rows sent a day (UTC); as many as come without one.
    pub rows_per_day: Option<NonZeroU32>,
}

impl KeyLimits {
    pub(super) fn stored(requests_per_minute: Option<i32>, rows_per_day: Option<i64>) -> Self {
        let requests_per_minute = requests_per_minute.and_then(|limit| u32::try_from(limit).ok());
        let rows_per_day = rows_per_day.and_then(|limit| u32::try_from(limit).ok());
        Self {
            requests_per_minute: requests_per_minute.and_then(NonZeroU32::new),
            rows_per_day: rows_per_day.and_then(NonZeroU32::new),
        }
    }
}

/// Who has a key.
#[derive(Debug, Clone)]
pub enum Holder {
    /// A program, which may do this.
    Program(Vec<Scope>),
    /// A person, who signs in with it and may do what comes with the role.
    Person(Role),
}

/// How a key is put in the place of another.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// How long the old one goes on.
    pub overlap: TimeDelta,
    /// Until when the new one is; without it as long as the old one was made for.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who does it.
    pub made_by: String,
}

/// A key just made. Its text can be shown now and never again.
pub struct FreshKey {
    prefix: String,
    secret: String,
}

impl FreshKey {
    /// Makes a key and stores its hash. `random` must not be predictable.
    ///
    /// # Errors
    /// When the name is taken or the database fails.
    pub async fn create(
        store: &Store,
        request: KeyRequest,
        random: &mut impl RngCore,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let (scopes, role) = match request.holder {
            Holder::Program(scopes) => (scopes, None),
            Holder::Person(role) => (role.scopes().to_vec(), Some(role)),
        };
        let key = Self::draw(random);
        let row = NewKey {
            prefix: key.prefix.clone(),
            name: request.name,
            secret_hash: hash(&key.secret),
            scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            created_at: now,
            expires_at: request.expires_at,
            role: role.map(|role| role.as_str().to_owned()),
            made_by: request.made_by,
            requests_per_minute: request.limits.requests_per_minute.and_then(|limit| i32::try_from(limit.get()).ok()),
            rows_per_day: request.limits.rows_per_day.map(|limit| i64::from(limit.get())),
            oidc: None,
        };
        store.create_key(&row).await?;
        Ok(key)
    }

    /// Makes a key with the name and rights of an open one, named by its prefix or name, and tells until when that one goes on.
    /// None where there is no such key. `random` must not be predictable.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate(
        store: &Store,
        old: &str,
        rotation: Rotation,
        random: &mut impl RngCore,
        now: DateTime<Utc>,
    ) -> Result<Option<(Self, DateTime<Utc>)>, Error> {
        let key = Self::draw(random);
        let row = KeyRotation {
            prefix: key.prefix.clone(),
            secret_hash: hash(&key.secret),
            overlap_until: now + rotation.overlap,
            expires_at: rotation.expires_at,
            now,
            made_by: rotation.made_by,
        };
        Ok(store.rotate_key(old, &row).await?.map(|ends| (key, ends)))
    }

    fn draw(random: &mut impl RngCore) -> Self {
        let mut prefix = [0; 6];
        random.fill_bytes(&mut prefix);
        Self { prefix: hex::encode(prefix), secret: draw(random) }
    }

    /// The public part, which lists show.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The whole key, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("txcat_{}_{}", self.prefix, self.secret)
    }
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "txcat_{}_[redacted]", self.prefix)
    }
}

/// Prefix and secret of an `authorization` header.
pub(super) fn from_header(header: &str) -> Option<(&str, &str)> {
    let (scheme, key) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    split(key)
}

/// Prefix and secret of a key.
pub(super) fn split(key: &str) -> Option<(&str, &str)> {
    key.trim().strip_prefix("txcat_")?.split_once('_')
}

/// Takes as long for a near miss as for a far one.
pub(super) fn is_hash_of(stored: &[u8], secret: &str) -> bool {
    hash(secret).as_slice().ct_eq(stored).into()
}

/// 256 random bits, as 64 characters: enough for a PKCE verifier too (RFC 7636).
pub(super) fn draw(random: &mut impl RngCore) -> String {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    hex::encode(bytes)
}

/// What is stored of 256 random bits.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_header() {
        assert_eq!(from_header("Bearer txcat_0a1b_secret"), Some(("0a1b", "secret")));
        assert_eq!(from_header("bearer  txcat_0a1b_secret "), Some(("0a1b", "secret")));
        for header in ["", "txcat_0a1b_secret", "Basic txcat_0a1b_secret", "Bearer 0a1b_secret", "Bearer txcat_0a1b"] {
            assert_eq!(from_header(header), None, "{header}");
        }
    }

    #[test]
    fn only_the_secret_itself_has_the_hash() {
        assert!(is_hash_of(&hash("secret"), "secret"));
        assert!(!is_hash_of(&hash("secret"), "Secret"));
        assert!(!is_hash_of(&[], "secret"));
    }

    #[test]
    fn a_key_is_not_printed_by_accident() {
        let key = FreshKey { prefix: "0a1b".to_owned(), secret: "hidden".to_owned() };
        assert_eq!(format!("{key:?}"), "txcat_0a1b_[redacted]");
    }
}
