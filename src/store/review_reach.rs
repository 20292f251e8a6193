//! How far a decision reaches: the row at hand, the rows of its merchant beside it, and what it would change. What it then does is
//! in [`super::review_decisions`].

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    Error, Store, TransactionView, count,
    merchant_merges::{Names, names_of},
    read,
    review_trail::{Change, Held},
};
use crate::domain::{CorrectionScope, DecidedBy, ReviewStatus, Slug, TransactionId};

/// What a decision would change.
#[derive(Debug, Clone, PartialEq)]
pub struct Reach {
    /// The transaction at hand: the one that was asked about, or the last of those that replaced it.
    pub at_hand: TransactionView,
    /// The merchant whose rows are reached, by the key it goes by; none where only this row is.
    pub merchant: Option<String>,
    /// How many rows, the one at hand among them.
    pub rows: u32,
    /// Those after the place that was asked for, the one at hand first.
    pub affected: Vec<Affected>,
}

/// A row that a decision would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// Which.
    pub id: TransactionId,
    /// What it is now.
    pub category: Option<Slug>,
    /// Whether it waits for review.
    pub waits: bool,
}

/// The row a decision is about.
pub(super) struct Target {
    pub(super) id: String,
    pub(super) posted_at: DateTime<Utc>,
    pub(super) account_id: String,
    pub(super) descriptor_key: String,
    pub(super) direction: String,
}

impl Target {
    /// How far a scope really reaches: a row without a key has no others like it.
    pub(super) fn reach(&self, scope: CorrectionScope) -> CorrectionScope {
        if self.descriptor_key.is_empty() { CorrectionScope::Transaction } else { scope }
    }

    /// The account that a scope stays within, where it reaches further than the row.
    pub(super) fn account_of(&self, scope: CorrectionScope) -> Option<&str> {
        (scope == CorrectionScope::AccountMerchant).then_some(self.account_id.as_str())
    }
}

/// A row that a decision covers beside the one at hand, locked.
pub(super) struct Covered {
    pub(super) transaction_id: String,
    pub(super) category: String,
    pub(super) decided_by: String,
    pub(super) review_status: String,
    pub(super) waited: bool,
}

impl Covered {
    /// What becomes of it where a rule decides it.
    pub(super) fn becomes<'a>(&'a self, category: &'a str, decided_by: DecidedBy) -> Result<Change<'a>, Error> {
        Ok(Change {
            id: &self.transaction_id,
            before: Some(Held::read(&self.category, &self.decided_by, &self.review_status)?),
            after: Held { category, decided_by, review_status: ReviewStatus::Reviewed },
            waited: self.waited,
        })
    }
}

impl Store {
    /// The transaction itself, or the last of those that replaced it.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn latest(&self, id: &TransactionId) -> Result<Option<TransactionId>, Error> {
        let mut connection = self.pool.acquire().await?;
        let target = latest(&mut connection, id).await?;
        target.map(|target| read(&target.id, "transactions.id")).transpose()
    }

    /// What a decision on this transaction would change, of the rows beside the one at hand those after `after` in the order of
    /// their ids, and at most `limit`. `None` when the id is unknown.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn preview(
        &self,
        id: &TransactionId,
        scope: CorrectionScope,
        after: Option<&TransactionId>,
        limit: u32,
    ) -> Result<Option<Reach>, Error> {
        let mut connection = self.pool.acquire().await?;
        let Some(target) = latest(&mut connection, id).await? else { return Ok(None) };
        let names = reached(&mut connection, &target, scope).await?;
        let (merchant, keys) = names.map(|names| (names.merchant, names.keys)).unzip();
        let keys: Vec<String> = keys.unwrap_or_default();
        let all = sqlx::query_scalar!(
            r#"select count(*) as "rows!" from reached_rows($1, $2, $3, $4)"#,
            &keys,
            target.direction,
            target.account_of(scope),
            target.id,
        )
        .fetch_one(&mut *connection)
        .await?;
        let rows = sqlx::query!(
            r#"select
                reached.transaction_id as "transaction_id!",
                reached.category as "category!",
                reached.waited as "waits!"
            from reached_rows($1, $2, $3, $4) as reached
            where $5::text is null
            or reached.transaction_id collate "C" > $5
            order by reached.transaction_id collate "C"
            limit $6"#,
            &keys,
            target.direction,
            target.account_of(scope),
            target.id,
            after.map(TransactionId::as_str),
            i64::from(limit),
        )
        .fetch_all(&mut *connection)
        .await?;
        drop(connection);
        let at_hand = self.view(&read(&target.id, "transactions.id")?).await?;
        let Some(at_hand) = at_hand else { return Ok(None) };
        let mut affected = Vec::new();
        if after.is_none() {
            affected.push(Affected {
                id: at_hand.transaction.id.clone(),
                waits: at_hand.review_status == ReviewStatus::Pending,
                category: at_hand.in_force.as_ref().map(|held| held.category.clone()),
            });
        }
        for row in rows {
            affected.push(Affected {
                id: read(&row.transaction_id, "transactions.id")?,
                category: Some(read(&row.category, "in_force.category")?),
                waits: row.waits,
            });
        }
        Ok(Some(Reach { at_hand, merchant, rows: count(all, "transactions")? + 1, affected }))
    }
}

/// The row, or the last of the rows that replaced it.
async fn latest(tx: &mut PgConnection, id: &TransactionId) -> Result<Option<Target>, Error> {
    let target = sqlx::query_as!(
        Target,
        "with recursive chain as (
            select
                id,
                replaced_by
            from transactions
            where id = $1
            union all
            select
                transactions.id,
                transactions.replaced_by
            from chain
            join transactions on transactions.id = chain.replaced_by
        )
        select
            transactions.id,
            transactions.posted_at,
            transactions.account_id,
            transactions.descriptor_key,
            transactions.direction
        from chain
        join transactions on transactions.id = chain.id
        where chain.replaced_by is null",
        id.as_str(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(target)
}

/// [`latest`], locked.
pub(super) async fn lock_latest(tx: &mut PgConnection, id: &TransactionId) -> Result<Option<Target>, Error> {
    while let Some(target) = latest(tx, id).await? {
        let locked = sqlx::query_scalar!(
            "select
                id
            from transactions
            where id = $1
            and replaced_by is null
            for no key update",
            target.id,
        )
        .fetch_optional(&mut *tx)
        .await?;
        // Otherwise it was replaced at this moment.
        if locked.is_some() {
            return Ok(Some(target));
        }
    }
    Ok(None)
}

/// The merchant that a decision reaches beyond the row at hand, where it does.
pub(super) async fn reached(
    tx: &mut PgConnection,
    target: &Target,
    scope: CorrectionScope,
) -> Result<Option<Names>, Error> {
    match target.reach(scope) {
        CorrectionScope::Transaction => Ok(None),
        CorrectionScope::AccountMerchant | CorrectionScope::Merchant => {
            Ok(Some(names_of(tx, &target.descriptor_key).await?))
        }
    }
}

/// Locks the rows of a merchant that no person has decided, of one account or of all, but for the one at hand.
pub(super) async fn cover(
    tx: &mut PgConnection,
    names: &Names,
    direction: &str,
    account: Option<&str>,
    at_hand: &str,
) -> Result<Vec<Covered>, Error> {
    // Whoever decides one of them at this moment is waited for, and then it is among them no more.
    let locked = sqlx::query_scalar!(
        "select
            in_force.transaction_id
        from in_force
        where in_force.transaction_id in (select reached.transaction_id from reached_rows($1, $2, $3, $4) as reached)
        order by in_force.transaction_id
        for no key update",
        &names.keys,
        direction,
        account,
        at_hand,
    )
    .fetch_all(&mut *tx)
    .await?;
    let rows = sqlx::query_as!(
        Covered,
        r#"select
            reached.transaction_id as "transaction_id!",
            reached.category as "category!",
            reached.decided_by as "decided_by!",
            reached.review_status as "review_status!",
            reached.waited as "waited!"
        from reached_rows($1, $2, $3, $4) as reached
        where reached.transaction_id = any($5)
        order by reached.transaction_id collate "C""#,
        &names.keys,
        direction,
        account,
        at_hand,
        &locked,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows)
}
