//! Two runs on the same rows: who was right where.

use super::{Error, Store, count};

/// One cluster's rows of one category in two runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairedCell {
    /// Which cluster: a merchant, or several where there are many.
    pub cluster: i64,
    /// Which category.
    pub category: String,
    /// Rows in both runs.
    pub rows: u32,
    /// Those that both have right.
    pub both: u32,
    /// Those that the first alone has right.
    pub only_ours: u32,
    /// Those that the second alone has right.
    pub only_theirs: u32,
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
    /// Who was right, by cluster and category, on the rows that both runs have. A cluster is a merchant; where there are
    /// more than `clusters`, every so-maniest of them shares one, in the order of their bytes. A row of no known merchant
    /// stands for itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn paired_cells(&self, ours: i64, theirs: i64, clusters: u32) -> Result<Vec<PairedCell>, Error> {
        let rows = sqlx::query!(
            r#"with cells as (
                select
                    coalesce(ours.descriptor_key, theirs.descriptor_key, ours.item_id) as merchant,
                    ours.expected as category,
                    count(*) as rows,
                    count(*) filter (where ours.gold_rank = 1 and theirs.gold_rank = 1) as both_right,
                    count(*) filter (where ours.gold_rank = 1 and theirs.gold_rank is distinct from 1) as only_ours,
                    count(*) filter (where theirs.gold_rank = 1 and ours.gold_rank is distinct from 1) as only_theirs
                from eval_items as ours
                join eval_items as theirs on theirs.item_id = ours.item_id
                where ours.run_id = $1
                and theirs.run_id = $2
                group by
                    merchant,
                    category
            ), clustered as (
                select
                    (dense_rank() over (order by merchant collate "C") - 1) % $3 as cluster,
                    category,
                    rows,
                    both_right,
                    only_ours,
                    only_theirs
                from cells
            )
            select
                cluster as "cluster!",
                category as "category!",
                sum(rows)::bigint as "rows!",
                sum(both_right)::bigint as "both_right!",
                sum(only_ours)::bigint as "only_ours!",
                sum(only_theirs)::bigint as "only_theirs!"
            from clustered
            group by
                cluster,
                category
            order by
                cluster,
                category"#,
            ours,
            theirs,
            i64::from(clusters),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(PairedCell {
                    cluster: row.cluster,
                    category: row.category,
                    rows: count(row.rows, "eval_items")?,
                    both: count(row.both_right, "eval_items")?,
                    only_ours: count(row.only_ours, "eval_items")?,
                    only_theirs: count(row.only_theirs, "eval_items")?,
                })
            })
            .collect()
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
