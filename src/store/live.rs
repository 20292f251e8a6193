//! What people said of engines' answers on live traffic.

use chrono::{DateTime, Utc};

use super::{Error, Store, count};

/// What became of an engine's answers on live traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LiveTally {
    /// Transactions whose latest answer is the engine's, recategorizations apart: these answer old rows, and only
    /// those that change.
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
                and predictions.recategorization_id is null
                and predictions.made_at >= $2
                and ($3::timestamptz is null or predictions.made_at < $3)
                order by predictions.made_at
                limit $4
            ) as predictions
            join in_force on in_force.transaction_id = predictions.transaction_id
            left join review_items on review_items.transaction_id = predictions.transaction_id
            left join said on said.transaction_id = predictions.transaction_id
            where not exists (
                select
                from predictions as later
                where later.transaction_id = predictions.transaction_id
                and later.id > predictions.id
                and later.recategorization_id is null
            )"#,
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
            left join said on said.transaction_id = review_items.transaction_id
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
}
