//! Rules: the memory that a correction of a merchant leaves, for one account or for all.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Error, Store, read};
use crate::domain::{AccountId, DescriptorKey, Direction, Slug};

/// Which rows a rule is about.
pub type RuleKey = (AccountId, DescriptorKey, Direction);

/// "This account's rows with this key are that", or every account's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRule {
    /// Its number, which [`Decision::rule`](super::Decision::rule) names.
    pub id: i64,
    /// What they are.
    pub category: Slug,
}

impl Store {
    /// The rules that stand for these accounts, keys and directions; an account's own goes before one for all.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn account_rules(&self, keys: &[RuleKey]) -> Result<HashMap<RuleKey, AccountRule>, Error> {
        let accounts: Vec<&str> = keys.iter().map(|(account, _, _)| account.as_str()).collect();
        let descriptors: Vec<&str> = keys.iter().map(|(_, key, _)| key.as_str()).collect();
        let directions: Vec<&str> = keys.iter().map(|(_, _, direction)| direction.as_str()).collect();
        let rows = sqlx::query!(
            r#"select distinct on (asked.account_id, asked.descriptor_key, asked.direction)
                account_rules.id as "id!",
                asked.account_id as "account_id!",
                asked.descriptor_key as "descriptor_key!",
                asked.direction as "direction!",
                account_rules.category as "category!"
            from unnest($1::text[], $2::text[], $3::text[]) as asked(account_id, descriptor_key, direction)
            join account_rules
                on account_rules.descriptor_key = asked.descriptor_key
                and account_rules.direction = asked.direction
                and (account_rules.account_id = asked.account_id or account_rules.account_id is null)
            where account_rules.retired_at is null
            order by
                asked.account_id,
                asked.descriptor_key,
                asked.direction,
                account_rules.account_id nulls last"#,
            &accounts as &[&str],
            &descriptors as &[&str],
            &directions as &[&str],
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let key = (
                    read(&row.account_id, "account_rules.account_id")?,
                    DescriptorKey::from_stored(&row.descriptor_key),
                    read(&row.direction, "account_rules.direction")?,
                );
                let rule = AccountRule { id: row.id, category: read(&row.category, "account_rules.category")? };
                Ok((key, rule))
            })
            .collect()
    }
}
