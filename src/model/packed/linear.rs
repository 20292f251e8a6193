//! One linear layer: its weights as they came, in NF4 or in bf16, with a low-rank difference beside them or
//! trained themselves.

use std::{borrow::Cow, sync::Arc};

use macro_rules_attribute::apply;

use super::{
    super::{
        infer::FrozenWeight,
        kernel::{self, Into, Mat, each_instruction_set, product},
        lora::{Pair, Target},
        nf4::Nf4,
    },
    Learned, Mix, trained,
};

/// A weight matrix, row after row.
#[derive(Clone)]
pub(in crate::model) enum Weight {
    Plain(Vec<f32>),
    Nf4(Nf4),
    /// As they came, and in bf16 for products.
    Bf16(Vec<f32>, Arc<FrozenWeight>),
}

impl Weight {
    /// Its numbers; those of NF4 are made anew each time, which is what keeps it small.
    pub(in crate::model) fn numbers(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Plain(numbers) | Self::Bf16(numbers, _) => Cow::Borrowed(numbers),
            Self::Nf4(quantized) => Cow::Owned(quantized.dequantize()),
        }
    }

    /// Changes the numbers, which are NF4 or bf16 no longer.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut [f32])) {
        let mut numbers = match self {
            Self::Plain(numbers) | Self::Bf16(numbers, _) => std::mem::take(numbers),
            Self::Nf4(quantized) => quantized.dequantize(),
        };
        change(&mut numbers);
        *self = Self::Plain(numbers);
    }

    pub(super) fn quantize(&mut self) {
        *self = Self::Nf4(Nf4::quantize(&self.numbers()));
    }

    /// Nothing where the rows, `inputs` long, or the columns are no whole vectors.
    pub(super) fn halve(&mut self, inputs: usize) -> Option<()> {
        let numbers = self.numbers().into_owned();
        let frozen = FrozenWeight::new(&numbers, inputs)?;
        *self = Self::Bf16(numbers, Arc::new(frozen));
        Some(())
    }
}

#[derive(Clone)]
pub(in crate::model) struct Linear {
    /// `[outputs, inputs]`
    pub(in crate::model) weight: Weight,
    pub(in crate::model) bias: Vec<f32>,
    pub(in crate::model) inputs: usize,
    pub(in crate::model) outputs: usize,
}

/// Which linear layer of the encoder.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) target: Target,
}

/// What a forward keeps for its backward, which is of one group alone.
#[derive(Default)]
pub(super) struct LinearTape {
    /// The input of the difference, where dropout made it another than the layer's input.
    dropped: Option<Vec<f32>>,
    /// Scale times the input through `a`: `[tokens, rank]`.
    reduced: Vec<f32>,
    seed: u64,
}

impl Linear {
    fn in_use<'a>(&'a self, learned: Option<Learned<'a>>, place: Place) -> (Cow<'a, [f32]>, &'a [f32]) {
        match trained(learned, |whole| whole.layers[place.layer].linears[place.target as usize]) {
            Some((weight, bias)) => (Cow::Borrowed(weight), bias),
            None => (self.weight.numbers(), &self.bias),
        }
    }

    pub(super) fn forward(&self, xs: &[f32], mix: &Mix<'_>, place: Place, tape: &mut LinearTape) -> Vec<f32> {
        let tokens = xs.len() / self.inputs;
        let (weight, bias) = self.in_use(mix.whole(), place);
        let mut out = Vec::with_capacity(tokens * self.outputs);
        for _ in 0..tokens {
            out.extend_from_slice(bias);
        }
        if let Weight::Bf16(_, frozen) = &self.weight {
            debug_assert!(mix.whole().is_none(), "frozen weights, and others that train in their place");
            frozen.ahead(xs, &mut out);
        } else {
            let weight = Mat::new(&weight, self.outputs, self.inputs);
            product(&mut out, self.outputs, Into::Sum, 1.0, Mat::new(xs, tokens, self.inputs), weight.t());
        }
        for (group, learned) in &mix.0 {
            let xs = &xs[group.start * self.inputs..group.end * self.inputs];
            self.differ(xs, *learned, place, tape, &mut out[group.start * self.outputs..group.end * self.outputs]);
        }
        out
    }

    /// Adds a low-rank difference, where there is one, to what the weights made of `xs`.
    fn differ(&self, xs: &[f32], lora: Learned<'_>, place: Place, tape: &mut LinearTape, out: &mut [f32]) {
        let Some(Pair { a, b }) = lora.layout.pair(place.layer, place.target) else { return };
        let tokens = xs.len() / self.inputs;
        if let Some(noise) = lora.noise.filter(|_| lora.layout.dropout > 0.0) {
            tape.seed = lora.layout.noise(noise, place.layer, place.target);
            let mut dropped = xs.to_vec();
            drop_out(&mut dropped, lora.layout.dropout, tape.seed);
            tape.dropped = Some(dropped);
        }
        let source = Mat::new(tape.dropped.as_deref().unwrap_or(xs), tokens, self.inputs);
        tape.reduced.resize(tokens * a.rows, 0.0);
        let factor = spaced(a.of(lora.numbers), a.rows);
        let factor = Mat::strided(&factor, a.cols, a.rows, a.rows + 1);
        product(&mut tape.reduced, a.rows, Into::Empty, lora.layout.scale, source, factor);
        let factor = Mat::new(b.of(lora.numbers), b.rows, b.cols);
        product(out, self.outputs, Into::Sum, 1.0, Mat::new(&tape.reduced, tokens, a.rows), factor.t());
    }

    /// Adds the gradient of `xs` to `into` (which it makes, where that is empty), if anybody wants it, and those
    /// of what trains here to `sums`.
    pub(super) fn backward(
        &self,
        (grads, xs): (&[f32], &[f32]),
        learned: Learned<'_>,
        place: Place,
        tape: &LinearTape,
        mut into: Option<&mut Vec<f32>>,
        sums: &mut [f32],
    ) {
        let tokens = grads.len() / self.outputs;
        let of_grads = Mat::new(grads, tokens, self.outputs);
        if let Some(into) = into.as_deref_mut() {
            let how = if into.is_empty() { Into::Empty } else { Into::Sum };
            into.resize(tokens * self.inputs, 0.0);
            if let Weight::Bf16(_, frozen) = &self.weight {
                frozen.back(grads, into);
            } else {
                let (weight, _) = self.in_use(Some(learned), place);
                product(into, self.inputs, how, 1.0, of_grads, Mat::new(&weight, self.outputs, self.inputs));
            }
        }
        if let Some(whole) = &learned.layout.whole {
            let slots = whole.layers[place.layer].linears[place.target as usize];
            let of_xs = Mat::new(xs, tokens, self.inputs);
            product(slots.weight.of_mut(sums), self.inputs, Into::Sum, 1.0, of_grads.t(), of_xs);
            kernel::add_rows(slots.bias.of_mut(sums), grads);
        }
        let Some(Pair { a, b }) = learned.layout.pair(place.layer, place.target) else { return };
        let rank = a.rows;
        product(b.of_mut(sums), rank, Into::Sum, 1.0, of_grads.t(), Mat::new(&tape.reduced, tokens, rank));
        let mut reduced = vec![0.0; tokens * rank];
        let factor = Mat::new(b.of(learned.numbers), b.rows, b.cols);
        product(&mut reduced, rank, Into::Empty, learned.layout.scale, of_grads, factor);
        let reduced = Mat::new(&reduced, tokens, rank);
        let source = Mat::new(tape.dropped.as_deref().unwrap_or(xs), tokens, self.inputs);
        product(a.of_mut(sums), a.cols, Into::Sum, 1.0, reduced.t(), source);
        let Some(into) = into else { return };
        let factor = Mat::new(a.of(learned.numbers), a.rows, a.cols);
        if tape.dropped.is_none() {
            product(into, self.inputs, Into::Sum, 1.0, reduced, factor);
        } else {
            let mut through = vec![0.0; tokens * self.inputs];
            product(&mut through, self.inputs, Into::Empty, 1.0, reduced, factor);
            drop_out(&mut through, learned.layout.dropout, tape.seed);
            kernel::add(into, &through);
        }
    }
}

/// The rows of a factor as columns of a matrix whose rows are a number longer: [`product`] adds in one order for few
/// tokens and in another for many where what it adds lies side by side in both of its matrices, and what a token gives
/// must not depend on how many there are.
fn spaced(factor: &[f32], rows: usize) -> Vec<f32> {
    let cols = factor.len() / rows;
    let mut columns = vec![0.0; cols * (rows + 1)];
    for (row, numbers) in factor.chunks_exact(cols).enumerate() {
        for (column, number) in columns.chunks_exact_mut(rows + 1).zip(numbers) {
            column[row] = *number;
        }
    }
    columns
}

/// Sets a share of the values to zero and scales the others up; the same seed picks the same values.
/// A counter through the mixer of `splitmix64`: a stream cipher's quality would cost more than the matrix products.
#[apply(each_instruction_set)]
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
