//! A run as people and programs see it: the wire format of the command line and of the API.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Diff, Error, Guards, Refusal, find, found};
use crate::{
    domain::{
        AccountId, Becomes, ChangeState, JobState, LeftBecause, RecategorizationPhase, RecategorizationScope, Slug,
        TransactionId,
    },
    store::{
        AnswerSources, Job, Recategorization, RecategorizationChange, RecategorizationFailure, Store, TaxonomyMigration,
    },
};

/// Failed rows that are told with a run.
const FAILURES: u32 = 100;

/// A run, what became of its rows, and what it would change.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Recategorization)]
pub struct Report {
    /// Its number.
    pub id: i64,
    /// Where it stands: `predicting`, `previewed`, `applying`, `applied`, `undoing`, `undone` or `cancelled`.
    #[schema(value_type = String, example = "previewed")]
    pub phase: RecategorizationPhase,
    /// What it looks at.
    #[schema(value_type = ScopeDoc)]
    pub scope: RecategorizationScope,
    /// The adapter that was asked for; `null` where the line-up answers, each account its own.
    #[schema(required)]
    pub adapter: Option<String>,
    /// Every engine that may answer.
    pub engines: Vec<String>,
    /// Why it was made.
    pub reason: String,
    /// By whom.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
    /// Rows in the scope.
    pub rows: u64,
    /// Those of them that were looked at so far.
    pub seen: u64,
    /// Rows that could not be answered. They stay as they are, and are tried again when the run is resumed.
    pub failed: u64,
    /// Where the answers came from: work is done once per distinct input.
    pub answers: Answers,
    /// The job that takes it further; `null` where there is nothing to do.
    #[schema(required)]
    pub job: Option<Work>,
    /// Why it went no further: what ended its preview early, or kept what began by the clock from being applied; `null` where nothing did.
    #[schema(required)]
    pub stopped: Option<String>,
    /// Rows that change, by what became of them.
    pub changes: Vec<Tally>,
    /// Why it would not be applied without an override, in a sentence each.
    pub refusals: Vec<String>,
    /// Why guards that refused did not count; `null` where none was overridden.
    #[schema(required)]
    pub override_reason: Option<String>,
    /// Who applied it.
    #[schema(required)]
    pub applied_by: Option<String>,
    /// When.
    #[schema(required)]
    pub applied_at: Option<DateTime<Utc>>,
    /// Who undid it.
    #[schema(required)]
    pub undone_by: Option<String>,
    /// When.
    #[schema(required)]
    pub undone_at: Option<DateTime<Utc>>,
    /// Who gave it up.
    #[schema(required)]
    pub cancelled_by: Option<String>,
    /// When.
    #[schema(required)]
    pub cancelled_at: Option<DateTime<Utc>>,
    /// The first 100 rows that could not be answered; none in lists.
    pub failures: Vec<Failure>,
    /// Where it leads from one taxonomy to another; left out of other runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taxonomy: Option<Migration>,
    /// What it would change or has changed; left out while the preview goes on, and in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<Diff>,
}

/// Where a run's answers came from, in rows. An input is all that an engine looks at: rows of one input get one answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = RecategorizationAnswers)]
pub struct Answers {
    /// Of an input that came up before in the same process.
    pub from_memory: u64,
    /// Remembered in the database, from an earlier run or process.
    pub from_store: u64,
    /// Computed now, or asked of a model.
    pub computed: u64,
    /// Share of the rows that brought an input of their own; `null` before any was answered. A run that was resumed
    /// counts anew what it had seen before.
    #[schema(required)]
    pub distinct_share: Option<f64>,
}

impl From<AnswerSources> for Answers {
    fn from(AnswerSources { from_memory, from_store, computed }: AnswerSources) -> Self {
        let (distinct, all) = (from_store + computed, from_memory + from_store + computed);
        let distinct_share = (all > 0).then(|| distinct as f64 / all as f64);
        Self { from_memory, from_store, computed, distinct_share }
    }
}

/// From which taxonomy to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TaxonomyMigration)]
pub struct Migration {
    /// Version of the old taxonomy.
    #[schema(example = "consumer@8f14e45f")]
    pub from: String,
    /// Version of the new one.
    #[schema(example = "consumer@1c39b0aa")]
    pub to: String,
    /// What becomes of each category: another name, or one of several that a stage chooses from.
    #[schema(value_type = BTreeMap<String, BecomesDoc>)]
    pub map: BTreeMap<Slug, Becomes>,
    /// Whether answers tell the category in both now.
    pub shadow: bool,
    /// Who concluded it: nothing is taken back any more.
    #[schema(required)]
    pub concluded_by: Option<String>,
    /// When.
    #[schema(required)]
    pub concluded_at: Option<DateTime<Utc>>,
}

impl From<TaxonomyMigration> for Migration {
    fn from(of: TaxonomyMigration) -> Self {
        let TaxonomyMigration { from_taxonomy, to_taxonomy, map, shadow, concluded_by, concluded_at } = of;
        Self { from: from_taxonomy, to: to_taxonomy, map, shadow, concluded_by, concluded_at }
    }
}

/// What becomes of a category.
#[derive(ToSchema)]
#[schema(as = Becomes)]
#[serde(untagged)]
pub enum BecomesDoc {
    /// This one.
    One(String),
    /// One of these, as a stage chooses.
    OneOf(Vec<String>),
}

/// The job that takes a run further. How far it is say `seen` of `rows`, and `changes`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = RecategorizationJob)]
pub struct Work {
    /// Its number.
    pub id: i64,
    /// `waiting` for a worker, `running`, `retrying` (it failed, and is tried again at `due_at`) or `failed` (it failed too
    /// often; ask for the same again).
    #[schema(value_type = String, example = "running")]
    pub state: JobState,
    /// How often it was begun.
    pub attempts: i16,
    /// When it was asked for, or is tried again.
    pub due_at: DateTime<Utc>,
    /// Which worker is at it; `null` where none is.
    #[schema(required)]
    pub worker: Option<String>,
    /// Why it failed the last time; `null` where it did not.
    #[schema(required)]
    pub last_error: Option<String>,
}

impl From<Job> for Work {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            state: job.state,
            attempts: job.attempts,
            due_at: job.run_at,
            worker: job.worker,
            last_error: job.last_error,
        }
    }
}

/// A row that could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RecategorizationFailure)]
pub struct Failure {
    /// Which transaction.
    #[schema(value_type = String)]
    pub transaction_id: TransactionId,
    /// Why not.
    pub why: String,
    /// How often it was tried.
    pub tries: u32,
}

impl From<RecategorizationFailure> for Failure {
    fn from(RecategorizationFailure { transaction_id, why, tries }: RecategorizationFailure) -> Self {
        Self { transaction_id, why, tries }
    }
}

/// Rows of a run in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ChangeTally)]
pub struct Tally {
    /// `proposed`, `skipped` (not applied), `applied`, `undone` or `kept` (applied, and not undone).
    #[schema(value_type = String, example = "applied")]
    pub state: ChangeState,
    /// Why a row was skipped or kept: a `person` has spoken of it, or it has `changed` otherwise; `null` for others.
    #[schema(value_type = Option<String>, required)]
    pub why: Option<LeftBecause>,
    /// How many.
    pub rows: u64,
}

/// One row that a run would change or has changed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = RecategorizationChange)]
pub struct Change {
    /// Which transaction.
    #[schema(value_type = String)]
    pub transaction_id: TransactionId,
    /// On which account.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// When it was posted.
    pub posted_at: DateTime<Utc>,
    /// Its statement text.
    pub descriptor: String,
    /// How much.
    #[schema(value_type = String, example = "6.50")]
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// In force before.
    #[schema(value_type = String)]
    pub from: Slug,
    /// In force after.
    #[schema(value_type = String)]
    pub to: Slug,
    /// How sure the engine is, in `[0, 1]`.
    pub confidence: f32,
    /// Which engine.
    pub engine: String,
    /// `proposed`, `skipped` (not applied), `applied`, `undone` or `kept` (applied, and not undone).
    #[schema(value_type = String, example = "applied")]
    pub state: ChangeState,
    /// Why it was skipped or kept: a `person` has spoken of it, or it has `changed` otherwise; `null` for others.
    #[schema(value_type = Option<String>, required)]
    pub why: Option<LeftBecause>,
}

impl From<RecategorizationChange> for Change {
    fn from(row: RecategorizationChange) -> Self {
        Self {
            transaction_id: row.transaction_id,
            account_id: row.account_id,
            posted_at: row.posted_at,
            descriptor: row.descriptor,
            amount: row.amount.in_full(),
            currency: row.amount.currency().to_string(),
            from: row.from,
            to: row.to,
            confidence: row.confidence,
            engine: row.engine,
            state: row.state,
            why: row.why,
        }
    }
}

/// Which stored transactions a run looks at; all that are given must hold.
#[derive(ToSchema)]
#[schema(as = RecategorizationScope)]
#[expect(dead_code, reason = "read by the OpenAPI document only")]
pub struct ScopeDoc {
    /// Posted at this time or later: an RFC 3339 time, or a day (`YYYY-MM-DD`), which is its first moment in UTC. It is
    /// answered as a time.
    #[schema(default, example = "2026-03-01")]
    from: Option<String>,
    /// Posted before this time, which is written as `from` is. A day is not part of the scope itself: `2026-04-01` takes what
    /// was posted up to the end of March.
    #[schema(default, example = "2026-04-01T00:00:00Z")]
    to: Option<String>,
    /// Of one of these accounts.
    #[schema(default)]
    account_ids: Vec<String>,
    /// Of one of these merchants: descriptor keys.
    #[schema(default)]
    descriptor_keys: Vec<String>,
    /// With one of these categories in force.
    #[schema(default)]
    categories: Vec<String>,
    /// Answered by one of these engines, such as `adapter:demo@1f3a9c02`.
    #[schema(default)]
    engines: Vec<String>,
    /// Answered with less confidence than this.
    #[schema(default)]
    below_confidence: Option<f32>,
    /// All there are; nothing else may be given then.
    #[schema(default)]
    everything: bool,
}

impl Report {
    /// Of the run of a number, with what it would change.
    ///
    /// # Errors
    /// When there is none, or the database fails.
    pub async fn of(store: &Store, id: i64) -> Result<Self, Error> {
        Self::told(store, find(store, id).await?, true).await
    }

    /// Of all runs, newest first, at most `limit`, before one; without what each would change.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(store: &Store, before: Option<i64>, limit: u32) -> Result<Vec<Self>, Error> {
        let mut reports = Vec::new();
        for run in store.recategorizations(None, before, limit).await? {
            reports.push(Self::told(store, run, false).await?);
        }
        Ok(reports)
    }

    async fn told(store: &Store, run: Recategorization, whole: bool) -> Result<Self, Error> {
        let diff = found(&run)?;
        let guarded = diff.as_ref().filter(|_| run.phase == RecategorizationPhase::Previewed);
        let refusals = guarded.map(|diff| Guards::default().look_at(diff)).unwrap_or_default();
        let job = store.job_in(Recategorization::queue(run.id)).await?;
        let changes = store.change_tallies(run.id).await?;
        let listed = if whole { FAILURES } else { 0 };
        let failures = store.recategorization_failures(run.id, None, listed).await?;
        Ok(Self {
            id: run.id,
            phase: run.phase,
            scope: run.run.scope,
            adapter: run.run.adapter,
            engines: run.run.engines,
            reason: run.run.reason,
            made_by: run.run.made_by,
            made_at: run.run.made_at,
            rows: run.rows,
            seen: run.seen,
            failed: store.count_recategorization_failures(run.id).await?,
            answers: run.sources.into(),
            job: job.map(Work::from),
            stopped: run.stopped,
            changes: changes.into_iter().map(|of| Tally { state: of.state, why: of.why, rows: of.rows }).collect(),
            refusals: refusals.iter().map(Refusal::to_string).collect(),
            override_reason: run.override_reason,
            applied_by: run.applied_by,
            applied_at: run.applied_at,
            undone_by: run.undone_by,
            undone_at: run.undone_at,
            cancelled_by: run.cancelled_by,
            cancelled_at: run.cancelled_at,
            failures: failures.into_iter().map(Failure::from).collect(),
            taxonomy: store.taxonomy_migration(run.id).await?.map(Migration::from),
            diff: diff.filter(|_| whole),
        })
    }
}
