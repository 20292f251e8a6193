//! Decisions of people: what a person says of a transaction, with every row that it changes.
//!
//! A correction and a decision at the desk are the same act. The second needs the group's lease, covers
//! the rows that wait beside the one at hand, and is refused where it would change other rows than the
//! person was shown. How far it reaches is in [`super::review_reach`], the trail in [`super::review_trail`], taking
//! back in [`super::review_undo`].

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{
    Error, Store, TransactionView,
    merchant_merges::Names,
    past_deadlocks, read,
    review_reach::{Covered, Target, cover, lock_latest, reached},
    review_trail::{Change, Held, note_changes},
    rules::{NewRule, leave_rule},
};
use crate::domain::{Correction, CorrectionScope, DecidedBy, ReviewStatus};

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

/// Why a decision does not hold; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecisionRefused {
    /// No transaction of that id.
    Unknown,
    /// Nobody waits for a decision on it any more.
    AlreadyDecided,
    /// The one who decides has no lease on its group; somebody else may.
    NotClaimed {
        /// Who has.
        by: Option<String>,
    },
    /// It would change another number of rows than the person was shown.
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

/// What a row was before.
struct Before {
    category: Option<String>,
    decided_by: Option<String>,
    review_status: Option<String>,
    waited: bool,
}

impl Before {
    fn held(&self) -> Result<Option<Held<'_>>, Error> {
        match (&self.category, &self.decided_by, &self.review_status) {
            (Some(category), Some(by), Some(status)) => Held::read(category, by, status).map(Some),
            _ => Ok(None),
        }
    }
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
    pub async fn decide(&self, verdict: &Verdict) -> Result<Result<Settled, DecisionRefused>, Error> {
        past_deadlocks(|| self.decide_once(verdict).boxed()).await
    }

    async fn decide_once(&self, verdict: &Verdict) -> Result<Result<Settled, DecisionRefused>, Error> {
        let correction = &verdict.correction;
        let mut tx = self.begin().await?;
        let Some(target) = lock_latest(&mut tx, &correction.transaction_id).await? else {
            return Ok(Err(DecisionRefused::Unknown));
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
        let Some(item) = item else { return Ok(Err(DecisionRefused::AlreadyDecided)) };
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
            return Ok(Err(DecisionRefused::NotClaimed { by: holder }));
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
            return Ok(Err(DecisionRefused::Outdated { rows }));
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
        Ok(view.map(|view| Settled { action, rows, view }).ok_or(DecisionRefused::Unknown))
    }
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
    let scope = target.reach(correction.scope);
    let category = correction.category.as_str();
    let before = before(tx, &target.id).await?;
    let said = note_correction(tx, target, correction).await?;
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
    let decided_by = if scope == CorrectionScope::Merchant { DecidedBy::MerchantRule } else { DecidedBy::AccountRule };
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
        said,
        rule.as_ref().map(|rule| rule.0),
        rule.as_ref().and_then(|rule| rule.1.as_deref()),
        correction.made_by,
        correction.made_at,
    )
    .fetch_one(&mut *tx)
    .await?;
    let mut changes = vec![Change {
        id: &target.id,
        before: before.held()?,
        after: Held { category, decided_by: DecidedBy::Correction, review_status: ReviewStatus::Reviewed },
        waited: before.waited,
    }];
    for row in covered {
        changes.push(row.becomes(category, decided_by)?);
    }
    note_changes(tx, action, &changes).await?;
    Ok(action)
}

/// What a row is before it is decided.
async fn before(tx: &mut PgConnection, id: &str) -> Result<Before, Error> {
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
        id,
    )
    .fetch_one(tx)
    .await?;
    Ok(before)
}

/// Stores what a person says of the row at hand; returns its number.
async fn note_correction(tx: &mut PgConnection, target: &Target, correction: &Correction) -> Result<i64, Error> {
    let id = sqlx::query_scalar!(
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
        correction.category.as_str(),
        target.reach(correction.scope).as_str(),
        correction.note,
        correction.made_by,
        correction.made_at,
    )
    .fetch_one(tx)
    .await?;
    Ok(id)
}

/// Brings a category into force for rows that a rule covers.
pub(super) async fn put_in_force(
    tx: &mut PgConnection,
    covered: &[Covered],
    category: &str,
    decided_by: DecidedBy,
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
        decided_by.as_str(),
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
