//! What an engine answered lately and before, by merchant and category; and a few of those answers, by lot.

use chrono::{DateTime, Utc};

use super::{Error, Store, count, read};
use crate::domain::TransactionId;

/// Answers alike in merchant, category, confidence, whether the key was known, and when they came.
#[derive(Debug, Clone, PartialEq)]
pub struct RecentAnswers {
    /// The descriptor key.
    pub key: String,
    /// What was said.
    pub category: String,
    /// Whether the engine's labels had shown the key.
    pub known: bool,
    /// Which bin of confidence, from 0.
    pub bin: u32,
    /// Whether they came in the later of the two stretches.
    pub lately: bool,
    /// How many.
    pub rows: u32,
    /// Sum of their confidences.
    pub confidence: f64,
}

/// Whose answers have moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MovedAnswers {
    /// Those to rows with this descriptor key.
    Merchant(String),
    /// Those that name this category.
    Category(String),
}

impl MovedAnswers {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Merchant(key) => Some(key),
            Self::Category(_) => None,
        }
    }

    fn category(&self) -> Option<&str> {
        match self {
            Self::Category(slug) => Some(slug),
            Self::Merchant(_) => None,
        }
    }
}

impl Store {
    /// What an engine answered live traffic from `from` to `since` and from then on, the newest `most` of each, counted;
    /// confidence in `bins` of equal width.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recent_answers(
        &self,
        engine: &str,
        from: DateTime<Utc>,
        since: DateTime<Utc>,
        bins: u32,
        most: u32,
    ) -> Result<Vec<RecentAnswers>, Error> {
        let rows = sqlx::query!(
            r#"with answered as (
                (
                    select
                        id,
                        true as lately
                    from predictions
                    where engine = $1
                    and recategorization_id is null
                    and made_at >= $3
                    order by made_at desc
                    limit $5
                )
                union all
                (
                    select
                        id,
                        false
                    from predictions
                    where engine = $1
                    and recategorization_id is null
                    and made_at >= $2
                    and made_at < $3
                    order by made_at desc
                    limit $5
                )
            )
            select
                transactions.descriptor_key as "key!",
                predictions.category as "category!",
                predictions.evidence @> '[{"kind": "known_key"}]' as "known!",
                least(floor(predictions.confidence::double precision * $4::integer)::integer, $4 - 1) as "bin!",
                answered.lately as "lately!",
                count(*) as "rows!",
                sum(predictions.confidence::double precision) as "confidence!"
            from answered
            join predictions on predictions.id = answered.id
            join transactions on transactions.id = predictions.transaction_id
            group by
                1,
                2,
                3,
                4,
                5"#,
            engine,
            from,
            since,
            i32::try_from(bins).unwrap_or(i32::MAX),
            i64::from(most),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(RecentAnswers {
                    key: row.key,
                    category: row.category,
                    known: row.known,
                    bin: count(i64::from(row.bin), "predictions.confidence")?,
                    lately: row.lately,
                    rows: count(row.rows, "predictions")?,
                    confidence: row.confidence,
                })
            })
            .collect()
    }

    /// Accepted answers since a moment, by lot: as many as bring those that were drawn since to `most`.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn draw_moved(
        &self,
        engine: &str,
        what: &MovedAnswers,
        since: DateTime<Utc>,
        most: u32,
    ) -> Result<Vec<TransactionId>, Error> {
        let ids = sqlx::query_scalar!(
            r#"with alike as (
                select
                    in_force.transaction_id,
                    in_force.review_status,
                    (review_items.reason = 'drift' and review_items.opened_at >= $2) is true as drawn
                from predictions
                join in_force on in_force.prediction_id = predictions.id
                join transactions on transactions.id = in_force.transaction_id
                left join review_items on review_items.transaction_id = in_force.transaction_id
                where predictions.engine = $1
                and predictions.made_at >= $2
                and predictions.recategorization_id is null
                and transactions.replaced_by is null
                and ($3::text is null or transactions.descriptor_key = $3)
                and ($4::text is null or predictions.category = $4)
            )
            select
                transaction_id as "id!"
            from alike
            where review_status = 'accepted'
            and not drawn
            order by md5(transaction_id)
            limit greatest($5 - (select count(*) from alike where drawn), 0)"#,
            engine,
            since,
            what.key(),
            what.category(),
            i64::from(most),
        )
        .fetch_all(&self.pool)
        .await?;
        ids.iter().map(|id| read(id, "transactions.id")).collect()
    }
}
