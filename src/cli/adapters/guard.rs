//! `txcat adapters guard`: what an adapter loses in int8.

use std::path::PathBuf;

use anyhow::ensure;

use crate::{
    cli::{
        Settings, models,
        train::{Prepared, Source},
    },
    model::{AdapterFacts, guard::Int8},
};

/// Answers the data set's dev rows in f32 and in int8, and keeps in the adapter's folder how they compare.
///
/// `txcat train` and `txcat adapters import` measure this themselves; this is for folders from before. An adapter is
/// computed in int8 only where that loses at most 0.2 points of accuracy and at most one answer in a hundred is
/// another. The folder's facts change, and with them its hash: register it anew.
#[derive(Debug, clap::Args)]
pub struct Guard {
    /// The adapter's folder.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Which labels it was trained on: dev is read with the history that they give.
    #[command(flatten)]
    pub source: Source,

    /// Print one JSON object instead of a sentence.
    #[arg(long)]
    pub json: bool,
}

impl Guard {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let base = models::pull(settings, None).await?;
        let json = self.json;
        let measured = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let facts = AdapterFacts::read(&self.dir)?;
            let Prepared { rows, naming } = self.source.prepare(false)?;
            ensure!(
                facts.categories == naming.categories && facts.enrichment == naming.enrichment,
                "{} reads other texts, or answers in other categories, than this data set",
                self.dir.display()
            );
            Ok(AdapterFacts::guard(&self.dir, &base, rows.dev)?.dev.int8.unwrap_or_default())
        })
        .await??;
        if json {
            println!("{}", serde_json::to_string(&measured)?);
        } else {
            println!("{}", sentence(&measured));
        }
        Ok(())
    }
}

/// What was measured, and what follows.
fn sentence(measured: &Int8) -> String {
    format!(
        "int8 has {:.2} % of {} rows right, f32 {:.2} %; {:.2} % get the same answer: `--precision auto` computes in {}",
        measured.accuracy * 100.0,
        measured.rows,
        measured.exact_accuracy * 100.0,
        measured.agreement * 100.0,
        if measured.holds() { "int8" } else { "f32" }
    )
}
