//! An adapter in service: its difference merged into the encoder once, probabilities out.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;

use super::{
    BaseEncoder, Error,
    bert::Config,
    calibrate::{Fusion, Opinions},
    encoder::pooled,
    folder::{AdapterFacts, Naming, Parts, Probe, Quantization},
    input::AdapterInput,
    lora::Layout,
    method::Method,
    packed::{Learned, Packed},
    tokens::Tokenizer,
    train::{Origin, Trained, head},
    wide::Wide,
    worker::Worker,
};

/// How far a probe's answer may be from the stored one: other cores sum in another order.
const PROBE_TOLERANCE: f32 = 2e-3;

/// What an adapter says about one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterOutput {
    /// Calibrated probabilities by place in the taxonomy's assignable categories.
    pub probabilities: Vec<f32>,
    /// The same from encoder and head alone: what PEFT can express.
    pub encoder_probabilities: Vec<f32>,
    /// The category that labelled rows of the same key most often had, and how many had it.
    pub known: Option<(usize, u32)>,
}

/// A handle on the adapter's thread; clones share it, and the last one ends it.
#[derive(Debug, Clone)]
pub struct AdapterModel {
    worker: Worker<Vec<AdapterInput>, Vec<AdapterOutput>>,
    facts: Arc<AdapterFacts>,
    hash: Arc<str>,
}

impl AdapterModel {
    /// Reads an adapter's folder, verifies its hashes, base model and probes, merges its difference
    /// into the encoder and starts the thread.
    ///
    /// # Errors
    /// When a file is missing, malformed or has another hash, the base model is another one, or a
    /// probe's answer differs from the stored one.
    pub fn load(dir: &Path, base: &BaseEncoder) -> Result<Self, Error> {
        let facts = AdapterFacts::read(dir)?;
        if facts.base.sha256 != base.sha256 {
            return Err(Error::OtherBase {
                dir: dir.to_owned(),
                wanted: facts.base.sha256,
                found: base.sha256.clone(),
            });
        }
        let packed = base_weights(base, facts.base.quantization)?;
        let Parts { facts, hash, layout, numbers, wide } = Parts::read(dir, facts, &packed)?;
        let engine = Engine::new(
            base,
            &packed,
            Learned { layout: &layout, numbers: &numbers, noise: None },
            wide,
            &facts.fusion,
        )?;
        engine.verify(dir, &facts, &packed)?;
        let worker = Worker::start("adapter", move |inputs: Vec<AdapterInput>| engine.classify(&inputs))?;
        Ok(Self { worker, facts: Arc::new(facts), hash: hash.into() })
    }

    /// What is known about it.
    #[must_use]
    pub fn facts(&self) -> &AdapterFacts {
        &self.facts
    }

    /// Eight hexadecimal digits that change with any of its files.
    #[must_use]
    pub fn hash8(&self) -> &str {
        &self.hash
    }

    /// One answer for each input, in order.
    ///
    /// # Errors
    /// When the thread has ended or a text can't be tokenized.
    pub async fn classify(&self, inputs: Vec<AdapterInput>) -> Result<Vec<AdapterOutput>, Error> {
        self.worker.ask(inputs).await
    }
}

/// The encoder's weights, as an adapter was trained on them.
fn base_weights(base: &BaseEncoder, quantization: Option<Quantization>) -> Result<Packed, Error> {
    let packed = Packed::load(&base.dir.join("model.safetensors"), &Config::load(&base.dir)?)?;
    Ok(match quantization {
        Some(Quantization::Nf4) => packed.quantized(),
        None => packed,
    })
}

struct Engine {
    packed: Packed,
    tokenizer: Tokenizer,
    /// Of the head alone.
    layout: Layout,
    numbers: Vec<f32>,
    wide: Option<Wide>,
    fusion: Fusion,
}

impl Engine {
    fn new(
        base: &BaseEncoder,
        packed: &Packed,
        learned: Learned<'_>,
        wide: Option<Wide>,
        fusion: &Fusion,
    ) -> Result<Self, Error> {
        let (layout, numbers) = learned.layout.head_alone(learned.numbers);
        let tokenizer = Tokenizer::load(&base.dir.join("tokenizer.json"))?;
        Ok(Self { packed: packed.merged(learned), tokenizer, layout, numbers, wide, fusion: *fusion })
    }

    fn classify(&self, inputs: &[AdapterInput]) -> Result<Vec<AdapterOutput>, Error> {
        let logits = self.encoder_logits(&self.packed, inputs)?;
        let answer = |(input, logits): (&AdapterInput, Vec<f32>)| {
            let wide = self.wide.as_ref().map(|wide| wide.logits(input));
            let known = self.wide.as_ref().and_then(|wide| wide.memory.known(&input.key));
            AdapterOutput {
                probabilities: self.fusion.fused(Opinions {
                    encoder: &logits,
                    wide: wide.as_deref(),
                    known: known.is_some(),
                }),
                encoder_probabilities: self.fusion.alone(&logits),
                known,
            }
        };
        Ok(inputs.par_iter().zip(logits).map(answer).collect())
    }

    fn encoder_logits(&self, packed: &Packed, inputs: &[AdapterInput]) -> Result<Vec<Vec<f32>>, Error> {
        let texts: Vec<String> = inputs.iter().map(|input| input.text.clone()).collect();
        let vectors = pooled(packed, None, &self.tokenizer.encode(&texts)?);
        Ok(vectors.iter().map(|vector| head(&self.layout, &self.numbers, vector)).collect())
    }

    fn probe(&self, inputs: &[AdapterInput]) -> Result<Vec<Probe>, Error> {
        let logits = self.encoder_logits(&self.packed, inputs)?;
        let outputs = self.classify(inputs)?;
        let probe = |((input, encoder_logits), output): ((&AdapterInput, Vec<f32>), AdapterOutput)| Probe {
            input: input.clone(),
            encoder_logits,
            probabilities: output.probabilities,
        };
        Ok(inputs.iter().zip(logits).zip(outputs).map(probe).collect())
    }

    /// The stored probes must give the stored answers, and the difference must make a difference.
    fn verify(&self, dir: &Path, facts: &AdapterFacts, base: &Packed) -> Result<(), Error> {
        let inputs: Vec<AdapterInput> = facts.probes.iter().map(|probe| probe.input.clone()).collect();
        let found = self.probe(&inputs)?;
        let near = |a: &[f32], b: &[f32]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= PROBE_TOLERANCE * (1.0 + b.abs()))
        };
        let same = |(found, stored): (&Probe, &Probe)| {
            near(&found.encoder_logits, &stored.encoder_logits) && near(&found.probabilities, &stored.probabilities)
        };
        if found.is_empty() || !found.iter().zip(&facts.probes).all(same) {
            return Err(Error::Probes { dir: dir.to_owned() });
        }
        let without = self.encoder_logits(base, &inputs)?;
        let unchanged = |(found, without): (&Probe, &Vec<f32>)| near(&found.encoder_logits, without);
        let trained = facts.best_epoch > 0 || facts.origin != Origin::Trained;
        let moves = facts.training.method != Method::Head && trained;
        if moves && found.iter().zip(&without).all(unchanged) {
            return Err(Error::DoesNothing { dir: dir.to_owned() });
        }
        Ok(())
    }
}

impl Trained {
    /// Saves the adapter with answers to probes as serving will give them.
    ///
    /// # Errors
    /// When the base encoder can't be read or a file can't be written.
    pub fn save(&self, dir: &Path, naming: Naming) -> Result<AdapterFacts, Error> {
        let packed = base_weights(&self.base, Quantization::of(self.options.method))?;
        let learned = Learned { layout: &self.layout, numbers: &self.numbers, noise: None };
        let wide = self.wide.as_ref().map(Wide::rounded);
        let engine = Engine::new(&self.base, &packed, learned, wide, &self.fusion)?;
        self.write(dir, naming, engine.probe(&self.probes)?, &packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[tokio::test]
    async fn the_shipped_adapter_says_the_same_merged_and_beside_the_real_encoder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let models = config::Models { dir: root.join("models"), encoder: None };
        let base = BaseEncoder::pull(&models, None, &mut |_| {}).await.unwrap();
        let dir = root.join("models/adapters/demo");
        let packed = base_weights(&base, None).unwrap();
        let Parts { facts, layout, numbers, .. } =
            Parts::read(&dir, AdapterFacts::read(&dir).unwrap(), &packed).unwrap();
        let learned = Learned { layout: &layout, numbers: &numbers, noise: None };
        let texts: Vec<String> = facts.probes.iter().map(|probe| probe.input.text.clone()).collect();
        let sequences = Tokenizer::load(&base.dir.join("tokenizer.json")).unwrap().encode(&texts).unwrap();
        let logits = |vectors: Vec<Vec<f32>>| -> Vec<f32> {
            vectors.iter().flat_map(|vector| head(&layout, &numbers, vector)).collect()
        };
        let merged = logits(pooled(&packed.merged(learned), None, &sequences));
        let beside = logits(pooled(&packed, Some(learned), &sequences));
        let apart = merged.iter().zip(&beside).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(merged.len() == texts.len() * facts.categories.len() && apart < 1e-4, "{apart}");
    }
}
