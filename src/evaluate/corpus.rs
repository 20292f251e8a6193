//! What training and evaluation may know of a data set: the pool's and dev's rows as unlabelled
//! history, and the labels that were bought.
//!
//! A bought label counts as known from the moment its row was posted, as if the user had said it at
//! once; dev's and tests' labels are never known to anybody but the metrics.

use std::collections::{HashMap, HashSet};

use crate::{
    categorize::LabelledExample,
    domain::{DescriptorKey, MerchantMatch, Transaction, TransactionId, enrichment::KnownLabel},
};

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
    heads: HashSet<DescriptorKey>,
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
        let heads = heads(candidates.iter().map(|candidate| &candidate.key));
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
        Ok(Self { labels, rows, timelines, known, heads })
    }

    /// The rows whose labels were bought, as stages are built from them.
    #[must_use]
    pub fn labelled(&self, merchant: impl Fn(&Transaction) -> Option<MerchantMatch>) -> Vec<LabelledExample> {
        let example =
            |row: &Row| LabelledExample::of(self.timelines.enriched(&row.transaction, &merchant), row.category.clone());
        LabelledExample::in_order(self.rows.iter().map(example).collect())
    }

    /// Whether a bought label has this key.
    #[must_use]
    pub fn knows(&self, key: &DescriptorKey) -> bool {
        self.known.contains(key)
    }

    /// Whether a key is one of the most frequent, which together make up half of the pool's rows.
    #[must_use]
    pub fn is_head(&self, key: &DescriptorKey) -> bool {
        self.heads.contains(key)
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

/// The most frequent keys, as few as make up half of all; the empty key is no merchant.
fn heads<'a>(keys: impl Iterator<Item = &'a DescriptorKey>) -> HashSet<DescriptorKey> {
    let mut counts: HashMap<&DescriptorKey, usize> = HashMap::new();
    for key in keys.filter(|key| !key.is_empty()) {
        *counts.entry(key).or_default() += 1;
    }
    let half = counts.values().sum::<usize>().div_ceil(2);
    let mut ranked: Vec<(&DescriptorKey, usize)> = counts.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut before = 0;
    let head = ranked.into_iter().take_while(|(_, rows)| {
        let wanted = before < half;
        before += rows;
        wanted
    });
    head.map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Descriptor;

    #[test]
    fn the_head_is_the_fewest_keys_that_make_up_half_of_the_rows() {
        let key = |text: &str| Descriptor::parse(text).unwrap().key().clone();
        let rows = ["ALPHA", "ALPHA", "ALPHA", "BETA", "BETA", "GAMMA", "DELTA", "OMEGA"].map(key);
        assert_eq!(heads(rows.iter()), HashSet::from([key("ALPHA"), key("BETA")]));
        assert!(heads([].into_iter()).is_empty());
    }
}
