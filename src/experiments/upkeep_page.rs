//! The upkeep experiment on paper.

use super::{
    chart::{Chart, Line},
    page::{NOTHING, Page, Sheet, count, percent, points},
    upkeep::{Course, Plan, Quarter, Start},
};
use crate::evaluate::{
    drift::{Estimate, MOVED},
    metrics::Share,
    watch::{Cause, State},
};

/// The figures on paper.
#[must_use]
pub fn page(start: &Start<'_>, plan: &Plan, courses: &[Course]) -> Page {
    let rows: usize = courses.first().and_then(|course| course.accuracy).map_or(0, |of| of.n);
    Page {
        name: "upkeep",
        title: format!("Upkeep and watch, quarter by quarter over `{}`", plan.file),
        method: vec![
            format!(
                "An adapter that learned from {} labels of the pool meets the {} rows of `{}` quarter by quarter. Each quarter \
                 is scored whole by what was learned before it; then a few of its rows are bought, chosen as `txcat data \
                 select` chooses (traffic since training, doubt, disagreement of known keys, encoder, nearest label and the \
                 answer in force), and act from the next quarter on.",
                count(start.bought.len()),
                count(rows),
                plan.file
            ),
            "Declared before the first row was scored: the encoder stays as it is; known keys, wide part, fusion and \
             thresholds are learned anew from all labels, with `dev` as the rows to fit on; a new label weighs as much as a \
             mean old one. Nothing was chosen on these rows."
                .to_owned(),
            format!(
                "The watch compares each quarter with `dev` and audits {} rows of it, drawn at random: labels that are bought \
                 too, and counted below, though nothing learns from them here. It says `fallen` when the audit's one-sided \
                 95 % bound is below {:.0} %, or the audits together are evidence enough (Page's test); `drifting` when \
                 answers or keys have moved (stability index of {} and more beyond chance), when as many unknown keys would \
                 miss the target by dev's accuracy, or when the audit's estimate is below it.",
                plan.audit,
                100.0 * plan.target,
                MOVED,
            ),
            format!("Seed {}. Intervals are Wilson's at 95 %; differences are paired, over rows (over whole merchant keys).", plan.seed),
        ],
        sheets: vec![
            ("By budget".to_owned(), budgets(plan, courses)),
            ("Right by quarter, %".to_owned(), by_quarter(courses)),
            ("The watch, without upkeep".to_owned(), watch(courses.iter().find(|course| course.budget == 0))),
            (
                "The watch, at the largest budget".to_owned(),
                watch(courses.iter().max_by_key(|course| course.budget)),
            ),
        ],
        charts: vec![quarters_chart(plan, courses), watch_chart(plan, courses)],
        shows: shows(plan, courses),
        limits: vec![
            "The file is a sample of the traffic, a few hundred rows a quarter: a label bought of it meets fewer rows of its \
             own merchant than it would in service, and true accuracies by quarter have wide intervals."
                .to_owned(),
            "The file had been read before: as a whole, for `toronto.md`, and by this command of an earlier build. Budgets \
             are compared on the same rows, so that the best of them is not a promise."
                .to_owned(),
            "The audit's rows are not learned from, though they were bought; one draw of audits.".to_owned(),
        ],
    }
}

fn budgets(plan: &Plan, courses: &[Course]) -> Sheet {
    let mut sheet = Sheet::new(&[
        "labels a quarter",
        "bought to learn from",
        "audited beside",
        "right, %",
        "minus no upkeep, points",
        "quarters at the target",
        "lowest quarter, %",
    ]);
    for course in courses {
        let audited: usize = course.quarters.iter().map(|quarter| quarter.audited).sum();
        let held =
            course.quarters.iter().filter(|quarter| quarter.accuracy.is_some_and(|of| of.share >= plan.target)).count();
        let lowest =
            course.quarters.iter().filter_map(|quarter| quarter.accuracy).min_by(|a, b| a.share.total_cmp(&b.share));
        sheet.rows.push(vec![
            name(course),
            count(course.bought),
            count(audited),
            percent(course.accuracy),
            points(course.gain),
            format!("{held} of {}", course.quarters.len()),
            percent(lowest),
        ]);
    }
    sheet
}

fn by_quarter(courses: &[Course]) -> Sheet {
    let names: Vec<String> = courses.iter().map(name).collect();
    let mut header = vec!["quarter", "rows", "known keys"];
    header.extend(names.iter().map(String::as_str));
    let mut sheet = Sheet::new(&header);
    for (at, quarter) in courses.first().map_or(&[][..], |course| &course.quarters).iter().enumerate() {
        let rows = quarter.accuracy.map_or(0, |of| of.n);
        let mut row = vec![quarter.name.clone(), count(rows), format!("{:.0} %", 100.0 * quarter.known)];
        row.extend(courses.iter().map(|course| percent(course.quarters[at].accuracy)));
        sheet.rows.push(row);
    }
    sheet
}

fn watch(course: Option<&Course>) -> Sheet {
    let mut sheet = Sheet::new(&[
        "quarter",
        "true, %",
        "says",
        "because of",
        "audit's estimate, %",
        "without labels, %",
        "unknown keys, %",
        "stability of answers",
        "of confidence",
        "mean confidence, %",
    ]);
    for Quarter { name, accuracy, verdict, .. } in course.map_or(&[][..], |course| &course.quarters) {
        let causes: Vec<&str> = verdict.causes.iter().map(|cause| Cause::as_str(*cause)).collect();
        let estimate = |of: Estimate| format!("{:.1} ({:.1}–{:.1})", 100.0 * of.share, 100.0 * of.low, 100.0 * of.high);
        sheet.rows.push(vec![
            name.clone(),
            percent(*accuracy),
            verdict.state.as_str().to_owned(),
            if causes.is_empty() { NOTHING.to_owned() } else { causes.join(", ") },
            verdict.estimate.map_or_else(|| NOTHING.to_owned(), estimate),
            format!("{:.1}", 100.0 * verdict.expected),
            format!("{:.1}", 100.0 * verdict.drift.unknown),
            format!("{:.2}", verdict.drift.classes),
            format!("{:.2}", verdict.drift.confidence),
            format!("{:.1}", 100.0 * verdict.drift.mean_confidence),
        ]);
    }
    sheet
}

fn name(course: &Course) -> String {
    if course.budget == 0 { "no upkeep".to_owned() } else { format!("{} a quarter", course.budget) }
}

fn marks(courses: &[Course]) -> Vec<(f64, String)> {
    let quarters = courses.first().map_or(&[][..], |course| &course.quarters);
    (0_u32..).zip(quarters).map(|(at, quarter)| (f64::from(at), quarter.name.clone())).collect()
}

fn line(name: String, shares: impl Iterator<Item = Option<Share>>, intervals: bool) -> Line {
    let points = (0_u32..).zip(shares).filter_map(|(at, share)| Some((f64::from(at), share?))).collect();
    Line { name, points, intervals }
}

fn quarters_chart(plan: &Plan, courses: &[Course]) -> Chart {
    let lines = courses.iter().map(|course| {
        // Of all intervals at once nothing could be read.
        let ends = course.budget == 0 || courses.iter().all(|other| other.budget <= course.budget);
        line(name(course), course.quarters.iter().map(|quarter| quarter.accuracy), ends)
    });
    Chart {
        title: "Right by quarter, by labels bought of each quarter before".to_owned(),
        x: "quarter".to_owned(),
        marks: marks(courses),
        y: "right, % (95 % interval)".to_owned(),
        target: Some(plan.target),
        lines: lines.collect(),
    }
}

fn watch_chart(plan: &Plan, courses: &[Course]) -> Chart {
    let none = courses.iter().find(|course| course.budget == 0).map_or(&[][..], |course| &course.quarters);
    let estimate = |quarter: &Quarter| {
        let Estimate { share, low, high, .. } = quarter.verdict.estimate?;
        Some(Share { n: quarter.audited, share, low, high })
    };
    let expected = |quarter: &Quarter| {
        let share = quarter.verdict.expected;
        Some(Share { n: 0, share, low: share, high: share })
    };
    Chart {
        title: "What the watch estimates beside the truth, without upkeep".to_owned(),
        x: "quarter".to_owned(),
        marks: marks(courses),
        y: "right, % (95 % interval)".to_owned(),
        target: Some(plan.target),
        lines: vec![
            line("true".to_owned(), none.iter().map(|quarter| quarter.accuracy), true),
            line(format!("audit of {} rows", plan.audit), none.iter().map(estimate), true),
            line("expected without labels".to_owned(), none.iter().map(expected), false),
        ],
    }
}

fn shows(plan: &Plan, courses: &[Course]) -> Vec<String> {
    let mut says: Vec<String> = courses
        .iter()
        .map(|course| {
            let gain = course.gain.map_or_else(String::new, |gain| format!(", {:+.1} points", 100.0 * gain.difference));
            format!(
                "{}: {} % right{gain}, with {} labels.",
                name(course),
                percent(course.accuracy),
                count(course.bought)
            )
        })
        .collect();
    for course in courses.iter().filter(|course| course.budget == 0 || course.gain.is_some()) {
        let first = |holds: &dyn Fn(&Quarter) -> bool| {
            let found = course.quarters.iter().find(|quarter| holds(quarter));
            found.map_or_else(|| "never".to_owned(), |quarter| quarter.name.clone())
        };
        says.push(format!(
            "{}: truly below {:.0} % first in {}; the watch first says drifting in {}, fallen in {}.",
            name(course),
            100.0 * plan.target,
            first(&|quarter| quarter.accuracy.is_some_and(|of| of.share < plan.target)),
            first(&|quarter| quarter.verdict.state >= State::Drifting),
            first(&|quarter| quarter.verdict.state == State::Fallen),
        ));
    }
    says
}
