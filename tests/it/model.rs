//! Adapters from training to serving, on a tiny encoder of random weights, so that it takes no download.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::atomic::AtomicBool,
};

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use txcat::{
    config,
    domain::{Descriptor, Enrichment},
    model::{
        AdapterInput, AdapterModel, BaseEncoder, Encoder, Error, Labelled, Method, Naming, Payment,
        lora::LoraOptions,
        method::METHODS,
        train::{Progress, TrainOptions, TrainRows, Trained, train},
    },
};

const WORDS: [&str; 12] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "coffee", "shell", "bar", "fuel", "house", "station", "blue", "44"];

/// Sizes of a BERT, and what its tensors' names begin with.
#[derive(Clone, Copy)]
pub(crate) struct Bert {
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) prefix: &'static str,
}

/// A base encoder with 2 layers of 16.
pub(crate) fn tiny_encoder() -> (TempDir, BaseEncoder) {
    encoder(Bert { hidden: 16, inner: 24, layers: 2, heads: 2, prefix: "" })
}

/// A base encoder whose rows and heads are whole vectors, so that it can be computed in int8.
pub(crate) fn encoder_of_whole_vectors() -> (TempDir, BaseEncoder) {
    encoder(Bert { hidden: 64, inner: 128, layers: 2, heads: 2, prefix: "" })
}

fn encoder(bert: Bert) -> (TempDir, BaseEncoder) {
    let dir = tempfile::tempdir().unwrap();
    write_encoder(dir.path(), bert);
    let models = config::Models { dir: dir.path().to_owned(), encoder: None, encoder_dir: Some(dir.path().to_owned()) };
    let base = BaseEncoder::locate(&models).unwrap();
    (dir, base)
}

/// The three files of a base encoder of random weights.
pub(crate) fn write_encoder(dir: &Path, Bert { hidden, inner, layers, heads, prefix }: Bert) {
    let config = serde_json::json!({
        "vocab_size": WORDS.len(), "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": inner, "max_position_embeddings": 96, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let vocabulary: HashMap<&str, usize> = WORDS.into_iter().zip(0..).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "decoder": null,
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();

    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![WORDS.len(), hidden]),
        ("embeddings.position_embeddings.weight".into(), vec![96, hidden]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, hidden]),
    ];
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..layers {
        let at = |name: &str| format!("encoder.layer.{layer}.{name}");
        for (name, inputs, outputs) in [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", hidden, inner),
            ("output.dense", inner, hidden),
        ] {
            shapes.push((at(&format!("{name}.weight")), vec![outputs, inputs]));
            shapes.push((at(&format!("{name}.bias")), vec![outputs]));
        }
        norms.extend([at("attention.output.LayerNorm"), at("output.LayerNorm")]);
    }
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut tensors = HashMap::new();
    for (name, shape) in shapes {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-0.4..0.4)).collect();
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    }
    for name in norms {
        tensors.insert(format!("{name}.weight"), Tensor::full(1.0f32, hidden, &Device::Cpu).unwrap());
        tensors.insert(format!("{name}.bias"), Tensor::full(0.0f32, hidden, &Device::Cpu).unwrap());
    }
    let tensors: HashMap<String, Tensor> =
        tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
    candle_core::safetensors::save(&tensors, dir.join("model.safetensors")).unwrap();
}

pub(crate) fn row(text: &str, class: usize) -> Labelled {
    let mut input = AdapterInput::of_descriptor(&Descriptor::parse(text).unwrap());
    input.payment = Some(Payment { amount: 4.5, credit: false, weekend: false });
    Labelled { input, class, weight: 1.0 }
}

pub(crate) fn rows() -> TrainRows {
    let rows: Vec<Labelled> = ["coffee bar", "blue coffee", "coffee house", "shell station", "fuel 44", "shell fuel"]
        .into_iter()
        .cycle()
        .take(24)
        .enumerate()
        .map(|(at, text)| row(text, usize::from(at % 6 >= 3)))
        .collect();
    let texts = rows.iter().map(|row| row.input.clone()).collect();
    let dev = vec![row("blue coffee bar", 0), row("shell", 1), row("fuel station", 1), row("coffee", 0)];
    TrainRows { rows, terms: vec![row("fuel", 1)], dev, texts }
}

pub(crate) fn options() -> TrainOptions {
    TrainOptions {
        lora: LoraOptions { rank: 2, alpha: 4.0, dropout: 0.1, ..LoraOptions::default() },
        epochs: 6,
        batch: 8,
        learning_rate: 1e-2,
        head_learning_rate: 3e-2,
        patience: 6,
        ..TrainOptions::default()
    }
}

pub(crate) fn trained(base: &BaseEncoder, options: &TrainOptions) -> Trained {
    train(base, &rows(), 2, options, &mut |_| {}, &AtomicBool::new(false)).unwrap()
}

pub(crate) fn naming() -> Naming {
    Naming {
        data: "generated rows".to_owned(),
        taxonomy: "test@00000000".to_owned(),
        categories: vec!["cafes".to_owned(), "fuel".to_owned()],
        enrichment: Enrichment::None,
        sources: BTreeMap::new(),
        effort: None,
    }
}

#[tokio::test]
async fn an_adapter_is_trained_saved_loaded_and_answers() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("cafes-and-fuel");
    let mut losses = Vec::new();
    let mut watch = |step| match step {
        Progress::Rows { loss, .. } => losses.push(loss),
        Progress::Started | Progress::Epoch { .. } | Progress::Wide | Progress::Calibrating => {}
    };
    let trained = train(&base, &rows(), 2, &options(), &mut watch, &AtomicBool::new(false)).unwrap();
    assert!(losses[losses.len() - 1] < losses[0] * 0.9, "{losses:?}");
    let facts = trained.save(&dir, naming()).unwrap();
    assert_eq!((facts.name.as_str(), facts.dev.rows, facts.dev.accuracy), ("cafes-and-fuel", 4, 1.0));
    for file in ["adapter_config.json", "adapter_model.safetensors", "txcat.safetensors", "txcat.json", "README.md"] {
        assert!(dir.join(file).exists(), "{file}");
    }

    let adapter = AdapterModel::load(&dir, &base).unwrap();
    assert_eq!(adapter.facts().categories, ["cafes", "fuel"]);
    let inputs = ["shell 44", "coffee house", "blue bar coffee"].map(|text| row(text, 0).input);
    let answers = adapter.classify(inputs.to_vec()).await.unwrap();
    let best = |probabilities: &[f32]| usize::from(probabilities[1] > probabilities[0]);
    assert_eq!(answers.iter().map(|answer| best(&answer.probabilities)).collect::<Vec<_>>(), [1, 0, 0]);
    assert!(answers.iter().all(|answer| (answer.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    assert_eq!(answers[1].known, Some((0, 4)));
    let one_by_one = adapter.classify(vec![inputs[2].clone()]).await.unwrap();
    assert!(
        (one_by_one[0].probabilities[0] - answers[2].probabilities[0]).abs() < 1e-5,
        "an answer depends on its batch"
    );
}

fn by(method: Method) -> TrainOptions {
    TrainOptions { method, ..options() }
}

#[tokio::test]
async fn every_method_is_trained_saved_loaded_and_answers() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let inputs = ["shell 44", "coffee house", "blue bar coffee"].map(|text| row(text, 0).input);
    for (method, files, trained_numbers) in [
        (Method::Head, vec!["txcat.safetensors"], 2 * 16 + 2),
        (Method::Lora, vec!["adapter_config.json", "adapter_model.safetensors", "txcat.safetensors"], 866),
        (Method::Qlora, vec!["adapter_config.json", "adapter_model.safetensors", "txcat.safetensors"], 866),
        (Method::Full, vec!["encoder_gains.safetensors", "txcat.safetensors"], 5714),
    ] {
        let dir = out.path().join(method.name());
        let facts = trained(&base, &by(method)).save(&dir, naming()).unwrap();
        assert_eq!(facts.files.keys().collect::<Vec<_>>(), files, "{method}");
        assert_eq!(facts.trained, trained_numbers, "{method}");
        assert_eq!(facts.base.quantization.is_some(), method == Method::Qlora);
        assert!(facts.dev.encoder_accuracy > 0.5, "{method}: {:?}", facts.dev);
        let adapter = AdapterModel::load(&dir, &base).unwrap();
        let answers = adapter.classify(inputs.to_vec()).await.unwrap();
        let best = |probabilities: &[f32]| usize::from(probabilities[1] > probabilities[0]);
        let found: Vec<_> = answers.iter().map(|answer| best(&answer.encoder_probabilities)).collect();
        assert_eq!(found, [1, 0, 0], "{method}");
    }
}

#[tokio::test]
async fn a_difference_trains_in_bf16_beside_weights_of_whole_vectors() {
    let (_keep, base) = encoder_of_whole_vectors();
    let out = tempfile::tempdir().unwrap();
    let in_bf16 = |method| TrainOptions { bf16: true, ..by(method) };
    let saved =
        |name: &str, options: &TrainOptions| trained(&base, options).save(&out.path().join(name), naming()).unwrap();
    let facts = saved("first", &in_bf16(Method::Lora));
    assert!(facts.training.bf16 && facts.dev.accuracy > 0.5, "{:?}", facts.dev);
    assert_eq!(facts.files, saved("second", &in_bf16(Method::Lora)).files);
    assert_ne!(facts.files, saved("f32", &by(Method::Lora)).files, "nothing was rounded");
    // What it is saved with are its answers in f32, or it would not load.
    let adapter = AdapterModel::load(&out.path().join("first"), &base).unwrap();
    let answers = adapter.classify(vec![row("shell 44", 1).input, row("coffee house", 0).input]).await.unwrap();
    let right = |at: usize| answers[at].encoder_probabilities[1 - at] > 0.5;
    assert!(right(0) && right(1), "{answers:?}");

    let (_keep, odd) = tiny_encoder();
    let refused = |base: &BaseEncoder, method| {
        train(base, &rows(), 2, &in_bf16(method), &mut |_| {}, &AtomicBool::new(false))
            .is_err_and(|error| matches!(error, Error::NoBf16))
    };
    assert!(refused(&odd, Method::Lora) && refused(&base, Method::Full) && refused(&base, Method::Qlora));
}

#[test]
fn every_method_gives_the_same_adapter_from_the_same_seed() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    for method in METHODS {
        let saved = |name: &str| trained(&base, &by(method)).save(&out.path().join(name), naming()).unwrap();
        assert_eq!(saved("first").files, saved("second").files, "{method}");
    }
}

#[test]
fn an_adapter_is_refused_on_weights_of_another_precision() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("adapter");
    trained(&base, &by(Method::Qlora)).save(&dir, naming()).unwrap();
    edit(&dir, |facts| facts["base"]["quantization"] = serde_json::Value::Null);
    assert!(matches!(AdapterModel::load(&dir, &base), Err(Error::Probes { .. })));
}

#[test]
fn gains_that_were_touched_or_are_not_listed_are_refused() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("adapter");
    let save = || trained(&base, &by(Method::Full)).save(&dir, naming()).unwrap();
    save();
    let path = dir.join("encoder_gains.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(AdapterModel::load(&dir, &base), Err(Error::WrongHash { .. })));
    save();
    edit(&dir, |facts| {
        facts["files"].as_object_mut().unwrap().remove("encoder_gains.safetensors");
    });
    assert!(matches!(AdapterModel::load(&dir, &base), Err(Error::WrongHash { .. })));
}

#[test]
fn the_same_rows_and_seed_give_the_same_adapter() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let saved = |name: &str| trained(&base, &options()).save(&out.path().join(name), naming()).unwrap();
    assert_eq!(saved("first").files, saved("second").files);
}

#[test]
fn an_adapter_folder_that_was_touched_is_refused() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("adapter");
    let save = || trained(&base, &options()).save(&dir, naming()).unwrap();

    save();
    let path = dir.join("txcat.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(AdapterModel::load(&dir, &base), Err(Error::WrongHash { .. })));

    save();
    edit(&dir, |facts| facts["probes"][0]["encoder_logits"][0] = 9.0.into());
    assert!(matches!(AdapterModel::load(&dir, &base), Err(Error::Probes { .. })));

    save();
    edit(&dir, |facts| facts["training"]["lora"]["rank"] = (1u64 << 60).into());
    let refusal = AdapterModel::load(&dir, &base).unwrap_err();
    assert!(matches!(&refusal, Error::Malformed { path, .. } if path.ends_with("txcat.json")), "{refusal}");

    save();
    let other = BaseEncoder { sha256: "00".repeat(32), ..base.clone() };
    assert!(matches!(AdapterModel::load(&dir, &other), Err(Error::OtherBase { .. })));
}

fn edit(dir: &Path, change: impl Fn(&mut serde_json::Value)) {
    let path = dir.join("txcat.json");
    let mut facts: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut facts);
    fs::write(&path, facts.to_string()).unwrap();
}

#[test]
fn an_adapter_that_silently_does_nothing_is_refused() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("idle");
    trained(&base, &TrainOptions { learning_rate: 0.0, ..options() }).save(&dir, naming()).unwrap();
    assert!(matches!(AdapterModel::load(&dir, &base), Err(Error::DoesNothing { .. })));
}

#[test]
fn stopping_early_keeps_what_was_learned() {
    let (_keep, base) = tiny_encoder();
    let stop = AtomicBool::new(false);
    let mut epochs = 0;
    let mut watch = |step| {
        if matches!(step, Progress::Epoch { .. }) {
            epochs += 1;
            stop.store(epochs == 2, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let trained = train(&base, &rows(), 2, &options(), &mut watch, &stop).unwrap();
    assert_eq!(epochs, 2);
    assert!(trained.best_epoch >= 1 && trained.dev.accuracy > 0.5);
}

#[tokio::test]
async fn embeddings_have_unit_length_and_come_in_order() {
    let (_keep, base) = tiny_encoder();
    let encoder = Encoder::load(base).unwrap();
    let texts = ["coffee", "shell fuel station 44", "blue coffee bar", ""].map(str::to_owned).to_vec();
    let together = encoder.embed(texts.clone()).await.unwrap();
    for (text, vector) in texts.into_iter().zip(&together) {
        assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        let alone = encoder.embed(vec![text]).await.unwrap();
        assert!(alone[0].iter().zip(vector).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[tokio::test]
async fn a_file_with_a_wrong_hash_is_refused_when_pulled() {
    let (_keep, base) = tiny_encoder();
    let target = tempfile::tempdir().unwrap();
    let models = config::Models { dir: target.path().join("models"), encoder: None, encoder_dir: None };
    let pulled = BaseEncoder::pull(&models, Some(&base.dir), &mut |_| {}).await;
    assert!(matches!(pulled, Err(Error::WrongHash { .. })), "{pulled:?}");
    assert!(matches!(BaseEncoder::locate(&models), Err(Error::NoEncoder { .. })));
}
