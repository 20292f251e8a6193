//! `txcat demo`: the whole product on the generated data set that the repository ships.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use super::{
    Settings, eval, import,
    labels::LabelChoice,
    serve,
    service::{Serving, with_store},
};
use crate::{
    config::{Listen, Oidc, Work},
    store::Store,
};

/// Starts the database, gets the encoder, loads the generated demo set, runs three stages over its
/// test files, prints the comparison, and serves until Ctrl-C.
///
/// The set is generated (see eval/datasets/demo/README.md): what is measured on it shows that the
/// stages work and what they cost, not how they will do on your transactions.
#[derive(Debug, Args)]
pub struct Options {
    /// End after the comparison instead of serving.
    #[arg(long)]
    pub no_serve: bool,
    /// The demo set's folder.
    #[arg(long, value_name = "DIR", default_value = "eval/datasets/demo")]
    pub data: PathBuf,
    /// How many labels of its pool the prompt stages may retrieve.
    #[arg(long, value_name = "N", default_value_t = 12_000)]
    pub label_budget: usize,
    /// Where to listen.
    #[command(flatten)]
    pub listen: Listen,
    /// Which stage answers.
    #[command(flatten)]
    pub serving: Serving,
}

/// Runs the command.
///
/// # Errors
/// When a step fails; the message names it.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    ensure!(
        options.data.join("pool.csv.gz").exists(),
        "{} is not here: run the demo from the repository's folder, or name the set with --data",
        options.data.display()
    );
    // Held open throughout, so that the steps below share one running server.
    with_store(settings, async |store| show(&options, settings, store).await).await
}

async fn show(options: &Options, settings: &Settings, store: &Store) -> anyhow::Result<()> {
    eprintln!("1/3 history: the pool with its labels, not categorized");
    let history =
        import::Options { labels: Some("category".to_owned()), no_categorize: true, ..file(options, "pool.csv.gz") };
    import::run(history, settings).await.context("the demo set's pool could not be loaded")?;
    eprintln!("2/3 three stages over the same rows");
    eval::run(comparison(options), settings).await.context("the stages could not be compared")?;
    eprintln!("3/3 traffic: test_recent, categorized by the stage that serves");
    import::run(file(options, "test_recent.csv.gz"), settings)
        .await
        .context("the demo set's traffic could not be categorized")?;
    if options.no_serve {
        return Ok(());
    }
    let serving = serve::Options {
        listen: options.listen.clone(),
        serving: options.serving.clone(),
        watch_every: serve::WATCH_EVERY,
        drift_every: serve::DRIFT_EVERY,
        webhook_secret: None,
        oidc: Oidc::default(),
        workers: serve::WORKERS,
        work: Work::default(),
    };
    serve::serve(&serving, settings, store).await
}

fn file(options: &Options, name: &str) -> import::Options {
    import::Options {
        file: options.data.join(name),
        map: Vec::new(),
        labels: None,
        currency: None,
        direction: None,
        id_from_row: false,
        no_categorize: false,
        max_rejected: None,
        json: false,
        serving: options.serving.clone(),
    }
}

fn comparison(options: &Options) -> eval::Options {
    eval::Options {
        data: options.data.clone(),
        stages: Vec::new(),
        choice: LabelChoice { label_budget: options.label_budget, labels: None },
        labels_out: None,
        adapter: options.serving.adapter.clone(),
        batches: false,
        files: vec!["test".to_owned()],
        json: false,
        predictions: None,
        peers: None,
        without_side_parts: false,
        replay: eval::Replay::default(),
        stage_file: options.serving.files.stages.clone(),
        prompts: options.serving.files.prompts.clone(),
    }
}
