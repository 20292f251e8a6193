//! Nearest example: the embedded default of the prompt stages.
//!
//! The embedding of a transaction's text is compared with the embeddings of labelled examples and
//! of the category descriptions; a category scores as well as its nearest one, or as the merchant
//! directory's word for it where the stage may look at that. It needs no key and
//! no training. It is no language model, and every prediction says which engine made it.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{FutureExt, future::BoxFuture};
use sha2::{Digest, Sha256};

use super::{Categorizer, Error, LabelledExample};
use crate::{
    domain::{
        DescriptorKey, EnrichedTransaction, Enrichment, InputHash, Merchant, Prediction, Provenance, Slug, Taxonomy,
        Transaction, TransactionId,
        prediction::{Evidence, Scored, TextHash},
    },
    model::{Encoder, encoder::Vectors},
};

/// Softmax temperature over cosine similarities: what a difference in similarity is worth before
/// [`Calibration`](super::Calibration) turns it into a probability.
const TEMPERATURE: f32 = 0.05;

/// A description is a sentence about a category, not a statement line: at equal similarity an
/// example is the better witness.
const DESCRIPTION_HANDICAP: f32 = 0.1;

/// What the merchant directory's category is worth, as a similarity: more than a text that merely
/// looks alike, less than a labelled example of the same merchant.
const MERCHANT_SIMILARITY: f32 = 0.85;

/// Something a transaction is compared with: an example, or a category's description.
struct Witness {
    category: usize,
    /// The example's descriptor; `None` for a description.
    example: Option<String>,
}

/// What gave a category its score.
#[derive(Clone, Copy)]
enum Source {
    /// By its place.
    Witness(usize),
    /// The merchant directory.
    Merchant,
}

/// Compares embeddings; see the module's words.
pub struct NearestExample {
    engine: String,
    stage: String,
    taxonomy: String,
    slugs: Vec<Slug>,
    enrichment: Enrichment,
    encoder: Encoder,
    witnesses: Vec<Witness>,
    /// One vector for each witness.
    embeddings: Vectors,
    /// How often the examples have each category, by key.
    known: HashMap<DescriptorKey, BTreeMap<Slug, u32>>,
    /// The examples' rows.
    labelled: HashSet<TransactionId>,
}

impl NearestExample {
    /// Embeds the examples and the taxonomy's descriptions.
    ///
    /// # Errors
    /// When an example's category is not in the taxonomy, or the encoder fails.
    pub async fn new(
        stage: &str,
        enrichment: Enrichment,
        taxonomy: &Taxonomy,
        examples: &[LabelledExample],
        encoder: Encoder,
    ) -> Result<Self, Error> {
        let mut witnesses = Vec::new();
        let mut texts = Vec::new();
        for (category, described) in taxonomy.assignable().iter().enumerate() {
            witnesses.push(Witness { category, example: None });
            texts.push(format!("{}: {}", described.name, described.description));
        }
        let mut known: HashMap<DescriptorKey, BTreeMap<Slug, u32>> = HashMap::new();
        for example in examples {
            let key = example.transaction.transaction.descriptor.key();
            if !key.is_empty() {
                *known.entry(key.clone()).or_default().entry(example.category.clone()).or_default() += 1;
            }
            let category = taxonomy
                .index_of(&example.category)
                .ok_or_else(|| Error::ForeignExample { category: example.category.clone() })?;
            let descriptor = example.transaction.transaction.descriptor.raw().to_owned();
            witnesses.push(Witness { category, example: Some(descriptor) });
            texts.push(example.transaction.render(enrichment));
        }
        let engine = format!("nearest:{stage}@{}", content_hash(&witnesses, &texts, &encoder.base().sha256));
        let embeddings = Vectors::new(&encoder.embed(texts).await?);
        Ok(Self {
            engine,
            stage: stage.to_owned(),
            taxonomy: taxonomy.version().to_owned(),
            slugs: taxonomy.assignable().iter().map(|category| category.slug.clone()).collect(),
            enrichment,
            encoder,
            witnesses,
            embeddings,
            known,
            labelled: examples.iter().map(|example| example.transaction.transaction.id.clone()).collect(),
        })
    }

    /// For each category the best score and what gave it, highest first.
    fn ranked(&self, merchant: Option<&Merchant>, similarities: &[f32]) -> Vec<(usize, f32, Source)> {
        let mut best: Vec<Option<(f32, Source)>> = vec![None; self.slugs.len()];
        let mut offer = |category: usize, score: f32, source: Source| {
            let slot = &mut best[category];
            if slot.is_none_or(|(so_far, _)| score > so_far) {
                *slot = Some((score, source));
            }
        };
        for (i, (witness, similarity)) in self.witnesses.iter().zip(similarities).enumerate() {
            let handicap = if witness.example.is_some() { 0.0 } else { DESCRIPTION_HANDICAP };
            offer(witness.category, similarity - handicap, Source::Witness(i));
        }
        let told = merchant.and_then(|merchant| merchant.category.as_ref());
        if let Some(category) = told.and_then(|told| self.slugs.iter().position(|slug| slug == told)) {
            offer(category, MERCHANT_SIMILARITY, Source::Merchant);
        }
        let mut ranked: Vec<(usize, f32, Source)> = best
            .into_iter()
            .enumerate()
            .filter_map(|(c, slot)| slot.map(|(score, source)| (c, score, source)))
            .collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }

    fn answer(&self, row: &EnrichedTransaction, text: &str, similarities: &[f32]) -> Prediction {
        let enriched = self.enrichment == Enrichment::Full;
        let merchant = row.merchant.as_ref().filter(|_| enriched).map(|found| &*found.merchant);
        let ranked = self.ranked(merchant, similarities);
        let top = ranked.first().map_or(0.0, |first| first.1);
        let total: f32 = ranked.iter().map(|(_, score, _)| ((score - top) / TEMPERATURE).exp()).sum();
        let scored: Vec<Scored> = ranked
            .iter()
            .take(5)
            .map(|&(category, score, _)| Scored {
                category: self.slugs[category].clone(),
                confidence: ((score - top) / TEMPERATURE).exp() / total,
            })
            .collect();
        let known = self.known.get(row.transaction.descriptor.key()).into_iter();
        let most = known.filter_map(|counts| counts.iter().max_by_key(|(_, count)| **count));
        let known = most.map(|(category, &count)| Evidence::KnownKey { category: category.clone(), count });
        let nearest = ranked.iter().take(3).filter_map(|&(category, _, source)| {
            let category = self.slugs[category].clone();
            let Source::Witness(i) = source else {
                return merchant.map(|merchant| Evidence::Merchant { name: merchant.name.clone(), category });
            };
            let similarity = similarities[i];
            Some(match &self.witnesses[i].example {
                Some(text) => Evidence::Example { text: text.clone(), category, similarity },
                None => Evidence::Description { category, similarity },
            })
        });
        let evidence = known.chain(nearest).collect();
        Prediction {
            category: scored[0].category.clone(),
            confidence: scored[0].confidence,
            alternatives: scored[1..].to_vec(),
            evidence,
            provenance: Provenance {
                stage: self.stage.clone(),
                engine: self.engine.clone(),
                taxonomy: self.taxonomy.clone(),
                text: TextHash::of(text),
            },
        }
    }
}

impl Categorizer for NearestExample {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        let merchant = row.merchant.as_ref().filter(|_| self.enrichment == Enrichment::Full);
        let told = merchant.map(|found| {
            let category = found.merchant.category.as_ref().map_or("", Slug::as_str);
            format!("{category} {}", found.merchant.name)
        });
        let key = row.transaction.descriptor.key().as_str().to_owned();
        Some(InputHash::of([self.taxonomy.clone(), row.render(self.enrichment), key].into_iter().chain(told)))
    }

    fn has_label_of(&self, row: &Transaction) -> bool {
        self.labelled.contains(&row.id)
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        async move {
            let texts: Vec<String> = batch.iter().map(|transaction| transaction.render(self.enrichment)).collect();
            let similarities = self.embeddings.similarities(&self.encoder.embed(texts.clone()).await?);
            Ok(batch
                .iter()
                .zip(&texts)
                .zip(&similarities)
                .map(|((row, text), similarities)| self.answer(row, text, similarities))
                .collect())
        }
        .boxed()
    }
}

/// What the engine is without the examples: its encoder and its constants.
pub(super) fn version(encoder: &Encoder) -> String {
    hex::encode(&hash_of(&encoder.base().sha256).finalize()[..4])
}

fn hash_of(encoder: &str) -> Sha256 {
    let mut hasher = Sha256::new();
    hasher.update(encoder);
    for constant in [TEMPERATURE, DESCRIPTION_HANDICAP, MERCHANT_SIMILARITY] {
        hasher.update(constant.to_le_bytes());
    }
    hasher
}

fn content_hash(witnesses: &[Witness], texts: &[String], encoder: &str) -> String {
    let mut hasher = hash_of(encoder);
    for (witness, text) in witnesses.iter().zip(texts) {
        hasher.update(witness.category.to_le_bytes());
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hex::encode(&hasher.finalize()[..4])
}
