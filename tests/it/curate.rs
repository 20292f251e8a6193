//! The label gate on generated folders and, where it is at hand, on real data.

use std::{fmt::Write as _, fs, path::Path};

use txcat::{
    curate::{
        self, LabelledSet, Level, Manifest, Outcome, Settings, Which, around,
        confident::Prune,
        experiment::{self, Flip},
        manifest,
        manifest::rows_sha256,
        suspects::Opinion,
    },
    evaluate::{corpus::Corpus, dataset::Dataset, labels::Choice, pool::Pool},
};

use crate::{
    database::fresh_database,
    datasets::toronto,
    harness::{Run as _, Said, txcat},
    model::tiny_encoder,
};

const HEADER: &str = "id,posted_on,account_id,descriptor,amount,direction,currency,category,labelled_by\n";
const KINDS: [(&str, &str); 3] = [("COFFEE HOUSE", "food"), ("RAIL TICKETS", "travel"), ("PETROL STOP", "fuel")];
const NAMES: [&str; 8] = ["NORTH", "SOUTH", "RIVER", "HARBOUR", "MEADOW", "SUMMIT", "CEDAR", "GRANITE"];

/// A line: row `n` of its kind's merchants, each with a name of its own.
fn line(id: &str, n: usize, day: &str) -> String {
    let (kind, category) = KINDS[n % 3];
    let name = format!("{} {}", NAMES[n / 3 % 8], NAMES[n / 24 % 8]);
    format!("{id},{day},acct-{},{name} {kind},{n}.50,debit,CAD,{category},ann\n", n % 5)
}

/// A folder with a clean pool of 180 rows, and dev and a test file from later on.
pub(crate) fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, prefix: &str, rows: std::ops::Range<usize>, day: &str| {
        let lines: String = rows.map(|n| line(&format!("{prefix}{n:03}"), n, day)).collect();
        fs::write(dir.path().join(name), format!("{HEADER}{lines}")).unwrap();
    };
    let categories = "category,description\nfood,shops\ntravel,trains\nfuel,petrol\n";
    fs::write(dir.path().join("categories.csv"), categories).unwrap();
    file("pool.csv", "p", 0..180, "2024-01-02");
    file("dev.csv", "d", 180..200, "2024-02-02");
    file("test_next.csv", "t", 180..210, "2024-03-02");
    dir
}

/// Puts lines at the pool's end.
fn add(dir: &Path, lines: &str) {
    let pool = fs::read_to_string(dir.join("pool.csv")).unwrap();
    fs::write(dir.join("pool.csv"), pool + lines).unwrap();
}

fn set(dir: &Path) -> LabelledSet {
    LabelledSet::read(&Dataset::open(dir).unwrap(), Which::All, || {}).unwrap()
}

fn checked(dir: &Path) -> Outcome {
    let held_out = around::held_out(&Dataset::open(dir).unwrap()).unwrap();
    curate::check(&set(dir), &held_out, None, Settings { prune: Prune::Both, ..Settings::default() })
}

/// Level of a check, and the ids of the rows behind it.
fn found(outcome: &Outcome, name: &str) -> (Level, Vec<String>) {
    let check = outcome.checks.iter().find(|check| check.name == name).unwrap();
    (check.level, check.flags.iter().map(|flag| flag.id.clone()).collect())
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn a_clean_set_passes_and_the_same_set_gives_the_same_manifest() {
    let dir = folder();
    let outcome = checked(dir.path());
    assert!(outcome.report.passed, "{:#?}", outcome.report);
    assert_eq!((outcome.report.rows, outcome.report.refused, outcome.report.quarantined), (180, 0, 0));
    assert!(outcome.manifest.is_whole() && outcome.manifest.rows_sha256 == outcome.manifest.kept_sha256);
    assert_eq!(checked(dir.path()).manifest, outcome.manifest);
    add(dir.path(), &line("p999", 1, "2024-01-03"));
    assert_ne!(checked(dir.path()).manifest.rows_sha256, outcome.manifest.rows_sha256);
}

#[test]
fn rows_that_cannot_be_read_are_counted_and_kept_and_shown() {
    let dir = folder();
    add(dir.path(), "bad1,2024-01-02,acct-1,SHOP,seven,debit,CAD,food,ann\nbad2,2024-01-02,acct-1,SHOP\n");
    add(dir.path(), "bad3,2024-01-02,acct-1,SHOP,7.00,debit,CAD,fodder,ann\n");
    let outcome = checked(dir.path());
    assert_eq!(found(&outcome, "schema"), (Level::Block, ids(&["bad1", "bad2"])));
    assert_eq!(found(&outcome, "taxonomy"), (Level::Block, ids(&["bad3"])));
    assert_eq!((outcome.report.rows, outcome.report.refused, outcome.report.quarantined), (180, 3, 3));
    let schema = outcome.report.check("schema").unwrap();
    assert!(schema.flags[0].says.contains("line 182: `amount`"), "{}", schema.flags[0].says);
    assert_eq!((schema.flags[0].line, schema.flags[1].line), (Some(182), Some(183)));
}

#[test]
fn a_listed_set_is_judged_by_its_own_rows_alone() {
    let dir = folder();
    add(dir.path(), "bad1,2024-01-02,acct-1,SHOP,seven,debit,CAD,food,ann\n");
    let dataset = Dataset::open(dir.path()).unwrap();
    let read = |ids: &[&str]| {
        let listed = Choice::Listed(ids.iter().map(|id| id.parse().unwrap()).collect());
        LabelledSet::read(&dataset, Which::Chosen(listed), || {}).unwrap()
    };
    let without = read(&["p001", "p002"]);
    assert_eq!((without.examples.len(), without.refused.len()), (2, 0));
    assert_eq!(read(&["p001", "bad1"]).refused.len(), 1);
}

#[test]
fn wrong_labels_are_found_and_kept_out() {
    let dir = folder();
    let pool = fs::read_to_string(dir.path().join("pool.csv")).unwrap();
    let wrong = pool.replace("9.50,debit,CAD,food", "9.50,debit,CAD,fuel");
    let lines = wrong.lines().zip(pool.lines()).filter(|(now, then)| now != then).count();
    assert!(lines >= 5, "{lines}");
    fs::write(dir.path().join("pool.csv"), wrong).unwrap();
    let outcome = checked(dir.path());
    let (level, suspects) = found(&outcome, "label_errors");
    let hits = suspects.iter().filter(|id| id.ends_with('9')).count();
    assert!(
        level == Level::Warn && hits * 10 >= lines * 8 && hits * 10 >= suspects.len() * 8,
        "{suspects:?} of {lines}"
    );
    assert_eq!(outcome.manifest.kept, 180 - suspects.len());
    let food = outcome.report.classes.iter().find(|class| class.category == "fuel").unwrap();
    assert!(food.noise.unwrap() > 0.05 && food.suspects == suspects.len(), "{food:?}");
}

#[test]
fn a_rare_category_is_said_to_be_unreliable_and_nothing_of_it_is_kept_out() {
    let dir = folder();
    let categories = "category,description\nfood,shops\ntravel,trains\nfuel,petrol\nrare,what is rare\n";
    fs::write(dir.path().join("categories.csv"), categories).unwrap();
    add(dir.path(), "r1,2024-01-02,acct-1,BLUE RAIL TICKETS,1.00,debit,CAD,rare,ann\n");
    add(dir.path(), "r2,2024-01-02,acct-1,BLACK RAIL TICKETS,1.00,debit,CAD,rare,ann\n");
    let outcome = checked(dir.path());
    let errors = outcome.report.check("label_errors").unwrap();
    assert!(errors.says.contains("unreliable for 1 categories"), "{}", errors.says);
    assert_eq!(outcome.report.classes[3].noise, None);
    assert!(outcome.quarantine.keys().all(|place| *place < 180), "{:?}", outcome.quarantine);
    assert_eq!(found(&outcome, "counts").0, Level::Warn);
}

#[test]
fn copies_conflicts_and_near_copies_are_told_apart() {
    let dir = folder();
    add(dir.path(), "c1,2024-01-02,acct-0,north north coffee house,0.50,debit,CAD,food,ann\n");
    add(dir.path(), "c2,2024-01-02,acct-0,NORTH NORTH COFFEE HOUSE,0.50,debit,CAD,fuel,ann\n");
    add(dir.path(), "c3,2024-01-05,acct-0,NORTH NORTH COFFE HOUSE,0.70,debit,CAD,travel,ann\n");
    let outcome = checked(dir.path());
    assert_eq!(found(&outcome, "duplicates"), (Level::Warn, ids(&["c1", "c2"])));
    let place = |id: &str| 180 + id[1..].parse::<usize>().unwrap() - 1;
    assert!(outcome.quarantine[&place("c2")].contains("the same event as p000, with another label"));
    assert!(!outcome.quarantine.get(&place("c1")).is_some_and(|why| why.contains("duplicates")));
    assert_eq!(found(&outcome, "near_duplicates"), (Level::Info, ids(&["c3"])));
    let (level, conflicting) = found(&outcome, "conflicts");
    assert!(level == Level::Info && conflicting == ids(&["c2"]), "{conflicting:?}");
}

#[test]
fn a_label_against_the_direction_is_found_where_the_taxonomy_names_one() {
    let dir = folder();
    assert!(outcome_says(&checked(dir.path()), "direction").contains("not checked"));
    // The demo set's categories are the consumer taxonomy, which says that a salary comes in.
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/datasets/demo/categories.csv");
    fs::copy(demo, dir.path().join("categories.csv")).unwrap();
    for file in ["pool.csv", "dev.csv", "test_next.csv"] {
        let text = fs::read_to_string(dir.path().join(file)).unwrap();
        let text = text
            .replace(",food,", ",coffee_shop,")
            .replace(",travel,", ",supermarket,")
            .replace(",fuel,", ",restaurant,");
        fs::write(dir.path().join(file), text).unwrap();
    }
    add(dir.path(), "s1,2024-01-02,acct-1,ACME PAYROLL,900.00,debit,CAD,salary,ann\n");
    add(dir.path(), "s2,2024-01-02,acct-1,ACME PAYROLL,900.00,credit,CAD,salary,ann\n");
    let outcome = checked(dir.path());
    assert_eq!(found(&outcome, "direction"), (Level::Warn, ids(&["s1"])));
}

fn outcome_says<'a>(outcome: &'a Outcome, name: &str) -> &'a str {
    &outcome.report.check(name).unwrap().says
}

#[test]
fn people_who_disagree_are_noticed_and_a_missing_column_is_said() {
    let dir = folder();
    assert!(outcome_says(&checked(dir.path()), "agreement").contains("1 people"));
    let twice: String = (0..60).map(|n| line(&format!("q{n:03}"), n, "2024-01-09").replace(",ann", ",bob")).collect();
    add(dir.path(), &twice);
    let outcome = checked(dir.path());
    let check = outcome.report.check("agreement").unwrap();
    assert!(check.level == Level::Pass && check.get("kappa") == Some(1.0), "{check:?}");
    let wrong = fs::read_to_string(dir.path().join("pool.csv")).unwrap().replace(",food,bob", ",fuel,bob");
    fs::write(dir.path().join("pool.csv"), wrong).unwrap();
    let outcome = checked(dir.path());
    let check = outcome.report.check("agreement").unwrap();
    assert!(check.level == Level::Warn && check.rows == 20, "{check:?}");
    let pool = fs::read_to_string(dir.path().join("pool.csv")).unwrap();
    fs::write(dir.path().join("pool.csv"), pool.replacen("labelled_by", "somebody", 1)).unwrap();
    assert!(outcome_says(&checked(dir.path()), "agreement").contains("no column `labelled_by`"));
}

#[test]
fn rows_of_a_test_file_block_and_its_labels_are_never_read() {
    let dir = folder();
    let test = fs::read_to_string(dir.path().join("test_next.csv")).unwrap();
    add(dir.path(), test.lines().nth(1).unwrap());
    add(dir.path(), "\n");
    add(dir.path(), &line("late", 5, "2024-03-05"));
    let outcome = checked(dir.path());
    assert_eq!(found(&outcome, "leakage"), (Level::Block, ids(&["t180", "late"])));
    assert_eq!(outcome.report.check("leakage").unwrap().get("test_next_shared_rows"), Some(1.0));
    // Labels that are no category, and none at all: had they been read, the file could not be.
    let unreadable = test.replace(",food,", ",NOT A SLUG,").replace(",fuel,", ",,").replace(",travel,", ",no_such,");
    assert_ne!(unreadable, test);
    fs::write(dir.path().join("test_next.csv"), unreadable).unwrap();
    assert_eq!(checked(dir.path()).manifest, outcome.manifest);
}

#[test]
fn an_id_that_stands_twice_is_refused_with_its_line_wherever_a_pool_is_read() {
    let dir = folder();
    add(dir.path(), "p007,2024-01-09,acct-1,ANOTHER TEXT,7.00,debit,CAD,travel,ann\n");
    let outcome = checked(dir.path());
    assert_eq!(found(&outcome, "schema"), (Level::Warn, ids(&["p007"])));
    let flag = &outcome.report.check("schema").unwrap().flags[0];
    assert!(flag.line == Some(182) && flag.says.contains("`id` is that of line 9 too"), "{flag:?}");
    assert_eq!((outcome.report.rows, outcome.report.refused), (180, 1));
    let read = Corpus::read(&Dataset::open(dir.path()).unwrap(), Choice::Budget { budget: 200, seed: 1 }, || {});
    assert!(read.unwrap_err().to_string().contains("line 182: `id` is that of line 9 too"));
    let read = Pool::read(&Dataset::open(dir.path()).unwrap(), || {});
    assert!(read.unwrap_err().to_string().contains("line 182"));
}

#[test]
fn labels_of_dev_that_nothing_can_be_calibrated_by_block() {
    let dir = folder();
    let dev = fs::read_to_string(dir.path().join("dev.csv")).unwrap();
    let with = |dev: &str| {
        fs::write(dir.path().join("dev.csv"), dev).unwrap();
        checked(dir.path())
    };
    let outcome = with(&dev.replacen(",food,", ",no_such,", 1));
    assert_eq!(found(&outcome, "taxonomy").0, Level::Block);
    assert_eq!(found(&outcome, "schema").0, Level::Pass);
    assert!(outcome.quarantine.is_empty() && outcome.report.quarantined == 0, "no row of the set is at fault");
    let outcome = with(&dev.replacen(",food,", ",NOT A SLUG,", 1));
    assert_eq!(found(&outcome, "schema").0, Level::Block);
    assert!(outcome_says(&outcome, "schema").ends_with("1 rows of dev can't be read"));
    let outcome = with(HEADER);
    assert_eq!(found(&outcome, "schema").0, Level::Block);
    assert!(outcome_says(&outcome, "schema").ends_with("dev has no rows"));
    assert!(with(&dev).manifest.passed);
}

#[test]
fn personal_data_blocks_without_being_repeated() {
    let dir = folder();
    add(dir.path(), "i1,2024-01-02,acct-1,CARD 4111 1111 1111 1111 COFFEE,1.00,debit,CAD,food,ann\n");
    add(dir.path(), "i2,2024-01-02,acct-1,MRS SMITH COFFEE,1.00,debit,CAD,food,ann\n");
    let outcome = checked(dir.path());
    assert_eq!(found(&outcome, "pii"), (Level::Block, ids(&["i1", "i2"])));
    assert!(outcome.quarantine.contains_key(&180) && !outcome.quarantine.contains_key(&181));
    let json = serde_json::to_string(&outcome.report).unwrap();
    assert!(!json.contains("4111") && !json.contains("SMITH"), "{json}");
}

#[test]
fn flipped_labels_are_others_and_the_check_finds_them() {
    let dir = folder();
    let before = set(dir.path());
    for by in [Flip::Uniform, Flip::Confusion] {
        let mut after = before.clone();
        let flipped = experiment::flip(&mut after, 0.1, by, 5, 7);
        let changed: Vec<usize> =
            (0..180).filter(|&place| after.examples[place].class != before.examples[place].class).collect();
        assert_eq!(flipped.iter().copied().collect::<Vec<_>>(), changed, "{by:?}");
        assert_eq!(changed.len(), 18);
        for found in experiment::found(&Opinion::of(&after, 5, 7), &flipped) {
            if found.prune == Prune::Sure {
                continue; // 180 rows make no model that sure.
            }
            let recall = found.recall.unwrap().share;
            // Called at random, one in ten would be a flip.
            assert!(recall > 0.5 && found.precision.unwrap().share > 0.5, "{by:?}: {found:?}");
        }
    }
}

fn check(dir: &Path, arguments: &[&str]) -> Said {
    txcat(&["data", "check", "--data"]).arg(dir).args(arguments).run()
}

#[test]
fn the_command_writes_what_passes_and_fails_when_a_check_blocks() {
    let dir = folder();
    add(dir.path(), "i1,2024-01-02,acct-1,CARD 4111 1111 1111 1111 COFFEE,1.00,debit,CAD,food,ann\n");
    add(dir.path(), "bad1,2024-01-02,acct-1,SHOP,seven,debit,CAD,food,ann\n");
    let out = dir.path().join("out");
    let out_text = out.to_str().unwrap().to_owned();
    let errors = check(dir.path(), &["--no-database", "--all", "--out", &out_text]).refused(1);
    assert!(errors.contains("blocked by pii"), "{errors}");
    let manifest = Manifest::read(&out.join(manifest::FILE)).unwrap();
    assert!(!manifest.passed && manifest.rows == 181 && manifest.kept == 180, "{manifest:?}");
    let lines = |name: &str| fs::read_to_string(out.join(name)).unwrap().lines().count();
    assert_eq!((lines("pass.csv"), lines("quarantine.csv"), lines("labels.txt")), (181, 3, 180));

    let again = dir.path().join("again");
    let labels = out.join("labels.txt");
    let settings = ["--no-database", "--json", "--labels", labels.to_str().unwrap(), "--out", again.to_str().unwrap()];
    let report = check(dir.path(), &settings).json();
    assert_eq!((&report["passed"], &report["rows"]), (&true.into(), &180.into()));
    let again = Manifest::read(&again.join(manifest::FILE)).unwrap();
    assert_eq!(again.rows_sha256, manifest.kept_sha256);
    // Training sees the same rows.
    let ids = fs::read_to_string(labels).unwrap().lines().map(|id| id.parse().unwrap()).collect();
    // The bad row would stop it, as it must.
    let dataset = Dataset::open(dir.path()).unwrap();
    assert!(Corpus::read(&dataset, Choice::Listed(ids), || {}).is_err());
}

#[test]
fn training_hashes_its_rows_as_the_check_did() {
    let dir = folder();
    let dataset = Dataset::open(dir.path()).unwrap();
    let choice = Choice::Budget { budget: 60, seed: 3 };
    let corpus = Corpus::read(&dataset, choice.clone(), || {}).unwrap();
    let set = LabelledSet::read(&dataset, Which::Chosen(choice), || {}).unwrap();
    let outcome = curate::check(&set, &[], None, Settings::default());
    let rows = corpus.rows.iter().map(|row| (&row.transaction, row.category.as_str()));
    assert_eq!(rows_sha256(rows), outcome.manifest.rows_sha256);
}

#[tokio::test]
async fn the_command_stores_the_report_and_compares_with_traffic() {
    let dir = folder();
    let database = fresh_database().await;
    let store = txcat::store::Store::connect(&database.url, 2).await.unwrap();
    let run = || check(dir.path(), &["--all", "--json", "--database-url", &database.url]);
    let report = run().json();
    let drift = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "drift").unwrap();
    assert!(drift["says"].as_str().unwrap().contains("no traffic"), "{drift}");
    run().ok();
    let sets = store.datasets(10).await.unwrap();
    assert_eq!(sets.len(), 1, "the same rows are the same set");
    assert!(sets[0].passed && sets[0].rows == 180 && sets[0].source == "folder", "{sets:?}");
    let stored = store.dataset(sets[0].id).await.unwrap().unwrap();
    assert_eq!(stored.report, report);
}

#[test]
fn flips_of_the_real_pool_are_found() {
    let Some(dir) = toronto() else { return };
    let dataset = Dataset::open(&dir).unwrap();
    let choice = Choice::Budget { budget: 2_000, seed: 1 };
    let mut set = LabelledSet::read(&dataset, Which::Chosen(choice), || {}).unwrap();
    assert_eq!((set.examples.len(), set.refused.len()), (2_000, 0));
    let flipped = experiment::flip(&mut set, 0.05, Flip::Uniform, 5, 1);
    let opinion = Opinion::of(&set, 5, 1);
    let mut says = String::new();
    for found in experiment::found(&opinion, &flipped) {
        let (precision, recall) = (found.precision.unwrap().share, found.recall.unwrap().share);
        writeln!(says, "{:?}: precision {precision:.2}, recall {recall:.2}", found.prune).unwrap();
        // Called at random, one in twenty would be a flip.
        let (exact, whole) = if found.prune == Prune::Sure { (0.3, 0.1) } else { (0.1, 0.5) };
        assert!(precision > exact && recall > whole && flipped.len() == 100, "{says}");
    }
    eprintln!("100 of 2,000 real labels flipped:\n{says}");
    assert!(opinion.suspects(Prune::Both).len() <= opinion.suspects(Prune::Class).len());
}

/// Trains on a tiny encoder: what is asked is whether it trains at all.
fn train(dir: &Path, arguments: &[&str]) -> Said {
    let (encoder, _) = tiny_encoder();
    let mut command = txcat(&["train", "--epochs", "0", "--label-budget", "60", "--encoder-dir"]);
    command.arg(encoder.path()).arg("--data").arg(dir).arg("--out").arg(dir.join("adapter")).args(arguments).run()
}

#[test]
fn training_wants_labels_that_pass_or_a_reason_that_the_adapter_keeps() {
    let dir = folder();
    let clean = fs::read_to_string(dir.path().join("pool.csv")).unwrap();
    add(dir.path(), "card,2024-01-02,acct-1,CARD 4111 1111 1111 1111 COFFEE,1.00,debit,CAD,food,ann\n");
    let list = dir.path().join("list.txt");
    fs::write(&list, (0..59).map(|n| format!("p{n:03}\n")).collect::<String>() + "card\n").unwrap();
    let says = train(dir.path(), &["--labels", list.to_str().unwrap()]).refused(1);
    assert!(says.contains("not fit to learn from") && says.contains("pii"), "{says}");
    let sources = || {
        let facts = fs::read_to_string(dir.path().join("adapter/txcat.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&facts).unwrap()["sources"].clone()
    };
    train(dir.path(), &["--labels", list.to_str().unwrap(), "--without-check", "a test"]).ok();
    assert_eq!(sources()["labels were not checked, because"], "a test");

    // Where no manifest says so, the labels are checked now, and the test file stays shut.
    fs::write(dir.path().join("pool.csv"), clean).unwrap();
    let test = dir.path().join("test_next.csv");
    let rows = fs::read_to_string(&test).unwrap();
    fs::write(&test, "no data set's file").unwrap();
    train(dir.path(), &[]).ok();
    assert_eq!(sources()["manifest of the label check"].as_str().unwrap().len(), 64);
    fs::write(&test, rows).unwrap();

    let out = dir.path().to_str().unwrap();
    check(dir.path(), &["--no-database", "--label-budget", "60", "--out", out]).ok();
    train(dir.path(), &[]).ok();
    let manifest = Manifest::read(&dir.path().join(manifest::FILE)).unwrap();
    assert_eq!(sources()["manifest of the label check"], manifest.sha256);
    let says = train(dir.path(), &["--seed", "2"]).refused(1);
    assert!(says.contains("60 other rows"), "{says}");
}
