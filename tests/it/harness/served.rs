//! `txcat serve` as a process of its own, as whoever runs it starts and stops it.

use std::{net::SocketAddr, process::Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use super::{PATIENCE, Run as _, txcat};
use crate::{
    database::{TestDatabase, empty_database},
    model::tiny_encoder,
};

/// The process, on a database of its own. It is killed when dropped.
pub(crate) struct Served {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    _encoder: TempDir,
    database: TestDatabase,
}

impl Served {
    /// Starts it with the stage `few_shot` on a small encoder, and waits until it says where it listens.
    pub(crate) async fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let database = empty_database().await;
        let (encoder, _) = tiny_encoder();
        let mut command =
            txcat(&["serve", "--bind", "127.0.0.1:0", "--workers", "0", "--stage", "few_shot", "--encoder-dir"]);
        command.arg(encoder.path()).args(arguments).on(&database.url).envs(variables.iter().copied());
        let mut child =
            Command::from(command).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut before = String::new();
        let address = loop {
            let line = said.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended: {before}"));
            if let Some((_, rest)) = line.split_once("://")
                && let Some((address, _)) = rest.split_once("/docs")
            {
                break address.parse().unwrap();
            }
            before += &line;
        };
        Self { address, child, said, _encoder: encoder, database }
    }

    /// Its database.
    pub(crate) fn database_url(&self) -> &str {
        &self.database.url
    }

    /// Sends it a signal.
    pub(crate) fn tell(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Waits until it says something with these words.
    pub(crate) async fn says(&mut self, words: &str) {
        while let Some(line) = self.said.next_line().await.unwrap() {
            if line.contains(words) {
                return;
            }
        }
        panic!("it ended and never said {words}");
    }

    /// Waits until it has ended; its code.
    pub(crate) async fn ends(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it goes on").unwrap().code()
    }

    /// Tells it to stop, and waits until it has, in good order; returns what it said last.
    pub(crate) async fn stop(mut self) -> String {
        self.tell(Signal::SIGTERM);
        let mut last = String::new();
        while let Some(line) = self.said.next_line().await.unwrap() {
            last += &line;
            last.push('\n');
        }
        assert!(self.child.wait().await.unwrap().success(), "{last}");
        last
    }
}
