//! The trait [`Categorizer`] and the engines behind the stages.
//!
//! A *stage* is a line of `eval/stages.toml`: a name, an engine, how much of the enrichment the
//! engine may look at, and a target. An engine answers a slice with as many predictions in the
//! same order, or with an error; it never drops a row.

mod adapter;
mod calibration;
mod cascade;
mod known_key;
mod labelled;
mod lineup;
mod nearest;
mod prompt;
mod stages;
mod wording;
mod worked;

use std::{slice, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};

pub use adapter::AdapterCategorizer;
pub use calibration::Calibration;
pub use cascade::{Cascade, Step};
pub use known_key::KnownKey;
pub use labelled::LabelledExample;
pub use lineup::{Group, Lineup, Seat, together};
pub use nearest::NearestExample;
pub use prompt::{PROMPT_ENGINE, PromptCategorizer};
pub use stages::{Engine, Otherwise, Sources, Stage, StageEntry, StageFile, StepEntry};
pub use wording::Wording;

use crate::{
    domain::{EnrichedTransaction, InputHash, Prediction, Slug, Transaction, prediction::Evidence, taxonomy},
    model::KnownWork,
};

/// Puts transactions into categories.
pub trait Categorizer: Send + Sync {
    /// The engine and its content hash, such as `adapter:demo@1f3a9c02`.
    fn engine(&self) -> &str;

    /// Transactions that a caller who has many does best to bring at once.
    fn rows_at_once(&self) -> usize {
        256
    }

    /// What to record without asking, where a person's rule says what the row is and an answer may be billed.
    fn of_rule(&self, row: &EnrichedTransaction, category: &Slug) -> Option<Prediction> {
        let _ = (row, category);
        None
    }

    /// Everything that the answer to a row rests on: this engine gives rows of one hash the same answer. `None` where an
    /// answer must not be remembered, because it rests on more than the row.
    fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        let _ = row;
        None
    }

    /// Whether the engine answers with this row's own label at hand: what it says of the row then proves nothing. An
    /// adapter can't tell; the registry knows which labels there were when it came.
    fn has_label_of(&self, row: &Transaction) -> bool {
        let _ = row;
        false
    }

    /// How often texts were known, where the engine reads texts and remembers what it read.
    fn known_work(&self) -> Option<KnownWork> {
        None
    }

    /// Tries what this process needs to answer a row. Whoever bills for an answer, or takes long to give one, is not asked.
    fn probe<'a>(&'a self, row: &'a EnrichedTransaction) -> BoxFuture<'a, Result<(), Error>> {
        async move { self.categorize(slice::from_ref(row)).await.map(drop) }.boxed()
    }

    /// One prediction for each transaction, in the same order.
    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>>;
}

/// What is known around a row, as evidence: what people called the account's earlier rows with its key, and what the
/// directory says of its merchant.
fn known_around(row: &EnrichedTransaction) -> impl Iterator<Item = Evidence> {
    let most = row.history.same_key.labels.iter().max_by_key(|(_, count)| **count);
    let history = most.map(|(category, &count)| Evidence::History { category: category.clone(), count });
    let merchant = row.merchant.as_ref().and_then(|found| {
        let category = found.merchant.category.clone()?;
        Some(Evidence::Merchant { name: found.merchant.name.clone(), category })
    });
    history.into_iter().chain(merchant)
}

/// [`known_around`] as parts of an input.
fn known_parts(row: &EnrichedTransaction) -> impl Iterator<Item = Vec<u8>> {
    known_around(row).map(|evidence| format!("{evidence:?}").into_bytes())
}

/// Why transactions could not be categorized, or a stage could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The encoder or adapter failed.
    #[error("the model could not answer")]
    Model(#[from] crate::model::Error),
    /// The prompt folder can't be used.
    #[error("the prompt could not be loaded")]
    Prompt(#[from] crate::prompt::Error),
    /// The chat model could not be asked.
    #[error("the chat model could not answer")]
    Llm(#[from] crate::llm::Error),
    /// Labelled transactions could not be looked for.
    #[error("labelled transactions could not be looked for")]
    Enrich(#[from] crate::enrich::Error),
    /// Some rows were answered, and then something failed.
    #[error("{} of {} rows were answered", answers.iter().flatten().count(), answers.len())]
    Partly {
        /// What was answered, in the rows' order.
        answers: Vec<Option<Prediction>>,
        /// Why the others were not.
        source: Arc<Error>,
    },
    /// The taxonomy can't be used.
    #[error("the taxonomy could not be loaded")]
    Taxonomy(#[from] taxonomy::Error),
    /// `stages.toml` can't be read.
    #[error("`{path}` can't be read")]
    StageFile {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// `stages.toml` is not of the documented shape.
    #[error("`{path}` is not a stage file")]
    StageToml {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// No stage of that name.
    #[error("there is no stage `{name}`: `eval/stages.toml` has {known}")]
    UnknownStage {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The stage needs an adapter, and none was named.
    #[error("stage `{stage}` needs an adapter: train one (`txcat train`) and name it with `--adapter`")]
    NoAdapter {
        /// Which stage.
        stage: String,
    },
    /// A cascade of nothing.
    #[error("stage `{stage}` is a cascade without a step")]
    NoSteps {
        /// Which stage.
        stage: String,
    },
    /// A cascade's threshold without what it is a threshold of.
    #[error(
        "step `{step}` of stage `{stage}` has thresholds, and nothing is fitted for it: measure it on dev first, with \
         `txcat eval --stage {step}`"
    )]
    UnfittedStep {
        /// Which stage.
        stage: String,
        /// Which of its steps.
        step: String,
    },
    /// A cascade in a cascade.
    #[error("step `{step}` of stage `{stage}` is a cascade itself")]
    NestedCascade {
        /// Which stage.
        stage: String,
        /// Which of its steps.
        step: String,
    },
    /// A chat model is named, and the stage has no prompt for it.
    #[error("stage `{stage}` has no prompt folder for the chat model")]
    NoPrompt {
        /// Which stage.
        stage: String,
    },
    /// An adapter answers in the categories it was trained on.
    #[error("adapter `{adapter}` was trained on taxonomy {trained}, not on {asked}")]
    TaxonomyMismatch {
        /// Which adapter.
        adapter: String,
        /// The version it was trained on.
        trained: String,
        /// The version in force.
        asked: String,
    },
    /// Nearest example has nothing to compare with.
    #[error("category `{category}` is not in the taxonomy, but a prompt example uses it")]
    ForeignExample {
        /// The example's category.
        category: Slug,
    },
    /// An engine broke its promise of one answer for each row.
    #[error("engine `{engine}` answered {got} of {asked} rows")]
    Miscounted {
        /// Which engine.
        engine: String,
        /// Rows asked.
        asked: usize,
        /// Rows answered.
        got: usize,
    },
}

impl Error {
    /// Whether a model can't be had for now: its server is down, or the budget spent.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Llm(error) => error.is_outage(),
            Self::Partly { source, .. } => source.is_outage(),
            _ => false,
        }
    }
}
