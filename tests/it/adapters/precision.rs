//! The same adapter served in f32 and in fewer bits.

use serde_json::Value;
use txcat::{config::Precision, model::guard::MUST_AGREE};

use super::{Stand, engines};
use crate::{harness, model};

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
