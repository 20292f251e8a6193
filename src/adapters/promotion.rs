//! Moves between the states of an adapter: up through the gate, down at once, each with its reason and numbers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Error, gate};
use crate::{
    domain::AdapterState,
    store::{AdapterMove, LiveTally, Store, StoredAdapter},
};

/// Where an adapter shall go.
#[derive(Debug, Clone)]
pub struct Ask {
    /// To which state.
    pub to: AdapterState,
    /// Share of the accounts that a shadow or canary sees.
    pub share: f32,
    /// Why the gate shall not count, where it shall not.
    pub overrides: Option<String>,
    /// Who asks.
    pub by: String,
}

/// What a champion replaced, kept with the decision: what it is compared with, and what it goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Replaced {
    /// The champion before.
    pub predecessor: i64,
    /// How that one did on live traffic.
    pub reference: LiveTally,
}

/// Moves an adapter. On the way to canary or champion the gate must be open: measured beside the present
/// champion, and passed, unless somebody says why that shall not count.
///
/// # Errors
/// When there is no such way, the gate is shut, or somebody else moved in between; then nothing moved.
pub async fn promote(store: &Store, adapter: &StoredAdapter, ask: Ask, now: DateTime<Utc>) -> Result<(), Error> {
    use AdapterState::{Canary, Candidate, Champion, Retired, Shadow};
    let Ask { to, share, overrides, by } = ask;
    let from = adapter.state;
    let share = match (from, to) {
        (Candidate | Shadow, Shadow) | (Candidate | Shadow | Canary, Canary) => {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::Share { to });
            }
            share
        }
        (Candidate | Shadow | Canary, Champion) => 1.0,
        (Shadow | Canary | Retired, Candidate) | (Candidate | Shadow | Canary, Retired) => 0.0,
        (Champion, Candidate | Retired) => return Err(Error::OnlyChampion { reference: adapter.reference() }),
        _ => return Err(Error::NoWay { from, to }),
    };
    let beside = store.adapters(Some(&adapter.taxonomy)).await?;
    let champion = beside.iter().find(|other| other.is_champion_of(&adapter.taxonomy, &adapter.account_group));
    let canary = beside
        .iter()
        .find(|other| other.state == Canary && other.account_group == adapter.account_group && other.id != adapter.id);
    if let (Canary, Some(other)) = (to, canary) {
        return Err(Error::OtherCanary { other: other.reference() });
    }

    let mut step = AdapterMove {
        adapter_id: adapter.id,
        from,
        to,
        share,
        gate_id: None,
        overridden: false,
        reason: overrides.clone().unwrap_or_else(|| format!("asked for by {by}")),
        numbers: serde_json::json!({}),
        made_by: by.clone(),
        made_at: now,
    };
    if matches!(to, Canary | Champion) {
        match open_gate(store, adapter, champion, to).await {
            Ok((id, says)) => {
                step.gate_id = Some(id);
                step.reason = overrides.unwrap_or(says);
            }
            Err(shut @ (Error::NoGate { .. } | Error::GateShut { .. })) => {
                if overrides.is_none() {
                    return Err(shut);
                }
                step.overridden = true;
            }
            Err(error) => return Err(error),
        }
    }
    let mut moves = Vec::new();
    if let (Champion, Some(champion)) = (to, champion) {
        let reference = store.live_tally(&champion.engine, champion.state_since, None).await?;
        step.numbers = serde_json::to_value(Replaced { predecessor: champion.id, reference })?;
        moves.push(AdapterMove {
            adapter_id: champion.id,
            from: Champion,
            to: Retired,
            share: 0.0,
            reason: format!("{} took its place", adapter.reference()),
            numbers: serde_json::to_value(reference)?,
            ..step.clone()
        });
    }
    moves.push(step);
    if store.move_adapters(&moves).await? { Ok(()) } else { Err(Error::Moved { reference: adapter.reference() }) }
}

/// The number of the gate that is open on the way to a state, and what it says in a sentence.
async fn open_gate(
    store: &Store,
    adapter: &StoredAdapter,
    champion: Option<&StoredAdapter>,
    to: AdapterState,
) -> Result<(i64, String), Error> {
    let reference = || adapter.reference();
    let measured = store.latest_gate(adapter.id).await?;
    let Some(measured) = measured.filter(|gate| gate.champion_id == champion.map(|champion| champion.id)) else {
        return Err(Error::NoGate { reference: reference() });
    };
    let checks = gate::checks(&measured.report)?;
    let shut = gate::shut(&checks, to);
    if shut.is_empty() {
        let says =
            format!("the gate is open: {} checks on {} rows of {}", checks.len(), measured.rows, measured.data_set);
        return Ok((measured.id, says));
    }
    let failed: Vec<String> = shut.iter().map(|check| format!("{}: {}", check.name, check.says)).collect();
    Err(Error::GateShut { reference: reference(), failed: failed.join("; ") })
}

/// Takes an adapter back: a canary or shadow answers nobody any more, a champion makes room for the one
/// that it replaced.
///
/// # Errors
/// When a champion replaced nobody, the adapter answers nobody, or somebody else moved in between.
pub async fn take_back(
    store: &Store,
    adapter: &StoredAdapter,
    reason: &str,
    numbers: serde_json::Value,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    use AdapterState::{Canary, Champion, Retired, Shadow};
    let step = |id: i64, from: AdapterState, to: AdapterState, reason: String| AdapterMove {
        adapter_id: id,
        from,
        to,
        share: if to == Champion { 1.0 } else { 0.0 },
        gate_id: None,
        overridden: false,
        reason,
        numbers: numbers.clone(),
        made_by: by.to_owned(),
        made_at: now,
    };
    let mut moves = vec![step(adapter.id, adapter.state, Retired, reason.to_owned())];
    match adapter.state {
        Canary | Shadow => {}
        Champion => {
            let Replaced { predecessor, .. } = replaced(store, adapter)
                .await?
                .ok_or_else(|| Error::NoPredecessor { reference: adapter.reference() })?;
            moves.push(step(
                predecessor,
                Retired,
                Champion,
                format!("{} was taken back: {reason}", adapter.reference()),
            ));
        }
        from => return Err(Error::NoWay { from, to: Retired }),
    }
    if store.move_adapters(&moves).await? { Ok(()) } else { Err(Error::Moved { reference: adapter.reference() }) }
}

/// What a champion replaced; `None` for a first one, and for one that came back.
///
/// # Errors
/// When the database fails.
pub async fn replaced(store: &Store, adapter: &StoredAdapter) -> Result<Option<Replaced>, Error> {
    let decisions = store.adapter_decisions(adapter.id).await?;
    let up = decisions.into_iter().find(|decision| decision.to == AdapterState::Champion);
    Ok(up.and_then(|decision| serde_json::from_value(decision.numbers).ok()))
}
