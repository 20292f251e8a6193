//! The base encoder as a service: texts in, unit vectors out.
//!
//! Batches are of like length and computed on all cores; the answers come in the order of the texts.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;

use super::{
    BaseEncoder, Error,
    bert::Config,
    kernel::{Into, Mat, product},
    packed::{Learned, Packed},
    tokens::Tokenizer,
    worker::Worker,
};

/// Sequences computed together on one core.
const BATCH: usize = 16;

/// A handle on the encoder's thread; clones share it, and the last one ends it.
#[derive(Debug, Clone)]
pub struct Encoder {
    worker: Worker<Vec<String>, Vec<Vec<f32>>>,
    base: Arc<BaseEncoder>,
}

impl Encoder {
    /// Reads the weights and starts the thread.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    pub fn load(base: BaseEncoder) -> Result<Self, Error> {
        let engine = Engine::load(&base.dir)?;
        let worker = Worker::start("encoder", move |texts: Vec<String>| engine.embed(&texts))?;
        Ok(Self { worker, base: Arc::new(base) })
    }

    /// Which weights these are.
    #[must_use]
    pub fn base(&self) -> &BaseEncoder {
        &self.base
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

struct Engine {
    tokenizer: Tokenizer,
    packed: Packed,
}

impl Engine {
    fn load(dir: &Path) -> Result<Self, Error> {
        let packed = Packed::load(&dir.join("model.safetensors"), &Config::load(dir)?)?;
        Ok(Self { tokenizer: Tokenizer::load(&dir.join("tokenizer.json"))?, packed })
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, Error> {
        let sequences = self.tokenizer.encode(texts)?;
        let mut vectors = pooled(&self.packed, None, &sequences);
        vectors.iter_mut().for_each(|vector| unit(vector));
        Ok(vectors)
    }
}

/// The mean-pooled vector of each sequence, in order, computed on all cores.
pub(super) fn pooled(packed: &Packed, learned: Option<Learned<'_>>, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let hidden = packed.config().hidden_size;
    let computed: Vec<(Vec<usize>, Vec<f32>)> = by_length(sequences, BATCH)
        .into_par_iter()
        .map(|batch| {
            let of_batch: Vec<&[u32]> = batch.iter().map(|&at| sequences[at].as_slice()).collect();
            let pooled = packed.pooled(&of_batch, learned);
            (batch, pooled)
        })
        .collect();
    let mut vectors = vec![Vec::new(); sequences.len()];
    for (batch, pooled) in computed {
        for (at, vector) in batch.into_iter().zip(pooled.chunks_exact(hidden)) {
            vectors[at] = vector.to_vec();
        }
    }
    vectors
}

/// Places of sequences in batches of like length, longest first, so that no core is left alone with the long ones.
fn by_length(sequences: &[Vec<u32>], batch: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(sequences[at].len()));
    order.chunks(batch).map(<[usize]>::to_vec).collect()
}

fn unit(vector: &mut [f32]) {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|x| *x /= length);
}
