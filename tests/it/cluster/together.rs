//! A scheduler and two executors, each a process of its own.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::places::{answers, recategorize, rows, spread};
use crate::harness::{Run as _, Said, txcat};

/// A process of the cluster; it is killed when dropped.
struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it, and waits for its first line.
    fn start(arguments: &[&str]) -> (Self, String) {
        let mut command = txcat(&["cluster"]);
        command.args(arguments).env_remove("TXCAT_TAXONOMY").env_remove("TXCAT_SCHEDULER");
        command.env("TXCAT_PRECISION", "f32");
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it ended at once");
        (Self { child, says }, line.trim_end().to_owned())
    }

    /// Lets it end as it likes: the rows that it says to have answered.
    fn end(mut self) -> u64 {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let mut rest = String::new();
        self.says.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap();
        let answered = rest.lines().find_map(|line| line.strip_prefix("answered ")?.strip_suffix(" rows"));
        answered.unwrap_or_else(|| panic!("{rest}")).parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scheduler with executors that it knows of.
struct Cluster {
    executors: Vec<Process>,
    address: String,
    _scheduler: Process,
}

impl Cluster {
    /// One that gives an executor up after so many seconds without a sign of life.
    async fn start(executors: usize, lost_after: &str) -> Self {
        let wanted = executors.to_string();
        let arguments = ["scheduler", "--listen", "127.0.0.1:0", "--executors", &wanted, "--lost-after", lost_after];
        let (scheduler, line) = Process::start(&arguments);
        let address = line.strip_prefix("scheduler on ").unwrap().to_owned();
        let arguments = ["executor", "--scheduler", &address, "--tasks", "2", "--sign-every", "1"];
        let executors = (0..executors)
            .map(|_| {
                let (executor, line) = Process::start(&arguments);
                assert!(line.starts_with("executor with adapter:demo@"), "{line}");
                executor
            })
            .collect();
        let ready = address.replace("df://", "http://") + "/readyz";
        let client = txcat::outbound::client().no_proxy().build().unwrap();
        let start = Instant::now();
        while !client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(start.elapsed() < Duration::from_secs(60), "the executors were not heard of");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { executors, address, _scheduler: scheduler }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_answers_row_for_row_as_one_process_does() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut rows = rows(1_200);
    rows[17][4] = Some("a lot".to_owned());
    rows[900][0] = None;
    spread(&dir.path().join("rows"), &rows, 9).await;

    let alone = recategorize(&at("rows"), &at("alone"), &[]).run().json();
    let cluster = Cluster::start(2, "120").await;
    let scheduler = ["--scheduler", &cluster.address];
    let together = recategorize(&at("rows"), &at("together"), &scheduler).run().json();
    assert_eq!((together["rows"].as_u64(), together["refused"].as_u64()), (Some(1_200), Some(2)));
    assert_eq!(together, alone);
    let (alone, together) = (answers(&dir.path().join("alone")).await, answers(&dir.path().join("together")).await);
    assert_eq!(together.len(), 9);
    assert!(together == alone, "{:?}", differing(&alone, &together));

    let answered: Vec<u64> = cluster.executors.into_iter().map(Process::end).collect();
    assert!(answered.iter().all(|rows| *rows > 0), "both took part: {answered:?}");
    assert_eq!(answered.iter().sum::<u64>(), 1_200, "no row was asked about twice: {answered:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_killed_loses_no_row_and_writes_none_twice() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    spread(&dir.path().join("rows"), &rows(600), 12).await;
    recategorize(&at("rows"), &at("alone"), &[]).run().json();

    let mut cluster = Cluster::start(2, "4").await;
    let scheduler = ["--scheduler", &cluster.address, "--at-once", "4"];
    let mut command = recategorize(&at("rows"), &at("together"), &scheduler);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while answered_files(&at("together")) == 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing was answered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(cluster.executors.pop());
    let before = answered_files(&at("together"));
    assert!(before < 12, "it was killed before the end: {before}");
    let counted = Said::of(running.wait_with_output().unwrap()).json();
    assert_eq!(counted["answered"], 600);
    let (alone, together) = (answers(&dir.path().join("alone")).await, answers(&dir.path().join("together")).await);
    assert!(together == alone, "{:?}", differing(&alone, &together));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_says_which_adapter_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    spread(&dir.path().join("rows"), &rows(10), 1).await;
    let renamed = dir.path().join("mine");
    std::fs::create_dir(&renamed).unwrap();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/models/adapters/demo")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), renamed.join(entry.file_name())).unwrap();
    }
    let facts = renamed.join("txcat.json");
    let text = std::fs::read_to_string(&facts).unwrap();
    let other = text.replacen("\"name\": \"demo\"", "\"name\": \"mine\"", 1);
    assert_ne!(text, other);
    std::fs::write(&facts, other).unwrap();

    let cluster = Cluster::start(1, "120").await;
    let arguments = ["--scheduler", &cluster.address, "--adapter", renamed.to_str().unwrap()];
    let said = recategorize(&at("rows"), &at("answers"), &arguments).run().refused(1);
    assert!(said.contains("adapter:mine@") && said.contains("is not loaded here, only adapter:demo@"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_is_not_there_is_missed_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    spread(&dir.path().join("rows"), &rows(10), 1).await;
    let said =
        |scheduler: &str| recategorize(&at("rows"), &at("answers"), &["--scheduler", scheduler]).run().refused(1);
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let missed = said(&format!("df://{nobody}"));
    assert!(missed.contains("no scheduler can be reached") && missed.contains("txcat cluster scheduler"), "{missed}");
    assert!(said("somewhere").contains("`somewhere` is no address of a scheduler"));
    assert_eq!(answered_files(&at("answers")), 0);
}

/// Files with answers, complete ones.
fn answered_files(folder: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ending| ending == "parquet")).count()
}

type Answers = std::collections::BTreeMap<String, Vec<super::places::Answer>>;

/// The first few rows that differ, of two that should not.
fn differing<'a>(one: &'a Answers, other: &'a Answers) -> Vec<(&'a super::places::Answer, &'a super::places::Answer)> {
    let pairs = one.iter().filter_map(|(name, rows)| Some((rows, other.get(name)?)));
    pairs.flat_map(|(one, other)| one.iter().zip(other)).filter(|(one, other)| one != other).take(3).collect()
}
