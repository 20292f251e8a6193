//! Runs that are killed, rows that fail, calls that come twice.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::FutureExt as _;
use txcat::{
    domain::ChangeState,
    pipeline::Pipeline,
    recategorize::{
        Error, Guards,
        apply::{self, Ask},
        preview,
    },
    store::PageDone,
};

use super::{NEXT, Stand, everything, rows};
use crate::{
    harness::{Line, Scripted},
    store::{hour, in_force, row},
};

const OTHER: &[Line] = &[("", "bakery", 0.96875, "restaurant")];

/// Runs a preview until so many rows are seen, and ends it there, whatever its other steps are at.
async fn killed_at(stand: &Stand, pipeline: &Pipeline, run: i64, seen: u64) {
    let told = |done: u64, _: u64| {
        if done >= seen {
            resume_unwind(Box::new("killed"));
        }
    };
    let killed = AssertUnwindSafe(preview::run(&stand.store, pipeline, run, &told)).catch_unwind().await;
    assert!(killed.is_err(), "it ended before: {killed:?}");
}

const PROPOSALS: &str = "select concat_ws('|', transaction_id, from_category, to_category, decision, before, state) \
                         from recategorization_changes where run_id = ";

#[tokio::test]
async fn a_killed_preview_goes_on_and_ends_as_an_undisturbed_one() {
    let stand = Stand::start().await;
    stand.answered(&rows(3_500)).await;
    let pipeline = stand.next();
    let undisturbed = stand.previewed(everything()).await;
    let killed = stand.planned(&pipeline, everything()).await;
    for seen in [0, 1_000, 1_000, 3_000] {
        killed_at(&stand, &pipeline, killed, seen).await;
        let report = stand.report(killed).await;
        assert_eq!((report.phase.as_str(), report.seen), ("predicting", seen), "what a page did is kept, or nothing");
    }
    preview::run(&stand.store, &pipeline, killed, &|_, _| {}).await.unwrap();
    let [one, other] = [undisturbed, killed].map(async |run| stand.text(&format!("{PROPOSALS}{run} order by 1")).await);
    let (one, other) = (one.await, other.await);
    assert!(one == other && one.lines().count() > 2_000);
    let (one, other) = (stand.report(undisturbed).await, stand.report(killed).await);
    assert_eq!((one.seen, one.diff), (other.seen, other.diff));
}

#[tokio::test]
async fn a_killed_apply_and_a_killed_undo_go_on() {
    let stand = Stand::start().await;
    stand.answered(&rows(3_300)).await;
    let before = stand.dump().await;
    let whole = stand.previewed(everything()).await;
    stand.apply(whole).await;
    let applied =
        stand.text("select concat_ws('|', transaction_id, category, review_status) from in_force order by 1").await;
    stand.undo(whole).await;
    assert!(stand.dump().await == before);

    let run = stand.previewed(everything()).await;
    let ask = Ask { guards: Guards::default(), overrides: Some("a test".to_owned()), by: "night".to_owned() };
    apply::allow(&stand.store, run, &ask, hour(2_001)).await.unwrap();
    assert_eq!(stand.store.apply_recategorization(run, 500, hour(2_001)).await.unwrap(), Some(500));
    assert_eq!(stand.report(run).await.phase.as_str(), "applying");
    stand.apply(run).await;
    let now =
        stand.text("select concat_ws('|', transaction_id, category, review_status) from in_force order by 1").await;
    assert!(now == applied, "in pieces as in one go");

    apply::allow_undo(&stand.store, run, "night", hour(2_002)).await.unwrap();
    assert_eq!(stand.store.undo_recategorization(run, 700).await.unwrap(), Some(700));
    stand.undo(run).await;
    assert!(stand.dump().await == before);
}

#[tokio::test]
async fn half_of_a_run_can_be_undone() {
    let stand = Stand::start().await;
    stand.answered(&rows(90)).await;
    let before = stand.dump().await;
    let run = stand.previewed(everything()).await;
    let ask = Ask { guards: Guards::default(), overrides: Some("a test".to_owned()), by: "night".to_owned() };
    apply::allow(&stand.store, run, &ask, hour(2_001)).await.unwrap();
    stand.store.apply_recategorization(run, 25, hour(2_001)).await.unwrap();
    stand.undo(run).await;
    assert_eq!(stand.dump().await, before);
    assert_eq!(stand.tally(run, ChangeState::Undone).await, [(None, 25)]);
    assert_eq!(stand.store.apply_recategorization(run, 25, hour(2_001)).await.unwrap(), None, "and not gone on with");
}

#[tokio::test]
async fn applying_twice_changes_nothing() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let run = stand.previewed(everything()).await;
    let (one, other) = (stand.apply(run), stand.apply(run));
    tokio::join!(one, other);
    let (dump, answers) = (stand.dump().await, stand.text("select count(*)::text from predictions").await);
    assert_eq!(answers, "100", "60 answers and 40 changes, each once");
    stand.apply(run).await;
    assert_eq!((stand.dump().await, stand.text("select count(*)::text from predictions").await), (dump, answers));
    stand.undo(run).await;
    let dump = stand.dump().await;
    stand.undo(run).await;
    assert_eq!(stand.dump().await, dump);
    let ask = Ask { guards: Guards::default(), overrides: None, by: "night".to_owned() };
    let again = apply::allow(&stand.store, run, &ask, hour(2_003)).await.unwrap_err();
    assert_eq!(again.to_string(), format!("recategorization {run} is undone: it can't be applied from there"));
}

#[tokio::test]
async fn rows_that_fail_are_listed_and_tried_again() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let calm = Scripted::new(stand.taxonomy.version());
    calm.mended().store(true, Ordering::SeqCst);
    let bad = [row("bad1", "account-1", 20, "ENGINE FAILS HERE"), row("bad2", "account-2", 30, "ENGINE PANICS HERE")];
    stand.pipeline(calm).process(&bad, None, hour(1_000)).await.unwrap();

    let engine = Scripted::saying(stand.taxonomy.version(), "scripted@2", NEXT);
    let mended = engine.mended();
    let pipeline = stand.pipeline(engine);
    let run = stand.planned(&pipeline, everything()).await;
    preview::run(&stand.store, &pipeline, run, &|_, _| {}).await.unwrap();
    let report = stand.report(run).await;
    assert_eq!((report.phase.as_str(), report.seen, report.failed), ("previewed", 62, 2), "the others go on");
    assert_eq!(report.diff.unwrap().changed, 40);
    let failed: Vec<_> = report.failures.iter().map(|row| (row.transaction_id.as_str(), row.tries)).collect();
    assert_eq!(failed, [("bad1", 1), ("bad2", 1)]);
    assert!(report.failures[0].why.contains("answered 0 of 1 rows"), "{:?}", report.failures);

    preview::run(&stand.store, &pipeline, run, &|_, _| {}).await.unwrap();
    assert_eq!(stand.report(run).await.failures[1].tries, 2, "still so");
    // As a process that dies once the rows are kept, and before they are counted, leaves it.
    let cursor = stand.store.recategorization(run).await.unwrap().unwrap().cursor;
    assert!(stand.store.put_recategorization_page(run, cursor.as_ref(), &PageDone::default()).await.unwrap());
    let ask = Ask { guards: Guards::default(), overrides: Some("a test".to_owned()), by: "night".to_owned() };
    let refused = apply::allow(&stand.store, run, &ask, hour(2_001)).await.unwrap_err();
    assert!(matches!(refused, Error::Phase { .. }), "its diff does not count them: {refused}");
    mended.store(true, Ordering::SeqCst);
    preview::run(&stand.store, &pipeline, run, &|_, _| {}).await.unwrap();
    let report = stand.report(run).await;
    assert_eq!((report.seen, report.failed, report.diff.unwrap().changed), (62, 0, 42));
    stand.apply(run).await;
    assert!(in_force(&stand.store, "bad1").await.starts_with("fast_food by stage"));
}

#[tokio::test]
async fn rows_that_failed_stay_as_they_are_when_the_others_are_applied() {
    let stand = Stand::start().await;
    stand.answered(&rows(9)).await;
    let calm = Scripted::new(stand.taxonomy.version());
    calm.mended().store(true, Ordering::SeqCst);
    let bad = [row("bad", "account-1", 20, "ENGINE FAILS HERE")];
    stand.pipeline(calm).process(&bad, None, hour(1_000)).await.unwrap();
    let run = stand.previewed(everything()).await;
    stand.apply(run).await;
    assert!(in_force(&stand.store, "bad").await.starts_with("restaurant by stage"));
    assert_eq!(stand.report(run).await.failed, 1, "and is still listed");
}

#[tokio::test]
async fn others_that_would_answer_now_do_not_go_on_with_a_run() {
    let stand = Stand::start().await;
    stand.answered(&rows(9)).await;
    let run = stand.planned(&stand.next(), everything()).await;
    let other = stand.pipeline(Scripted::saying(stand.taxonomy.version(), "scripted@3", OTHER));
    let refused = preview::run(&stand.store, &other, run, &|_, _| {}).await.unwrap_err();
    assert!(matches!(refused, Error::OtherEngines { .. }), "{refused}");
    assert!(stand.report(run).await.stopped.unwrap().contains("scripted@3"));
    preview::run(&stand.store, &stand.next(), run, &|_, _| {}).await.unwrap();
    let ended = stand.report(run).await;
    assert_eq!(ended.stopped, None);
    preview::run(&stand.store, &other, run, &|_, _| {}).await.unwrap_err();
    let after = stand.report(run).await;
    assert_eq!((after.phase, after.stopped), (ended.phase, None), "a preview that has ended stands as it is");
}

#[tokio::test]
async fn two_processes_at_one_preview_never_count_a_row_twice() {
    let stand = Stand::start().await;
    stand.answered(&rows(2_500)).await;
    let pipeline = stand.next();
    let run = stand.planned(&pipeline, everything()).await;
    let (pages, most) = (AtomicU64::new(0), Mutex::new(0));
    let told = |done: u64, _: u64| {
        pages.fetch_add(1, Ordering::SeqCst);
        let mut most = most.lock().unwrap();
        *most = done.max(*most);
    };
    let (one, other) = tokio::join!(
        preview::run(&stand.store, &pipeline, run, &told),
        preview::run(&stand.store, &pipeline, run, &told)
    );
    let overtaken = [one, other].into_iter().filter(|done| matches!(done, Err(Error::Overtaken { .. }))).count();
    assert!(overtaken <= 1);
    let report = stand.report(run).await;
    assert_eq!((report.phase.as_str(), report.seen, *most.lock().unwrap()), ("previewed", 2_500, 2_500));
    assert!(pages.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn a_later_run_keeps_its_rows_when_an_earlier_one_is_undone() {
    let stand = Stand::start().await;
    stand.answered(&rows(9)).await;
    let first = stand.previewed(everything()).await;
    stand.apply(first).await;
    let other = stand.pipeline(Scripted::saying(stand.taxonomy.version(), "scripted@3", OTHER));
    let second = stand.planned(&other, everything()).await;
    preview::run(&stand.store, &other, second, &|_, _| {}).await.unwrap();
    stand.apply(second).await;
    stand.undo(first).await;
    assert!(in_force(&stand.store, "t1").await.starts_with("bakery by stage"));
    let report = stand.report(first).await;
    assert!(report.changes.iter().all(|of| of.state == ChangeState::Kept), "{:?}", report.changes);
}

#[tokio::test]
async fn a_cancelled_run_is_neither_gone_on_with_nor_applied() {
    let stand = Stand::start().await;
    stand.answered(&rows(9)).await;
    let run = stand.previewed(everything()).await;
    apply::cancel(&stand.store, run, "night", hour(2_000)).await.unwrap();
    let ask = Ask { guards: Guards::default(), overrides: Some("a test".to_owned()), by: "night".to_owned() };
    let refused = apply::allow(&stand.store, run, &ask, hour(2_001)).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("recategorization {run} is cancelled: it can't be applied from there"));
    assert!(preview::run(&stand.store, &stand.next(), run, &|_, _| {}).await.is_err());
}
