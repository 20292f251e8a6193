//! What a trace tells: every name and every attribute of a span that may leave the process stands here.
//!
//! Not where they go ([`telemetry`](crate::telemetry)). None holds a descriptor, an amount, an account, a key or words of a prompt:
//! what happens is named, and whom it happens to is not. Names are those of OpenTelemetry's semantic conventions, 1.41.

use tracing::{Span, debug_span, field::Empty};

/// The target of these spans and of no other.
pub const TARGET: &str = "txcat::spans";

/// A request over HTTP, by its route: paths and queries name transactions.
#[must_use]
pub fn request(method: &'static str, route: &str) -> Span {
    debug_span!(
        target: TARGET,
        "http.server",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

/// How the request was answered.
pub fn answered(request: &Span, status: u16) {
    request.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        failed(request, &status.to_string());
    }
}

/// Small requests that go the way together, in the trace of the first; links lead to the others.
#[must_use]
pub fn batch(requests: &[Span], rows: usize) -> Span {
    let [first, others @ ..] = requests else { return Span::none() };
    let batch = debug_span!(
        target: TARGET,
        parent: first,
        "txcat.batch",
        txcat.batch.requests = number(requests.len()),
        txcat.batch.rows = number(rows),
    );
    for other in others {
        batch.follows_from(other);
    }
    batch
}

/// A stage that answers rows.
#[must_use]
pub fn stage(name: &str, engine: &str, rows: usize) -> Span {
    debug_span!(
        target: TARGET,
        "txcat.stage",
        txcat.stage.name = name,
        txcat.stage.engine = engine,
        txcat.stage.rows = number(rows),
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

/// What Postgres is asked for, by our name for it.
#[must_use]
pub fn database(operation: &'static str) -> Span {
    debug_span!(
        target: TARGET,
        "db.client",
        otel.name = operation,
        otel.kind = "client",
        db.system.name = "postgresql",
        db.operation.name = operation,
    )
}

/// A request to a hosted chat model, with its second tries.
#[must_use]
pub fn chat(provider: &str, model: &str, most_tokens: u32) -> Span {
    debug_span!(
        target: TARGET,
        "gen_ai.client",
        otel.name = %format_args!("chat {model}"),
        otel.kind = "client",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.request.max_tokens = i64::from(most_tokens),
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

/// What the model's answer took.
pub fn used(chat: &Span, input_tokens: u32, output_tokens: u32) {
    chat.record("gen_ai.usage.input_tokens", i64::from(input_tokens));
    chat.record("gen_ai.usage.output_tokens", i64::from(output_tokens));
}

/// That it failed, by a word for the kind of failure.
pub fn failed(span: &Span, kind: &str) {
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}

fn number(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
