//! The registry of adapters: what there is, and where each stands.

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
    /// Of the rows that it learned from, how many were erased since.
    pub erased_rows: i64,
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

    /// Whether it answers a group's accounts in a taxonomy.
    #[must_use]
    pub fn is_champion_of(&self, taxonomy: &str, group: &str) -> bool {
        self.state == AdapterState::Champion && self.taxonomy == taxonomy && self.account_group == group
    }
}

impl Store {
    /// Registers an adapter as a candidate, with the next version of its name, and returns its number.
    /// One with the same engine is left as it is: `None`.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn register_adapter(&self, adapter: &NewAdapter) -> Result<Option<i64>, Error> {
        let mut tx = self.begin().await?;
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
                erased_rows,
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

    /// Hears when an adapter, an account group or what was fitted for an engine changes, on whatever server.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn hear_adapters(&self) -> Result<AdapterChanges, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen("adapters").await?;
        Ok(AdapterChanges(listener))
    }
}

/// Changes of adapters and of what was fitted, as they happen.
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
    erased_rows: i64,
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
            erased_rows: row.erased_rows,
            facts: row.facts,
            state: read(&row.state, "adapters.state")?,
            share: row.share,
            state_since: row.state_since,
            registered_by: row.registered_by,
            registered_at: row.registered_at,
        })
    }
}
