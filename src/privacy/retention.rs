//! How long rows are kept, table by table: a file of days, and what is older goes.

use std::{fs, io, num::NonZeroU16, path::Path};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::store::{Error, Store};

/// Transactions forgotten in one database transaction.
const CHUNK: u32 = 500;
/// Days that events are kept: who reads the feed has come by long before.
const EVENTS: NonZeroU16 = NonZeroU16::new(90).unwrap();

/// Days that rows are kept, at least one, by table; for ever without a number, but for events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Transactions, by the day they were posted, with all that was said of them.
    pub transactions: Option<NonZeroU16>,
    /// Events of the feed that every endpoint has taken; 90 days where the file says nothing else.
    pub events: NonZeroU16,
    /// Calls to chat models; what a day came to stays.
    pub model_calls: Option<NonZeroU16>,
    /// What shadows would have said.
    pub shadow_predictions: Option<NonZeroU16>,
    /// The rows behind eval runs; the figures stay.
    pub eval_items: Option<NonZeroU16>,
    /// How many rows keys sent a day.
    pub key_usage: Option<NonZeroU16>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            transactions: None,
            events: EVENTS,
            model_calls: None,
            shadow_predictions: None,
            eval_items: None,
            key_usage: None,
        }
    }
}

/// Why a file says not how long rows are kept.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRetention {
    /// It can't be read.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It names another table, or no number of days.
    #[error("{} does not say how many days tables are kept", path.display())]
    Malformed {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        source: toml::de::Error,
    },
}

/// A table, how long its rows are kept, and how many were too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which table.
    pub table: &'static str,
    /// Days; none for ever.
    pub days: Option<NonZeroU16>,
    /// Rows that went.
    pub dropped: u64,
}

impl Retention {
    /// Reads a file such as `transactions = 1095`, one line a table.
    ///
    /// # Errors
    /// When it can't be read, or says something else.
    pub fn load(path: &Path) -> Result<Self, InvalidRetention> {
        let owned = || path.to_owned();
        let text = fs::read_to_string(path).map_err(|source| InvalidRetention::Unreadable { path: owned(), source })?;
        toml::from_str(&text).map_err(|source| InvalidRetention::Malformed { path: owned(), source })
    }

    /// Drops what is too old.
    ///
    /// # Errors
    /// When the database fails; what went before stays gone, and the next time goes on.
    pub async fn apply(&self, store: &Store, by: &str, now: DateTime<Utc>) -> Result<Vec<Kept>, Error> {
        let mut kept = Vec::new();
        let before = |days: NonZeroU16| now - TimeDelta::days(i64::from(days.get()));
        let mut note = |table, days, dropped| kept.push(Kept { table, days, dropped });
        let mut dropped = 0;
        if let Some(days) = self.transactions {
            loop {
                let gone = store.forget_transactions(before(days), CHUNK, by).await?.unsigned_abs();
                dropped += gone;
                if gone == 0 {
                    break;
                }
            }
        }
        note("transactions", self.transactions, dropped);
        let dropped = store.drop_events(before(self.events), by).await?;
        note("events", Some(self.events), dropped);
        let dropped = match self.model_calls {
            Some(days) => store.drop_model_calls(before(days)).await?,
            None => 0,
        };
        note("model_calls", self.model_calls, dropped);
        let dropped = match self.shadow_predictions {
            Some(days) => store.drop_shadow_predictions(before(days)).await?,
            None => 0,
        };
        note("shadow_predictions", self.shadow_predictions, dropped);
        let dropped = match self.eval_items {
            Some(days) => store.drop_eval_items(before(days)).await?,
            None => 0,
        };
        note("eval_items", self.eval_items, dropped);
        let dropped = match self.key_usage {
            Some(days) => store.drop_key_usage(before(days).date_naive()).await?,
            None => 0,
        };
        note("key_usage", self.key_usage, dropped);
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_tables_and_days_and_nothing_else() {
        let kept: Retention = toml::from_str("transactions = 1095\nevents = 30").unwrap();
        let days = |days: u16| NonZeroU16::new(days).unwrap();
        assert_eq!(kept, Retention { transactions: Some(days(1095)), events: days(30), ..Retention::default() });
        let kept: Retention = toml::from_str("key_usage = 90").unwrap();
        assert_eq!((kept.events, kept.transactions, kept.key_usage), (days(90), None, Some(days(90))));
        for wrong in ["transaction = 3", "transactions = 0", "transactions = -1", "events = 0", "events = \"30d\""] {
            assert!(toml::from_str::<Retention>(wrong).is_err(), "{wrong}");
        }
    }
}
