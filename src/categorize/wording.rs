//! Transactions into words: the request that a prompt stage makes of some rows.
//!
//! What it knows of a row before anything is sent: labelled transactions like it, and whether its text talks to the
//! model.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{Error, LabelledExample, StageEntry, worked};
use crate::{
    domain::{
        Direction, EnrichedTransaction, Enrichment, Money, OwnWords, Slug, Taxonomy, Transaction,
        injection::{self, Suspicion},
    },
    enrich::{
        Examples,
        examples::{LabelledText, Neighbour},
    },
    llm::Ask,
    prompt::{Example, PromptSet, Row, Similar},
};

/// Said behind the transactions when an answer could not be used.
const AGAIN: &str = "\nThe last answer could not be used. Answer with the JSON object alone: every id once, each with \
                     the name of one category of the list, letter by letter.\n";

/// Rows whose likes are looked for at a time.
const AT_ONCE: usize = 256;

/// A prompt with all that it shows beside the transactions.
pub struct Wording {
    prompt: PromptSet,
    enrichment: Enrichment,
    system: String,
    own: Arc<OwnWords>,
    schema: Arc<serde_json::Value>,
    categories: Arc<[Slug]>,
    retrieval: Option<(Examples, usize)>,
    /// The rows of the worked examples, as far as these say which.
    shown: HashSet<Worked>,
}

/// A row as a worked example tells it: text, amount, direction.
type Worked = (String, Money, Direction);

/// A row with what is known of it before it is sent.
pub(super) struct Asked<'a> {
    pub(super) row: &'a EnrichedTransaction,
    pub(super) neighbours: &'a [Neighbour],
    pub(super) suspicions: BTreeSet<Suspicion>,
}

impl Wording {
    /// A stage's: with the prompt's worked examples, or a few of `labelled` in each class where those are of
    /// other categories, and as many of `examples` retrieved as the stage says.
    ///
    /// # Errors
    /// When a template can't be filled in or the schema has no place for the categories.
    pub fn of_stage(
        entry: &StageEntry,
        prompt: PromptSet,
        taxonomy: &Taxonomy,
        labelled: &[LabelledExample],
        examples: Option<Examples>,
    ) -> Result<Self, Error> {
        let shown = worked::shown(&prompt, taxonomy, labelled);
        let retrieval = examples.filter(|_| entry.retrieve > 0).map(|found| (found, entry.retrieve));
        Self::new(prompt, taxonomy, &shown, entry.enrichment, retrieval)
    }

    /// Words, worked examples (all of the taxonomy's categories) and the answer's form put together. With
    /// `retrieval`, so many labelled transactions like it are shown with each row.
    ///
    /// # Errors
    /// When a template can't be filled in or the schema has no place for the categories.
    pub fn new(
        prompt: PromptSet,
        taxonomy: &Taxonomy,
        examples: &[Example],
        enrichment: Enrichment,
        retrieval: Option<(Examples, usize)>,
    ) -> Result<Self, Error> {
        Ok(Self {
            system: prompt.system(taxonomy.assignable(), examples)?,
            own: Arc::new(prompt.own_words(taxonomy.assignable())?),
            schema: prompt.schema(taxonomy)?,
            categories: taxonomy.assignable().iter().map(|category| category.slug.clone()).collect(),
            shown: examples.iter().filter_map(worked_row).collect(),
            prompt,
            enrichment,
            retrieval,
        })
    }

    /// The prompt's version, with what it shows beside: other worked examples are other words.
    #[must_use]
    pub fn version(&self) -> String {
        let shown = crate::domain::TextHash::of(&self.system).to_string();
        let retrieved = self.retrieval.as_ref().map_or_else(String::new, |(_, k)| format!("+{k}"));
        format!("{}-{}{retrieved}", self.prompt.version(), &shown[..8])
    }

    /// Whether a row stands among the worked examples, with what it is.
    #[must_use]
    pub fn shows(&self, row: &Transaction) -> bool {
        self.shown.contains(&(row.descriptor.raw().to_owned(), row.amount, row.direction))
    }

    /// Whether a request about a row may show its own label.
    pub(super) fn has_label_of(&self, row: &Transaction) -> bool {
        self.retrieval.is_some() || self.shows(row)
    }

    /// What the rows are shown with.
    #[must_use]
    pub fn enrichment(&self) -> Enrichment {
        self.enrichment
    }

    /// The requests for these rows, as a model gets them that is shown so many in one.
    ///
    /// # Errors
    /// When the template can't be filled in, or labelled transactions can't be looked for.
    pub async fn asks(&self, rows: &[EnrichedTransaction], rows_per_request: usize) -> Result<Vec<Ask>, Error> {
        let neighbours = self.neighbours(rows).await?;
        let asked: Vec<Asked<'_>> = rows.iter().zip(&neighbours).map(|(row, near)| Asked::of(row, near)).collect();
        groups(&asked, rows_per_request).iter().map(|group| self.request(&asked, group, false)).collect()
    }

    /// The request for each labelled row alone, as if its own label were not there to be retrieved: what a model
    /// learns from that is to be asked so.
    ///
    /// # Errors
    /// When the template can't be filled in, or labelled transactions can't be looked for.
    pub async fn lessons(&self, labelled: &[LabelledExample]) -> Result<Vec<Ask>, Error> {
        let text = |of: &LabelledExample| LabelledText::of(&of.transaction.transaction, &of.category);
        let times = labelled.iter().map(text).fold(HashMap::<_, usize>::new(), |mut times, text| {
            *times.entry(text).or_default() += 1;
            times
        });
        let mut asks = Vec::with_capacity(labelled.len());
        for some in labelled.chunks(AT_ONCE) {
            let rows: Vec<EnrichedTransaction> = some.iter().map(|of| of.transaction.clone()).collect();
            let neighbours = match &self.retrieval {
                Some((examples, k)) => {
                    let mut near = examples.near(&rows, k + 1).await?;
                    for (near, own) in near.iter_mut().zip(some.iter().map(text)) {
                        near.retain(|near| near.labelled != own || times[&own] > 1);
                        near.truncate(*k);
                    }
                    near
                }
                None => vec![Vec::new(); rows.len()],
            };
            for (row, near) in rows.iter().zip(&neighbours) {
                asks.push(self.request(&[Asked::of(row, near)], &[0], false)?);
            }
        }
        Ok(asks)
    }

    /// What a request says of a row, whatever else is in it; `None` where labelled transactions are shown with it.
    pub(super) fn shown_alone(&self, row: &EnrichedTransaction) -> Option<Vec<u8>> {
        if self.retrieval.is_some() {
            return None;
        }
        serde_json::to_vec(&Row::of(1, row, self.enrichment, Vec::new())).ok()
    }

    pub(super) async fn neighbours(&self, rows: &[EnrichedTransaction]) -> Result<Vec<Vec<Neighbour>>, Error> {
        match &self.retrieval {
            Some((examples, k)) => Ok(examples.near(rows, *k).await?),
            None => Ok(vec![Vec::new(); rows.len()]),
        }
    }

    /// The request for some of the rows, by their places.
    pub(super) fn request(&self, asked: &[Asked<'_>], group: &[usize], again: bool) -> Result<Ask, Error> {
        let similar = |asked: &Asked<'_>| {
            let shown = |near: &Neighbour| Similar {
                descriptor: near.labelled.descriptor.clone(),
                category: near.labelled.category.clone(),
            };
            asked.neighbours.iter().map(shown).collect()
        };
        let rows: Vec<Row> = (1..)
            .zip(group.iter().map(|&place| &asked[place]))
            .map(|(number, asked)| Row::of(number, asked.row, self.enrichment, similar(asked)))
            .collect();
        let mut user = self.prompt.user(&rows)?;
        if again {
            user.push_str(AGAIN);
        }
        Ok(Ask {
            system: self.system.clone(),
            user,
            own: Arc::clone(&self.own),
            ids: rows.into_iter().map(|row| row.id).collect(),
            categories: Arc::clone(&self.categories),
            schema: Arc::clone(&self.schema),
        })
    }
}

/// `None` where an example is no transaction.
fn worked_row(example: &Example) -> Option<Worked> {
    let amount = Money::new(example.amount, example.currency).ok()?;
    Some((example.descriptor.clone(), amount, example.direction))
}

/// Which rows share a request, by their places: so many at most, and what is suspected of talking to the model alone.
pub(super) fn groups(asked: &[Asked<'_>], rows_per_request: usize) -> Vec<Vec<usize>> {
    let (alone, shared): (Vec<usize>, Vec<usize>) =
        (0..asked.len()).partition(|&place| !asked[place].suspicions.is_empty());
    let alone = alone.into_iter().map(|place| vec![place]);
    shared.chunks(rows_per_request).map(<[_]>::to_vec).chain(alone).collect()
}

impl<'a> Asked<'a> {
    pub(super) fn of(row: &'a EnrichedTransaction, neighbours: &'a [Neighbour]) -> Self {
        Self { row, neighbours, suspicions: injection::suspicions(row.transaction.descriptor.raw()) }
    }
}
