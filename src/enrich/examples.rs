//! Labelled transactions like the one at hand, found by the embedding of their statement text.
//!
//! From a fixed set, or from the store: then a label counts from the next call on, whoever gave it and wherever. Texts
//! that talk to a model are never found: whoever labelled one need not have read it.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::Error;
use crate::{
    domain::{Descriptor, Direction, EnrichedTransaction, Slug, Transaction, injection},
    model::{Encoder, encoder::Vectors},
    store::Store,
};

/// Of the store's labels, the newest so many are kept at hand.
pub const MOST: u32 = 20_000;
/// Labels are numbered when they are given and seen when they are committed: so many of the last ones are looked
/// for again.
const OVERLAP: i64 = 100;

/// A labelled statement text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LabelledText {
    /// The text, as it stands.
    pub descriptor: String,
    /// Which way the money went.
    pub direction: Direction,
    /// What a person called it.
    pub category: Slug,
}

impl LabelledText {
    /// A transaction's text under the category that it was given.
    #[must_use]
    pub fn of(transaction: &Transaction, category: &Slug) -> Self {
        Self {
            descriptor: transaction.descriptor.raw().to_owned(),
            direction: transaction.direction,
            category: category.clone(),
        }
    }
}

/// A labelled text like the one asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Which.
    pub labelled: LabelledText,
    /// Cosine of the angle between the two embeddings, in `[-1, 1]`.
    pub similarity: f32,
}

/// Labelled texts to look among. Clones share them.
#[derive(Clone)]
pub struct Examples {
    encoder: Encoder,
    known: Arc<ArcSwap<Known>>,
    /// Where new labels come from, and the lock of whoever fetches them.
    source: Option<(Store, Arc<Mutex<()>>)>,
}

/// What is known at a time.
#[derive(Debug, Clone, Default)]
struct Known {
    texts: Vec<LabelledText>,
    /// How late each was said last: a place in the order of labels.
    said: Vec<i64>,
    places: HashMap<LabelledText, usize>,
    embedded: Vec<Vec<f32>>,
    vectors: Vectors,
    last: i64,
    /// Which labels had gone then: [`Store::withdrawn_labels`].
    withdrawn: i64,
}

impl Examples {
    /// A fixed set.
    ///
    /// # Errors
    /// When the encoder fails.
    pub async fn fixed(encoder: Encoder, labelled: impl IntoIterator<Item = LabelledText>) -> Result<Self, Error> {
        let said = (1..).zip(labelled).filter(|(_, text)| !injection::talks(&text.descriptor)).collect();
        let known = Known::default().with(said, &encoder).await?;
        Ok(Self { encoder, known: Arc::new(ArcSwap::from_pointee(known)), source: None })
    }

    /// The store's labels, as they come.
    ///
    /// # Errors
    /// When the database or the encoder fails.
    pub async fn live(encoder: Encoder, store: Store) -> Result<Self, Error> {
        let known = Arc::new(ArcSwap::from_pointee(Known::default()));
        let examples = Self { encoder, known, source: Some((store, Arc::default())) };
        examples.refresh().await?;
        Ok(examples)
    }

    /// For each row the `k` most alike labelled texts of its direction, most alike first; of equals the one that
    /// was said last.
    ///
    /// # Errors
    /// When the database or the encoder fails.
    pub async fn near(&self, rows: &[EnrichedTransaction], k: usize) -> Result<Vec<Vec<Neighbour>>, Error> {
        self.refresh().await?;
        let known = self.known.load_full();
        let texts = rows.iter().map(|row| key(&row.transaction.descriptor)).collect();
        let similarities = known.vectors.similarities(&self.encoder.embed(texts).await?);
        Ok(rows.iter().zip(similarities).map(|(row, of)| known.nearest(row.transaction.direction, &of, k)).collect())
    }

    /// Takes in the labels that came since the last look.
    async fn refresh(&self) -> Result<(), Error> {
        let Some((store, lock)) = &self.source else { return Ok(()) };
        let _one_at_a_time = lock.lock().await;
        let known = self.known.load_full();
        let withdrawn = store.withdrawn_labels().await?;
        let from = if withdrawn == known.withdrawn { known.last - OVERLAP } else { 0 };
        let said = store.labels_after(from, MOST).await?.into_iter();
        let said: Vec<(i64, LabelledText)> = said
            .map(|(number, descriptor, direction, category)| (number, LabelledText { descriptor, direction, category }))
            .collect();
        if withdrawn != known.withdrawn {
            let standing = known.standing(&said, withdrawn);
            let new = said.into_iter().filter(|(number, text)| standing.lacks(*number, text)).collect();
            self.known.store(Arc::new(standing.with(new, &self.encoder).await?));
            return Ok(());
        }
        let new: Vec<(i64, LabelledText)> =
            said.into_iter().filter(|(number, text)| known.lacks(*number, text)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.known.store(Arc::new(Known::clone(&known).with(new, &self.encoder).await?));
        Ok(())
    }
}

impl Known {
    fn lacks(&self, number: i64, text: &LabelledText) -> bool {
        match self.places.get(text) {
            Some(&place) => self.said[place] < number,
            None => !injection::talks(&text.descriptor),
        }
    }

    /// Those of the texts at hand that are still said to be what they were.
    fn standing(&self, said: &[(i64, LabelledText)], withdrawn: i64) -> Self {
        let mut kept = Self { last: self.last, withdrawn, ..Self::default() };
        for (number, text) in said {
            if let Some(&place) = kept.places.get(text) {
                kept.said[place] = *number;
            } else if let Some(&before) = self.places.get(text) {
                kept.places.insert(text.clone(), kept.texts.len());
                kept.texts.push(text.clone());
                kept.said.push(*number);
                kept.embedded.push(self.embedded[before].clone());
            }
        }
        kept
    }

    async fn with(mut self, said: Vec<(i64, LabelledText)>, encoder: &Encoder) -> Result<Self, Error> {
        let mut new = Vec::new();
        for (number, text) in said {
            self.last = self.last.max(number);
            match self.places.get(&text) {
                Some(&place) => self.said[place] = self.said[place].max(number),
                None => {
                    // A text that no descriptor can be made of has nothing to be compared by.
                    let Ok(descriptor) = Descriptor::parse(&text.descriptor) else { continue };
                    new.push(key(&descriptor));
                    self.places.insert(text.clone(), self.texts.len());
                    self.texts.push(text);
                    self.said.push(number);
                }
            }
        }
        if !new.is_empty() {
            self.embedded.extend(encoder.embed(new).await?);
        }
        self.vectors = Vectors::new(&self.embedded);
        Ok(self)
    }

    fn nearest(&self, direction: Direction, similarities: &[f32], k: usize) -> Vec<Neighbour> {
        let mut places: Vec<usize> =
            (0..similarities.len()).filter(|&place| self.texts[place].direction == direction).collect();
        let closer = |a: &usize, b: &usize| {
            similarities[*b].total_cmp(&similarities[*a]).then(self.said[*b].cmp(&self.said[*a]))
        };
        if places.len() > k {
            places.select_nth_unstable_by(k, closer);
            places.truncate(k);
        }
        places.sort_by(closer);
        let neighbour =
            |place: usize| Neighbour { labelled: self.texts[place].clone(), similarity: similarities[place] };
        places.into_iter().map(neighbour).collect()
    }
}

fn key(descriptor: &Descriptor) -> String {
    descriptor.merchant().to_lowercase()
}
