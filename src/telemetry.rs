//! What the process tells whoever runs it: a log on standard error, and traces to a collector where one is named.
//!
//! Not what is told: log lines stand where things happen, spans in [`spans`]. Traces leave in batches from a thread of their own; what a
//! collector does not take in time is dropped, and no request waits for it.

use std::{collections::HashMap, env, io::IsTerminal as _, time::Duration};

use opentelemetry::{propagation::TextMapPropagator as _, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, FilterFn},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::{SubscriberInitExt as _, TryInitError},
};

use crate::{outbound, spans};

/// Variables of OpenTelemetry's specification that name a collector; without both there are no traces.
const COLLECTOR: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Variables of the specification that name the service.
const SERVICE: [&str; 2] = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"];

/// How long the process waits at its end for a collector to take what is left.
const LAST: Duration = Duration::from_secs(5);

/// Where the queue tells of jobs that failed, with all that they were given: names of accounts and merchants among it. Ours tell it
/// without.
const FAILURES: &str = "graphile_worker::runner::release";

/// Headers of the W3C's trace context.
const CONTEXT: [&str; 2] = ["traceparent", "tracestate"];

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What names the collector is wrong.
    #[error("traces can't be sent")]
    Exporter(#[from] ExporterBuildError),
    /// Somebody listens to the log already.
    #[error("the log can't be written")]
    Log(#[from] TryInitError),
}

/// What is told as long as the process runs.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Begins: the log as `TXCAT_LOG` filters it, and traces where a collector is named in the environment.
///
/// # Errors
/// When the collector's address can't be one.
pub fn start() -> Result<Telemetry, Error> {
    let traces = collector_is_named().then(traces).transpose()?;
    // Nights have long statements: these are no news.
    let filter = EnvFilter::try_from_env("TXCAT_LOG").unwrap_or_else(|_| "txcat=info,warn,sqlx::query=error".into());
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter.and(FilterFn::new(|of| !of.target().starts_with(FAILURES))));
    tracing_subscriber::registry().with(log).with(traces.as_ref().map(told)).try_init()?;
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Sends what is left, and ends. Outside of the async runtime: it waits.
    pub fn end(self) {
        if let Some(Err(error)) = self.traces.map(|traces| traces.shutdown_with_timeout(LAST)) {
            eprintln!("txcat: the last traces were not taken: {error}");
        }
    }
}

/// Makes a span go on with the trace that a request names, by its headers.
pub fn go_on<'a>(span: &Span, header: impl Fn(&str) -> Option<&'a str>) {
    if span.is_disabled() {
        return;
    }
    let sent: HashMap<String, String> =
        CONTEXT.iter().filter_map(|name| Some(((*name).to_owned(), header(name)?.to_owned()))).collect();
    // A process that sends no traces has nothing to go on with.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&sent));
}

fn is_set(variable: &&str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn collector_is_named() -> bool {
    let disabled = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    !disabled && COLLECTOR.iter().any(is_set)
}

/// Where spans go, as the environment says: address, headers, time limits, sampling, batches, service.
fn traces() -> Result<SdkTracerProvider, ExporterBuildError> {
    outbound::provide_tls();
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder();
    let resource = if SERVICE.iter().any(is_set) { resource } else { resource.with_service_name("txcat") };
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

/// Takes the spans of [`spans`], and no event: what a line of the log says stays in the log.
fn told<S>(traces: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let ours = FilterFn::new(|meta: &tracing::Metadata<'_>| meta.is_span() && meta.target() == spans::TARGET);
    tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("txcat"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(ours.with_max_level_hint(LevelFilter::DEBUG))
}
