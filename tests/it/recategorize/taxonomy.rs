//! From one taxonomy to another, and back.

use std::{fs, sync::Arc};

use serde_json::{Value, json};
use txcat::{
    categorize::{Lineup, Stage},
    domain::{Acceptance, ChangeState, CorrectionScope, Enrichment, LeftBecause, Taxonomy, TaxonomyMapping},
    recategorize::{
        Error, Guards,
        apply::{self, Ask},
        preview, taxonomy,
    },
    store::ImportedLabel,
};

use super::{
    Stand,
    api::{recategorize, until},
    rows,
};
use crate::{
    harness::{App, Line, Run as _, Scripted, txcat},
    model,
    store::{correction, hour, id, in_force, row, slug, view},
};

const NEXT: &str = "category,description\n\
    cafes,\"Coffee, tea and what goes with it.\"\n\
    groceries,Food to cook and eat at home.\n\
    eating_out,A meal at a table.\n\
    snack_bar,A meal in the hand.\n\
    liquor_store,Wine and spirits.\n";

/// What the engine of the new taxonomy says: some places are snack bars, and one it takes for neither.
const SAYS: &[Line] = &[
    ("PLACE AAAA", "snack_bar", 0.96875, "eating_out"),
    ("PLACE BBBB", "cafes", 0.96875, "snack_bar"),
    ("", "eating_out", 0.96875, "snack_bar"),
];

fn next() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_categories_csv(NEXT.as_bytes(), "next").unwrap())
}

fn stage(taxonomy: &Taxonomy) -> Stage {
    let engine = Scripted::saying(taxonomy.version(), "scripted@next", SAYS);
    let mut stage = Stage::new("scripted", 0.92, Enrichment::Full, Box::new(engine));
    stage.acceptance = Some(Acceptance { known: Some(0.9), unknown: Some(0.9) });
    stage
}

/// Cafés are renamed, supermarkets and convenience stores become one, restaurants are split, liquor stores stay.
fn mapping(from: &str) -> TaxonomyMapping {
    serde_json::from_value(json!({
        "from": from,
        "map": {
            "coffee_shop": "cafes",
            "supermarket": "groceries",
            "convenience_store": "groceries",
            "restaurant": ["eating_out", "snack_bar"],
        },
    }))
    .unwrap()
}

impl Stand {
    /// Rows of which people have said this and that.
    async fn spoken_of(&self) {
        self.answered(&rows(60)).await;
        for (of, category, scope) in [
            ("t1", "supermarket", CorrectionScope::Transaction),
            ("t2", "liquor_store", CorrectionScope::AccountMerchant),
            ("t4", "convenience_store", CorrectionScope::AccountMerchant),
            ("t5", "restaurant", CorrectionScope::AccountMerchant),
            ("t6", "restaurant", CorrectionScope::Transaction),
        ] {
            self.store.correct(&correction(of, category, scope, 1_100)).await.unwrap();
        }
        let label = ImportedLabel { transaction_id: id("t7"), category: slug("supermarket"), known_at: hour(5) };
        self.store.import_labels(&[label], "import", hour(1_100)).await.unwrap();
        // The rules of `t4` and `t5` decide these.
        let later = [row("ruled", "account-0", 600, "MARKET EEEE"), row("split", "account-1", 600, "PLACE FFFF")];
        self.answered(&later).await;
        assert_eq!(in_force(&self.store, "ruled").await, "convenience_store by account_rule, accepted");
        assert_eq!(in_force(&self.store, "split").await, "restaurant by account_rule, accepted");
    }

    /// A previewed migration.
    async fn migration(&self) -> i64 {
        let next = next();
        let pipeline = self.of(stage(&next));
        let plan = taxonomy::Plan {
            mapping: mapping(self.taxonomy.version()),
            reason: "fewer, clearer".to_owned(),
            by: "product".to_owned(),
        };
        let run = taxonomy::plan(&self.store, &pipeline, &next, plan, None, hour(2_000)).await.unwrap();
        preview::run(&self.store, &pipeline, run, &|_, _| {}).await.unwrap();
        run
    }

    async fn everything_said(&self) -> String {
        let made = self.text("select t::text from corrections_made t order by 1").await;
        format!("{}{made}", self.dump().await)
    }
}

#[tokio::test]
async fn everything_is_led_to_another_taxonomy_and_back_to_the_byte() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let before = stand.everything_said().await;
    let run = stand.migration().await;
    assert_eq!(stand.everything_said().await, before, "a preview changes nothing");

    let report = stand.report(run).await;
    let diff = report.diff.unwrap();
    assert_eq!((diff.rows, diff.people, diff.rules), (62, 6, 2));
    let pairs: Vec<_> = diff.pairs.iter().map(|pair| (pair.from.as_str(), pair.to.as_str())).collect();
    for expected in [
        ("coffee_shop", "cafes"),
        ("supermarket", "groceries"),
        ("convenience_store", "groceries"),
        ("restaurant", "snack_bar"),
    ] {
        assert!(pairs.contains(&expected), "{expected:?} in {pairs:?}");
    }
    assert!(diff.pairs.iter().all(|pair| pair.from.as_str() != "liquor_store"), "what stays is no change");
    let split: u64 = diff.pairs.iter().filter(|pair| pair.from.as_str() == "restaurant").map(|pair| pair.rows).sum();
    assert_eq!(diff.renamed, Some(diff.changed - split));
    assert_eq!(
        report.answers.computed + report.answers.from_memory,
        split + 1,
        "nobody is asked about what is renamed"
    );

    let audited = in_force(&stand.store, "t0").await;
    let told = "select concat(cause, ' ', recategorization_id) from events order by seq";
    let told_before = stand.text(told).await;
    stand.apply(run).await;
    let told = stand.text(told).await;
    let of_run: Vec<&str> = told.strip_prefix(&told_before).unwrap().trim_start().lines().collect();
    let cause = format!("recategorization {run}");
    assert!(of_run.len() > 50 && of_run.iter().all(|told| *told == cause), "also of what people said: {of_run:?}");
    assert_eq!(
        in_force(&stand.store, "t0").await,
        audited.replace("coffee_shop", "cafes"),
        "what waits goes on waiting"
    );
    // Beside a liquor store, as a person says, stands a prediction that is split: what is in force does not change.
    assert_eq!(stand.tally(run, ChangeState::Applied).await, [(None, diff.changed + 1)]);
    for (row, says) in [
        ("t1", "groceries by correction, reviewed"),
        ("t2", "liquor_store by correction, reviewed"),
        ("t4", "groceries by correction, reviewed"),
        ("t5", "eating_out by stage, pending"),
        ("t6", "eating_out by stage, pending"),
        ("t7", "groceries by import, reviewed"),
        ("ruled", "groceries by account_rule, accepted"),
        ("split", "eating_out by stage, pending"),
        // Of 17 names the first and the second: a snack bar, and what the engine takes for neither.
        ("t17", "snack_bar by stage, accepted"),
        ("t35", "snack_bar by stage, pending"),
    ] {
        assert_eq!(in_force(&stand.store, row).await, says, "{row}");
    }
    let reasons =
        "select reason from review_items where resolved_at is null and transaction_id in ('t5', 't6', 'split')";
    assert_eq!(stand.text(reasons).await, "split\nsplit\nsplit");
    assert_eq!(
        stand.text("select distinct category from corrections order by 1").await,
        "groceries\nliquor_store",
        "nobody learns from a word that was split"
    );
    assert_eq!(
        stand.text("select category from account_rules where retired_at is null order by 1").await,
        "groceries\nliquor_store"
    );
    let made = "select string_agg(category, ' ' order by id) from corrections_made";
    assert_eq!(stand.text(made).await, "supermarket liquor_store convenience_store restaurant restaurant supermarket");
    let taxonomies = "select distinct p.taxonomy from in_force f join predictions p on p.id = f.prediction_id";
    assert_eq!(stand.text(taxonomies).await, next().version());

    stand.undo(run).await;
    assert_eq!(stand.everything_said().await, before);
    assert_eq!(stand.tally(run, ChangeState::Undone).await, [(None, diff.changed + 1)]);
    assert_eq!(view(&stand.store, "t0").await.shadow, None);
}

#[tokio::test]
async fn answers_tell_both_taxonomies_until_the_migration_is_concluded() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let run = stand.migration().await;
    assert_eq!(view(&stand.store, "t0").await.shadow, None);
    stand.apply(run).await;
    let shadow = async |row: &str| {
        let shadow = view(&stand.store, row).await.shadow.unwrap();
        assert_eq!(shadow.taxonomy, stand.taxonomy.version());
        shadow.category.map_or_else(|| "unknown".to_owned(), |category| category.to_string())
    };
    assert_eq!(shadow("t0").await, "coffee_shop");
    assert_eq!(shadow("t1").await, "supermarket", "of two that became one, which it was");
    assert_eq!(shadow("t2").await, "liquor_store");
    assert_eq!(shadow("t17").await, "restaurant");
    // Rows that come now are answered in the new taxonomy; of what two became one it can't be told which it had been.
    let next = next();
    let lines = &[("COFFEE", "cafes", 0.96875, "liquor_store"), ("", "groceries", 0.96875, "liquor_store")];
    let engine = Scripted::saying(next.version(), "scripted@new", lines);
    let pipeline = stand.of(Stage::new("scripted", 0.92, Enrichment::Full, Box::new(engine)));
    let new = [row("new-1", "account-8", 700, "COFFEE NEW"), row("new-2", "account-8", 700, "MARKET NEW")];
    pipeline.process(&new, None, hour(2_100)).await.unwrap();
    assert_eq!((shadow("new-1").await.as_str(), shadow("new-2").await.as_str()), ("coffee_shop", "unknown"));

    taxonomy::conclude(&stand.store, run, "product", hour(2_200)).await.unwrap();
    assert_eq!(view(&stand.store, "t0").await.shadow, None);
    let refused = apply::undo(&stand.store, run, "product", hour(2_300), &|_, _| {}).await.unwrap_err();
    assert!(matches!(refused, Error::Concluded { .. }), "{refused}");
    let again = taxonomy::conclude(&stand.store, run, "product", hour(2_200)).await.unwrap_err();
    assert!(matches!(again, Error::Concluded { .. }), "{again}");
    assert!(in_force(&stand.store, "t0").await.starts_with("cafes by stage"));
}

#[tokio::test]
async fn what_answers_in_a_taxonomy_that_was_left_is_not_applied() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let before = stand.previewed(super::everything()).await;
    let run = stand.migration().await;
    stand.apply(run).await;
    let during = stand.previewed(super::everything()).await;
    let migrated = stand.dump().await;
    let refused = async |run: i64| {
        let ask = Ask { guards: Guards::default(), overrides: Some("whatever".to_owned()), by: "night".to_owned() };
        let refused = apply::allow(&stand.store, run, &ask, hour(2_001)).await.unwrap_err();
        assert!(matches!(&refused, Error::LeftTaxonomy { left, .. } if left == stand.taxonomy.version()), "{refused}");
    };
    refused(before).await;
    refused(during).await;
    taxonomy::conclude(&stand.store, run, "product", hour(2_200)).await.unwrap();
    let after = stand.previewed(super::everything()).await;
    for run in [before, during, after] {
        refused(run).await;
    }
    assert_eq!(stand.dump().await, migrated);
}

#[tokio::test]
async fn what_was_done_before_a_taxonomy_was_left_is_not_taken_back_after() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let lines = &[("COFFEE", "coffee_shop", 0.96875, "liquor_store"), ("", "liquor_store", 0.96875, "supermarket")];
    let pipeline = stand.pipeline(Scripted::saying(stand.taxonomy.version(), "scripted@2", lines));
    let nightly = stand.planned(&pipeline, super::everything()).await;
    preview::run(&stand.store, &pipeline, nightly, &|_, _| {}).await.unwrap();
    stand.apply(nightly).await;
    let run = stand.migration().await;
    stand.apply(run).await;
    let migrated = stand.everything_said().await;

    let refused = apply::undo(&stand.store, nightly, "product", hour(2_100), &|_, _| {}).await.unwrap_err();
    assert!(matches!(&refused, Error::LeftTaxonomy { left, .. } if left == stand.taxonomy.version()), "{refused}");
    let decisions = stand.text("select id::text from review_actions where kind = 'decide' order by id").await;
    let decisions: Vec<&str> = decisions.lines().collect();
    assert_eq!(decisions.len(), 5);
    let Stand { store, taxonomy, database } = stand;
    let app = App::answering(store, database, Arc::clone(&taxonomy), App::scripted(&taxonomy), 0.0).await;
    let undo = async |decision: &str| app.post(&format!("/v1/reviews/decisions/{decision}/undo"), &json!({})).await;
    for decision in &decisions {
        let refused = undo(decision).await.with(409);
        assert_eq!(refused["type"], "urn:txcat:problem:left-taxonomy");
        let told = refused["detail"].as_str().unwrap();
        assert!(told.contains(taxonomy.version()) && told.contains(next().version()), "{told}");
    }
    let App { store, database, .. } = app;
    let stand = Stand { store, taxonomy, database };
    assert_eq!(stand.everything_said().await, migrated, "what was refused has changed something");

    // What is said since is taken back as ever; and all of it, once the migration is.
    stand.store.correct(&correction("t3", "groceries", CorrectionScope::Transaction, 2_200)).await.unwrap();
    let last = "select max(id)::text from review_actions";
    let undone = async |decision: &str| {
        let undone = stand.store.undo(decision.parse().unwrap(), None, "product", hour(2_300)).await.unwrap();
        assert!(undone.is_ok(), "{undone:?}");
    };
    undone(&stand.text(last).await).await;
    assert!(in_force(&stand.store, "t3").await.starts_with("cafes by stage"));
    stand.undo(run).await;
    undone(decisions[0]).await;
    assert!(in_force(&stand.store, "t1").await.starts_with("supermarket by stage"));
    stand.undo(nightly).await;
}

#[tokio::test]
async fn a_migration_that_another_has_followed_is_taken_back_after_that_one() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let before = stand.everything_said().await;
    let first = stand.migration().await;
    stand.apply(first).await;
    let between = stand.everything_said().await;
    let pipeline = stand.first();
    let map = json!({
        "cafes": "coffee_shop", "groceries": "supermarket", "eating_out": "restaurant", "snack_bar": "fast_food",
    });
    let mapping = serde_json::from_value(json!({ "from": next().version(), "map": map })).unwrap();
    let plan = taxonomy::Plan { mapping, reason: "the old words".to_owned(), by: "product".to_owned() };
    let second = taxonomy::plan(&stand.store, &pipeline, &stand.taxonomy, plan, None, hour(2_100)).await.unwrap();
    preview::run(&stand.store, &pipeline, second, &|_, _| {}).await.unwrap();
    stand.apply(second).await;
    let refused = apply::undo(&stand.store, first, "product", hour(2_200), &|_, _| {}).await.unwrap_err();
    assert!(matches!(&refused, Error::LeftTaxonomy { left, .. } if left == next().version()), "{refused}");
    stand.undo(second).await;
    assert_eq!(stand.everything_said().await, between);
    stand.undo(first).await;
    assert_eq!(stand.everything_said().await, before);
}

#[tokio::test]
async fn whoever_speaks_during_the_shadow_period_is_heard() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let run = stand.migration().await;
    stand.store.correct(&correction("t3", "supermarket", CorrectionScope::Transaction, 2_000)).await.unwrap();
    stand.apply(run).await;
    assert_eq!(stand.tally(run, ChangeState::Skipped).await, [(Some(LeftBecause::Person), 1)]);
    assert_eq!(in_force(&stand.store, "t3").await, "supermarket by correction, reviewed");
    stand.store.correct(&correction("t6", "snack_bar", CorrectionScope::Transaction, 2_100)).await.unwrap();
    stand.store.correct(&correction("t1", "groceries", CorrectionScope::Transaction, 2_100)).await.unwrap();
    stand.undo(run).await;
    assert_eq!(stand.tally(run, ChangeState::Kept).await, [(Some(LeftBecause::Person), 2)]);
    assert_eq!(in_force(&stand.store, "t6").await, "snack_bar by correction, reviewed");
    assert_eq!(in_force(&stand.store, "t4").await, "convenience_store by correction, reviewed");
}

#[tokio::test]
async fn a_killed_migration_goes_on_and_half_of_one_can_be_undone() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let before = stand.everything_said().await;
    let run = stand.migration().await;
    let ask = Ask { guards: Guards::default(), overrides: Some("a test".to_owned()), by: "product".to_owned() };
    apply::allow(&stand.store, run, &ask, hour(2_001)).await.unwrap();
    stand.store.apply_recategorization(run, 25, hour(2_001)).await.unwrap();
    stand.undo(run).await;
    assert_eq!(stand.everything_said().await, before);
    let run = stand.migration().await;
    apply::allow(&stand.store, run, &ask, hour(2_001)).await.unwrap();
    stand.store.apply_recategorization(run, 25, hour(2_001)).await.unwrap();
    stand.apply(run).await;
    assert!(in_force(&stand.store, "t0").await.starts_with("cafes by stage"));
    assert_eq!(in_force(&stand.store, "ruled").await, "groceries by account_rule, accepted");
}

#[tokio::test]
async fn a_second_migration_takes_along_what_the_first_one_skipped_and_nothing_twice() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let run = stand.migration().await;
    stand.store.correct(&correction("t3", "supermarket", CorrectionScope::Transaction, 2_000)).await.unwrap();
    stand.apply(run).await;
    let second = stand.migration().await;
    assert_eq!(stand.report(second).await.diff.unwrap().changed, 1);
    stand.apply(second).await;
    assert_eq!(in_force(&stand.store, "t3").await, "groceries by correction, reviewed");
    assert_eq!(stand.text("select distinct category from corrections order by 1").await, "groceries\nliquor_store");
}

#[tokio::test]
async fn every_mistake_of_a_mapping_is_named_and_nothing_begins() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let next = next();
    let pipeline = stand.of(stage(&next));
    let planned = async |from: &str, map: Value| {
        let mapping = serde_json::from_value(json!({ "from": from, "map": map })).unwrap();
        let plan = taxonomy::Plan { mapping, reason: "why".to_owned(), by: "product".to_owned() };
        taxonomy::plan(&stand.store, &pipeline, &next, plan, None, hour(2_000)).await.unwrap_err().to_string()
    };
    let map = json!({ "coffee_shop": "coffees", "cafe": "cafes", "restaurant": ["eating_out"] });
    let error = planned(stand.taxonomy.version(), map).await;
    for mistake in [
        "`cafe` is no category of the old taxonomy",
        "`coffee_shop` shall become `coffees`, which is no category of the new taxonomy",
        "`restaurant` is split into fewer than two categories",
        "`supermarket` has 19 rows or rules, and nothing says what becomes of it",
        "`convenience_store` has 3 rows or rules, and nothing says what becomes of it",
    ] {
        assert!(error.contains(mistake), "{mistake} in {error}");
    }
    let unknown = planned("consumer@00000000", json!({})).await;
    assert!(unknown.contains("no taxonomy `consumer@00000000` is known here"), "{unknown}");
    assert!(unknown.ends_with(&format!("one of {}", stand.taxonomy.version())), "{unknown}");
    assert!(planned(next.version(), json!({})).await.contains("is the taxonomy in force already"));
    assert_eq!(stand.text("select count(*)::text from recategorizations").await, "0");
}

#[tokio::test]
async fn a_split_target_that_stays_empty_is_refused() {
    let stand = Stand::start().await;
    stand.answered(&(0..120).map(|n| row(&format!("p{n}"), "account-1", n, "PLACE ZZZZ")).collect::<Vec<_>>()).await;
    let run = stand.migration().await;
    let wide = Guards { max_changed: 1.0, max_category_loss: 1.0 };
    let ask = Ask { guards: wide, overrides: None, by: "product".to_owned() };
    let refused = apply::allow(&stand.store, run, &ask, hour(2_001)).await.unwrap_err();
    assert!(refused.to_string().contains("none of its 120 rows would become `snack_bar`"), "{refused}");
}

#[tokio::test]
async fn a_taxonomy_changes_over_http() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let next = next();
    let Stand { store, taxonomy, database } = stand;
    let app = App::answering(store, database, Arc::clone(&next), Lineup::alone(stage(&next)), 0.0).await;
    let _worker = app.work();
    let TaxonomyMapping { from, map } = mapping(taxonomy.version());
    let bad = json!({ "from": from, "map": { "coffee_shop": "coffees" }, "reason": "fewer" });
    let problem = app.post("/v1/recategorizations/taxonomy", &bad).await.with(422);
    assert_eq!(problem["type"], "urn:txcat:problem:invalid-mapping");
    assert!(problem["detail"].as_str().unwrap().contains("`coffees`"), "{problem}");
    let body = json!({ "from": from, "map": map, "reason": "fewer" });
    let run = app.post("/v1/recategorizations/taxonomy", &body).await.with(202)["id"].clone();
    let seen = until(&app, &run, "previewed").await;
    assert_eq!((&seen["taxonomy"]["from"], &seen["taxonomy"]["to"]), (&json!(from), &json!(next.version())));
    assert_eq!(seen["taxonomy"]["map"]["restaurant"], json!(["eating_out", "snack_bar"]));
    app.post(&format!("/v1/recategorizations/{run}/apply"), &json!({ "override": "a test" })).await.with(202);
    assert_eq!(until(&app, &run, "applied").await["taxonomy"]["shadow"], true);
    let answer = app.get("/v1/transactions/t0").await.with(200);
    assert_eq!((&answer["category"], &answer["shadow_category"]), (&json!("cafes"), &json!("coffee_shop")));
    assert_eq!((&answer["taxonomy"], &answer["shadow_taxonomy"]), (&json!(next.version()), &json!(from)));

    let categories = app.get("/v1/categories").await.with(200);
    assert_eq!(categories["taxonomy"], next.version());
    assert_eq!(categories["shadow"]["taxonomy"], json!(from));
    let old = categories["shadow"]["categories"].as_array().unwrap();
    assert_eq!(old.len(), taxonomy.categories().len());

    let conclude = format!("/v1/recategorizations/{run}/conclude");
    let concluded = app.send(app.request("POST", &conclude)).await.with(200);
    assert_eq!(concluded["taxonomy"]["concluded_by"], "local");
    let answer = app.get("/v1/transactions/t0").await.with(200);
    assert_eq!((&answer["category"], answer.get("shadow_category")), (&json!("cafes"), None));
    app.send(app.request("POST", &format!("/v1/recategorizations/{run}/undo"))).await.with(409);
    app.send(app.request("POST", &conclude)).await.with(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taxonomy_changes_on_the_command_line() {
    let stand = Stand::start().await;
    stand.spoken_of().await;
    let (encoder, _) = model::tiny_encoder();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let new = file("categories.csv", NEXT);
    let good = file("good.toml", &toml::to_string(&mapping(stand.taxonomy.version())).unwrap());
    let bad = file("bad.toml", &format!("from = \"{}\"\n[map]\ncafe = \"cafes\"\n", stand.taxonomy.version()));
    let told = |arguments: &[&str]| recategorize(&stand.database, arguments);
    let preview = |mapping: &str| {
        let encoder = encoder.path().to_str().unwrap();
        let words = ["taxonomy", "preview", "--mapping", mapping, "--taxonomy", &new, "--stage", "few_shot"];
        told(&[&words[..], &["--encoder-dir", encoder, "--reason", "fewer", "--json"]].concat())
    };
    let error = preview(&bad).refused(1);
    for mistake in ["`cafe` is no category of the old taxonomy", "`coffee_shop` has 19 rows"] {
        assert!(error.contains(mistake), "{mistake} in {error}");
    }
    let seen = preview(&good).json();
    let run = seen["id"].to_string();
    assert_eq!((&seen["phase"], &seen["taxonomy"]["shadow"]), (&json!("previewed"), &json!(false)));
    told(&["apply", &run, "--override", "a test"]).ok();
    let shown = told(&["show", &run]).ok();
    assert!(shown.contains("answers tell both") && shown.contains("renamed by the mapping"), "{shown}");
    assert!(shown.contains("1 of these rows keep their category: only what a stage said"), "{shown}");
    let said = told(&["taxonomy", "conclude", &run]).ok();
    assert!(said.contains("the new taxonomy alone"), "{said}");
    let error = told(&["undo", &run]).refused(1);
    assert!(error.contains("is concluded"), "{error}");
    let old = ["preview", "--everything", "--reason", "why", "--stage", "few_shot"];
    let encoder = ["--encoder-dir", encoder.path().to_str().unwrap()];
    let named = ["--taxonomy", concat!(env!("CARGO_MANIFEST_DIR"), "/eval/taxonomies/consumer.toml")];
    let now = seen["taxonomy"]["to"].as_str().unwrap();
    let left = format!("the taxonomy {} was left for {now}", stand.taxonomy.version());
    let error = told(&[&old[..], &encoder, &named].concat()).refused(1);
    assert!(error.contains(&left), "{error}");
    told(&[&old[..], &encoder].concat()).ok();
    let out = folder.path().join("next");
    let retrain = ["adapters", "retrain", "--out", out.to_str().unwrap()];
    let error = txcat(&retrain).args(named).on(&stand.database.url).run().refused(1);
    assert!(error.contains(&left), "{error}");

    // An import writes in the taxonomy in force, and in none that was left.
    let rows = "id,posted_on,account_id,descriptor,amount,direction,currency,category\n\
                n1,2024-03-01,a,CORNER CAFE,4.20,debit,EUR,cafes\n\
                n2,2024-03-01,a,CORNER CAFE,4.20,debit,EUR,coffee_shop\n";
    let file = file("rows.csv", rows);
    let import = |more: &[&str]| {
        let words = ["--stage", "few_shot", "--labels", "category", "--json"];
        txcat(&["import", &file]).args(words).args(encoder).args(more).on(&stand.database.url).run()
    };
    let error = import(&named).refused(1);
    assert!(error.contains(&left), "{error}");
    let error = import(&[&named[..], &["--no-categorize"]].concat()).refused(1);
    assert!(error.contains(&left), "{error}");
    let counts = import(&[]).json();
    assert_eq!((&counts["new"], &counts["labels"], &counts["rejected"]), (&json!(1), &json!(1), &json!(1)), "{counts}");
    let words = stand.text("select taxonomy from predictions where transaction_id = 'n1'").await;
    assert_eq!(words, now);
}
