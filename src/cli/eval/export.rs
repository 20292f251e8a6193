//! `txcat eval export`: a run for another tracker.

use std::{
    fs,
    path::{self, PathBuf},
};

use anyhow::Context;

use crate::{
    evaluate::{
        export::{self, Tracker},
        tracker,
    },
    store::Store,
};

/// Another tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// promptfoo: a configuration and a table of tests; `promptfoo eval -c DIR/promptfooconfig.json`.
    Promptfoo,
    /// MLflow: a file store; `mlflow ui --backend-store-uri DIR`, with `MLFLOW_ALLOW_FILE_STORE=true` in its latest
    /// versions, or `mlflow migrate-filestore` into its database. Several runs may go into one folder.
    Mlflow,
}

/// Writes a run for another tracker. Descriptors stay here: a row is told by its id and key.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Its number (`txcat eval runs`).
    #[arg(value_name = "RUN")]
    pub run: i64,

    /// Which tracker.
    #[arg(long, value_enum)]
    pub format: Format,

    /// The folder to write into.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When there is no such run, a file can't be written, or the database fails.
pub(super) async fn run(options: &Options, store: &Store) -> anyhow::Result<()> {
    let measured = tracker::measured(store, options.run).await?;
    let report = tokio::task::block_in_place(|| measured.report())?;
    let items = store.eval_items(options.run).await?;
    let tracker = match options.format {
        Format::Promptfoo => Tracker::Promptfoo,
        Format::Mlflow => Tracker::MlFlow,
    };
    let folder = path::absolute(&options.out)?;
    for file in export::files(&report, &items, tracker, &folder)? {
        let path = folder.join(file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        }
        fs::write(&path, file.text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}
