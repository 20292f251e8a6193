//! Transactions as they are read: with what was said about them and what is in force.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::{Error, Store, read, read_some};
use crate::domain::{
    AccountId, ConfidenceLevel, Descriptor, DescriptorKey, InForce, Money, Prediction, Provenance, ReviewStatus, Slug,
    Transaction, TransactionId, prediction::TextHash,
};

/// A transaction, the prediction that counts, and what is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionView {
    /// The row itself.
    pub transaction: Transaction,
    /// The row that succeeded this pending one, if one did; then nothing is in force here.
    pub replaced_by: Option<TransactionId>,
    /// What the stage said last.
    pub prediction: Option<StoredPrediction>,
    /// The category that holds now.
    pub in_force: Option<InForce>,
    /// Whether a human's eye is wanted; pending as long as nothing is in force.
    pub review_status: ReviewStatus,
    /// The directory's merchant that the prediction saw.
    pub merchant: Option<ViewedMerchant>,
    /// The category in the taxonomy before, while a change of it is tried.
    pub shadow: Option<Shadow>,
}

/// A category in another taxonomy than the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// Which; none where several became the one in force.
    pub category: Option<Slug>,
    /// The taxonomy's version.
    pub taxonomy: String,
}

/// A prediction as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPrediction {
    /// Its number; later ones are greater.
    pub id: i64,
    /// What was said.
    pub prediction: Prediction,
    /// What its confidence promised, where that was known.
    pub level: Option<ConfidenceLevel>,
    /// The account rule that overruled it, if one did.
    pub rule: Option<i64>,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// A merchant of the directory, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewedMerchant {
    /// Its identifier in the directory.
    pub id: String,
    /// Its name for people; absent when the entry has gone since.
    pub name: Option<String>,
}

/// What a list of transactions is narrowed to; all that are given must hold.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    /// Of this account.
    pub account_id: Option<AccountId>,
    /// With this category in force.
    pub category: Option<Slug>,
    /// In this state of review; rows that nothing was decided on are in none.
    pub review_status: Option<ReviewStatus>,
    /// Posted at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Posted before this time.
    pub to: Option<DateTime<Utc>>,
    /// Of the merchant that statements write so, whatever else they call it.
    pub descriptor_key: Option<DescriptorKey>,
    /// Predicted with at least this confidence.
    pub min_confidence: Option<f32>,
}

/// Where a list goes on: after (that is, older than) this row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The row's time.
    pub posted_at: DateTime<Utc>,
    /// The row's identifier, which orders rows of one time.
    pub id: TransactionId,
}

impl TransactionView {
    /// The cursor that goes on after this row.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { posted_at: self.transaction.posted_at, id: self.transaction.id.clone() }
    }
}

impl Store {
    /// What is stored under an id.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn view(&self, id: &TransactionId) -> Result<Option<TransactionView>, Error> {
        Ok(self.views(std::slice::from_ref(id)).await?.into_iter().next().flatten())
    }

    /// What is stored under each id, in order; `None` where nothing is.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn views(&self, ids: &[TransactionId]) -> Result<Vec<Option<TransactionView>>, Error> {
        let texts: Vec<&str> = ids.iter().map(TransactionId::as_str).collect();
        let rows = sqlx::query_as!(
            ViewRow,
            r#"select
                transactions.id as "id!",
                transactions.account_id as "account_id!",
                transactions.posted_at as "posted_at!",
                transactions.amount as "amount!",
                transactions.currency as "currency!",
                transactions.direction as "direction!",
                transactions.descriptor as "descriptor!",
                transactions.mcc,
                transactions.country,
                transactions.channel,
                transactions.counterparty,
                transactions.status as "status!",
                transactions.replaces,
                transactions.replaced_by,
                in_force.category as "in_force_category?",
                in_force.decided_by as "decided_by?",
                in_force.review_status as "review_status?",
                predictions.id as "prediction_id?",
                predictions.category as "predicted?",
                predictions.confidence as "confidence?",
                predictions.alternatives::text as alternatives,
                predictions.evidence::text as evidence,
                predictions.stage as "stage?",
                predictions.engine as "engine?",
                predictions.taxonomy as "taxonomy?",
                predictions.text_hash as "text_hash?",
                predictions.rule_id,
                predictions.confidence_level,
                predictions.made_at as "predicted_at?",
                predictions.merchant_id,
                merchants.name as "merchant_name?",
                migration.from_taxonomy as "shadow_taxonomy?",
                coalesce(moved.from_category, line.from_category) as shadow_category
            from transactions
            left join in_force on in_force.transaction_id = transactions.id
            left join predictions on predictions.id = in_force.prediction_id
            left join merchants on merchants.id = predictions.merchant_id
            left join (
                select
                    taxonomy_migrations.run_id,
                    taxonomy_migrations.from_taxonomy
                from taxonomy_migrations
                where taxonomy_migrations.shadow
                order by taxonomy_migrations.run_id desc
                limit 1
            ) as migration on in_force.transaction_id is not null
            left join recategorization_changes as moved
                on moved.run_id = migration.run_id
                and moved.transaction_id = transactions.id
                and moved.state = 'applied'
                and moved.to_category = in_force.category
            left join taxonomy_mappings as line
                on line.run_id = migration.run_id
                and line.to_category = in_force.category
                and line.back
            where transactions.id = any($1)"#,
            &texts as &[&str],
        )
        .fetch_all(&self.pool)
        .await?;
        let mut by_id = HashMap::with_capacity(rows.len());
        for row in rows {
            let view = TransactionView::try_from(row)?;
            by_id.insert(view.transaction.id.clone(), view);
        }
        Ok(ids.iter().map(|id| by_id.get(id).cloned()).collect())
    }

    /// Transactions that pass the filter, newest first, at most `limit`, older than `after`. Rows that
    /// a later one replaced are not among them. New rows never shift a page that was begun.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn list(
        &self,
        filter: &TransactionFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<TransactionView>, Error> {
        let ids = sqlx::query_scalar!(
            "select
                transactions.id
            from transactions
            left join in_force
                on in_force.transaction_id = transactions.id
                and in_force.posted_at = transactions.posted_at
            where transactions.replaced_by is null
            and ($1::text is null or transactions.account_id = $1)
            and ($2::text is null or in_force.category = $2)
            and ($3::text is null or in_force.review_status = $3)
            and ($4::timestamptz is null or transactions.posted_at >= $4)
            and ($5::timestamptz is null or transactions.posted_at < $5)
            and ($6::text is null or transactions.descriptor_key = any((select merchant_keys($6))::text[]))
            and ($7::real is null or in_force.confidence >= $7)
            and ($8::timestamptz is null or (transactions.posted_at, transactions.id) < ($8, $9::text))
            order by
                transactions.posted_at desc,
                transactions.id desc
            limit $10",
            filter.account_id.as_ref().map(AccountId::as_str),
            filter.category.as_ref().map(Slug::as_str),
            filter.review_status.map(ReviewStatus::as_str),
            filter.from,
            filter.to,
            filter.descriptor_key.as_ref().map(DescriptorKey::as_str),
            filter.min_confidence,
            after.map(|cursor| cursor.posted_at),
            after.map(|cursor| cursor.id.as_str()),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let ids = ids.iter().map(|id| read(id, "transactions.id")).collect::<Result<Vec<_>, _>>()?;
        Ok(self.views(&ids).await?.into_iter().flatten().collect())
    }

    /// Those of the given transactions that no stage has said anything about: a call that was cut
    /// between storing and deciding left them so. Rows that a later one replaced need nothing.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn without_prediction(&self, ids: &[TransactionId]) -> Result<Vec<Transaction>, Error> {
        let texts: Vec<&str> = ids.iter().map(TransactionId::as_str).collect();
        let rows = sqlx::query_as!(
            TransactionRow,
            "select
                id,
                account_id,
                posted_at,
                amount,
                currency,
                direction,
                descriptor,
                mcc,
                country,
                channel,
                counterparty,
                status,
                replaces
            from transactions
            where id = any($1)
            and replaced_by is null
            and not exists (select from predictions where predictions.transaction_id = transactions.id)",
            &texts as &[&str],
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Transaction::try_from).collect()
    }
}

/// The columns of a transaction as the caller told it.
pub(super) struct TransactionRow {
    pub(super) id: String,
    pub(super) account_id: String,
    pub(super) posted_at: DateTime<Utc>,
    pub(super) amount: Decimal,
    pub(super) currency: String,
    pub(super) direction: String,
    pub(super) descriptor: String,
    pub(super) mcc: Option<String>,
    pub(super) country: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) counterparty: Option<String>,
    pub(super) status: String,
    pub(super) replaces: Option<String>,
}

/// A transaction out of a query's row that has all its columns: each query's row is a type of its own.
macro_rules! transaction_of {
    ($row:ident) => {
        $crate::domain::Transaction::try_from($crate::store::transactions::TransactionRow {
            id: $row.id,
            account_id: $row.account_id,
            posted_at: $row.posted_at,
            amount: $row.amount,
            currency: $row.currency,
            direction: $row.direction,
            descriptor: $row.descriptor,
            mcc: $row.mcc,
            country: $row.country,
            channel: $row.channel,
            counterparty: $row.counterparty,
            status: $row.status,
            replaces: $row.replaces,
        })
    };
}
pub(super) use transaction_of;

impl TryFrom<TransactionRow> for Transaction {
    type Error = Error;

    fn try_from(row: TransactionRow) -> Result<Self, Error> {
        Ok(Self {
            id: read(&row.id, "transactions.id")?,
            account_id: read(&row.account_id, "transactions.account_id")?,
            posted_at: row.posted_at,
            amount: money(row.amount, &row.currency)?,
            direction: read(&row.direction, "transactions.direction")?,
            descriptor: Descriptor::parse(&row.descriptor)
                .map_err(|_| Error::Corrupt { what: "transactions.descriptor" })?,
            mcc: read_some(row.mcc.as_deref(), "transactions.mcc")?,
            country: read_some(row.country.as_deref(), "transactions.country")?,
            channel: read_some(row.channel.as_deref(), "transactions.channel")?,
            counterparty: read_some(row.counterparty.as_deref(), "transactions.counterparty")?,
            status: read(&row.status, "transactions.status")?,
            replaces: read_some(row.replaces.as_deref(), "transactions.replaces")?,
        })
    }
}

/// Reads an amount back.
pub(super) fn money(amount: Decimal, currency: &str) -> Result<Money, Error> {
    Money::new(amount, read(currency, "transactions.currency")?)
        .map_err(|_| Error::Corrupt { what: "transactions.amount" })
}

struct ViewRow {
    id: String,
    account_id: String,
    posted_at: DateTime<Utc>,
    amount: Decimal,
    currency: String,
    direction: String,
    descriptor: String,
    mcc: Option<String>,
    country: Option<String>,
    channel: Option<String>,
    counterparty: Option<String>,
    status: String,
    replaces: Option<String>,
    replaced_by: Option<String>,
    in_force_category: Option<String>,
    decided_by: Option<String>,
    review_status: Option<String>,
    prediction_id: Option<i64>,
    predicted: Option<String>,
    confidence: Option<f32>,
    alternatives: Option<String>,
    evidence: Option<String>,
    stage: Option<String>,
    engine: Option<String>,
    taxonomy: Option<String>,
    text_hash: Option<Vec<u8>>,
    rule_id: Option<i64>,
    confidence_level: Option<String>,
    predicted_at: Option<DateTime<Utc>>,
    merchant_id: Option<String>,
    merchant_name: Option<String>,
    shadow_taxonomy: Option<String>,
    shadow_category: Option<String>,
}

impl TryFrom<ViewRow> for TransactionView {
    type Error = Error;

    fn try_from(mut row: ViewRow) -> Result<Self, Error> {
        let prediction = row.take_prediction()?;
        let shadow = match row.shadow_taxonomy.take() {
            None => None,
            Some(taxonomy) => {
                let category = read_some(row.shadow_category.as_deref(), "taxonomy_mappings.from_category")?;
                Some(Shadow { category, taxonomy })
            }
        };
        let in_force = match (row.in_force_category.as_deref(), row.decided_by.as_deref()) {
            (Some(category), Some(decided_by)) => Some(InForce {
                category: read(category, "in_force.category")?,
                decided_by: read(decided_by, "in_force.decided_by")?,
            }),
            _ => None,
        };
        Ok(Self {
            replaced_by: read_some(row.replaced_by.as_deref(), "transactions.replaced_by")?,
            prediction,
            in_force,
            review_status: read_some(row.review_status.as_deref(), "in_force.review_status")?
                .unwrap_or(ReviewStatus::Pending),
            merchant: row.merchant_id.map(|id| ViewedMerchant { id, name: row.merchant_name }),
            shadow,
            transaction: transaction_of!(row)?,
        })
    }
}

impl ViewRow {
    fn take_prediction(&mut self) -> Result<Option<StoredPrediction>, Error> {
        let Some(id) = self.prediction_id else { return Ok(None) };
        let corrupt = |what| move || Error::Corrupt { what };
        let text: [u8; 16] =
            self.text_hash.take().and_then(|hash| hash.try_into().ok()).ok_or_else(corrupt("predictions.text_hash"))?;
        let alternatives = self.alternatives.take().ok_or_else(corrupt("predictions.alternatives"))?;
        let evidence = self.evidence.take().ok_or_else(corrupt("predictions.evidence"))?;
        let prediction = Prediction {
            category: read(self.predicted.as_deref().unwrap_or_default(), "predictions.category")?,
            confidence: self.confidence.ok_or_else(corrupt("predictions.confidence"))?,
            alternatives: serde_json::from_str(&alternatives)
                .map_err(|_| Error::Corrupt { what: "predictions.alternatives" })?,
            evidence: serde_json::from_str(&evidence).map_err(|_| Error::Corrupt { what: "predictions.evidence" })?,
            provenance: Provenance {
                stage: self.stage.take().ok_or_else(corrupt("predictions.stage"))?,
                engine: self.engine.take().ok_or_else(corrupt("predictions.engine"))?,
                taxonomy: self.taxonomy.take().ok_or_else(corrupt("predictions.taxonomy"))?,
                text: TextHash::from_bytes(text),
            },
        };
        Ok(Some(StoredPrediction {
            id,
            prediction,
            level: read_some(self.confidence_level.as_deref(), "predictions.confidence_level")?,
            rule: self.rule_id,
            made_at: self.predicted_at.ok_or_else(corrupt("predictions.made_at"))?,
        }))
    }
}
