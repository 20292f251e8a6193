//! In which order what waits is shown: the counts of the groups, and what a wrong answer in each may come to.
//!
//! The groups are counted from the items by whoever asks for work, for those that changed since. A group's
//! risk is the sum over its rows of doubt × (1 + amount / typical amount of the currency): wrong rows to be
//! expected, each with the money it is about.
//!
//! First goes what is likeliest to go wrong again, because a decision also holds for rows to come: the sum of doubt ×
//! (1 + ¼ ln(1 + amount / typical)) × e^(−age / year). Money enters by its logarithm: one large purchase tells less about
//! the rows to come than two small ones. All ages grow alike, so the logarithm of the sum with weights that grow from a
//! fixed day ranks the same (forward decay, Cormode et al. 2009) and no group is counted again because time has passed.

use chrono::{DateTime, Utc};

use super::{Error, Store};

/// How long a count waits for another.
const MOMENT: &str = "500ms";
/// SQLSTATE of a lock that was not had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

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
}
