//! What to label next, side parts over a frozen encoder, and the experiments, from end to end on a tiny encoder.

use std::{collections::HashSet, fmt::Write as _, fs, path::Path, sync::atomic::AtomicBool};

use txcat::{
    evaluate::{corpus::Corpus, dataset::Dataset, labels::Choice},
    model::{
        AdapterModel,
        sides::Frozen,
        train::{TrainOptions, train},
    },
};

use crate::{
    harness::{Run as _, Said, txcat},
    model::{naming, options, row, rows, tiny_encoder},
};

const HEADER: &str = "id,posted_on,account_id,descriptor,amount,direction,currency,category\n";
const WORDS: [&str; 12] = [
    "AMBER", "BIRCH", "CEDAR", "DELTA", "EMBER", "FALCON", "GRANITE", "HARBOUR", "IRIS", "JUNIPER", "KESTREL", "LINDEN",
];

/// Lines of one file: merchants in a fixed turn, their kind in their name.
pub(crate) fn lines(
    prefix: &str,
    n: usize,
    merchants: std::ops::Range<usize>,
    day: impl Fn(usize) -> String,
) -> String {
    let mut text = HEADER.to_owned();
    for at in 0..n {
        let merchant = merchants.start + at * 37 % merchants.len();
        let (kind, category) = [("COFFEE BAR", "food"), ("SHELL FUEL", "fuel")][merchant % 2];
        let name = format!("{} {}", WORDS[merchant % 12], WORDS[merchant / 12 % 12]);
        writeln!(text, "{prefix}{at:04},{},acct-{},{name} {kind},{at}.50,debit,CAD,{category}", day(at), at % 4)
            .unwrap();
    }
    text
}

/// A pool, dev and a year of later rows, half of whose merchants are new.
pub(crate) fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
    write("categories.csv", "category,description\nfood,shops\nfuel,petrol\n".to_owned());
    write("pool.csv", lines("p", 400, 0..110, |at| format!("2023-{:02}-01", 1 + at / 34)));
    write("dev.csv", lines("d", 200, 0..120, |_| "2024-01-02".to_owned()));
    write("test_later.csv", lines("t", 240, 60..140, |at| format!("2024-{:02}-05", 1 + at / 20)));
    dir
}

pub(crate) fn with(encoder: &Path, arguments: &[&str]) -> Said {
    txcat(&["--encoder-dir"]).arg(encoder).args(arguments).run()
}

#[test]
fn selecting_reads_no_label_but_those_that_were_bought() {
    let (encoder, _) = tiny_encoder();
    let dir = folder();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let bought: Vec<String> = (0..40).map(|row| format!("p{row:04}")).collect();
    fs::write(at("bought.txt"), bought.join("\n")).unwrap();
    let pool = fs::read_to_string(at("pool.csv")).unwrap();
    let shut = |line: &str| match line.split_once(',') {
        Some((id, rest)) if id != "id" && !bought.iter().any(|one| one == id) => {
            format!("{id},{},NO CATEGORY AT ALL\n", rest.rsplit_once(',').unwrap().0)
        }
        _ => format!("{line}\n"),
    };
    fs::write(at("pool.csv"), pool.lines().map(shut).collect::<String>()).unwrap();

    let select = |more: &[&str]| {
        let (data, out) = (dir.path().to_str().unwrap(), at("picks.txt"));
        let select = ["data", "select", "--json", "--data", data, "--budget", "12", "--out", &out];
        let said = with(encoder.path(), &[&select, more].concat()).json();
        let picks: Vec<String> = fs::read_to_string(&out).unwrap().lines().map(str::to_owned).collect();
        (said, picks)
    };
    let (cold, picks) = select(&[]);
    assert_eq!((picks.iter().collect::<HashSet<_>>().len(), cold["covered_before"].as_f64()), (12, Some(0.0)));
    let (bought_file, csv) = (at("bought.txt"), at("picks.csv"));
    let (warm, picks) = select(&["--labels", &bought_file, "--csv", &csv]);
    assert!(picks.len() == 12 && picks.iter().all(|pick| !bought.contains(pick)), "{picks:?}");
    assert!(warm["covered_after"].as_f64() > warm["covered_before"].as_f64(), "{warm}");
    let rows: Vec<csv::StringRecord> =
        csv::Reader::from_path(&csv).unwrap().into_records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.iter().map(|row| row[0].to_owned()).collect::<Vec<_>>(), picks);
    assert!(rows.iter().all(|row| row[9].is_empty() && !row[7].is_empty() && !row[6].is_empty()), "{rows:?}");
}

#[tokio::test]
async fn side_parts_over_a_frozen_encoder_are_those_of_the_adapter_and_learn_a_new_label() {
    let (_dir, base) = tiny_encoder();
    let out = tempfile::tempdir().unwrap();
    let adapter = out.path().join("adapter");
    let all = rows();
    let trained = train(&base, &all, 2, &TrainOptions { epochs: 2, ..options() }, &mut |_| {}, &AtomicBool::new(false));
    trained.unwrap().save(&adapter, naming()).unwrap();
    let asked = vec![row("blue coffee bar", 0).input, row("44 house", 0).input];
    let served = AdapterModel::load(&adapter, &base).unwrap().classify(asked.clone()).await.unwrap();
    let frozen = Frozen::read(&adapter, &base, all.dev.clone()).unwrap();
    let logits = frozen.logits(&asked).unwrap();
    let answers = |sides: &txcat::model::sides::Sides| [0, 1].map(|at| sides.answer(&asked[at], &logits[at]));
    let same = answers(&frozen.learn(all.rows.clone(), &all.terms, &all.texts));
    for (served, same) in served.iter().zip(&same) {
        assert_eq!(served.known, same.known);
        for (a, b) in served.probabilities.iter().zip(&same.probabilities) {
            assert!((a - b).abs() < 2e-3, "{served:?} {same:?}");
        }
    }
    assert_eq!(same[1].known, None);
    let more = [all.rows.clone(), vec![row("44 house", 0); 3]].concat();
    let learned = answers(&frozen.learn(more, &all.terms, &all.texts));
    assert_eq!(learned[1].known, Some((0, 3)));
    assert!(learned[1].probabilities[0] > same[1].probabilities[0]);
    assert_eq!(learned[1].encoder_probabilities.len(), 2);
}

#[test]
fn experiments_print_and_write_their_pages_and_plots() {
    let (encoder, _) = tiny_encoder();
    let dir = folder();
    let (data, out) = (dir.path().to_str().unwrap(), dir.path().join("reports"));
    let out = out.to_str().unwrap();
    let common = ["--data", data, "--json", "--out", out];
    let labels = ["experiments", "labels", "--budgets", "20,60", "--epochs", "0"];
    let points = with(encoder.path(), &[&labels[..], &common].concat()).json();
    let spent: Vec<u64> = points.as_array().unwrap().iter().map(|point| point["labels"].as_u64().unwrap()).collect();
    assert_eq!(spent, [20, 20, 60, 60]);
    let golden = ["experiments", "golden", "--curated", "40", "--noisy", "200", "--rates", "0,0.4"];
    let golden =
        [&golden[..], &["--curated-epochs", "0", "--noisy-epochs", "0", "--unit", "merchants"], &common].concat();
    let arms = with(encoder.path(), &golden).json();
    let right = |at: usize| arms[at]["accuracy"]["share"].as_f64().unwrap();
    assert!(arms.as_array().unwrap().len() == 3 && right(1) > right(2), "{arms}");
    let cleaning = ["experiments", "cleaning", "--label-budget", "120", "--flip", "0.25", "--epochs", "0"];
    let cleaned = with(encoder.path(), &[&cleaning[..], &common].concat()).json();
    let arm =
        |at: usize| (cleaned["arms"][at]["rows"].as_u64().unwrap(), cleaned["arms"][at]["wrong"].as_u64().unwrap());
    let called = cleaned["called"].as_u64().unwrap();
    assert_eq!((arm(0), arm(2)), ((120, 30), (120, 0)));
    assert!(arm(1).0 == 120 - called && (1..30).contains(&arm(1).1), "what is called wrong is taken out: {cleaned}");
    for name in ["cleaning.md", "labels.md", "labels.svg", "golden_merchants.md", "golden_merchants.svg"] {
        let text = fs::read_to_string(Path::new(out).join(name)).unwrap();
        assert!(text.len() > 500 && !text.contains("COFFEE"), "{name}");
    }
}

#[test]
fn upkeep_scores_a_quarter_before_its_labels_act() {
    let (encoder, _) = tiny_encoder();
    let dir = folder();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (data, ids, adapter) = (dir.path().to_str().unwrap(), at("ids.txt"), at("adapter"));
    let corpus =
        Corpus::read(&Dataset::open(dir.path()).unwrap(), Choice::Budget { budget: 60, seed: 1 }, || {}).unwrap();
    fs::write(&ids, corpus.labels.sorted().iter().map(|id| format!("{id}\n")).collect::<String>()).unwrap();
    let train = ["train", "--plain-text", "--epochs", "0", "--without-check", "a test", "--labels", &ids];
    with(encoder.path(), &[&train[..], &["--data", data, "--out", &adapter]].concat()).ok();
    let upkeep = ["experiments", "upkeep", "--labels", &ids, "--adapter", &adapter, "--file", "test_later"];
    let common = ["--data", data, "--json", "--out", &at("reports"), "--budgets", "0,20", "--audit", "15"];
    let courses = with(encoder.path(), &[&upkeep[..], &common].concat()).json();
    let [none, some] = [&courses[0], &courses[1]];
    let quarters = none["quarters"].as_array().unwrap();
    assert_eq!(
        quarters.iter().map(|of| of["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["2024 Q1", "2024 Q2", "2024 Q3", "2024 Q4"]
    );
    assert_eq!(none["quarters"][0]["accuracy"], some["quarters"][0]["accuracy"], "bought only after it was scored");
    assert_eq!((none["bought"].as_u64(), some["quarters"][3]["bought"].as_u64()), (Some(0), Some(0)));
    assert!(some["bought"].as_u64().unwrap() > 0 && some["bought"].as_u64().unwrap() <= 60, "{some}");
    let known = |course: &serde_json::Value| course["quarters"][3]["known"].as_f64().unwrap();
    assert!(known(some) > known(none), "what was bought is known later");
    assert!(fs::read_to_string(at("reports/upkeep.md")).unwrap().contains("2024 Q4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_scores_each_row_before_anybody_looks_and_a_decision_mends_the_rows_that_follow() {
    let (encoder, _) = tiny_encoder();
    let dir = folder();
    let database = crate::database::fresh_database().await;
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // New merchants whose names tell nothing, each once a month.
    let mut later = HEADER.to_owned();
    for row in 0..240 {
        let (month, merchant) = (1 + row / 20, row % 20);
        let name = format!("{} {} HOUSE", WORDS[merchant % 12], WORDS[(5 + merchant * 7) % 12]);
        let category = ["food", "fuel"][merchant / 2 % 2];
        writeln!(later, "t{row:04},2024-{month:02}-05,acct-{},{name},{row}.50,debit,CAD,{category}", row % 4).unwrap();
    }
    fs::write(at("test_later.csv"), later).unwrap();
    let (data, ids, adapter) = (dir.path().to_str().unwrap(), at("ids.txt"), at("adapter"));
    let corpus =
        Corpus::read(&Dataset::open(dir.path()).unwrap(), Choice::Budget { budget: 60, seed: 1 }, || {}).unwrap();
    fs::write(&ids, corpus.labels.sorted().iter().map(|id| format!("{id}\n")).collect::<String>()).unwrap();
    let train = ["train", "--plain-text", "--epochs", "0", "--without-check", "a test", "--labels", &ids];
    with(encoder.path(), &[&train[..], &["--data", data, "--out", &adapter]].concat()).ok();
    let replay = ["eval", "--replay", "--files", "test_later", "--budgets", "0,10", "--out", &at("reports")];
    let common = ["--data", data, "--labels", &ids, "--adapter", &adapter, "--json", "--database-url", &database.url];
    let courses = with(encoder.path(), &[&replay[..], &common].concat()).json();

    let [none, queue, uncertainty, random, forgetful] = [0, 1, 2, 3, 4].map(|at| &courses[at]);
    let first = |course: &serde_json::Value| course["first"]["share"].as_f64().unwrap();
    assert_eq!((none["decided"].as_u64(), first(none)), (Some(0), none["unseen"]["share"].as_f64().unwrap()));
    for course in [queue, uncertainty, random, forgetful] {
        let decided = course["decided"].as_u64().unwrap();
        assert!((1..=24).contains(&decided), "a tenth of the rows, and no more: {course}");
        assert_eq!(course["first"]["n"].as_u64(), Some(240));
        assert_eq!(course["unseen"]["n"].as_u64(), Some(240 - decided));
    }
    for course in [queue, uncertainty, random] {
        assert!(first(course) > first(none) && course["by_rule"].as_u64() > Some(0), "{course}");
    }
    assert_eq!((forgetful["by_rule"].as_u64(), first(forgetful)), (Some(0), first(none)), "the control learns nothing");
    let page = fs::read_to_string(at("reports/replay.md")).unwrap();
    assert!(page.contains("10 %, queue, no memory") && !page.contains("HOUSE"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_is_fitted_written_and_measured_like_any_stage() {
    let (encoder, _) = tiny_encoder();
    let dir = folder();
    let database = crate::database::fresh_database().await;
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (data, out, reports) = (dir.path().to_str().unwrap(), at("stages.toml"), at("reports"));
    let common = ["--data", data, "--label-budget", "120", "--json", "--database-url", &database.url];
    let fit = ["eval", "fit-cascade", "--stage", "known_key", "--stage", "few_shot"];
    let run = |more: &[&str]| with(encoder.path(), &[&fit[..], &common, more].concat()).json();

    // Behind a scripted model's price, what labels know is free.
    let courses = run(&["--scripted", "0.9,1.0", "--price", "2.00", "--report", &reports]);
    for course in courses.as_array().unwrap() {
        let costs: Vec<f64> = course["frontier"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| of["fitted"]["per_1000"].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(costs.windows(2).all(|pair| pair[0] < pair[1]), "cheapest first: {costs:?}");
        assert_eq!(course["alone"]["per_1000"].as_str().unwrap().parse::<f64>().unwrap(), 2.0);
        let measured = &course["frontier"][course["chosen"].as_u64().unwrap() as usize]["measured"];
        assert!(measured["per_1000"].as_str().unwrap().parse::<f64>().unwrap() < 2.0, "{measured}");
    }
    let page = fs::read_to_string(Path::new(&reports).join("cascade.md")).unwrap();
    assert!(page.contains("rows of its file `dev`, seed 1; known_key is known_key:known_key@"), "{page}");
    assert!(page.contains("scripted, 90 % right") && fs::exists(Path::new(&reports).join("cascade.svg")).unwrap());

    // A coin behind few labels is not always right.
    let few = ["--data", data, "--label-budget", "6", "--json", "--database-url", &database.url];
    let coin = ["--scripted", "0.5", "--target", "1", "--report", &reports];
    with(encoder.path(), &[&fit[..], &few, &coin].concat()).json();
    let page = fs::read_to_string(Path::new(&reports).join("cascade.md")).unwrap();
    assert!(page.contains("None reached that where it was chosen: the most accurate is shown"), "{page}");
    assert!(!page.contains("postgres:"), "a report has no address with a password: {page}");

    // Real steps, written as a stage, and measured by its name.
    run(&["--target", "0.6", "--out", &out]);
    let stages = fs::read_to_string(&out).unwrap();
    assert!(stages.contains("engine = \"cascade\"") && stages.contains("stage = \"known_key\""), "{stages}");
    let eval = [&["eval"], &common[..], &["--stages", &out, "--stage", "known_key", "--stage", "cascade"]].concat();
    let runs = with(encoder.path(), &eval).json()["runs"].clone();
    let accuracy = |stage: &str| {
        runs.as_array().unwrap().iter().find(|run| run["stage"] == stage).unwrap()["accuracy"].as_f64().unwrap()
    };
    assert!(accuracy("cascade") > accuracy("known_key"), "what no label knows is answered by the last step: {runs}");

    // Through the batch API, at its price.
    let provider = crate::provider::Provider::start().await;
    provider.script.with(|inner| {
        inner.completes = Some(Box::new(|body| {
            let rows = crate::chat::rows(body);
            Some(crate::chat::answers(&rows, |_| "food".to_owned()))
        }));
    });
    let price = "batch_poll_s = 0.01\n[[model.price]]\nfrom = \"2020-01-01\"\nprompt = \"1\"\ncompletion = \"2\"\n\
                 batch = \"0.5\"\nsource = \"made up\"\n";
    fs::write(at("chat.toml"), format!("[[model]]\n{}", provider.toml(price))).unwrap();
    let chat = ["--chat-model", "small", "--chat-models", &at("chat.toml"), "--stage", "few_shot", "--batches"];
    let runs = with(encoder.path(), &[&["eval"], &common[..], &chat].concat()).json()["runs"].clone();
    assert!(runs[0]["engine"].as_str().unwrap().starts_with("prompt:small/gpt-4o-mini:"), "{runs}");
    // 200 rows, ten a request: twenty times 100 tokens at half of 1, and 10 at half of 2, for 1,000 rows.
    assert_eq!(runs[0]["cost_per_1000"].as_str().unwrap().parse::<f64>().unwrap(), 0.006, "{runs}");
    provider.script.with(|inner| assert_eq!(inner.batches.len(), 1, "all rows of dev share a batch"));
}
