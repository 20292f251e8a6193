//! Taking rows out of every table that holds something of them: all of an account's, or those that are too old.
//!
//! What others rest on is unlinked and stays: events keep their place in the feed, decisions their place in the trail, figures their
//! counts. What only the erased rows said goes. Everything of one call is one database transaction.

mod answers;
mod desk;
mod texts;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{Error, Store, idempotent_answers::erase_answers, past_deadlocks, tell_actor};
use crate::domain::AccountId;

/// What stands where an erased identifier or text stood.
const ERASED: &str = "erased";

/// Who erases, and how what was erased is proved.
#[derive(Debug, Clone)]
pub struct NewErasure {
    /// Random bytes.
    pub salt: [u8; 16],
    /// SHA-256 over the salt and the account's identifier.
    pub digest: [u8; 32],
    /// Who.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// Something that was made of rows which are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedFrom {
    /// Its number.
    pub id: i64,
    /// Its name; of an adapter with the version.
    pub name: String,
    /// Of its rows, how many were erased, all erasures together.
    pub erased_rows: i64,
}

/// What an erasure took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erased {
    /// Transactions.
    pub transactions: i64,
    /// What people said of them.
    pub labels: i64,
    /// Rules of the account.
    pub rules: i64,
    /// Labelled sets that held some of the rows.
    pub datasets: Vec<LearnedFrom>,
    /// Adapters that were trained on such a set.
    pub adapters: Vec<LearnedFrom>,
}

impl Store {
    /// Erases an account: its transactions with all that was said of them, its rules and its group. None where nothing of it is
    /// here.
    ///
    /// # Errors
    /// When the database fails; then nothing was erased.
    pub async fn erase_account(&self, account: &AccountId, erasure: &NewErasure) -> Result<Option<Erased>, Error> {
        past_deadlocks(|| self.erase_account_once(account, erasure).boxed()).await
    }

    async fn erase_account_once(&self, account: &AccountId, erasure: &NewErasure) -> Result<Option<Erased>, Error> {
        // Replaced rows are in no index by account: this reads the table, and all that follows looks rows up.
        let ids = sqlx::query_scalar!("select id from transactions where account_id = $1", account.as_str())
            .fetch_all(&self.pool)
            .await?;
        let mut tx = self.begin_for_rows().await?;
        tell_actor(&mut tx, &erasure.made_by).await?;
        let mut erased = forget(&mut tx, &ids, Some(account.as_str())).await?;
        erased.rules = desk::rules(&mut tx, account.as_str()).await?;
        let grouped = sqlx::query!("delete from account_groups where account_id = $1", account.as_str())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if ids.is_empty() && erased.rules == 0 && grouped == 0 {
            return Ok(None);
        }
        let numbers = |of: &[LearnedFrom]| of.iter().map(|one| one.id).collect::<Vec<i64>>();
        sqlx::query!(
            "insert into erasures (
                salt,
                digest,
                transactions,
                labels,
                rules,
                datasets,
                adapters,
                made_by,
                made_at
            )
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            erasure.salt.as_slice(),
            erasure.digest.as_slice(),
            erased.transactions,
            erased.labels,
            erased.rules,
            &numbers(&erased.datasets),
            &numbers(&erased.adapters),
            erasure.made_by,
            erasure.made_at,
        )
        .execute(&mut *tx)
        .await?;
        erase_answers(&mut tx).await?;
        tx.commit().await?;
        Ok(Some(erased))
    }

    /// Forgets transactions posted before a time, at most `limit`, with all that was said of them; returns how many. A row that
    /// another replaced goes with that one.
    ///
    /// # Errors
    /// When the database fails; then none was forgotten.
    pub async fn forget_transactions(&self, before: DateTime<Utc>, limit: u32, by: &str) -> Result<i64, Error> {
        past_deadlocks(|| self.forget_transactions_once(before, limit, by).boxed()).await
    }

    async fn forget_transactions_once(&self, before: DateTime<Utc>, limit: u32, by: &str) -> Result<i64, Error> {
        let mut tx = self.begin_for_rows().await?;
        tell_actor(&mut tx, by).await?;
        let ids = sqlx::query_scalar!(
            r#"with old as (
                select id
                from transactions
                where posted_at < $1
                and replaced_by is null
                order by posted_at, id
                limit $2
            )
            select id as "id!" from old
            union
            select id from transactions where replaced_by in (select id from old)"#,
            before,
            i64::from(limit),
        )
        .fetch_all(&mut *tx)
        .await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let erased = forget(&mut tx, &ids, None).await?;
        tx.commit().await?;
        Ok(erased.transactions)
    }
}

/// Takes these transactions out of every table.
async fn forget(tx: &mut PgConnection, ids: &[String], account: Option<&str>) -> Result<Erased, Error> {
    sqlx::query_scalar!("select set_config('txcat.erasing', 'yes', true)").fetch_one(&mut *tx).await?;
    let gone = texts::gone(tx, ids, account).await?;
    let groups = desk::groups(tx, ids, &gone.keys).await?;
    let (datasets, adapters) = mark_learned(tx, ids).await?;
    let labels = desk::decisions(tx, ids, &gone.keys, &groups.gone).await?;
    answers::runs(tx, ids, account).await?;
    answers::predictions(tx, ids).await?;
    desk::merchants(tx, &gone.keys).await?;
    let transactions =
        sqlx::query!("delete from transactions where id = any($1)", ids).execute(&mut *tx).await?.rows_affected();
    desk::waiting(tx, &groups.touched).await?;
    texts::reports(tx, &gone.needles).await?;
    if labels > 0 {
        texts::cited(tx, &gone.labelled).await?;
    }
    sqlx::query_scalar!("select set_config('txcat.erasing', '', true)").fetch_one(&mut *tx).await?;
    Ok(Erased { transactions: i64::try_from(transactions).unwrap_or(i64::MAX), labels, rules: 0, datasets, adapters })
}

/// Marks the sets that hold such rows, and the adapters that were trained on one of them.
async fn mark_learned(tx: &mut PgConnection, ids: &[String]) -> Result<(Vec<LearnedFrom>, Vec<LearnedFrom>), Error> {
    let adapters = sqlx::query_as!(
        LearnedFrom,
        r#"with held as (
            select
                encode(label_reports.manifest_sha256, 'hex') as manifest,
                count(distinct dataset_items.transaction_id) as rows
            from dataset_items
            join label_reports on label_reports.dataset_id = dataset_items.dataset_id
            where dataset_items.transaction_id = any($1)
            group by label_reports.manifest_sha256
        )
        update adapters
        set
            erased_rows = adapters.erased_rows + held.rows
        from held
        where adapters.label_manifest = held.manifest
        returning
            adapters.id,
            adapters.name || '@' || adapters.version as "name!",
            adapters.erased_rows"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let datasets = sqlx::query_as!(
        LearnedFrom,
        "with gone as (
            delete from dataset_items
            where transaction_id = any($1)
            returning dataset_id
        ), held as (
            select
                dataset_id,
                count(*) as rows
            from gone
            group by dataset_id
        )
        update datasets
        set
            erased_rows = datasets.erased_rows + held.rows
        from held
        where datasets.id = held.dataset_id
        returning
            datasets.id,
            datasets.name,
            datasets.erased_rows",
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok((datasets, adapters))
}
