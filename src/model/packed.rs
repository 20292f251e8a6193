//! The encoder on the CPU, forward and backward by hand.
//!
//! Sequences lie packed one after the other, so that no padding is computed; the backward computes
//! the gradients of the adapter and of what lies below it, and never those of frozen weights. Both
//! are what makes this several times faster than a general autograd; `tests/it/model.rs` holds it
//! against one.

use std::{collections::HashMap, ops::Range, path::Path, sync::Arc};

use super::{
    Error,
    bert::Config,
    kernel::{self, Into, Mat, product},
    lora::{Layout, Pair, TARGETS, Target},
};
use candle_core::{Device, Tensor};

#[derive(Clone)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Clone)]
struct Linear {
    /// `[outputs, inputs]`
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

#[derive(Clone)]
struct Layer {
    /// By [`Target`].
    linears: [Linear; TARGETS.len()],
    attention_norm: Norm,
    output_norm: Norm,
}

struct Embeddings {
    words: Vec<f32>,
    /// Position plus token type 0.
    positions: Vec<f32>,
    norm: Norm,
}

/// The weights of an encoder; a clone shares the embeddings.
#[derive(Clone)]
pub(super) struct Packed {
    config: Config,
    embeddings: Arc<Embeddings>,
    layers: Vec<Layer>,
}

/// An adapter's numbers in use: in training `noise` seeds the dropout of this shard and step.
#[derive(Clone, Copy)]
pub(super) struct Lora<'a> {
    pub(super) layout: &'a Layout,
    pub(super) numbers: &'a [f32],
    pub(super) noise: Option<u64>,
}

/// Sequences one after the other.
struct Pack {
    spans: Vec<Range<usize>>,
    tokens: usize,
}

/// What one linear layer keeps for its backward.
#[derive(Default)]
struct LinearTape {
    /// The input of the difference, where dropout made it another than the layer's input.
    dropped: Option<Vec<f32>>,
    /// Scale times the input through `a`: `[tokens, rank]`.
    reduced: Vec<f32>,
    seed: u64,
}

#[derive(Default)]
struct LayerTape {
    input: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    /// Per sequence, per head: `[tokens, tokens]`.
    weights: Vec<f32>,
    context: Vec<f32>,
    attention_normed: Vec<f32>,
    attention_scales: Vec<f32>,
    middle: Vec<f32>,
    inner: Vec<f32>,
    slopes: Vec<f32>,
    output_normed: Vec<f32>,
    output_scales: Vec<f32>,
    linears: [LinearTape; TARGETS.len()],
}

/// What a forward keeps for its backward.
pub(super) struct Tape {
    pack: Pack,
    layers: Vec<LayerTape>,
}

impl Packed {
    /// Reads `model.safetensors`.
    pub(super) fn load(path: &Path, config: &Config) -> Result<Self, Error> {
        let mut tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
        Self::from_tensors(&mut tensors, config)
    }

    pub(super) fn from_tensors(tensors: &mut HashMap<String, Tensor>, config: &Config) -> Result<Self, Error> {
        let mut take = |name: String, sizes: &[usize]| -> Result<Vec<f32>, Error> {
            let tensor = tensors
                .remove(&name)
                .ok_or_else(|| candle_core::Error::CannotFindTensor { path: name.clone() }.bt())?;
            if tensor.dims() != sizes {
                return Err(candle_core::Error::UnexpectedShape {
                    msg: name,
                    expected: sizes.into(),
                    got: tensor.shape().clone(),
                }
                .into());
            }
            Ok(tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?)
        };
        let hidden = config.hidden_size;
        let mut layers = Vec::new();
        for layer in 0..config.num_hidden_layers {
            let name = |rest: &str| format!("encoder.layer.{layer}.{rest}");
            let mut linear = |target: Target| {
                let (inputs, outputs) = target.sizes(config);
                Ok::<_, Error>(Linear {
                    weight: take(name(&format!("{}.weight", target.path())), &[outputs, inputs])?,
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

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The same encoder with an adapter's differences added to its weights.
    pub(super) fn merged(&self, lora: Lora<'_>) -> Self {
        let mut merged = self.clone();
        for (at, layer) in merged.layers.iter_mut().enumerate() {
            for (target, linear) in TARGETS.into_iter().zip(&mut layer.linears) {
                if let Some(Pair { a, b }) = lora.layout.pair(at, target) {
                    let (a_of, b_of) = (a.of(lora.numbers), b.of(lora.numbers));
                    let (a, b) = (Mat::new(a_of, a.rows, a.cols), Mat::new(b_of, b.rows, b.cols));
                    product(&mut linear.weight, linear.inputs, Into::Sum, lora.layout.scale, b, a);
                }
            }
        }
        merged
    }

    /// Mean over each sequence's tokens of the last layer: `[sequences, hidden]`, row after row.
    pub(super) fn pooled(&self, sequences: &[&[u32]], lora: Option<Lora<'_>>) -> Vec<f32> {
        self.forward(sequences, lora, false).0
    }

    /// [`Packed::pooled`], and what its backward needs.
    pub(super) fn taped(&self, sequences: &[&[u32]], lora: Lora<'_>) -> (Vec<f32>, Tape) {
        self.forward(sequences, Some(lora), true)
    }

    fn forward(&self, sequences: &[&[u32]], lora: Option<Lora<'_>>, keep: bool) -> (Vec<f32>, Tape) {
        let hidden = self.config.hidden_size;
        let mut spans = Vec::with_capacity(sequences.len());
        let mut tokens = 0;
        for ids in sequences {
            spans.push(tokens..tokens + ids.len());
            tokens += ids.len();
        }
        let pack = Pack { spans, tokens };
        let mut xs = self.embed(sequences, tokens);
        let mut layers = Vec::new();
        for at in 0..self.layers.len() {
            let mut tape = LayerTape::default();
            xs = self.layer(at, xs, &pack, lora, &mut tape);
            if keep {
                layers.push(tape);
            }
        }
        let mut pooled = vec![0.0; sequences.len() * hidden];
        for (out, span) in pooled.chunks_exact_mut(hidden).zip(&pack.spans) {
            xs[span.start * hidden..span.end * hidden].chunks_exact(hidden).for_each(|row| kernel::add(out, row));
            out.iter_mut().for_each(|x| *x /= length(span));
        }
        (pooled, Tape { pack, layers })
    }

    fn embed(&self, sequences: &[&[u32]], tokens: usize) -> Vec<f32> {
        let (hidden, embeddings) = (self.config.hidden_size, &self.embeddings);
        let mut xs = Vec::with_capacity(tokens * hidden);
        for ids in sequences {
            for (id, position) in ids.iter().zip(embeddings.positions.chunks_exact(hidden)) {
                let word = &embeddings.words[*id as usize * hidden..][..hidden];
                xs.extend(word.iter().zip(position).map(|(word, position)| word + position));
            }
        }
        self.norm(&embeddings.norm, &mut xs, &mut Vec::new(), &mut Vec::new());
        xs
    }

    fn norm(&self, norm: &Norm, xs: &mut [f32], normed: &mut Vec<f32>, scales: &mut Vec<f32>) {
        normed.resize(xs.len(), 0.0);
        scales.resize(xs.len() / norm.weight.len(), 0.0);
        kernel::layer_norm(xs, (&norm.weight, &norm.bias, self.config.layer_norm_eps as f32), normed, scales);
    }

    fn layer(&self, at: usize, input: Vec<f32>, pack: &Pack, lora: Option<Lora<'_>>, tape: &mut LayerTape) -> Vec<f32> {
        let layer = &self.layers[at];
        let mut linear = |target: Target, xs: &[f32]| {
            layer.linears[target as usize].forward(xs, lora, at, target, &mut tape.linears[target as usize])
        };
        tape.query = linear(Target::Query, &input);
        tape.key = linear(Target::Key, &input);
        tape.value = linear(Target::Value, &input);
        (tape.context, tape.weights) = self.attention(&tape.query, &tape.key, &tape.value, pack);
        let mut xs = linear(Target::AttentionOutput, &tape.context);
        kernel::add(&mut xs, &input);
        tape.input = input;
        self.norm(&layer.attention_norm, &mut xs, &mut tape.attention_normed, &mut tape.attention_scales);
        let mut inner = linear(Target::Intermediate, &xs);
        tape.slopes.resize(inner.len(), 0.0);
        kernel::gelu(&mut inner, &mut tape.slopes);
        let mut out = linear(Target::Output, &inner);
        kernel::add(&mut out, &xs);
        (tape.inner, tape.middle) = (inner, xs);
        self.norm(&layer.output_norm, &mut out, &mut tape.output_normed, &mut tape.output_scales);
        out
    }

    fn head_size(&self) -> usize {
        self.config.hidden_size / self.config.num_attention_heads
    }

    fn attention_scale(&self) -> f32 {
        1.0 / (self.head_size() as f32).sqrt()
    }

    /// Context and attention weights.
    fn attention(&self, query: &[f32], key: &[f32], value: &[f32], pack: &Pack) -> (Vec<f32>, Vec<f32>) {
        let (hidden, size, scale) = (self.config.hidden_size, self.head_size(), self.attention_scale());
        let mut context = vec![0.0; query.len()];
        let heads = self.config.num_attention_heads;
        let mut weights = vec![0.0; pack.spans.iter().map(|span| span.len() * span.len() * heads).sum()];
        let mut rest = weights.as_mut_slice();
        for span in &pack.spans {
            let tokens = span.len();
            for head in 0..heads {
                let from = span.start * hidden + head * size;
                let (q, k, v) = (
                    Mat::strided(&query[from..], tokens, size, hidden),
                    Mat::strided(&key[from..], tokens, size, hidden),
                    Mat::strided(&value[from..], tokens, size, hidden),
                );
                let (own, others) = rest.split_at_mut(tokens * tokens);
                rest = others;
                product(own, tokens, Into::Empty, scale, q, k.t());
                kernel::softmax(own, tokens);
                product(&mut context[from..], hidden, Into::Empty, 1.0, Mat::new(own, tokens, tokens), v);
            }
        }
        (context, weights)
    }

    /// Adds to `sums` (laid out as the adapter) the gradients that follow from `pooled`'s.
    pub(super) fn backward(&self, tape: &Tape, pooled: &[f32], lora: Lora<'_>, sums: &mut [f32]) {
        let hidden = self.config.hidden_size;
        let mut grads = Vec::with_capacity(tape.pack.tokens * hidden);
        for (grad, span) in pooled.chunks_exact(hidden).zip(&tape.pack.spans) {
            for _ in span.clone() {
                grads.extend(grad.iter().map(|grad| grad / length(span)));
            }
        }
        for (at, tape_of_layer) in tape.layers.iter().enumerate().rev() {
            grads = self.layer_back(at, grads, tape_of_layer, &tape.pack, lora, sums);
        }
    }

    fn layer_back(
        &self,
        at: usize,
        mut grads: Vec<f32>,
        tape: &LayerTape,
        pack: &Pack,
        lora: Lora<'_>,
        sums: &mut [f32],
    ) -> Vec<f32> {
        let layer = &self.layers[at];
        let mut back = |target: Target, grads: &[f32], xs: &[f32], into: &mut Vec<f32>| {
            let tape = &tape.linears[target as usize];
            layer.linears[target as usize].backward(grads, xs, tape, lora.layout.pair(at, target), lora, into, sums);
        };
        kernel::layer_norm_back(&mut grads, &layer.output_norm.weight, &tape.output_normed, &tape.output_scales);
        let mut inner = Vec::new();
        back(Target::Output, &grads, &tape.inner, &mut inner);
        inner.iter_mut().zip(&tape.slopes).for_each(|(grad, slope)| *grad *= slope);
        // The residual's gradient stays in `grads`; that through the feed-forward part is added.
        back(Target::Intermediate, &inner, &tape.middle, &mut grads);
        kernel::layer_norm_back(
            &mut grads,
            &layer.attention_norm.weight,
            &tape.attention_normed,
            &tape.attention_scales,
        );
        let mut context = Vec::new();
        back(Target::AttentionOutput, &grads, &tape.context, &mut context);
        let (query, key, value) = self.attention_back(&context, tape, pack);
        back(Target::Query, &query, &tape.input, &mut grads);
        back(Target::Key, &key, &tape.input, &mut grads);
        back(Target::Value, &value, &tape.input, &mut grads);
        grads
    }

    /// Gradients of query, key and value from that of the context.
    fn attention_back(&self, context: &[f32], tape: &LayerTape, pack: &Pack) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (hidden, size, scale) = (self.config.hidden_size, self.head_size(), self.attention_scale());
        let (mut query, mut key, mut value) =
            (vec![0.0; context.len()], vec![0.0; context.len()], vec![0.0; context.len()]);
        let mut rest = tape.weights.as_slice();
        let mut scores = Vec::new();
        for span in &pack.spans {
            let tokens = span.len();
            for head in 0..self.config.num_attention_heads {
                let from = span.start * hidden + head * size;
                let grad = Mat::strided(&context[from..], tokens, size, hidden);
                let (q, k, v) = (
                    Mat::strided(&tape.query[from..], tokens, size, hidden),
                    Mat::strided(&tape.key[from..], tokens, size, hidden),
                    Mat::strided(&tape.value[from..], tokens, size, hidden),
                );
                let (weights, others) = rest.split_at(tokens * tokens);
                rest = others;
                let of_weights = Mat::new(weights, tokens, tokens);
                product(&mut value[from..], hidden, Into::Empty, 1.0, of_weights.t(), grad);
                scores.resize(tokens * tokens, 0.0);
                product(&mut scores, tokens, Into::Empty, 1.0, grad, v.t());
                kernel::softmax_back(&mut scores, weights, tokens);
                let of_scores = Mat::new(&scores, tokens, tokens);
                product(&mut query[from..], hidden, Into::Empty, scale, of_scores, k);
                product(&mut key[from..], hidden, Into::Empty, scale, of_scores.t(), q);
                scores.clear();
            }
        }
        (query, key, value)
    }
}

impl Linear {
    fn forward(
        &self,
        xs: &[f32],
        lora: Option<Lora<'_>>,
        layer: usize,
        target: Target,
        tape: &mut LinearTape,
    ) -> Vec<f32> {
        let tokens = xs.len() / self.inputs;
        let mut out = Vec::with_capacity(tokens * self.outputs);
        for _ in 0..tokens {
            out.extend_from_slice(&self.bias);
        }
        let weight = Mat::new(&self.weight, self.outputs, self.inputs);
        product(&mut out, self.outputs, Into::Sum, 1.0, Mat::new(xs, tokens, self.inputs), weight.t());
        let Some((lora, Pair { a, b })) = lora.and_then(|lora| Some((lora, lora.layout.pair(layer, target)?))) else {
            return out;
        };
        if let Some(noise) = lora.noise.filter(|_| lora.layout.dropout > 0.0) {
            tape.seed = noise.wrapping_mul(64).wrapping_add((layer * TARGETS.len() + target as usize) as u64);
            let mut dropped = xs.to_vec();
            drop_out(&mut dropped, lora.layout.dropout, tape.seed);
            tape.dropped = Some(dropped);
        }
        let source = Mat::new(tape.dropped.as_deref().unwrap_or(xs), tokens, self.inputs);
        tape.reduced.resize(tokens * a.rows, 0.0);
        let factor = Mat::new(a.of(lora.numbers), a.rows, a.cols);
        product(&mut tape.reduced, a.rows, Into::Empty, lora.layout.scale, source, factor.t());
        let factor = Mat::new(b.of(lora.numbers), b.rows, b.cols);
        product(&mut out, self.outputs, Into::Sum, 1.0, Mat::new(&tape.reduced, tokens, a.rows), factor.t());
        out
    }

    /// Adds the gradient of `xs` to `into` (which it makes, where that is empty) and those of the pair to `sums`.
    #[expect(clippy::too_many_arguments, reason = "one call, and a struct for it would be named after the call")]
    fn backward(
        &self,
        grads: &[f32],
        xs: &[f32],
        tape: &LinearTape,
        pair: Option<Pair>,
        lora: Lora<'_>,
        into: &mut Vec<f32>,
        sums: &mut [f32],
    ) {
        let tokens = grads.len() / self.outputs;
        let of_grads = Mat::new(grads, tokens, self.outputs);
        let how = if into.is_empty() { Into::Empty } else { Into::Sum };
        into.resize(tokens * self.inputs, 0.0);
        product(into, self.inputs, how, 1.0, of_grads, Mat::new(&self.weight, self.outputs, self.inputs));
        let Some(Pair { a, b }) = pair else { return };
        let rank = a.rows;
        product(b.of_mut(sums), rank, Into::Sum, 1.0, of_grads.t(), Mat::new(&tape.reduced, tokens, rank));
        let mut reduced = vec![0.0; tokens * rank];
        let factor = Mat::new(b.of(lora.numbers), b.rows, b.cols);
        product(&mut reduced, rank, Into::Empty, lora.layout.scale, of_grads, factor);
        let reduced = Mat::new(&reduced, tokens, rank);
        let source = Mat::new(tape.dropped.as_deref().unwrap_or(xs), tokens, self.inputs);
        product(a.of_mut(sums), a.cols, Into::Sum, 1.0, reduced.t(), source);
        let factor = Mat::new(a.of(lora.numbers), a.rows, a.cols);
        if tape.dropped.is_none() {
            product(into, self.inputs, Into::Sum, 1.0, reduced, factor);
        } else {
            let mut through = vec![0.0; tokens * self.inputs];
            product(&mut through, self.inputs, Into::Empty, 1.0, reduced, factor);
            drop_out(&mut through, lora.layout.dropout, tape.seed);
            kernel::add(into, &through);
        }
    }
}

/// Sets a share of the values to zero and scales the others up; the same seed picks the same values.
/// A counter through the mixer of `splitmix64`: a stream cipher's quality would cost more than the matrix products.
fn drop_out(xs: &mut [f32], share: f32, seed: u64) {
    let below = (share * 65_536.0) as u64;
    let keep = 1.0 / (1.0 - share);
    let mut counter = seed.wrapping_mul(0xd134_2543_de82_ef95);
    for four in xs.chunks_mut(4) {
        counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        for (x, shift) in four.iter_mut().zip([0, 16, 32, 48]) {
            *x = if (bits >> shift) & 0xffff < below { 0.0 } else { *x * keep };
        }
    }
}

fn length(span: &Range<usize>) -> f32 {
    span.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::VarBuilder;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::model::{lora::LoraOptions, reference};

    const CLASSES: usize = 3;

    fn tiny() -> Config {
        Config {
            vocab_size: 20,
            hidden_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 24,
            max_position_embeddings: 12,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            hidden_act: "gelu".to_owned(),
        }
    }

    type Setting = (Config, HashMap<String, Tensor>, Layout, Vec<f32>, Vec<Vec<u32>>);

    /// A tiny encoder, an adapter with no zero in it, and sequences of three lengths.
    fn setting() -> Setting {
        let config = tiny();
        let tensors = reference::random_tensors(&config).unwrap();
        let options = LoraOptions { rank: 2, alpha: 3.0, dropout: 0.0, targets: TARGETS.to_vec() };
        let layout = Layout::new(&config, &options, CLASSES);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let numbers = (0..layout.len()).map(|_| rng.random_range(-0.5..0.5)).collect();
        (config, tensors, layout, numbers, vec![vec![1, 2, 3, 4, 5], vec![6, 7], vec![8, 9, 10, 11, 12, 13, 14]])
    }

    fn refs(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
        sequences.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn packed_forward_and_gradients_are_those_of_candle_autograd() {
        let (config, tensors, layout, numbers, sequences) = setting();
        let vb = VarBuilder::from_tensors(tensors.clone(), DType::F32, &Device::Cpu);
        let variables = reference::variables(&layout, &numbers).unwrap();
        let bert = reference::Bert::load(&vb, &config, &layout, &variables).unwrap();
        let expected = bert.forward(&refs(&sequences)).unwrap();
        let weighting: Vec<f32> = (0..sequences.len() * config.hidden_size).map(|at| (at as f32 * 0.7).sin()).collect();
        let shape = (sequences.len(), config.hidden_size);
        let loss =
            (&expected * Tensor::from_slice(&weighting, shape, &Device::Cpu).unwrap()).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();

        let packed = Packed::from_tensors(&mut tensors.clone(), &config).unwrap();
        let lora = Lora { layout: &layout, numbers: &numbers, noise: None };
        let (pooled, tape) = packed.taped(&refs(&sequences), lora);
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        close(&pooled, &expected, 1e-5);
        let mut sums = vec![0.0; layout.len()];
        packed.backward(&tape, &weighting, lora, &mut sums);
        for (name, pair) in layout.named_pairs() {
            for slot in [pair.a, pair.b] {
                let expected =
                    gradients.get(&variables[&slot.start]).unwrap_or_else(|| panic!("{name} has no gradient"));
                let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
                assert!(slot.of(&sums).iter().any(|gradient| gradient.abs() > 1e-6), "{name} never trains");
                close(slot.of(&sums), &expected, 1e-4);
            }
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences_with_the_same_dropout() {
        let (config, mut tensors, mut layout, mut numbers, sequences) = setting();
        layout.dropout = 0.3;
        let packed = Packed::from_tensors(&mut tensors, &config).unwrap();
        let loss = |numbers: &[f32]| -> f64 {
            let lora = Lora { layout: &layout, numbers, noise: Some(5) };
            let pooled = packed.taped(&refs(&sequences), lora).0;
            pooled.iter().enumerate().map(|(at, x)| f64::from(*x) * (at as f64 * 0.7).sin()).sum()
        };
        let lora = Lora { layout: &layout, numbers: &numbers, noise: Some(5) };
        let (pooled, tape) = packed.taped(&refs(&sequences), lora);
        let grads: Vec<f32> = (0..pooled.len()).map(|at| (at as f32 * 0.7).sin()).collect();
        let mut sums = vec![0.0; layout.len()];
        packed.backward(&tape, &grads, lora, &mut sums);
        for at in (0..layout.head_weight.start).step_by(37) {
            let (kept, step) = (numbers[at], 4e-3);
            numbers[at] = kept + step;
            let above = loss(&numbers);
            numbers[at] = kept - step;
            let below = loss(&numbers);
            numbers[at] = kept;
            let slope = (above - below) / f64::from(2.0 * step);
            let ours = f64::from(sums[at]);
            assert!(
                (slope - ours).abs() < 2e-2 * (1.0 + ours.abs()),
                "number {at}: {slope} by differences, {ours} by hand"
            );
        }
    }

    #[test]
    fn merged_weights_give_what_the_adapter_beside_them_gives() {
        let (config, mut tensors, layout, numbers, sequences) = setting();
        let packed = Packed::from_tensors(&mut tensors, &config).unwrap();
        let lora = Lora { layout: &layout, numbers: &numbers, noise: None };
        let merged = packed.merged(lora).pooled(&refs(&sequences), None);
        close(&merged, &packed.pooled(&refs(&sequences), Some(lora)), 1e-4);
        let without = packed.pooled(&refs(&sequences), None);
        assert!(without.iter().zip(&merged).any(|(a, b)| (a - b).abs() > 1e-2), "the adapter does something");
    }

    fn close(found: &[f32], expected: &[f32], within: f32) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= within * (1.0 + expected.abs()), "{found} for {expected}");
        }
    }
}
