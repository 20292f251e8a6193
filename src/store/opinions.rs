//! Everything that engines ever said of one transaction, and the text that one of them saw.

use chrono::{DateTime, Utc};

use super::{Error, Store, read};
use crate::domain::{Slug, TextHash, TransactionId};

/// What an engine said of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// The stage, or `shadow` where the answer never counted.
    pub stage: String,
    /// The engine, or the adapter that looked on.
    pub engine: String,
    /// What.
    pub category: Slug,
    /// How sure, in `[0, 1]`.
    pub confidence: f32,
    /// When.
    pub made_at: DateTime<Utc>,
}

impl Store {
    /// What engines said of a transaction, latest first, shadows after those that counted.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn opinions(&self, id: &TransactionId) -> Result<Vec<Opinion>, Error> {
        let rows = sqlx::query!(
            r#"select
                stage as "stage!",
                engine as "engine!",
                category as "category!",
                confidence as "confidence!",
                made_at as "made_at!"
            from (
                select
                    0 as place,
                    predictions.stage,
                    predictions.engine,
                    predictions.category,
                    predictions.confidence,
                    predictions.made_at
                from predictions
                where predictions.transaction_id = $1
                union all
                select
                    1,
                    'shadow',
                    adapters.engine,
                    shadow_predictions.category,
                    shadow_predictions.confidence,
                    shadow_predictions.made_at
                from shadow_predictions
                join adapters on adapters.id = shadow_predictions.adapter_id
                where shadow_predictions.transaction_id = $1
            ) as said
            order by
                place,
                made_at desc
            limit 100"#,
            id.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Opinion {
                    category: read(&row.category, "predictions.category")?,
                    stage: row.stage,
                    engine: row.engine,
                    confidence: row.confidence,
                    made_at: row.made_at,
                })
            })
            .collect()
    }

    /// The text that an engine saw.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seen_text(&self, hash: &TextHash) -> Result<Option<String>, Error> {
        let text = sqlx::query_scalar!("select text from rendered_texts where hash = $1", hash.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?;
        Ok(text)
    }
}
