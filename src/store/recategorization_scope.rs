//! The scope of a run as queries take it, and whether what it names is known here.

use chrono::{DateTime, Utc};

use super::{Error, Store, read};
use crate::domain::{AccountId, DescriptorKey, RecategorizationScope, Slug, recategorization::UnknownName};

/// Unknown names that are told at a time.
const NAMED: i64 = 10;

/// A scope as the queries take it: what is not narrowed is null.
pub(super) struct ScopeFilter {
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
    pub(super) accounts: Option<Vec<String>>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) categories: Option<Vec<String>>,
    pub(super) engines: Option<Vec<String>>,
    pub(super) below: Option<f32>,
}

impl From<&RecategorizationScope> for ScopeFilter {
    fn from(scope: &RecategorizationScope) -> Self {
        let some = |texts: Vec<String>| Some(texts).filter(|texts| !texts.is_empty());
        Self {
            from: scope.from,
            to: scope.to,
            accounts: some(scope.account_ids.iter().map(AccountId::to_string).collect()),
            keys: some(scope.descriptor_keys.iter().map(DescriptorKey::as_str).map(str::to_owned).collect()),
            categories: some(scope.categories.iter().map(Slug::to_string).collect()),
            engines: some(scope.engines.clone()),
            below: scope.below_confidence,
        }
    }
}

impl Store {
    /// What a scope names that is not known here, ten names at most: accounts and merchants without a transaction, categories of
    /// no taxonomy and no transaction, engines that never answered, but for those that are `answering`.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn unknown_in_scope(
        &self,
        scope: &RecategorizationScope,
        answering: &[String],
    ) -> Result<Vec<UnknownName>, Error> {
        let ScopeFilter { accounts, keys, categories, engines, .. } = ScopeFilter::from(scope);
        let rows = sqlx::query!(
            r#"select
                'account' as "of!",
                name as "name!"
            from unnest($1::text[]) as asked(name)
            where not exists (
                select
                from transactions
                where transactions.account_id = asked.name
                and transactions.replaced_by is null
            )
            union all
            select
                'merchant',
                name
            from unnest($2::text[]) as asked(name)
            where not exists (
                select
                from transactions
                where transactions.descriptor_key = asked.name
                and transactions.replaced_by is null
            )
            union all
            select
                'category',
                name
            from unnest($3::text[]) as asked(name)
            where not exists (
                select
                from taxonomies
                where taxonomies.categories @> jsonb_build_array(jsonb_build_object('slug', asked.name))
            )
            and not exists (
                select
                from in_force
                where in_force.category = asked.name
            )
            union all
            select
                'engine',
                name
            from unnest($4::text[]) as asked(name)
            where name <> all($5)
            and not exists (
                select
                from predictions
                where predictions.engine = asked.name
            )
            limit $6"#,
            accounts as Option<Vec<String>>,
            keys as Option<Vec<String>>,
            categories as Option<Vec<String>>,
            engines as Option<Vec<String>>,
            answering,
            NAMED,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(match row.of.as_str() {
                    "account" => UnknownName::Account(read(&row.name, "transactions.account_id")?),
                    "merchant" => UnknownName::Merchant(DescriptorKey::from_stored(&row.name)),
                    "category" => UnknownName::Category(read(&row.name, "in_force.category")?),
                    _ => UnknownName::Engine(row.name),
                })
            })
            .collect()
    }
}
