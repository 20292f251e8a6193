//! Signing in by a provider of OpenID Connect: the authorization code flow with PKCE.
//!
//! Whom the provider means is looked up among the people whom an admin has linked to it; nobody else comes in, and nobody is made.
//! From there it is the same session as with a key. What the provider says of groups or e-mail counts for nothing.

mod provider;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{
    IssuerUrl, RedirectUrl,
    url::{Host, Url},
};
use rand::RngCore;
use subtle::ConstantTimeEq as _;

use super::{
    Access, Error, FreshSession,
    key::{draw, hash},
};
use crate::{
    config::Secret,
    store::{self, NewOidcSignIn, OidcSubject},
};

use provider::{Provider, ProviderError};

/// How long somebody may take at the provider's.
pub const UNDER_WAY: TimeDelta = TimeDelta::minutes(10);

/// The most characters of what a provider calls somebody (OpenID Connect Core 1.0, section 2).
const LONGEST_SUBJECT: usize = 255;

/// What a deployment says of its provider.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The provider's address, as it stands in what it signs.
    pub issuer: String,
    /// What the provider calls this deployment.
    pub client_id: String,
    /// What shows the provider that it is this deployment; a public client has none.
    pub client_secret: Option<Secret>,
    /// Where the provider sends people back to.
    pub redirect: String,
}

/// Settings that no sign-in can work with.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOidc {
    /// No address, or one that others may read along.
    #[error("the {what} must be an https address, or an http address of this machine")]
    Address {
        /// Which.
        what: &'static str,
    },
    /// No client can be made.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

/// Why nobody came in by the provider.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider can't be reached, or says nothing that can be used.
    #[error("the sign-in provider can't be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What came back was begun in another browser, too long ago, or has come back before.
    #[error("this sign-in was not begun in this browser, was begun too long ago, or was used before")]
    Stale,
    /// The provider let nobody through, or does not know the code.
    #[error("the sign-in provider refused")]
    Refused,
    /// What the provider's token says does not hold, or is not the provider's.
    #[error("what the sign-in provider says can't be believed")]
    Unbelievable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The provider means somebody who is nobody here, or not any more: which, nobody is told.
    #[error("the sign-in provider means somebody who is nobody here")]
    Nobody {
        /// Whom the provider means.
        whom: OidcSubject,
    },
    /// The rest of signing in.
    #[error(transparent)]
    Access(#[from] Error),
}

impl From<store::Error> for OidcError {
    fn from(error: store::Error) -> Self {
        Self::Access(error.into())
    }
}

impl From<ProviderError> for OidcError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Unreachable(source) => Self::Unreachable(source),
            ProviderError::Refused => Self::Refused,
            ProviderError::Unbelievable(source) => Self::Unbelievable(source),
        }
    }
}

/// A sign-in that has begun: where to send the browser, and what it must keep meanwhile.
pub struct Begun {
    /// The provider's page.
    pub url: String,
    /// What must come back from there, and stand in a cookie of the same browser.
    pub state: String,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begun([redacted])")
    }
}

/// What a browser brings back from the provider.
pub struct Returned<'a> {
    /// What the provider gives out for a token; none where it refuses.
    pub code: Option<&'a str>,
    /// The state, from the address.
    pub state: &'a str,
    /// The state, from the cookie.
    pub kept: Option<&'a str>,
}

/// Signing in by a provider. What the provider says of itself is asked when it is first needed, so a provider that is down stops nothing
/// else.
#[derive(Debug)]
pub struct Oidc {
    issuer: String,
    provider: Provider,
}

impl Oidc {
    /// By this provider. Asks nobody yet.
    ///
    /// # Errors
    /// When an address is none, or is one that others may read along.
    pub fn new(settings: OidcSettings) -> Result<Self, InvalidOidc> {
        let OidcSettings { issuer, client_id, client_secret, redirect } = settings;
        let issuer_url = provider_address(&issuer)?;
        let redirect = RedirectUrl::new(redirect).ok().filter(|url| private(url.url()));
        let redirect = redirect.ok_or(InvalidOidc::Address { what: "address of the pages (--public-url)" })?;
        let provider = Provider::new(issuer_url, client_id, client_secret, redirect).map_err(InvalidOidc::Client)?;
        Ok(Self { issuer, provider })
    }

    /// The provider's address.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Begins a sign-in. `random` must not be predictable.
    ///
    /// # Errors
    /// [`OidcError::Unreachable`] when the provider is; else when the database fails.
    pub async fn begin(
        &self,
        access: &Access,
        random: &mut (impl RngCore + Send),
        now: DateTime<Utc>,
    ) -> Result<Begun, OidcError> {
        let (state, nonce, pkce_verifier) = (draw(random), draw(random), draw(random));
        let url = self.provider.page(&state, &nonce, &pkce_verifier, now).await?;
        let sign_in = NewOidcSignIn { state_hash: hash(&state), nonce, pkce_verifier, begun_at: now };
        access.store.begin_oidc_sign_in(&sign_in, now - UNDER_WAY).await?;
        Ok(Begun { url, state })
    }

    /// Ends a sign-in, with a session for whom the provider means. `random` must not be predictable.
    ///
    /// # Errors
    /// When that is nobody, or it can't be known who it is; see [`OidcError`].
    pub async fn finish(
        &self,
        access: &Access,
        returned: Returned<'_>,
        random: &mut (impl RngCore + Send),
        now: DateTime<Utc>,
    ) -> Result<FreshSession, OidcError> {
        let kept = returned.kept.unwrap_or_default();
        if kept.is_empty() || !bool::from(kept.as_bytes().ct_eq(returned.state.as_bytes())) {
            return Err(OidcError::Stale);
        }
        let sign_in = access.store.take_oidc_sign_in(&hash(returned.state), now - UNDER_WAY).await?;
        let sign_in = sign_in.ok_or(OidcError::Stale)?;
        let code = returned.code.ok_or(OidcError::Refused)?;
        let subject = self.provider.subject(code, sign_in, now).await?;
        let known = (1..=LONGEST_SUBJECT).contains(&subject.len()) && !subject.chars().any(char::is_control);
        if !known {
            return Err(OidcError::Unbelievable("a subject is 1 to 255 printable characters".into()));
        }
        let whom = OidcSubject { issuer: self.issuer.clone(), subject };
        match access.store.key_of_oidc_subject(&whom, now).await? {
            Some(prefix) => Ok(access.begin_session(prefix, random, now).await?),
            None => {
                access.store.note_refused_sign_in(&whom).await?;
                Err(OidcError::Nobody { whom })
            }
        }
    }
}

/// A provider's address.
fn provider_address(text: &str) -> Result<IssuerUrl, InvalidOidc> {
    let url = IssuerUrl::new(text.to_owned()).ok().filter(|url| private(url.url()));
    url.ok_or(InvalidOidc::Address { what: "provider's address (--oidc-issuer)" })
}

/// A provider's address as it was written, where that is one.
///
/// # Errors
/// When it is none, or one that others may read along.
pub fn issuer(text: &str) -> Result<String, InvalidOidc> {
    provider_address(text).map(|_| text.to_owned())
}

/// Whether nobody on the way can read along.
fn private(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_may_read_along_are_refused() {
        crate::outbound::provide_tls();
        let with = |issuer: &str, redirect: &str| {
            Oidc::new(OidcSettings {
                issuer: issuer.to_owned(),
                client_id: "txcat".to_owned(),
                client_secret: None,
                redirect: redirect.to_owned(),
            })
        };
        let good = "https://id.bank.example/realms/staff";
        assert!(with(good, "https://txcat.bank.example/sign-in/oidc/callback").is_ok());
        assert!(with("http://127.0.0.1:9000", "http://localhost:8080/sign-in/oidc/callback").is_ok());
        for wrong in ["", "id.bank.example", "http://id.bank.example", "ftp://127.0.0.1", "http://localhost.example"] {
            assert!(matches!(with(wrong, good), Err(InvalidOidc::Address { .. })), "{wrong}");
            assert!(matches!(with(good, wrong), Err(InvalidOidc::Address { .. })), "{wrong}");
        }
    }
}
