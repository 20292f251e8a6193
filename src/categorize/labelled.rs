//! Labelled transactions, as stages are built from them: the same rows make the same stage, whether a data set brings them
//! or the store.

use std::collections::BTreeMap;

use crate::domain::{EnrichedTransaction, Slug};

/// A transaction whose category is known.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledExample {
    /// The transaction.
    pub transaction: EnrichedTransaction,
    /// What it is.
    pub category: Slug,
}

impl LabelledExample {
    /// A row with its label. How often its account's other keys came up stands in no text: it is let go of, because it is
    /// most of what a row holds in memory.
    #[must_use]
    pub fn of(mut transaction: EnrichedTransaction, category: Slug) -> Self {
        transaction.history.keys = BTreeMap::new();
        Self { transaction, category }
    }

    /// In the order that stages are built in: by id.
    #[must_use]
    pub fn in_order(mut examples: Vec<Self>) -> Vec<Self> {
        examples.sort_by(|a, b| a.transaction.transaction.id.cmp(&b.transaction.transaction.id));
        examples
    }
}
