//! JSON over HTTP to a model's server: limits, waits and second tries, in one place for every wire format.
//!
//! A request waits for a place (`concurrency`) and for its share of the minute's requests and tokens. What may
//! pass is tried again after a wait that doubles, or that the server names. What the server says of a failure
//! is kept to its status and its code: its words may repeat the prompt.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Attempts, Error, ModelEntry, breaker::Breaker, call::Call, redact::Covered};
use crate::{domain::OwnWords, outbound};

/// The longest wait that a server may ask for; beyond it the call fails.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// An answer of more bytes is none of a few categories.
const MOST_BYTES: usize = 4 << 20;
/// A file of more bytes is not what a batch answers.
const MOST_FILE_BYTES: usize = 1 << 30;
/// The member that says in which form an answer is asked.
const FORMAT: &str = "response_format";

/// The way to one model's server.
pub(super) struct Wire {
    client: reqwest::Client,
    url: String,
    /// The same, as errors name it.
    address: String,
    query: Vec<(String, String)>,
    timeout: Duration,
    waits: ExponentialBuilder,
    /// Of one call, however often it is posted: no more are booked.
    most_attempts: u32,
    places: Semaphore,
    requests: Option<DefaultDirectRateLimiter>,
    tokens: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
    breaker: Breaker,
    covers: bool,
}

impl Wire {
    /// A way to `path` under the entry's base URL, with these headers beside its key.
    pub(super) fn new(entry: &ModelEntry, path: &str, bearer: &str, more: HeaderMap) -> Result<Self, Error> {
        let mut headers = more;
        if let Some(secret) = entry.secret()? {
            let name = entry.key_header.as_deref().unwrap_or(bearer);
            let wrong = |says| Error::Setting { model: entry.name.clone(), says };
            let name = HeaderName::try_from(name).map_err(|_| wrong("key_header is no header's name"))?;
            let value = if name == reqwest::header::AUTHORIZATION {
                format!("Bearer {}", secret.expose())
            } else {
                secret.expose().to_owned()
            };
            let mut value =
                HeaderValue::try_from(value).map_err(|_| wrong("the key has characters that no header carries"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        // Redirects would carry the key, and the prompt, to whoever is named there.
        let client = outbound::client()
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(entry.timeout().min(Duration::from_secs(10)))
            .build()
            .map_err(Error::Client)?;
        let url = format!("{}{path}", entry.base_url.trim_end_matches('/'));
        let a_minute = |limit: Option<u32>| limit.and_then(NonZeroU32::new);
        Ok(Self {
            client,
            address: address(&url),
            url,
            query: entry.query.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            timeout: entry.timeout(),
            waits: ExponentialBuilder::default()
                .with_min_delay(Duration::from_secs_f32(entry.backoff_s))
                .with_max_delay(LONGEST_WAIT)
                .with_max_times(entry.retries)
                .with_jitter(),
            most_attempts: entry.most_attempts(),
            places: Semaphore::new(entry.concurrency),
            requests: a_minute(entry.requests_per_minute).map(|of| RateLimiter::direct(Quota::per_minute(of))),
            tokens: a_minute(entry.tokens_per_minute).map(|of| (RateLimiter::direct(Quota::per_minute(of)), of)),
            breaker: Breaker::new(Duration::from_secs_f32(entry.rest_s)),
            covers: !entry.send_personal_data,
        })
    }

    /// Posts a body that takes about so many tokens, with these words of one's own in it; tries again what may pass.
    pub(super) async fn post(
        &self,
        body: Value,
        own: &OwnWords,
        tokens: u32,
        attempts: &Attempts,
    ) -> Result<Value, Error> {
        if !self.covers {
            return self.attempts(&Call::post("", &body), tokens, json, attempts).await;
        }
        let covered = Covered::of(body, own);
        let mut answered = self.attempts(&Call::post("", &covered.body), tokens, json, attempts).await?;
        covered.restore(&mut answered);
        Ok(answered)
    }

    /// Whether personal data is taken out of what this server gets.
    pub(super) fn covers(&self) -> bool {
        self.covers
    }

    /// Waits between attempts, as many as there may be.
    pub(super) fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        self.waits.build()
    }

    /// Makes a request that carries no transactions, and reads its answer as JSON.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Value, Error> {
        self.attempts(call, 0, json, &Attempts::default()).await
    }

    /// Gets a file's content.
    pub(super) async fn content(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.attempts(&Call::get(path, &[]), 0, Ok, &Attempts::default()).await
    }

    async fn attempts<T>(
        &self,
        call: &Call<'_>,
        tokens: u32,
        read: impl Fn(Vec<u8>) -> Result<T, Error>,
        attempts: &Attempts,
    ) -> Result<T, Error> {
        // Nobody closes it.
        let _place = self.places.acquire().await.ok();
        let mut waits = self.waits.build();
        let address = || format!("{} {}{}", call.method(), self.address, call.path());
        let given_up = |source: Arc<Error>| Error::GivenUp { address: address(), doubtful: attempts.count(), source };
        loop {
            self.breaker.admit(Instant::now()).map_err(|error| given_up(Arc::new(error)))?;
            self.pace(tokens).await;
            let said = attempts.one(async { self.once(call).await.and_then(&read) }).await;
            let error = match said {
                Ok(body) => {
                    self.breaker.succeeded();
                    return Ok(body);
                }
                Err(error) => Arc::new(error),
            };
            if !error.may_pass() {
                // The server is there and says what it wants.
                self.breaker.succeeded();
                return Err(given_up(error));
            }
            // A server that counts requests is there, and says when to come again.
            if !matches!(*error, Error::Busy { status: 429, .. }) {
                self.breaker.failed(Instant::now(), &error);
            }
            // Sent again, it could create the same thing twice: who asked looks first whether it is there.
            if call.creates() && !error.surely_unbilled() {
                return Err(given_up(error));
            }
            let asked = error.retry_after();
            let may_go_on = attempts.count() < self.most_attempts;
            let Some(wait) = waits.next().filter(|_| may_go_on) else { return Err(given_up(error)) };
            if asked.is_some_and(|asked| asked > LONGEST_WAIT) {
                return Err(given_up(error));
            }
            tracing::debug!(error = %error, "a model's server is asked again");
            tokio::time::sleep(asked.unwrap_or(wait)).await;
        }
    }

    async fn pace(&self, tokens: u32) {
        if let Some(requests) = &self.requests {
            requests.until_ready().await;
        }
        if let Some((limiter, most)) = &self.tokens
            && let Some(tokens) = NonZeroU32::new(tokens.min(most.get()))
        {
            // No more than the limiter holds, so that it can't be too much for it.
            let _ = limiter.until_n_ready(tokens).await;
        }
    }

    async fn once(&self, call: &Call<'_>) -> Result<Vec<u8>, Error> {
        let timeout = self.timeout + call.longer();
        let sent = async {
            let url = format!("{}{}", self.url, call.path());
            let request = call.request(&self.client, &url, &self.query)?;
            let mut response = request.send().await.map_err(unreachable)?;
            let (status, retry_after) = (response.status(), retry_after(response.headers()));
            let most = if call.is_download() { MOST_FILE_BYTES } else { MOST_BYTES };
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > most {
                    return Err(Error::Failed { status: status.as_u16() });
                }
            }
            match status {
                status if status.is_success() => Ok(bytes),
                // Some servers fail where they should refuse.
                status if matches!(status.as_u16(), 400 | 404 | 422 | 500) && refuses_format(&bytes) => {
                    Err(Error::Rejected { status: status.as_u16(), code: FORMAT.to_owned() })
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE if !out_of_credit(&bytes) => {
                    Err(Error::Busy { status: status.as_u16(), retry_after })
                }
                status if status.as_u16() == 529 => Err(Error::Busy { status: 529, retry_after }),
                StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => Err(Error::Failed { status: status.as_u16() }),
                status if status.is_server_error() => Err(Error::Failed { status: status.as_u16() }),
                status => Err(Error::Rejected { status: status.as_u16(), code: code(&bytes) }),
            }
        };
        tokio::time::timeout(timeout, sent).await.unwrap_or(Err(Error::TimedOut { after: timeout }))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "one of two ways to read what came")]
fn json(bytes: Vec<u8>) -> Result<Value, Error> {
    serde_json::from_slice(&bytes).map_err(Error::Protocol)
}

/// An address without what may be secret in it.
fn address(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else { return "the address in `base_url`".to_owned() };
    // Fails only where an address can't have them.
    let _ = parsed.set_username("").and_then(|()| parsed.set_password(None));
    parsed.set_query(None);
    parsed.to_string().trim_end_matches('/').to_owned()
}

fn unreachable(source: reqwest::Error) -> Error {
    Error::Unreachable(source.without_url())
}

/// Seconds, or a date that is passed over: every model's server known sends seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f32 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f32(seconds).ok()
}

/// Whether an error is about the form that the answer was asked in: OpenAI names the member in `param`, FastAPI in
/// `detail[].loc`, others in the message alone.
fn refuses_format(body: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
    let error = body.get("error").unwrap_or(&body);
    let names = |value: &Value| value.as_str().is_some_and(|text| text.contains(FORMAT));
    let detail = body.get("detail").and_then(Value::as_array).into_iter().flatten();
    let places = detail.filter_map(|one| one.get("loc")?.as_array()).flatten();
    ["param", "message"].iter().filter_map(|member| error.get(member)).chain(places).any(names)
}

/// A 429 that no wait mends.
fn out_of_credit(body: &[u8]) -> bool {
    code(body) == "insufficient_quota"
}

/// The server's code or type for an error, as far as it is one: a word of letters, digits and `_.-`.
fn code(body: &[u8]) -> String {
    let error = serde_json::from_slice::<Value>(body).ok();
    let error = error.as_ref().and_then(|body| body.get("error"));
    let word = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
    let plain = |word: &&str| {
        (1..=64).contains(&word.len()) && word.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    let code = [word("code"), word("type")].into_iter().flatten().find(plain);
    match (code, word("param").filter(plain)) {
        (Some(code), Some(param)) => format!("{code}: {param}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "no code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_an_address_without_its_secrets() {
        assert_eq!(address("https://user:word@host.example/v1/?key=1"), "https://host.example/v1");
        assert_eq!(address("http://127.0.0.1:9"), "http://127.0.0.1:9");
    }

    #[test]
    fn a_form_that_is_not_taken_is_told_in_several_ways() {
        let refuses = |body: Value| refuses_format(body.to_string().as_bytes());
        assert!(refuses(json!({"error": {"message": "no", "param": "response_format.json_schema", "code": null}})));
        assert!(refuses(json!({"detail": [{"loc": ["body", "response_format", "type"], "msg": "no"}]})));
        let failed = "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type')}]";
        assert!(refuses(json!({"error": {"message": failed, "type": "internal_server_error", "code": null}})));
        assert!(refuses(json!({"object": "error", "message": "response_format is not supported", "code": 400})));
        assert!(!refuses(json!({"error": {"message": "model not found", "param": "model"}})));
        assert!(!refuses(json!({"detail": "response_format"})) && !refuses_format(b"response_format"));
    }
}
