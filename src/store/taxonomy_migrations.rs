//! Migrations from one taxonomy to another: what becomes of which category, of what people said, and of rules.
//!
//! The rows themselves change as in any recategorization, in [`super::recategorization_apply`].

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Decision, Error, FirstJob, NewRecategorization, Rule, Store, read, read_some, recategorizations::plan_in};
use crate::domain::{Becomes, Prediction, Provenance, Slug, TransactionId, prediction::TextHash};

/// Where a run leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxonomyMigration {
    /// Version of the old taxonomy.
    pub from_taxonomy: String,
    /// Version of the new one.
    pub to_taxonomy: String,
    /// What becomes of each category.
    pub map: BTreeMap<Slug, Becomes>,
    /// Whether answers tell the category in both.
    pub shadow: bool,
    /// Who concluded it, if anybody did.
    pub concluded_by: Option<String>,
    /// When.
    pub concluded_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Categories in force and of rules that hold, with how many rows and rules, of rows that were answered in a taxonomy.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn categories_in_use(&self, taxonomy: &str) -> Result<BTreeMap<Slug, u64>, Error> {
        let rows = sqlx::query!(
            r#"select
                used.category as "category!",
                sum(used.rows)::bigint as "rows!"
            from (
                select
                    in_force.category,
                    count(*) as rows
                from in_force
                left join predictions on predictions.id = in_force.prediction_id
                where predictions.taxonomy = $1
                or predictions.id is null
                group by in_force.category
                union all
                select
                    account_rules.category,
                    count(*) as rows
                from account_rules
                where account_rules.retired_at is null
                group by account_rules.category
            ) as used
            group by used.category"#,
            taxonomy,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| Ok((read(&row.category, "in_force.category")?, row.rows.unsigned_abs()))).collect()
    }

    /// Rows of these categories in force that no stage ever said anything about.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn never_answered(&self, categories: &[&Slug]) -> Result<u64, Error> {
        let categories: Vec<&str> = categories.iter().map(|category| category.as_str()).collect();
        let rows = sqlx::query_scalar!(
            r#"select
                count(*) as "rows!"
            from in_force
            where prediction_id is null
            and category = any($1)"#,
            &categories as &[&str],
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(rows.unsigned_abs())
    }

    /// Fixes and counts the scope of a run that leads from one taxonomy to another, and returns the run's number.
    ///
    /// # Errors
    /// When the database fails or a taxonomy is not stored; then nothing was stored.
    pub async fn plan_taxonomy_migration(
        &self,
        new: &NewRecategorization,
        (from_taxonomy, to_taxonomy): (&str, &str),
        map: &BTreeMap<Slug, Becomes>,
        first: Option<FirstJob>,
    ) -> Result<i64, Error> {
        let mut tx = self.begin().await?;
        let run = plan_in(&mut tx, new).await?;
        sqlx::query!(
            "insert into taxonomy_migrations (
                run_id,
                from_taxonomy,
                to_taxonomy,
                upto_correction
            )
            select
                $1,
                $2,
                $3,
                coalesce(max(corrections_made.id), 0)
            from corrections_made",
            run,
            from_taxonomy,
            to_taxonomy,
        )
        .execute(&mut *tx)
        .await?;
        let lines = map.iter().flat_map(|(from, becomes)| {
            let split = matches!(becomes, Becomes::OneOf(_));
            becomes.targets().iter().map(move |to| (from.as_str(), to.as_str(), split))
        });
        let (from, (to, split)): (Vec<&str>, (Vec<&str>, Vec<bool>)) =
            lines.map(|(from, to, split)| (from, (to, split))).unzip();
        sqlx::query!(
            "insert into taxonomy_mappings (
                run_id,
                from_category,
                to_category,
                split,
                back
            )
            select
                $1,
                line.from_category,
                line.to_category,
                line.split,
                count(*) over (partition by line.to_category) = 1
            from unnest($2::text[], $3::text[], $4::boolean[]) as line(from_category, to_category, split)",
            run,
            &from as &[&str],
            &to as &[&str],
            &split,
        )
        .execute(&mut *tx)
        .await?;
        if let Some(first) = first {
            self.add_job_in(&mut tx, first(run)).await?;
        }
        tx.commit().await?;
        Ok(run)
    }

    /// The taxonomy of a run's proposals and the one that took its place, where rows have been led from the one to the other and not
    /// back. A migration's own proposals are in the taxonomy that it leads to, whatever was before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn taxonomy_left_by(&self, run: i64) -> Result<Option<(String, String)>, Error> {
        let answers_in = sqlx::query_scalar!(
            r#"select changes.decision -> 'prediction' -> 'provenance' ->> 'taxonomy' as "taxonomy!"
            from recategorization_changes as changes
            where changes.run_id = $1
            and not exists (
                select
                from taxonomy_migrations as own
                where own.run_id = $1
            )
            limit 1"#,
            run,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(version) = answers_in else { return Ok(None) };
        Ok(self.taxonomy_left(&version).await?.map(|now| (version, now)))
    }

    /// The taxonomy that took the place of this one, where rows have been led from the one to the other and not back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn taxonomy_left(&self, version: &str) -> Result<Option<String>, Error> {
        let now = sqlx::query_scalar!(
            "select
                left_by.to_taxonomy
            from taxonomy_migrations as left_by
            where (left_by.shadow or left_by.concluded_at is not null)
            and left_by.from_taxonomy = $1
            and not exists (
                select
                from taxonomy_migrations as back
                where back.to_taxonomy = left_by.from_taxonomy
                and (back.shadow or back.concluded_at is not null)
                and back.run_id > left_by.run_id
            )
            order by left_by.run_id desc
            limit 1",
            version,
        );
        Ok(now.fetch_optional(&self.pool).await?)
    }

    /// Where a run leads, if it is a migration.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn taxonomy_migration(&self, run: i64) -> Result<Option<TaxonomyMigration>, Error> {
        let found = sqlx::query!(
            "select
                from_taxonomy,
                to_taxonomy,
                shadow,
                concluded_by,
                concluded_at
            from taxonomy_migrations
            where run_id = $1",
            run,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(found) = found else { return Ok(None) };
        let lines = sqlx::query!(
            "select
                from_category,
                to_category,
                split
            from taxonomy_mappings
            where run_id = $1
            order by
                from_category,
                to_category",
            run,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut map: BTreeMap<Slug, Becomes> = BTreeMap::new();
        for line in lines {
            let from = read(&line.from_category, "taxonomy_mappings.from_category")?;
            let to: Slug = read(&line.to_category, "taxonomy_mappings.to_category")?;
            match map.get_mut(&from) {
                Some(Becomes::OneOf(targets)) => targets.push(to),
                _ if line.split => {
                    map.insert(from, Becomes::OneOf(vec![to]));
                }
                _ => {
                    map.insert(from, Becomes::One(to));
                }
            }
        }
        Ok(Some(TaxonomyMigration {
            from_taxonomy: found.from_taxonomy,
            to_taxonomy: found.to_taxonomy,
            map,
            shadow: found.shadow,
            concluded_by: found.concluded_by,
            concluded_at: found.concluded_at,
        }))
    }

    /// Ends the time in which answers tell both taxonomies; tells whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn conclude_taxonomy_migration(&self, run: i64, by: &str, now: DateTime<Utc>) -> Result<bool, Error> {
        let done = sqlx::query!(
            "update taxonomy_migrations
            set
                shadow = false,
                concluded_by = $2,
                concluded_at = $3
            from recategorizations
            where taxonomy_migrations.run_id = $1
            and recategorizations.id = taxonomy_migrations.run_id
            and recategorizations.phase = 'applied'
            and taxonomy_migrations.concluded_at is null",
            run,
            by,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// What stages said last of these transactions, as it would be recorded again, with why a person's eye is still wanted.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn said_before(&self, ids: &[&TransactionId]) -> Result<Vec<Decision>, Error> {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        let rows = sqlx::query!(
            r#"select
                in_force.transaction_id,
                in_force.category as in_force,
                predictions.category,
                predictions.confidence,
                predictions.alternatives,
                predictions.evidence,
                predictions.stage,
                predictions.engine,
                predictions.taxonomy,
                predictions.text_hash,
                predictions.merchant_id,
                predictions.rule_id,
                predictions.confidence_level,
                rendered_texts.text,
                review_items.reason as "reason?"
            from in_force
            join predictions on predictions.id = in_force.prediction_id
            join rendered_texts on rendered_texts.hash = predictions.text_hash
            left join review_items
                on review_items.transaction_id = in_force.transaction_id
                and review_items.resolved_at is null
            where in_force.transaction_id = any($1)"#,
            &ids as &[&str],
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let hash = row.text_hash.try_into().map_err(|_| Error::Corrupt { what: "predictions.text_hash" })?;
                let prediction = Prediction {
                    category: read(&row.category, "predictions.category")?,
                    confidence: row.confidence,
                    alternatives: serde_json::from_value(row.alternatives)
                        .map_err(|_| Error::Corrupt { what: "predictions.alternatives" })?,
                    evidence: serde_json::from_value(row.evidence)
                        .map_err(|_| Error::Corrupt { what: "predictions.evidence" })?,
                    provenance: Provenance {
                        stage: row.stage,
                        engine: row.engine,
                        taxonomy: row.taxonomy,
                        text: TextHash::from_bytes(hash),
                    },
                };
                Ok(Decision {
                    transaction_id: read(&row.transaction_id, "in_force.transaction_id")?,
                    prediction,
                    text: row.text,
                    merchant_id: row.merchant_id,
                    rule: match row.rule_id {
                        Some(id) => Some(Rule { id, category: read(&row.in_force, "in_force.category")? }),
                        None => None,
                    },
                    level: read_some(row.confidence_level.as_deref(), "predictions.confidence_level")?,
                    review: read_some(row.reason.as_deref(), "review_items.reason")?,
                })
            })
            .collect()
    }
}

/// Maps what people said, and rules, and lets answers tell both taxonomies: what comes before the first chunk of a run that
/// is a migration. Of another run nothing.
pub(super) async fn begin_in(tx: &mut PgConnection, run: i64, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "update taxonomy_migrations
        set
            shadow = true,
            upto_action = (select coalesce(max(review_actions.id), 0) from review_actions)
        where run_id = $1",
        run,
    )
    .execute(&mut *tx)
    .await?;
    // Of rows that were answered in the new taxonomy already, people spoke in its words; so did those who were mapped before.
    sqlx::query!(
        "insert into corrections_mapped (
            run_id,
            correction_id,
            category
        )
        select distinct on (corrections.id)
            taxonomy_migrations.run_id,
            corrections.id,
            case when taxonomy_mappings.split then null else taxonomy_mappings.to_category end
        from taxonomy_migrations
        join corrections on corrections.id <= taxonomy_migrations.upto_correction
        join taxonomy_mappings
            on taxonomy_mappings.run_id = taxonomy_migrations.run_id
            and taxonomy_mappings.from_category = corrections.category
        left join in_force on in_force.transaction_id = corrections.transaction_id
        left join predictions on predictions.id = in_force.prediction_id
        where taxonomy_migrations.run_id = $1
        and predictions.taxonomy is distinct from taxonomy_migrations.to_taxonomy
        and (taxonomy_mappings.split or taxonomy_mappings.to_category <> taxonomy_mappings.from_category)
        and not exists (
            select
            from corrections_mapped
            join taxonomy_migrations as earlier on earlier.run_id = corrections_mapped.run_id
            where corrections_mapped.correction_id = corrections.id
            and earlier.to_taxonomy = taxonomy_migrations.to_taxonomy
        )",
        run,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into rules_mapped (
            run_id,
            rule_id,
            category_before,
            category
        )
        select distinct on (account_rules.id)
            taxonomy_migrations.run_id,
            account_rules.id,
            account_rules.category,
            case when taxonomy_mappings.split then null else taxonomy_mappings.to_category end
        from taxonomy_migrations
        join taxonomy_mappings on taxonomy_mappings.run_id = taxonomy_migrations.run_id
        join account_rules on account_rules.category = taxonomy_mappings.from_category
        where taxonomy_migrations.run_id = $1
        and account_rules.retired_at is null
        and (taxonomy_mappings.split or taxonomy_mappings.to_category <> taxonomy_mappings.from_category)
        and not exists (
            select
            from rules_mapped
            join taxonomy_migrations as earlier on earlier.run_id = rules_mapped.run_id
            where rules_mapped.rule_id = account_rules.id
            and rules_mapped.category = account_rules.category
            and earlier.to_taxonomy = taxonomy_migrations.to_taxonomy
        )",
        run,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update account_rules
        set
            category = coalesce(rules_mapped.category, account_rules.category),
            retired_at = case when rules_mapped.category is null then $2 else account_rules.retired_at end
        from rules_mapped
        where rules_mapped.run_id = $1
        and account_rules.id = rules_mapped.rule_id",
        run,
        now,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// The taxonomy in which something was done at the desk, and the one that took its place since, where rows have been led from the
/// one to the other and the migration was not undone.
pub(super) async fn left_since(tx: &mut PgConnection, action: i64) -> Result<Option<(String, String)>, Error> {
    let left_by = sqlx::query!(
        "select
            from_taxonomy,
            to_taxonomy
        from taxonomy_migrations
        where (shadow or concluded_at is not null)
        and upto_action >= $1
        order by run_id
        limit 1",
        action,
    )
    .fetch_optional(tx)
    .await?;
    Ok(left_by.map(|left_by| (left_by.from_taxonomy, left_by.to_taxonomy)))
}

/// Gives back what people said, and rules that nobody has changed since: what comes with the end of an undo.
pub(super) async fn take_back_in(tx: &mut PgConnection, run: i64) -> Result<(), Error> {
    sqlx::query!(
        "update account_rules
        set
            category = rules_mapped.category_before,
            retired_at = null
        from rules_mapped
        where rules_mapped.run_id = $1
        and account_rules.id = rules_mapped.rule_id
        and account_rules.category = coalesce(rules_mapped.category, rules_mapped.category_before)
        and (account_rules.retired_at is null) = (rules_mapped.category is not null)",
        run,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("delete from rules_mapped where run_id = $1", run).execute(&mut *tx).await?;
    sqlx::query!("delete from corrections_mapped where run_id = $1", run).execute(&mut *tx).await?;
    sqlx::query!(
        "update taxonomy_migrations
        set
            shadow = false
        where run_id = $1",
        run,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Frees rows that a person or a rule had decided and whose category is split, so that what was said now comes into force
/// and waits for a person.
pub(super) async fn free_split_in(tx: &mut PgConnection, run: i64, ids: &[String]) -> Result<(), Error> {
    sqlx::query!(
        "update in_force
        set
            decided_by = 'stage',
            review_status = 'accepted'
        from recategorization_changes as changes
        join taxonomy_migrations on taxonomy_migrations.run_id = changes.run_id
        where changes.run_id = $1
        and changes.transaction_id = any($2)
        and in_force.transaction_id = changes.transaction_id
        and exists (
            select
            from taxonomy_mappings
            where taxonomy_mappings.run_id = changes.run_id
            and taxonomy_mappings.from_category = changes.from_category
            and taxonomy_mappings.split
        )",
        run,
        ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Gives rows that a person or a rule decided the new name of that word, and leaves it theirs.
pub(super) async fn rename_said_in(tx: &mut PgConnection, run: i64, ids: &[String]) -> Result<(), Error> {
    sqlx::query!(
        "update in_force
        set
            category = changes.to_category,
            decided_by = before.decided_by,
            review_status = before.review_status
        from recategorization_changes as changes
        join taxonomy_migrations on taxonomy_migrations.run_id = changes.run_id
        cross join lateral jsonb_populate_record(null::in_force, changes.before) as before
        where changes.run_id = $1
        and changes.transaction_id = any($2)
        and in_force.transaction_id = changes.transaction_id
        and (before.decided_by <> 'stage' or before.review_status = 'reviewed')
        and not exists (
            select
            from taxonomy_mappings
            where taxonomy_mappings.run_id = changes.run_id
            and taxonomy_mappings.from_category = changes.from_category
            and taxonomy_mappings.split
        )",
        run,
        ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}
