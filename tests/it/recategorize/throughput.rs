//! How fast the machinery is, with an engine by script: without a model, so that the database is what is measured. The
//! whole way with real engines is `tests/recategorize_scale.py`.

use std::{env, fs, time::Instant};

use super::{Stand, everything};
use crate::store::row;

/// Rows of one import.
const CHUNK: usize = 10_000;
/// Rows, where `TXCAT_ROWS` says nothing else.
const ROWS: usize = 200_000;

/// The most memory that this process held so far, in MiB.
fn peak() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// A row of 2,000 accounts and some 3,000 merchants, of which a few are met most: a third of the rows changes.
fn generated(n: usize) -> txcat::domain::Transaction {
    let mixed = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let share = mixed as f64 / f64::from(u32::MAX);
    let merchant = (3_000.0 * share * share * share) as u32;
    let word: String = (0..4).map(|place| char::from(b'A' + (merchant / 13_u32.pow(place) % 13) as u8)).collect();
    let kind = ["COFFEE", "MARKET", "COFFEE HOUSE"][merchant as usize % 3];
    row(&format!("t{n:07}"), &format!("account-{:04}", n % 2_000), n as i64 / 40, &format!("{kind} {word}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: measures rows a second"]
async fn many_rows_from_preview_to_undo() {
    let all = env::var("TXCAT_ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
    let stand = Stand::start().await;
    let begun = Instant::now();
    for chunk in 0..all / CHUNK {
        let rows: Vec<_> = (chunk * CHUNK..(chunk + 1) * CHUNK).map(generated).collect();
        stand.answered(&rows).await;
    }
    println!("import and first answers: {:.0} rows/s", all as f64 / begun.elapsed().as_secs_f64());
    let before = stand.dump().await;
    let before = (before.len(), digest(&before));
    let pipeline = stand.next();
    let (mut phase, mut last) = (Vec::new(), peak());
    let begun = Instant::now();
    let run = stand.planned(&pipeline, everything()).await;
    phase.push(("plan", begun.elapsed(), all as u64));
    let seen = std::sync::Mutex::new(Vec::new());
    let told = |done: u64, _: u64| {
        if done.is_multiple_of(50_000) {
            seen.lock().unwrap().push((done, peak()));
        }
    };
    let begun = Instant::now();
    txcat::recategorize::preview::run(&stand.store, &pipeline, run, &told).await.unwrap();
    phase.push(("preview", begun.elapsed(), all as u64));
    let changed = stand.report(run).await.diff.unwrap().changed;
    let begun = Instant::now();
    stand.apply(run).await;
    phase.push(("apply", begun.elapsed(), changed));
    let begun = Instant::now();
    stand.undo(run).await;
    phase.push(("undo", begun.elapsed(), changed));
    let begun = Instant::now();
    let again = stand.planned(&pipeline, everything()).await;
    txcat::recategorize::preview::run(&stand.store, &pipeline, again, &|_, _| {}).await.unwrap();
    phase.push(("preview again", begun.elapsed(), all as u64));
    println!("{:?}\n{:?}", stand.report(run).await.answers, stand.report(again).await.answers);
    for (name, took, rows) in phase {
        println!("{name}: {rows} rows, {:.1} s, {:.0} rows/s", took.as_secs_f64(), rows as f64 / took.as_secs_f64());
    }
    for (done, held) in seen.into_inner().unwrap() {
        println!("peak memory at {done} rows of the preview: {held:.0} MiB (+{:.0})", held - last);
        last = held;
    }
    println!("peak memory at the end: {:.0} MiB (+{:.0})", peak(), peak() - last);
    let after = stand.dump().await;
    assert_eq!((after.len(), digest(&after)), before, "undo gives back every byte");
}

fn digest(text: &str) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).to_vec()
}
