//! `txcat finetune create|status|events|cancel|register|models`: jobs at the provider.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use chrono::DateTime;
use comfy_table::{Table, presets};

use crate::{
    cli::{Settings, chat},
    clock,
    finetune::{
        jobs::{Created, Jobs, Order},
        lifecycle, register,
    },
    llm::{
        ModelEntry, ModelFile,
        tuning::{Job, Method, Suffix, Tuning},
    },
    store::{FinetuneJob, Store},
};

/// The first and the longest wait between two looks at a job.
const WAITS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(300)];

/// Uploads a training file and begins a job on the model of --chat-model.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The training file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// How to learn from it.
    #[arg(long, value_enum, default_value_t = Method::Supervised)]
    pub method: Method,

    /// Passes over it. [default: 3, more for small files and fewer for large ones]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub epochs: Option<u32>,

    /// What the tuned model's name ends in.
    #[arg(long)]
    pub suffix: Option<Suffix>,

    /// Seeds the provider's choices.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=2_147_483_647))]
    pub seed: Option<u32>,

    /// Print one JSON object instead of a sentence.
    #[arg(long)]
    pub json: bool,
}

impl Create {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let (file, entry) = named(settings)?;
        let text = fs::read_to_string(&self.file).with_context(|| format!("can't read {}", self.file.display()))?;
        let Self { method, epochs, suffix, seed, .. } = self;
        let order = Order { text, method, epochs, suffix, seed };
        let created = Jobs::new(store, &entry, &file.budget)?.create(&order, clock::now()).await?;
        let (new, job) = match created {
            Created::New(job) => (true, job),
            Created::There(job) => (false, job),
        };
        if self.json {
            println!("{}", serde_json::json!({ "new": new, "job": job }));
        } else if new {
            println!("job {} begun: {}", job.id, told(&job));
        } else {
            println!("nothing uploaded: this file, model and settings have job {} already: {}", job.id, told(&job));
        }
        Ok(())
    }
}

/// Asks where jobs stand.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// The job's number. [default: all]
    #[arg(value_name = "JOB")]
    pub job: Option<i64>,

    /// Ask again, after ever longer waits, until every job is done.
    #[arg(long)]
    pub watch: bool,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl Status {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let mut wait = WAITS[0];
        loop {
            let mut jobs = store.finetune_jobs(self.job).await?;
            ensure!(
                self.job.is_none() || !jobs.is_empty(),
                "there is no fine-tuning job {}",
                self.job.unwrap_or_default()
            );
            let (mut heard, mut unheard) = (false, 0);
            for job in jobs.iter_mut().filter(|job| goes_on(job) || job.stale && job.job.is_some()) {
                match asked(settings, store, job).await {
                    Ok(told) => {
                        heard |= job.status != told.status;
                        *job = told;
                    }
                    Err(error) => {
                        unheard += 1;
                        eprintln!("job {} is shown as it stood: {error:#}", job.id);
                    }
                }
            }
            let done = !jobs.iter().any(goes_on);
            if done || !self.watch || heard {
                self.print(&jobs)?;
            }
            if done || !self.watch {
                ensure!(unheard == 0, "{unheard} of {} jobs could not be asked about", jobs.len());
                return Ok(());
            }
            tokio::time::sleep(wait).await;
            wait = if heard { WAITS[0] } else { (wait * 2).min(WAITS[1]) };
        }
    }

    fn print(&self, jobs: &[FinetuneJob]) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(jobs)?);
            return Ok(());
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(["job", "entry", "model", "rows", "begun", "stands"]);
        for job in jobs {
            let begun = job.created_at.format("%Y-%m-%d %H:%M").to_string();
            table.add_row([
                job.id.to_string(),
                job.entry.clone(),
                job.model.clone(),
                job.rows.to_string(),
                begun,
                told(job),
            ]);
        }
        println!("{table}");
        Ok(())
    }
}

/// Prints what happened to a job, oldest first, in the provider's words.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// The job's number.
    #[arg(value_name = "JOB")]
    pub job: i64,

    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

impl Events {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let job = find(store, self.job).await?;
        let (_, entry) = of_entry(settings, &job.entry)?;
        let name = job.job.context("the job was not created at the provider yet")?;
        let events = Tuning::new(&entry)?.events(&name).await?;
        if self.json {
            println!("{}", serde_json::to_string(&events)?);
            return Ok(());
        }
        for event in events {
            let at = DateTime::from_timestamp(event.created_at, 0).unwrap_or_default();
            println!("{} {}: {}", at.format("%Y-%m-%d %H:%M:%S"), event.level, event.message);
        }
        Ok(())
    }
}

/// Stops a job; one that never came to the provider is given up.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// The job's number.
    #[arg(value_name = "JOB")]
    pub job: i64,
}

impl Cancel {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let job = find(store, self.job).await?;
        let (file, entry) = of_entry(settings, &job.entry)?;
        let job = Jobs::new(store, &entry, &file.budget)?.cancel(&job, clock::now()).await?;
        println!("job {}: {}", job.id, told(&job));
        Ok(())
    }
}

/// Books what the provider's bill says of a job that ended without telling its tokens, such as a cancelled one: until then
/// the most that it can cost stays booked.
#[derive(Debug, clap::Args)]
pub struct Settle {
    /// The job's number.
    #[arg(value_name = "JOB")]
    pub job: i64,

    /// Tokens that were billed, all epochs together.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub trained_tokens: u64,
}

impl Settle {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let job = find(store, self.job).await?;
        let (file, entry) = of_entry(settings, &job.entry)?;
        let job = Jobs::new(store, &entry, &file.budget)?.settle(&job, self.trained_tokens, clock::now()).await?;
        println!("job {}: {}, booked for {} tokens", job.id, told(&job), self.trained_tokens);
        Ok(())
    }
}

/// Puts a tuned model into a chat model file.
#[derive(Debug, clap::Args)]
pub struct Register {
    /// The job's number.
    #[arg(value_name = "JOB")]
    pub job: i64,

    /// What --chat-model will call it.
    #[arg(long)]
    pub name: String,

    /// The file that gets the entry. [default: the chat model file]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl Register {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let job = find(store, self.job).await?;
        let (file, entry) = of_entry(settings, &job.entry)?;
        let job = if job.fine_tuned_model.is_none() && job.job.is_some() {
            Jobs::new(store, &entry, &file.budget)?.refresh(&job, clock::now()).await?
        } else {
            job
        };
        let model = job.fine_tuned_model.ok_or(crate::finetune::Error::NoModel { status: job.status })?;
        let out = self.out.as_ref().unwrap_or(&settings.chat.file);
        register::append(out, &self.name, &entry, &model)?;
        println!("{model} is `{}` in {}; its price is not known: add it there", self.name, out.display());
        Ok(())
    }
}

/// Lists the models of the provider of --chat-model.
#[derive(Debug, clap::Args)]
pub struct Models {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl Models {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let (file, entry) = named(settings)?;
        let mut models = Tuning::new(&entry)?.models().await?;
        models.sort_by(|a, b| a.id.cmp(&b.id));
        let endings = lifecycle::endings(&file.models, &entry.base_url, &models, clock::now().date_naive());
        if self.json {
            println!("{}", serde_json::json!({ "models": models, "endings": endings }));
            return Ok(());
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(["model", "owned by", "stops"]);
        for model in models {
            let stops = model.shutdown_date.map_or_else(|| "not announced".to_owned(), |day| day.to_string());
            table.add_row([model.id, model.owned_by, stops]);
        }
        println!("{table}");
        for ending in endings {
            println!(
                "warning: `{}` ({}) stops on {}, in {} days: move to another model",
                ending.name, ending.model, ending.shutdown_date, ending.days
            );
        }
        Ok(())
    }
}

fn named(settings: &Settings) -> anyhow::Result<(ModelFile, ModelEntry)> {
    chat::entry(settings)?.context("name a model of the chat model file with --chat-model")
}

fn of_entry(settings: &Settings, name: &str) -> anyhow::Result<(ModelFile, ModelEntry)> {
    let file = ModelFile::load(&settings.chat.file)?;
    let entry = file.entry(name)?.clone();
    Ok((file, entry))
}

async fn find(store: &Store, id: i64) -> anyhow::Result<FinetuneJob> {
    store.finetune_job(id).await?.with_context(|| format!("there is no fine-tuning job {id}"))
}

/// A job as its provider tells of it now.
async fn asked(settings: &Settings, store: &Store, job: &FinetuneJob) -> anyhow::Result<FinetuneJob> {
    let (file, entry) = of_entry(settings, &job.entry)?;
    Ok(Jobs::new(store, &entry, &file.budget)?.refresh(job, clock::now()).await?)
}

/// Whether more is to come of a job that the provider knows.
fn goes_on(job: &FinetuneJob) -> bool {
    job.job.is_some() && !Job::is_final(&job.status)
}

fn told(job: &FinetuneJob) -> String {
    let name = job.job.as_deref().unwrap_or("not at the provider yet");
    if job.is_unsettled() {
        return format!("{name} {}, its tokens are not told: `finetune settle` books what was billed", job.status);
    }
    match (&job.fine_tuned_model, &job.error_code) {
        (Some(model), _) => format!("{name} {}, {model}", job.status),
        (None, Some(code)) => format!("{name} {} ({code})", job.status),
        (None, None) => format!("{name} {}", job.status),
    }
}
