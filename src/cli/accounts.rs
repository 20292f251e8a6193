//! `txcat accounts`: erases one account, or writes down all that is stored of it.

use std::{fs::File, io::BufWriter, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Settings, service::with_store};
use crate::{
    access::{self, LOCAL},
    clock,
    domain::AccountId,
    privacy,
    store::{Erased, LearnedFrom, Store},
};

/// Erase one account, or write down all that is stored of it.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take an account out of every table: transactions and all that was said of them, rules, its group. It can't be taken back.
    ///
    /// Labelled sets and adapters that learned from it are named and stay marked; an adapter forgets by being trained again.
    /// Backups, the database's own log of changes, and files that were exported or sent to a provider are not reached from here.
    Erase {
        /// Your identifier of the account.
        account: AccountId,

        /// Needed, because nothing brings it back.
        #[arg(long, required = true)]
        yes: bool,

        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write all that is stored of an account, as JSON.
    Export {
        /// Your identifier of the account.
        account: AccountId,

        /// The file. [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs `txcat accounts`.
///
/// # Errors
/// When nothing of the account is here, or the database or the file can't be used.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    with_store(settings, async |store| act(options.action, store).await).await
}

async fn act(action: Action, store: &Store) -> anyhow::Result<()> {
    match action {
        Action::Erase { account, json, .. } => {
            let erased = privacy::erase(store, &account, LOCAL, &mut access::random()?, clock::now()).await?;
            let erased = erased.context("nothing of this account is here")?;
            if json { print_json(&erased) } else { print(&erased) }
        }
        Action::Export { account, out } => {
            let rows = privacy::export(store, &account).await?.context("nothing of this account is here")?;
            let mut all = serde_json::to_value(rows)?;
            all["account_id"] = account.as_str().into();
            match out {
                Some(path) => {
                    let file = File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
                    serde_json::to_writer_pretty(BufWriter::new(file), &all)?;
                }
                None => println!("{}", serde_json::to_string_pretty(&all)?),
            }
        }
    }
    Ok(())
}

fn print_json(erased: &Erased) {
    let learned = |of: &[LearnedFrom]| -> Vec<serde_json::Value> {
        of.iter().map(|one| json!({ "id": one.id, "name": one.name, "erased_rows": one.erased_rows })).collect()
    };
    println!(
        "{}",
        json!({
            "transactions": erased.transactions,
            "labels": erased.labels,
            "rules": erased.rules,
            "datasets": learned(&erased.datasets),
            "adapters": learned(&erased.adapters),
        })
    );
}

fn print(erased: &Erased) {
    println!("{} transactions, {} labels and {} rules are gone", erased.transactions, erased.labels, erased.rules);
    for LearnedFrom { name, erased_rows, .. } in &erased.datasets {
        println!("data set {name} has lost {erased_rows} rows: check it again before training on it");
    }
    for LearnedFrom { name, erased_rows, .. } in &erased.adapters {
        println!("adapter {name} learned from {erased_rows} rows that are gone: train it again to have it forget them");
    }
}
