//! Taking a decision back: every row it changed is as it was, and so is the rule it left.
//!
//! Rows that somebody has decided since stay as that person said. Rows that came later and followed the
//! rule go back to what the stage said, and wait for a person's eye. What was said of a merchant is taken back in the same way.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{
    Error, Store, count,
    events::tell_cause,
    merchant_edits::call,
    merchant_merges::{follow, lock_merges, names_of, regroup},
    past_deadlocks,
};

/// What became of an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// It is taken back.
    Done {
        /// The undo's own number in the trail.
        action: i64,
        /// Rows that are as they were, those that came later and followed the rule among them.
        restored: u32,
        /// Rows that were decided again since, and stay so.
        kept: u32,
    },
    /// No decision of that number.
    Unknown,
    /// It was taken back before.
    Already,
}

struct Undoing {
    id: i64,
    kind: String,
    merchant_key: Option<String>,
    into_key: Option<String>,
    name_before: Option<String>,
    transaction_id: Option<String>,
    group_key: Option<String>,
    category: Option<String>,
    correction_id: Option<i64>,
    rule_id: Option<i64>,
    rule_before: Option<String>,
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
    ) -> Result<Undone, Error> {
        past_deadlocks(|| self.undo_once(action, note, made_by, now).boxed()).await
    }

    async fn undo_once(
        &self,
        action: i64,
        note: Option<&str>,
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Result<Undone, Error> {
        let mut tx = self.begin().await?;
        let decision = sqlx::query_as!(
            Undoing,
            "select
                id,
                kind,
                merchant_key,
                into_key,
                name_before,
                transaction_id,
                group_key,
                category,
                correction_id,
                rule_id,
                rule_before
            from review_actions
            where id = $1
            and kind in ('decide', 'rename', 'categorize', 'merge')",
            action,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(decision) = decision else { return Ok(Undone::Unknown) };
        if decision.merchant_key.is_some() {
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
        let Some(undo) = undo else { return Ok(Undone::Already) };
        tell_cause(&mut tx, "decision_undone").await?;
        let parted = part(&mut tx, &decision).await?;
        let kept = restore(&mut tx, &decision, undo).await?;
        if !parted.is_empty() {
            let followed = leave_foreign_rules(&mut tx, &parted, undo).await?;
            go_back(&mut tx, undo, &followed, now).await?;
        }
        if let Some(correction) = decision.correction_id {
            sqlx::query!(
                "insert into corrections_withdrawn (
                    correction_id,
                    action_id
                )
                values ($1, $2)",
                correction,
                undo,
            )
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query!("delete from second_labels where action_id = $1 and made_at is null", decision.id)
            .execute(&mut *tx)
            .await?;
        restore_rule(&mut tx, &decision, undo, now).await?;
        let restored =
            sqlx::query_scalar!(r#"select count(*) as "rows!" from review_changes where action_id = $1"#, undo)
                .fetch_one(&mut *tx)
                .await?;
        let restored = count(restored, "review_changes")?;
        tx.commit().await?;
        Ok(Undone::Done { action: undo, restored, kept })
    }
}

/// Puts back the rows that nobody has decided since; returns how many stay.
async fn restore(tx: &mut PgConnection, decision: &Undoing, undo: i64) -> Result<u32, Error> {
    // The locks come in the order in which everybody takes them.
    let ours = sqlx::query_scalar!(
        "select
            in_force.transaction_id
        from review_changes as mine
        join in_force on in_force.transaction_id = mine.transaction_id
        where mine.action_id = $1
        and in_force.category = mine.category_after
        and in_force.decided_by = mine.decided_by_after
        and not exists (
            select
            from review_changes as later
            where later.transaction_id = mine.transaction_id
            and later.action_id > mine.action_id
            and not exists (select from review_actions where review_actions.undoes = later.action_id)
            and not exists (
                select
                from review_actions as taken_back
                where taken_back.id = later.action_id
                and taken_back.kind = 'undo'
            )
        )
        order by in_force.transaction_id
        for no key update of in_force",
        decision.id,
    )
    .fetch_all(&mut *tx)
    .await?;
    let all =
        sqlx::query_scalar!(r#"select count(*) as "rows!" from review_changes where action_id = $1"#, decision.id)
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
        select
            $1,
            in_force.transaction_id,
            in_force.category,
            in_force.decided_by,
            in_force.review_status,
            false,
            coalesce(mine.category_before, in_force.category),
            coalesce(mine.decided_by_before, in_force.decided_by),
            coalesce(mine.review_status_before, in_force.review_status)
        from review_changes as mine
        join in_force on in_force.transaction_id = mine.transaction_id
        where mine.action_id = $2
        and mine.transaction_id = any($3)",
        undo,
        decision.id,
        &ours,
    )
    .execute(&mut *tx)
    .await?;
    // Where nothing was in force before, a stage may have spoken since.
    sqlx::query!(
        "update in_force
        set
            category = coalesce(
                mine.category_before,
                (select predictions.category from predictions where predictions.id = in_force.prediction_id)
            ),
            decided_by = coalesce(mine.decided_by_before, 'stage'),
            review_status = coalesce(mine.review_status_before, 'pending')
        from review_changes as mine
        where mine.action_id = $1
        and mine.transaction_id = in_force.transaction_id
        and mine.transaction_id = any($2)
        and (mine.category_before is not null or in_force.prediction_id is not null)",
        decision.id,
        &ours,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from in_force
        using review_changes as mine
        where mine.action_id = $1
        and mine.transaction_id = in_force.transaction_id
        and mine.transaction_id = any($2)
        and mine.category_before is null
        and in_force.prediction_id is null",
        decision.id,
        &ours,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update review_items
        set
            group_key = review_group_key(
                review_items.reason, transactions.direction, transactions.descriptor_key, transactions.id
            ),
            resolved_at = null,
            resolved_by = null
        from review_changes as mine
        join transactions on transactions.id = mine.transaction_id
        where mine.action_id = $1
        and mine.transaction_id = review_items.transaction_id
        and mine.transaction_id = any($2)
        and mine.waited",
        decision.id,
        &ours,
    )
    .execute(&mut *tx)
    .await?;
    let restored = i64::try_from(ours.len()).unwrap_or(i64::MAX);
    count(all - restored, "review_changes")
}

/// Takes the rule back, unless somebody has made it say something else since, and with it what followed it.
async fn restore_rule(tx: &mut PgConnection, decision: &Undoing, undo: i64, now: DateTime<Utc>) -> Result<(), Error> {
    let Some(rule) = decision.rule_id else { return Ok(()) };
    let later = sqlx::query_scalar!(
        r#"select exists (
            select
            from review_actions as later
            where later.rule_id = $1
            and later.id > $2
            and not exists (select from review_actions as undone where undone.undoes = later.id)
        ) as "later!""#,
        rule,
        decision.id,
    )
    .fetch_one(&mut *tx)
    .await?;
    if later {
        return Ok(());
    }
    sqlx::query!(
        "update account_rules
        set
            category = coalesce($2, category),
            retired_at = case when $2::text is null then $3::timestamptz end
        where id = $1",
        rule,
        decision.rule_before,
        now,
    )
    .execute(&mut *tx)
    .await?;
    let followed = sqlx::query_scalar!(
        r#"insert into review_changes (
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
            followed.transaction_id,
            followed.category,
            followed.decided_by,
            followed.review_status,
            false,
            coalesce($3, followed.predicted),
            case when $3::text is null then 'stage' else followed.decided_by end,
            case when $3::text is null then 'pending' else followed.review_status end
        from (
            select
                in_force.transaction_id,
                in_force.category,
                in_force.decided_by,
                in_force.review_status,
                predictions.category as predicted
            from predictions
            join in_force on in_force.prediction_id = predictions.id
            where predictions.rule_id = $2
            and in_force.decided_by in ('account_rule', 'merchant_rule')
            and in_force.review_status <> 'reviewed'
            and in_force.category = $4
            and not exists (
                select
                from review_changes as restored
                where restored.action_id = $1
                and restored.transaction_id = in_force.transaction_id
            )
            order by in_force.transaction_id
            for no key update of in_force
        ) as followed
        returning transaction_id"#,
        undo,
        rule,
        decision.rule_before,
        decision.category,
    )
    .fetch_all(&mut *tx)
    .await?;
    go_back(tx, undo, &followed, now).await
}

/// Takes back what was said of a merchant's name and keys. Returns the keys of a merchant that was parted by it.
async fn part(tx: &mut PgConnection, decision: &Undoing) -> Result<Vec<String>, Error> {
    let Some(merchant) = &decision.merchant_key else { return Ok(Vec::new()) };
    match decision.kind.as_str() {
        "rename" => {
            let held = sqlx::query_scalar!("select action_id from merchant_names where merchant_key = $1", merchant)
                .fetch_optional(&mut *tx)
                .await?;
            if held.is_none_or(|action| action == decision.id) {
                call(tx, merchant, decision.name_before.as_deref(), decision.id).await?;
            }
            Ok(Vec::new())
        }
        "merge" => {
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

/// Of rows with these keys that follow a rule which is not theirs any more: writes down that they go back to the rule
/// that stands for them, or to what the stage said. Returns which.
async fn leave_foreign_rules(tx: &mut PgConnection, keys: &[String], undo: i64) -> Result<Vec<String>, Error> {
    let followed = sqlx::query_scalar!(
        r#"insert into review_changes (
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
            followed.transaction_id,
            followed.category,
            followed.decided_by,
            followed.review_status,
            false,
            coalesce(rule.category, followed.predicted),
            case
                when rule.id is null then 'stage'
                when rule.account_id is null then 'merchant_rule'
                else 'account_rule'
            end,
            case when rule.id is null then 'pending' else followed.review_status end
        from (
            select
                in_force.transaction_id,
                in_force.category,
                in_force.decided_by,
                in_force.review_status,
                transactions.account_id,
                transactions.descriptor_key,
                transactions.direction,
                predictions.category as predicted,
                predictions.rule_id
            from transactions
            join in_force on in_force.transaction_id = transactions.id
            join predictions on predictions.id = in_force.prediction_id
            where transactions.descriptor_key = any($2)
            and in_force.decided_by in ('account_rule', 'merchant_rule')
            and in_force.review_status <> 'reviewed'
            and not exists (
                select
                from review_changes as restored
                where restored.action_id = $1
                and restored.transaction_id = in_force.transaction_id
            )
            order by in_force.transaction_id
            for no key update of in_force
        ) as followed
        left join lateral rule_for(followed.account_id, followed.descriptor_key, followed.direction) as rule on true
        where rule.id is distinct from followed.rule_id
        returning transaction_id"#,
        undo,
        keys,
    )
    .fetch_all(tx)
    .await?;
    Ok(followed)
}

/// Brings rows back to what an undo wrote down of them; those that nobody stands for any more wait.
async fn go_back(tx: &mut PgConnection, undo: i64, followed: &[String], now: DateTime<Utc>) -> Result<(), Error> {
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
        followed,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into review_items (
            transaction_id,
            reason,
            group_key,
            doubt,
            amount,
            currency,
            opened_at
        )
        select
            transactions.id,
            'rule_withdrawn',
            review_group_key(
                'rule_withdrawn', transactions.direction, transactions.descriptor_key, transactions.id
            ),
            1 - coalesce(in_force.confidence, 0),
            transactions.amount,
            transactions.currency,
            $2
        from transactions
        join in_force on in_force.transaction_id = transactions.id
        where transactions.id = any($1)
        and in_force.review_status = 'pending'
        order by transactions.id
        on conflict (transaction_id) do update set
            reason = excluded.reason,
            group_key = excluded.group_key,
            doubt = excluded.doubt,
            opened_at = excluded.opened_at,
            resolved_at = null,
            resolved_by = null",
        followed,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}
