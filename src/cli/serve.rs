//! `txcat serve`: the JSON API until Ctrl-C or SIGTERM.

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::{net::TcpListener, signal::unix};

use super::{
    Settings,
    service::{Opened, Serving},
};
use crate::{access::Access, clock, config::Listen, http};

/// Serves the JSON API until Ctrl-C or SIGTERM; requests under way are finished.
///
/// Without a database URL it runs a private Postgres in the data folder. The API is described at
/// /openapi.json, with a page at /docs.
#[derive(Debug, Args)]
pub struct Options {
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
/// When the database, the stage or the address can't be had.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let opened = Opened::new(settings).await?;
    let served = serve(&options, settings, &opened).await;
    opened.close().await?;
    served
}

/// Serves on an open database.
///
/// # Errors
/// As [`run`].
pub async fn serve(options: &Options, settings: &Settings, opened: &Opened) -> anyhow::Result<()> {
    let bind = options.listen.bind;
    let access = Access::new(opened.store.clone(), bind, clock::now()).await?;
    let (pipeline, taxonomy) = options.serving.pipeline(settings, &opened.store).await?;
    let stage = format!("{} ({})", pipeline.stage().name, pipeline.stage().engine());
    let who = if access.is_open() {
        "no API keys: whoever reaches this address is a local admin"
    } else {
        "callers need an API key"
    };
    let state = http::AppState::new(opened.store.clone(), Arc::new(pipeline), taxonomy, Arc::new(access));
    let listener = TcpListener::bind(bind).await.with_context(|| format!("can't listen on {bind}"))?;
    eprintln!("txcat answers with {stage} on http://{}/docs ({who})", listener.local_addr()?);
    http::serve(listener, state, asked_to_stop()).await?;
    eprintln!("txcat: stopped");
    Ok(())
}

/// Ends at Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    let Ok(mut terminate) = unix::signal(unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
