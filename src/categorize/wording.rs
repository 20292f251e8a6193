//! Transactions into words: the request that a prompt stage makes of some rows.
//!
//! What it knows of a row before anything is sent: labelled transactions like it, and whether its text talks to the
//! model.

use std::{collections::BTreeSet, sync::Arc};

use super::Error;
use crate::{
    domain::{
        EnrichedTransaction, Enrichment, Slug, Taxonomy,
        injection::{self, Suspicion},
    },
    enrich::{Examples, examples::Neighbour},
    llm::Ask,
    prompt::{Example, PromptSet, Row, Similar},
};

/// Said behind the transactions when an answer could not be used.
const AGAIN: &str = "\nThe last answer could not be used. Answer with the JSON object alone: every id once, each with \
                     the name of one category of the list, letter by letter.\n";

/// A prompt with all that it shows beside the transactions.
pub struct Wording {
    prompt: PromptSet,
    enrichment: Enrichment,
    system: String,
    schema: Arc<serde_json::Value>,
    categories: Arc<[Slug]>,
    retrieval: Option<(Examples, usize)>,
}

/// A row with what is known of it before it is sent.
pub(super) struct Asked<'a> {
    pub(super) row: &'a EnrichedTransaction,
    pub(super) neighbours: &'a [Neighbour],
    pub(super) suspicions: BTreeSet<Suspicion>,
}

impl Wording {
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
            schema: prompt.schema(taxonomy)?,
            categories: taxonomy.assignable().iter().map(|category| category.slug.clone()).collect(),
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

    /// What the rows are shown with.
    #[must_use]
    pub fn enrichment(&self) -> Enrichment {
        self.enrichment
    }

    /// The request for these rows, as the model gets it.
    ///
    /// # Errors
    /// When the template can't be filled in, or labelled transactions can't be looked for.
    pub async fn ask(&self, rows: &[EnrichedTransaction]) -> Result<Ask, Error> {
        let neighbours = self.neighbours(rows).await?;
        let asked: Vec<Asked<'_>> = rows.iter().zip(&neighbours).map(|(row, near)| Asked::of(row, near)).collect();
        self.request(&asked.iter().collect::<Vec<_>>(), false)
    }

    pub(super) async fn neighbours(&self, rows: &[EnrichedTransaction]) -> Result<Vec<Vec<Neighbour>>, Error> {
        match &self.retrieval {
            Some((examples, k)) => Ok(examples.near(rows, *k).await?),
            None => Ok(vec![Vec::new(); rows.len()]),
        }
    }

    pub(super) fn request(&self, asked: &[&Asked<'_>], again: bool) -> Result<Ask, Error> {
        let similar = |asked: &Asked<'_>| {
            let shown = |near: &Neighbour| Similar {
                descriptor: near.labelled.descriptor.clone(),
                category: near.labelled.category.clone(),
            };
            asked.neighbours.iter().map(shown).collect()
        };
        let rows: Vec<Row> = (1..)
            .zip(asked)
            .map(|(number, asked)| Row::of(number, asked.row, self.enrichment, similar(asked)))
            .collect();
        let mut user = self.prompt.user(&rows)?;
        if again {
            user.push_str(AGAIN);
        }
        Ok(Ask {
            system: self.system.clone(),
            user,
            ids: rows.into_iter().map(|row| row.id).collect(),
            categories: Arc::clone(&self.categories),
            schema: Arc::clone(&self.schema),
        })
    }
}

impl<'a> Asked<'a> {
    pub(super) fn of(row: &'a EnrichedTransaction, neighbours: &'a [Neighbour]) -> Self {
        Self { row, neighbours, suspicions: injection::suspicions(row.transaction.descriptor.raw()) }
    }

    /// A label of a suspicious text is shown beside the row: the row is then as suspect as that.
    pub(super) fn goes_alone(&self) -> bool {
        !self.suspicions.is_empty()
            || self.neighbours.iter().any(|near| !injection::suspicions(&near.labelled.descriptor).is_empty())
    }
}
