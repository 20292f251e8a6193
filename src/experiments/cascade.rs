//! What a cascade costs and reaches: engines one behind another, the dear one last.
//!
//! The last one may be scripted: it knows the truth of a row with a stated chance, at a stated price, and stands for any
//! model that a team has measured. The engines before it are real and answer the data set's own rows.

use rust_decimal::Decimal;
use serde::Serialize;

use super::{
    chart::{Chart, Line},
    page::{Page, Sheet, count, percent},
};
use crate::{
    domain::{Judged, TransactionId, draw::drawn, money::told},
    evaluate::{
        cascade::{Outcome, Plan, StepAnswers, axis, cheapest, frontier, outcome},
        metrics::Share,
    },
};

/// A model that is right by lot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scripted {
    /// Chance that an answer is right, in `[0, 1]`.
    pub accuracy: f32,
    /// What 1,000 answers cost.
    pub per_1000: Decimal,
}

/// Rows with what the steps before the last said of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The rows.
    pub ids: Vec<TransactionId>,
    /// Which half of dev each is in: thresholds are chosen on one and measured on the other.
    pub fits: Vec<bool>,
    /// The steps before the last, in their order.
    pub steps: Vec<StepAnswers>,
}

/// One cascade, as chosen on the fitting half and measured on the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Thresholds.
    pub plan: Plan,
    /// On the half that chose them.
    pub fitted: Outcome,
    /// On the other.
    pub measured: Outcome,
}

/// What comes of one last step behind the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// Its name.
    pub last: String,
    /// What 1,000 of its answers cost.
    pub price: Decimal,
    /// It alone, on the measuring half.
    pub alone: Outcome,
    /// Cascades that none beats in both cost and accuracy, cheapest first.
    pub frontier: Vec<Point>,
    /// The cheapest that reached the target where it was chosen, by its place.
    pub chosen: usize,
}

/// Puts each last step behind the others.
#[must_use]
pub fn run(answered: &Answered, lasts: &[StepAnswers], target: f64) -> Vec<Course> {
    let places = |fits: bool| (0..answered.ids.len()).filter(|&at| answered.fits[at] == fits).collect::<Vec<_>>();
    let (fit, report) = (places(true), places(false));
    lasts
        .iter()
        .map(|last| {
            let alone = std::slice::from_ref(last);
            let everything = Plan { accepts: vec![crate::domain::Acceptance::default()] };
            let steps = [answered.steps.as_slice(), alone].concat();
            let found = frontier(&steps, &fit);
            let chosen = cheapest(&found, target).and_then(|best| found.iter().position(|of| of == best)).unwrap_or(0);
            let point = |(plan, fitted): (Plan, Outcome)| {
                let measured = outcome(&steps, &plan, &report);
                Point { plan, fitted, measured }
            };
            let price = last.cost * Decimal::from(1_000);
            let alone = outcome(alone, &everything, &report);
            Course { last: last.stage.clone(), price, alone, frontier: found.into_iter().map(point).collect(), chosen }
        })
        .collect()
}

/// A scripted model's answers: right by lot, each row's lot its own.
#[must_use]
pub fn scripted(answered: &Answered, model: Scripted, seed: u64) -> StepAnswers {
    let lot = format!("cascade {seed}");
    let judged = |id: &TransactionId| {
        let right = drawn(id.as_str(), &lot, model.accuracy);
        Some(Judged { confidence: model.accuracy, right, known: false })
    };
    StepAnswers {
        stage: format!("scripted, {:.0} % right", 100.0 * model.accuracy),
        judged: answered.ids.iter().map(judged).collect(),
        cost: model.per_1000 / Decimal::from(1_000),
    }
}

/// The figures on paper.
#[must_use]
pub fn page(answered: &Answered, courses: &[Course], target: f64, words: &str, currency: &str) -> Page {
    let steps: Vec<&str> = answered.steps.iter().map(|step| step.stage.as_str()).collect();
    let mut chosen = Sheet::new(&[
        "last step",
        "price of 1,000",
        "alone, %",
        "cascade, %",
        "cost of 1,000",
        "of the price",
        "asked of it, %",
    ]);
    let mut all =
        Sheet::new(&["last step", "cost of 1,000", "right where chosen, %", "right, %", "answered by each step, %"]);
    for course in courses {
        let name = course.last.clone();
        let best = &course.frontier[course.chosen].measured;
        let money = |amount: Decimal| told(amount.round_dp(3), currency);
        let part = |part: Decimal, whole: Decimal| match whole.is_zero() {
            true => super::page::NOTHING.to_owned(),
            false => format!("{:.1} %", 100.0 * axis(part / whole)),
        };
        chosen.rows.push(vec![
            name.clone(),
            money(course.price),
            percent(course.alone.accuracy),
            percent(best.accuracy),
            money(best.per_1000),
            part(best.per_1000, course.price),
            format!("{:.1}", 100.0 * best.taken.last().copied().unwrap_or_default()),
        ]);
        for point in &course.frontier {
            let taken: Vec<String> = point.measured.taken.iter().map(|of| format!("{:.1}", 100.0 * of)).collect();
            all.rows.push(vec![
                name.clone(),
                money(point.measured.per_1000),
                percent(point.fitted.accuracy),
                percent(point.measured.accuracy),
                taken.join(" / "),
            ]);
        }
    }
    let line = |course: &Course| {
        let mut points: Vec<(f64, Share)> = course
            .frontier
            .iter()
            .filter_map(|point| Some((axis(point.measured.per_1000), point.measured.accuracy?)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { name: course.last.clone(), points, intervals: true }
    };
    let most = courses.iter().map(|course| axis(course.price)).fold(0.0, f64::max);
    let marks = (0..=4).map(|of| most * f64::from(of) / 4.0).map(|at| (at, format!("{at:.2}")));
    Page {
        name: "cascade",
        title: "What a cascade costs and reaches".to_owned(),
        method: vec![
            words.to_owned(),
            format!(
                "Steps: {}, then the last one. A scripted one knows a row's truth with the stated chance and costs the stated \
                 price. Each step passes on what it is not sure of; all combinations of thresholds are tried on {} rows of dev, and \
                 those that none beats in both cost and accuracy are measured on the other {} rows; no merchant key has rows \
                 on both sides. Chosen: the cheapest that reached {:.0} % where it was chosen. Intervals are Wilson's at 95 %.",
                steps.join(", "),
                count(answered.fits.iter().filter(|fits| **fits).count()),
                count(answered.fits.iter().filter(|fits| !**fits).count()),
                100.0 * target,
            ),
        ],
        sheets: vec![("Chosen".to_owned(), chosen), ("The frontier: no other is both cheaper and more accurate".to_owned(), all)],
        charts: vec![Chart {
            title: "Right, by what 1,000 transactions cost".to_owned(),
            x: format!("{currency} for 1,000 transactions"),
            marks: marks.collect(),
            y: "right, % (95 % interval)".to_owned(),
            target: Some(target),
            lines: courses.iter().map(line).collect(),
        }],
        shows: courses.iter().filter_map(|course| sentence(course, target)).collect(),
        limits: vec![
            "A scripted step is right by lot, equally often on every row. A real model is wrong more often on the very rows \
             that the others pass on."
                .to_owned(),
            "The steps before it were fitted with the help of dev, so that their confidences flatter there.".to_owned(),
            "One data set, one seed.".to_owned(),
        ],
    }
}

fn sentence(course: &Course, target: f64) -> Option<String> {
    let best = &course.frontier.get(course.chosen)?.measured;
    let saved = Decimal::from(100) - Decimal::from(100) * best.per_1000.checked_div(course.price)?;
    let reaches = if best.accuracy?.low >= target { "surely reaches" } else { "does not surely reach" };
    let fitted = course.frontier[course.chosen].fitted.accuracy?.share;
    let short = match fitted < target {
        true => format!(
            " None reached that where it was chosen: the most accurate is shown, with {:.1} % there.",
            100.0 * fitted
        ),
        false => String::new(),
    };
    Some(format!(
        "{}: it is asked about {:.1} % of the rows, and the cascade is right on {} % for {} % less, which {reaches} {:.0} %.{short}",
        course.last,
        100.0 * best.taken.last().copied().unwrap_or_default(),
        percent(best.accuracy),
        saved.round_dp(1).normalize(),
        100.0 * target,
    ))
}
