//! `txcat serve`: the JSON API until Ctrl-C or SIGTERM.

use std::{env, fs, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Args;
use tokio::{net::TcpListener, signal::unix};

use super::{
    Settings, chat,
    service::{Ready, Serving, asked_to_stop, ticks, with_store},
    worker,
};
use crate::{
    access::{Access, Limits, Oidc, OidcSettings},
    adapters::watch,
    causes::with_causes,
    clock,
    config::{self, Listen, Secret, Work},
    http::{self, Tls, TlsError},
    pipeline::Pipeline,
    review, signature,
    store::Store,
};

/// Seconds between looks at the adapters.
pub const WATCH_EVERY: u64 = 60;
/// Seconds between looks for what has moved.
pub const DRIFT_EVERY: u64 = 3_600;
/// Between looks for answers to requests with an idempotency key whose time is over.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Jobs that a server works on at a time.
pub const WORKERS: u16 = 2;

/// Serves the JSON API until Ctrl-C or SIGTERM; requests under way are finished, unless it is told again.
///
/// Without a database URL it runs a private Postgres in the data folder. The API is described at
/// /openapi.json, with a page at /docs. What is asked for over HTTP and takes long becomes a job; the server works on jobs
/// itself unless --workers is 0, and `txcat worker` does on any number of machines.
#[derive(Debug, Args)]
pub struct Options {
    /// Where to listen.
    #[command(flatten)]
    pub listen: Listen,
    /// Which stage answers.
    #[command(flatten)]
    pub serving: Serving,
    /// Seconds between looks at how canary and champion do, where one that does worse than what it replaced is taken
    /// back, and at whether confidence levels keep their promises.
    #[arg(long, env = "TXCAT_WATCH_EVERY", value_name = "SECONDS", default_value_t = WATCH_EVERY,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub watch_every: u64,
    /// Seconds between looks at merchants and categories whose answers have moved; people are asked about a few of those rows.
    #[arg(long, env = "TXCAT_DRIFT_EVERY", value_name = "SECONDS", default_value_t = DRIFT_EVERY,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub drift_every: u64,
    /// What fine-tuning providers sign their webhooks with, `whsec_` and base64; without it none is taken.
    #[arg(long, env = "TXCAT_WEBHOOK_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub webhook_secret: Option<Secret>,
    /// A provider that people may sign in by.
    #[command(flatten)]
    pub oidc: config::Oidc,
    /// Jobs that this process works on at a time; 0 leaves them to `txcat worker`.
    #[arg(long, env = "TXCAT_WORKERS", value_name = "N", default_value_t = WORKERS,
        value_parser = clap::value_parser!(u16).range(..=64))]
    pub workers: u16,
    /// How jobs are worked on.
    #[command(flatten)]
    pub work: Work,
}

/// Runs the command.
///
/// # Errors
/// When the database, the stage or the address can't be had.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    chat::check(settings)?;
    worker::cron(&options.work)?;
    tls(&options.listen)?;
    oidc(&options.oidc)?;
    with_store(settings, async |store| serve(&options, settings, store).await).await
}

/// Serves on an open database.
///
/// # Errors
/// As [`run`].
pub async fn serve(options: &Options, settings: &Settings, store: &Store) -> anyhow::Result<()> {
    let bind = options.listen.bind;
    let access = Access::new(store.clone(), bind, clock::now()).await?;
    let access = access.with_limits(Limits::new(options.listen.requests_per_minute));
    let Ready { pipeline, taxonomy, roster } = options.serving.service(settings, store).await?;
    let registered = roster.is_some();
    let pipeline = Arc::new(pipeline);
    let lineup = pipeline.lineup();
    let stage = format!("{} ({})", lineup.champion().name, lineup.champion().engine());
    drop(lineup);
    let who = if access.is_open() {
        "no API keys: whoever reaches this address is a local admin"
    } else {
        "callers need an API key"
    };
    let webhook_secret = options.webhook_secret.clone();
    anyhow::ensure!(
        webhook_secret.as_ref().is_none_or(|secret| signature::is_secret(secret.expose())),
        "the secret of webhooks (--webhook-secret, TXCAT_WEBHOOK_SECRET) must be `whsec_` and base64"
    );
    let tls = tls(&options.listen)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let state = http::AppState::new(store.clone(), Arc::clone(&pipeline), taxonomy.clone(), Arc::new(access))
        .with_webhook_secret(webhook_secret)
        .with_tls(tls.clone())
        .with_oidc(oidc(&options.oidc)?.map(Arc::new));
    let listener = TcpListener::bind(bind).await.with_context(|| format!("can't listen on {bind}"))?;
    eprintln!("txcat answers with {stage} on {scheme}://{}/docs ({who})", listener.local_addr()?);
    let every = Duration::from_secs(options.watch_every);
    let mut beside = Ready::keep_fresh(roster, &taxonomy, &pipeline, store, every);
    if registered {
        beside.spawn(watch(store.clone(), every));
    }
    beside.spawn(drift(store.clone(), Arc::clone(&pipeline), Duration::from_secs(options.drift_every)));
    if let Some(tls) = tls {
        beside.spawn(read_again(tls, unix::signal(unix::SignalKind::hangup())?));
    }
    beside.spawn(forget_answers(store.clone()));
    let stop = asked_to_stop()?;
    let worker = worker::beside_it(options.workers.into(), &options.work, store, &pipeline, &stop)?;
    http::serve(listener, state, stop.clone().cancelled_owned()).await;
    stop.cancel();
    worker.await?;
    beside.shutdown().await;
    pipeline.settle().await;
    eprintln!("txcat: stopped");
    Ok(())
}

/// The certificate to speak HTTPS with, where one is named.
fn tls(listen: &Listen) -> Result<Option<Arc<Tls>>, TlsError> {
    let (Some(certificate), Some(key)) = (&listen.tls_certificate, &listen.tls_key) else { return Ok(None) };
    Ok(Some(Arc::new(Tls::load(certificate, key)?)))
}

/// The provider that people may sign in by, where one is named. Asks it nothing yet.
fn oidc(named: &config::Oidc) -> anyhow::Result<Option<Oidc>> {
    let variable = config::Oidc::CLIENT_SECRET;
    let told = env::var(variable).ok().filter(|secret| !secret.trim().is_empty());
    let (Some(issuer), Some(client_id), Some(public_url)) =
        (&named.oidc_issuer, &named.oidc_client_id, &named.public_url)
    else {
        anyhow::ensure!(told.is_none(), "{variable} is set, and no provider is named: --oidc-issuer");
        return Ok(None);
    };
    let client_secret = match (&named.oidc_client_secret_file, told) {
        (Some(_), Some(_)) => anyhow::bail!("{variable} and --oidc-client-secret-file are both given: which is it?"),
        (Some(file), None) => Some(fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?),
        (None, told) => told,
    };
    let client_secret = client_secret.map(|secret| secret.trim().to_owned());
    anyhow::ensure!(client_secret.as_deref() != Some(""), "the file of --oidc-client-secret-file is empty");
    let settings = OidcSettings {
        issuer: issuer.clone(),
        client_id: client_id.clone(),
        client_secret: client_secret.map(Secret::from),
        redirect: format!("{}{}", public_url.trim_end_matches('/'), http::OIDC_CALLBACK),
    };
    Ok(Some(Oidc::new(settings)?))
}

/// Reads the certificate again whenever the process is told to.
async fn read_again(tls: Arc<Tls>, mut told: unix::Signal) {
    while told.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => tracing::info!("The certificate was read again"),
            Err(error) => tracing::error!(error = %with_causes(&error), "the certificate stays the one before"),
        }
    }
}

/// Takes back, again and again, adapters that do worse than what they replaced.
async fn watch(store: Store, every: Duration) {
    let mut ticks = ticks(every);
    loop {
        ticks.tick().await;
        if let Err(error) = watch::look(&store, watch::Limits::default(), clock::now()).await {
            tracing::warn!(error = %error, "the adapters could not be looked at");
        }
    }
}

/// Drops, again and again, answers whose time is over.
async fn forget_answers(store: Store) {
    let mut ticks = ticks(FORGET_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = store.drop_idempotent_answers(clock::now() - http::ANSWERS_KEPT).await {
            tracing::warn!(error = %error, "answers that are kept for idempotency keys could not be dropped");
        }
    }
}

/// Asks people, again and again, about some rows of what has moved.
async fn drift(store: Store, pipeline: Arc<Pipeline>, every: Duration) {
    let mut ticks = ticks(every);
    loop {
        ticks.tick().await;
        let engine = pipeline.lineup().champion().engine().to_owned();
        match review::drift::look(&store, &engine, clock::now()).await {
            Ok(moved) => {
                let asked: u64 = moved.iter().map(|one| one.asked).sum();
                if asked > 0 {
                    tracing::warn!(%engine, drift.moved = moved.len(), drift.asked = asked, "Answers have moved: people are asked");
                }
            }
            Err(error) => tracing::warn!(error = %error, "nobody could look for what has moved"),
        }
    }
}
