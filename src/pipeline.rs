//! THE way of a transaction: ingest, enrich, categorize, route, record. Read it top to bottom.
//!
//! It is not where rows are parsed (that is the edge's work) nor where answers are rendered. No
//! database transaction spans a model call: what is ingested but not yet categorized, because the
//! process died in between, is categorized when the same row comes again.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    categorize::{self, Stage},
    domain::{EnrichedTransaction, ReviewReason, Transaction, TransactionId},
    enrich::{self, Enricher},
    store::{self, Decision, Ingested, Store, TransactionView},
};

/// The way of a transaction, with what it needs on the way.
pub struct Pipeline {
    store: Store,
    enricher: Enricher,
    stage: Arc<Stage>,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Categorized, now or earlier.
    Done(Box<Done>),
    /// The id is taken by a row with other content.
    Conflict,
    /// `replaces` names no pending row of this account.
    ReplacesUnknown,
    /// `replaces` names a row that another one has succeeded already.
    AlreadyReplaced,
}

/// A row with its prediction and the category in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Whether this call stored the row; `false` when it was there already.
    pub new: bool,
    /// The row, its prediction, and what holds now.
    pub view: TransactionView,
}

/// Why a batch could not be taken on its way.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database could not be used")]
    Store(#[from] store::Error),
    /// History or merchants.
    #[error("the transactions could not be enriched")]
    Enrich(#[from] enrich::Error),
    /// The stage's engine.
    #[error("the transactions could not be categorized")]
    Categorize(#[from] categorize::Error),
    /// A row was stored and is not there any more.
    #[error("a transaction vanished while it was being processed")]
    Vanished,
}

impl Pipeline {
    /// A pipeline that answers with one stage.
    #[must_use]
    pub fn new(store: Store, enricher: Enricher, stage: Arc<Stage>) -> Self {
        Self { store, enricher, stage }
    }

    /// The stage that answers.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Takes rows all the way; one outcome for each, in the same order.
    ///
    /// # Errors
    /// When the database, the enrichment or the engine fails; rows stored by then stay stored.
    pub async fn process(&self, rows: &[Transaction], now: DateTime<Utc>) -> Result<Vec<Outcome>, Error> {
        let ingested = self.store.ingest(rows, now).await?;
        let ids: Vec<TransactionId> = rows
            .iter()
            .zip(&ingested)
            .filter(|(_, ingested)| matches!(ingested, Ingested::New | Ingested::Known))
            .map(|(row, _)| row.id.clone())
            .collect();
        self.categorize_missing(&ids, now).await?;
        let mut views = self.store.views(&ids).await?.into_iter();
        ingested
            .into_iter()
            .map(|ingested| {
                let new = match ingested {
                    Ingested::New => true,
                    Ingested::Known => false,
                    Ingested::Conflict => return Ok(Outcome::Conflict),
                    Ingested::ReplacesUnknown => return Ok(Outcome::ReplacesUnknown),
                    Ingested::AlreadyReplaced => return Ok(Outcome::AlreadyReplaced),
                };
                let view = views.next().flatten().ok_or(Error::Vanished)?;
                Ok(Outcome::Done(Box::new(Done { new, view })))
            })
            .collect()
    }

    async fn categorize_missing(&self, ids: &[TransactionId], now: DateTime<Utc>) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let distinct: Vec<TransactionId> = ids.iter().filter(|id| seen.insert(*id)).cloned().collect();
        let missing = self.store.without_prediction(&distinct).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let enriched = self.enricher.enrich(missing).await?;
        let predictions = self.stage.categorize(&enriched).await?;
        let rules = self.store.account_rules(&enriched.iter().map(rule_key).collect::<Vec<_>>()).await?;
        let decisions: Vec<Decision> = enriched
            .iter()
            .zip(predictions)
            .map(|(row, prediction)| {
                let rule = rules.get(&rule_key(row)).map(|rule| rule.id);
                let doubt = match self.stage.acceptance {
                    _ if rule.is_some() => None,
                    None => Some(ReviewReason::NotCalibrated),
                    Some(acceptance) => (!acceptance.accepts(prediction.confidence, prediction.knows_key()))
                        .then_some(ReviewReason::LowConfidence),
                };
                Decision {
                    transaction_id: row.transaction.id.clone(),
                    text: row.render(self.stage.enrichment),
                    merchant_id: row.merchant.as_ref().map(|found| found.merchant.id.clone()),
                    rule,
                    review: doubt,
                    prediction,
                }
            })
            .collect();
        self.store.record(&decisions, now).await?;
        tracing::debug!(batch.rows = decisions.len(), engine = self.stage.engine(), "categorized a batch");
        Ok(())
    }
}

fn rule_key(row: &EnrichedTransaction) -> store::RuleKey {
    let transaction = &row.transaction;
    (transaction.account_id.clone(), transaction.descriptor.key().clone(), transaction.direction)
}
