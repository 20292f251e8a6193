//! Many adapters in one bank: each row gets what its own adapter says, and nobody pays for what nobody uses.

use std::{fs, path::Path, sync::atomic::AtomicBool};

use tempfile::TempDir;
use txcat::{
    config::{self, Precision},
    model::{
        AdapterBank, AdapterFacts, AdapterInput, AdapterModel, AdapterOutput, BaseEncoder, Encoder, Error, Format,
        KnownWork, Method,
        guard::{OfFormat, Refused},
        lora::{LoraOptions, Target},
        train::{TrainOptions, train},
    },
};

use crate::model::{encoder_of_whole_vectors, naming, options, row, rows, tiny_encoder, trained};

const TEXTS: [&str; 7] = [
    "shell 44",
    "coffee house",
    "blue bar coffee",
    "unheard of",
    "fuel station",
    "bar",
    "a long way to the blue house",
];

fn inputs() -> Vec<AdapterInput> {
    TEXTS.iter().map(|text| row(text, 0).input).collect()
}

async fn base() -> BaseEncoder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let encoder_dir = std::env::var_os("TXCAT_ENCODER_DIR").map(Into::into);
    let models = config::Models { dir, encoder: None, encoder_dir };
    BaseEncoder::pull(&models, None, &mut |_| {}).await.unwrap()
}

/// A few steps on the real encoder. Some of its dev rows contradict what it learns, so that it stays
/// unsure and no two adapters are sure of the same.
fn saved(base: &BaseEncoder, to: &Path, options: &TrainOptions) {
    let mut rows = rows();
    rows.dev.extend([row("coffee", 1), row("shell", 0)]);
    let trained = train(base, &rows, 2, options, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    trained.save(to, naming()).unwrap();
}

fn close(found: &AdapterOutput, expected: &AdapterOutput) -> bool {
    let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    found.known == expected.known
        && near(&found.probabilities, &expected.probabilities)
        && near(&found.encoder_probabilities, &expected.encoder_probabilities)
}

#[tokio::test]
async fn a_mixed_batch_gives_each_row_what_its_own_adapter_alone_gives() {
    let base = base().await;
    let out = tempfile::tempdir().unwrap();
    let by = |method: Method, seed: u64, lora: LoraOptions| TrainOptions {
        seed,
        lora,
        epochs: 2,
        batch: 8,
        learning_rate: 4.0 * method.learning_rate(),
        ..TrainOptions::of(method)
    };
    let lora = |rank, targets: &[Target]| LoraOptions { rank, targets: targets.to_vec(), ..LoraOptions::default() };
    let attention = lora(3, &[Target::Query, Target::Value]);
    for (name, options) in [
        ("lora", by(Method::Lora, 1, LoraOptions::default())),
        ("attention", by(Method::Lora, 2, attention)),
        ("qlora", by(Method::Qlora, 3, LoraOptions::default())),
        ("qlora2", by(Method::Qlora, 4, lora(4, &[Target::Output]))),
        ("full", by(Method::Full, 5, LoraOptions::default())),
        ("head", by(Method::Head, 6, LoraOptions::default())),
    ] {
        saved(&base, &out.path().join(name), &options);
    }
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("models/adapters/demo")];
    folders.extend(["lora", "attention", "qlora", "qlora2", "full", "head"].map(|name| out.path().join(name)));

    let bank = AdapterBank::open(&base).unwrap();
    let adapters: Vec<AdapterModel> = folders.iter().map(|dir| bank.load(dir).unwrap()).collect();
    assert_eq!(bank.len(), adapters.len());
    let mut expected = Vec::new();
    for dir in &folders {
        expected.push(AdapterModel::load(dir, &base).unwrap().classify(inputs()).await.unwrap());
    }
    // Every adapter reads every text, in an order in which neither stands together.
    let pairs: Vec<(usize, usize)> =
        (0..adapters.len() * TEXTS.len()).map(|at| (at * 3 % adapters.len(), at / adapters.len())).collect();
    let batch = pairs.iter().map(|(adapter, text)| (adapters[*adapter].clone(), inputs()[*text].clone())).collect();
    let answers = bank.classify(batch).await.unwrap();
    assert_eq!(answers.len(), pairs.len());
    for (answer, (adapter, text)) in answers.iter().zip(&pairs) {
        assert!(close(answer, &expected[*adapter][*text]), "{:?} on {}", adapters[*adapter], TEXTS[*text]);
    }
    for (at, one) in expected.iter().enumerate() {
        let same = |other: &&Vec<AdapterOutput>| one.iter().zip(*other).all(|(a, b)| close(a, b));
        assert!(!expected[..at].iter().any(|other| same(&other)), "two adapters say the same of every text");
    }
    assert!(bank.classify(Vec::new()).await.unwrap().is_empty());
}

fn saved_by(method: Method, seed: u64, base: &BaseEncoder, out: &TempDir) -> std::path::PathBuf {
    let dir = out.path().join(format!("{method}-{seed}"));
    trained(base, &TrainOptions { method, seed, ..options() }).save(&dir, naming()).unwrap();
    dir
}

#[test]
fn an_adapter_leaves_memory_with_its_last_handle() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let bank = AdapterBank::beside(&Encoder::load(base.clone()).unwrap()).unwrap();
    assert!(bank.is_empty());
    let [lora, qlora, full] =
        [Method::Lora, Method::Qlora, Method::Full].map(|method| bank.load(&saved_by(method, 1, &base, &out)).unwrap());
    let again = lora.clone();
    assert_eq!(bank.len(), 3);
    drop(lora);
    assert_eq!(bank.len(), 3, "a clone holds it");
    drop((again, qlora));
    assert_eq!(bank.len(), 1);
    drop(full);
    assert!(bank.is_empty());
}

#[test]
fn folders_with_the_same_contents_share_one_copy() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let bank = AdapterBank::open(&base).unwrap();
    let dir = saved_by(Method::Lora, 1, &base, &out);
    let copy = out.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(&dir).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let (first, second) = (bank.load(&dir).unwrap(), bank.load(&copy).unwrap());
    assert_eq!((bank.len(), first.hash8()), (1, second.hash8()));
    let other = bank.load(&saved_by(Method::Lora, 2, &base, &out)).unwrap();
    assert_ne!(other.hash8(), first.hash8());
    assert_eq!(bank.len(), 2);

    fs::write(copy.join("txcat.safetensors"), "other bytes").unwrap();
    assert!(matches!(bank.load(&copy), Err(Error::WrongHash { .. })), "shared though its files differ");
}

#[test]
fn a_bank_refuses_an_adapter_of_another_base() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let dir = saved_by(Method::Lora, 1, &base, &out);
    let bank = AdapterBank::open(&BaseEncoder { sha256: "00".repeat(32), ..base }).unwrap();
    assert!(matches!(bank.load(&dir), Err(Error::OtherBase { .. })));
    assert!(bank.is_empty());
}

#[tokio::test]
async fn in_fewer_bits_a_mixed_batch_says_what_it_says_in_f32_but_for_rounding() {
    let (_keep, base) = encoder_of_whole_vectors();
    let out = tempfile::tempdir().unwrap();
    let dirs = [(Method::Lora, 1), (Method::Full, 2), (Method::Head, 3), (Method::Lora, 4)]
        .map(|(method, seed)| saved_by(method, seed, &base, &out));
    let answers = async |precision, format| {
        let bank = AdapterBank::open(&base).unwrap().in_precision(precision);
        let adapters = dirs.each_ref().map(|dir| bank.load(dir).unwrap());
        assert!(adapters.iter().all(|adapter| adapter.format() == format));
        let pairs = TEXTS.iter().flat_map(|text| adapters.iter().map(move |adapter| (adapter.clone(), *text)));
        bank.classify(pairs.map(|(adapter, text)| (adapter, row(text, 0).input)).collect()).await.unwrap()
    };
    let exact = answers(Precision::F32, None).await;
    let formats = [(Precision::Int8, Format::Int8), (Precision::Bf16, Format::Bf16), (Precision::Auto, Format::Int8)];
    for (precision, format) in formats {
        for (place, (found, exact)) in answers(precision, Some(format)).await.iter().zip(&exact).enumerate() {
            let pairs = found.encoder_probabilities.iter().zip(&exact.encoder_probabilities);
            let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 0.1 && found.known == exact.known, "{format} row {place}: {apart}");
        }
    }
}

#[test]
fn what_was_not_measured_in_a_format_or_loses_by_it_is_not_computed_in_it() {
    let (_keep, base) = encoder_of_whole_vectors();
    let out = tempfile::tempdir().unwrap();
    let dir = saved_by(Method::Lora, 1, &base, &out);
    let facts = dir.join("txcat.json");
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&facts).unwrap()).unwrap();
    let load = |precision| AdapterBank::open(&base).unwrap().in_precision(precision).load(&dir);
    let change = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = written.clone();
        change(&mut changed["dev"]);
        fs::write(&facts, changed.to_string()).unwrap();
    };
    for (precision, format) in [(Precision::Int8, Format::Int8), (Precision::Bf16, Format::Bf16)] {
        let refusal = || {
            assert_eq!(load(Precision::F32).unwrap().format(), None);
            match load(precision) {
                Err(Error::NotIn { format: found, reason, .. }) if found == format => reason,
                other => panic!("{other:?}"),
            }
        };
        change(&|dev| drop(dev.as_object_mut().unwrap().remove(format.name())));
        assert_eq!(refusal(), Refused::Unmeasured);
        change(&|dev| dev[format.name()]["agreement"] = 0.98.into());
        let loses = refusal();
        assert!(matches!(loses, Refused::Loses(found) if (found.rows, found.agreement) == (4, 0.98)), "{loses}");
    }
    change(&|dev| dev["int8"]["agreement"] = 0.98.into());
    assert_eq!(load(Precision::Auto).unwrap().format(), Some(Format::Bf16).filter(|format| format.is_fast()));
    change(&|dev| Format::ALL.iter().for_each(|format| dev[format.name()]["agreement"] = 0.98.into()));
    assert_eq!(load(Precision::Auto).unwrap().format(), None);

    // Measured anew, it is as training left it; a folder that doesn't say which repository its base is from learns that.
    let named = BaseEncoder { hub: Some("people/encoder".to_owned()), ..base.clone() };
    let (mut guarded, measured) = AdapterFacts::compared(&dir, &named, rows().dev).unwrap();
    for OfFormat { format, adapter, encoder_and_head } in measured {
        assert_eq!((adapter.rows, encoder_and_head.rows), (4, 4));
        guarded.dev.keep(format, adapter);
    }
    guarded.keep(&dir).unwrap();
    let guarded = AdapterFacts::read(&dir).unwrap();
    assert_eq!(serde_json::to_value(guarded.dev).unwrap(), written["dev"]);
    let card = fs::read_to_string(dir.join("README.md")).unwrap();
    for words in ["in int8, on dev", "in bf16, on dev", "base_model: people/encoder\n"] {
        assert!(card.contains(words), "{card}");
    }
    assert_eq!(load(Precision::Auto).unwrap().format(), Some(Format::Int8));

    let (_keep, tiny) = tiny_encoder();
    let [nf4, odd] = [saved_by(Method::Qlora, 1, &base, &out), saved_by(Method::Lora, 9, &tiny, &out)];
    let nf4 = AdapterFacts::compared(&nf4, &base, rows().dev);
    assert!(matches!(nf4, Err(Error::NotIn { reason: Refused::Nf4, .. })));
    let odd = AdapterFacts::compared(&odd, &tiny, rows().dev);
    assert!(matches!(odd, Err(Error::NotIn { reason: Refused::Sizes, .. })));
}

#[tokio::test]
async fn a_text_that_comes_again_is_not_read_again_and_says_the_same() {
    let (_keep, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let bank = AdapterBank::open(&base).unwrap().remembering(100);
    let [first, second] = [1, 2].map(|seed| bank.load(&saved_by(Method::Lora, seed, &base, &out)).unwrap());
    let ask = async |adapter: &AdapterModel| adapter.classify(inputs()).await.unwrap();
    let answers = ask(&first).await;
    assert_eq!(bank.known_work(), KnownWork { asked: 7, known: 0 });
    assert_eq!(ask(&first).await, answers);
    assert_eq!(bank.known_work(), KnownWork { asked: 14, known: 7 });
    assert_ne!(ask(&second).await, answers, "another adapter's answers");
    assert_eq!(bank.known_work(), KnownWork { asked: 21, known: 7 });

    // Rows of known texts under another key, and one text that is new, twice.
    let other = |input: AdapterInput| AdapterInput { key: "shell station".into(), ..input };
    let mut others: Vec<AdapterInput> = inputs().into_iter().map(other).collect();
    others.extend([row("a new place", 0).input, other(row("a new place", 0).input)]);
    let shared = first.classify(others.clone()).await.unwrap();
    assert_eq!(bank.known_work(), KnownWork { asked: 30, known: 15 });
    assert_ne!(shared[..7], answers, "what lies beside the text counts");
    let fresh = AdapterBank::open(&base).unwrap();
    let again = fresh.load(&saved_by(Method::Lora, 1, &base, &out)).unwrap();
    for (input, answer) in others.into_iter().zip(shared) {
        assert!(close(&again.classify(vec![input]).await.unwrap()[0], &answer), "a row got another row's answer");
    }
    assert!(ask(&again).await.iter().zip(&answers).all(|(a, b)| close(a, b)));
    ask(&again).await;
    assert_eq!(fresh.known_work().known, 0, "nothing is kept where nobody asked for it");
}
