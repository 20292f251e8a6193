//! What engines said, and how it comes into force.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::{Error, Rule, Store, past_deadlocks};
use crate::domain::{
    ConfidenceLevel, Prediction, ReviewReason, Slug, TransactionId,
    prediction::{Evidence, Scored},
};

/// What a stage said about one transaction, and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// About which.
    pub transaction_id: TransactionId,
    /// What the stage itself said.
    pub prediction: Prediction,
    /// The text the engine saw, whose hash the prediction names.
    pub text: String,
    /// The directory's merchant.
    pub merchant_id: Option<String>,
    /// The account rule that overrules the stage; its category comes into force.
    pub rule: Option<Rule>,
    /// What the prediction's confidence promises, where that is known.
    pub level: Option<ConfidenceLevel>,
    /// Why a human's eye is wanted, if it is.
    pub review: Option<ReviewReason>,
}

impl Decision {
    /// The category that comes into force where no human has spoken of this transaction.
    #[must_use]
    pub fn category(&self) -> &Slug {
        self.rule.as_ref().map_or(&self.prediction.category, |rule| &rule.category)
    }
}

impl Store {
    /// Stores predictions and brings them into force where no human has spoken, in one database
    /// transaction. Opens and closes review items to match. Where an id comes twice, the last counts.
    ///
    /// # Errors
    /// When the database fails or an id is unknown; then nothing was stored.
    pub async fn record(&self, decisions: &[Decision], now: DateTime<Utc>) -> Result<(), Error> {
        if decisions.is_empty() {
            return Ok(());
        }
        past_deadlocks(|| self.record_once(decisions, now).boxed()).await
    }

    async fn record_once(&self, decisions: &[Decision], now: DateTime<Utc>) -> Result<(), Error> {
        let mut tx = self.begin_for_rows().await?;
        // One order for everybody keeps two overlapping calls from waiting for each other; stable, so
        // that the last of an id stays last.
        let mut decisions: Vec<&Decision> = decisions.iter().collect();
        decisions.sort_by(|a, b| a.transaction_id.cmp(&b.transaction_id));
        let mut texts: Vec<(&[u8], &str)> = decisions
            .iter()
            .map(|decision| (decision.prediction.provenance.text.as_bytes().as_slice(), decision.text.as_str()))
            .collect();
        texts.sort_unstable();
        texts.dedup_by_key(|(hash, _)| *hash);
        let (hashes, texts): (Vec<&[u8]>, Vec<&str>) = texts.into_iter().unzip();
        sqlx::query!(
            "insert into rendered_texts (
                hash,
                text
            )
            select
                seen.hash,
                seen.text
            from unnest($1::bytea[], $2::text[]) as seen(hash, text)
            on conflict (hash) do nothing",
            &hashes as &[&[u8]],
            &texts as &[&str],
        )
        .execute(&mut *tx)
        .await?;
        let prediction_ids = insert_predictions(&mut tx, &decisions, now).await?;
        let review = |decision: &&Decision| decision.review.map(|reason| reason.as_str().to_owned());
        let brought: Vec<Brought> = (prediction_ids.into_iter().zip(&decisions))
            .map(|(prediction_id, decision)| Brought { prediction_id, review: review(decision) })
            .collect();
        bring_into_force(&mut tx, &brought, now).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A prediction that comes into force, and why a human's eye is wanted, if it is.
pub(super) struct Brought {
    pub(super) prediction_id: i64,
    pub(super) review: Option<String>,
}

/// Appends the predictions and returns their numbers in the order of `decisions`.
async fn insert_predictions(
    tx: &mut sqlx::PgConnection,
    decisions: &[&Decision],
    now: DateTime<Utc>,
) -> Result<Vec<i64>, Error> {
    let alternatives: Vec<Json<&[Scored]>> =
        decisions.iter().map(|decision| Json(decision.prediction.alternatives.as_slice())).collect();
    let evidence: Vec<Json<&[Evidence]>> =
        decisions.iter().map(|decision| Json(decision.prediction.evidence.as_slice())).collect();
    let of = |field: fn(&Decision) -> &str| decisions.iter().map(|decision| field(decision)).collect::<Vec<_>>();
    let confidences: Vec<f32> = decisions.iter().map(|decision| decision.prediction.confidence).collect();
    let hashes: Vec<&[u8]> =
        decisions.iter().map(|decision| decision.prediction.provenance.text.as_bytes().as_slice()).collect();
    let merchants: Vec<Option<&str>> = decisions.iter().map(|decision| decision.merchant_id.as_deref()).collect();
    let rules: Vec<Option<i64>> = decisions.iter().map(|decision| decision.rule.as_ref().map(|rule| rule.id)).collect();
    let levels: Vec<Option<&str>> =
        decisions.iter().map(|decision| decision.level.map(ConfidenceLevel::as_str)).collect();
    // Numbers are given in the order of the rows, and come back sorted.
    let mut ids = sqlx::query_scalar!(
        "insert into predictions (
            transaction_id,
            category,
            confidence,
            alternatives,
            evidence,
            stage,
            engine,
            taxonomy,
            text_hash,
            merchant_id,
            rule_id,
            confidence_level,
            made_at
        )
        select
            said.transaction_id,
            said.category,
            said.confidence,
            said.alternatives,
            said.evidence,
            said.stage,
            said.engine,
            said.taxonomy,
            said.text_hash,
            said.merchant_id,
            said.rule_id,
            said.confidence_level,
            $13
        from unnest(
            $1::text[],
            $2::text[],
            $3::real[],
            $4::jsonb[],
            $5::jsonb[],
            $6::text[],
            $7::text[],
            $8::text[],
            $9::bytea[],
            $10::text[],
            $11::bigint[],
            $12::text[]
        ) with ordinality as said(
            transaction_id,
            category,
            confidence,
            alternatives,
            evidence,
            stage,
            engine,
            taxonomy,
            text_hash,
            merchant_id,
            rule_id,
            confidence_level,
            position
        )
        order by said.position
        returning id",
        &of(|decision| decision.transaction_id.as_str()) as &[&str],
        &of(|decision| decision.prediction.category.as_str()) as &[&str],
        &confidences,
        &alternatives as &[Json<&[Scored]>],
        &evidence as &[Json<&[Evidence]>],
        &of(|decision| &decision.prediction.provenance.stage) as &[&str],
        &of(|decision| &decision.prediction.provenance.engine) as &[&str],
        &of(|decision| &decision.prediction.provenance.taxonomy) as &[&str],
        &hashes as &[&[u8]],
        &merchants as &[Option<&str>],
        &rules as &[Option<i64>],
        &levels as &[Option<&str>],
        now,
    )
    .fetch_all(tx)
    .await?;
    ids.sort_unstable();
    Ok(ids)
}

/// Makes the predictions count, except where a human has spoken or a later row has taken over.
pub(super) async fn bring_into_force(
    tx: &mut sqlx::PgConnection,
    brought: &[Brought],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let prediction_ids: Vec<i64> = brought.iter().map(|of| of.prediction_id).collect();
    let reasons: Vec<Option<&str>> = brought.iter().map(|of| of.review.as_deref()).collect();
    sqlx::query!(
        "insert into in_force (
            transaction_id,
            posted_at,
            category,
            decided_by,
            prediction_id,
            confidence,
            review_status
        )
        select distinct on (row.id)
            row.id,
            row.posted_at,
            coalesce(rule.category, prediction.category),
            coalesce(rule.decided_by, 'stage'),
            prediction.id,
            prediction.confidence,
            case when said.reason is null then 'accepted' else 'pending' end
        from unnest($1::bigint[], $2::text[]) as said(prediction_id, reason)
        cross join lateral (
            select
                predictions.id,
                predictions.transaction_id,
                predictions.category,
                predictions.confidence,
                predictions.rule_id
            from predictions
            where predictions.id = said.prediction_id
            offset 0
        ) as prediction
        cross join lateral (
            select
                transactions.id,
                transactions.posted_at,
                transactions.replaced_by
            from transactions
            where transactions.id = prediction.transaction_id
            offset 0
        ) as row
        left join lateral (
            select
                account_rules.category,
                account_rules.decided_by
            from account_rules
            where account_rules.id = prediction.rule_id
            offset 0
        ) as rule on true
        where row.replaced_by is null
        order by
            row.id,
            prediction.id desc
        on conflict (transaction_id) do update set
            prediction_id = excluded.prediction_id,
            confidence = excluded.confidence,
            category = case
                when in_force.decided_by in ('correction', 'import')
                    or in_force.review_status = 'reviewed' then in_force.category
                else excluded.category
            end,
            decided_by = case
                when in_force.decided_by in ('correction', 'import')
                    or in_force.review_status = 'reviewed' then in_force.decided_by
                else excluded.decided_by
            end,
            review_status = case
                when in_force.decided_by in ('correction', 'import')
                    or in_force.review_status = 'reviewed' then in_force.review_status
                else excluded.review_status
            end",
        &prediction_ids,
        &reasons as &[Option<&str>],
    )
    .execute(&mut *tx)
    .await?;
    if reasons.iter().any(Option::is_some) {
        ask_about(tx, &prediction_ids, &reasons, now).await?;
    }
    sqlx::query!(
        "update review_items
        set
            resolved_at = $2,
            resolved_by = 'prediction'
        where resolved_at is null
        and transaction_id = any(array(
            select stands.transaction_id
            from unnest($1::bigint[]) as said(prediction_id)
            cross join lateral (
                select
                    in_force.transaction_id,
                    in_force.review_status
                from in_force
                where in_force.prediction_id = said.prediction_id
                offset 0
            ) as stands
            where stands.review_status = 'accepted'
        ))",
        &prediction_ids,
        now,
    )
    .persistent(false)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Opens review items for those of the predictions that came into force with a reason to.
async fn ask_about(
    tx: &mut sqlx::PgConnection,
    prediction_ids: &[i64],
    reasons: &[Option<&str>],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
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
            row.id,
            said.reason,
            review_group_key(said.reason, row.direction, row.descriptor_key, row.id),
            case said.reason when 'unanswered' then 1 else 1 - stands.confidence end,
            row.amount,
            row.currency,
            $3
        from unnest($1::bigint[], $2::text[]) as said(prediction_id, reason)
        cross join lateral (
            select
                in_force.transaction_id,
                in_force.confidence,
                in_force.review_status
            from in_force
            where in_force.prediction_id = said.prediction_id
            offset 0
        ) as stands
        cross join lateral (
            select
                transactions.id,
                transactions.direction,
                transactions.descriptor_key,
                transactions.amount,
                transactions.currency
            from transactions
            where transactions.id = stands.transaction_id
            offset 0
        ) as row
        where stands.review_status = 'pending'
        and said.reason is not null
        order by row.id
        on conflict (transaction_id) do update set
            reason = excluded.reason,
            group_key = excluded.group_key,
            doubt = excluded.doubt,
            amount = excluded.amount,
            currency = excluded.currency,
            opened_at = case
                when review_items.resolved_at is null then review_items.opened_at
                else excluded.opened_at
            end,
            resolved_at = null,
            resolved_by = null",
        prediction_ids,
        reasons as &[Option<&str>],
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}
