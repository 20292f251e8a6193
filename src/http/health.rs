//! Whether the process lives, and whether it can do its work.
//!
//! `/readyz` tries what a transaction needs: it asks the database, looks for every table and column that
//! this version expects and for the taxonomy in it, and tries the stage with one transaction of its own. A chat model is not asked: whoever
//! reaches this could spend its budget, and a provider that is down would take every server away. The last finding holds for a few seconds,
//! so that nobody keeps the encoder busy by asking.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::{codes, state::AppState};
use crate::{
    clock,
    domain::{Descriptor, Direction, EnrichedTransaction, Money, Transaction},
};

/// How long a finding holds.
const HOLDS: Duration = Duration::from_secs(3);
/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last finding, and when it was made.
pub(super) type LastFinding = Arc<Mutex<Option<(Instant, Readiness)>>>;

/// Whether this process can do its work, and what can't where it can't.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// The database answers.
    #[schema(schema_with = codes::readiness)]
    database: Check,
    /// The database has every table and column that this version expects.
    #[schema(schema_with = codes::readiness)]
    schema: Check,
    /// The stage's engine categorizes a transaction; a chat model is not asked.
    #[schema(schema_with = codes::readiness)]
    engine: Check,
    /// The taxonomy in force is in the database.
    #[schema(schema_with = codes::readiness)]
    taxonomy: Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Check {
    Ok,
    Failing,
}

/// The process lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    version: &'static str,
}

/// Whether the process lives. It asks nothing else.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Alive)))]
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { version: env!("CARGO_PKG_VERSION") })
}

/// Whether transactions can be categorized now.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
    )
)]
pub(super) async fn ready(State(state): State<AppState>) -> impl IntoResponse {
    let mut last = state.last_finding.lock().await;
    let held = last.filter(|(at, _)| at.elapsed() < HOLDS).map(|(_, readiness)| readiness);
    let readiness = match held {
        Some(readiness) => readiness,
        None => {
            let (database, schema, engine, taxonomy) =
                tokio::join!(database(&state), schema(&state), engine(&state), taxonomy(&state));
            let readiness = Readiness { database, schema, engine, taxonomy };
            *last = Some((Instant::now(), readiness));
            readiness
        }
    };
    let all = [readiness.database, readiness.schema, readiness.engine, readiness.taxonomy];
    let ready = all.iter().all(|check| *check == Check::Ok);
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(readiness))
}

async fn database(state: &AppState) -> Check {
    check("database", async { state.store.ready().await.is_ok() }).await
}

async fn schema(state: &AppState) -> Check {
    let whole = async { state.store.schema_condition().await.is_ok_and(|schema| schema.is_whole()) };
    check("schema", whole).await
}

async fn taxonomy(state: &AppState) -> Check {
    let stored = async { matches!(state.store.taxonomy(state.taxonomy.version()).await, Ok(Some(_))) };
    check("taxonomy", stored).await
}

async fn engine(state: &AppState) -> Check {
    check("engine", async {
        match probe(clock::now().timestamp_micros().unsigned_abs()) {
            Some(probe) => state.pipeline.lineup().champion().probe(&probe).await.is_ok(),
            None => false,
        }
    })
    .await
}

async fn check(what: &'static str, attempt: impl Future<Output = bool>) -> Check {
    if tokio::time::timeout(PATIENCE, attempt).await.unwrap_or(false) {
        return Check::Ok;
    }
    tracing::warn!(check = what, "not ready");
    Check::Failing
}

/// A transaction that is categorized and forgotten, and whose text never came before: one that did may be known without any engine.
fn probe(moment: u64) -> Option<EnrichedTransaction> {
    // In letters, because digits are no part of what an engine reads as a merchant.
    let word: String = moment.to_string().bytes().map(|digit| char::from(digit - b'0' + b'A')).collect();
    let transaction = Transaction::posted(
        "readiness".parse().ok()?,
        "readiness".parse().ok()?,
        chrono::DateTime::UNIX_EPOCH,
        Money::new(rust_decimal::Decimal::ONE, "EUR".parse().ok()?).ok()?,
        Direction::Debit,
        Descriptor::parse(&format!("COFFEE {word}")).ok()?,
    );
    Some(EnrichedTransaction::bare(transaction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Enrichment;

    #[test]
    fn no_two_probes_read_the_same() {
        let read = |moment| probe(moment).unwrap().render(Enrichment::None);
        let first = 1_790_000_000_000_000;
        let texts: std::collections::HashSet<String> = (first..first + 1_000).map(read).collect();
        assert_eq!(texts.len(), 1_000);
    }
}
