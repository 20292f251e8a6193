//! The trail of the desk: who did what, when, to which rows, and why; and what is counted from it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, Store, count, read, read_some};
use crate::domain::{
    ActionKind, CorrectionScope, DecidedBy, Direction, ReviewReason, ReviewStatus, Slug, TransactionId,
};

/// Something that somebody did at the desk.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewAction {
    /// Its number; later ones are greater.
    pub id: i64,
    /// What.
    pub kind: ActionKind,
    /// The transaction at hand, of decisions and what takes them back.
    pub transaction_id: Option<TransactionId>,
    /// Its statement text.
    pub descriptor: Option<String>,
    /// Why the transaction at hand waits, or did.
    pub reason: Option<ReviewReason>,
    /// The group.
    pub group: Option<String>,
    /// The merchant, of what is said of one as a whole.
    pub merchant: Option<String>,
    /// The merchant that it was merged into.
    pub into: Option<String>,
    /// Of which of its rows.
    pub direction: Option<Direction>,
    /// What it was called.
    pub name: Option<String>,
    /// What was said.
    pub category: Option<Slug>,
    /// What held before.
    pub category_before: Option<Slug>,
    /// How far it reaches.
    pub scope: Option<CorrectionScope>,
    /// Why, in the person's words.
    pub note: Option<String>,
    /// How many rows it changed.
    pub rows: u32,
    /// Whether it left a rule for the rows to come.
    pub left_rule: bool,
    /// The decision that it takes back.
    pub undoes: Option<i64>,
    /// What took it back.
    pub undone_by: Option<i64>,
    /// Who.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
}

/// What is in force for a row.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) category: &'a str,
    pub(super) decided_by: DecidedBy,
    pub(super) review_status: ReviewStatus,
}

impl<'a> Held<'a> {
    /// As `in_force` has it.
    pub(super) fn read(category: &'a str, decided_by: &str, review_status: &str) -> Result<Self, Error> {
        Ok(Self {
            category,
            decided_by: read(decided_by, "in_force.decided_by")?,
            review_status: read(review_status, "in_force.review_status")?,
        })
    }
}

/// What became of a row.
pub(super) struct Change<'a> {
    pub(super) id: &'a str,
    /// Nothing was in force without one.
    pub(super) before: Option<Held<'a>>,
    pub(super) after: Held<'a>,
    /// Whether it stood in the queue.
    pub(super) waited: bool,
}

/// What the trail is narrowed to; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ActionFilter {
    /// Of this person.
    pub made_by: Option<String>,
    /// About this transaction, or changing it.
    pub transaction_id: Option<TransactionId>,
    /// About a merchant with one of these keys.
    pub merchant: Option<Vec<String>>,
    /// Decisions alone, and those alone that stand.
    pub standing: bool,
    /// At this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Before this number.
    pub before: Option<i64>,
}

/// One person's decisions in a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throughput {
    /// Who.
    pub made_by: String,
    /// Decisions that stand.
    pub decisions: u32,
    /// Rows that these decided.
    pub rows: u32,
}

impl Store {
    /// What was done, latest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn review_actions(&self, filter: &ActionFilter, limit: u32) -> Result<Vec<ReviewAction>, Error> {
        let rows = sqlx::query!(
            r#"select
                review_actions.id,
                review_actions.kind,
                review_actions.transaction_id,
                transactions.descriptor as "descriptor?",
                review_items.reason as "reason?",
                review_actions.group_key,
                review_actions.merchant_key,
                review_actions.into_key,
                review_actions.direction,
                review_actions.name,
                review_actions.category,
                own.category_before as "category_before?",
                review_actions.scope,
                review_actions.note,
                (
                    select count(*) from review_changes where review_changes.action_id = review_actions.id
                ) as "rows!",
                (review_actions.rule_id is not null) as "left_rule!",
                review_actions.undoes,
                undone.id as "undone_by?",
                review_actions.made_by,
                review_actions.made_at
            from review_actions
            left join transactions on transactions.id = review_actions.transaction_id
            left join review_items on review_items.transaction_id = review_actions.transaction_id
            left join review_actions as undone on undone.undoes = review_actions.id
            left join review_changes as own
                on own.action_id = review_actions.id
                and own.transaction_id = review_actions.transaction_id
            where ($1::text is null or review_actions.made_by = $1)
            and ($2::text is null or review_actions.id in (
                select action_id from review_changes where review_changes.transaction_id = $2
            ))
            and (not $3 or (review_actions.kind = 'decide' and undone.id is null))
            and ($4::timestamptz is null or review_actions.made_at >= $4)
            and ($5::bigint is null or review_actions.id < $5)
            and ($6::text[] is null or review_actions.merchant_key = any($6) or review_actions.into_key = any($6))
            order by review_actions.id desc
            limit $7"#,
            filter.made_by,
            filter.transaction_id.as_ref().map(TransactionId::as_str),
            filter.standing,
            filter.since,
            filter.before,
            filter.merchant.as_deref(),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let some = |text: Option<String>, what| text.map(|text| read(&text, what)).transpose();
                Ok(ReviewAction {
                    id: row.id,
                    kind: read(&row.kind, "review_actions.kind")?,
                    transaction_id: row
                        .transaction_id
                        .map(|id| read(&id, "review_actions.transaction_id"))
                        .transpose()?,
                    descriptor: row.descriptor,
                    reason: read_some(row.reason.as_deref(), "review_items.reason")?,
                    group: row.group_key,
                    merchant: row.merchant_key,
                    into: row.into_key,
                    direction: read_some(row.direction.as_deref(), "review_actions.direction")?,
                    name: row.name,
                    category: some(row.category, "review_actions.category")?,
                    category_before: some(row.category_before, "review_changes.category_before")?,
                    scope: row.scope.map(|scope| read(&scope, "review_actions.scope")).transpose()?,
                    note: row.note,
                    rows: count(row.rows, "review_changes")?,
                    left_rule: row.left_rule,
                    undoes: row.undoes,
                    undone_by: row.undone_by,
                    made_by: row.made_by,
                    made_at: row.made_at,
                })
            })
            .collect()
    }

    /// What each person decided since a moment and nobody took back, most decisions first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn throughput(&self, since: DateTime<Utc>) -> Result<Vec<Throughput>, Error> {
        let rows = sqlx::query!(
            r#"select
                review_actions.made_by,
                count(*) as "decisions!",
                coalesce(sum(changed.rows), 0)::bigint as "rows!"
            from review_actions
            join lateral (
                select count(*) as rows from review_changes where review_changes.action_id = review_actions.id
            ) as changed on true
            where review_actions.made_at >= $1
            and review_actions.kind = 'decide'
            and not exists (select from review_actions as undone where undone.undoes = review_actions.id)
            group by review_actions.made_by
            order by
                2 desc,
                review_actions.made_by"#,
            since,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Throughput {
                    made_by: row.made_by,
                    decisions: count(row.decisions, "review_actions")?,
                    rows: count(row.rows, "review_changes")?,
                })
            })
            .collect()
    }
}

/// Adds to the trail what changes no row.
pub(super) async fn note_action(
    tx: &mut PgConnection,
    kind: ActionKind,
    group: &str,
    note: Option<&str>,
    made_by: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into review_actions (
            kind,
            group_key,
            note,
            made_by,
            made_at
        )
        values ($1, $2, $3, $4, $5)",
        kind.as_str(),
        group,
        note,
        made_by,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes down what the rows of an act were before, and what they are now.
pub(super) async fn note_changes(tx: &mut PgConnection, action: i64, changes: &[Change<'_>]) -> Result<(), Error> {
    let before = || changes.iter().map(|change| change.before);
    let after = || changes.iter().map(|change| change.after);
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
            changed.*
        from unnest(
            $2::text[],
            $3::text[],
            $4::text[],
            $5::text[],
            $6::boolean[],
            $7::text[],
            $8::text[],
            $9::text[]
        ) as changed",
        action,
        &changes.iter().map(|change| change.id).collect::<Vec<_>>() as &[&str],
        &before().map(|held| held.map(|held| held.category)).collect::<Vec<_>>() as &[Option<&str>],
        &before().map(|held| held.map(|held| held.decided_by.as_str())).collect::<Vec<_>>() as &[Option<&str>],
        &before().map(|held| held.map(|held| held.review_status.as_str())).collect::<Vec<_>>() as &[Option<&str>],
        &changes.iter().map(|change| change.waited).collect::<Vec<_>>(),
        &after().map(|held| held.category).collect::<Vec<_>>() as &[&str],
        &after().map(|held| held.decided_by.as_str()).collect::<Vec<_>>() as &[&str],
        &after().map(|held| held.review_status.as_str()).collect::<Vec<_>>() as &[&str],
    )
    .execute(tx)
    .await?;
    Ok(())
}
