//! Adapters: what there is, where each stands and on what evidence.

pub(super) mod moves;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    codes,
    error::{Error, Problem},
    extract::{Named, Thing},
    state::AppState,
};
use crate::{
    adapters::{
        self,
        gate::{self, Check},
        registry,
    },
    domain::AdapterState,
    store::{AdapterDecision, AdapterGate, LiveTally, ShadowTally, Store, StoredAdapter},
};

/// An adapter in the registry.
#[derive(Serialize, ToSchema)]
pub(super) struct Adapter {
    /// What to call it: name and version.
    #[schema(example = "consumer@3")]
    reference: String,
    /// As predictions name it.
    #[schema(example = "adapter:consumer@1f3a9c02")]
    engine: String,
    taxonomy: String,
    /// Whose answers it may give; `everyone` is whoever is in no other group.
    account_group: String,
    /// The base encoder.
    base: String,
    /// SHA-256 of the manifest of the labels that it learned from.
    #[schema(required)]
    label_manifest: Option<String>,
    /// Of the rows that it learned from, how many were erased since: trained again it forgets them.
    erased_rows: i64,
    #[schema(schema_with = codes::adapter_state)]
    state: AdapterState,
    /// Share of the group's accounts that see it; a champion sees those that no canary takes.
    share: f32,
    state_since: DateTime<Utc>,
    registered_by: String,
    registered_at: DateTime<Utc>,
    /// What became of its answers since `state_since`.
    live: Live,
    /// What it would have answered, as a shadow, beside what was in force.
    shadow: Shadow,
}

/// What became of an adapter's answers on live traffic.
#[derive(Serialize, ToSchema)]
#[schema(as = LiveTally)]
struct Live {
    /// Transactions whose latest prediction is its own.
    answered: u32,
    /// Those that a person has spoken about.
    judged: u32,
    /// Those where the person said something else.
    wrong: u32,
    /// Judged ones that were drawn at random.
    audited: u32,
    /// Those of them where the person said something else.
    audited_wrong: u32,
}

impl From<LiveTally> for Live {
    fn from(LiveTally { answered, judged, wrong, audited, audited_wrong }: LiveTally) -> Self {
        Self { answered, judged, wrong, audited, audited_wrong }
    }
}

/// A shadow beside what was in force.
#[derive(Serialize, ToSchema)]
#[schema(as = ShadowTally)]
struct Shadow {
    /// Transactions it looked at.
    answered: u32,
    /// Those where it said the same.
    agreed: u32,
    /// Those that a person has spoken about.
    judged: u32,
    /// Those of them where the shadow was right.
    right: u32,
    /// Those of them where the stage in force was right.
    champion_right: u32,
}

impl From<ShadowTally> for Shadow {
    fn from(ShadowTally { answered, agreed, judged, right, champion_right }: ShadowTally) -> Self {
        Self { answered, agreed, judged, right, champion_right }
    }
}

/// Adapters of the registry.
#[derive(Serialize, ToSchema)]
pub(super) struct Adapters {
    /// Newest first.
    adapters: Vec<Adapter>,
}

/// An adapter with its evidence.
#[derive(Serialize, ToSchema)]
pub(super) struct AdapterDetail {
    adapter: Adapter,
    /// What it was trained on and how, as it says itself.
    #[schema(value_type = Object)]
    facts: serde_json::Value,
    /// What the promotion gate last measured.
    #[schema(required)]
    gate: Option<Gate>,
    /// Everything that was decided about it, newest first.
    decisions: Vec<Decision>,
}

/// What the promotion gate measured.
#[derive(Serialize, ToSchema)]
#[schema(as = AdapterGate)]
struct Gate {
    data_set: String,
    rows: i32,
    /// Whether every check is passed.
    passed: bool,
    made_at: DateTime<Utc>,
    checks: Vec<GateCheck>,
}

/// One check of the promotion gate.
#[derive(Serialize, ToSchema)]
struct GateCheck {
    #[schema(example = "classes")]
    name: String,
    passed: bool,
    /// The finding in a sentence.
    says: String,
}

impl TryFrom<AdapterGate> for Gate {
    type Error = adapters::Error;

    fn try_from(gate: AdapterGate) -> Result<Self, adapters::Error> {
        let check = |Check { name, passed, says }: Check| GateCheck { name, passed, says };
        let checks = gate::checks(&gate.report)?.into_iter().map(check).collect();
        Ok(Self { data_set: gate.data_set, rows: gate.rows, passed: gate.passed, made_at: gate.made_at, checks })
    }
}

/// One change of an adapter's state.
#[derive(Serialize, ToSchema)]
#[schema(as = AdapterDecision)]
struct Decision {
    #[schema(schema_with = adapter_state_or_null, required)]
    from: Option<AdapterState>,
    #[schema(schema_with = codes::adapter_state)]
    to: AdapterState,
    share: f32,
    /// Whether a person overrode the gate.
    overridden: bool,
    /// Why.
    reason: String,
    /// The numbers that it rests on.
    #[schema(value_type = Object)]
    numbers: serde_json::Value,
    made_by: String,
    made_at: DateTime<Utc>,
}

fn adapter_state_or_null() -> utoipa::openapi::Schema {
    codes::or_null(codes::adapter_state())
}

impl From<AdapterDecision> for Decision {
    fn from(decision: AdapterDecision) -> Self {
        let AdapterDecision { from, to, share, overridden, reason, numbers, made_by, made_at, .. } = decision;
        Self { from, to, share, overridden, reason, numbers, made_by, made_at }
    }
}

async fn shown(store: &Store, adapter: StoredAdapter) -> Result<Adapter, Error> {
    let live = store.live_tally(&adapter.engine, adapter.state_since, None).await?;
    let shadow = store.shadow_tally(adapter.id).await?;
    Ok(Adapter {
        reference: adapter.reference(),
        engine: adapter.engine,
        taxonomy: adapter.taxonomy,
        account_group: adapter.account_group,
        base: adapter.base,
        label_manifest: adapter.label_manifest,
        erased_rows: adapter.erased_rows,
        state: adapter.state,
        share: adapter.share,
        state_since: adapter.state_since,
        registered_by: adapter.registered_by,
        registered_at: adapter.registered_at,
        live: live.into(),
        shadow: shadow.into(),
    })
}

async fn detail(store: &Store, reference: &str) -> Result<Json<AdapterDetail>, Error> {
    let adapter = registry::find(store, reference).await?;
    let facts = adapter.facts.clone();
    let gate = store.latest_gate(adapter.id).await?.map(Gate::try_from).transpose()?;
    let decisions = store.adapter_decisions(adapter.id).await?.into_iter().map(Into::into).collect();
    Ok(Json(AdapterDetail { adapter: shown(store, adapter).await?, facts, gate, decisions }))
}

impl Thing for StoredAdapter {
    type Id = String;

    fn unknown() -> Error {
        adapters::Error::Unknown { reference: "?".to_owned() }.into()
    }
}

/// Every adapter of the registry, with what became of its answers.
#[utoipa::path(get, path = "/v1/adapters", tag = "adapters", responses((status = 200, body = Adapters)))]
pub(super) async fn list(State(state): State<AppState>) -> Result<Json<Adapters>, Error> {
    Ok(Json(registered(&state).await?))
}

/// Every adapter of the registry, with what became of its answers.
pub(super) async fn registered(state: &AppState) -> Result<Adapters, Error> {
    let mut adapters = Vec::new();
    for adapter in state.store.adapters(None).await? {
        adapters.push(shown(&state.store, adapter).await?);
    }
    Ok(Adapters { adapters })
}

/// One adapter with its evidence and everything that was decided about it.
#[utoipa::path(
    get,
    path = "/v1/adapters/{reference}",
    tag = "adapters",
    params(("reference" = String, Path, description = "Name and version, or the name for its newest version")),
    responses(
        (status = 200, body = AdapterDetail),
        (status = 404, description = "No such adapter", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<AppState>,
    Named(reference): Named<StoredAdapter>,
) -> Result<Json<AdapterDetail>, Error> {
    detail(&state.store, &reference).await
}
