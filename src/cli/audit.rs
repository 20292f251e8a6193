//! `txcat audit`: shows, exports and checks the log of privileged acts.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Settings, service::with_store};
use crate::{
    access::{Act, Broken, Chain, Head},
    store::{AuditRow, Store},
};

/// Records read at a time.
const PAGE: u32 = 1_000;

/// The log of privileged acts: keys and people, rules, merchants, taxonomies, adapters, recategorizations, webhooks, erased
/// accounts. Each record holds the hash of the one before, and the database refuses to change or remove any.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check that no record was changed, left out or put in; exits with 1 where one was.
    ///
    /// The log can't tell by itself that its end was cut off. Keep what this prints last (`PLACE:HASH`) on another machine and
    /// give it as --head the next time.
    Verify {
        /// A place and its hash that an earlier check printed: the log must still hold it.
        #[arg(long, value_name = "PLACE:HASH")]
        head: Option<Head>,

        /// Check a file that `audit export` wrote, instead of the database.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,

        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List the latest acts, newest first.
    List {
        /// Only what this key, person or `local` did.
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,

        /// Only acts whose name begins so, such as key or adapter.moved.
        #[arg(long, value_name = "START")]
        act: Option<String>,

        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,

        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Write every record with its hash, one JSON object a line, for keeping elsewhere.
    Export {
        /// The file. [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// A line of an export.
#[derive(Serialize, Deserialize)]
struct Line {
    seq: i64,
    record: String,
    #[serde(with = "hex::serde")]
    hash: Vec<u8>,
}

/// Runs `txcat audit`.
///
/// # Errors
/// When the log is not whole, or the database or a file can't be used.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    if let Action::Verify { head, file: Some(file), json } = options.action {
        let mut chain = Chain::new(head);
        return told(read(&file, &mut chain)?.and_then(|()| chain.end()), json);
    }
    with_store(settings, async |store| act(options.action, store).await).await
}

async fn act(action: Action, store: &Store) -> anyhow::Result<()> {
    match action {
        Action::Verify { head, json, .. } => told(followed(store, Chain::new(head)).await?, json),
        Action::List { actor, act, limit, json } => {
            let rows = store.latest_audit_rows(actor.as_deref(), act.as_deref(), limit).await?;
            let acts: Vec<Act> = rows.iter().map(|row| serde_json::from_str(&row.record)).collect::<Result<_, _>>()?;
            if json {
                println!("{}", json!({ "acts": acts }));
            } else {
                println!("{}", table(&acts));
            }
            Ok(())
        }
        Action::Export { out } => {
            let out: Box<dyn Write> = match &out {
                Some(path) => Box::new(File::create(path).with_context(|| format!("can't write {}", path.display()))?),
                None => Box::new(std::io::stdout().lock()),
            };
            export(store, BufWriter::new(out)).await
        }
    }
}

async fn followed(store: &Store, mut chain: Chain) -> anyhow::Result<Result<Head, Broken>> {
    loop {
        let rows = store.audit_rows(chain.head().seq, PAGE).await?;
        if rows.is_empty() {
            return Ok(chain.end());
        }
        for row in &rows {
            if let Err(broken) = chain.follow(row) {
                return Ok(Err(broken));
            }
        }
    }
}

fn read(file: &Path, chain: &mut Chain) -> anyhow::Result<Result<(), Broken>> {
    let name = file.display();
    let mut lines = BufReader::new(File::open(file).with_context(|| format!("can't read {name}"))?).lines().peekable();
    // The log of every database begins with what its start brought.
    ensure!(lines.peek().is_some(), "{name} holds no record");
    for (number, line) in lines.enumerate() {
        let line = line.with_context(|| format!("can't read {name}"))?;
        let Line { seq, record, hash } =
            serde_json::from_str(&line).with_context(|| format!("line {} of {name} is no record", number + 1))?;
        if let Err(broken) = chain.follow(&AuditRow { seq, record, hash }) {
            return Ok(Err(broken));
        }
    }
    Ok(Ok(()))
}

fn told(outcome: Result<Head, Broken>, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let told = match &outcome {
            Ok(head) => json!({ "whole": true, "records": head.seq, "head": head.to_string() }),
            Err(broken) => json!({ "whole": false, "problem": broken.to_string() }),
        };
        println!("{told}");
    }
    let head = outcome.context("the audit log is not whole")?;
    if !as_json {
        println!("{} records, each follows the one before", head.seq);
        println!("{head}");
    }
    Ok(())
}

async fn export(store: &Store, mut out: impl Write) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let rows = store.audit_rows(after, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = last.seq;
        for AuditRow { seq, record, hash } in rows {
            serde_json::to_writer(&mut out, &Line { seq, record, hash })?;
            out.write_all(b"\n")?;
        }
    }
    Ok(out.flush()?)
}

fn table(acts: &[Act]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["place", "when", "who", "did", "to", "and"]);
    for act in acts {
        table.add_row([
            act.seq.to_string(),
            act.at.format("%Y-%m-%d %H:%M:%S").to_string(),
            act.actor.clone(),
            act.act.clone(),
            act.subject.clone(),
            if act.detail == json!({}) { String::new() } else { act.detail.to_string() },
        ]);
    }
    table
}
