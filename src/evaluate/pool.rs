//! The pool without its labels: what may be known of its rows before any label is bought, and the labels
//! of those that were.

use std::collections::HashSet;

use super::{
    dataset::{Dataset, Error, Row},
    labels::Candidate,
    timelines::Timelines,
};
use crate::domain::{Transaction, TransactionId, enrichment::KnownLabel};

/// The pool's rows, and the accounts' histories in pool and dev.
#[derive(Debug, Clone)]
pub struct Pool {
    /// The rows, in the file's order.
    pub rows: Vec<Transaction>,
    /// The same as candidates for a label.
    pub candidates: Vec<Candidate>,
    /// Pool and dev as unlabelled history.
    pub timelines: Timelines,
}

impl Pool {
    /// Reads pool and dev; the category column is never looked at. `on_row` is called for every row.
    ///
    /// # Errors
    /// When either can't be read.
    pub fn read(dataset: &Dataset, mut on_row: impl FnMut()) -> Result<Self, Error> {
        let rows = dataset
            .transactions(dataset.file("pool")?)?
            .inspect(|_| on_row())
            .collect::<Result<Vec<Transaction>, _>>()?;
        let dev = dataset.transactions(dataset.file("dev")?)?.collect::<Result<Vec<Transaction>, _>>()?;
        let mut timelines = Timelines::default();
        timelines.extend(rows.iter().chain(&dev).map(|row| (row, None)));
        Ok(Self { candidates: rows.iter().map(Candidate::of).collect(), rows, timelines })
    }

    /// Opens the labels of these rows, and of no others. In the pool's order.
    ///
    /// # Errors
    /// When the pool can't be read.
    pub fn open(&self, dataset: &Dataset, ids: &HashSet<TransactionId>) -> Result<Vec<Row>, Error> {
        let ids: HashSet<&str> = ids.iter().map(TransactionId::as_str).collect();
        let mut reader = dataset.rows(dataset.file("pool")?)?;
        std::iter::from_fn(|| reader.next_where(|id| ids.contains(id))).collect()
    }

    /// The histories with the labels that were bought, each known since its row was posted.
    #[must_use]
    pub fn timelines_with(&self, bought: &[Row]) -> Timelines {
        let mut timelines = self.timelines.clone();
        for Row { transaction, category } in bought {
            let label = KnownLabel { category: category.clone(), known_at: transaction.posted_at };
            timelines.label(transaction, label);
        }
        timelines
    }

    /// Places of these rows.
    #[must_use]
    pub fn places<'a>(&self, ids: impl IntoIterator<Item = &'a TransactionId>) -> Vec<usize> {
        let ids: HashSet<&TransactionId> = ids.into_iter().collect();
        (0..self.rows.len()).filter(|&place| ids.contains(&self.rows[place].id)).collect()
    }
}
