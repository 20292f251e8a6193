//! The preview of a run, page by page: rows of its scope out, proposals in.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{
    AnswerSources, Decision, Error, Recategorization, ScopeCursor, Store, read, recategorization_scope::ScopeFilter,
    transactions::transaction_of,
};
use crate::domain::{DecidedBy, Slug, Transaction, TransactionId};

/// A row of a scope, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopedRow {
    /// The row itself.
    pub transaction: Transaction,
    /// The category in force.
    pub category: Slug,
    /// Whose word that is.
    pub decided_by: DecidedBy,
    /// What a stage said last.
    pub predicted: Slug,
    /// The taxonomy that it said it in.
    pub taxonomy: String,
    /// Whether nobody chose the row for its answer when it was labelled.
    pub at_random: bool,
    /// Everything that is in force, as stored.
    pub before: serde_json::Value,
}

/// A row whose category in force would change.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// What was said now, and what follows from it.
    pub decision: Decision,
    /// When the row was posted.
    pub posted_at: DateTime<Utc>,
    /// The category in force.
    pub from: Slug,
    /// The category that would come into force.
    pub to: Slug,
    /// Everything that is in force, as stored.
    pub before: serde_json::Value,
}

/// A row that a person has spoken about, with what is said of it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelAsked {
    /// Which row.
    pub transaction_id: TransactionId,
    /// What the person said.
    pub category: Slug,
    /// What a stage said before.
    pub before: Slug,
    /// What is said now.
    pub after: Slug,
    /// Whether nobody chose the row for its answer.
    pub at_random: bool,
    /// Who says it now.
    pub engine: String,
    /// Whether it has this label at hand. Those of a registered adapter the registry tells: all that were there when it came.
    pub seen: bool,
}

/// What became of a page's rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageDone {
    /// Where the page ended; none when failed rows were tried again.
    pub cursor: Option<ScopeCursor>,
    /// Where the answers came from.
    pub sources: AnswerSources,
    /// Rows by category in force.
    pub categories: BTreeMap<Slug, u32>,
    /// Rows that a person has spoken about.
    pub people: u32,
    /// Rows that an account rule decides.
    pub rules: u32,
    /// Rows that would change.
    pub proposals: Vec<Proposal>,
    /// Labels to compare by.
    pub labels: Vec<LabelAsked>,
    /// Rows that could not be answered, and why.
    pub failures: Vec<(TransactionId, String)>,
    /// Rows that failed before and don't any more.
    pub mended: Vec<TransactionId>,
}

impl Store {
    /// The next rows of a run's scope after a cursor, in the order of account, time and identifier, at most `limit`; or
    /// those of the given ids that are in the scope.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn recategorization_page(
        &self,
        run: &Recategorization,
        after: Option<&ScopeCursor>,
        only: Option<&[TransactionId]>,
        limit: u32,
    ) -> Result<Vec<ScopedRow>, Error> {
        let filter = ScopeFilter::from(&run.run.scope);
        let after = after.filter(|_| only.is_none());
        let only: Option<Vec<String>> = only.map(|ids| ids.iter().map(TransactionId::to_string).collect());
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
                predictions.category as predicted,
                predictions.taxonomy,
                exists (
                    select
                    from review_items
                    where review_items.transaction_id = transactions.id
                    and review_items.reason = 'audit'
                ) as "audited!",
                to_jsonb(in_force) as "before!"
            from transactions
            join in_force on in_force.transaction_id = transactions.id
            join predictions on predictions.id = in_force.prediction_id
            where transactions.replaced_by is null
            and predictions.id <= $1
            and ($2::timestamptz is null or transactions.posted_at >= $2)
            and ($3::timestamptz is null or transactions.posted_at < $3)
            and ($4::text[] is null or transactions.account_id = any($4))
            and ($5::text[] is null or transactions.descriptor_key = any($5))
            and ($6::text[] is null or in_force.category = any($6))
            and ($7::text[] is null or predictions.engine = any($7))
            and ($8::real is null or predictions.confidence < $8)
            and (
                $9::text is null
                or (transactions.account_id, transactions.posted_at, transactions.id) > ($9, $10::timestamptz, $11::text)
            )
            and ($12::text[] is null or transactions.id = any($12))
            order by
                transactions.account_id,
                transactions.posted_at,
                transactions.id
            limit $13"#,
            run.upto_prediction,
            filter.from,
            filter.to,
            filter.accounts as Option<Vec<String>>,
            filter.keys as Option<Vec<String>>,
            filter.categories as Option<Vec<String>>,
            filter.engines as Option<Vec<String>>,
            filter.below,
            after.map(|cursor| cursor.account_id.as_str()),
            after.map(|cursor| cursor.posted_at),
            after.map(|cursor| cursor.id.as_str()),
            only as Option<Vec<String>>,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let decided_by: DecidedBy = read(&row.decided_by, "in_force.decided_by")?;
                Ok(ScopedRow {
                    category: read(&row.category, "in_force.category")?,
                    decided_by,
                    predicted: read(&row.predicted, "predictions.category")?,
                    taxonomy: row.taxonomy,
                    at_random: decided_by.is_at_random(row.audited),
                    before: row.before,
                    transaction: transaction_of!(row)?,
                })
            })
            .collect()
    }

    /// Keeps what became of a page that begins at `from`, and where it ended, in one database transaction. Tells whether
    /// the run still stood there; otherwise another process is at it, and nothing was stored. What was previewed before no
    /// longer is: its diff does not count the page.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn put_recategorization_page(
        &self,
        run: i64,
        from: Option<&ScopeCursor>,
        page: &PageDone,
    ) -> Result<bool, Error> {
        let seen: u32 = page.categories.values().sum();
        let rows = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
        let mut tx = self.begin().await?;
        let moved = sqlx::query!(
            "update recategorizations
            set
                phase = 'predicting',
                cursor_account_id = coalesce($3, cursor_account_id),
                cursor_posted_at = coalesce($4, cursor_posted_at),
                cursor_id = coalesce($5, cursor_id),
                seen = seen + $6,
                people = people + $7,
                rules = rules + $8,
                from_memory = from_memory + $9,
                from_store = from_store + $10,
                computed = computed + $11
            where id = $1
            and phase in ('predicting', 'previewed')
            and cursor_id is not distinct from $2",
            run,
            from.map(|cursor| cursor.id.as_str()),
            page.cursor.as_ref().map(|cursor| cursor.account_id.as_str()),
            page.cursor.as_ref().map(|cursor| cursor.posted_at),
            page.cursor.as_ref().map(|cursor| cursor.id.as_str()),
            i64::from(seen),
            i64::from(page.people),
            i64::from(page.rules),
            rows(page.sources.from_memory),
            rows(page.sources.from_store),
            rows(page.sources.computed),
        )
        .execute(&mut *tx)
        .await?;
        if moved.rows_affected() != 1 {
            return Ok(false);
        }
        count_categories(&mut tx, run, &page.categories).await?;
        insert_proposals(&mut tx, run, &page.proposals).await?;
        insert_labels(&mut tx, run, &page.labels).await?;
        put_failures(&mut tx, run, page).await?;
        tx.commit().await?;
        Ok(true)
    }
}

async fn count_categories(tx: &mut PgConnection, run: i64, counted: &BTreeMap<Slug, u32>) -> Result<(), Error> {
    let categories: Vec<&str> = counted.keys().map(Slug::as_str).collect();
    let rows: Vec<i64> = counted.values().copied().map(i64::from).collect();
    sqlx::query!(
        "insert into recategorization_categories (
            run_id,
            category,
            rows
        )
        select
            $1,
            counted.category,
            counted.rows
        from unnest($2::text[], $3::bigint[]) as counted(category, rows)
        on conflict (run_id, category) do update set
            rows = recategorization_categories.rows + excluded.rows",
        run,
        &categories as &[&str],
        &rows,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_proposals(tx: &mut PgConnection, run: i64, proposals: &[Proposal]) -> Result<(), Error> {
    if proposals.is_empty() {
        return Ok(());
    }
    let decisions: Vec<Json<&Decision>> = proposals.iter().map(|proposal| Json(&proposal.decision)).collect();
    let ids: Vec<&str> = proposals.iter().map(|proposal| proposal.decision.transaction_id.as_str()).collect();
    let posted_at: Vec<DateTime<Utc>> = proposals.iter().map(|proposal| proposal.posted_at).collect();
    let from: Vec<&str> = proposals.iter().map(|proposal| proposal.from.as_str()).collect();
    let to: Vec<&str> = proposals.iter().map(|proposal| proposal.to.as_str()).collect();
    let before: Vec<serde_json::Value> = proposals.iter().map(|proposal| proposal.before.clone()).collect();
    sqlx::query!(
        "insert into recategorization_changes (
            run_id,
            transaction_id,
            posted_at,
            from_category,
            to_category,
            decision,
            before
        )
        select
            $1,
            proposed.*
        from unnest(
            $2::text[],
            $3::timestamptz[],
            $4::text[],
            $5::text[],
            $6::jsonb[],
            $7::jsonb[]
        ) as proposed
        on conflict (run_id, transaction_id) do nothing",
        run,
        &ids as &[&str],
        &posted_at,
        &from as &[&str],
        &to as &[&str],
        &decisions as &[Json<&Decision>],
        &before,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_labels(tx: &mut PgConnection, run: i64, labels: &[LabelAsked]) -> Result<(), Error> {
    if labels.is_empty() {
        return Ok(());
    }
    let of = |field: fn(&LabelAsked) -> &Slug| labels.iter().map(|label| field(label).as_str()).collect::<Vec<_>>();
    let ids: Vec<&str> = labels.iter().map(|label| label.transaction_id.as_str()).collect();
    let at_random: Vec<bool> = labels.iter().map(|label| label.at_random).collect();
    let seen: Vec<bool> = labels.iter().map(|label| label.seen).collect();
    let engines: Vec<&str> = labels.iter().map(|label| label.engine.as_str()).collect();
    sqlx::query!(
        "insert into recategorization_labels (
            run_id,
            transaction_id,
            category,
            before,
            after,
            at_random,
            seen
        )
        select
            $1,
            asked.transaction_id,
            asked.category,
            asked.before,
            asked.after,
            asked.at_random,
            asked.seen
            or exists (
                select
                from adapters
                join corrections_made on corrections_made.id <= adapters.last_label
                where adapters.engine = asked.engine
                and corrections_made.transaction_id = asked.transaction_id
            )
        from unnest(
            $2::text[],
            $3::text[],
            $4::text[],
            $5::text[],
            $6::boolean[],
            $7::boolean[],
            $8::text[]
        ) as asked (transaction_id, category, before, after, at_random, seen, engine)
        on conflict (run_id, transaction_id) do nothing",
        run,
        &ids as &[&str],
        &of(|label| &label.category) as &[&str],
        &of(|label| &label.before) as &[&str],
        &of(|label| &label.after) as &[&str],
        &at_random,
        &seen,
        &engines as &[&str],
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn put_failures(tx: &mut PgConnection, run: i64, page: &PageDone) -> Result<(), Error> {
    let ids: Vec<&str> = page.failures.iter().map(|(id, _)| id.as_str()).collect();
    let whys: Vec<&str> = page.failures.iter().map(|(_, why)| why.as_str()).collect();
    let mended: Vec<&str> = page.mended.iter().map(TransactionId::as_str).collect();
    if ids.is_empty() && mended.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into recategorization_failures (
            run_id,
            transaction_id,
            why
        )
        select
            $1,
            failed.*
        from unnest($2::text[], $3::text[]) as failed
        on conflict (run_id, transaction_id) do update set
            why = excluded.why,
            tries = recategorization_failures.tries + 1",
        run,
        &ids as &[&str],
        &whys as &[&str],
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from recategorization_failures
        where run_id = $1
        and transaction_id = any($2)",
        run,
        &mended as &[&str],
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
