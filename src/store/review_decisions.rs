//! Decisions of people: what a person says of a transaction, with every row that it changes.
//!
//! A correction and a decision at the desk are the same act. The second needs the group's lease, covers
//! the rows that wait beside the one at hand, and is refused where it would change other rows than the
//! person was shown. The trail is in [`super::review_trail`], taking back in [`super::review_undo`].

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{
    Error, Store, TransactionView, count,
    merchant_merges::{Names, names_of},
    past_deadlocks, read,
};
use crate::domain::{Correction, CorrectionScope, ReviewStatus, Slug, TransactionId};

/// A decision at the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is said, and how far it reaches.
    pub correction: Correction,
    /// How many rows the person was shown that it would change, the one at hand among them; otherwise it is refused.
    pub expects: Option<u32>,
    /// Whether another person is asked about the same row, without being shown the decision.
    pub second: bool,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Decided {
    /// It holds.
    Done(Box<Settled>),
    /// No transaction of that id.
    Unknown,
    /// Nobody waits for a decision on it any more.
    AlreadyDecided,
    /// The one who decides has no lease on its group; somebody else may.
    NotClaimed {
        /// Who has.
        by: Option<String>,
    },
    /// It would change another number of rows than the person was shown; nothing was changed.
    Outdated {
        /// How many now.
        rows: u32,
    },
}

/// A decision that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Its number in the trail.
    pub action: i64,
    /// How many rows it decided, the one at hand among them.
    pub rows: u32,
    /// The transaction at hand, as it is now.
    pub view: TransactionView,
}

/// What a decision would change.
#[derive(Debug, Clone, PartialEq)]
pub struct Reach {
    /// The transaction at hand: the one that was asked about, or the last of those that replaced it.
    pub at_hand: TransactionView,
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
struct Target {
    id: String,
    posted_at: DateTime<Utc>,
    account_id: String,
    descriptor_key: String,
    direction: String,
}

impl Target {
    /// The account that a scope stays within, where it reaches further than the row.
    fn account_of(&self, scope: CorrectionScope) -> Option<&str> {
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

/// What a rule says, and of which rows.
pub(super) struct NewRule<'a> {
    pub(super) account: Option<&'a str>,
    pub(super) merchant: &'a str,
    pub(super) direction: &'a str,
    pub(super) category: &'a str,
    pub(super) made_by: &'a str,
    pub(super) made_at: DateTime<Utc>,
}

/// What a row was before.
struct Before {
    category: Option<String>,
    decided_by: Option<String>,
    review_status: Option<String>,
    waited: bool,
}

impl Store {
    /// Stores a correction, brings it into force at once, closes the review item, and leaves a rule for the rows
    /// to come where its scope is wider than the transaction. A correction of a row that another has replaced goes
    /// to that one. `None` when the id is unknown.
    ///
    /// A row whose text gave no key leaves no rule: it would catch every such row.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn correct(&self, correction: &Correction) -> Result<Option<TransactionView>, Error> {
        past_deadlocks(|| self.correct_once(correction).boxed()).await
    }

    async fn correct_once(&self, correction: &Correction) -> Result<Option<TransactionView>, Error> {
        let mut tx = self.begin().await?;
        let Some(target) = lock_latest(&mut tx, &correction.transaction_id).await? else {
            return Ok(None);
        };
        let names = reached(&mut tx, &target, correction.scope).await?;
        settle(&mut tx, &target, correction, names.as_ref(), &[], None).await?;
        tx.commit().await?;
        self.view(&read(&target.id, "transactions.id")?).await
    }

    /// Decides the transaction at hand and the rows beside it that the scope reaches: those of the account (or of
    /// all) of its merchant and direction that no person has decided, but for those drawn for an audit and, where it
    /// reaches all accounts, those of accounts with a rule of their own. The one who decides must have the group's lease.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn decide(&self, verdict: &Verdict) -> Result<Decided, Error> {
        past_deadlocks(|| self.decide_once(verdict).boxed()).await
    }

    async fn decide_once(&self, verdict: &Verdict) -> Result<Decided, Error> {
        let correction = &verdict.correction;
        let mut tx = self.begin().await?;
        let Some(target) = lock_latest(&mut tx, &correction.transaction_id).await? else {
            return Ok(Decided::Unknown);
        };
        let item = sqlx::query!(
            "select
                review_items.group_key
            from review_items
            where transaction_id = $1
            and resolved_at is null",
            target.id,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(item) = item else { return Ok(Decided::AlreadyDecided) };
        let held = sqlx::query!(
            "select
                claimed_by,
                claimed_until
            from review_groups
            where group_key = $1
            for update",
            item.group_key,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let holder = held
            .filter(|held| held.claimed_until.is_some_and(|end| end > correction.made_at))
            .and_then(|held| held.claimed_by);
        if holder.as_deref() != Some(correction.made_by.as_str()) {
            return Ok(Decided::NotClaimed { by: holder });
        }
        let names = reached(&mut tx, &target, correction.scope).await?;
        let covered = match &names {
            Some(names) => {
                let account = target.account_of(correction.scope);
                cover(&mut tx, names, &target.direction, account, &target.id).await?
            }
            None => Vec::new(),
        };
        let rows = u32::try_from(covered.len() + 1).map_err(|_| Error::Corrupt { what: "a count" })?;
        if verdict.expects.is_some_and(|expected| expected != rows) {
            return Ok(Decided::Outdated { rows });
        }
        let action = settle(&mut tx, &target, correction, names.as_ref(), &covered, Some(&item.group_key)).await?;
        if verdict.second {
            sqlx::query!(
                "insert into second_labels (
                    action_id,
                    transaction_id,
                    first_category,
                    first_by
                )
                values ($1, $2, $3, $4)",
                action,
                target.id,
                correction.category.as_str(),
                correction.made_by,
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        let view = self.view(&read(&target.id, "transactions.id")?).await?;
        Ok(view.map_or(Decided::Unknown, |view| Decided::Done(Box::new(Settled { action, rows, view }))))
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
        let keys = names.map_or_else(Vec::new, |names| names.keys);
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
        Ok(Some(Reach { at_hand, rows: count(all, "transactions")? + 1, affected }))
    }
}

/// How far a scope really reaches: a row without a key has no others like it.
fn reach(target: &Target, scope: CorrectionScope) -> CorrectionScope {
    if target.descriptor_key.is_empty() { CorrectionScope::Transaction } else { scope }
}

/// The merchant that a decision reaches beyond the row at hand, where it does.
async fn reached(tx: &mut PgConnection, target: &Target, scope: CorrectionScope) -> Result<Option<Names>, Error> {
    match reach(target, scope) {
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

/// Writes a decision and everything that follows from it; returns its number in the trail.
async fn settle(
    tx: &mut PgConnection,
    target: &Target,
    correction: &Correction,
    names: Option<&Names>,
    covered: &[Covered],
    group_key: Option<&str>,
) -> Result<i64, Error> {
    let scope = reach(target, correction.scope);
    let category = correction.category.as_str();
    let before = sqlx::query_as!(
        Before,
        r#"select
            in_force.category as "category?",
            in_force.decided_by as "decided_by?",
            in_force.review_status as "review_status?",
            (review_items.transaction_id is not null) as "waited!"
        from transactions
        left join in_force on in_force.transaction_id = transactions.id
        left join review_items
            on review_items.transaction_id = transactions.id
            and review_items.resolved_at is null
        where transactions.id = $1"#,
        target.id,
    )
    .fetch_one(&mut *tx)
    .await?;
    let correction_id = sqlx::query_scalar!(
        "insert into corrections_made (
            transaction_id,
            category,
            source,
            scope,
            note,
            made_by,
            made_at
        )
        values ($1, $2, 'correction', $3, $4, $5, $6)
        returning id",
        target.id,
        category,
        scope.as_str(),
        correction.note,
        correction.made_by,
        correction.made_at,
    )
    .fetch_one(&mut *tx)
    .await?;
    let rule = match names {
        Some(names) => {
            let rule = NewRule {
                account: target.account_of(scope),
                merchant: &names.merchant,
                direction: &target.direction,
                category,
                made_by: &correction.made_by,
                made_at: correction.made_at,
            };
            Some(leave_rule(tx, &rule).await?)
        }
        None => None,
    };
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
    let decided_by = if scope == CorrectionScope::Merchant { "merchant_rule" } else { "account_rule" };
    put_in_force(tx, covered, category, decided_by).await?;
    let mut ids: Vec<&str> = covered.iter().map(|row| row.transaction_id.as_str()).collect();
    ids.push(&target.id);
    resolve(tx, &ids, &correction.made_by, correction.made_at).await?;
    let action = sqlx::query_scalar!(
        "insert into review_actions (
            kind,
            transaction_id,
            group_key,
            category,
            scope,
            note,
            correction_id,
            rule_id,
            rule_before,
            made_by,
            made_at
        )
        values ('decide', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        returning id",
        target.id,
        group_key,
        category,
        scope.as_str(),
        correction.note,
        correction_id,
        rule.as_ref().map(|rule| rule.0),
        rule.as_ref().and_then(|rule| rule.1.as_deref()),
        correction.made_by,
        correction.made_at,
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into review_changes (
            action_id,
            transaction_id,
            category_before,
            decided_by_before,
            review_status_before,
            waited,
            category_after,
            decided_by_after,
            review_status_after
        )
        values ($1, $2, $3, $4, $5, $6, $7, 'correction', 'reviewed')",
        action,
        target.id,
        before.category,
        before.decided_by,
        before.review_status,
        before.waited,
        category,
    )
    .execute(&mut *tx)
    .await?;
    note_covered(tx, action, covered, category, decided_by).await?;
    Ok(action)
}

/// Brings a category into force for rows that a rule covers.
pub(super) async fn put_in_force(
    tx: &mut PgConnection,
    covered: &[Covered],
    category: &str,
    decided_by: &str,
) -> Result<(), Error> {
    if covered.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = covered.iter().map(|row| row.transaction_id.as_str()).collect();
    sqlx::query!(
        "update in_force
        set
            category = $2,
            decided_by = $3,
            review_status = 'reviewed'
        where transaction_id = any($1)",
        &ids as &[&str],
        category,
        decided_by,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes rows off the queue.
pub(super) async fn resolve(
    tx: &mut PgConnection,
    ids: &[&str],
    resolved_by: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "update review_items
        set
            resolved_at = $2,
            resolved_by = $3
        where transaction_id = any($1)
        and resolved_at is null",
        ids as &[&str],
        now,
        resolved_by,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes down what covered rows were before, and what they are now.
pub(super) async fn note_covered(
    tx: &mut PgConnection,
    action: i64,
    covered: &[Covered],
    category: &str,
    decided_by: &str,
) -> Result<(), Error> {
    if covered.is_empty() {
        return Ok(());
    }
    let of = |field: fn(&Covered) -> &str| covered.iter().map(field).collect::<Vec<_>>();
    let waited: Vec<bool> = covered.iter().map(|row| row.waited).collect();
    sqlx::query!(
        "insert into review_changes (
            action_id,
            transaction_id,
            category_before,
            decided_by_before,
            review_status_before,
            waited,
            category_after,
            decided_by_after,
            review_status_after
        )
        select
            $1,
            was.transaction_id,
            was.category,
            was.decided_by,
            was.review_status,
            was.waited,
            $7,
            $8,
            'reviewed'
        from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[])
            as was(transaction_id, category, decided_by, review_status, waited)",
        action,
        &of(|row| &row.transaction_id) as &[&str],
        &of(|row| &row.category) as &[&str],
        &of(|row| &row.decided_by) as &[&str],
        &of(|row| &row.review_status) as &[&str],
        &waited,
        category,
        decided_by,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Leaves a rule of one account or of all; returns its number, and what it said before where it stood already.
pub(super) async fn leave_rule(tx: &mut PgConnection, rule: &NewRule<'_>) -> Result<(i64, Option<String>), Error> {
    let standing = sqlx::query!(
        "select
            id,
            category,
            retired_at
        from account_rules
        where account_id is not distinct from $1
        and descriptor_key = $2
        and direction = $3
        for update",
        rule.account,
        rule.merchant,
        rule.direction,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(standing) = standing else {
        let id = sqlx::query_scalar!(
            "insert into account_rules (
                account_id,
                descriptor_key,
                direction,
                category,
                made_by,
                made_at
            )
            values ($1, $2, $3, $4, $5, $6)
            on conflict do nothing
            returning id",
            rule.account,
            rule.merchant,
            rule.direction,
            rule.category,
            rule.made_by,
            rule.made_at,
        )
        .fetch_optional(&mut *tx)
        .await?;
        return match id {
            Some(id) => Ok((id, None)),
            // Somebody made it at this moment: now it stands.
            None => Box::pin(leave_rule(tx, rule)).await,
        };
    };
    sqlx::query!(
        "update account_rules
        set
            category = $2,
            made_by = $3,
            made_at = $4,
            retired_at = null
        where id = $1",
        standing.id,
        rule.category,
        rule.made_by,
        rule.made_at,
    )
    .execute(tx)
    .await?;
    Ok((standing.id, Some(standing.category).filter(|_| standing.retired_at.is_none())))
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
async fn lock_latest(tx: &mut PgConnection, id: &TransactionId) -> Result<Option<Target>, Error> {
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
