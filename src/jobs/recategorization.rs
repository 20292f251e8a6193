//! Recategorizations as jobs: one that begins a run by the clock, and one that takes a run a step further.

use chrono::{DateTime, TimeDelta, Utc};
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Error, Hands, told};
use crate::{
    causes::with_causes,
    clock,
    domain::{RecategorizationPhase, RecategorizationScope, RecategorizationStep, Urgency},
    recategorize::{
        self, Guards, Plan,
        apply::{self, Ask},
        preview,
    },
    store::{self, NewJob, Recategorization, Store},
};

/// Who begins runs by the clock.
pub const CRON: &str = "cron";
/// Runs among which one is looked for that a job began before its worker died.
const LATEST: u32 = 100;

/// A run to be taken a step further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which run.
    pub run: i64,
    /// What to do with it.
    pub step: RecategorizationStep,
    /// How urgent that is.
    pub urgency: Urgency,
}

impl Step {
    /// Puts it into the queue.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask(self, store: &Store) -> Result<i64, store::Error> {
        store.add_job(self.job()).await
    }

    /// The job, which takes the place of any other step of the run that waits: the run itself says what may be done.
    #[must_use]
    pub fn job(self) -> NewJob {
        let queue = Recategorization::queue(self.run);
        NewJob {
            task: Self::IDENTIFIER,
            payload: serde_json::json!(self),
            key: Some(queue.clone()),
            queue: Some(queue),
            priority: self.urgency.priority(),
            run_at: None,
            keeps_time: false,
        }
    }

    /// What was asked of a run last and is not done, whether it waits, runs or has failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn asked(store: &Store, run: i64) -> Result<Option<RecategorizationStep>, store::Error> {
        let job = store.job_in(Recategorization::queue(run)).await?;
        Ok(job.and_then(|job| serde_json::from_value(job.payload).ok()).map(|Self { step, .. }| step))
    }

    async fn take(self, hands: &Hands) -> Result<(), Error> {
        tracing::info!(recategorization.id = self.run, step = %self.step, "a recategorization is taken up");
        let (came, mut further) = watch::channel(0);
        let done = tokio::select! {
            biased;
            done = self.work(hands, &came) => done,
            () = hands.called_away(self.urgency, &mut further) => {
                self.ask(&hands.store).await?;
                tracing::info!(recategorization.id = self.run, step = %self.step, "a recategorization makes room");
                return Ok(());
            }
        };
        match done {
            Ok(()) => {
                tracing::info!(recategorization.id = self.run, step = %self.step, "a recategorization came further");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(
                    recategorization.id = self.run,
                    error = %with_causes(&error),
                    "a recategorization stopped"
                );
                if may_help(&error) { Err(error.into()) } else { Ok(()) }
            }
        }
    }

    /// Does it, and sends how many rows it has come to.
    async fn work(self, hands: &Hands, came: &watch::Sender<u64>) -> Result<(), recategorize::Error> {
        let Hands { store, pipeline, .. } = hands;
        let (run, told) = (self.run, &|rows, _| {
            came.send_replace(rows);
        });
        match self.step {
            RecategorizationStep::Preview => preview::run(store, pipeline, run, told).await,
            RecategorizationStep::Apply => apply::apply(store, run, clock::now(), told).await,
            RecategorizationStep::Undo => apply::put_back(store, run, told).await,
            RecategorizationStep::PreviewAndApply => {
                let phase = recategorize::find(store, run).await?.phase;
                if matches!(phase, RecategorizationPhase::Predicting | RecategorizationPhase::Previewed) {
                    preview::run(store, pipeline, run, told).await?;
                }
                let ask = Ask { guards: Guards::default(), overrides: None, by: CRON.to_owned() };
                if let Err(refused) = apply::allow(store, run, &ask, clock::now()).await {
                    store.stop_recategorization(run, Some(&with_causes(&refused))).await?;
                    return Err(refused);
                }
                apply::apply(store, run, clock::now(), told).await
            }
        }
    }
}

/// Whether trying again may help: what the run itself or its guards forbid, they forbid the next time too.
fn may_help(error: &recategorize::Error) -> bool {
    match error {
        recategorize::Error::Store(_)
        | recategorize::Error::Pipeline(_)
        | recategorize::Error::Outage { .. }
        | recategorize::Error::OtherEngines { .. }
        | recategorize::Error::Overtaken { .. } => true,
        recategorize::Error::Scope(_)
        | recategorize::Error::Unknown { .. }
        | recategorize::Error::Phase { .. }
        | recategorize::Error::Refused { .. }
        | recategorize::Error::UnknownTaxonomy { .. }
        | recategorize::Error::SameTaxonomy { .. }
        | recategorize::Error::Mapping { .. }
        | recategorize::Error::NeverAnswered { .. }
        | recategorize::Error::NoMigration { .. }
        | recategorize::Error::Concluded { .. }
        | recategorize::Error::LeftTaxonomy { .. }
        | recategorize::Error::Diff(_) => false,
    }
}

impl TaskHandler for Step {
    const IDENTIFIER: &'static str = "recategorization";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let hands = Hands::of(&context)?;
        told(&context, self.take(hands).await)
    }
}

/// A run that a cron line begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recategorize {
    /// What it looks at.
    #[serde(default)]
    pub scope: RecategorizationScope,
    /// Of that, only what was posted in so many days before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_days: Option<u16>,
    /// Why, in a sentence.
    pub reason: String,
    /// The adapter that answers; without one, the line-up does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Whether it is applied where the guards allow that; otherwise a person does.
    #[serde(default)]
    pub apply: bool,
    /// For when the line was due.
    #[serde(default, rename = "_cron", skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
}

/// For when a cron line was due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Due {
    /// The minute.
    pub ts: DateTime<Utc>,
}

impl Recategorize {
    /// The scope of a run on this day.
    #[must_use]
    pub fn scope_at(&self, now: DateTime<Utc>) -> RecategorizationScope {
        let from = self.last_days.map(|days| now - TimeDelta::days(days.into()));
        RecategorizationScope { from: self.scope.from.max(from), ..self.scope.clone() }
    }

    async fn begin(self, hands: &Hands) -> Result<(), Error> {
        let store = &hands.store;
        let due = self.due.as_ref().map_or_else(clock::now, |due| due.ts);
        let scope = self.scope_at(due);
        // Its worker may have died between the two steps.
        let begun = store.recategorizations(None, None, LATEST).await?;
        let same = |run: &&Recategorization| {
            let run = &run.run;
            (run.made_by.as_str(), run.made_at, &run.reason) == (CRON, due, &self.reason)
                && (&run.scope, &run.adapter) == (&scope, &self.adapter)
        };
        let run = match begun.iter().find(same) {
            Some(run) => run.id,
            None => {
                let plan = Plan { scope, adapter: self.adapter, reason: self.reason, by: CRON.to_owned() };
                preview::plan(store, &hands.pipeline, plan, None, due).await?
            }
        };
        let step = if self.apply { RecategorizationStep::PreviewAndApply } else { RecategorizationStep::Preview };
        Step { run, step, urgency: Urgency::Nightly }.ask(store).await?;
        Ok(())
    }
}

impl TaskHandler for Recategorize {
    const IDENTIFIER: &'static str = "recategorize";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let hands = Hands::of(&context)?;
        told(&context, self.begin(hands).await)
    }
}
