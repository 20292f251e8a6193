//! How much keys sent, day by day.

use chrono::NaiveDate;

use super::{Error, Store};

impl Store {
    /// Counts rows that a key sends, where they and what it sent that day are within the limit; tells whether they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn use_rows(&self, key_name: &str, day: NaiveDate, rows: i64, limit: i64) -> Result<bool, Error> {
        let counted = sqlx::query!(
            "insert into key_usage (
                key_name,
                day,
                rows
            )
            select
                $1::text,
                $2::date,
                $3::bigint
            where $3::bigint <= $4::bigint
            on conflict (key_name, day) do update set
                rows = key_usage.rows + excluded.rows
            where key_usage.rows + excluded.rows <= $4",
            key_name,
            day,
            rows,
            limit,
        );
        Ok(counted.execute(&self.pool).await?.rows_affected() == 1)
    }
}
