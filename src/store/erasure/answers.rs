//! What engines said of erased rows, and what recategorizations kept of them.

use sqlx::PgConnection;

use super::ERASED;
use crate::store::Error;

/// What engines said, what holds, and what was told of it.
pub(super) async fn predictions(tx: &mut PgConnection, ids: &[String]) -> Result<(), Error> {
    sqlx::query!("delete from shadow_predictions where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from in_force where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from review_items where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    // An event that has its place keeps it: the feed has no gap, and nobody misses what comes after.
    sqlx::query!("delete from events where transaction_id = any($1) and id is null", ids).execute(&mut *tx).await?;
    sqlx::query!("update events set transaction_id = $2 where transaction_id = any($1)", ids, ERASED)
        .execute(&mut *tx)
        .await?;
    let texts = sqlx::query_scalar!("delete from predictions where transaction_id = any($1) returning text_hash", ids)
        .fetch_all(&mut *tx)
        .await?;
    sqlx::query!(
        "delete from rendered_texts
        where hash = any($1)
        and not exists (select from predictions where predictions.text_hash = rendered_texts.hash)",
        &texts,
    )
    .execute(&mut *tx)
    .await?;
    // A scored row keeps what its figures are made of.
    sqlx::query!(
        "update eval_items
        set
            item_id = 'erased:' || gen_random_uuid(),
            descriptor_key = null,
            amount = null,
            posted_at = null
        where item_id = any($1)",
        ids,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// What recategorizations kept of the rows, and where they stand: a cursor at a row that goes is put to the one before.
pub(super) async fn runs(tx: &mut PgConnection, ids: &[String], account: Option<&str>) -> Result<(), Error> {
    sqlx::query!(
        "update recategorizations
        set
            chunk_cursor = (
                select max(recategorization_changes.transaction_id)
                from recategorization_changes
                where recategorization_changes.run_id = recategorizations.id
                and recategorization_changes.transaction_id < recategorizations.chunk_cursor
                and recategorization_changes.transaction_id <> all($1)
            )
        where chunk_cursor = any($1)",
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update recategorizations
        set
            cursor_account_id = kept.account_id,
            cursor_posted_at = kept.posted_at,
            cursor_id = kept.id
        from recategorizations as stood
        left join lateral (
            select
                transactions.account_id,
                transactions.posted_at,
                transactions.id
            from transactions
            where transactions.replaced_by is null
            and (transactions.account_id, transactions.posted_at, transactions.id)
                < (stood.cursor_account_id, stood.cursor_posted_at, stood.cursor_id)
            and transactions.id <> all($1)
            order by
                transactions.account_id desc,
                transactions.posted_at desc,
                transactions.id desc
            limit 1
        ) as kept on true
        where stood.id = recategorizations.id
        and (recategorizations.cursor_id = any($1) or recategorizations.cursor_account_id = $2)",
        ids,
        account,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("delete from recategorization_changes where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from recategorization_failures where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    sqlx::query!("delete from recategorization_labels where transaction_id = any($1)", ids).execute(&mut *tx).await?;
    Ok(())
}
