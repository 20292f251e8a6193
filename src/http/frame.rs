//! What surrounds every request: an id, a tracing span, a time limit, and a net under bugs.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use tracing::Instrument as _;

use super::{error::Error, metrics::Metrics};
use crate::{spans, telemetry};

/// Longest time for one request; a thousand rows on a slow machine need a good part of it.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(120);

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes ids that no two requests of one deployment share.
pub(super) struct RequestIds {
    started: i64,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new(started: DateTime<Utc>) -> Self {
        Self { started: started.timestamp_micros(), next: AtomicU64::new(1) }
    }

    /// The caller's own id where it sent a sane one.
    fn of(&self, request: &Request) -> HeaderValue {
        let sane = |id: &&HeaderValue| {
            let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
            (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
        };
        let own = || {
            let id = format!("{:x}-{:x}", self.started, self.next.fetch_add(1, Ordering::Relaxed));
            HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
        };
        request.headers().get(&REQUEST_ID).filter(sane).cloned().unwrap_or_else(own)
    }
}

/// What the frame needs.
#[derive(Clone)]
pub(super) struct Framed {
    pub(super) ids: Arc<RequestIds>,
    pub(super) metrics: Metrics,
}

/// A method's name; those that no route takes count as one (`_OTHER`, as the conventions have it).
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// What a handler answers, or what is answered in its place where it panics or takes too long.
pub(super) async fn bounded(run: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(TIME_LIMIT, AssertUnwindSafe(run).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Error::Panicked.into_response(),
        Err(_) => Error::Timeout { seconds: TIME_LIMIT.as_secs() }.into_response(),
    }
}

/// Answers every request, whatever the handler does.
///
/// The log's span names the route and not the path: ids, queries and bodies stay out of the log. The trace's stands within it.
pub(super) async fn frame(State(framed): State<Framed>, request: Request, next: Next) -> Response {
    let id = framed.ids.of(&request);
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    let (method, pattern) = (request.method().clone(), route.to_owned());
    let span = tracing::info_span!(
        "request",
        request.id = id.to_str().unwrap_or_default(),
        http.method = %request.method(),
        http.route = route,
    );
    let trace = span.in_scope(|| spans::request(known(&method), &pattern));
    telemetry::go_on(&trace, |name| request.headers().get(name)?.to_str().ok());
    let started = Instant::now();
    let answer = async {
        let response = bounded(next.run(request).instrument(trace.clone())).await;
        framed.metrics.count(known(&method), &pattern, response.status(), started.elapsed());
        spans::answered(&trace, response.status().as_u16());
        tracing::debug!(
            http.status = response.status().as_u16(),
            request.ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
        response
    };
    let mut response = answer.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID.clone(), id);
    response
}
