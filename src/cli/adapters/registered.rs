//! The registry on the command line: register, list, show, promote, take back, watch, group.

use std::path::PathBuf;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use crate::{
    access::LOCAL,
    adapters::{
        gate::{self, Check},
        promotion::{self, Ask},
        registry::{self, Registered, Registration},
        watch,
    },
    cli::{Settings, models, service::share},
    clock,
    domain::{AccountId, AdapterState, adapter::EVERYONE},
    model::AdapterBank,
    store::{AdapterDecision, AdapterGate, LiveTally, Store, StoredAdapter},
};

/// Puts a folder into the registry, after loading it as serving will.
#[derive(Debug, clap::Args)]
pub struct Register {
    /// The folder that `txcat train` or `txcat adapters import` wrote.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// What to call it; the registry adds a version. [default: the folder's name]
    #[arg(long)]
    pub name: Option<String>,

    /// Whose answers it may give: the accounts of this group.
    #[arg(long, value_name = "GROUP", default_value = EVERYONE)]
    pub group: String,
}

impl Register {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let bank = AdapterBank::open(&models::pull(settings, None).await?)?.in_precision(settings.compute.precision);
        let what = Registration { dir: &self.dir, name: self.name.as_deref(), account_group: &self.group, by: LOCAL };
        let Registered { adapter, created } = registry::register(store, &bank, what, clock::now()).await?;
        let already = if created { "" } else { ", as it was before" };
        println!("{} is {}{already} ({})", adapter.reference(), adapter.state, adapter.engine);
        Ok(())
    }
}

/// Lists every adapter, newest first, with what became of its answers since it stands where it does.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl List {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        for adapter in store.adapters(None).await? {
            let live = store.live_tally(&adapter.engine, adapter.state_since, None).await?;
            rows.push((adapter, live));
        }
        if self.json {
            let rows: Vec<_> = rows.iter().map(|(adapter, live)| told(adapter, *live)).collect();
            println!("{}", json!({ "adapters": rows }));
            return Ok(());
        }
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY).set_header([
            "adapter",
            "state",
            "share",
            "group",
            "taxonomy",
            "since",
            "answered",
            "judged",
            "corrected",
            "erased",
            "engine",
        ]);
        for (adapter, live) in rows {
            let number = |value: u32| Cell::new(value).set_alignment(CellAlignment::Right);
            table.add_row([
                Cell::new(adapter.reference()),
                Cell::new(adapter.state),
                Cell::new(format!("{:.0} %", 100.0 * adapter.share)).set_alignment(CellAlignment::Right),
                Cell::new(&adapter.account_group),
                Cell::new(&adapter.taxonomy),
                Cell::new(minute(adapter.state_since)),
                number(live.answered),
                number(live.judged),
                number(live.wrong),
                Cell::new(adapter.erased_rows).set_alignment(CellAlignment::Right),
                Cell::new(&adapter.engine),
            ]);
        }
        println!("{table}");
        Ok(())
    }
}

fn told(adapter: &StoredAdapter, live: LiveTally) -> serde_json::Value {
    json!({
        "reference": adapter.reference(), "engine": adapter.engine, "taxonomy": adapter.taxonomy,
        "account_group": adapter.account_group, "base": adapter.base, "label_manifest": adapter.label_manifest,
        "erased_rows": adapter.erased_rows,
        "state": adapter.state, "share": adapter.share, "state_since": adapter.state_since,
        "registered_by": adapter.registered_by, "registered_at": adapter.registered_at, "live": live,
    })
}

fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

/// Shows an adapter, what the gate last measured of it, and everything that was decided about it.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Which adapter.
    #[arg(value_name = "REFERENCE")]
    pub reference: String,

    /// Print one JSON object instead of sentences.
    #[arg(long)]
    pub json: bool,
}

impl Show {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        let adapter = registry::find(store, &self.reference).await?;
        let live = store.live_tally(&adapter.engine, adapter.state_since, None).await?;
        let shadow = store.shadow_tally(adapter.id).await?;
        let gate = store.latest_gate(adapter.id).await?;
        let decisions = store.adapter_decisions(adapter.id).await?;
        if self.json {
            let decisions: Vec<_> = decisions.iter().map(decided).collect();
            let gate = gate.map(|gate| json!({ "data_set": gate.data_set, "rows": gate.rows, "report": gate.report }));
            let all = json!({
                "adapter": told(&adapter, live), "facts": adapter.facts, "shadow": shadow, "gate": gate,
                "decisions": decisions,
            });
            println!("{all}");
            return Ok(());
        }
        println!(
            "{}: {} for {} since {}, {}",
            adapter.reference(),
            adapter.state,
            adapter.account_group,
            minute(adapter.state_since),
            adapter.engine
        );
        println!("  answered {}, of which people judged {} and corrected {}", live.answered, live.judged, live.wrong);
        if shadow.answered > 0 {
            println!(
                "  as a shadow: {} looked at, {} as the stage in force; of {} judged it had {} right, the stage in force {}",
                shadow.answered, shadow.agreed, shadow.judged, shadow.right, shadow.champion_right
            );
        }
        match gate {
            Some(gate) => print_gate(&gate)?,
            None => println!("  the gate has not measured it"),
        }
        for AdapterDecision { from, to, reason, made_by, made_at, overridden, .. } in decisions {
            let from = from.map_or_else(|| "new".to_owned(), |from| from.to_string());
            let mark = if overridden { " (the gate was overridden)" } else { "" };
            println!("  {} {from} → {to} by {made_by}{mark}: {reason}", minute(made_at));
        }
        Ok(())
    }
}

fn decided(decision: &AdapterDecision) -> serde_json::Value {
    json!({
        "from": decision.from, "to": decision.to, "share": decision.share, "overridden": decision.overridden,
        "reason": decision.reason, "numbers": decision.numbers, "made_by": decision.made_by,
        "made_at": decision.made_at,
    })
}

fn print_gate(gate: &AdapterGate) -> anyhow::Result<()> {
    println!("  gate on {} rows of {}, {}:", gate.rows, gate.data_set, minute(gate.made_at));
    print_checks(&gate::checks(&gate.report)?);
    Ok(())
}

/// Every check of a gate, a line each.
pub(super) fn print_checks(checks: &[Check]) {
    for Check { name, passed, says } in checks {
        println!("    {} {name}: {says}", if *passed { "open" } else { "SHUT" });
    }
}

/// Moves an adapter to another state; a new champion retires the one before. Running servers of its taxonomy follow at
/// once.
#[derive(Debug, clap::Args)]
pub struct Promote {
    /// Which adapter.
    #[arg(value_name = "REFERENCE")]
    pub reference: String,

    /// To which state: candidate, shadow, canary, champion or retired.
    #[arg(long)]
    pub to: AdapterState,

    /// Share of the accounts that a shadow or canary sees.
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub share: f32,

    /// Promote although the gate is shut or has not measured it; the decision keeps the reason.
    #[arg(long = "override", value_name = "REASON")]
    pub overrides: Option<String>,
}

impl Promote {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        ensure!(self.overrides.as_ref().is_none_or(|reason| !reason.trim().is_empty()), "--override needs a reason");
        let adapter = registry::find(store, &self.reference).await?;
        let ask = Ask { to: self.to, share: self.share, overrides: self.overrides, by: LOCAL.to_owned() };
        promotion::promote(store, &adapter, ask, clock::now()).await?;
        println!("{} is {} in taxonomy {}", adapter.reference(), self.to, adapter.taxonomy);
        Ok(())
    }
}

/// Takes a canary or shadow out, or puts the champion's predecessor back in its place.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// Which adapter.
    #[arg(value_name = "REFERENCE")]
    pub reference: String,

    /// Why; the decision keeps it.
    #[arg(long)]
    pub reason: String,
}

impl Rollback {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        ensure!(!self.reason.trim().is_empty(), "--reason is empty");
        let adapter = registry::find(store, &self.reference).await?;
        let live = store.live_tally(&adapter.engine, adapter.state_since, None).await?;
        let numbers = serde_json::to_value(live)?;
        promotion::take_back(store, &adapter, &self.reason, numbers, LOCAL, clock::now()).await?;
        println!("{} is retired", adapter.reference());
        let champions = store.adapters(None).await?.into_iter();
        for champion in champions.filter(|of| of.is_champion_of(&adapter.taxonomy, &adapter.account_group)) {
            println!("{} answers", champion.reference());
        }
        Ok(())
    }
}

/// Looks once, as a server does all the time: compares how often people corrected an adapter with how often
/// they corrected what it replaced, and takes back one that does worse.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Print one JSON object instead of sentences.
    #[arg(long)]
    pub json: bool,
}

impl Watch {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        let findings = watch::look(store, watch::Limits::default(), clock::now()).await?;
        if self.json {
            let told = |finding: &watch::Finding| {
                json!({
                    "reference": finding.adapter.reference(), "comparison": finding.comparison,
                    "taken_back": finding.taken_back,
                })
            };
            println!("{}", json!({ "findings": findings.iter().map(told).collect::<Vec<_>>() }));
            return Ok(());
        }
        if findings.is_empty() {
            println!("no canary, and no champion that replaced another: nothing to compare");
        }
        for finding in findings {
            let end = if finding.taken_back { ": taken back" } else { "" };
            println!("{}: {}{end}", finding.adapter.reference(), finding.comparison.says());
        }
        Ok(())
    }
}

/// Puts accounts into a group, for which adapters can be registered, or takes them out of any.
#[derive(Debug, clap::Args)]
pub struct Group {
    /// The group.
    #[arg(value_name = "GROUP", required_unless_present = "none")]
    pub group: Option<String>,

    /// Take the accounts out of any group.
    #[arg(long, conflicts_with = "group")]
    pub none: bool,

    /// Which accounts.
    #[arg(long = "account", value_name = "ID", required = true, value_delimiter = ',')]
    pub accounts: Vec<AccountId>,
}

impl Group {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        if let Some(group) = &self.group {
            ensure!(registry::is_name(group), "`{group}` is no name for a group");
        }
        let changed = store.put_account_group(&self.accounts, self.group.as_deref(), LOCAL).await?;
        println!("{changed} of {} accounts changed", self.accounts.len());
        Ok(())
    }
}
