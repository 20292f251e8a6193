//! Adapters in memory that answer rows of text; what the function `categorize` does, without DataFusion.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::{
    categorize::{Calibration, Stage},
    domain::{ConfidenceLevel, Currency, EnrichedTransaction, Prediction, Taxonomy},
    enrich::MerchantIndex,
    evaluate::columns::{DirectionDefault, Mapping},
    model::AdapterBank,
};

/// What a query asks for. It travels with the query, so that an executor needs nothing but the adapter's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    /// The engine and its content hash, such as `adapter:demo@1f3a9c02`.
    pub engine: String,
    /// The taxonomy version to answer in.
    pub taxonomy: String,
    /// The currency of rows that don't name one.
    pub currency: Option<Currency>,
    /// The direction of rows that don't name one.
    pub direction: Option<DirectionDefault>,
    /// What was fitted for the engine; without it nothing is promised, and there are no confidence levels.
    pub fitted: Option<Calibration>,
}

/// A row's answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// What the engine said.
    pub(super) prediction: Prediction,
    /// What its confidence promises.
    pub(super) level: Option<ConfidenceLevel>,
}

/// Adapters in memory, by the engine's name, with what is put around a row.
pub struct Engines {
    taxonomy: Taxonomy,
    merchants: Arc<MerchantIndex>,
    stages: HashMap<String, Stage>,
    answered: AtomicU64,
}

impl Engines {
    /// Loads adapters onto a bank's base encoder, in the bank's arithmetic.
    ///
    /// # Errors
    /// When a folder can't be loaded, or was trained on another taxonomy.
    pub fn load(bank: &AdapterBank, taxonomy: Taxonomy, dirs: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let mut stages = HashMap::new();
        for dir in dirs {
            let adapter = Arc::new(bank.load(dir.as_ref())?);
            // Nothing is accepted or refused here, so that no target counts.
            let stage = Stage::of_adapter("adapter", 0.0, &taxonomy, adapter)?;
            stages.insert(stage.engine().to_owned(), stage);
        }
        Ok(Self { taxonomy, merchants: MerchantIndex::shipped(), stages, answered: AtomicU64::new(0) })
    }

    /// The engines' names, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.stages.keys().cloned().collect();
        names.sort();
        names
    }

    /// The taxonomy version that they answer in.
    #[must_use]
    pub fn taxonomy(&self) -> &str {
        self.taxonomy.version()
    }

    /// Rows answered so far, those with a problem included.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// One answer for each row (fields by name), in order, or the problem for which there is none.
    pub(super) async fn answer(
        &self,
        asked: &Asked,
        rows: &[BTreeMap<String, String>],
    ) -> Result<Vec<Result<Answer, String>>, Error> {
        let stage = self.stage(asked)?;
        let mapping = Mapping { currency: asked.currency, direction: asked.direction, ..Mapping::default() };
        let mut good = Vec::with_capacity(rows.len());
        let mut problems: Vec<Option<String>> = Vec::with_capacity(rows.len());
        for row in rows {
            match mapping.transaction(0, row, &self.taxonomy) {
                Ok((transaction, _)) => {
                    let merchant = self.merchants.of(&transaction);
                    good.push(EnrichedTransaction { merchant, ..EnrichedTransaction::bare(transaction) });
                    problems.push(None);
                }
                Err(reject) => {
                    let field = reject.field().map_or_else(String::new, |field| format!("{field}: "));
                    problems.push(Some(format!("{field}{reject}")));
                }
            }
        }
        let mut answers = stage.categorize(&good).await?.into_iter().map(|prediction| {
            let level = stage.level(&prediction);
            Answer { prediction, level }
        });
        self.answered.fetch_add(rows.len() as u64, Ordering::Relaxed);
        let answer = |problem: Option<String>| match problem {
            Some(problem) => Some(Err(problem)),
            None => answers.next().map(Ok),
        };
        Ok(problems.into_iter().filter_map(answer).collect())
    }

    fn stage(&self, asked: &Asked) -> Result<Stage, Error> {
        let found = self.stages.get(&asked.engine);
        let mut stage =
            found.ok_or_else(|| Error::UnknownEngine { engine: asked.engine.clone(), loaded: self.names() })?.clone();
        if asked.taxonomy != self.taxonomy.version() {
            let here = self.taxonomy.version().to_owned();
            return Err(Error::OtherTaxonomy { asked: asked.taxonomy.clone(), here });
        }
        if let Some(fitted) = &asked.fitted {
            stage.calibrate(fitted.clone());
        }
        Ok(stage)
    }
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engines({})", self.names().join(", "))
    }
}
