//! The accuracy tracker's tables: runs, their rows, and what was fitted on development files.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::{Error, Store};

/// One scoring of one file by one stage, to store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvalRun {
    /// When the command that made it began; its runs share this.
    pub started_at: DateTime<Utc>,
    /// The data set's name.
    pub data_set: String,
    /// The file's name within it.
    pub file: String,
    /// SHA-256 of the file.
    pub file_sha256: [u8; 32],
    /// Which stage.
    pub stage: String,
    /// Which engine, with its content hash.
    pub engine: String,
    /// Which taxonomy version.
    pub taxonomy: String,
    /// How many labels the engine and the history could see, where that was limited.
    pub label_budget: Option<i32>,
    /// The accuracy the stage is meant to have, in `[0, 1]`.
    pub target: f64,
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
    /// Expected calibration error, in `[0, 1]`.
    pub ece: f64,
    /// Share of rows that can be accepted at the target accuracy, in `[0, 1]`.
    pub coverage_at_target: f64,
    /// Rows in a second.
    pub rows_per_s: f64,
    /// What 1,000 rows cost, where somebody bills for them.
    pub cost_per_1000: Option<Decimal>,
    /// In which currency.
    pub currency: Option<String>,
}

/// A run as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalRun {
    /// Its number.
    pub id: i64,
    /// What was measured.
    pub run: NewEvalRun,
}

/// One row of a scored file in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalItem {
    /// The row's identifier in the file.
    pub item_id: String,
    /// The file's category.
    pub expected: String,
    /// The stage's category.
    pub predicted: String,
    /// Its confidence.
    pub confidence: f32,
    /// Whether the labels had shown its key.
    pub known_key: bool,
}

/// What was fitted for an engine on the development file.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Which engine, with its content hash.
    pub engine: String,
    /// Which taxonomy version.
    pub taxonomy: String,
    /// The accuracy that accepted answers shall keep, in `[0, 1]`.
    pub target: f64,
    /// What was fitted, such as a curve and thresholds.
    pub parameters: serde_json::Value,
    /// How many rows it was fitted on.
    pub rows: i32,
    /// Which data, such as `toronto/dev.csv.gz`.
    pub fitted_on: String,
    /// When.
    pub fitted_at: DateTime<Utc>,
}

impl Store {
    /// Stores a run with its rows and returns its number.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn insert_run(&self, run: &NewEvalRun, items: &[EvalItem]) -> Result<i64, Error> {
        let mut tx = self.pool.begin().await?;
        let id = sqlx::query_scalar!(
            "insert into eval_runs (
                started_at,
                data_set,
                file,
                file_sha256,
                stage,
                engine,
                taxonomy,
                label_budget,
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
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
            returning id",
            run.started_at,
            run.data_set,
            run.file,
            run.file_sha256.as_slice(),
            run.stage,
            run.engine,
            run.taxonomy,
            run.label_budget,
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
        let of = |field: fn(&EvalItem) -> &str| items.iter().map(field).collect::<Vec<_>>();
        let confidences: Vec<f32> = items.iter().map(|item| item.confidence).collect();
        let known: Vec<bool> = items.iter().map(|item| item.known_key).collect();
        sqlx::query!(
            "insert into eval_items (
                run_id,
                item_id,
                expected,
                predicted,
                confidence,
                known_key
            )
            select
                $1,
                item.*
            from unnest($2::text[], $3::text[], $4::text[], $5::real[], $6::boolean[]) as item",
            id,
            &of(|item| &item.item_id) as &[&str],
            &of(|item| &item.expected) as &[&str],
            &of(|item| &item.predicted) as &[&str],
            &confidences,
            &known,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The latest run of each stage on each file, by data set, file and stage.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn latest_runs(&self) -> Result<Vec<EvalRun>, Error> {
        let rows = sqlx::query!(
            "select distinct on (data_set, file, stage)
                id,
                started_at,
                data_set,
                file,
                file_sha256,
                stage,
                engine,
                taxonomy,
                label_budget,
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
            order by
                data_set,
                file,
                stage,
                started_at desc,
                id desc",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let run = NewEvalRun {
                    started_at: row.started_at,
                    data_set: row.data_set,
                    file: row.file,
                    file_sha256: row
                        .file_sha256
                        .try_into()
                        .map_err(|_| Error::Corrupt { what: "eval_runs.file_sha256" })?,
                    stage: row.stage,
                    engine: row.engine,
                    taxonomy: row.taxonomy,
                    label_budget: row.label_budget,
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
                Ok(EvalRun { id: row.id, run })
            })
            .collect()
    }

    /// A run's rows, by identifier: what paired comparisons read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn eval_items(&self, run_id: i64) -> Result<Vec<EvalItem>, Error> {
        let items = sqlx::query_as!(
            EvalItem,
            "select
                item_id,
                expected,
                predicted,
                confidence,
                known_key
            from eval_items
            where run_id = $1
            order by item_id",
            run_id,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(items)
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

    /// Stores what was fitted for an engine, in place of what was before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_calibration(&self, calibration: &Calibration) -> Result<(), Error> {
        sqlx::query!(
            "insert into calibrations (
                engine,
                taxonomy,
                target,
                parameters,
                rows,
                fitted_on,
                fitted_at
            )
            values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (engine, taxonomy) do update set
                target = excluded.target,
                parameters = excluded.parameters,
                rows = excluded.rows,
                fitted_on = excluded.fitted_on,
                fitted_at = excluded.fitted_at",
            calibration.engine,
            calibration.taxonomy,
            calibration.target,
            calibration.parameters,
            calibration.rows,
            calibration.fitted_on,
            calibration.fitted_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What was fitted for a taxonomy's engines.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn calibrations(&self, taxonomy: &str) -> Result<Vec<Calibration>, Error> {
        let calibrations = sqlx::query_as!(
            Calibration,
            "select
                engine,
                taxonomy,
                target,
                parameters,
                rows,
                fitted_on,
                fitted_at
            from calibrations
            where taxonomy = $1",
            taxonomy,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(calibrations)
    }
}
