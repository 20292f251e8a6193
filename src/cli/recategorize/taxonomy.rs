//! From one taxonomy to another.

use std::{fs, path::PathBuf};

use anyhow::Context as _;

use super::{Moving, show::print};
use crate::{
    access::LOCAL,
    cli::{
        Settings, chat,
        service::{Serving, said},
    },
    clock,
    domain::TaxonomyMapping,
    recategorize::{Report, preview, taxonomy},
    store::Store,
};

/// What a mapping looks like, and how a change goes.
const EXAMPLE: &str = r#"A mapping file:
  from = "consumer@1f3a9c02"          # the version that answers name
  [map]
  coffee_shop = "cafes"               # a new name
  restaurant = "dining"               # several may become one
  fast_food = "dining"
  other_shopping = ["hobbies", "household"]   # one of these, as the stage chooses row by row

From the file to the end:
  txcat recategorize taxonomy preview --mapping FILE --taxonomy new.toml --stage few_shot --reason "fewer, clearer"
  txcat recategorize apply 7
  txcat recategorize taxonomy conclude 7"#;

/// Leads everything stored to another taxonomy, by a mapping from old categories to new ones.
///
/// A category that both have needs no line where it stays what it is. Every mistake in the file is named at once. The run
/// that comes of it is shown, applied and undone as any other. What a person said is renamed with its category; where that
/// is split, the row waits for a person, and the old word stays stored. From `apply` on, answers tell the category in both
/// taxonomies (`category` in the new one, `shadow_category` in the old one), until `conclude`, or until it is undone.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Taxonomy {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Find out what would become of everything.
    Preview(Box<Preview>),
    /// Answer in the new taxonomy alone; from then on nothing is taken back.
    Conclude(Conclude),
}

impl Taxonomy {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        match self.action {
            Action::Preview(preview) => preview.run(settings, store).await,
            Action::Conclude(conclude) => conclude.run(store).await,
        }
    }
}

/// Checks a mapping and keeps what would become of every row. `resume` goes on with it, given the same taxonomy and stage.
#[derive(Debug, clap::Args)]
pub struct Preview {
    /// The mapping: a TOML file.
    #[arg(long, value_name = "FILE")]
    pub mapping: PathBuf,

    /// Why, in a sentence: it is kept with the run.
    #[arg(long, value_name = "TEXT", value_parser = said)]
    pub reason: String,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// The new taxonomy (`--taxonomy`), and which stage chooses where a category is split. It must answer in the new
    /// taxonomy, so no adapter that was trained in the old one can.
    #[command(flatten)]
    pub serving: Serving,
}

impl Preview {
    async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        chat::check(settings)?;
        let shown = self.mapping.display();
        let text = fs::read_to_string(&self.mapping).with_context(|| format!("can't read {shown}"))?;
        let mapping: TaxonomyMapping = toml::from_str(&text).with_context(|| format!("{shown} is no mapping"))?;
        // A mapping may lead back to a taxonomy that was left.
        let taxonomy = self.serving.taxonomy_in_force(store).await?;
        let ready = self.serving.pipeline_in(taxonomy, settings, store).await?;
        let plan = taxonomy::Plan { mapping, reason: self.reason, by: LOCAL.to_owned() };
        let id = taxonomy::plan(store, &ready.pipeline, &ready.taxonomy, plan, None, clock::now()).await?;
        eprintln!("recategorization {id} begun");
        let moving = Moving::begin("asked");
        let done = preview::run(store, &ready.pipeline, id, &moving.to()).await;
        moving.end_of(done)?;
        print(&Report::of(store, id).await?, self.json)
    }
}

/// Ends the time in which answers tell both taxonomies.
#[derive(Debug, clap::Args)]
pub struct Conclude {
    /// The run's number.
    #[arg(value_name = "RUN")]
    pub run: i64,
}

impl Conclude {
    async fn run(self, store: &Store) -> anyhow::Result<()> {
        taxonomy::conclude(store, self.run, LOCAL, clock::now()).await?;
        println!("recategorization {} is concluded: answers name the new taxonomy alone", self.run);
        Ok(())
    }
}
