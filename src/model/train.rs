//! Training an adapter: encoder and head by one of the methods, the wide part beside them, then
//! calibration on rows that none of them saw.

use std::sync::{Arc, atomic::AtomicBool};

use serde::{Deserialize, Serialize};

use crate::domain::Acceptance;

use super::{
    BaseEncoder, Error,
    calibrate::{Fusion, argmax},
    encoder::{Reader, pooled},
    fit::Run,
    guard::{Compared, Reduced, Refused},
    infer::Format,
    input::{AdapterInput, Labelled},
    kernel,
    lora::{Layout, LoraOptions},
    method::Method,
    optim::Decay,
    packed::{Group, Learned, Packed},
    sides::Sides,
    tokens::Tokenizer,
    wide::{Wide, WideOptions},
};

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainOptions {
    /// What trains.
    #[serde(default)]
    pub method: Method,
    /// The difference's size and place, where the method has one.
    pub lora: LoraOptions,
    /// Passes over the rows; 0 leaves the encoder's difference and head untrained.
    pub epochs: usize,
    /// Rows in one step.
    pub batch: usize,
    /// Of what trains beside the head.
    pub learning_rate: f32,
    /// Of the head.
    pub head_learning_rate: f32,
    /// Share of the steps in which the rate rises.
    pub warmup: f32,
    /// How it falls afterwards.
    pub decay: Decay,
    /// AdamW's.
    pub weight_decay: f32,
    /// Longest gradient of one step.
    pub clip: f32,
    /// Weight of a category is its number of rows to the power of minus this: 0 is none, 1 makes all equal.
    pub class_weighting: f32,
    /// No row counts more than this many mean rows in the encoder's training.
    pub most_weight: f32,
    /// Probability mass spread over all categories.
    pub smoothing: f32,
    /// Chance that a text's end is cut off, and that a word is dropped, for one pass.
    pub disturb: (f32, f32),
    /// Passes without a better dev accuracy before training ends.
    pub patience: usize,
    /// The wide part; `None` leaves it out.
    pub wide: Option<WideOptions>,
    /// Accuracy that accepted answers shall have.
    pub target: f64,
    /// Seeds everything random.
    pub seed: u64,
    /// Whether products with the frozen weights are computed in bf16, with sums in `f32`; what trains is in `f32` either way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bf16: bool,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self::of(Method::default())
    }
}

impl TrainOptions {
    /// What suits a method.
    #[must_use]
    pub fn of(method: Method) -> Self {
        Self {
            method,
            lora: LoraOptions::default(),
            epochs: method.epochs(),
            batch: 32,
            learning_rate: method.learning_rate(),
            head_learning_rate: 3e-3,
            warmup: 0.06,
            decay: Decay::Linear,
            weight_decay: 0.01,
            clip: 1.0,
            class_weighting: 0.0,
            most_weight: 4.0,
            smoothing: 0.05,
            disturb: (0.3, 0.15),
            patience: 2,
            wide: Some(WideOptions::default()),
            target: 0.92,
            seed: 1,
            bf16: false,
        }
    }
}

/// What to train on.
#[derive(Debug, Clone, Default)]
pub struct TrainRows {
    /// Labelled rows.
    pub rows: Vec<Labelled>,
    /// Terms that hint at a category, as texts without a payment.
    pub terms: Vec<Labelled>,
    /// Rows to choose, stop and calibrate on.
    pub dev: Vec<Labelled>,
    /// Unlabelled texts of the same kind: how common each piece of text is.
    pub texts: Vec<AdapterInput>,
}

/// A step of [`train`], for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// Everything is read, and the encoder's training begins.
    Started,
    /// Rows of the encoder's training done.
    Rows {
        /// So far.
        done: usize,
        /// In all passes together.
        total: usize,
        /// Mean loss of the latest steps.
        loss: f32,
    },
    /// A pass ended.
    Epoch {
        /// Which, from 1.
        epoch: usize,
        /// The encoder's own accuracy on dev.
        dev_accuracy: f64,
    },
    /// The wide part is being trained.
    Wide,
    /// Weights and temperature are being fitted on dev.
    Calibrating,
}

/// Measured on dev after training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DevMetrics {
    /// Rows.
    pub rows: usize,
    /// Share right, all parts together.
    pub accuracy: f64,
    /// Share right, encoder and head alone: what PEFT can express.
    pub encoder_accuracy: f64,
    /// Share right, the wide part alone.
    pub wide_accuracy: Option<f64>,
    /// Share of rows that the acceptance thresholds accept.
    pub coverage: f64,
    /// What computing in bytes changes; absent where nobody has measured it, or it can't be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8: Option<Compared>,
    /// What computing in bf16 changes; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bf16: Option<Compared>,
}

impl DevMetrics {
    /// What computing in a format changes, where it was measured.
    #[must_use]
    pub fn compared(&self, format: Format) -> Option<Compared> {
        match format {
            Format::Int8 => self.int8,
            Format::Bf16 => self.bf16,
        }
    }

    /// Keeps what was measured.
    pub fn keep(&mut self, format: Format, compared: Compared) {
        match format {
            Format::Int8 => self.int8 = Some(compared),
            Format::Bf16 => self.bf16 = Some(compared),
        }
    }
}

/// Who trained an adapter's difference, and its head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// txcat both.
    #[default]
    Trained,
    /// Python's PEFT the difference, txcat the head over it.
    Imported,
    /// Both came from Python.
    ImportedWithHead,
}

/// A trained adapter, ready to be saved.
pub struct Trained {
    pub(super) base: BaseEncoder,
    pub(super) layout: Layout,
    pub(super) numbers: Vec<f32>,
    pub(super) wide: Option<Wide>,
    pub(super) fusion: Fusion,
    pub(super) probes: Vec<AdapterInput>,
    /// From which confidence answers on dev are right often enough.
    pub acceptance: Acceptance,
    /// As asked for.
    pub options: TrainOptions,
    /// Rows, terms and unlabelled texts learned from.
    pub counts: [usize; 3],
    /// Who trained the encoder's difference.
    pub origin: Origin,
    /// The pass whose numbers were kept; 0 for none.
    pub best_epoch: usize,
    /// Measured on dev.
    pub dev: DevMetrics,
}

impl Trained {
    /// Numbers that were trained, the wide part's not among them.
    #[must_use]
    pub fn trained(&self) -> usize {
        self.layout.len()
    }
}

/// Trains an adapter. When `stop` becomes true, the best so far is calibrated and given back.
///
/// # Errors
/// When the base encoder can't be read, or this can't be trained in bf16.
pub fn train(
    base: &BaseEncoder,
    rows: &TrainRows,
    classes: usize,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress),
    stop: &AtomicBool,
) -> Result<Trained, Error> {
    let setting = Setting::of_training(base, rows, options)?;
    let layout = Layout::new(setting.packed.config(), options.method, &options.lora, classes);
    progress(Progress::Started);
    let (mut numbers, best_epoch) = setting.run(&setting.packed, &layout, options).train(rows, progress, stop)?;
    if let Some(whole) = &layout.whole {
        whole.round(&setting.packed.tensors(), &mut numbers);
    }
    Ok(setting.calibrated(rows, (layout, numbers), (options, Origin::Trained, best_epoch), progress))
}

/// What every training stands on: the encoder, and dev as it reads it.
pub(super) struct Setting<'a> {
    base: &'a BaseEncoder,
    pub(super) packed: Packed,
    pub(super) tokenizer: Arc<Tokenizer>,
    dev_ids: Vec<Vec<u32>>,
    dev_classes: Vec<usize>,
}

impl<'a> Setting<'a> {
    pub(super) fn new(base: &'a BaseEncoder, rows: &TrainRows, method: Method) -> Result<Self, Error> {
        let Reader { packed, tokenizer } = Reader::load(base)?;
        let packed = if method.quantizes() { packed.quantized() } else { packed };
        let texts: Vec<String> = rows.dev.iter().map(|row| row.input.text.clone()).collect();
        let dev_ids = tokenizer.encode(&texts)?;
        let dev_classes = rows.dev.iter().map(|row| row.class).collect();
        Ok(Self { base, packed, tokenizer, dev_ids, dev_classes })
    }

    /// [`Setting::new`], with weights as a training reads them.
    pub(super) fn of_training(base: &'a BaseEncoder, rows: &TrainRows, options: &TrainOptions) -> Result<Self, Error> {
        let setting = Self::new(base, rows, options.method)?;
        if !options.bf16 {
            return Ok(setting);
        }
        if options.method != Method::Lora {
            return Err(Error::NoBf16);
        }
        Ok(Self { packed: setting.packed.halved().ok_or(Error::NoBf16)?, ..setting })
    }

    pub(super) fn run<'r>(&'r self, packed: &'r Packed, layout: &'r Layout, options: &'r TrainOptions) -> Run<'r> {
        Run {
            packed,
            tokenizer: &self.tokenizer,
            layout,
            options,
            dev_ids: &self.dev_ids,
            dev_classes: &self.dev_classes,
        }
    }

    /// The head's logits for each row of dev.
    pub(super) fn dev_logits(&self, layout: &Layout, numbers: &[f32]) -> Vec<Vec<f32>> {
        logits(&self.packed, layout, numbers, &self.dev_ids)
    }

    /// The same in fewer bits.
    pub(super) fn dev_logits_in(
        &self,
        format: Format,
        layout: &Layout,
        numbers: &[f32],
    ) -> Result<Vec<Vec<f32>>, Refused> {
        if self.packed.is_nf4() {
            return Err(Refused::Nf4);
        }
        Ok(Reduced::alone(format, &self.packed, layout, numbers)?.logits(layout, numbers, &self.dev_ids))
    }

    /// Trains the wide part beside `numbers`, fits fusion and acceptance on dev, and measures there.
    pub(super) fn calibrated(
        &self,
        rows: &TrainRows,
        (layout, numbers): (Layout, Vec<f32>),
        (options, origin, best_epoch): (&TrainOptions, Origin, usize),
        progress: &mut dyn FnMut(Progress),
    ) -> Trained {
        let encoder_logits = self.dev_logits(&layout, &numbers);
        let sides = Sides::train(rows, &encoder_logits, layout.classes(), options, progress);
        let measured = |format| {
            let reduced = self.dev_logits_in(format, &layout, &numbers).ok()?;
            let answer = |input: &AdapterInput, logits: &[f32]| sides.answer(input, logits);
            Some(Compared::measured(&rows.dev, (&encoder_logits, &reduced), answer))
        };
        let (int8, bf16) = (measured(Format::Int8), measured(Format::Bf16));
        let Sides { wide, fusion, acceptance, answers, wide_accuracy } = sides;
        let share = |count: usize| count as f64 / self.dev_classes.len().max(1) as f64;
        let dev = DevMetrics {
            rows: self.dev_classes.len(),
            accuracy: share(answers.iter().filter(|answer| answer.right).count()),
            encoder_accuracy: accuracy(&encoder_logits, &self.dev_classes),
            wide_accuracy,
            coverage: share(
                answers.iter().filter(|answer| acceptance.accepts(answer.confidence, answer.known)).count(),
            ),
            int8,
            bf16,
        };
        let probes =
            rows.rows.iter().step_by((rows.rows.len() / 6).max(1)).take(6).map(|row| row.input.clone()).collect();
        Trained {
            base: self.base.clone(),
            numbers,
            wide,
            fusion,
            probes,
            acceptance,
            options: options.clone(),
            counts: [rows.rows.len(), rows.terms.len(), rows.texts.len()],
            best_epoch,
            origin,
            dev,
            layout,
        }
    }
}

/// The head's logits for each sequence, in order.
pub(super) fn logits(packed: &Packed, layout: &Layout, numbers: &[f32], sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let learned = Learned { layout, numbers, noise: None };
    let vectors = if layout.whole.is_some() {
        // Its weights lie ready in `numbers`: merging would copy all of them.
        pooled(packed, &[Group::new(Some(learned), sequences)])
    } else {
        pooled(&packed.merged(learned), &[Group::new(None, sequences)])
    };
    vectors.iter().map(|vector| head(layout, numbers, vector)).collect()
}

/// The head's logits for one mean-pooled vector.
pub(super) fn head(layout: &Layout, numbers: &[f32], vector: &[f32]) -> Vec<f32> {
    let weights = layout.head_weight.of(numbers).chunks_exact(layout.head_weight.cols);
    weights.zip(layout.head_bias.of(numbers)).map(|(weights, bias)| bias + kernel::dot(weights, vector)).collect()
}

/// Share of rows whose largest logit is the right one's.
pub(super) fn accuracy(logits: &[Vec<f32>], classes: &[usize]) -> f64 {
    let right = logits.iter().zip(classes).filter(|(logits, class)| argmax(logits) == **class).count();
    right as f64 / classes.len().max(1) as f64
}
