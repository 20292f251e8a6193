//! Taking transactions in: each id once, whoever sends it, however often and from wherever at once.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use sqlx::PgConnection;

use super::{Error, Store, content::content_hash, past_deadlocks};
use crate::domain::{
    Transaction, TransactionId,
    transaction::{Channel, Counterparty, Country, Mcc},
};

/// What became of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingested {
    /// Stored now.
    New,
    /// Stored before (or earlier in the same call) with the same content; nothing was written.
    Known,
    /// Its id is taken by other content; nothing was written.
    Conflict,
    /// It replaces a row that is not there, is another account's, or is not pending; nothing was written.
    ReplacesUnknown,
    /// The row it replaces has another successor; nothing was written.
    AlreadyReplaced,
}

/// One row of a call, with the hash of its content.
#[derive(Clone, Copy)]
struct Row<'a> {
    transaction: &'a Transaction,
    hash: [u8; 32],
}

/// A pending row that a row of this call wants to succeed.
struct Predecessor {
    account_id: String,
    pending: bool,
    replaced_by: Option<String>,
}

impl Store {
    /// Stores rows in one database transaction and says for each, in order, what became of it.
    /// Safe to repeat and to run twice at once. The first row of an id in a call is the one that counts.
    ///
    /// # Errors
    /// When the database fails; then nothing was stored.
    pub async fn ingest(&self, rows: &[Transaction], now: DateTime<Utc>) -> Result<Vec<Ingested>, Error> {
        // Two calls may take each other's ids in crossed roles.
        past_deadlocks(|| self.ingest_once(rows, now).boxed()).await
    }

    async fn ingest_once(&self, rows: &[Transaction], now: DateTime<Utc>) -> Result<Vec<Ingested>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Row<'_>> =
            rows.iter().map(|transaction| Row { transaction, hash: content_hash(transaction) }).collect();
        let mut first: HashMap<&str, Row<'_>> = HashMap::with_capacity(rows.len());
        for row in &rows {
            first.entry(row.transaction.id.as_str()).or_insert(*row);
        }
        let mut unique: Vec<Row<'_>> = first.values().copied().collect();
        // One order for everybody keeps two overlapping calls from waiting for each other.
        unique.sort_unstable_by(|a, b| a.transaction.id.cmp(&b.transaction.id));
        let (mut succeeding, plain): (Vec<_>, Vec<_>) =
            unique.into_iter().partition(|row| row.transaction.replaces.is_some());

        let mut call = Call { outcomes: HashMap::with_capacity(rows.len()), stored: HashMap::new(), now };
        let mut tx = self.begin().await?;
        call.store_new(&mut tx, &plain).await?;
        while !succeeding.is_empty() {
            // A row may succeed one of the same call: those that wait for none go first.
            let waiting: HashSet<&str> = succeeding.iter().map(|row| row.transaction.id.as_str()).collect();
            let (later, wave): (Vec<_>, Vec<_>) = succeeding.into_iter().partition(|row| {
                row.transaction.replaces.as_ref().is_some_and(|replaces| waiting.contains(replaces.as_str()))
            });
            if wave.is_empty() {
                // They wait for each other in a circle: none of them ever had a predecessor.
                call.refuse_circle(&mut tx, &later).await?;
                break;
            }
            call.succeed(&mut tx, &wave).await?;
            succeeding = later;
        }
        tx.commit().await?;

        Ok(rows
            .iter()
            .map(|row| {
                let id = row.transaction.id.as_str();
                let decided = call.outcomes.get(id).copied().unwrap_or(Ingested::Conflict);
                let is_first = first.get(id).is_some_and(|first| std::ptr::eq(first.transaction, row.transaction));
                match (is_first, call.stored.get(id)) {
                    (true, _) => decided,
                    (false, Some(stored)) if *stored == row.hash => Ingested::Known,
                    (false, Some(_)) => Ingested::Conflict,
                    (false, None) if first.get(id).is_some_and(|first| first.hash == row.hash) => decided,
                    (false, None) => Ingested::Conflict,
                }
            })
            .collect())
    }
}

/// What one call has done so far.
struct Call<'a> {
    /// By id, for the first row of each.
    outcomes: HashMap<&'a str, Ingested>,
    /// Content hash of what the table holds, by id.
    stored: HashMap<&'a str, [u8; 32]>,
    now: DateTime<Utc>,
}

impl<'a> Call<'a> {
    /// Inserts rows whose ids may be taken; returns those that are new.
    async fn store_new(&mut self, tx: &mut PgConnection, rows: &[Row<'a>]) -> Result<HashSet<&'a str>, Error> {
        let inserted = insert(tx, rows, self.now).await?;
        let mut new = HashSet::with_capacity(inserted.len());
        let mut taken = Vec::new();
        for row in rows {
            let id = row.transaction.id.as_str();
            if inserted.contains(id) {
                self.outcomes.insert(id, Ingested::New);
                self.stored.insert(id, row.hash);
                new.insert(id);
            } else {
                taken.push(*row);
            }
        }
        self.compare(tx, &taken).await?;
        Ok(new)
    }

    /// Decides the rows whose ids are stored by comparing contents; returns the others.
    async fn compare(&mut self, tx: &mut PgConnection, rows: &[Row<'a>]) -> Result<Vec<Row<'a>>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = rows.iter().map(|row| row.transaction.id.as_str()).collect();
        let stored = sqlx::query!(
            "select
                id,
                content_hash
            from transactions
            where id = any($1)",
            &ids as &[&str],
        )
        .fetch_all(tx)
        .await?;
        let mut by_id: HashMap<String, Vec<u8>> = stored.into_iter().map(|row| (row.id, row.content_hash)).collect();
        let mut absent = Vec::new();
        for row in rows {
            let id = row.transaction.id.as_str();
            let Some(hash) = by_id.remove(id) else {
                absent.push(*row);
                continue;
            };
            let hash: [u8; 32] = hash.try_into().map_err(|_| Error::Corrupt { what: "transactions.content_hash" })?;
            self.outcomes.insert(id, if hash == row.hash { Ingested::Known } else { Ingested::Conflict });
            self.stored.insert(id, hash);
        }
        Ok(absent)
    }

    async fn refuse_circle(&mut self, tx: &mut PgConnection, rows: &[Row<'a>]) -> Result<(), Error> {
        for row in self.compare(tx, rows).await? {
            self.outcomes.insert(row.transaction.id.as_str(), Ingested::ReplacesUnknown);
        }
        Ok(())
    }

    /// Stores rows that succeed pending ones, none of which is in the same slice.
    async fn succeed(&mut self, tx: &mut PgConnection, rows: &[Row<'a>]) -> Result<(), Error> {
        // The lock on the pending rows comes first: from here on nobody else replaces, corrects or answers them.
        let predecessors = lock_predecessors(tx, rows).await?;
        let mut claimed = HashSet::new();
        let mut able = Vec::new();
        for row in self.compare(tx, rows).await? {
            let id = row.transaction.id.as_str();
            let Some(replaces) = row.transaction.replaces.as_ref().map(TransactionId::as_str) else { continue };
            let refusal = match predecessors.get(replaces) {
                Some(old) if old.replaced_by.is_some() => Some(Ingested::AlreadyReplaced),
                Some(old) if !old.pending || old.account_id != row.transaction.account_id.as_str() => {
                    Some(Ingested::ReplacesUnknown)
                }
                Some(_) if !claimed.insert(replaces) => Some(Ingested::AlreadyReplaced),
                Some(_) => None,
                None => Some(Ingested::ReplacesUnknown),
            };
            match refusal {
                Some(refusal) => {
                    self.outcomes.insert(id, refusal);
                }
                None => able.push(row),
            }
        }
        let new = self.store_new(tx, &able).await?;
        let (old_ids, new_ids): (Vec<&str>, Vec<&str>) = able
            .iter()
            .filter(|row| new.contains(row.transaction.id.as_str()))
            .filter_map(|row| Some((row.transaction.replaces.as_ref()?.as_str(), row.transaction.id.as_str())))
            .unzip();
        carry_over(tx, &old_ids, &new_ids, self.now).await
    }
}

async fn insert(tx: &mut PgConnection, rows: &[Row<'_>], now: DateTime<Utc>) -> Result<HashSet<String>, Error> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let of = |field: fn(&Transaction) -> &str| rows.iter().map(|row| field(row.transaction)).collect::<Vec<_>>();
    let of_some =
        |field: fn(&Transaction) -> Option<&str>| rows.iter().map(|row| field(row.transaction)).collect::<Vec<_>>();
    let posted_at: Vec<_> = rows.iter().map(|row| row.transaction.posted_at).collect();
    let amounts: Vec<_> = rows.iter().map(|row| row.transaction.amount.amount()).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|row| row.hash.as_slice()).collect();
    let inserted = sqlx::query_scalar!(
        "insert into transactions (
            id,
            account_id,
            posted_at,
            amount,
            currency,
            direction,
            descriptor,
            descriptor_key,
            mcc,
            country,
            channel,
            counterparty,
            status,
            replaces,
            content_hash,
            received_at
        )
        select
            row.*,
            $16::timestamptz
        from unnest(
            $1::text[],
            $2::text[],
            $3::timestamptz[],
            $4::numeric[],
            $5::text[],
            $6::text[],
            $7::text[],
            $8::text[],
            $9::text[],
            $10::text[],
            $11::text[],
            $12::text[],
            $13::text[],
            $14::text[],
            $15::bytea[]
        ) as row
        on conflict (id) do nothing
        returning id",
        &of(|row| row.id.as_str()) as &[&str],
        &of(|row| row.account_id.as_str()) as &[&str],
        &posted_at,
        &amounts,
        &of(|row| row.amount.currency().code()) as &[&str],
        &of(|row| row.direction.as_str()) as &[&str],
        &of(|row| row.descriptor.raw()) as &[&str],
        &of(|row| row.descriptor.key().as_str()) as &[&str],
        &of_some(|row| row.mcc.as_ref().map(Mcc::as_str)) as &[Option<&str>],
        &of_some(|row| row.country.as_ref().map(Country::as_str)) as &[Option<&str>],
        &of_some(|row| row.channel.map(Channel::as_str)) as &[Option<&str>],
        &of_some(|row| row.counterparty.as_ref().map(Counterparty::as_str)) as &[Option<&str>],
        &of(|row| row.status.as_str()) as &[&str],
        &of_some(|row| row.replaces.as_ref().map(TransactionId::as_str)) as &[Option<&str>],
        &hashes as &[&[u8]],
        now,
    )
    .fetch_all(tx)
    .await?;
    Ok(inserted.into_iter().collect())
}

/// Locks rows that are to be replaced, also against answers: what is about to name one in a new row waits, and then sees
/// that it was replaced.
async fn lock_predecessors(tx: &mut PgConnection, rows: &[Row<'_>]) -> Result<HashMap<String, Predecessor>, Error> {
    let ids: Vec<&str> = rows.iter().filter_map(|row| Some(row.transaction.replaces.as_ref()?.as_str())).collect();
    let locked = sqlx::query!(
        "select
            id,
            account_id,
            status,
            replaced_by
        from transactions
        where id = any($1)
        order by id
        for update",
        &ids as &[&str],
    )
    .fetch_all(tx)
    .await?;
    Ok(locked
        .into_iter()
        .map(|row| {
            let pending = row.status == "pending";
            (row.id, Predecessor { account_id: row.account_id, pending, replaced_by: row.replaced_by })
        })
        .collect())
}

/// Marks the old rows replaced and gives what people said about them to the new ones.
async fn carry_over(tx: &mut PgConnection, old: &[&str], new: &[&str], now: DateTime<Utc>) -> Result<(), Error> {
    if old.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update transactions
        set replaced_by = pair.new_id
        from unnest($1::text[], $2::text[]) as pair(old_id, new_id)
        where transactions.id = pair.old_id",
        old as &[&str],
        new as &[&str],
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into corrections_made (
            transaction_id,
            category,
            source,
            scope,
            note,
            made_by,
            made_at,
            carried_from
        )
        select
            pair.new_id,
            corrections.category,
            corrections.source,
            corrections.scope,
            corrections.note,
            corrections.made_by,
            corrections.made_at,
            coalesce(corrections.carried_from, pair.old_id)
        from unnest($1::text[], $2::text[]) as pair(old_id, new_id)
        join corrections on corrections.transaction_id = pair.old_id
        order by corrections.id",
        old as &[&str],
        new as &[&str],
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into in_force (
            transaction_id,
            posted_at,
            category,
            decided_by,
            review_status
        )
        select
            successor.id,
            successor.posted_at,
            in_force.category,
            in_force.decided_by,
            in_force.review_status
        from unnest($1::text[], $2::text[]) as pair(old_id, new_id)
        join in_force on in_force.transaction_id = pair.old_id
        join transactions as successor on successor.id = pair.new_id
        where in_force.decided_by in ('correction', 'import')",
        old as &[&str],
        new as &[&str],
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("delete from in_force where transaction_id = any($1)", old as &[&str]).execute(&mut *tx).await?;
    sqlx::query!(
        "update review_items
        set
            resolved_at = $2,
            resolved_by = 'replaced'
        where transaction_id = any($1)
        and resolved_at is null",
        old as &[&str],
        now,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
