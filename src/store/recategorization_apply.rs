//! A run's changes brought into force and put back, chunk by chunk.
//!
//! Each chunk is one database transaction that locks the run first, so that two processes never work on one chunk, and
//! then what is in force of its rows, in the order of their ids as everybody does. What a person said is never touched.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Decision, Error, Store, events::tell_cause, predictions::record_in, read};
use crate::domain::{LeftBecause, RecategorizationPhase};

impl Store {
    /// Brings the next changes of a run that is being applied into force, at most `limit`, but for rows that have changed
    /// since the preview. Returns how many it looked at; at none the run is applied. `None` when the run is not being
    /// applied.
    ///
    /// # Errors
    /// When the database fails; then nothing of the chunk was stored.
    pub async fn apply_recategorization(&self, run: i64, limit: u32, now: DateTime<Utc>) -> Result<Option<u32>, Error> {
        let mut tx = self.pool.begin().await?;
        if !locked_in(&mut tx, run, RecategorizationPhase::Applying).await? {
            return Ok(None);
        }
        let ids = next_ids(&mut tx, run, "proposed", limit).await?;
        if ids.is_empty() {
            end(&mut tx, run, RecategorizationPhase::Applied).await?;
            tx.commit().await?;
            return Ok(Some(0));
        }
        lock_in_force(&mut tx, &ids).await?;
        let rows = sqlx::query!(
            r#"select
                changes.transaction_id,
                changes.decision,
                case
                    when in_force.decided_by in ('correction', 'import')
                        or account_rules.id is distinct from (changes.decision -> 'rule' ->> 'id')::bigint
                        or account_rules.category <> changes.to_category
                        then 'person'
                    when in_force.transaction_id is null or not to_jsonb(in_force) @> changes.before then 'changed'
                end as why
            from recategorization_changes as changes
            join transactions on transactions.id = changes.transaction_id
            left join in_force on in_force.transaction_id = changes.transaction_id
            left join account_rules
                on account_rules.account_id = transactions.account_id
                and account_rules.descriptor_key = transactions.descriptor_key
                and account_rules.direction = transactions.direction
            where changes.run_id = $1
            and changes.transaction_id = any($2)"#,
            run,
            &ids,
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut decisions: Vec<Decision> = Vec::with_capacity(rows.len());
        let mut left = Left::default();
        for row in rows {
            match row.why {
                Some(why) => left.push(row.transaction_id, read(&why, "recategorization_changes.why")?),
                None => decisions.push(
                    serde_json::from_value(row.decision)
                        .map_err(|_| Error::Corrupt { what: "recategorization_changes.decision" })?,
                ),
            }
        }
        left.put(&mut tx, run, "skipped").await?;
        let applied: Vec<&str> = decisions.iter().map(|decision| decision.transaction_id.as_str()).collect();
        sqlx::query!(
            "update recategorization_changes as changes
            set
                state = 'applied',
                review_before = (
                    select
                        to_jsonb(review_items)
                    from review_items
                    where review_items.transaction_id = changes.transaction_id
                )
            where changes.run_id = $1
            and changes.transaction_id = any($2)",
            run,
            &applied as &[&str],
        )
        .execute(&mut *tx)
        .await?;
        record_in(&mut tx, &decisions, Some(run), now).await?;
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
        let mut tx = self.pool.begin().await?;
        if !locked_in(&mut tx, run, RecategorizationPhase::Undoing).await? {
            return Ok(None);
        }
        let ids = next_ids(&mut tx, run, "applied", limit).await?;
        if ids.is_empty() {
            end(&mut tx, run, RecategorizationPhase::Undone).await?;
            tx.commit().await?;
            return Ok(Some(0));
        }
        lock_in_force(&mut tx, &ids).await?;
        let rows = sqlx::query!(
            r#"select
                changes.transaction_id,
                case
                    when in_force.review_status = 'reviewed' then 'person'
                    when predictions.recategorization_id is distinct from changes.run_id then 'changed'
                end as why
            from recategorization_changes as changes
            left join in_force on in_force.transaction_id = changes.transaction_id
            left join predictions on predictions.id = in_force.prediction_id
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
        left.put(&mut tx, run, "kept").await?;
        tell_cause(&mut tx, &format!("recategorization_undone:{run}")).await?;
        put_back(&mut tx, run, &back).await?;
        tx.commit().await?;
        Ok(Some(ids.len() as u32))
    }
}

/// Rows that are left as they are, and why.
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

    async fn put(self, tx: &mut PgConnection, run: i64, state: &str) -> Result<(), Error> {
        let whys: Vec<&str> = self.whys.into_iter().map(LeftBecause::as_str).collect();
        sqlx::query!(
            "update recategorization_changes as changes
            set
                state = $2,
                why = told.why
            from unnest($3::text[], $4::text[]) as told(id, why)
            where changes.run_id = $1
            and changes.transaction_id = told.id",
            run,
            state,
            &self.ids,
            &whys as &[&str],
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}

/// Locks the run, and tells whether it is in this phase.
async fn locked_in(tx: &mut PgConnection, run: i64, phase: RecategorizationPhase) -> Result<bool, Error> {
    let stands = sqlx::query_scalar!(
        "select
            phase
        from recategorizations
        where id = $1
        for update",
        run,
    )
    .fetch_optional(tx)
    .await?;
    Ok(stands.as_deref() == Some(phase.as_str()))
}

async fn next_ids(tx: &mut PgConnection, run: i64, state: &str, limit: u32) -> Result<Vec<String>, Error> {
    let ids = sqlx::query_scalar!(
        "select
            transaction_id
        from recategorization_changes
        where run_id = $1
        and state = $2
        and state in ('proposed', 'applied')
        order by transaction_id
        limit $3",
        run,
        state,
        i64::from(limit),
    )
    .fetch_all(tx)
    .await?;
    Ok(ids)
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
            group_key = before.group_key,
            doubt = before.doubt,
            amount = before.amount,
            currency = before.currency
        from recategorization_changes as changes
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
