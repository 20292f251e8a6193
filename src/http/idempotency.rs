//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a request that comes again gets the answer that it got.
//!
//! It holds for every POST of the API that a caller is known for, so no route can forget it. No handler knows of it.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest as _, Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chrono::TimeDelta;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::{
    error::Error,
    extract::BODY_LIMIT,
    frame::{TIME_LIMIT, bounded},
};
use crate::{
    access::Caller,
    causes::with_causes,
    clock,
    store::{KeptAnswer, Keyed, KeyedRequest, Store},
};

/// The header.
pub(super) const KEY: &str = "idempotency-key";

/// What says that an answer is not the first of its request.
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The most characters of a key.
pub(super) const LONGEST: usize = 255;

/// How long answers are kept.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// After [`TIME_LIMIT`], at which every request ends: what a slow database takes to begin it and to keep its answer. One without an
/// answer counts as dead then.
const GRACE: TimeDelta = TimeDelta::seconds(60);

/// What is kept in the place of a body that holds a secret: the same without it. A secret is shown once, and stands in the clear
/// nowhere.
#[derive(Clone)]
pub(super) struct KeptInstead(Vec<u8>);

impl KeptInstead {
    pub(super) fn json(body: &impl Serialize) -> Result<Self, Error> {
        Ok(Self(serde_json::to_vec(body)?))
    }
}

/// Answers a POST that carries a key, once.
pub(super) async fn once(State(store): State<Store>, request: Request, next: Next) -> Result<Response, Error> {
    let Some((caller, key)) = keyed(&request)? else { return Ok(next.run(request).await) };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let id = digest([caller.name(), request.method().as_str(), path, &key]);
    let (parts, body) = request.into_parts();
    let read = Request::from_parts(parts.clone(), body);
    let body = Bytes::from_request(read, &()).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(cause) if cause.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Error::BodyTooLarge { limit: BODY_LIMIT }
        }
        _ => Error::BodyUnreadable,
    })?;
    let now = clock::now();
    let begun = KeyedRequest { id, body_sha256: Sha256::digest(&body).into(), begun_at: now };
    let lease = TimeDelta::from_std(TIME_LIMIT).unwrap_or_default() + GRACE;
    match store.begin_keyed(&begun, now - KEPT, lease).await? {
        Keyed::Fresh => {
            // In a task of its own: a caller that has lost patience, and asks again, finds the answer.
            let work = answered(store, begun, next.run(Request::from_parts(parts, Body::from(body))));
            let task = tokio::spawn(work.in_current_span());
            task.await.map_err(|_| Error::Panicked)
        }
        Keyed::Answered(answer) => again(answer),
        Keyed::Erased => Err(Error::KeyErased),
        Keyed::Pending => Err(Error::KeyPending),
        Keyed::OtherBody => Err(Error::KeyReused),
    }
}

/// Runs to the end, and keeps what is final: an outage or a limit is none.
async fn answered(store: Store, request: KeyedRequest, run: impl Future<Output = Response>) -> Response {
    let response = bounded(run).await;
    let status = response.status();
    let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let (parts, body) = response.into_parts();
    // The whole answer was made here, so it is in memory already.
    let body = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return Error::unwritten(error).into_response(),
    };
    let kept = if passing {
        store.let_go(&request).await
    } else {
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let body = parts.extensions.get::<KeptInstead>().map_or_else(|| body.to_vec(), |kept| kept.0.clone());
        let answer = KeptAnswer { status: status.as_u16(), content_type: content_type.map(str::to_owned), body };
        store.keep_answer(&request, &answer).await
    };
    if let Err(error) = kept {
        // The caller has its answer; asked again before the lease ends, it is told to wait.
        tracing::warn!(error = %with_causes(&error), "an answer could not be kept for its idempotency key");
    }
    Response::from_parts(parts, Body::from(body))
}

fn again(answer: KeptAnswer) -> Result<Response, Error> {
    let status = StatusCode::from_u16(answer.status).map_err(Error::unwritten)?;
    let mut headers = HeaderMap::from_iter([(REPLAYED.clone(), HeaderValue::from_static("true"))]);
    if let Some(content_type) = answer.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(content_type).map_err(Error::unwritten)?);
    }
    Ok((status, headers, Body::from(answer.body)).into_response())
}

/// Who sent a key, and which; none where there is nothing to keep to.
fn keyed(request: &Request) -> Result<Option<(Caller, String)>, Error> {
    if request.method() != Method::POST {
        return Ok(None);
    }
    let Some(caller) = request.extensions().get::<Caller>() else { return Ok(None) };
    let mut sent = request.headers().get_all(KEY).into_iter();
    match (sent.next(), sent.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some((caller.clone(), key(value).ok_or(Error::KeyMalformed)?))),
        (Some(_), Some(_)) => Err(Error::KeyMalformed),
    }
}

/// A key as the draft has it, a string in quotes (RFC 8941), or as most send it, without.
fn key(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(quoted) => unquoted(quoted.strip_suffix('"')?)?,
    };
    (1..=LONGEST).contains(&key.len()).then_some(key)
}

fn unquoted(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        plain.push(match c {
            '"' => return None,
            '\\' => chars.next().filter(|c| matches!(c, '"' | '\\'))?,
            c => c,
        });
    }
    Some(plain)
}

/// SHA-256 over texts, each with its length before it: no two lists run together.
fn digest(texts: [&str; 4]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_with_quotes_and_without() {
        let of = |text: &str| key(&text.parse().unwrap());
        for (sent, read) in [("abc", "abc"), ("\"abc\"", "abc"), (r#""a\"b\\""#, "a\"b\\"), (" a ", "a")] {
            assert_eq!(of(sent).as_deref(), Some(read), "{sent}");
        }
        for wrong in ["", " ", "\"\"", "\"", "\"a", "\"a\"b\"", r#""a\b""#, r#""a\""#, &"k".repeat(256)] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(of(&"k".repeat(255)).map(|key| key.len()), Some(255));
        assert_eq!(key(&HeaderValue::from_bytes("ü".as_bytes()).unwrap()), None);
    }

    #[test]
    fn lists_of_texts_do_not_run_together() {
        assert_ne!(digest(["a", "b", "", ""]), digest(["ab", "", "", ""]));
    }
}
