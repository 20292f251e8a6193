//! The base encoder as a service: texts in, unit vectors out, on a thread of its own.
//!
//! One thread owns the weights, so that a burst of requests queues instead of fighting over the
//! cores; the queue is bounded, so that it pushes back instead of growing.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::{
    BaseEncoder, Error,
    bert::Config,
    packed::Packed,
    tokens::Tokenizer,
};

/// Jobs that may wait before [`Encoder::embed`] waits itself.
const QUEUE: usize = 32;
/// Sequences computed together.
const BATCH: usize = 16;

/// A handle on the encoder's thread; clones share it, and the last one ends it.
#[derive(Debug, Clone)]
pub struct Encoder {
    jobs: mpsc::Sender<Job>,
    base: Arc<BaseEncoder>,
}

struct Job {
    texts: Vec<String>,
    answer: oneshot::Sender<Result<Vec<Vec<f32>>, Error>>,
}

impl Encoder {
    /// Reads the weights and starts the thread.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    pub fn load(base: BaseEncoder) -> Result<Self, Error> {
        let engine = Engine::load(&base.dir)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                // The asker may have gone: then the answer goes nowhere.
                let _ = job.answer.send(engine.embed(&job.texts));
            }
        };
        let path = base.dir.clone();
        std::thread::Builder::new().name("encoder".to_owned()).spawn(work).map_err(|source| Error::File {
            action: "start a thread for",
            path,
            source,
        })?;
        Ok(Self { jobs, base: Arc::new(base) })
    }

    /// Which weights these are.
    #[must_use]
    pub fn base(&self) -> &BaseEncoder {
        &self.base
    }

    /// One vector of unit length for each text, in order: the mean over its tokens of the last layer.
    ///
    /// # Errors
    /// When the thread has ended or the arithmetic failed.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, Error> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job { texts, answer }).await.map_err(|_| Error::Stopped)?;
        answered.await.map_err(|_| Error::Stopped)?
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
        let mut vectors = pooled(&self.packed, &sequences);
        vectors.iter_mut().for_each(|vector| unit(vector));
        Ok(vectors)
    }
}

/// The mean-pooled vector of each sequence, in order, computed on all cores.
pub(super) fn pooled(packed: &Packed, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let hidden = packed.config().hidden_size;
    let computed: Vec<(Vec<usize>, Vec<f32>)> = by_length(sequences, BATCH)
        .into_par_iter()
        .map(|batch| {
            let of_batch: Vec<&[u32]> = batch.iter().map(|&at| sequences[at].as_slice()).collect();
            let pooled = packed.pooled(&of_batch, None);
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
