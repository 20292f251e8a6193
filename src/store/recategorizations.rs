//! Runs that categorize stored transactions anew: what each looks at, and where it stands.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, FirstJob, Store, read, read_some, recategorization_scope::ScopeFilter};
use crate::domain::{AccountId, RecategorizationPhase, RecategorizationScope, TransactionId};

/// A run to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecategorization {
    /// What it looks at.
    pub scope: RecategorizationScope,
    /// The adapter that answers; without one, the line-up does.
    pub adapter: Option<String>,
    /// Every engine that may answer.
    pub engines: Vec<String>,
    /// Why it is made.
    pub reason: String,
    /// By whom.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// Where the walk over a scope goes on: after this row, in the order of account, time and identifier. Neighbours on that
/// way share their account's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeCursor {
    /// The row's account.
    pub account_id: AccountId,
    /// Its time.
    pub posted_at: DateTime<Utc>,
    /// Its identifier.
    pub id: TransactionId,
}

/// Where answers came from, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerSources {
    /// Said before in the same process.
    pub from_memory: u64,
    /// Remembered in the database.
    pub from_store: u64,
    /// Computed now.
    pub computed: u64,
}

impl std::ops::AddAssign for AnswerSources {
    fn add_assign(&mut self, other: Self) {
        self.from_memory += other.from_memory;
        self.from_store += other.from_store;
        self.computed += other.computed;
    }
}

/// A run as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Recategorization {
    /// Its number; later ones are greater.
    pub id: i64,
    /// What was asked for.
    pub run: NewRecategorization,
    /// Rows that this prediction or an earlier one answered are in the scope; later ones are not.
    pub upto_prediction: i64,
    /// Rows in the scope when the run was planned.
    pub rows: u64,
    /// Where it stands.
    pub phase: RecategorizationPhase,
    /// The last row that was asked about.
    pub cursor: Option<ScopeCursor>,
    /// Rows looked at.
    pub seen: u64,
    /// Those of them that a person has spoken about: they never change.
    pub people: u64,
    /// Those that an account rule decides: they never change.
    pub rules: u64,
    /// Where the answers came from.
    pub sources: AnswerSources,
    /// Why the preview stopped before its end, if it did.
    pub stopped: Option<String>,
    /// What would change, once that is known.
    pub diff: Option<serde_json::Value>,
    /// Who applied it.
    pub applied_by: Option<String>,
    /// When.
    pub applied_at: Option<DateTime<Utc>>,
    /// Why guards that refused did not count.
    pub override_reason: Option<String>,
    /// Who undid it.
    pub undone_by: Option<String>,
    /// When.
    pub undone_at: Option<DateTime<Utc>>,
    /// Who gave it up.
    pub cancelled_by: Option<String>,
    /// When.
    pub cancelled_at: Option<DateTime<Utc>>,
}

impl Recategorization {
    /// The queue of a run's jobs: they are done one after the other.
    #[must_use]
    pub fn queue(id: i64) -> String {
        format!("recategorization:{id}")
    }
}

/// A step of a run, with who took it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhaseMove<'a> {
    /// The phases it may be in.
    pub from: &'a [RecategorizationPhase],
    /// Where it goes.
    pub to: RecategorizationPhase,
    /// Who.
    pub by: &'a str,
    /// Why guards that refused shall not count.
    pub override_reason: Option<&'a str>,
    /// When.
    pub now: DateTime<Utc>,
}

impl Store {
    /// Fixes and counts a run's scope, puts its first job into the queue where it has one, and returns the run's number.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn plan_recategorization(
        &self,
        new: &NewRecategorization,
        first: Option<FirstJob>,
    ) -> Result<i64, Error> {
        let mut tx = self.begin().await?;
        let id = plan_in(&mut tx, new).await?;
        if let Some(first) = first {
            self.add_job_in(&mut tx, first(id)).await?;
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Runs, newest first, at most `limit`: the one of a number, or those before one.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn recategorizations(
        &self,
        id: Option<i64>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Recategorization>, Error> {
        let rows = sqlx::query_as!(
            RunRow,
            "select
                id,
                scope,
                adapter,
                engines,
                reason,
                made_by,
                made_at,
                upto_prediction,
                rows,
                phase,
                cursor_account_id,
                cursor_posted_at,
                cursor_id,
                seen,
                people,
                rules,
                from_memory,
                from_store,
                computed,
                stopped,
                diff,
                applied_by,
                applied_at,
                override_reason,
                undone_by,
                undone_at,
                cancelled_by,
                cancelled_at
            from recategorizations
            where ($1::bigint is null or id = $1)
            and ($2::bigint is null or id < $2)
            order by id desc
            limit $3",
            id,
            before,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Recategorization::try_from).collect()
    }

    /// The run of a number.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn recategorization(&self, id: i64) -> Result<Option<Recategorization>, Error> {
        Ok(self.recategorizations(Some(id), None, 1).await?.pop())
    }

    /// Takes a step of a run, and tells whether the run was where that may be taken from.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn move_recategorization(&self, id: i64, step: PhaseMove<'_>) -> Result<bool, Error> {
        let from: Vec<&str> = step.from.iter().map(|phase| phase.as_str()).collect();
        let moved = sqlx::query!(
            "update recategorizations
            set
                phase = $3,
                stopped = null,
                chunk_cursor = null,
                applied_by = case when $3 = 'applying' then $4 else applied_by end,
                applied_at = case when $3 = 'applying' then $5 else applied_at end,
                override_reason = case when $3 = 'applying' then $6 else override_reason end,
                undone_by = case when $3 = 'undoing' then $4 else undone_by end,
                undone_at = case when $3 = 'undoing' then $5 else undone_at end,
                cancelled_by = case when $3 = 'cancelled' then $4 else cancelled_by end,
                cancelled_at = case when $3 = 'cancelled' then $5 else cancelled_at end
            where id = $1
            and phase = any($2)",
            id,
            &from as &[&str],
            step.to.as_str(),
            step.by,
            step.now,
            step.override_reason,
        )
        .execute(&self.pool)
        .await?;
        Ok(moved.rows_affected() == 1)
    }

    /// Keeps what a preview found; tells whether the run still was at it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_recategorization_diff(&self, id: i64, diff: &serde_json::Value) -> Result<bool, Error> {
        let put = sqlx::query!(
            "update recategorizations
            set
                phase = 'previewed',
                stopped = null,
                diff = $2
            where id = $1
            and phase in ('predicting', 'previewed')",
            id,
            diff,
        )
        .execute(&self.pool)
        .await?;
        // Nothing is known yet of what came in the last minutes: without it, each chunk would read the whole run.
        sqlx::query!("analyze recategorization_changes").execute(&self.pool).await?;
        Ok(put.rows_affected() == 1)
    }

    /// Keeps why a run went no further.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stop_recategorization(&self, id: i64, why: Option<&str>) -> Result<(), Error> {
        sqlx::query!(
            "update recategorizations
            set
                stopped = $2
            where id = $1",
            id,
            why,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Fixes and counts a run's scope within a database transaction, and returns the run's number.
pub(super) async fn plan_in(tx: &mut PgConnection, new: &NewRecategorization) -> Result<i64, Error> {
    let scope = serde_json::to_value(&new.scope).map_err(|_| Error::Corrupt { what: "recategorizations.scope" })?;
    let filter = ScopeFilter::from(&new.scope);
    let id = sqlx::query_scalar!(
        "with bound as (
            select
                coalesce(max(predictions.id), 0) as upto
            from predictions
        ),
        scope as (
            select
                count(*) as rows
            from transactions
            join in_force on in_force.transaction_id = transactions.id
            join predictions on predictions.id = in_force.prediction_id
            where transactions.replaced_by is null
            and predictions.id <= (select upto from bound)
            and ($1::timestamptz is null or transactions.posted_at >= $1)
            and ($2::timestamptz is null or transactions.posted_at < $2)
            and ($3::text[] is null or transactions.account_id = any($3))
            and ($4::text[] is null or transactions.descriptor_key = any($4))
            and ($5::text[] is null or in_force.category = any($5))
            and ($6::text[] is null or predictions.engine = any($6))
            and ($7::real is null or predictions.confidence < $7)
        )
        insert into recategorizations (
            scope,
            adapter,
            engines,
            reason,
            made_by,
            made_at,
            upto_prediction,
            rows
        )
        select
            $8,
            $9,
            $10,
            $11,
            $12,
            $13,
            bound.upto,
            scope.rows
        from bound, scope
        returning id",
        filter.from,
        filter.to,
        filter.accounts as Option<Vec<String>>,
        filter.keys as Option<Vec<String>>,
        filter.categories as Option<Vec<String>>,
        filter.engines as Option<Vec<String>>,
        filter.below,
        scope,
        new.adapter,
        &new.engines,
        new.reason,
        new.made_by,
        new.made_at,
    )
    .fetch_one(tx)
    .await?;
    Ok(id)
}

struct RunRow {
    id: i64,
    scope: serde_json::Value,
    adapter: Option<String>,
    engines: Vec<String>,
    reason: String,
    made_by: String,
    made_at: DateTime<Utc>,
    upto_prediction: i64,
    rows: i64,
    phase: String,
    cursor_account_id: Option<String>,
    cursor_posted_at: Option<DateTime<Utc>>,
    cursor_id: Option<String>,
    seen: i64,
    people: i64,
    rules: i64,
    from_memory: i64,
    from_store: i64,
    computed: i64,
    stopped: Option<String>,
    diff: Option<serde_json::Value>,
    applied_by: Option<String>,
    applied_at: Option<DateTime<Utc>>,
    override_reason: Option<String>,
    undone_by: Option<String>,
    undone_at: Option<DateTime<Utc>>,
    cancelled_by: Option<String>,
    cancelled_at: Option<DateTime<Utc>>,
}

impl TryFrom<RunRow> for Recategorization {
    type Error = Error;

    fn try_from(row: RunRow) -> Result<Self, Error> {
        let scope =
            serde_json::from_value(row.scope).map_err(|_| Error::Corrupt { what: "recategorizations.scope" })?;
        let account_id = read_some(row.cursor_account_id.as_deref(), "recategorizations.cursor_account_id")?;
        let cursor_id = read_some(row.cursor_id.as_deref(), "recategorizations.cursor_id")?;
        let cursor = account_id.zip(row.cursor_posted_at).zip(cursor_id);
        Ok(Self {
            id: row.id,
            run: NewRecategorization {
                scope,
                adapter: row.adapter,
                engines: row.engines,
                reason: row.reason,
                made_by: row.made_by,
                made_at: row.made_at,
            },
            upto_prediction: row.upto_prediction,
            rows: row.rows.unsigned_abs(),
            phase: read(&row.phase, "recategorizations.phase")?,
            cursor: cursor.map(|((account_id, posted_at), id)| ScopeCursor { account_id, posted_at, id }),
            seen: row.seen.unsigned_abs(),
            people: row.people.unsigned_abs(),
            rules: row.rules.unsigned_abs(),
            sources: AnswerSources {
                from_memory: row.from_memory.unsigned_abs(),
                from_store: row.from_store.unsigned_abs(),
                computed: row.computed.unsigned_abs(),
            },
            stopped: row.stopped,
            diff: row.diff,
            applied_by: row.applied_by,
            applied_at: row.applied_at,
            override_reason: row.override_reason,
            undone_by: row.undone_by,
            undone_at: row.undone_at,
            cancelled_by: row.cancelled_by,
            cancelled_at: row.cancelled_at,
        })
    }
}
