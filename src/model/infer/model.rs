//! An encoder in bytes or bf16: its weights, and a block of sequences through them.

use std::sync::Arc;

use super::{
    super::{
        bert::Config,
        lora::{Layout, Target},
        packed::{Embeddings, Layer as Exact, Norm, Packed},
    },
    attend::KEYS,
    isa::Isa,
    lanes::LANES,
    lowrank::{Difference, LayerDifference, LowRank},
    number::{Bf16, Format, Int8, Number},
    pages::Pages,
    panels::{COLUMNS, Panels, Step, VECTORS},
    product::{Activations, Beside, Chunk, Rows},
};

/// Sizes of an encoder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    /// Columns of the feed-forward part that are computed at once: each slice has ranges of its own.
    pub(super) slice: usize,
    pub(super) layers: usize,
    /// Numbers of a head.
    pub(super) head: usize,
}

impl Shape {
    /// None where rows or heads are no whole vectors.
    fn of(config: &Config) -> Option<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let head = hidden / config.num_attention_heads;
        let whole = hidden % COLUMNS == 0 && inner % COLUMNS == 0 && [1, 2, 4].contains(&(head / LANES));
        if !whole || !head.is_multiple_of(LANES) {
            return None;
        }
        let slice = (COLUMNS..=hidden.min(inner)).rev().step_by(COLUMNS).find(|slice| inner % slice == 0)?;
        Some(Self { hidden, inner, slice, layers: config.num_hidden_layers, head })
    }

    /// From a token's query, key and value to the next one's: a vector more than they need, for rows whose distance is a power of two
    /// would push each other out of the cache.
    fn qkv_stride(&self) -> usize {
        3 * self.hidden + LANES
    }

    /// From a token's slice of the feed-forward part to the next one's.
    fn slice_stride(&self) -> usize {
        self.slice + LANES
    }

    pub(super) fn outputs(&self, target: Target) -> usize {
        if target == Target::Intermediate { self.inner } else { self.hidden }
    }

    /// What a layer's outputs are multiplied by: queries so that attention weights are powers of 2.
    pub(super) fn factor(&self, target: Target) -> f32 {
        if target == Target::Query { std::f32::consts::LOG2_E / (self.head as f32).sqrt() } else { 1.0 }
    }
}

type Weights = Panels<VECTORS>;

struct Layer {
    qkv: Weights,
    out: Weights,
    /// Up and down of each slice of the feed-forward part.
    slices: Vec<(Weights, Weights)>,
    attention_norm: Norm,
    output_norm: Norm,
}

/// An encoder whose linear layers' weights are kept in fewer bits. Its embeddings and norms are as they came.
pub(in crate::model) struct Model {
    format: Format,
    shape: Shape,
    eps: f32,
    embeddings: Arc<Embeddings>,
    layers: Vec<Layer>,
    /// Of all products, in the order of use: they are read from front to back again and again.
    steps: Pages<Step<VECTORS>>,
}

impl Model {
    /// None where the encoder's sizes are not whole vectors.
    pub(in crate::model) fn new(exact: &Packed, format: Format) -> Option<Self> {
        let shape = Shape::of(exact.config())?;
        let mut steps = Vec::new();
        let layers = exact.layers().iter().map(|layer| Layer::new(layer, &shape, format, &mut steps)).collect();
        let eps = exact.config().layer_norm_eps as f32;
        let embeddings = exact.embeddings();
        let mut pages = Pages::new(steps.len(), Step::EMPTY);
        pages.all_mut().copy_from_slice(&steps);
        Some(Self { format, shape, eps, embeddings, layers, steps: pages })
    }

    /// What was learned, ready to be computed beside these weights; nothing where that is the head alone.
    pub(in crate::model) fn beside(&self, layout: &Layout, numbers: &[f32]) -> Option<LowRank> {
        LowRank::new(&self.shape, self.format, layout, numbers)
    }

    /// What its weights are kept as.
    pub(in crate::model) fn format(&self) -> Format {
        self.format
    }

    /// Numbers of a vector.
    pub(in crate::model) fn hidden(&self) -> usize {
        self.shape.hidden
    }

    /// Operations for a token, without those of attention: a multiplication and an addition are two.
    pub(in crate::model) fn operations(&self) -> usize {
        let Shape { hidden, inner, layers, .. } = self.shape;
        2 * layers * (4 * hidden * hidden + 2 * hidden * inner)
    }
}

impl Layer {
    /// Adds the layer's weights to `steps` in the order of use.
    fn new(exact: &Exact, shape: &Shape, format: Format, steps: &mut Vec<Step<VECTORS>>) -> Self {
        let numbers = |target: Target| exact.linears[target as usize].weight.numbers();
        let bias = |target: Target| exact.linears[target as usize].bias.as_slice();
        let Shape { hidden, inner, slice, .. } = *shape;
        let of_qkv = [Target::Query, Target::Key, Target::Value];
        let qkv = of_qkv.map(numbers).concat();
        let qkv = Panels::add(steps, format, hidden, qkv.chunks_exact(hidden), |output| {
            let target = of_qkv[output / hidden];
            (bias(target)[output % hidden], shape.factor(target))
        });
        let out = numbers(Target::AttentionOutput);
        let out =
            Panels::add(steps, format, hidden, out.chunks_exact(hidden), |at| (bias(Target::AttentionOutput)[at], 1.0));
        let (up, down) = (numbers(Target::Intermediate), numbers(Target::Output));
        let slices = (0..inner).step_by(slice).map(|from| {
            let rows = up[from * hidden..(from + slice) * hidden].chunks_exact(hidden);
            let up = Panels::add(steps, format, hidden, rows, |at| (bias(Target::Intermediate)[from + at], 1.0));
            let rows = down.chunks_exact(inner).map(|row| &row[from..from + slice]);
            // The bias counts once.
            let once = |at: usize| if from == 0 { bias(Target::Output)[at] } else { 0.0 };
            (up, Panels::add(steps, format, slice, rows, |at| (once(at), 1.0)))
        });
        let slices = slices.collect();
        Self { qkv, out, slices, attention_norm: exact.attention_norm.clone(), output_norm: exact.output_norm.clone() }
    }
}

/// Sequences one after the other, computed on one core.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) ids: &'a [u32],
    /// Tokens of each sequence, and the place of its adapter, if it has one.
    pub(super) sequences: &'a [(usize, Option<usize>)],
    pub(super) adapters: &'a [Arc<LowRank>],
}

/// What a block needs while it is computed; kept from block to block, and grown where one is larger than any before.
#[derive(Default)]
pub(super) struct Scratch {
    numbers: Pages<f32>,
    bytes: Pages<u8>,
    ranges: Vec<[f32; 2]>,
    chunks: Vec<Chunk>,
}

/// Room for parts of these sizes, one after the other.
fn parts<const N: usize, T: Copy + Default>(kept: &mut Pages<T>, sizes: [usize; N]) -> [&mut [T]; N] {
    let size = sizes.iter().sum();
    if kept.all().len() < size {
        *kept = Pages::new(size, T::default());
    }
    let mut rest = kept.all_mut();
    sizes.map(|size| {
        let (part, others) = std::mem::take(&mut rest).split_at_mut(size);
        rest = others;
        part
    })
}

fn room<T: Clone + Default>(kept: &mut Vec<T>, size: usize) -> &mut [T] {
    if kept.len() < size {
        kept.resize(size, T::default());
    }
    &mut kept[..size]
}

/// As few chunks of at most so many rows as possible, sequences of one adapter together. All are of one size but the last, because
/// tiles are set anew for another.
pub(super) fn cut(sequences: &[(usize, Option<usize>)], most: usize, chunks: &mut Vec<Chunk>) {
    chunks.clear();
    let mut row = 0;
    for alike in sequences.chunk_by(|a, b| a.1 == b.1) {
        let tokens: usize = alike.iter().map(|(tokens, _)| tokens).sum();
        let end = row + tokens;
        let size = tokens.div_ceil(tokens.div_ceil(most).max(1)).max(1);
        let of = |row| Chunk { row, rows: size.min(end - row), adapter: alike[0].1 };
        chunks.extend((row..end).step_by(size).map(of));
        row = end;
    }
}

impl Model {
    /// Mean over each sequence's tokens of the last layer, `[sequences, hidden]`; zeros for one without tokens.
    pub(super) fn pooled(&self, isa: Isa, block: Block<'_>, scratch: &mut Scratch, out: &mut [f32]) {
        let isa = isa.for_rows(block.ids.len(), self.format);
        match self.format {
            Format::Int8 => self.pooled_in::<Int8>(isa, block, scratch, out),
            Format::Bf16 => self.pooled_in::<Bf16>(isa, block, scratch, out),
        }
    }

    fn pooled_in<N: Number>(&self, isa: Isa, block: Block<'_>, scratch: &mut Scratch, out: &mut [f32]) {
        let Scratch { numbers, bytes, ranges, chunks } = scratch;
        cut(block.sequences, isa.rows(), chunks);
        let width = block.adapters.iter().map(|adapter| adapter.width).max().unwrap_or(0);
        let pass = Pass { isa, block, chunks, width };
        let mut room = Room::new::<N>(&self.shape, &pass, numbers, bytes, ranges);
        self.embed::<N>(&pass, &mut room);
        for at in 0..self.layers.len() {
            self.attention::<N>(at, &pass, &mut room);
            self.feed_forward::<N>(at, &pass, &mut room);
        }
        let hidden = self.shape.hidden;
        let mut rest = &*room.xs;
        for ((length, _), out) in block.sequences.iter().zip(out.chunks_exact_mut(hidden)) {
            let (rows, others) = rest.split_at(length * hidden);
            rest = others;
            if rows.is_empty() { out.fill(0.0) } else { isa.mean(rows, out) }
        }
    }

    fn embed<N: Number>(&self, pass: &Pass<'_>, room: &mut Room<'_>) {
        let hidden = self.shape.hidden;
        let Embeddings { words, positions, norm } = &*self.embeddings;
        let mut rest = (pass.block.ids, &mut *room.xs);
        for (length, _) in pass.block.sequences {
            let (ids, others) = rest.0.split_at(*length);
            let (rows, others_rows) = std::mem::take(&mut rest.1).split_at_mut(length * hidden);
            pass.isa.embed(ids, words, positions, hidden, rows);
            rest = (others, others_rows);
        }
        self.norm::<N>(norm, pass.isa, room);
    }

    fn norm<N: Number>(&self, norm: &Norm, isa: Isa, room: &mut Room<'_>) {
        isa.norm::<N>(room.xs, (&norm.weight, &norm.bias, self.eps), room.bytes, room.ranges);
    }

    fn attention<N: Number>(&self, at: usize, pass: &Pass<'_>, room: &mut Room<'_>) {
        let (layer, steps, isa) = (&self.layers[at], self.steps.all(), pass.isa);
        let Shape { hidden, head, .. } = self.shape;
        let stride = self.shape.qkv_stride();
        let Room { xs, wide, reduced, scores, bytes, ranges, .. } = room;
        let qkv = &mut wide[..pass.block.ids.len() * stride];
        let read = Activations { bytes, ranges };
        pass.reduce::<N>(at, |layer| &layer.qkv, 0, read, reduced);
        let beside = pass.beside(at, |layer| &layer.qkv, 0, reduced);
        isa.plain::<N>(read, (steps, &layer.qkv), pass.chunks, beside, Rows { values: qkv, stride });
        let mut rest = &mut *qkv;
        for (length, _) in pass.block.sequences {
            let (rows, others) = rest.split_at_mut(length * stride);
            rest = others;
            match head / LANES {
                1 => isa.attend_1(rows, (stride, hidden), scores),
                2 => isa.attend_2(rows, (stride, hidden), scores),
                _ => isa.attend_4(rows, (stride, hidden), scores),
            }
        }
        isa.to_bytes::<N>(qkv, (stride, hidden), bytes, ranges);
        let read = Activations { bytes, ranges };
        pass.reduce::<N>(at, |layer| &layer.out, 0, read, reduced);
        let beside = pass.beside(at, |layer| &layer.out, 0, reduced);
        isa.added::<N>(read, (steps, &layer.out), pass.chunks, beside, Rows { values: xs, stride: hidden });
        self.norm::<N>(&layer.attention_norm, isa, room);
    }

    fn feed_forward<N: Number>(&self, at: usize, pass: &Pass<'_>, room: &mut Room<'_>) {
        let (layer, steps, isa) = (&self.layers[at], self.steps.all(), pass.isa);
        let Shape { hidden, slice, .. } = self.shape;
        let stride = self.shape.slice_stride();
        let Room { xs, wide, reduced, gathered, bytes, inner_bytes, ranges, inner_ranges, .. } = room;
        let middle = &mut wide[..pass.block.ids.len() * stride];
        let read = Activations { bytes, ranges };
        pass.reduce::<N>(at, |layer| &layer.up, 0, read, reduced);
        for (place, (up, down)) in layer.slices.iter().enumerate() {
            let beside = pass.beside(at, |layer| &layer.up, place * slice / COLUMNS, reduced);
            isa.gelu::<N>(read, (steps, up), pass.chunks, beside, Rows { values: middle, stride });
            isa.to_bytes::<N>(middle, (stride, slice), inner_bytes, inner_ranges);
            let inner = Activations { bytes: inner_bytes, ranges: inner_ranges };
            pass.reduce::<N>(at, |layer| &layer.down, place, inner, gathered);
            // The second factor reads all slices together.
            let last = place + 1 == layer.slices.len();
            let beside = pass.beside(at, |layer| &layer.down, 0, gathered).filter(|_| last);
            isa.added::<N>(inner, (steps, down), pass.chunks, beside, Rows { values: xs, stride: hidden });
        }
        self.norm::<N>(&layer.output_norm, isa, room);
    }
}

/// A block on its way through the layers.
struct Pass<'a> {
    isa: Isa,
    block: Block<'a>,
    chunks: &'a [Chunk],
    /// Most numbers that an adapter's first factors reduce a row to.
    width: usize,
}

/// Activations of a block, each a row for each token. All are whole vectors, so that none lies on two cache lines.
struct Room<'a> {
    /// What goes from layer to layer.
    xs: &'a mut [f32],
    /// Query, key and value, then a slice of the feed-forward part.
    wide: &'a mut [f32],
    /// What first factors make of a row, and of the feed-forward part's slices together.
    reduced: &'a mut [f32],
    gathered: &'a mut [f32],
    /// Of one sequence and head.
    scores: &'a mut [[f32; LANES]],
    /// What products read: of the hidden size, and of a slice of the feed-forward part.
    bytes: &'a mut [u8],
    inner_bytes: &'a mut [u8],
    ranges: &'a mut [[f32; 2]],
    inner_ranges: &'a mut [[f32; 2]],
}

impl<'a> Room<'a> {
    fn new<N: Number>(
        shape: &Shape,
        pass: &Pass<'_>,
        numbers: &'a mut Pages<f32>,
        bytes: &'a mut Pages<u8>,
        ranges: &'a mut Vec<[f32; 2]>,
    ) -> Self {
        let tokens = pass.block.ids.len();
        let longest = pass.block.sequences.iter().map(|(tokens, _)| *tokens).max().unwrap_or(0);
        let wide = tokens * shape.qkv_stride().max(shape.slice_stride());
        let reduced = tokens * pass.width;
        let sizes = [tokens * shape.hidden, wide, reduced, reduced, (longest + KEYS) * LANES];
        let [xs, wide, reduced, gathered, scores] = parts(numbers, sizes);
        let [bytes, inner_bytes] = parts(bytes, [shape.hidden, shape.slice].map(|size| tokens * size * N::SIZE));
        let (ranges, inner_ranges) = room(ranges, 2 * tokens).split_at_mut(tokens);
        let scores = scores.as_chunks_mut().0;
        Self { xs, wide, reduced, gathered, scores, bytes, inner_bytes, ranges, inner_ranges }
    }
}

impl<'a> Pass<'a> {
    /// What each adapter's first factors make of its own rows' inputs of this slice: added to what they made of
    /// those before.
    fn reduce<N: Number>(
        &self,
        layer: usize,
        of: fn(&LayerDifference) -> &Difference,
        slice: usize,
        read: Activations<'_>,
        reduced: &mut [f32],
    ) {
        for chunks in self.chunks.chunk_by(|a, b| a.adapter == b.adapter) {
            let Some(adapter) = chunks[0].adapter.map(|at| &self.block.adapters[at]) else { continue };
            let Some(panels) = of(&adapter.layers[layer]).reduce.get(slice) else { continue };
            let to = Rows { values: reduced, stride: self.width };
            if slice == 0 {
                self.isa.reduce::<N>(read, (&adapter.steps, panels), chunks, to);
            } else {
                self.isa.reduce_more::<N>(read, (&adapter.steps, panels), chunks, to);
            }
        }
    }

    fn beside<'r>(
        &self,
        layer: usize,
        of: fn(&LayerDifference) -> &Difference,
        panel: usize,
        reduced: &'r [f32],
    ) -> Option<Beside<'r>>
    where
        'a: 'r,
    {
        let (adapters, stride) = (self.block.adapters, self.width);
        (!adapters.is_empty()).then_some(Beside { adapters, layer, of, panel, reduced, stride })
    }
}
