//! Full fine-tuning: places of an encoder's own weights in the vector of trained numbers.
//!
//! The numbers are the weights themselves, not differences, so that AdamW's decay means what it says.

use std::borrow::Cow;

use half::f16;

use super::{
    bert::Config,
    lora::{Slot, TARGETS, Target},
};

/// A weight and its bias, of a linear layer or of a layer norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Affine {
    pub(super) weight: Slot,
    pub(super) bias: Slot,
}

/// One encoder layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WholeLayer {
    /// By [`Target`].
    pub(super) linears: [Affine; TARGETS.len()],
    pub(super) attention_norm: Affine,
    pub(super) output_norm: Affine,
}

/// Every tensor of an encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) words: Slot,
    /// Position plus token type 0: no other type is ever read, so the two are one table.
    pub(super) positions: Slot,
    pub(super) norm: Affine,
    pub(super) layers: Vec<WholeLayer>,
    /// Numbers below this are embeddings, biases and layer norms, which don't decay.
    pub(super) undecayed: usize,
}

/// Name of the word embeddings in the checkpoint.
pub(super) const WORDS: &str = "embeddings.word_embeddings.weight";

impl Whole {
    /// Lays the tensors out through `slot`, those that don't decay first.
    pub(super) fn new(config: &Config, slot: &mut impl FnMut(usize, usize) -> Slot) -> Self {
        let hidden = config.hidden_size;
        let words = slot(config.vocab_size, hidden);
        let positions = slot(config.max_position_embeddings, hidden);
        let mut norm = || Affine { weight: slot(hidden, 1), bias: slot(hidden, 1) };
        let embeddings = norm();
        let norms: Vec<[Affine; 2]> = (0..config.num_hidden_layers).map(|_| [norm(), norm()]).collect();
        let sizes = |target: Target| target.sizes(config);
        let biases: Vec<[Slot; TARGETS.len()]> =
            norms.iter().map(|_| TARGETS.map(|target| slot(sizes(target).1, 1))).collect();
        let undecayed = biases.last().map_or(0, |of| of[TARGETS.len() - 1].end());
        let layers = norms.into_iter().zip(biases).map(|([attention_norm, output_norm], biases)| WholeLayer {
            linears: TARGETS.map(|target| {
                let (inputs, outputs) = sizes(target);
                Affine { weight: slot(outputs, inputs), bias: biases[target as usize] }
            }),
            attention_norm,
            output_norm,
        });
        Self { words, positions, norm: embeddings, layers: layers.collect(), undecayed }
    }

    /// Every tensor with its name in the checkpoint, in the order of `Packed::tensors`.
    pub(super) fn named(&self) -> Vec<(String, Slot)> {
        let mut named =
            vec![(WORDS.to_owned(), self.words), ("embeddings.position_embeddings.weight".to_owned(), self.positions)];
        let mut affine = |name: String, Affine { weight, bias }: Affine| {
            named.extend([(format!("{name}.weight"), weight), (format!("{name}.bias"), bias)]);
        };
        affine("embeddings.LayerNorm".to_owned(), self.norm);
        for (at, layer) in self.layers.iter().enumerate() {
            let name = |rest: &str| format!("encoder.layer.{at}.{rest}");
            for (target, slots) in TARGETS.into_iter().zip(layer.linears) {
                affine(name(target.path()), slots);
            }
            affine(name("attention.output.LayerNorm"), layer.attention_norm);
            affine(name("output.LayerNorm"), layer.output_norm);
        }
        named
    }

    /// Sets the numbers to an encoder's tensors.
    pub(super) fn fill(&self, tensors: &[Cow<'_, [f32]>], numbers: &mut [f32]) {
        for ((_, slot), tensor) in self.named().into_iter().zip(tensors) {
            slot.of_mut(numbers).copy_from_slice(tensor);
        }
    }

    /// What the numbers have gained over an encoder's tensors, as it is stored: in 16 bits, because
    /// gains are small beside the weights, and their rounding smaller yet.
    pub(super) fn gains(&self, tensors: &[Cow<'_, [f32]>], numbers: &[f32]) -> Vec<(String, Slot, Vec<f16>)> {
        let gained = |((name, slot), tensor): ((String, Slot), &Cow<'_, [f32]>)| {
            let pairs = slot.of(numbers).iter().zip(tensor.iter());
            (name, slot, pairs.map(|(number, base)| f16::from_f32(number - base)).collect())
        };
        self.named().into_iter().zip(tensors).map(gained).collect()
    }

    /// Rounds the numbers to what the stored gains give, so that what is measured is what is served.
    pub(super) fn round(&self, tensors: &[Cow<'_, [f32]>], numbers: &mut [f32]) {
        for ((_, slot, gains), tensor) in self.gains(tensors, numbers).into_iter().zip(tensors) {
            for ((number, base), gain) in slot.of_mut(numbers).iter_mut().zip(tensor.iter()).zip(gains) {
                *number = base + gain.to_f32();
            }
        }
    }
}
