//! `txcat adapters`: what there is, how it came, where it stands, and what is to be done.

mod evaluate;
mod guard;
mod health;
mod import;
mod registered;
mod retrain;

use super::{Settings, service::with_store};

/// Adapters: register, measure, promote, watch and renew them.
///
/// An adapter goes from candidate to shadow (answers beside the champion, unseen), canary (answers a share of
/// the accounts) and champion; the gate that `evaluate` puts it through must be open on the last two steps.
/// Running servers follow at once. A REFERENCE is a name and version such as `consumer@3`, or a name for its
/// newest version.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Make an adapter of a LoRA that Python's PEFT trained on the base encoder.
    Import(Box<import::Import>),
    /// Measure on dev what an adapter loses in int8 and bf16, and keep that in its folder.
    Guard(Box<guard::Guard>),
    /// Put an adapter's folder into the registry, as a candidate.
    Register(registered::Register),
    /// List every adapter and where it stands.
    List(registered::List),
    /// Show an adapter with its gate and everything that was decided about it.
    Show(registered::Show),
    /// Put an adapter through the promotion gate, beside the champion on the same rows.
    Evaluate(Box<evaluate::Evaluate>),
    /// Move an adapter to another state.
    Promote(registered::Promote),
    /// Take a canary or shadow out, or put the champion's predecessor back in its place.
    Rollback(registered::Rollback),
    /// Look once at how canary and champion do on live traffic, and take back what does worse.
    Watch(registered::Watch),
    /// Put accounts into a group, or take them out of any.
    Group(registered::Group),
    /// Say whether the champion should be trained again, and why.
    Health(health::Health),
    /// Train a candidate on what people have said: gate, train, register, evaluate, propose.
    Retrain(Box<retrain::Retrain>),
}

/// Runs `txcat adapters`.
///
/// # Errors
/// When the adapter can't be read or served, or the data set, the encoder or the database can't be had.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let action = match options.action {
        Action::Import(import) => return import.run(settings).await,
        Action::Guard(guard) => return guard.run(settings).await,
        action => action,
    };
    with_store(settings, async |store| match action {
        Action::Import(_) | Action::Guard(_) => Ok(()),
        Action::Register(register) => register.run(settings, store).await,
        Action::List(list) => list.run(store).await,
        Action::Show(show) => show.run(store).await,
        Action::Evaluate(evaluate) => evaluate.run(settings, store).await,
        Action::Promote(promote) => promote.run(store).await,
        Action::Rollback(rollback) => rollback.run(store).await,
        Action::Watch(watch) => watch.run(store).await,
        Action::Group(group) => group.run(store).await,
        Action::Health(health) => health.run(settings, store).await,
        Action::Retrain(retrain) => retrain.run(settings, store).await,
    })
    .await
}
