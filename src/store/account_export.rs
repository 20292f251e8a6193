//! All that is stored of one account, as it stands in the tables.

use serde::Serialize;
use serde_json::Value;

use super::{Error, Store};
use crate::domain::AccountId;

/// One account's rows, each an array of objects named as the columns are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountRows {
    /// Transactions, oldest first.
    pub transactions: Value,
    /// What engines said of them.
    pub predictions: Value,
    /// What people said of them, taken back or not.
    pub corrections: Value,
    /// What holds.
    pub in_force: Value,
    /// Why they wait, or did.
    pub review_items: Value,
    /// Changes that people's decisions made.
    pub review_changes: Value,
    /// The account's own rules.
    pub rules: Value,
    /// Its group.
    pub groups: Value,
    /// Changes that were told of.
    pub events: Value,
    /// Labelled sets that hold some of the rows.
    pub dataset_items: Value,
    /// What shadows would have said.
    pub shadow_predictions: Value,
    /// What people did at the desk about the rows, or about groups of nothing else.
    pub review_actions: Value,
    /// Decisions that a second person was asked about.
    pub second_labels: Value,
    /// What recategorizations would change, or did.
    pub recategorization_changes: Value,
    /// People's word on rows that recategorizations looked at.
    pub recategorization_labels: Value,
    /// Rows that recategorizations could not answer.
    pub recategorization_failures: Value,
    /// Rows that stages were measured on.
    pub eval_items: Value,
}

impl Store {
    /// All that is stored of an account, as of one moment. None where nothing is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account_rows(&self, account: &AccountId) -> Result<Option<AccountRows>, Error> {
        let rows = sqlx::query_as!(
            AccountRows,
            r#"with mine as (
                select * from transactions where account_id = $1
            ), own_groups as (
                select kind || ':' || mine.id as group_key
                from mine
                cross join (values ('audit'), ('alone')) as kinds(kind)
                union all
                select keys.direction || ':' || keys.descriptor_key
                from (select distinct direction, descriptor_key from mine) as keys
                where not exists (
                    select from transactions
                    where transactions.descriptor_key = keys.descriptor_key
                    and transactions.replaced_by is null
                    and transactions.account_id <> $1
                )
            )
            select
                (
                    select coalesce(jsonb_agg(to_jsonb(mine) - 'content_hash'
                        || jsonb_build_object('amount', mine.amount::text) order by mine.posted_at, mine.id), '[]')
                    from mine
                ) as "transactions!",
                (
                    select coalesce(jsonb_agg(to_jsonb(predictions) - 'text_hash'
                        || jsonb_build_object('text', rendered_texts.text) order by predictions.id), '[]')
                    from predictions
                    join mine on mine.id = predictions.transaction_id
                    join rendered_texts on rendered_texts.hash = predictions.text_hash
                ) as "predictions!",
                (
                    select coalesce(jsonb_agg(to_jsonb(corrections_made) order by corrections_made.id), '[]')
                    from corrections_made
                    join mine on mine.id = corrections_made.transaction_id
                ) as "corrections!",
                (
                    select coalesce(jsonb_agg(to_jsonb(in_force) order by in_force.posted_at, in_force.transaction_id), '[]')
                    from in_force
                    join mine on mine.id = in_force.transaction_id
                ) as "in_force!",
                (
                    select coalesce(jsonb_agg(to_jsonb(review_items)
                        || jsonb_build_object('amount', review_items.amount::text) order by review_items.transaction_id), '[]')
                    from review_items
                    join mine on mine.id = review_items.transaction_id
                ) as "review_items!",
                (
                    select coalesce(jsonb_agg(to_jsonb(review_changes) order by review_changes.action_id), '[]')
                    from review_changes
                    join mine on mine.id = review_changes.transaction_id
                ) as "review_changes!",
                (
                    select coalesce(jsonb_agg(to_jsonb(account_rules) order by account_rules.id), '[]')
                    from account_rules
                    where account_rules.account_id = $1
                ) as "rules!",
                (
                    select coalesce(jsonb_agg(to_jsonb(account_groups)), '[]')
                    from account_groups
                    where account_groups.account_id = $1
                ) as "groups!",
                (
                    select coalesce(jsonb_agg(to_jsonb(events) order by events.seq), '[]')
                    from events
                    join mine on mine.id = events.transaction_id
                ) as "events!",
                (
                    select coalesce(jsonb_agg(to_jsonb(dataset_items) order by dataset_items.dataset_id), '[]')
                    from dataset_items
                    join mine on mine.id = dataset_items.transaction_id
                ) as "dataset_items!",
                (
                    select coalesce(jsonb_agg(to_jsonb(shadow_predictions) order by shadow_predictions.adapter_id, mine.id), '[]')
                    from shadow_predictions
                    join mine on mine.id = shadow_predictions.transaction_id
                ) as "shadow_predictions!",
                (
                    select coalesce(jsonb_agg(to_jsonb(review_actions) order by review_actions.id), '[]')
                    from review_actions
                    where review_actions.transaction_id in (select id from mine)
                    or (review_actions.transaction_id is null and review_actions.group_key in (select group_key from own_groups))
                ) as "review_actions!",
                (
                    select coalesce(jsonb_agg(to_jsonb(second_labels) order by second_labels.action_id), '[]')
                    from second_labels
                    join mine on mine.id = second_labels.transaction_id
                ) as "second_labels!",
                (
                    select coalesce(jsonb_agg(to_jsonb(recategorization_changes) order by recategorization_changes.run_id, mine.id), '[]')
                    from recategorization_changes
                    join mine on mine.id = recategorization_changes.transaction_id
                ) as "recategorization_changes!",
                (
                    select coalesce(jsonb_agg(to_jsonb(recategorization_labels) order by recategorization_labels.run_id, mine.id), '[]')
                    from recategorization_labels
                    join mine on mine.id = recategorization_labels.transaction_id
                ) as "recategorization_labels!",
                (
                    select coalesce(jsonb_agg(to_jsonb(recategorization_failures) order by recategorization_failures.run_id, mine.id), '[]')
                    from recategorization_failures
                    join mine on mine.id = recategorization_failures.transaction_id
                ) as "recategorization_failures!",
                (
                    select coalesce(jsonb_agg(to_jsonb(eval_items) order by eval_items.run_id, mine.id), '[]')
                    from eval_items
                    join mine on mine.id = eval_items.item_id
                ) as "eval_items!""#,
            account.as_str(),
        )
        .fetch_one(&self.pool)
        .await?;
        let empty = |of: &Value| of.as_array().is_some_and(Vec::is_empty);
        let nothing = empty(&rows.transactions) && empty(&rows.rules) && empty(&rows.groups);
        Ok(Some(rows).filter(|_| !nothing))
    }
}
