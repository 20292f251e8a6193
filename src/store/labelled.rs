//! What people said, as a labelled set; and recent traffic, to compare such a set with.

use chrono::{DateTime, Utc};

use super::{Error, Store, read, transactions::transaction_of};
use crate::domain::{DecidedBy, DescriptorKey, Direction, Slug, Transaction};

/// A transaction with the label that a person gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledTransaction {
    /// The row itself.
    pub transaction: Transaction,
    /// The label in force.
    pub category: Slug,
    /// Who said so.
    pub labelled_by: String,
    /// Whether nobody chose the row for its answer.
    pub at_random: bool,
}

/// A transaction whose predicted category a person corrected to another.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrectedTransaction {
    /// The row itself.
    pub transaction: Transaction,
    /// What was predicted last.
    pub predicted: Slug,
    /// The label in force.
    pub category: Slug,
}

/// Transactions of a stretch of time, counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// Rows by category in force, most frequent first.
    pub categories: Vec<(Slug, u64)>,
    /// Rows by descriptor key, most frequent first.
    pub keys: Vec<(DescriptorKey, u64)>,
}

impl Store {
    /// Transactions whose category in force a person gave, newest first, at most `limit`. Rows that a
    /// later one replaced are not among them.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn labelled(&self, limit: u32) -> Result<Vec<LabelledTransaction>, Error> {
        let rows = sqlx::query!(
            r#"select
                transactions.id,
                transactions.account_id,
                transactions.posted_at,
                transactions.amount,
                transactions.currency,
                transactions.direction,
                transactions.descriptor,
                transactions.mcc,
                transactions.country,
                transactions.channel,
                transactions.counterparty,
                transactions.status,
                transactions.replaces,
                in_force.category,
                in_force.decided_by,
                said.made_by as "made_by!",
                exists (
                    select
                    from review_items
                    where review_items.transaction_id = transactions.id
                    and review_items.reason = 'audit'
                ) as "audited!"
            from in_force
            join transactions on transactions.id = in_force.transaction_id
            join lateral (
                select
                    corrections.made_by
                from corrections
                where corrections.transaction_id = in_force.transaction_id
                and corrections.category = in_force.category
                order by corrections.id desc
                limit 1
            ) as said on true
            where in_force.decided_by in ('correction', 'import')
            and transactions.replaced_by is null
            order by
                in_force.posted_at desc,
                in_force.transaction_id desc
            limit $1"#,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let transaction = transaction_of!(row)?;
                let category = read(&row.category, "in_force.category")?;
                let decided_by: DecidedBy = read(&row.decided_by, "in_force.decided_by")?;
                let at_random = decided_by.is_at_random(row.audited);
                Ok(LabelledTransaction { transaction, category, labelled_by: row.made_by, at_random })
            })
            .collect()
    }

    /// Transactions whose category in force a person gave and beside which another prediction stands, newest first, at
    /// most `limit`. Rows that a later one replaced are not among them.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn corrected(&self, limit: u32) -> Result<Vec<CorrectedTransaction>, Error> {
        let rows = sqlx::query!(
            r#"select
                transactions.id,
                transactions.account_id,
                transactions.posted_at,
                transactions.amount,
                transactions.currency,
                transactions.direction,
                transactions.descriptor,
                transactions.mcc,
                transactions.country,
                transactions.channel,
                transactions.counterparty,
                transactions.status,
                transactions.replaces,
                in_force.category,
                said.category as predicted
            from in_force
            join transactions on transactions.id = in_force.transaction_id
            join predictions as said on said.id = in_force.prediction_id
            where in_force.decided_by = 'correction'
            and said.category <> in_force.category
            and transactions.replaced_by is null
            order by
                in_force.posted_at desc,
                in_force.transaction_id desc
            limit $1"#,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let transaction = transaction_of!(row)?;
                let predicted = read(&row.predicted, "predictions.category")?;
                Ok(CorrectedTransaction { transaction, predicted, category: read(&row.category, "in_force.category")? })
            })
            .collect()
    }

    /// Labels after a place in their order, of rows that no later one replaced: place, statement text, direction
    /// and category. Of more than `limit` the newest; in the order they were given.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn labels_after(&self, place: i64, limit: u32) -> Result<Vec<(i64, String, Direction, Slug)>, Error> {
        let rows = sqlx::query!(
            r#"select
                corrections.id as "id!",
                transactions.descriptor,
                transactions.direction,
                corrections.category as "category!"
            from corrections
            join transactions on transactions.id = corrections.transaction_id
            where corrections.id > $1
            and transactions.replaced_by is null
            order by corrections.id desc
            limit $2"#,
            place,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .rev()
            .map(|row| {
                let direction = read(&row.direction, "transactions.direction")?;
                Ok((row.id, row.descriptor, direction, read(&row.category, "corrections.category")?))
            })
            .collect()
    }

    /// Tells whether labels went, taken back or erased with their rows: it is another number then, and only grows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdrawn_labels(&self) -> Result<i64, Error> {
        let version = sqlx::query_scalar!(
            r#"select
                coalesce(sum(version), 0)::bigint as "version!"
            from table_versions
            where table_name in ('corrections_made', 'corrections_withdrawn')"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(version)
    }

    /// Transactions posted at this time or later, by category in force and by key.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn traffic(&self, since: DateTime<Utc>) -> Result<Traffic, Error> {
        let categories = sqlx::query!(
            r#"select
                category,
                count(*) as "rows!"
            from in_force
            where posted_at >= $1
            group by category
            order by
                count(*) desc,
                category"#,
            since,
        )
        .fetch_all(&self.pool)
        .await?;
        let keys = sqlx::query!(
            r#"select
                descriptor_key,
                count(*) as "rows!"
            from transactions
            where replaced_by is null
            and posted_at >= $1
            group by descriptor_key
            order by
                count(*) desc,
                descriptor_key"#,
            since,
        )
        .fetch_all(&self.pool)
        .await?;
        let rows = |rows: i64| u64::try_from(rows).map_err(|_| Error::Corrupt { what: "a count" });
        Ok(Traffic {
            categories: categories
                .into_iter()
                .map(|row| Ok((read(&row.category, "in_force.category")?, rows(row.rows)?)))
                .collect::<Result<_, Error>>()?,
            keys: keys
                .into_iter()
                .map(|row| Ok((DescriptorKey::from_stored(&row.descriptor_key), rows(row.rows)?)))
                .collect::<Result<_, Error>>()?,
        })
    }
}
