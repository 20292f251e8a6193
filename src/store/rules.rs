//! Rules: the memory that a correction of a merchant leaves, for one account or for all.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
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

/// A rule as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandingRule {
    /// Its number.
    pub id: i64,
    /// Of this account; of all without one.
    pub account: Option<String>,
    /// The merchant's key that it was made for.
    pub key: String,
    /// Of which rows.
    pub direction: Direction,
    /// What they are.
    pub category: Slug,
    /// Whose word it is.
    pub made_by: String,
    /// Since when.
    pub made_at: DateTime<Utc>,
}

impl Store {
    /// The rules that stand for a merchant, those for everybody first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn merchant_rules(&self, merchant: &str, limit: u32) -> Result<Vec<StandingRule>, Error> {
        let rows = sqlx::query!(
            "select
                id,
                account_id,
                descriptor_key,
                direction,
                category,
                made_by,
                made_at
            from account_rules
            where descriptor_key in (
                select merchant_key($1)
                union all
                select descriptor_key from merchant_merges where root_key = merchant_key($1)
            )
            and retired_at is null
            order by
                account_id nulls first,
                direction,
                id
            limit $2",
            merchant,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(StandingRule {
                    id: row.id,
                    account: row.account_id,
                    key: row.descriptor_key,
                    direction: read(&row.direction, "account_rules.direction")?,
                    category: read(&row.category, "account_rules.category")?,
                    made_by: row.made_by,
                    made_at: row.made_at,
                })
            })
            .collect()
    }

    /// The rules that stand for these accounts, keys and directions; an account's own goes before one for all,
    /// and rules of keys that were merged into one merchant hold for all of them.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn account_rules(&self, keys: &[RuleKey]) -> Result<HashMap<RuleKey, AccountRule>, Error> {
        let accounts: Vec<&str> = keys.iter().map(|(account, _, _)| account.as_str()).collect();
        let descriptors: Vec<&str> = keys.iter().map(|(_, key, _)| key.as_str()).collect();
        let directions: Vec<&str> = keys.iter().map(|(_, _, direction)| direction.as_str()).collect();
        let rows = sqlx::query!(
            r#"select
                rule.id as "id!",
                asked.account_id as "account_id!",
                asked.descriptor_key as "descriptor_key!",
                asked.direction as "direction!",
                rule.category as "category!"
            from (
                select distinct
                    told.account_id,
                    told.descriptor_key,
                    told.direction
                from unnest($1::text[], $2::text[], $3::text[]) as told(account_id, descriptor_key, direction)
            ) as asked
            cross join lateral rule_for(asked.account_id, asked.descriptor_key, asked.direction) as rule"#,
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
