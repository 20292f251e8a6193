//! What fell is caught, and noise is not.

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::*;

fn check(floor: Option<f64>, baseline: bool) -> Check {
    let text = |text: &str| text.to_owned();
    Check {
        data_set: text("demo"),
        file: text("dev"),
        stage: text("adapter"),
        floor,
        baseline: baseline.then_some(Baseline::Run(1)),
    }
}

/// 400 merchants of one to eight rows; an engine has most of a merchant right, or most of it wrong.
fn answers(seed: u64) -> Vec<Merchant> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let merchant = |_| {
        let rows = rng.random_range(1..=8_i64);
        let share = if rng.random_bool(0.05) { 0.2 } else { 0.98 };
        Merchant { sum: (0..rows).filter(|_| rng.random_bool(share)).count() as i64, rows }
    };
    (0..400).map(merchant).collect()
}

fn accuracy(of: &[Merchant]) -> f64 {
    of.iter().map(|merchant| merchant.sum).sum::<i64>() as f64 / of.iter().map(|of| of.rows).sum::<i64>() as f64
}

fn called(check: &Check, merchants: Vec<Merchant>, gains: Option<Vec<Merchant>>) -> bool {
    let evidence = Evidence { run: 2, merchants, baseline: gains.map(|gains| (1, gains)) };
    judge(LEVEL, &[(check.clone(), evidence)], 399)[0].fallen
}

fn gains(now: &[Merchant], before: &[Merchant]) -> Vec<Merchant> {
    now.iter().zip(before).map(|(now, before)| Merchant { sum: now.sum - before.sum, rows: now.rows }).collect()
}

#[test]
fn a_hundred_reshuffles_raise_no_more_than_five_alarms() {
    let before = answers(7);
    let (at_par, paired) = (check(Some(accuracy(&before)), false), check(None, true));
    let mut alarms = [0, 0];
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // The same merchants drawn anew: nothing changed but who came.
        let drawn: Vec<Merchant> = (0..400).map(|_| before[rng.random_range(0..400)]).collect();
        alarms[0] += usize::from(called(&at_par, drawn, None));
        // Another engine that is as good: its mistakes are those of the old one, shuffled among merchants of a size.
        let mut now = before.clone();
        for size in 1..=8 {
            let places: Vec<usize> = (0..400).filter(|&place| before[place].rows == size).collect();
            let mut from = places.clone();
            from.shuffle(&mut rng);
            places.iter().zip(from).for_each(|(&place, from)| now[place].sum = before[from].sum);
        }
        let gains = gains(&now, &before);
        alarms[1] += usize::from(called(&paired, now, Some(gains)));
    }
    assert!(alarms.iter().all(|alarms| *alarms <= 5), "{alarms:?} alarms of 100");
}

#[test]
fn a_planted_regression_is_caught() {
    let before = answers(7);
    // Of every 25th merchant all rows are wrong now: some 4 points.
    let mut now = before.clone();
    now.iter_mut().step_by(25).for_each(|merchant| merchant.sum = 0);
    let lost = accuracy(&before) - accuracy(&now);
    assert!((0.02..0.05).contains(&lost), "{lost}");
    assert!(called(&check(None, true), now.clone(), Some(gains(&now, &before))));
    assert!(called(&check(Some(accuracy(&now) + 0.04), false), now.clone(), None));
    assert!(!called(&check(Some(accuracy(&now) - 0.02), false), now, None), "what is above its floor has not fallen");
}

#[test]
fn checks_are_corrected_together() {
    let (before, fine) = (answers(7), check(Some(0.5), false));
    let mut now = before.clone();
    now.iter_mut().step_by(25).for_each(|merchant| merchant.sum = 0);
    let fell = Evidence { run: 2, merchants: now.clone(), baseline: Some((1, gains(&now, &before))) };
    let well = Evidence { run: 3, merchants: before, baseline: None };
    let mut checked = vec![(check(None, true), fell)];
    checked.extend((0..5).map(|_| (fine.clone(), well.clone())));
    let verdicts = judge(LEVEL, &checked, 999);
    assert_eq!(
        verdicts.iter().map(|verdict| verdict.fallen).collect::<Vec<_>>(),
        [true, false, false, false, false, false]
    );
    let alone = judge(LEVEL, &checked[..1], 999)[0].baseline_p.unwrap();
    assert!((verdicts[0].baseline_p.unwrap() - 6.0 * alone).abs() < 1e-12);
}

#[test]
fn a_file_is_read_and_what_checks_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thresholds.toml");
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        Thresholds::load(&path)
    };
    let head = "[[check]]\ndata_set = \"demo\"\nfile = \"dev\"\nstage = \"adapter\"\n";
    let read = load(&format!("{head}floor = 0.9\nbaseline = {{ engine = \"adapter:demo@1f3a9c02\" }}\n")).unwrap();
    assert_eq!(read.level, LEVEL);
    assert_eq!(read.checks[0].baseline, Some(Baseline::Engine("adapter:demo@1f3a9c02".to_owned())));
    assert!(matches!(load(head), Err(Error::Empty { .. })));
    assert!(matches!(load(&format!("{head}floor = 92\n")), Err(Error::Share { field: "floor", .. })));
    assert!(matches!(load("level = 0\n"), Err(Error::Share { field: "level", .. })));
    assert!(matches!(load("[[check]]\nstage = 1\n"), Err(Error::Toml { .. })));
    assert!(matches!(Thresholds::load(Path::new("no/such/file")), Err(Error::File { .. })));
}
