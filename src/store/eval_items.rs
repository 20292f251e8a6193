//! The rows of a run: what each is, what was answered, how sure, at what cost. Every aggregate is a query over them.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Error, Store};

/// One row of a scored file in one run. What a run from before the tracker asked for it lacks is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvalItem {
    /// The row's identifier in the file.
    pub item_id: String,
    /// The file's category.
    pub expected: String,
    /// The stage's category; `uncategorized` where it had no answer.
    pub predicted: String,
    /// Its confidence; 0 for a peer.
    pub confidence: f32,
    /// Whether the labels had shown its key.
    pub known_key: bool,
    /// Its descriptor key: which merchant.
    pub descriptor_key: Option<String>,
    /// Which way the money went.
    pub direction: Option<String>,
    /// How much, in the row's own currency.
    pub amount: Option<Decimal>,
    /// Where, if that is told.
    pub country: Option<String>,
    /// When.
    pub posted_at: Option<DateTime<Utc>>,
    /// Days since the account's first row.
    pub account_age_days: Option<i32>,
    /// Whether its merchant is one of the most frequent, which make up half of the pool.
    pub head_merchant: Option<bool>,
    /// The next best categories, as predictions have them: a list of `category` and `confidence`.
    pub alternatives: Option<serde_json::Value>,
    /// Where the truth stands among the choices, from 1.
    pub gold_rank: Option<i32>,
    /// The probability that the truth was given, 0 where it was not named; absent where no others were told.
    pub gold_probability: Option<f32>,
    /// The engine that decided.
    pub decided_by: Option<String>,
    /// Milliseconds: the row's share of its batch's time.
    pub latency_ms: Option<f32>,
    /// Tokens: the row's share of what the run took from a chat model.
    pub tokens: Option<i32>,
    /// Money: the same share.
    pub cost: Option<Decimal>,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// Stores the rows of a run.
pub(super) async fn insert(tx: &mut sqlx::PgConnection, run: i64, items: &[EvalItem]) -> Result<(), Error> {
    let items = serde_json::to_value(items).map_err(|_| Error::Corrupt { what: "eval_items" })?;
    sqlx::query!(
        "insert into eval_items (
            run_id,
            item_id,
            expected,
            predicted,
            confidence,
            known_key,
            descriptor_key,
            direction,
            amount,
            country,
            posted_at,
            account_age_days,
            head_merchant,
            alternatives,
            gold_rank,
            gold_probability,
            decided_by,
            latency_ms,
            tokens,
            cost,
            error
        )
        select
            $1,
            item.*
        from jsonb_to_recordset($2) as item(
            item_id text,
            expected text,
            predicted text,
            confidence real,
            known_key boolean,
            descriptor_key text,
            direction text,
            amount numeric,
            country text,
            posted_at timestamptz,
            account_age_days integer,
            head_merchant boolean,
            alternatives jsonb,
            gold_rank integer,
            gold_probability real,
            decided_by text,
            latency_ms real,
            tokens integer,
            cost numeric,
            error text
        )",
        run,
        items,
    )
    .execute(tx)
    .await?;
    Ok(())
}

impl Store {
    /// A run's rows, by identifier.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn eval_items(&self, run_id: i64) -> Result<Vec<EvalItem>, Error> {
        let items = sqlx::query_as!(
            EvalItem,
            "select
                item_id,
                expected,
                predicted,
                confidence,
                known_key,
                descriptor_key,
                direction,
                amount,
                country,
                posted_at,
                account_age_days,
                head_merchant,
                alternatives,
                gold_rank,
                gold_probability,
                decided_by,
                latency_ms,
                tokens,
                cost,
                error
            from eval_items
            where run_id = $1
            order by item_id",
            run_id,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(items)
    }
}
