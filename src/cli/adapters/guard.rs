//! `txcat adapters guard`: what an adapter loses in int8 and in bf16.

use std::path::PathBuf;

use anyhow::ensure;
use serde::Serialize;

use crate::{
    cli::{Settings, models, train::Source},
    model::{
        AdapterFacts,
        guard::{Compared, OfFormat},
    },
};

/// Answers the data set's dev rows in f32, int8 and bf16, and keeps in the adapter's folder how they compare.
///
/// `txcat train` and `txcat adapters import` measure this themselves; this is for folders from before. An adapter is
/// computed in fewer bits only where that loses at most 0.2 points of accuracy and at most one answer in a hundred is
/// another. The folder's facts change, and with them its hash: register it anew.
#[derive(Debug, clap::Args)]
pub struct Guard {
    /// The adapter's folder.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Which labels it was trained on: rows are read with the history that they give.
    #[command(flatten)]
    pub source: Source,

    /// Compare them on these files of the data set instead of dev, and keep nothing.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub on: Vec<String>,

    /// Print JSON, one object for each file and format, instead of sentences.
    #[arg(long)]
    pub json: bool,
}

/// A file's rows in f32 and in a format.
#[derive(Debug, Serialize)]
struct OfFile {
    file: String,
    #[serde(flatten)]
    measured: OfFormat,
}

impl Guard {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let base = models::pull(settings, None).await?;
        let json = self.json;
        let compared = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let Self { dir, source, on, .. } = self;
            let keeps = on.is_empty();
            let names = if keeps { vec!["dev".to_owned()] } else { on };
            let facts = AdapterFacts::read(&dir)?;
            let (taxonomy, files) = source.files(&names)?;
            ensure!(
                facts.taxonomy == taxonomy.version() && facts.enrichment == source.enrichment(),
                "{} reads other texts, or answers in other categories, than this data set",
                dir.display()
            );
            let mut compared = Vec::new();
            for (file, rows) in names.into_iter().zip(files) {
                let (mut facts, measured) = AdapterFacts::compared(&dir, &base, rows)?;
                if keeps {
                    measured.iter().for_each(|measured| facts.dev.keep(measured.format, measured.adapter));
                    let before = AdapterFacts::engine(&dir)?;
                    facts.keep(&dir)?;
                    let after = AdapterFacts::engine(&dir)?;
                    if before != after {
                        eprintln!("{} keeps this: it was {before} and is {after}; register it anew", dir.display());
                    }
                }
                compared.extend(measured.into_iter().map(|measured| OfFile { file: file.clone(), measured }));
            }
            anyhow::Ok(compared)
        })
        .await??;
        for compared in &compared {
            if json {
                println!("{}", serde_json::to_string(compared)?);
            } else {
                println!("{}", sentence(compared));
            }
        }
        Ok(())
    }
}

/// What was measured, and what follows.
fn sentence(OfFile { file, measured: OfFormat { format, adapter, encoder_and_head } }: &OfFile) -> String {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let of = |Compared { exact_accuracy, accuracy, agreement, .. }: &Compared| {
        format!(
            "{format} {} right, f32 {}, the same answer to {}",
            percent(*accuracy),
            percent(*exact_accuracy),
            percent(*agreement)
        )
    };
    let rows = adapter.rows;
    let within = if adapter.holds() { "within what the guard allows" } else { "more than the guard allows" };
    format!("{file}, {rows} rows: {}, which is {within}; encoder and head alone: {}", of(adapter), of(encoder_and_head))
}
