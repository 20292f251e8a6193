//! Models that stop: what the provider announces, against the models that are used here.

use chrono::NaiveDate;
use serde::Serialize;

use crate::llm::{ModelEntry, tuning::ListedModel};

/// Days before a model stops from which on it is said.
pub const DAYS: i64 = 90;

/// A model of the model file that stops soon, or has stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// Its name here.
    pub name: String,
    /// The provider's name of it.
    pub model: String,
    /// The day on which it stops.
    pub shutdown_date: NaiveDate,
    /// Days until then; none are left when it is not positive.
    pub days: i64,
}

/// Models of `entries` that the provider at `base_url` stops within [`DAYS`].
#[must_use]
pub fn endings(entries: &[ModelEntry], base_url: &str, listed: &[ListedModel], today: NaiveDate) -> Vec<Ending> {
    let there = entries.iter().filter(|entry| entry.base_url.trim_end_matches('/') == base_url.trim_end_matches('/'));
    let ending = |entry: &ModelEntry| {
        let shutdown_date = listed.iter().find(|model| model.id == entry.model)?.shutdown_date?;
        let days = (shutdown_date - today).num_days();
        let ending = Ending { name: entry.name.clone(), model: entry.model.clone(), shutdown_date, days };
        (days <= DAYS).then_some(ending)
    };
    there.filter_map(ending).collect()
}
