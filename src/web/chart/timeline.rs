//! Shares over time: a line for each series, with intervals as whiskers and targets dashed.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Utc};

use super::{BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, escaped, open_sized};
use crate::web::Error;

/// Room for a line of names under the axis.
const LINE: f64 = 20.0;
/// Series that can be told from each other.
const STYLES: usize = 4;

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is of.
    pub name: String,
    /// What is aimed at.
    pub target: Option<f64>,
    /// When, the share, and both ends of its interval; the oldest first.
    pub points: Vec<(DateTime<Utc>, f64, f64, f64)>,
}

/// Shares over time.
///
/// # Errors
/// Never: writing to a string can't fail.
pub fn timeline(says: &str, lines: &[Line]) -> Result<String, Error> {
    draw(says, lines).map_err(|_| Error::Chart)
}

fn draw(says: &str, lines: &[Line]) -> Result<String, fmt::Error> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (first, last) = (points().map(|point| point.0).min(), points().map(|point| point.0).max());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let span = (last - first).num_seconds().max(1) as f64;
    let lowest = points().map(|point| point.2).chain(lines.iter().filter_map(|line| line.target)).fold(1.0, f64::min);
    let from = ((lowest * 10.0).floor() / 10.0).clamp(0.0, 0.9);
    let inset = 16.0;
    let x = |time: DateTime<Utc>| {
        let along = if first == last { 0.5 } else { (time - first).num_seconds() as f64 / span };
        LEFT + inset + along * (WIDTH - LEFT - RIGHT - 2.0 * inset)
    };
    let y = |share: f64| HEIGHT - BOTTOM - (share - from) / (1.0 - from) * (HEIGHT - TOP - BOTTOM);
    let mut svg = String::new();
    open_sized(&mut svg, says, WIDTH, HEIGHT + LINE * lines.len() as f64)?;
    for step in 0..=5 {
        let share = from + f64::from(step) / 5.0 * (1.0 - from);
        let at = y(share);
        write!(svg, r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}"/>"#, WIDTH - RIGHT)?;
        write!(
            svg,
            r#"<text class="mark" x="{:.1}" y="{:.1}" text-anchor="end">{:.0} %</text>"#,
            LEFT - 7.0,
            at + 4.0,
            share * 100.0
        )?;
    }
    let below = HEIGHT - BOTTOM + 18.0;
    let mut day = |time: DateTime<Utc>, anchor: &str| {
        write!(
            svg,
            r#"<text class="mark" x="{:.1}" y="{below:.1}" text-anchor="{anchor}">{}</text>"#,
            x(time),
            time.format("%Y-%m-%d")
        )
    };
    if first.date_naive() == last.date_naive() {
        day(first, "start")?;
    } else {
        day(first, "start")?;
        day(last, "end")?;
    }
    for (place, line) in lines.iter().enumerate() {
        let style = place % STYLES;
        if let Some(target) = line.target {
            write!(
                svg,
                r#"<line class="target series-{style}" x1="{LEFT}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
                y(target),
                WIDTH - RIGHT,
                y(target)
            )?;
        }
        write!(svg, r#"<path class="line series-{style}" d=""#)?;
        for (number, point) in line.points.iter().enumerate() {
            write!(svg, "{}{:.1} {:.1}", if number == 0 { 'M' } else { 'L' }, x(point.0), y(point.1))?;
        }
        svg.push_str(r#""/>"#);
        for &(time, share, low, high) in &line.points {
            let at = x(time);
            write!(svg, r#"<path class="whisker" d="M{at:.1} {:.1}V{:.1}"/>"#, y(low.max(from)), y(high))?;
            mark(&mut svg, style, at, y(share))?;
        }
        let at = HEIGHT + LINE * place as f64 + 4.0;
        mark(&mut svg, style, LEFT + 6.0, at - 4.0)?;
        let aim = line.target.map_or_else(String::new, |target| format!(", target {:.0} %", 100.0 * target));
        write!(svg, r#"<text class="name" x="{:.1}" y="{at:.1}">{}{aim}</text>"#, LEFT + 20.0, escaped(&line.name))?;
    }
    svg.push_str("</svg>");
    Ok(svg)
}

/// A point; series differ in shape too, for who can't tell the colours apart.
fn mark(svg: &mut String, style: usize, x: f64, y: f64) -> fmt::Result {
    match style {
        0 => write!(svg, r#"<circle class="point series-0" cx="{x:.1}" cy="{y:.1}" r="5"/>"#),
        1 => {
            write!(svg, r#"<rect class="point series-1" x="{:.1}" y="{:.1}" width="9" height="9"/>"#, x - 4.5, y - 4.5)
        }
        2 => write!(svg, r#"<path class="point series-2" d="M{x:.1} {:.1}l6 10h-12z"/>"#, y - 6.0),
        _ => write!(svg, r#"<path class="point series-3" d="M{x:.1} {:.1}l6 6l-6 6l-6 -6z"/>"#, y - 6.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_a_point_and_a_whisker_for_each_time_and_one_in_its_key() {
        let day = |day: i64| DateTime::from_timestamp(86_400 * day, 0).unwrap();
        let line = |name: &str, days: &[i64]| Line {
            name: name.to_owned(),
            target: Some(0.9),
            points: days.iter().map(|&at| (day(at), 0.8, 0.75, 0.85)).collect(),
        };
        let svg = timeline("over time", &[line("one", &[0, 10]), line("two", &[5])]).unwrap();
        assert_eq!((svg.matches("<circle").count(), svg.matches("class=\"point series-1\"").count()), (3, 2));
        assert_eq!(svg.matches("class=\"whisker\"").count(), 3);
        assert!(svg.contains("1970-01-01") && svg.contains("1970-01-11") && svg.contains("two, target 90 %"));
    }
}
