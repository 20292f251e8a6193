//! Curated and noisy labels on paper.

use super::{
    chart::{Chart, Line},
    engine,
    golden::{Arm, CONFUSED_ON, Plan, Unit},
    ground::Ground,
    page::{NOTHING, Page, Sheet, count, percent, points},
};
use crate::evaluate::{metrics::Share, paired::Interval};

/// The figures on paper.
#[must_use]
pub fn page(ground: &Ground, plan: &Plan, arms: &[Arm]) -> Page {
    let mut sheet = Sheet::new(&[
        "labels",
        "wrong, %",
        "merchants",
        "right, %",
        "known keys",
        "unknown keys",
        "curated minus this, points",
    ]);
    sheet.rows = arms
        .iter()
        .map(|arm| {
            vec![
                count(arm.labels) + if arm.noise.is_none() { " curated" } else { "" },
                arm.noise.map_or_else(|| NOTHING.to_owned(), |noise| format!("{:.0}", 100.0 * noise)),
                count(arm.merchants),
                percent(arm.accuracy),
                percent(arm.known),
                percent(arm.unknown),
                points(arm.curated_gain),
            ]
        })
        .collect();
    let noisy: Vec<(f64, Share)> = arms.iter().filter_map(|arm| Some((100.0 * arm.noise?, arm.accuracy?))).collect();
    let curated = arms.iter().find(|arm| arm.noise.is_none()).and_then(|arm| arm.accuracy);
    let level = curated.map(|of| noisy.iter().map(|(x, _)| (*x, of)).collect());
    let name = |labels: usize, kind: &str| format!("{} {kind}", count(labels));
    let chart = Chart {
        title: "Few curated labels beside many noisy ones".to_owned(),
        x: "wrong labels among the noisy, %".to_owned(),
        marks: noisy.iter().map(|(x, _)| (*x, format!("{x:.0}"))).collect(),
        y: "right, % (95 % interval)".to_owned(),
        target: None,
        lines: vec![
            Line { name: name(plan.noisy, "noisy"), points: noisy, intervals: true },
            Line { name: name(plan.curated, "curated"), points: level.unwrap_or_default(), intervals: true },
        ],
    };
    let unit = match plan.unit {
        Unit::Rows => "row by row, so that a merchant's other rows outvote a slip",
        Unit::Merchants => "by whole merchants, as a rule or an annotator has one wrong every time",
    };
    Page {
        name: match plan.unit {
            Unit::Rows => "golden",
            Unit::Merchants => "golden_merchants",
        },
        title: format!("{} curated labels, or {} noisy ones?", count(plan.curated), count(plan.noisy)),
        method: vec![
            ground.words(),
            format!(
                "Curated: the {} rows that `txcat data select` picks, with the pool's own labels; {}. Noisy: {} rows at \
                 random, a share of them given another category, {unit}, as likely as out-of-fold models confuse the two \
                 (counted on {} of the rows); {}. Seed {}. Intervals are Wilson's at 95 %; differences are paired, with \
                 intervals over rows (over whole merchant keys).",
                count(plan.curated),
                engine(plan.curated_epochs),
                count(plan.noisy),
                count(CONFUSED_ON),
                engine(plan.noisy_epochs),
                plan.seed
            ),
            format!(
                "{} labels are more than a figure of the product may rest on. This is an experiment on labels; nothing \
                 that was trained here is used elsewhere.",
                count(plan.noisy)
            ),
        ],
        sheets: vec![("Right, with 95 % intervals".to_owned(), sheet)],
        charts: vec![chart],
        shows: arms.iter().filter_map(|arm| sentence(plan, arm)).collect(),
        limits: vec![
            "The pool's own labels are what merchants registered; an audit of a similar record found 4 % of such labels \
             wrong and 16 % debatable, so that 0 % means none made wrong here."
                .to_owned(),
            "Wrong labels are simulated; people's mistakes are neither all slips nor all habits."
                .to_owned(),
            "One seed, one data set. Arms of the whole adapter differ in passes: many over few rows, few over many.".to_owned(),
        ],
    }
}

fn sentence(plan: &Plan, arm: &Arm) -> Option<String> {
    let (noise, gain) = (arm.noise?, arm.curated_gain?);
    let says = |of: &Interval| {
        if of.low > 0.0 {
            1
        } else if of.high < 0.0 {
            -1
        } else {
            0
        }
    };
    let verdict = match (says(&gain.rows), says(&gain.keys)) {
        (1, 1) => "the curated are better",
        (-1, -1) => "the noisy are better",
        (1, _) => "the curated are better by rows, not surely by merchants",
        (-1, _) => "the noisy are better by rows, not surely by merchants",
        _ => "no difference is sure",
    };
    Some(format!(
        "Against {} with {:.0} % wrong, {} curated ones: {:+.1} points; {verdict}.",
        count(arm.labels),
        100.0 * noise,
        count(plan.curated),
        100.0 * gain.difference,
    ))
}
