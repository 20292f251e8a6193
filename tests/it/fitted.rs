//! What `txcat eval` fitted is what serves: the same labels make the same stage, and one more doesn't lose what was fitted.

use std::fs;

use txcat::{
    domain::{ReviewStatus, TransactionId},
    store::{Store, TransactionView},
};

use crate::{
    database::{fresh_database, fresh_store},
    harness::Said,
    model::tiny_encoder,
    selection::{folder, lines, with},
};

/// A data set, and a service over its pool.
struct Stand {
    encoder: tempfile::TempDir,
    data: tempfile::TempDir,
    url: String,
    store: Store,
    _database: crate::database::TestDatabase,
}

impl Stand {
    /// The pool is stored with all its labels.
    async fn start() -> Self {
        let (encoder, _) = tiny_encoder();
        let (store, database) = fresh_store().await;
        let stand = Self { encoder, data: folder(), url: database.url.clone(), store, _database: database };
        let rows = |prefix| lines(prefix, 60, 60..140, |at| format!("2024-{:02}-05", 1 + at / 20));
        for name in ["m", "n", "o"] {
            fs::write(stand.at(&format!("{name}.csv")), rows(name)).unwrap();
        }
        fs::write(stand.at("label.csv"), lines("l", 1, 139..140, |_| "2024-04-01".to_owned())).unwrap();
        stand.import("pool", &["--labels", "category", "--no-categorize"]).ok();
        stand
    }

    fn at(&self, name: &str) -> String {
        self.data.path().join(name).to_str().unwrap().to_owned()
    }

    fn txcat(&self, arguments: &[&str]) -> Said {
        with(self.encoder.path(), &[arguments, &["--database-url", &self.url]].concat())
    }

    fn import(&self, file: &str, more: &[&str]) -> Said {
        let (file, categories) = (self.at(&format!("{file}.csv")), self.at("categories.csv"));
        self.txcat(&[&["import", &file, "--taxonomy", &categories, "--audit-share", "0"], more].concat())
    }

    fn eval(&self, more: &[&str]) -> serde_json::Value {
        let data = self.data.path().to_str().unwrap();
        self.txcat(&[&["eval", "--data", data, "--label-budget", "400", "--json"], more].concat()).json()
    }

    async fn answered(&self, file: &str) -> Vec<TransactionView> {
        let ids: Vec<TransactionId> = (0..60).map(|at| format!("{file}{at:04}").parse().unwrap()).collect();
        self.store.views(&ids).await.unwrap().into_iter().map(Option::unwrap).collect()
    }
}

fn accepted(views: &[TransactionView]) -> usize {
    views.iter().filter(|view| view.review_status == ReviewStatus::Accepted).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stage_that_was_measured_serves_with_what_was_fitted_and_one_more_label_does_not_lose_it() {
    let stand = Stand::start().await;
    let runs = stand.eval(&["--stage", "known_key", "--stage", "enriched_prompt"])["runs"].clone();
    for (place, stage, file) in [(0, "known_key", "m"), (1, "enriched_prompt", "n")] {
        let said = stand.import(file, &["--stage", stage]);
        assert!(!said.err.contains("WARN"), "{}", said.err);
        said.ok();
        let views = stand.answered(file).await;
        for view in &views {
            let said = view.prediction.as_ref().unwrap();
            assert_eq!(said.prediction.provenance.engine, runs[place]["engine"].as_str().unwrap());
            assert!(said.level.is_some(), "{stage}: nothing is fitted for what answers");
        }
        assert!(accepted(&views) > 0, "{stage}");
    }

    stand.import("label", &["--labels", "category", "--no-categorize"]).ok();
    let said = stand.import("o", &["--stage", "known_key"]);
    assert!(said.err.contains("other labels than those it was measured with"), "{}", said.err);
    said.ok();
    let views = stand.answered("o").await;
    let engine = &views[0].prediction.as_ref().unwrap().prediction.provenance.engine;
    assert_ne!(engine, runs[0]["engine"].as_str().unwrap());
    assert!(accepted(&views) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_serves_once_its_steps_are_fitted_and_not_before() {
    let (stand, elsewhere) = (Stand::start().await, fresh_database().await);
    let (data, stages) = (stand.data.path().to_str().unwrap(), stand.at("stages.toml"));
    let fit = ["eval", "fit-cascade", "--data", data, "--label-budget", "400", "--target", "0.6", "--out", &stages];
    let steps = ["--stage", "known_key", "--stage", "few_shot", "--database-url", &elsewhere.url];
    with(stand.encoder.path(), &[&fit[..], &steps].concat()).ok();
    let serve = ["--stages", &stages, "--stage", "cascade"];
    let refused = stand.import("m", &serve).refused(1);
    assert!(refused.contains("`txcat eval --stage known_key`"), "{refused}");
    // Without a name, a stage that is only a step is measured too, and before the cascade.
    let runs = stand.eval(&["--stages", &stages])["runs"].clone();
    let measured: Vec<&str> = runs.as_array().unwrap().iter().map(|run| run["stage"].as_str().unwrap()).collect();
    assert_eq!(measured, ["known_key", "few_shot", "enriched_prompt", "cascade"]);
    stand.import("m", &serve).ok();
    let views = stand.answered("m").await;
    assert!(accepted(&views) > 0);
    let by_key = |view: &&TransactionView| {
        view.prediction.as_ref().is_some_and(|said| said.prediction.provenance.engine.starts_with("known_key:"))
    };
    assert!(views.iter().filter(by_key).count() > 0);
}
