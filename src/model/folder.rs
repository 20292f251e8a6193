//! An adapter's folder, in the layout of Python's PEFT, and what stands beside it.
//!
//! `adapter_config.json` and `adapter_model.safetensors` are what PEFT reads. `txcat.safetensors`
//! holds what it can't express (head over mean pooling, wide part, known keys, lexicon), and
//! `txcat.json` the facts: base model, taxonomy, calibration, the SHA-256 of every other file, and
//! probes with the answers they must give.

use std::{borrow::Cow, collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{Acceptance, Enrichment};

use super::{
    Error,
    bert::Config,
    calibrate::Fusion,
    input::AdapterInput,
    lora::{Layout, LoraOptions, TARGETS},
    sha256_of,
    train::{DevMetrics, TrainOptions, Trained},
    wide::{BUCKETS, Lexicon, Memory, Rounded, Wide},
};

const FACTS: &str = "txcat.json";
const PEFT_CONFIG: &str = "adapter_config.json";
const PEFT_MODEL: &str = "adapter_model.safetensors";
const OTHER: &str = "txcat.safetensors";
const CARD: &str = "README.md";
const FORMAT: u32 = 2;

/// `txcat.json`: everything about an adapter but its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterFacts {
    format: u32,
    /// Its name: the folder's.
    pub name: String,
    /// What it was trained on, in words.
    pub data: String,
    /// The base encoder.
    pub base: Base,
    /// Version of the taxonomy that it answers in.
    pub taxonomy: String,
    /// Slugs of that taxonomy's assignable categories, in its order.
    pub categories: Vec<String>,
    /// How much of a transaction the encoder reads.
    #[serde(default = "plain")]
    pub enrichment: Enrichment,
    /// How the parts become one probability.
    pub fusion: Fusion,
    /// From which confidence answers on dev were right at least as often as `training.target`.
    pub acceptance: Acceptance,
    /// How it was trained.
    pub training: TrainOptions,
    /// The pass whose numbers were kept.
    pub best_epoch: usize,
    /// Labelled rows, terms and unlabelled texts learned from.
    pub counts: [usize; 3],
    /// Measured on dev.
    pub dev: DevMetrics,
    /// SHA-256 of files the training read, by what they are.
    pub sources: BTreeMap<String, String>,
    /// SHA-256 of the other files of the folder, by name.
    pub files: BTreeMap<String, String>,
    /// Inputs, and what must come out.
    pub(super) probes: Vec<Probe>,
}

/// Folders that don't say were trained on the descriptor, amount and direction.
fn plain() -> Enrichment {
    Enrichment::None
}

/// The name in [`AdapterFacts::sources`] of the digest of the labels that were learned from.
pub const LABELS: &str = "labels, by sorted id";

/// Which weights an adapter is a difference to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Such as `all-MiniLM-L6-v2`.
    pub name: String,
    /// SHA-256 of its `model.safetensors`.
    pub sha256: String,
}

/// An input and what must come out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Probe {
    pub(super) input: AdapterInput,
    pub(super) encoder_logits: Vec<f32>,
    pub(super) probabilities: Vec<f32>,
}

/// What else is known of an adapter when it is saved.
#[derive(Debug, Clone)]
pub struct Naming {
    /// What it was trained on, in words.
    pub data: String,
    /// Version of the taxonomy.
    pub taxonomy: String,
    /// Slugs of its assignable categories, in order.
    pub categories: Vec<String>,
    /// How much of a transaction the rows' texts tell.
    pub enrichment: Enrichment,
    /// SHA-256 of files the training read, by what they are.
    pub sources: BTreeMap<String, String>,
}

/// The parts of a folder, read and verified.
pub(super) struct Parts {
    pub(super) facts: AdapterFacts,
    /// First 8 digits of the SHA-256 of `txcat.json`, which holds those of all other files.
    pub(super) hash: String,
    pub(super) layout: Layout,
    pub(super) numbers: Vec<f32>,
    pub(super) wide: Option<Wide>,
}

impl AdapterFacts {
    /// Reads the facts of a folder without its numbers.
    ///
    /// # Errors
    /// When there is no such file, or it is malformed.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FACTS);
        let text = read(&path)?;
        let malformed = |source| Error::Malformed { path: path.clone(), what: "adapter description", source };
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|source| malformed(source.into()))?;
        if value.get("format").and_then(serde_json::Value::as_u64) != Some(u64::from(FORMAT)) {
            return Err(malformed(format!("its format is not {FORMAT}: train it again with this txcat").into()));
        }
        serde_json::from_value(value).map_err(|source| malformed(source.into()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })
}

struct Blob {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn blob<const N: usize, T: Copy>(dtype: Dtype, shape: &[usize], values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Blob {
    Blob { dtype, shape: shape.to_vec(), bytes: values.iter().flat_map(|value| bytes(*value)).collect() }
}

fn floats(shape: &[usize], values: &[f32]) -> Blob {
    blob(Dtype::F32, shape, values, f32::to_le_bytes)
}

fn write_tensors(path: &Path, blobs: &BTreeMap<String, Blob>) -> Result<(), Error> {
    let malformed = |source: safetensors::SafeTensorError| Error::Malformed {
        path: path.to_owned(),
        what: "set of tensors",
        source: source.into(),
    };
    let views = blobs
        .iter()
        .map(|(name, blob)| Ok((name.as_str(), TensorView::new(blob.dtype, blob.shape.clone(), &blob.bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(malformed)?;
    let metadata = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(malformed)
}

impl Trained {
    /// Writes the folder: whole, or not at all.
    pub(super) fn write(&self, dir: &Path, naming: Naming, probes: Vec<Probe>) -> Result<AdapterFacts, Error> {
        let failed = |action| move |source| Error::File { action, path: dir.to_owned(), source };
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed("create"))?;
        let whole = tempfile::Builder::new().prefix(".adapter").tempdir_in(parent).map_err(failed("create"))?;
        let at = |name: &str| whole.path().join(name);
        let write = |name: &str, text: &str| fs::write(at(name), text).map_err(failed("write"));

        write(PEFT_CONFIG, &json(&self.peft_config(), &at(PEFT_CONFIG))?)?;
        write_tensors(&at(PEFT_MODEL), &self.peft_tensors())?;
        write_tensors(&at(OTHER), &self.other_tensors())?;
        let mut files = BTreeMap::new();
        for name in [PEFT_CONFIG, PEFT_MODEL, OTHER] {
            files.insert(name.to_owned(), sha256_of(&at(name))?);
        }
        let name = dir.file_name().map_or_else(|| "adapter".to_owned(), |name| name.to_string_lossy().into_owned());
        let facts = AdapterFacts {
            format: FORMAT,
            name,
            data: naming.data,
            base: Base { name: self.base.name.clone(), sha256: self.base.sha256.clone() },
            taxonomy: naming.taxonomy,
            categories: naming.categories,
            enrichment: naming.enrichment,
            fusion: self.fusion,
            acceptance: self.acceptance,
            training: self.options.clone(),
            best_epoch: self.best_epoch,
            counts: self.counts,
            dev: self.dev,
            sources: naming.sources,
            files,
            probes,
        };
        write(FACTS, &json(&facts, &at(FACTS))?)?;
        write(CARD, &super::card::card(&facts))?;
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(failed("replace"))?;
        }
        fs::rename(whole.keep(), dir).map_err(failed("write"))?;
        Ok(facts)
    }

    /// Keys sorted, as PEFT writes them.
    fn peft_config(&self) -> serde_json::Value {
        let LoraOptions { rank, alpha, dropout, targets } = &self.options.lora;
        let wanted = TARGETS.into_iter().filter(|target| targets.contains(target));
        let modules: Vec<String> = wanted.map(|target| target.path().replace('.', r"\.")).collect();
        serde_json::json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": format!("sentence-transformers/{}", self.base.name),
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": null,
            "lora_alpha": alpha,
            "lora_dropout": dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": rank,
            "rank_pattern": {},
            "revision": null,
            "target_modules": format!(r"encoder\.layer\.\d+\.({})", modules.join("|")),
            "task_type": "FEATURE_EXTRACTION",
            "use_dora": false,
            "use_rslora": false,
        })
    }

    fn peft_tensors(&self) -> BTreeMap<String, Blob> {
        let of = |slot: super::lora::Slot| floats(&[slot.rows, slot.cols], slot.of(&self.numbers));
        let pairs = self.layout.named_pairs();
        pairs
            .flat_map(|(name, pair)| {
                [(format!("{name}.lora_A.weight"), of(pair.a)), (format!("{name}.lora_B.weight"), of(pair.b))]
            })
            .collect()
    }

    fn other_tensors(&self) -> BTreeMap<String, Blob> {
        let (weight, bias) = (self.layout.head_weight, self.layout.head_bias);
        let mut blobs = BTreeMap::from([
            ("head.weight".to_owned(), floats(&[weight.rows, weight.cols], weight.of(&self.numbers))),
            ("head.bias".to_owned(), floats(&[bias.rows], bias.of(&self.numbers))),
        ]);
        if let Some(wide) = &self.wide {
            let mut add = |name: &str, blob| blobs.insert(format!("wide.{name}"), blob);
            let Rounded { features, scales, weights } = Rounded::of(wide);
            let n = features.len();
            add("features", blob(Dtype::U32, &[n], &features, u32::to_le_bytes));
            add("scales", floats(&[n], &scales));
            add("weights", blob(Dtype::I8, &[n, wide.classes], &weights, i8::to_le_bytes));
            add("shares", floats(&[wide.classes], &wide.shares));
            let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
            add("idf", blob(Dtype::F16, &[wide.idf.len()], &wide.idf, half));
            let mut known: Vec<(u64, u32, u32)> =
                wide.memory.0.iter().flat_map(|(key, counts)| counts.iter().map(|of| (*key, of.0, of.1))).collect();
            known.sort_unstable();
            let (mut keys, mut counts) = (Vec::new(), Vec::new());
            for (key, class, count) in known {
                keys.push(key);
                counts.extend([class, count]);
            }
            add("known_keys", blob(Dtype::U64, &[keys.len()], &keys, u64::to_le_bytes));
            add("known_counts", blob(Dtype::U32, &[keys.len(), 2], &counts, u32::to_le_bytes));
            let mut hints: Vec<(u64, u32, f32)> =
                wide.lexicon.0.iter().flat_map(|(term, hints)| hints.iter().map(|of| (*term, of.0, of.1))).collect();
            hints.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
            let terms: Vec<u64> = hints.iter().map(|hint| hint.0).collect();
            let classes: Vec<u32> = hints.iter().map(|hint| hint.1).collect();
            let weights: Vec<f32> = hints.iter().map(|hint| hint.2).collect();
            add("terms", blob(Dtype::U64, &[terms.len()], &terms, u64::to_le_bytes));
            add("term_classes", blob(Dtype::U32, &[terms.len()], &classes, u32::to_le_bytes));
            add("term_weights", floats(&[terms.len()], &weights));
        }
        blobs
    }
}

fn json(value: &impl Serialize, path: &Path) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|source| Error::Malformed {
        path: path.to_owned(),
        what: "JSON document",
        source: source.into(),
    })
}

/// The tensors of one file.
struct Tensors<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl<'a> Tensors<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|source| malformed(path, source.into()))?;
        Ok(Self { path, tensors })
    }

    fn values<const N: usize, T>(&self, name: &str, dtype: Dtype, of: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Error> {
        let tensor = self.tensors.tensor(name).map_err(|source| malformed(self.path, source.into()))?;
        if tensor.dtype() != dtype {
            return Err(malformed(self.path, format!("{name} has another element type").into()));
        }
        let data: &'a [u8] = tensor.data();
        Ok(data.as_chunks::<N>().0.iter().map(|bytes| of(*bytes)).collect())
    }

    fn floats(&self, name: &str, count: usize) -> Result<Vec<f32>, Error> {
        self.counted(name, self.values(name, Dtype::F32, f32::from_le_bytes)?, count)
    }

    fn counted<T>(&self, name: &str, values: Vec<T>, count: usize) -> Result<Vec<T>, Error> {
        if values.len() == count {
            Ok(values)
        } else {
            Err(malformed(self.path, format!("{name} has {} values and should have {count}", values.len()).into()))
        }
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }
}

fn malformed(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Malformed { path: path.to_owned(), what: "set of adapter tensors", source }
}

impl Parts {
    /// Reads a folder and checks every hash.
    pub(super) fn read(dir: &Path, config: &Config) -> Result<Self, Error> {
        let facts = AdapterFacts::read(dir)?;
        for (name, wanted) in &facts.files {
            let path = dir.join(name);
            let found = sha256_of(&path)?;
            if found != *wanted {
                return Err(Error::WrongHash { path, wanted: wanted.clone(), found });
            }
        }
        let classes = facts.categories.len();
        let layout = Layout::new(config, &facts.training.lora, classes);
        let mut numbers = vec![0.0; layout.len()];
        let path = dir.join(PEFT_MODEL);
        let bytes = read(&path)?;
        let peft = Tensors::new(&path, &bytes)?;
        for (name, pair) in layout.named_pairs() {
            for (slot, factor) in [(pair.a, "lora_A"), (pair.b, "lora_B")] {
                let values = peft.floats(&format!("{name}.{factor}.weight"), slot.rows * slot.cols)?;
                slot.of_mut(&mut numbers).copy_from_slice(&values);
            }
        }
        let path = dir.join(OTHER);
        let bytes = read(&path)?;
        let other = Tensors::new(&path, &bytes)?;
        let head = other.floats("head.weight", layout.head_weight.rows * layout.head_weight.cols)?;
        layout.head_weight.of_mut(&mut numbers).copy_from_slice(&head);
        layout.head_bias.of_mut(&mut numbers).copy_from_slice(&other.floats("head.bias", classes)?);
        let wide = if other.has("wide.weights") { Some(wide(&other, classes)?) } else { None };
        let hash = hex::encode(Sha256::digest(read(&dir.join(FACTS))?)).chars().take(8).collect();
        Ok(Self { facts, hash, layout, numbers, wide })
    }
}

fn wide(other: &Tensors<'_>, classes: usize) -> Result<Wide, Error> {
    let features = other.values("wide.features", Dtype::U32, u32::from_le_bytes)?;
    let n = features.len();
    let scales = other.floats("wide.scales", n)?;
    let weights = other.values("wide.weights", Dtype::I8, i8::from_le_bytes)?;
    let weights = other.counted("wide.weights", weights, n * classes)?;
    let (rows, weights) = Rounded { features, scales, weights }.unrounded(classes);
    let idf = other.values("wide.idf", Dtype::F16, |bytes| half::f16::from_le_bytes(bytes).to_f32())?;
    let keys = other.values("wide.known_keys", Dtype::U64, u64::from_le_bytes)?;
    let counts = other.values("wide.known_counts", Dtype::U32, u32::from_le_bytes)?;
    let counts = other.counted("wide.known_counts", counts, keys.len() * 2)?;
    let terms = other.values("wide.terms", Dtype::U64, u64::from_le_bytes)?;
    let term_classes = other.values("wide.term_classes", Dtype::U32, u32::from_le_bytes)?;
    let term_classes = other.counted("wide.term_classes", term_classes, terms.len())?;
    let term_weights = other.floats("wide.term_weights", terms.len())?;
    let known = counts.as_chunks::<2>().0;
    if known.iter().map(|of| &of[0]).chain(&term_classes).any(|class| *class as usize >= classes) {
        return Err(malformed(other.path, "a category is beyond the taxonomy".into()));
    }
    let (mut memory, mut lexicon) = (Memory::default(), Lexicon::default());
    for (key, of) in keys.iter().zip(known) {
        memory.0.entry(*key).or_default().push((of[0], of[1]));
    }
    for (term, hint) in terms.iter().zip(term_classes.into_iter().zip(term_weights)) {
        lexicon.0.entry(*term).or_default().push(hint);
    }
    Ok(Wide {
        classes,
        memory,
        lexicon,
        idf: other.counted("wide.idf", idf, BUCKETS)?,
        shares: other.floats("wide.shares", classes)?,
        weights,
        rows,
    })
}

/// A number as the card prints it.
pub(super) fn percent(share: f64) -> Cow<'static, str> {
    format!("{:.2} %", share * 100.0).into()
}
