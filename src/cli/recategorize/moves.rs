//! A run brought into force, put back, or given up.

use super::{Moving, show::print};
use crate::{
    access::LOCAL,
    cli::service::{said, share},
    clock,
    domain::RecategorizationPhase,
    recategorize::{
        self, Guards, Report,
        apply::{self, Ask},
    },
    store::Store,
};

/// Brings a previewed run into force, 5,000 rows at a time. Rows on which a person has spoken since the preview, or whose
/// category has changed otherwise, are skipped and shown.
///
/// Guards refuse where too much would change, where a category of 100 rows or more would lose too many of them, or where
/// people's labels say that answers get worse; --override says why that shall not count, and is kept. Killed, give the
/// command again: nothing is applied twice.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The run's number.
    #[arg(value_name = "RUN")]
    pub run: i64,

    /// The largest share of the scope that may change.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    pub max_changed: f32,

    /// The largest share of its rows that a category may lose.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    pub max_category_loss: f32,

    /// Why guards that refuse shall not count.
    #[arg(long = "override", value_name = "REASON", value_parser = said)]
    pub overrides: Option<String>,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
}

impl Apply {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        let guards = Guards { max_changed: self.max_changed.into(), max_category_loss: self.max_category_loss.into() };
        let ask = Ask { guards, overrides: self.overrides, by: LOCAL.to_owned() };
        let now = clock::now();
        said_if_done(store, self.run, RecategorizationPhase::Applied).await?;
        apply::allow(store, self.run, &ask, now).await?;
        let moving = Moving::begin("looked at, to apply");
        let done = apply::apply(store, self.run, now, &moving.to()).await;
        moving.end_of(done)?;
        print(&Report::of(store, self.run).await?, self.json)
    }
}

/// Puts back everything that a run changed, as it was to the byte, also of a run that was applied in part. Rows on which
/// a person has spoken since, or that another run has changed since, are kept and shown.
#[derive(Debug, clap::Args)]
pub struct Undo {
    /// The run's number.
    #[arg(value_name = "RUN")]
    pub run: i64,

    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
}

impl Undo {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        said_if_done(store, self.run, RecategorizationPhase::Undone).await?;
        let moving = Moving::begin("looked at, to put back");
        let done = apply::undo(store, self.run, LOCAL, clock::now(), &moving.to()).await;
        moving.end_of(done)?;
        print(&Report::of(store, self.run).await?, self.json)
    }
}

/// Says so where all is done already: the same command is given again after a kill, so that is no failure.
async fn said_if_done(store: &Store, run: i64, there: RecategorizationPhase) -> anyhow::Result<()> {
    if recategorize::find(store, run).await?.phase == there {
        eprintln!("recategorization {run} is {there} already: nothing is left to do");
    }
    Ok(())
}

/// Gives up a run of which nothing was applied; a preview that is under way stops at its next page.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// The run's number.
    #[arg(value_name = "RUN")]
    pub run: i64,
}

impl Cancel {
    pub(super) async fn run(self, store: &Store) -> anyhow::Result<()> {
        apply::cancel(store, self.run, LOCAL, clock::now()).await?;
        println!("recategorization {} is cancelled", self.run);
        Ok(())
    }
}
