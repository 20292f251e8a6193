//! What shadows would have said, beside what was in force.

use chrono::{DateTime, Utc};

use super::{Error, Store, count};
use crate::domain::TransactionId;

/// What a shadow would have said of one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowPrediction {
    /// Of which.
    pub transaction_id: TransactionId,
    /// What.
    pub category: String,
    /// How sure.
    pub confidence: f32,
}

/// A shadow beside what was in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ShadowTally {
    /// Transactions it looked at.
    pub answered: u32,
    /// Those where it said what the stage in force said.
    pub agreed: u32,
    /// Those that a person has spoken about.
    pub judged: u32,
    /// Those of them where the shadow was right.
    pub right: u32,
    /// Those of them where the stage in force was right.
    pub champion_right: u32,
}

impl Store {
    /// Stores what a shadow would have said; what it said before of a transaction stays.
    ///
    /// # Errors
    /// When the database fails or a transaction is unknown; then nothing was stored.
    pub async fn record_shadow(
        &self,
        adapter: i64,
        said: &[ShadowPrediction],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let ids: Vec<&str> = said.iter().map(|row| row.transaction_id.as_str()).collect();
        let categories: Vec<&str> = said.iter().map(|row| row.category.as_str()).collect();
        let confidences: Vec<f32> = said.iter().map(|row| row.confidence).collect();
        sqlx::query!(
            "insert into shadow_predictions (
                adapter_id,
                transaction_id,
                category,
                confidence,
                made_at
            )
            select
                $1,
                said.*,
                $5
            from unnest($2::text[], $3::text[], $4::real[]) as said
            on conflict (adapter_id, transaction_id) do nothing",
            adapter,
            &ids as &[&str],
            &categories as &[&str],
            &confidences,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A shadow beside what was in force.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shadow_tally(&self, adapter: i64) -> Result<ShadowTally, Error> {
        let row = sqlx::query!(
            r#"select
                count(*) as "answered!",
                count(*) filter (where shadow_predictions.category = predictions.category) as "agreed!",
                count(said.category) as "judged!",
                count(*) filter (where said.category = shadow_predictions.category) as "right!",
                count(*) filter (where said.category = predictions.category) as "champion_right!"
            from shadow_predictions
            join in_force on in_force.transaction_id = shadow_predictions.transaction_id
            join predictions on predictions.id = in_force.prediction_id
            left join said on said.transaction_id = predictions.transaction_id
            where shadow_predictions.adapter_id = $1"#,
            adapter,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(ShadowTally {
            answered: count(row.answered, "shadow_predictions")?,
            agreed: count(row.agreed, "shadow_predictions")?,
            judged: count(row.judged, "shadow_predictions")?,
            right: count(row.right, "shadow_predictions")?,
            champion_right: count(row.champion_right, "shadow_predictions")?,
        })
    }
}
