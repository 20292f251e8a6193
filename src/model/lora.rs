//! What is trained: low-rank differences to the encoder's linear layers, and a head over its mean pooling.
//!
//! All trained numbers lie in one vector, with a `Layout` that says which tensor is where, so that
//! the optimizer, clipping and summing over shards are loops over one slice.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{bert::Config, method::Method, whole::Whole};

/// One of the linear layers of an encoder layer, by its name in the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// `attention.self.query`
    #[serde(rename = "query")]
    Query,
    /// `attention.self.key`
    #[serde(rename = "key")]
    Key,
    /// `attention.self.value`
    #[serde(rename = "value")]
    Value,
    /// `attention.output.dense`
    #[serde(rename = "attention.output.dense")]
    AttentionOutput,
    /// `intermediate.dense`
    #[serde(rename = "intermediate.dense")]
    Intermediate,
    /// `output.dense` of the feed-forward part
    #[serde(rename = "output.dense")]
    Output,
}

/// Every [`Target`], in the order of the arithmetic.
pub const TARGETS: [Target; 6] =
    [Target::Query, Target::Key, Target::Value, Target::AttentionOutput, Target::Intermediate, Target::Output];

impl Target {
    /// Where the module stands within an encoder layer.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Query => "attention.self.query",
            Self::Key => "attention.self.key",
            Self::Value => "attention.self.value",
            Self::AttentionOutput => "attention.output.dense",
            Self::Intermediate => "intermediate.dense",
            Self::Output => "output.dense",
        }
    }

    /// Inputs and outputs.
    pub(super) fn sizes(self, config: &Config) -> (usize, usize) {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        match self {
            Self::Intermediate => (hidden, inner),
            Self::Output => (inner, hidden),
            _ => (hidden, hidden),
        }
    }
}

impl std::str::FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        TARGETS
            .into_iter()
            .find(|target| target.path() == name || target.path().strip_prefix("attention.self.") == Some(name))
            .ok_or(UnknownTarget)
    }
}

/// A name that is no linear layer of the encoder.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be query, key, value, attention.output.dense, intermediate.dense or output.dense")]
pub struct UnknownTarget;

/// How large the difference may be, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraOptions {
    /// Rank of each difference.
    pub rank: usize,
    /// Its scale is `alpha / rank`.
    pub alpha: f32,
    /// Share of a layer's inputs dropped on the way into the difference, in training.
    pub dropout: f32,
    /// Which linear layers get one.
    pub targets: Vec<Target>,
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self { rank: 16, alpha: 32.0, dropout: 0.05, targets: TARGETS.to_vec() }
    }
}

impl LoraOptions {
    /// Whether the rank is one that the encoder's layers can have: no larger than their larger side. What a file says is asked so before
    /// any memory is taken for it.
    pub(super) fn fits(&self, config: &Config) -> bool {
        (1..=config.hidden_size.max(config.intermediate_size)).contains(&self.rank)
    }
}

/// Where a tensor lies in the vector of trained numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl Slot {
    pub(super) fn end(self) -> usize {
        self.start + self.rows * self.cols
    }

    pub(super) fn of(self, numbers: &[f32]) -> &[f32] {
        &numbers[self.start..self.end()]
    }

    pub(super) fn of_mut(self, numbers: &mut [f32]) -> &mut [f32] {
        &mut numbers[self.start..self.end()]
    }
}

/// The two factors of one layer's difference: `a` is `[rank, inputs]`, `b` is `[outputs, rank]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) a: Slot,
    pub(super) b: Slot,
}

/// Which tensor is where: the encoder's own, where they train, then every pair by layer and target,
/// then the head.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) whole: Option<Whole>,
    pairs: Vec<[Option<Pair>; TARGETS.len()]>,
    pub(super) head_weight: Slot,
    pub(super) head_bias: Slot,
    pub(super) scale: f32,
    pub(super) dropout: f32,
}

impl Layout {
    pub(super) fn new(config: &Config, method: Method, options: &LoraOptions, classes: usize) -> Self {
        let mut end = 0;
        let mut slot = |rows, cols| {
            let slot = Slot { start: end, rows, cols };
            end += rows * cols;
            slot
        };
        let whole = (method == Method::Full).then(|| Whole::new(config, &mut slot));
        let mut pairs = Vec::new();
        for _ in 0..config.num_hidden_layers {
            pairs.push(TARGETS.map(|target| {
                let (inputs, outputs) = target.sizes(config);
                let wanted = method.has_pairs() && options.targets.contains(&target) && options.rank > 0;
                wanted.then(|| Pair { a: slot(options.rank, inputs), b: slot(outputs, options.rank) })
            }));
        }
        let scale = options.alpha / options.rank.max(1) as f32;
        let (head_weight, head_bias) = (slot(classes, config.hidden_size), slot(classes, 1));
        Self { whole, pairs, head_weight, head_bias, scale, dropout: options.dropout }
    }

    pub(super) fn len(&self) -> usize {
        self.head_bias.start + self.head_bias.rows
    }

    pub(super) fn pair(&self, layer: usize, target: Target) -> Option<Pair> {
        self.pairs[layer][target as usize]
    }

    /// Noise of a place's own, out of that of all.
    pub(super) fn noise(&self, of_all: u64, layer: usize, target: Target) -> u64 {
        let places = (self.pairs.len() * TARGETS.len()).next_power_of_two() as u64;
        of_all.wrapping_mul(places).wrapping_add((layer * TARGETS.len() + target as usize) as u64)
    }

    pub(super) fn classes(&self) -> usize {
        self.head_bias.rows
    }

    /// The head's numbers without any other, and where they lie then.
    pub(super) fn head_alone(&self, numbers: &[f32]) -> (Self, Vec<f32>) {
        let from = self.head_weight.start;
        let moved = |slot: Slot| Slot { start: slot.start - from, ..slot };
        let (head_weight, head_bias) = (moved(self.head_weight), moved(self.head_bias));
        let pairs = vec![[None; TARGETS.len()]; self.pairs.len()];
        let alone = Self { whole: None, pairs, head_weight, head_bias, ..*self };
        (alone, numbers[from..].to_vec())
    }

    /// Every pair with its name under PEFT, without `.lora_A.weight` and `.lora_B.weight`.
    pub(super) fn named_pairs(&self) -> impl Iterator<Item = (String, Pair)> {
        self.pairs.iter().enumerate().flat_map(|(layer, pairs)| {
            TARGETS.into_iter().zip(pairs).filter_map(move |(target, pair)| {
                pair.map(|pair| (format!("base_model.model.encoder.layer.{layer}.{}", target.path()), pair))
            })
        })
    }

    /// As PEFT starts: `a` uniform in `±1/√inputs`, `b` zero, so that the difference is zero; the head
    /// as PyTorch starts a linear layer.
    pub(super) fn start(&self, rng: &mut impl Rng) -> Vec<f32> {
        let mut numbers = vec![0.0; self.len()];
        let uniform = |slot: Slot, numbers: &mut Vec<f32>, rng: &mut _| {
            let bound = 1.0 / (slot.cols as f32).sqrt();
            for number in slot.of_mut(numbers) {
                *number = Rng::random_range(rng, -bound..bound);
            }
        };
        for (_, pair) in self.named_pairs() {
            uniform(pair.a, &mut numbers, rng);
        }
        uniform(self.head_weight, &mut numbers, rng);
        numbers
    }
}
