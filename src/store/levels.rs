//! What people said of answers of each confidence level.

use chrono::{DateTime, Utc};

use super::{Error, Store, count, read};
use crate::domain::ConfidenceLevel;

/// One engine's answers of one level that people were asked about whatever they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelTally {
    /// Which engine.
    pub engine: String,
    /// Which level.
    pub level: ConfidenceLevel,
    /// Answers that a person has spoken about.
    pub judged: u32,
    /// Those where the person said the same.
    pub right: u32,
}

impl Store {
    /// What people said of the answers since a moment that were drawn at random, or waited because their level had
    /// broken its promise, engine by engine and level by level.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn level_tallies(&self, since: DateTime<Utc>) -> Result<Vec<LevelTally>, Error> {
        let rows = sqlx::query!(
            r#"select
                predictions.engine,
                predictions.confidence_level as "level!",
                count(*) as "judged!",
                count(*) filter (where said.category = predictions.category) as "right!"
            from review_items
            join in_force on in_force.transaction_id = review_items.transaction_id
            join predictions on predictions.id = in_force.prediction_id
            join said on said.transaction_id = predictions.transaction_id
            where review_items.reason in ('audit', 'broken_promise')
            and predictions.made_at >= $1
            and predictions.confidence_level is not null
            group by
                predictions.engine,
                predictions.confidence_level
            order by
                predictions.engine,
                predictions.confidence_level"#,
            since,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(LevelTally {
                    engine: row.engine,
                    level: read(&row.level, "predictions.confidence_level")?,
                    judged: count(row.judged, "corrections")?,
                    right: count(row.right, "corrections")?,
                })
            })
            .collect()
    }
}
