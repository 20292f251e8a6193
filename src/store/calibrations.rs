//! What was fitted for engines on development files: a curve, acceptance thresholds.

use chrono::{DateTime, Utc};

use super::{Error, Store};

/// What was fitted for an engine on the development file.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Which engine, with the hash of its content, but for labels that it compares with.
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
