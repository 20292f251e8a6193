//! Taking a decision back: every row it changed is as it was, and so is the rule it left.
//!
//! Rows that somebody has decided since stay as that person said, and a word that was itself taken back does not come
//! back. Rows that came later and followed the rule go back to what the stage said, and wait for a person's eye. What was
//! said of a merchant is taken back in the same way.

mod rows;
mod rules;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{
    Error, Store, count,
    events::tell_cause,
    merchant_edits::call,
    merchant_merges::{follow, lock_merges, names_of, regroup},
    past_deadlocks, read, review_trail, reviews,
    taxonomy_migrations::left_since,
};
use crate::domain::ActionKind;

/// What an undo did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undone {
    /// The undo's own number in the trail.
    pub action: i64,
    /// Rows that are as they were, those that came later and followed the rule among them.
    pub restored: u32,
    /// Rows that were decided again since, and stay so.
    pub kept: u32,
}

/// Why nothing is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoRefused {
    /// No decision of that number.
    Unknown,
    /// It was taken back before.
    Already,
    /// It was done in the words of a taxonomy that was left since.
    LeftTaxonomy {
        /// That taxonomy.
        left: String,
        /// The one that took its place.
        now: String,
    },
}

struct Undoing {
    id: i64,
    kind: String,
    merchant_key: Option<String>,
    into_key: Option<String>,
    transaction_id: Option<String>,
    group_key: Option<String>,
    category: Option<String>,
    correction_id: Option<i64>,
    rule_id: Option<i64>,
}

impl Store {
    /// Takes a decision back.
    ///
    /// # Errors
    /// When the database fails; then nothing was changed.
    pub async fn undo(
        &self,
        action: i64,
        note: Option<&str>,
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Result<Result<Undone, UndoRefused>, Error> {
        past_deadlocks(|| self.undo_once(action, note, made_by, now).boxed()).await
    }

    async fn undo_once(
        &self,
        action: i64,
        note: Option<&str>,
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Result<Result<Undone, UndoRefused>, Error> {
        let mut tx = self.begin().await?;
        let decision = sqlx::query_as!(
            Undoing,
            "select
                id,
                kind,
                merchant_key,
                into_key,
                transaction_id,
                group_key,
                category,
                correction_id,
                rule_id
            from review_actions
            where id = $1
            and kind in ('decide', 'rename', 'categorize', 'merge')",
            action,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(decision) = decision else { return Ok(Err(UndoRefused::Unknown)) };
        let kind: ActionKind = read(&decision.kind, "review_actions.kind")?;
        if decision.merchant_key.is_some() || decision.rule_id.is_some() {
            lock_merges(&mut tx).await?;
        }
        let undo = sqlx::query_scalar!(
            "insert into review_actions (
                kind,
                transaction_id,
                group_key,
                merchant_key,
                note,
                undoes,
                made_by,
                made_at
            )
            values ('undo', $1, $2, $3, $4, $5, $6, $7)
            on conflict (undoes) do nothing
            returning id",
            decision.transaction_id,
            decision.group_key,
            decision.merchant_key,
            note,
            decision.id,
            made_by,
            now,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(undo) = undo else { return Ok(Err(UndoRefused::Already)) };
        if kind != ActionKind::Rename
            && let Some((left, now)) = left_since(&mut tx, decision.id).await?
        {
            return Ok(Err(UndoRefused::LeftTaxonomy { left, now }));
        }
        tell_cause(&mut tx, "decision_undone").await?;
        let mut keys = part(&mut tx, &decision, kind).await?;
        let changed = rows::lock(&mut tx, decision.id).await?;
        keys.extend(rules::restore(&mut tx, &decision, now).await?);
        let rows::Restored { mut back, waited, kept } = rows::restore(&mut tx, &changed, decision.id, undo).await?;
        back.extend(rules::leave(&mut tx, &decision, &keys, undo).await?);
        rows::go_back(&mut tx, undo, &back, &waited, now).await?;
        if let Some(correction) = decision.correction_id {
            withdraw(&mut tx, correction, undo).await?;
        }
        sqlx::query!("delete from second_labels where action_id = $1 and made_at is null", decision.id)
            .execute(&mut *tx)
            .await?;
        let restored =
            sqlx::query_scalar!(r#"select count(*) as "rows!" from review_changes where action_id = $1"#, undo)
                .fetch_one(&mut *tx)
                .await?;
        let restored = count(restored, "review_changes")?;
        tx.commit().await?;
        Ok(Ok(Undone { action: undo, restored, kept }))
    }
}

/// Withdraws a label, and its copies on the rows that have taken the place of its row.
async fn withdraw(tx: &mut PgConnection, correction: i64, undo: i64) -> Result<(), Error> {
    sqlx::query!(
        "insert into corrections_withdrawn (
            correction_id,
            action_id
        )
        select
            said.id,
            $2
        from corrections_made as made
        cross join lateral (
            select made.id
            union all
            select copies.id
            from corrections_made as copies
            where copies.carried_from = made.transaction_id
            and copies.source = made.source
            and copies.made_by = made.made_by
            and copies.made_at = made.made_at
        ) as said
        where made.id = $1
        on conflict (correction_id) do nothing",
        correction,
        undo,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes back what was said of a merchant's name and keys. Returns the keys of a merchant that was parted by it.
async fn part(tx: &mut PgConnection, decision: &Undoing, kind: ActionKind) -> Result<Vec<String>, Error> {
    let Some(merchant) = &decision.merchant_key else { return Ok(Vec::new()) };
    match kind {
        ActionKind::Rename => {
            // The name that it had before and that nobody took back, where nobody has named it since.
            let before = sqlx::query!(
                "with recursive walked as (
                    select
                        id,
                        name_before
                    from review_actions
                    where id = $2
                    union all
                    select
                        earlier.id,
                        earlier.name_before
                    from walked
                    cross join lateral (
                        select
                            actions.id,
                            actions.name_before,
                            undone.id is not null as undone
                        from review_actions as actions
                        left join review_actions as undone on undone.undoes = actions.id
                        where actions.merchant_key = $1
                        and actions.kind = 'rename'
                        and actions.id < walked.id
                        and (undone.id is null or actions.name is not distinct from walked.name_before)
                        order by actions.id desc
                        limit 1
                    ) as earlier
                    where earlier.undone
                )
                select name_before
                from walked
                where not exists (
                    select
                    from review_actions as later
                    where later.merchant_key = $1
                    and later.kind = 'rename'
                    and later.id > $2
                    and not exists (select from review_actions as undone where undone.undoes = later.id)
                )
                order by id
                limit 1",
                merchant,
                decision.id,
            )
            .fetch_optional(&mut *tx)
            .await?;
            if let Some(before) = before {
                call(tx, merchant, before.name_before.as_deref(), decision.id).await?;
            }
            Ok(Vec::new())
        }
        ActionKind::Merge => {
            let keys = names_of(tx, merchant).await?.keys;
            sqlx::query!("delete from merchant_merges where action_id = $1", decision.id).execute(&mut *tx).await?;
            sqlx::query!(
                "delete from merchant_names where action_id = $1 and merchant_key = $2",
                decision.id,
                decision.into_key,
            )
            .execute(&mut *tx)
            .await?;
            follow(tx).await?;
            regroup(tx, &keys).await?;
            Ok(keys)
        }
        _ => Ok(Vec::new()),
    }
}
