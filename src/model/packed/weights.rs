//! The weights: read, put into NF4 or bf16, merged with what was learned, replaced by it.

use std::{borrow::Cow, path::Path, sync::Arc};

use super::{
    super::{
        Error,
        bert::Config,
        checkpoint::Checkpoint,
        kernel::{self, Into, Mat, product},
        lora::{Pair, TARGETS, Target},
        whole::{Affine, Whole},
    },
    Learned, Packed,
    linear::{Linear, Weight},
};

#[derive(Clone)]
pub(in crate::model) struct Norm {
    pub(in crate::model) weight: Vec<f32>,
    pub(in crate::model) bias: Vec<f32>,
}

#[derive(Clone)]
pub(in crate::model) struct Layer {
    /// By [`Target`].
    pub(in crate::model) linears: [Linear; TARGETS.len()],
    pub(in crate::model) attention_norm: Norm,
    pub(in crate::model) output_norm: Norm,
}

#[derive(Clone)]
pub(in crate::model) struct Embeddings {
    pub(in crate::model) words: Vec<f32>,
    /// Position plus token type 0.
    pub(in crate::model) positions: Vec<f32>,
    pub(in crate::model) norm: Norm,
}

impl Packed {
    /// Reads `model.safetensors`.
    pub(in crate::model) fn load(path: &Path, config: &Config) -> Result<Self, Error> {
        let mut checkpoint = Checkpoint::open(path)?;
        Self::of(config, |name, sizes| checkpoint.floats(&name, sizes))
    }

    /// Takes every tensor by its name in the checkpoint, of the given shape.
    pub(in crate::model) fn of(
        config: &Config,
        mut take: impl FnMut(String, &[usize]) -> Result<Vec<f32>, Error>,
    ) -> Result<Self, Error> {
        let hidden = config.hidden_size;
        let mut layers = Vec::new();
        for layer in 0..config.num_hidden_layers {
            let name = |rest: &str| format!("encoder.layer.{layer}.{rest}");
            let mut linear = |target: Target| {
                let (inputs, outputs) = target.sizes(config);
                Ok::<_, Error>(Linear {
                    weight: Weight::Plain(take(name(&format!("{}.weight", target.path())), &[outputs, inputs])?),
                    bias: take(name(&format!("{}.bias", target.path())), &[outputs])?,
                    inputs,
                    outputs,
                })
            };
            let linears = [
                linear(Target::Query)?,
                linear(Target::Key)?,
                linear(Target::Value)?,
                linear(Target::AttentionOutput)?,
                linear(Target::Intermediate)?,
                linear(Target::Output)?,
            ];
            let mut norm = |rest: &str| {
                Ok::<_, Error>(Norm {
                    weight: take(name(&format!("{rest}.LayerNorm.weight")), &[hidden])?,
                    bias: take(name(&format!("{rest}.LayerNorm.bias")), &[hidden])?,
                })
            };
            let (attention_norm, output_norm) = (norm("attention.output")?, norm("output")?);
            layers.push(Layer { linears, attention_norm, output_norm });
        }
        let mut table = |name: &str, rows| take(format!("embeddings.{name}.weight"), &[rows, hidden]);
        let words = table("word_embeddings", config.vocab_size)?;
        let mut positions = table("position_embeddings", config.max_position_embeddings)?;
        let types = table("token_type_embeddings", config.type_vocab_size)?;
        positions.chunks_exact_mut(hidden).for_each(|row| kernel::add(row, &types[..hidden]));
        let norm = Norm {
            weight: take("embeddings.LayerNorm.weight".to_owned(), &[hidden])?,
            bias: take("embeddings.LayerNorm.bias".to_owned(), &[hidden])?,
        };
        let embeddings = Arc::new(Embeddings { words, positions, norm });
        Ok(Self { config: config.clone(), embeddings, layers })
    }

    /// Whether the linear layers' weights are kept in NF4.
    pub(in crate::model) fn is_nf4(&self) -> bool {
        let mut linears = self.layers.iter().flat_map(|layer| &layer.linears);
        linears.any(|linear| matches!(linear.weight, Weight::Nf4(_)))
    }

    /// The same encoder with its linear layers' weights in NF4.
    pub(in crate::model) fn quantized(mut self) -> Self {
        let linears = self.layers.iter_mut().flat_map(|layer| &mut layer.linears);
        linears.for_each(|linear| linear.weight.quantize());
        self
    }

    /// The same encoder, its linear layers computed in bf16 as long as nobody changes them; none where their sizes are no whole
    /// vectors. For LoRA, which leaves them alone.
    pub(in crate::model) fn halved(mut self) -> Option<Self> {
        let mut linears = self.layers.iter_mut().flat_map(|layer| &mut layer.linears);
        linears.try_for_each(|linear| linear.weight.halve(linear.inputs))?;
        Some(self)
    }

    /// The same numbers where they were in NF4, ready to compute with: faster, and larger.
    pub(in crate::model) fn unpacked(mut self) -> Self {
        let linears = self.layers.iter_mut().flat_map(|layer| &mut layer.linears);
        linears.for_each(|linear| linear.weight.change(|_| {}));
        self
    }

    /// Every tensor, in the order of [`Whole::named`].
    pub(in crate::model) fn tensors(&self) -> Vec<Cow<'_, [f32]>> {
        let Embeddings { words, positions, norm } = &*self.embeddings;
        let mut tensors: Vec<Cow<'_, [f32]>> =
            [words, positions, &norm.weight, &norm.bias].map(|tensor| Cow::Borrowed(tensor.as_slice())).into();
        for layer in &self.layers {
            for linear in &layer.linears {
                tensors.extend([linear.weight.numbers(), Cow::Borrowed(linear.bias.as_slice())]);
            }
            let norms = [&layer.attention_norm, &layer.output_norm].into_iter();
            tensors.extend(norms.flat_map(|norm| [&norm.weight, &norm.bias]).map(|of| Cow::Borrowed(of.as_slice())));
        }
        tensors
    }

    /// The same encoder with what was learned in its weights, which are NF4 or bf16 no longer.
    pub(in crate::model) fn merged(&self, learned: Learned<'_>) -> Self {
        let mut merged = self.clone();
        for (at, layer) in merged.layers.iter_mut().enumerate() {
            for (target, linear) in TARGETS.into_iter().zip(&mut layer.linears) {
                linear.weight.change(|weight| {
                    if let Some(Pair { a, b }) = learned.layout.pair(at, target) {
                        let (a_of, b_of) = (a.of(learned.numbers), b.of(learned.numbers));
                        let (a, b) = (Mat::new(a_of, a.rows, a.cols), Mat::new(b_of, b.rows, b.cols));
                        product(weight, linear.inputs, Into::Sum, learned.layout.scale, b, a);
                    }
                });
            }
        }
        if let Some(whole) = &learned.layout.whole {
            merged.replace(whole, learned.numbers);
        }
        merged
    }

    fn replace(&mut self, whole: &Whole, numbers: &[f32]) {
        let norm =
            |slots: Affine| Norm { weight: slots.weight.of(numbers).into(), bias: slots.bias.of(numbers).into() };
        self.embeddings = Arc::new(Embeddings {
            words: whole.words.of(numbers).into(),
            positions: whole.positions.of(numbers).into(),
            norm: norm(whole.norm),
        });
        for (layer, slots) in self.layers.iter_mut().zip(&whole.layers) {
            for (linear, slots) in layer.linears.iter_mut().zip(slots.linears) {
                linear.weight = Weight::Plain(slots.weight.of(numbers).into());
                linear.bias = slots.bias.of(numbers).into();
            }
            (layer.attention_norm, layer.output_norm) = (norm(slots.attention_norm), norm(slots.output_norm));
        }
    }
}
