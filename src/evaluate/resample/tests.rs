//! Intervals hold the truth as often as they say, and tests raise no more false alarms than they say.

use super::*;

/// Few enough that a simulation of thousands of intervals takes seconds.
const DRAWS: u32 = 999;

/// The same draws for every sample of a simulation: samples are what differ, and drawing is what takes long.
fn draws(clusters: usize) -> Vec<Vec<u32>> {
    let draw = |draw| {
        let mut times = vec![0; clusters];
        draw_into(&mut times, 1, draw);
        times
    };
    (0..DRAWS).map(draw).collect()
}

fn intervals<const N: usize>(counts: &Counts, draws: &[Vec<u32>], figures: fn(&[i64]) -> [f64; N]) -> [Interval; N] {
    let mut totals = vec![0; counts.width];
    let of = |times: &Vec<u32>| {
        counts.add_up(times, &mut totals);
        figures(&totals)
    };
    let drawn: Vec<_> = draws.iter().map(of).collect();
    counts.judged(&drawn, figures).unwrap().map(|of| of.interval())
}

/// The share of trials in which each of the intervals holds its truth.
fn held<const N: usize>(trials: u64, truths: [f64; N], found: impl Fn(u64) -> [Interval; N] + Sync) -> [f64; N] {
    let holds = |trial| {
        let found = found(trial);
        std::array::from_fn(|of| usize::from(found[of].low <= truths[of] && truths[of] <= found[of].high))
    };
    let add = |a: [usize; N], b: [usize; N]| std::array::from_fn(|of| a[of] + b[of]);
    let counts = (0..trials).into_par_iter().map(holds).reduce(|| [0; N], add);
    counts.map(|held| held as f64 / trials as f64)
}

fn share_of(trials: u64, holds: impl Fn(u64) -> bool) -> f64 {
    (0..trials).filter(|&trial| holds(trial)).count() as f64 / trials as f64
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
    let draws = draws(400);
    let [held] = held(4_000, [0.8 * (0.15 - 0.10)], |trial| {
        let sample = merchants(&mut ChaCha8Rng::seed_from_u64(trial), 400, 0.15, 0.10);
        intervals(&sums(&sample), &draws, mean)
    });
    assert!((held - 0.95).abs() < 0.01, "{held}");
}

#[test]
fn an_interval_of_f1_holds_the_truth_in_95_of_100_samples() {
    // Category 0 to 3 by lot; a merchant is answered as the next category with that category's error.
    let (shares, errors) = ([0.4, 0.3, 0.2, 0.1], [0.05, 0.1, 0.15, 0.2]);
    let right = |class: usize| shares[class] * (1.0 - errors[class]);
    let f1 = |class: usize| {
        let before = (class + 3) % 4;
        2.0 * right(class) / (shares[class] + right(class) + shares[before] * errors[before])
    };
    let accuracy = (0..4).map(right).sum::<f64>();
    let truths = [accuracy, (0..4).map(f1).sum::<f64>() / 4.0, (0..4).map(|class| shares[class] * f1(class)).sum()];
    // With few merchants macro F1's interval is a little too wide: a category may be missing from a draw.
    for (many, within) in [(150, 0.02), (400, 0.01)] {
        let draws = draws(many);
        let held = held(4_000, truths, |trial| {
            let mut rng = ChaCha8Rng::seed_from_u64(trial);
            let cell = |_| {
                let lot: f64 = rng.random();
                let gold = (0..3).find(|&class| lot < shares[..=class].iter().sum()).unwrap_or(3);
                let answer = if rng.random_bool(errors[gold]) { (gold + 1) % 4 } else { gold };
                [Cell { gold, answer, rows: rng.random_range(1..=5) }]
            };
            intervals(&confusions((0..many).map(cell)), &draws, scores)
        });
        println!("{many} merchants: accuracy, macro F1, weighted F1 {held:?}");
        assert!(held.iter().all(|held| (held - 0.95).abs() < within), "{many} merchants: {held:?}");
    }
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
fn what_lies_outside_of_the_interval_is_called_so() {
    let sample = merchants(&mut ChaCha8Rng::seed_from_u64(3), 300, 0.3, 0.05);
    let drawn = drawn_mean(&sample, RESAMPLES, 1).unwrap();
    let Interval { low, high } = drawn.interval();
    assert!(drawn.reaching(high + 0.002) < 0.025 && drawn.reaching(high - 0.002) > 0.025);
    assert!(drawn.reaching(low + 0.002) < 0.975 && drawn.reaching(low - 0.002) > 0.975);
    assert!(drawn.reaching(2.0) >= 1.0 / 2_000.0 && drawn.reaching(-2.0) > 0.999);
}

#[test]
fn scores_of_drawn_merchants_lie_around_those_of_all() {
    let cell = |gold, answer, rows| Cell { gold, answer, rows };
    let clusters = [vec![cell(0, 0, 9), cell(0, 1, 1)], vec![cell(1, 1, 5)], vec![cell(1, 0, 2)]];
    let found = score_intervals(clusters, RESAMPLES, 1).unwrap();
    for Interval { low, high } in [found.accuracy, found.macro_f1, found.weighted_f1] {
        assert!((0.0..0.9).contains(&low) && (0.8..=1.0).contains(&high), "{found:?}");
    }
    assert_eq!(score_intervals([[]; 0], RESAMPLES, 1), None);
    let alone = score_intervals([[cell(0, 0, 3)]], RESAMPLES, 1).unwrap();
    assert_eq!((alone.accuracy.low, alone.macro_f1.high), (1.0, 1.0));
}
