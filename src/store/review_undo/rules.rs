//! The rule that a decision left, and the rows that follow it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, Undoing};

/// Gives a rule the word that it had before and that nobody took back, and retires it where there is none. A rule of which
/// somebody has said something since stays.
pub(super) async fn restore(tx: &mut PgConnection, decision: &Undoing, now: DateTime<Utc>) -> Result<(), Error> {
    let Some(rule) = decision.rule_id else { return Ok(()) };
    // From here on nobody says anything else of it.
    sqlx::query_scalar!("select id from account_rules where id = $1 for update", rule).fetch_one(&mut *tx).await?;
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
    .execute(tx)
    .await?;
    Ok(())
}

/// Of rows that follow the decision's word as a rule, or a rule of another merchant than theirs since these keys were
/// parted: writes down that they go back to the rule that stands for them, or to what the stage said. Returns which.
pub(super) async fn leave(
    tx: &mut PgConnection,
    decision: &Undoing,
    parted: &[String],
    undo: i64,
) -> Result<Vec<String>, Error> {
    if decision.rule_id.is_none() && parted.is_empty() {
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
            and in_force.review_status <> 'reviewed'
            and ($4::text is null or in_force.category = $4)
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
        or ($4 is not null and rule.category <> followed.category)
        returning transaction_id"#,
        undo,
        decision.rule_id,
        parted,
        decision.category,
    )
    .fetch_all(tx)
    .await?;
    Ok(left)
}
