//! Engines one behind another: each answers what it is sure of and passes the rest on, cheapest first.
//!
//! What a step is sure of was fitted on dev (`txcat eval fit-cascade`) and stands in the stage file. The last step
//! answers whatever is left. Every prediction names the engine that made it.

use futures::{FutureExt, future::BoxFuture};
use sha2::{Digest, Sha256};

use super::{Categorizer, Error, Stage};
use crate::{
    domain::{Acceptance, EnrichedTransaction, InputHash, Prediction, Slug, Transaction},
    model::KnownWork,
};

/// One engine of a cascade.
pub struct Step {
    /// Who answers.
    pub stage: Stage,
    /// What it answers for good; the last step answers for good whatever it is asked.
    pub accepts: Acceptance,
}

/// Engines one behind another.
pub struct Cascade {
    engine: String,
    stage: String,
    steps: Vec<Step>,
}

impl Cascade {
    /// Steps in their order, of which there must be one.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(stage: &str, steps: Vec<Step>) -> Result<Self, Error> {
        if steps.is_empty() {
            return Err(Error::NoSteps { stage: stage.to_owned() });
        }
        Ok(Self { engine: name(stage, &steps, Stage::engine), stage: stage.to_owned(), steps })
    }

    /// What is fitted for it is kept under this: [`Stage::fitted_for`] of its steps, and their thresholds.
    pub(super) fn fitted_for(&self) -> String {
        name(&self.stage, &self.steps, Stage::fitted_for)
    }

    async fn answered(&self, batch: &[EnrichedTransaction]) -> Result<Vec<Prediction>, Error> {
        let mut answers: Vec<Option<Prediction>> = vec![None; batch.len()];
        let mut open: Vec<usize> = (0..batch.len()).collect();
        for (number, step) in self.steps.iter().enumerate() {
            if open.is_empty() {
                break;
            }
            let last = number + 1 == self.steps.len();
            let rows: Vec<EnrichedTransaction> = open.iter().map(|&place| batch[place].clone()).collect();
            let (said, failure) = match step.stage.categorize(&rows).await {
                Ok(said) => (said.into_iter().map(Some).collect(), None),
                Err(Error::Partly { answers, source }) => (answers, Some(source)),
                // What earlier steps said is kept, as what a step said in part is.
                Err(error) => (vec![None; rows.len()], Some(std::sync::Arc::new(error))),
            };
            let mut left = Vec::new();
            for (place, prediction) in open.into_iter().zip(said) {
                match prediction {
                    Some(mut prediction) if last || step.takes(&prediction) => {
                        prediction.provenance.stage.clone_from(&self.stage);
                        answers[place] = Some(prediction);
                    }
                    _ => left.push(place),
                }
            }
            if let Some(source) = failure {
                return Err(Error::Partly { answers, source });
            }
            open = left;
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

fn name(stage: &str, steps: &[Step], of: fn(&Stage) -> &str) -> String {
    let mut hash = Sha256::new();
    for step in steps {
        hash.update(of(&step.stage));
        for threshold in [step.accepts.known, step.accepts.unknown] {
            hash.update(threshold.unwrap_or(2.0).to_le_bytes());
        }
    }
    format!("cascade:{stage}@{}", hex::encode(&hash.finalize()[..4]))
}

impl Step {
    fn takes(&self, prediction: &Prediction) -> bool {
        !prediction.is_unanswered() && self.accepts.accepts(prediction.confidence, prediction.knows_key())
    }
}

impl Categorizer for Cascade {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn rows_at_once(&self) -> usize {
        self.steps.iter().map(|step| step.stage.rows_at_once()).max().unwrap_or(1)
    }

    fn of_rule(&self, row: &EnrichedTransaction, category: &Slug) -> Option<Prediction> {
        let mut prediction = self.steps.iter().find_map(|step| step.stage.of_rule(row, category))?;
        prediction.provenance.stage.clone_from(&self.stage);
        Some(prediction)
    }

    /// What all steps rest on. A step's calibration is no part of an engine's name, so it is one of the input.
    fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        let steps = self.steps.iter().map(|step| step.stage.calibrated_input(row));
        let parts: Vec<InputHash> = steps.collect::<Option<_>>()?;
        Some(InputHash::of(parts.iter().map(InputHash::as_bytes)))
    }

    fn has_label_of(&self, row: &Transaction) -> bool {
        self.steps.iter().any(|step| step.stage.has_label_of(row))
    }

    fn known_work(&self) -> Option<KnownWork> {
        self.steps.iter().find_map(|step| step.stage.known_work())
    }

    fn probe<'a>(&'a self, row: &'a EnrichedTransaction) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            for step in &self.steps {
                step.stage.probe(row).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        self.answered(batch).boxed()
    }
}
