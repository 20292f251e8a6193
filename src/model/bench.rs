//! The base encoder and a head on texts that were cut into tokens before, to be timed, and a pass of training.
//!
//! What serves is the bank, and what trains is `train`; these are the parts of them that others can be measured beside.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    BaseEncoder, Error,
    calibrate::argmax,
    encoder::{Reader, pooled},
    infer::{self, Crew, Format, Model},
    lora::{Layout, LoraOptions},
    method::Method,
    packed::{Group, Packed},
    tokens::Tokenizer,
    train::{Setting, TrainOptions, TrainRows, head, logits},
};

/// Categories of the head.
const CLASSES: usize = 20;

/// An encoder to be timed.
pub struct Bench {
    reader: Reader,
    computes: Computes,
    layout: Layout,
    numbers: Vec<f32>,
    vectors: Vec<f32>,
}

/// Who multiplies.
enum Computes {
    Reduced { model: Arc<Model>, crew: Crew },
    Exact(rayon::ThreadPool),
}

impl Bench {
    /// Reads the base encoder, to be computed in a format or in `f32` on so many threads.
    ///
    /// # Errors
    /// When a file is missing or malformed, or the threads can't be started.
    pub fn open(base: &BaseEncoder, format: Option<Format>, threads: usize) -> Result<Self, Error> {
        let reader = Reader::load(base)?;
        let computes = match format.and_then(|format| Model::new(&reader.packed, format)) {
            Some(model) => Computes::Reduced { model: Arc::new(model), crew: Crew::with(threads) },
            None => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                Computes::Exact(pool.map_err(|source| Error::File {
                    action: "start a thread for",
                    path: PathBuf::from("bench"),
                    source: std::io::Error::other(source),
                })?)
            }
        };
        let layout = Layout::new(reader.packed.config(), Method::Head, &LoraOptions::default(), CLASSES);
        let numbers = vec![0.01; layout.len()];
        Ok(Self { reader, computes, layout, numbers, vectors: Vec::new() })
    }

    /// What computes, in words.
    #[must_use]
    pub fn engine(&self) -> String {
        let (computes, threads) = match &self.computes {
            Computes::Reduced { model, crew } => {
                (format!("{} on {}", model.format(), crew.instructions()), crew.threads())
            }
            Computes::Exact(pool) => ("f32".to_owned(), pool.current_num_threads()),
        };
        format!("{computes}, {threads} thread{}", if threads == 1 { "" } else { "s" })
    }

    /// Texts cut into tokens.
    ///
    /// # Errors
    /// When a text can't be.
    pub fn tokens(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, Error> {
        self.reader.tokenizer.encode(texts)
    }

    /// From tokens to the head's logits, all rows together.
    pub fn batch(&mut self, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
        match &self.computes {
            Computes::Reduced { model, crew } => {
                crew.pooled(model, &[infer::Group { adapter: None, sequences }], &mut self.vectors);
                let vectors = self.vectors.chunks_exact(model.hidden());
                vectors.map(|vector| head(&self.layout, &self.numbers, vector)).collect()
            }
            Computes::Exact(pool) => {
                let vectors = pool.install(|| pooled(&self.reader.packed, &[Group::new(None, sequences)]));
                vectors.iter().map(|vector| head(&self.layout, &self.numbers, vector)).collect()
            }
        }
    }

    /// Operations a second that the machine's products of the format reach at most, measured now; absent in `f32`.
    #[must_use]
    pub fn peak(&self) -> Option<f64> {
        match &self.computes {
            Computes::Reduced { model, crew } => Some(crew.peak(model.format())),
            Computes::Exact(_) => None,
        }
    }

    /// Operations in the linear layers for a token; absent in `f32`.
    #[must_use]
    pub fn operations(&self) -> Option<usize> {
        match &self.computes {
            Computes::Reduced { model, .. } => Some(model.operations()),
            Computes::Exact(_) => None,
        }
    }
}

/// One pass of a training, timed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// From the first step to the last; reading the encoder and cutting into tokens are not in it.
    pub took: Duration,
    /// Tokens of all rows.
    pub tokens: usize,
    /// Numbers that train.
    pub trainable: usize,
    /// Loss of the last step, before it.
    pub last_loss: f32,
}

/// What a pass has trained.
pub struct Trained {
    packed: Packed,
    tokenizer: Arc<Tokenizer>,
    layout: Layout,
    numbers: Vec<f32>,
}

/// Texts, and their categories as places in one list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// What is read.
    pub texts: Vec<String>,
    /// What each is.
    pub classes: Vec<usize>,
}

impl Pass {
    /// Trains on rows in their order, one pass: no text is disturbed, nothing trains beside encoder and head, and the rates
    /// don't move.
    ///
    /// # Errors
    /// When the base encoder can't be read, a text can't be cut into tokens, or this can't be trained in bf16.
    pub fn timed(base: &BaseEncoder, rows: &Texts, options: &TrainOptions) -> Result<(Self, Trained), Error> {
        let setting = Setting::of_training(base, &TrainRows::default(), options)?;
        let count = rows.classes.iter().max().map_or(0, |last| last + 1);
        let layout = Layout::new(setting.packed.config(), options.method, &options.lora, count);
        let sequences = setting.tokenizer.encode(&rows.texts)?;
        let tokens = sequences.iter().map(Vec::len).sum();
        let examples = sequences.into_iter().zip(rows.classes.iter().copied()).collect();
        let run = setting.run(&setting.packed, &layout, options);
        let started = Instant::now();
        let (numbers, last_loss) = run.pass(examples);
        let took = started.elapsed();
        let pass = Self { took, tokens, trainable: layout.len(), last_loss };
        let Setting { packed, tokenizer, .. } = setting;
        Ok((pass, Trained { packed, tokenizer, layout, numbers }))
    }
}

impl Trained {
    /// How many rows get the right answer.
    ///
    /// # Errors
    /// When a text can't be cut into tokens.
    pub fn right(&self, rows: &Texts) -> Result<usize, Error> {
        let sequences = self.tokenizer.encode(&rows.texts)?;
        let answers = logits(&self.packed, &self.layout, &self.numbers, &sequences);
        Ok(answers.iter().zip(&rows.classes).filter(|(logits, class)| argmax(logits) == **class).count())
    }
}
