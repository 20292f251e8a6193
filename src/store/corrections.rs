//! Labels that came with imported data; what people say here is in [`super::review_decisions`].

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    iter,
};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{Error, Store, past_deadlocks};
use crate::domain::{Slug, TransactionId};

/// A label that came with the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedLabel {
    /// Of which transaction.
    pub transaction_id: TransactionId,
    /// What it says.
    pub category: Slug,
    /// Since when it was known; it counts in the histories of transactions posted later.
    pub known_at: DateTime<Utc>,
}

impl Store {
    /// Stores labels that came with the data, and brings them into force where no correction is. A label of a row that
    /// another has replaced goes to that one too. One that is stored already is left alone, and one of an unknown
    /// transaction is passed over: returns how many are new.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn import_labels(
        &self,
        labels: &[ImportedLabel],
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        past_deadlocks(|| self.import_labels_once(labels, made_by, now).boxed()).await
    }

    async fn import_labels_once(
        &self,
        labels: &[ImportedLabel],
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let mut labels: Vec<&ImportedLabel> = labels.iter().collect();
        labels.sort_by(|a, b| a.transaction_id.cmp(&b.transaction_id).then(b.known_at.cmp(&a.known_at)));
        labels.dedup_by(|a, b| a.transaction_id == b.transaction_id);
        let mut tx = self.begin().await?;
        let successors = lock_lines(&mut tx, &labels).await?;
        let told = along_lines(&labels, &successors);
        // The one that has the fewest rows to go: a row's own before what it takes over.
        let nearest: HashMap<&str, &str> = told.iter().map(|told| (told.id, told.category)).collect();
        let mut said = HashSet::new();
        let told: Vec<Told<'_>> = told.into_iter().filter(|told| said.insert((told.id, told.category))).collect();
        let ids: Vec<&str> = told.iter().map(|told| told.id).collect();
        let categories: Vec<&str> = told.iter().map(|told| told.category).collect();
        let known_at: Vec<DateTime<Utc>> = told.iter().map(|told| told.known_at).collect();
        let carried_from: Vec<Option<&str>> = told.iter().map(|told| told.carried_from).collect();
        let new = sqlx::query!(
            r#"insert into corrections_made (
                transaction_id,
                category,
                source,
                scope,
                made_by,
                made_at,
                carried_from
            )
            select
                transactions.id,
                told.category,
                'import',
                'transaction',
                $5,
                told.known_at,
                told.carried_from
            from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[])
                with ordinality as told(id, category, known_at, carried_from, place)
            join transactions on transactions.id = told.id
            where not exists (
                select
                from corrections as before
                where before.transaction_id = told.id
                and before.source = 'import'
                and before.category = told.category
            )
            order by told.place
            returning
                transaction_id as "transaction_id!",
                carried_from"#,
            &ids as &[&str],
            &categories as &[&str],
            &known_at,
            &carried_from as &[Option<&str>],
            made_by,
        )
        .fetch_all(&mut *tx)
        .await?;
        let own = new.iter().filter(|label| label.carried_from.is_none()).count() as u64;
        let new: Vec<String> = new.into_iter().map(|label| label.transaction_id).collect();
        let labelled = sqlx::query_scalar!(
            "insert into in_force (
                transaction_id,
                posted_at,
                category,
                decided_by,
                review_status
            )
            select
                transactions.id,
                transactions.posted_at,
                told.category,
                'import',
                'reviewed'
            from unnest($1::text[], $2::text[]) as told(id, category)
            join transactions on transactions.id = told.id
            where transactions.replaced_by is null
            and told.id = any($3)
            order by transactions.id
            on conflict (transaction_id) do update set
                category = excluded.category,
                decided_by = excluded.decided_by,
                review_status = excluded.review_status
            where in_force.decided_by <> 'correction'
            returning transaction_id",
            &nearest.keys().copied().collect::<Vec<_>>() as &[&str],
            &nearest.values().copied().collect::<Vec<_>>() as &[&str],
            &new,
        )
        .fetch_all(&mut *tx)
        .await?;
        // Where a correction holds, a complaint about it still waits.
        sqlx::query!(
            "update review_items
            set
                resolved_at = $2,
                resolved_by = 'import'
            where transaction_id = any($1)
            and resolved_at is null",
            &labelled,
            now,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(own)
    }
}

/// A label as it is told of a row.
struct Told<'a> {
    id: &'a str,
    category: &'a str,
    known_at: DateTime<Utc>,
    /// The row that it is of, where it goes along to another.
    carried_from: Option<&'a str>,
}

/// Locks the labelled rows and those that have taken their places: nobody replaces, corrects or answers them meanwhile.
/// Returns the successor of each that has one.
async fn lock_lines(tx: &mut PgConnection, labels: &[&ImportedLabel]) -> Result<HashMap<String, String>, Error> {
    let mut successors = HashMap::new();
    let mut asked: Vec<String> = labels.iter().map(|label| label.transaction_id.to_string()).collect();
    while !asked.is_empty() {
        let locked = sqlx::query!(
            "select
                id,
                replaced_by
            from transactions
            where id = any($1)
            order by id
            for no key update",
            &asked,
        )
        .fetch_all(&mut *tx)
        .await?;
        let replaced: Vec<(String, String)> =
            locked.into_iter().filter_map(|row| Some((row.id, row.replaced_by?))).collect();
        asked = replaced.iter().map(|(_, successor)| successor.clone()).collect();
        successors.extend(replaced);
    }
    Ok(successors)
}

/// Labels of rows and of those that have taken their places, those first that come the farthest: a row's own comes last.
fn along_lines<'a>(labels: &[&'a ImportedLabel], successors: &'a HashMap<String, String>) -> Vec<Told<'a>> {
    let mut told = Vec::with_capacity(labels.len());
    for label in labels {
        let origin = label.transaction_id.as_str();
        let line = iter::successors(Some(origin), |id| successors.get(*id).map(String::as_str));
        told.extend(line.enumerate().map(|(steps, id)| {
            let carried_from = (steps > 0).then_some(origin);
            (steps, Told { id, category: label.category.as_str(), known_at: label.known_at, carried_from })
        }));
    }
    told.sort_by_key(|(steps, _)| Reverse(*steps));
    told.into_iter().map(|(_, told)| told).collect()
}
