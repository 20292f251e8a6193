//! The registry of adapters: what there is, where each stands, and what was decided.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgListener;

use super::{Error, Store, read};
use crate::domain::AdapterState;

/// An adapter to register; it begins as a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAdapter {
    /// Its name; the registry adds a version.
    pub name: String,
    /// Its engine, which predictions name.
    pub engine: String,
    /// The version of the taxonomy that it answers in.
    pub taxonomy: String,
    /// Whose answers it may give.
    pub account_group: String,
    /// Its base encoder.
    pub base: String,
    /// SHA-256 of that encoder's weights, hexadecimal.
    pub base_sha256: String,
    /// SHA-256 of the manifest of the labels that it learned from, where there is one.
    pub label_manifest: Option<String>,
    /// What else is known of it, for people.
    pub facts: serde_json::Value,
    /// The files of its folder.
    pub files: Vec<AdapterFile>,
    /// Who registered it.
    pub registered_by: String,
    /// When.
    pub registered_at: DateTime<Utc>,
}

/// A file of an adapter's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterFile {
    /// Its name.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// A registered adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAdapter {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Which of that name, from 1.
    pub version: i32,
    /// Its engine, which predictions name.
    pub engine: String,
    /// The version of its taxonomy.
    pub taxonomy: String,
    /// Whose answers it may give.
    pub account_group: String,
    /// Its base encoder.
    pub base: String,
    /// SHA-256 of that encoder's weights.
    pub base_sha256: String,
    /// SHA-256 of the manifest of its labels.
    pub label_manifest: Option<String>,
    /// What else is known of it.
    pub facts: serde_json::Value,
    /// Where it stands.
    pub state: AdapterState,
    /// Share of its group's accounts that see it, as a shadow or canary.
    pub share: f32,
    /// Since when it stands there.
    pub state_since: DateTime<Utc>,
    /// Who registered it.
    pub registered_by: String,
    /// When.
    pub registered_at: DateTime<Utc>,
}

impl StoredAdapter {
    /// Its name and version, as callers write them.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

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
    /// Registers an adapter as a candidate, with the next version of its name, and returns its number.
    /// One with the same engine is left as it is: `None`.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn register_adapter(&self, adapter: &NewAdapter) -> Result<Option<i64>, Error> {
        let mut tx = self.pool.begin().await?;
        // One at a time, so that versions count up without gaps.
        sqlx::query!("lock table adapters in share row exclusive mode").execute(&mut *tx).await?;
        let id = sqlx::query_scalar!(
            "insert into adapters (
                name,
                version,
                engine,
                taxonomy,
                account_group,
                base,
                base_sha256,
                label_manifest,
                last_label,
                facts,
                state,
                share,
                state_since,
                registered_by,
                registered_at
            )
            select
                $1,
                coalesce(max(adapters.version), 0) + 1,
                $2,
                $3,
                $4,
                $5,
                $6,
                $7,
                (select coalesce(max(corrections.id), 0) from corrections),
                $8,
                'candidate',
                0,
                $10,
                $9,
                $10
            from adapters
            where adapters.name = $1
            on conflict (engine) do nothing
            returning id",
            adapter.name,
            adapter.engine,
            adapter.taxonomy,
            adapter.account_group,
            adapter.base,
            adapter.base_sha256,
            adapter.label_manifest,
            adapter.facts,
            adapter.registered_by,
            adapter.registered_at,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(id) = id else { return Ok(None) };
        for file in &adapter.files {
            sqlx::query!(
                "insert into adapter_files (
                    adapter_id,
                    path,
                    content
                )
                values ($1, $2, $3)",
                id,
                file.path,
                file.content,
            )
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query!(
            "insert into adapter_decisions (
                adapter_id,
                to_state,
                share,
                overridden,
                reason,
                numbers,
                made_by,
                made_at
            )
            values ($1, 'candidate', 0, false, 'registered', $2, $3, $4)",
            id,
            adapter.facts,
            adapter.registered_by,
            adapter.registered_at,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(id))
    }

    /// Every adapter of a taxonomy, or of all, newest first.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn adapters(&self, taxonomy: Option<&str>) -> Result<Vec<StoredAdapter>, Error> {
        let rows = sqlx::query_as!(
            AdapterRow,
            "select
                id,
                name,
                version,
                engine,
                taxonomy,
                account_group,
                base,
                base_sha256,
                label_manifest,
                facts,
                state,
                share,
                state_since,
                registered_by,
                registered_at
            from adapters
            where ($1::text is null or taxonomy = $1)
            order by id desc",
            taxonomy,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(StoredAdapter::try_from).collect()
    }

    /// The files of an adapter's folder.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn adapter_files(&self, id: i64) -> Result<Vec<AdapterFile>, Error> {
        let files = sqlx::query_as!(
            AdapterFile,
            "select
                path,
                content
            from adapter_files
            where adapter_id = $1
            order by path",
            id,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(files)
    }

    /// Makes changes of state, all or none: `false` when an adapter is no longer where a move begins.
    ///
    /// # Errors
    /// When the database fails, or a group would have two champions or two canaries.
    pub async fn move_adapters(&self, moves: &[AdapterMove]) -> Result<bool, Error> {
        let mut tx = self.pool.begin().await?;
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
                    from: super::read_some(row.from_state.as_deref(), "adapter_decisions.from_state")?,
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

    /// Hears when an adapter or an account group changes, on whatever server.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn hear_adapters(&self) -> Result<AdapterChanges, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen("adapters").await?;
        Ok(AdapterChanges(listener))
    }
}

/// Changes of adapters, as they happen.
pub struct AdapterChanges(PgListener);

impl AdapterChanges {
    /// Waits for the next change. After a lost connection it says that there may have been one.
    ///
    /// # Errors
    /// When the database can't be reached again.
    pub async fn next(&mut self) -> Result<(), Error> {
        self.0.try_recv().await?;
        // One decision is several changes: what has come already is answered by reading once.
        while self.0.next_buffered().is_some() {}
        Ok(())
    }
}

struct AdapterRow {
    id: i64,
    name: String,
    version: i32,
    engine: String,
    taxonomy: String,
    account_group: String,
    base: String,
    base_sha256: String,
    label_manifest: Option<String>,
    facts: serde_json::Value,
    state: String,
    share: f32,
    state_since: DateTime<Utc>,
    registered_by: String,
    registered_at: DateTime<Utc>,
}

impl TryFrom<AdapterRow> for StoredAdapter {
    type Error = Error;

    fn try_from(row: AdapterRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            name: row.name,
            version: row.version,
            engine: row.engine,
            taxonomy: row.taxonomy,
            account_group: row.account_group,
            base: row.base,
            base_sha256: row.base_sha256,
            label_manifest: row.label_manifest,
            facts: row.facts,
            state: read(&row.state, "adapters.state")?,
            share: row.share,
            state_since: row.state_since,
            registered_by: row.registered_by,
            registered_at: row.registered_at,
        })
    }
}
