//! Whether a webhook was sent by the provider: the signature of Standard Webhooks (specification 1.0.0).
//!
//! The signature covers id, time and body, so none of them can be changed; the time keeps an old message from being
//! sent again later. Not what is made of the message: it is never trusted for more than a job's name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Seconds that a message's time may be off.
const TOLERANCE: i64 = 300;

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
        let Ok(key) = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)) else { return false };
        let near = |at: i64| now.timestamp().abs_diff(at) <= TOLERANCE.unsigned_abs();
        if key.is_empty() || !self.timestamp.parse().is_ok_and(near) {
            return false;
        }
        let signatures = self.signature.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        signatures.filter_map(|one| STANDARD.decode(one).ok()).any(|one| self.is_signed_by(&key, &one))
    }

    fn is_signed_by(&self, key: &[u8], signature: &[u8]) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
        for part in [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", self.body] {
            mac.update(part);
        }
        // In constant time.
        mac.verify_slice(signature).is_ok()
    }
}
