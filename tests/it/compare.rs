//! `txcat train compare` as whoever runs it ends it.

use std::process::Stdio;

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::{
    curate,
    harness::{PATIENCE, txcat},
    model::tiny_encoder,
};

#[tokio::test]
async fn a_comparison_that_is_told_to_end_takes_its_training_with_it() {
    let (encoder, _) = tiny_encoder();
    let dir = curate::folder();
    let mut command =
        txcat(&["train", "compare", "--plain-text", "--methods", "lora", "--epochs", "1000000", "--encoder-dir"]);
    command.arg(encoder.path()).arg("--data").arg(dir.path());
    let mut compare = Command::from(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let id = Pid::from_raw(i32::try_from(compare.id().unwrap()).unwrap());
    let mut lines = BufReader::new(compare.stderr.take().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("labelled rows") {
        said += &lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended: {said}"));
    }
    kill(id, Signal::SIGTERM).unwrap();
    // The training says what it does to the same pipe, which ends when both have.
    let ends = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            said += &line;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ends).await;
    // Whoever is left of the two must not stay.
    let _ = killpg(id, Signal::SIGKILL);
    assert!(ended.is_ok(), "the training goes on: {said}");
    assert!(said.contains("txcat: ended while lora was trained"), "{said}");
    assert_eq!(compare.wait().await.unwrap().code(), Some(1));
}
