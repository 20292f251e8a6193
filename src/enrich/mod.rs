//! What is known around a transaction: merchant directory, user history.

pub mod merchants;

use crate::{
    domain::{EnrichedTransaction, Transaction, UserHistory},
    store::{self, Store},
};

/// Puts what is known around transactions.
#[derive(Debug, Clone)]
pub struct Enricher {
    store: Store,
}

/// Why transactions could not be enriched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The history could not be read.
    #[error("the account's history could not be read")]
    Store(#[from] store::Error),
}

impl Enricher {
    /// An enricher over the store's history.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Every transaction with its account's history, in the same order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enrich(&self, transactions: Vec<Transaction>) -> Result<Vec<EnrichedTransaction>, Error> {
        let histories = self.store.history(&transactions).await?;
        Ok(transactions
            .into_iter()
            .zip(histories)
            .map(|(transaction, earlier)| {
                let history = UserHistory::fold(&earlier, &transaction);
                EnrichedTransaction { transaction, merchant: None, history }
            })
            .collect())
    }
}
