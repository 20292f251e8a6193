//! The command line: one file per subcommand, each `Options` + `run`.

use clap::{
    Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::{Resettable, StyledStr},
};

use crate::{config, model};

pub mod accounts;
pub mod adapters;
pub mod advise;
pub mod audit;
pub mod bench;
pub mod chat;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod data;
pub mod database;
pub mod demo;
pub mod demo_data;
pub mod descriptors;
pub mod doctor;
pub mod eval;
pub mod experiments;
pub mod finetune;
pub mod import;
pub mod jobs;
pub mod keys;
pub mod labels;
mod memory;
pub mod merchants;
pub mod models;
pub mod people;
pub mod prompts;
pub mod recategorize;
pub mod retention;
pub mod serve;
pub mod service;
pub mod spend;
pub mod taxonomy;
pub mod train;
pub mod webhooks;
pub mod worker;

/// Categorizes bank transactions, and says which lever to pull next to categorize them better.
#[derive(Debug, Parser)]
#[command(name = "txcat", version, propagate_version = true)]
pub struct Cli {
    /// Settings that every subcommand shares.
    #[command(flatten, next_help_heading = "Settings of every command")]
    pub settings: Settings,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings that every subcommand shares.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Which Postgres.
    #[command(flatten)]
    pub database: config::Database,
    /// Which models and prompts.
    #[command(flatten)]
    pub models: config::Models,
    /// How models compute.
    #[command(flatten)]
    pub compute: config::Compute,
    /// Which chat model.
    #[command(flatten)]
    pub chat: config::Chat,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole product on the generated demo set, and serve it.
    #[command(long_about = whole::<demo::Options>())]
    Demo(demo::Options),
    /// Make the demo data set again from its seed.
    DemoData(demo_data::Options),
    /// Report how well descriptor keys hold on a file.
    Descriptors(descriptors::Options),
    /// Check a labelled set before anything learns from it; pick what to label next.
    Data(data::Options),
    /// Hold the private Postgres for other programs.
    #[command(long_about = whole::<database::Options>())]
    Database(database::Options),
    /// Check a deployment and say what to mend.
    Doctor(doctor::Options),
    /// Erase one account, or write down all that is stored of it.
    Accounts(accounts::Options),
    /// Drop rows that are older than a deployment keeps them.
    #[command(long_about = whole::<retention::Options>())]
    Retention(retention::Options),
    /// Show, export and check the log of privileged acts.
    Audit(audit::Options),
    /// Make, list, rotate and revoke API keys.
    Keys(keys::Options),
    /// Search, explain and fill the merchant directory.
    Merchants(merchants::Options),
    /// List, fetch, check or find the base encoders.
    Models(models::Options),
    /// Let people in to the pages, list them, and take them out again.
    #[command(long_about = whole::<people::Options>())]
    People(people::Options),
    /// Show, check and compare prompt folders.
    Prompts(Box<prompts::Options>),
    /// Serve the JSON API and the pages.
    #[command(long_about = whole::<serve::Options>())]
    Serve(serve::Options),
    /// Work on jobs, beside any number of others on one Postgres.
    #[command(long_about = whole::<worker::Options>())]
    Worker(worker::Options),
    /// Make, list, resume and take away endpoints that are told of changes.
    #[command(long_about = whole::<webhooks::Options>())]
    Webhooks(webhooks::Options),
    /// List jobs that are not done, try them again, take them out; check cron lines.
    #[command(long_about = whole::<jobs::Options>())]
    Jobs(jobs::Options),
    /// Show what chat models took and cost.
    #[command(long_about = whole::<spend::Options>())]
    Spend(spend::Options),
    /// Check a set of categories, or put it into the database.
    Taxonomy(taxonomy::Options),
    /// Register, measure, promote, watch and renew adapters; bring in those of others.
    #[command(long_about = whole::<adapters::Options>())]
    Adapters(Box<adapters::Options>),
    /// Train an adapter on a data set's labels, or compare the ways to.
    #[command(long_about = whole::<train::Options>())]
    Train(Box<train::Options>),
    /// Measure every stage on labelled rows.
    Eval(Box<eval::Command>),
    /// Train a provider's model on labels: write and check files, create and follow jobs.
    #[command(long_about = whole::<finetune::Options>())]
    Finetune(Box<finetune::Options>),
    /// Say which lever to pull next, what it costs, and what would change that.
    #[command(long_about = whole::<advise::Options>())]
    Advise(Box<advise::Options>),
    /// Measure how fast this machine computes the encoder or an adapter, and how fast it trains one.
    #[command(long_about = whole::<bench::Options>())]
    Bench(Box<bench::Options>),
    /// Experiments on labels: how many, which, how clean, and how few keep a target.
    Experiments(Box<experiments::Options>),
    /// Categorize stored transactions anew: preview, apply, undo.
    #[command(long_about = whole::<recategorize::Options>())]
    Recategorize(Box<recategorize::Options>),
    /// Be a part of a cluster that categorizes folders of Parquet files.
    #[command(long_about = whole::<cluster::Options>())]
    #[cfg(feature = "cluster")]
    Cluster(Box<cluster::Options>),
    /// Read transactions from a file.
    #[command(long_about = whole::<import::Options>())]
    Import(Box<import::Options>),
}

impl Cli {
    /// What the command line and the environment say; where they can't be read, says so and ends the process. A variable that is
    /// set to nothing, as `.env` files and compose files do, is as if it were not set.
    #[must_use]
    pub fn read() -> Self {
        let matches = without_empty_variables(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// All that a command's options say of it: clap takes the line beside the command's name for the whole.
fn whole<A: Args>() -> StyledStr {
    let told = A::augment_args(clap::Command::new(""));
    told.get_long_about().or_else(|| told.get_about()).cloned().unwrap_or_default()
}

/// Runs one command.
///
/// # Errors
/// Whatever the command could not do, in one sentence with its causes.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(fastest) = cli.settings.compute.instructions {
        model::limit_instructions(fastest);
    }
    match cli.command {
        Command::Demo(options) => demo::run(options, &cli.settings).await,
        Command::DemoData(options) => demo_data::run(&options),
        Command::Descriptors(options) => descriptors::run(&options),
        Command::Data(options) => data::run(options, &cli.settings).await,
        Command::Database(options) => database::run(options, &cli.settings).await,
        Command::Doctor(options) => doctor::run(options, &cli.settings).await,
        Command::Accounts(options) => accounts::run(options, &cli.settings).await,
        Command::Retention(options) => retention::run(options, &cli.settings).await,
        Command::Audit(options) => audit::run(options, &cli.settings).await,
        Command::Keys(options) => keys::run(options, &cli.settings).await,
        Command::Merchants(options) => merchants::run(options, &cli.settings).await,
        Command::Models(options) => models::run(options, &cli.settings).await,
        Command::People(options) => people::run(options, &cli.settings).await,
        Command::Prompts(options) => prompts::run(*options, &cli.settings).await,
        Command::Serve(options) => serve::run(options, &cli.settings).await,
        Command::Worker(options) => worker::run(options, &cli.settings).await,
        Command::Webhooks(options) => webhooks::run(options, &cli.settings).await,
        Command::Jobs(options) => jobs::run(options, &cli.settings).await,
        Command::Spend(options) => spend::run(options, &cli.settings).await,
        Command::Taxonomy(options) => taxonomy::run(options, &cli.settings).await,
        Command::Adapters(options) => adapters::run(*options, &cli.settings).await,
        Command::Train(options) => train::run(*options, &cli.settings).await,
        Command::Eval(options) => eval::start(*options, &cli.settings).await,
        Command::Finetune(options) => finetune::run(*options, &cli.settings).await,
        Command::Advise(options) => advise::run(*options, &cli.settings).await,
        Command::Bench(options) => bench::run(*options, &cli.settings).await,
        Command::Experiments(options) => experiments::run(*options, &cli.settings).await,
        Command::Recategorize(options) => recategorize::run(*options, &cli.settings).await,
        #[cfg(feature = "cluster")]
        Command::Cluster(options) => cluster::run(*options, &cli.settings).await,
        Command::Import(options) => import::run(*options, &cli.settings).await,
    }
}
