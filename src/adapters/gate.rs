//! The promotion gate: whether an adapter may answer people, from its answers and the champion's on the same rows.
//!
//! Pure arithmetic; the rows were answered elsewhere.

use serde::{Deserialize, Serialize};

use crate::{
    domain::AdapterState,
    evaluate::{
        metrics::{self, Scored, Share},
        paired::{self, Difference, Pair},
    },
};

/// What an adapter must keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// The lower end of its accuracy's 95 % interval must reach this.
    pub target: f64,
    /// McNemar p-value below which a difference from the champion counts; a better one must also be so by merchants.
    pub p: f64,
    /// Fewest rows of a category that is looked at by itself.
    pub class_rows: usize,
    /// How far such a category's accuracy may fall below the champion's.
    pub most_fall: f64,
    /// Highest expected calibration error.
    pub most_ece: f64,
    /// Longest time for one row that 95 % of the rows may take, in milliseconds.
    pub most_p95_ms: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { target: 0.92, p: 0.05, class_rows: 30, most_fall: 0.03, most_ece: 0.05, most_p95_ms: 100.0 }
    }
}

/// One row, answered by both.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The adapter's answer.
    pub adapter: Scored,
    /// Whether the champion was right, where there is one.
    pub champion: Option<bool>,
    /// The row's descriptor key.
    pub key: String,
}

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Whether it is passed.
    pub passed: bool,
    /// The finding in a sentence.
    pub says: String,
}

/// A category that fell too far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fall {
    /// The category.
    pub category: String,
    /// Its rows.
    pub rows: usize,
    /// The adapter's accuracy minus the champion's.
    pub difference: f64,
}

/// All that the gate measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateReport {
    /// What was to be kept.
    pub limits: Limits,
    /// The adapter's accuracy.
    pub accuracy: Option<Share>,
    /// The champion's on the same rows.
    pub champion: Option<Share>,
    /// The difference.
    pub difference: Option<Difference>,
    /// Expected calibration error.
    pub ece: f64,
    /// Milliseconds for one row, the 95th percentile.
    pub p95_ms: f64,
    /// Categories that fell too far.
    pub falls: Vec<Fall>,
    /// Every check.
    pub checks: Vec<Check>,
}

/// The check that only a champion must pass: a canary may be as good as the champion is.
pub const BETTER: &str = "better_than_champion";

/// Which of a stored gate's checks shut it on the way to a state; none is open.
#[must_use]
pub fn shut<'a>(checks: &'a [Check], to: AdapterState) -> Vec<&'a Check> {
    let counts = |check: &&'a Check| to == AdapterState::Champion || check.name != BETTER;
    checks.iter().filter(|check| !check.passed).filter(counts).collect()
}

/// The checks of a stored report.
///
/// # Errors
/// When the report is none.
pub fn checks(report: &serde_json::Value) -> serde_json::Result<Vec<Check>> {
    Vec::deserialize(&report["checks"])
}

impl GateReport {
    /// Whether every check is passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// What was measured of an adapter, for the gate to judge.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// Every row.
    pub answered: &'a [Answered],
    /// The classes.
    pub categories: &'a [String],
    /// Files among those that were scored which the adapter was trained or chosen on.
    pub learned_from: &'a [String],
    /// Milliseconds for one row, the 95th percentile.
    pub p95_ms: f64,
}

/// Puts every check to what was measured; `seed` draws the intervals' resamples.
#[must_use]
pub fn judge(measured: Measured<'_>, limits: Limits, seed: u64) -> GateReport {
    let Measured { answered, categories, learned_from, p95_ms } = measured;
    let rows: Vec<Scored> = answered.iter().map(|row| row.adapter).collect();
    let accuracy = metrics::accuracy(&rows, |_| true);
    let pairs: Vec<Pair<'_>> = answered
        .iter()
        .filter_map(|row| Some(Pair { ours: row.adapter.correct(), theirs: row.champion?, key: &row.key }))
        .collect();
    let difference = paired::compare(&pairs, seed);
    let champion = metrics::wilson(pairs.iter().filter(|pair| pair.theirs).count(), pairs.len());
    let ece = metrics::calibration_error(&rows);
    let falls = falls(answered, categories, limits);

    let points = |share: f64| format!("{:.1}", 100.0 * share);
    let mut checks = vec![
        held_out(learned_from),
        Check {
            name: "target".to_owned(),
            passed: accuracy.is_some_and(|accuracy| accuracy.low >= limits.target),
            says: accuracy.map_or_else(
                || "there are no rows".to_owned(),
                |Share { n, share, low, high }| {
                    format!(
                        "{} % of {n} rows right ({} – {}); the lower end must reach {}",
                        points(share),
                        points(low),
                        points(high),
                        points(limits.target)
                    )
                },
            ),
        },
    ];
    if let Some(Difference { difference, p, keys, .. }) = difference {
        let says = format!(
            "{:+.2} points beside the champion on the same rows, McNemar {}; {:+.2} to {:+.2} by merchants",
            100.0 * difference,
            at(p),
            100.0 * keys.low,
            100.0 * keys.high
        );
        checks.push(Check {
            name: "not_worse_than_champion".to_owned(),
            passed: difference >= 0.0 || p >= limits.p,
            says: says.clone(),
        });
        checks.push(Check { name: BETTER.to_owned(), passed: keys.low > 0.0 && p < limits.p, says });
        checks.push(Check {
            name: "classes".to_owned(),
            passed: falls.is_empty(),
            says: match falls.first() {
                None => format!(
                    "no category of {} rows or more fell more than {} points",
                    limits.class_rows,
                    points(limits.most_fall)
                ),
                Some(first) => format!(
                    "{} categories fell more than {} points, `{}` the most: {:+.1} on {} rows",
                    falls.len(),
                    points(limits.most_fall),
                    first.category,
                    100.0 * first.difference,
                    first.rows
                ),
            },
        });
    }
    checks.push(Check {
        name: "calibration".to_owned(),
        passed: ece <= limits.most_ece,
        says: format!("expected calibration error {ece:.3}, at most {:.3}", limits.most_ece),
    });
    checks.push(Check {
        name: "latency".to_owned(),
        passed: p95_ms <= limits.most_p95_ms,
        says: format!("95 % of single rows within {p95_ms:.1} ms, at most {:.0}", limits.most_p95_ms),
    });
    GateReport { limits, accuracy, champion, difference, ece, p95_ms, falls, checks }
}

/// Whether nothing that was scored had a part in making the adapter.
fn held_out(learned_from: &[String]) -> Check {
    let says = match learned_from {
        [] => "no row had a part in training or choosing the adapter".to_owned(),
        files => format!(
            "the adapter was trained or chosen on {}, which flatters it: score files that it has not seen",
            files.join(", ")
        ),
    };
    Check { name: "held_out".to_owned(), passed: learned_from.is_empty(), says }
}

/// Categories with enough rows that fell too far, the worst first.
fn falls(answered: &[Answered], categories: &[String], limits: Limits) -> Vec<Fall> {
    let mut falls: Vec<Fall> = categories
        .iter()
        .enumerate()
        .filter_map(|(class, category)| {
            let of_class = answered.iter().filter(|row| row.adapter.gold == class);
            let (mut rows, mut gain) = (0, 0);
            for row in of_class {
                rows += 1;
                gain += i64::from(row.adapter.correct()) - i64::from(row.champion?);
            }
            let difference = gain as f64 / f64::from(rows.max(1));
            let fell = rows as usize >= limits.class_rows && difference < -limits.most_fall;
            fell.then(|| Fall { category: category.clone(), rows: rows as usize, difference })
        })
        .collect();
    falls.sort_by(|a, b| a.difference.total_cmp(&b.difference));
    falls
}

/// The value below which 95 % of the values lie (nearest rank); 0 of nothing.
#[must_use]
pub fn p95(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (0.95 * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// A p-value in words: what is too small to print is not 0.
fn at(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` rows of a class: of every ten, how many each has right.
    fn rows(class: usize, n: usize, ours: usize, theirs: Option<usize>) -> Vec<Answered> {
        let row = |at: usize| {
            let right = |of_ten: usize| at % 10 < of_ten;
            let answer = if right(ours) { class } else { class + 1 };
            let confidence = ours as f32 / 10.0;
            let adapter = Scored { gold: class, answer, confidence, known: true, knows_key: true };
            Answered { adapter, champion: theirs.map(right), key: format!("{class} {at}") }
        };
        (0..n).map(row).collect()
    }

    fn measured<'a>(answered: &'a [Answered], categories: &'a [String], p95_ms: f64) -> Measured<'a> {
        Measured { answered, categories, learned_from: &[], p95_ms }
    }

    fn failed(answered: &[Answered], limits: Limits, to: AdapterState) -> Vec<String> {
        let categories = ["a", "b", "c"].map(str::to_owned);
        let report = judge(measured(answered, &categories, 5.0), limits, 1);
        shut(&report.checks, to).into_iter().map(|check| check.name.clone()).collect()
    }

    fn limits(target: f64) -> Limits {
        Limits { target, ..Limits::default() }
    }

    #[test]
    fn a_better_adapter_passes_and_one_as_good_may_be_canary_only() {
        let better = rows(0, 400, 10, Some(9));
        assert_eq!(failed(&better, limits(0.92), AdapterState::Champion), [""; 0]);
        let same = rows(0, 400, 10, Some(10));
        assert_eq!(failed(&same, limits(0.92), AdapterState::Champion), [BETTER]);
        assert_eq!(failed(&same, limits(0.92), AdapterState::Canary), [""; 0]);
    }

    #[test]
    fn a_lead_that_rests_on_a_few_merchants_makes_no_champion() {
        let mut answered = rows(0, 400, 8, Some(8));
        for row in &mut answered[..20] {
            row.key = "one merchant".to_owned();
            (row.adapter.answer, row.champion) = (row.adapter.gold, Some(false));
        }
        assert_eq!(failed(&answered, limits(0.7), AdapterState::Champion), [BETTER]);
        answered[..20].iter_mut().enumerate().for_each(|(at, row)| row.key = format!("merchant {at}"));
        assert_eq!(failed(&answered, limits(0.7), AdapterState::Champion), [""; 0]);
    }

    #[test]
    fn a_file_that_the_adapter_was_chosen_on_opens_no_gate() {
        let (answered, dev) = (rows(0, 400, 10, Some(9)), ["dev".to_owned()]);
        let measured = Measured { learned_from: &dev, ..measured(&answered, &[], 5.0) };
        let report = judge(measured, limits(0.92), 1);
        for to in [AdapterState::Canary, AdapterState::Champion] {
            let [check] = &shut(&report.checks, to)[..] else { panic!("{:?}", report.checks) };
            assert!(check.name == "held_out" && check.says.contains("dev"), "{check:?}");
        }
    }

    #[test]
    fn a_class_that_falls_shuts_the_gate_although_the_whole_gets_better() {
        let mut answered = rows(0, 400, 10, Some(8));
        answered.extend(rows(1, 30, 9, Some(10)));
        let failed_checks = failed(&answered, limits(0.9), AdapterState::Champion);
        assert!(failed_checks.contains(&"classes".to_owned()), "{failed_checks:?}");
        let few: Vec<_> = rows(0, 400, 10, Some(8)).into_iter().chain(rows(1, 29, 9, Some(10))).collect();
        assert!(!failed(&few, limits(0.9), AdapterState::Champion).contains(&"classes".to_owned()));
    }

    #[test]
    fn the_lower_end_of_the_interval_must_reach_the_target_and_not_the_share() {
        let below =
            |n: usize| failed(&rows(0, n, 9, None), limits(0.85), AdapterState::Canary).contains(&"target".to_owned());
        assert!(below(100) && !below(1_000));
    }

    #[test]
    fn overconfidence_and_slowness_shut_the_gate() {
        let mut answered = rows(0, 400, 9, None);
        answered.iter_mut().for_each(|row| row.adapter.confidence = 1.0);
        let report = judge(measured(&answered, &["a".to_owned()], 500.0), limits(0.5), 1);
        let shut: Vec<&str> =
            shut(&report.checks, AdapterState::Canary).iter().map(|check| check.name.as_str()).collect();
        assert_eq!(shut, ["calibration", "latency"]);
        assert!(!report.passed());
    }

    #[test]
    fn p95_is_the_nearest_rank() {
        assert_eq!(p95(&mut (1..=100).rev().map(f64::from).collect::<Vec<_>>()), 95.0);
        assert_eq!(p95(&mut [3.0]), 3.0);
        assert_eq!(p95(&mut []), 0.0);
    }
}
