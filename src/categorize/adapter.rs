//! A trained adapter as a [`Categorizer`]: domain types in, the model's plain inputs out, and back.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use super::{Categorizer, Error, known_around, known_parts};
use crate::{
    domain::{
        EnrichedTransaction, Enrichment, InputHash, Prediction, Provenance, Slug, Taxonomy,
        prediction::{Evidence, Scored, TextHash},
    },
    model::{AdapterInput, AdapterModel, AdapterOutput, KnownWork, argmax},
};

/// Answers with an adapter.
pub struct AdapterCategorizer {
    stage: String,
    enrichment: Enrichment,
    engine: String,
    taxonomy: String,
    slugs: Vec<Slug>,
    adapter: Arc<AdapterModel>,
}

impl AdapterCategorizer {
    /// Binds an adapter to a stage.
    ///
    /// # Errors
    /// When the adapter was trained on another taxonomy version.
    pub fn new(
        stage: &str,
        enrichment: Enrichment,
        taxonomy: &Taxonomy,
        adapter: Arc<AdapterModel>,
    ) -> Result<Self, Error> {
        let facts = adapter.facts();
        if facts.taxonomy != taxonomy.version() {
            return Err(Error::TaxonomyMismatch {
                adapter: facts.name.clone(),
                trained: facts.taxonomy.clone(),
                asked: taxonomy.version().to_owned(),
            });
        }
        Ok(Self {
            stage: stage.to_owned(),
            enrichment,
            engine: adapter.engine(),
            taxonomy: facts.taxonomy.clone(),
            slugs: taxonomy.assignable().iter().map(|category| category.slug.clone()).collect(),
            adapter,
        })
    }

    fn answer(&self, row: &EnrichedTransaction, output: &AdapterOutput) -> Prediction {
        let ranked = ranked(&output.probabilities);
        let scored = |&category: &usize| Scored {
            category: self.slugs[category].clone(),
            confidence: output.probabilities[category],
        };
        let mut evidence = Vec::new();
        if let Some((category, count)) = output.known {
            evidence.push(Evidence::KnownKey { category: self.slugs[category].clone(), count });
        }
        let category = argmax(&output.encoder_probabilities);
        if let Some(&confidence) = output.encoder_probabilities.get(category) {
            evidence.push(Evidence::Encoder { category: self.slugs[category].clone(), confidence });
        }
        evidence.extend(known_around(row));
        Prediction {
            category: self.slugs[ranked[0]].clone(),
            confidence: output.probabilities[ranked[0]],
            alternatives: ranked[1..].iter().take(4).map(scored).collect(),
            evidence,
            provenance: Provenance {
                stage: self.stage.clone(),
                engine: self.engine.clone(),
                taxonomy: self.taxonomy.clone(),
                text: TextHash::of(&row.render(self.enrichment)),
            },
        }
    }
}

impl Categorizer for AdapterCategorizer {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        let AdapterInput { text, descriptor, key, processor, payment, earlier } =
            AdapterInput::of(row, self.enrichment);
        let texts = [text, descriptor, key, processor].map(String::into_bytes);
        let payment = payment.map_or_else(Vec::new, |payment| {
            let mut bytes = payment.amount.to_le_bytes().to_vec();
            bytes.extend([u8::from(payment.credit), u8::from(payment.weekend)]);
            bytes
        });
        let earlier = earlier.into_iter().flat_map(|(key, count)| [key.into_bytes(), count.to_le_bytes().to_vec()]);
        // An answer is kept for the arithmetic that gave it, which the engine's name does not tell.
        let format = self.adapter.format().map(|format| format.name().as_bytes().to_vec());
        Some(InputHash::of(texts.into_iter().chain([payment]).chain(known_parts(row)).chain(earlier).chain(format)))
    }

    fn known_work(&self) -> Option<KnownWork> {
        Some(self.adapter.known_work())
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        async move {
            let inputs = batch.iter().map(|row| AdapterInput::of(row, self.enrichment)).collect();
            let outputs = self.adapter.classify(inputs).await?;
            Ok(batch.iter().zip(&outputs).map(|(row, output)| self.answer(row, output)).collect())
        }
        .boxed()
    }
}

/// Class indices, most probable first.
fn ranked(probabilities: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    order
}
