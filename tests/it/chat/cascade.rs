//! Engines one behind another: who answers what, who is paid, and what is kept when the last one fails.

use txcat::{
    categorize::{Cascade, Categorizer as _, Error, KnownKey, LabelledExample, Stage, Step},
    domain::{Acceptance, Enrichment, Taxonomy},
    llm,
};

use super::{
    asking, entry,
    provider::{Provider, Reaction, answers, rows},
    row, taxonomy,
};

fn labelled(descriptor: &str, category: &str, times: usize) -> Vec<LabelledExample> {
    let example = LabelledExample { transaction: row("label", descriptor), category: category.parse().unwrap() };
    vec![example; times]
}

fn cascade(provider: &Provider) -> Cascade {
    let known = [labelled("ALPHA BAKERY", "supermarket", 9), labelled("BETA SHOP", "fuel", 1)].concat();
    let known = KnownKey::new("known_key", Enrichment::None, &taxonomy(), &known);
    let model = asking(llm::open(&entry(provider)).unwrap());
    let step = |stage: Stage, known: Option<f32>| Step { stage, accepts: Acceptance { known, unknown: None } };
    let steps = vec![
        step(Stage::new("known_key", 0.9, Enrichment::None, Box::new(known)), Some(0.9)),
        step(Stage::new("few_shot", 0.8, Enrichment::None, Box::new(model)), None),
    ];
    Cascade::new("cascade", steps).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_first_step_is_unsure_of_is_paid_for() {
    let provider = Provider::start(|_, body| Reaction::Says(answers(&rows(body), |_| "coffee_shop".to_owned()))).await;
    let cascade = cascade(&provider);
    let batch = [row("a", "GAMMA CAFE"), row("b", "ALPHA BAKERY"), row("c", "BETA SHOP")];
    let said = cascade.categorize(&batch).await.unwrap();
    let said: Vec<(&str, &str)> =
        said.iter().map(|of| (of.category.as_str(), of.provenance.engine.split(':').next().unwrap())).collect();
    assert_eq!(said, [("coffee_shop", "prompt"), ("supermarket", "known_key"), ("coffee_shop", "prompt")]);
    let asked: Vec<String> =
        provider.requests().iter().flat_map(|of| rows(&of.body)).map(|row| row["descriptor"].to_string()).collect();
    assert_eq!(asked, ["\"GAMMA CAFE\"", "\"BETA SHOP\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_step_said_outlives_the_last_ones_outage() {
    let provider = Provider::start(|_, _| Reaction::Status(500, vec![], serde_json::json!({}))).await;
    let batch = [row("a", "GAMMA CAFE"), row("b", "ALPHA BAKERY")];
    let Err(Error::Partly { answers, source }) = cascade(&provider).categorize(&batch).await else {
        panic!("the model is down")
    };
    assert!(answers[0].is_none() && answers[1].as_ref().unwrap().category.as_str() == "supermarket");
    assert!(source.is_outage());
}

#[tokio::test]
async fn own_labels_of_another_taxonomy_leave_the_word_to_everybodys() {
    let known = KnownKey::new("known_key", Enrichment::None, &taxonomy(), &labelled("ALPHA BAKERY", "supermarket", 3));
    let mut row = row("a", "ALPHA BAKERY");
    row.history.same_key.labels.insert("gone".parse().unwrap(), 5);
    let [said] = known.categorize(&[row]).await.unwrap().try_into().unwrap();
    assert_eq!(said.category.as_str(), "supermarket");
}

#[test]
fn what_was_answered_is_not_remembered_for_another_taxonomy() {
    let text = include_str!("../../../eval/taxonomies/consumer.toml");
    // Names and descriptions stay, so that an engine reads the same words.
    let other = text.replace("mcc = [\"4829\", ", "mcc = [");
    let inputs = [text, &other].map(|text| {
        let taxonomy = Taxonomy::from_toml(text).unwrap();
        KnownKey::new("known_key", Enrichment::None, &taxonomy, &[]).input(&row("a", "ALPHA BAKERY")).unwrap()
    });
    assert_ne!(inputs[0], inputs[1]);
}

#[test]
fn a_cascade_of_nothing_is_refused() {
    assert!(matches!(Cascade::new("cascade", Vec::new()), Err(Error::NoSteps { .. })));
}
