//! What chat models took and cost, and whether another call fits the budget.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use super::{Error, Store};

/// A call that is about to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewModelCall {
    /// Which model.
    pub model: String,
    /// Transactions that it is asked about.
    pub rows: i32,
    /// The most that it can cost.
    pub reserved: Decimal,
    /// In which currency.
    pub currency: String,
    /// The most that may be spent on its day.
    pub daily: Option<Decimal>,
    /// The most that may be spent in its month.
    pub monthly: Option<Decimal>,
    /// SHA-256 of a batch's requests; a call of a few rows has none.
    pub requests_sha256: Option<String>,
}

/// A call that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReservedCall {
    /// Its number.
    pub id: i64,
    /// The day that it counts on.
    pub day: NaiveDate,
}

/// Why a call was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// The day's limit.
    Daily,
    /// The month's limit.
    Monthly,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledCall {
    /// Tokens of the prompt.
    pub prompt_tokens: i32,
    /// Of those, kept ones.
    pub cached_tokens: i32,
    /// Of those, ones that are kept from now on.
    pub cache_written_tokens: i32,
    /// Tokens of the answer.
    pub completion_tokens: i32,
    /// What it cost, doubtful attempts included; `None` where no price is known.
    pub cost: Option<Decimal>,
    /// Attempts that may have been billed though no answer came.
    pub doubtful_attempts: i32,
    /// `answered`, `failed` or `given_up`.
    pub outcome: &'static str,
    /// Transactions that were answered; `None` where none was asked about.
    pub answered_rows: Option<i32>,
}

/// What one model's calls took and cost on one day.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DayOfCalls {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Which model.
    pub model: String,
    /// Calls.
    pub calls: i64,
    /// Transactions asked about.
    pub rows: i64,
    /// Transactions that were answered; `None` where none was asked about.
    pub answered_rows: Option<i64>,
    /// Tokens of the prompts.
    pub prompt_tokens: i64,
    /// Of those, kept ones.
    pub cached_tokens: i64,
    /// Tokens of the answers.
    pub completion_tokens: i64,
    /// What they cost, with what is reserved for those under way.
    pub cost: Decimal,
    /// Calls whose price nobody knows: they are in `cost` with nothing.
    pub unpriced: i64,
    /// In which currency.
    pub currency: String,
    /// Calls without an answer.
    pub failed: i64,
}

impl Store {
    /// Books the most that a call can cost, unless that passes a limit; calls at the same time wait for each other.
    /// A batch that is booked and under way stays booked as it is.
    ///
    /// # Errors
    /// When the database fails; then nothing was booked.
    pub async fn reserve_call(
        &self,
        call: &NewModelCall,
        now: DateTime<Utc>,
    ) -> Result<Result<ReservedCall, Exceeded>, Error> {
        let day = now.date_naive();
        let month = chrono::Datelike::with_day0(&day, 0).unwrap_or(day);
        let mut work = self.begin().await?;
        // At midnight calls of two days count in one month.
        sqlx::query_scalar!(
            r#"select true as "locked!" from pg_advisory_xact_lock(8026, hashtext($1::date::text))"#,
            month,
        )
        .fetch_one(&mut *work)
        .await?;
        sqlx::query!(
            "insert into model_spend (
                day,
                currency,
                spent
            )
            values ($1, $2, 0)
            on conflict do nothing",
            day,
            call.currency,
        )
        .execute(&mut *work)
        .await?;
        let today = sqlx::query_scalar!(
            "select
                spent
            from model_spend
            where day = $1
            and currency = $2
            for update",
            day,
            call.currency,
        )
        .fetch_one(&mut *work)
        .await?;
        if let Some(requests) = &call.requests_sha256 {
            let before = sqlx::query!(
                r#"select
                    id,
                    (begun_at at time zone 'UTC')::date as "day!"
                from model_calls
                where model = $1
                and requests_sha256 = $2
                and outcome = 'under_way'"#,
                call.model,
                requests,
            )
            .fetch_optional(&mut *work)
            .await?;
            if let Some(before) = before {
                return Ok(Ok(ReservedCall { id: before.id, day: before.day }));
            }
        }
        if call.daily.is_some_and(|limit| today + call.reserved > limit) {
            return Ok(Err(Exceeded::Daily));
        }
        if let Some(limit) = call.monthly {
            let before = sqlx::query_scalar!(
                r#"select
                    coalesce(sum(spent), 0) as "spent!"
                from model_spend
                where day >= $1
                and day < $2
                and currency = $3"#,
                month,
                day,
                call.currency,
            )
            .fetch_one(&mut *work)
            .await?;
            if before + today + call.reserved > limit {
                return Ok(Err(Exceeded::Monthly));
            }
        }
        sqlx::query!(
            "update model_spend
            set
                spent = spent + $3
            where day = $1
            and currency = $2",
            day,
            call.currency,
            call.reserved,
        )
        .execute(&mut *work)
        .await?;
        let id = sqlx::query_scalar!(
            "insert into model_calls (
                model,
                rows,
                currency,
                reserved,
                outcome,
                begun_at,
                requests_sha256
            )
            values ($1, $2, $3, $4, 'under_way', $5, $6)
            returning
                id",
            call.model,
            call.rows,
            call.currency,
            call.reserved,
            now,
            call.requests_sha256,
        )
        .fetch_one(&mut *work)
        .await?;
        work.commit().await?;
        Ok(Ok(ReservedCall { id, day }))
    }

    /// Books what a call took and cost in place of what was reserved; a call that is settled stays as it is.
    ///
    /// # Errors
    /// When the database fails; then what was reserved stays booked.
    pub async fn settle_call(
        &self,
        call: ReservedCall,
        settled: &SettledCall,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "with settled as (
                update model_calls
                set
                    prompt_tokens = $2,
                    cached_tokens = $3,
                    cache_written_tokens = $4,
                    completion_tokens = $5,
                    cost = $6,
                    doubtful_attempts = $7,
                    outcome = $8,
                    settled_at = $9,
                    answered_rows = $11
                where id = $1
                and outcome = 'under_way'
                returning
                    currency,
                    reserved
            )
            update model_spend
            set
                spent = model_spend.spent + coalesce($6, 0) - settled.reserved
            from settled
            where model_spend.day = $10
            and model_spend.currency = settled.currency",
            call.id,
            settled.prompt_tokens,
            settled.cached_tokens,
            settled.cache_written_tokens,
            settled.completion_tokens,
            settled.cost,
            settled.doubtful_attempts,
            settled.outcome,
            now,
            call.day,
            settled.answered_rows,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Says which of the provider's batches a call is. `false`: that batch was booked before, and this call is no
    /// call at all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn name_batch(&self, call: ReservedCall, model: &str, batch: &str) -> Result<bool, Error> {
        let named = sqlx::query!(
            "update model_calls
            set
                batch = $3
            where id = $1
            and not exists (
                select
                from model_calls other
                where other.model = $2
                and other.batch = $3
                and other.id <> $1
            )",
            call.id,
            model,
            batch,
        )
        .execute(&self.pool)
        .await?;
        Ok(named.rows_affected() == 1)
    }

    /// Takes a booking back: nothing was asked.
    ///
    /// # Errors
    /// When the database fails; then what was reserved stays booked.
    pub async fn take_back_call(&self, call: ReservedCall) -> Result<(), Error> {
        sqlx::query!(
            "with gone as (
                delete from model_calls
                where id = $1
                and outcome = 'under_way'
                returning
                    currency,
                    reserved
            )
            update model_spend
            set
                spent = model_spend.spent - gone.reserved
            from gone
            where model_spend.day = $2
            and model_spend.currency = gone.currency",
            call.id,
            call.day,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What was spent on a day and in its month until then, with what is reserved for calls under way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spent_on(&self, day: NaiveDate, currency: &str) -> Result<(Decimal, Decimal), Error> {
        let month = chrono::Datelike::with_day0(&day, 0).unwrap_or(day);
        let spent = sqlx::query!(
            r#"select
                coalesce(sum(spent) filter (where day = $2), 0) as "today!",
                coalesce(sum(spent), 0) as "month!"
            from model_spend
            where day between $1 and $2
            and currency = $3"#,
            month,
            day,
            currency,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((spent.today, spent.month))
    }

    /// What calls took and cost since a moment, by day and model, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn days_of_calls(&self, since: DateTime<Utc>) -> Result<Vec<DayOfCalls>, Error> {
        let days = sqlx::query_as!(
            DayOfCalls,
            r#"select
                (begun_at at time zone 'UTC')::date as "day!",
                model,
                count(*) as "calls!",
                sum(rows) as "rows!",
                sum(answered_rows) as answered_rows,
                sum(prompt_tokens) as "prompt_tokens!",
                sum(cached_tokens) as "cached_tokens!",
                sum(completion_tokens) as "completion_tokens!",
                sum(coalesce(cost, reserved)) as "cost!",
                count(*) filter (where outcome <> 'under_way' and cost is null) as "unpriced!",
                currency,
                count(*) filter (where outcome in ('failed', 'given_up')) as "failed!"
            from model_calls
            where begun_at >= $1
            group by
                1,
                model,
                currency
            order by
                1 desc,
                model,
                currency"#,
            since,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(days)
    }
}
