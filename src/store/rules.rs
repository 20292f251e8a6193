//! Account rules: the memory that a correction of an account and merchant leaves.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Error, Store, read};
use crate::domain::{AccountId, DescriptorKey, Direction, Slug};

/// Which rows a rule is about.
pub type RuleKey = (AccountId, DescriptorKey, Direction);

/// "This account's rows with this key are that."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRule {
    /// Its number, which [`Decision::rule`](super::Decision::rule) names.
    pub id: i64,
    /// What they are.
    pub category: Slug,
}

impl Store {
    /// The rules that stand for these accounts, keys and directions.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn account_rules(&self, keys: &[RuleKey]) -> Result<HashMap<RuleKey, AccountRule>, Error> {
        let accounts: Vec<&str> = keys.iter().map(|(account, _, _)| account.as_str()).collect();
        let descriptors: Vec<&str> = keys.iter().map(|(_, key, _)| key.as_str()).collect();
        let directions: Vec<&str> = keys.iter().map(|(_, _, direction)| direction.as_str()).collect();
        let rows = sqlx::query!(
            "select distinct
                account_rules.id,
                account_rules.account_id,
                account_rules.descriptor_key,
                account_rules.direction,
                account_rules.category
            from unnest($1::text[], $2::text[], $3::text[]) as asked(account_id, descriptor_key, direction)
            join account_rules using (account_id, descriptor_key, direction)",
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
