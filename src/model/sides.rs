//! The parts beside the encoder: known keys and wide part, and their fusion with the encoder's answers.
//!
//! They train in seconds, so that new labels can act while the encoder stays as it is ([`Frozen`]). What a label
//! says of its own merchant lies here; the encoder is about merchants that nobody has labelled, and a few
//! hundred labels don't change that.

use std::path::Path;

use rayon::prelude::*;

use super::{
    AdapterFacts, AdapterInput, AdapterOutput, BaseEncoder, Error, Labelled,
    calibrate::{Fusion, Opinions, argmax},
    folder::Parts,
    lora::Layout,
    train::{Progress, Setting, TrainOptions, TrainRows, accuracy, logits},
    wide::Wide,
};
use crate::domain::{Acceptance, Judged};

/// Known keys, wide part, fusion and thresholds, as one training made them.
pub struct Sides {
    pub(super) wide: Option<Wide>,
    pub(super) fusion: Fusion,
    /// From which confidence on dev's answers are right often enough.
    pub acceptance: Acceptance,
    /// The answers on dev.
    pub(super) answers: Vec<Judged>,
    /// Share of dev that the wide part alone has right.
    pub(super) wide_accuracy: Option<f64>,
}

impl Sides {
    /// Trains the wide part, and fits fusion and thresholds on dev, of which the encoder's logits are given.
    pub(super) fn train(
        rows: &TrainRows,
        encoder: &[Vec<f32>],
        classes: usize,
        options: &TrainOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Self {
        progress(Progress::Wide);
        let wide =
            options.wide.map(|wide| Wide::train((&rows.rows, &rows.terms, &rows.texts), classes, wide, options.seed));
        progress(Progress::Calibrating);
        let dev_classes: Vec<usize> = rows.dev.iter().map(|row| row.class).collect();
        let wide_logits: Option<Vec<Vec<f32>>> =
            wide.as_ref().map(|wide| rows.dev.par_iter().map(|row| wide.logits(&row.input)).collect());
        let opinions: Vec<Opinions<'_>> = rows
            .dev
            .iter()
            .enumerate()
            .map(|(at, row)| Opinions {
                encoder: &encoder[at],
                wide: wide_logits.as_ref().map(|logits| logits[at].as_slice()),
                known: wide.as_ref().is_some_and(|wide| wide.memory.known(&row.input.key).is_some()),
            })
            .collect();
        let fusion = Fusion::fit(&opinions, &dev_classes);
        let answers: Vec<Judged> = opinions
            .iter()
            .zip(&dev_classes)
            .map(|(row, class)| {
                let probabilities = fusion.fused(*row);
                let best = argmax(&probabilities);
                Judged { confidence: probabilities[best], right: best == *class, known: row.known }
            })
            .collect();
        let acceptance = Acceptance::fit(&answers, options.target);
        let wide_accuracy = wide_logits.as_ref().map(|logits| accuracy(logits, &dev_classes));
        Self { wide, fusion, acceptance, answers, wide_accuracy }
    }

    /// The answer to one input, of which the encoder's logits are given.
    #[must_use]
    pub fn answer(&self, input: &AdapterInput, encoder: &[f32]) -> AdapterOutput {
        AdapterOutput::of(input, encoder, self.wide.as_ref(), &self.fusion)
    }
}

/// An adapter whose encoder and head stay as they are.
pub struct Frozen<'a> {
    setting: Setting<'a>,
    layout: Layout,
    numbers: Vec<f32>,
    options: TrainOptions,
    dev: Vec<Labelled>,
    /// Of dev.
    encoder: Vec<Vec<f32>>,
}

impl<'a> Frozen<'a> {
    /// Reads an adapter's folder; `dev` is what fusion and thresholds are fitted on.
    ///
    /// # Errors
    /// When the folder or the base encoder can't be read, or is another than the adapter was trained on.
    pub fn read(dir: &Path, base: &'a BaseEncoder, dev: Vec<Labelled>) -> Result<Self, Error> {
        let (facts, _) = AdapterFacts::verified(dir, base)?;
        let options = facts.training.clone();
        let rows = TrainRows { dev, ..TrainRows::default() };
        let setting = Setting::new(base, &rows, options.method)?;
        let Parts { layout, numbers, .. } = Parts::read(dir, facts, &setting.packed)?;
        let encoder = setting.dev_logits(&layout, &numbers);
        Ok(Self { setting, layout, numbers, options, dev: rows.dev, encoder })
    }

    /// What encoder and head say of each input.
    ///
    /// # Errors
    /// When a text can't be tokenized.
    pub fn logits(&self, inputs: &[AdapterInput]) -> Result<Vec<Vec<f32>>, Error> {
        let texts: Vec<String> = inputs.iter().map(|input| input.text.clone()).collect();
        let sequences = self.setting.tokenizer.encode(&texts)?;
        Ok(logits(&self.setting.packed, &self.layout, &self.numbers, &sequences))
    }

    /// The side parts from all labels that are known by now, the old ones too; as they would be read from a folder.
    #[must_use]
    pub fn learn(&self, rows: Vec<Labelled>, terms: &[Labelled], texts: &[AdapterInput]) -> Sides {
        let rows = TrainRows { rows, terms: terms.to_vec(), dev: self.dev.clone(), texts: texts.to_vec() };
        let sides = Sides::train(&rows, &self.encoder, self.layout.classes(), &self.options, &mut |_| {});
        Sides { wide: sides.wide.as_ref().map(Wide::rounded), ..sides }
    }
}
