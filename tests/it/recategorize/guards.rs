//! What keeps a run from being applied.

use txcat::{
    categorize::{KnownKey, LabelledExample, Stage},
    domain::{CorrectionScope, EnrichedTransaction, Enrichment},
    recategorize::{
        Error, Guards, Refusal,
        apply::{self, Ask},
        preview,
    },
    store::ImportedLabel,
};

use super::{Stand, everything, rows};
use crate::store::{correction, hour, id, slug};

fn ask(guards: Guards, overrides: Option<&str>) -> Ask {
    Ask { guards, overrides: overrides.map(str::to_owned), by: "night".to_owned() }
}

#[tokio::test]
async fn too_much_change_is_refused_unless_somebody_says_why_not() {
    let stand = Stand::start().await;
    stand.answered(&rows(330)).await;
    let run = stand.previewed(everything()).await;
    let before = stand.dump().await;
    let refused = apply::allow(&stand.store, run, &ask(Guards::default(), None), hour(2_001)).await.unwrap_err();
    let Error::Refused { refusals } = &refused else { panic!("{refused}") };
    assert!(matches!(refusals[0], Refusal::Changed { share, .. } if (share - 2.0 / 3.0).abs() < 1e-9));
    assert!(matches!(&refusals[1], Refusal::Collapse { category, before: 110, after: 0, .. }
        if category.as_str() == "restaurant"));
    assert_eq!(refusals.len(), 3, "and the supermarkets: {refused}");
    assert_eq!(stand.report(run).await.refusals.len(), 3, "who looks is told before");
    assert_eq!(stand.dump().await, before);

    let wide = Guards { max_changed: 1.0, max_category_loss: 1.0 };
    apply::allow(&stand.store, run, &ask(wide, Some("it is meant")), hour(2_001)).await.unwrap();
    assert_eq!(stand.report(run).await.override_reason.as_deref(), Some("it is meant"), "wider limits override too");

    let run = stand.previewed(everything()).await;
    apply::allow(&stand.store, run, &ask(Guards::default(), Some("the director says so")), hour(2_001)).await.unwrap();
    let report = stand.report(run).await;
    assert_eq!(report.override_reason.as_deref(), Some("the director says so"));
    assert_eq!((report.phase.as_str(), report.applied_by.as_deref()), ("applying", Some("night")));
}

#[tokio::test]
async fn a_run_that_makes_answers_worse_is_refused() {
    let stand = Stand::start().await;
    stand.answered(&rows(300)).await;
    // Labels that came with the data, of 40 markets of 17 merchants: the first engine is right about all.
    let labels: Vec<ImportedLabel> = (0..40)
        .map(|n| ImportedLabel {
            transaction_id: id(&format!("t{}", 3 * n + 1)),
            category: slug("supermarket"),
            known_at: hour(1),
        })
        .collect();
    stand.store.import_labels(&labels, "import", hour(1_100)).await.unwrap();
    let run = stand.previewed(everything()).await;
    let diff = stand.report(run).await.diff.unwrap();
    let accuracy = diff.at_random.unwrap();
    assert_eq!((accuracy.rows, accuracy.before.value, accuracy.after.value), (40, 1.0, 0.0));
    assert!(accuracy.before.low > 0.9 && accuracy.after.high < 0.1 && accuracy.difference.high < 0.0);
    let wide = Guards { max_changed: 1.0, max_category_loss: 1.0 };
    let refused = apply::allow(&stand.store, run, &ask(wide, None), hour(2_001)).await.unwrap_err();
    assert!(refused.to_string().contains("by 40 labels accuracy would change by -100.0 points"), "{refused}");
}

#[tokio::test]
async fn labels_that_who_answers_has_at_hand_are_counted_by_no_figure() {
    let stand = Stand::start().await;
    stand.answered(&rows(300)).await;
    let label = |n: usize| ImportedLabel {
        transaction_id: id(&format!("t{}", 3 * n + 1)),
        category: slug("supermarket"),
        known_at: hour(1),
    };
    let labels: Vec<ImportedLabel> = (0..40).map(label).collect();
    stand.store.import_labels(&labels, "import", hour(1_100)).await.unwrap();
    // By key it has 30 of the 40 labels, and so is right about those rows whatever it is worth.
    let examples: Vec<LabelledExample> = rows(300)
        .into_iter()
        .filter(|row| labels[..30].iter().any(|label| label.transaction_id == row.id))
        .map(|row| LabelledExample::of(EnrichedTransaction::bare(row), slug("supermarket")))
        .collect();
    let engine = KnownKey::new("known_key", Enrichment::None, &stand.taxonomy, &examples);
    let pipeline = stand.of(Stage::new("known_key", 0.9, Enrichment::None, Box::new(engine)));
    let run = stand.planned(&pipeline, everything()).await;
    preview::run(&stand.store, &pipeline, run, &|_, _| {}).await.unwrap();
    let diff = stand.report(run).await.diff.unwrap();
    assert_eq!((diff.labels_seen, diff.at_random.unwrap().rows, diff.accuracy.unwrap().rows), (30, 10, 10));

    // An adapter may have learned from all labels that were there when it was registered, and from none since.
    let registered =
        "insert into adapters (name, version, engine, taxonomy, account_group, base, base_sha256, last_label,
            facts, state, share, state_since, registered_by, registered_at)
        select 'next', 1, 'scripted@2', 'consumer@1', 'everyone', 'tiny', 'aa', max(id),
            '{}', 'candidate', 0, now(), 'a test', now()
        from corrections_made
        returning id::text";
    stand.text(registered).await;
    let since: Vec<ImportedLabel> = (40..60).map(label).collect();
    stand.store.import_labels(&since, "import", hour(1_200)).await.unwrap();
    let run = stand.previewed(everything()).await;
    let diff = stand.report(run).await.diff.unwrap();
    assert_eq!((diff.labels_seen, diff.at_random.unwrap().rows), (40, 20));
}

#[tokio::test]
async fn labels_that_people_chose_stand_apart_from_those_that_nobody_chose() {
    let stand = Stand::start().await;
    stand.answered(&rows(300)).await;
    for n in (2..60).step_by(3) {
        let says = correction(&format!("t{n}"), "fast_food", CorrectionScope::Transaction, 1_100);
        stand.store.correct(&says).await.unwrap();
    }
    let run = stand.previewed(everything()).await;
    let diff = stand.report(run).await.diff.unwrap();
    let all = diff.accuracy.unwrap();
    assert_eq!((all.rows, all.before.value, all.after.value), (20, 0.0, 1.0));
    assert_eq!(diff.at_random, None, "doubtful rows are nobody's sample");
}
