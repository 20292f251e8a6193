//! The same encoder in plain candle with its autograd, names as in the checkpoint: what the packed
//! arithmetic is held against. Slow, and for tests only.
//!
//! Every operation here has a backward: candle's fused layer norm and softmax have none, and would
//! cut the gradient silently.

use std::collections::HashMap;

use candle_core::{D, Device, Result, Tensor, Var};
use candle_nn::{VarBuilder, ops};

use super::{
    bert::Config,
    lora::{Layout, TARGETS, Target},
};

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    fn load(vb: &VarBuilder<'_>, config: &Config) -> Result<Self> {
        let size = config.hidden_size;
        let eps = config.layer_norm_eps as f32;
        Ok(Self { weight: vb.get(size, "weight")?, bias: vb.get(size, "bias")?, eps })
    }

    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        ops::layer_norm_slow(xs, &self.weight, &self.bias, self.eps)
    }
}

struct Linear {
    weight: Tensor,
    bias: Tensor,
    difference: Option<(Var, Var, f64)>,
}

impl Linear {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let out = xs.broadcast_matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?;
        match &self.difference {
            None => Ok(out),
            Some((a, b, scale)) => {
                let reduced = (xs.broadcast_matmul(&a.t()?)? * *scale)?;
                out + reduced.broadcast_matmul(&b.t()?)?
            }
        }
    }
}

/// The variables of one adapter, by place in its layout.
pub(super) type Variables = HashMap<usize, Var>;

/// Variables with the values of an adapter's numbers, in the layout's shapes.
pub(super) fn variables(layout: &Layout, numbers: &[f32]) -> Result<Variables> {
    let slots = layout.named_pairs().flat_map(|(_, pair)| [pair.a, pair.b]);
    slots
        .chain([layout.head_weight, layout.head_bias])
        .map(|slot| {
            let values = Tensor::from_slice(slot.of(numbers), (slot.rows, slot.cols), &Device::Cpu)?;
            Ok((slot.start, Var::from_tensor(&values)?))
        })
        .collect()
}

struct Layer {
    linears: Vec<Linear>,
    attention_norm: LayerNorm,
    output_norm: LayerNorm,
    heads: usize,
}

impl Layer {
    fn forward(&self, xs: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, tokens, hidden) = xs.dims3()?;
        let size = hidden / self.heads;
        let linear = |target: Target, xs: &Tensor| self.linears[target as usize].forward(xs);
        let split = |xs: Tensor| xs.reshape((batch, tokens, self.heads, size))?.transpose(1, 2)?.contiguous();
        let query = split(linear(Target::Query, xs)?)?;
        let key = split(linear(Target::Key, xs)?)?;
        let value = split(linear(Target::Value, xs)?)?;
        let scores = (query.matmul(&key.t()?)? / (size as f64).sqrt())?;
        let weights = ops::softmax(&scores.broadcast_add(mask)?, D::Minus1)?;
        let context = weights.matmul(&value)?.transpose(1, 2)?.reshape((batch, tokens, hidden))?;
        let xs = self.attention_norm.forward(&(xs + linear(Target::AttentionOutput, &context)?)?)?;
        let inner = linear(Target::Intermediate, &xs)?.gelu_erf()?;
        self.output_norm.forward(&(&xs + linear(Target::Output, &inner)?)?)
    }
}

/// The encoder: token ids in, one mean-pooled vector for each sequence out.
pub(super) struct Bert {
    word: Tensor,
    position: Tensor,
    token_type: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

impl Bert {
    pub(super) fn load(vb: &VarBuilder<'_>, config: &Config, layout: &Layout, variables: &Variables) -> Result<Self> {
        let hidden = config.hidden_size;
        let embeddings = vb.pp("embeddings");
        let table = |name: &str, rows: usize| embeddings.pp(name).get((rows, hidden), "weight");
        let layer = |at: usize| {
            let vb = vb.pp(format!("encoder.layer.{at}"));
            let linear = |target: Target| {
                let (inputs, outputs) = target.sizes(config);
                let difference = layout.pair(at, target).map(|pair| {
                    let of = |start| variables[&start].clone();
                    (of(pair.a.start), of(pair.b.start), f64::from(layout.scale))
                });
                let vb = vb.pp(target.path());
                Ok(Linear { weight: vb.get((outputs, inputs), "weight")?, bias: vb.get(outputs, "bias")?, difference })
            };
            Ok(Layer {
                linears: TARGETS.into_iter().map(linear).collect::<Result<_>>()?,
                attention_norm: LayerNorm::load(&vb.pp("attention.output.LayerNorm"), config)?,
                output_norm: LayerNorm::load(&vb.pp("output.LayerNorm"), config)?,
                heads: config.num_attention_heads,
            })
        };
        Ok(Self {
            word: table("word_embeddings", config.vocab_size)?,
            position: table("position_embeddings", config.max_position_embeddings)?,
            token_type: table("token_type_embeddings", config.type_vocab_size)?.get(0)?,
            norm: LayerNorm::load(&embeddings.pp("LayerNorm"), config)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        })
    }

    /// Mean over each sequence's tokens of the last layer: `[sequences, hidden]`.
    pub(super) fn forward(&self, sequences: &[&[u32]]) -> Result<Tensor> {
        let (batch, longest) = (sequences.len(), sequences.iter().map(|ids| ids.len()).max().unwrap_or(0));
        let padded = |of: &dyn Fn(&[u32], usize) -> f32| {
            let values: Vec<f32> = sequences.iter().flat_map(|ids| (0..longest).map(move |at| of(ids, at))).collect();
            Tensor::from_vec(values, (batch, longest), &Device::Cpu)
        };
        let ids: Vec<u32> =
            sequences.iter().flat_map(|ids| (0..longest).map(|at| ids.get(at).copied().unwrap_or(0))).collect();
        let words = self.word.index_select(&Tensor::from_vec(ids, batch * longest, &Device::Cpu)?, 0)?;
        let words = words.reshape((batch, longest, words.dim(1)?))?;
        let present = padded(&|ids, at| if at < ids.len() { 1.0 } else { 0.0 })?.unsqueeze(2)?;
        let mask = padded(&|ids, at| if at < ids.len() { 0.0 } else { -1e9 })?.unsqueeze(1)?.unsqueeze(1)?;
        let xs = words.broadcast_add(&self.position.narrow(0, 0, longest)?)?.broadcast_add(&self.token_type)?;
        let mut xs = self.norm.forward(&xs)?;
        for layer in &self.layers {
            xs = layer.forward(&xs, &mask)?;
        }
        xs.broadcast_mul(&present)?.sum(1)?.broadcast_div(&present.sum(1)?)
    }
}

/// A small encoder of random weights under the checkpoint's names.
pub(super) fn random_tensors(config: &Config) -> Result<HashMap<String, Tensor>> {
    let hidden = config.hidden_size;
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![config.vocab_size, hidden]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![config.max_position_embeddings, hidden]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![config.type_vocab_size, hidden]),
    ];
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..config.num_hidden_layers {
        for target in TARGETS {
            let (inputs, outputs) = target.sizes(config);
            let name = format!("encoder.layer.{layer}.{}", target.path());
            shapes.push((format!("{name}.bias"), vec![outputs]));
            shapes.push((format!("{name}.weight"), vec![outputs, inputs]));
        }
        norms.push(format!("encoder.layer.{layer}.attention.output.LayerNorm"));
        norms.push(format!("encoder.layer.{layer}.output.LayerNorm"));
    }
    let mut rng = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(7);
    let mut random = |shape: Vec<usize>, middle: f32| {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| middle + rand::Rng::random_range(&mut rng, -0.3..0.3)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
    };
    let mut tensors = HashMap::new();
    for (name, shape) in shapes {
        tensors.insert(name, random(shape, 0.0)?);
    }
    for name in norms {
        tensors.insert(format!("{name}.weight"), random(vec![hidden], 1.0)?);
        tensors.insert(format!("{name}.bias"), random(vec![hidden], 0.0)?);
    }
    Ok(tensors)
}
