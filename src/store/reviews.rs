//! The review queue: decided transactions that wait for a person's eye.

use chrono::{DateTime, Utc};

use super::{Cursor, Error, Store, TransactionView, read};
use crate::domain::{AccountId, ReviewReason, Slug};

/// A transaction that waits, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewItem {
    /// The transaction with what was said about it.
    pub view: TransactionView,
    /// Why it waits.
    pub reason: ReviewReason,
    /// Since when.
    pub opened_at: DateTime<Utc>,
}

/// What the queue is narrowed to; all that are given must hold.
#[derive(Debug, Clone, Default)]
pub struct ReviewFilter {
    /// Of this account.
    pub account_id: Option<AccountId>,
    /// With this category in force.
    pub category: Option<Slug>,
    /// Waiting for this reason.
    pub reason: Option<ReviewReason>,
}

impl Store {
    /// What waits, newest transaction first, at most `limit`, older than `after`.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn reviews(
        &self,
        filter: &ReviewFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<ReviewItem>, Error> {
        let rows = sqlx::query!(
            "select
                in_force.transaction_id,
                review_items.reason,
                review_items.opened_at
            from in_force
            join transactions on transactions.id = in_force.transaction_id
            join review_items on review_items.transaction_id = in_force.transaction_id
            where in_force.review_status = 'pending'
            and transactions.replaced_by is null
            and review_items.resolved_at is null
            and ($1::text is null or transactions.account_id = $1)
            and ($2::text is null or in_force.category = $2)
            and ($3::text is null or review_items.reason = $3)
            and ($4::timestamptz is null or (in_force.posted_at, in_force.transaction_id) < ($4, $5::text))
            order by
                in_force.posted_at desc,
                in_force.transaction_id desc
            limit $6",
            filter.account_id.as_ref().map(AccountId::as_str),
            filter.category.as_ref().map(Slug::as_str),
            filter.reason.map(ReviewReason::as_str),
            after.map(|cursor| cursor.posted_at),
            after.map(|cursor| cursor.id.as_str()),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let ids = rows
            .iter()
            .map(|row| read(&row.transaction_id, "in_force.transaction_id"))
            .collect::<Result<Vec<_>, _>>()?;
        let views = self.views(&ids).await?;
        rows.into_iter()
            .zip(views)
            .filter_map(|(row, view)| Some((row, view?)))
            .map(|(row, view)| {
                Ok(ReviewItem { view, reason: read(&row.reason, "review_items.reason")?, opened_at: row.opened_at })
            })
            .collect()
    }
}
