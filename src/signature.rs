//! The signature of Standard Webhooks (specification 1.0.0): of messages that come, and of those that are sent.
//!
//! The signature covers id, time and body, so none of them can be changed; the time keeps an old message from being
//! sent again later. Not what is made of the message.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Seconds that a message's time may be off.
const TOLERANCE: i64 = 300;

/// The bytes that a secret of ours is made of.
pub const SECRET: usize = 32;

/// A secret to sign with, of random bytes that nobody can foresee: `whsec_` and base64.
#[must_use]
pub fn secret(random: [u8; SECRET]) -> String {
    format!("whsec_{}", STANDARD.encode(random))
}

/// The header `webhook-signature` of a message; `None` where the secret is none.
#[must_use]
pub fn sign(secret: &str, id: &str, at: DateTime<Utc>, body: &[u8]) -> Option<String> {
    let mac = covering(&key(secret)?, id, &at.timestamp().to_string(), body)?;
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// Whether something can be signed with it: base64, with `whsec_` before it or not.
#[must_use]
pub fn is_secret(secret: &str) -> bool {
    key(secret).is_some()
}

fn key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?;
    (!key.is_empty()).then_some(key)
}

fn covering(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    Some(mac)
}

/// What a message came with.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The header `webhook-id`.
    pub id: &'a str,
    /// The header `webhook-timestamp`, seconds since 1970.
    pub timestamp: &'a str,
    /// The header `webhook-signature`: one or more, `v1,` and base64 each, between spaces.
    pub signature: &'a str,
    /// The body, byte by byte.
    pub body: &'a [u8],
}

impl Signed<'_> {
    /// Whether whoever knows the secret (`whsec_` and base64) signed it, at most five minutes from now.
    #[must_use]
    pub fn holds(&self, secret: &str, now: DateTime<Utc>) -> bool {
        let Some(key) = key(secret) else { return false };
        let near = |at: i64| now.timestamp().abs_diff(at) <= TOLERANCE.unsigned_abs();
        if !self.timestamp.parse().is_ok_and(near) {
            return false;
        }
        let signatures = self.signature.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        signatures.filter_map(|one| STANDARD.decode(one).ok()).any(|one| self.is_signed_by(&key, &one))
    }

    fn is_signed_by(&self, key: &[u8], signature: &[u8]) -> bool {
        // In constant time.
        covering(key, self.id, self.timestamp, self.body).is_some_and(|mac| mac.verify_slice(signature).is_ok())
    }
}
