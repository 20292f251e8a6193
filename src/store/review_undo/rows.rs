//! The rows that a decision changed, and what they go back to: what was said of them before and still is, else the rule
//! that stands for them, else what the stage said.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    Error, count,
    review_trail::{Change, Held, note_changes},
    reviews::open_items,
};
use crate::domain::ReviewReason;

/// The rows that a decision changed, locked, and beside each the one that stands in its place now.
pub(super) struct Changed {
    changed: Vec<String>,
    now: Vec<String>,
    /// How many of the latter have something in force.
    held: usize,
}

/// What an undo has written down of the rows of the decision.
pub(super) struct Restored {
    /// Those that go back to something.
    pub(super) back: Vec<String>,
    /// Those among them that had waited, or wait.
    pub(super) waited: Vec<String>,
    /// How many were decided again since.
    pub(super) kept: u32,
}

/// What a row is, and what it goes back to; to nothing where nobody else ever said anything of it.
struct Back {
    transaction_id: String,
    category: String,
    decided_by: String,
    review_status: String,
    waited: bool,
    category_back: Option<String>,
    decided_by_back: String,
    review_status_back: String,
}

impl Back {
    /// Of a row that goes back to nothing what it was is written down.
    fn change(&self) -> Result<Change<'_>, Error> {
        let before = Held::read(&self.category, &self.decided_by, &self.review_status)?;
        let after = match &self.category_back {
            Some(category) => Held::read(category, &self.decided_by_back, &self.review_status_back)?,
            None => before,
        };
        Ok(Change { id: &self.transaction_id, before: Some(before), after, waited: false })
    }
}

/// Locks the rows that a decision changed and those that have taken their places: nobody replaces or decides them meanwhile.
pub(super) async fn lock(tx: &mut PgConnection, decision: i64) -> Result<Changed, Error> {
    let changed = sqlx::query_scalar!("select transaction_id from review_changes where action_id = $1", decision)
        .fetch_all(&mut *tx)
        .await?;
    let mut now = changed.clone();
    let mut asked = changed.clone();
    while !asked.is_empty() {
        let rows = sqlx::query!(
            "select
                id,
                replaced_by
            from transactions
            where id = any($1)
            order by id
            for no key update",
            &asked,
        )
        .fetch_all(&mut *tx)
        .await?;
        let replaced: HashMap<String, String> =
            rows.into_iter().filter_map(|row| Some((row.id, row.replaced_by?))).collect();
        for id in &mut now {
            if let Some(successor) = replaced.get(id) {
                id.clone_from(successor);
            }
        }
        asked = replaced.into_values().collect();
    }
    let held = sqlx::query_scalar!(
        "select
            transaction_id
        from in_force
        where transaction_id = any($1)
        order by transaction_id
        for no key update",
        &now,
    )
    .fetch_all(tx)
    .await?;
    Ok(Changed { changed, now, held: held.len() })
}

/// Writes down what the rows go back to that nobody has decided since, and empties those that go back to nothing.
pub(super) async fn restore(
    tx: &mut PgConnection,
    rows: &Changed,
    decision: i64,
    undo: i64,
) -> Result<Restored, Error> {
    let all = backs(tx, rows, decision).await?;
    let changes = all.iter().map(Back::change).collect::<Result<Vec<_>, _>>()?;
    note_changes(tx, undo, &changes).await?;
    let kept = count(i64::try_from(rows.held - all.len()).unwrap_or(i64::MAX), "review_changes")?;
    let (back, emptied): (Vec<Back>, Vec<Back>) = all.into_iter().partition(|row| row.category_back.is_some());
    let emptied: Vec<String> = emptied.into_iter().map(|row| row.transaction_id).collect();
    sqlx::query!("delete from in_force where transaction_id = any($1)", &emptied).execute(tx).await?;
    let waited = back.iter().filter(|row| row.waited).map(|row| row.transaction_id.clone()).collect();
    Ok(Restored { back: back.into_iter().map(|row| row.transaction_id).collect(), waited, kept })
}

/// What the rows go back to in which the decision still holds.
///
/// A word that was there before counts where whoever said it did not take it back; else the one before that. A row that has
/// taken another's place takes over what people said of that one, and nothing else.
async fn backs(tx: &mut PgConnection, rows: &Changed, decision: i64) -> Result<Vec<Back>, Error> {
    let backs = sqlx::query_as!(
        Back,
        r#"with recursive lineage as (
            select
                told.changed,
                told.now,
                told.now collate "C" as id
            from unnest($1::text[], $2::text[]) as told(changed, now)
            union all
            select
                lineage.changed,
                lineage.now,
                transactions.replaces
            from lineage
            join transactions on transactions.id = lineage.id
            where transactions.replaces is not null
        ),
        held as (
            select
                lineage.changed,
                lineage.now,
                array_agg(lineage.id) as ids
            from lineage
            group by
                lineage.changed,
                lineage.now
        ),
        walked as (
            select
                held.now,
                held.ids,
                mine.action_id,
                mine.transaction_id,
                mine.category_before,
                mine.decided_by_before,
                mine.review_status_before,
                mine.waited
            from held
            join review_changes as mine
                on mine.action_id = $3
                and mine.transaction_id = held.changed
            join in_force on in_force.transaction_id = held.now
            where in_force.category = mine.category_after
            and in_force.decided_by = mine.decided_by_after
            and not exists (
                select
                from review_changes as later
                join review_actions on review_actions.id = later.action_id
                where later.transaction_id = any(held.ids)
                and later.action_id > mine.action_id
                and review_actions.kind <> 'undo'
                and not exists (select from review_actions as undone where undone.undoes = later.action_id)
            )
            union all
            select
                walked.now,
                walked.ids,
                earlier.action_id,
                earlier.transaction_id,
                earlier.category_before,
                earlier.decided_by_before,
                earlier.review_status_before,
                walked.waited or earlier.waited
            from walked
            cross join lateral (
                select
                    changes.*,
                    undone.id is not null as undone
                from review_changes as changes
                join review_actions on review_actions.id = changes.action_id
                left join review_actions as undone on undone.undoes = changes.action_id
                where changes.transaction_id = any(walked.ids)
                and changes.action_id < walked.action_id
                and review_actions.kind <> 'undo'
                and (
                    undone.id is null
                    or (
                        changes.category_after = walked.category_before
                        and changes.decided_by_after = walked.decided_by_before
                    )
                )
                order by changes.action_id desc
                limit 1
            ) as earlier
            where earlier.undone
        ),
        back as (
            select distinct on (walked.now)
                walked.now,
                walked.category_before,
                walked.decided_by_before,
                walked.review_status_before,
                walked.waited,
                coalesce(
                    walked.decided_by_before in ('correction', 'import')
                    or (
                        walked.transaction_id = walked.now
                        and (walked.decided_by_before = 'stage' or walked.review_status_before = 'reviewed')
                    ),
                    false
                ) as said
            from walked
            order by
                walked.now,
                walked.action_id
        )
        select
            in_force.transaction_id,
            in_force.category,
            in_force.decided_by,
            in_force.review_status,
            (back.waited or review_items.transaction_id is not null) as "waited!",
            case
                when back.said then back.category_before
                else coalesce(rule.category, predictions.category)
            end as category_back,
            case
                when back.said then back.decided_by_before
                else coalesce(rule.decided_by, 'stage')
            end as "decided_by_back!",
            case
                when back.waited or review_items.transaction_id is not null then 'pending'
                when back.said then back.review_status_before
                when rule.id is null then 'pending'
                else 'accepted'
            end as "review_status_back!"
        from back
        join in_force on in_force.transaction_id = back.now
        join transactions on transactions.id = back.now
        left join predictions on predictions.id = in_force.prediction_id
        left join review_items
            on review_items.transaction_id = back.now
            and review_items.resolved_at is null
        left join lateral rule_for(transactions.account_id, transactions.descriptor_key, transactions.direction) as rule
            on predictions.id is not null"#,
        &rows.changed,
        &rows.now,
        decision,
    )
    .fetch_all(tx)
    .await?;
    Ok(backs)
}

/// Brings rows back to what an undo wrote down of them. Those that waited wait again, and so do those that nobody stands for
/// any more.
pub(super) async fn go_back(
    tx: &mut PgConnection,
    undo: i64,
    back: &[String],
    waited: &[String],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "update in_force
        set
            category = changed.category_after,
            decided_by = changed.decided_by_after,
            review_status = changed.review_status_after
        from review_changes as changed
        where changed.action_id = $1
        and changed.transaction_id = in_force.transaction_id
        and changed.transaction_id = any($2)",
        undo,
        back,
    )
    .execute(&mut *tx)
    .await?;
    let waiting = sqlx::query_scalar!(
        "update review_items
        set
            group_key = review_group_key(
                review_items.reason, transactions.direction, transactions.descriptor_key, transactions.id
            ),
            resolved_at = null,
            resolved_by = null
        from transactions
        where transactions.id = review_items.transaction_id
        and review_items.transaction_id = any($1)
        returning review_items.transaction_id",
        waited,
    )
    .fetch_all(&mut *tx)
    .await?;
    let waiting: HashSet<String> = waiting.into_iter().collect();
    let others: Vec<String> = back.iter().filter(|id| !waiting.contains(*id)).cloned().collect();
    open_items(tx, &others, ReviewReason::RuleWithdrawn, now).await?;
    Ok(())
}
