//! `txcat prompts render|lint|diff`: prompt folders, read, checked and compared without asking anybody.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;

use super::{
    Settings, chat, models,
    service::{Serving, with_store},
};
use crate::{
    categorize::Wording,
    domain::{Taxonomy, Transaction},
    enrich::{Enricher, Examples},
    http, llm,
    model::Encoder,
    prompt::{self, Gravity, PromptSet},
    store::Store,
};

/// Prompt folders.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with prompt folders.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Print the requests for some transactions, as a model gets them.
    Render(Render),
    /// Say what is wrong with a prompt folder; nothing is sent.
    Lint(Lint),
    /// Print what changed between two prompt folders, line by line.
    Diff(Diff),
}

/// Print the requests for some transactions, as a model gets them. Nothing is sent.
///
/// Rows share requests as --chat-model's entry says (10 to one without it), and a text that talks to the model goes
/// alone. --stage says whose prompt, enrichment and retrieval are used: an enriched one needs the database, which
/// knows history and labels.
#[derive(Debug, clap::Args)]
pub struct Render {
    /// Transactions, as `POST /v1/transactions` takes them: `{"transactions": [{"id", "account_id", "posted_at", "amount",
    /// "currency", "direction", "descriptor"}]}`. `-` reads standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print each request's whole body as it leaves the machine, one JSON object after the other: personal data
    /// covered, the form of the answer included. Needs --chat-model, and no key.
    #[arg(long)]
    pub as_sent: bool,

    /// Where stages, prompts and categories are. [--stage's default: the last prompt stage]
    #[command(flatten)]
    pub serving: Serving,
}

/// Say what is wrong with a prompt folder; nothing is sent.
#[derive(Debug, clap::Args)]
pub struct Lint {
    /// The folder: system.j2, user.j2, answer.schema.json, examples.jsonl. [default: those of all stages]
    #[arg(value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub json: bool,

    /// Where stages, prompts and categories are.
    #[command(flatten)]
    pub serving: Serving,
}

/// Print what changed between two prompt folders, line by line.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The folder before.
    pub old: PathBuf,
    /// The folder after.
    pub new: PathBuf,
}

/// Runs `txcat prompts`.
///
/// # Errors
/// When a folder or file can't be read, or `lint` finds an error.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    match options.action {
        Action::Render(render) => with_store(settings, async |store| render.run(settings, store).await).await,
        Action::Lint(lint) => lint.run(),
        Action::Diff(Diff { old, new }) => {
            let (before, after) = (PromptSet::load(&old)?, PromptSet::load(&new)?);
            let text = prompt::diff(&old, &new)?;
            println!("{} → {}", before.version(), after.version());
            println!("{}", if text.is_empty() { "nothing changed" } else { text.trim_end() });
            Ok(())
        }
    }
}

impl Render {
    async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        let taxonomy = self.serving.taxonomy()?;
        let stages = self.serving.files.load()?;
        let entry = match &self.serving.stage {
            Some(name) => stages.entry(name)?,
            None => stages.stages.iter().rfind(|stage| stage.prompt.is_some()).context("no stage has a prompt")?,
        };
        let prompt = self.serving.files.prompt(entry)?;
        let model = chat::entry(settings)?.map(|(_, model)| model);
        ensure!(model.is_some() || !self.as_sent, "--as-sent needs --chat-model: what is sent depends on who gets it");
        let rows = transactions(&self.file)?;
        let enriched = Enricher::open(store.clone()).await?.enrich(rows).await?;
        let examples = match entry.retrieve {
            0 => None,
            _ => {
                let encoder = Encoder::load(models::pull(settings, None).await?)?;
                Some(Examples::live(encoder, store.clone()).await?)
            }
        };
        let version = prompt.version().to_owned();
        let wording = Wording::of_stage(entry, prompt, &taxonomy, &[], examples)?;
        let rows_per_request =
            model.as_ref().map_or_else(llm::config::rows_per_request, |model| model.rows_per_request);
        let asks = wording.asks(&enriched, rows_per_request).await?;
        for (number, ask) in (1..).zip(&asks) {
            match model.as_ref().filter(|_| self.as_sent) {
                Some(model) => println!("{}", serde_json::to_string_pretty(&llm::as_sent(model, ask))?),
                None => {
                    let rows = ask.ids.len();
                    eprintln!("request {number} of {}: {rows} rows, about {} tokens", asks.len(), ask.prompt_tokens());
                    println!("{}\n{}", ask.system.trim_end(), ask.user.trim_end());
                }
            }
        }
        eprintln!("stage `{}`, prompt {version}: {} rows in {} requests", entry.name, enriched.len(), asks.len());
        Ok(())
    }
}

/// The rows of a body as the API takes it.
fn transactions(path: &Path) -> anyhow::Result<Vec<Transaction>> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("can't read standard input")?;
    } else {
        text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    }
    let rows = http::transactions(&text).with_context(|| path.display().to_string())?;
    ensure!(!rows.is_empty(), "{} has no transaction", path.display());
    Ok(rows)
}

impl Lint {
    fn run(self) -> anyhow::Result<()> {
        let taxonomy: Taxonomy = self.serving.taxonomy()?;
        let mut dirs = self.dirs.clone();
        if dirs.is_empty() {
            let file = self.serving.files.load()?;
            let folders = file.stages.iter().filter_map(|stage| stage.prompt.as_ref());
            dirs.extend(folders.map(|folder| self.serving.files.prompts.join(folder)));
            dirs.dedup();
        }
        let mut errors = 0;
        let mut all = Vec::new();
        for dir in &dirs {
            let prompt = PromptSet::load(dir)?;
            let findings = prompt::lint(&prompt, &taxonomy);
            errors += findings.iter().filter(|finding| finding.gravity == Gravity::Error).count();
            if self.json {
                all.push(json!({"prompt": prompt.version(), "findings": findings}));
                continue;
            }
            println!("{}: {}", prompt.version(), if findings.is_empty() { "nothing to say" } else { "" });
            let mut table = Table::new();
            table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["", "file", "what"]);
            for finding in &findings {
                let gravity = if finding.gravity == Gravity::Error { "error" } else { "warning" };
                table.add_row([gravity, finding.file, &finding.says]);
            }
            if !findings.is_empty() {
                println!("{table}");
            }
        }
        if self.json {
            println!("{}", json!({"prompts": all}));
        }
        ensure!(errors == 0, "{errors} error{} in prompts", if errors == 1 { "" } else { "s" });
        Ok(())
    }
}
