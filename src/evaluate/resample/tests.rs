//! Intervals hold the truth as often as they say, and tests raise no more false alarms than they say.

use super::*;

/// Few enough that a simulation of thousands of intervals takes seconds.
const DRAWS: usize = 1_999;

/// The same draws for every sample of a simulation: samples are what differ, and drawing is what takes long.
fn draws(merchants: usize) -> Vec<Vec<usize>> {
    let mut draws = Vec::new();
    drawn(merchants, DRAWS, 1, |places| {
        draws.push(places.to_vec());
        0.0
    });
    draws
}

fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_by(f64::total_cmp);
    figures
}

fn share_of(trials: usize, mut holds: impl FnMut(u64) -> bool) -> f64 {
    (0..trials as u64).filter(|&trial| holds(trial)).count() as f64 / trials as f64
}

/// Merchants of one to six rows; of a quarter of them, one engine alone has most rows right, ours a little more often.
fn merchants(rng: &mut ChaCha8Rng, many: usize, ours: f64, theirs: f64) -> Vec<Merchant> {
    let merchant = |_| {
        let rows = rng.random_range(1..=6_i64);
        let lot: f64 = rng.random();
        let side = i64::from(lot < ours) - i64::from(lot >= 1.0 - theirs);
        let sum = (0..rows).filter(|_| rng.random_bool(0.8)).count() as i64 * side;
        Merchant { sum, rows }
    };
    (0..many).map(merchant).collect()
}

#[test]
fn an_interval_of_a_difference_holds_the_truth_in_95_of_100_samples() {
    let truth = 0.8 * (0.15 - 0.10);
    let draws = draws(400);
    let held = share_of(2_000, |trial| {
        let sample = merchants(&mut ChaCha8Rng::seed_from_u64(trial), 400, 0.15, 0.10);
        let means = draws.iter().map(|places| mean(&sample, places)).collect();
        let found = interval(&sorted(means)).unwrap();
        found.low <= truth && truth <= found.high
    });
    assert!((held - 0.95).abs() < 0.01, "{held}");
}

#[test]
fn an_interval_of_f1_holds_the_truth_in_95_of_100_samples() {
    // Category 0 to 3 by lot; a merchant is answered as the next category with that category's error.
    let (shares, errors) = ([0.4, 0.3, 0.2, 0.1], [0.05, 0.1, 0.15, 0.2]);
    let f1 = |class: usize| {
        let before = (class + 3) % 4;
        let right = shares[class] * (1.0 - errors[class]);
        2.0 * right / (shares[class] + right + shares[before] * errors[before])
    };
    let truth = (0..4).map(f1).sum::<f64>() / 4.0;
    let heavy = (0..4).map(|class| shares[class] * f1(class)).sum::<f64>();
    let mut heavy_held = 0;
    let (trials, draws) = (1_500, draws(400));
    let held = share_of(trials, |trial| {
        let mut rng = ChaCha8Rng::seed_from_u64(trial);
        let cell = |merchant| {
            let lot: f64 = rng.random();
            let gold = (0..3).find(|&class| lot < shares[..=class].iter().sum()).unwrap_or(3);
            let answer = if rng.random_bool(errors[gold]) { (gold + 1) % 4 } else { gold };
            Cell { merchant, gold, answer, rows: rng.random_range(1..=5) }
        };
        let mut scores = F1Scores::of(&(0..400).map(cell).collect::<Vec<_>>());
        let (macros, weighted) = draws.iter().map(|places| scores.at(places).into()).unzip();
        let [found, found_heavy] = [macros, weighted].map(|figures| interval(&sorted(figures)).unwrap());
        heavy_held += usize::from(found_heavy.low <= heavy && heavy <= found_heavy.high);
        found.low <= truth && truth <= found.high
    });
    let heavy_held = heavy_held as f64 / trials as f64;
    // Percentile intervals of the weighted mean are a little too narrow with so few merchants: 93.5 % was measured.
    assert!((held - 0.95).abs() < 0.01 && (heavy_held - 0.95).abs() < 0.02, "{held} {heavy_held}");
}

#[test]
fn a_fall_is_found_and_chance_is_called_one_no_more_often_than_said() {
    let called = |ours, theirs| {
        share_of(500, |trial| {
            let sample = merchants(&mut ChaCha8Rng::seed_from_u64(trial), 200, ours, theirs);
            let differences: Vec<i64> = sample.iter().map(|merchant| merchant.sum).collect();
            fallen(&differences, 399, trial) < 0.025
        })
    };
    let by_chance = called(0.1, 0.1);
    assert!(by_chance < 0.04, "{by_chance}");
    assert!(called(0.04, 0.18) > 0.95);
    assert!((fallen(&[], 99, 1) - 1.0).abs() < 1e-12 && (fallen(&[0; 9], 99, 1) - 1.0).abs() < 1e-12);
}

#[test]
fn f1_of_drawn_merchants_lies_around_f1_of_all() {
    let cells = [(0, 0, 0, 9), (0, 0, 1, 1), (1, 1, 1, 5), (2, 1, 0, 2)].map(|(merchant, gold, answer, rows)| Cell {
        merchant,
        gold,
        answer,
        rows,
    });
    let found = f1_intervals(&cells, DRAWS, 1).unwrap();
    for Interval { low, high } in [found.macro_f1, found.weighted_f1] {
        assert!((0.0..0.8).contains(&low) && (0.8..=1.0).contains(&high), "{found:?}");
    }
    assert_eq!(f1_intervals(&[], DRAWS, 1), None);
}
