//! The accuracy tracker's runs: what was measured, on which data, by which engine.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::{Error, EvalItem, Store};

/// One scoring of one file by one stage or one peer, to store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvalRun {
    /// When the command that made it began; its runs share this.
    pub started_at: DateTime<Utc>,
    /// The data set's name.
    pub data_set: String,
    /// The file's name within it.
    pub file: String,
    /// SHA-256 of the file: which version of the data.
    pub file_sha256: [u8; 32],
    /// Which stage, or which peer.
    pub stage: String,
    /// Which engine, with its content hash; empty for a peer.
    pub engine: String,
    /// Whether another program gave the answers.
    pub peer: bool,
    /// Which taxonomy version.
    pub taxonomy: String,
    /// How many labels the engine and the history could see, where that was limited.
    pub label_budget: Option<i32>,
    /// SHA-256 of the sorted ids of the labels that could be seen.
    pub labels_sha256: Option<[u8; 32]>,
    /// What draws labels and resamples.
    pub seed: Option<i64>,
    /// The program that measured.
    pub code_version: Option<String>,
    /// The accuracy the stage is meant to have, in `[0, 1]`; a peer has none.
    pub target: Option<f64>,
    /// How many rows.
    pub rows: i32,
    /// How many of them right.
    pub correct: i32,
    /// How many had a key that the labels had shown.
    pub known_rows: i32,
    /// How many of those right.
    pub known_correct: i32,
    /// Mean F1 over categories, in `[0, 1]`.
    pub macro_f1: f64,
    /// Expected calibration error, in `[0, 1]`; a peer has none.
    pub ece: Option<f64>,
    /// Share of rows that can be accepted at the target accuracy, in `[0, 1]`; a peer has none.
    pub coverage_at_target: Option<f64>,
    /// Rows in a second; a peer has none.
    pub rows_per_s: Option<f64>,
    /// What 1,000 rows cost, where somebody bills for them.
    pub cost_per_1000: Option<Decimal>,
    /// In which currency.
    pub currency: Option<String>,
}

/// A run as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalRun {
    /// Its number; later ones are greater.
    pub id: i64,
    /// What was measured.
    pub run: NewEvalRun,
}

/// What a list of runs is narrowed to; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvalRunFilter {
    /// With this number.
    pub id: Option<i64>,
    /// On this data set.
    pub data_set: Option<String>,
    /// On this file of it.
    pub file: Option<String>,
    /// By this stage or peer.
    pub stage: Option<String>,
    /// By this engine.
    pub engine: Option<String>,
    /// By peers, or by stages.
    pub peer: Option<bool>,
    /// Older than this one.
    pub before: Option<i64>,
    /// Whose rows are still kept.
    pub with_rows: bool,
}

impl Store {
    /// Stores a run with its rows and returns its number.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn insert_run(&self, run: &NewEvalRun, items: &[EvalItem]) -> Result<i64, Error> {
        let mut tx = self.begin().await?;
        let id = sqlx::query_scalar!(
            "insert into eval_runs (
                started_at,
                data_set,
                file,
                file_sha256,
                stage,
                engine,
                peer,
                taxonomy,
                label_budget,
                labels_sha256,
                seed,
                code_version,
                target,
                rows,
                correct,
                known_rows,
                known_correct,
                macro_f1,
                ece,
                coverage_at_target,
                rows_per_s,
                cost_per_1000,
                currency
            )
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
            returning id",
            run.started_at,
            run.data_set,
            run.file,
            run.file_sha256.as_slice(),
            run.stage,
            run.engine,
            run.peer,
            run.taxonomy,
            run.label_budget,
            run.labels_sha256.as_ref().map(<[u8; 32]>::as_slice),
            run.seed,
            run.code_version,
            run.target,
            run.rows,
            run.correct,
            run.known_rows,
            run.known_correct,
            run.macro_f1,
            run.ece,
            run.coverage_at_target,
            run.rows_per_s,
            run.cost_per_1000,
            run.currency,
        )
        .fetch_one(&mut *tx)
        .await?;
        super::eval_items::insert(&mut tx, id, items).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Runs, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn eval_runs(&self, filter: &EvalRunFilter, limit: u32) -> Result<Vec<EvalRun>, Error> {
        let ids = sqlx::query_scalar!(
            "select
                id
            from eval_runs
            where ($1::bigint is null or id = $1)
            and ($2::text is null or data_set = $2)
            and ($3::text is null or file = $3)
            and ($4::text is null or stage = $4)
            and ($5::text is null or engine = $5)
            and ($6::boolean is null or peer = $6)
            and ($7::bigint is null or id < $7)
            and (not $8::boolean or exists (select from eval_items where eval_items.run_id = eval_runs.id))
            order by id desc
            limit $9",
            filter.id,
            filter.data_set.as_deref(),
            filter.file.as_deref(),
            filter.stage.as_deref(),
            filter.engine.as_deref(),
            filter.peer,
            filter.before,
            filter.with_rows,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        self.runs(&ids).await
    }

    /// The run with this number.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn eval_run(&self, id: i64) -> Result<Option<EvalRun>, Error> {
        let found = self.eval_runs(&EvalRunFilter { id: Some(id), ..EvalRunFilter::default() }, 1).await?;
        Ok(found.into_iter().next())
    }

    /// The latest run of each stage on each file, by data set, file and stage; peers' are none.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn latest_runs(&self) -> Result<Vec<EvalRun>, Error> {
        let ids = sqlx::query_scalar!(
            "select distinct on (data_set, file, stage)
                id
            from eval_runs
            where not peer
            order by
                data_set,
                file,
                stage,
                started_at desc,
                id desc",
        )
        .fetch_all(&self.pool)
        .await?;
        self.runs(&ids).await
    }

    /// The runs with these numbers, in order.
    async fn runs(&self, ids: &[i64]) -> Result<Vec<EvalRun>, Error> {
        let rows = sqlx::query_as!(
            RunRow,
            "select
                eval_runs.id,
                eval_runs.started_at,
                eval_runs.data_set,
                eval_runs.file,
                eval_runs.file_sha256,
                eval_runs.stage,
                eval_runs.engine,
                eval_runs.peer,
                eval_runs.taxonomy,
                eval_runs.label_budget,
                eval_runs.labels_sha256,
                eval_runs.seed,
                eval_runs.code_version,
                eval_runs.target,
                eval_runs.rows,
                eval_runs.correct,
                eval_runs.known_rows,
                eval_runs.known_correct,
                eval_runs.macro_f1,
                eval_runs.ece,
                eval_runs.coverage_at_target,
                eval_runs.rows_per_s,
                eval_runs.cost_per_1000,
                eval_runs.currency
            from unnest($1::bigint[]) with ordinality as asked(id, place)
            join eval_runs on eval_runs.id = asked.id
            order by asked.place",
            ids,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(EvalRun::try_from).collect()
    }

    /// The latest run of every engine of every stage on every file whose categories are a taxonomy's, without peers.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn latest_engine_runs(&self, taxonomy: &str) -> Result<Vec<EvalRun>, Error> {
        let rows = sqlx::query_as!(
            RunRow,
            "select distinct on (data_set, file, stage, engine)
                id,
                started_at,
                data_set,
                file,
                file_sha256,
                stage,
                engine,
                peer,
                taxonomy,
                label_budget,
                labels_sha256,
                seed,
                code_version,
                target,
                rows,
                correct,
                known_rows,
                known_correct,
                macro_f1,
                ece,
                coverage_at_target,
                rows_per_s,
                cost_per_1000,
                currency
            from eval_runs
            where not peer
            and taxonomy = $1
            order by
                data_set,
                file,
                stage,
                engine,
                started_at desc,
                id desc",
            taxonomy,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(EvalRun::try_from).collect()
    }

    /// How many commands have scored the file with this SHA-256, whatever its name was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn times_scored(&self, file_sha256: &[u8; 32]) -> Result<u32, Error> {
        let times = sqlx::query_scalar!(
            r#"select
                count(distinct started_at) as "times!"
            from eval_runs
            where file_sha256 = $1"#,
            file_sha256.as_slice(),
        )
        .fetch_one(&self.pool)
        .await?;
        super::count(times, "eval_runs.started_at")
    }
}

struct RunRow {
    id: i64,
    started_at: DateTime<Utc>,
    data_set: String,
    file: String,
    file_sha256: Vec<u8>,
    stage: String,
    engine: String,
    peer: bool,
    taxonomy: String,
    label_budget: Option<i32>,
    labels_sha256: Option<Vec<u8>>,
    seed: Option<i64>,
    code_version: Option<String>,
    target: Option<f64>,
    rows: i32,
    correct: i32,
    known_rows: i32,
    known_correct: i32,
    macro_f1: f64,
    ece: Option<f64>,
    coverage_at_target: Option<f64>,
    rows_per_s: Option<f64>,
    cost_per_1000: Option<Decimal>,
    currency: Option<String>,
}

impl TryFrom<RunRow> for EvalRun {
    type Error = Error;

    fn try_from(row: RunRow) -> Result<Self, Error> {
        let run = NewEvalRun {
            started_at: row.started_at,
            data_set: row.data_set,
            file: row.file,
            file_sha256: row.file_sha256.try_into().map_err(|_| Error::Corrupt { what: "eval_runs.file_sha256" })?,
            stage: row.stage,
            engine: row.engine,
            peer: row.peer,
            taxonomy: row.taxonomy,
            label_budget: row.label_budget,
            labels_sha256: row
                .labels_sha256
                .map(TryInto::try_into)
                .transpose()
                .map_err(|_| Error::Corrupt { what: "eval_runs.labels_sha256" })?,
            seed: row.seed,
            code_version: row.code_version,
            target: row.target,
            rows: row.rows,
            correct: row.correct,
            known_rows: row.known_rows,
            known_correct: row.known_correct,
            macro_f1: row.macro_f1,
            ece: row.ece,
            coverage_at_target: row.coverage_at_target,
            rows_per_s: row.rows_per_s,
            cost_per_1000: row.cost_per_1000,
            currency: row.currency,
        };
        Ok(Self { id: row.id, run })
    }
}
