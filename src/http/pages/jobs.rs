//! Work that goes on behind answers: stored transactions categorized anew, and models trained elsewhere, with how far each is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    super::{
        error::Error,
        extract::{Named, Who},
        state::AppState,
    },
    page,
};
use crate::{
    domain::{ChangeState, RecategorizationPhase},
    recategorize::Report,
    store::{FinetuneJob, Job, JobFilter, Recategorization},
};

/// Recategorizations on a page.
const MOST_RUNS: u32 = 50;
/// Jobs of the queue on a page.
const MOST_JOBS: u32 = 200;

/// How far a job is, as the page and its stream tell it.
#[derive(Clone, Serialize)]
pub(in super::super) struct Progress {
    /// Which: `recategorization-3`, `finetune-7`.
    job: String,
    state: String,
    /// How much is done of how much, where that is known.
    done: Option<u64>,
    all: Option<u64>,
    under_way: bool,
}

/// What a run's progress is told from.
#[derive(Clone, Copy)]
struct Stands {
    id: i64,
    phase: RecategorizationPhase,
    stopped: bool,
    seen: u64,
    rows: u64,
}

impl Stands {
    fn is_under_way(self) -> bool {
        use RecategorizationPhase as P;
        !self.stopped && matches!(self.phase, P::Predicting | P::Applying | P::Undoing)
    }

    /// Whether it takes counts of its changes to tell how far it is.
    fn is_told_by_changes(self) -> bool {
        use RecategorizationPhase as P;
        matches!(self.phase, P::Applying | P::Applied | P::Undoing | P::Undone)
    }

    /// `changes` are counts of rows by what became of them.
    fn progress(self, changes: &[(ChangeState, u64)]) -> Progress {
        use RecategorizationPhase as P;
        let rows = |states: &[ChangeState]| -> u64 {
            changes.iter().filter(|(state, _)| states.contains(state)).map(|(_, rows)| rows).sum()
        };
        let left = [ChangeState::Undone, ChangeState::Kept];
        let (done, all) = match self.phase {
            P::Predicting | P::Previewed | P::Cancelled => (self.seen, self.rows),
            P::Applying | P::Applied => {
                let done = rows(&[ChangeState::Applied, ChangeState::Skipped]);
                (done, done + rows(&[ChangeState::Proposed]))
            }
            P::Undoing | P::Undone => (rows(&left), rows(&left) + rows(&[ChangeState::Applied])),
        };
        let phase = self.phase.as_str();
        Progress {
            job: format!("recategorization-{}", self.id),
            state: if self.stopped { format!("{phase}, stopped") } else { phase.to_owned() },
            done: Some(done),
            all: Some(all),
            under_way: self.is_under_way(),
        }
    }
}

impl From<&Report> for Progress {
    fn from(run: &Report) -> Self {
        let Report { id, phase, seen, rows, .. } = *run;
        let changes: Vec<_> = run.changes.iter().map(|tally| (tally.state, tally.rows)).collect();
        Stands { id, phase, stopped: run.stopped.is_some(), seen, rows }.progress(&changes)
    }
}

/// How far runs are that go no further by themselves, by their numbers: their changes are counted once, however long somebody looks.
#[derive(Clone, Default)]
pub(in super::super) struct AtRest(Arc<Mutex<HashMap<i64, (RecategorizationPhase, Progress)>>>);

impl AtRest {
    fn known(&self, run: Stands) -> Option<Progress> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&run.id).filter(|(phase, _)| *phase == run.phase).map(|(_, progress)| progress.clone())
    }

    /// Keeps these, and forgets all others.
    fn keep(&self, runs: HashMap<i64, (RecategorizationPhase, Progress)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = runs;
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
pub(in super::super) async fn listed(state: &AppState, at_rest: &AtRest) -> Result<Vec<Progress>, Error> {
    let (mut listed, mut rest) = (Vec::new(), HashMap::new());
    for run in state.store.recategorizations(None, None, MOST_RUNS).await? {
        let Recategorization { id, phase, seen, rows, .. } = run;
        let stands = Stands { id, phase, stopped: run.stopped.is_some(), seen, rows };
        // Who has stopped may have come further since.
        let rests = !stands.is_under_way() && !stands.stopped;
        let progress = match at_rest.known(stands).filter(|_| rests) {
            Some(progress) => progress,
            None => {
                let changes =
                    if stands.is_told_by_changes() { state.store.change_tallies(id).await? } else { Vec::new() };
                stands.progress(&changes.iter().map(|tally| (tally.state, tally.rows)).collect::<Vec<_>>())
            }
        };
        if rests {
            rest.insert(id, (phase, progress.clone()));
        }
        listed.push(progress);
    }
    at_rest.keep(rest);
    let jobs = state.store.finetune_jobs(None).await?;
    listed.extend(jobs.iter().map(Progress::from));
    Ok(listed)
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
    Named(id): Named<Recategorization>,
) -> Result<Response, Error> {
    let run = Report::of(&state.store, id).await?;
    let progress = Progress::from(&run);
    page("recategorization.html", &caller, One { here: "jobs", run: Run { progress, run } })
}
