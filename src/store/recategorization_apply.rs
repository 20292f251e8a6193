//! A run's changes brought into force and put back, chunk by chunk.
//!
//! Each chunk is one database transaction that locks the run first, so that two processes never work on one chunk, and
//! then what is in force of its rows, in the order of their ids as everybody does. What a person said is never touched.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{
    Error, Store,
    events::tell_cause,
    past_deadlocks,
    predictions::{Brought, bring_into_force},
    read,
    taxonomy_migrations::{begin_in, free_split_in, rename_said_in, take_back_in},
};
use crate::domain::{LeftBecause, RecategorizationPhase};

impl Store {
    /// Brings the next changes of a run that is being applied into force, at most `limit`, but for rows that have changed
    /// since the preview. Returns how many it looked at; at none the run is applied. `None` when the run is not being
    /// applied.
    ///
    /// # Errors
    /// When the database fails; then nothing of the chunk was stored.
    pub async fn apply_recategorization(&self, run: i64, limit: u32, now: DateTime<Utc>) -> Result<Option<u32>, Error> {
        past_deadlocks(|| self.apply_once(run, limit, now).boxed()).await
    }

    async fn apply_once(&self, run: i64, limit: u32, now: DateTime<Utc>) -> Result<Option<u32>, Error> {
        let mut tx = self.begin().await?;
        let Some(after) = locked_in(&mut tx, run, RecategorizationPhase::Applying).await? else { return Ok(None) };
        if after.is_empty() {
            begin_in(&mut tx, run, now).await?;
        }
        let ids = next_ids(&mut tx, run, &after, "proposed", limit).await?;
        let Some(last) = ids.last() else {
            end(&mut tx, run, RecategorizationPhase::Applied).await?;
            tx.commit().await?;
            return Ok(Some(0));
        };
        lock_in_force(&mut tx, &ids).await?;
        // In one statement: whether a row still is as it was previewed, and its review item as it is now.
        let applied = sqlx::query_scalar!(
            r#"with looked as (
                select
                    changes.transaction_id,
                    case
                        when taxonomy_migrations.run_id is null and (
                            in_force.decided_by in ('correction', 'import')
                            or standing.id is distinct from (changes.decision -> 'rule' ->> 'id')::bigint
                            or standing.category <> changes.to_category
                            or complains.transaction_id is not null
                        ) then 'person'
                        when taxonomy_migrations.run_id is not null and exists (
                            select
                            from corrections_made
                            where corrections_made.transaction_id = changes.transaction_id
                            and corrections_made.id > taxonomy_migrations.upto_correction
                        ) then 'person'
                        when in_force.transaction_id is null or not to_jsonb(in_force) @> changes.before then 'changed'
                    end as why
                from recategorization_changes as changes
                join transactions on transactions.id = changes.transaction_id
                left join taxonomy_migrations on taxonomy_migrations.run_id = changes.run_id
                left join in_force on in_force.transaction_id = changes.transaction_id
                left join lateral rule_for(transactions.account_id, transactions.descriptor_key, transactions.direction)
                    as standing on true
                left join review_items as complains
                    on complains.transaction_id = changes.transaction_id
                    and complains.reason = 'complaint'
                    and complains.resolved_at is null
                where changes.run_id = $1
                and changes.transaction_id = any($2)
            ),
            told as (
                update recategorization_changes as changes
                set
                    state = case when looked.why is null then 'applied' else 'skipped' end,
                    why = looked.why,
                    review_before = to_jsonb(review_items)
                from looked
                left join review_items on review_items.transaction_id = looked.transaction_id and looked.why is null
                where changes.run_id = $1
                and changes.transaction_id = looked.transaction_id
                returning changes.transaction_id, changes.state
            )
            select
                transaction_id as "transaction_id!"
            from told
            where state = 'applied'
            order by transaction_id"#,
            run,
            &ids,
        )
        .fetch_all(&mut *tx)
        .await?;
        tell_cause(&mut tx, &format!("recategorization:{run}")).await?;
        let brought = append_decided(&mut tx, run, &applied, now).await?;
        free_split_in(&mut tx, run, &applied).await?;
        bring_into_force(&mut tx, &brought, now).await?;
        rename_said_in(&mut tx, run, &applied).await?;
        move_on(&mut tx, run, last).await?;
        tx.commit().await?;
        Ok(Some(ids.len() as u32))
    }

    /// Puts back the next rows of a run that is being undone, at most `limit`, as they were before it, but for those that
    /// have changed since. Returns how many it looked at; at none the run is undone. `None` when the run is not being
    /// undone.
    ///
    /// # Errors
    /// When the database fails; then nothing of the chunk was stored.
    pub async fn undo_recategorization(&self, run: i64, limit: u32) -> Result<Option<u32>, Error> {
        past_deadlocks(|| self.take_back_once(run, limit).boxed()).await
    }

    async fn take_back_once(&self, run: i64, limit: u32) -> Result<Option<u32>, Error> {
        let mut tx = self.begin().await?;
        let Some(after) = locked_in(&mut tx, run, RecategorizationPhase::Undoing).await? else { return Ok(None) };
        let ids = next_ids(&mut tx, run, &after, "applied", limit).await?;
        let Some(last) = ids.last() else {
            take_back_in(&mut tx, run).await?;
            end(&mut tx, run, RecategorizationPhase::Undone).await?;
            tx.commit().await?;
            return Ok(Some(0));
        };
        lock_in_force(&mut tx, &ids).await?;
        let rows = sqlx::query!(
            r#"select
                changes.transaction_id,
                case
                    when taxonomy_migrations.run_id is null and (
                        in_force.review_status = 'reviewed'
                        or in_force.decided_by in ('correction', 'import')
                        or complains.transaction_id is not null
                    ) then 'person'
                    when taxonomy_migrations.run_id is not null and exists (
                        select
                        from corrections_made
                        where corrections_made.transaction_id = changes.transaction_id
                        and corrections_made.id > taxonomy_migrations.upto_correction
                    ) then 'person'
                    when in_force.category <> changes.to_category then 'changed'
                    when taxonomy_migrations.run_id is null
                        and (in_force.decided_by = 'stage') <> (changes.decision ->> 'rule' is null) then 'changed'
                    when predictions.recategorization_id is distinct from changes.run_id then 'changed'
                end as why
            from recategorization_changes as changes
            left join taxonomy_migrations on taxonomy_migrations.run_id = changes.run_id
            left join in_force on in_force.transaction_id = changes.transaction_id
            left join predictions on predictions.id = in_force.prediction_id
            left join review_items as complains
                on complains.transaction_id = changes.transaction_id
                and complains.reason = 'complaint'
                and complains.resolved_at is null
            where changes.run_id = $1
            and changes.transaction_id = any($2)"#,
            run,
            &ids,
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut back = Vec::with_capacity(rows.len());
        let mut left = Left::default();
        for row in rows {
            match row.why {
                Some(why) => left.push(row.transaction_id, read(&why, "recategorization_changes.why")?),
                None => back.push(row.transaction_id),
            }
        }
        left.put(&mut tx, run).await?;
        tell_cause(&mut tx, &format!("recategorization_undone:{run}")).await?;
        put_back(&mut tx, run, &back).await?;
        move_on(&mut tx, run, last).await?;
        tx.commit().await?;
        Ok(Some(ids.len() as u32))
    }
}

/// Rows that are kept as the run left them, and why.
#[derive(Default)]
struct Left {
    ids: Vec<String>,
    whys: Vec<LeftBecause>,
}

impl Left {
    fn push(&mut self, id: String, why: LeftBecause) {
        self.ids.push(id);
        self.whys.push(why);
    }

    async fn put(self, tx: &mut PgConnection, run: i64) -> Result<(), Error> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let whys: Vec<&str> = self.whys.into_iter().map(LeftBecause::as_str).collect();
        sqlx::query!(
            "update recategorization_changes as changes
            set
                state = 'kept',
                why = told.why
            from unnest($2::text[], $3::text[]) as told(id, why)
            where changes.run_id = $1
            and changes.transaction_id = told.id",
            run,
            &self.ids,
            &whys as &[&str],
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}

/// Locks the run, and tells where its chunks go on if it is in this phase.
async fn locked_in(tx: &mut PgConnection, run: i64, phase: RecategorizationPhase) -> Result<Option<String>, Error> {
    let stands = sqlx::query!(
        "select
            phase,
            chunk_cursor
        from recategorizations
        where id = $1
        for update",
        run,
    )
    .fetch_optional(tx)
    .await?;
    Ok(stands.filter(|run| run.phase == phase.as_str()).map(|run| run.chunk_cursor.unwrap_or_default()))
}

/// Chunks go on behind this change.
async fn move_on(tx: &mut PgConnection, run: i64, last: &str) -> Result<(), Error> {
    sqlx::query!(
        "update recategorizations
        set
            chunk_cursor = $2
        where id = $1",
        run,
        last,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn next_ids(tx: &mut PgConnection, run: i64, after: &str, state: &str, limit: u32) -> Result<Vec<String>, Error> {
    let ids = sqlx::query_scalar!(
        "select
            transaction_id
        from recategorization_changes
        where run_id = $1
        and transaction_id > $2
        and state = $3
        order by transaction_id
        limit $4",
        run,
        after,
        state,
        i64::from(limit),
    )
    .fetch_all(tx)
    .await?;
    Ok(ids)
}

/// Appends the predictions of changes, without their way through this process, and returns what comes into force.
async fn append_decided(
    tx: &mut PgConnection,
    run: i64,
    ids: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<Brought>, Error> {
    sqlx::query!(
        "insert into rendered_texts (
            hash,
            text
        )
        select distinct on (1)
            decode(decision -> 'prediction' -> 'provenance' ->> 'text', 'hex'),
            decision ->> 'text'
        from recategorization_changes
        where run_id = $1
        and transaction_id = any($2)
        order by 1
        on conflict (hash) do nothing",
        run,
        ids,
    )
    .execute(&mut *tx)
    .await?;
    let brought = sqlx::query_as!(
        Brought,
        r#"with said as (
            insert into predictions (
                transaction_id,
                category,
                confidence,
                alternatives,
                evidence,
                stage,
                engine,
                taxonomy,
                text_hash,
                merchant_id,
                rule_id,
                confidence_level,
                made_at,
                recategorization_id
            )
            select
                transaction_id,
                decision -> 'prediction' ->> 'category',
                (decision -> 'prediction' ->> 'confidence')::real,
                decision -> 'prediction' -> 'alternatives',
                decision -> 'prediction' -> 'evidence',
                decision -> 'prediction' -> 'provenance' ->> 'stage',
                decision -> 'prediction' -> 'provenance' ->> 'engine',
                decision -> 'prediction' -> 'provenance' ->> 'taxonomy',
                decode(decision -> 'prediction' -> 'provenance' ->> 'text', 'hex'),
                decision ->> 'merchant_id',
                (decision -> 'rule' ->> 'id')::bigint,
                decision ->> 'level',
                $3,
                $1
            from recategorization_changes
            where run_id = $1
            and transaction_id = any($2)
            order by transaction_id
            returning id, transaction_id
        )
        select
            said.id as prediction_id,
            changes.decision ->> 'review' as review
        from said
        join recategorization_changes as changes
            on changes.run_id = $1
            and changes.transaction_id = said.transaction_id"#,
        run,
        ids,
        now,
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok(brought)
}

async fn lock_in_force(tx: &mut PgConnection, ids: &[String]) -> Result<(), Error> {
    sqlx::query!(
        "select
            transaction_id
        from in_force
        where transaction_id = any($1)
        order by transaction_id
        for update",
        ids,
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

async fn end(tx: &mut PgConnection, run: i64, phase: RecategorizationPhase) -> Result<(), Error> {
    sqlx::query!(
        "update recategorizations
        set
            phase = $2
        where id = $1",
        run,
        phase.as_str(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Gives the rows what was in force before, and their review items, or takes away those that came with the run.
async fn put_back(tx: &mut PgConnection, run: i64, ids: &[String]) -> Result<(), Error> {
    sqlx::query!(
        "update in_force
        set
            category = before.category,
            decided_by = before.decided_by,
            prediction_id = before.prediction_id,
            confidence = before.confidence,
            review_status = before.review_status
        from recategorization_changes as changes
        cross join lateral jsonb_populate_record(null::in_force, changes.before) as before
        where changes.run_id = $1
        and changes.transaction_id = any($2)
        and in_force.transaction_id = changes.transaction_id",
        run,
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from review_items
        using recategorization_changes as changes
        where changes.run_id = $1
        and changes.transaction_id = any($2)
        and changes.review_before is null
        and review_items.transaction_id = changes.transaction_id",
        run,
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update review_items
        set
            reason = before.reason,
            opened_at = before.opened_at,
            resolved_at = before.resolved_at,
            resolved_by = before.resolved_by,
            group_key = review_group_key(before.reason, row.direction, row.descriptor_key, row.id),
            doubt = before.doubt,
            amount = before.amount,
            currency = before.currency
        from recategorization_changes as changes
        join transactions as row on row.id = changes.transaction_id
        cross join lateral jsonb_populate_record(null::review_items, changes.review_before) as before
        where changes.run_id = $1
        and changes.transaction_id = any($2)
        and changes.review_before is not null
        and review_items.transaction_id = changes.transaction_id",
        run,
        ids,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update recategorization_changes
        set
            state = 'undone'
        where run_id = $1
        and transaction_id = any($2)",
        run,
        ids,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
