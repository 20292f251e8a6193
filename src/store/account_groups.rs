//! Groups of accounts, which an adapter may be registered for.

use std::collections::HashMap;

use super::{Error, Store, read, tell_actor};
use crate::domain::AccountId;

impl Store {
    /// The groups of those of the accounts that are in one.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn account_groups(&self, accounts: &[&AccountId]) -> Result<HashMap<AccountId, String>, Error> {
        let accounts: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
        let rows = sqlx::query!(
            "select
                account_id,
                account_group
            from account_groups
            where account_id = any($1)",
            &accounts as &[&str],
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((read(&row.account_id, "account_groups.account_id")?, row.account_group)))
            .collect()
    }

    /// Puts accounts into a group, or takes them out of any; returns how many that changed.
    ///
    /// # Errors
    /// When the database fails or the group's name is not of the form that groups have.
    pub async fn put_account_group(&self, accounts: &[AccountId], group: Option<&str>, by: &str) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        tell_actor(&mut tx, by).await?;
        let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
        let Some(group) = group else {
            let done = sqlx::query!("delete from account_groups where account_id = any($1)", &accounts as &[&str])
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            return Ok(done.rows_affected());
        };
        let done = sqlx::query!(
            "insert into account_groups (
                account_id,
                account_group
            )
            select distinct
                asked.account_id,
                $2
            from unnest($1::text[]) as asked(account_id)
            on conflict (account_id) do update set
                account_group = excluded.account_group
            where account_groups.account_group <> excluded.account_group",
            &accounts as &[&str],
            group,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}
