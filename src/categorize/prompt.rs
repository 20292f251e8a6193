//! A chat model as a [`Categorizer`]: transactions into a prompt, answers back into predictions.
//!
//! Rows share requests; what is suspected of talking to the model is asked alone. An answer that is missing, double,
//! off the list or beside the form is asked for once more, alone; then the row has no answer and waits for a
//! person. Nothing is guessed, and nothing is joined by place.

use std::{slice, sync::Arc};

use futures::{FutureExt, future::BoxFuture};

use super::{
    Categorizer, Error, known_around, known_parts,
    wording::{self, Asked, Wording},
};
use crate::{
    domain::{
        EnrichedTransaction, Enrichment, InputHash, Prediction, Provenance, Slug, Taxonomy, Transaction,
        prediction::{Evidence, Scored, TextHash},
    },
    llm::{Answer, Ask, ChatModel, Fault},
    model::KnownWork,
};

/// Engine of what a person's rule of an account says, where no model is asked.
const ACCOUNT_RULE: &str = "account_rule";
/// How the engines of chat models begin, in what predictions name.
pub const PROMPT_ENGINE: &str = "prompt:";
/// What an answer is worth before calibration where the model doesn't tell.
const UNTOLD: f32 = 0.5;

/// What the model said of a row; one failure may be of several rows.
type Said = Result<Result<Answer, Fault>, Arc<Error>>;

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

    /// Asks for rows in groups that share a request; what was said of each row, by its place.
    async fn ask(&self, asked: &[Asked<'_>], groups: &[Vec<usize>], again: bool) -> Result<Vec<(usize, Said)>, Error> {
        let requests: Vec<Ask> =
            groups.iter().map(|group| self.wording.request(asked, group, again)).collect::<Result<_, _>>()?;
        let replies = self.model.ask_all(&requests).await;
        let said = groups.iter().zip(replies).flat_map(|(group, reply)| {
            let said: Vec<Said> = match reply {
                Ok(reply) => reply.answers.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(Arc::new(Error::Llm(error))); group.len()],
            };
            group.iter().copied().zip(said).collect::<Vec<_>>()
        });
        Ok(said.collect())
    }

    /// What the model said of every row, asked once more where it gave no answer.
    async fn said(&self, asked: &[Asked<'_>]) -> Result<Vec<Said>, Error> {
        let groups = wording::groups(asked, self.model.rows_per_request());
        let mut said: Vec<Said> = vec![Ok(Err(Fault::Missing)); asked.len()];
        for (place, of) in self.ask(asked, &groups, false).await? {
            said[place] = of;
        }
        let open = (0..asked.len())
            .filter(|&place| matches!(said[place], Ok(Err(_))))
            .map(|place| vec![place])
            .collect::<Vec<_>>();
        for (place, of) in self.ask(asked, &open, true).await? {
            said[place] = of;
        }
        Ok(said)
    }

    fn provenance(&self, row: &EnrichedTransaction) -> Provenance {
        Provenance {
            stage: self.stage.clone(),
            engine: self.engine.clone(),
            taxonomy: self.taxonomy.clone(),
            text: TextHash::of(&row.render(self.wording.enrichment())),
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
        let provenance = self.provenance(row);
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

    fn rows_at_once(&self) -> usize {
        self.model.rows_at_once()
    }

    fn of_rule(&self, row: &EnrichedTransaction, category: &Slug) -> Option<Prediction> {
        Some(Prediction {
            category: category.clone(),
            confidence: 1.0,
            alternatives: Vec::new(),
            evidence: Vec::new(),
            provenance: Provenance { engine: ACCOUNT_RULE.to_owned(), ..self.provenance(row) },
        })
    }

    /// None where labelled transactions are looked for, which are others tomorrow, or where another engine may answer.
    fn input(&self, row: &EnrichedTransaction) -> Option<InputHash> {
        if self.otherwise.is_some() {
            return None;
        }
        let shown = self.wording.shown_alone(row)?;
        let known = known_parts(row).filter(|_| self.wording.enrichment() == Enrichment::Full);
        let text = row.render(self.wording.enrichment());
        let taxonomy = self.taxonomy.clone().into_bytes();
        Some(InputHash::of([taxonomy, shown, text.into_bytes()].into_iter().chain(known)))
    }

    fn has_label_of(&self, row: &Transaction) -> bool {
        self.wording.has_label_of(row) || self.otherwise.as_ref().is_some_and(|other| other.has_label_of(row))
    }

    fn known_work(&self) -> Option<KnownWork> {
        self.otherwise.as_ref()?.known_work()
    }

    /// The model is not asked: labelled transactions are looked for, and another engine that may answer is tried.
    fn probe<'a>(&'a self, row: &'a EnrichedTransaction) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.wording.neighbours(slice::from_ref(row)).await?;
            match &self.otherwise {
                Some(otherwise) => otherwise.probe(row).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        async move {
            let neighbours = self.wording.neighbours(batch).await?;
            let asked: Vec<Asked<'_>> = batch.iter().zip(&neighbours).map(|(row, near)| Asked::of(row, near)).collect();
            let mut answers: Vec<Result<Prediction, Arc<Error>>> = (asked.iter().zip(self.said(&asked).await?))
                .map(|(asked, said)| said.map(|answer| self.prediction(asked, answer)))
                .collect();
            let is_out = |answer: &Result<_, Arc<Error>>| matches!(answer, Err(error) if error.is_outage());
            let out: Vec<usize> = (0..answers.len()).filter(|&place| is_out(&answers[place])).collect();
            if let Some(otherwise) = self.otherwise.as_ref().filter(|_| !out.is_empty()) {
                tracing::warn!(rows = out.len(), "the model can't be had: another engine answers");
                let rows: Vec<EnrichedTransaction> = out.iter().map(|&place| batch[place].clone()).collect();
                match otherwise.categorize(&rows).await {
                    Ok(others) => out.iter().zip(others).for_each(|(&place, other)| answers[place] = Ok(other)),
                    Err(error) => {
                        let error = Arc::new(error);
                        out.iter().for_each(|&place| answers[place] = Err(Arc::clone(&error)));
                    }
                }
            }
            whole(answers)
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
