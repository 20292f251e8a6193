//! The loop of the training: batches through the encoder, gradients back, AdamW, and the pass that
//! was best on dev.
//!
//! The same rows, options and seed give the same numbers, on any number of cores: a batch is cut
//! into shards of fixed size whose gradients are summed in order.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{
    Error,
    calibrate::log_softmax,
    encoder::pooled,
    input::{Labelled, disturbed},
    kernel::{self, Into, Mat, product},
    lora::Layout,
    method::Method,
    optim::{AdamW, Pace, clip, rate},
    packed::{Group, Learned, Packed, Tape},
    tokens::Tokenizer,
    train::{Progress, TrainOptions, TrainRows, accuracy, head, logits},
};

/// A training under way.
pub(super) struct Run<'a> {
    pub(super) packed: &'a Packed,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) layout: &'a Layout,
    pub(super) options: &'a TrainOptions,
    pub(super) dev_ids: &'a [Vec<u32>],
    pub(super) dev_classes: &'a [usize],
}

/// What is read of a row: its tokens, or the vector that a frozen encoder made of them once.
enum Reads {
    Tokens(Vec<u32>),
    Vector(Vec<f32>),
}

struct Example {
    reads: Reads,
    class: usize,
    weight: f32,
}

impl Example {
    fn tokens(&self) -> &[u32] {
        match &self.reads {
            Reads::Tokens(ids) => ids,
            Reads::Vector(_) => &[],
        }
    }
}

impl Run<'_> {
    /// The best numbers, and the pass that gave them.
    pub(super) fn train(
        &self,
        rows: &TrainRows,
        progress: &mut dyn FnMut(Progress),
        stop: &AtomicBool,
    ) -> Result<(Vec<f32>, usize), Error> {
        let options = self.options;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let (mut numbers, mut adamw) = self.start(&mut rng);
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
        let frozen = self.frozen(&weighted, &class_weights)?;
        let mut dev = None;
        for epoch in 1..=options.epochs {
            let disturbed;
            let examples = match &frozen {
                Some(examples) => examples,
                None => {
                    disturbed = self.examples(&weighted, &class_weights, &mut rng)?;
                    &disturbed
                }
            };
            for batch in batches(examples, options.batch, &mut rng) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let of_batch: Vec<&Example> = batch.iter().map(|&at| &examples[at]).collect();
                let rate = rate(step, steps, options.warmup, options.decay);
                let of_step = self.step(&of_batch, (&mut numbers, &mut adamw), (step, rate));
                step += 1;
                done += batch.len();
                loss = if loss.is_nan() { of_step } else { loss + 0.05 * (of_step - loss) };
                progress(Progress::Rows { done, total, loss });
            }
            let of_dev = if frozen.is_some() {
                let vectors = dev.get_or_insert_with(|| pooled(self.packed, &[Group::new(None, self.dev_ids)]));
                vectors.iter().map(|vector| head(self.layout, &numbers, vector)).collect()
            } else {
                logits(self.packed, self.layout, &numbers, self.dev_ids)
            };
            let dev_accuracy = accuracy(&of_dev, self.dev_classes);
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

    /// One pass over rows of tokens and classes as they come, at the full rate: the numbers, and the last step's loss. It is what
    /// a training costs, without what chooses among its passes.
    pub(super) fn pass(&self, rows: Vec<(Vec<u32>, usize)>) -> (Vec<f32>, f32) {
        let (mut numbers, mut adamw) = self.start(&mut ChaCha8Rng::seed_from_u64(self.options.seed));
        let example = |(ids, class)| Example { reads: Reads::Tokens(ids), class, weight: 1.0 };
        let examples: Vec<Example> = rows.into_iter().map(example).collect();
        let mut loss = f32::NAN;
        for (step, batch) in examples.chunks(self.options.batch).enumerate() {
            let batch: Vec<&Example> = batch.iter().collect();
            loss = self.step(&batch, (&mut numbers, &mut adamw), (step, 1.0));
        }
        (numbers, loss)
    }

    /// Numbers that change nothing yet, and the optimizer's for them.
    fn start(&self, rng: &mut ChaCha8Rng) -> (Vec<f32>, AdamW) {
        let mut numbers = self.layout.start(rng);
        if let Some(whole) = &self.layout.whole {
            whole.fill(&self.packed.tensors(), &mut numbers);
        }
        let adamw = AdamW::new(numbers.len());
        (numbers, adamw)
    }

    /// Takes one step at a share of the rate, and says the loss before it.
    fn step(&self, batch: &[&Example], (numbers, adamw): (&mut [f32], &mut AdamW), (step, share): (usize, f32)) -> f32 {
        let (loss, mut gradients) = self.gradients(batch, numbers, self.options.seed.wrapping_add(step as u64));
        clip(&mut gradients, self.options.clip);
        adamw.step(numbers, &gradients, self.pace(share));
        loss
    }

    fn pace(&self, share: f32) -> Pace {
        let options = self.options;
        Pace {
            border: self.layout.head_weight.start,
            rates: [options.learning_rate * share, options.head_learning_rate * share],
            undecayed: self.layout.whole.as_ref().map_or(0, |whole| whole.undecayed),
            weight_decay: options.weight_decay,
        }
    }

    /// Where nothing of the encoder trains: its vectors of every row, undisturbed, made once.
    fn frozen(&self, rows: &[(&Labelled, f32)], class_weights: &[f32]) -> Result<Option<Vec<Example>>, Error> {
        if self.options.method != Method::Head {
            return Ok(None);
        }
        let texts: Vec<String> = rows.iter().map(|(row, _)| row.input.text.clone()).collect();
        let sequences = self.tokenizer.encode(&texts)?;
        let vectors = pooled(self.packed, &[Group::new(None, &sequences)]).into_iter().map(Reads::Vector);
        Ok(Some(examples(vectors, rows, class_weights)))
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
        Ok(examples(self.tokenizer.encode(&texts)?.into_iter().map(Reads::Tokens), rows, class_weights))
    }

    /// Mean loss of a batch, and the gradient of every trained number.
    fn gradients(&self, batch: &[&Example], numbers: &[f32], seed: u64) -> (f32, Vec<f32>) {
        let total: f32 = batch.iter().map(|example| example.weight).sum::<f32>().max(f32::MIN_POSITIVE);
        let shards: Vec<(f32, Vec<f32>)> = batch
            .par_chunks(SHARD)
            .enumerate()
            .map(|(at, shard)| {
                let noise = seed.wrapping_mul(1 << 16).wrapping_add(at as u64);
                self.shard(shard, Learned { layout: self.layout, numbers, noise: Some(noise) }, 1.0 / total)
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

    /// The shard's vectors, and what the encoder's backward needs, where it has one.
    fn vectors(&self, shard: &[&Example], learned: Learned<'_>) -> (Vec<f32>, Option<Tape>) {
        if self.options.method == Method::Head {
            let vector = |example: &&Example| match &example.reads {
                Reads::Vector(vector) => vector.clone(),
                Reads::Tokens(ids) => self.packed.pooled(&[Group::new(None, &[ids])]),
            };
            return (shard.iter().flat_map(vector).collect(), None);
        }
        let sequences: Vec<&[u32]> = shard.iter().map(|example| example.tokens()).collect();
        let (pooled, tape) = self.packed.taped(&sequences, learned);
        (pooled, Some(tape))
    }

    fn shard(&self, shard: &[&Example], learned: Learned<'_>, scale: f32) -> (f32, Vec<f32>) {
        let layout = self.layout;
        let (hidden, classes) = (layout.head_weight.cols, layout.classes());
        let (pooled, tape) = self.vectors(shard, learned);
        let mut sums = vec![0.0; learned.numbers.len()];
        let mut loss = 0.0;
        let mut grads = Vec::with_capacity(shard.len() * classes);
        for (example, vector) in shard.iter().zip(pooled.chunks_exact(hidden)) {
            let log = log_softmax(&head(layout, learned.numbers, vector));
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
        kernel::add_rows(layout.head_bias.of_mut(&mut sums), &grads);
        if let Some(tape) = tape {
            let mut back = vec![0.0; pooled.len()];
            let weight = Mat::new(layout.head_weight.of(learned.numbers), classes, hidden);
            product(&mut back, hidden, Into::Empty, 1.0, of_grads, weight);
            self.packed.backward(&tape, &back, learned, &mut sums);
        }
        (loss, sums)
    }
}

/// Sequences whose gradients are computed on one core. Each shard lays all weights out anew for its products (and
/// unpacks them, or sums their gradients), so a larger one costs less, and a smaller one keeps more cores busy.
const SHARD: usize = 16;

fn examples(reads: impl Iterator<Item = Reads>, rows: &[(&Labelled, f32)], class_weights: &[f32]) -> Vec<Example> {
    let example = |(reads, (row, weight)): (Reads, &(&Labelled, f32))| Example {
        reads,
        class: row.class,
        weight: weight * class_weights[row.class],
    };
    reads.zip(rows).map(example).collect()
}

/// Places of rows in batches of like length, in random order: a batch's cost is its longest shard's.
fn batches(examples: &[Example], size: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.shuffle(rng);
    let mut batches = Vec::new();
    for pool in order.chunks_mut(size * 16) {
        pool.sort_by_key(|&at| examples[at].tokens().len());
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        config,
        model::{
            BaseEncoder,
            bert::Config,
            lora::{LoraOptions, Slot},
            whole::Whole,
        },
    };

    /// Every trained tensor by name.
    fn named(layout: &Layout) -> Vec<(String, Slot)> {
        let mut named = layout.whole.as_ref().map_or_else(Vec::new, Whole::named);
        named.extend(
            layout
                .named_pairs()
                .flat_map(|(name, pair)| [(format!("{name}.a"), pair.a), (format!("{name}.b"), pair.b)]),
        );
        named.extend([("head.weight".to_owned(), layout.head_weight), ("head.bias".to_owned(), layout.head_bias)]);
        named
    }

    #[tokio::test]
    async fn every_trained_tensor_of_the_base_encoder_has_a_gradient_by_every_method() {
        let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models"));
        let encoder_dir = std::env::var_os("TXCAT_ENCODER_DIR").map(PathBuf::from);
        let models = config::Models { dir, encoder: None, encoder_dir };
        let base = BaseEncoder::pull(&models, None, &mut |_| {}).await.unwrap();
        let config = Config::load(&base.dir).unwrap();
        let tokenizer = Tokenizer::load(&base.dir.join("tokenizer.json")).unwrap();
        let plain = Packed::load(&base.dir.join("model.safetensors"), &config).unwrap();
        let rows: Vec<Labelled> =
            [("tim hortons, paid 8.4 cad", 0), ("shell oil 5712, paid 61 cad", 1), ("payroll", 2)]
                .map(|(text, class)| Labelled { input: text_alone(text), class, weight: 1.0 })
                .into();
        let weighted: Vec<(&Labelled, f32)> = rows.iter().map(|row| (row, 1.0)).collect();
        for (method, tensors) in
            [(Method::Head, 2), (Method::Lora, 74), (Method::Qlora, 74), (Method::Full, 4 + 6 * 16 + 2)]
        {
            let options = TrainOptions { disturb: (0.0, 0.0), ..TrainOptions::of(method) };
            let layout = Layout::new(&config, method, &LoraOptions { rank: 2, ..options.lora.clone() }, 3);
            let packed = if method.quantizes() { plain.clone().quantized() } else { plain.clone() };
            let run = Run {
                packed: &packed,
                tokenizer: &tokenizer,
                layout: &layout,
                options: &options,
                dev_ids: &[],
                dev_classes: &[],
            };
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut numbers = layout.start(&mut rng);
            // A pair starts with `b` zero, where `a` has no gradient yet: one step on it has.
            for (_, pair) in layout.named_pairs() {
                pair.b
                    .of_mut(&mut numbers)
                    .iter_mut()
                    .zip((0i16..).map(f32::from))
                    .for_each(|(x, at)| *x = at.sin() * 0.01);
            }
            if let Some(whole) = &layout.whole {
                whole.fill(&packed.tensors(), &mut numbers);
            }
            let frozen = run.frozen(&weighted, &[1.0; 3]).unwrap();
            let examples = frozen.unwrap_or_else(|| run.examples(&weighted, &[1.0; 3], &mut rng).unwrap());
            let (loss, gradients) = run.gradients(&examples.iter().collect::<Vec<_>>(), &numbers, 1);
            assert!(loss > 0.5 && gradients.iter().all(|gradient| gradient.is_finite()), "{method}: loss {loss}");
            let named = named(&layout);
            assert_eq!(named.len(), tensors, "{method}");
            for (name, slot) in named {
                let largest = slot.of(&gradients).iter().fold(0.0f32, |top, gradient| top.max(gradient.abs()));
                // A softmax doesn't change when the same is added to all scores: a key's bias never trains.
                assert!(largest > 1e-7 || name.ends_with("key.bias"), "{method}: {name} never trains");
            }
        }
    }

    fn text_alone(text: &str) -> crate::model::AdapterInput {
        crate::model::AdapterInput { text: text.to_owned(), ..Default::default() }
    }
}
