//! What passes at merchants as statements write them: how much, what it is taken for, and what waits.

use chrono::{DateTime, Utc};

use super::{Error, Store, count};

/// A merchant's traffic in a stretch of time.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MerchantVolume {
    /// The descriptor key that it goes by.
    pub key: String,
    /// What people call it.
    pub name: Option<String>,
    /// Every key that its statements have, its own first.
    pub keys: Vec<String>,
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

/// Which merchants; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MerchantFilter {
    /// With this text in a key or in its name.
    pub text: Option<String>,
    /// The one that goes by this key.
    pub merchant: Option<String>,
}

impl Store {
    /// The merchants with most rows since a moment, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merchant_volumes(
        &self,
        since: DateTime<Utc>,
        filter: &MerchantFilter,
        limit: u32,
    ) -> Result<Vec<MerchantVolume>, Error> {
        let rows = sqlx::query!(
            r#"with counted as (
                select
                    descriptor_key,
                    count(*) as rows
                from transactions
                where replaced_by is null
                and posted_at >= $1
                and descriptor_key <> ''
                and ($4::text is null or descriptor_key = $4 or descriptor_key in (
                    select merged.descriptor_key from merchant_merges as merged where merged.root_key = $4
                ))
                group by descriptor_key
            ),
            most as (
                select
                    coalesce(merchant_merges.root_key, counted.descriptor_key) as key,
                    array_agg(counted.descriptor_key order by counted.descriptor_key) as keys,
                    sum(counted.rows)::bigint as rows
                from counted
                left join merchant_merges on merchant_merges.descriptor_key = counted.descriptor_key
                left join merchant_names
                    on merchant_names.merchant_key = coalesce(merchant_merges.root_key, counted.descriptor_key)
                group by 1
                having (
                    $2::text is null
                    or bool_or(
                        strpos(counted.descriptor_key, lower($2)) > 0
                        or strpos(lower(coalesce(merchant_names.name, '')), lower($2)) > 0
                    )
                )
                order by
                    3 desc,
                    1
                limit $3
            )
            select
                most.key as "key!",
                most.keys as "keys!",
                merchant_names.name as "name?",
                most.rows as "rows!",
                held.accounts as "accounts!",
                held.category as "category?",
                held.rows as "held?",
                held.waiting as "waiting!",
                held.reviewed as "reviewed!",
                merchants.name as "merchant?"
            from most
            left join merchant_names on merchant_names.merchant_key = most.key
            join lateral (
                select
                    mode() within group (order by in_force.category) as category,
                    mode() within group (order by predictions.merchant_id) as merchant_id,
                    count(distinct transactions.account_id) as accounts,
                    count(in_force.transaction_id) as rows,
                    count(*) filter (where in_force.review_status = 'pending') as waiting,
                    count(*) filter (where in_force.review_status = 'reviewed') as reviewed
                from transactions
                left join in_force on in_force.transaction_id = transactions.id
                left join predictions on predictions.id = in_force.prediction_id
                where transactions.descriptor_key = any(most.keys)
                and transactions.replaced_by is null
                and transactions.posted_at >= $1
            ) as held on true
            left join merchants on merchants.id = held.merchant_id
            order by
                most.rows desc,
                most.key"#,
            since,
            filter.text,
            i64::from(limit),
            filter.merchant,
        )
        .fetch_all(&self.pool)
        .await?;
        let told: Vec<(&str, &str, &str)> = rows
            .iter()
            .flat_map(|row| row.keys.iter().map(move |key| (row, key)))
            .map(|(row, key)| (row.key.as_str(), key.as_str(), row.category.as_deref().unwrap_or_default()))
            .collect();
        let agreeing = sqlx::query!(
            r#"select
                asked.merchant as "merchant!",
                count(*) as "rows!"
            from unnest($1::text[], $2::text[], $3::text[]) as asked(merchant, key, category)
            join transactions on transactions.descriptor_key = asked.key
            join in_force
                on in_force.transaction_id = transactions.id
                and in_force.category = asked.category
            where transactions.replaced_by is null
            and transactions.posted_at >= $4
            group by asked.merchant"#,
            &told.iter().map(|told| told.0).collect::<Vec<_>>() as &[&str],
            &told.iter().map(|told| told.1).collect::<Vec<_>>() as &[&str],
            &told.iter().map(|told| told.2).collect::<Vec<_>>() as &[&str],
            since,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let alike = agreeing.iter().find(|other| other.merchant == row.key).map_or(0, |other| other.rows);
                let held = row.held.unwrap_or_default().max(1);
                Ok(MerchantVolume {
                    share: alike as f64 / held as f64,
                    name: row.name,
                    keys: row.keys,
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
