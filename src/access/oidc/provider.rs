//! The provider on the other side: what it says of itself, its page, its tokens, and who it is that a token names.
//!
//! What it says of itself is kept for an hour, and asked again where a signature has a key that is not among those kept.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, TokenResponse as _,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreJwsSigningAlgorithm,
        CoreProviderMetadata,
    },
};

use crate::{config::Secret, outbound, store::OidcSignIn};

/// How long what the provider says of itself holds.
const HOLDS: TimeDelta = TimeDelta::hours(1);
/// The longest that it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer of more bytes is none that is asked for here.
const MOST_BYTES: usize = 1 << 20;

/// How a token may be signed: by a key that only the provider has.
const SIGNED: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// A cause, whatever the crate calls it.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What the crate makes of what the provider says of itself.
type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// Why the provider does not tell who it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    /// It can't be reached, or says nothing that can be used.
    #[error("the provider can't be reached")]
    Unreachable(#[source] Cause),
    /// It does not know the code, or this deployment.
    #[error("the provider refused")]
    Refused,
    /// What its token says does not hold, or is not its own.
    #[error("the provider's token does not hold")]
    Unbelievable(#[source] Cause),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("no answer came")]
    Failed(#[from] reqwest::Error),
    #[error("the answer is longer than {MOST_BYTES} bytes")]
    TooLong,
}

/// The provider on the other side.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<Secret>,
    redirect: RedirectUrl,
    http: reqwest::Client,
    known: ArcSwapOption<Known>,
}

/// What it says of itself, with its keys, and when it said so.
#[derive(Debug)]
struct Known {
    metadata: CoreProviderMetadata,
    at: DateTime<Utc>,
}

impl Provider {
    pub(super) fn new(
        issuer: IssuerUrl,
        client_id: String,
        client_secret: Option<Secret>,
        redirect: RedirectUrl,
    ) -> Result<Self, reqwest::Error> {
        // What is sent is for the provider alone: a redirect would carry it elsewhere.
        let http = outbound::client()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(PATIENCE / 2)
            .timeout(PATIENCE)
            .build()?;
        let client_id = ClientId::new(client_id);
        Ok(Self { issuer, client_id, client_secret, redirect, http, known: ArcSwapOption::empty() })
    }

    /// The page to send a browser to.
    pub(super) async fn page(
        &self,
        state: &str,
        nonce: &str,
        pkce_verifier: &str,
        now: DateTime<Utc>,
    ) -> Result<String, ProviderError> {
        let known = self.known(now).await?;
        let verifier = PkceCodeVerifier::new(pkce_verifier.to_owned());
        let (state, nonce) = (CsrfToken::new(state.to_owned()), Nonce::new(nonce.to_owned()));
        let (url, ..) = self
            .client(&known)
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url.into())
    }

    /// Whom the token names that the provider gives for this code.
    pub(super) async fn subject(
        &self,
        code: &str,
        sign_in: OidcSignIn,
        now: DateTime<Utc>,
    ) -> Result<String, ProviderError> {
        let known = self.known(now).await?;
        let client = self.client(&known);
        let http = |request| ask(self.http.clone(), request);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| ProviderError::Unreachable(error.into()))?
            .set_pkce_verifier(PkceCodeVerifier::new(sign_in.pkce_verifier));
        let tokens = request.request_async(&http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(_) => ProviderError::Refused,
            RequestTokenError::Request(source) => ProviderError::Unreachable(source.into()),
            // The bytes that could not be read may hold a token: they are dropped here.
            RequestTokenError::Parse(source, _) => ProviderError::Unreachable(source.into()),
            RequestTokenError::Other(says) => ProviderError::Unreachable(says.into()),
        })?;
        let token = tokens.id_token().ok_or_else(|| ProviderError::Unbelievable("there is no ID token".into()))?;
        let nonce = Nonce::new(sign_in.nonce);
        let subject = match self.named(&known, token, &nonce, now) {
            // It may have changed its keys meanwhile.
            Err(ClaimsVerificationError::SignatureVerification(_)) => {
                self.named(&*self.asked(now).await?, token, &nonce, now)
            }
            named => named,
        };
        subject.map_err(|error| ProviderError::Unbelievable(error.into()))
    }

    /// Whom a token names, if it is the provider's, for this deployment, in time, and for this sign-in.
    fn named(
        &self,
        known: &Known,
        token: &CoreIdToken,
        nonce: &Nonce,
        now: DateTime<Utc>,
    ) -> Result<String, ClaimsVerificationError> {
        let client = self.client(known);
        let verifier = client.id_token_verifier().set_allowed_algs(SIGNED).set_time_fn(move || now);
        Ok(token.claims(&verifier, nonce)?.subject().to_string())
    }

    fn client(&self, known: &Known) -> Client {
        let secret = self.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let takes = known.metadata.token_endpoint_auth_methods_supported();
        let basic = takes.is_none_or(|takes| {
            takes.contains(&CoreClientAuthMethod::ClientSecretBasic)
                || !takes.contains(&CoreClientAuthMethod::ClientSecretPost)
        });
        CoreClient::from_provider_metadata(known.metadata.clone(), self.client_id.clone(), secret)
            .set_auth_type(if basic { AuthType::BasicAuth } else { AuthType::RequestBody })
            .set_redirect_uri(self.redirect.clone())
    }

    /// What the provider says of itself, as far as that still holds.
    async fn known(&self, now: DateTime<Utc>) -> Result<Arc<Known>, ProviderError> {
        // A clock that was put back makes what is known old, not young for ever.
        let holds = |known: &Arc<Known>| (TimeDelta::zero()..HOLDS).contains(&(now - known.at));
        match self.known.load_full().filter(holds) {
            Some(known) => Ok(known),
            None => self.asked(now).await,
        }
    }

    async fn asked(&self, now: DateTime<Utc>) -> Result<Arc<Known>, ProviderError> {
        let http = |request| ask(self.http.clone(), request);
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &http).await;
        let metadata = metadata.map_err(|error| ProviderError::Unreachable(error.into()))?;
        let known = Arc::new(Known { metadata, at: now });
        self.known.store(Some(Arc::clone(&known)));
        Ok(known)
    }
}

/// One request and its answer, no longer than it may be.
async fn ask(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, Unanswered> {
    let mut response = client.execute(request.try_into()?).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_BYTES {
            return Err(Unanswered::TooLong);
        }
    }
    let mut answer = HttpResponse::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    Ok(answer)
}
