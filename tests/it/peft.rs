//! Adapters from Python: what is read is computed as it was there, and what can't be is refused by its name.
//! `tests/peft_round_trip.py` does the same with Python itself.

use std::{fs, path::Path, sync::atomic::AtomicBool};

use serde_json::{Value, json};
use tempfile::TempDir;
use txcat::model::{
    AdapterModel, AdapterOutput, BaseEncoder, Error, Method, PeftAdapter,
    train::{Origin, TrainOptions},
};

use crate::model::{naming, options, row, rows, tiny_encoder, trained};

/// A folder as Python would have left it: what txcat wrote for PEFT, and the head.
fn folder(base: &BaseEncoder) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    trained(base, &options()).save(&dir.path().join("peft"), naming()).unwrap();
    for name in ["txcat.json", "README.md"] {
        fs::remove_file(dir.path().join("peft").join(name)).unwrap();
    }
    dir
}

fn set(dir: &Path, key: &str, value: Value) {
    let path = dir.join("peft/adapter_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    fs::write(&path, config.to_string()).unwrap();
}

fn imported(dir: &Path, base: &BaseEncoder) -> Result<txcat::model::AdapterFacts, Error> {
    let options = TrainOptions { wide: None, epochs: 20, batch: 8, ..TrainOptions::default() };
    let peft = PeftAdapter::read(&dir.join("peft"), base)?;
    peft.import(base, &rows(), 2, &options, &mut |_| {}, &AtomicBool::new(false))?.save(&dir.join("imported"), naming())
}

async fn answers(dir: &Path, base: &BaseEncoder) -> Vec<AdapterOutput> {
    let inputs = ["shell 44", "coffee house", "blue bar coffee"].map(|text| row(text, 0).input);
    AdapterModel::load(dir, base).unwrap().classify(inputs.to_vec()).await.unwrap()
}

#[tokio::test]
async fn an_adapter_answers_after_its_import_as_before() {
    let (_keep, base) = tiny_encoder();
    let dir = tempfile::tempdir().unwrap();
    let plain = TrainOptions { wide: None, ..options() };
    trained(&base, &plain).save(&dir.path().join("peft"), naming()).unwrap();
    let before = answers(&dir.path().join("peft"), &base).await;
    let same = async |change: &dyn Fn(&Path)| {
        change(dir.path());
        let facts = imported(dir.path(), &base).unwrap();
        assert_eq!((facts.origin, facts.training.method), (Origin::ImportedWithHead, Method::Lora));
        for (after, before) in answers(&dir.path().join("imported"), &base).await.iter().zip(&before) {
            let pairs = after.probabilities.iter().zip(&before.probabilities);
            assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-4), "{after:?} {before:?}");
        }
    };
    same(&|_| {}).await;
    same(&|dir| set(dir, "target_modules", json!(["query", "key", "attention.self.value", "dense"]))).await;
    same(&|dir| set(dir, "target_modules", json!("all-linear"))).await;
    same(&|dir| {
        // alpha / √rank is the same scale as alpha / rank was.
        set(dir, "use_rslora", true.into());
        set(dir, "lora_alpha", json!(4.0 / 2f32.sqrt()));
    })
    .await;
}

#[tokio::test]
async fn without_a_head_one_is_trained_over_the_adapted_encoder() {
    let (_keep, base) = tiny_encoder();
    let dir = folder(&base);
    fs::remove_file(dir.path().join("peft/txcat.safetensors")).unwrap();
    let facts = imported(dir.path(), &base).unwrap();
    assert_eq!((facts.origin, facts.dev.accuracy), (Origin::Imported, 1.0));
    let answers = answers(&dir.path().join("imported"), &base).await;
    let fuel: Vec<bool> = answers.iter().map(|answer| answer.probabilities[1] > 0.5).collect();
    assert_eq!(fuel, [true, false, false]);
}

#[test]
fn what_cannot_be_computed_is_refused_by_its_name() {
    let (_keep, base) = tiny_encoder();
    let some_layers = json!(r"encoder\.layer\.0\.attention\.self\.query");
    for (key, value, named) in [
        ("peft_type", json!("IA3"), "IA3"),
        ("use_dora", json!(true), "use_dora"),
        ("use_something_new", json!(true), "use_something_new"),
        ("bias", json!("lora_only"), "bias"),
        ("modules_to_save", json!(["classifier"]), "modules_to_save"),
        ("rank_pattern", json!({"query": 4}), "rank_pattern"),
        ("alpha_pattern", json!({"query": 4}), "alpha_pattern"),
        ("layers_to_transform", json!([0]), "layers_to_transform"),
        ("trainable_token_indices", json!([1]), "trainable_token_indices"),
        ("init_lora_weights", json!("pissa"), "init_lora_weights"),
        ("target_modules", json!(["query", "q_proj"]), "q_proj"),
        ("target_modules", json!(["query"]), "belongs to nothing"),
        ("target_modules", some_layers, "some layers"),
        ("r", json!(3), "must be floats of [3, 16]"),
        ("r", json!(0), "r"),
        // No memory is taken for it.
        ("r", json!(1u64 << 60), "1152921504606846976"),
    ] {
        let dir = folder(&base);
        set(dir.path(), key, value);
        let Err(Error::Import { refusal, .. }) = imported(dir.path(), &base) else { panic!("{key} was taken") };
        assert!(refusal.to_string().contains(named), "{key}: {refusal}");
    }
}

#[test]
fn a_missing_tensor_a_second_head_and_a_head_of_other_categories_are_refused() {
    let (_keep, base) = tiny_encoder();
    let because = |dir: &TempDir| match imported(dir.path(), &base) {
        Err(Error::Import { refusal, .. }) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    let save = |dir: &TempDir, name: &str, classes: usize| {
        let zeros =
            |shape: &[usize]| candle_core::Tensor::zeros(shape, candle_core::DType::F32, &candle_core::Device::Cpu);
        let head = [("head.weight", zeros(&[classes, 16])), ("head.bias", zeros(&[classes]))];
        let head = head.into_iter().map(|(name, tensor)| (name.to_owned(), tensor.unwrap())).collect();
        candle_core::safetensors::save(&head, dir.path().join("peft").join(name)).unwrap();
    };
    let dir = folder(&base);
    save(&dir, "another.safetensors", 2);
    assert!(because(&dir).contains("another.safetensors"));
    fs::remove_file(dir.path().join("peft/txcat.safetensors")).unwrap();
    save(&dir, "another.safetensors", 3);
    assert!(because(&dir).contains("head.bias"));

    let dir = folder(&base);
    let path = dir.path().join("peft/adapter_model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    tensors.remove("base_model.model.encoder.layer.1.output.dense.lora_B.weight").unwrap();
    candle_core::safetensors::save(&tensors, &path).unwrap();
    assert!(because(&dir).ends_with("layer.1.output.dense.lora_B.weight is missing"));
}
