//! The private Postgres through the life and death of the processes that use it.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{sys::signal, unistd::Pid};
use sqlx::{Connection as _, PgConnection};
use txcat::embedded::{Durability, Postgres};

use crate::harness::{PATIENCE, txcat};

/// A folder that the server's user can enter, removed at the end.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("txcat-embedded-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A txcat process that holds the server of a folder.
struct Holder {
    process: Child,
    url: String,
}

impl Holder {
    fn start(folder: &Path) -> Self {
        let mut process = Self::spawn(folder);
        let url = Self::first_line(&mut process);
        Self { process, url }
    }

    fn spawn(folder: &Path) -> Child {
        txcat(&["database", "--forgetful", "--name", "postgres", "--data-dir"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn first_line(process: &mut Child) -> String {
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        url.trim().to_owned()
    }

    fn leave(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn server_pid(folder: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(folder.join("postgres/cluster/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
}

async fn answer(url: &str, query: &'static str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let answer = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    answer
}

async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn two_processes_share_one_server_and_the_last_one_out_stops_it() {
    let folder = folder();
    // Both find nothing there: one of them creates the cluster while the other waits.
    let (mut first, mut second) = (Holder::spawn(folder.path()), Holder::spawn(folder.path()));
    let (first_url, second_url) = (Holder::first_line(&mut first), Holder::first_line(&mut second));
    assert!(first_url.starts_with("postgres://") && first_url == second_url, "{first_url} {second_url}");
    let pid = server_pid(folder.path()).unwrap();

    Holder { process: first, url: first_url.clone() }.leave();
    assert_eq!(answer(&second_url, "select 'still there'").await, "still there");
    assert_eq!(server_pid(folder.path()), Some(pid));
    Holder { process: second, url: second_url }.leave();
    assert_eq!(server_pid(folder.path()), None, "the last one out stops the server");
    assert!(PgConnection::connect(&first_url).await.is_err());
}

#[tokio::test]
async fn a_killed_process_leaves_no_lock_and_its_server_is_adopted() {
    let folder = folder();
    let killed = Holder::start(folder.path());
    let pid = server_pid(folder.path()).unwrap();
    let mut connection = PgConnection::connect(&killed.url).await.unwrap();
    sqlx::raw_sql("create table kept as select 7 as n").execute(&mut connection).await.unwrap();
    killed.kill();
    assert_eq!(server_pid(folder.path()), Some(pid), "the server goes on");

    let next = Holder::start(folder.path());
    assert_eq!(server_pid(folder.path()), Some(pid), "the same server");
    assert_eq!(answer(&next.url, "select n::text from kept").await, "7");
    next.leave();
    assert_eq!(server_pid(folder.path()), None, "the dead process doesn't count as a client");
}

#[tokio::test]
async fn a_server_that_was_killed_itself_is_started_again() {
    let folder = folder();
    let first = Holder::start(folder.path());
    let pid = server_pid(folder.path()).unwrap();
    first.kill();
    signal::kill(pid, signal::Signal::SIGKILL).unwrap();
    wait_until("the server is gone", || signal::kill(pid, None).is_err()).await;
    assert_eq!(server_pid(folder.path()), Some(pid), "its pid file is stale");

    let next = Holder::start(folder.path());
    assert_ne!(server_pid(folder.path()), Some(pid));
    assert_eq!(answer(&next.url, "select 'back'").await, "back");
    next.leave();
}

#[tokio::test]
async fn a_pid_file_that_names_somebody_else_does_not_stand_in_the_way() {
    let folder = folder();
    Holder::start(folder.path()).leave();
    let cluster = folder.path().join("postgres/cluster");
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let stale = format!("{}\n{}\n1700000000\n5432\n\n\n\nready\n", other.id(), cluster.display());
    std::fs::write(cluster.join("postmaster.pid"), stale).unwrap();

    let next = Holder::start(folder.path());
    assert_eq!(answer(&next.url, "select 'mine'").await, "mine");
    next.leave();
    assert!(other.try_wait().unwrap().is_none(), "nobody stopped the other process");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn the_server_is_durable_private_and_needs_the_password() {
    let folder = folder();
    let server = Postgres::start_in(folder.path(), Durability::Durable).await.unwrap();
    let url = server.url("postgres");
    assert_eq!(answer(&url, "select current_setting('fsync')").await, "on");
    assert_eq!(answer(&url, "select current_setting('listen_addresses')").await, "");
    let password = std::fs::read_to_string(folder.path().join("postgres.password")).unwrap();
    assert!(PgConnection::connect(&url.replace(&password, "guess")).await.is_err());
    let mode = |path: &str| folder.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("postgres.password"), 0o600);
    assert_eq!(mode("postgres"), 0o700);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_with_a_long_path_gets_a_loopback_port() {
    let folder = folder();
    let deep = folder.path().join("d".repeat(60)).join("e".repeat(60));
    let server = Postgres::start_in(&deep, Durability::Forgetful).await.unwrap();
    let url = server.url("postgres");
    assert!(url.contains("@127.0.0.1:"), "{url}");
    assert_eq!(answer(&url, "select current_setting('listen_addresses')").await, "127.0.0.1");
    assert!(PgConnection::connect(&url.replacen("txcat:", "txcat:x", 1)).await.is_err(), "no trust on the port");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn dropping_stops_it_too_and_two_uses_in_one_process_count_as_two() {
    let folder = folder();
    let first = Postgres::start_in(folder.path(), Durability::Forgetful).await.unwrap();
    let second = Postgres::start_in(folder.path(), Durability::Forgetful).await.unwrap();
    drop(first);
    assert_eq!(answer(&second.url("postgres"), "select 'open'").await, "open");
    drop(second);
    assert_eq!(server_pid(folder.path()), None);
}

#[tokio::test]
async fn a_folder_out_of_reach_is_named() {
    if !nix::unistd::Uid::effective().is_root() {
        return; // Only root hands the server to somebody else.
    }
    let closed = folder();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let refusal = Postgres::start_in(&closed.path().join("data"), Durability::Forgetful).await.unwrap_err().to_string();
    assert!(refusal.contains(&closed.path().display().to_string()) && refusal.contains("--data-dir"), "{refusal}");
}
