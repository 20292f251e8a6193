//! What the experiments on one data set share: its pool without labels, dev in two halves, and the ways to
//! buy labels of the pool and to learn from them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use super::{Error, page::count};
use crate::{
    curate::{
        offers::{Covered, offers},
        opinions,
        select::{self, Evidence},
        set,
    },
    domain::{EnrichedTransaction, Enrichment, Taxonomy, Transaction, TransactionId},
    evaluate::{
        dataset::{self, Dataset, Row},
        market::Market,
        metrics::Scored,
        paired::{self, Difference, Pair},
        pool::Pool,
        timelines::Timelines,
    },
    model::{
        AdapterInput, AdapterModel, BaseEncoder, Encoder, Labelled, Naming, argmax,
        folds::{self, Aids},
        train::{Progress, TrainOptions, TrainRows, train},
    },
};

/// Share of a budget that is selected before anything is learned.
const FROM_NOTHING: f64 = 0.75;

/// A data set as experiments see it: the encoder reads descriptor, amount and direction.
pub struct Ground {
    /// The folder.
    pub dataset: Dataset,
    /// The pool without labels.
    pub pool: Pool,
    /// Every text of the pool once.
    pub texts: Vec<AdapterInput>,
    /// The half of dev that chooses the pass and fits fusion and temperature.
    pub fit: Vec<Labelled>,
    /// The other half: figures are of these rows. No merchant has rows in both.
    pub report: Vec<Labelled>,
    /// The encoder.
    pub base: BaseEncoder,
    encoder: Encoder,
    /// A unit vector by the base encoder for each text of the pool.
    vectors: HashMap<String, Vec<f32>>,
}

impl Ground {
    /// Reads pool and dev, and opens no other file.
    ///
    /// # Errors
    /// When one can't be read, or the encoder isn't here.
    pub async fn read(dir: &Path, base: BaseEncoder) -> Result<Self, Error> {
        let dataset = Dataset::open(dir)?;
        let pool = Pool::read(&dataset, || {})?;
        let texts = set::texts(&pool.rows);
        let encoder = Encoder::load(base.clone())?;
        let vectors = HashMap::new();
        let mut ground = Self { dataset, pool, texts, fit: Vec::new(), report: Vec::new(), base, encoder, vectors };
        let texts: BTreeSet<String> =
            ground.pool.rows.iter().map(|row| row.descriptor.merchant().to_lowercase()).collect();
        let texts: Vec<String> = texts.into_iter().collect();
        ground.vectors = texts.iter().cloned().zip(ground.encoder.embed(texts.clone()).await?).collect();
        for row in ground.dataset.rows(ground.dataset.file("dev")?)? {
            let row = row?;
            let fits = half(row.transaction.descriptor.key().as_str());
            let labelled = ground.labelled(&ground.pool.timelines, &row, 1.0);
            if fits { ground.fit.push(labelled) } else { ground.report.push(labelled) }
        }
        Ok(ground)
    }

    /// The categories.
    #[must_use]
    pub fn taxonomy(&self) -> &Arc<Taxonomy> {
        self.dataset.taxonomy()
    }

    /// The data, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let folder = self.dataset.dir().canonicalize().unwrap_or_else(|_| self.dataset.dir().to_owned());
        format!(
            "Data set `{}`, {} categories. Labels are of its pool ({} rows). Figures are of {} rows of its dev; the other \
             {} choose the pass and fit fusion and temperature, and no merchant key has rows on both sides. No test file \
             is opened.",
            folder.file_name().unwrap_or_default().to_string_lossy(),
            self.classes(),
            count(self.pool.rows.len()),
            count(self.report.len()),
            count(self.fit.len()),
        )
    }

    /// How many categories.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.taxonomy().assignable().len()
    }

    /// A category's slug.
    #[must_use]
    pub fn slug(&self, class: usize) -> &str {
        self.taxonomy().assignable()[class].slug.as_str()
    }

    /// A row's category, as a place among the assignable ones.
    #[must_use]
    pub fn class(&self, row: &Row) -> usize {
        self.taxonomy().index_of(&row.category).unwrap_or_default()
    }

    /// Unit vectors of any rows by the base encoder.
    ///
    /// # Errors
    /// When the encoder fails.
    pub async fn embed<'a>(&self, rows: impl Iterator<Item = &'a Transaction>) -> Result<Vec<Vec<f32>>, Error> {
        Ok(self.encoder.embed(rows.map(|row| row.descriptor.merchant().to_lowercase()).collect()).await?)
    }

    /// A row with its label, as a model reads it.
    #[must_use]
    pub fn labelled(&self, timelines: &Timelines, row: &Row, weight: f32) -> Labelled {
        Labelled { input: input(timelines, &row.transaction), class: self.class(row), weight }
    }

    /// Buys the labels of rows of the pool, each with the weight of the traffic that it stands for.
    ///
    /// # Errors
    /// When the pool can't be read.
    pub fn buy(&self, places: &[usize]) -> Result<Vec<Labelled>, Error> {
        let mut places = places.to_vec();
        places.sort_unstable();
        let ids: HashSet<TransactionId> = places.iter().map(|&place| self.pool.rows[place].id.clone()).collect();
        let weights = Market::new(&self.pool.candidates).weights(&places);
        let rows = self.pool.open(&self.dataset, &ids)?;
        Ok(rows.iter().zip(weights).map(|(row, weight)| self.labelled(&self.pool.timelines, row, weight)).collect())
    }

    /// A comparison with intervals of two engines' answers on the reporting half of dev.
    #[must_use]
    pub fn difference(&self, ours: &[Scored], theirs: &[Scored], seed: u64) -> Option<Difference> {
        let pairs: Vec<Pair<'_>> = self
            .report
            .iter()
            .zip(ours.iter().zip(theirs))
            .map(|(row, (ours, theirs))| Pair { ours: ours.correct(), theirs: theirs.correct(), key: &row.input.key })
            .collect();
        paired::compare(&pairs, seed)
    }

    /// The pool's labels as numbers, in its order: only for a [`Vault`](crate::evaluate::labels::Vault), which
    /// keeps them shut.
    ///
    /// # Errors
    /// When the pool can't be read.
    pub(super) fn shut(&self) -> Result<Vec<u16>, Error> {
        let place = |row: Row| self.taxonomy().index_of(&row.category).and_then(|place| u16::try_from(place).ok());
        let rows = self.dataset.rows(self.dataset.file("pool")?)?;
        Ok(rows.map(|row| Ok(place(row?).unwrap_or(u16::MAX))).collect::<Result<_, dataset::Error>>()?)
    }

    /// Places of rows of the pool, each as likely as any other.
    #[must_use]
    pub fn at_random(&self, budget: usize, seed: u64) -> Vec<usize> {
        let rows = self.pool.rows.len();
        index::sample(&mut ChaCha8Rng::seed_from_u64(seed), rows, budget.min(rows)).into_vec()
    }

    /// Places of the rows that [`select`] picks: three quarters of the budget from nothing, the rest
    /// with what the wide part learned from those. No label beyond the budget is opened.
    ///
    /// # Errors
    /// When the pool can't be read.
    pub fn selected(&self, budget: usize, seed: u64) -> Result<Vec<usize>, Error> {
        let market = Market::new(&self.pool.candidates);
        let cold = offers(&market, &Covered::default(), |_| true);
        let vectors = self.vectors(cold.iter().map(|offer| offer.row));
        let picks = select::select(
            &cold,
            Evidence { vectors: &vectors, ..Evidence::default() },
            (budget as f64 * FROM_NOTHING) as usize,
        );
        let mut places: Vec<usize> = picks.iter().map(|pick| pick.row).collect();
        let labelled = self.buy(&places)?;
        places.sort_unstable();
        let bought = self.vectors(places.iter().copied());
        let covered = Covered::by(places.iter().map(|&place| &self.pool.candidates[place]));
        let warm = offers(&market, &covered, |_| true);
        let asked: Vec<AdapterInput> =
            warm.iter().map(|offer| input(&self.pool.timelines, &self.pool.rows[offer.row])).collect();
        let vectors = self.vectors(warm.iter().map(|offer| offer.row));
        let wide = self.wide(&labelled, &asked, seed);
        let others = [opinions::memory(&labelled, &asked), opinions::nearest(&labelled, &bought, &vectors)];
        let opinions = opinions::opinions(&wide, &others);
        let evidence = Evidence { vectors: &vectors, labelled: &bought, opinions: &opinions };
        places.extend(select::select(&warm, evidence, budget - places.len()).iter().map(|pick| pick.row));
        Ok(places)
    }

    /// Probabilities by a wide part trained on these rows.
    #[must_use]
    pub fn wide(&self, labelled: &[Labelled], asked: &[AdapterInput], seed: u64) -> Vec<Vec<f32>> {
        let asked: Vec<&AdapterInput> = asked.iter().collect();
        let aids = Aids { terms: &[], texts: &self.texts };
        folds::after_training(labelled, aids, &asked, self.classes(), seed)
    }

    /// Unit vectors of rows of the pool by the base encoder.
    #[must_use]
    pub fn vectors(&self, places: impl IntoIterator<Item = usize>) -> Vec<Vec<f32>> {
        let text = |place: usize| self.pool.rows[place].descriptor.merchant().to_lowercase();
        places.into_iter().map(|place| self.vectors.get(&text(place)).cloned().unwrap_or_default()).collect()
    }

    /// Trains an adapter with all its parts, and asks it, as it would serve, about the half of dev that it did
    /// not see.
    ///
    /// # Errors
    /// When training fails or the adapter can't be written and read back.
    pub async fn measure(
        &self,
        rows: Vec<Labelled>,
        options: &TrainOptions,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<Scored>, Error> {
        let known: HashSet<String> = rows.iter().map(|row| row.input.key.clone()).collect();
        let rows = TrainRows { rows, terms: Vec::new(), dev: self.fit.clone(), texts: self.texts.clone() };
        let folder = tempfile::tempdir().map_err(Error::Temporary)?;
        let dir = folder.path().join("adapter");
        tokio::task::block_in_place(|| -> Result<(), Error> {
            let trained = train(&self.base, &rows, self.classes(), options, progress, &AtomicBool::new(false))?;
            trained.save(&dir, self.naming())?;
            Ok(())
        })?;
        let adapter = AdapterModel::load(&dir, &self.base)?;
        let outputs = adapter.classify(self.report.iter().map(|row| row.input.clone()).collect()).await?;
        let scored = |(row, output): (&Labelled, Vec<f32>)| {
            let answer = argmax(&output);
            let known = known.contains(&row.input.key);
            Scored { gold: row.class, answer, confidence: output[answer], known, knows_key: known }
        };
        Ok(self.report.iter().zip(outputs.into_iter().map(|output| output.probabilities)).map(scored).collect())
    }

    fn naming(&self) -> Naming {
        Naming {
            data: "an experiment".to_owned(),
            taxonomy: self.taxonomy().version().to_owned(),
            enrichment: Enrichment::None,
            categories: self.taxonomy().assignable().iter().map(|category| category.slug.to_string()).collect(),
            sources: BTreeMap::new(),
            effort: None,
        }
    }
}

/// Which half of dev a key's rows fall into: by its hash, so that no merchant stands on both sides.
#[must_use]
pub fn half(key: &str) -> bool {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes()) & 1 == 0
}

/// What an adapter reads of a row; no merchant is looked up, as it doesn't read that.
#[must_use]
pub fn input(timelines: &Timelines, row: &Transaction) -> AdapterInput {
    let enriched = EnrichedTransaction { transaction: row.clone(), merchant: None, history: timelines.history(row) };
    AdapterInput::of(&enriched, Enrichment::None)
}
