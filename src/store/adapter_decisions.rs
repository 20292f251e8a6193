//! What was measured of adapters, and what was decided about them.

use chrono::{DateTime, Utc};

use super::{Error, Store, read, read_some};
use crate::domain::AdapterState;

/// What the promotion gate measured, to store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAdapterGate {
    /// Of which adapter.
    pub adapter_id: i64,
    /// Against which champion.
    pub champion_id: Option<i64>,
    /// On which data.
    pub data_set: String,
    /// On how many rows.
    pub rows: i32,
    /// Whether every check passed.
    pub passed: bool,
    /// Every check with its numbers.
    pub report: serde_json::Value,
    /// Who asked.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// What the promotion gate measured.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterGate {
    /// Its number.
    pub id: i64,
    /// Against which champion.
    pub champion_id: Option<i64>,
    /// On which data.
    pub data_set: String,
    /// On how many rows.
    pub rows: i32,
    /// Whether every check passed.
    pub passed: bool,
    /// Every check with its numbers.
    pub report: serde_json::Value,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// One change of an adapter's state.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterMove {
    /// Of which adapter.
    pub adapter_id: i64,
    /// From where; the move is refused when it is no longer there.
    pub from: AdapterState,
    /// To where.
    pub to: AdapterState,
    /// Share of the accounts that see it there.
    pub share: f32,
    /// The gate that it passed.
    pub gate_id: Option<i64>,
    /// Whether a person overrode the gate.
    pub overridden: bool,
    /// Why, in a sentence.
    pub reason: String,
    /// The numbers that it rests on.
    pub numbers: serde_json::Value,
    /// Who decided.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// A decision about an adapter, as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterDecision {
    /// Where it stood; `None` when it was registered.
    pub from: Option<AdapterState>,
    /// Where it has stood since.
    pub to: AdapterState,
    /// Share of the accounts that see it there.
    pub share: f32,
    /// The gate that it passed.
    pub gate_id: Option<i64>,
    /// Whether a person overrode the gate.
    pub overridden: bool,
    /// Why.
    pub reason: String,
    /// The numbers that it rests on.
    pub numbers: serde_json::Value,
    /// Who decided.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

impl Store {
    /// Makes changes of state, all or none: `false` when an adapter is no longer where a move begins.
    ///
    /// # Errors
    /// When the database fails, or a group would have two champions or two canaries.
    pub async fn move_adapters(&self, moves: &[AdapterMove]) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        for step in moves {
            let moved = sqlx::query!(
                "update adapters
                set
                    state = $3,
                    share = $4,
                    state_since = $5
                where id = $1
                and state = $2",
                step.adapter_id,
                step.from.as_str(),
                step.to.as_str(),
                step.share,
                step.made_at,
            )
            .execute(&mut *tx)
            .await?;
            if moved.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query!(
                "insert into adapter_decisions (
                    adapter_id,
                    from_state,
                    to_state,
                    share,
                    gate_id,
                    overridden,
                    reason,
                    numbers,
                    made_by,
                    made_at
                )
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                step.adapter_id,
                step.from.as_str(),
                step.to.as_str(),
                step.share,
                step.gate_id,
                step.overridden,
                step.reason,
                step.numbers,
                step.made_by,
                step.made_at,
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Everything that was decided about an adapter, newest first.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn adapter_decisions(&self, id: i64) -> Result<Vec<AdapterDecision>, Error> {
        let rows = sqlx::query!(
            "select
                from_state,
                to_state,
                share,
                gate_id,
                overridden,
                reason,
                numbers,
                made_by,
                made_at
            from adapter_decisions
            where adapter_id = $1
            order by id desc",
            id,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(AdapterDecision {
                    from: read_some(row.from_state.as_deref(), "adapter_decisions.from_state")?,
                    to: read(&row.to_state, "adapter_decisions.to_state")?,
                    share: row.share,
                    gate_id: row.gate_id,
                    overridden: row.overridden,
                    reason: row.reason,
                    numbers: row.numbers,
                    made_by: row.made_by,
                    made_at: row.made_at,
                })
            })
            .collect()
    }

    /// Stores what the promotion gate measured, and returns its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_gate(&self, gate: &NewAdapterGate) -> Result<i64, Error> {
        let id = sqlx::query_scalar!(
            "insert into adapter_gates (
                adapter_id,
                champion_id,
                data_set,
                rows,
                passed,
                report,
                made_by,
                made_at
            )
            values ($1, $2, $3, $4, $5, $6, $7, $8)
            returning id",
            gate.adapter_id,
            gate.champion_id,
            gate.data_set,
            gate.rows,
            gate.passed,
            gate.report,
            gate.made_by,
            gate.made_at,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(id)
    }

    /// What the promotion gate last measured of an adapter.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn latest_gate(&self, adapter: i64) -> Result<Option<AdapterGate>, Error> {
        let gate = sqlx::query_as!(
            AdapterGate,
            "select
                id,
                champion_id,
                data_set,
                rows,
                passed,
                report,
                made_at
            from adapter_gates
            where adapter_id = $1
            order by id desc
            limit 1",
            adapter,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(gate)
    }
}
