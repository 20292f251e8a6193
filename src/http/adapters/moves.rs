//! Moves of adapters between states, and accounts between groups.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AdapterDetail, detail};
use crate::{
    adapters::{
        self,
        promotion::{self, Ask},
        registry,
    },
    clock,
    domain::{AccountId, AdapterState},
    http::{
        codes,
        error::{Error, Problem},
        extract::{JsonText, Named, Reason, Who},
        state::AppState,
    },
    store::StoredAdapter,
};

/// Accounts of one call at most.
const MOST_ACCOUNTS: usize = 10_000;

/// Where an adapter shall go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdapterMove)]
pub(in crate::http) struct Move {
    #[schema(schema_with = codes::adapter_state)]
    to: AdapterState,
    /// Share of the group's accounts that a shadow or canary sees, above 0 and at most 1.
    #[serde(default = "a_tenth")]
    #[schema(default = 0.1, maximum = 1.0)]
    share: f32,
    /// Why a shut gate shall not count; recorded with the decision.
    #[serde(default, rename = "override")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    overrides: Option<Reason>,
}

fn a_tenth() -> f32 {
    0.1
}

/// Moves an adapter to another state. Servers of this deployment follow at once, without losing a request.
///
/// On the way to canary or champion it must have passed the gate (`txcat adapters evaluate`) beside the present
/// champion; a new champion retires the one before.
#[utoipa::path(
    post,
    path = "/v1/adapters/{reference}/moves",
    tag = "adapters",
    params(("reference" = String, Path, description = "Name and version, or the name for its newest version")),
    request_body = Move,
    responses(
        (status = 200, description = "The adapter as it stands now", body = AdapterDetail),
        (status = 404, description = "No such adapter", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is no such way, the gate is shut, or somebody else was faster",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not of this shape", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn make_move(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(reference): Named<StoredAdapter>,
    body: JsonText,
) -> Result<Json<AdapterDetail>, Error> {
    let Move { to, share, overrides } = body.parse()?;
    let adapter = registry::find(&state.store, &reference).await?;
    let ask = Ask { to, share, overrides: overrides.map(|reason| reason.0), by: caller.name().to_owned() };
    promotion::promote(&state.store, &adapter, ask, clock::now()).await?;
    detail(&state.store, &adapter.reference()).await
}

/// Why an adapter is taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TakeBack {
    /// In a sentence, at most 1,000 characters.
    #[schema(value_type = String, min_length = 1, max_length = 1000)]
    reason: Reason,
}

/// Takes a canary or shadow out, or puts the champion's predecessor back in its place.
#[utoipa::path(
    post,
    path = "/v1/adapters/{reference}/rollback",
    tag = "adapters",
    params(("reference" = String, Path, description = "Name and version, or the name for its newest version")),
    request_body = TakeBack,
    responses(
        (status = 200, description = "The adapter as it stands now", body = AdapterDetail),
        (status = 404, description = "No such adapter", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It answers nobody, or replaced nobody", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Not of this shape", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn take_back(
    State(state): State<AppState>,
    Who(caller): Who,
    Named(reference): Named<StoredAdapter>,
    body: JsonText,
) -> Result<Json<AdapterDetail>, Error> {
    let TakeBack { reason: Reason(reason) } = body.parse()?;
    let adapter = registry::find(&state.store, &reference).await?;
    let live = state.store.live_tally(&adapter.engine, adapter.state_since, None).await?;
    let numbers = serde_json::to_value(live).map_err(adapters::Error::Report)?;
    promotion::take_back(&state.store, &adapter, &reason, numbers, caller.name(), clock::now()).await?;
    detail(&state.store, &adapter.reference()).await
}

/// Accounts and the group they go into.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AccountGroup {
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 10_000)]
    account_ids: Vec<AccountId>,
    /// 1 to 63 letters, digits, `.`, `_` and `-`; `null` takes them out of any.
    #[schema(required, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    group: Option<String>,
}

/// How many accounts changed.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Regrouped {
    changed: u64,
}

/// Puts accounts into a group, which adapters may be registered for.
#[utoipa::path(
    post,
    path = "/v1/account-groups",
    tag = "adapters",
    request_body = AccountGroup,
    responses(
        (status = 200, body = Regrouped),
        (status = 422, description = "Not of this shape", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn group(
    State(state): State<AppState>,
    Who(caller): Who,
    body: JsonText,
) -> Result<Json<Regrouped>, Error> {
    let AccountGroup { account_ids, group } = body.parse()?;
    if account_ids.is_empty() || account_ids.len() > MOST_ACCOUNTS {
        let detail = format!("name 1 to {MOST_ACCOUNTS} accounts in one call, not {}", account_ids.len());
        return Err(Error::Shape { pointer: Some("/account_ids".to_owned()), detail });
    }
    if let Some(name) = group.as_deref().filter(|name| !registry::is_name(name)) {
        let detail = adapters::Error::Name { name: name.to_owned() }.to_string();
        return Err(Error::Shape { pointer: Some("/group".to_owned()), detail });
    }
    let changed = state.store.put_account_group(&account_ids, group.as_deref(), caller.name()).await?;
    Ok(Json(Regrouped { changed }))
}
