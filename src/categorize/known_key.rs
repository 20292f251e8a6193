//! What labels say of a descriptor key: the account's own first, then everybody's. It costs nothing and knows nothing
//! of a merchant that nobody has labelled.

use std::collections::{BTreeMap, HashSet};

use futures::{FutureExt, future::BoxFuture};
use sha2::{Digest, Sha256};

use super::{Categorizer, Error, LabelledExample};
use crate::domain::{
    DescriptorKey, Direction, EnrichedTransaction, Enrichment, InputHash, Prediction, Provenance, Slug, Taxonomy,
    Transaction, TransactionId,
    prediction::{Evidence, Scored, TextHash},
};

/// Labels that are believed in beside those that were given: one label is not as good as ten.
const DOUBT: f32 = 0.5;

/// Answers by key.
pub struct KnownKey {
    engine: String,
    stage: String,
    taxonomy: Taxonomy,
    enrichment: Enrichment,
    labels: BTreeMap<(DescriptorKey, Direction), BTreeMap<Slug, u32>>,
    /// The labels' rows.
    labelled: HashSet<TransactionId>,
}

impl KnownKey {
    /// Counts the labels of every key and direction.
    #[must_use]
    pub fn new(stage: &str, enrichment: Enrichment, taxonomy: &Taxonomy, labelled: &[LabelledExample]) -> Self {
        let mut labels: BTreeMap<(DescriptorKey, Direction), BTreeMap<Slug, u32>> = BTreeMap::new();
        for example in labelled {
            let transaction = &example.transaction.transaction;
            let key = transaction.descriptor.key();
            if key.is_empty() {
                continue;
            }
            *labels
                .entry((key.clone(), transaction.direction))
                .or_default()
                .entry(example.category.clone())
                .or_default() += 1;
        }
        let mut hash = Sha256::new();
        for ((key, direction), counts) in &labels {
            for (category, count) in counts {
                let parts = [key.as_str(), direction.as_str(), category.as_str(), &count.to_string()];
                parts.into_iter().for_each(|part| hash.update(format!("{part}\n")));
            }
        }
        let engine = format!("known_key:{stage}@{}", hex::encode(&hash.finalize()[..4]));
        let labelled = labelled.iter().map(|example| example.transaction.transaction.id.clone()).collect();
        Self { engine, stage: stage.to_owned(), taxonomy: taxonomy.clone(), enrichment, labels, labelled }
    }

    /// The taxonomy's categories with their counts, most frequent first.
    fn ranked<'a>(&self, counts: &'a BTreeMap<Slug, u32>) -> Vec<(&'a Slug, u32)> {
        let counts = counts.iter().filter(|(category, _)| self.taxonomy.contains(category));
        let mut ranked: Vec<(&Slug, u32)> = counts.map(|(category, count)| (category, *count)).collect();
        ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        ranked
    }

    fn answer(&self, row: &EnrichedTransaction) -> Prediction {
        let key = (row.transaction.descriptor.key().clone(), row.transaction.direction);
        let own = Some(self.ranked(&row.history.same_key.labels)).filter(|own| !own.is_empty());
        let of_own = own.is_some();
        let everybodys = || self.labels.get(&key).map(|labels| self.ranked(labels)).unwrap_or_default();
        let ranked = own.unwrap_or_else(everybodys);
        let labels: u32 = ranked.iter().map(|(_, count)| count).sum();
        let scored = |&(category, count): &(&Slug, u32)| Scored {
            category: category.clone(),
            confidence: count as f32 / (labels as f32 + DOUBT),
        };
        let evidence = match ranked.first() {
            Some(&(category, count)) if of_own => {
                vec![
                    Evidence::History { category: category.clone(), count },
                    Evidence::KnownKey { category: category.clone(), count },
                ]
            }
            Some(&(category, count)) => vec![Evidence::KnownKey { category: category.clone(), count }],
            None => vec![Evidence::Unanswered { why: "no label has this key".to_owned() }],
        };
        let first = ranked.first().map(scored);
        Prediction {
            category: first.as_ref().map_or_else(Slug::uncategorized, |first| first.category.clone()),
            confidence: first.map_or(0.0, |first| first.confidence),
            alternatives: ranked.iter().skip(1).take(4).map(scored).collect(),
            evidence,
            provenance: Provenance {
                stage: self.stage.clone(),
                engine: self.engine.clone(),
                taxonomy: self.taxonomy.version().to_owned(),
                text: TextHash::of(&row.render(self.enrichment)),
            },
        }
    }
}

impl Categorizer for KnownKey {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        let transaction = &row.transaction;
        let own = &row.history.same_key.labels;
        let parts = [
            self.taxonomy.version().to_owned(),
            row.render(self.enrichment),
            transaction.descriptor.key().as_str().to_owned(),
            transaction.direction.as_str().to_owned(),
        ];
        Some(InputHash::of(parts.into_iter().chain(own.iter().map(|(category, count)| format!("{category} {count}")))))
    }

    fn has_label_of(&self, row: &Transaction) -> bool {
        self.labelled.contains(&row.id)
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        async move { Ok(batch.iter().map(|row| self.answer(row)).collect()) }.boxed()
    }
}
