//! `txcat doctor`: checks a deployment and says what to mend.

use std::{net::SocketAddr, path::Path};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::HumanBytes;
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use serde_json::json;

use super::Settings;
use crate::{
    access::{Chain, Role},
    causes::with_causes,
    clock,
    embedded::Database,
    model::BaseEncoder,
    store::{ContentCondition, SchemaCondition, ServerCondition, Store, StoredKey},
};

/// The oldest Postgres that is tested.
const OLDEST: i32 = 150_000;
/// Free bytes below which a disk is about to be full, and below which it is a worry.
const FULL: u64 = 1 << 30;
const TIGHT: u64 = 10 << 30;
/// How soon an end of a key is worth telling.
const SOON: TimeDelta = TimeDelta::days(14);

/// Check a deployment and say what to mend: Postgres and its settings, schema, encoder files, adapters, merchant directory, disk,
/// clock, keys, the audit log, the address. It changes nothing. Exits with 1 where something is wrong; what is only worth a look
/// exits with 0.
#[derive(Debug, Args)]
pub struct Options {
    /// The address that the service listens on.
    #[arg(long, env = "TXCAT_BIND", default_value = "127.0.0.1:8080")]
    pub bind: SocketAddr,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Look,
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'static str>,
}

fn ok(check: &'static str, found: impl Into<String>) -> Finding {
    Finding { check, state: State::Ok, found: found.into(), mend: None }
}

fn look(check: &'static str, found: impl Into<String>, mend: &'static str) -> Finding {
    Finding { check, state: State::Look, found: found.into(), mend: Some(mend) }
}

fn wrong(check: &'static str, found: impl Into<String>, mend: &'static str) -> Finding {
    Finding { check, state: State::Wrong, found: found.into(), mend: Some(mend) }
}

/// Runs `txcat doctor`.
///
/// # Errors
/// When something is wrong.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let mut findings = files(settings);
    match database(settings, options.bind).await {
        Ok(more) => findings.extend(more),
        Err(error) => findings.push(wrong(
            "database",
            format!("{error:#}"),
            "start Postgres, or name another with --database-url",
        )),
    }
    let bad = findings.iter().filter(|finding| finding.state == State::Wrong).count();
    if options.json {
        println!("{}", json!({ "well": bad == 0, "findings": findings }));
    } else {
        println!("{}", table(&findings));
    }
    anyhow::ensure!(bad == 0, "{bad} of {} checks are wrong", findings.len());
    Ok(())
}

/// What lies on this machine.
fn files(settings: &Settings) -> Vec<Finding> {
    let encoder = match BaseEncoder::locate(&settings.models) {
        Ok(base) => ok("encoder", format!("{} is whole ({})", base.name, &base.sha256[..12.min(base.sha256.len())])),
        Err(error) => wrong(
            "encoder",
            with_causes(&error),
            "name one that the manifest lists, or fetch it anew with `txcat models pull`",
        ),
    };
    let mut folders = vec![settings.models.dir.as_path()];
    folders.extend(settings.database.data_dir.as_deref());
    let mut findings = vec![encoder];
    findings.extend(folders.into_iter().map(disk));
    findings
}

/// How much room a folder has.
fn disk(folder: &Path) -> Finding {
    let name = folder.display();
    match statvfs(folder) {
        Ok(disk) => {
            let free = disk.blocks_available() * disk.fragment_size();
            let found = format!("{} free in {name}", HumanBytes(free));
            match free {
                ..FULL => wrong("disk", found, "make room: Postgres stops when its disk is full"),
                FULL..TIGHT => look("disk", found, "make room soon"),
                _ => ok("disk", found),
            }
        }
        Err(error) => look("disk", format!("{name} can't be looked at: {error}"), "name the folder that is used"),
    }
}

async fn database(settings: &Settings, bind: SocketAddr) -> anyhow::Result<Vec<Finding>> {
    let database = Database::open(&settings.database).await?;
    let store = Store::look(database.url()).await?;
    let findings = stored(&store, settings.database.max_connections, bind).await;
    store.close().await;
    database.close().await?;
    findings
}

async fn stored(store: &Store, connections: u32, bind: SocketAddr) -> anyhow::Result<Vec<Finding>> {
    let now = clock::now();
    let mut findings = server(&store.server_condition().await?, connections, now);
    let schema = store.schema_condition().await?;
    findings.push(schema_finding(&schema));
    // Without the whole of it, nothing else can be asked.
    if !schema.is_whole() {
        return Ok(findings);
    }
    findings.extend(content(&store.content_condition().await?));
    findings.extend(keys(store, bind, now).await?);
    findings.push(audit(store).await?);
    Ok(findings)
}

fn server(server: &ServerCondition, connections: u32, now: DateTime<Utc>) -> Vec<Finding> {
    let version = format!("{}.{}", server.version / 10_000, server.version % 10_000);
    let drift = (server.now - now).abs();
    let found = format!("{} ms apart from the database's", drift.num_milliseconds());
    let safe = |check, on: bool, mend| if on { ok(check, "on") } else { wrong(check, "off", mend) };
    vec![
        if server.version < OLDEST {
            wrong("postgres", version, "update Postgres: 15 is the oldest that is tested")
        } else {
            ok("postgres", format!("{version}, {}", HumanBytes(server.bytes.unsigned_abs())))
        },
        safe("fsync", server.fsync, "set `fsync = on`: a crash would lose or damage what was accepted"),
        safe("full_page_writes", server.full_page_writes, "set `full_page_writes = on`"),
        match server.synchronous_commit.as_str() {
            "off" => {
                wrong("synchronous_commit", "off", "set `synchronous_commit = on`: a crash would lose accepted rows")
            }
            level => ok("synchronous_commit", level),
        },
        if server.data_checksums {
            ok("data_checksums", "on")
        } else {
            look("data_checksums", "off", "make the cluster with `initdb --data-checksums`, or run pg_checksums")
        },
        if server.archive_mode == "off" {
            look("archive_mode", "off", "archive the write-ahead log, if recovery to a point in time is wanted")
        } else {
            ok("archive_mode", server.archive_mode.clone())
        },
        if i64::from(server.max_connections) < i64::from(connections) + 5 {
            let found = format!("{} for {connections} of one process", server.max_connections);
            wrong("max_connections", found, "raise `max_connections`, or lower --database-connections")
        } else {
            ok("max_connections", server.max_connections.to_string())
        },
        match drift.num_seconds() {
            0..=1 => ok("clock", found),
            2..=30 => look("clock", found, "let both machines follow NTP"),
            _ => wrong("clock", found, "set the clock: keys, leases and limits end by it"),
        },
    ]
}

fn schema_finding(schema: &SchemaCondition) -> Finding {
    match schema {
        SchemaCondition { missing_migrations: steps @ 1.., .. } => {
            let found = format!("{steps} of the schema's steps are missing");
            wrong("schema", found, "start `txcat serve` once: it brings the schema up to date")
        }
        SchemaCondition { missing, .. } if !missing.is_empty() => {
            let found = format!("without {}", missing.join(", "));
            wrong("schema", found, "stop the service and restore what is missing from a backup (README, Backup)")
        }
        SchemaCondition { newer_migrations: 0, .. } => ok("schema", "up to date"),
        SchemaCondition { newer_migrations: newer, .. } => {
            look("schema", format!("{newer} steps newer than this program"), "update this program")
        }
    }
}

fn content(content: &ContentCondition) -> Vec<Finding> {
    vec![
        match content.merchants {
            0 => wrong("merchants", "none", "start `txcat serve` once: it fills the directory"),
            many => ok("merchants", many.to_string()),
        },
        match content.taxonomies {
            0 => wrong("taxonomy", "none", "start `txcat serve` once, or `txcat taxonomy sync`"),
            many => ok("taxonomy", many.to_string()),
        },
        match content.champions_without_files {
            0 => ok("champions", "each has its files"),
            some => wrong("champions", format!("{some} without files"), "roll back: `txcat adapters rollback`"),
        },
        if content.erased_from.is_empty() {
            ok("erased rows", "no adapter in use learned from any")
        } else {
            let found = content.erased_from.join(", ");
            look("erased rows", found, "train these adapters again: they learned from rows that were erased since")
        },
        match content.paused_webhooks {
            0 => ok("webhooks", "none is paused"),
            some => look("webhooks", format!("{some} paused"), "mend the endpoint, then `txcat webhooks resume`"),
        },
    ]
}

async fn keys(store: &Store, bind: SocketAddr, now: DateTime<Utc>) -> anyhow::Result<Vec<Finding>> {
    let keys = store.list_keys().await?;
    let open = |end: Option<DateTime<Utc>>| end.is_none_or(|end| end > now);
    let usable: Vec<_> = keys.iter().filter(|key| key.revoked_at.is_none() && open(key.expires_at)).collect();
    let soon = usable.iter().filter(|key| key.expires_at.is_some_and(|end| end < now + SOON));
    let (replaced, ending): (Vec<&&StoredKey>, Vec<&&StoredKey>) = soon.partition(|key| key.successor.is_some());
    let admin = |key: &&&StoredKey| key.role.as_deref() == Some(Role::Admin.as_str());
    let address = match (bind.ip().is_loopback(), usable.is_empty(), keys.is_empty()) {
        (true, _, false) => ok("address", format!("{bind}, with a key alone")),
        (true, _, true) => {
            look("address", format!("{bind}, open to whoever is on this machine"), "make a key to close it")
        }
        (false, true, _) => wrong("address", format!("{bind}, and no usable key"), "make a key: `txcat keys create`"),
        (false, false, _) => {
            look("address", format!("{bind}, without TLS of its own"), "keep a proxy before it that ends TLS")
        }
    };
    Ok(vec![
        address,
        if !ending.is_empty() {
            let names: Vec<&str> = ending.iter().map(|key| key.name.as_str()).collect();
            let found = format!("end within 14 days: {}", names.join(", "));
            look("keys", found, "`txcat keys rotate NAME`, and give the new one to its holder")
        } else if replaced.is_empty() {
            ok("keys", format!("{} open, none ends within 14 days", usable.len()))
        } else {
            ok("keys", format!("{} open, only {} rotated out end within 14 days", usable.len(), replaced.len()))
        },
        match usable.iter().filter(admin).count() {
            0 => look("people", "no admin", "`txcat people add NAME --role admin`"),
            some => ok("people", format!("{some} admins")),
        },
    ])
}

async fn audit(store: &Store) -> anyhow::Result<Finding> {
    let mut chain = Chain::new(None);
    loop {
        let rows = store.audit_rows(chain.head().seq, 1_000).await?;
        if rows.is_empty() {
            return Ok(ok("audit log", format!("{} records, whole", chain.head().seq)));
        }
        for row in &rows {
            if let Err(broken) = chain.follow(row) {
                let mend = "find out who could write to the database; `txcat audit verify --file` on an export tells what was there";
                return Ok(wrong("audit log", broken.to_string(), mend));
            }
        }
    }
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["check", "", "found", "to mend it"]);
    for Finding { check, state, found, mend } in findings {
        let state = match state {
            State::Ok => "ok",
            State::Look => "look",
            State::Wrong => "WRONG",
        };
        table.add_row([*check, state, found.as_str(), mend.unwrap_or_default()]);
    }
    table
}
