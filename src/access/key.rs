//! Making keys and taking them apart.

use std::fmt;

use chrono::{DateTime, Utc};
use rand::RngCore;
use sha2::{Digest, Sha256};

use super::{Error, Role, Scope};
use crate::store::{NewKey, Store};

/// A key to make.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// What people call it.
    pub name: String,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
    /// Until when; without end if absent.
    pub expires_at: Option<DateTime<Utc>>,
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
        Self::store(store, request, None, random, now).await
    }

    /// Makes a person's key: it signs in, and may do what comes with the role. `random` must not be predictable.
    ///
    /// # Errors
    /// When the name is taken or the database fails.
    pub async fn for_person(
        store: &Store,
        name: String,
        role: Role,
        random: &mut impl RngCore,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let request = KeyRequest { name, scopes: role.scopes().to_vec(), expires_at: None };
        Self::store(store, request, Some(role), random, now).await
    }

    async fn store(
        store: &Store,
        request: KeyRequest,
        role: Option<Role>,
        random: &mut impl RngCore,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let mut prefix = [0; 6];
        let mut secret = [0; 32];
        random.fill_bytes(&mut prefix);
        random.fill_bytes(&mut secret);
        let key = Self { prefix: hex::encode(prefix), secret: hex::encode(secret) };
        let row = NewKey {
            prefix: key.prefix.clone(),
            name: request.name,
            secret_hash: hash(&key.secret),
            scopes: request.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            created_at: now,
            expires_at: request.expires_at,
            role: role.map(|role| role.as_str().to_owned()),
        };
        store.create_key(&row).await?;
        Ok(key)
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
    let told = hash(secret);
    stored.len() == told.len() && stored.iter().zip(told).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn hash(secret: &str) -> [u8; 32] {
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
