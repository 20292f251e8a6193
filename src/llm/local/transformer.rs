//! The forward pass of Llama, Qwen2 and Qwen3 over the quantized weights of a GGUF file.
//!
//! Every pass reads a tree of new tokens behind those that were kept: a token sees what was kept, its ancestors
//! and itself. A text is a tree without branches; the closed set of answers is one with many, read in one pass.

use std::{collections::BTreeSet, io::BufReader, sync::Arc};

use candle_core::{
    DType, Device, Module, Tensor,
    quantized::{QMatMul, QTensor, gguf_file::Content},
};
use candle_nn::{
    ops::{rms_norm, silu, softmax_last_dim},
    rotary_emb::{rope, rope_i},
};

use super::{Error, config::Config};

/// New tokens, each with the place of the one before it, or none where that is the last one kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) tokens: Vec<u32>,
    /// A parent stands before its children.
    pub(super) parents: Vec<Option<usize>>,
}

impl Tree {
    /// One token after the other.
    pub(super) fn line(tokens: &[u32]) -> Self {
        Self { tokens: tokens.to_vec(), parents: (0..tokens.len()).map(|at| at.checked_sub(1)).collect() }
    }
}

/// Keys and values of the tokens that were read, layer by layer.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    length: usize,
    layers: Vec<(Tensor, Tensor)>,
}

impl Kept {
    /// Forgets all but the first tokens.
    pub(super) fn truncate(&mut self, length: usize) -> Result<(), Error> {
        if length < self.length {
            for (keys, values) in &mut self.layers {
                (*keys, *values) = (keys.narrow(1, 0, length)?, values.narrow(1, 0, length)?);
            }
            self.length = length;
        }
        Ok(())
    }
}

/// The weights.
pub(super) struct Transformer {
    pub(super) config: Config,
    words: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    output: QMatMul,
    /// How far each pair of a head turns from one position to the next.
    turns: Vec<f32>,
}

struct Layer {
    attention_norm: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: Option<Tensor>,
    key_norm: Option<Tensor>,
    attention_out: Linear,
    feed_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
}

struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let output = self.weight.forward(input)?;
        match &self.bias {
            Some(bias) => output.broadcast_add(bias),
            None => Ok(output),
        }
    }
}

/// Takes tensors out of a file and knows which are left.
struct Tensors<'a> {
    content: &'a Content,
    file: &'a mut BufReader<std::fs::File>,
    left: BTreeSet<&'a str>,
}

impl Tensors<'_> {
    fn quantized(&mut self, name: &str) -> candle_core::Result<QTensor> {
        self.left.remove(name);
        self.content.tensor(self.file, name, &Device::Cpu)
    }

    fn plain(&mut self, name: &str) -> candle_core::Result<Tensor> {
        self.quantized(name)?.dequantize(&Device::Cpu)
    }

    fn perhaps(&mut self, name: &str) -> candle_core::Result<Option<Tensor>> {
        if self.left.contains(name) { self.plain(name).map(Some) } else { Ok(None) }
    }

    fn linear(&mut self, name: &str) -> candle_core::Result<Linear> {
        let weight = QMatMul::from_qtensor(self.quantized(&format!("{name}.weight"))?)?;
        Ok(Linear { weight, bias: self.perhaps(&format!("{name}.bias"))? })
    }
}

impl Transformer {
    /// Reads the weights that a file's header lists.
    pub(super) fn read(content: &Content, file: &mut BufReader<std::fs::File>) -> Result<Self, Error> {
        let config = Config::read(content)?;
        let left = content.tensor_infos.keys().map(String::as_str).collect();
        let mut of = Tensors { content, file, left };
        let words = Arc::new(of.quantized("token_embd.weight")?);
        let layers = (0..config.layers).map(|at| Layer::read(&mut of, at)).collect::<Result<_, _>>()?;
        let norm = of.plain("output_norm.weight")?;
        // Without an output of its own the words' own vectors are the output.
        let own = of.left.contains("output.weight");
        let output = if own { Arc::new(of.quantized("output.weight")?) } else { Arc::clone(&words) };
        let output = QMatMul::from_arc(output)?;
        let stretch = of.perhaps("rope_freqs.weight")?.map(|tensor| tensor.to_vec1::<f32>()).transpose()?;
        if let Some(&tensor) = of.left.first() {
            return Err(Error::LeftOver { tensor: tensor.to_owned() });
        }
        let pairs = config.head / 2;
        if stretch.as_ref().is_some_and(|stretch| stretch.len() != pairs) {
            return Err(Error::Metadata { key: "rope_freqs.weight".to_owned(), says: "is not of a head's size" });
        }
        let turn = |pair: usize| config.rope_base.powf(-((2 * pair) as f32) / config.head as f32);
        let stretched = |pair: usize| turn(pair) / stretch.as_ref().map_or(1.0, |stretch| stretch[pair]);
        let turns = (0..pairs).map(stretched).collect();
        Ok(Self { config, words, layers, norm, output, turns })
    }

    /// Tokens that it has vectors for.
    pub(super) fn vocabulary(&self) -> usize {
        self.words.shape().dims().first().copied().unwrap_or(0)
    }

    /// Reads new tokens behind those kept: the last layer's vector of each, and all keys and values.
    pub(super) fn forward(&self, tree: &Tree, kept: &Kept) -> Result<(Tensor, Kept), Error> {
        let ids = Tensor::new(tree.tokens.as_slice(), &Device::Cpu)?;
        let (mask, depths) = sight(tree, kept.length)?;
        let positions = Positions::new(&self.turns, &depths, kept.length)?;
        let mut hidden = self.words.embedding(&ids)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for (at, layer) in self.layers.iter().enumerate() {
            let input = rms_norm(&hidden, &layer.attention_norm, self.config.epsilon)?;
            let (attended, keys, values) =
                layer.attend(&self.config, &input, &positions, &mask, kept.layers.get(at))?;
            layers.push((keys, values));
            hidden = (hidden + attended)?;
            let input = rms_norm(&hidden, &layer.feed_norm, self.config.epsilon)?;
            let inner = (silu(&layer.gate.forward(&input)?)? * layer.up.forward(&input)?)?;
            hidden = (hidden + layer.down.forward(&inner)?)?;
        }
        Ok((hidden, Kept { length: kept.length + tree.tokens.len(), layers }))
    }

    /// What each of these vectors says of the next token: one number for each token of the vocabulary.
    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Vec<Vec<f32>>, Error> {
        let normed = rms_norm(hidden, &self.norm, self.config.epsilon)?;
        Ok(self.output.forward(&normed)?.to_dtype(DType::F32)?.to_vec2()?)
    }
}

impl Layer {
    fn read(of: &mut Tensors<'_>, at: usize) -> candle_core::Result<Self> {
        let name = |part: &str| format!("blk.{at}.{part}");
        Ok(Self {
            attention_norm: of.plain(&name("attn_norm.weight"))?,
            query: of.linear(&name("attn_q"))?,
            key: of.linear(&name("attn_k"))?,
            value: of.linear(&name("attn_v"))?,
            query_norm: of.perhaps(&name("attn_q_norm.weight"))?,
            key_norm: of.perhaps(&name("attn_k_norm.weight"))?,
            attention_out: of.linear(&name("attn_output"))?,
            feed_norm: of.plain(&name("ffn_norm.weight"))?,
            gate: of.linear(&name("ffn_gate"))?,
            up: of.linear(&name("ffn_up"))?,
            down: of.linear(&name("ffn_down"))?,
        })
    }

    fn attend(
        &self,
        config: &Config,
        input: &Tensor,
        positions: &Positions,
        mask: &Tensor,
        kept: Option<&(Tensor, Tensor)>,
    ) -> candle_core::Result<(Tensor, Tensor, Tensor)> {
        let (new, head, shared) = (input.dim(0)?, config.head, config.heads / config.key_heads);
        let split = |projected: Tensor, heads: usize, norm: Option<&Tensor>| {
            let projected = projected.reshape((new, heads, head))?;
            let projected = match norm {
                Some(norm) => rms_norm(&projected.contiguous()?, norm, config.epsilon)?,
                None => projected,
            };
            projected.transpose(0, 1)?.contiguous()
        };
        let queries = split(self.query.forward(input)?, config.heads, self.query_norm.as_ref())?;
        let keys = split(self.key.forward(input)?, config.key_heads, self.key_norm.as_ref())?;
        let values = split(self.value.forward(input)?, config.key_heads, None)?;
        let queries = positions.turn(&queries, config.turns_halves)?;
        let keys = positions.turn(&keys, config.turns_halves)?;
        let (keys, values) = match kept {
            Some((before, said)) => (Tensor::cat(&[before, &keys], 1)?, Tensor::cat(&[said, &values], 1)?),
            None => (keys, values),
        };
        let all = keys.dim(1)?;
        let queries = (queries.reshape((config.key_heads, shared * new, head))? / (head as f64).sqrt())?;
        let scores = queries.matmul(&keys.transpose(1, 2)?)?;
        let scores = scores.reshape((config.key_heads, shared, new, all))?.broadcast_add(mask)?;
        let weights = softmax_last_dim(&scores)?.reshape((config.key_heads, shared * new, all))?;
        let attended = weights.matmul(&values)?.reshape((config.heads, new, head))?;
        let attended = attended.transpose(0, 1)?.contiguous()?.reshape((new, config.heads * head))?;
        Ok((self.attention_out.forward(&attended)?, keys, values))
    }
}

/// Who sees whom (0, or -∞), and how many new tokens stand before each.
fn sight(tree: &Tree, kept: usize) -> Result<(Tensor, Vec<usize>), Error> {
    let new = tree.tokens.len();
    let all = kept + new;
    let mut mask = vec![f32::NEG_INFINITY; new * all];
    let mut depths = vec![0; new];
    for (at, parent) in tree.parents.iter().enumerate() {
        let (before, own) = mask.split_at_mut(at * all);
        match parent {
            Some(parent) => {
                own[..all].copy_from_slice(&before[parent * all..][..all]);
                depths[at] = depths[*parent] + 1;
            }
            None => own[..kept].fill(0.0),
        }
        own[kept + at] = 0.0;
    }
    Ok((Tensor::from_vec(mask, (new, all), &Device::Cpu)?, depths))
}

/// How far each new token's heads are turned.
struct Positions {
    cos: Tensor,
    sin: Tensor,
}

impl Positions {
    fn new(turns: &[f32], depths: &[usize], kept: usize) -> candle_core::Result<Self> {
        let angles: Vec<f32> =
            depths.iter().flat_map(|depth| turns.iter().map(move |turn| (kept + depth) as f32 * turn)).collect();
        let angles = Tensor::from_vec(angles, (depths.len(), turns.len()), &Device::Cpu)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()? })
    }

    fn turn(&self, heads: &Tensor, halves: bool) -> candle_core::Result<Tensor> {
        let turned = if halves { rope } else { rope_i }(&heads.unsqueeze(0)?, &self.cos, &self.sin)?;
        turned.squeeze(0)
    }
}
