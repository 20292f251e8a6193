//! How engines do on live traffic: what people said of their answers, what shadows would have said.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Error, Store, count, read};
use crate::domain::{AccountId, TransactionId};

/// What became of an engine's answers on live traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LiveTally {
    /// Transactions whose latest prediction is the engine's.
    pub answered: u32,
    /// Those that a person has spoken about since.
    pub judged: u32,
    /// Those where the person said something else.
    pub wrong: u32,
    /// Judged ones that were drawn at random: these alone tell how accurate answers are.
    pub audited: u32,
    /// Those of them where the person said something else.
    pub audited_wrong: u32,
}

/// What people said of one engine's answers that are in force now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAccuracy {
    /// The stage.
    pub stage: String,
    /// The engine.
    pub engine: String,
    /// Accepted answers that were drawn at random for a person's eye.
    pub drawn: u32,
    /// Those of them that a person has spoken about.
    pub audited: u32,
    /// Those of these that were right.
    pub audited_right: u32,
    /// Doubtful answers that a person has spoken about: no random sample.
    pub doubtful_judged: u32,
    /// Those of them that were right.
    pub doubtful_right: u32,
}

/// Answers of one category, alike in confidence and in whether the key was known.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerCount {
    /// The category.
    pub category: String,
    /// Whether the engine's labels had shown the key.
    pub known: bool,
    /// Which bin of confidence, from 0.
    pub bin: u32,
    /// How many.
    pub rows: u32,
    /// Sum of their confidences.
    pub confidence: f64,
}

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
    /// What became of an engine's answers since a moment, until another or until now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live_tally(
        &self,
        engine: &str,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
    ) -> Result<LiveTally, Error> {
        self.tally(engine, since, until, None).await
    }

    /// What became of the first `most` answers of an engine since a moment: what it costs to ask does not grow with
    /// the time since.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn first_tally(&self, engine: &str, since: DateTime<Utc>, most: u32) -> Result<LiveTally, Error> {
        self.tally(engine, since, None, Some(most)).await
    }

    async fn tally(
        &self,
        engine: &str,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
        most: Option<u32>,
    ) -> Result<LiveTally, Error> {
        let row = sqlx::query!(
            r#"select
                count(*) as "answered!",
                count(said.category) as "judged!",
                count(*) filter (where said.category <> predictions.category) as "wrong!",
                count(said.category) filter (where review_items.reason = 'audit') as "audited!",
                count(*) filter (
                    where review_items.reason = 'audit'
                    and said.category <> predictions.category
                ) as "audited_wrong!"
            from (
                select
                    predictions.id,
                    predictions.transaction_id,
                    predictions.category
                from predictions
                where predictions.engine = $1
                and predictions.made_at >= $2
                and ($3::timestamptz is null or predictions.made_at < $3)
                order by predictions.made_at
                limit $4
            ) as predictions
            join in_force on in_force.prediction_id = predictions.id
            left join review_items on review_items.transaction_id = predictions.transaction_id
            left join lateral (
                select
                    corrections.category
                from corrections
                where corrections.transaction_id = predictions.transaction_id
                and corrections.source = 'correction'
                order by corrections.id desc
                limit 1
            ) as said on true"#,
            engine,
            since,
            until,
            most.map(i64::from),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(LiveTally {
            answered: count(row.answered, "predictions")?,
            judged: count(row.judged, "corrections")?,
            wrong: count(row.wrong, "corrections")?,
            audited: count(row.audited, "corrections")?,
            audited_wrong: count(row.audited_wrong, "corrections")?,
        })
    }

    /// What people said of each engine's answers that are in force now, most drawn ones first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live_accuracy(&self) -> Result<Vec<LiveAccuracy>, Error> {
        let rows = sqlx::query!(
            r#"select
                predictions.stage,
                predictions.engine,
                count(*) filter (where review_items.reason = 'audit') as "drawn!",
                count(said.category) filter (where review_items.reason = 'audit') as "audited!",
                count(*) filter (
                    where review_items.reason = 'audit'
                    and said.category = predictions.category
                ) as "audited_right!",
                count(said.category) filter (where review_items.reason <> 'audit') as "doubtful_judged!",
                count(*) filter (
                    where review_items.reason <> 'audit'
                    and said.category = predictions.category
                ) as "doubtful_right!"
            from review_items
            join in_force on in_force.transaction_id = review_items.transaction_id
            join predictions on predictions.id = in_force.prediction_id
            left join lateral (
                select
                    corrections.category
                from corrections
                where corrections.transaction_id = review_items.transaction_id
                and corrections.source = 'correction'
                order by corrections.id desc
                limit 1
            ) as said on true
            where review_items.reason = 'audit'
            or review_items.resolved_at is not null
            group by
                predictions.stage,
                predictions.engine
            order by
                3 desc,
                predictions.engine,
                predictions.stage"#,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(LiveAccuracy {
                    stage: row.stage,
                    engine: row.engine,
                    drawn: count(row.drawn, "review_items")?,
                    audited: count(row.audited, "corrections")?,
                    audited_right: count(row.audited_right, "corrections")?,
                    doubtful_judged: count(row.doubtful_judged, "corrections")?,
                    doubtful_right: count(row.doubtful_right, "corrections")?,
                })
            })
            .collect()
    }

    /// What an engine answered from a moment on, until another or until now, counted: by category, by whether
    /// its labels had shown the key, and by confidence in `bins` of equal width.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answer_counts(
        &self,
        engine: &str,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
        bins: u32,
    ) -> Result<Vec<AnswerCount>, Error> {
        let rows = sqlx::query!(
            r#"select
                predictions.category,
                predictions.evidence @> '[{"kind": "known_key"}]' as "known!",
                least(floor(predictions.confidence::double precision * $4::integer)::integer, $4 - 1) as "bin!",
                count(*) as "rows!",
                sum(predictions.confidence::double precision) as "confidence!"
            from predictions
            where predictions.engine = $1
            and predictions.made_at >= $2
            and ($3::timestamptz is null or predictions.made_at < $3)
            group by
                1,
                2,
                3"#,
            engine,
            since,
            until,
            i32::try_from(bins).unwrap_or(i32::MAX),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(AnswerCount {
                    category: row.category,
                    known: row.known,
                    bin: count(i64::from(row.bin), "predictions.confidence")?,
                    rows: count(row.rows, "predictions")?,
                    confidence: row.confidence,
                })
            })
            .collect()
    }

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
            left join lateral (
                select
                    corrections.category
                from corrections
                where corrections.transaction_id = predictions.transaction_id
                and corrections.source = 'correction'
                order by corrections.id desc
                limit 1
            ) as said on true
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

    /// The groups of those of the accounts that are in one.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn account_groups(&self, accounts: &[&AccountId]) -> Result<HashMap<AccountId, String>, Error> {
        let accounts: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
        let rows = sqlx::query!(
            "select
                account_id,
                account_group
            from account_groups
            where account_id = any($1)",
            &accounts as &[&str],
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((read(&row.account_id, "account_groups.account_id")?, row.account_group)))
            .collect()
    }

    /// Puts accounts into a group, or takes them out of any; returns how many that changed.
    ///
    /// # Errors
    /// When the database fails or the group's name is not of the form that groups have.
    pub async fn put_account_group(&self, accounts: &[AccountId], group: Option<&str>) -> Result<u64, Error> {
        let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
        let Some(group) = group else {
            let done = sqlx::query!("delete from account_groups where account_id = any($1)", &accounts as &[&str])
                .execute(&self.pool)
                .await?;
            return Ok(done.rows_affected());
        };
        let done = sqlx::query!(
            "insert into account_groups (
                account_id,
                account_group
            )
            select distinct
                asked.account_id,
                $2
            from unnest($1::text[]) as asked(account_id)
            on conflict (account_id) do update set
                account_group = excluded.account_group
            where account_groups.account_group <> excluded.account_group",
            &accounts as &[&str],
            group,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

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
