//! Finding out what would change, and going on with that.

use chrono::{DateTime, Utc};

use super::{Moving, show::print};
use crate::{
    access::LOCAL,
    cli::{
        Settings, chat,
        service::{Serving, said, share},
    },
    clock,
    domain::{AccountId, DescriptorKey, RecategorizationScope, Slug, instant},
    recategorize::{Plan, Report, preview},
    store::Store,
};

/// Asks the stage about the rows of a scope and keeps what would change. All that narrows the scope must hold at once;
/// what may be repeated holds where one of the values does.
///
/// Rows that come while it runs are not in it. Killed, it goes on with `resume`.
#[derive(Debug, clap::Args)]
pub struct Preview {
    /// Posted at this time or later: an RFC 3339 time, or a day (YYYY-MM-DD), which is its first moment in UTC.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<DateTime<Utc>>,

    /// Posted before this time, written as --from is. A day is not part of the scope itself: 2026-04-01 takes what was
    /// posted up to the end of March.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub to: Option<DateTime<Utc>>,

    /// Of this account. May be repeated.
    #[arg(long, value_name = "ID")]
    pub account: Vec<AccountId>,

    /// Of this merchant, by its descriptor key such as `blue bottle`. May be repeated.
    #[arg(long, value_name = "KEY")]
    pub merchant: Vec<String>,

    /// With this category in force. May be repeated.
    #[arg(long, value_name = "CATEGORY")]
    pub category: Vec<Slug>,

    /// Answered by this engine, as `txcat recategorize show` and the API name it. May be repeated.
    #[arg(long, value_name = "ENGINE")]
    pub engine: Vec<String>,

    /// Answered with less confidence than this, from 0 to 1.
    #[arg(long, value_name = "CONFIDENCE", value_parser = share)]
    pub below: Option<f32>,

    /// All rows; nothing else may narrow the scope then.
    #[arg(long)]
    pub everything: bool,

    /// Why, in a sentence: it is kept with the run.
    #[arg(long, value_name = "TEXT", value_parser = said)]
    pub reason: String,

    /// A registered adapter that answers in the line-up's place, such as `consumer@3`.
    #[arg(long, value_name = "REFERENCE")]
    pub answered_by: Option<String>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Which stage answers.
    #[command(flatten)]
    pub serving: Serving,
}

impl Preview {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        chat::check(settings)?;
        let scope = RecategorizationScope {
            from: self.from,
            to: self.to,
            account_ids: self.account,
            descriptor_keys: self.merchant.iter().map(|key| DescriptorKey::from_stored(key)).collect(),
            categories: self.category,
            engines: self.engine,
            below_confidence: self.below,
            everything: self.everything,
        };
        let scope = scope.checked()?;
        let pipeline = self.serving.pipeline(settings, store).await?.pipeline;
        let plan = Plan { scope, adapter: self.answered_by, reason: self.reason, by: LOCAL.to_owned() };
        let id = preview::plan(store, &pipeline, plan, None, clock::now()).await?;
        eprintln!("recategorization {id} begun");
        let moving = Moving::begin("asked");
        let done = preview::run(store, &pipeline, id, &moving.to()).await;
        moving.end_of(done)?;
        print(&Report::of(store, id).await?, self.json)
    }
}

/// Goes on with a preview where it stopped, and tries rows again that could not be answered. The same engines must
/// answer as when it began: give the same stage.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// The run's number.
    #[arg(value_name = "RUN")]
    pub run: i64,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,

    /// Which stage answers.
    #[command(flatten)]
    pub serving: Serving,
}

impl Resume {
    pub(super) async fn run(self, settings: &Settings, store: &Store) -> anyhow::Result<()> {
        chat::check(settings)?;
        // A migration may lead back to a taxonomy that was left.
        let taxonomy = match store.taxonomy_migration(self.run).await? {
            Some(_) => self.serving.taxonomy_in_force(store).await?,
            None => self.serving.taxonomy_to_write(store).await?,
        };
        let pipeline = self.serving.pipeline_in(taxonomy, settings, store).await?.pipeline;
        let moving = Moving::begin("asked");
        let done = preview::run(store, &pipeline, self.run, &moving.to()).await;
        moving.end_of(done)?;
        print(&Report::of(store, self.run).await?, self.json)
    }
}
