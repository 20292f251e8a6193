//! What stands in the database, in numbers, for whoever watches the service from outside.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::{Error, Store};

/// The database in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauges {
    /// Rows that wait for a person.
    pub waiting: i64,
    /// Groups that somebody handed on to others.
    pub escalated: i64,
    /// Seconds that the oldest row has waited.
    pub oldest_wait: i64,
    /// Endpoints that are paused.
    pub paused_webhooks: i64,
    /// Events that the endpoint furthest behind has not taken.
    pub webhook_lag: i64,
    /// Records of the audit log.
    pub audit_records: i64,
    /// Rows of recategorizations that were answered from a process's memory, from the database, and by asking.
    pub from_memory: i64,
    /// See `from_memory`.
    pub from_store: i64,
    /// See `from_memory`.
    pub computed: i64,
}

/// What calls to chat models of a day came to, with what is reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaySpend {
    /// ISO 4217.
    pub currency: String,
    /// How much.
    pub spent: Decimal,
}

impl Store {
    /// The database in numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gauges(&self) -> Result<Gauges, Error> {
        let gauges = sqlx::query_as!(
            Gauges,
            r#"select
                (select count(*) from review_items where resolved_at is null) as "waiting!",
                (select count(*) from review_groups where escalated_at is not null) as "escalated!",
                coalesce((
                    select extract(epoch from now() - min(opened_at))::bigint from review_items where resolved_at is null
                ), 0) as "oldest_wait!",
                (select count(*) from webhooks where paused_at is not null) as "paused_webhooks!",
                coalesce((select max(events.id) from events) - (select min(delivered) from webhooks), 0) as "webhook_lag!",
                coalesce((select max(seq) from audit_log), 0) as "audit_records!",
                coalesce((select sum(from_memory) from recategorizations), 0)::bigint as "from_memory!",
                coalesce((select sum(from_store) from recategorizations), 0)::bigint as "from_store!",
                coalesce((select sum(computed) from recategorizations), 0)::bigint as "computed!""#
        );
        Ok(gauges.fetch_one(&self.pool).await?)
    }

    /// What a day's calls to chat models came to, by currency.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn day_spend(&self, day: NaiveDate) -> Result<Vec<DaySpend>, Error> {
        let spent = sqlx::query_as!(
            DaySpend,
            "select
                currency,
                spent
            from model_spend
            where day = $1
            order by currency",
            day,
        );
        Ok(spent.fetch_all(&self.pool).await?)
    }

    /// Connections of this process: open, and of these free.
    #[must_use]
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }
}
