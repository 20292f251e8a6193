//! `txcat database`: holds the private Postgres for other programs, such as psql or the tests.

use std::io::Write as _;

use clap::Args;

use super::Settings;
use crate::embedded::{Durability, Postgres};

/// Prints the URL of the private Postgres and keeps it running until Ctrl-C or the end of the input.
///
///   sleep infinity | txcat database &          # in the background: an input that does not end
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Options {
    /// Which of its databases the URL names.
    #[arg(long, default_value = "txcat")]
    name: String,

    /// Trade safety for speed when this starts the server: what was committed may be lost with the power.
    #[arg(long, hide = true, requires = "data_dir")]
    forgetful: bool,
}

/// Starts it, prints one line, waits, and stops it if nobody else is using it.
///
/// # Errors
/// When there is no server to start, or it does not stop.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let server = match (options.forgetful, &settings.database.data_dir) {
        (true, Some(folder)) => Postgres::start_in(&std::path::absolute(folder)?, Durability::Forgetful).await?,
        _ => Postgres::start(&settings.database).await?,
    };
    writeln!(std::io::stdout(), "{}", server.url(&options.name))?;
    std::io::stdout().flush()?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = end_of_input() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    server.stop().await?;
    Ok(())
}

/// On a thread of its own, which nobody waits for: a program that is told to stop can't end a read of its input.
async fn end_of_input() {
    let (ended, waits) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = waits.await;
}
