//! An engine whose answers a test can foresee.

use futures::future::BoxFuture;
use txcat::{
    categorize::{Categorizer, Error},
    domain::{
        EnrichedTransaction, Prediction, Provenance,
        prediction::{Evidence, Scored, TextHash},
    },
};

/// `COFFEE` is surely a coffee shop and `MARKET` surely a supermarket, everything else is perhaps a
/// restaurant; `ENGINE FAILS` fails and `ENGINE PANICS` panics.
pub(crate) struct Scripted {
    taxonomy: String,
}

impl Scripted {
    pub(crate) fn new(taxonomy: &str) -> Self {
        Self { taxonomy: taxonomy.to_owned() }
    }

    fn predict(&self, row: &EnrichedTransaction) -> Prediction {
        let text = row.transaction.descriptor.raw();
        let (category, confidence, other) = match text {
            text if text.contains("COFFEE") => ("coffee_shop", 0.96875, "restaurant"),
            text if text.contains("MARKET") => ("supermarket", 0.9375, "convenience_store"),
            _ => ("restaurant", 0.375, "fast_food"),
        };
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
        "scripted@1"
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        let says = |text| batch.iter().any(|row| row.transaction.descriptor.raw().contains(text));
        assert!(!says("ENGINE PANICS"), "as the script says");
        let answer = if says("ENGINE FAILS") {
            Err(Error::Miscounted { engine: self.engine().to_owned(), asked: batch.len(), got: 0 })
        } else {
            Ok(batch.iter().map(|row| self.predict(row)).collect())
        };
        Box::pin(async { answer })
    }
}
