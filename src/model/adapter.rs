//! One adapter in service: its numbers beside weights that others share, probabilities out.

use std::{fmt, path::Path, sync::Arc};

use super::{
    AdapterBank, BaseEncoder, Error,
    calibrate::{Fusion, Opinions},
    encoder::{Reader, pooled},
    facts::{AdapterFacts, Naming, Probe, Quantization},
    guard::{Reduced, Refused},
    infer::{Format, Model},
    input::AdapterInput,
    known::KnownWork,
    lora::Layout,
    method::Method,
    packed::{Group, Learned},
    train::{Origin, Trained, head},
    wide::Wide,
};

/// How far a probe's answer may be from the stored one: other cores sum in another order.
const PROBE_TOLERANCE: f32 = 2e-3;
/// How far a probe's logits may be from the stored ones in fewer bits, as a share of their length.
const REDUCED_TOLERANCE: f32 = 0.25;

/// What an adapter says about one transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdapterOutput {
    /// Calibrated probabilities by place in the taxonomy's assignable categories.
    pub probabilities: Vec<f32>,
    /// The same from encoder and head alone: what PEFT can express.
    pub encoder_probabilities: Vec<f32>,
    /// The category that labelled rows of the same key most often had, and how many had it.
    pub known: Option<(usize, u32)>,
}

impl AdapterOutput {
    /// The answer to an input of which the encoder and the head say `logits`.
    pub(super) fn of(input: &AdapterInput, logits: &[f32], wide: Option<&Wide>, fusion: &Fusion) -> Self {
        let known = wide.and_then(|wide| wide.memory.known(&input.key));
        let wide = wide.map(|wide| wide.logits(input));
        let opinions = Opinions { encoder: logits, wide: wide.as_deref(), known: known.is_some() };
        Self { probabilities: fusion.fused(opinions), encoder_probabilities: fusion.alone(logits), known }
    }
}

/// A handle on an adapter in a bank; clones share it, and the last one frees its memory.
#[derive(Clone)]
pub struct AdapterModel {
    bank: AdapterBank,
    pub(super) loaded: Arc<Loaded>,
}

impl AdapterModel {
    /// Loads an adapter's folder into a bank of its own: for a process with one adapter.
    ///
    /// # Errors
    /// As [`AdapterBank::open`] and [`AdapterBank::load`].
    pub fn load(dir: &Path, base: &BaseEncoder) -> Result<Self, Error> {
        AdapterBank::open(base)?.load(dir)
    }

    pub(super) fn new(bank: AdapterBank, loaded: Arc<Loaded>) -> Self {
        Self { bank, loaded }
    }

    /// What is known about it.
    #[must_use]
    pub fn facts(&self) -> &AdapterFacts {
        &self.loaded.facts
    }

    /// What it is computed in, where that is not `f32`.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.loaded.engine.format()
    }

    /// How often a text was known to the bank that it is in.
    #[must_use]
    pub fn known_work(&self) -> KnownWork {
        self.bank.known_work()
    }

    /// Eight hexadecimal digits that change with any of its files.
    #[must_use]
    pub fn hash8(&self) -> &str {
        &self.loaded.hash[..8]
    }

    /// What predictions call it.
    #[must_use]
    pub fn engine(&self) -> String {
        self.facts().engine_of(&self.loaded.hash)
    }

    /// One answer for each input, in order.
    ///
    /// # Errors
    /// When the thread has ended or a text can't be tokenized.
    pub async fn classify(&self, inputs: Vec<AdapterInput>) -> Result<Vec<AdapterOutput>, Error> {
        self.bank.classify(inputs.into_iter().map(|input| (self.clone(), input)).collect()).await
    }
}

impl fmt::Debug for AdapterModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdapterModel({}@{})", self.facts().name, self.hash8())
    }
}

/// An adapter in memory.
pub(super) struct Loaded {
    pub(super) facts: AdapterFacts,
    /// SHA-256 of `txcat.json`, which holds those of all other files.
    pub(super) hash: String,
    pub(super) engine: Engine,
}

/// The numbers of an adapter, and the weights that they are a difference to.
pub(super) struct Engine {
    pub(super) reader: Arc<Reader>,
    layout: Layout,
    numbers: Vec<f32>,
    wide: Option<Wide>,
    fusion: Fusion,
    /// Where it may be computed in fewer bits, and shall.
    pub(super) reduced: Option<Reduced>,
}

impl Engine {
    /// What it is computed in, where that is not `f32`.
    pub(super) fn format(&self) -> Option<Format> {
        self.reduced.as_ref().map(|reduced| reduced.model.format())
    }

    /// `reader` has the weights as the adapter was trained on them. An adapter that trained every weight
    /// gets a copy with its own in their place.
    pub(super) fn new(
        reader: Arc<Reader>,
        (layout, numbers): (Layout, Vec<f32>),
        wide: Option<Wide>,
        fusion: Fusion,
    ) -> Self {
        if layout.whole.is_none() {
            return Self { reader, layout, numbers, wide, fusion, reduced: None };
        }
        let learned = Learned { layout: &layout, numbers: &numbers, noise: None };
        let own = Arc::new(reader.with(reader.packed.merged(learned)));
        let (layout, numbers) = layout.head_alone(&numbers);
        Self { reader: own, layout, numbers, wide, fusion, reduced: None }
    }

    /// The adapter on weights in fewer bits, which others may share, if it is near its stored probes on them: what
    /// computes them here may never have computed the guard's rows.
    pub(super) fn reduced(&self, model: Arc<Model>, probes: &[Probe]) -> Result<Reduced, Refused> {
        let reduced = Reduced::new(model, &self.layout, &self.numbers);
        let texts: Vec<&str> = probes.iter().map(|probe| probe.input.text.as_str()).collect();
        let sequences = self.reader.tokenizer.encode(&texts).map_err(|_| Refused::Far)?;
        let found = reduced.logits(&self.layout, &self.numbers, &sequences);
        let near = |(found, stored): (&Vec<f32>, &Probe)| {
            let stored = &stored.encoder_logits;
            let apart: f32 = found.iter().zip(stored).map(|(found, stored)| (found - stored).powi(2)).sum();
            apart.sqrt() <= REDUCED_TOLERANCE * stored.iter().map(|stored| stored.powi(2)).sum::<f32>().sqrt()
        };
        if found.iter().zip(probes).all(near) { Ok(reduced) } else { Err(Refused::Far) }
    }

    /// What it learned, to read texts with.
    pub(super) fn learned(&self) -> Learned<'_> {
        Learned { layout: &self.layout, numbers: &self.numbers, noise: None }
    }

    /// The head's logits for a text's vector.
    pub(super) fn logits(&self, vector: &[f32]) -> Vec<f32> {
        head(&self.layout, &self.numbers, vector)
    }

    /// The answer to an input of which the encoder and the head say `logits`.
    pub(super) fn answer(&self, input: &AdapterInput, logits: &[f32]) -> AdapterOutput {
        AdapterOutput::of(input, logits, self.wide.as_ref(), &self.fusion)
    }

    /// Logits of inputs as another reader reads them, with what was learned or without.
    fn logits_of(
        &self,
        reader: &Reader,
        learned: Option<Learned<'_>>,
        inputs: &[AdapterInput],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let texts: Vec<&str> = inputs.iter().map(|input| input.text.as_str()).collect();
        let sequences = reader.tokenizer.encode(&texts)?;
        let vectors = pooled(&reader.packed, &[Group::new(learned, &sequences)]);
        Ok(vectors.iter().map(|vector| self.logits(vector)).collect())
    }

    fn probe(&self, inputs: &[AdapterInput]) -> Result<Vec<Probe>, Error> {
        let logits = self.logits_of(&self.reader, Some(self.learned()), inputs)?;
        let probe = |(input, encoder_logits): (&AdapterInput, Vec<f32>)| Probe {
            input: input.clone(),
            probabilities: self.answer(input, &encoder_logits).probabilities,
            encoder_logits,
        };
        Ok(inputs.iter().zip(logits).map(probe).collect())
    }

    /// The stored probes must give the stored answers, and the difference to `base` must make a difference.
    pub(super) fn verify(&self, dir: &Path, facts: &AdapterFacts, base: &Reader) -> Result<(), Error> {
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
        let without = self.logits_of(base, None, &inputs)?;
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
        let reader = Arc::new(Reader::load(&self.base)?.kept(Quantization::of(self.options.method)));
        let wide = self.wide.as_ref().map(Wide::rounded);
        let engine = Engine::new(reader.clone(), (self.layout.clone(), self.numbers.clone()), wide, self.fusion);
        self.write(dir, naming, engine.probe(&self.probes)?, &reader.packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[tokio::test]
    async fn the_shipped_adapter_says_the_same_merged_and_beside_the_real_encoder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let models = config::Models { dir: root.join("models"), encoder: None, encoder_dir: None };
        let base = BaseEncoder::pull(&models, None, &mut |_| {}).await.unwrap();
        let adapter = AdapterModel::load(&root.join("models/adapters/demo"), &base).unwrap();
        let (facts, engine) = (adapter.facts(), &adapter.loaded.engine);
        let inputs: Vec<AdapterInput> = facts.probes.iter().map(|probe| probe.input.clone()).collect();
        let beside = engine.logits_of(&engine.reader, Some(engine.learned()), &inputs).unwrap().concat();
        let merged = engine.reader.with(engine.reader.packed.merged(engine.learned()));
        let merged = engine.logits_of(&merged, None, &inputs).unwrap().concat();
        let apart = merged.iter().zip(&beside).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(merged.len() == inputs.len() * facts.categories.len() && apart < 1e-4, "{apart}");

        // One probe: kernels for fewer bits take their time where nothing is optimized.
        let model = Arc::new(Model::new(&engine.reader.packed, Format::Int8).unwrap());
        let mut probe = facts.probes[0].clone();
        assert!(engine.reduced(model.clone(), std::slice::from_ref(&probe)).is_ok());
        probe.encoder_logits.rotate_left(1);
        assert_eq!(engine.reduced(model, &[probe]).err(), Some(Refused::Far));
    }
}
