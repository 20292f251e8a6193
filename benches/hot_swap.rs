//! `cargo bench --bench hot_swap`: a server under steady load while adapters change under it.
//!
//! On a private Postgres and the demo set, with three adapters made here: a champion, the next one, and one that
//! learned every label wrong. While single-row requests come at a steady rate, the next adapter becomes canary
//! and then champion, and the bad one becomes canary; a third of its wrong answers is corrected, as customers
//! would, until the watch takes it back. Prints requests, failures, latencies by phase, and when what happened.
//!
//! `TXCAT_BENCH_RATE` (requests a second, 200) and `TXCAT_BENCH_SECONDS` (60) bound it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use txcat::evaluate::{
    dataset::{Dataset, Row},
    written::{self, Written},
};

const TXCAT: &str = env!("CARGO_BIN_EXE_txcat");
const ACCOUNTS: usize = 2_000;

/// What happens when, as a share of the time.
const STEPS: [(f64, &str, &[&str]); 3] = [
    (0.15, "next → canary", &["next", "--to", "canary", "--share", "0.2", "--override", "benchmark"]),
    (0.35, "next → champion", &["next", "--to", "champion", "--override", "benchmark"]),
    (0.5, "bad → canary", &["bad", "--to", "canary", "--share", "0.2", "--override", "benchmark"]),
];

/// A row to send, and what it really is.
struct Sample {
    descriptor: String,
    amount: String,
    currency: &'static str,
    direction: &'static str,
    truth: String,
}

/// What came back.
struct Answered {
    sent: Duration,
    took: Duration,
    /// The engine, or why there is none.
    outcome: Result<(String, bool), String>,
}

fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn txcat(data: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(TXCAT).args(arguments).arg("--data-dir").arg(data).output()?;
    ensure!(output.status.success(), "txcat {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The demo set with every label moved on by one category.
fn wrong_labels(from: &Path, to: &Path) -> anyhow::Result<()> {
    let dataset = Dataset::open(from)?;
    let slugs: Vec<String> = dataset.taxonomy().assignable().iter().map(|category| category.slug.to_string()).collect();
    fs::create_dir_all(to)?;
    fs::copy(from.join("categories.csv"), to.join("categories.csv"))?;
    for name in ["pool", "dev"] {
        let rows: Vec<Row> = dataset.rows(dataset.file(name)?)?.collect::<Result<_, _>>()?;
        let next = |row: &Row| {
            let place = slugs.iter().position(|slug| *slug == row.category.as_str()).unwrap_or_default();
            &slugs[(place + 1) % slugs.len()]
        };
        let wrong =
            rows.iter().map(|row| Written { transaction: &row.transaction, category: next(row), labelled_by: "" });
        fs::write(to.join(format!("{name}.csv")), written::rows(wrong)?)?;
    }
    Ok(())
}

fn samples(demo: &Path) -> anyhow::Result<Vec<Sample>> {
    let dataset = Dataset::open(demo)?;
    let rows = dataset.rows(dataset.file("dev")?)?;
    rows.map(|row| {
        let row = row?;
        let transaction = row.transaction;
        Ok(Sample {
            descriptor: transaction.descriptor.raw().to_owned(),
            amount: transaction.amount.amount().to_string(),
            currency: transaction.amount.currency().code(),
            direction: transaction.direction.as_str(),
            truth: row.category.to_string(),
        })
    })
    .collect()
}

/// A server, ended with Ctrl-C.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.0.id()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGINT);
        }
        let _ = self.0.wait();
    }
}

/// Starts a server on a free port and returns its address.
fn serve(data: &Path) -> anyhow::Result<(Server, String)> {
    let mut child = Command::new(TXCAT)
        .args(["serve", "--bind", "127.0.0.1:0", "--watch-every", "1", "--data-dir"])
        .arg(data)
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("no output")?).lines();
    let server = Server(child);
    let address = loop {
        let line = lines.next().context("the server ended")??;
        if let Some((_, rest)) = line.split_once("http://") {
            break rest.split('/').next().unwrap_or_default().to_owned();
        }
    };
    std::thread::spawn(move || lines.for_each(drop));
    Ok((server, address))
}

async fn send(client: &reqwest::Client, address: &str, n: usize, sample: &Sample, begun: Instant) -> Answered {
    let sent = begun.elapsed();
    let row = json!({
        "id": format!("load-{n}"), "account_id": format!("acc-{}", n % ACCOUNTS), "posted_at": "2026-03-14",
        "amount": sample.amount, "currency": sample.currency, "direction": sample.direction,
        "descriptor": sample.descriptor,
    });
    let asked = client.post(format!("http://{address}/v1/transactions")).json(&json!({ "transactions": [row] })).send();
    let outcome = async {
        let answer = asked.await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        let result = &body["results"][0];
        match (status.is_success(), result["engine"].as_str(), result["predicted"].as_str()) {
            (true, Some(engine), Some(said)) => Ok((engine.to_owned(), said == sample.truth)),
            _ => Err(format!("{status}: {body}")),
        }
    }
    .await;
    let took = begun.elapsed() - sent;
    if let Ok((engine, false)) = &outcome
        && engine.contains(":bad@")
        && n.is_multiple_of(3)
    {
        let path = format!("http://{address}/v1/transactions/load-{n}/correction");
        let said = json!({ "category": sample.truth, "scope": "transaction" });
        let _ = client.post(path).json(&said).send().await;
    }
    Answered { sent, took, outcome }
}

/// Waits until the watch has taken the bad adapter back, and returns when.
async fn taken_back(client: &reqwest::Client, address: &str, begun: Instant) -> Option<(Duration, String)> {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let shown: Value =
            client.get(format!("http://{address}/v1/adapters/bad@1")).send().await.ok()?.json().await.ok()?;
        if shown["adapter"]["state"] == "retired" {
            return Some((begun.elapsed(), shown["decisions"][0]["reason"].as_str()?.to_owned()));
        }
    }
}

fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let rank = ((share * sorted.len() as f64).ceil() as usize).saturating_sub(1);
    sorted.get(rank).map_or(0.0, |took| took.as_secs_f64() * 1e3)
}

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` and `cargo bench --no-run` pass flags of their own.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let (rate, seconds) = (setting("TXCAT_BENCH_RATE", 200.0), setting("TXCAT_BENCH_SECONDS", 60.0));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::set_current_dir(root)?;
    let work = tempfile::tempdir()?;
    // The private Postgres runs as another user.
    fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let (data, demo) = (work.path().join("data"), root.join("eval/datasets/demo"));
    let at = |name: &str| work.path().join(name);
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    wrong_labels(&demo, &at("wrong"))?;
    for (name, set, seed) in [("first", demo.clone(), "1"), ("next", demo.clone(), "2"), ("bad", at("wrong"), "1")] {
        let arguments = [
            "train",
            "--plain-text",
            "--epochs",
            "1",
            "--label-budget",
            "4000",
            "--without-check",
            "a benchmark",
            "--seed",
            seed,
            "--data",
            &text(set),
            "--out",
            &text(at(name)),
        ]
        .map(str::to_owned);
        txcat(&data, &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        eprintln!("trained {name}");
    }
    let runtime = tokio::runtime::Runtime::new()?;
    // Holds the private Postgres, and everything below finds it.
    let mut holder = Command::new(TXCAT)
        .arg("database")
        .arg("--data-dir")
        .arg(&data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut url = String::new();
    BufReader::new(holder.stdout.take().context("no output")?).read_line(&mut url)?;
    for name in ["first", "next", "bad"] {
        txcat(&data, &["adapters", "register", &text(at(name))])?;
    }
    txcat(&data, &["adapters", "promote", "first", "--to", "champion", "--override", "benchmark"])?;
    let measured = {
        let (_server, address) = serve(&data)?;
        runtime.block_on(measure(address, Arc::new(samples(&demo)?), &data, rate, seconds))
    };
    drop(holder.stdin.take());
    holder.wait()?;
    let failures = measured?;
    ensure!(failures == 0, "{failures} requests failed");
    Ok(())
}

/// Sends, moves, waits; prints, and returns how many requests failed.
async fn measure(
    address: String,
    samples: Arc<Vec<Sample>>,
    data: &Path,
    rate: f64,
    seconds: f64,
) -> anyhow::Result<usize> {
    let client = txcat::outbound::client().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let begun = Instant::now();
    let moves = {
        let data = data.to_owned();
        tokio::spawn(async move {
            let mut happened = Vec::new();
            for (share, what, arguments) in STEPS {
                tokio::time::sleep_until((begun + Duration::from_secs_f64(share * seconds)).into()).await;
                let (data, mut all) = (data.clone(), vec!["adapters", "promote"]);
                all.extend_from_slice(arguments);
                tokio::task::spawn_blocking(move || txcat(&data, &all)).await??;
                happened.push((begun.elapsed(), what.to_owned()));
            }
            anyhow::Ok(happened)
        })
    };
    let rollback = {
        let (client, address) = (client.clone(), address.clone());
        tokio::spawn(async move { taken_back(&client, &address, begun).await })
    };
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..(rate * seconds) as usize {
        ticks.tick().await;
        let (client, address, samples) = (client.clone(), address.clone(), Arc::clone(&samples));
        requests.spawn(async move { send(&client, &address, n, &samples[n % samples.len()], begun).await });
    }
    let sent_in = begun.elapsed();
    let mut answers = requests.join_all().await;
    let mut happened = moves.await??;
    match tokio::time::timeout(Duration::from_secs(10), rollback).await {
        Ok(Ok(Some((when, reason)))) => happened.push((when, format!("bad taken back: {reason}"))),
        _ => happened.push((begun.elapsed(), "bad was NOT taken back".to_owned())),
    }
    happened.sort();
    answers.sort_by_key(|answer| answer.sent);

    println!("{} requests of one row in {:.1} s ({rate} a second asked for)", answers.len(), sent_in.as_secs_f64());
    let borders: Vec<Duration> =
        std::iter::once(Duration::ZERO).chain(happened.iter().map(|(when, _)| *when)).collect();
    for (place, from) in borders.iter().enumerate() {
        let until = borders.get(place + 1).copied().unwrap_or(Duration::MAX);
        let name = place.checked_sub(1).map_or("begin", |place| happened[place].1.as_str());
        let phase: Vec<&Answered> = answers.iter().filter(|answer| (*from..until).contains(&answer.sent)).collect();
        let mut took: Vec<Duration> = phase.iter().map(|answer| answer.took).collect();
        took.sort();
        let mut engines: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (engine, right) in phase.iter().filter_map(|answer| answer.outcome.as_ref().ok()) {
            let count = engines.entry(engine).or_default();
            count.0 += 1;
            count.1 += usize::from(*right);
        }
        let engines: Vec<String> =
            engines.iter().map(|(engine, (n, right))| format!("{engine} {n} ({right} right)")).collect();
        println!("{:5.1} s  {name}", from.as_secs_f64());
        println!(
            "         {} requests, {} failed; p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms; {}",
            phase.len(),
            phase.iter().filter(|answer| answer.outcome.is_err()).count(),
            quantile(&took, 0.5),
            quantile(&took, 0.95),
            quantile(&took, 0.99),
            engines.join(", ")
        );
    }
    let failures: Vec<&String> = answers.iter().filter_map(|answer| answer.outcome.as_ref().err()).collect();
    failures.iter().take(5).for_each(|failure| println!("failed: {failure}"));
    println!("{} failures", failures.len());
    Ok(failures.len())
}
