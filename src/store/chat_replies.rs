//! What a chat model answered in an evaluation, kept for a day.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;

use super::{Error, Store};

/// A reply as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptReply {
    /// For each id of the request, in that order.
    pub answers: Value,
    /// Tokens.
    pub usage: Value,
    /// What it cost; `None` where no price is known.
    pub cost: Option<Decimal>,
}

impl Store {
    /// What a model answered to a request since a moment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn kept_reply(
        &self,
        model: &str,
        request_sha256: &str,
        since: DateTime<Utc>,
    ) -> Result<Option<KeptReply>, Error> {
        let kept = sqlx::query_as!(
            KeptReply,
            "select
                answers,
                usage,
                cost
            from chat_replies
            where model = $1
            and request_sha256 = $2
            and made_at >= $3",
            model,
            request_sha256,
            since,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(kept)
    }

    /// Keeps what a model answered, and forgets what was kept before a moment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_reply(
        &self,
        model: &str,
        request_sha256: &str,
        reply: &KeptReply,
        now: DateTime<Utc>,
        forget: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query!(
            "with forgotten as (
                delete from chat_replies
                where made_at < $7
                and (model, request_sha256) <> ($1, $2)
            )
            insert into chat_replies (
                model,
                request_sha256,
                answers,
                usage,
                cost,
                made_at
            )
            values ($1, $2, $3, $4, $5, $6)
            on conflict (model, request_sha256) do update set
                answers = excluded.answers,
                usage = excluded.usage,
                cost = excluded.cost,
                made_at = excluded.made_at",
            model,
            request_sha256,
            reply.answers,
            reply.usage,
            reply.cost,
            now,
            forget,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
