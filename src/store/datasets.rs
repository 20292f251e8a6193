//! Labelled sets, and what the label gate found about them.

use chrono::{DateTime, Utc};

use super::{Error, Store};

/// A labelled set to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDataset {
    /// Its name.
    pub name: String,
    /// Where its rows are: `folder`, or `store` for one made of stored transactions.
    pub source: &'static str,
    /// The version of the taxonomy that its labels are in.
    pub taxonomy: String,
    /// How many labelled rows.
    pub rows: i32,
    /// SHA-256 over them.
    pub rows_sha256: [u8; 32],
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// A row of a set that was made of stored transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetItem {
    /// Which transaction.
    pub transaction_id: String,
    /// Its label.
    pub category: String,
    /// Who gave it.
    pub labelled_by: String,
    /// Whether it passed the check.
    pub kept: bool,
}

/// What a check came to, to store beside its set.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLabelReport {
    /// Whether no check blocks.
    pub passed: bool,
    /// Rows that are kept out of what passes.
    pub quarantined: i32,
    /// SHA-256 of the manifest.
    pub manifest_sha256: [u8; 32],
    /// What training reads.
    pub manifest: serde_json::Value,
    /// What a page shows.
    pub report: serde_json::Value,
}

/// A set with its latest report in short.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDataset {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// `folder` or `store`.
    pub source: String,
    /// The version of its taxonomy.
    pub taxonomy: String,
    /// How many labelled rows.
    pub rows: i32,
    /// Of them, how many were erased since.
    pub erased_rows: i64,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
    /// Whether its latest check passed.
    pub passed: bool,
    /// Rows that the latest check kept out.
    pub quarantined: i32,
    /// When that was.
    pub checked_at: DateTime<Utc>,
}

/// A set with its latest report.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLabelReport {
    /// The set.
    pub dataset: StoredDataset,
    /// What the page shows.
    pub report: serde_json::Value,
}

impl Store {
    /// Stores a set with a report and returns its number. A set that is there already gets the report
    /// beside those it has; its rows are the same by their hash.
    ///
    /// # Errors
    /// When the database fails or a transaction is unknown; then nothing was stored.
    pub async fn insert_dataset(
        &self,
        dataset: &NewDataset,
        report: &NewLabelReport,
        items: &[DatasetItem],
    ) -> Result<i64, Error> {
        let mut tx = self.begin().await?;
        let id = sqlx::query_scalar!(
            "insert into datasets (
                name,
                source,
                taxonomy,
                rows,
                rows_sha256,
                made_by,
                made_at
            )
            values ($1, $2, $3, $4, $5, $6, $7)
            on conflict (name, rows_sha256, taxonomy) do update set
                name = excluded.name
            returning id",
            dataset.name,
            dataset.source,
            dataset.taxonomy,
            dataset.rows,
            dataset.rows_sha256.as_slice(),
            dataset.made_by,
            dataset.made_at,
        )
        .fetch_one(&mut *tx)
        .await?;
        let of = |field: fn(&DatasetItem) -> &str| items.iter().map(field).collect::<Vec<_>>();
        let kept: Vec<bool> = items.iter().map(|item| item.kept).collect();
        sqlx::query!(
            "insert into dataset_items (
                dataset_id,
                transaction_id,
                category,
                labelled_by,
                kept
            )
            select
                $1,
                item.*
            from unnest($2::text[], $3::text[], $4::text[], $5::boolean[]) as item
            on conflict (dataset_id, transaction_id) do update set
                kept = excluded.kept",
            id,
            &of(|item| &item.transaction_id) as &[&str],
            &of(|item| &item.category) as &[&str],
            &of(|item| &item.labelled_by) as &[&str],
            &kept,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "insert into label_reports (
                dataset_id,
                passed,
                quarantined,
                manifest_sha256,
                manifest,
                report,
                checked_at
            )
            values ($1, $2, $3, $4, $5, $6, $7)",
            id,
            report.passed,
            report.quarantined,
            report.manifest_sha256.as_slice(),
            report.manifest,
            report.report,
            dataset.made_at,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Every set with its latest report in short, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn datasets(&self, limit: u32) -> Result<Vec<StoredDataset>, Error> {
        Ok(self.sets(None, limit).await?.into_iter().map(|(dataset, _)| dataset).collect())
    }

    /// A set with its latest report; `None` when the number is unknown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dataset(&self, id: i64) -> Result<Option<StoredLabelReport>, Error> {
        let found = self.sets(Some(id), 1).await?.pop();
        Ok(found.and_then(|(dataset, report)| Some(StoredLabelReport { dataset, report: report? })))
    }

    /// Every set, newest first, or the one with a number, which alone comes with its latest report in full.
    async fn sets(
        &self,
        id: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(StoredDataset, Option<serde_json::Value>)>, Error> {
        let rows = sqlx::query!(
            r#"select
                datasets.id,
                datasets.name,
                datasets.source,
                datasets.taxonomy,
                datasets.rows,
                datasets.erased_rows,
                datasets.made_by,
                datasets.made_at,
                latest.passed,
                latest.quarantined,
                latest.report as "report?",
                latest.checked_at
            from datasets
            join lateral (
                select
                    label_reports.passed,
                    label_reports.quarantined,
                    case when $1::bigint is not null then label_reports.report end as report,
                    label_reports.checked_at
                from label_reports
                where label_reports.dataset_id = datasets.id
                order by label_reports.id desc
                limit 1
            ) as latest on true
            where ($1::bigint is null or datasets.id = $1)
            order by datasets.id desc
            limit $2"#,
            id,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let sets = rows.into_iter().map(|row| {
            let dataset = StoredDataset {
                id: row.id,
                name: row.name,
                source: row.source,
                taxonomy: row.taxonomy,
                rows: row.rows,
                erased_rows: row.erased_rows,
                made_by: row.made_by,
                made_at: row.made_at,
                passed: row.passed,
                quarantined: row.quarantined,
                checked_at: row.checked_at,
            };
            (dataset, row.report)
        });
        Ok(sets.collect())
    }

    /// The rows of a set that was made of stored transactions, by identifier.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dataset_items(&self, id: i64) -> Result<Vec<DatasetItem>, Error> {
        let items = sqlx::query_as!(
            DatasetItem,
            "select
                transaction_id,
                category,
                labelled_by,
                kept
            from dataset_items
            where dataset_id = $1
            order by transaction_id",
            id,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(items)
    }
}
