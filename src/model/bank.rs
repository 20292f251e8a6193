//! Many adapters on one base encoder: its weights once in memory, one thread, and batches whose rows
//! are of different adapters.
//!
//! A low-rank difference stays beside the weights, so that a batch costs the base's matrix products
//! once, and each adapter only those of its own rows with its own factors. Adapters on weights in NF4
//! share a copy of those; one that trained every weight brings its own.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};

use rayon::prelude::*;

use super::{
    AdapterInput, AdapterModel, AdapterOutput, BaseEncoder, Encoder, Error,
    adapter::{Engine, Loaded},
    encoder::{Reader, pooled},
    facts::{AdapterFacts, Quantization},
    folder::Parts,
    guard::{InBytes, NotInInt8},
    infer::{self, Crew, Model},
    known::{Known, KnownWork, key},
    packed::Group,
    worker::Worker,
};
use crate::config::Precision;

/// Rows of any of a bank's adapters.
type Rows = Vec<(Arc<Loaded>, AdapterInput)>;

/// Rows of several requests that are computed together at most.
const TOGETHER: usize = 64;

/// A handle on a base encoder that adapters are loaded onto; clones share it, and so does every
/// adapter's handle. The last one ends the thread.
#[derive(Clone)]
pub struct AdapterBank {
    worker: Worker<Rows, Vec<AdapterOutput>>,
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
    int8: Weak<Model>,
}

/// Threads that compute in bytes, which start with the first adapter that is.
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
        let worker = Worker::start_together("adapters", TOGETHER, move |rows: &[(Arc<Loaded>, AdapterInput)]| {
            classify(&crew, rows)
        })?;
        Ok(Self { worker, base, reader, shelf: Arc::default(), precision: Precision::F32, known: Arc::default() })
    }

    /// Keeps so many answers in memory and gives them again to the same question; without this none.
    #[must_use]
    pub fn remembering(self, most: usize) -> Self {
        Self { known: Arc::new(Mutex::new(Known::new(most))), ..self }
    }

    /// How often an answer was known.
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

    /// One answer for each row by its own adapter, in order; the rows are computed together.
    ///
    /// # Errors
    /// When the thread has ended or a text can't be tokenized.
    pub async fn classify(&self, rows: Vec<(AdapterModel, AdapterInput)>) -> Result<Vec<AdapterOutput>, Error> {
        let (mut answers, mut asked, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (adapter, input) in rows {
            let key = key(&adapter.loaded.hash, adapter.is_int8(), &input);
            let known = held(&self.known).answer(key);
            if known.is_none() {
                missing.push((answers.len(), key));
                asked.push((adapter.loaded, input));
            }
            answers.push(known.unwrap_or_default());
        }
        if !asked.is_empty() {
            let computed = self.worker.ask(asked).await?;
            let mut known = held(&self.known);
            for ((place, key), answer) in missing.into_iter().zip(computed) {
                known.keep(key, answer.clone());
                answers[place] = answer;
            }
        }
        Ok(answers)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        held(&self.shelf)
    }

    fn read(&self, dir: &Path, facts: AdapterFacts, hash: String) -> Result<Loaded, Error> {
        let reader = self.kept(facts.base.quantization);
        let Parts { facts, layout, numbers, wide } = Parts::read(dir, facts, &reader.packed)?;
        let mut engine = Engine::new(reader.clone(), (layout, numbers), wide, facts.fusion);
        engine.verify(dir, &facts, &reader)?;
        if self.precision != Precision::F32 {
            match self.weights_in_int8(&facts, &engine) {
                Ok(model) => engine.in_int8(model),
                Err(reason) if self.precision == Precision::Int8 => {
                    return Err(Error::NotInInt8 { dir: dir.to_owned(), reason });
                }
                Err(_) => {}
            }
        }
        Ok(Loaded { facts, hash, engine })
    }

    /// The weights that an adapter reads with, in bytes, if its guard allows them.
    fn weights_in_int8(&self, facts: &AdapterFacts, engine: &Engine) -> Result<Arc<Model>, NotInInt8> {
        if facts.base.quantization.is_some() {
            return Err(NotInInt8::Nf4);
        }
        let measured = facts.dev.int8.ok_or(NotInInt8::Unmeasured)?;
        if !measured.holds() {
            return Err(NotInInt8::Loses(measured));
        }
        let made = || Model::new(&engine.reader.packed).map(Arc::new).ok_or(NotInInt8::Sizes);
        if !Arc::ptr_eq(&engine.reader, &self.reader) {
            return made();
        }
        let mut shelf = self.shelf();
        if let Some(model) = shelf.int8.upgrade() {
            return Ok(model);
        }
        let model = made()?;
        shelf.int8 = Arc::downgrade(&model);
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

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn classify(crew: &Threads, rows: &[(Arc<Loaded>, AdapterInput)]) -> Result<Vec<AdapterOutput>, Error> {
    let all: Vec<usize> = (0..rows.len()).collect();
    let engine = |at: usize| &rows[at].0.engine;
    let alike = |a: usize, b: usize| match (&engine(a).bytes, &engine(b).bytes) {
        (Some(a), Some(b)) => Arc::ptr_eq(&a.model, &b.model),
        (None, None) => Arc::ptr_eq(&engine(a).reader, &engine(b).reader),
        _ => false,
    };
    let vectors: Vec<Vec<(usize, Vec<f32>)>> =
        grouped(&all, alike).into_par_iter().map(|of_reader| read(crew, rows, &of_reader)).collect::<Result<_, _>>()?;
    let mut vectors: Vec<(usize, Vec<f32>)> = vectors.into_iter().flatten().collect();
    vectors.sort_unstable_by_key(|(at, _)| *at);
    let answer = |(at, vector): (usize, Vec<f32>)| engine(at).answer(&rows[at].1, &engine(at).logits(&vector));
    Ok(vectors.into_par_iter().map(answer).collect())
}

/// The vector of each row of one reader, read by all adapters together.
fn read(
    crew: &Threads,
    rows: &[(Arc<Loaded>, AdapterInput)],
    of_reader: &[usize],
) -> Result<Vec<(usize, Vec<f32>)>, Error> {
    let adapters = grouped(of_reader, |a, b| Arc::ptr_eq(&rows[a].0, &rows[b].0));
    let places = adapters.concat();
    let texts: Vec<&str> = places.iter().map(|at| rows[*at].1.text.as_str()).collect();
    let first = &rows[places[0]].0.engine;
    let Reader { packed, tokenizer } = &*first.reader;
    let sequences = tokenizer.encode(&texts)?;
    let mut rest = sequences.as_slice();
    let of_adapter = adapters.iter().filter_map(|of_adapter| {
        let own = rest.split_off(..of_adapter.len())?;
        Some((&rows[of_adapter[0]].0.engine, own))
    });
    let vectors = match &first.bytes {
        Some(InBytes { model, .. }) => {
            let groups: Vec<infer::Group<'_>> = of_adapter
                .map(|(engine, sequences)| {
                    let adapter = engine.bytes.as_ref().and_then(|bytes| bytes.beside.as_ref());
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
