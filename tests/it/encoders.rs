//! Encoders of one's own: listed in a manifest beside them, chosen by name, and never taken for one another.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};
use txcat::{
    config,
    model::{AdapterModel, BaseEncoder, Encoder, Error, method::METHODS, train::TrainOptions},
};

use crate::model::{Bert, naming, options, row, trained, write_encoder};

const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];
const SMALL: Bert = Bert { hidden: 16, inner: 24, layers: 2, heads: 2, prefix: "" };
const LARGER: Bert = Bert { hidden: 40, inner: 72, layers: 3, heads: 5, prefix: "bert." };

/// An entry for the files of a folder.
fn entry(name: &str, dir: &Path) -> String {
    let mut text =
        format!("[[encoder]]\nname = \"{name}\"\nlicence = \"MIT\"\nhub = \"bank/{name}\"\nrevision = \"1\"\n");
    for file in FILES {
        let bytes = fs::read(dir.join(file)).unwrap();
        let (size, sha256) = (bytes.len(), hex::encode(Sha256::digest(&bytes)));
        text += &format!("[[encoder.file]]\npath = \"{file}\"\nbytes = {size}\nsha256 = \"{sha256}\"\n");
    }
    text
}

/// A models folder whose manifest lists `small` and `larger`, and their files elsewhere.
fn listed() -> (tempfile::TempDir, config::Models) {
    let root = tempfile::tempdir().unwrap();
    let mut manifest = String::new();
    for (name, bert) in [("small", SMALL), ("larger", LARGER)] {
        let dir = root.path().join(name);
        fs::create_dir(&dir).unwrap();
        write_encoder(&dir, bert);
        manifest += &entry(name, &dir);
    }
    let models = config::Models { dir: root.path().join("models"), encoder: None, encoder_dir: None };
    fs::create_dir(&models.dir).unwrap();
    fs::write(models.dir.join("manifest.toml"), manifest).unwrap();
    (root, models)
}

fn named(name: &str, models: &config::Models) -> config::Models {
    config::Models { encoder: Some(name.to_owned()), ..models.clone() }
}

#[tokio::test]
async fn an_encoder_of_ones_own_is_pulled_by_name_trained_on_saved_and_loaded_again() {
    let (root, models) = listed();
    let larger = named("larger", &models);
    assert!(matches!(BaseEncoder::locate(&larger), Err(Error::NoEncoder { name, .. }) if name == "larger"));
    let base = BaseEncoder::pull(&larger, Some(&root.path().join("larger")), &mut |_| {}).await.unwrap();
    assert_eq!((base.name.as_str(), base.hub.as_deref()), ("larger", Some("bank/larger")));
    assert_eq!(BaseEncoder::locate(&larger).unwrap(), base);
    let here: Vec<(String, bool)> =
        BaseEncoder::list(&models).unwrap().into_iter().map(|of| (of.name, of.dir.is_some())).collect();
    assert_eq!(here, [("small".to_owned(), false), ("larger".to_owned(), true)]);

    let vectors = Encoder::load(base.clone()).unwrap().embed(vec!["coffee bar".to_owned()]).await.unwrap();
    assert_eq!(vectors[0].len(), LARGER.hidden);
    for method in METHODS {
        let dir = root.path().join(method.name());
        let facts = trained(&base, &TrainOptions { method, ..options() }).save(&dir, naming()).unwrap();
        assert_eq!((facts.base.name.as_str(), &facts.base.sha256), ("larger", &base.sha256));
        let adapter = AdapterModel::load(&dir, &BaseEncoder::locate(&larger).unwrap()).unwrap();
        let inputs = ["shell 44", "coffee house"].map(|text| row(text, 0).input);
        let answers = adapter.classify(inputs.to_vec()).await.unwrap();
        assert!(answers[0].probabilities[1] > 0.5 && answers[1].probabilities[0] > 0.5, "{method}: {answers:?}");
        let card = fs::read_to_string(dir.join("README.md")).unwrap();
        assert!(card.contains("base_model: bank/larger"), "{card}");
    }
}

#[tokio::test]
async fn an_adapter_of_another_encoder_is_refused_and_both_are_named() {
    let (root, models) = listed();
    let pull = async |name: &str| {
        BaseEncoder::pull(&named(name, &models), Some(&root.path().join(name)), &mut |_| {}).await.unwrap()
    };
    let (small, larger) = (pull("small").await, pull("larger").await);
    assert_eq!(BaseEncoder::locate(&models).unwrap(), small, "the manifest's first is the default");
    let dir = root.path().join("adapter");
    trained(&small, &options()).save(&dir, naming()).unwrap();
    let refusal = AdapterModel::load(&dir, &larger).unwrap_err().to_string();
    assert!(refusal.contains("trained on small (") && refusal.contains("this is larger ("), "{refusal}");
}

#[tokio::test]
async fn an_encoder_that_is_not_listed_or_not_the_named_one_is_refused() {
    let (root, models) = listed();
    let unknown = BaseEncoder::locate(&named("other", &models)).unwrap_err();
    assert!(matches!(&unknown, Error::UnknownEncoder { .. }), "{unknown}");
    assert!(unknown.to_string().ends_with("lists no encoder `other`, but small, larger"), "{unknown}");
    let wrong = BaseEncoder::pull(&named("small", &models), Some(&root.path().join("larger")), &mut |_| {}).await;
    assert!(matches!(wrong, Err(Error::WrongHash { .. })), "{wrong:?}");

    let elsewhere = |name: Option<&str>| config::Models {
        encoder: name.map(str::to_owned),
        encoder_dir: Some(root.path().join("larger")),
        ..models.clone()
    };
    assert_eq!(BaseEncoder::locate(&elsewhere(None)).unwrap().name, "larger", "known by its weights");
    assert_eq!(BaseEncoder::locate(&elsewhere(Some("larger"))).unwrap().name, "larger");
    assert!(matches!(BaseEncoder::locate(&elsewhere(Some("small"))), Err(Error::WrongHash { .. })));
}

#[tokio::test]
async fn an_encoder_of_another_architecture_is_refused_by_name_before_it_is_put_in_place() {
    let (root, models) = listed();
    for (name, config) in [
        ("roberta", serde_json::json!({"model_type": "roberta", "hidden_size": 16, "architectures": ["RobertaModel"]})),
        ("distilbert", serde_json::json!({"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2})),
    ] {
        let dir = root.path().join("small");
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        fs::write(models.dir.join("manifest.toml"), entry(name, &dir)).unwrap();
        let refused = BaseEncoder::pull(&models, Some(&dir), &mut |_| {}).await.unwrap_err();
        let why = std::error::Error::source(&refused).unwrap().to_string();
        assert!(why.contains(&format!("`{name}`")), "{why}");
        assert!(!models.dir.join(name).exists());
    }
}

#[tokio::test]
async fn an_encoder_whose_tokenizer_knows_more_than_its_weights_is_refused() {
    let (root, models) = listed();
    let dir = root.path().join("small");
    let mut tokenizer: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("tokenizer.json")).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let vectors = vocabulary.len();
    vocabulary.insert("newcomer".to_owned(), vectors.into());
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    fs::write(models.dir.join("manifest.toml"), entry("small", &dir)).unwrap();
    let base = BaseEncoder::pull(&models, Some(&dir), &mut |_| {}).await.unwrap();
    let refusal = Encoder::load(base).err().unwrap().to_string();
    assert!(
        refusal.ends_with(&format!("each of {vectors} tokens, and its tokenizer knows token {vectors}")),
        "{refusal}"
    );
}
