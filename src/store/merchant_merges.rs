//! Which statement keys stand for one merchant. What a merge does to rows is in [`super::merchant_edits`].

use std::collections::HashMap;

use sqlx::PgConnection;

use super::{Error, Store};

/// A merchant with every key that its statements have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// The key that the merchant goes by.
    pub(super) merchant: String,
    /// That key and those merged into it.
    pub(super) keys: Vec<String>,
}

impl Store {
    /// The key that the merchant of a key goes by.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merchant_key(&self, key: &str) -> Result<String, Error> {
        let merchant = sqlx::query_scalar!(r#"select merchant_key($1) as "key!""#, key).fetch_one(&self.pool).await?;
        Ok(merchant)
    }

    /// The merchants that merged keys stand for, by key: of these keys and of those merged with them. A key that was
    /// never merged is not among them.
    pub(super) async fn merchants_of(&self, keys: &[&str]) -> Result<HashMap<String, String>, Error> {
        let rows = sqlx::query!(
            "select
                descriptor_key,
                root_key
            from merchant_merges
            where root_key = any($1)
            or root_key in (select asked.root_key from merchant_merges as asked where asked.descriptor_key = any($1))",
            keys as &[&str],
        )
        .fetch_all(&self.pool)
        .await?;
        let roots = rows.iter().map(|row| (row.root_key.clone(), row.root_key.clone())).collect::<Vec<_>>();
        Ok(rows.into_iter().map(|row| (row.descriptor_key, row.root_key)).chain(roots).collect())
    }
}

/// The merchant of a key, with all its keys.
pub(super) async fn names_of(tx: &mut PgConnection, key: &str) -> Result<Names, Error> {
    let names = sqlx::query_as!(
        Names,
        r#"select
            merchant_key($1) as "merchant!",
            merchant_keys($1) as "keys!""#,
        key,
    )
    .fetch_one(tx)
    .await?;
    Ok(names)
}

/// Merges and what takes them back go one after the other, so that no two make a circle.
pub(super) async fn lock_merges(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query_scalar!(r#"select true as "locked!" from pg_advisory_xact_lock(8025)"#).fetch_one(tx).await?;
    Ok(())
}

/// Follows every standing merge to its end again.
pub(super) async fn follow(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!(
        "with recursive up as (
            select
                descriptor_key,
                into_key as root_key
            from merchant_merges
            union all
            select
                up.descriptor_key,
                merchant_merges.into_key
            from up
            join merchant_merges on merchant_merges.descriptor_key = up.root_key
        )
        update merchant_merges
        set root_key = up.root_key
        from up
        where up.descriptor_key = merchant_merges.descriptor_key
        and merchant_merges.root_key <> up.root_key
        and not exists (select from merchant_merges as further where further.descriptor_key = up.root_key)",
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts rows of these keys that wait into the groups of the merchants that the keys stand for now.
pub(super) async fn regroup(tx: &mut PgConnection, keys: &[String]) -> Result<(), Error> {
    sqlx::query!(
        "update review_items
        set group_key = moved.group_key
        from (
            select
                review_items.transaction_id,
                review_group_key(
                    review_items.reason, transactions.direction, transactions.descriptor_key, transactions.id
                ) as group_key
            from review_items
            join transactions on transactions.id = review_items.transaction_id
            where review_items.resolved_at is null
            and transactions.descriptor_key = any($1)
            order by review_items.transaction_id
            for no key update of review_items
        ) as moved
        where moved.transaction_id = review_items.transaction_id
        and moved.group_key <> review_items.group_key",
        keys,
    )
    .execute(tx)
    .await?;
    Ok(())
}
