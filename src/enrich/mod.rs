//! What is known around a transaction: merchant directory, user history, labelled transactions like it.
//!
//! [`Enricher`] serves it from the store; a data set's reader puts the same together from files. Both
//! go through [`UserHistory::fold`] and [`MerchantIndex::of`], so that training, evaluation and serving
//! see the same thing. Not a judgement: what it means is the stages' matter.

pub mod examples;
pub mod merchants;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

pub use examples::Examples;
pub use merchants::MerchantIndex;

use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::{
    domain::{EnrichedTransaction, Transaction, UserHistory},
    spans,
    store::{self, Store},
};

/// The source of the directory's rows that ship with txcat.
pub const SHIPPED: &str = "shipped";

/// Puts what is known around transactions. Cheap to clone: clones share one merchant index.
#[derive(Debug, Clone)]
pub struct Enricher {
    store: Store,
    merchants: Arc<RwLock<Loaded>>,
    /// Held by whoever builds an index: those that come meanwhile wait for it.
    building: Arc<Mutex<()>>,
    /// Whether the table could not be read the last time, which is said once.
    broken: Arc<AtomicBool>,
}

/// An index, and the version of the table that it was built from.
#[derive(Debug, Clone)]
struct Loaded {
    version: i64,
    index: Arc<MerchantIndex>,
}

/// Why transactions could not be enriched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The history or the merchant directory could not be read.
    #[error("the account's history or the merchant directory could not be read")]
    Store(#[from] store::Error),
    /// Texts could not be embedded.
    #[error("the statement texts could not be embedded")]
    Model(#[from] crate::model::Error),
    /// The index could not be built.
    #[error("the merchant index could not be built")]
    Build(#[from] tokio::task::JoinError),
}

impl Enricher {
    /// An enricher over the store's history, with the shipped merchants until the directory's table has some.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let loaded = Loaded { version: 0, index: MerchantIndex::shipped() };
        Self { store, merchants: Arc::new(RwLock::new(loaded)), building: Arc::default(), broken: Arc::default() }
    }

    /// As [`Self::new`], and fills a directory that was never filled with the shipped merchants. One that can't be read is made do
    /// without, as while serving.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn open(store: Store) -> Result<Self, Error> {
        let enricher = Self::new(store);
        match enricher.store.merchants_version().await {
            Ok(0) => {
                let added = enricher.store.upsert_merchants(&merchants::table::shipped(), SHIPPED).await?;
                tracing::info!(merchants.added = added, "Filled the merchant directory with the shipped brands");
            }
            Ok(_) | Err(store::Error::Sqlx(_) | store::Error::Incomplete(_)) => {}
            Err(error) => return Err(error.into()),
        }
        enricher.merchants().await?;
        Ok(enricher)
    }

    /// The merchant index of the table as it is now: built again when the table's version changed. A table that is gone or can't be
    /// read leaves the index as it was, at first that of the shipped merchants, and is logged.
    ///
    /// # Errors
    /// When the database can't be reached.
    pub async fn merchants(&self) -> Result<Arc<MerchantIndex>, Error> {
        match self.newest().await {
            Ok(index) => {
                self.broken.store(false, Ordering::Relaxed);
                Ok(index)
            }
            Err(
                error
                @ Error::Store(store::Error::Sqlx(_) | store::Error::Incomplete(_) | store::Error::Corrupt { .. }),
            ) => {
                let loaded = self.loaded();
                if !self.broken.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        merchants.version = loaded.version,
                        "the merchant directory can't be read: merchants are those known before"
                    );
                }
                Ok(loaded.index)
            }
            Err(error) => Err(error),
        }
    }

    fn loaded(&self) -> Loaded {
        self.merchants.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The index, if it is that of the table as it is now; and the table's version.
    async fn current(&self) -> Result<(Option<Arc<MerchantIndex>>, i64), Error> {
        let version = self.store.merchants_version().instrument(spans::database("merchants_version")).await?;
        let loaded = self.loaded();
        Ok(((loaded.version == version).then_some(loaded.index), version))
    }

    async fn newest(&self) -> Result<Arc<MerchantIndex>, Error> {
        if let (Some(index), _) = self.current().await? {
            return Ok(index);
        }
        let _turn = self.building.lock().await;
        let (index, version) = self.current().await?;
        if let Some(index) = index {
            return Ok(index);
        }
        let merchants = self.store.merchants().instrument(spans::database("merchants")).await?;
        let count = merchants.len();
        let index = Arc::new(tokio::task::spawn_blocking(|| MerchantIndex::build(merchants)).await?);
        let fresh = Loaded { version, index: Arc::clone(&index) };
        *self.merchants.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        tracing::info!(merchants.count = count, merchants.version = version, "Loaded the merchant directory");
        Ok(index)
    }

    /// Every transaction with its merchant and its account's history, in the same order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enrich(&self, transactions: Vec<Transaction>) -> Result<Vec<EnrichedTransaction>, Error> {
        let merchants = self.merchants().await?;
        let histories = self.store.history(&transactions).instrument(spans::database("history")).await?;
        Ok(transactions
            .into_iter()
            .zip(histories)
            .map(|(transaction, earlier)| {
                let history = UserHistory::fold(&earlier, &transaction);
                EnrichedTransaction { merchant: merchants.of(&transaction), transaction, history }
            })
            .collect())
    }
}
