//! What waits at the desk, grouped so that one decision covers many rows, and leased so that no two people work on
//! the same. How groups are counted and ranked is in [`super::review_ranking`].

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Error, Store, count, escaped, read, review_trail::note_action};
use crate::domain::{ActionKind, Lane, ReviewReason, Slug, TransactionId};

/// Rows that one decision may cover.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewGroup {
    /// Its key: direction and descriptor key, or the one row that stands alone.
    pub key: String,
    /// The queue it stands in.
    pub lane: Lane,
    /// How many rows wait in it.
    pub rows: u32,
    /// What wrong answers in it may come to, in typical transactions.
    pub at_risk: f64,
    /// Since when its oldest row waits.
    pub opened_at: DateTime<Utc>,
    /// Who works on it.
    pub claimed_by: Option<String>,
    /// Until when nobody else may.
    pub claimed_until: Option<DateTime<Utc>>,
    /// Who could not decide it.
    pub escalated_by: Option<String>,
    /// What that person said of it.
    pub escalation_note: Option<String>,
    /// The row in which most is at risk: the one to look at.
    pub first: TransactionId,
    /// Why that row waits.
    pub reason: ReviewReason,
}

/// What work is narrowed to; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupFilter {
    /// In this queue.
    pub lane: Lane,
    /// With this text in the key, or in the name that people gave the merchant.
    pub text: Option<String>,
    /// With a row that waits for this reason.
    pub reason: Option<ReviewReason>,
    /// With a waiting row of this category.
    pub category: Option<Slug>,
    /// This group alone.
    pub key: Option<String>,
}

/// The desk in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneCount {
    /// Which queue.
    pub lane: Lane,
    /// Groups that wait.
    pub groups: u32,
    /// Rows in them.
    pub rows: u32,
    /// Since when the oldest waits.
    pub oldest: Option<DateTime<Utc>>,
}

impl Store {
    /// What waits, most at risk first, at most `limit`, whoever works on it.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn review_groups(&self, filter: &GroupFilter, limit: u32) -> Result<Vec<ReviewGroup>, Error> {
        let keys = sqlx::query_scalar!(
            "select
                group_key
            from review_groups
            where ($1::text is null or group_key = $1)
            and ($1::text is not null or case
                when $2 = 'escalated' then escalated_at is not null
                else escalated_at is null and lane = $2
            end)
            and (
                $3::text is null
                or group_key ilike '%' || $3 || '%'
                or group_key in (select groups_named($3))
            )
            and (($4::text is null and $5::text is null) or exists (
                select
                from review_items
                join in_force on in_force.transaction_id = review_items.transaction_id
                where review_items.group_key = review_groups.group_key
                and review_items.resolved_at is null
                and ($4::text is null or review_items.reason = $4)
                and ($5::text is null or in_force.category = $5)
            ))
            order by
                rank desc,
                group_key
            limit $6",
            filter.key,
            filter.lane.as_str(),
            filter.text.as_deref().map(escaped),
            filter.reason.map(ReviewReason::as_str),
            filter.category.as_ref().map(Slug::as_str),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        self.groups_of(&keys).await
    }

    /// Leases groups to one person, most at risk first: those he has already, then those that nobody has and he
    /// has not passed over. What somebody else is about to lease is passed by.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn claim_groups(
        &self,
        filter: &GroupFilter,
        limit: u32,
        claimed_by: &str,
        now: DateTime<Utc>,
        lease: TimeDelta,
    ) -> Result<Vec<ReviewGroup>, Error> {
        let keys = sqlx::query_scalar!(
            "update review_groups
            set
                claimed_by = $1,
                claimed_until = $3
            where group_key in (
                select
                    candidate.group_key
                from review_groups as candidate
                where (candidate.claimed_until is null or candidate.claimed_until <= $2 or candidate.claimed_by = $1)
                and ($4::text is null or candidate.group_key = $4)
                and ($4::text is not null or case
                    when $5 = 'escalated' then candidate.escalated_at is not null
                    else candidate.escalated_at is null and candidate.lane = $5
                end)
                and (
                    $6::text is null
                    or candidate.group_key ilike '%' || $6 || '%'
                    or candidate.group_key in (select groups_named($6))
                )
                and (($7::text is null and $8::text is null) or exists (
                    select
                    from review_items
                    join in_force on in_force.transaction_id = review_items.transaction_id
                    where review_items.group_key = candidate.group_key
                    and review_items.resolved_at is null
                    and ($7::text is null or review_items.reason = $7)
                    and ($8::text is null or in_force.category = $8)
                ))
                and ($4::text is not null or not exists (
                    select
                    from review_skips
                    where review_skips.group_key = candidate.group_key
                    and review_skips.skipped_by = $1
                    and review_skips.until > $2
                ))
                order by
                    candidate.rank desc,
                    candidate.group_key
                limit $9
                for update skip locked
            )
            returning group_key",
            claimed_by,
            now,
            now + lease,
            filter.key,
            filter.lane.as_str(),
            filter.text.as_deref().map(escaped),
            filter.reason.map(ReviewReason::as_str),
            filter.category.as_ref().map(Slug::as_str),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        self.groups_of(&keys).await
    }

    /// Gives a lease back; returns whether the person had it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_group(&self, key: &str, claimed_by: &str) -> Result<bool, Error> {
        release(&mut *self.pool.acquire().await?, key, claimed_by).await
    }

    /// Gives a lease back, and does not show the group to that person again for a while; returns whether the
    /// person had it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn skip_group(
        &self,
        key: &str,
        skipped_by: &str,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        if !release(&mut tx, key, skipped_by).await? {
            return Ok(false);
        }
        sqlx::query!(
            "insert into review_skips (
                group_key,
                skipped_by,
                until
            )
            values ($1, $2, $3)
            on conflict (group_key, skipped_by) do update set
                until = excluded.until",
            key,
            skipped_by,
            until,
        )
        .execute(&mut *tx)
        .await?;
        note_action(&mut tx, ActionKind::Skip, key, None, skipped_by, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Gives a lease back and leaves the group to somebody who knows more; returns whether the person had it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn escalate_group(
        &self,
        key: &str,
        note: &str,
        escalated_by: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let done = sqlx::query!(
            "update review_groups
            set
                claimed_by = null,
                claimed_until = null,
                escalated_by = $2,
                escalated_at = $3,
                escalation_note = $4
            where group_key = $1
            and claimed_by = $2",
            key,
            escalated_by,
            now,
            note,
        )
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        note_action(&mut tx, ActionKind::Escalate, key, Some(note), escalated_by, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// How much waits in each queue.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn lane_counts(&self) -> Result<Vec<LaneCount>, Error> {
        let rows = sqlx::query!(
            r#"select
                case when escalated_at is null then lane else 'escalated' end as "lane!",
                count(*) as "groups!",
                sum(rows) as "rows!",
                min(opened_at) as oldest
            from review_groups
            group by 1
            order by 1"#,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(LaneCount {
                    lane: read(&row.lane, "review_groups.lane")?,
                    groups: count(row.groups, "review_groups")?,
                    rows: count(row.rows, "review_groups")?,
                    oldest: row.oldest,
                })
            })
            .collect()
    }

    /// The groups of these keys, most at risk first.
    async fn groups_of(&self, keys: &[String]) -> Result<Vec<ReviewGroup>, Error> {
        let rows = sqlx::query!(
            r#"select
                review_groups.group_key,
                case when review_groups.escalated_at is null then review_groups.lane else 'escalated' end as "lane!",
                review_groups.rows,
                review_groups.at_risk,
                review_groups.opened_at,
                review_groups.claimed_by,
                review_groups.claimed_until,
                review_groups.escalated_by,
                review_groups.escalation_note,
                first.transaction_id as "first!",
                first.reason as "reason!"
            from review_groups
            join lateral (
                select
                    review_items.transaction_id,
                    review_items.reason
                from review_items
                left join review_scales on review_scales.currency = review_items.currency
                where review_items.group_key = review_groups.group_key
                and review_items.resolved_at is null
                order by
                    review_items.doubt
                        * (1 + coalesce(review_items.amount / review_scales.typical, 1))::double precision desc,
                    review_items.transaction_id
                limit 1
            ) as first on true
            where review_groups.group_key = any($1)
            order by
                review_groups.rank desc,
                review_groups.group_key"#,
            keys,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ReviewGroup {
                    key: row.group_key,
                    lane: read(&row.lane, "review_groups.lane")?,
                    rows: count(i64::from(row.rows), "review_groups.rows")?,
                    at_risk: row.at_risk,
                    opened_at: row.opened_at,
                    claimed_by: row.claimed_by,
                    claimed_until: row.claimed_until,
                    escalated_by: row.escalated_by,
                    escalation_note: row.escalation_note,
                    first: read(&row.first, "review_items.transaction_id")?,
                    reason: read(&row.reason, "review_items.reason")?,
                })
            })
            .collect()
    }
}

/// Gives a lease back; returns whether the person had it.
async fn release(tx: &mut PgConnection, key: &str, claimed_by: &str) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update review_groups
        set
            claimed_by = null,
            claimed_until = null
        where group_key = $1
        and claimed_by = $2",
        key,
        claimed_by,
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}
