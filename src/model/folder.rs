//! An adapter's folder, in the layout of Python's PEFT, and what stands beside it.
//!
//! `adapter_config.json` and `adapter_model.safetensors` are what PEFT reads; after full fine-tuning
//! `encoder_gains.safetensors` stands in their place, and with a frozen encoder nothing does.
//! `txcat.safetensors` holds what PEFT can't express (head over mean pooling, wide part, known keys,
//! lexicon), and `txcat.json` the facts: base model, taxonomy, calibration, the SHA-256 of every other
//! file, and probes with the answers they must give.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write},
    path::Path,
};

use safetensors::Dtype;
use serde::Serialize;

use super::{
    AdapterInput, AdapterOutput, BaseEncoder, Error, Labelled,
    facts::{AdapterFacts, Base, FACTS, FORMAT, Naming, Probe, Quantization},
    guard::{Compared, OfFormat},
    infer::Format,
    lora::{Layout, LoraOptions, TARGETS},
    method::Method,
    packed::Packed,
    sha256_of,
    tensors::{Blob, Tensors, blob, floats, malformed, read, write_tensors},
    train::{Setting, TrainOptions, TrainRows, Trained},
    whole::WORDS,
    wide::{BUCKETS, Lexicon, Memory, Rounded, Wide},
};

const PEFT_CONFIG: &str = "adapter_config.json";
const PEFT_MODEL: &str = "adapter_model.safetensors";
/// What every weight gained in full fine-tuning, under its name in the checkpoint.
const GAINS: &str = "encoder_gains.safetensors";
const OTHER: &str = "txcat.safetensors";
const CARD: &str = "README.md";

/// The parts of a folder, read and verified.
pub(super) struct Parts {
    pub(super) facts: AdapterFacts,
    pub(super) layout: Layout,
    pub(super) numbers: Vec<f32>,
    pub(super) wide: Option<Wide>,
}

/// Whether an adapter may take the place of what stands there: nothing, an empty folder, or an adapter and no more.
///
/// # Errors
/// When something else stands there, or it can't be looked at.
pub fn replaceable(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { action: "read", path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?,
    };
    let ours = [PEFT_CONFIG, PEFT_MODEL, GAINS, OTHER, CARD, FACTS];
    let others = entries.iter().any(|entry| !ours.iter().any(|name| entry.file_name() == *name));
    let adapter = entries.is_empty() || entries.iter().any(|entry| entry.file_name() == FACTS);
    if others || !adapter { Err(Error::Occupied { path: dir.to_owned() }) } else { Ok(()) }
}

impl Trained {
    /// Writes the folder: whole, or not at all. `weights` are what the numbers are a difference to.
    pub(super) fn write(
        &self,
        dir: &Path,
        naming: Naming,
        probes: Vec<Probe>,
        weights: &Packed,
    ) -> Result<AdapterFacts, Error> {
        replaceable(dir)?;
        let failed = |action| move |source| Error::File { action, path: dir.to_owned(), source };
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed("create"))?;
        let whole = tempfile::Builder::new().prefix(".adapter").tempdir_in(parent).map_err(failed("create"))?;
        let at = |name: &str| whole.path().join(name);
        let write = |name: &str, text: &str| fs::write(at(name), text).map_err(failed("write"));

        let base = Base {
            name: self.base.name.clone(),
            sha256: self.base.sha256.clone(),
            hub: self.base.hub.clone(),
            quantization: Quantization::of(self.options.method),
        };
        match self.options.method {
            Method::Lora | Method::Qlora => {
                write(PEFT_CONFIG, &json(&self.peft_config(base.repository()), &at(PEFT_CONFIG))?)?;
                write_tensors(&at(PEFT_MODEL), &self.peft_tensors())?;
            }
            Method::Full => write_tensors(&at(GAINS), &self.gains(weights))?,
            Method::Head => {}
        }
        write_tensors(&at(OTHER), &self.other_tensors())?;
        let mut files = BTreeMap::new();
        for name in files_of(self.options.method) {
            files.insert((*name).to_owned(), sha256_of(&at(name))?);
        }
        let name = dir.file_name().map_or_else(|| "adapter".to_owned(), |name| name.to_string_lossy().into_owned());
        let facts = AdapterFacts {
            format: FORMAT,
            name,
            data: naming.data,
            base,
            taxonomy: naming.taxonomy,
            categories: naming.categories,
            enrichment: naming.enrichment,
            fusion: self.fusion,
            acceptance: self.acceptance,
            training: self.options.clone(),
            origin: self.origin,
            best_epoch: self.best_epoch,
            trained: self.trained(),
            counts: self.counts,
            effort: naming.effort,
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
    fn peft_config(&self, base: &str) -> serde_json::Value {
        let LoraOptions { rank, alpha, dropout, targets } = &self.options.lora;
        let wanted = TARGETS.into_iter().filter(|target| targets.contains(target));
        let modules: Vec<String> = wanted.map(|target| target.path().replace('.', r"\.")).collect();
        serde_json::json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": base,
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

    /// Of the word embeddings only the rows that were ever touched: most words occur in no statement.
    fn gains(&self, base: &Packed) -> BTreeMap<String, Blob> {
        let mut blobs = BTreeMap::new();
        let bytes = half::f16::to_le_bytes;
        for (name, slot, gains) in
            self.layout.whole.iter().flat_map(|whole| whole.gains(&base.tensors(), &self.numbers))
        {
            if name == WORDS {
                let rows =
                    gains.chunks_exact(slot.cols).zip(0u32..).filter(|(row, _)| row.iter().any(|x| x.to_f32() != 0.0));
                let (rows, places): (Vec<_>, Vec<u32>) = rows.unzip();
                blobs.insert(format!("{WORDS}.rows"), blob(Dtype::U32, &[places.len()], &places, u32::to_le_bytes));
                blobs.insert(name, blob(Dtype::F16, &[rows.len(), slot.cols], &rows.concat(), bytes));
            } else {
                let shape = if slot.cols == 1 { vec![slot.rows] } else { vec![slot.rows, slot.cols] };
                blobs.insert(name, blob(Dtype::F16, &shape, &gains, bytes));
            }
        }
        blobs
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

impl AdapterFacts {
    /// Measures what computing in each format changes on `rows`.
    ///
    /// # Errors
    /// When the folder or the base encoder can't be read or don't fit, or the adapter can't be computed in a format.
    pub fn compared(dir: &Path, base: &BaseEncoder, rows: Vec<Labelled>) -> Result<(Self, Vec<OfFormat>), Error> {
        let (mut facts, _) = Self::verified(dir, base)?;
        // Folders from before don't say where the very weights that were just found the same come from.
        facts.base.hub = facts.base.hub.or_else(|| base.hub.clone());
        let rows = TrainRows { dev: rows, ..TrainRows::default() };
        let setting = Setting::new(base, &rows, facts.training.method)?;
        let Parts { facts, layout, numbers, wide } = Parts::read(dir, facts, &setting.packed)?;
        let exact = setting.dev_logits(&layout, &numbers);
        let measured = Format::ALL.into_iter().map(|format| {
            let reduced = setting.dev_logits_in(format, &layout, &numbers).map_err(|reason| Error::NotIn {
                dir: dir.to_owned(),
                format,
                reason,
            })?;
            let of = |wide: Option<&Wide>| {
                let answer =
                    |input: &AdapterInput, logits: &[f32]| AdapterOutput::of(input, logits, wide, &facts.fusion);
                Compared::measured(&rows.dev, (&exact, &reduced), answer)
            };
            Ok(OfFormat { format, adapter: of(wide.as_ref()), encoder_and_head: of(None) })
        });
        let measured = measured.collect::<Result<_, Error>>()?;
        Ok((facts, measured))
    }

    /// Writes these facts, and the card that tells them, in the place of the folder's.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn keep(&self, dir: &Path) -> Result<(), Error> {
        for (name, text) in [(FACTS, json(self, &dir.join(FACTS))?), (CARD, super::card::card(self))] {
            replace(&dir.join(name), &text)?;
        }
        Ok(())
    }
}

/// Puts a text in a file's place: whole, or not at all.
fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::File { action: "write", path: path.to_owned(), source };
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    // A temporary file is its maker's alone, and the folder others' too.
    if let Ok(replaced) = fs::metadata(path) {
        file.as_file().set_permissions(replaced.permissions()).map_err(failed)?;
    }
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

fn json(value: &impl Serialize, path: &Path) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|source| Error::Malformed {
        path: path.to_owned(),
        what: "JSON document",
        source: source.into(),
    })
}

/// The files of a folder that hold numbers, in the order in which they are written.
pub(super) fn files_of(method: Method) -> &'static [&'static str] {
    match method {
        Method::Lora | Method::Qlora => &[PEFT_CONFIG, PEFT_MODEL, OTHER],
        Method::Full => &[GAINS, OTHER],
        Method::Head => &[OTHER],
    }
}

impl Parts {
    /// Reads the folder that `facts` were read from, as a difference to `base`.
    pub(super) fn read(dir: &Path, facts: AdapterFacts, base: &Packed) -> Result<Self, Error> {
        let classes = facts.categories.len();
        let TrainOptions { method, lora, .. } = &facts.training;
        if method.has_pairs() && !lora.fits(base.config()) {
            let source = format!("no layer of the encoder has the rank {}", lora.rank).into();
            return Err(Error::Malformed { path: dir.join(FACTS), what: "adapter description", source });
        }
        let layout = Layout::new(base.config(), *method, lora, classes);
        let mut numbers = vec![0.0; layout.len()];
        match facts.training.method {
            Method::Lora | Method::Qlora => read_pairs(&dir.join(PEFT_MODEL), &layout, &mut numbers)?,
            Method::Full => read_gains(&dir.join(GAINS), &layout, base, &mut numbers)?,
            Method::Head => {}
        }
        let path = dir.join(OTHER);
        let bytes = read(&path)?;
        let other = Tensors::new(&path, &bytes)?;
        let head = other.floats("head.weight", layout.head_weight.rows * layout.head_weight.cols)?;
        layout.head_weight.of_mut(&mut numbers).copy_from_slice(&head);
        layout.head_bias.of_mut(&mut numbers).copy_from_slice(&other.floats("head.bias", classes)?);
        let wide = if other.has("wide.weights") { Some(wide(&other, classes)?) } else { None };
        Ok(Self { facts, layout, numbers, wide })
    }
}

fn read_pairs(path: &Path, layout: &Layout, numbers: &mut [f32]) -> Result<(), Error> {
    let bytes = read(path)?;
    let peft = Tensors::new(path, &bytes)?;
    for (name, pair) in layout.named_pairs() {
        for (slot, factor) in [(pair.a, "lora_A"), (pair.b, "lora_B")] {
            let values = peft.floats(&format!("{name}.{factor}.weight"), slot.rows * slot.cols)?;
            slot.of_mut(numbers).copy_from_slice(&values);
        }
    }
    Ok(())
}

fn read_gains(path: &Path, layout: &Layout, base: &Packed, numbers: &mut [f32]) -> Result<(), Error> {
    let Some(whole) = &layout.whole else { return Ok(()) };
    let bytes = read(path)?;
    let file = Tensors::new(path, &bytes)?;
    whole.fill(&base.tensors(), numbers);
    for (name, slot) in whole.named() {
        let gains = file.values(&name, Dtype::F16, |bytes| half::f16::from_le_bytes(bytes).to_f32())?;
        if name == WORDS {
            let places = file.values(&format!("{WORDS}.rows"), Dtype::U32, u32::from_le_bytes)?;
            let gains = file.counted(&name, gains, places.len() * slot.cols)?;
            for (place, row) in places.into_iter().zip(gains.chunks_exact(slot.cols)) {
                let words = slot.of_mut(numbers).chunks_exact_mut(slot.cols).nth(place as usize);
                let word = words.ok_or_else(|| malformed(path, "a word is beyond the vocabulary".into()))?;
                super::kernel::add(word, row);
            }
        } else {
            let gains = file.counted(&name, gains, slot.rows * slot.cols)?;
            super::kernel::add(slot.of_mut(numbers), &gains);
        }
    }
    Ok(())
}

fn wide(other: &Tensors<'_>, classes: usize) -> Result<Wide, Error> {
    let features = other.values("wide.features", Dtype::U32, u32::from_le_bytes)?;
    let n = features.len();
    let scales = other.floats("wide.scales", n)?;
    let weights = other.values("wide.weights", Dtype::I8, i8::from_le_bytes)?;
    let weights = other.counted("wide.weights", weights, n * classes)?;
    let (rows, weights) = Rounded { features, scales, weights }.rows();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_an_adapter_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(replaceable(&at("new")).is_ok() && replaceable(folder.path()).is_ok());
        assert!(replaceable(Path::new("models/adapters/demo")).is_ok());
        assert!(matches!(replaceable(Path::new("models/adapters")), Err(Error::Occupied { .. })));
        fs::write(at("letter.txt"), "dear").unwrap();
        assert!(matches!(replaceable(folder.path()), Err(Error::Occupied { .. })));
        fs::write(at(FACTS), "{}").unwrap();
        assert!(matches!(replaceable(folder.path()), Err(Error::Occupied { .. })), "an adapter and more");
        fs::remove_file(at("letter.txt")).unwrap();
        assert!(replaceable(folder.path()).is_ok());
    }
}
