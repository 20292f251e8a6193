//! A chat model as a [`Categorizer`]: transactions into a prompt, answers back into predictions.
//!
//! Rows share requests; what is suspected of talking to the model is asked alone. An answer that is missing, double,
//! off the list or beside the form is asked for once more, alone; then the row has no answer and waits for a
//! person. Nothing is guessed, and nothing is joined by place.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};

use super::{
    Categorizer, Error, known_around,
    wording::{Asked, Wording},
};
use crate::{
    domain::{
        EnrichedTransaction, Enrichment, Prediction, Provenance, Slug, Taxonomy,
        prediction::{Evidence, Scored, TextHash},
    },
    llm::{Answer, ChatModel, Fault},
};

/// How the engines of chat models begin, in what predictions name.
pub const PROMPT_ENGINE: &str = "prompt:";
/// Requests of one batch under way at a time; the model's own limit holds beside it.
const AT_ONCE: usize = 16;
/// What an answer is worth before calibration where the model doesn't tell.
const UNTOLD: f32 = 0.5;

/// What became of the row at a place; one failure may be of several rows.
type Placed = (usize, Result<Prediction, Arc<Error>>);

/// Asks a chat model.
pub struct PromptCategorizer {
    stage: String,
    engine: String,
    taxonomy: String,
    wording: Wording,
    model: Arc<dyn ChatModel>,
    otherwise: Option<Box<dyn Categorizer>>,
}

impl PromptCategorizer {
    /// A stage's wording put to a model. `otherwise` answers when the model can't be had: its server is down, or the
    /// budget spent.
    #[must_use]
    pub fn new(
        stage: &str,
        taxonomy: &Taxonomy,
        wording: Wording,
        model: Arc<dyn ChatModel>,
        otherwise: Option<Box<dyn Categorizer>>,
    ) -> Self {
        Self {
            stage: stage.to_owned(),
            engine: format!("{PROMPT_ENGINE}{}:{}", model.name(), wording.version()),
            taxonomy: taxonomy.version().to_owned(),
            wording,
            model,
            otherwise,
        }
    }

    /// Asks for rows that share a request, and once more, alone, for each that got no answer.
    async fn answers(&self, asked: &[&Asked<'_>]) -> Result<Vec<Result<Answer, Fault>>, Error> {
        let mut answers = self.model.ask(&self.wording.request(asked, false)?).await?.answers;
        for (place, answer) in answers.iter_mut().enumerate() {
            if answer.is_err() {
                let alone = self.model.ask(&self.wording.request(&asked[place..=place], true)?).await?.answers;
                *answer = alone.into_iter().next().unwrap_or(Err(Fault::Missing));
            }
        }
        Ok(answers)
    }

    /// One group of rows that share a request, whatever becomes of it.
    async fn group(&self, asked: Vec<(usize, &Asked<'_>)>) -> Vec<Placed> {
        let (places, asked): (Vec<usize>, Vec<&Asked<'_>>) = asked.into_iter().unzip();
        let predictions = match self.answers(&asked).await {
            Ok(answers) => {
                Ok(asked.iter().zip(answers).map(|(asked, answer)| self.prediction(asked, answer)).collect())
            }
            Err(Error::Llm(error)) if error.is_outage() => match &self.otherwise {
                Some(otherwise) => {
                    tracing::warn!(error = %error, rows = asked.len(), "the model can't be had: another engine answers");
                    let rows: Vec<EnrichedTransaction> = asked.iter().map(|asked| asked.row.clone()).collect();
                    otherwise.categorize(&rows).await
                }
                None => Err(Error::Llm(error)),
            },
            Err(error) => Err(error),
        };
        match predictions {
            Ok(predictions) => places.into_iter().zip(predictions.into_iter().map(Ok)).collect(),
            Err(error) => {
                let error = Arc::new(error);
                places.into_iter().map(|place| (place, Err(Arc::clone(&error)))).collect()
            }
        }
    }

    fn prediction(&self, asked: &Asked<'_>, answer: Result<Answer, Fault>) -> Prediction {
        let mut evidence = Vec::new();
        if !asked.suspicions.is_empty() {
            evidence.push(Evidence::Suspicious { suspicions: asked.suspicions.iter().copied().collect() });
        }
        let row = asked.row;
        let examples = asked.neighbours.iter().take(3).map(|near| Evidence::Example {
            text: near.labelled.descriptor.clone(),
            category: near.labelled.category.clone(),
            similarity: near.similarity,
        });
        evidence.extend(examples);
        if self.wording.enrichment() == Enrichment::Full {
            evidence.extend(known_around(row));
        }
        let provenance = Provenance {
            stage: self.stage.clone(),
            engine: self.engine.clone(),
            taxonomy: self.taxonomy.clone(),
            text: TextHash::of(&row.render(self.wording.enrichment())),
        };
        match answer {
            Ok(Answer { category, confidence, others }) => Prediction {
                category,
                confidence: confidence.unwrap_or(UNTOLD),
                alternatives: others
                    .into_iter()
                    .take(4)
                    .map(|(category, confidence)| Scored { category, confidence })
                    .collect(),
                evidence,
                provenance,
            },
            Err(fault) => {
                evidence.push(Evidence::Unanswered { why: fault.to_string() });
                Prediction {
                    category: Slug::uncategorized(),
                    confidence: 0.0,
                    alternatives: Vec::new(),
                    evidence,
                    provenance,
                }
            }
        }
    }
}

impl Categorizer for PromptCategorizer {
    fn engine(&self) -> &str {
        &self.engine
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        async move {
            let neighbours = self.wording.neighbours(batch).await?;
            let asked: Vec<Asked<'_>> = batch.iter().zip(&neighbours).map(|(row, near)| Asked::of(row, near)).collect();
            let (alone, shared): (Vec<_>, Vec<_>) = asked.iter().enumerate().partition(|(_, asked)| asked.goes_alone());
            let groups: Vec<Vec<(usize, &Asked<'_>)>> = shared
                .chunks(self.model.rows_per_request())
                .map(<[_]>::to_vec)
                .chain(alone.into_iter().map(|one| vec![one]))
                .collect();
            let groups: Vec<BoxFuture<'_, Vec<Placed>>> =
                groups.into_iter().map(|group| self.group(group).boxed()).collect();
            let answered: Vec<Vec<_>> = stream::iter(groups).buffer_unordered(AT_ONCE).collect().await;
            let mut answers: Vec<Placed> = answered.into_iter().flatten().collect();
            answers.sort_by_key(|(place, _)| *place);
            whole(answers.into_iter().map(|(_, answer)| answer).collect())
        }
        .boxed()
    }
}

/// All answers, or those that there are with the first error.
fn whole(answers: Vec<Result<Prediction, Arc<Error>>>) -> Result<Vec<Prediction>, Error> {
    let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err().cloned()) else {
        return Ok(answers.into_iter().filter_map(Result::ok).collect());
    };
    Err(Error::Partly { answers: answers.into_iter().map(Result::ok).collect(), source: error })
}
