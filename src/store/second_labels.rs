//! Second labels: decisions that another person is asked about again, without being shown the first.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Error, Store, read};
use crate::domain::{Slug, TransactionId};

/// What two people said of one transaction, neither knowing of the other's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelPair {
    /// The decision's number.
    pub decision: i64,
    /// Which transaction.
    pub transaction_id: TransactionId,
    /// Who decided it.
    pub first_by: String,
    /// What that person said.
    pub first: Slug,
    /// Who was asked again.
    pub second_by: String,
    /// What that person said.
    pub second: Slug,
    /// When.
    pub second_at: DateTime<Utc>,
}

impl Store {
    /// Leases decisions of others to a person who shall say the same again, oldest first: number and transaction.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn claim_second_labels(
        &self,
        limit: u32,
        claimed_by: &str,
        now: DateTime<Utc>,
        lease: TimeDelta,
    ) -> Result<Vec<(i64, TransactionId)>, Error> {
        let mut rows = sqlx::query!(
            "update second_labels
            set
                claimed_by = $1,
                claimed_until = $3
            where action_id in (
                select
                    candidate.action_id
                from second_labels as candidate
                where candidate.made_at is null
                and candidate.first_by <> $1
                and (candidate.claimed_until is null or candidate.claimed_until <= $2 or candidate.claimed_by = $1)
                order by candidate.action_id
                limit $4
                for update skip locked
            )
            returning
                action_id,
                transaction_id",
            claimed_by,
            now,
            now + lease,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.sort_unstable_by_key(|row| row.action_id);
        rows.into_iter()
            .map(|row| Ok((row.action_id, read(&row.transaction_id, "second_labels.transaction_id")?)))
            .collect()
    }

    /// Stores what the second person says; returns whether that person was asked and had not answered yet. It changes
    /// nothing that is in force.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn second_label(
        &self,
        action: i64,
        category: &Slug,
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let done = sqlx::query!(
            "update second_labels
            set
                category = $2,
                made_by = $3,
                made_at = $4
            where action_id = $1
            and made_at is null
            and claimed_by = $3
            and claimed_until > $4",
            action,
            category.as_str(),
            made_by,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// All pairs there are, and how many wait for a second person.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn label_pairs(&self) -> Result<(Vec<LabelPair>, u32), Error> {
        let rows = sqlx::query!(
            "select
                action_id,
                transaction_id,
                first_by,
                first_category,
                made_by,
                category,
                made_at
            from second_labels
            order by action_id",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut waiting = 0;
        let mut pairs = Vec::with_capacity(rows.len());
        for row in rows {
            let (Some(second_by), Some(second), Some(second_at)) = (row.made_by, row.category, row.made_at) else {
                waiting += 1;
                continue;
            };
            pairs.push(LabelPair {
                decision: row.action_id,
                transaction_id: read(&row.transaction_id, "second_labels.transaction_id")?,
                first_by: row.first_by,
                first: read(&row.first_category, "second_labels.first_category")?,
                second_by,
                second: read(&second, "second_labels.category")?,
                second_at,
            });
        }
        Ok((pairs, waiting))
    }
}
