//! `txcat finetune`: files that providers train on, and the jobs that train on them.

mod export;
mod jobs;
mod validate;

use super::{Settings, service::with_store};

/// Train a provider's model on labels.
///
/// export writes a training file from a checked data set, validate says what is wrong with one, create uploads it
/// and begins a job at the provider of --chat-model, and register makes the tuned model one that --chat-model names.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Write a training file from labelled rows, without personal data.
    Export(Box<export::Export>),
    /// Say what is wrong with a training file, what it weighs and what training on it costs.
    Validate(validate::Validate),
    /// Upload a training file and begin a job; the same file and model again is the same job, unless that failed or was
    /// cancelled.
    Create(jobs::Create),
    /// Ask where jobs stand.
    Status(jobs::Status),
    /// Print what happened to a job.
    Events(jobs::Events),
    /// Stop a job, or give up one that never came to the provider.
    Cancel(jobs::Cancel),
    /// Book what was billed for a job that ended without telling it.
    Settle(jobs::Settle),
    /// Put a tuned model into the chat model file.
    Register(jobs::Register),
    /// List the provider's models, and warn of those in use that stop within 90 days.
    Models(jobs::Models),
}

/// Runs `txcat finetune`.
///
/// # Errors
/// When labels are not fit to learn from, a file is not fit to be uploaded, or the database or provider can't be had.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let action = match options.action {
        Action::Validate(validate) => return validate.run(settings),
        Action::Models(models) => return models.run(settings).await,
        Action::Export(export) if !export.needs_database() => return export.run(settings, None).await,
        action => action,
    };
    with_store(settings, async |store| match action {
        Action::Validate(_) | Action::Models(_) => Ok(()),
        Action::Export(export) => export.run(settings, Some(store)).await,
        Action::Create(create) => create.run(settings, store).await,
        Action::Status(status) => status.run(settings, store).await,
        Action::Events(events) => events.run(settings, store).await,
        Action::Cancel(cancel) => cancel.run(settings, store).await,
        Action::Settle(settle) => settle.run(settings, store).await,
        Action::Register(register) => register.run(settings, store).await,
    })
    .await
}
