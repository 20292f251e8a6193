//! Many adapters on one base encoder: its weights once in memory, one thread, and batches whose rows
//! are of different adapters.
//!
//! A low-rank difference stays beside the weights, so that a batch costs the base's matrix products
//! once, and each adapter only those of its own rows with its own factors. Adapters on weights in NF4
//! share a copy of those; one that trained every weight brings its own.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, LazyLock, Mutex, MutexGuard, Weak},
};

use rayon::prelude::*;

use super::{
    AdapterInput, AdapterModel, AdapterOutput, BaseEncoder, Encoder, Error,
    adapter::{Engine, Loaded},
    encoder::{Reader, pooled},
    facts::{AdapterFacts, Quantization},
    folder::Parts,
    guard::{Reduced, Refused},
    held,
    infer::{self, Crew, Format, Model},
    known::{Known, KnownWork, Logits, key},
    packed::Group,
    worker::Worker,
};
use crate::config::Precision;

/// Texts for any of a bank's adapters.
type Texts = Vec<(Arc<Loaded>, String)>;

/// Texts of several requests that are read together at most.
const TOGETHER: usize = 64;

/// Rows from which on their answers are worth all cores. Fewer are put together where they are asked for: the pool also
/// reads texts in `f32`, and whoever asks it waits until it has.
const SPREAD: usize = 512;

/// A handle on a base encoder that adapters are loaded onto; clones share it, and so does every
/// adapter's handle. The last one ends the thread.
#[derive(Clone)]
pub struct AdapterBank {
    worker: Worker<Texts, Vec<Logits>>,
    base: Arc<BaseEncoder>,
    reader: Arc<Reader>,
    shelf: Arc<Mutex<Shelf>>,
    precision: Precision,
    known: Arc<Mutex<Known>>,
}

/// What is loaded, as long as somebody has a handle on it.
#[derive(Default)]
struct Shelf {
    /// By the hash of their facts.
    adapters: HashMap<String, Weak<Loaded>>,
    nf4: Weak<Reader>,
    /// By format.
    reduced: [Weak<Model>; Format::ALL.len()],
}

/// Threads that compute in fewer bits, which start with the first adapter that is.
type Threads = LazyLock<Crew>;

impl AdapterBank {
    /// Reads the base encoder's weights and starts the thread.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    pub fn open(base: &BaseEncoder) -> Result<Self, Error> {
        Self::on(Arc::new(base.clone()), Arc::new(Reader::load(base)?))
    }

    /// Starts the thread on weights that an encoder has read.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn beside(encoder: &Encoder) -> Result<Self, Error> {
        Self::on(Arc::new(encoder.base().clone()), encoder.reader())
    }

    fn on(base: Arc<BaseEncoder>, reader: Arc<Reader>) -> Result<Self, Error> {
        let crew: Threads = LazyLock::new(Crew::new);
        let worker =
            Worker::start_together("adapters", TOGETHER, move |texts: &[(Arc<Loaded>, String)]| logits(&crew, texts))?;
        Ok(Self { worker, base, reader, shelf: Arc::default(), precision: Precision::F32, known: Arc::default() })
    }

    /// Keeps in memory what encoders and heads said of so many texts, and reads none of these again; without this none.
    #[must_use]
    pub fn remembering(self, most: usize) -> Self {
        Self { known: Arc::new(Mutex::new(Known::new(most))), ..self }
    }

    /// How often a text was known.
    #[must_use]
    pub fn known_work(&self) -> KnownWork {
        held(&self.known).work
    }

    /// What adapters that are loaded from now on compute in; without this `f32`.
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Reads an adapter's folder and verifies its hashes, base model and probes. A folder with the same
    /// contents as one that is loaded gives a handle on that one.
    ///
    /// # Errors
    /// When a file is missing, malformed or has another hash, the base model is another one, or a
    /// probe's answer differs from the stored one.
    pub fn load(&self, dir: &Path) -> Result<AdapterModel, Error> {
        let (facts, hash) = AdapterFacts::verified(dir, &self.base)?;
        let known = self.shelf().adapters.get(&hash).and_then(Weak::upgrade);
        let loaded = match known {
            Some(loaded) => loaded,
            None => self.shelve(self.read(dir, facts, hash)?),
        };
        Ok(AdapterModel::new(self.clone(), loaded))
    }

    /// Adapters in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelf().adapters.values().filter(|adapter| adapter.strong_count() > 0).count()
    }

    /// Whether no adapter is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One answer for each row by its own adapter, in order; their texts are read together, those that are the same once.
    ///
    /// # Errors
    /// When the thread has ended or a text can't be tokenized.
    pub async fn classify(&self, rows: Vec<(AdapterModel, AdapterInput)>) -> Result<Vec<AdapterOutput>, Error> {
        let logits = self.logits(&rows).await?;
        let answers = move || {
            let answer = |((adapter, input), logits): ((AdapterModel, AdapterInput), Logits)| {
                adapter.loaded.engine.answer(&input, &logits)
            };
            if rows.len() < SPREAD {
                rows.into_iter().zip(logits).map(answer).collect()
            } else {
                rows.into_par_iter().zip(logits).map(answer).collect()
            }
        };
        tokio::task::spawn_blocking(answers).await.map_err(|_| Error::Stopped)
    }

    /// What the encoder and the head of its adapter say of each row's text.
    async fn logits(&self, rows: &[(AdapterModel, AdapterInput)]) -> Result<Vec<Logits>, Error> {
        let keys: Vec<u128> =
            rows.iter().map(|(adapter, input)| key(&adapter.loaded.hash, adapter.format(), &input.text)).collect();
        let mut said: HashMap<u128, Option<Logits>> = HashMap::with_capacity(rows.len());
        let (mut missing, mut asked) = (Vec::new(), Vec::new());
        {
            let mut known = held(&self.known);
            for ((adapter, input), key) in rows.iter().zip(&keys) {
                said.entry(*key).or_insert_with(|| {
                    let found = known.logits(*key);
                    if found.is_none() {
                        missing.push(*key);
                        asked.push((adapter.loaded.clone(), input.text.clone()));
                    }
                    found
                });
            }
        }
        let read = missing.len();
        if !asked.is_empty() {
            let computed = self.worker.ask(asked).await?;
            let mut known = held(&self.known);
            for (key, logits) in missing.into_iter().zip(computed) {
                known.keep(key, logits.clone());
                said.insert(key, Some(logits));
            }
        }
        let mut known = held(&self.known);
        known.work.asked += rows.len() as u64;
        known.work.known += (rows.len() - read) as u64;
        drop(known);
        keys.iter().map(|key| said.get(key).cloned().flatten().ok_or(Error::Stopped)).collect()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        held(&self.shelf)
    }

    fn read(&self, dir: &Path, facts: AdapterFacts, hash: String) -> Result<Loaded, Error> {
        let reader = self.kept(facts.base.quantization);
        let Parts { facts, layout, numbers, wide } = Parts::read(dir, facts, &reader.packed)?;
        let mut engine = Engine::new(reader.clone(), (layout, numbers), wide, facts.fusion);
        engine.verify(dir, &facts, &reader)?;
        let insist = |format| {
            let reduced = self.reduced(format, &facts, &engine).map(Some);
            reduced.map_err(|reason| Error::NotIn { dir: dir.to_owned(), format, reason })
        };
        engine.reduced = match self.precision {
            Precision::F32 => None,
            Precision::Int8 => insist(Format::Int8)?,
            Precision::Bf16 => insist(Format::Bf16)?,
            Precision::Auto => {
                let mut fast = Format::ALL.into_iter().filter(|format| format.is_fast());
                fast.find_map(|format| match self.reduced(format, &facts, &engine) {
                    Ok(reduced) => Some(reduced),
                    Err(reason) => {
                        if reason == Refused::Far {
                            tracing::warn!(adapter.name = %facts.name, adapter.precision = %format, "{reason}");
                        }
                        None
                    }
                })
            }
        };
        let computed_in = engine.format();
        tracing::info!(
            adapter.name = %facts.name,
            adapter.precision = computed_in.map_or("f32", Format::name),
            adapter.instructions = computed_in.map(|_| tracing::field::display(infer::in_use())),
            "read an adapter"
        );
        Ok(Loaded { facts, hash, engine })
    }

    /// The adapter in fewer bits, if its guard and its probes allow them.
    fn reduced(&self, format: Format, facts: &AdapterFacts, engine: &Engine) -> Result<Reduced, Refused> {
        if facts.base.quantization.is_some() {
            return Err(Refused::Nf4);
        }
        let measured = facts.dev.compared(format).ok_or(Refused::Unmeasured)?;
        if !measured.holds() {
            return Err(Refused::Loses(measured));
        }
        engine.reduced(self.weights_in(format, &engine.reader)?, &facts.probes)
    }

    /// A reader's weights in fewer bits: what adapters have in common is made once.
    fn weights_in(&self, format: Format, reader: &Arc<Reader>) -> Result<Arc<Model>, Refused> {
        let made = || Model::new(&reader.packed, format).map(Arc::new).ok_or(Refused::Sizes);
        if !Arc::ptr_eq(reader, &self.reader) {
            return made();
        }
        let shared = &mut self.shelf().reduced[format as usize];
        if let Some(model) = shared.upgrade() {
            return Ok(model);
        }
        let model = made()?;
        *shared = Arc::downgrade(&model);
        Ok(model)
    }

    /// The weights as an adapter was trained on them.
    fn kept(&self, quantization: Option<Quantization>) -> Arc<Reader> {
        if quantization.is_none() {
            return self.reader.clone();
        }
        let mut shelf = self.shelf();
        shelf.nf4.upgrade().unwrap_or_else(|| {
            let made = Arc::new(self.reader.kept(quantization));
            shelf.nf4 = Arc::downgrade(&made);
            made
        })
    }

    /// Puts an adapter on the shelf, unless another caller was faster with the same.
    fn shelve(&self, loaded: Loaded) -> Arc<Loaded> {
        let mut shelf = self.shelf();
        shelf.adapters.retain(|_, adapter| adapter.strong_count() > 0);
        if let Some(first) = shelf.adapters.get(&loaded.hash).and_then(Weak::upgrade) {
            return first;
        }
        let loaded = Arc::new(loaded);
        shelf.adapters.insert(loaded.hash.clone(), Arc::downgrade(&loaded));
        loaded
    }
}

fn logits(crew: &Threads, texts: &[(Arc<Loaded>, String)]) -> Result<Vec<Logits>, Error> {
    let all: Vec<usize> = (0..texts.len()).collect();
    let engine = |at: usize| &texts[at].0.engine;
    let alike = |a: usize, b: usize| match (&engine(a).reduced, &engine(b).reduced) {
        (Some(a), Some(b)) => Arc::ptr_eq(&a.model, &b.model),
        (None, None) => Arc::ptr_eq(&engine(a).reader, &engine(b).reader),
        _ => false,
    };
    let vectors: Vec<Vec<(usize, Vec<f32>)>> = grouped(&all, alike)
        .into_par_iter()
        .map(|of_reader| read(crew, texts, &of_reader))
        .collect::<Result<_, _>>()?;
    let mut vectors: Vec<(usize, Vec<f32>)> = vectors.into_iter().flatten().collect();
    vectors.sort_unstable_by_key(|(at, _)| *at);
    Ok(vectors.into_par_iter().map(|(at, vector)| engine(at).logits(&vector).into()).collect())
}

/// The vector of each text of one reader, read by all adapters together.
fn read(crew: &Threads, texts: &[(Arc<Loaded>, String)], of_reader: &[usize]) -> Result<Vec<(usize, Vec<f32>)>, Error> {
    let adapters = grouped(of_reader, |a, b| Arc::ptr_eq(&texts[a].0, &texts[b].0));
    let places = adapters.concat();
    let own: Vec<&str> = places.iter().map(|at| texts[*at].1.as_str()).collect();
    let first = &texts[places[0]].0.engine;
    let Reader { packed, tokenizer } = &*first.reader;
    let sequences = tokenizer.encode(&own)?;
    let mut rest = sequences.as_slice();
    let of_adapter = adapters.iter().filter_map(|of_adapter| {
        let own = rest.split_off(..of_adapter.len())?;
        Some((&texts[of_adapter[0]].0.engine, own))
    });
    let vectors = match &first.reduced {
        Some(Reduced { model, .. }) => {
            let groups: Vec<infer::Group<'_>> = of_adapter
                .map(|(engine, sequences)| {
                    let adapter = engine.reduced.as_ref().and_then(|reduced| reduced.beside.as_ref());
                    infer::Group { adapter, sequences }
                })
                .collect();
            let mut vectors = Vec::new();
            crew.pooled(model, &groups, &mut vectors);
            vectors.chunks_exact(model.hidden()).map(<[f32]>::to_vec).collect()
        }
        None => {
            let groups: Vec<Group<'_>> =
                of_adapter.map(|(engine, own)| Group::new(Some(engine.learned()), own)).collect();
            pooled(packed, &groups)
        }
    };
    Ok(places.into_iter().zip(vectors).collect())
}

/// Places in groups of those that are alike, in the order of each group's first.
fn grouped(places: &[usize], alike: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &at in places {
        match groups.iter_mut().find(|group| alike(group[0], at)) {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    groups
}
