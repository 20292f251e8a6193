//! What waits at the desk, grouped so that one decision covers many rows, ranked by what a wrong answer may
//! come to, and leased so that no two people work on the same.
//!
//! The groups are counted from the items by whoever asks for work, for those that changed since. A group's
//! risk is the sum over its rows of doubt × (1 + amount / typical amount of the currency): wrong rows to be
//! expected, each with the money it is about.
//!
//! First goes what is likeliest to go wrong again, because a decision also holds for rows to come: the sum of doubt ×
//! (1 + ¼ ln(1 + amount / typical)) × e^(−age / year). Money enters by its logarithm: one large purchase tells less about
//! the rows to come than two small ones. All ages grow alike, so the logarithm of the sum with weights that grow from a
//! fixed day ranks the same (forward decay, Cormode et al. 2009) and no group is counted again because time has passed.

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{Error, Store, count, past_deadlocks, read, review_trail::note_action};
use crate::domain::{ActionKind, Lane, ReviewReason, Slug, TransactionId};

/// How long a count waits for another.
const MOMENT: &str = "500ms";
/// SQLSTATE of a lock that was not had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

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
    /// With this text in the key.
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
    /// Counts the groups whose items changed since they were last counted. One does at a time; others wait for a moment, and then
    /// go on with the counts that are there. A group that somebody holds, for as long as a decision covers its rows, is left to who
    /// comes after that.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_groups(&self, now: DateTime<Utc>) -> Result<(), Error> {
        match self.count_free_groups(now).await {
            Err(Error::Sqlx(sqlx::Error::Database(refusal)))
                if refusal.code().as_deref() == Some(LOCK_NOT_AVAILABLE) =>
            {
                Ok(())
            }
            done => done,
        }
    }

    async fn count_free_groups(&self, now: DateTime<Utc>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        sqlx::query_scalar!("select set_config('lock_timeout', $1, true)", MOMENT).fetch_one(&mut *tx).await?;
        sqlx::query_scalar!(r#"select true as "locked!" from pg_advisory_xact_lock(8021)"#).fetch_one(&mut *tx).await?;
        let stale = sqlx::query_scalar!(
            r#"with stale as (
                select distinct group_key from review_groups_stale
            ), free as (
                select review_groups.group_key
                from review_groups
                where review_groups.group_key in (select group_key from stale)
                for update skip locked
            )
            select group_key as "group_key!" from free
            union all
            select group_key from stale
            where not exists (select from review_groups where review_groups.group_key = stale.group_key)"#
        )
        .fetch_all(&mut *tx)
        .await?;
        if stale.is_empty() {
            return Ok(());
        }
        // What is told to have changed from here on stays for the next.
        sqlx::query!("delete from review_groups_stale where group_key = any($1)", &stale).execute(&mut *tx).await?;
        sqlx::query!(
            "insert into review_scales (
                currency,
                typical,
                measured_at
            )
            select
                recent.currency,
                avg(recent.amount),
                $1::timestamptz
            from (
                select
                    currency,
                    amount
                from transactions
                where replaced_by is null
                order by
                    posted_at desc,
                    id desc
                limit 5000
            ) as recent
            where not exists (select from review_scales where measured_at > $1::timestamptz - interval '1 hour')
            group by recent.currency
            having avg(recent.amount) > 0
            on conflict (currency) do update set
                typical = excluded.typical,
                measured_at = excluded.measured_at",
            now,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "insert into review_groups (
                group_key,
                lane,
                rows,
                at_risk,
                rank,
                opened_at
            )
            select
                counted.group_key,
                case when counted.audit then 'audit' else 'doubtful' end,
                counted.rows,
                counted.at_risk,
                case when counted.audit then -extract(epoch from counted.opened_at) else ln(counted.to_come) end,
                counted.opened_at
            from (
                select
                    review_items.group_key,
                    count(*)::integer as rows,
                    sum(
                        review_items.doubt
                        * (1 + coalesce(review_items.amount / review_scales.typical, 1))::double precision
                    ) as at_risk,
                    greatest(sum(
                        review_items.doubt
                        * (1 + 0.25 * ln(1 + coalesce(review_items.amount / review_scales.typical, 1)))::double precision
                        * exp(extract(epoch from review_items.opened_at - timestamptz '2020-01-01')::double precision
                            / 31536000)
                    ), 1e-300) as to_come,
                    min(review_items.opened_at) as opened_at,
                    bool_or(review_items.reason = 'audit') as audit
                from review_items
                left join review_scales on review_scales.currency = review_items.currency
                where review_items.resolved_at is null
                and review_items.group_key = any($1)
                group by review_items.group_key
            ) as counted
            order by counted.group_key
            on conflict (group_key) do update set
                lane = excluded.lane,
                rows = excluded.rows,
                at_risk = excluded.at_risk,
                rank = excluded.rank,
                opened_at = excluded.opened_at",
            &stale,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "delete from review_groups
            where group_key = any($1)
            and not exists (
                select
                from review_items
                where review_items.group_key = review_groups.group_key
                and review_items.resolved_at is null
            )",
            &stale,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

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
            and ($3::text is null or group_key ilike '%' || $3 || '%')
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
                and ($6::text is null or candidate.group_key ilike '%' || $6 || '%')
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

    /// Puts accepted transactions before people's eyes, and at a complaint also those that a person decided; one that
    /// waits already keeps its reason. What is in force stays so until somebody decides. Returns how many wait now that
    /// did not.
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
                and (review_status = 'accepted' or (review_status = 'reviewed' and $2 = 'complaint'))
                order by transaction_id
                for no key update
            )
            returning transaction_id",
            &texts as &[&str],
            reason.as_str(),
        )
        .fetch_all(&mut *tx)
        .await?;
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
                1,
                transactions.amount,
                transactions.currency,
                $3
            from transactions
            where transactions.id = any($1)
            order by transactions.id
            on conflict (transaction_id) do update set
                reason = excluded.reason,
                group_key = excluded.group_key,
                doubt = excluded.doubt,
                opened_at = excluded.opened_at,
                resolved_at = null,
                resolved_by = null",
            &ours,
            reason.as_str(),
            now,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(opened.rows_affected())
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

/// A text to be found as it stands: nothing in it is a pattern.
fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}
