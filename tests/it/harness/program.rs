//! `txcat` as whoever types it in the repository meets it.

use std::process::{Command, Output};

use serde_json::Value;

/// Where no database listens: a command that wants one fails.
pub(crate) const NOWHERE: &str = "postgres://127.0.0.1:1/none";

/// The program with these arguments, and without a database.
pub(crate) fn txcat(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_txcat"));
    command.args(arguments).env_remove("DATABASE_URL").current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Its database, and its end.
pub(crate) trait Run {
    /// With the database at this address.
    fn on(&mut self, url: &str) -> &mut Self;

    /// Runs it to its end.
    fn run(&mut self) -> Said;
}

impl Run for Command {
    fn on(&mut self, url: &str) -> &mut Self {
        self.env("DATABASE_URL", url)
    }

    fn run(&mut self) -> Said {
        Said::of(self.output().unwrap())
    }
}

/// What it said, and the code that it ended with.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What it printed, where all went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// [`Said::ok`] of a command that prints JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Its error, where it ended with this code.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self.err
    }
}
