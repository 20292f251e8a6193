//! What training and evaluation may know of a data set: the pool's and dev's rows as unlabelled
//! history, and the labels that were bought.
//!
//! A bought label counts as known from the moment its row was posted, as if the user had said it at
//! once; dev's and tests' labels are never known to anybody but the metrics.

use std::collections::HashSet;

use crate::domain::{DescriptorKey, TransactionId, enrichment::KnownLabel};

use super::{
    dataset::{Dataset, Error, Row},
    labels::{Candidate, Choice, Labels},
    timelines::Timelines,
};

/// The pool, dev, and the bought labels.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// The bought labels.
    pub labels: Labels,
    /// The rows whose labels were bought, in the pool's order.
    pub rows: Vec<Row>,
    /// The pool's and dev's rows, with the bought labels.
    pub timelines: Timelines,
    known: HashSet<DescriptorKey>,
}

impl Corpus {
    /// Reads the pool twice: once to choose, its labels shut away; once for the rows that were chosen.
    /// `on_row` is called once for every row read.
    ///
    /// # Errors
    /// When pool or dev can't be read.
    pub fn read(dataset: &Dataset, choice: Choice, mut on_row: impl FnMut()) -> Result<Self, Error> {
        let pool = dataset.file("pool")?;
        let mut timelines = Timelines::default();
        let mut candidates = Vec::new();
        let mut shut = Vec::new();
        for row in dataset.rows(pool)? {
            let Row { transaction, category } = row?;
            on_row();
            timelines.push(&transaction, None);
            shut.push(
                dataset.taxonomy().index_of(&category).and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX),
            );
            candidates.push(Candidate::of(&transaction));
        }
        for transaction in dataset.transactions(dataset.file("dev")?)? {
            on_row();
            timelines.push(&transaction?, None);
        }
        timelines.sort();

        let labels = Labels::buy(choice, &candidates, shut);
        if let Choice::Listed(ids) = &labels.choice {
            Error::unless_all(ids, |id| labels.weights.contains_key(id))?;
        }
        drop(candidates);
        let wanted: HashSet<&str> = labels.weights.keys().map(TransactionId::as_str).collect();
        let mut reader = dataset.rows(pool)?;
        let mut rows = Vec::with_capacity(wanted.len());
        while let Some(row) = reader.next_where(|id| wanted.contains(id)) {
            let row = row?;
            let label = KnownLabel { category: row.category.clone(), known_at: row.transaction.posted_at };
            timelines.label(&row.transaction, label);
            rows.push(row);
        }
        let known = rows.iter().map(|row| row.transaction.descriptor.key().clone()).collect();
        Ok(Self { labels, rows, timelines, known })
    }

    /// Whether a bought label has this key.
    #[must_use]
    pub fn knows(&self, key: &DescriptorKey) -> bool {
        self.known.contains(key)
    }

    /// The accounts' rows as they are known while a file is scored: pool, dev and the file itself,
    /// never another test file, so that a file's figure does not depend on which others were asked for.
    #[must_use]
    pub fn timelines_with<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) -> Timelines {
        let mut timelines = self.timelines.clone();
        timelines.extend(rows.into_iter().map(|row| (&row.transaction, None)));
        timelines
    }
}
