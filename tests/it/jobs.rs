//! Jobs: what is asked for is done by whichever worker is free, also after one has died.

mod killed;
mod webhooks;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::json;
use txcat::{
    categorize::{Categorizer, Error},
    domain::{EnrichedTransaction, JobState, Prediction, RecategorizationStep, Urgency},
    jobs::recategorization::{Recategorize, Step},
    pipeline::Pipeline,
    store::{Job, JobFilter, NewJob, Store},
};

use crate::{
    harness::{Run as _, txcat, work},
    recategorize::{Stand, everything, rows},
    store::in_force,
};

pub(crate) async fn queue(store: &Store) -> Vec<Job> {
    store.jobs(&JobFilter::default(), 100).await.unwrap()
}

/// Looks until it holds.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::task::yield_now().await;
    }
}

/// A preview of a few rows that waits for a worker: who would answer, and the run.
pub(crate) async fn waiting_preview() -> (Stand, Arc<Pipeline>, i64) {
    let stand = Stand::start().await;
    stand.answered(&rows(9)).await;
    let pipeline = Arc::new(stand.next());
    let run = stand.planned(&pipeline, everything()).await;
    let step = Step { run, step: RecategorizationStep::Preview, urgency: Urgency::Interactive };
    step.ask(&stand.store).await.unwrap();
    (stand, pipeline, run)
}

#[tokio::test]
async fn a_step_waits_for_a_worker_and_is_gone_when_it_is_done() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let pipeline = Arc::new(stand.next());
    let run = stand.planned(&pipeline, everything()).await;
    let step = |step| Step { run, step, urgency: Urgency::Interactive };
    step(RecategorizationStep::Preview).ask(&stand.store).await.unwrap();
    step(RecategorizationStep::Preview).ask(&stand.store).await.unwrap();
    let waiting = queue(&stand.store).await;
    assert_eq!(waiting.len(), 1, "asked for twice, to be done once");
    assert_eq!((waiting[0].state, waiting[0].attempts), (JobState::Waiting, 0));
    let job = stand.report(run).await.job.unwrap();
    assert_eq!((job.id, job.state, job.worker), (waiting[0].id, JobState::Waiting, None));

    let worker = work(&stand.store, &pipeline, 1);
    until(async || stand.report(run).await.phase.as_str() == "previewed").await;
    until(async || queue(&stand.store).await.is_empty()).await;
    drop(worker);
    assert_eq!(stand.report(run).await.job, None);
}

#[tokio::test]
async fn what_began_by_the_clock_is_one_run_however_often_its_job_is_begun() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let due = json!({ "ts": "2026-03-14T02:30:00Z", "backfilled": false });
    let asked = json!({ "scope": { "everything": true }, "reason": "nightly", "apply": true, "_cron": due });
    let asked: Recategorize = serde_json::from_value(asked).unwrap();
    let other = Recategorize { reason: "another line".to_owned(), apply: false, ..asked.clone() };
    for asked in [&asked, &asked, &other] {
        let job = NewJob {
            task: "recategorize",
            payload: serde_json::to_value(asked).unwrap(),
            queue: Some("one after the other".to_owned()),
            key: None,
            priority: Urgency::Nightly.priority(),
            run_at: None,
            keeps_time: false,
        };
        stand.store.add_job(job).await.unwrap();
    }
    let worker = work(&stand.store, &Arc::new(stand.next()), 2);
    until(async || queue(&stand.store).await.is_empty()).await;
    drop(worker);
    let runs = stand.text("select concat_ws(' ', made_by, reason, phase) from recategorizations order by id").await;
    let told = "two thirds would change, so the guards keep it from being applied";
    assert_eq!(runs, "cron nightly previewed\ncron another line previewed", "{told}");
    assert!(in_force(&stand.store, "t1").await.starts_with("supermarket"));
    let told = |arguments: &[&str]| txcat(&["recategorize"]).args(arguments).on(&stand.database.url).run();
    let shown = told(&["show", "1"]).ok();
    assert!(shown.contains("it went no further: 66.7 % of the scope would change"), "{shown}");
    told(&["apply", "1", "--override", "a person looked"]).ok();
    assert_eq!(stand.report(1).await.stopped, None);
}

/// An engine that never answers.
struct Stuck;

impl Categorizer for Stuck {
    fn engine(&self) -> &str {
        "scripted@2"
    }

    fn categorize<'a>(&'a self, _: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn what_takes_the_night_makes_room_for_what_a_person_waits_for_and_is_handed_back() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let asked_for = stand.previewed(everything()).await;
    stand.allow(asked_for).await;
    let stuck = Arc::new(stand.pipeline(Stuck));
    let nightly = stand.planned(&stuck, everything()).await;
    let night = Step { run: nightly, step: RecategorizationStep::Preview, urgency: Urgency::Nightly };
    night.ask(&stand.store).await.unwrap();
    let worker = work(&stand.store, &stuck, 1);
    until(async || stand.report(nightly).await.job.is_some_and(|job| job.state == JobState::Running)).await;
    let apply = Step { run: asked_for, step: RecategorizationStep::Apply, urgency: Urgency::Interactive };
    apply.ask(&stand.store).await.unwrap();
    until(async || stand.report(asked_for).await.phase.as_str() == "applied").await;

    // Told to stop, the worker puts back what it can't finish.
    until(async || stand.report(nightly).await.job.is_some_and(|job| job.state == JobState::Running)).await;
    drop(worker);
    until(async || queue(&stand.store).await.iter().all(|job| job.state == JobState::Waiting)).await;
    let left = queue(&stand.store).await;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].attempts, &left[0].last_error), (0, &None), "that is no failure");
}

#[tokio::test]
async fn the_command_line_lists_retries_and_cancels_jobs() {
    let help = txcat(&["jobs", "--help"]).run().ok();
    assert!(help.contains("  txcat jobs retry 12\n"), "{help}");
    let stand = Stand::start().await;
    let step = Step { run: 77, step: RecategorizationStep::Undo, urgency: Urgency::Nightly };
    let id = step.ask(&stand.store).await.unwrap().to_string();
    let txcat = |arguments: &[&str]| txcat(arguments).on(&stand.database.url).run();
    let listed = txcat(&["jobs", "list", "--json"]).json();
    assert_eq!(
        (&listed["jobs"][0]["task"], &listed["jobs"][0]["payload"]["run"]),
        (&json!("recategorization"), &json!(77))
    );
    let shown = txcat(&["jobs", "show", &id]).ok();
    assert!(shown.contains("is waiting: recategorization"), "{shown}");
    txcat(&["jobs", "retry", &id]).ok();
    let error = txcat(&["jobs", "retry", "12345"]).refused(1);
    assert_eq!(error, "txcat: there is no job 12345: it was never there, or is done\n");
    txcat(&["jobs", "cancel", &id]).ok();
    assert!(queue(&stand.store).await.is_empty());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nightly.cron");
    std::fs::write(&file, "30 2 * * * recategorize ?id=doubtful {scope:{below_confidence:0.8},reason:\"nightly\"}\n")
        .unwrap();
    let file = file.to_str().unwrap();
    let told = txcat(&["jobs", "cron", file]).ok();
    assert!(told.contains("doubtful") && told.contains("02:30") && told.contains("previewed"), "{told}");
    std::fs::write(file, "30 2 * * * recategorise {}\n").unwrap();
    let error = txcat(&["worker", "--cron", file]).refused(1);
    assert!(error.contains("cron line 1: there is no task `recategorise`"), "{error}");
}

#[tokio::test]
async fn a_run_that_is_given_up_leaves_no_job_behind() {
    let stand = Stand::start().await;
    stand.answered(&rows(9)).await;
    let pipeline = stand.next();
    let begin = async || {
        let run = stand.planned(&pipeline, everything()).await;
        let step = Step { run, step: RecategorizationStep::Preview, urgency: Urgency::Interactive };
        step.ask(&stand.store).await.unwrap();
        run
    };
    let (waiting, failed, other) = (begin().await, begin().await, begin().await);
    let fail = format!(
        "update graphile_worker._private_jobs as jobs set attempts = max_attempts, last_error = 'it broke'
        from graphile_worker._private_job_queues as queues
        where queues.id = jobs.job_queue_id and queue_name = 'recategorization:{failed}' returning queue_name"
    );
    assert!(!stand.text(&fail).await.is_empty());
    for run in [waiting, failed] {
        txcat(&["recategorize", "cancel", &run.to_string()]).on(&stand.database.url).run().ok();
    }
    let left: Vec<_> = queue(&stand.store).await.into_iter().map(|job| job.queue).collect();
    assert_eq!(left, [Some(format!("recategorization:{other}"))]);
    assert_eq!(stand.report(failed).await.job, None);
}

#[tokio::test]
async fn a_queue_that_is_kept_for_a_job_that_is_gone_is_freed() {
    let (stand, pipeline, run) = waiting_preview().await;
    let keep = "update graphile_worker._private_job_queues
                set locked_by = 'a worker', locked_at = now() - interval '1 minute' returning locked_by";
    assert_eq!(stand.text(keep).await, "a worker");
    let worker = work(&stand.store, &pipeline, 1);
    until(async || stand.report(run).await.phase.as_str() == "previewed").await;
    drop(worker);
}

#[tokio::test]
async fn a_job_whose_place_another_took_and_whose_worker_died_is_dropped() {
    let (stand, _, run) = waiting_preview().await;
    let die = "update graphile_worker._private_jobs set locked_by = 'a worker', locked_at = now() returning locked_by";
    assert_eq!(stand.text(die).await, "a worker");
    let step = Step { run, step: RecategorizationStep::Preview, urgency: Urgency::Interactive };
    let asked = step.ask(&stand.store).await.unwrap();
    assert_eq!(stand.store.drop_replaced_jobs().await.unwrap(), 0, "its worker may still be at it");
    let freed = "update graphile_worker._private_jobs set locked_by = null, locked_at = null
                 where locked_at is not null returning 'freed'";
    assert_eq!(stand.text(freed).await, "freed");
    assert_eq!(stand.store.drop_replaced_jobs().await.unwrap(), 1);
    let left: Vec<i64> = queue(&stand.store).await.into_iter().map(|job| job.id).collect();
    assert_eq!(left, [asked]);
}
