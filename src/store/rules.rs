//! Rules: the memory that a correction of a merchant leaves, for one account or for all.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{Error, Store, read};
use crate::domain::{AccountId, DescriptorKey, Direction, Slug};

/// Which rows a rule is about.
pub type RuleKey = (AccountId, DescriptorKey, Direction);

/// "This account's rows with this key are that", or every account's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
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

/// What a rule says, and of which rows.
pub(super) struct NewRule<'a> {
    pub(super) account: Option<&'a str>,
    pub(super) merchant: &'a str,
    pub(super) direction: &'a str,
    pub(super) category: &'a str,
    pub(super) made_by: &'a str,
    pub(super) made_at: DateTime<Utc>,
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
            where descriptor_key = any((select merchant_keys($1))::text[])
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
    pub async fn rules_for(&self, keys: &[RuleKey]) -> Result<HashMap<RuleKey, Rule>, Error> {
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
                let rule = Rule { id: row.id, category: read(&row.category, "account_rules.category")? };
                Ok((key, rule))
            })
            .collect()
    }
}

/// Leaves a rule of one account or of all; returns its number, and what it said before where it stood already.
pub(super) async fn leave_rule(tx: &mut PgConnection, rule: &NewRule<'_>) -> Result<(i64, Option<String>), Error> {
    let standing = sqlx::query!(
        "select
            id,
            category,
            retired_at
        from account_rules
        where account_id is not distinct from $1
        and descriptor_key = $2
        and direction = $3
        for update",
        rule.account,
        rule.merchant,
        rule.direction,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(standing) = standing else {
        let id = sqlx::query_scalar!(
            "insert into account_rules (
                account_id,
                descriptor_key,
                direction,
                category,
                made_by,
                made_at
            )
            values ($1, $2, $3, $4, $5, $6)
            on conflict do nothing
            returning id",
            rule.account,
            rule.merchant,
            rule.direction,
            rule.category,
            rule.made_by,
            rule.made_at,
        )
        .fetch_optional(&mut *tx)
        .await?;
        return match id {
            Some(id) => Ok((id, None)),
            // Somebody made it at this moment: now it stands.
            None => Box::pin(leave_rule(tx, rule)).await,
        };
    };
    sqlx::query!(
        "update account_rules
        set
            category = $2,
            made_by = $3,
            made_at = $4,
            retired_at = null
        where id = $1",
        standing.id,
        rule.category,
        rule.made_by,
        rule.made_at,
    )
    .execute(tx)
    .await?;
    Ok((standing.id, Some(standing.category).filter(|_| standing.retired_at.is_none())))
}
