//! The base encoder and a head on texts that were cut into tokens before, to be timed, and a pass of training.
//!
//! What serves is the bank, and what trains is `train`; these are the parts of them that others can be measured beside.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    BaseEncoder, Error,
    encoder::{Reader, pooled},
    infer::{self, Crew, Model},
    lora::{Layout, LoraOptions},
    method::Method,
    packed::Group,
    train::{Setting, TrainOptions, TrainRows, head},
};

/// Categories of the head.
const CLASSES: usize = 20;

/// An encoder to be timed.
pub struct Bench {
    reader: Reader,
    int8: Option<Arc<Model>>,
    crew: Crew,
    layout: Layout,
    numbers: Vec<f32>,
    vectors: Vec<f32>,
}

impl Bench {
    /// Reads the base encoder, to be computed in bytes or in `f32`.
    ///
    /// In bytes `threads` says on how many threads; `f32` takes what rayon has.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    pub fn open(base: &BaseEncoder, int8: bool, threads: usize) -> Result<Self, Error> {
        let reader = Reader::load(base)?;
        let model = if int8 { Model::new(&reader.packed).map(Arc::new) } else { None };
        let layout = Layout::new(reader.packed.config(), Method::Head, &LoraOptions::default(), CLASSES);
        let numbers = vec![0.01; layout.len()];
        Ok(Self { reader, int8: model, crew: Crew::with(threads), layout, numbers, vectors: Vec::new() })
    }

    /// What computes, in words.
    #[must_use]
    pub fn engine(&self) -> String {
        match self.int8 {
            Some(_) => format!("int8 on {}, {} threads", self.crew.instructions(), self.crew.threads()),
            None => "f32".to_owned(),
        }
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
        match &self.int8 {
            Some(model) => {
                self.crew.pooled(model, &[infer::Group { adapter: None, sequences }], &mut self.vectors);
                let vectors = self.vectors.chunks_exact(model.hidden());
                vectors.map(|vector| head(&self.layout, &self.numbers, vector)).collect()
            }
            None => {
                let vectors = pooled(&self.reader.packed, &[Group::new(None, sequences)]);
                vectors.iter().map(|vector| head(&self.layout, &self.numbers, vector)).collect()
            }
        }
    }

    /// Operations a second that the machine's byte products reach at most, measured now; absent in `f32`.
    #[must_use]
    pub fn peak(&self) -> Option<f64> {
        self.int8.is_some().then(|| self.crew.peak())
    }

    /// Operations in the linear layers for a token; absent in `f32`.
    #[must_use]
    pub fn operations(&self) -> Option<usize> {
        self.int8.as_ref().map(|model| model.operations())
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

impl Pass {
    /// Trains on texts and the places of their categories, one pass in their order: no text is disturbed, nothing trains
    /// beside encoder and head, and the rates don't move.
    ///
    /// # Errors
    /// When the base encoder can't be read, or a text can't be cut into tokens.
    pub fn timed(
        base: &BaseEncoder,
        (texts, classes): (&[String], &[usize]),
        options: &TrainOptions,
    ) -> Result<Self, Error> {
        let setting = Setting::new(base, &TrainRows::default(), options.method)?;
        let count = classes.iter().max().map_or(0, |last| last + 1);
        let layout = Layout::new(setting.packed.config(), options.method, &options.lora, count);
        let sequences = setting.tokenizer.encode(texts)?;
        let tokens = sequences.iter().map(Vec::len).sum();
        let rows = sequences.into_iter().zip(classes.iter().copied()).collect();
        let run = setting.run(&setting.packed, &layout, options);
        let started = Instant::now();
        let last_loss = run.pass(rows);
        Ok(Self { took: started.elapsed(), tokens, trainable: layout.len(), last_loss })
    }
}
