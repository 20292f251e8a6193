//! `txcat taxonomy check|sync`: whether a set of categories keeps the rules, what is in it, and into the database.

use std::{fs, path::PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::{Settings, service::with_store};
use crate::{clock, domain::Taxonomy};

/// The set of categories that answers come from.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Read a taxonomy, check its rules and say what is in it. Without FILE and --data: the consumer taxonomy.
    Check(Check),
    /// Put this version into the database, where predictions made with it stay readable.
    Sync(Source),
}

/// Which taxonomy to check.
#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    source: Source,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where a taxonomy comes from.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct Source {
    /// A taxonomy file (TOML).
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A data set's folder, with its `categories.csv`.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    /// When the file can't be read or breaks a rule.
    pub fn read(&self) -> anyhow::Result<Taxonomy> {
        if let Some(dir) = &self.data {
            let path = dir.join("categories.csv");
            let file = fs::File::open(&path).with_context(|| format!("can't open {}", path.display()))?;
            return Taxonomy::from_categories_csv(file, "categories").with_context(|| path.display().to_string());
        }
        if let Some(path) = &self.file {
            let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
            return Taxonomy::from_toml(&text).with_context(|| path.display().to_string());
        }
        Ok(Taxonomy::consumer()?)
    }
}

/// What is in a taxonomy.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Summary<'a> {
    version: &'a str,
    primary: usize,
    assignable: usize,
    merchant_category_codes: usize,
    with_direction: usize,
    with_pfc: usize,
}

/// Runs `txcat taxonomy`.
///
/// # Errors
/// When the taxonomy can't be read or breaks a rule, or the database fails.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    match options.action {
        Action::Check(check) => describe(&check.source.read()?, check.json),
        Action::Sync(source) => sync(&source.read()?, settings).await,
    }
}

async fn sync(taxonomy: &Taxonomy, settings: &Settings) -> anyhow::Result<()> {
    let new = with_store(settings, async |store| Ok(store.sync_taxonomy(taxonomy, clock::now()).await?)).await?;
    println!("{} {}", taxonomy.version(), if new { "is in the database now" } else { "was in the database already" });
    Ok(())
}

fn describe(taxonomy: &Taxonomy, json: bool) -> anyhow::Result<()> {
    let summary = summarize(taxonomy);
    if json {
        println!("{}", serde_json::to_string(&summary)?);
        return Ok(());
    }
    let Summary { version, primary, assignable, merchant_category_codes, with_direction, with_pfc } = summary;
    println!("{version} keeps the rules");
    println!("{primary} primary categories, {assignable} that an answer may name");
    println!(
        "{merchant_category_codes} merchant category codes, {with_pfc} personal finance category identifiers, \
         {with_direction} categories of one direction"
    );
    Ok(())
}

fn summarize(taxonomy: &Taxonomy) -> Summary<'_> {
    Summary {
        version: taxonomy.version(),
        primary: taxonomy.categories().iter().filter(|category| category.parent.is_none()).count(),
        assignable: taxonomy.assignable().len(),
        merchant_category_codes: taxonomy.mcc_count(),
        with_direction: taxonomy.assignable().iter().filter(|category| category.direction.is_some()).count(),
        with_pfc: taxonomy.assignable().iter().filter(|category| category.pfc.is_some()).count(),
    }
}
