//! What people said and did about erased rows: decisions, labels, rules, names of merchants, groups in which nothing waits any more.

use sqlx::PgConnection;

use crate::store::Error;

/// Groups of the desk in which erased rows waited.
pub(super) struct Groups {
    /// Those of erased rows and of nothing else.
    pub(super) gone: Vec<String>,
    /// These, and those in which others may wait.
    pub(super) touched: Vec<String>,
}

/// The groups of these rows: each row's own, those of keys that no row has any more, and those that are noted beside the rows.
pub(super) async fn groups(tx: &mut PgConnection, ids: &[String], gone_keys: &[String]) -> Result<Groups, Error> {
    let gone = sqlx::query_scalar!(
        r#"select kind || ':' || id as "group_key!"
        from unnest($1::text[]) as id
        cross join (values ('audit'), ('alone')) as kinds(kind)
        union all
        select direction || ':' || key
        from unnest($2::text[]) as key
        cross join (values ('debit'), ('credit')) as directions(direction)"#,
        ids,
        gone_keys,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut touched = sqlx::query_scalar!(
        r#"select group_key as "group_key!" from review_items where transaction_id = any($1)
        union
        select group_key from review_actions where transaction_id = any($1) and group_key is not null"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    touched.extend_from_slice(&gone);
    Ok(Groups { gone, touched })
}

/// What people said and did; returns how many labels went.
pub(super) async fn decisions(
    tx: &mut PgConnection,
    ids: &[String],
    gone_keys: &[String],
    gone_groups: &[String],
) -> Result<i64, Error> {
    sqlx::query!("delete from second_labels where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from review_changes where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!(
        "update review_actions
        set
            transaction_id = null,
            group_key = null,
            note = null,
            correction_id = null
        where transaction_id = any($1)",
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update review_actions
        set
            group_key = null,
            note = null
        where transaction_id is null
        and group_key = any($1)",
        gone_groups,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update review_actions
        set
            merchant_key = case when merchant_key = any($1) then null else merchant_key end,
            into_key = case when into_key = any($1) then null else into_key end,
            name = null,
            name_before = null
        where merchant_key = any($1)
        or into_key = any($1)",
        gone_keys,
    )
    .execute(&mut *tx)
    .await?;
    labels(tx, ids).await
}

/// What people said, taken back or not. Where nobody said anything, no label is told to have gone.
async fn labels(tx: &mut PgConnection, ids: &[String]) -> Result<i64, Error> {
    let labels = sqlx::query_scalar!("select id from corrections_made where transaction_id = any($1)", ids)
        .fetch_all(&mut *tx)
        .await?;
    if labels.is_empty() {
        return Ok(0);
    }
    sqlx::query!("delete from corrections_withdrawn where correction_id = any($1)", &labels).execute(&mut *tx).await?;
    sqlx::query!("delete from corrections_mapped where correction_id = any($1)", &labels).execute(&mut *tx).await?;
    let gone = sqlx::query!("delete from corrections_made where id = any($1)", &labels).execute(&mut *tx).await?;
    Ok(i64::try_from(gone.rows_affected()).unwrap_or(i64::MAX))
}

/// What people call merchants, and the rules for all accounts, of keys that no row has any more.
pub(super) async fn merchants(tx: &mut PgConnection, gone_keys: &[String]) -> Result<(), Error> {
    sqlx::query!("delete from merchant_merges where descriptor_key = any($1)", gone_keys).execute(&mut *tx).await?;
    sqlx::query!(
        "delete from merchant_names
        where merchant_key = any($1)
        and not exists (select from merchant_merges where merchant_merges.root_key = merchant_names.merchant_key)",
        gone_keys,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update account_rules
        set
            descriptor_key = 'erased:' || id,
            retired_at = coalesce(retired_at, now())
        where account_id is null
        and descriptor_key = any($1)
        and not exists (select from merchant_merges where merchant_merges.root_key = account_rules.descriptor_key)",
        gone_keys,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// An account's rules. Nothing that stays was decided by one.
pub(super) async fn rules(tx: &mut PgConnection, account: &str) -> Result<i64, Error> {
    sqlx::query_scalar!("select set_config('txcat.erasing', 'yes', true)").fetch_one(&mut *tx).await?;
    sqlx::query!(
        "update review_actions
        set
            rule_id = null
        where rule_id in (select id from account_rules where account_id = $1)",
        account,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from rules_mapped
        where rule_id in (select id from account_rules where account_id = $1)",
        account,
    )
    .execute(&mut *tx)
    .await?;
    let gone = sqlx::query!("delete from account_rules where account_id = $1", account).execute(&mut *tx).await?;
    sqlx::query_scalar!("select set_config('txcat.erasing', '', true)").fetch_one(&mut *tx).await?;
    Ok(i64::try_from(gone.rows_affected()).unwrap_or(i64::MAX))
}

/// Groups of the desk in which nothing waits any more.
pub(super) async fn waiting(tx: &mut PgConnection, groups: &[String]) -> Result<(), Error> {
    let empty = sqlx::query_scalar!(
        r#"select asked.group_key as "group_key!"
        from unnest($1::text[]) as asked(group_key)
        where not exists (
            select from review_items
            where review_items.group_key = asked.group_key
            and review_items.resolved_at is null
        )"#,
        groups,
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!("delete from review_groups where group_key = any($1)", &empty).execute(&mut *tx).await?;
    sqlx::query!("delete from review_groups_stale where group_key = any($1)", &empty).execute(&mut *tx).await?;
    sqlx::query!("delete from review_skips where group_key = any($1)", &empty).execute(&mut *tx).await?;
    Ok(())
}
