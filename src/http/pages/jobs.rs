//! Work that goes on behind answers: stored transactions categorized anew, and models trained elsewhere, with how far each is.

use axum::{
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use serde::Serialize;

use super::{
    super::{error::Error, extract::Who, state::AppState},
    page,
};
use crate::{
    domain::{ChangeState, RecategorizationPhase},
    recategorize::Report,
    store::{FinetuneJob, Job, JobFilter},
};

/// Recategorizations on a page.
const MOST_RUNS: u32 = 50;
/// Jobs of the queue on a page.
const MOST_JOBS: u32 = 200;

/// How far a job is, as the page and its stream tell it.
#[derive(Serialize)]
pub(in super::super) struct Progress {
    /// Which: `recategorization-3`, `finetune-7`.
    job: String,
    state: String,
    /// How much is done of how much, where that is known.
    done: Option<u64>,
    all: Option<u64>,
    under_way: bool,
}

impl From<&Report> for Progress {
    fn from(run: &Report) -> Self {
        use RecategorizationPhase as P;
        let rows = |states: &[ChangeState]| -> u64 {
            run.changes.iter().filter(|tally| states.contains(&tally.state)).map(|tally| tally.rows).sum()
        };
        let left = [ChangeState::Undone, ChangeState::Kept];
        let (done, all) = match run.phase {
            P::Predicting | P::Previewed | P::Cancelled => (run.seen, run.rows),
            P::Applying | P::Applied => {
                let done = rows(&[ChangeState::Applied, ChangeState::Skipped]);
                (done, done + rows(&[ChangeState::Proposed]))
            }
            P::Undoing | P::Undone => (rows(&left), rows(&left) + rows(&[ChangeState::Applied])),
        };
        let stopped = run.stopped.is_some();
        Self {
            job: format!("recategorization-{}", run.id),
            state: if stopped { format!("{}, stopped", run.phase.as_str()) } else { run.phase.as_str().to_owned() },
            done: Some(done),
            all: Some(all),
            under_way: !stopped && matches!(run.phase, P::Predicting | P::Applying | P::Undoing),
        }
    }
}

impl From<&FinetuneJob> for Progress {
    fn from(job: &FinetuneJob) -> Self {
        Self {
            job: format!("finetune-{}", job.id),
            state: job.status.clone(),
            done: None,
            all: None,
            under_way: job.finished_at.is_none(),
        }
    }
}

#[derive(Serialize)]
struct Run {
    #[serde(flatten)]
    progress: Progress,
    run: Report,
}

#[derive(Serialize)]
struct Tuning {
    #[serde(flatten)]
    progress: Progress,
    tuning: FinetuneJob,
}

#[derive(Serialize)]
struct Jobs {
    here: &'static str,
    runs: Vec<Run>,
    queue: Vec<Job>,
    jobs: Vec<Tuning>,
}

/// Every job that the page lists, with how far it is.
pub(in super::super) async fn listed(state: &AppState) -> Result<Vec<Progress>, Error> {
    let runs = Report::list(&state.store, None, MOST_RUNS).await?;
    let jobs = state.store.finetune_jobs(None).await?;
    Ok(runs.iter().map(Progress::from).chain(jobs.iter().map(Progress::from)).collect())
}

pub(super) async fn show(State(state): State<AppState>, Who(caller): Who) -> Result<Response, Error> {
    let runs = Report::list(&state.store, None, MOST_RUNS).await?.into_iter();
    let jobs = state.store.finetune_jobs(None).await?.into_iter();
    let shown = Jobs {
        here: "jobs",
        queue: state.store.jobs(&JobFilter::default(), MOST_JOBS).await?,
        runs: runs.map(|run| Run { progress: Progress::from(&run), run }).collect(),
        jobs: jobs.map(|tuning| Tuning { progress: Progress::from(&tuning), tuning }).collect(),
    };
    page("jobs.html", &caller, shown)
}

#[derive(Serialize)]
struct One {
    here: &'static str,
    #[serde(flatten)]
    run: Run,
}

/// What one run would change or has changed.
pub(super) async fn recategorization(
    State(state): State<AppState>,
    Who(caller): Who,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Response, Error> {
    let Path(id) = id.map_err(|_| Error::UnknownRecategorization)?;
    let run = Report::of(&state.store, id).await?;
    let progress = Progress::from(&run);
    page("recategorization.html", &caller, One { here: "jobs", run: Run { progress, run } })
}
