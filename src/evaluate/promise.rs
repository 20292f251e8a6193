//! Whether confidence levels keep on live traffic what they promise.
//!
//! A level breaks its promise where even the upper end of the interval of its live accuracy lies below. People are
//! then asked about all answers of the level, and what they say lifts it again: only the last [`DAYS`] days count.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::metrics::{self, Share};
use crate::{
    domain::ConfidenceLevel,
    store::{self, Store},
};

/// Days that people's word is looked back on.
pub const DAYS: i64 = 30;

/// One level of one engine on live traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct LivePromise {
    /// Which engine.
    pub engine: String,
    /// Which level.
    pub level: ConfidenceLevel,
    /// How many of the answers that people looked at were right.
    pub right: Share,
}

impl LivePromise {
    /// Whether the level keeps what it promises, as far as can be told.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.right.high >= self.level.promise()
    }
}

/// What people said of every level in the last [`DAYS`] days.
///
/// # Errors
/// When the database fails.
pub async fn live(store: &Store, now: DateTime<Utc>) -> Result<Vec<LivePromise>, store::Error> {
    let tallies = store.level_tallies(now - TimeDelta::days(DAYS)).await?;
    let promise = |of: store::LevelTally| {
        let right = metrics::wilson(of.right as usize, of.judged as usize)?;
        Some(LivePromise { engine: of.engine, level: of.level, right })
    };
    Ok(tallies.into_iter().filter_map(promise).collect())
}

/// The levels that break their promise, by engine.
#[must_use]
pub fn broken(promises: &[LivePromise]) -> HashSet<(String, ConfidenceLevel)> {
    let broken = promises.iter().filter(|promise| !promise.is_kept());
    broken.map(|promise| (promise.engine.clone(), promise.level)).collect()
}
