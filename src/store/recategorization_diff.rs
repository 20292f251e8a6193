//! What a run would change, counted.

use rust_decimal::Decimal;

use super::{Error, Store, read};
use crate::domain::{Currency, DescriptorKey, Slug};

/// Changes from one category to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePair {
    /// In force before.
    pub from: Slug,
    /// In force after.
    pub to: Slug,
    /// How many.
    pub rows: u64,
}

/// A category's rows in a scope before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedCategory {
    /// Which.
    pub category: Slug,
    /// Rows that had it in force.
    pub rows: u64,
}

/// Money of the rows that change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedMoney {
    /// In this currency (ISO 4217).
    pub currency: Currency,
    /// How much.
    pub amount: Decimal,
    /// Of how many rows.
    pub rows: u64,
}

/// Labels in a scope, and how often what was and what would be answered is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabelCounts {
    /// Labels.
    pub rows: u64,
    /// Those that were answered right before.
    pub before: u64,
    /// Those that would be answered right.
    pub after: u64,
}

/// One label of a scope beside what was and what would be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedLabel {
    /// Whether the answer before is right.
    pub before: bool,
    /// Whether the answer now is.
    pub after: bool,
    /// The row's descriptor key.
    pub key: DescriptorKey,
}

impl Store {
    /// Changes by pair of categories, most rows first.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn change_pairs(&self, run: i64) -> Result<Vec<ChangePair>, Error> {
        let rows = sqlx::query!(
            r#"select
                from_category,
                to_category,
                count(*) as "rows!"
            from recategorization_changes
            where run_id = $1
            and from_category <> to_category
            group by
                from_category,
                to_category
            order by
                3 desc,
                from_category,
                to_category"#,
            run,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ChangePair {
                    from: read(&row.from_category, "recategorization_changes.from_category")?,
                    to: read(&row.to_category, "recategorization_changes.to_category")?,
                    rows: row.rows.unsigned_abs(),
                })
            })
            .collect()
    }

    /// What was in force in a run's scope as it was looked at, by category.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn categories_before(&self, run: i64) -> Result<Vec<ChangedCategory>, Error> {
        let rows = sqlx::query!(
            "select
                category,
                rows
            from recategorization_categories
            where run_id = $1
            order by category",
            run,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let category = read(&row.category, "recategorization_categories.category")?;
                Ok(ChangedCategory { category, rows: row.rows.unsigned_abs() })
            })
            .collect()
    }

    /// Money of the rows that change, by currency, and how many accounts they are on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn moved_money(&self, run: i64) -> Result<(Vec<MovedMoney>, u64), Error> {
        let accounts = sqlx::query_scalar!(
            r#"select
                count(distinct transactions.account_id) as "accounts!"
            from recategorization_changes as changes
            join transactions on transactions.id = changes.transaction_id
            where changes.run_id = $1
            and changes.from_category <> changes.to_category"#,
            run,
        )
        .fetch_one(&self.pool)
        .await?;
        let rows = sqlx::query!(
            r#"select
                transactions.currency,
                sum(transactions.amount) as "amount!",
                count(*) as "rows!"
            from recategorization_changes as changes
            join transactions on transactions.id = changes.transaction_id
            where changes.run_id = $1
            and changes.from_category <> changes.to_category
            group by transactions.currency
            order by transactions.currency"#,
            run,
        )
        .fetch_all(&self.pool)
        .await?;
        let moved = rows.into_iter().map(|row| {
            let currency = read(&row.currency, "transactions.currency")?;
            Ok(MovedMoney { currency, amount: row.amount, rows: row.rows.unsigned_abs() })
        });
        Ok((moved.collect::<Result<_, Error>>()?, accounts.unsigned_abs()))
    }

    /// Labels in a run's scope: all, and those that nobody chose for their answer. What the engine that answers has at hand
    /// is in neither; how many these are comes beside them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn label_counts(&self, run: i64) -> Result<([LabelCounts; 2], u64), Error> {
        let row = sqlx::query!(
            r#"select
                count(*) filter (where not seen) as "rows!",
                count(*) filter (where not seen and before = category) as "before!",
                count(*) filter (where not seen and after = category) as "after!",
                count(*) filter (where not seen and at_random) as "random!",
                count(*) filter (where not seen and at_random and before = category) as "random_before!",
                count(*) filter (where not seen and at_random and after = category) as "random_after!",
                count(*) filter (where seen) as "seen!"
            from recategorization_labels
            where run_id = $1"#,
            run,
        )
        .fetch_one(&self.pool)
        .await?;
        let of = |rows: i64, before: i64, after: i64| LabelCounts {
            rows: rows.unsigned_abs(),
            before: before.unsigned_abs(),
            after: after.unsigned_abs(),
        };
        let counts = [of(row.rows, row.before, row.after), of(row.random, row.random_before, row.random_after)];
        Ok((counts, row.seen.unsigned_abs()))
    }

    /// Labels in a run's scope row by row, or those that nobody chose for their answer, less what the engine that answers
    /// has at hand; where there are more than
    /// `limit`, always the same ones, whatever they say.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn compared_labels(
        &self,
        run: i64,
        only_at_random: bool,
        limit: u32,
    ) -> Result<Vec<ComparedLabel>, Error> {
        let rows = sqlx::query!(
            r#"select
                labels.before = labels.category as "before!",
                labels.after = labels.category as "after!",
                transactions.descriptor_key
            from recategorization_labels as labels
            join transactions on transactions.id = labels.transaction_id
            where labels.run_id = $1
            and not labels.seen
            and (labels.at_random or not $2)
            order by
                md5(labels.transaction_id),
                labels.transaction_id
            limit $3"#,
            run,
            only_at_random,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let label = |before, after, key: &str| ComparedLabel { before, after, key: DescriptorKey::from_stored(key) };
        Ok(rows.into_iter().map(|row| label(row.before, row.after, &row.descriptor_key)).collect())
    }
}
