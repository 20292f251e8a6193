//! The same adapter served in f32 and in fewer bits.

use serde_json::Value;
use txcat::{config::Precision, model::guard::MUST_AGREE};

use super::{Stand, engines, make};
use crate::{
    harness::{self, Run as _, txcat},
    model,
};

/// Rows of every two words that the encoder knows, and some that it does not.
fn asked() -> Vec<Value> {
    let words = ["coffee", "shell", "bar", "fuel", "house", "station", "blue", "44", "unheard"];
    let pairs = words.iter().flat_map(|first| words.iter().map(move |second| format!("{first} {second} of blue")));
    pairs.enumerate().map(|(at, text)| harness::row(&format!("row-{at}"), &text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_fewer_bits_answers_as_one_in_f32_within_what_the_guard_promises() {
    let exact = Stand::on(model::encoder_of_whole_vectors(), Precision::F32).await;
    let expected = exact.app.ingest(&asked()).await;
    for precision in [Precision::Int8, Precision::Bf16] {
        let found = exact.again(precision).await.app.ingest(&asked()).await;
        assert_eq!(engines(&found), engines(&expected), "it is the same adapter");
        let pairs = || found.iter().zip(&expected);
        let same = pairs().filter(|(found, expected)| found["category"] == expected["category"]).count();
        assert!(same as f64 >= MUST_AGREE * expected.len() as f64, "{precision:?}: {same} of {}", expected.len());
        // The answer's own confidence is all but 1 in both.
        let confidence = |row: &Value| row["evidence"][0]["confidence"].as_f64().unwrap();
        let apart = pairs().map(|(found, expected)| (confidence(found) - confidence(expected)).abs());
        let most = apart.fold(0.0, f64::max);
        assert!(most < 0.1, "{precision:?}: {most}");
        assert!(most > 0.0, "{precision:?}: both were computed in f32");
    }
}

#[test]
fn what_computes_is_told_and_nothing_faster_than_is_allowed() {
    let (encoder, base) = model::encoder_of_whole_vectors();
    let folder = tempfile::tempdir().unwrap();
    let texts = folder.path().join("texts");
    std::fs::write(&texts, "coffee shell\nfuel station\n").unwrap();
    let adapter = folder.path().join("adapter");
    make(&base, &adapter, true, 1);
    let bench = |options: &[&str]| {
        let mut bench = txcat(&["bench", "--texts", texts.to_str().unwrap()]);
        bench.args(["--encoder-dir", encoder.path().to_str().unwrap()]).args(options);
        bench
    };
    let first = |said: String| said.lines().next().unwrap_or_default().to_owned();
    let first_line = |options: &[&str]| first(bench(options).run().ok());
    assert!(first_line(&["--instructions", "portable"]).starts_with("int8 on portable, "));
    let fastest = first_line(&[]);
    let told = first(bench(&[]).env("TXCAT_INSTRUCTIONS", "portable").run().ok());
    assert!(told.starts_with("int8 on portable, "), "{told}");
    let adapter = adapter.to_str().unwrap();
    let of_adapter = |options: &[&str]| first_line(&[&["--adapter", adapter], options].concat());
    assert_eq!(of_adapter(&["--precision", "int8", "--instructions", "portable"]), "adapter in int8 on portable");
    assert_eq!(of_adapter(&["--instructions", "portable"]), "adapter in f32", "bytes are slower without instructions");
    if cfg!(target_arch = "x86_64") && std::arch::is_x86_feature_detected!("avx2") {
        assert!(!fastest.contains("portable"), "{fastest}");
        assert!(of_adapter(&[]).starts_with("adapter in int8 on "));
    }
    bench(&["--instructions", "sse"]).run().refused(2);
    bench(&["--threads", "0"]).run().refused(2);
}
