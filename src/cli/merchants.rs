//! `txcat merchants import|search|explain`: the merchant directory.

use std::{
    fs::File,
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use flate2::{Compression, GzBuilder, read::MultiGzDecoder};
use serde_json::{Value, json};

use super::{Settings, service::with_store};
use crate::{
    domain::{Descriptor, Merchant, transaction::Country},
    enrich::{
        MerchantIndex, SHIPPED,
        merchants::{ACCEPT_AT, Candidate, nsi, table},
    },
};

/// The merchant directory.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Put merchants into the directory: your own table, or brands compiled from the name-suggestion-index.
    Import {
        /// Your own table, `.csv` or `.csv.gz`: `id,name[,aliases,kind,countries,wikidata,category]`, lists parted by `|`.
        #[arg(required_unless_present = "nsi", conflicts_with = "nsi")]
        file: Option<PathBuf>,
        /// `dist/json/nsi.json` of the npm package name-suggestion-index, or its flat form as `.csv[.gz]`.
        #[arg(long, value_name = "FILE")]
        nsi: Option<PathBuf>,
        /// Write the table to this file (gzip) instead of the directory.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Merchants whose name, alias, kind or identifier has this text.
    Search {
        /// The text; case doesn't matter.
        text: String,
        /// Most rows shown.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Search the shipped brands, without a database.
        #[arg(long)]
        shipped: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Which merchants were weighed for a statement text, and why one won.
    Explain {
        /// The statement text.
        descriptor: String,
        /// Where it happened: ISO 3166-1 alpha-2.
        #[arg(long)]
        country: Option<Country>,
        /// Use the shipped brands, without a database.
        #[arg(long)]
        shipped: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `txcat merchants`.
///
/// # Errors
/// When a file can't be read or the database fails.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    match options.action {
        Action::Import { file, nsi: Some(nsi), out } => {
            debug_assert!(file.is_none(), "clap refuses both");
            let merchants = compiled(&nsi)?;
            match out {
                Some(out) => write(&merchants, &out),
                None => store(settings, &merchants, SHIPPED).await,
            }
        }
        Action::Import { file, nsi: None, out } => {
            let path = file.context("no file given")?;
            let merchants = own(&path)?;
            match out {
                Some(out) => write(&merchants, &out),
                None => store(settings, &merchants, "own").await,
            }
        }
        Action::Search { text, limit, shipped, json } => {
            search(&directory(settings, shipped).await?, &text, limit, json);
            Ok(())
        }
        Action::Explain { descriptor, country, shipped, json } => {
            let index = MerchantIndex::build(directory(settings, shipped).await?);
            explain(&index, &Descriptor::parse(&descriptor)?, country.as_ref(), json);
            Ok(())
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    let file = BufReader::new(File::open(path).with_context(|| format!("can't open {}", path.display()))?);
    Ok(if path.extension().is_some_and(|end| end == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

fn compiled(path: &Path) -> anyhow::Result<Vec<Merchant>> {
    let file = open(path)?;
    let merchants = if path.to_string_lossy().contains(".json") { nsi::from_json(file) } else { nsi::from_csv(file) }
        .with_context(|| format!("can't use {}", path.display()))?;
    println!("{} merchants of {}", merchants.len(), path.display());
    Ok(merchants)
}

/// Reads a team's own table; rows that can't be used are told and left out.
fn own(path: &Path) -> anyhow::Result<Vec<Merchant>> {
    let table = table::read(open(path)?);
    for rejected in &table.rejected {
        eprintln!("{}:{}: {}", path.display(), rejected.line, rejected.problem);
    }
    anyhow::ensure!(!table.merchants.is_empty(), "{} has no row that can be used", path.display());
    if !table.rejected.is_empty() {
        eprintln!("{} row(s) left out", table.rejected.len());
    }
    Ok(table.merchants)
}

fn write(merchants: &[Merchant], out: &Path) -> anyhow::Result<()> {
    let file = File::create(out).with_context(|| format!("can't write {}", out.display()))?;
    // No time in the header: the same table makes the same file.
    let mut gz = GzBuilder::new().mtime(0).write(file, Compression::best());
    table::write(merchants, &mut gz)?;
    gz.finish()?.flush()?;
    println!("{} merchants in {}", merchants.len(), out.display());
    Ok(())
}

async fn store(settings: &Settings, merchants: &[Merchant], source: &str) -> anyhow::Result<()> {
    let changed = with_store(settings, async |store| Ok(store.upsert_merchants(merchants, source).await?)).await?;
    println!("{changed} merchants added or changed, {} as they were", merchants.len() as u64 - changed);
    Ok(())
}

/// The database's directory; the shipped one where it was never filled.
async fn directory(settings: &Settings, shipped: bool) -> anyhow::Result<Vec<Merchant>> {
    if shipped {
        return Ok(table::shipped());
    }
    let merchants = with_store(settings, async |store| Ok(store.merchants().await?)).await?;
    Ok(if merchants.is_empty() { table::shipped() } else { merchants })
}

/// A merchant for machines.
fn told(merchant: &Merchant) -> Value {
    json!({
        "id": merchant.id,
        "name": merchant.name,
        "kind": merchant.kind,
        "category": merchant.category,
        "countries": merchant.countries.iter().map(Country::as_str).collect::<Vec<_>>(),
        "aliases": merchant.aliases,
        "wikidata": merchant.wikidata,
    })
}

fn search(merchants: &[Merchant], text: &str, limit: usize, as_json: bool) {
    let text = text.to_lowercase();
    let has = |field: &str| field.to_lowercase().contains(&text);
    let hits: Vec<&Merchant> = merchants
        .iter()
        .filter(|m| has(&m.name) || has(&m.id) || has(&m.kind) || m.aliases.iter().any(|alias| has(alias)))
        .collect();
    if as_json {
        let shown: Vec<Value> = hits.iter().take(limit).map(|merchant| told(merchant)).collect();
        println!("{}", json!({ "found": hits.len(), "merchants": shown }));
        return;
    }
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["id", "name", "kind", "category", "countries", "aliases"]);
    for merchant in hits.iter().take(limit) {
        let countries: Vec<&str> = merchant.countries.iter().map(Country::as_str).collect();
        table.add_row([
            merchant.id.as_str(),
            &merchant.name,
            &merchant.kind,
            merchant.category.as_ref().map_or("", |category| category.as_str()),
            &if countries.is_empty() { "anywhere".to_owned() } else { countries.join(" ") },
            &merchant.aliases.join(", "),
        ]);
    }
    println!("{table}\n{} of {} merchants", hits.len().min(limit), hits.len());
}

/// How a candidate was matched, in one word.
fn how(candidate: &Candidate) -> String {
    format!("{:?}", candidate.found.kind).to_lowercase()
}

fn explain(index: &MerchantIndex, descriptor: &Descriptor, country: Option<&Country>, as_json: bool) {
    let candidates = index.explain(descriptor, country);
    if as_json {
        let weighed = |candidate: &Candidate| {
            json!({
                "merchant": told(&candidate.found.merchant),
                "matched": candidate.found.matched,
                "how": how(candidate),
                "score": candidate.found.score,
                "why": candidate.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        };
        let accepted = candidates.first().filter(|best| best.accepted()).map(|best| &best.found.merchant.id);
        let explained = json!({
            "merchant_text": descriptor.merchant(),
            "key": descriptor.key().as_str(),
            "accepted": accepted,
            "candidates": candidates.iter().map(weighed).collect::<Vec<_>>(),
        });
        println!("{explained}");
        return;
    }
    println!("merchant text: {}   key: {}", descriptor.merchant(), descriptor.key().as_str());
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["merchant", "kind", "matched", "how", "score", "why"]);
    for candidate @ Candidate { found, notes, .. } in &candidates {
        let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        table.add_row([
            format!("{} ({})", found.merchant.name, found.merchant.id),
            found.merchant.kind.clone(),
            found.matched.clone(),
            how(candidate),
            format!("{:.2}", found.score),
            if notes.is_empty() { "the name stands alone".to_owned() } else { notes.join("; ") },
        ]);
    }
    println!("{table}");
    match candidates.first() {
        Some(best) if best.accepted() => println!(
            "{}: the longest match that scores at least {ACCEPT_AT}{}",
            best.found.merchant.name,
            if candidates.len() > 1 { ", then the best score" } else { "" }
        ),
        Some(_) => println!("none: no candidate scores {ACCEPT_AT}, and a wrong merchant is worse than none"),
        None => println!("none: no name of the directory is in the text"),
    }
}
