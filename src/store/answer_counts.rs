//! What engines answered on live traffic, counted: what a watch for drift reads.

use chrono::{DateTime, Utc};

use super::{Error, Store, count};

/// Answers of one category, alike in confidence and in whether the key was known.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerCount {
    /// The category.
    pub category: String,
    /// Whether the engine's labels had shown the key.
    pub known: bool,
    /// Which bin of confidence, from 0.
    pub bin: u32,
    /// How many.
    pub rows: u32,
    /// Sum of their confidences.
    pub confidence: f64,
}

impl Store {
    /// What an engine answered live traffic from a moment on, until another or until now, counted: by category, by whether
    /// its labels had shown the key, and by confidence in `bins` of equal width.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answer_counts(
        &self,
        engine: &str,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
        bins: u32,
    ) -> Result<Vec<AnswerCount>, Error> {
        let rows = sqlx::query!(
            r#"select
                predictions.category,
                predictions.evidence @> '[{"kind": "known_key"}]' as "known!",
                least(floor(predictions.confidence::double precision * $4::integer)::integer, $4 - 1) as "bin!",
                count(*) as "rows!",
                sum(predictions.confidence::double precision) as "confidence!"
            from predictions
            where predictions.engine = $1
            and predictions.recategorization_id is null
            and predictions.made_at >= $2
            and ($3::timestamptz is null or predictions.made_at < $3)
            group by
                1,
                2,
                3"#,
            engine,
            since,
            until,
            i32::try_from(bins).unwrap_or(i32::MAX),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(AnswerCount {
                    category: row.category,
                    known: row.known,
                    bin: count(i64::from(row.bin), "predictions.confidence")?,
                    rows: count(row.rows, "predictions")?,
                    confidence: row.confidence,
                })
            })
            .collect()
    }
}
