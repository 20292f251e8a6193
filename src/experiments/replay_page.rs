//! The replay on paper.

use super::{
    chart::{Chart, Line},
    clear,
    page::{Page, Sheet, count, percent, points},
    replay::{Course, Ground, Order, Way},
};
use crate::evaluate::metrics::Share;

/// The share of first answers that is asked for, drawn into the plot.
const TARGET: f64 = 0.92;

/// A way in words.
#[must_use]
pub fn name(way: &Way) -> String {
    match (way.budget > 0.0, way.memory) {
        (false, _) => "nobody looks".to_owned(),
        (true, true) => format!("{} %, {}", per_cent(way.budget), way.order.as_str()),
        (true, false) => format!("{} %, {}, no memory", per_cent(way.budget), way.order.as_str()),
    }
}

/// A course in one line, as it ends.
#[must_use]
pub fn line(course: &Course) -> String {
    format!(
        "{}: {} % right as first answered, {} rows looked at",
        name(&course.way),
        percent(course.first),
        count(course.decided)
    )
}

/// The figures on paper.
#[must_use]
pub fn page(ground: &Ground, engine: &str, labels: usize, seed: u64, courses: &[Course]) -> Page {
    Page {
        name: "replay",
        title: format!("An analyst's few decisions, over `{}`", ground.file),
        method: vec![
            format!(
                "The {} rows of `{}` are posted in time order, a day at a time, to the whole service: database, enrichment, \
                 `{engine}`, thresholds, review queue, decisions and rules. It starts with the {} earlier rows that these \
                 accounts' histories can hold, without answers, and those of the {} bought labels that are among them.",
                count(ground.rows.len()),
                ground.file,
                count(ground.history()),
                count(labels),
            ),
            "After each day an analyst, who knows the label, decides rows that wait. The budget accrues with the rows of each \
             day and carries over. Every row is scored as it is first answered, before anybody has looked at it, and no \
             decision acts before the next day."
                .to_owned(),
            "`queue` is the order that serves: doubt, summed over the rows that one decision covers, with more weight for late \
             rows and a little more for large ones. \
             `uncertainty` takes the row of the lowest confidence, `random` any group. A decision holds for the merchant (its \
             descriptor key and direction), for rows that wait and rows to come; with `no memory`, for its row alone. No \
             decision is spent on audits."
                .to_owned(),
            format!("Seed {seed}. Intervals are Wilson's at 95 %; differences are paired, over rows (over whole merchant keys)."),
        ],
        sheets: vec![("By budget and order".to_owned(), by_way(courses)), ("Right as first answered, year by year, %".to_owned(), by_year(courses))],
        charts: vec![chart(courses)],
        shows: shows(courses),
        limits: vec![
            "The file is a sample of the traffic: a decision meets fewer later rows of its merchant than it would in service."
                .to_owned(),
            "The order of the queue was chosen by how many later rows of merchants new to the pool's first years its decisions \
             reached in the pool's later years: without labels, and without a row of this file."
                .to_owned(),
            "The analyst is never wrong where the label isn't, and always decides for the whole merchant.".to_owned(),
            "Orders and budgets are compared on the same rows: the best of them is not a promise. One draw of random orders."
                .to_owned(),
        ],
    }
}

fn per_cent(share: f64) -> String {
    format!("{}", (share * 1e4).round() / 1e2)
}

fn by_way(courses: &[Course]) -> Sheet {
    let mut sheet = Sheet::new(&[
        "budget, order",
        "rows looked at",
        "right as first answered, %",
        "minus nobody looks, points",
        "first answered by a rule",
        "covered later",
        "right of the rows nobody looked at, %",
    ]);
    for course in courses {
        sheet.rows.push(vec![
            name(&course.way),
            count(course.decided),
            percent(course.first),
            points(course.gain),
            count(course.by_rule),
            count(course.covered),
            percent(course.unseen),
        ]);
    }
    sheet
}

fn by_year(courses: &[Course]) -> Sheet {
    let years: Vec<String> = courses
        .first()
        .map_or(&[][..], |course| &course.years)
        .iter()
        .map(|(year, of)| format!("{year} ({} rows)", count(of.map_or(0, |of| of.n))))
        .collect();
    let mut header = vec!["budget, order"];
    header.extend(years.iter().map(String::as_str));
    let mut sheet = Sheet::new(&header);
    for course in courses {
        let cells = course.years.iter().map(|(_, share)| percent(*share));
        sheet.rows.push(std::iter::once(name(&course.way)).chain(cells).collect());
    }
    sheet
}

fn chart(courses: &[Course]) -> Chart {
    let none = courses.iter().find(|course| course.way.budget == 0.0);
    let kinds = [(Order::Queue, true), (Order::Uncertainty, true), (Order::Random, true), (Order::Queue, false)];
    let lines = kinds.map(|(by, memory)| {
        let of = courses
            .iter()
            .filter(|course| course.way.budget > 0.0 && course.way.order == by && course.way.memory == memory);
        let points: Vec<(f64, Share)> =
            none.into_iter().chain(of).filter_map(|course| Some((100.0 * course.way.budget, course.first?))).collect();
        let name = if memory { by.as_str().to_owned() } else { format!("{}, no memory", by.as_str()) };
        Line { name, points, intervals: by == Order::Queue && memory }
    });
    let mut marks: Vec<f64> = courses.iter().map(|course| 100.0 * course.way.budget).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    Chart {
        title: "Right as first answered, by what an analyst may look at".to_owned(),
        x: "rows looked at, %".to_owned(),
        marks: marks.into_iter().map(|at| (at, format!("{at}"))).collect(),
        y: "right, % (95 % interval)".to_owned(),
        target: Some(TARGET),
        lines: lines.into(),
    }
}

fn shows(courses: &[Course]) -> Vec<String> {
    courses
        .iter()
        .filter_map(|course| {
            let gain = course.gain.as_ref()?;
            Some(format!(
                "{}: {:+.1} points over nobody ({}).",
                name(&course.way),
                100.0 * gain.difference,
                clear(gain)
            ))
        })
        .collect()
}
