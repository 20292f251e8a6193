//! `eval/stages.toml`: which stages there are, and how each becomes a running engine.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use tracing::Instrument as _;

use super::{
    AdapterCategorizer, Calibration, Cascade, Categorizer, Error, KnownKey, LabelledExample, NearestExample,
    PROMPT_ENGINE, PromptCategorizer, Step, Wording, nearest, worked,
};
use crate::{
    domain::{
        Acceptance, ConfidenceLevel, EnrichedTransaction, Enrichment, InputHash, Prediction, Slug, Taxonomy,
        Transaction,
    },
    enrich::Examples,
    llm::ChatModel,
    model::{AdapterModel, Encoder, KnownWork},
    prompt::PromptSet,
    spans,
};

/// `eval/stages.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageFile {
    /// The stage that answers `POST /v1/transactions`.
    pub serve: String,
    /// All stages, in the order of their price.
    #[serde(rename = "stage")]
    pub stages: Vec<StageEntry>,
}

/// One stage as written down.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageEntry {
    /// Its name, such as `few_shot`.
    pub name: String,
    /// What answers.
    pub engine: Engine,
    /// What the engine may look at.
    pub enrichment: Enrichment,
    /// The accuracy it is meant to reach, in `[0, 1]`: a target, never a measurement.
    pub target: f64,
    /// The prompt folder, relative to the prompts folder.
    #[serde(default)]
    pub prompt: Option<String>,
    /// How many labelled transactions like it a prompt shows with each transaction; 0 retrieves none.
    #[serde(default)]
    pub retrieve: usize,
    /// Who answers when the chat model can't be had. [default: nobody, and the rows wait]
    #[serde(default)]
    pub otherwise: Option<Otherwise>,
    /// Meant as a step of cascades: measured where a cascade of the file has it, or it is named.
    #[serde(default)]
    pub step_only: bool,
    /// A cascade's steps, in their order.
    #[serde(default, rename = "step")]
    pub steps: Vec<StepEntry>,
}

/// A step of a cascade as written down.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct StepEntry {
    /// Which stage of the file answers.
    pub stage: String,
    /// From which confidence on it answers for good; the last step's are passed over.
    #[serde(flatten)]
    pub accepts: Acceptance,
}

impl StageEntry {
    /// Whether the stage, or a step of it, is of this engine.
    #[must_use]
    pub fn needs(&self, engine: Engine, stages: &StageFile) -> bool {
        self.any(stages, |entry| entry.engine == engine)
    }

    /// Whether the stage, or a step of it, shows labelled transactions like the one at hand.
    #[must_use]
    pub fn retrieves(&self, stages: &StageFile) -> bool {
        self.any(stages, |entry| entry.retrieve > 0)
    }

    fn any(&self, stages: &StageFile, is: impl Fn(&Self) -> bool) -> bool {
        is(self) || self.steps.iter().any(|step| stages.entry(&step.stage).is_ok_and(&is))
    }
}

/// What answers in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A chat model with a prompt. Where none is named: nearest example, among the prompt's own examples and, where
    /// the stage retrieves, every labelled transaction at hand.
    Prompt,
    /// What labels say of the descriptor key.
    KnownKey,
    /// Other stages one behind another, each passing on what it is not sure of.
    Cascade,
    /// A trained adapter.
    Adapter,
}

/// Who answers when the chat model can't be had: its server is down, or the budget spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// Nearest example.
    NearestExample,
    /// The adapter.
    Adapter,
}

impl StageFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it can't be read, is not of this shape, or serves a stage that it does not list.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| Error::StageFile { path: shown.clone(), source })?;
        let file: Self =
            toml::from_str(&text).map_err(|source| Error::StageToml { path: shown, source: Box::new(source) })?;
        file.entry(&file.serve)?;
        Ok(file)
    }

    /// The stage of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn entry(&self, name: &str) -> Result<&StageEntry, Error> {
        self.stages.iter().find(|stage| stage.name == name).ok_or_else(|| Error::UnknownStage {
            name: name.to_owned(),
            known: self.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// What stages are built from.
pub struct Sources<'a> {
    /// The stages that a cascade's steps name.
    pub stages: &'a StageFile,
    /// The closed set of answers.
    pub taxonomy: &'a Taxonomy,
    /// The base encoder.
    pub encoder: Encoder,
    /// The adapter, where one is named.
    pub adapter: Option<Arc<AdapterModel>>,
    /// The chat model, where one is named.
    pub chat: Option<Arc<dyn ChatModel>>,
    /// Where labelled transactions like the one at hand are found.
    pub examples: Option<Examples>,
    /// The folder of prompt versions, `prompts/categorize`.
    pub prompts: &'a Path,
    /// Labelled transactions that may be retrieved, [in order](LabelledExample::in_order); for a data set with categories
    /// of its own, a few of each class also stand in for the prompt's examples.
    pub labelled: &'a [LabelledExample],
    /// Fitted on dev, by [`Stage::fitted_for`].
    pub calibrations: &'a HashMap<String, Calibration>,
}

/// A running stage. Clones share the engine.
#[derive(Clone)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// The accuracy it is meant to reach.
    pub target: f64,
    /// What the engine looks at.
    pub enrichment: Enrichment,
    /// From which calibrated confidence on an answer is accepted; `None` while nothing is fitted.
    pub acceptance: Option<Acceptance>,
    fitted_for: String,
    categorizer: Arc<dyn Categorizer>,
    calibration: Option<Calibration>,
}

impl Stage {
    /// Builds the stage's engine.
    ///
    /// # Errors
    /// When the prompt can't be loaded, the adapter is missing or bound to another taxonomy, or the
    /// encoder fails.
    pub async fn build(entry: &StageEntry, sources: &Sources<'_>) -> Result<Self, Error> {
        let of = |fitted_for: String, categorizer: Box<dyn Categorizer>| Self {
            fitted_for,
            ..Self::new(&entry.name, entry.target, entry.enrichment, categorizer)
        };
        let stage = match entry.engine {
            Engine::Prompt => {
                let categorizer = match &sources.chat {
                    Some(chat) => prompted(entry, sources, Arc::clone(chat)).await?,
                    None => nearest(entry, sources).await?,
                };
                of(asking(entry, sources)?, categorizer)
            }
            Engine::KnownKey => {
                let known = KnownKey::new(&entry.name, entry.enrichment, sources.taxonomy, sources.labelled);
                of(format!("known_key:{}", entry.name), Box::new(known))
            }
            Engine::Cascade => {
                let cascade = cascade(entry, sources).await?;
                of(cascade.fitted_for(), Box::new(cascade))
            }
            Engine::Adapter => Self::of_adapter(&entry.name, entry.target, sources.taxonomy, adapter(entry, sources)?)?,
        };
        Ok(stage.with_fitted(sources.calibrations))
    }

    /// A stage around an adapter. What it reads and accepts was decided when it was trained.
    ///
    /// # Errors
    /// When the adapter was trained on another taxonomy version.
    pub fn of_adapter(name: &str, target: f64, taxonomy: &Taxonomy, adapter: Arc<AdapterModel>) -> Result<Self, Error> {
        let (enrichment, acceptance) = (adapter.facts().enrichment, adapter.facts().acceptance);
        let categorizer = AdapterCategorizer::new(name, enrichment, taxonomy, adapter)?;
        let mut stage = Self::new(name, target, enrichment, Box::new(categorizer));
        stage.acceptance = Some(acceptance);
        Ok(stage)
    }

    /// A stage around any engine, not calibrated yet.
    #[must_use]
    pub fn new(name: &str, target: f64, enrichment: Enrichment, categorizer: Box<dyn Categorizer>) -> Self {
        Self {
            name: name.to_owned(),
            target,
            enrichment,
            acceptance: None,
            fitted_for: categorizer.engine().to_owned(),
            categorizer: categorizer.into(),
            calibration: None,
        }
    }

    /// The engine and its content hash.
    #[must_use]
    pub fn engine(&self) -> &str {
        self.categorizer.engine()
    }

    /// What is fitted for the stage is kept under this: its engine, and where that compares with labels, all that makes it but
    /// these, so that one more label doesn't lose what was fitted.
    #[must_use]
    pub fn fitted_for(&self) -> &str {
        &self.fitted_for
    }

    /// The engine that the calibration in force was fitted on, where it had other labels than this one.
    #[must_use]
    pub fn fitted_with_other_labels(&self) -> Option<&str> {
        self.calibration.as_ref()?.engine.as_deref().filter(|engine| *engine != self.engine())
    }

    /// Transactions that a caller who has many does best to bring at once.
    #[must_use]
    pub fn rows_at_once(&self) -> usize {
        self.categorizer.rows_at_once()
    }

    /// [`Categorizer::has_label_of`].
    #[must_use]
    pub fn has_label_of(&self, row: &Transaction) -> bool {
        self.categorizer.has_label_of(row)
    }

    /// How often texts were known, where the engine reads texts and remembers what it read.
    #[must_use]
    pub fn known_work(&self) -> Option<KnownWork> {
        self.categorizer.known_work()
    }

    /// What to record without asking, where a person's rule says what the row is and an answer may be billed.
    #[must_use]
    pub fn of_rule(&self, row: &EnrichedTransaction, category: &Slug) -> Option<Prediction> {
        self.categorizer.of_rule(row, category)
    }

    /// What an answer's confidence promises; `None` while nothing is fitted.
    #[must_use]
    pub fn level(&self, prediction: &Prediction) -> Option<ConfidenceLevel> {
        let levels = self.calibration.as_ref()?.levels?;
        let known = prediction.knows_key();
        Some(if prediction.is_unanswered() { ConfidenceLevel::Low } else { levels.of(prediction.confidence, known) })
    }

    /// From now on, confidences go through this map and its thresholds decide.
    pub fn calibrate(&mut self, calibration: Calibration) {
        self.acceptance = Some(calibration.acceptance);
        self.calibration = Some(calibration);
    }

    /// With what was fitted for it, where anything was.
    #[must_use]
    pub fn with_fitted(mut self, fitted: &HashMap<String, Calibration>) -> Self {
        if let Some(calibration) = fitted.get(&self.fitted_for) {
            self.calibrate(calibration.clone());
        }
        self
    }

    /// [`Categorizer::probe`].
    ///
    /// # Errors
    /// When this process can't do its part of an answer.
    pub async fn probe(&self, row: &EnrichedTransaction) -> Result<(), Error> {
        self.categorizer.probe(row).await
    }

    /// One calibrated prediction for each transaction, in the same order.
    ///
    /// # Errors
    /// When the engine fails, or breaks its promise of one answer for each row.
    pub async fn categorize(&self, batch: &[EnrichedTransaction]) -> Result<Vec<Prediction>, Error> {
        match self.raw(batch).await {
            Err(Error::Partly { mut answers, source }) => {
                answers.iter_mut().flatten().for_each(|answer| self.calibrated(answer));
                Err(Error::Partly { answers, source })
            }
            Err(error) => Err(error),
            Ok(mut predictions) => {
                predictions.iter_mut().for_each(|prediction| self.calibrated(prediction));
                Ok(predictions)
            }
        }
    }

    /// [`Self::categorize`] before calibration: what may be remembered, and calibrated anew.
    pub(super) async fn raw(&self, batch: &[EnrichedTransaction]) -> Result<Vec<Prediction>, Error> {
        let span = spans::stage(&self.name, self.engine(), batch.len());
        let answered = self.categorizer.categorize(batch).instrument(span.clone()).await;
        if let Err(error) = &answered {
            spans::failed(&span, if error.is_outage() { "outage" } else { "_OTHER" });
        }
        let predictions = answered?;
        if predictions.len() != batch.len() {
            let engine = self.engine().to_owned();
            return Err(Error::Miscounted { engine, asked: batch.len(), got: predictions.len() });
        }
        Ok(predictions)
    }

    /// Gives an answer the probability that its confidence stands for.
    pub fn calibrated(&self, prediction: &mut Prediction) {
        if let Some(calibration) = self.calibration.as_ref().filter(|_| !prediction.is_unanswered()) {
            recalibrate(prediction, calibration);
        }
    }

    /// What this stage's answer to a row, before calibration, rests on beside the engine: [`Categorizer::input`], the
    /// stage, and the release of txcat, which may compute otherwise than the one before.
    #[must_use]
    pub fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        let input = self.categorizer.input(row)?;
        Some(InputHash::of([env!("CARGO_PKG_VERSION").as_bytes(), self.name.as_bytes(), input.as_bytes()]))
    }

    /// What the calibrated answer rests on, its engine included.
    pub(super) fn calibrated_input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        let input = self.input(row)?;
        let calibration = serde_json::to_vec(&self.calibration).ok()?;
        Some(InputHash::of([self.engine().as_bytes(), calibration.as_slice(), input.as_bytes()]))
    }
}

/// The first choice gets its calibrated probability; the others share the rest as before.
fn recalibrate(prediction: &mut Prediction, calibration: &Calibration) {
    let before = prediction.confidence;
    prediction.confidence = calibration.apply(before);
    let rest = Calibration::rest(before, prediction.confidence);
    for other in &mut prediction.alternatives {
        other.confidence = (other.confidence * rest).min(prediction.confidence);
    }
}

fn adapter(entry: &StageEntry, sources: &Sources<'_>) -> Result<Arc<AdapterModel>, Error> {
    sources.adapter.clone().ok_or_else(|| Error::NoAdapter { stage: entry.name.clone() })
}

/// [`Stage::fitted_for`] of a prompt stage: who answers, and with which prompt.
fn asking(entry: &StageEntry, sources: &Sources<'_>) -> Result<String, Error> {
    let version = prompt(entry, sources)?.map_or_else(|| "no prompt".to_owned(), |prompt| prompt.version().to_owned());
    let who = match &sources.chat {
        Some(chat) => format!("{PROMPT_ENGINE}{}", chat.name()),
        None => format!("nearest:{}", nearest::version(&sources.encoder)),
    };
    Ok(format!("{who}:{}:{version}+{}:{:?}", entry.name, entry.retrieve, entry.enrichment))
}

async fn cascade(entry: &StageEntry, sources: &Sources<'_>) -> Result<Cascade, Error> {
    let mut steps = Vec::new();
    for (number, step) in entry.steps.iter().enumerate() {
        let of = sources.stages.entry(&step.stage)?;
        if of.engine == Engine::Cascade {
            return Err(Error::NestedCascade { stage: entry.name.clone(), step: step.stage.clone() });
        }
        let stage = Box::pin(Stage::build(of, sources)).await?;
        let decides = number + 1 < entry.steps.len() && step.accepts != Acceptance::default();
        if decides && stage.acceptance.is_none() {
            return Err(Error::UnfittedStep { stage: entry.name.clone(), step: step.stage.clone() });
        }
        steps.push(Step { stage, accepts: step.accepts });
    }
    Cascade::new(&entry.name, steps)
}

async fn nearest(entry: &StageEntry, sources: &Sources<'_>) -> Result<Box<dyn Categorizer>, Error> {
    // Where all labelled transactions are at hand, none need stand in for the prompt's own examples.
    let (all, some) = if entry.retrieve > 0 { (sources.labelled, &[][..]) } else { (&[][..], sources.labelled) };
    let prompt = prompt(entry, sources)?;
    let mut examples = prompt.map_or_else(Vec::new, |prompt| worked::transactions(&prompt, sources.taxonomy, some));
    examples.extend_from_slice(all);
    let encoder = sources.encoder.clone();
    Ok(Box::new(NearestExample::new(&entry.name, entry.enrichment, sources.taxonomy, &examples, encoder).await?))
}

async fn prompted(
    entry: &StageEntry,
    sources: &Sources<'_>,
    model: Arc<dyn ChatModel>,
) -> Result<Box<dyn Categorizer>, Error> {
    let prompt = prompt(entry, sources)?.ok_or_else(|| Error::NoPrompt { stage: entry.name.clone() })?;
    let otherwise: Option<Box<dyn Categorizer>> = match entry.otherwise {
        None => None,
        Some(Otherwise::NearestExample) => Some(nearest(entry, sources).await?),
        Some(Otherwise::Adapter) => {
            let adapter = adapter(entry, sources)?;
            let enrichment = adapter.facts().enrichment;
            Some(Box::new(AdapterCategorizer::new(&entry.name, enrichment, sources.taxonomy, adapter)?))
        }
    };
    let wording = Wording::of_stage(entry, prompt, sources.taxonomy, sources.labelled, sources.examples.clone())?;
    Ok(Box::new(PromptCategorizer::new(&entry.name, sources.taxonomy, wording, model, otherwise)))
}

fn prompt(entry: &StageEntry, sources: &Sources<'_>) -> Result<Option<PromptSet>, Error> {
    Ok(entry.prompt.as_ref().map(|folder| PromptSet::load(&sources.prompts.join(folder))).transpose()?)
}
