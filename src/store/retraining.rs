//! Plans to train an adapter again, and the labels that have come since it was registered.

use chrono::{DateTime, Utc};

use super::{Error, Store, count};

/// Why an adapter should be trained again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrainingPlan {
    /// Its number.
    pub id: i64,
    /// Which adapter.
    pub adapter_id: i64,
    /// Why, with the numbers.
    pub reasons: serde_json::Value,
    /// Since when it is open.
    pub opened_at: DateTime<Utc>,
}

impl Store {
    /// Opens a plan to train an adapter again, or brings the open one's reasons up to date.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_plan(
        &self,
        adapter: i64,
        reasons: &serde_json::Value,
        now: DateTime<Utc>,
    ) -> Result<RetrainingPlan, Error> {
        let plan = sqlx::query_as!(
            RetrainingPlan,
            "insert into retraining_plans (
                adapter_id,
                reasons,
                opened_at
            )
            values ($1, $2, $3)
            on conflict (adapter_id) where closed_at is null do update set
                reasons = excluded.reasons
            returning
                id,
                adapter_id,
                reasons,
                opened_at",
            adapter,
            reasons,
            now,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(plan)
    }

    /// Closes an adapter's open plan: what came of it is another adapter.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_plan(&self, adapter: i64, by: i64, now: DateTime<Utc>) -> Result<(), Error> {
        sqlx::query!(
            "update retraining_plans
            set
                closed_at = $3,
                closed_by = $2
            where adapter_id = $1
            and closed_at is null",
            adapter,
            by,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How many transactions got a label since an adapter was registered: corrections, and labels that came
    /// with data.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn labels_since(&self, adapter: i64) -> Result<u32, Error> {
        let labels = sqlx::query_scalar!(
            r#"select
                count(distinct corrections.transaction_id) as "labels!"
            from adapters
            join corrections on corrections.id > adapters.last_label
            where adapters.id = $1"#,
            adapter,
        )
        .fetch_one(&self.pool)
        .await?;
        count(labels, "corrections")
    }
}
