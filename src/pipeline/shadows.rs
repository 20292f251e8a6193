//! The adapters in the shadow: what they would have answered is recorded, and nobody waits for it.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Error;
use crate::{
    categorize::{Lineup, Seat},
    domain::{Acceptance, AccountId, EnrichedTransaction, ReviewReason, Slug, TransactionId},
    store::{ShadowPrediction, Store},
};

/// Batches that shadows work on at a time; what comes beyond them goes unseen, so that no shadow can slow
/// answers down.
const BATCHES: usize = 4;

/// What looks at batches beside those who answer.
pub(super) struct Shadows {
    store: Store,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Shadows {
    pub(super) fn new(store: Store) -> Self {
        Self { store, permits: Arc::new(Semaphore::new(BATCHES)), tasks: TaskTracker::new() }
    }

    /// Asks them without making anybody wait for them. Where one is sure of something else than what a stage
    /// `said`, people are asked.
    pub(super) fn show(
        &self,
        rows: Vec<EnrichedTransaction>,
        said: HashMap<TransactionId, Slug>,
        groups: &HashMap<AccountId, String>,
        lineup: &Lineup,
        now: DateTime<Utc>,
    ) {
        let mut seen: HashMap<i64, (Seat, Vec<usize>)> = HashMap::new();
        for (place, row) in rows.iter().enumerate() {
            let account = &row.transaction.account_id;
            for shadow in lineup.shadows(account, groups.get(account)) {
                seen.entry(shadow.adapter).or_insert_with(|| (shadow.clone(), Vec::new())).1.push(place);
            }
        }
        if seen.is_empty() {
            return;
        }
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            tracing::warn!(batch.rows = rows.len(), "the shadows are too slow to look at this batch");
            return;
        };
        let store = self.store.clone();
        self.tasks.spawn(async move {
            for (shadow, places) in seen.into_values() {
                let batch: Vec<EnrichedTransaction> = places.into_iter().map(|place| rows[place].clone()).collect();
                if let Err(error) = look(&store, &shadow, &batch, &said, now).await {
                    tracing::warn!(adapter.id = shadow.adapter, error = %error, "a shadow could not look at a batch");
                }
            }
            drop(permit);
        });
    }

    /// Waits until they have said what they would have answered so far.
    pub(super) async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

/// Has one shadow look at a batch.
async fn look(
    store: &Store,
    shadow: &Seat,
    batch: &[EnrichedTransaction],
    said: &HashMap<TransactionId, Slug>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let answers = shadow.stage.categorize(batch).await?;
    let disagreeing: Vec<TransactionId> = batch
        .iter()
        .zip(&answers)
        .filter(|(row, answer)| {
            let other = said.get(&row.transaction.id).is_some_and(|category| *category != answer.category);
            let accepts = |acceptance: Acceptance| acceptance.accepts(answer.confidence, answer.knows_key());
            other && shadow.stage.acceptance.is_some_and(accepts)
        })
        .map(|(row, _)| row.transaction.id.clone())
        .collect();
    let seen: Vec<ShadowPrediction> = batch
        .iter()
        .zip(answers)
        .map(|(row, prediction)| ShadowPrediction {
            transaction_id: row.transaction.id.clone(),
            category: prediction.category.to_string(),
            confidence: prediction.confidence,
        })
        .collect();
    store.record_shadow(shadow.adapter, &seen, now).await?;
    if !disagreeing.is_empty() {
        store.ask_people(&disagreeing, ReviewReason::Disagreement, now).await?;
    }
    Ok(())
}
