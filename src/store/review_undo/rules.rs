//! The rule that a decision left, and the rows that follow it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, Undoing, names_of};

/// Gives a rule the word that it had before and that nobody took back, and retires it where there is none. A rule of which
/// somebody has said something since stays.
///
/// Returns the keys that the rule holds for.
pub(super) async fn restore(
    tx: &mut PgConnection,
    decision: &Undoing,
    now: DateTime<Utc>,
) -> Result<Vec<String>, Error> {
    let Some(rule) = decision.rule_id else { return Ok(Vec::new()) };
    // From here on nobody says anything else of it.
    let key = sqlx::query_scalar!("select descriptor_key from account_rules where id = $1 for update", rule)
        .fetch_one(&mut *tx)
        .await?;
    sqlx::query!(
        "update account_rules
        set
            category = coalesce(back.rule_before, account_rules.category),
            retired_at = case when back.rule_before is null then $3::timestamptz end
        from (
            with recursive walked as (
                select
                    id,
                    rule_before
                from review_actions
                where id = $2
                union all
                select
                    earlier.id,
                    earlier.rule_before
                from walked
                cross join lateral (
                    select
                        actions.id,
                        actions.rule_before,
                        undone.id is not null as undone
                    from review_actions as actions
                    left join review_actions as undone on undone.undoes = actions.id
                    where actions.rule_id = $1
                    and actions.id < walked.id
                    and (undone.id is null or actions.category = walked.rule_before)
                    order by actions.id desc
                    limit 1
                ) as earlier
                where earlier.undone
            )
            select rule_before
            from walked
            order by id
            limit 1
        ) as back
        where account_rules.id = $1
        and not exists (
            select
            from review_actions as later
            where later.rule_id = $1
            and later.id > $2
            and not exists (select from review_actions as undone where undone.undoes = later.id)
        )",
        rule,
        decision.id,
        now,
    )
    .execute(&mut *tx)
    .await?;
    Ok(names_of(tx, &key).await?.keys)
}

/// Of rows with these keys, and those whose answer came by the decision's rule: writes down that what follows the decision's
/// word as a rule, or the rule of a merchant that is not theirs any more, goes back to the rule that stands for it, or to
/// what the stage said. Returns which.
///
/// A row follows a rule that answered it, and the rule to which a merge brought it, until somebody decides it.
pub(super) async fn leave(
    tx: &mut PgConnection,
    decision: &Undoing,
    keys: &[String],
    undo: i64,
) -> Result<Vec<String>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let left = sqlx::query_scalar!(
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
            becomes.category,
            becomes.decided_by,
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
            from in_force
            join transactions on transactions.id = in_force.transaction_id
            join predictions on predictions.id = in_force.prediction_id
            where in_force.prediction_id in (
                select predictions.id
                from predictions
                where predictions.rule_id = $2
                union all
                select reached.prediction_id
                from transactions
                join in_force as reached on reached.transaction_id = transactions.id
                where transactions.descriptor_key = any($3)
                and transactions.replaced_by is null
            )
            and in_force.decided_by in ('account_rule', 'merchant_rule')
            and ($4::text is null or in_force.category = $4)
            and (
                in_force.review_status <> 'reviewed'
                or (
                    select review_actions.kind = 'merge'
                    from review_changes as changes
                    join review_actions on review_actions.id = changes.action_id
                    where changes.transaction_id = in_force.transaction_id
                    and review_actions.kind <> 'undo'
                    and not exists (select from review_actions as undone where undone.undoes = changes.action_id)
                    order by changes.action_id desc
                    limit 1
                )
            )
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
        cross join lateral (
            select
                coalesce(rule.category, followed.predicted) as category,
                coalesce(rule.decided_by, 'stage') as decided_by
        ) as becomes
        where (becomes.category, becomes.decided_by) is distinct from (followed.category, followed.decided_by)
        returning transaction_id"#,
        undo,
        decision.rule_id,
        keys,
        decision.category,
    )
    .fetch_all(tx)
    .await?;
    Ok(left)
}
