//! Whether the time of a refusal tells how near a key was: run by hand on a quiet machine,
//! `cargo test --test it -- --ignored --nocapture api::timing`.

use std::time::{Duration, Instant};

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use txcat::{
    access::{Access, Scope},
    clock,
};

use crate::harness::App;

/// What is tried, beside what it is compared with.
const TRIED: [&str; 4] = [
    "known prefix, first character wrong",
    "known prefix, last character wrong",
    "unknown prefix",
    "unknown prefix again",
];

/// A digit of a key, changed.
fn changed(key: &str, at: usize) -> String {
    let other = if &key[at..=at] == "0" { "1" } else { "0" };
    format!("{}{other}{}", &key[..at], &key[at + 1..])
}

/// How often a value of `b` is greater than one of `a`, ties as halves, and how many standard errors that is from one half
/// (Mann and Whitney).
fn told_apart(a: &[Duration], b: &[Duration]) -> (f64, f64) {
    let mut all: Vec<(Duration, bool)> = a.iter().map(|t| (*t, false)).chain(b.iter().map(|t| (*t, true))).collect();
    all.sort_unstable();
    let mut ranks = 0.0;
    let mut at = 0;
    while at < all.len() {
        let ties = all[at..].iter().take_while(|one| one.0 == all[at].0).count();
        let rank = (2 * at + ties + 1) as f64 / 2.0;
        ranks += rank * all[at..at + ties].iter().filter(|one| one.1).count() as f64;
        at += ties;
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let greater = (ranks - m * (m + 1.0) / 2.0) / (n * m);
    (greater, (greater - 0.5) / ((n + m + 1.0) / (12.0 * n * m)).sqrt())
}

fn quantile(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6
}

/// Tries all, each once a round, in an order drawn anew each round; prints what it took.
async fn measure(what: &str, rounds: usize, mut attempt: impl AsyncFnMut(usize)) -> Vec<Vec<Duration>> {
    let mut order: Vec<usize> = (0..TRIED.len()).collect();
    let mut luck = ChaCha8Rng::seed_from_u64(9);
    let mut times = vec![Vec::with_capacity(rounds); TRIED.len()];
    for round in 0..rounds + rounds / 10 {
        order.shuffle(&mut luck);
        for &one in &order {
            let began = Instant::now();
            attempt(one).await;
            // The first tenth warms up.
            if round >= rounds / 10 {
                times[one].push(began.elapsed());
            }
        }
    }
    println!("\n{what}, {rounds} rounds, microseconds: quarter, median, three quarters");
    for (name, times) in TRIED.iter().zip(&times) {
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(times, share));
        println!("  {name:36} {low:8.1} {median:8.1} {high:8.1}");
    }
    for (a, b) in [(0, 1), (0, 2), (1, 2), (2, 3)] {
        let (greater, z) = told_apart(&times[a], &times[b]);
        println!("  {} < {}: in {:.1} % of pairs, z = {z:+.1}", TRIED[a], TRIED[b], 100.0 * greater);
    }
    times
}

#[tokio::test]
#[ignore = "takes a quiet machine and a minute"]
async fn the_time_of_a_refusal_does_not_tell_how_near_a_key_was() {
    let app = App::start().await;
    let mut known = String::new();
    for n in 0..20 {
        known = app.make_key(&format!("key-{n}"), &[Scope::Read], None).await;
    }
    let secret = known.rfind('_').unwrap() + 1;
    let unknown = format!("txcat_000000000000_{}", &known[secret..]);
    let keys = [
        changed(&known, secret),
        changed(&known, known.len() - 1),
        unknown.clone(),
        changed(&unknown, known.len() - 1),
    ];
    let headers = keys.each_ref().map(|key| format!("Bearer {key}"));
    let access = Access::new(app.store.clone(), app.address, clock::now()).await.unwrap();
    let inside = measure("in the process", 5_000, async |one| {
        assert!(access.authenticate(Some(&headers[one]), clock::now()).await.is_err());
    })
    .await;
    measure("over HTTP", 2_000, async |one| {
        app.send(app.request("GET", "/v1/categories").bearer_auth(&keys[one])).await.with(401);
    })
    .await;
    // Where in the secret it goes wrong is told by nothing.
    let (_, z) = told_apart(&inside[0], &inside[1]);
    assert!(z.abs() < 4.0, "the place of the first wrong character shows: z = {z}");
}
