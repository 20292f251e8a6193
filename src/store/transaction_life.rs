//! What became of what people said of one transaction: from the queue to the adapters that learned from it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Error, Store, count, read};
use crate::domain::{CorrectionScope, Direction, ReviewReason, Slug, TransactionId};

/// Why a transaction waited for a person's eye, last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waited {
    /// Why.
    pub reason: ReviewReason,
    /// The group it stands in.
    pub group: String,
    /// Since when.
    pub opened_at: DateTime<Utc>,
    /// Until when; none while it waits.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Who ended that.
    pub resolved_by: Option<String>,
}

/// A label that somebody gave a transaction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GivenLabel {
    /// Its number.
    pub id: i64,
    /// What was said.
    pub category: Slug,
    /// `correction`, or `import` where it came with the data.
    pub source: String,
    /// How far it reaches.
    pub scope: CorrectionScope,
    /// Why.
    pub note: Option<String>,
    /// Who.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
    /// The pending transaction that it was given to first.
    pub carried_from: Option<String>,
    /// Whether it was taken back.
    pub withdrawn: bool,
    /// Labels that were given later and stand.
    pub later: u32,
}

/// A rule that a decision on a transaction left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftRule {
    /// The decision.
    pub action: i64,
    /// Of this account; of all without one.
    pub account: Option<String>,
    /// The merchant's key.
    pub key: String,
    /// Of which rows.
    pub direction: Direction,
    /// What it says now.
    pub category: Slug,
    /// Whether it was taken back.
    pub retired: bool,
    /// Rows that came since and found it.
    pub followed: u32,
}

/// A labelled set that holds a transaction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HoldingSet {
    /// The set's number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The label in it.
    pub category: Slug,
    /// Whether the gate let the row through.
    pub kept: bool,
    /// Whether the set passed the gate.
    pub passed: bool,
    /// When it was checked last.
    pub checked_at: DateTime<Utc>,
    /// What the gate said of this row.
    pub findings: Vec<String>,
    /// Adapters that were trained on the set, with where they stand.
    pub adapters: Vec<String>,
}

impl Store {
    /// Why a transaction waited, last.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn waited(&self, id: &TransactionId) -> Result<Option<Waited>, Error> {
        let row = sqlx::query!(
            "select
                reason,
                group_key,
                opened_at,
                resolved_at,
                resolved_by
            from review_items
            where transaction_id = $1",
            id.as_str(),
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Waited {
                reason: read(&row.reason, "review_items.reason")?,
                group: row.group_key,
                opened_at: row.opened_at,
                resolved_at: row.resolved_at,
                resolved_by: row.resolved_by,
            })
        })
        .transpose()
    }

    /// Every label that a transaction was given, those that were taken back too, latest first.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn given_labels(&self, id: &TransactionId) -> Result<Vec<GivenLabel>, Error> {
        let rows = sqlx::query!(
            r#"select
                corrections_made.id,
                corrections_made.category,
                corrections_made.source,
                corrections_made.scope,
                corrections_made.note,
                corrections_made.made_by,
                corrections_made.made_at,
                corrections_made.carried_from,
                (withdrawn.correction_id is not null) as "withdrawn!",
                (select count(*) from corrections as later where later.id > corrections_made.id) as "later!"
            from corrections_made
            left join corrections_withdrawn as withdrawn on withdrawn.correction_id = corrections_made.id
            where corrections_made.transaction_id = $1
            order by corrections_made.id desc"#,
            id.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(GivenLabel {
                    id: row.id,
                    category: read(&row.category, "corrections_made.category")?,
                    source: row.source,
                    scope: read(&row.scope, "corrections_made.scope")?,
                    note: row.note,
                    made_by: row.made_by,
                    made_at: row.made_at,
                    carried_from: row.carried_from,
                    withdrawn: row.withdrawn,
                    later: count(row.later, "corrections")?,
                })
            })
            .collect()
    }

    /// The rules that decisions on a transaction left, latest first.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn left_rules(&self, id: &TransactionId) -> Result<Vec<LeftRule>, Error> {
        let rows = sqlx::query!(
            r#"select distinct on (account_rules.id)
                review_actions.id,
                account_rules.account_id,
                account_rules.descriptor_key,
                account_rules.direction,
                account_rules.category,
                (account_rules.retired_at is not null) as "retired!",
                (select count(*) from predictions where predictions.rule_id = account_rules.id) as "followed!"
            from review_actions
            join account_rules on account_rules.id = review_actions.rule_id
            where review_actions.transaction_id = $1
            order by
                account_rules.id desc,
                exists (select from review_actions as undone where undone.undoes = review_actions.id),
                review_actions.id desc"#,
            id.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(LeftRule {
                    action: row.id,
                    account: row.account_id,
                    key: row.descriptor_key,
                    direction: read(&row.direction, "account_rules.direction")?,
                    category: read(&row.category, "account_rules.category")?,
                    retired: row.retired,
                    followed: count(row.followed, "predictions")?,
                })
            })
            .collect()
    }

    /// The labelled sets that hold a transaction, with what the gate said and who learned from them, latest first.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn holding_sets(&self, id: &TransactionId) -> Result<Vec<HoldingSet>, Error> {
        let rows = sqlx::query!(
            r#"select
                datasets.id,
                datasets.name,
                dataset_items.category,
                dataset_items.kept,
                latest.passed,
                latest.checked_at,
                array(
                    select (checks.found ->> 'name') || ': ' || (flags.row ->> 'says')
                    from jsonb_array_elements(latest.report -> 'checks') with ordinality as checks(found, place)
                    cross join lateral jsonb_array_elements(checks.found -> 'flags') as flags(row)
                    where flags.row ->> 'id' = $1
                    order by checks.place
                ) as "findings!",
                array(
                    select adapters.name || '@' || adapters.version || ' (' || adapters.state || ')'
                    from adapters
                    where adapters.label_manifest in (
                        select encode(label_reports.manifest_sha256, 'hex')
                        from label_reports
                        where label_reports.dataset_id = datasets.id
                    )
                    order by adapters.id
                ) as "adapters!"
            from dataset_items
            join datasets on datasets.id = dataset_items.dataset_id
            join lateral (
                select
                    label_reports.passed,
                    label_reports.checked_at,
                    label_reports.report
                from label_reports
                where label_reports.dataset_id = datasets.id
                order by label_reports.id desc
                limit 1
            ) as latest on true
            where dataset_items.transaction_id = $1
            order by datasets.id desc"#,
            id.as_str(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(HoldingSet {
                    id: row.id,
                    name: row.name,
                    category: read(&row.category, "dataset_items.category")?,
                    kept: row.kept,
                    passed: row.passed,
                    checked_at: row.checked_at,
                    findings: row.findings,
                    adapters: row.adapters,
                })
            })
            .collect()
    }
}
