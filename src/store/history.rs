//! What accounts did before: one query for a whole batch.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Error, Store, read, transactions::money};
use crate::domain::{
    DescriptorKey, HistoryEntry, Transaction,
    enrichment::{HISTORY_WINDOW, KnownLabel},
};

/// A stored row of an account with every label it was ever given, oldest first.
struct Earlier {
    posted_at: DateTime<Utc>,
    id: String,
    entry: HistoryEntry,
    labels: Vec<KnownLabel>,
}

impl Store {
    /// For each transaction, in order, the rows of its account strictly before it by (time, id), at most
    /// [`HISTORY_WINDOW`], oldest first. Each carries the latest label that was known when the
    /// transaction was posted. Rows that a later one replaced are not among them.
    ///
    /// # Errors
    /// When the database fails or holds what can't be read.
    pub async fn history(&self, transactions: &[Transaction]) -> Result<Vec<Vec<HistoryEntry>>, Error> {
        let by_account = self.earlier(transactions).await?;
        let keys: Vec<&str> = transactions.iter().map(|at| at.descriptor.key().as_str()).collect();
        let merchants = self.merchants_of(&keys).await?;
        let merchant = |key: &DescriptorKey| merchants.get(key.as_str()).map(String::as_str);
        let none = Vec::new();
        Ok(transactions
            .iter()
            .map(|at| {
                let rows = by_account.get(at.account_id.as_str()).unwrap_or(&none);
                let end = rows.partition_point(|row| (row.posted_at, row.id.as_str()) < (at.posted_at, at.id.as_str()));
                let own = at.descriptor.key();
                // A key that was merged into the same merchant counts as the one at hand.
                let key = |key: &DescriptorKey| match (merchant(key), merchant(own)) {
                    (Some(theirs), Some(ours)) if theirs == ours => own.clone(),
                    _ => key.clone(),
                };
                rows[end.saturating_sub(HISTORY_WINDOW)..end]
                    .iter()
                    .map(|row| HistoryEntry {
                        key: key(&row.entry.key),
                        label: row.labels.iter().rfind(|label| label.known_at <= at.posted_at).cloned(),
                        ..row.entry.clone()
                    })
                    .collect()
            })
            .collect())
    }

    /// By account, every row that some transaction's window may hold, oldest first.
    ///
    /// A transaction's window lies in the rows between its neighbour in the batch and itself, and in
    /// that neighbour's own window. So each asks for those in between alone, and no row comes twice.
    async fn earlier(&self, transactions: &[Transaction]) -> Result<HashMap<String, Vec<Earlier>>, Error> {
        let accounts: Vec<&str> = transactions.iter().map(|at| at.account_id.as_str()).collect();
        let times: Vec<DateTime<Utc>> = transactions.iter().map(|at| at.posted_at).collect();
        let ids: Vec<&str> = transactions.iter().map(|at| at.id.as_str()).collect();
        let window = i64::try_from(HISTORY_WINDOW).unwrap_or(i64::MAX);
        let mut rows = sqlx::query!(
            r#"with asked as (
                select
                    account_id collate "C" as account_id,
                    posted_at,
                    id collate "C" as id,
                    lag(posted_at, 1, '-infinity') over in_account as after_time,
                    lag(id, 1, '') over in_account collate "C" as after_id
                from unnest($1::text[], $2::timestamptz[], $3::text[]) as batch(account_id, posted_at, id)
                window in_account as (partition by account_id order by posted_at, id collate "C")
            )
            select
                asked.account_id as "account_id!",
                earlier.posted_at,
                earlier.id,
                earlier.descriptor_key,
                earlier.amount,
                earlier.currency,
                earlier.direction,
                corrections.category as "label?",
                corrections.made_at as "known_at?",
                corrections.id as "said?"
            from asked
            cross join lateral (
                select
                    transactions.posted_at,
                    transactions.id,
                    transactions.descriptor_key,
                    transactions.amount,
                    transactions.currency,
                    transactions.direction
                from transactions
                where transactions.replaced_by is null
                and transactions.account_id = asked.account_id
                and (transactions.posted_at, transactions.id) < (asked.posted_at, asked.id)
                and (transactions.posted_at, transactions.id) >= (asked.after_time, asked.after_id)
                order by
                    transactions.posted_at desc,
                    transactions.id desc
                limit $4
            ) as earlier
            left join corrections on corrections.transaction_id = earlier.id"#,
            &accounts as &[&str],
            &times,
            &ids as &[&str],
            window,
        )
        .fetch_all(&self.pool)
        .await?;
        // Sorted here: they come almost so, which the server's sort would make nothing of.
        rows.sort_by(|a, b| {
            (&a.account_id, a.posted_at, &a.id, a.known_at, a.said).cmp(&(
                &b.account_id,
                b.posted_at,
                &b.id,
                b.known_at,
                b.said,
            ))
        });
        let mut by_account: HashMap<String, Vec<Earlier>> = HashMap::new();
        for row in rows {
            let earlier = by_account.entry(row.account_id).or_default();
            let label = match (row.label, row.known_at) {
                (Some(category), Some(known_at)) => {
                    Some(KnownLabel { category: read(&category, "corrections.category")?, known_at })
                }
                _ => None,
            };
            // A row with several labels comes once for each.
            match earlier.last_mut().filter(|last| last.id == row.id) {
                Some(last) => last.labels.extend(label),
                None => earlier.push(Earlier {
                    entry: HistoryEntry {
                        posted_at: row.posted_at,
                        key: DescriptorKey::from_stored(&row.descriptor_key),
                        amount: money(row.amount, &row.currency)?,
                        direction: read(&row.direction, "transactions.direction")?,
                        label: None,
                    },
                    posted_at: row.posted_at,
                    id: row.id,
                    labels: label.into_iter().collect(),
                }),
            }
        }
        Ok(by_account)
    }
}
