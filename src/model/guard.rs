//! Whether an adapter may be computed in bytes or bf16: measured on dev, stored with it, asked whenever it is loaded.
//!
//! Dev has been looked at for much else, so this says nothing about accuracy: only that fewer bits change next to nothing.

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    AdapterInput, AdapterOutput, Labelled,
    calibrate::argmax,
    infer::{Crew, Format, Group, LowRank, Model},
    lora::Layout,
    packed::{Learned, Packed},
    train::head,
};

/// Accuracy on dev that may be lost.
pub const MAY_LOSE: f64 = 0.002;
/// Share of rows that must get the same answer.
pub const MUST_AGREE: f64 = 0.99;

/// The same rows answered in `f32` and in another format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Rows.
    pub rows: usize,
    /// Share that `f32` has right.
    pub exact_accuracy: f64,
    /// Share that the format has right.
    pub accuracy: f64,
    /// Share that gets the same answer.
    pub agreement: f64,
}

impl Compared {
    /// Whether the format is as good as `f32`.
    #[must_use]
    pub fn holds(&self) -> bool {
        // A share of rows has rounding of its own.
        const ROUNDING: f64 = 1e-9;
        self.rows > 0
            && self.accuracy + MAY_LOSE + ROUNDING >= self.exact_accuracy
            && self.agreement + ROUNDING >= MUST_AGREE
    }

    /// Compares answers of an adapter with those that it gives in fewer bits.
    pub(super) fn measured(
        rows: &[Labelled],
        (exact, reduced): (&[Vec<f32>], &[Vec<f32>]),
        answer: impl Fn(&AdapterInput, &[f32]) -> AdapterOutput + Sync,
    ) -> Self {
        let both = |(row, (exact, reduced)): (&Labelled, (&Vec<f32>, &Vec<f32>))| {
            let [exact, reduced] = [exact, reduced].map(|logits| argmax(&answer(&row.input, logits).probabilities));
            [exact == row.class, reduced == row.class, exact == reduced].map(usize::from)
        };
        let sum = |a: [usize; 3], b: [usize; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
        let counts = rows.par_iter().zip(exact.par_iter().zip(reduced)).map(both).reduce(|| [0; 3], sum);
        let [exact_accuracy, accuracy, agreement] = counts.map(|count| count as f64 / rows.len().max(1) as f64);
        Self { rows: rows.len(), exact_accuracy, accuracy, agreement }
    }
}

/// What a format changes in an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OfFormat {
    /// The format.
    pub format: Format,
    /// The whole adapter.
    pub adapter: Compared,
    /// Without the wide part, which is `f32` either way.
    pub encoder_and_head: Compared,
}

/// Why an adapter is not computed in a format.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Nobody has measured it.
    #[error("nobody has measured what it loses: run `txcat adapters guard`")]
    Unmeasured,
    /// It was measured, and loses too much.
    #[error(
        "on {} rows of dev it had {:.2} % right for {:.2} % in f32, and gave the same answer to {:.2} %",
        .0.rows, .0.accuracy * 100.0, .0.exact_accuracy * 100.0, .0.agreement * 100.0
    )]
    Loses(Compared),
    /// On this machine it answers otherwise than it did where it was saved.
    #[error("its answers to the probes it was saved with are far from those in f32 on this machine")]
    Far,
    /// Its weights are NF4 already.
    #[error("its weights are in NF4")]
    Nf4,
    /// The encoder's rows are no whole vectors.
    #[error("the base encoder's sizes are no multiples of 64, or its heads no vectors of 16, 32 or 64")]
    Sizes,
}

/// An adapter in fewer bits: weights that others may share, and what was learned beside them.
pub(super) struct Reduced {
    pub(super) model: Arc<Model>,
    pub(super) beside: Option<Arc<LowRank>>,
}

impl Reduced {
    /// What was learned beside weights in fewer bits.
    pub(super) fn new(model: Arc<Model>, layout: &Layout, numbers: &[f32]) -> Self {
        let beside = model.beside(layout, numbers).map(Arc::new);
        Self { model, beside }
    }

    /// Of an adapter alone, with weights that nobody shares.
    pub(super) fn alone(format: Format, packed: &Packed, layout: &Layout, numbers: &[f32]) -> Result<Self, Refused> {
        let learned = Learned { layout, numbers, noise: None };
        if layout.whole.is_some() {
            let model = Model::new(&packed.merged(learned), format).ok_or(Refused::Sizes)?;
            return Ok(Self { model: Arc::new(model), beside: None });
        }
        Ok(Self::new(Arc::new(Model::new(packed, format).ok_or(Refused::Sizes)?), layout, numbers))
    }

    /// The head's logits for each sequence.
    pub(super) fn logits(&self, layout: &Layout, numbers: &[f32], sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let mut vectors = Vec::new();
        Crew::new().pooled(&self.model, &[Group { adapter: self.beside.as_ref(), sequences }], &mut vectors);
        vectors.chunks_exact(self.model.hidden()).map(|vector| head(layout, numbers, vector)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_up_to_a_fifth_of_a_point_and_one_answer_in_a_hundred() {
        let measured =
            |exact_accuracy, accuracy, agreement| Compared { rows: 1000, exact_accuracy, accuracy, agreement };
        assert!(measured(0.9, 0.898, 0.99).holds() && measured(0.9, 0.95, 1.0).holds());
        assert!(!measured(0.9, 0.897, 0.995).holds() && !measured(0.9, 0.9, 0.989).holds());
        assert!(!Compared::default().holds(), "no row shows nothing");
    }
}
