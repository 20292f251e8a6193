//! All the SQL: one [`Store`] over a Postgres pool, one file for each noun.
//!
//! Every method is one unit of work: what it writes, it writes in one database transaction, and none
//! spans a model or network call. What is not there is `None`, not an error; a broken rule comes back
//! as [`Error::Constraint`] with the constraint's name from `migrations/`.

mod account_export;
mod account_groups;
mod adapter_decisions;
mod adapters;
mod answer_counts;
mod answer_drift;
mod audit_log;
mod calibrations;
mod chat_replies;
mod condition;
mod content;
mod corrections;
mod datasets;
mod erasure;
mod eval_figures;
mod eval_items;
mod eval_pairs;
mod eval_rows;
mod eval_runs;
mod events;
mod finetune_claims;
mod finetune_jobs;
mod gauges;
mod history;
mod idempotent_answers;
mod ingest;
mod jobs;
mod key_usage;
mod keys;
mod labelled;
mod levels;
mod live;
mod merchant_edits;
mod merchant_merges;
mod merchant_volumes;
mod merchants;
mod model_calls;
mod oidc;
mod opinions;
mod predictions;
mod recategorization_apply;
mod recategorization_changes;
mod recategorization_diff;
mod recategorization_pages;
mod recategorization_scope;
mod recategorizations;
mod remembered;
mod retention;
mod retraining;
mod review_decisions;
mod review_groups;
mod review_ranking;
mod review_reach;
mod review_trail;
mod review_undo;
mod review_views;
mod reviews;
mod rules;
mod schema;
mod second_labels;
mod sessions;
mod shadows;
mod sign_in_failures;
mod taxonomies;
mod taxonomy_migrations;
mod transaction_life;
mod transactions;
mod webhooks;

use std::{str::FromStr, time::Duration};

use futures::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Transaction,
    migrate::MigrateDatabase,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use account_export::AccountRows;
pub use adapter_decisions::{AdapterDecision, AdapterGate, AdapterMove, NewAdapterGate};
pub use adapters::{AdapterChanges, AdapterFile, NewAdapter, StoredAdapter};
pub use answer_counts::AnswerCount;
pub use answer_drift::{MovedAnswers, RecentAnswers};
pub use audit_log::AuditRow;
pub use calibrations::Calibration;
pub use chat_replies::KeptReply;
pub use condition::{ContentCondition, ServerCondition};
pub use corrections::ImportedLabel;
pub use datasets::{DatasetItem, NewDataset, NewLabelReport, StoredDataset, StoredLabelReport};
pub use erasure::{Erased, LearnedFrom, NewErasure};
pub use eval_figures::{EvalBin, EvalCell, EvalSlice, EvalTotals};
pub use eval_items::EvalItem;
pub use eval_pairs::{EvalPair, PairedCell};
pub use eval_rows::{ConfusionCell, RowPair, RowsOf};
pub use eval_runs::{EvalRun, EvalRunFilter, NewEvalRun};
pub use events::{Event, EventNews};
pub use finetune_claims::{Claim, NewFinetuneJob};
pub use finetune_jobs::{FinetuneJob, FinetuneNews};
pub use gauges::{DaySpend, Gauges};
pub use idempotent_answers::{KeptAnswer, Keyed, KeyedRequest};
pub use ingest::Ingested;
pub use jobs::{FirstJob, Job, JobFilter, NewJob};
pub use keys::{KeyRotation, NewKey, StoredKey};
pub use labelled::{CorrectedTransaction, LabelledTransaction, Traffic};
pub use levels::LevelTally;
pub use live::{LiveAccuracy, LiveTally};
pub use merchant_edits::{EditRefused, MerchantAffected, MerchantChange, MerchantEdit, MerchantEdited, MerchantReach};
pub use merchant_volumes::{MerchantFilter, MerchantVolume};
pub use model_calls::{DayOfCalls, Exceeded, NewModelCall, ReservedCall, SettledCall};
pub use oidc::{NewOidcSignIn, OidcSignIn, OidcSubject};
pub use opinions::Opinion;
pub use predictions::Decision;
pub use recategorization_changes::{ChangeFilter, ChangeTally, RecategorizationChange, RecategorizationFailure};
pub use recategorization_diff::{ChangePair, ChangedCategory, ComparedLabel, LabelCounts, MovedMoney};
pub use recategorization_pages::{LabelAsked, PageDone, Proposal, ScopedRow};
pub use recategorizations::{AnswerSources, NewRecategorization, PhaseMove, Recategorization, ScopeCursor};
pub use retraining::RetrainingPlan;
pub use review_decisions::{DecisionRefused, Settled, Verdict};
pub use review_groups::{GroupFilter, LaneCount, ReviewGroup};
pub use review_reach::{Affected, Reach};
pub use review_trail::{ActionFilter, ReviewAction, Throughput};
pub use review_undo::{UndoRefused, Undone};
pub use review_views::SavedView;
pub use reviews::{ReviewFilter, ReviewItem};
pub use rules::{Rule, RuleKey, StandingRule};
pub use schema::SchemaCondition;
pub use second_labels::LabelPair;
pub use sessions::{NewSession, StoredSession};
pub use shadows::{ShadowPrediction, ShadowTally};
pub use taxonomies::StoredTaxonomy;
pub use taxonomy_migrations::TaxonomyMigration;
pub use transaction_life::{GivenLabel, HoldingSet, LeftRule, Waited};
pub use transactions::{Cursor, Shadow, StoredPrediction, TransactionFilter, TransactionView, ViewedMerchant};
pub use webhooks::{FailedDelivery, NewWebhook, Webhook};

/// The code with which Postgres says that a database doesn't exist.
const NO_SUCH_DATABASE: &str = "3D000";

/// The database. Cheap to clone: clones share one pool.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

/// Why the database could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not reachable, shutting down, out of room, or no connection free in time: worth trying again.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A table, column or function is gone that a query of this version asks for.
    #[error("the database lacks what this version expects: `txcat doctor` names it")]
    Incomplete(#[source] sqlx::Error),
    /// A text holds U+0000, which no text in Postgres may.
    #[error("a text holds the character U+0000")]
    Text(#[source] sqlx::Error),
    /// A named rule of the schema was broken.
    #[error("the database refused: {name}")]
    Constraint {
        /// The constraint's name.
        name: String,
    },
    /// A stored value that this version of the program can't read.
    #[error("a stored value can't be read: {what}")]
    Corrupt {
        /// Which column.
        what: &'static str,
    },
    /// The schema could not be brought up to date.
    #[error("the database schema can't be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The queue's schema could not be brought up to date.
    #[error("the queue's schema can't be brought up to date")]
    MigrateQueue(#[source] graphile_worker::WorkerBuildError),
    /// The queue.
    #[error("the queue of jobs failed")]
    Queue(#[source] graphile_worker::errors::GraphileWorkerError),
    /// Anything else.
    #[error("the database failed")]
    Sqlx(#[source] sqlx::Error),
}

/// Whether an SQLSTATE is of what passes, or of what somebody mends while requests go on coming: no connection, shutting down, out of
/// disk, memory or connections, and a server that only reads, as one does that another has taken over from.
fn is_passing(code: &str) -> bool {
    ["08", "57P", "53", "25006"].iter().any(|class| code.starts_with(class))
}

/// Whether an SQLSTATE is of what is not there: a table, a column, a function, a schema. No query asks for what the migrations don't
/// make: the build checks them.
fn is_lack(code: &str) -> bool {
    ["42P01", "42703", "42883", "3F000"].contains(&code)
}

/// How often something is done again after a deadlock.
const DEADLOCKS: usize = 3;

/// Does something again that Postgres has ended because it and another waited for each other: the next time, what the other did is
/// there.
async fn past_deadlocks<'a, T>(once: impl Fn() -> BoxFuture<'a, Result<T, Error>>) -> Result<T, Error> {
    for _ in 0..DEADLOCKS {
        match once().await {
            Err(Error::Sqlx(sqlx::Error::Database(refusal))) if refusal.code().as_deref() == Some("40P01") => {}
            done => return done,
        }
    }
    once().await
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                Self::Unavailable(error)
            }
            sqlx::Error::Database(refusal) => match (refusal.constraint(), refusal.code().as_deref()) {
                (Some(name), _) => Self::Constraint { name: name.to_owned() },
                (None, Some(code)) if is_passing(code) => Self::Unavailable(error),
                (None, Some(code)) if is_lack(code) => Self::Incomplete(error),
                (None, Some("22021" | "22P05")) => Self::Text(error),
                _ => Self::Sqlx(error),
            },
            _ => Self::Sqlx(error),
        }
    }
}

/// What a database's address says.
fn address(url: &str) -> Result<PgConnectOptions, Error> {
    let read = if ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        PgConnectOptions::from_str(url).ok()
    } else {
        None
    };
    let says = "its address must be postgres://USER:PASSWORD@HOST:PORT/NAME";
    read.ok_or_else(|| sqlx::Error::Configuration(says.into()).into())
}

impl Store {
    /// Connects and brings the schema up to date; several processes may do so at once. Creates the
    /// database if the server has none of that name.
    ///
    /// # Errors
    /// When the database can't be reached, or holds a schema that is newer than this program.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, Error> {
        // Lists take optional filters in one statement: planning with the values at hand finds the
        // index that fits, where a generic plan would read the whole table. Histories walk an index
        // and stop early: priced as on a spinning disk, the planner would rather read whole accounts
        // and sort them. No statement here runs long enough to be worth compiling. And the tracker's
        // aggregates over a million rows spill to disk with the server's 4 MB.
        let options = address(url)?.application_name("txcat").options([
            ("plan_cache_mode", "force_custom_plan"),
            ("random_page_cost", "1.1"),
            ("jit", "off"),
            ("work_mem", "32MB"),
        ]);
        let pool = PgPoolOptions::new().max_connections(max_connections).acquire_timeout(Duration::from_secs(30));
        let pool = match pool.clone().connect_with(options.clone()).await {
            Err(sqlx::Error::Database(refusal)) if refusal.code().as_deref() == Some(NO_SUCH_DATABASE) => {
                // Another process may create it at the same moment: what counts is that it is there.
                let created = Postgres::create_database(url).await;
                pool.connect_with(options.clone()).await.map_err(|error| created.err().unwrap_or(error))?
            }
            // The pool has tried again and again, and doesn't say what was in the way.
            Err(sqlx::Error::PoolTimedOut) => {
                PgConnection::connect_with(&options).await?;
                return Err(sqlx::Error::PoolTimedOut.into());
            }
            outcome => outcome?,
        };
        sqlx::migrate!().run(&pool).await.map_err(Error::Migrate)?;
        jobs::migrate(&pool, &options).await?;
        Ok(Self { pool })
    }

    /// Makes a database that is the copy of another on the server of `url`. Nobody may be connected to that other.
    ///
    /// # Errors
    /// When there is no such database, there is one of the copy's name, or the server refuses.
    pub async fn copy_database(url: &str, template: &str, copy: &str) -> Result<(), Error> {
        // Names can't be parameters of a statement.
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let statement = format!("create database {} template {}", quoted(copy), quoted(template));
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Asks for one answer.
    ///
    /// # Errors
    /// When none comes.
    pub async fn ready(&self) -> Result<(), Error> {
        sqlx::query_scalar!("select 1").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Begins a database transaction on a task of its own: whoever stops waiting for it leaves one that is rolled back. What is
    /// dropped while sqlx 0.9.0 begins it stays open, and its connection goes to others (issue 4393 of sqlx).
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.begin_with("BEGIN").await
    }

    /// As [`Self::begin`], for statements about rows that are named, however many: no table is read whole. A connection keeps their
    /// plans and those by which foreign keys are checked: planned for the values at hand, as every statement is otherwise, they would
    /// be made anew for each call, and a check's for each row, which takes longer than the work. A kept plan is for tables of any
    /// size: one that was made while a table was small would walk through it for each row for ever. So rows are looked up in
    /// `lateral` parts that end with `offset 0`, which the planner doesn't turn around; where they are also told by what a
    /// partial index holds, the statement must not be `persistent`.
    async fn begin_for_rows(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.begin_with(
            "BEGIN;
            set local plan_cache_mode = auto;
            set local enable_seqscan = off",
        )
        .await
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where it is safe")]
    async fn begin_with(&self, statements: &'static str) -> Result<Transaction<'static, Postgres>, Error> {
        let pool = self.pool.clone();
        let begun = tokio::spawn(async move { pool.begin_with(statements).await });
        Ok(begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))?)
    }

    /// Closes every connection, and waits until they are closed.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Says who acts in a database transaction, where the rows that it changes don't tell: what is audited names them.
async fn tell_actor(tx: &mut PgConnection, actor: &str) -> Result<(), Error> {
    sqlx::query_scalar!("select set_config('txcat.actor', $1, true)", actor).fetch_one(tx).await?;
    Ok(())
}

/// Reads a stored code or newtype back; what doesn't parse is [`Error::Corrupt`].
fn read<T: FromStr>(text: &str, what: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Corrupt { what })
}

/// [`read`] of a column that may be null.
fn read_some<T: FromStr>(text: Option<&str>, what: &'static str) -> Result<Option<T>, Error> {
    text.map(|text| read(text, what)).transpose()
}

/// A count of rows that fits the counters of the domain.
fn count(rows: i64, what: &'static str) -> Result<u32, Error> {
    u32::try_from(rows).map_err(|_| Error::Corrupt { what })
}

/// A text to be found as it stands: nothing in it is a pattern.
fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}
