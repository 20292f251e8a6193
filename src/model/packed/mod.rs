//! The encoder on the CPU, forward and backward by hand.
//!
//! Sequences lie packed one after the other, so that no padding is computed; the backward computes
//! the gradients of what trains and of what lies between, and never those of frozen weights. Both
//! are what makes this several times faster than a general autograd; `tests.rs` holds it against one.

mod attention;
mod linear;
#[cfg(test)]
mod tests;
mod weights;

use std::{ops::Range, sync::Arc};

use self::linear::{LinearTape, Place};
pub(super) use self::weights::{Embeddings, Layer, Norm};
use super::{
    bert::Config,
    kernel,
    lora::{Layout, TARGETS, Target},
    whole::{Affine, Whole},
};

/// The weights of an encoder; a clone shares the embeddings.
#[derive(Clone)]
pub(super) struct Packed {
    config: Config,
    embeddings: Arc<Embeddings>,
    layers: Vec<Layer>,
}

/// What was learned, in use: in training `noise` seeds the dropout of this shard and step.
#[derive(Clone, Copy)]
pub(super) struct Learned<'a> {
    pub(super) layout: &'a Layout,
    pub(super) numbers: &'a [f32],
    pub(super) noise: Option<u64>,
}

/// Weight and bias of a part of the encoder, where those are trained.
fn trained<'a>(learned: Option<Learned<'a>>, pick: impl FnOnce(&Whole) -> Affine) -> Option<(&'a [f32], &'a [f32])> {
    let Learned { layout, numbers, .. } = learned?;
    let slots = pick(layout.whole.as_ref()?);
    Some((slots.weight.of(numbers), slots.bias.of(numbers)))
}

/// Sequences that are read with the same learned numbers, or with none.
#[derive(Clone)]
pub(super) struct Group<'a> {
    pub(super) learned: Option<Learned<'a>>,
    pub(super) sequences: Vec<&'a [u32]>,
}

impl<'a> Group<'a> {
    pub(super) fn new<S: AsRef<[u32]>>(learned: Option<Learned<'a>>, sequences: &'a [S]) -> Self {
        Self { learned, sequences: sequences.iter().map(AsRef::as_ref).collect() }
    }
}

/// Sequences one after the other.
struct Pack {
    ids: Vec<u32>,
    spans: Vec<Range<usize>>,
}

impl Pack {
    fn new(groups: &[Group<'_>]) -> Self {
        let sequences = || groups.iter().flat_map(|group| &group.sequences);
        Self {
            spans: spans(sequences().map(|ids| ids.len())).collect(),
            ids: sequences().copied().flatten().copied().collect(),
        }
    }
}

/// Where pieces of these lengths lie, one after the other.
fn spans(lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = Range<usize>> {
    lengths.scan(0, |end, length| {
        *end += length;
        Some(*end - length..*end)
    })
}

/// What was learned in each group of a pack, and the group's tokens. The base's products are computed over
/// all tokens together; only a low-rank difference is computed group by group.
struct Mix<'a>(Vec<(Range<usize>, Learned<'a>)>);

impl<'a> Mix<'a> {
    fn new(groups: &[Group<'a>]) -> Self {
        let lengths = groups.iter().map(|group| group.sequences.iter().map(|ids| ids.len()).sum());
        let mix: Vec<_> = spans(lengths).zip(groups).filter_map(|(span, group)| Some((span, group.learned?))).collect();
        let whole = mix.iter().any(|(_, learned)| learned.layout.whole.is_some());
        assert!(!whole || groups.len() == 1, "other weights for one group than for another");
        Self(mix)
    }

    /// Whoever trains every weight is alone in its pack.
    fn whole(&self) -> Option<Learned<'a>> {
        self.0.first().map(|(_, learned)| *learned).filter(|learned| learned.layout.whole.is_some())
    }
}

/// What a layer norm keeps for its backward.
#[derive(Default)]
struct NormTape {
    normed: Vec<f32>,
    scales: Vec<f32>,
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
    attention_norm: NormTape,
    middle: Vec<f32>,
    inner: Vec<f32>,
    slopes: Vec<f32>,
    output_norm: NormTape,
    linears: [LinearTape; TARGETS.len()],
}

/// What a forward keeps for its backward.
pub(super) struct Tape {
    pack: Pack,
    embeddings: NormTape,
    layers: Vec<LayerTape>,
}

impl Packed {
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn embeddings(&self) -> Arc<Embeddings> {
        self.embeddings.clone()
    }

    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Mean over each sequence's tokens of the last layer: `[sequences, hidden]`, row after row.
    pub(super) fn pooled(&self, groups: &[Group<'_>]) -> Vec<f32> {
        self.forward(groups, false).0
    }

    /// [`Packed::pooled`], and what its backward needs.
    pub(super) fn taped(&self, sequences: &[&[u32]], learned: Learned<'_>) -> (Vec<f32>, Tape) {
        self.forward(&[Group::new(Some(learned), sequences)], true)
    }

    fn forward(&self, groups: &[Group<'_>], keep: bool) -> (Vec<f32>, Tape) {
        let hidden = self.config.hidden_size;
        let mix = Mix::new(groups);
        let mut tape = Tape { pack: Pack::new(groups), embeddings: NormTape::default(), layers: Vec::new() };
        let mut xs = self.embed(&tape.pack, mix.whole(), &mut tape.embeddings);
        for at in 0..self.layers.len() {
            let mut of_layer = LayerTape::default();
            xs = self.layer(at, xs, &tape.pack, &mix, &mut of_layer);
            if keep {
                tape.layers.push(of_layer);
            }
        }
        let mut pooled = vec![0.0; tape.pack.spans.len() * hidden];
        for (out, span) in pooled.chunks_exact_mut(hidden).zip(&tape.pack.spans) {
            xs[span.start * hidden..span.end * hidden].chunks_exact(hidden).for_each(|row| kernel::add(out, row));
            out.iter_mut().for_each(|x| *x /= length(span));
        }
        (pooled, tape)
    }

    fn embed(&self, pack: &Pack, learned: Option<Learned<'_>>, tape: &mut NormTape) -> Vec<f32> {
        let hidden = self.config.hidden_size;
        let Embeddings { words, positions, norm } = &*self.embeddings;
        let of = |learned: Learned<'_>| learned.layout.whole.as_ref().map(|whole| (whole.words, whole.positions));
        let (words, positions) = match learned.and_then(|learned| Some((learned.numbers, of(learned)?))) {
            Some((numbers, (words, positions))) => (words.of(numbers), positions.of(numbers)),
            None => (words.as_slice(), positions.as_slice()),
        };
        let mut xs = Vec::with_capacity(pack.ids.len() * hidden);
        for span in &pack.spans {
            for (id, position) in pack.ids[span.clone()].iter().zip(positions.chunks_exact(hidden)) {
                let word = &words[*id as usize * hidden..][..hidden];
                xs.extend(word.iter().zip(position).map(|(word, position)| word + position));
            }
        }
        self.norm(norm, trained(learned, |whole| whole.norm), &mut xs, tape);
        xs
    }

    fn norm(&self, norm: &Norm, trained: Option<(&[f32], &[f32])>, xs: &mut [f32], tape: &mut NormTape) {
        let (weight, bias) = trained.unwrap_or((&norm.weight, &norm.bias));
        tape.normed.resize(xs.len(), 0.0);
        tape.scales.resize(xs.len() / weight.len(), 0.0);
        let eps = self.config.layer_norm_eps as f32;
        kernel::layer_norm(xs, (weight, bias, eps), &mut tape.normed, &mut tape.scales);
    }

    fn layer(&self, at: usize, input: Vec<f32>, pack: &Pack, mix: &Mix<'_>, tape: &mut LayerTape) -> Vec<f32> {
        let layer = &self.layers[at];
        let mut linear = |target: Target, xs: &[f32]| {
            let place = Place { layer: at, target };
            layer.linears[target as usize].forward(xs, mix, place, &mut tape.linears[target as usize])
        };
        tape.query = linear(Target::Query, &input);
        tape.key = linear(Target::Key, &input);
        tape.value = linear(Target::Value, &input);
        (tape.context, tape.weights) = self.attention(&tape.query, &tape.key, &tape.value, pack);
        let mut xs = linear(Target::AttentionOutput, &tape.context);
        kernel::add(&mut xs, &input);
        tape.input = input;
        let norm = trained(mix.whole(), |whole| whole.layers[at].attention_norm);
        self.norm(&layer.attention_norm, norm, &mut xs, &mut tape.attention_norm);
        let mut inner = linear(Target::Intermediate, &xs);
        tape.slopes.resize(inner.len(), 0.0);
        kernel::gelu(&mut inner, &mut tape.slopes);
        let mut out = linear(Target::Output, &inner);
        kernel::add(&mut out, &xs);
        (tape.inner, tape.middle) = (inner, xs);
        let norm = trained(mix.whole(), |whole| whole.layers[at].output_norm);
        self.norm(&layer.output_norm, norm, &mut out, &mut tape.output_norm);
        out
    }

    /// Adds to `sums` (laid out as the adapter) the gradients that follow from `pooled`'s.
    pub(super) fn backward(&self, tape: &Tape, pooled: &[f32], learned: Learned<'_>, sums: &mut [f32]) {
        let hidden = self.config.hidden_size;
        let mut grads = Vec::with_capacity(tape.pack.ids.len() * hidden);
        for (grad, span) in pooled.chunks_exact(hidden).zip(&tape.pack.spans) {
            for _ in span.clone() {
                grads.extend(grad.iter().map(|grad| grad / length(span)));
            }
        }
        for (at, of_layer) in tape.layers.iter().enumerate().rev() {
            grads = self.layer_back(at, grads, of_layer, &tape.pack, learned, sums);
        }
        if let Some(whole) = &learned.layout.whole {
            norm_back(&self.embeddings.norm, learned, |whole| whole.norm, &mut grads, &tape.embeddings, sums);
            for span in &tape.pack.spans {
                let rows = grads[span.start * hidden..span.end * hidden].chunks_exact(hidden);
                for ((position, id), row) in tape.pack.ids[span.clone()].iter().enumerate().zip(rows) {
                    kernel::add(&mut whole.words.of_mut(sums)[*id as usize * hidden..][..hidden], row);
                    kernel::add(&mut whole.positions.of_mut(sums)[position * hidden..][..hidden], row);
                }
            }
        }
    }

    fn layer_back(
        &self,
        at: usize,
        mut grads: Vec<f32>,
        tape: &LayerTape,
        pack: &Pack,
        learned: Learned<'_>,
        sums: &mut [f32],
    ) -> Vec<f32> {
        let layer = &self.layers[at];
        let back = |target: Target, grads: &[f32], xs: &[f32], into: Option<&mut Vec<f32>>, sums: &mut [f32]| {
            let (place, tape) = (Place { layer: at, target }, &tape.linears[target as usize]);
            layer.linears[target as usize].backward((grads, xs), learned, place, tape, into, sums);
        };
        let of_output = |whole: &Whole| whole.layers[at].output_norm;
        norm_back(&layer.output_norm, learned, of_output, &mut grads, &tape.output_norm, sums);
        let mut inner = Vec::new();
        back(Target::Output, &grads, &tape.inner, Some(&mut inner), sums);
        inner.iter_mut().zip(&tape.slopes).for_each(|(grad, slope)| *grad *= slope);
        // The residual's gradient stays in `grads`; that through the feed-forward part is added.
        back(Target::Intermediate, &inner, &tape.middle, Some(&mut grads), sums);
        let of_attention = |whole: &Whole| whole.layers[at].attention_norm;
        norm_back(&layer.attention_norm, learned, of_attention, &mut grads, &tape.attention_norm, sums);
        let mut context = Vec::new();
        back(Target::AttentionOutput, &grads, &tape.context, Some(&mut context), sums);
        let (query, key, value) = self.attention_back(&context, tape, pack);
        // Beneath the first layer lie the embeddings, which train only where every weight does.
        let wanted = at > 0 || learned.layout.whole.is_some();
        for (target, of) in [(Target::Query, &query), (Target::Key, &key), (Target::Value, &value)] {
            back(target, of, &tape.input, wanted.then_some(&mut grads), sums);
        }
        grads
    }
}

/// Gradient of a layer norm's input from that of its output, in place; those of its own numbers,
/// where they train, are added to `sums`.
fn norm_back(
    norm: &Norm,
    learned: Learned<'_>,
    pick: impl Fn(&Whole) -> Affine,
    grads: &mut [f32],
    tape: &NormTape,
    sums: &mut [f32],
) {
    let weight = trained(Some(learned), &pick).map_or(norm.weight.as_slice(), |(weight, _)| weight);
    if let Some(slots) = learned.layout.whole.as_ref().map(pick) {
        kernel::add_products(slots.weight.of_mut(sums), grads, &tape.normed);
        kernel::add_rows(slots.bias.of_mut(sums), grads);
    }
    kernel::layer_norm_back(grads, weight, &tape.normed, &tape.scales);
}

fn length(span: &Range<usize>) -> f32 {
    span.len().max(1) as f32
}
