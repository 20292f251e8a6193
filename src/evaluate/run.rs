//! Putting stages to the same rows of the same files.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;

use crate::{
    categorize::{self, Calibration, PROMPT_ENGINE, Stage},
    domain::{
        Acceptance, EnrichedTransaction, Judged, MerchantMatch, Prediction, Slug, Taxonomy, Transaction,
        prediction::{self, Evidence},
    },
};

use super::{
    corpus::Corpus,
    dataset::{self, DataFile, Dataset, Row},
    metrics::Scored,
    scored::{Answerer, COVERAGE_TARGET, Cost, Facts, Figures, FileScore, Item, Said},
};

/// Why rows could not be scored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set can't be read.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The file has no row.
    #[error("{file} has no rows")]
    Empty {
        /// The file's name.
        file: String,
    },
    /// A stage failed.
    #[error("stage `{stage}` failed")]
    Categorize {
        /// Its name.
        stage: String,
        /// Why.
        source: Box<categorize::Error>,
    },
    /// A stage answered with a category that the data set does not have.
    #[error("stage `{stage}` answers with `{category}`, which is no category of this data set")]
    Category {
        /// Its name.
        stage: String,
        /// The answer.
        category: Slug,
    },
}

/// Rows with what was known around each when it was posted.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The file's name without its ending.
    pub file: String,
    /// Its rows and their truth.
    pub rows: Vec<Row>,
    /// The same rows, enriched.
    pub enriched: Vec<EnrichedTransaction>,
    /// What slices are made of, of each.
    pub facts: Vec<Facts>,
}

impl Prepared {
    /// Reads a file and enriches its rows: this is where a test file is opened.
    ///
    /// # Errors
    /// When the file can't be read, or has no row.
    pub fn read(
        dataset: &Dataset,
        file: &DataFile,
        corpus: &Corpus,
        merchant: impl Fn(&Transaction) -> Option<MerchantMatch>,
    ) -> Result<Self, Error> {
        let rows = dataset.rows(file)?.collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Err(Error::Empty { file: file.name.clone() });
        }
        let timelines = corpus.timelines_with(&rows);
        let enriched = rows.iter().map(|row| timelines.enriched(&row.transaction, &merchant)).collect();
        let facts = rows
            .iter()
            .map(|Row { transaction, .. }| Facts {
                direction: transaction.direction,
                amount: transaction.amount.amount(),
                country: transaction.country.clone(),
                posted_at: transaction.posted_at,
                account_age_days: timelines
                    .since(&transaction.account_id)
                    .map_or(0, |since| (transaction.posted_at - since).num_days()),
                head: corpus.is_head(transaction.descriptor.key()),
            })
            .collect();
        Ok(Self { file: file.name.clone(), rows, enriched, facts })
    }
}

/// A stage's answers on one file, before any threshold.
#[derive(Debug, Clone)]
pub struct Answers {
    answerer: Answerer,
    file: String,
    items: Vec<Item>,
    /// What the adapter's encoder says alone, where every answer tells.
    encoder_alone: Option<Vec<Item>>,
    primaries: Vec<usize>,
    rows_per_s: f64,
    cost: Option<Cost>,
}

/// Asks a stage about every row of a file. `on_rows` hears how many more are done.
///
/// # Errors
/// When the stage fails, or answers outside the data set's categories.
pub async fn answer(
    stage: &Stage,
    prepared: &Prepared,
    corpus: &Corpus,
    taxonomy: &Taxonomy,
    mut on_rows: impl FnMut(usize),
) -> Result<Answers, Error> {
    let index = |category: &Slug| {
        taxonomy
            .index_of(category)
            .ok_or_else(|| Error::Category { stage: stage.name.clone(), category: category.clone() })
    };
    let mut items = Vec::with_capacity(prepared.rows.len());
    let mut alone = Vec::new();
    let mut asked = Duration::ZERO;
    let at_once = stage.rows_at_once();
    let batches =
        prepared.rows.chunks(at_once).zip(prepared.enriched.chunks(at_once)).zip(prepared.facts.chunks(at_once));
    for ((rows, batch), facts) in batches {
        let start = Instant::now();
        let answers = stage
            .categorize(batch)
            .await
            .map_err(|source| Error::Categorize { stage: stage.name.clone(), source: Box::new(source) })?;
        let took = start.elapsed();
        asked += took;
        let latency_ms = 1e3 * took.as_secs_f32() / batch.len() as f32;
        for ((row, facts), prediction) in rows.iter().zip(facts).zip(answers) {
            let key = row.transaction.descriptor.key();
            let scored = Scored {
                gold: index(&row.category)?,
                // No answer is a wrong one, of a category beyond all others.
                answer: match prediction.is_unanswered() {
                    true => taxonomy.assignable().len(),
                    false => index(&prediction.category)?,
                },
                confidence: prediction.confidence,
                known: corpus.knows(key),
                knows_key: prediction.knows_key(),
            };
            let said = said(&prediction, taxonomy, latency_ms);
            let id = row.transaction.id.clone();
            let item = Item { id, key: key.clone(), scored, facts: facts.clone(), said: Some(said) };
            for evidence in &prediction.evidence {
                if let Evidence::Encoder { category, confidence } = evidence {
                    let scored = Scored { answer: index(category)?, confidence: *confidence, ..scored };
                    alone.push(Item { scored, said: None, ..item.clone() });
                }
            }
            items.push(item);
        }
        on_rows(rows.len());
    }
    let answerer = Answerer { name: stage.name.clone(), engine: stage.engine().to_owned(), target: Some(stage.target) };
    Ok(Answers {
        answerer,
        file: prepared.file.clone(),
        encoder_alone: (alone.len() == items.len()).then_some(alone),
        primaries: taxonomy.primaries(),
        rows_per_s: items.len() as f64 / asked.as_secs_f64().max(1e-9),
        cost: None,
        items,
    })
}

fn said(prediction: &Prediction, taxonomy: &Taxonomy, latency_ms: f32) -> Said {
    let other = |of: &prediction::Scored| Some((taxonomy.index_of(&of.category)?, of.confidence));
    let error = prediction.evidence.iter().find_map(|evidence| match evidence {
        Evidence::Unanswered { why } => Some(why.clone()),
        _ => None,
    });
    Said {
        alternatives: prediction.alternatives.iter().filter_map(other).collect(),
        decided_by: prediction.provenance.engine.clone(),
        latency_ms,
        tokens: None,
        cost: None,
        error,
    }
}

/// What a chat model took for all the answers together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Money.
    pub cost: Decimal,
    /// In which currency.
    pub currency: String,
    /// Tokens of prompts and answers.
    pub tokens: u64,
}

impl Answers {
    /// Fits what turns this engine's confidence into a probability, and the thresholds that keep the
    /// stage's target, on these answers. Meant for `dev`'s.
    #[must_use]
    pub fn calibration(&self) -> Calibration {
        let mut fitted = fit(self.items.iter(), self.answerer.target.unwrap_or(1.0));
        fitted.engine = Some(self.answerer.engine.clone());
        fitted
    }

    /// Fits what the confidences of an engine promise that brings its own thresholds. Meant for `dev`'s.
    #[must_use]
    pub fn levels(&self, acceptance: Acceptance) -> Calibration {
        let mut fitted = Calibration::of_calibrated(&judged(self.items.iter()), acceptance);
        fitted.engine = Some(self.answerer.engine.clone());
        fitted
    }

    /// Says what all the answers together cost; each row that a chat model decided bears an equal share.
    pub fn bill(&mut self, bill: &Bill) {
        let rows = Decimal::from(self.items.len().max(1));
        self.cost = Some(Cost { per_1000: bill.cost * Decimal::from(1_000) / rows, currency: bill.currency.clone() });
        let mut asked: Vec<&mut Said> = self
            .items
            .iter_mut()
            .filter_map(|item| item.said.as_mut())
            .filter(|said| said.decided_by.starts_with(PROMPT_ENGINE))
            .collect();
        let (share, tokens) = (asked.len().max(1), bill.tokens / asked.len().max(1) as u64);
        for said in &mut asked {
            said.tokens = Some(tokens);
            said.cost = Some(bill.cost / Decimal::from(share));
        }
    }

    /// Applies what was fitted on the same engine's answers on `dev`.
    pub fn calibrate(&mut self, calibration: &Calibration) {
        self.items.iter_mut().for_each(|item| recalibrate(item, calibration));
    }

    /// For the answers that a calibration is fitted on: each half is calibrated by what was fitted on
    /// the other, so that the figures are not those of rows judged by themselves.
    pub fn calibrate_across(&mut self) {
        let target = self.answerer.target.unwrap_or(1.0);
        let halves = [0, 1].map(|half| fit(self.items.iter().skip(half).step_by(2), target));
        for (place, item) in self.items.iter_mut().enumerate() {
            recalibrate(item, &halves[1 - place % 2]);
        }
    }

    /// How many rows were answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The figures, with thresholds fitted on `dev`'s answers of the same stage. With `apart`, a
    /// second score follows: the encoder and its head without the adapter's other parts.
    #[must_use]
    pub fn score(&self, dev: &Self, apart: bool) -> Vec<FileScore> {
        let of = |answerer: Answerer, items: &[Item], dev: &[Item]| {
            self.scored(answerer, items, Acceptance::fit(&judged(dev.iter()), COVERAGE_TARGET))
        };
        let alone = match (apart, &self.encoder_alone, &dev.encoder_alone) {
            (true, Some(items), Some(dev)) => {
                let name = format!("{}_without_side_parts", self.answerer.name);
                of(Answerer { name, ..self.answerer.clone() }, items, dev)
            }
            _ => None,
        };
        of(self.answerer.clone(), &self.items, &dev.items).into_iter().chain(alone).collect()
    }

    /// The figures with thresholds that the engine has; `None` without rows.
    #[must_use]
    pub fn score_at(&self, acceptance: Acceptance) -> Option<FileScore> {
        self.scored(self.answerer.clone(), &self.items, acceptance)
    }

    fn scored(&self, answerer: Answerer, items: &[Item], acceptance: Acceptance) -> Option<FileScore> {
        let figures = Figures::of(items, true, acceptance, &self.primaries)?;
        let (file, items) = (self.file.clone(), items.to_vec());
        let (rows_per_s, cost) = (Some(self.rows_per_s), self.cost.clone());
        Some(FileScore { answerer, file, items, rows_per_s, cost, figures })
    }
}

fn fit<'a>(items: impl Iterator<Item = &'a Item>, target: f64) -> Calibration {
    Calibration::fit(&judged(items), target)
}

/// As a stage does that serves: what was answered gets its probability, and the other choices share the rest.
fn recalibrate(item: &mut Item, calibration: &Calibration) {
    if !item.is_answered() {
        return;
    }
    let before = item.scored.confidence;
    item.scored.confidence = calibration.apply(before);
    let rest = Calibration::rest(before, item.scored.confidence);
    for (_, other) in item.said.iter_mut().flat_map(|said| &mut said.alternatives) {
        *other = (*other * rest).min(item.scored.confidence);
    }
}

fn judged<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<Judged> {
    items.map(|item| item.scored.judged()).collect()
}
