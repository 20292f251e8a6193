//! A frozen weight for training: both of its products in bf16, with sums in `f32`.

use super::{
    isa::Isa,
    model::cut,
    number::{Bf16, Format, Number},
    panels::{COLUMNS, Panels, Step, VECTORS},
    product::{Activations, Rows},
};

/// A weight matrix that doesn't train, in bf16, laid out once for what a forward and its backward multiply with it.
pub(in crate::model) struct FrozenWeight {
    isa: Isa,
    ahead: Laid,
    back: Laid,
}

impl FrozenWeight {
    /// Of a matrix whose rows are `inputs` long; none where its sides are no whole panels.
    pub(in crate::model) fn new(weight: &[f32], inputs: usize) -> Option<Self> {
        Self::of(weight, inputs, Isa::fastest())
    }

    fn of(weight: &[f32], inputs: usize, isa: Isa) -> Option<Self> {
        let outputs = weight.len() / inputs;
        if !inputs.is_multiple_of(COLUMNS) || !outputs.is_multiple_of(COLUMNS) {
            return None;
        }
        let turned: Vec<f32> = (0..inputs).flat_map(|at| weight.iter().skip(at).step_by(inputs)).copied().collect();
        Some(Self { isa, ahead: Laid::new(weight, inputs), back: Laid::new(&turned, outputs) })
    }

    /// Adds to `out` what the layer makes of `xs`, its bias left out.
    pub(in crate::model) fn ahead(&self, xs: &[f32], out: &mut [f32]) {
        self.ahead.add(self.isa, xs, out);
    }

    /// Adds to `into` the gradient of the layer's input that follows from its output's.
    pub(in crate::model) fn back(&self, grads: &[f32], into: &mut [f32]) {
        self.back.add(self.isa, grads, into);
    }
}

/// One direction.
struct Laid {
    inputs: usize,
    steps: Vec<Step<VECTORS>>,
    panels: Panels<VECTORS>,
}

impl Laid {
    fn new(weight: &[f32], inputs: usize) -> Self {
        let mut steps = Vec::new();
        let panels = Panels::add(&mut steps, Format::Bf16, inputs, weight.chunks_exact(inputs), |_| (0.0, 1.0));
        Self { inputs, steps, panels }
    }

    fn add(&self, isa: Isa, xs: &[f32], out: &mut [f32]) {
        let tokens = xs.len() / self.inputs;
        let (mut bytes, mut ranges) = (vec![0; xs.len() * Bf16::SIZE], vec![[0.0; 2]; tokens]);
        isa.to_bytes::<Bf16>(xs, (self.inputs, self.inputs), &mut bytes, &mut ranges);
        let mut chunks = Vec::new();
        cut(&[(tokens, None)], isa.rows(), &mut chunks);
        let read = Activations { bytes: &bytes, ranges: &ranges };
        let to = Rows { values: out, stride: self.panels.columns.len() * COLUMNS };
        isa.added::<Bf16>(read, (&self.steps, &self.panels), &chunks, None, to);
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn both_products_are_those_of_rounded_numbers_on_every_instruction_set() {
        let (inputs, outputs, tokens) = (128, 64, 23);
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut drawn = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-2.0..2.0)).collect() };
        let (weight, xs, grads) = (drawn(outputs * inputs), drawn(tokens * inputs), drawn(tokens * outputs));
        let rounded = |x: f32| bf16::from_f32(x).to_f64();
        let ahead = |token: usize, at: usize| -> f64 {
            (0..inputs).map(|of| rounded(xs[token * inputs + of]) * rounded(weight[at * inputs + of])).sum()
        };
        let back = |token: usize, at: usize| -> f64 {
            (0..outputs).map(|of| rounded(grads[token * outputs + of]) * rounded(weight[of * inputs + at])).sum()
        };
        for isa in Isa::all() {
            let frozen = FrozenWeight::of(&weight, inputs, isa).unwrap();
            let (mut out, mut into) = (vec![1.0; tokens * outputs], vec![1.0; tokens * inputs]);
            frozen.ahead(&xs, &mut out);
            frozen.back(&grads, &mut into);
            for token in 0..tokens {
                for at in 0..outputs {
                    let (found, expected) = (f64::from(out[token * outputs + at]), 1.0 + ahead(token, at));
                    assert!((found - expected).abs() < 1e-4, "{}, ahead: {found} for {expected}", isa.instructions());
                }
                for at in 0..inputs {
                    let (found, expected) = (f64::from(into[token * inputs + at]), 1.0 + back(token, at));
                    assert!((found - expected).abs() < 1e-4, "{}, back: {found} for {expected}", isa.instructions());
                }
            }
        }
        assert!(FrozenWeight::new(&weight[..32 * inputs], inputs).is_none(), "half a panel of outputs");
        assert!(FrozenWeight::new(&weight, 32).is_none(), "or of inputs");
    }
}
