//! Why a transaction got its answer: everything that was looked at, and what it cost.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::{Desk, Error};
use crate::{
    domain::{Slug, TransactionId, UserHistory, prediction::Evidence},
    store::{ActionFilter, Opinion, ReviewAction, TransactionView},
};

/// Categories that keys pick.
const MOST_SUGGESTIONS: usize = 9;
/// Acts of the trail that are shown.
const MOST_ACTIONS: u32 = 20;

/// Why a transaction got its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Why {
    /// The transaction, its prediction, and what is in force.
    pub view: TransactionView,
    /// What its account did before, as the engine was told.
    pub history: UserHistory,
    /// The text that the engine saw.
    pub text: Option<String>,
    /// What engines said, the latest first.
    pub opinions: Vec<Opinion>,
    /// What the engine's answers cost and how fast they come, where that was measured.
    pub measured: Option<Measured>,
    /// What it may be, likeliest first, at most nine.
    pub suggestions: Vec<Slug>,
    /// What people did with it, latest first.
    pub actions: Vec<ReviewAction>,
}

/// What an engine's latest eval run measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// When.
    pub at: DateTime<Utc>,
    /// On which data.
    pub data: String,
    /// Milliseconds a row.
    pub ms: Option<f64>,
    /// What 1,000 rows cost, with the currency; none where nobody bills for them.
    pub cost: Option<(Decimal, String)>,
}

impl Desk {
    /// Why a transaction got its answer.
    ///
    /// # Errors
    /// When there is no such transaction, or the database fails.
    pub async fn why(&self, id: &TransactionId) -> Result<Why, Error> {
        let view = self.store.view(id).await?.ok_or(Error::UnknownTransaction)?;
        let earlier = self.store.history(std::slice::from_ref(&view.transaction)).await?;
        let history = UserHistory::fold(earlier.iter().flatten(), &view.transaction);
        let prediction = view.prediction.as_ref().map(|stored| &stored.prediction);
        let text = match prediction {
            Some(prediction) => self.store.seen_text(&prediction.provenance.text).await?,
            None => None,
        };
        let runs = self.store.latest_runs().await?;
        let measured = prediction.and_then(|prediction| {
            let run = runs.into_iter().map(|run| run.run).find(|run| run.engine == prediction.provenance.engine)?;
            Some(Measured {
                at: run.started_at,
                data: format!("{}/{}", run.data_set, run.file),
                ms: run.rows_per_s.filter(|rows| *rows > 0.0).map(|rows| 1_000.0 / rows),
                cost: run.cost_per_1000.zip(run.currency),
            })
        });
        let filter = ActionFilter { transaction_id: Some(id.clone()), ..ActionFilter::default() };
        Ok(Why {
            suggestions: self.suggestions(&view, &history),
            opinions: self.store.opinions(id).await?,
            actions: self.store.review_actions(&filter, MOST_ACTIONS).await?,
            measured,
            history,
            text,
            view,
        })
    }

    /// What a transaction may be, likeliest first: the answer and its alternatives, what people said of earlier visits,
    /// and what spoke for others.
    pub(super) fn suggestions(&self, view: &TransactionView, history: &UserHistory) -> Vec<Slug> {
        let mut found: Vec<Slug> = Vec::new();
        let mut add = |slug: &Slug| {
            if self.taxonomy.contains(slug) && !found.contains(slug) && found.len() < MOST_SUGGESTIONS {
                found.push(slug.clone());
            }
        };
        if let Some(stored) = &view.prediction {
            add(&stored.prediction.category);
            stored.prediction.alternatives.iter().for_each(|other| add(&other.category));
        }
        history.same_key.latest_label.iter().for_each(&mut add);
        for evidence in view.prediction.iter().flat_map(|stored| &stored.prediction.evidence) {
            match evidence {
                Evidence::Example { category, .. }
                | Evidence::Description { category, .. }
                | Evidence::History { category, .. }
                | Evidence::Merchant { category, .. }
                | Evidence::KnownKey { category, .. }
                | Evidence::Encoder { category, .. } => add(category),
                Evidence::Suspicious { .. } | Evidence::Unanswered { .. } => {}
            }
        }
        let mut usual: Vec<_> = history.labels.iter().collect();
        usual.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
        usual.into_iter().for_each(|(slug, _)| add(slug));
        found
    }
}
