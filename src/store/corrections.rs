//! Labels that came with imported data; what people say here is in [`super::review_decisions`].

use chrono::{DateTime, Utc};

use super::{Error, Store};
use crate::domain::{Slug, TransactionId};

/// A label that came with the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedLabel {
    /// Of which transaction.
    pub transaction_id: TransactionId,
    /// What it says.
    pub category: Slug,
    /// Since when it was known; it counts in the histories of transactions posted later.
    pub known_at: DateTime<Utc>,
}

impl Store {
    /// Stores labels that came with the data, and brings them into force where no correction is. A
    /// label that is stored already is left alone, and one of an unknown transaction is passed over:
    /// returns how many are new.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn import_labels(
        &self,
        labels: &[ImportedLabel],
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let mut labels: Vec<&ImportedLabel> = labels.iter().collect();
        labels.sort_by(|a, b| a.transaction_id.cmp(&b.transaction_id).then(b.known_at.cmp(&a.known_at)));
        labels.dedup_by(|a, b| a.transaction_id == b.transaction_id);
        let ids: Vec<&str> = labels.iter().map(|label| label.transaction_id.as_str()).collect();
        let categories: Vec<&str> = labels.iter().map(|label| label.category.as_str()).collect();
        let known_at: Vec<DateTime<Utc>> = labels.iter().map(|label| label.known_at).collect();
        let mut tx = self.begin().await?;
        sqlx::query!(
            "select
                id
            from transactions
            where id = any($1)
            order by id
            for no key update",
            &ids as &[&str],
        )
        .fetch_all(&mut *tx)
        .await?;
        let new = sqlx::query_scalar!(
            r#"insert into corrections_made (
                transaction_id,
                category,
                source,
                scope,
                made_by,
                made_at
            )
            select
                transactions.id,
                told.category,
                'import',
                'transaction',
                $4,
                told.known_at
            from unnest($1::text[], $2::text[], $3::timestamptz[]) as told(id, category, known_at)
            join transactions on transactions.id = told.id
            where not exists (
                select
                from corrections as before
                where before.transaction_id = told.id
                and before.source = 'import'
                and before.category = told.category
            )
            returning transaction_id as "transaction_id!""#,
            &ids as &[&str],
            &categories as &[&str],
            &known_at,
            made_by,
        )
        .fetch_all(&mut *tx)
        .await?;
        let labelled = sqlx::query_scalar!(
            "insert into in_force (
                transaction_id,
                posted_at,
                category,
                decided_by,
                review_status
            )
            select
                transactions.id,
                transactions.posted_at,
                told.category,
                'import',
                'reviewed'
            from unnest($1::text[], $2::text[]) as told(id, category)
            join transactions on transactions.id = told.id
            where transactions.replaced_by is null
            and told.id = any($3)
            order by transactions.id
            on conflict (transaction_id) do update set
                category = excluded.category,
                decided_by = excluded.decided_by,
                review_status = excluded.review_status
            where in_force.decided_by <> 'correction'
            returning transaction_id",
            &ids as &[&str],
            &categories as &[&str],
            &new,
        )
        .fetch_all(&mut *tx)
        .await?;
        // Where a correction holds, a complaint about it still waits.
        sqlx::query!(
            "update review_items
            set
                resolved_at = $2,
                resolved_by = 'import'
            where transaction_id = any($1)
            and resolved_at is null",
            &labelled,
            now,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(new.len() as u64)
    }
}
