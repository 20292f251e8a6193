//! The watch: takes back an adapter whose answers people correct more often than those of what it replaced.
//!
//! A canary is compared with the champion of the same days, whose accounts were drawn from the same people;
//! a champion with what its predecessor's tally was when it left. What is compared is the share of answers
//! that somebody corrected, which says nothing about accuracy and much about a difference in it. Only the
//! first answers are looked at: a later fall is a matter of drift, which training mends and going back does not.

use chrono::{DateTime, Utc};
use serde::Serialize;
use statrs::distribution::{DiscreteCDF, Hypergeometric};

use super::{Error, promotion};
use crate::{
    domain::AdapterState,
    store::{LiveTally, Store, StoredAdapter},
};

/// Who takes adapters back by itself.
const WATCH: &str = "watch";
/// Answers after an adapter's step up that are looked at, its own and the other's.
const FIRST: u32 = 50_000;

/// When the watch acts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// One-sided Fisher p-value below which an adapter is taken back. Small, because it is looked at often.
    pub p: f64,
    /// Fewest corrected answers.
    pub least_wrong: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { p: 0.001, least_wrong: 10 }
    }
}

/// How an adapter does beside what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// The adapter's answers.
    pub now: LiveTally,
    /// The other's.
    pub reference: LiveTally,
    /// Chance of so many corrections or more, were both corrected equally often (Fisher, one-sided).
    pub p: f64,
}

impl Comparison {
    /// Compares two tallies.
    #[must_use]
    pub fn of(now: LiveTally, reference: LiveTally) -> Self {
        Self { now, reference, p: more_often(now, reference) }
    }

    fn fell(&self, limits: Limits) -> bool {
        self.now.wrong >= limits.least_wrong && self.p < limits.p
    }

    /// In a sentence.
    #[must_use]
    pub fn says(&self) -> String {
        format!(
            "people corrected {} of {} answers, and {} of {} of what it is compared with (p = {:.1e})",
            self.now.wrong, self.now.answered, self.reference.wrong, self.reference.answered, self.p
        )
    }
}

/// One-sided Fisher exact test that the first is corrected more often; 1 where there is nothing to compare.
fn more_often(now: LiveTally, reference: LiveTally) -> f64 {
    let all = u64::from(now.answered) + u64::from(reference.answered);
    let wrong = u64::from(now.wrong) + u64::from(reference.wrong);
    if now.answered == 0 || reference.answered == 0 || now.wrong == 0 {
        return 1.0;
    }
    Hypergeometric::new(all, wrong, u64::from(now.answered)).map_or(1.0, |drawn| drawn.sf(u64::from(now.wrong) - 1))
}

/// What the watch found about one adapter.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which adapter.
    pub adapter: StoredAdapter,
    /// How it does.
    pub comparison: Comparison,
    /// Whether it was taken back.
    pub taken_back: bool,
}

/// Looks at every canary and champion that replaced another, and takes back what does worse.
///
/// # Errors
/// When the database fails.
pub async fn look(store: &Store, limits: Limits, now: DateTime<Utc>) -> Result<Vec<Finding>, Error> {
    let adapters = store.adapters(None).await?;
    let mut findings = Vec::new();
    for adapter in &adapters {
        let reference = match adapter.state {
            AdapterState::Canary => {
                let champion =
                    adapters.iter().find(|other| other.is_champion_of(&adapter.taxonomy, &adapter.account_group));
                match champion {
                    Some(champion) => Some(store.first_tally(&champion.engine, adapter.state_since, FIRST).await?),
                    None => None,
                }
            }
            AdapterState::Champion => promotion::replaced(store, adapter).await?.map(|replaced| replaced.reference),
            _ => None,
        };
        let Some(reference) = reference else { continue };
        let tally = store.first_tally(&adapter.engine, adapter.state_since, FIRST).await?;
        let comparison = Comparison::of(tally, reference);
        let mut finding = Finding { adapter: adapter.clone(), comparison, taken_back: false };
        if comparison.fell(limits) {
            let numbers = serde_json::to_value(comparison)?;
            match promotion::take_back(store, adapter, &comparison.says(), numbers, WATCH, now).await {
                Ok(()) => {
                    tracing::warn!(adapter.name = %adapter.reference(), p = comparison.p, "took an adapter back");
                    finding.taken_back = true;
                }
                // Another server's watch, or a person, was faster.
                Err(Error::Moved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        findings.push(finding);
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answered: u32, wrong: u32) -> LiveTally {
        LiveTally { answered, judged: wrong, wrong, ..LiveTally::default() }
    }

    #[test]
    fn the_test_is_fishers() {
        // Summed binomial coefficients: 12 or more of 17 marked among 100 drawn of 300.
        let p = more_often(tally(100, 12), tally(200, 5));
        assert!((p - 0.001_393).abs() < 1e-6, "{p}");
        assert_eq!(more_often(tally(0, 0), tally(10, 1)), 1.0);
    }

    #[test]
    fn a_worse_adapter_falls_and_one_as_good_does_not() {
        let limits = Limits::default();
        assert!(Comparison::of(tally(1_000, 60), tally(9_000, 90)).fell(limits));
        assert!(!Comparison::of(tally(1_000, 12), tally(9_000, 90)).fell(limits));
        assert!(!Comparison::of(tally(100, 9), tally(9_000, 9)).fell(limits), "too few to act on");
    }
}
