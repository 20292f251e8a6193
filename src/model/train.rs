//! Training an adapter: LoRA and head by AdamW through the packed encoder, the wide part beside it,
//! then calibration on rows that neither saw.
//!
//! The same rows, options and seed give the same adapter, on any number of cores: a batch is cut
//! into shards of fixed size whose gradients are summed in order.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::domain::{Acceptance, Judged};

use super::{
    BaseEncoder, Error,
    bert::Config,
    calibrate::{Fusion, Opinions, argmax, log_softmax},
    encoder::pooled,
    input::{AdapterInput, Labelled, disturbed},
    kernel::{self, Into, Mat, product},
    lora::{Layout, LoraOptions},
    optim::{AdamW, Decay, clip, rate},
    packed::{Lora, Packed},
    tokens::Tokenizer,
    wide::{Wide, WideOptions},
};

/// Sequences whose gradients are computed on one core.
const SHARD: usize = 8;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainOptions {
    /// The difference's size and place.
    pub lora: LoraOptions,
    /// Passes over the rows; 0 leaves the encoder's difference and head untrained.
    pub epochs: usize,
    /// Rows in one step.
    pub batch: usize,
    /// Of the difference.
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
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            lora: LoraOptions::default(),
            epochs: 3,
            batch: 32,
            learning_rate: 1e-3,
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
}

/// A trained adapter, ready to be saved.
pub struct Trained {
    pub(super) base: BaseEncoder,
    pub(super) config: Config,
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
    /// The pass whose numbers were kept; 0 for none.
    pub best_epoch: usize,
    /// Measured on dev.
    pub dev: DevMetrics,
}

struct Example {
    ids: Vec<u32>,
    class: usize,
    weight: f32,
}

/// Trains an adapter. When `stop` becomes true, the best so far is calibrated and given back.
///
/// # Errors
/// When the base encoder can't be read.
pub fn train(
    base: &BaseEncoder,
    rows: &TrainRows,
    classes: usize,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress),
    stop: &AtomicBool,
) -> Result<Trained, Error> {
    let config = Config::load(&base.dir)?;
    let packed = Packed::load(&base.dir.join("model.safetensors"), &config)?;
    let tokenizer = Tokenizer::load(&base.dir.join("tokenizer.json"))?;
    let layout = Layout::new(&config, &options.lora, classes);
    let texts: Vec<String> = rows.dev.iter().map(|row| row.input.text.clone()).collect();
    let dev_ids = tokenizer.encode(&texts)?;
    let dev_classes: Vec<usize> = rows.dev.iter().map(|row| row.class).collect();
    let run = Run {
        packed: &packed,
        tokenizer: &tokenizer,
        layout: &layout,
        options,
        dev_ids: &dev_ids,
        dev_classes: &dev_classes,
    };
    let (numbers, best_epoch) = run.train(rows, progress, stop)?;

    progress(Progress::Wide);
    let wide =
        options.wide.map(|wide| Wide::train((&rows.rows, &rows.terms, &rows.texts), classes, wide, options.seed));
    progress(Progress::Calibrating);
    let encoder_logits = logits(&packed, &layout, &numbers, &dev_ids);
    let wide_logits: Option<Vec<Vec<f32>>> =
        wide.as_ref().map(|wide| rows.dev.par_iter().map(|row| wide.logits(&row.input)).collect());
    let opinions: Vec<Opinions<'_>> = rows
        .dev
        .iter()
        .enumerate()
        .map(|(at, row)| Opinions {
            encoder: &encoder_logits[at],
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
    let share = |count: usize| count as f64 / dev_classes.len().max(1) as f64;
    let acceptance = Acceptance::fit(&answers, options.target);
    let dev = DevMetrics {
        rows: dev_classes.len(),
        accuracy: share(answers.iter().filter(|answer| answer.right).count()),
        encoder_accuracy: accuracy(&encoder_logits, &dev_classes),
        wide_accuracy: wide_logits.as_ref().map(|logits| accuracy(logits, &dev_classes)),
        coverage: share(answers.iter().filter(|answer| acceptance.accepts(answer.confidence, answer.known)).count()),
    };
    let probes = rows.rows.iter().step_by((rows.rows.len() / 6).max(1)).take(6).map(|row| row.input.clone()).collect();
    Ok(Trained {
        base: base.clone(),
        config,
        numbers,
        wide,
        fusion,
        probes,
        acceptance,
        options: options.clone(),
        counts: [rows.rows.len(), rows.terms.len(), rows.texts.len()],
        best_epoch,
        dev,
        layout,
    })
}

/// The head's logits for each sequence, in order.
pub(super) fn logits(packed: &Packed, layout: &Layout, numbers: &[f32], sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let merged = packed.merged(Lora { layout, numbers, noise: None });
    pooled(&merged, sequences).iter().map(|vector| head(layout, numbers, vector)).collect()
}

/// The head's logits for one mean-pooled vector.
pub(super) fn head(layout: &Layout, numbers: &[f32], vector: &[f32]) -> Vec<f32> {
    let weights = layout.head_weight.of(numbers).chunks_exact(layout.head_weight.cols);
    weights.zip(layout.head_bias.of(numbers)).map(|(weights, bias)| bias + kernel::dot(weights, vector)).collect()
}

/// Share of rows whose largest logit is the right one's.
fn accuracy(logits: &[Vec<f32>], classes: &[usize]) -> f64 {
    let right = logits.iter().zip(classes).filter(|(logits, class)| argmax(logits) == **class).count();
    right as f64 / classes.len().max(1) as f64
}

struct Run<'a> {
    packed: &'a Packed,
    tokenizer: &'a Tokenizer,
    layout: &'a Layout,
    options: &'a TrainOptions,
    dev_ids: &'a [Vec<u32>],
    dev_classes: &'a [usize],
}

impl Run<'_> {
    /// The best numbers, and the pass that gave them.
    fn train(
        &self,
        rows: &TrainRows,
        progress: &mut dyn FnMut(Progress),
        stop: &AtomicBool,
    ) -> Result<(Vec<f32>, usize), Error> {
        let options = self.options;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut numbers = self.layout.start(&mut rng);
        let mut adamw = AdamW::new(numbers.len());
        let term_weight = options.wide.map_or(0.0, |wide| wide.term_weight);
        let weighted: Vec<(&Labelled, f32)> = rows
            .rows
            .iter()
            .map(|row| (row, row.weight.min(options.most_weight)))
            .chain(rows.terms.iter().map(|term| (term, term.weight * term_weight)).filter(|(_, weight)| *weight > 0.0))
            .collect();
        let class_weights = class_weights(&weighted, self.layout.classes(), options.class_weighting);
        let steps_an_epoch = weighted.len().div_ceil(options.batch);
        let (steps, total) = (steps_an_epoch * options.epochs, weighted.len() * options.epochs);
        let (mut step, mut done, mut loss) = (0, 0, f32::NAN);
        let mut best: Option<(f64, usize, Vec<f32>)> = None;
        for epoch in 1..=options.epochs {
            let examples = self.examples(&weighted, &class_weights, &mut rng)?;
            for batch in batches(&examples, options.batch, &mut rng) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let of_batch: Vec<&Example> = batch.iter().map(|&at| &examples[at]).collect();
                let (of_step, mut gradients) =
                    self.gradients(&of_batch, &numbers, options.seed.wrapping_add(step as u64));
                clip(&mut gradients, options.clip);
                let rate = rate(step, steps, options.warmup, options.decay);
                let rates = [options.learning_rate * rate, options.head_learning_rate * rate];
                adamw.step(&mut numbers, &gradients, (self.layout.head_weight.start, rates), options.weight_decay);
                step += 1;
                done += batch.len();
                loss = if loss.is_nan() { of_step } else { loss + 0.05 * (of_step - loss) };
                progress(Progress::Rows { done, total, loss });
            }
            let dev_accuracy = accuracy(&logits(self.packed, self.layout, &numbers, self.dev_ids), self.dev_classes);
            progress(Progress::Epoch { epoch, dev_accuracy });
            if best.as_ref().is_none_or(|(accuracy, ..)| dev_accuracy >= *accuracy) {
                best = Some((dev_accuracy, epoch, numbers.clone()));
            }
            let stale = best.as_ref().is_some_and(|(_, at, _)| epoch - at >= options.patience);
            if stop.load(Ordering::Relaxed) || stale {
                break;
            }
        }
        Ok(best.map_or((numbers, 0), |(_, epoch, numbers)| (numbers, epoch)))
    }

    /// The rows as token ids, each text disturbed anew.
    fn examples(
        &self,
        rows: &[(&Labelled, f32)],
        class_weights: &[f32],
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<Example>, Error> {
        let texts: Vec<String> =
            rows.iter().map(|(row, _)| disturbed(&row.input.text, self.options.disturb, rng)).collect();
        let ids = self.tokenizer.encode(&texts)?;
        let example = |(ids, (row, weight)): (Vec<u32>, &(&Labelled, f32))| Example {
            ids,
            class: row.class,
            weight: weight * class_weights[row.class],
        };
        Ok(ids.into_iter().zip(rows).map(example).collect())
    }

    /// Mean loss of a batch, and the gradient of every trained number.
    fn gradients(&self, batch: &[&Example], numbers: &[f32], seed: u64) -> (f32, Vec<f32>) {
        let total: f32 = batch.iter().map(|example| example.weight).sum::<f32>().max(f32::MIN_POSITIVE);
        let shards: Vec<(f32, Vec<f32>)> = batch
            .par_chunks(SHARD)
            .enumerate()
            .map(|(at, shard)| {
                let noise = seed.wrapping_mul(1 << 16).wrapping_add(at as u64);
                self.shard(shard, Lora { layout: self.layout, numbers, noise: Some(noise) }, 1.0 / total)
            })
            .collect();
        let mut shards = shards.into_iter();
        let (mut loss, mut sums) = shards.next().unwrap_or_else(|| (0.0, vec![0.0; numbers.len()]));
        for (of_shard, gradients) in shards {
            loss += of_shard;
            kernel::add(&mut sums, &gradients);
        }
        (loss, sums)
    }

    fn shard(&self, shard: &[&Example], lora: Lora<'_>, scale: f32) -> (f32, Vec<f32>) {
        let layout = self.layout;
        let (hidden, classes) = (layout.head_weight.cols, layout.classes());
        let sequences: Vec<&[u32]> = shard.iter().map(|example| example.ids.as_slice()).collect();
        let (pooled, tape) = self.packed.taped(&sequences, lora);
        let mut sums = vec![0.0; lora.numbers.len()];
        let mut loss = 0.0;
        let mut grads = Vec::with_capacity(shard.len() * classes);
        for (example, vector) in shard.iter().zip(pooled.chunks_exact(hidden)) {
            let log = log_softmax(&head(layout, lora.numbers, vector));
            let rest = self.options.smoothing / classes as f32;
            for (class, log) in log.into_iter().enumerate() {
                let wanted = rest + if class == example.class { 1.0 - self.options.smoothing } else { 0.0 };
                loss -= wanted * log * example.weight * scale;
                grads.push((log.exp() - wanted) * example.weight * scale);
            }
        }
        let of_grads = Mat::new(&grads, shard.len(), classes);
        let of_pooled = Mat::new(&pooled, shard.len(), hidden);
        product(layout.head_weight.of_mut(&mut sums), hidden, Into::Sum, 1.0, of_grads.t(), of_pooled);
        grads.chunks_exact(classes).for_each(|row| kernel::add(layout.head_bias.of_mut(&mut sums), row));
        let mut back = vec![0.0; pooled.len()];
        let weight = Mat::new(layout.head_weight.of(lora.numbers), classes, hidden);
        product(&mut back, hidden, Into::Empty, 1.0, of_grads, weight);
        self.packed.backward(&tape, &back, lora, &mut sums);
        (loss, sums)
    }
}

/// Places of rows in batches of like length, in random order: a batch's cost is its longest shard's.
fn batches(examples: &[Example], size: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.shuffle(rng);
    let mut batches = Vec::new();
    for pool in order.chunks_mut(size * 16) {
        pool.sort_by_key(|&at| examples[at].ids.len());
        batches.extend(pool.chunks(size).map(<[usize]>::to_vec));
    }
    batches.shuffle(rng);
    batches
}

/// A factor for each category, 1 on average over the rows.
fn class_weights(rows: &[(&Labelled, f32)], classes: usize, power: f32) -> Vec<f32> {
    let mut counts: HashMap<usize, f32> = HashMap::new();
    rows.iter().for_each(|(row, weight)| *counts.entry(row.class).or_default() += weight);
    let mut weights: Vec<f32> = (0..classes)
        .map(|class| counts.get(&class).map_or(1.0, |count| count.max(f32::MIN_POSITIVE).powf(-power)))
        .collect();
    let (total, weighted) = rows
        .iter()
        .fold((0.0, 0.0), |(total, weighted), (row, weight)| (total + weight, weighted + weight * weights[row.class]));
    if weighted > 0.0 {
        weights.iter_mut().for_each(|weight| *weight *= total / weighted);
    }
    weights
}
