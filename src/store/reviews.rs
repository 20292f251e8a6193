//! The review queue: decided transactions that wait for a person's eye.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{Cursor, Error, Store, TransactionView, past_deadlocks, read};
use crate::domain::{AccountId, ReviewReason, Slug, TransactionId};

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

    /// Puts accepted transactions before people's eyes, and at a complaint also those that a person decided, and those that wait for
    /// another reason; but one drawn for an audit stays in its sample, and waits there. What is in force stays so until somebody decides. Returns how many wait now that
    /// did not, or for another reason.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask_people(
        &self,
        ids: &[TransactionId],
        reason: ReviewReason,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        past_deadlocks(|| self.ask_people_once(ids, reason, now).boxed()).await
    }

    async fn ask_people_once(
        &self,
        ids: &[TransactionId],
        reason: ReviewReason,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let texts: Vec<&str> = ids.iter().map(TransactionId::as_str).collect();
        let mut tx = self.begin().await?;
        let ours = sqlx::query_scalar!(
            "update in_force
            set review_status = 'pending'
            where transaction_id in (
                select
                    transaction_id
                from in_force
                where transaction_id = any($1)
                and case
                    when $2 = 'complaint' then not exists (
                        select
                        from review_items
                        where review_items.transaction_id = in_force.transaction_id
                        and review_items.resolved_at is null
                        and review_items.reason in ('complaint', 'audit')
                    )
                    else review_status = 'accepted'
                end
                order by transaction_id
                for no key update
            )
            returning transaction_id",
            &texts as &[&str],
            reason.as_str(),
        )
        .fetch_all(&mut *tx)
        .await?;
        let opened = open_items(&mut tx, &ours, reason, now).await?;
        tx.commit().await?;
        Ok(opened)
    }
}

/// Puts those of the rows that wait into the queue, for one reason: how many.
pub(super) async fn open_items(
    tx: &mut PgConnection,
    ids: &[String],
    reason: ReviewReason,
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let opened = sqlx::query!(
        "insert into review_items (
            transaction_id,
            reason,
            group_key,
            doubt,
            amount,
            currency,
            opened_at
        )
        select
            transactions.id,
            $2,
            review_group_key($2, transactions.direction, transactions.descriptor_key, transactions.id),
            case when $2 = 'rule_withdrawn' then 1 - coalesce(in_force.confidence, 0) else 1 end,
            transactions.amount,
            transactions.currency,
            $3
        from transactions
        join in_force on in_force.transaction_id = transactions.id
        where transactions.id = any($1)
        and in_force.review_status = 'pending'
        order by transactions.id
        on conflict (transaction_id) do update set
            reason = excluded.reason,
            group_key = excluded.group_key,
            doubt = excluded.doubt,
            opened_at = excluded.opened_at,
            resolved_at = null,
            resolved_by = null",
        ids,
        reason.as_str(),
        now,
    )
    .execute(tx)
    .await?;
    Ok(opened.rows_affected())
}
