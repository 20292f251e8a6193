//! What people said: corrections made here, and labels that came with imported data.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, Store, TransactionView, read};
use crate::domain::{Correction, CorrectionScope, Slug, TransactionId};

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

/// The row a correction is about, locked.
struct Target {
    id: String,
    posted_at: DateTime<Utc>,
    account_id: String,
    descriptor_key: String,
    direction: String,
}

impl Store {
    /// Stores a correction, brings it into force at once, closes the review item, and with the scope
    /// `AccountMerchant` leaves a rule for the rows to come. A correction of a row that another has
    /// replaced goes to that one. `None` when the id is unknown.
    ///
    /// A row whose text gave no key leaves no rule: it would catch every such row.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn correct(&self, correction: &Correction) -> Result<Option<TransactionView>, Error> {
        let mut tx = self.pool.begin().await?;
        let Some(target) = lock_latest(&mut tx, &correction.transaction_id).await? else {
            return Ok(None);
        };
        let scope = match correction.scope {
            CorrectionScope::AccountMerchant if target.descriptor_key.is_empty() => CorrectionScope::Transaction,
            scope => scope,
        };
        let category = correction.category.as_str();
        sqlx::query!(
            "insert into corrections (
                transaction_id,
                category,
                source,
                scope,
                note,
                made_by,
                made_at
            )
            values ($1, $2, 'correction', $3, $4, $5, $6)",
            target.id,
            category,
            scope.as_str(),
            correction.note,
            correction.made_by,
            correction.made_at,
        )
        .execute(&mut *tx)
        .await?;
        if scope == CorrectionScope::AccountMerchant {
            sqlx::query!(
                "insert into account_rules (
                    account_id,
                    descriptor_key,
                    direction,
                    category,
                    made_by,
                    made_at
                )
                values ($1, $2, $3, $4, $5, $6)
                on conflict (account_id, descriptor_key, direction) do update set
                    category = excluded.category,
                    made_by = excluded.made_by,
                    made_at = excluded.made_at",
                target.account_id,
                target.descriptor_key,
                target.direction,
                category,
                correction.made_by,
                correction.made_at,
            )
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query!(
            "insert into in_force (
                transaction_id,
                posted_at,
                category,
                decided_by,
                review_status
            )
            values ($1, $2, $3, 'correction', 'reviewed')
            on conflict (transaction_id) do update set
                category = excluded.category,
                decided_by = excluded.decided_by,
                review_status = excluded.review_status",
            target.id,
            target.posted_at,
            category,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "update review_items
            set
                resolved_at = $2,
                resolved_by = $3
            where transaction_id = $1
            and resolved_at is null",
            target.id,
            correction.made_at,
            correction.made_by,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let views = self.views(&[read(&target.id, "transactions.id")?]).await?;
        Ok(views.into_iter().next().flatten())
    }

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
        let mut tx = self.pool.begin().await?;
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
            "insert into corrections (
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
            returning transaction_id",
            &ids as &[&str],
            &categories as &[&str],
            &known_at,
            made_by,
        )
        .fetch_all(&mut *tx)
        .await?;
        sqlx::query!(
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
            where in_force.decided_by <> 'correction'",
            &ids as &[&str],
            &categories as &[&str],
            &new,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "update review_items
            set
                resolved_at = $2,
                resolved_by = 'import'
            where transaction_id = any($1)
            and resolved_at is null",
            &new,
            now,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(new.len() as u64)
    }
}

/// Locks the row, or the last of the rows that replaced it.
async fn lock_latest(tx: &mut PgConnection, id: &TransactionId) -> Result<Option<Target>, Error> {
    let mut id = id.as_str().to_owned();
    loop {
        let row = sqlx::query!(
            "select
                id,
                posted_at,
                account_id,
                descriptor_key,
                direction,
                replaced_by
            from transactions
            where id = $1
            for no key update",
            id,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        match row.replaced_by {
            Some(successor) => id = successor,
            None => {
                return Ok(Some(Target {
                    id: row.id,
                    posted_at: row.posted_at,
                    account_id: row.account_id,
                    descriptor_key: row.descriptor_key,
                    direction: row.direction,
                }));
            }
        }
    }
}
