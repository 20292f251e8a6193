//! A LoRA adapter that Python's PEFT trained on the base encoder, read to be served here.
//!
//! What PEFT knows and the packed arithmetic doesn't is refused by name: an adapter that is read
//! but for one setting would answer something else than where it came from.

mod config;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

use self::config::PeftConfig;
use super::{
    BaseEncoder, Error, Method,
    bert::Config,
    lora::{Layout, LoraOptions, Slot},
    packed::Learned,
    sha256_of,
    tensors::{decoded, malformed, read},
    train::{Origin, Progress, Setting, TrainOptions, TrainRows, Trained},
};

const CONFIG: &str = "adapter_config.json";
const MODEL: &str = "adapter_model.safetensors";
const WRAPPED: &str = "base_model.model.";

/// Why a PEFT adapter can't be served here.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A setting that changes what is computed.
    #[error("{CONFIG}: {key} is {value}, which txcat can't compute")]
    Setting {
        /// Its name.
        key: Box<str>,
        /// As JSON.
        value: Value,
    },
    /// A target that is no linear layer of the encoder.
    #[error("{CONFIG}: target_modules names {target}, which is no linear layer of the base encoder")]
    UnknownTarget {
        /// As it stands there.
        target: Box<str>,
    },
    /// A target in some encoder layers only.
    #[error("{CONFIG}: target_modules takes {module} in some layers and not in others")]
    SomeLayers {
        /// The module within a layer.
        module: &'static str,
    },
    /// A tensor that must be there is not.
    #[error("{MODEL}: {name} is missing")]
    Missing {
        /// Its name.
        name: Box<str>,
    },
    /// A tensor that nothing reads.
    #[error("{MODEL}: {name} belongs to nothing that {CONFIG} names")]
    LeftOver {
        /// Its name.
        name: Box<str>,
    },
    /// A tensor of another size or element type.
    #[error("{name} is {dtype} {found:?}, and must be floats of {wanted:?}")]
    Shape {
        /// Its name.
        name: Box<str>,
        /// Its element type.
        dtype: Dtype,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that is read.
        wanted: Vec<usize>,
    },
    /// A value that is no number.
    #[error("{name} has values that are no numbers")]
    NotFinite {
        /// Its name.
        name: Box<str>,
    },
    /// Two files bring a head.
    #[error("both {first} and {second} hold a head.weight: leave one")]
    TwoHeads {
        /// A file.
        first: Box<str>,
        /// Another.
        second: Box<str>,
    },
    /// The difference is zero.
    #[error("every lora_B is zero: it changes nothing")]
    DoesNothing,
}

/// A LoRA adapter from Python, and the head that stood beside it.
#[derive(Debug)]
pub struct PeftAdapter {
    /// Size, scale and place of the difference.
    pub lora: LoraOptions,
    /// What its configuration calls the base model, if anything.
    pub base: Option<String>,
    /// Tensors of modules that mean pooling never reads, and that are zero.
    pub passed_over: Vec<String>,
    /// SHA-256 of the files that were read, by name.
    pub sources: BTreeMap<String, String>,
    dir: PathBuf,
    /// Every pair, in the order of a layout.
    pairs: Vec<f32>,
    head: Option<Head>,
}

#[derive(Debug)]
struct Head {
    file: String,
    /// `[classes, hidden]`
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Values of a tensor of floats, which must have the shape.
fn floats(name: &str, tensor: &TensorView<'_>, wanted: &[usize]) -> Result<Vec<f32>, Refusal> {
    let values =
        decoded(tensor.dtype(), tensor.data()).filter(|_| tensor.shape() == wanted).ok_or_else(|| Refusal::Shape {
            name: name.into(),
            dtype: tensor.dtype(),
            found: tensor.shape().to_vec(),
            wanted: wanted.to_vec(),
        })?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(Refusal::NotFinite { name: name.into() })
    }
}

impl PeftAdapter {
    /// Reads `adapter_config.json`, `adapter_model.safetensors` and, where another safetensors file of the
    /// folder has them, `head.weight` and `head.bias`.
    ///
    /// # Errors
    /// When a file is missing or malformed, or says or holds something that has no counterpart here.
    pub fn read(dir: &Path, base: &BaseEncoder) -> Result<Self, Error> {
        let config = Config::load(&base.dir)?;
        let refused = |refusal| Error::Import { dir: dir.to_owned(), refusal };
        let path = dir.join(CONFIG);
        let peft: PeftConfig = serde_json::from_slice(&read(&path)?).map_err(|source| Error::Malformed {
            path: path.clone(),
            what: "PEFT configuration",
            source: source.into(),
        })?;
        peft.check().map_err(refused)?;
        let path = dir.join(MODEL);
        let bytes = read(&path)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|source| malformed(&path, source.into()))?;
        let names: BTreeSet<&str> = tensors.names().into_iter().collect();
        let prefix = names.iter().find_map(|name| Some(name.strip_prefix(WRAPPED)?.split_once("encoder.layer.")?.0));
        let prefix = prefix.unwrap_or_default();
        let targets = peft.targets(&config, prefix).map_err(refused)?;
        let lora = LoraOptions { rank: peft.r, alpha: peft.alpha(), dropout: peft.lora_dropout, targets };
        if !lora.fits(&config) {
            return Err(refused(Refusal::Setting { key: "r".into(), value: peft.r.into() }));
        }
        let (pairs, passed_over) =
            pairs(&tensors, names, &Layout::new(&config, Method::Lora, &lora, 0), prefix).map_err(refused)?;
        let head = head(dir, config.hidden_size)?;
        let mut sources = BTreeMap::new();
        for name in [CONFIG, MODEL].into_iter().chain(head.as_ref().map(|head| head.file.as_str())) {
            sources.insert(format!("{name}, as it was imported"), sha256_of(&dir.join(name))?);
        }
        let base = peft.others.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { lora, base, passed_over, sources, dir: dir.to_owned(), pairs, head })
    }

    /// Categories that the head answers in, where there is one.
    #[must_use]
    pub fn classes(&self) -> Option<usize> {
        self.head.as_ref().map(|head| head.bias.len())
    }

    /// An adapter of these numbers: the head from the folder, else trained on the rows over the frozen
    /// adapted encoder; calibrated on dev.
    ///
    /// # Errors
    /// When the base encoder can't be read or the head has another number of categories.
    pub fn import(
        &self,
        base: &BaseEncoder,
        rows: &TrainRows,
        classes: usize,
        options: &TrainOptions,
        progress: &mut dyn FnMut(Progress),
        stop: &AtomicBool,
    ) -> Result<Trained, Error> {
        let options = TrainOptions { method: Method::Lora, lora: self.lora.clone(), ..options.clone() };
        let setting = Setting::new(base, rows, options.method)?;
        let layout = Layout::new(setting.packed.config(), options.method, &options.lora, classes);
        let mut numbers = vec![0.0; layout.len()];
        numbers[..self.pairs.len()].copy_from_slice(&self.pairs);
        progress(Progress::Started);
        let (origin, best_epoch) = if let Some(head) = &self.head {
            if head.bias.len() != classes {
                return Err(Error::Import {
                    dir: self.dir.clone(),
                    refusal: Refusal::Shape {
                        name: "head.bias".into(),
                        dtype: Dtype::F32,
                        found: vec![head.bias.len()],
                        wanted: vec![classes],
                    },
                });
            }
            layout.head_weight.of_mut(&mut numbers).copy_from_slice(&head.weight);
            layout.head_bias.of_mut(&mut numbers).copy_from_slice(&head.bias);
            (Origin::ImportedWithHead, 0)
        } else {
            let adapted = setting.packed.merged(Learned { layout: &layout, numbers: &numbers, noise: None });
            let alone = Layout::new(adapted.config(), Method::Head, &options.lora, classes);
            let of_head = TrainOptions { method: Method::Head, ..options.clone() };
            let (head, epoch) = setting.run(&adapted, &alone, &of_head).train(rows, progress, stop)?;
            numbers[layout.head_weight.start..].copy_from_slice(&head);
            (Origin::Imported, epoch)
        };
        Ok(setting.calibrated(rows, (layout, numbers), (&options, origin, best_epoch), progress))
    }
}

/// The pairs in the layout's order, and the tensors that were passed over.
fn pairs(
    tensors: &SafeTensors<'_>,
    mut names: BTreeSet<&str>,
    layout: &Layout,
    prefix: &str,
) -> Result<(Vec<f32>, Vec<String>), Refusal> {
    let mut numbers = vec![0.0; layout.len()];
    for (name, pair) in layout.named_pairs() {
        let module = name.replacen(WRAPPED, &format!("{WRAPPED}{prefix}"), 1);
        for (Slot { rows, cols, .. }, slot, factor) in [(pair.a, pair.a, "lora_A"), (pair.b, pair.b, "lora_B")] {
            let name = format!("{module}.{factor}.weight");
            let tensor = tensors.tensor(&name).map_err(|_| Refusal::Missing { name: name.as_str().into() })?;
            slot.of_mut(&mut numbers).copy_from_slice(&floats(&name, &tensor, &[rows, cols])?);
            names.remove(name.as_str());
        }
    }
    // Python's BERT has a pooler, whose `dense` the suffix `dense` takes too. Trained through mean pooling
    // it stays what it was: a difference of zero.
    let pooler = format!("{WRAPPED}{prefix}pooler.dense.lora_");
    let idle = |name: &str| -> Result<bool, Refusal> {
        let b = format!("{pooler}B.weight");
        let Ok(tensor) = tensors.tensor(&b) else { return Ok(false) };
        Ok(name.starts_with(&pooler) && floats(&b, &tensor, tensor.shape())?.iter().all(|x| *x == 0.0))
    };
    for name in &names {
        if !idle(name)? {
            return Err(Refusal::LeftOver { name: (*name).into() });
        }
    }
    if layout.named_pairs().all(|(_, pair)| pair.b.of(&numbers).iter().all(|x| *x == 0.0)) {
        return Err(Refusal::DoesNothing);
    }
    Ok((numbers, names.into_iter().map(str::to_owned).collect()))
}

/// `head.weight` and `head.bias` of another safetensors file of the folder.
fn head(dir: &Path, hidden: usize) -> Result<Option<Head>, Error> {
    let refused = |refusal| Error::Import { dir: dir.to_owned(), refusal };
    let failed = |source| Error::File { action: "read", path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") && name != MODEL {
            files.push(name);
        }
    }
    files.sort();
    let mut found: Option<Head> = None;
    for file in files {
        let path = dir.join(&file);
        let bytes = read(&path)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|source| malformed(&path, source.into()))?;
        let (Ok(weight), Ok(bias)) = (tensors.tensor("head.weight"), tensors.tensor("head.bias")) else { continue };
        if let Some(first) = found {
            return Err(refused(Refusal::TwoHeads { first: first.file.into(), second: file.into() }));
        }
        let bias = floats("head.bias", &bias, bias.shape()).map_err(refused)?;
        let weight = floats("head.weight", &weight, &[bias.len(), hidden]).map_err(refused)?;
        found = Some(Head { file, weight, bias });
    }
    Ok(found)
}
