//! The base encoder and a head on texts that were cut into tokens before, to be timed.
//!
//! What serves is the bank; this is the part of it that others can be measured beside.

use std::sync::Arc;

use super::{
    BaseEncoder, Error,
    encoder::{Reader, pooled},
    infer::{self, Crew, Model},
    lora::{Layout, LoraOptions},
    method::Method,
    packed::Group,
    train::head,
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
