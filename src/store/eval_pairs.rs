//! Two runs on the same rows: who was right where.

use super::{Error, Store, count};

/// One category's rows in two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairedClass {
    /// Which category.
    pub category: String,
    /// Rows of it in both runs.
    pub rows: u32,
    /// Those that both have right.
    pub both: u32,
    /// Those that the first alone has right.
    pub only_ours: u32,
    /// Those that the second alone has right.
    pub only_theirs: u32,
}

/// One merchant's rows in two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MerchantGain {
    /// Rows.
    pub rows: i64,
    /// Rows that the first alone has right, less those that the second alone has.
    pub gain: i64,
}

/// A row that one run has right and the other wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalPair {
    /// Which row.
    pub item_id: String,
    /// Its merchant.
    pub descriptor_key: Option<String>,
    /// Its category.
    pub expected: String,
    /// What the first said.
    pub ours: String,
    /// What the second said.
    pub theirs: String,
}

impl Store {
    /// Category by category, on the rows that both runs have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn paired_classes(&self, ours: i64, theirs: i64) -> Result<Vec<PairedClass>, Error> {
        let rows = sqlx::query!(
            r#"select
                ours.expected as category,
                count(*) as "rows!",
                count(*) filter (where ours.gold_rank = 1 and theirs.gold_rank = 1) as "both!",
                count(*) filter (where ours.gold_rank = 1 and theirs.gold_rank is distinct from 1) as "only_ours!",
                count(*) filter (where theirs.gold_rank = 1 and ours.gold_rank is distinct from 1) as "only_theirs!"
            from eval_items as ours
            join eval_items as theirs on theirs.item_id = ours.item_id
            where ours.run_id = $1
            and theirs.run_id = $2
            group by ours.expected
            order by ours.expected"#,
            ours,
            theirs,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(PairedClass {
                    category: row.category,
                    rows: count(row.rows, "eval_items")?,
                    both: count(row.both, "eval_items")?,
                    only_ours: count(row.only_ours, "eval_items")?,
                    only_theirs: count(row.only_theirs, "eval_items")?,
                })
            })
            .collect()
    }

    /// Merchant by merchant, on the rows that both runs have; a row of no known merchant stands for itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn paired_merchants(&self, ours: i64, theirs: i64) -> Result<Vec<MerchantGain>, Error> {
        let gains = sqlx::query_as!(
            MerchantGain,
            r#"select
                count(*) as "rows!",
                count(*) filter (where ours.gold_rank = 1 and theirs.gold_rank is distinct from 1)
                    - count(*) filter (where theirs.gold_rank = 1 and ours.gold_rank is distinct from 1) as "gain!"
            from eval_items as ours
            join eval_items as theirs on theirs.item_id = ours.item_id
            where ours.run_id = $1
            and theirs.run_id = $2
            group by coalesce(ours.descriptor_key, theirs.descriptor_key, ours.item_id)
            order by coalesce(ours.descriptor_key, theirs.descriptor_key, ours.item_id)"#,
            ours,
            theirs,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(gains)
    }

    /// Rows that one run has right and the other wrong, by identifier, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn differing(&self, ours: i64, theirs: i64, limit: u32) -> Result<Vec<EvalPair>, Error> {
        let pairs = sqlx::query_as!(
            EvalPair,
            r#"select
                ours.item_id,
                coalesce(ours.descriptor_key, theirs.descriptor_key) as descriptor_key,
                ours.expected,
                ours.predicted as ours,
                theirs.predicted as theirs
            from eval_items as ours
            join eval_items as theirs on theirs.item_id = ours.item_id
            where ours.run_id = $1
            and theirs.run_id = $2
            and (ours.gold_rank is not distinct from 1) <> (theirs.gold_rank is not distinct from 1)
            order by ours.item_id
            limit $3"#,
            ours,
            theirs,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(pairs)
    }
}
