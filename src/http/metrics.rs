//! The service in numbers, for Prometheus: requests by route as they are answered, and what stands in the database when asked.
//!
//! No label holds a descriptor, an amount or an identifier: routes are named by their pattern.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{error::Error, state::AppState};
use crate::{
    clock,
    domain::JobState,
    model::KnownWork,
    pipeline::Pipeline,
    store::{JobFilter, Store},
};

/// Jobs counted at most.
const MOST_JOBS: u32 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct One {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Currency {
    currency: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

type Money = Gauge<f64, AtomicU64>;

/// What is counted. Cheap to clone: clones count together.
#[derive(Clone)]
pub(super) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    waiting: Gauge,
    escalated: Gauge,
    oldest_wait: Gauge,
    jobs: Family<One, Gauge>,
    spend: Family<Currency, Money>,
    recategorized: Family<Source, Gauge>,
    texts: Family<Source, Gauge>,
    paused_webhooks: Gauge,
    webhook_lag: Gauge,
    audit_records: Gauge,
    connections_open: Gauge,
    connections_free: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Arc::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 17))),
            waiting: Gauge::default(),
            escalated: Gauge::default(),
            oldest_wait: Gauge::default(),
            jobs: Family::default(),
            spend: Family::default(),
            recategorized: Family::default(),
            texts: Family::default(),
            paused_webhooks: Gauge::default(),
            webhook_lag: Gauge::default(),
            audit_records: Gauge::default(),
            connections_open: Gauge::default(),
            connections_free: Gauge::default(),
        };
        let mut registry = Registry::with_prefix("txcat");
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register("http_request_seconds", "How long answers took", metrics.seconds.clone());
        registry.register("review_waiting", "Rows that wait for a person", metrics.waiting.clone());
        registry.register("review_escalated", "Groups that somebody handed on", metrics.escalated.clone());
        registry.register(
            "review_oldest_wait_seconds",
            "How long the oldest row has waited",
            metrics.oldest_wait.clone(),
        );
        registry.register("jobs", "Jobs that are not done, by state", metrics.jobs.clone());
        registry.register(
            "model_spend_today",
            "What today's calls to chat models come to, with what is reserved",
            metrics.spend.clone(),
        );
        registry.register(
            "recategorized_rows",
            "Rows of recategorizations by where the answer came from",
            metrics.recategorized.clone(),
        );
        registry.register(
            "adapter_texts",
            "Rows that adapters answered since the start, by whether their text was read for them or known",
            metrics.texts.clone(),
        );
        registry.register("webhooks_paused", "Endpoints that are told nothing", metrics.paused_webhooks.clone());
        registry.register(
            "webhook_lag_events",
            "Events that the endpoint furthest behind has not taken",
            metrics.webhook_lag.clone(),
        );
        registry.register("audit_records", "Records of the audit log", metrics.audit_records.clone());
        registry.register("database_connections_open", "Connections of this process", metrics.connections_open.clone());
        registry.register(
            "database_connections_free",
            "Those of them that nobody uses",
            metrics.connections_free.clone(),
        );
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }
}

impl Metrics {
    /// Counts an answer.
    pub(super) fn count(&self, method: &'static str, route: &str, status: StatusCode, took: Duration) {
        let route = route.to_owned();
        let answered = Answered { method, route: route.clone(), status: status.as_u16() };
        self.requests.get_or_create(&answered).inc();
        self.seconds.get_or_create(&Route { method, route }).observe(took.as_secs_f64());
    }

    /// Reads what stands in the database, and what the pipeline counts.
    async fn read(&self, store: &Store, pipeline: &Pipeline) -> Result<(), Error> {
        let gauges = store.gauges().await?;
        self.waiting.set(gauges.waiting);
        self.escalated.set(gauges.escalated);
        self.oldest_wait.set(gauges.oldest_wait);
        self.paused_webhooks.set(gauges.paused_webhooks);
        self.webhook_lag.set(gauges.webhook_lag);
        self.audit_records.set(gauges.audit_records);
        for (source, rows) in
            [("memory", gauges.from_memory), ("database", gauges.from_store), ("engine", gauges.computed)]
        {
            self.recategorized.get_or_create(&Source { source }).set(rows);
        }
        if let Some(KnownWork { asked, known }) = pipeline.lineup().champion().known_work() {
            for (source, rows) in [("memory", known), ("encoder", asked - known)] {
                self.texts.get_or_create(&Source { source }).set(i64::try_from(rows).unwrap_or(i64::MAX));
            }
        }
        let jobs = store.jobs(&JobFilter::default(), MOST_JOBS).await?;
        for state in [JobState::Waiting, JobState::Running, JobState::Retrying, JobState::Failed] {
            let count = jobs.iter().filter(|job| job.state == state).count();
            self.jobs.get_or_create(&One { state: state.as_str() }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.spend.clear();
        for day in store.day_spend(clock::now().date_naive()).await? {
            let spent = f64::try_from(day.spent).unwrap_or_default();
            self.spend.get_or_create(&Currency { currency: day.currency }).set(spent);
        }
        let (open, free) = store.connections();
        self.connections_open.set(i64::from(open));
        self.connections_free.set(i64::try_from(free).unwrap_or(i64::MAX));
        Ok(())
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

/// The service in numbers, as `OpenMetrics` text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn show(State(state): State<AppState>) -> Result<Response, Error> {
    state.metrics.read(&state.store, &state.pipeline).await?;
    let text = state.metrics.text().map_err(Error::unwritten)?;
    let media = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}
