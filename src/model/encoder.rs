//! The base encoder as a service: texts in, unit vectors out.
//!
//! Batches are of like length and computed on all cores; the answers come in the order of the texts.

use std::{cmp::Reverse, sync::Arc};

use rayon::prelude::*;

use super::{
    BaseEncoder, Error,
    bert::Config,
    facts::Quantization,
    kernel::{Into, Mat, product},
    packed::{Group, Packed},
    tokens::Tokenizer,
    worker::Worker,
};

/// Sequences computed together on one core.
const BATCH: usize = 16;

/// A handle on the encoder's thread; clones share it, and the last one ends it.
#[derive(Clone)]
pub struct Encoder {
    worker: Worker<Vec<String>, Vec<Vec<f32>>>,
    reader: Arc<Reader>,
    base: Arc<BaseEncoder>,
}

impl Encoder {
    /// Reads the weights and starts the thread.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    pub fn load(base: BaseEncoder) -> Result<Self, Error> {
        let reader = Arc::new(Reader::load(&base)?);
        let reads = reader.clone();
        let worker = Worker::start("encoder", move |texts: Vec<String>| reads.embed(&texts))?;
        Ok(Self { worker, reader, base: Arc::new(base) })
    }

    /// Which weights these are.
    #[must_use]
    pub fn base(&self) -> &BaseEncoder {
        &self.base
    }

    /// Its weights, for others that compute with them.
    pub(super) fn reader(&self) -> Arc<Reader> {
        self.reader.clone()
    }

    /// One vector of unit length for each text, in order: the mean over its tokens of the last layer.
    ///
    /// # Errors
    /// When the thread has ended or a text can't be tokenized.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, Error> {
        self.worker.ask(texts).await
    }
}

/// Vectors of unit length to compare others with.
#[derive(Debug, Clone, Default)]
pub struct Vectors {
    /// One after the other.
    values: Vec<f32>,
    length: usize,
}

impl Vectors {
    /// Lays vectors of one length side by side.
    #[must_use]
    pub fn new(vectors: &[Vec<f32>]) -> Self {
        Self { values: vectors.concat(), length: vectors.first().map_or(0, Vec::len) }
    }

    /// For each of `others` (of the same length) the cosines of its angles to all vectors, in
    /// `[-1, 1]`, computed on all cores.
    #[must_use]
    pub fn similarities(&self, others: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let count = self.values.len().checked_div(self.length).unwrap_or(0);
        let all = Mat::new(&self.values, count, self.length).t();
        others
            .par_chunks(BATCH)
            .flat_map_iter(|batch| {
                let queries = batch.concat();
                let mut cosines = vec![0.0; batch.len() * count];
                product(&mut cosines, count, Into::Empty, 1.0, Mat::new(&queries, batch.len(), self.length), all);
                (0..batch.len()).map(|at| cosines[at * count..(at + 1) * count].to_vec()).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The weights of an encoder and the tokenizer that they were trained with.
pub(super) struct Reader {
    pub(super) packed: Packed,
    pub(super) tokenizer: Arc<Tokenizer>,
}

impl Reader {
    pub(super) fn load(base: &BaseEncoder) -> Result<Self, Error> {
        let config = Config::load(&base.dir)?;
        let tokenizer = Tokenizer::load(&base.dir.join("tokenizer.json"))?;
        let (token, vectors) = (tokenizer.last(), config.vocab_size);
        if token as usize >= vectors {
            return Err(Error::Vocabulary { dir: base.dir.clone(), token, vectors });
        }
        let packed = Packed::load(&base.dir.join("model.safetensors"), &config)?;
        Ok(Self { packed, tokenizer: Arc::new(tokenizer) })
    }

    /// The weights as they are kept for training, ready to compute with.
    pub(super) fn kept(&self, quantization: Option<Quantization>) -> Self {
        self.with(match quantization {
            Some(Quantization::Nf4) => self.packed.clone().quantized().unpacked(),
            None => self.packed.clone(),
        })
    }

    /// Other weights that read the same tokens.
    pub(super) fn with(&self, packed: Packed) -> Self {
        Self { packed, tokenizer: self.tokenizer.clone() }
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, Error> {
        let sequences = self.tokenizer.encode(texts)?;
        let mut vectors = pooled(&self.packed, &[Group::new(None, &sequences)]);
        vectors.iter_mut().for_each(|vector| unit(vector));
        Ok(vectors)
    }
}

/// The mean-pooled vector of each sequence, group after group in order, computed on all cores.
pub(super) fn pooled(packed: &Packed, groups: &[Group<'_>]) -> Vec<Vec<f32>> {
    let hidden = packed.config().hidden_size;
    let computed: Vec<(Vec<usize>, Vec<f32>)> =
        packs(groups).into_par_iter().map(|pack| (pack.places, packed.pooled(&pack.groups))).collect();
    let mut vectors = vec![Vec::new(); groups.iter().map(|group| group.sequences.len()).sum()];
    for (places, pooled) in computed {
        for (at, vector) in places.into_iter().zip(pooled.chunks_exact(hidden)) {
            vectors[at] = vector.to_vec();
        }
    }
    vectors
}

/// What one core computes together, and the sequences' places among all.
struct Pack<'a> {
    places: Vec<usize>,
    groups: Vec<Group<'a>>,
}

impl Pack<'_> {
    fn tokens(&self) -> usize {
        self.groups.iter().flat_map(|group| &group.sequences).map(|ids| ids.len()).sum()
    }
}

/// Packs that touch few groups each and hold sequences of like length, the longest first, so that no
/// core is left alone with it.
fn packs<'a>(groups: &[Group<'a>]) -> Vec<Pack<'a>> {
    let of_all = groups.iter().enumerate().flat_map(|(group, of)| of.sequences.iter().map(move |ids| (group, *ids)));
    let mut order: Vec<(usize, (usize, &[u32]))> = of_all.enumerate().collect();
    order.sort_by_key(|(_, (group, ids))| (*group, Reverse(ids.len())));
    let pack = |places: &[(usize, (usize, &'a [u32]))]| Pack {
        places: places.iter().map(|(at, _)| *at).collect(),
        groups: places
            .chunk_by(|(_, (a, _)), (_, (b, _))| a == b)
            .map(|of| Group {
                learned: groups[of[0].1.0].learned,
                sequences: of.iter().map(|(_, (_, ids))| *ids).collect(),
            })
            .collect(),
    };
    let mut packs: Vec<Pack<'a>> = order.chunks(BATCH).map(pack).collect();
    packs.sort_by_key(|pack| Reverse(pack.tokens()));
    packs
}

fn unit(vector: &mut [f32]) {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|x| *x /= length);
}
