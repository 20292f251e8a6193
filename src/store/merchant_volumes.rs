//! What passes at merchants as statements write them: how much, what it is taken for, and what waits.

use chrono::{DateTime, Utc};

use super::{Error, Store, count};

/// A descriptor key's traffic in a stretch of time.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MerchantVolume {
    /// The descriptor key.
    pub key: String,
    /// How many rows.
    pub rows: u32,
    /// On how many accounts.
    pub accounts: u32,
    /// The category that most of them have.
    pub category: Option<String>,
    /// Share of the rows that have it.
    pub share: f64,
    /// Rows that wait for review.
    pub waiting: u32,
    /// Rows that a person decided.
    pub reviewed: u32,
    /// The directory's merchant that most predictions saw.
    pub merchant: Option<String>,
}

impl Store {
    /// The descriptor keys with most rows since a moment, with a text in them where one is given, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merchant_volumes(
        &self,
        since: DateTime<Utc>,
        text: Option<&str>,
        limit: u32,
    ) -> Result<Vec<MerchantVolume>, Error> {
        let rows = sqlx::query!(
            r#"with most as (
                select
                    descriptor_key,
                    count(*) as rows,
                    count(distinct account_id) as accounts
                from transactions
                where replaced_by is null
                and posted_at >= $1
                and descriptor_key <> ''
                and ($2::text is null or strpos(descriptor_key, lower($2)) > 0)
                group by descriptor_key
                order by
                    count(*) desc,
                    descriptor_key
                limit $3
            )
            select
                most.descriptor_key as "key!",
                most.rows as "rows!",
                most.accounts as "accounts!",
                held.category as "category?",
                held.rows as "held?",
                held.waiting as "waiting!",
                held.reviewed as "reviewed!",
                merchants.name as "merchant?"
            from most
            join lateral (
                select
                    mode() within group (order by in_force.category) as category,
                    mode() within group (order by predictions.merchant_id) as merchant_id,
                    count(in_force.transaction_id) as rows,
                    count(*) filter (where in_force.review_status = 'pending') as waiting,
                    count(*) filter (where in_force.review_status = 'reviewed') as reviewed
                from transactions
                left join in_force on in_force.transaction_id = transactions.id
                left join predictions on predictions.id = in_force.prediction_id
                where transactions.descriptor_key = most.descriptor_key
                and transactions.replaced_by is null
                and transactions.posted_at >= $1
            ) as held on true
            left join merchants on merchants.id = held.merchant_id
            order by
                most.rows desc,
                most.descriptor_key"#,
            since,
            text,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let categories: Vec<&str> = rows.iter().map(|row| row.category.as_deref().unwrap_or_default()).collect();
        let agreeing = sqlx::query!(
            r#"select
                asked.key as "key!",
                count(*) as "rows!"
            from unnest($1::text[], $2::text[]) as asked(key, category)
            join transactions on transactions.descriptor_key = asked.key
            join in_force
                on in_force.transaction_id = transactions.id
                and in_force.category = asked.category
            where transactions.replaced_by is null
            and transactions.posted_at >= $3
            group by asked.key"#,
            &keys as &[&str],
            &categories as &[&str],
            since,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let alike = agreeing.iter().find(|other| other.key == row.key).map_or(0, |other| other.rows);
                let held = row.held.unwrap_or_default().max(1);
                Ok(MerchantVolume {
                    share: alike as f64 / held as f64,
                    key: row.key,
                    rows: count(row.rows, "transactions")?,
                    accounts: count(row.accounts, "transactions")?,
                    category: row.category,
                    waiting: count(row.waiting, "in_force")?,
                    reviewed: count(row.reviewed, "in_force")?,
                    merchant: row.merchant,
                })
            })
            .collect()
    }
}
