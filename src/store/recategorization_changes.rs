//! The rows of a run: what became of those that change, and which could not be answered.

use chrono::{DateTime, Utc};

use super::{Cursor, Error, Store, read, read_some, transactions::money};
use crate::domain::{AccountId, ChangeState, LeftBecause, Money, Slug, TransactionId};

/// Changes in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeTally {
    /// Which state.
    pub state: ChangeState,
    /// Why, of those that were left as they are.
    pub why: Option<LeftBecause>,
    /// How many.
    pub rows: u64,
}

/// What a list of changes is narrowed to; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// From this category.
    pub from: Option<Slug>,
    /// To this one.
    pub to: Option<Slug>,
    /// In this state.
    pub state: Option<ChangeState>,
}

/// One row of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RecategorizationChange {
    /// Which transaction.
    pub transaction_id: TransactionId,
    /// On which account.
    pub account_id: AccountId,
    /// When it was posted.
    pub posted_at: DateTime<Utc>,
    /// Its statement text.
    pub descriptor: String,
    /// How much.
    pub amount: Money,
    /// In force before.
    pub from: Slug,
    /// In force after.
    pub to: Slug,
    /// How sure the engine is, in `[0, 1]`.
    pub confidence: f32,
    /// Which engine.
    pub engine: String,
    /// What became of it.
    pub state: ChangeState,
    /// Why it was left as it is, if it was.
    pub why: Option<LeftBecause>,
}

impl RecategorizationChange {
    /// The cursor that goes on after this row.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { posted_at: self.posted_at, id: self.transaction_id.clone() }
    }
}

/// A row that could not be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecategorizationFailure {
    /// Which transaction.
    pub transaction_id: TransactionId,
    /// Why not.
    pub why: String,
    /// How often it was tried.
    pub tries: u32,
}

impl Store {
    /// Changes by what became of them.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn change_tallies(&self, run: i64) -> Result<Vec<ChangeTally>, Error> {
        let rows = sqlx::query!(
            r#"select
                state,
                why,
                count(*) as "rows!"
            from recategorization_changes
            where run_id = $1
            group by
                state,
                why
            order by
                state,
                why"#,
            run,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ChangeTally {
                    state: read(&row.state, "recategorization_changes.state")?,
                    why: read_some(row.why.as_deref(), "recategorization_changes.why")?,
                    rows: row.rows.unsigned_abs(),
                })
            })
            .collect()
    }

    /// A run's changes that pass the filter, oldest transaction first, at most `limit`, later than `after`.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn recategorization_changes(
        &self,
        run: i64,
        filter: &ChangeFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<RecategorizationChange>, Error> {
        let rows = sqlx::query!(
            r#"select
                changes.transaction_id,
                transactions.account_id,
                changes.posted_at,
                transactions.descriptor,
                transactions.amount,
                transactions.currency,
                changes.from_category,
                changes.to_category,
                (changes.decision -> 'prediction' ->> 'confidence')::real as "confidence!",
                changes.decision -> 'prediction' -> 'provenance' ->> 'engine' as "engine!",
                changes.state,
                changes.why
            from recategorization_changes as changes
            join transactions on transactions.id = changes.transaction_id
            where changes.run_id = $1
            and ($2::text is null or changes.from_category = $2)
            and ($3::text is null or changes.to_category = $3)
            and ($4::text is null or changes.state = $4)
            and ($5::timestamptz is null or (changes.posted_at, changes.transaction_id) > ($5, $6::text))
            order by
                changes.posted_at,
                changes.transaction_id
            limit $7"#,
            run,
            filter.from.as_ref().map(Slug::as_str),
            filter.to.as_ref().map(Slug::as_str),
            filter.state.map(ChangeState::as_str),
            after.map(|cursor| cursor.posted_at),
            after.map(|cursor| cursor.id.as_str()),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(RecategorizationChange {
                    transaction_id: read(&row.transaction_id, "recategorization_changes.transaction_id")?,
                    account_id: read(&row.account_id, "transactions.account_id")?,
                    posted_at: row.posted_at,
                    descriptor: row.descriptor,
                    amount: money(row.amount, &row.currency)?,
                    from: read(&row.from_category, "recategorization_changes.from_category")?,
                    to: read(&row.to_category, "recategorization_changes.to_category")?,
                    confidence: row.confidence,
                    engine: row.engine,
                    state: read(&row.state, "recategorization_changes.state")?,
                    why: read_some(row.why.as_deref(), "recategorization_changes.why")?,
                })
            })
            .collect()
    }

    /// How many rows of a run could not be answered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_recategorization_failures(&self, run: i64) -> Result<u64, Error> {
        let rows = sqlx::query_scalar!(
            r#"select
                count(*) as "rows!"
            from recategorization_failures
            where run_id = $1"#,
            run,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(rows.unsigned_abs())
    }

    /// Rows of a run that could not be answered, in the order of their ids, at most `limit`, after one.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn recategorization_failures(
        &self,
        run: i64,
        after: Option<&TransactionId>,
        limit: u32,
    ) -> Result<Vec<RecategorizationFailure>, Error> {
        let rows = sqlx::query!(
            "select
                transaction_id,
                why,
                tries
            from recategorization_failures
            where run_id = $1
            and ($2::text is null or transaction_id > $2)
            order by transaction_id
            limit $3",
            run,
            after.map(TransactionId::as_str),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(RecategorizationFailure {
                    transaction_id: read(&row.transaction_id, "recategorization_failures.transaction_id")?,
                    why: row.why,
                    tries: row.tries.unsigned_abs(),
                })
            })
            .collect()
    }
}
