//! Stages put to a data set's rows, with an engine whose every answer is known.

use futures::future::BoxFuture;
use txcat::{
    categorize::{Categorizer, Error, Stage},
    domain::{
        EnrichedTransaction, Enrichment, Prediction, Provenance,
        prediction::{Evidence, TextHash},
    },
    evaluate::{
        corpus::Corpus,
        dataset::Dataset,
        labels::Choice,
        peers,
        run::{self, Prepared},
        scored,
    },
};

use crate::datasets::generated;

/// Says `food` of everything, more surely of bakeries; its encoder says `travel` of everything.
struct Food;

impl Categorizer for Food {
    fn engine(&self) -> &str {
        "food@0"
    }

    fn categorize<'a>(&'a self, batch: &'a [EnrichedTransaction]) -> BoxFuture<'a, Result<Vec<Prediction>, Error>> {
        let answer = |row: &EnrichedTransaction| {
            let bakery = row.transaction.descriptor.raw().contains("BAKERY");
            let travel = Evidence::Encoder { category: "travel".parse().unwrap(), confidence: 0.5 };
            Prediction {
                category: "food".parse().unwrap(),
                confidence: if bakery { 0.6 } else { 0.4 },
                alternatives: Vec::new(),
                evidence: vec![travel],
                provenance: Provenance {
                    stage: "food".to_owned(),
                    engine: "food@0".to_owned(),
                    taxonomy: "categories".to_owned(),
                    text: TextHash::of("food"),
                },
            }
        };
        Box::pin(async move { Ok(batch.iter().map(answer).collect()) })
    }
}

#[tokio::test]
async fn answers_are_counted_calibrated_on_dev_and_compared_row_by_row() {
    let dir = generated();
    let dataset = Dataset::open(dir.path()).unwrap();
    let corpus = Corpus::read(&dataset, Choice::Budget { budget: 30, seed: 1 }, || {}).unwrap();
    let prepare = |name: &str| Prepared::read(&dataset, dataset.file(name).unwrap(), &corpus, |_| None).unwrap();
    let (dev, test) = (prepare("dev"), prepare("test_next"));
    let stage = Stage::new("food", 0.9, Enrichment::None, Box::new(Food));
    let mut heard = 0;
    let mut dev_answers = run::answer(&stage, &dev, &corpus, dataset.taxonomy(), |rows| heard += rows).await.unwrap();
    assert_eq!((heard, dev_answers.len()), (160, 160));

    let calibration = dev_answers.calibration();
    assert!(calibration.acceptance.unknown.is_some(), "bakeries are always right, so something can be accepted");
    dev_answers.calibrate(&calibration);
    let mut answers = run::answer(&stage, &test, &corpus, dataset.taxonomy(), |_| ()).await.unwrap();
    answers.calibrate(&calibration);
    let [food, alone] = &answers.score(&dev_answers, true)[..] else { panic!("two scores") };
    let bakeries = test.rows.iter().filter(|row| row.category.as_str() == "food").count();
    let share = bakeries as f64 / 40.0;
    assert!((food.figures.accuracy.share - share).abs() < 1e-9);
    assert!((alone.figures.accuracy.share - (1.0 - share)).abs() < 1e-9);
    assert_eq!(alone.answerer.name, "food_without_side_parts");
    let accepted = food.figures.coverage.unwrap();
    assert!((accepted.share - share).abs() < 1e-9 && accepted.accuracy.unwrap().share > 0.999, "{accepted:?}");
    assert!(food.figures.ece.unwrap() < 0.2, "0.4 before calibration, {:?} after", food.figures.ece);
    let difference = scored::difference(food, alone, 1).unwrap();
    assert!((difference.difference - (2.0 * share - 1.0)).abs() < 1e-9);

    // The same answers as a peer's file.
    let peers_dir = tempfile::tempdir().unwrap();
    let path = peers_dir.path().join("always_food-test_next.csv");
    let lines: String = test.rows.iter().map(|row| format!("{},food\n", row.transaction.id)).collect();
    std::fs::write(&path, format!("id,category\n{lines}")).unwrap();
    let found = peers::find(peers_dir.path(), "test_next").unwrap();
    assert_eq!(found[0].name, "always_food");
    let peer = peers::score(&found[0], food, dataset.taxonomy()).unwrap();
    assert!(scored::difference(food, &peer, 1).unwrap().difference.abs() < 1e-9);
    assert_eq!((peer.figures.ece, peer.figures.coverage), (None, None));
    std::fs::write(&path, "id,category\n").unwrap();
    assert!(matches!(peers::score(&found[0], food, dataset.taxonomy()), Err(peers::Error::Unanswered { .. })));
}
