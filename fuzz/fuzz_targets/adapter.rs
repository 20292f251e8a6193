//! Adapter folders: a good one of a tiny encoder, with places changed. It is read as one that Python's PEFT wrote, and, with its
//! hashes put right, as one of ours: each is an adapter that answers, or is refused.
#![no_main]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, atomic::AtomicBool},
};

use libfuzzer_sys::{
    Corpus,
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use txcat::{
    config,
    domain::{Descriptor, Enrichment},
    model::{
        AdapterBank, AdapterFacts, AdapterInput, BaseEncoder, Labelled, Method, Naming, PeftAdapter,
        lora::LoraOptions,
        train::{TrainOptions, TrainRows, train},
    },
};

const FACTS: &str = "txcat.json";
const JSON: [&str; 2] = [FACTS, "adapter_config.json"];
const TENSORS: [&str; 2] = ["adapter_model.safetensors", "txcat.safetensors"];
const WORDS: [&str; 6] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "coffee", "fuel"];

/// One place of the folder that is changed.
#[derive(Debug, Arbitrary)]
enum Change<'a> {
    /// These bytes stand at this place of this file.
    Bytes { tensors: bool, second: bool, at: u16, bytes: &'a [u8] },
    /// The file ends here.
    Cut { tensors: bool, second: bool, at: u16 },
    /// This value of this JSON file, counted through the whole of it, is another one.
    Value { second: bool, at: u8, other: Other<'a> },
    /// So does one of the JSON header of a file of tensors.
    Header { second: bool, at: u8, other: Other<'a> },
}

#[derive(Debug, Arbitrary)]
enum Other<'a> {
    Null,
    Flag(bool),
    Whole(i64),
    Float(f64),
    Text(&'a str),
    List(Vec<u64>),
    Json(&'a str),
    Gone,
}

struct World {
    _keep: TempDir,
    folder: PathBuf,
    base: BaseEncoder,
    bank: AdapterBank,
    good: BTreeMap<String, Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fuzz_target!(|changes: Vec<Change<'_>>| -> Corpus {
    let world = &*WORLD;
    let mut files = world.good.clone();
    for change in &changes {
        apply(change, &mut files);
    }
    let write = |files: &BTreeMap<String, Vec<u8>>| {
        for (name, bytes) in files {
            fs::write(world.folder.join(name), bytes).unwrap();
        }
    };
    write(&files);
    if let Ok(peft) = PeftAdapter::read(&world.folder, &world.base) {
        assert!(peft.lora.rank > 0 && !peft.lora.targets.is_empty());
    }
    let _ = AdapterFacts::read(&world.folder);
    put_hashes_right(&mut files);
    write(&files);
    if let Ok(adapter) = world.bank.load(&world.folder) {
        assert!(!adapter.facts().categories.is_empty());
    }
    Corpus::Keep
});

fn apply(change: &Change<'_>, files: &mut BTreeMap<String, Vec<u8>>) {
    let name = |tensors: bool, second: bool| if tensors { TENSORS } else { JSON }[usize::from(second)];
    match change {
        Change::Bytes { tensors, second, at, bytes } => {
            let Some(file) = files.get_mut(name(*tensors, *second)) else { return };
            for (place, byte) in file.iter_mut().skip(usize::from(*at)).zip(*bytes) {
                *place = *byte;
            }
        }
        Change::Cut { tensors, second, at } => {
            let Some(file) = files.get_mut(name(*tensors, *second)) else { return };
            file.truncate(usize::from(*at));
        }
        Change::Value { second, at, other } => {
            let Some(file) = files.get_mut(name(false, *second)) else { return };
            let Ok(mut value) = serde_json::from_slice(file) else { return };
            replace(&mut value, &mut usize::from(*at), other);
            *file = value.to_string().into_bytes();
        }
        Change::Header { second, at, other } => {
            let Some(file) = files.get_mut(name(true, *second)) else { return };
            let Some((length, rest)) = file.split_first_chunk::<8>() else { return };
            let Some((header, data)) = rest.split_at_checked(u64::from_le_bytes(*length) as usize) else { return };
            let Ok(mut value) = serde_json::from_slice(header) else { return };
            replace(&mut value, &mut usize::from(*at), other);
            let header = value.to_string();
            *file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
        }
    }
}

/// Puts `other` in the place of the value that `at` counts down to. Gives whether the value is to go.
fn replace(value: &mut Value, at: &mut usize, other: &Other<'_>) -> bool {
    if *at == 0 {
        *at = usize::MAX;
        *value = match other {
            Other::Null => Value::Null,
            Other::Flag(flag) => json!(flag),
            Other::Whole(number) => json!(number),
            Other::Float(number) => json!(number),
            Other::Text(text) => json!(text),
            Other::List(numbers) => json!(numbers),
            Other::Json(text) => serde_json::from_str(text).unwrap_or_default(),
            Other::Gone => return true,
        };
        return false;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.retain_mut(|item| *at == usize::MAX || !replace(item, at, other)),
        Value::Object(members) => members.retain(|_, member| *at == usize::MAX || !replace(member, at, other)),
        _ => {}
    }
    false
}

/// As somebody would who made the folder on purpose.
fn put_hashes_right(files: &mut BTreeMap<String, Vec<u8>>) {
    let Some(Ok(mut facts)) = files.get(FACTS).map(|text| serde_json::from_slice::<Value>(text)) else { return };
    let Some(named) = facts.get_mut("files").and_then(Value::as_object_mut) else { return };
    for (name, hash) in named {
        if let Some(bytes) = files.get(name) {
            *hash = json!(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
    }
    files.insert(FACTS.to_owned(), facts.to_string().into_bytes());
}

impl World {
    fn new() -> Self {
        // In memory, where the machine has such a place.
        let memory = Path::new("/dev/shm");
        let keep = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let encoder = keep.path().join("encoder");
        fs::create_dir(&encoder).unwrap();
        write_encoder(&encoder);
        let models = config::Models { dir: encoder.clone(), encoder: None, encoder_dir: Some(encoder) };
        let base = BaseEncoder::locate(&models).unwrap();
        let row = |text: &str, class| {
            let input = AdapterInput::of_descriptor(&Descriptor::parse(text).unwrap());
            Labelled { input, class, weight: 1.0 }
        };
        let rows = vec![row("coffee", 0), row("fuel", 1)];
        let texts = rows.iter().map(|row| row.input.clone()).collect();
        let rows = TrainRows { dev: rows.clone(), rows, terms: Vec::new(), texts };
        let lora = LoraOptions { rank: 2, alpha: 4.0, ..LoraOptions::default() };
        // Without the wide part, whose file is a hundred times as large.
        let options = TrainOptions {
            method: Method::Lora,
            lora,
            epochs: 6,
            batch: 1,
            learning_rate: 1e-2,
            wide: None,
            ..TrainOptions::default()
        };
        let trained = train(&base, &rows, 2, &options, &mut |_| {}, &AtomicBool::new(false)).unwrap();
        let naming = Naming {
            data: "two rows".to_owned(),
            taxonomy: "test@00000000".to_owned(),
            categories: vec!["cafes".to_owned(), "fuel".to_owned()],
            enrichment: Enrichment::None,
            sources: BTreeMap::new(),
            effort: None,
        };
        let folder = keep.path().join("adapter");
        trained.save(&folder, naming).unwrap();
        let read = |name: &&str| (name.to_string(), fs::read(folder.join(name)).unwrap());
        let good = JSON.iter().chain(&TENSORS).map(read).collect();
        let bank = AdapterBank::open(&base).unwrap();
        PeftAdapter::read(&folder, &base).expect("the folder that is changed is a good one");
        bank.load(&folder).expect("the folder that is changed is a good one");
        Self { _keep: keep, folder, base, bank, good }
    }
}

/// A BERT of one layer.
fn write_encoder(dir: &Path) {
    const HIDDEN: usize = 4;
    const INNER: usize = 6;
    let config = json!({
        "vocab_size": WORDS.len(), "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": INNER, "max_position_embeddings": 96, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let vocabulary: HashMap<&str, usize> = WORDS.into_iter().zip(0..).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "decoder": null,
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![WORDS.len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![96, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let at = |name: &str| format!("encoder.layer.0.{name}");
    for (name, inputs, outputs) in [
        ("attention.self.query", HIDDEN, HIDDEN),
        ("attention.self.key", HIDDEN, HIDDEN),
        ("attention.self.value", HIDDEN, HIDDEN),
        ("attention.output.dense", HIDDEN, HIDDEN),
        ("intermediate.dense", HIDDEN, INNER),
        ("output.dense", INNER, HIDDEN),
    ] {
        shapes.push((at(&format!("{name}.weight")), vec![outputs, inputs]));
        shapes.push((at(&format!("{name}.bias")), vec![outputs]));
    }
    for norm in ["embeddings.LayerNorm".to_owned(), at("attention.output.LayerNorm"), at("output.LayerNorm")] {
        shapes.push((format!("{norm}.weight"), vec![HIDDEN]));
        shapes.push((format!("{norm}.bias"), vec![HIDDEN]));
    }
    let numbers = |shape: &[usize]| -> Vec<u8> {
        (0..shape.iter().product()).flat_map(|at: usize| ((at % 7) as f32 / 10.0 - 0.3).to_le_bytes()).collect()
    };
    let data: Vec<(String, Vec<usize>, Vec<u8>)> =
        shapes.into_iter().map(|(name, shape)| (name, shape.clone(), numbers(&shape))).collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
}
