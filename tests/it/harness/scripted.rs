//! An engine whose answers a test can foresee.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use txcat::{
    categorize::{Categorizer, Error},
    domain::{
        EnrichedTransaction, InputHash, Prediction, Provenance,
        prediction::{Evidence, Scored, TextHash},
    },
};

/// A text in the descriptor, what the row is then, how surely, and what else it could be.
pub(crate) type Line = (&'static str, &'static str, f32, &'static str);

/// `COFFEE` is surely a coffee shop and `MARKET` surely a supermarket, everything else is perhaps a
/// restaurant; `ENGINE FAILS` fails and `ENGINE PANICS` panics.
pub(crate) const SCRIPT: &[Line] = &[
    ("COFFEE", "coffee_shop", 0.96875, "restaurant"),
    ("MARKET", "supermarket", 0.9375, "convenience_store"),
    ("", "restaurant", 0.375, "fast_food"),
];

/// An engine by script: the first line that fits decides.
pub(crate) struct Scripted {
    taxonomy: String,
    engine: &'static str,
    script: &'static [Line],
    mended: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Scripted {
    pub(crate) fn new(taxonomy: &str) -> Self {
        Self::saying(taxonomy, "scripted@1", SCRIPT)
    }

    /// Another engine by another script; its last line fits every row.
    pub(crate) fn saying(taxonomy: &str, engine: &'static str, script: &'static [Line]) -> Self {
        Self { taxonomy: taxonomy.to_owned(), engine, script, mended: Arc::default(), asked: Arc::default() }
    }

    /// How many rows it was asked about.
    pub(crate) fn asked(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.asked)
    }

    /// Once this is set, nothing fails any more.
    pub(crate) fn mended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.mended)
    }

    fn predict(&self, row: &EnrichedTransaction) -> Prediction {
        let text = row.transaction.descriptor.raw();
        let &(_, category, confidence, other) = self.script.iter().find(|(part, ..)| text.contains(part)).unwrap();
        let slug = |slug: &str| slug.parse().unwrap();
        Prediction {
            category: slug(category),
            confidence,
            alternatives: vec![Scored { category: slug(other), confidence: (1.0 - confidence) / 2.0 }],
            evidence: vec![Evidence::Description { category: slug(category), similarity: 0.5 }],
            provenance: Provenance {
                stage: "scripted".to_owned(),
                engine: self.engine().to_owned(),
                taxonomy: self.taxonomy.clone(),
                text: TextHash::of(&row.render(txcat::domain::Enrichment::Full)),
            },
        }
    }
}

impl Categorizer for Scripted {
    fn engine(&self) -> &str {
        self.engine
    }

    /// What the script and the text that it renders look at.
    fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        let text = row.render(txcat::domain::Enrichment::Full);
        Some(InputHash::of([row.transaction.descriptor.raw(), text.as_str()]))
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        self.asked.fetch_add(batch.len() as u64, Ordering::SeqCst);
        let mended = self.mended.load(Ordering::SeqCst);
        let says = |text| !mended && batch.iter().any(|row| row.transaction.descriptor.raw().contains(text));
        assert!(!says("ENGINE PANICS"), "as the script says");
        let answer = if says("ENGINE FAILS") {
            Err(Error::Miscounted { engine: self.engine().to_owned(), asked: batch.len(), got: 0 })
        } else {
            Ok(batch.iter().map(|row| self.predict(row)).collect())
        };
        Box::pin(async { answer })
    }
}
