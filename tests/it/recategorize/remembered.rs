//! Work is done once per distinct input.

use std::sync::atomic::Ordering;

use chrono::Days;
use txcat::{
    categorize::{Calibration, Lineup, Stage},
    domain::{Acceptance, Enrichment, Judged},
    enrich::Enricher,
    pipeline::{Memory, Pipeline},
    recategorize::{preview, report::Answers},
};

use super::{NEXT, Stand, everything, rows};
use crate::{
    harness::Scripted,
    store::{hour, row},
};

const PROPOSALS: &str = "select concat_ws('|', transaction_id, from_category, to_category, decision) \
                         from recategorization_changes where run_id = ";

impl Stand {
    /// Previews everything with an engine; returns the run, how many rows the engine was asked about, and where the answers
    /// came from.
    async fn counted(&self, engine: Scripted) -> (i64, u64, Answers) {
        let asked = engine.asked();
        let pipeline = self.pipeline(engine);
        let run = self.planned(&pipeline, everything()).await;
        preview::run(&self.store, &pipeline, run, &|_, _| {}).await.unwrap();
        (run, asked.load(Ordering::SeqCst), self.report(run).await.answers)
    }

    fn engine(&self, name: &'static str) -> Scripted {
        Scripted::saying(self.taxonomy.version(), name, NEXT)
    }
}

#[tokio::test]
async fn an_engine_is_asked_once_about_each_distinct_input_and_never_again() {
    let stand = Stand::start().await;
    // 2,500 rows on pages of 1,000, of which many say the same.
    let same = (0..2_500).map(|n| row(&format!("s{n:04}"), &format!("account-{n}"), 7, &format!("PLACE {}", n % 5)));
    stand.answered(&same.collect::<Vec<_>>()).await;
    let (first, asked, answers) = stand.counted(stand.engine("scripted@2")).await;
    assert_eq!(asked, 5, "five texts, on accounts without a past");
    assert_eq!((answers.computed, answers.from_store, answers.from_memory), (5, 0, 2_495));
    assert_eq!(answers.distinct_share, Some(5.0 / 2_500.0));

    let (again, asked, answers) = stand.counted(stand.engine("scripted@2")).await;
    assert_eq!((asked, answers.computed, answers.from_store, answers.from_memory), (0, 0, 5, 2_495));
    let [one, other] = [first, again].map(|run| format!("{PROPOSALS}{run} order by 1"));
    assert_eq!(stand.text(&one).await, stand.text(&other).await, "as if they had been computed");

    let (_, asked, _) = stand.counted(stand.engine("scripted@3")).await;
    assert_eq!(asked, 5, "another version is another engine");
}

#[tokio::test]
async fn an_import_asks_once_about_each_distinct_input_and_a_later_preview_by_the_same_engine_asks_nobody() {
    let stand = Stand::start().await;
    let places = |from: i64, until: i64| -> Vec<_> {
        (from..until)
            .map(|n| row(&format!("s{n:04}"), &format!("account-{n}"), 7, &format!("PLACE {}", n % 5)))
            .collect()
    };
    let engine = stand.engine("scripted@2");
    let asked = engine.asked();
    let pipeline = stand.pipeline(engine);
    let memory = Memory::open(&stand.store, &pipeline.lineup().engines(), hour(1_000)).await.unwrap();
    for (from, until) in [(0, 700), (700, 1_200)] {
        let rows = places(from, until);
        let ingested = stand.store.ingest(&rows, hour(1_000)).await.unwrap();
        pipeline.categorize(&rows, &ingested, &memory, hour(1_000)).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 5, "one for each text, in the first batch");
    assert_eq!(stand.text("select count(*)::text from predictions where category = 'fast_food'").await, "1200");

    let (_, asked, answers) = stand.counted(stand.engine("scripted@2")).await;
    assert_eq!((asked, answers.computed, answers.from_store), (0, 0, 5));
}

#[tokio::test]
async fn rows_with_another_past_are_other_inputs() {
    let stand = Stand::start().await;
    let visit = |n: i64| row(&format!("v{n}"), "account-1", n, "PLACE ONE");
    stand.answered(&(0..4).map(visit).collect::<Vec<_>>()).await;
    let (_, asked, answers) = stand.counted(stand.engine("scripted@2")).await;
    assert_eq!((asked, answers.computed), (4, 4), "each visit has one more before it");
}

#[tokio::test]
async fn what_was_fitted_since_counts_for_remembered_answers() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let confidences = async |run: i64| {
        stand
            .text(&format!(
                "select distinct decision -> 'prediction' ->> 'confidence' from recategorization_changes where run_id = {run}"
            ))
            .await
    };
    let (run, _, _) = stand.counted(stand.engine("scripted@2")).await;
    let raw = confidences(run).await;
    let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(stand.engine("scripted@2")));
    stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
    let judged = (0..100).map(|at| Judged { confidence: 0.96875, right: at < 80, known: false });
    stage.calibrate(Calibration::fit(&judged.collect::<Vec<_>>(), 0.5));
    let pipeline = Pipeline::new(stand.store.clone(), Enricher::new(stand.store.clone()), Lineup::alone(stage), 0.25);
    let run = stand.planned(&pipeline, everything()).await;
    preview::run(&stand.store, &pipeline, run, &|_, _| {}).await.unwrap();
    assert_eq!(stand.report(run).await.answers.computed, 0);
    assert_ne!(confidences(run).await, raw);
}

#[tokio::test]
async fn engines_that_nobody_uses_are_forgotten_and_the_longest_unused_go_first() {
    let stand = Stand::start().await;
    stand.answered(&rows(60)).await;
    let mut answers = Vec::new();
    for name in ["scripted@2", "scripted@3", "scripted@4"] {
        answers.push(stand.counted(stand.engine(name)).await.2.computed);
    }
    let [old, newer, newest] = answers[..] else { panic!("{answers:?}") };
    let store = &stand.store;
    for (name, at) in [("scripted@3", 3_000), ("scripted@4", 3_001)] {
        store.remembered_engine(name, hour(at)).await.unwrap();
    }
    assert_eq!(store.forget_remembered(&[], hour(0), u64::MAX).await.unwrap(), old + newer + newest);
    let kept = store.remembered_engine("scripted@2", hour(2_000)).await.unwrap();
    assert_eq!(store.forget_remembered(&[kept], hour(0), newest + old).await.unwrap(), newest + old, "but who is kept");
    assert_eq!(store.forget_remembered(&[], hour(0) + Days::new(30_000), u64::MAX).await.unwrap(), 0);
    let (_, asked, _) = stand.counted(stand.engine("scripted@4")).await;
    assert_eq!(asked, newest, "what is forgotten is computed again");
}
